use std::net::{Ipv4Addr, Ipv6Addr};

use super::*;
use crate::network::conformance;
use crate::network::driver::NetworkDriver;
use crate::network::linux::tests::{driver, on_a_host, shell};

const SHOWN: &str = r#"table ip engine {
	set bridges {
		type ifname
		elements = { "engine0" }
	}

	set internal {
		type ifname
	}

	set masqueraded {
		type ifname
		elements = { "engine0" }
	}

	set within {
		type ifname . ifname
		elements = { "engine0" . "engine0" }
	}

	map strangers {
		type fib_addrtype : verdict
		elements = { unicast : drop }
	}

	map published {
		type ipv4_addr . inet_proto . inet_service : ipv4_addr . inet_service
		elements = { 127.0.0.1 . udp . 53 : 172.17.0.2 . 5353 }
	}

	map published_any {
		type inet_proto . inet_service : ipv4_addr . inet_service
		elements = { tcp . 8080 : 172.17.0.2 . 80 }
	}

	chain guard {
		type filter hook prerouting priority raw; policy accept;
		ip daddr 127.0.0.0/8 iifname @bridges drop
		ip saddr 127.0.0.0/8 iifname @bridges drop
	}

	chain prerouting {
		type nat hook prerouting priority dstnat; policy accept;
		ip daddr 127.0.0.0/8 return
		dnat ip to ip daddr . meta l4proto . th dport map @published
		fib daddr type local dnat ip to meta l4proto . th dport map @published_any
	}

	chain output {
		type nat hook output priority -100; policy accept;
		dnat ip to ip daddr . meta l4proto . th dport map @published
		fib daddr type local dnat ip to meta l4proto . th dport map @published_any
	}

	chain forward {
		type filter hook forward priority filter; policy accept;
		iifname != @bridges oifname != @bridges fib daddr type vmap @strangers
		ct state established,related accept
		iifname . oifname @within accept
		iifname @internal drop
		oifname @internal drop
		oifname @bridges ct status dnat accept
		oifname @bridges drop
	}

	chain postrouting {
		type nat hook postrouting priority srcnat; policy accept;
		iifname @masqueraded oifname != @bridges masquerade
		iifname @bridges oifname @bridges ct status dnat masquerade
		oifname @bridges ip saddr 127.0.0.0/8 masquerade
		iif 0 oifname @bridges ct status dnat masquerade
	}

	chain version- {
	}
}
"#;

fn shown() -> String {
    shown_of("ip")
}

fn shown_of(family: &str) -> String {
    let text = shell(&format!("nft list table {family} engine"));
    // The version follows from the rules, which are compared themselves.
    let (head, tail) = text.split_once("version-").expect("has a version");
    format!("{head}version-{}", tail.trim_start_matches(|c: char| c.is_ascii_hexdigit()))
}

fn published_ports() -> Vec<PublishedPort> {
    vec![
        PublishedPort {
            container: 80,
            protocol: Protocol::Tcp,
            host_address: Ipv4Addr::UNSPECIFIED.into(),
            host: 8080,
        },
        PublishedPort {
            container: 5353,
            protocol: Protocol::Udp,
            host_address: Ipv4Addr::LOCALHOST.into(),
            host: 53,
        },
    ]
}

#[test]
fn the_whole_table_is_as_nft_reads_it() {
    on_a_host(|| async {
        let plan = conformance::plan(&driver(), "bridge").await;
        driver().create(&plan).await.expect("is made");
        let mut end = conformance::endpoint(&plan, 1);
        end.ports = published_ports();
        let mut connection = Connection::netfilter().expect("opens");
        publish(&mut connection, &end).expect("publishes");
        assert_eq!(shown(), SHOWN);
        // It is read back as it was written.
        let found = list_published(&mut connection).expect("lists");
        let expected = |host_address, protocol, host, container| Published {
            host_address,
            protocol,
            host,
            address: end.address.into(),
            container,
        };
        assert_eq!(
            found,
            [
                expected(Ipv4Addr::LOCALHOST.into(), 17, 53, 5353),
                expected(Ipv4Addr::UNSPECIFIED.into(), 6, 8080, 80)
            ]
        );
    });
}

/// The table of IPv6, with the same network and ports: what is of IPv4 in the other one, and the way back to ::1.
fn shown_of_ipv6(bridge: &str, address: &str) -> String {
    let returning = "\tchain returning {
\t\ttype filter hook prerouting priority dstnat + 10; policy accept;
\t\tiifname @bridges ip6 daddr ::1 ip6 daddr set ct reply ip6 daddr
\t}

\tchain input {
\t\ttype filter hook input priority filter - 10; policy accept;
\t\tiifname @bridges ct original ip6 saddr ::1 ip6 daddr set ::1
\t}

\tchain version-";
    SHOWN
        .replace("\"engine0\"", &format!("\"{bridge}\""))
        .replace("table ip ", "table ip6 ")
        .replace("ipv4_addr", "ipv6_addr")
        .replace("dnat ip to", "dnat ip6 to")
        .replace("ip daddr", "ip6 daddr")
        .replace("ip saddr", "ip6 saddr")
        .replace("127.0.0.0/8", "::1")
        .replace("127.0.0.1", "::1")
        .replace("172.17.0.2", address)
        .replace("\tchain version-", returning)
}

#[test]
fn the_table_of_ipv6_is_there_with_the_first_network_that_has_it() {
    on_a_host(|| async {
        let driver = driver();
        driver.create(&conformance::plan(&driver, "bridge").await).await.expect("is made");
        assert!(!shell("nft list ruleset").contains("ip6"), "nobody asked for it");
        assert_eq!(shell("cat /proc/sys/net/ipv6/conf/all/forwarding").trim(), "0");
        let plan = conformance::plan_with_ipv6(&driver, "six").await;
        driver.create(&plan).await.expect("is made");
        let mut end = conformance::endpoint(&plan, 1);
        let of_ipv6 = |(port, address): (PublishedPort, Ipv6Addr)| PublishedPort {
            host_address: address.into(),
            ..port
        };
        let addresses = [Ipv6Addr::UNSPECIFIED, Ipv6Addr::LOCALHOST];
        end.ports = published_ports().into_iter().zip(addresses).map(of_ipv6).collect();
        end.ports.extend(published_ports());
        let mut connection = Connection::netfilter().expect("opens");
        publish(&mut connection, &end).expect("publishes");
        let (bridge, address) = (plan.interface.as_deref().expect("has one"), end.ipv6.expect("has one"));
        assert_eq!(shown_of("ip6"), shown_of_ipv6(bridge, &address.to_string()));
        let found = list_published(&mut connection).expect("lists");
        assert_eq!(found.iter().filter(|port| port.address == IpAddr::V6(address)).count(), 2);
        assert_eq!(found.len(), 4);
        for port in &found {
            remove_published(&mut connection, port).expect("is removed");
        }
        assert_eq!(list_published(&mut connection).expect("lists"), []);
        driver.remove(&plan).await.expect("is unmade");
        assert!(!shell("nft list table ip6 engine").contains(bridge));
    });
}

#[test]
fn what_is_well_is_not_written_and_what_is_missing_is_mended() {
    on_a_host(|| async {
        let driver = driver();
        let plan = conformance::plan(&driver, "bridge").await;
        driver.create(&plan).await.expect("is made");
        let whole = shown();
        let monitor = std::process::Command::new("timeout")
            .args(["0.5", "nft", "monitor"])
            .stdout(std::process::Stdio::piped())
            .spawn()
            .expect("nft runs");
        std::thread::sleep(std::time::Duration::from_millis(100));
        driver.create(&plan).await.expect("finds it made");
        let heard = monitor.wait_with_output().expect("ends").stdout;
        assert_eq!(String::from_utf8_lossy(&heard), "", "nothing was written");
        for damage in [
            "nft flush ruleset",
            "nft flush table ip engine",
            "nft flush chain ip engine forward",
            "nft delete chain ip engine guard",
            "nft delete element ip engine bridges '{ \"engine0\" }'",
            "nft add element ip engine internal '{ \"engine0\" }'",
            "nft flush set ip engine masqueraded",
            "nft add rule ip engine forward accept",
        ] {
            shell(damage);
            driver.create(&plan).await.expect("is mended");
            // Only the engine that turned forwarding on knows that it did.
            let same = whole.replace("\n\t\telements = { unicast : drop }", "");
            let now = shown().replace("\n\t\telements = { unicast : drop }", "");
            let (mut now, mut same): (Vec<_>, Vec<_>) = (now.lines().collect(), same.lines().collect());
            now.sort_unstable();
            same.sort_unstable();
            assert_eq!(now, same, "after {damage}");
        }
    });
}

#[test]
fn an_older_version_is_replaced_and_its_elements_are_kept() {
    on_a_host(|| async {
        let driver = driver();
        let plan = conformance::plan(&driver, "bridge").await;
        driver.create(&plan).await.expect("is made");
        let mut end = conformance::endpoint(&plan, 1);
        end.ports = published_ports();
        publish(&mut Connection::netfilter().expect("opens"), &end).expect("publishes");
        let marker = Ruleset::new(Family::V4).marker;
        shell(&format!(
            "nft delete chain ip engine {marker}; nft add chain ip engine version-000000000000;
             nft add rule ip engine output drop"
        ));
        driver.create(&plan).await.expect("is mended");
        assert_eq!(shown(), SHOWN);
        assert!(shell("nft list ruleset").contains(&marker));
    });
}

#[test]
fn teardown_batches_remove_each_port_even_if_another_one_is_gone() {
    on_a_host(|| async {
        let driver = driver();
        let plan = conformance::plan(&driver, "bridge").await;
        driver.create(&plan).await.expect("is made");
        let mut end = conformance::endpoint(&plan, 1);
        end.ports = published_ports();
        let mut connection = Connection::netfilter().expect("opens");
        publish(&mut connection, &end).expect("publishes");
        shell("nft delete element ip engine published_any '{ tcp . 8080 }'");
        let batches = driver.teardown(&plan, &end);
        assert_eq!(batches.len(), 2);
        // As the monitor does it: a plain socket, and no look at the answers.
        let socket = netlink_sys::Socket::new(netlink_sys::protocols::NETLINK_NETFILTER).expect("opens");
        for batch in &batches {
            socket.send(batch, 0).expect("sends");
        }
        assert_eq!(list_published(&mut connection).expect("lists"), []);
    });
}

#[test]
fn a_port_that_still_leads_to_a_dead_container_is_taken_over() {
    on_a_host(|| async {
        let driver = driver();
        let plan = conformance::plan(&driver, "bridge").await;
        driver.create(&plan).await.expect("is made");
        let mut connection = Connection::netfilter().expect("opens");
        for number in [1, 2, 2] {
            let mut end = conformance::endpoint(&plan, number);
            end.ports = published_ports();
            publish(&mut connection, &end).expect("publishes");
            let found = list_published(&mut connection).expect("lists");
            assert!(
                found.len() == 2 && found.iter().all(|port| port.address == IpAddr::V4(end.address)),
                "{found:?}"
            );
        }
    });
}

#[test]
fn a_port_that_was_published_anew_is_not_taken_back() {
    on_a_host(|| async {
        let driver = driver();
        let plan = conformance::plan(&driver, "bridge").await;
        driver.create(&plan).await.expect("is made");
        let mut connection = Connection::netfilter().expect("opens");
        let mut old = conformance::endpoint(&plan, 1);
        old.ports = published_ports();
        publish(&mut connection, &old).expect("publishes");
        let mut new = conformance::endpoint(&plan, 2);
        new.ports = vec![published_ports().remove(0)];
        publish(&mut connection, &new).expect("publishes");
        for _ in 0..2 {
            driver.disconnect(&plan, &old).await.expect("disconnects");
            let found = list_published(&mut connection).expect("lists");
            assert!(found.len() == 1 && found[0].address == IpAddr::V4(new.address), "{found:?}");
        }
    });
}

#[test]
fn a_change_that_was_decided_on_an_older_state_is_refused_whole() {
    on_a_host(|| async {
        let driver = driver();
        let plan = conformance::plan(&driver, "bridge").await;
        driver.create(&plan).await.expect("is made");
        let mut connection = Connection::netfilter().expect("opens");
        let mut end = conformance::endpoint(&plan, 1);
        end.ports = published_ports();
        publish(&mut connection, &end).expect("publishes");
        let elements: Vec<_> = published_elements(&end).collect();
        let (generation, ours) = look_up(&mut connection, &elements).expect("answers");
        assert_eq!(ours, [true, true]);
        shell("nft add table ip unrelated");
        let mut transaction = Transaction::since(generation);
        elements.iter().for_each(|element| transaction.remove(element));
        let refusal = connection.commit(transaction.end()).expect("a conversation").expect_err("is refused");
        assert_eq!(refusal.errno as i32, libc::ERESTART);
        assert_eq!(list_published(&mut connection).expect("lists").len(), 2);
    });
}

#[test]
fn a_thousand_ports_are_published_in_one_go() {
    on_a_host(|| async {
        let driver = driver();
        let plan = conformance::plan(&driver, "bridge").await;
        driver.create(&plan).await.expect("is made");
        let mut end = conformance::endpoint(&plan, 1);
        let port = published_ports().remove(0);
        end.ports =
            (10_000..11_000).map(|host| PublishedPort { host, container: host, ..port.clone() }).collect();
        let mut connection = Connection::netfilter().expect("opens");
        publish(&mut connection, &end).expect("publishes");
        assert_eq!(list_published(&mut connection).expect("lists").len(), 1000);
        unpublish(&mut connection, &end).expect("takes them back");
        assert_eq!(list_published(&mut connection).expect("lists"), []);
    });
}

proptest::proptest! {
    #[test]
    fn parsing_never_panics(bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..80)) {
        for family in Family::BOTH {
            let _ = parse_published(family, &bytes);
        }
    }
}
