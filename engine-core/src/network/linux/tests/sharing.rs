//! The way out, the ways between networks, and getting along with others on the same host.

use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use super::ports::{container, network};
use super::{HOST, OUTSIDE, driver, neighbour, on_a_host, on_a_host_with, outside, shell};
use crate::error::ErrorKind;
use crate::network::conformance::{self, Namespace};
use crate::network::driver::{NetworkDriver, NetworkPlan};
use crate::spec::PortSpec;

#[test]
fn members_reach_the_outside_with_the_host_s_address() {
    on_a_host(|| async {
        let outside = outside();
        outside.serve(80, 1);
        let plan = network("bridge", |_| ()).await;
        let one = container(&driver(), &plan, 1, &[]).await;
        assert_eq!(one.netns.ask((OUTSIDE, 80)).expect("reaches the outside"), HOST);
        let plain = network("plain", |plan| plan.masquerade = false).await;
        let two = container(&driver(), &plain, 1, &[]).await;
        two.netns.ask((OUTSIDE, 80)).expect_err("the outside knows no way back");
        outside.run(|| shell(&format!("ip route add {} via {HOST}", plain.subnet.expect("has one"))));
        outside.serve(81, 1);
        assert_eq!(two.netns.ask((OUTSIDE, 81)).expect("reaches the outside"), two.end.address);
    });
}

#[test]
fn an_internal_network_has_no_way_out_or_in() {
    internal("0");
    internal("1");
}

fn internal(br_netfilter: &str) {
    on_a_host_with(br_netfilter, || async {
        let outside = outside();
        outside.serve(80, 1);
        let secret = network("secret", |plan| plan.internal = true).await;
        let open = network("open", |_| ()).await;
        let one = container(&driver(), &secret, 1, &[]).await;
        let two = container(&driver(), &secret, 2, &[]).await;
        let web = container(&driver(), &open, 1, &[PortSpec::tcp(8080, 80)]).await;
        web.netns.serve(80, 1);
        two.netns.serve(80, 1);
        one.netns.ask((two.end.address, 80)).expect("members reach each other");
        one.netns.ask((OUTSIDE, 80)).expect_err("there is no route");
        // Nor does a route of its own making help.
        one.netns.run(|| shell(&format!("ip route add default via {}", secret.gateway.expect("has one"))));
        one.netns.ask((OUTSIDE, 80)).expect_err("there is no way out");
        one.netns.ask((HOST, 8080)).expect_err("a published port of another network is a way out too");
        web.netns.ask((two.end.address, 80)).expect_err("there is no way in");
        let error = driver().reserve(&secret, &[PortSpec::tcp(1, 1)]).await.expect_err("nothing to publish");
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
    });
}

#[test]
fn members_are_kept_apart_where_that_is_asked_for() {
    on_a_host(|| async {
        let outside = outside();
        outside.serve(80, 1);
        let apart = network("apart", |plan| plan.inter_container = false).await;
        let one = container(&driver(), &apart, 1, &[PortSpec::tcp(8080, 80)]).await;
        let two = container(&driver(), &apart, 2, &[]).await;
        one.netns.serve(80, 3);
        two.netns.ask((one.end.address, 80)).expect_err("members do not reach each other");
        two.netns.ask((OUTSIDE, 80)).expect("but the outside");
        two.netns.ask((HOST, 8080)).expect("and published ports");
        Namespace::current().ask((one.end.address, 80)).expect("and the host reaches them");
    });
    on_a_host_with("1", || async {
        let apart = network("apart", |plan| plan.inter_container = false).await;
        let one = container(&driver(), &apart, 1, &[]).await;
        let two = container(&driver(), &apart, 2, &[]).await;
        one.netns.serve(80, 1);
        two.netns.ask((one.end.address, 80)).expect_err("members do not reach each other");
    });
}

#[test]
fn a_host_that_was_no_router_routes_for_the_networks_only() {
    on_a_host(|| async {
        let left = outside();
        let address = |last| Ipv4Addr::new(198, 51, 100, last);
        let right = neighbour("right", address(1), address(2));
        right.serve(80, 4);
        left.run(|| shell(&format!("ip route add {}/24 via {HOST}", address(0))));
        right.run(|| shell(&format!("ip route add default via {}", address(1))));
        left.ask((address(2), 80)).expect_err("the host is no router");
        let plan = network("bridge", |_| ()).await;
        assert_eq!(shell("cat /proc/sys/net/ipv4/ip_forward").trim(), "1");
        left.ask((address(2), 80)).expect_err("the host is no router for strangers");
        let one = container(&driver(), &plan, 1, &[]).await;
        one.netns.ask((address(2), 80)).expect("it is one for the networks");
        // This is what kept them out.
        shell("nft flush map ip engine strangers");
        left.ask((address(2), 80)).expect("the way is open");
    });
}

#[test]
fn a_host_that_is_a_router_stays_one() {
    on_a_host(|| async {
        shell("echo 1 > /proc/sys/net/ipv4/ip_forward");
        network("bridge", |_| ()).await;
        assert!(!shell("nft list map ip engine strangers").contains("drop"));
    });
}

/// What dockerd 20.10 makes of `ip filter FORWARD`, and a container of its own.
const DOCKER: &str = "
    echo 1 > /proc/sys/net/ipv4/ip_forward
    ip link add docker0 type bridge; ip addr add 172.17.0.1/16 dev docker0; ip link set docker0 up
    iptables -P FORWARD DROP
    iptables -N DOCKER; iptables -N DOCKER-USER
    iptables -N DOCKER-ISOLATION-STAGE-1; iptables -N DOCKER-ISOLATION-STAGE-2
    iptables -A DOCKER-USER -j RETURN
    iptables -A DOCKER-ISOLATION-STAGE-1 -i docker0 ! -o docker0 -j DOCKER-ISOLATION-STAGE-2
    iptables -A DOCKER-ISOLATION-STAGE-1 -j RETURN
    iptables -A DOCKER-ISOLATION-STAGE-2 -o docker0 -j DROP
    iptables -A DOCKER-ISOLATION-STAGE-2 -j RETURN
    iptables -A FORWARD -j DOCKER-USER
    iptables -A FORWARD -j DOCKER-ISOLATION-STAGE-1
    iptables -A FORWARD -o docker0 -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
    iptables -A FORWARD -o docker0 -j DOCKER
    iptables -A FORWARD -i docker0 ! -o docker0 -j ACCEPT
    iptables -A FORWARD -i docker0 -o docker0 -j ACCEPT
    iptables -t nat -A POSTROUTING -s 172.17.0.0/16 ! -o docker0 -j MASQUERADE";

#[test]
fn docker_on_the_same_host_is_no_obstacle_and_is_not_touched() {
    on_a_host(|| async {
        shell(DOCKER);
        let outside = outside();
        outside.serve(80, 1);
        let plan = network("bridge", |_| ()).await;
        assert_ne!(plan.subnet.map(|s| s.to_string()).as_deref(), Some("172.17.0.0/16"));
        let one = container(&driver(), &plan, 1, &[PortSpec::tcp(8080, 80)]).await;
        let two = container(&driver(), &plan, 2, &[]).await;
        one.netns.serve(80, 4);
        assert_eq!(one.netns.ask((OUTSIDE, 80)).expect("reaches the outside"), HOST);
        outside.ask((HOST, 8080)).expect("a published port is reached");
        two.netns.ask((HOST, 8080)).expect("by a member");
        Namespace::current().ask((Ipv4Addr::LOCALHOST, 8080)).expect("and from the loopback");
        // Docker's containers stay as closed to ours as to anybody.
        let docker = docker_container();
        docker.serve(80, 1);
        one.netns.ask(([172, 17, 0, 2], 80)).expect_err("Docker's networks are not ours to open");
        docker.ask((one.end.address, 80)).expect_err("nor ours theirs");

        // iptables reads the rules as its own, and they are there once, however often it is looked.
        driver().create(&plan).await.expect("finds it made");
        let rules = shell("iptables -S FORWARD");
        let bridge = plan.interface.as_deref().expect("has one");
        let comment = format!("-m comment --comment \"engine: {bridge}\"");
        for rule in [
            format!("-A FORWARD -i {bridge} -o docker+ {comment} -j RETURN"),
            format!("-A FORWARD -i {bridge} -o br-+ {comment} -j RETURN"),
            format!("-A FORWARD -i {bridge} {comment} -j ACCEPT"),
            format!("-A FORWARD -o {bridge} {comment} -j ACCEPT"),
        ] {
            assert_eq!(rules.lines().filter(|line| **line == rule).count(), 1, "{rule} in {rules}");
        }
        driver().remove(&plan).await.expect("is unmade");
        assert!(!shell("iptables -S").contains(bridge));
    });
}

/// A namespace on `docker0`.
fn docker_container() -> Namespace {
    let netns = Namespace::new();
    let mut routes = crate::network::linux::connection::Connection::route().expect("opens");
    let bridge =
        crate::network::linux::link::find(&mut routes, "docker0").expect("answers").expect("is there");
    let pair = crate::network::linux::wire::Pair {
        outside: "vethdocker",
        bridge: bridge.index,
        netns: netns.fd(),
        inside: "eth0",
        mac: [2, 0x42, 172, 17, 0, 2],
        mtu: 1500,
        isolated: false,
    };
    crate::network::linux::wire::make_pair(&mut routes, &pair).expect("a conversation").expect("is made");
    netns.run(|| {
        shell(
            "ip link set lo up; ip addr add 172.17.0.2/16 dev eth0; ip link set eth0 up
             ip route add default via 172.17.0.1",
        );
    });
    netns
}

#[test]
fn an_interface_that_is_not_the_engine_s_is_not_taken_over() {
    on_a_host(|| async {
        let mut plan = conformance::plan(&driver(), "net").await;
        plan.interface = Some("lan0".into());
        shell("ip link add lan0 type bridge; ip addr add 10.5.0.1/24 dev lan0");
        let error = driver().create(&plan).await.expect_err("it is somebody else's");
        assert_eq!(error.kind(), ErrorKind::Conflict);
        driver().remove(&plan).await.expect("there is nothing of that network");
        assert!(shell("ip -o link").contains("lan0"));
        plan.interface = Some("lan1".into());
        plan.subnet = Some("10.5.0.0/16".parse().expect("well formed"));
        let error = driver().create(&plan).await.expect_err("the host has addresses there");
        assert_eq!(error.kind(), ErrorKind::Conflict);
        assert!(error.to_string().contains("10.5.0.1"), "{error}");
    });
}

#[test]
fn a_bridge_that_lost_something_gets_it_back_and_one_that_vanished_is_made_by_the_next_connection() {
    on_a_host(|| async {
        let plan = network("bridge", |_| ()).await;
        for damage in [
            "ip link set engine0 down",
            "ip addr flush dev engine0",
            "echo 0 > /proc/sys/net/ipv4/conf/engine0/route_localnet",
            "ip link set engine0 mtu 1400",
            "ip link del engine0",
        ] {
            shell(damage);
            driver().create(&plan).await.expect("is mended");
            let shown = shell("ip addr show engine0");
            assert!(
                shown.contains("UP") && shown.contains("172.17.0.1/16") && shown.contains("mtu 1500"),
                "{shown}"
            );
            assert!(!shown.contains("inet6"), "no IPv6: {shown}");
            assert_eq!(
                shell("cat /proc/sys/net/ipv4/conf/engine0/route_localnet").trim(),
                "1",
                "after {damage}"
            );
        }
        shell("ip link del engine0");
        let netns = Namespace::new();
        let end = conformance::endpoint(&plan, 1);
        driver().connect(&plan, &end, netns.fd()).await.expect("connects");
        let inside = netns.run(|| shell("ip addr; ip route"));
        assert!(inside.contains("172.17.0.2/16") && inside.contains("default via 172.17.0.1"), "{inside}");
        assert!(inside.contains("02:42:ac:11:00:02") && !inside.contains("fe80"), "{inside}");
    });
}

#[test]
fn a_connection_takes_a_fraction_of_a_millisecond() {
    on_a_host(|| async { connections(network("bridge", |_| ()).await).await });
    on_a_host(|| async { connections(conformance::plan_with_ipv6(&driver(), "six").await).await });
}

async fn connections(plan: NetworkPlan) {
    let (mut connects, mut creates) = (Vec::new(), Vec::new());
    for number in 1..=20 {
        let netns = Namespace::new();
        let mut end = conformance::endpoint(&plan, number);
        end.ports = driver()
            .reserve(&plan, &[PortSpec { host: None, ..PortSpec::tcp(0, 80) }])
            .await
            .expect("free")
            .ports;
        let driver = driver();
        let begin = Instant::now();
        driver.create(&plan).await.expect("finds it made");
        creates.push(begin.elapsed());
        let begin = Instant::now();
        driver.connect(&plan, &end, netns.fd()).await.expect("connects");
        connects.push(begin.elapsed());
    }
    creates.sort_unstable();
    connects.sort_unstable();
    println!(
        "IPv6 {}: create again: {:?}, connect with a port: {:?} (medians)",
        plan.ipv6.is_some(),
        creates[10],
        connects[10]
    );
    // Generous: other tests run beside.
    assert!(connects[10] < Duration::from_millis(20), "{connects:?}");
}
