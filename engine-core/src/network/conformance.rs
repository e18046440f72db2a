//! What every network driver must do, as tests. The caller gives a driver, and runs [`suite`] as root in a network
//! namespace of its own: what a driver makes must touch nobody's links.
#![expect(clippy::expect_used, reason = "a suite tells of a failure by a panic")]

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use nix::sched::{CloneFlags, setns, unshare};

use super::driver::{Endpoint, NetworkDriver, NetworkPlan};
use crate::error::ErrorKind;
use crate::id::NetworkId;
use crate::spec::{NetworkSpec, PortSpec};

/// A network namespace without processes, as a container's is before it starts.
#[derive(Debug)]
pub struct Namespace(OwnedFd);

impl Namespace {
    /// A new one, with nothing but a loopback that is down.
    pub fn new() -> Namespace {
        let made = thread::spawn(|| {
            unshare(CloneFlags::CLONE_NEWNET).expect("root can make network namespaces");
            std::fs::File::open("/proc/thread-self/ns/net").expect("proc is mounted").into()
        });
        Namespace(made.join().expect("the thread ends"))
    }

    /// The namespace of the calling thread.
    pub fn current() -> Namespace {
        Namespace(std::fs::File::open("/proc/thread-self/ns/net").expect("proc is mounted").into())
    }

    /// Its descriptor.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }

    /// Does `work` in it.
    pub fn run<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        let inside = || {
            setns(self.fd(), CloneFlags::CLONE_NEWNET).expect("root can enter network namespaces");
            work()
        };
        thread::scope(|scope| match scope.spawn(inside).join() {
            Ok(value) => value,
            Err(panic) => std::panic::resume_unwind(panic),
        })
    }

    /// A server in it, of both families, that takes one connection after the other, says to each who it thinks it is,
    /// and stops after `count` of them.
    pub fn serve(&self, port: u16, count: usize) -> JoinHandle<()> {
        let listener =
            self.run(|| TcpListener::bind((Ipv6Addr::UNSPECIFIED, port)).expect("the port is free"));
        thread::spawn(move || {
            for _ in 0..count {
                let Ok((mut client, peer)) = listener.accept() else { return };
                let _ = write!(client, "{}", peer.ip().to_canonical());
            }
        })
    }

    /// Connects from it; gives who the server thinks it is.
    pub fn ask(&self, server: impl Into<SocketAddr> + Send) -> io::Result<IpAddr> {
        self.run(|| {
            let mut client = TcpStream::connect_timeout(&server.into(), Duration::from_millis(700))?;
            client.set_read_timeout(Some(Duration::from_secs(5)))?;
            let mut text = String::new();
            client.read_to_string(&mut text)?;
            text.parse().map_err(|_| io::Error::other(format!("the server said {text:?}")))
        })
    }
}

impl Default for Namespace {
    fn default() -> Namespace {
        Namespace::new()
    }
}

/// A plan of the driver for a network of that name.
pub async fn plan(driver: &dyn NetworkDriver, name: &str) -> NetworkPlan {
    decide(driver, &NetworkSpec::new(name.parse().expect("a name"))).await
}

/// A plan of the driver for a network of that name, with IPv6.
pub async fn plan_with_ipv6(driver: &dyn NetworkDriver, name: &str) -> NetworkPlan {
    let mut spec = NetworkSpec::new(name.parse().expect("a name"));
    spec.enable_ipv6 = true;
    decide(driver, &spec).await
}

async fn decide(driver: &dyn NetworkDriver, spec: &NetworkSpec) -> NetworkPlan {
    driver.plan(NetworkId::random().expect("random"), spec, &[]).await.expect("the defaults can be decided")
}

/// An endpoint with the `number`th addresses of the network, counted from the gateway.
pub fn endpoint(plan: &NetworkPlan, number: usize) -> Endpoint {
    let subnet = plan.subnet.expect("the network has addresses");
    let address = subnet.hosts().nth(number).expect("the subnet is large enough");
    Endpoint {
        id: NetworkId::random().expect("random").to_string(),
        interface: "eth0".into(),
        address,
        ipv6: plan.ipv6.and_then(|pool| pool.subnet.hosts().nth(number)),
        link_local: Vec::new(),
        mac: super::ipam::mac(address),
        ports: Vec::new(),
    }
}

/// Waits until `test` holds.
///
/// # Panics
/// If it does not within some seconds.
pub fn eventually(what: &str, mut test: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(5);
    while !test() {
        assert!(Instant::now() < deadline, "not so within five seconds: {what}");
        thread::sleep(Duration::from_millis(5));
    }
}

/// All of it.
pub async fn suite(driver: &dyn NetworkDriver) {
    a_plan_touches_nothing_and_avoids_what_is_taken(driver).await;
    making_and_unmaking_may_be_repeated(driver).await;
    members_reach_each_other_and_the_host(driver, plan(driver, "members").await).await;
    members_reach_each_other_and_the_host(driver, plan_with_ipv6(driver, "members").await).await;
    a_port_is_held_for_as_long_as_its_socket(driver).await;
    a_disconnected_endpoint_is_gone_and_may_be_disconnected_again(driver).await;
    a_sweep_leaves_what_is_in_use(driver, plan(driver, "kept").await).await;
    a_sweep_leaves_what_is_in_use(driver, plan_with_ipv6(driver, "kept").await).await;
}

async fn a_plan_touches_nothing_and_avoids_what_is_taken(driver: &dyn NetworkDriver) {
    let first = plan_with_ipv6(driver, "first").await;
    let mut spec = NetworkSpec::new("second".parse().expect("a name"));
    spec.enable_ipv6 = true;
    let others = std::slice::from_ref(&first);
    let second = driver.plan(NetworkId::random().expect("random"), &spec, others).await.expect("decided");
    assert!(!second.subnet.zip(first.subnet).is_some_and(|(a, b)| a.overlaps(b)), "the subnets overlap");
    let six = second.ipv6.zip(first.ipv6).expect("both have IPv6");
    assert!(!six.0.subnet.overlaps(six.1.subnet), "the subnets overlap");
    let mut given = spec.clone();
    given.subnet = first.subnet;
    let error = driver.plan(second.id.clone(), &given, others).await.expect_err("the subnet is taken");
    assert_eq!(error.kind(), ErrorKind::Conflict);
    spec.ipv6.subnet = Some(six.1.subnet);
    let error = driver.plan(second.id, &spec, others).await.expect_err("the subnet is taken");
    assert_eq!(error.kind(), ErrorKind::Conflict);
    spec.enable_ipv6 = false;
    let error = driver.plan(first.id.clone(), &spec, &[]).await.expect_err("it has no IPv6");
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
}

async fn making_and_unmaking_may_be_repeated(driver: &dyn NetworkDriver) {
    let plan = plan(driver, "repeated").await;
    driver.remove(&plan).await.expect("what is not there is no error");
    for _ in 0..2 {
        driver.create(&plan).await.expect("is made");
    }
    for _ in 0..2 {
        driver.remove(&plan).await.expect("is unmade");
    }
}

async fn members_reach_each_other_and_the_host(driver: &dyn NetworkDriver, plan: NetworkPlan) {
    driver.create(&plan).await.expect("is made");
    let (one, two) = (Namespace::new(), Namespace::new());
    let ends = [endpoint(&plan, 1), endpoint(&plan, 2)];
    for (end, netns) in ends.iter().zip([&one, &two]) {
        driver.connect(&plan, end, netns.fd()).await.expect("connects");
    }
    let server = two.serve(80, 2 * ends[1].addresses().count());
    for (own, other) in ends[0].addresses().zip(ends[1].addresses()) {
        let client = one.ask((other, 80)).expect("a member is reached");
        assert_eq!(client, own, "members see each other's own addresses");
        Namespace::current().ask((other, 80)).expect("the host reaches a member");
    }
    server.join().expect("the server ends");
    for end in &ends {
        driver.disconnect(&plan, end).await.expect("disconnects");
    }
    driver.remove(&plan).await.expect("is unmade");
}

async fn a_port_is_held_for_as_long_as_its_socket(driver: &dyn NetworkDriver) {
    let plan = plan(driver, "ports").await;
    driver.create(&plan).await.expect("is made");
    let any = PortSpec { host: None, ..PortSpec::tcp(0, 80) };
    let first = driver.reserve(&plan, &[any]).await.expect("some port is free");
    let port = first.ports[0].host;
    let error = driver.reserve(&plan, &[PortSpec::tcp(port, 80)]).await.expect_err("the port is held");
    assert_eq!(error.kind(), ErrorKind::InUse);
    assert!(error.to_string().contains(&port.to_string()), "the error names the port: {error}");
    drop(first);
    driver.reserve(&plan, &[PortSpec::tcp(port, 80)]).await.expect("the port is free again");
    driver.remove(&plan).await.expect("is unmade");
}

async fn a_disconnected_endpoint_is_gone_and_may_be_disconnected_again(driver: &dyn NetworkDriver) {
    let plan = plan(driver, "gone").await;
    driver.create(&plan).await.expect("is made");
    let netns = Namespace::new();
    let end = endpoint(&plan, 1);
    driver.disconnect(&plan, &end).await.expect("what is not there is no error");
    driver.connect(&plan, &end, netns.fd()).await.expect("connects");
    for _ in 0..2 {
        driver.disconnect(&plan, &end).await.expect("disconnects");
    }
    let has_link =
        || netns.run(|| std::fs::read_to_string("/proc/thread-self/net/dev")).expect("proc is mounted");
    eventually("the interface is gone", || !has_link().contains("eth0"));
    // The same endpoint may come back.
    driver.connect(&plan, &end, netns.fd()).await.expect("connects again");
    drop(netns);
    driver.disconnect(&plan, &end).await.expect("a namespace that is gone is no error");
    driver.remove(&plan).await.expect("is unmade");
}

async fn a_sweep_leaves_what_is_in_use(driver: &dyn NetworkDriver, plan: NetworkPlan) {
    driver.create(&plan).await.expect("is made");
    let netns = Namespace::new();
    let mut end = endpoint(&plan, 1);
    let any = PortSpec { host: None, ..PortSpec::tcp(0, 80) };
    let reservation = driver.reserve(&plan, &[any]).await.expect("some port is free");
    end.ports.clone_from(&reservation.ports);
    driver.connect(&plan, &end, netns.fd()).await.expect("connects");
    // Whether or not it is known to the store: what lives is not swept.
    let known = BTreeMap::from([(plan.id.clone(), vec![end.clone()])]);
    for endpoints in [&known, &BTreeMap::new()] {
        let lines = driver.sweep(std::slice::from_ref(&plan), endpoints).await.expect("sweeps");
        assert!(lines.is_empty(), "{lines:?} were swept");
    }
    let server = netns.serve(80, end.ports.len());
    for port in &end.ports {
        let loopback = match port.host_address {
            IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::LOCALHOST),
            IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::LOCALHOST),
        };
        Namespace::current().ask((loopback, port.host)).expect("the published port leads there");
    }
    server.join().expect("the server ends");
    drop(reservation);
    driver.disconnect(&plan, &end).await.expect("disconnects");
    driver.remove(&plan).await.expect("is unmade");
}
