//! Published ports, from everywhere.

use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::os::fd::OwnedFd;
use std::thread;
use std::time::Duration;

use super::{HOST, OUTSIDE, driver, on_a_host, on_a_host_with, outside, shell};
use crate::network::conformance::{self, Namespace};
use crate::network::driver::{Endpoint, NetworkDriver, NetworkPlan};
use crate::network::linux::Bridge;
use crate::spec::{PortSpec, Protocol};

/// A container with published ports, and what its monitor would hold.
pub(super) struct Container {
    pub(super) netns: Namespace,
    pub(super) end: Endpoint,
    pub(super) held: Vec<OwnedFd>,
}

pub(super) async fn container(
    driver: &Bridge,
    plan: &NetworkPlan,
    number: usize,
    ports: &[PortSpec],
) -> Container {
    driver.create(plan).await.expect("is made");
    let reservation = driver.reserve(plan, ports).await.expect("the ports are free");
    let mut end = conformance::endpoint(plan, number);
    end.ports = reservation.ports;
    let netns = Namespace::new();
    driver.connect(plan, &end, netns.fd()).await.expect("connects");
    Container { netns, end, held: reservation.held }
}

pub(super) async fn network(name: &str, change: impl FnOnce(&mut NetworkPlan)) -> NetworkPlan {
    let mut plan = conformance::plan(&driver(), name).await;
    change(&mut plan);
    driver().create(&plan).await.expect("is made");
    plan
}

pub(super) fn udp(host: u16, container: u16) -> PortSpec {
    PortSpec { protocol: Protocol::Udp, ..PortSpec::tcp(host, container) }
}

/// A datagram there and back; gives who the server thinks asked, and who answered.
pub(super) fn ask_udp(from: &Namespace, server: SocketAddr) -> Option<(IpAddr, SocketAddr)> {
    from.run(|| {
        let client = UdpSocket::bind("[::]:0").expect("binds");
        client.set_read_timeout(Some(Duration::from_millis(700))).expect("is set");
        let mapped = match server.ip() {
            IpAddr::V4(address) => address.to_ipv6_mapped(),
            IpAddr::V6(address) => address,
        };
        client.send_to(b"who", (mapped, server.port())).ok()?;
        let mut buffer = [0; 64];
        let (length, peer) = client.recv_from(&mut buffer).ok()?;
        let peer = SocketAddr::new(peer.ip().to_canonical(), peer.port());
        Some((std::str::from_utf8(&buffer[..length]).ok()?.parse().ok()?, peer))
    })
}

pub(super) fn serve_udp(netns: &Namespace, port: u16, count: usize) {
    let server = netns.run(|| UdpSocket::bind(("::", port)).expect("binds"));
    server.set_read_timeout(Some(Duration::from_secs(10))).expect("is set");
    thread::spawn(move || {
        let mut buffer = [0; 64];
        for _ in 0..count {
            let Ok((_, peer)) = server.recv_from(&mut buffer) else { return };
            let _ = server.send_to(peer.ip().to_canonical().to_string().as_bytes(), peer);
        }
    });
}

#[test]
fn a_published_tcp_port_is_reached_from_everywhere() {
    everywhere("0");
    everywhere("1");
}

fn everywhere(br_netfilter: &str) {
    on_a_host_with(br_netfilter, || async {
        let outside = outside();
        let plan = network("bridge", |_| ()).await;
        let other_plan = network("other", |_| ()).await;
        let web = container(&driver(), &plan, 1, &[PortSpec::tcp(8080, 80)]).await;
        let mate = container(&driver(), &plan, 2, &[]).await;
        let other = container(&driver(), &other_plan, 1, &[]).await;
        let gateway = plan.gateway.expect("has one");
        let host = Namespace::current();
        web.netns.serve(80, 12);

        assert_eq!(outside.ask((HOST, 8080)).expect("from outside"), OUTSIDE, "the client's address is kept");
        assert_eq!(host.ask((Ipv4Addr::LOCALHOST, 8080)).expect("from the host's loopback"), gateway);
        host.ask((HOST, 8080)).expect("from the host, by its own address");
        host.ask((gateway, 8080)).expect("from the host, by the gateway's address");
        mate.netns.ask((HOST, 8080)).expect("from a member, by the host's address");
        mate.netns.ask((gateway, 8080)).expect("from a member, by the gateway's address");
        web.netns.ask((HOST, 8080)).expect("from the container itself");
        other.netns.ask((HOST, 8080)).expect("from another network");

        // But the other ways in are closed.
        other.netns.ask((web.end.address, 80)).expect_err("networks are isolated");
        outside.run(|| shell(&format!("ip route add {} via {HOST}", plan.subnet.expect("has one"))));
        outside.ask((web.end.address, 80)).expect_err("nobody is routed straight in");
        mate.netns.ask((web.end.address, 80)).expect("members reach each other");
        let refused = outside.ask((HOST, 8081)).expect_err("that port is not published");
        assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
    });
}

#[test]
fn a_published_udp_port_answers_from_the_address_that_was_asked() {
    everywhere_by_udp("0");
    everywhere_by_udp("1");
}

fn everywhere_by_udp(br_netfilter: &str) {
    on_a_host_with(br_netfilter, || async {
        let outside = outside();
        let plan = network("bridge", |_| ()).await;
        let dns = container(&driver(), &plan, 1, &[udp(5300, 53)]).await;
        serve_udp(&dns.netns, 53, 4);
        let host = Namespace::current();
        let mate = container(&driver(), &plan, 2, &[]).await;
        for (from, address) in [
            (&outside, HOST),
            (&host, Ipv4Addr::LOCALHOST),
            (&mate.netns, HOST),
            (&dns.netns, plan.gateway.expect("has one")),
        ] {
            let (_, peer) =
                ask_udp(from, (address, 5300).into()).unwrap_or_else(|| panic!("no answer from {address}"));
            assert_eq!(peer, (address, 5300).into());
        }
    });
}

#[test]
fn a_udp_client_that_never_stops_reaches_the_next_container() {
    on_a_host(|| async {
        let outside = outside();
        let plan = network("bridge", |_| ()).await;
        let client = outside.run(|| UdpSocket::bind("0.0.0.0:0").expect("binds"));
        client.set_read_timeout(Some(Duration::from_millis(700))).expect("is set");
        // Before anything is published, and again between two containers: the kernel remembers where it went.
        for number in 1..=2 {
            client.send_to(b"anybody", (HOST, 5300)).expect("sends");
            let dns = container(&driver(), &plan, number, &[udp(5300, 53)]).await;
            serve_udp(&dns.netns, 53, 1);
            client.send_to(b"who", (HOST, 5300)).expect("sends");
            let mut buffer = [0; 64];
            client
                .recv_from(&mut buffer)
                .unwrap_or_else(|e| panic!("container {number} was not reached: {e}"));
            driver().disconnect(&plan, &dns.end).await.expect("disconnects");
        }
    });
}

#[test]
fn a_port_of_the_loopback_is_for_the_host_alone() {
    on_a_host(|| async {
        let outside = outside();
        let plan = network("bridge", |_| ()).await;
        let at = |host, address: Ipv4Addr| PortSpec {
            host_address: Some(address.into()),
            ..PortSpec::tcp(host, 80)
        };
        let ports = [at(8080, Ipv4Addr::LOCALHOST), at(8081, HOST)];
        let web = container(&driver(), &plan, 1, &ports).await;
        let mate = container(&driver(), &plan, 2, &[]).await;
        web.netns.serve(80, 5);
        let host = Namespace::current();
        host.ask((Ipv4Addr::LOCALHOST, 8080)).expect("from the host's loopback");
        host.ask((HOST, 8080)).expect_err("the address is another one");
        outside.ask((HOST, 8080)).expect_err("from outside");
        outside.ask((HOST, 8081)).expect("on its own address");
        host.ask((Ipv4Addr::LOCALHOST, 8081)).expect_err("not on the loopback");
        // CVE-2020-8558: packets to 127.0.0.1 put on the wire, by a router's or a member's own hand.
        for liar in [&outside, &mate.netns] {
            liar.run(|| {
                shell(
                    "ip addr del 127.0.0.1/8 dev lo 2>/dev/null || true; ip link set lo down
                     echo 1 > /proc/sys/net/ipv4/conf/all/route_localnet
                     echo 1 > /proc/sys/net/ipv4/conf/eth0/route_localnet",
                );
            });
        }
        let via = |gateway| format!("ip route add 127.0.0.1 via {gateway} dev eth0");
        outside.run(|| shell(&via(HOST)));
        mate.netns.run(|| shell(&via(plan.gateway.expect("has one"))));
        let private = std::net::TcpListener::bind("127.0.0.1:7777").expect("binds");
        thread::spawn(move || private.accept().map(drop));
        for liar in [&outside, &mate.netns] {
            for port in [7777, 8080] {
                liar.ask((Ipv4Addr::LOCALHOST, port)).expect_err("the host's loopback is nobody else's");
            }
        }
    });
}

#[test]
fn what_a_killed_monitor_left_is_swept() {
    on_a_host(|| async {
        let plan = network("bridge", |_| ()).await;
        let dead = container(&driver(), &plan, 1, &[PortSpec::tcp(8080, 80), udp(5300, 53)]).await;
        let alive = container(&driver(), &plan, 2, &[PortSpec::tcp(8081, 80)]).await;
        drop((dead.held, dead.netns));
        let known = std::collections::BTreeMap::new();
        let lines = driver().sweep(std::slice::from_ref(&plan), &known).await.expect("sweeps");
        let mut lines: Vec<_> = lines.iter().map(String::as_str).collect();
        lines.sort_unstable();
        assert_eq!(lines, ["published port 0.0.0.0:5300/udp", "published port 0.0.0.0:8080/tcp"]);
        drop((alive.held, alive.netns));
        // The pairs are gone with their namespaces; the bridge of a network that is not recorded goes too.
        conformance::eventually("the pairs are gone", || !shell("ip -o link").contains("veth"));
        let lines = driver().sweep(&[], &known).await.expect("sweeps");
        assert_eq!(lines, ["published port 0.0.0.0:8081/tcp", "bridge engine0"]);
        assert!(!shell("ip -o link").contains("engine0"));
        assert!(!shell("nft list ruleset").contains("engine0"));
    });
}

#[test]
fn bridges_of_other_stores_are_left_alone_while_those_stores_are_there() {
    on_a_host(|| async {
        let directory = tempfile::tempdir().expect("a directory");
        let other = Bridge::new(directory.path());
        let plan = conformance::plan(&other, "bridge").await;
        other.create(&plan).await.expect("is made");
        shell("ip link add unrelated type bridge");
        let none = std::collections::BTreeMap::new();
        assert!(driver().sweep(&[], &none).await.expect("sweeps").is_empty());
        // The name and the addresses are taken.
        let mine = conformance::plan(&driver(), "bridge").await;
        assert_ne!(mine.interface, plan.interface);
        assert_ne!(mine.subnet, plan.subnet);
        let mut stubborn = mine;
        stubborn.interface.clone_from(&plan.interface);
        let error = driver().create(&stubborn).await.expect_err("it is another store's");
        assert!(error.to_string().contains(&directory.path().display().to_string()), "{error}");
        driver().remove(&stubborn).await.expect("there is nothing of that network");
        assert!(shell("ip -o link").contains("engine0"), "and nothing of the other one is touched");
        drop(directory);
        assert_eq!(driver().sweep(&[], &none).await.expect("sweeps"), ["bridge engine0"]);
        assert!(shell("ip -o link").contains("unrelated"));
    });
}
