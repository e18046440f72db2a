//! The driver `bridge`: a bridge per network, a veth pair per container, NAT to the outside.
//!
//! The kernel is asked what is there, and only what is missing is made: everything may be called again, by any
//! process, at any time.

use std::collections::BTreeMap;
use std::fs;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock, mpsc};

use async_trait::async_trait;
use nix::errno::Errno;

use super::connection::Connection;
use super::family::Family;
use super::link::{self, Link};
use super::nft::{self, Ruleset};
use super::plan::{self, Host};
use super::wire::{self, Inside, Pair};
use super::{alias, announce, conntrack, hold, netns, sweep, sysctl};
use crate::error::{Error, ErrorKind, Faults, Result, Subject};
use crate::id::NetworkId;
use crate::network::driver::{Endpoint, NetworkDriver, NetworkPlan, Reservation};
use crate::spec::{Address, NetworkSpec, PortSpec, Subnet};
use crate::store::blocking;

/// Another process may make or remove a bridge at the same moment; then look again, so often.
const ATTEMPTS: usize = 4;

/// Makes bridge networks for the store it was made for.
pub(crate) struct Bridge(Arc<Inner>);

struct Inner {
    /// The store's directory: noted on the bridges, to tell them from those of other stores of this host.
    root: PathBuf,
    /// For each family, once there is a network that has it.
    rulesets: [OnceLock<Ruleset>; 2],
}

impl Bridge {
    /// The driver for the store in the directory `root`.
    pub(crate) fn new(root: &Path) -> Bridge {
        let root = std::path::absolute(root).unwrap_or_else(|_| root.to_owned());
        Bridge(Arc::new(Inner { root, rulesets: Default::default() }))
    }
}

#[async_trait]
impl NetworkDriver for Bridge {
    async fn plan(&self, id: NetworkId, spec: &NetworkSpec, others: &[NetworkPlan]) -> Result<NetworkPlan> {
        let (inner, spec, others) = (Arc::clone(&self.0), spec.clone(), others.to_vec());
        blocking(move || plan::decide(id, &spec, &others, &inner.host(spec.enable_ipv6)?)).await
    }

    async fn create(&self, plan: &NetworkPlan) -> Result<()> {
        let (inner, plan) = (Arc::clone(&self.0), plan.clone());
        blocking(move || inner.create(&plan)).await
    }

    async fn reserve(&self, plan: &NetworkPlan, ports: &[PortSpec]) -> Result<Reservation> {
        if ports.is_empty() {
            return Ok(Reservation::default());
        }
        if plan.internal {
            return Err(Error::invalid(
                format!("network {}", plan.name),
                "an internal network publishes no ports",
            )
            .with_remedy("use a network that is not internal, or publish no ports"));
        }
        let (ports, default, with_ipv6) = (ports.to_vec(), plan.host_binding, plan.ipv6.is_some());
        blocking(move || hold::reserve(&ports, default, with_ipv6)).await
    }

    fn teardown(&self, _: &NetworkPlan, endpoint: &Endpoint) -> Vec<Vec<u8>> {
        nft::teardown(endpoint)
    }

    fn redirect_names(&self, port: u16) -> Option<Vec<u8>> {
        nft::redirect_names(port)
    }

    async fn connect(&self, plan: &NetworkPlan, endpoint: &Endpoint, netns: BorrowedFd<'_>) -> Result<()> {
        let netns = netns.try_clone_to_owned().subject(|| "network namespace of the container".into())?;
        let (inner, plan, endpoint) = (Arc::clone(&self.0), plan.clone(), endpoint.clone());
        blocking(move || inner.connect(&plan, &endpoint, &netns)).await
    }

    async fn disconnect(&self, _: &NetworkPlan, endpoint: &Endpoint) -> Result<()> {
        let endpoint = endpoint.clone();
        blocking(move || disconnect(&endpoint)).await
    }

    async fn remove(&self, plan: &NetworkPlan) -> Result<()> {
        let (inner, plan) = (Arc::clone(&self.0), plan.clone());
        blocking(move || inner.remove(&plan)).await
    }

    async fn sweep(
        &self,
        plans: &[NetworkPlan],
        endpoints: &BTreeMap<NetworkId, Vec<Endpoint>>,
    ) -> Result<Vec<String>> {
        let (inner, plans, endpoints) = (Arc::clone(&self.0), plans.to_vec(), endpoints.clone());
        blocking(move || sweep::sweep(&inner.root, &plans, &endpoints)).await
    }
}

/// Where the host's routes and addresses of one family lead.
fn routes<A: Address>(connection: &mut Connection) -> Result<Vec<Subnet<A>>> {
    let mut routes = link::routes(connection)?;
    routes.extend(link::addresses(connection, None)?.into_iter().map(|address| address.subnet));
    Ok(routes)
}

/// The families of the network's addresses.
fn families(plan: &NetworkPlan) -> impl Iterator<Item = Family> + use<> {
    [Family::V4].into_iter().chain(plan.ipv6.map(|_| Family::V6))
}

/// Whether the link has the addresses that it shall have. It is asked only if there are any.
fn has_addresses<A: Address>(
    connection: &mut Connection,
    link: &Link,
    wanted: &[(A, Subnet<A>)],
) -> Result<bool> {
    if wanted.is_empty() {
        return Ok(true);
    }
    let found = link::addresses(connection, Some(link.index))?;
    let is_there = |(address, subnet): &(A, Subnet<A>)| {
        found.iter().any(|found| found.address == *address && found.subnet == *subnet)
    };
    Ok(wanted.iter().all(is_there))
}

fn interface(plan: &NetworkPlan) -> Result<&str> {
    plan.interface.as_deref().ok_or_else(|| subject_corrupt(plan, "it has no bridge"))
}

fn subject_corrupt(plan: &NetworkPlan, reason: &str) -> Error {
    Error::new(ErrorKind::Corrupt, format!("network {}", plan.name)).because(reason)
}

/// The name of the end of the pair that is on the host. An interface's name has at most fifteen characters.
fn outside(endpoint: &Endpoint) -> String {
    endpoint.id.chars().take(11).fold("veth".to_owned(), |mut name, digit| {
        name.push(digit);
        name
    })
}

impl Inner {
    fn create(&self, plan: &NetworkPlan) -> Result<()> {
        let name = interface(plan)?;
        let mut connection = Connection::route()?;
        let link = self.find_or_make(&mut connection, plan, name)?;
        self.check(plan, &link)?;
        let gateway: Vec<_> = plan.gateway.zip(plan.subnet).into_iter().collect();
        let ipv6: Vec<_> = wire::ipv6_of_bridge(plan).collect();
        let is_well = link.up && link.mtu == plan.mtu && link.route_localnet != plan.internal;
        if !(is_well
            && has_addresses(&mut connection, &link, &gateway)?
            && has_addresses(&mut connection, &link, &ipv6)?)
        {
            if !ipv6.is_empty() {
                sysctl::enable_ipv6(name);
            }
            wire::bring_up_bridge(&mut connection, link.index, plan)?
                .map_err(|refusal| refusal.about(format!("bridge {name}")))?;
            if let Some(gateway) = plan.ipv6.and_then(|pool| pool.gateway) {
                link::await_arrival(&mut connection, gateway)?;
            }
        }
        let mut filter = Connection::netfilter()?;
        for family in families(plan) {
            self.ruleset(family).ensure(&mut filter, plan, name)?;
            if !plan.internal && !sysctl::forwards(family)? {
                nft::keep_strangers_out(&mut filter, family)?;
                sysctl::forward(family)?;
            }
        }
        Ok(())
    }

    fn ruleset(&self, family: Family) -> &Ruleset {
        self.rulesets[family as usize].get_or_init(|| Ruleset::new(family))
    }

    /// What is on the host; of IPv6 only if that is asked for.
    fn host(&self, with_ipv6: bool) -> Result<Host> {
        let mut connection = Connection::route()?;
        let mut host = Host {
            interfaces: link::list(&mut connection)?.into_iter().map(|link| link.name).collect(),
            routes: routes(&mut connection)?,
            ..Host::default()
        };
        if with_ipv6 {
            host.routes6 = routes(&mut connection)?;
            // A host without a number of its own is known by its stores.
            let machine = fs::read("/etc/machine-id").unwrap_or_default();
            host.seed = [&machine, self.root.as_os_str().as_bytes()].concat();
        }
        Ok(host)
    }

    fn find_or_make(&self, connection: &mut Connection, plan: &NetworkPlan, name: &str) -> Result<Link> {
        for _ in 0..ATTEMPTS {
            if let Some(link) = link::find(connection, name)? {
                return Ok(link);
            }
            refuse_overlap(connection, plan, plan.subnet)?;
            refuse_overlap(connection, plan, plan.ipv6.map(|pool| pool.subnet))?;
            let alias = alias::of(&plan.id, &self.root);
            match wire::make_bridge(connection, name, bridge_mac(&plan.id), plan.mtu, &alias)? {
                Ok(()) if plan.ipv6.is_some() => sysctl::ignore_router_advertisements(name),
                Ok(()) => sysctl::disable_ipv6(name),
                // Somebody was faster, or swept it while it was being made.
                Err(refusal) if matches!(refusal.errno, Errno::EEXIST | Errno::ENODEV) => {}
                Err(refusal) => return Err(refusal.about(format!("bridge {name}"))),
            }
        }
        Err(Error::new(ErrorKind::Unavailable, format!("bridge {name}"))
            .because("it vanishes whenever it was made")
            .with_remedy("see what on this host removes links"))
    }

    /// Refuses a link that the engine did not make for this very network.
    fn check(&self, plan: &NetworkPlan, link: &Link) -> Result<()> {
        let owner = alias::parse(&link.alias);
        if link.is_bridge && owner.is_some_and(|(network, _)| network == plan.id.as_str()) {
            return Ok(());
        }
        let reason = match owner {
            Some((_, root)) => {
                format!("it belongs to a network of the store {}", String::from_utf8_lossy(root))
            }
            None => "it was not made by the engine".into(),
        };
        Err(Error::new(ErrorKind::Conflict, format!("interface {}", link.name))
            .because(reason)
            .with_remedy(format!("remove network {} and create it with another interface name", plan.name)))
    }

    fn connect(&self, plan: &NetworkPlan, endpoint: &Endpoint, netns: &OwnedFd) -> Result<()> {
        let bridge = interface(plan)?;
        let subnet = plan.subnet.ok_or_else(|| subject_corrupt(plan, "it has no addresses"))?;
        let mut connection = Connection::route()?;
        let index = match connection.index_of(bridge) {
            Some(index) => index,
            // It was there when the endpoint was reserved; somebody took it away since.
            None => {
                self.create(plan)?;
                connection.index_of(bridge).ok_or_else(|| Error::not_found(format!("bridge {bridge}")))?
            }
        };
        let outside = outside(endpoint);
        let pair = Pair {
            outside: &outside,
            bridge: index,
            netns: netns.as_fd(),
            inside: &endpoint.interface,
            mac: endpoint.mac,
            mtu: plan.mtu,
            isolated: !plan.inter_container,
        };
        let subject = || format!("interface {} of the container", endpoint.interface);
        let mut nothing_made = false;
        let (ready, pair_is_made) = mpsc::channel();
        let inside = move || {
            let mut inside = Inside::open()?;
            match pair_is_made.recv() {
                Ok(()) => inside.set_up(plan, endpoint, subnet),
                // It is told on the other side.
                Err(_) => Ok(()),
            }
        };
        let here = || {
            // It goes when this ends, however it ends: the other side must not wait for ever.
            let ready = ready;
            let made = wire::make_pair(&mut connection, &pair)?;
            nothing_made = made.as_ref().is_err_and(|refusal| refusal.message == 0);
            made.map_err(|refusal| refusal.about(subject()))?;
            // If nobody listens any more, the failure is told on that side.
            let _ = ready.send(());
            publish(endpoint)
        };
        let made = netns::beside(netns.as_fd(), inside, here);
        if nothing_made {
            // What has the name of the pair is not to be touched.
            return made;
        }
        let made = made.and_then(|()| link::await_carrier(&mut connection, &[&outside, bridge]));
        match (&made, endpoint.ipv6) {
            (Ok(()), Some(address)) => announce::announce(index, address, endpoint.mac),
            (Ok(()), None) => {}
            // The failure that is told is the one that matters.
            (Err(_), _) => drop(disconnect(endpoint)),
        }
        made
    }

    fn remove(&self, plan: &NetworkPlan) -> Result<()> {
        let name = interface(plan)?;
        let mut connection = Connection::route()?;
        let mut faults = Faults::new();
        match link::find(&mut connection, name)? {
            // The name is somebody else's now, and what the packet filter has by that name too.
            Some(link) if self.check(plan, &link).is_err() => return Ok(()),
            _ => {}
        }
        for family in families(plan) {
            let filter = Connection::netfilter();
            faults.note(filter.and_then(|mut filter| nft::withdraw(&mut filter, family, name)));
        }
        faults.note(wire::remove(&mut connection, name));
        faults.into_result()
    }
}

fn publish(endpoint: &Endpoint) -> Result<()> {
    if endpoint.ports.is_empty() {
        return Ok(());
    }
    nft::publish(&mut Connection::netfilter()?, endpoint)?;
    conntrack::forget(&endpoint.ports)
}

fn disconnect(endpoint: &Endpoint) -> Result<()> {
    let mut faults = Faults::new();
    if !endpoint.ports.is_empty() {
        faults.note(Connection::netfilter().and_then(|mut filter| nft::unpublish(&mut filter, endpoint)));
    }
    let unlink = Connection::route().and_then(|connection| match connection.index_of(&outside(endpoint)) {
        None => Ok(()),
        Some(index) => unlink(connection, index),
    });
    faults.note(unlink);
    faults.into_result()
}

/// Removes a pair, in the background: it dies with its namespace, but the kernel takes its time for it, and so it does
/// when it is asked to. Nobody has to wait for either. The number is never another link's, as the name could become.
fn unlink(mut connection: Connection, index: u32) -> Result<()> {
    let remove = move || {
        let _ = wire::remove_port(&mut connection, index);
    };
    std::thread::Builder::new()
        .name("engine-unlink".into())
        .stack_size(256 << 10)
        .spawn(remove)
        .map(drop)
        .subject(|| "thread to remove a link".into())
}

/// A network must not take over addresses that the host uses: it would be cut off from them. Looked at only when the
/// bridge is made.
fn refuse_overlap<A: Address>(
    connection: &mut Connection,
    plan: &NetworkPlan,
    subnet: Option<Subnet<A>>,
) -> Result<()> {
    let Some(subnet) = subnet else { return Ok(()) };
    let clash = |address: &A| subnet.contains(*address);
    match link::addresses(connection, None)?.into_iter().map(|found| found.address).find(clash) {
        None => Ok(()),
        Some(address) => Err(Error::new(ErrorKind::Conflict, format!("network {}", plan.name))
            .because(format!("its subnet {subnet} has {address}, which is an address of the host already"))
            .with_remedy("remove the network and create it with another subnet, or with none")),
    }
}

/// A locally administered address, from the network's identifier.
fn bridge_mac(id: &NetworkId) -> [u8; 6] {
    let byte =
        |at: usize| id.as_str().get(at..at + 2).and_then(|hex| u8::from_str_radix(hex, 16).ok()).unwrap_or(0);
    [0x02, 0x42, byte(0), byte(2), byte(4), byte(6)]
}
