//! The bridge driver on a host of its own: every test makes a network namespace and calls it the host.

use std::future::Future;
use std::net::Ipv4Addr;
use std::os::fd::AsRawFd;
use std::process::Command;

use super::Bridge;
use super::connection::Connection;
use super::netlink::{Batch, CREATE, EXCL};
use crate::network::conformance::{self, Namespace};

mod ipv6;
mod ports;
mod sharing;

/// Runs a test in a fresh namespace, with a loopback. Whatever runtime threads it has are born there too.
pub(in crate::network) fn on_a_host<F: Future<Output = ()>>(test: impl FnOnce() -> F + Send) {
    on_a_host_with("0", test);
}

/// The same, with or without `br_netfilter`, which takes packets within a bridge through the packet filter.
pub(super) fn on_a_host_with<F: Future<Output = ()>>(br_netfilter: &str, test: impl FnOnce() -> F + Send) {
    Namespace::new().run(|| {
        for tables in ["iptables", "ip6tables"] {
            let _ = std::fs::write(format!("/proc/sys/net/bridge/bridge-nf-call-{tables}"), br_netfilter);
        }
        // A new namespace begins with what the real host has set.
        shell(
            "ip link set lo up; echo 0 > /proc/sys/net/ipv4/ip_forward
               echo 0 > /proc/sys/net/ipv6/conf/all/forwarding",
        );
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(test());
    });
}

/// A command of the test's own making, in the namespace of the calling thread.
pub(in crate::network) fn shell(command: &str) -> String {
    let output = Command::new("sh").args(["-ec", command]).output().expect("sh runs");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{command}: {text}{}", String::from_utf8_lossy(&output.stderr));
    text
}

pub(super) const HOST: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 1);
pub(super) const OUTSIDE: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 2);

/// A namespace that is connected to the host, and knows no way to the networks on it.
pub(super) fn outside() -> Namespace {
    neighbour("uplink", HOST, OUTSIDE)
}

/// A namespace with the address `outside`, connected to the host, which has the address `host` there.
pub(super) fn neighbour(link: &str, host: Ipv4Addr, outside: Ipv4Addr) -> Namespace {
    let netns = Namespace::new();
    let mut batch = Batch::new();
    batch.message(16, CREATE | EXCL, &[0; 16], |m| {
        m.text(3, link);
        m.nest(18, |m| {
            m.text(1, "veth");
            m.nest(2, |m| {
                m.nest(1, |m| {
                    m.raw(&[0; 16]);
                    m.text(3, "eth0");
                    m.native(28, netns.fd().as_raw_fd().cast_unsigned());
                });
            });
        });
    });
    let mut connection = Connection::route().expect("opens");
    connection.send(batch).expect("a conversation").expect("is made");
    shell(&format!("ip addr add {host}/24 dev {link}; ip link set {link} up"));
    netns
        .run(|| shell(&format!("ip link set lo up; ip addr add {outside}/24 dev eth0; ip link set eth0 up")));
    super::link::await_carrier(&mut connection, &[link]).expect("answers");
    netns
}

/// A driver for a store that is not there, but could be.
pub(super) fn driver() -> Bridge {
    Bridge::new(std::path::Path::new("/"))
}

#[test]
fn the_bridge_driver_conforms() {
    for br_netfilter in ["0", "1"] {
        on_a_host_with(br_netfilter, || async { conformance::suite(&driver()).await });
    }
}
