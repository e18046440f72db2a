//! Networks with IPv6: the same promises as for IPv4, and those that only IPv6 needs.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, UdpSocket};
use std::time::Duration;

use super::ports::{ask_udp, container, serve_udp, udp};
use super::{HOST, driver, on_a_host, on_a_host_with, outside, shell};
use crate::error::ErrorKind;
use crate::network::conformance::{self, Namespace};
use crate::network::driver::{NetworkDriver, NetworkPlan};
use crate::spec::{PortSpec, Subnet};

const HOST6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1);
const OUTSIDE6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 2);

async fn network(name: &str, change: impl FnOnce(&mut NetworkPlan)) -> NetworkPlan {
    let mut plan = conformance::plan_with_ipv6(&driver(), name).await;
    change(&mut plan);
    driver().create(&plan).await.expect("is made");
    plan
}

/// A neighbour of the host with an address of each family.
fn outside6() -> Namespace {
    let outside = outside();
    shell(&format!("ip addr add {HOST6}/64 dev uplink nodad"));
    outside.run(|| shell(&format!("ip addr add {OUTSIDE6}/64 dev eth0 nodad")));
    outside
}

fn subnet(plan: &NetworkPlan) -> Subnet<Ipv6Addr> {
    plan.ipv6.expect("has IPv6").subnet
}

fn gateway(plan: &NetworkPlan) -> Ipv6Addr {
    plan.ipv6.and_then(|pool| pool.gateway).expect("has one")
}

fn at(host: u16, address: Ipv6Addr) -> PortSpec {
    PortSpec { host_address: Some(address.into()), ..PortSpec::tcp(host, 80) }
}

#[test]
fn an_address_works_at_once_and_the_default_route_leads_to_the_bridge() {
    on_a_host(|| async {
        let plan = network("six", |_| ()).await;
        let one = container(&driver(), &plan, 1, &[]).await;
        let inside = one.netns.run(|| shell("ip -6 addr show dev eth0; ip -6 route; ip -6 addr show dev lo"));
        let address = one.end.ipv6.expect("has one");
        assert!(inside.contains(&format!("inet6 {address}/64 scope global nodad")), "{inside}");
        assert!(!inside.contains("tentative"), "nobody has to wait: {inside}");
        assert!(inside.contains(&format!("default via {} dev eth0", gateway(&plan))), "{inside}");
        assert!(
            inside.contains("fe80::42:acff:fe11:2/64"),
            "as the kernel makes it of 02:42:ac:11:00:02: {inside}"
        );
        assert!(inside.contains("::1/128"), "{inside}");
        let accept = one.netns.run(|| shell("cat /proc/sys/net/ipv6/conf/eth0/accept_ra"));
        assert_eq!(accept.trim(), "0", "nobody on the network may change the routes");
    });
}

#[test]
fn a_host_that_makes_new_interfaces_without_ipv6_has_it_in_these_networks() {
    on_a_host(|| async {
        shell("echo 1 > /proc/sys/net/ipv6/conf/default/disable_ipv6");
        let plan = network("six", |_| ()).await;
        driver().create(&plan).await.expect("finds it made");
        let netns = Namespace::new();
        netns.run(|| shell("echo 1 > /proc/sys/net/ipv6/conf/default/disable_ipv6"));
        let end = conformance::endpoint(&plan, 1);
        driver().connect(&plan, &end, netns.fd()).await.expect("connects");
        let server = netns.serve(80, 1);
        Namespace::current().ask((end.ipv6.expect("has one"), 80)).expect("the host reaches a member");
        server.join().expect("ends");
    });
}

#[test]
fn a_bridge_that_lost_its_ipv6_address_gets_it_back() {
    on_a_host(|| async {
        let plan = network("six", |_| ()).await;
        let bridge = plan.interface.clone().expect("has one");
        for damage in ["ip -6 addr flush dev", "ip link set down", "ip link del"] {
            shell(&format!("{damage} {bridge}"));
            driver().create(&plan).await.expect("is mended");
            let shown = shell(&format!("ip addr show {bridge}"));
            let wanted = format!("inet6 {}/64", gateway(&plan));
            assert!(shown.contains(&wanted) && shown.contains("fe80::1/64"), "after {damage}: {shown}");
        }
    });
}

#[test]
fn a_published_port_is_reached_by_ipv6_from_everywhere() {
    everywhere("0");
    everywhere("1");
}

fn everywhere(br_netfilter: &str) {
    on_a_host_with(br_netfilter, || async {
        let outside = outside6();
        let plan = network("six", |_| ()).await;
        let other_plan = network("other", |plan| plan.ipv6 = plan.ipv6.map(beside)).await;
        let web = container(&driver(), &plan, 1, &[PortSpec::tcp(8080, 80)]).await;
        let mate = container(&driver(), &plan, 2, &[]).await;
        let other = container(&driver(), &other_plan, 1, &[]).await;
        let host = Namespace::current();
        web.netns.serve(80, 13);
        let kept = outside.ask((HOST6, 8080)).expect("from outside");
        assert_eq!(kept, OUTSIDE6, "the client's address is kept");
        let seen = host.ask((Ipv6Addr::LOCALHOST, 8080)).expect("from the host's loopback");
        assert_eq!(seen, gateway(&plan));
        host.ask((HOST6, 8080)).expect("from the host, by its own address");
        host.ask((gateway(&plan), 8080)).expect("from the host, by the gateway's address");
        mate.netns.ask((HOST6, 8080)).expect("from a member, by the host's address");
        mate.netns.ask((gateway(&plan), 8080)).expect("from a member, by the gateway's address");
        web.netns.ask((HOST6, 8080)).expect("from the container itself");
        other.netns.ask((HOST6, 8080)).expect("from another network");
        // IPv4 goes on as ever.
        outside.ask((HOST, 8080)).expect("from outside, by IPv4");
        host.ask((Ipv4Addr::LOCALHOST, 8080)).expect("from the host's loopback, by IPv4");

        let address = web.end.ipv6.expect("has one");
        other.netns.ask((address, 80)).expect_err("networks are isolated");
        outside.run(|| shell(&format!("ip route add {} via {HOST6}", subnet(&plan))));
        outside.ask((address, 80)).expect_err("nobody is routed straight in");
        mate.netns.ask((address, 80)).expect("members reach each other");
        let refused = outside.ask((HOST6, 8081)).expect_err("that port is not published");
        assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused);
    });
}

/// Other addresses of the same host.
fn beside(mut pool: crate::network::driver::Pool<Ipv6Addr>) -> crate::network::driver::Pool<Ipv6Addr> {
    let next = Ipv6Addr::from_bits(pool.subnet.network().to_bits() + (1 << 64));
    pool.subnet = Subnet::of(next, 64);
    pool.gateway = pool.subnet.hosts().next();
    pool
}

#[test]
fn a_published_udp_port_answers_by_ipv6_from_the_address_that_was_asked() {
    for br_netfilter in ["0", "1"] {
        on_a_host_with(br_netfilter, || async {
            let outside = outside6();
            let plan = network("six", |_| ()).await;
            let dns = container(&driver(), &plan, 1, &[udp(5300, 53)]).await;
            serve_udp(&dns.netns, 53, 5);
            let host = Namespace::current();
            let mate = container(&driver(), &plan, 2, &[]).await;
            for (from, address) in [
                (&outside, IpAddr::V6(HOST6)),
                (&host, IpAddr::V6(Ipv6Addr::LOCALHOST)),
                (&mate.netns, IpAddr::V6(HOST6)),
                (&dns.netns, IpAddr::V6(gateway(&plan))),
                (&host, IpAddr::V4(Ipv4Addr::LOCALHOST)),
            ] {
                let answer = ask_udp(from, (address, 5300).into());
                let (_, peer) = answer.unwrap_or_else(|| panic!("no answer from {address}"));
                assert_eq!(peer, (address, 5300).into());
            }
        });
    }
}

#[test]
fn a_udp_client_that_never_stops_reaches_the_next_container_by_ipv6() {
    on_a_host(|| async {
        let outside = outside6();
        let plan = network("six", |_| ()).await;
        let client = outside.run(|| UdpSocket::bind("[::]:0").expect("binds"));
        client.set_read_timeout(Some(Duration::from_millis(700))).expect("is set");
        for number in 1..=2 {
            client.send_to(b"anybody", (HOST6, 5300)).expect("sends");
            let dns = container(&driver(), &plan, number, &[udp(5300, 53)]).await;
            serve_udp(&dns.netns, 53, 1);
            client.send_to(b"who", (HOST6, 5300)).expect("sends");
            let answer = client.recv_from(&mut [0; 64]);
            answer.unwrap_or_else(|e| panic!("container {number} was not reached: {e}"));
            driver().disconnect(&plan, &dns.end).await.expect("disconnects");
        }
    });
}

#[test]
fn a_port_of_one_address_is_published_on_that_one() {
    for br_netfilter in ["0", "1"] {
        on_a_host_with(br_netfilter, || async {
            let outside = outside6();
            let plan = network("six", |_| ()).await;
            let ports = [at(8080, Ipv6Addr::LOCALHOST), at(8081, HOST6), at(8082, Ipv6Addr::UNSPECIFIED)];
            let web = container(&driver(), &plan, 1, &ports).await;
            let mate = container(&driver(), &plan, 2, &[]).await;
            web.netns.serve(80, 4);
            let host = Namespace::current();
            host.ask((Ipv6Addr::LOCALHOST, 8080)).expect("from the host's loopback");
            host.ask((HOST6, 8080)).expect_err("the address is another one");
            outside.ask((HOST6, 8080)).expect_err("from outside");
            outside.ask((HOST6, 8081)).expect("on its own address");
            host.ask((Ipv6Addr::LOCALHOST, 8081)).expect_err("not on the loopback");
            outside.ask((HOST6, 8082)).expect("on all of IPv6");
            outside.ask((HOST, 8082)).expect_err("but not of IPv4");
            // What listens on the host's loopback is nobody else's, not even by a route of one's own making.
            let private = std::net::TcpListener::bind("[::1]:7777").expect("binds");
            for (liar, via) in [(&outside, HOST6), (&mate.netns, gateway(&plan))] {
                liar.run(|| {
                    shell(&format!(
                        "ip link set lo down; ip -6 route add ::1 via {via} dev eth0 metric 1; ip -6 addr del ::1 dev lo 2>/dev/null || true"
                    ))
                });
                for port in [7777, 8080] {
                    liar.ask((Ipv6Addr::LOCALHOST, port)).expect_err("the host's loopback is nobody else's");
                }
            }
            drop(private);
        });
    }
}

#[test]
fn a_network_without_ipv6_publishes_by_ipv4() {
    on_a_host(|| async {
        let plan = super::ports::network("bridge", |_| ()).await;
        let error =
            driver().reserve(&plan, &[at(8080, Ipv6Addr::LOCALHOST)]).await.expect_err("it has no IPv6");
        assert_eq!(error.kind(), ErrorKind::Unsupported);
        assert!(error.remedy().is_some_and(|remedy| remedy.contains("IPv6")), "{error}");
        let all =
            driver().reserve(&plan, &[at(8080, Ipv6Addr::UNSPECIFIED)]).await.expect("all that there are");
        assert_eq!(all.ports[0].host_address, Ipv4Addr::UNSPECIFIED);
    });
}

#[test]
fn members_reach_the_outside_with_the_host_s_ipv6_address() {
    on_a_host(|| async {
        let outside = outside6();
        outside.serve(80, 1);
        let plan = network("six", |_| ()).await;
        let one = container(&driver(), &plan, 1, &[]).await;
        assert_eq!(one.netns.ask((OUTSIDE6, 80)).expect("reaches the outside"), HOST6);
        let plain = network("plain", |plan| {
            plan.masquerade = false;
            plan.ipv6 = plan.ipv6.map(beside);
        })
        .await;
        let two = container(&driver(), &plain, 1, &[]).await;
        two.netns.ask((OUTSIDE6, 80)).expect_err("the outside knows no way back");
        outside.run(|| shell(&format!("ip route add {} via {HOST6}", subnet(&plain))));
        outside.serve(81, 1);
        assert_eq!(
            two.netns.ask((OUTSIDE6, 81)).expect("reaches the outside"),
            two.end.ipv6.expect("has one")
        );
    });
}

#[test]
fn an_internal_network_has_no_way_out_or_in_by_ipv6() {
    for br_netfilter in ["0", "1"] {
        on_a_host_with(br_netfilter, || async {
            let outside = outside6();
            outside.serve(80, 1);
            let secret = network("secret", |plan| plan.internal = true).await;
            assert_eq!(shell("cat /proc/sys/net/ipv6/conf/all/forwarding").trim(), "0");
            let open = network("open", |plan| plan.ipv6 = plan.ipv6.map(beside)).await;
            let one = container(&driver(), &secret, 1, &[]).await;
            let two = container(&driver(), &secret, 2, &[]).await;
            let web = container(&driver(), &open, 1, &[PortSpec::tcp(8080, 80)]).await;
            web.netns.serve(80, 1);
            two.netns.serve(80, 1);
            let two = two.end.ipv6.expect("has one");
            one.netns.ask((two, 80)).expect("members reach each other");
            one.netns.ask((OUTSIDE6, 80)).expect_err("there is no route");
            one.netns.run(|| shell(&format!("ip route add default via {}", gateway(&secret))));
            one.netns.ask((OUTSIDE6, 80)).expect_err("there is no way out");
            one.netns.ask((HOST6, 8080)).expect_err("a published port of another network is a way out too");
            web.netns.ask((two, 80)).expect_err("there is no way in");
        });
    }
}

#[test]
fn a_network_without_ipv6_sends_none_on_even_if_its_host_does() {
    on_a_host(|| async {
        let outside = outside6();
        let mut plan = conformance::plan_with_ipv6(&driver(), "secret").await;
        (plan.internal, plan.ipv6) = (true, None);
        driver().create(&plan).await.expect("is made");
        let one = container(&driver(), &plan, 1, &[]).await;
        // A host that is a router for somebody else's sake, and a member that makes up its own way.
        shell("echo 1 > /proc/sys/net/ipv6/conf/all/forwarding");
        let bridge = plan.interface.expect("has one");
        let link = shell(&format!("ip -o link show {bridge}"));
        let mac = link.split("link/ether ").nth(1).and_then(|rest| rest.split(' ').next()).expect("has one");
        one.netns.run(|| {
            shell(&format!(
                "ip -6 addr add fd99::2/64 dev eth0 nodad
                 ip -6 neigh add fd99::1 lladdr {mac} dev eth0
                 ip -6 route add default via fd99::1 dev eth0"
            ))
        });
        let server = outside.run(|| UdpSocket::bind((OUTSIDE6, 999)).expect("binds"));
        server.set_read_timeout(Some(Duration::from_millis(500))).expect("is set");
        let heard = || {
            let send = || UdpSocket::bind("[fd99::2]:0").and_then(|from| from.send_to(b"x", (OUTSIDE6, 999)));
            one.netns.run(send).expect("leaves the member");
            server.recv(&mut [0; 8]).is_ok()
        };
        assert!(!heard(), "it got out");
        // It would get out if the bridge took it.
        shell(&format!("echo 0 > /proc/sys/net/ipv6/conf/{bridge}/disable_ipv6"));
        shell("ip -6 neigh flush all");
        assert!((0..10).any(|_| heard()), "the test shows nothing");
    });
}

#[test]
fn members_are_kept_apart_by_ipv6_where_that_is_asked_for() {
    for br_netfilter in ["0", "1"] {
        on_a_host_with(br_netfilter, || async {
            let apart = network("apart", |plan| plan.inter_container = false).await;
            let one = container(&driver(), &apart, 1, &[PortSpec::tcp(8080, 80)]).await;
            let two = container(&driver(), &apart, 2, &[]).await;
            one.netns.serve(80, 2);
            let one = one.end.ipv6.expect("has one");
            two.netns.ask((one, 80)).expect_err("members do not reach each other");
            // With `br_netfilter` such a packet is turned around within the bridge, as it is with IPv4.
            if br_netfilter == "0" {
                two.netns.ask((gateway(&apart), 8080)).expect("but published ports");
            }
            Namespace::current().ask((one, 80)).expect("and the host reaches them");
        });
    }
}

#[test]
fn a_host_that_was_no_router_of_ipv6_routes_for_the_networks_only_and_hears_its_own_router() {
    on_a_host(|| async {
        let left = outside6();
        let address = |last| Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, last);
        let right = super::neighbour("right", [198, 51, 100, 1].into(), [198, 51, 100, 2].into());
        shell(&format!(
            "ip addr add {}/64 dev right nodad; echo 0 > /proc/sys/net/ipv6/conf/right/accept_ra",
            address(1)
        ));
        right.run(|| {
            shell(&format!(
                "ip addr add {}/64 dev eth0 nodad; ip route add default via {}",
                address(2),
                address(1)
            ))
        });
        right.serve(80, 3);
        left.run(|| shell(&format!("ip route add {}/64 via {HOST6}", address(0))));
        // A route as it is learned from a router.
        shell("ip -6 route add default via fe80::99 dev uplink proto ra expires 600");
        left.ask((address(2), 80)).expect_err("the host is no router");
        let plan = network("six", |_| ()).await;
        assert_eq!(shell("cat /proc/sys/net/ipv6/conf/all/forwarding").trim(), "1");
        assert_eq!(shell("cat /proc/sys/net/ipv6/conf/uplink/accept_ra").trim(), "2", "it is heard");
        assert_eq!(shell("cat /proc/sys/net/ipv6/conf/right/accept_ra").trim(), "0", "it was not heard");
        assert!(shell("ip -6 route").contains("default via fe80::99"), "what was learned is not forgotten");
        left.ask((address(2), 80)).expect_err("the host is no router for strangers");
        let one = container(&driver(), &plan, 1, &[]).await;
        one.netns.ask((address(2), 80)).expect("it is one for the networks");
        shell("nft flush map ip6 engine strangers");
        left.ask((address(2), 80)).expect("the way is open");
    });
    on_a_host(|| async {
        shell("echo 1 > /proc/sys/net/ipv6/conf/all/forwarding");
        network("six", |_| ()).await;
        assert!(!shell("nft list map ip6 engine strangers").contains("drop"), "a router stays one");
    });
}

#[test]
fn who_forbids_forwarding_of_ipv6_is_no_obstacle() {
    on_a_host(|| async {
        shell("ip6tables -P FORWARD DROP");
        let outside = outside6();
        outside.serve(80, 1);
        let plan = network("six", |_| ()).await;
        let one = container(&driver(), &plan, 1, &[PortSpec::tcp(8080, 80)]).await;
        one.netns.serve(80, 1);
        assert_eq!(one.netns.ask((OUTSIDE6, 80)).expect("reaches the outside"), HOST6);
        outside.ask((HOST6, 8080)).expect("a published port is reached");
        let bridge = plan.interface.clone().expect("has one");
        assert!(shell("ip6tables -S FORWARD").contains(&format!("engine: {bridge}")));
        driver().remove(&plan).await.expect("is unmade");
        assert!(!shell("ip6tables -S").contains(&bridge));
    });
}

#[test]
fn what_a_killed_monitor_left_of_ipv6_is_swept_and_a_teardown_leaves_nothing() {
    on_a_host(|| async {
        let plan = network("six", |_| ()).await;
        let dead =
            container(&driver(), &plan, 1, &[PortSpec::tcp(8080, 80), at(8081, Ipv6Addr::LOCALHOST)]).await;
        let alive = container(&driver(), &plan, 2, &[at(8082, Ipv6Addr::UNSPECIFIED)]).await;
        drop((dead.held, dead.netns));
        let known = BTreeMap::new();
        let mut lines = driver().sweep(std::slice::from_ref(&plan), &known).await.expect("sweeps");
        lines.sort_unstable();
        assert_eq!(
            lines,
            [
                "published port 0.0.0.0:8080/tcp",
                "published port [::1]:8081/tcp",
                "published port [::]:8080/tcp"
            ]
        );
        // As the monitor does it: a plain socket, and no look at the answers.
        let batches = driver().teardown(&plan, &alive.end);
        assert_eq!(batches.len(), 1);
        let socket = netlink_sys::Socket::new(netlink_sys::protocols::NETLINK_NETFILTER).expect("opens");
        for batch in &batches {
            socket.send(batch, 0).expect("sends");
        }
        assert!(!shell("nft list table ip6 engine").contains("8082"));
        drop((alive.held, alive.netns));
        conformance::eventually("the pairs are gone", || !shell("ip -o link").contains("veth"));
        let bridge = plan.interface.as_deref().expect("has one");
        assert_eq!(driver().sweep(&[], &known).await.expect("sweeps"), [format!("bridge {bridge}")]);
        assert!(!shell("nft list ruleset").contains(bridge));
    });
}

#[test]
fn a_network_does_not_take_ipv6_addresses_of_the_host() {
    on_a_host(|| async {
        let mut plan = conformance::plan_with_ipv6(&driver(), "six").await;
        shell("ip link add other type bridge; ip addr add 2001:db8:5::9/64 dev other nodad");
        plan.ipv6 = plan.ipv6.map(|mut pool| {
            pool.subnet = "2001:db8:5::/48".parse().expect("well formed");
            pool
        });
        let error = driver().create(&plan).await.expect_err("the host has addresses there");
        assert_eq!(error.kind(), ErrorKind::Conflict);
        assert!(error.to_string().contains("2001:db8:5::9"), "{error}");
    });
}

#[test]
fn who_knows_an_address_at_another_link_is_told_where_it_is_now() {
    on_a_host(|| async {
        let plan = network("six", |_| ()).await;
        let first = container(&driver(), &plan, 1, &[]).await;
        let mate = container(&driver(), &plan, 2, &[]).await;
        let address = first.end.ipv6.expect("has one");
        let host = Namespace::current();
        let ask_twice = |netns: &Namespace| {
            let server = netns.serve(80, 2);
            mate.netns.ask((address, 80)).expect("a member reaches it");
            host.ask((address, 80)).expect("the host reaches it");
            server.join().expect("ends");
        };
        ask_twice(&first.netns);
        driver().disconnect(&plan, &first.end).await.expect("disconnects");
        let mut next = conformance::endpoint(&plan, 3);
        next.ipv6 = Some(address);
        let netns = Namespace::new();
        driver().connect(&plan, &next, netns.fd()).await.expect("connects");
        ask_twice(&netns);
    });
}
