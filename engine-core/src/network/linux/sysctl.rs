//! The few kernel settings that the networks need and netlink does not have.

use std::fs;
use std::path::Path;

use super::family::Family;
use crate::error::{Error, ErrorKind, Result};

/// The settings of IPv6, a directory for each interface.
const IPV6: &str = "/proc/sys/net/ipv6/conf";

/// The setting that makes the host a router, as sysctl(8) calls it.
fn forwarding(family: Family) -> &'static str {
    match family {
        Family::V4 => "net.ipv4.ip_forward",
        Family::V6 => "net.ipv6.conf.all.forwarding",
    }
}

fn path(setting: &str) -> String {
    format!("/proc/sys/{}", setting.replace('.', "/"))
}

/// Whether this namespace forwards packets.
pub(super) fn forwards(family: Family) -> Result<bool> {
    let setting = forwarding(family);
    fs::read(path(setting))
        .map(|value| value.first() == Some(&b'1'))
        .map_err(|e| Error::io(format!("kernel setting {setting}"), e))
}

/// Makes this namespace forward packets.
pub(super) fn forward(family: Family) -> Result<()> {
    if family == Family::V6 {
        go_on_hearing_routers();
    }
    let setting = forwarding(family);
    fs::write(path(setting), "1").map_err(|e| {
        Error::new(ErrorKind::PermissionDenied, format!("kernel setting {setting}"))
            .because("the host does not forward packets, and the setting cannot be changed from here")
            .with_remedy(format!("run `sysctl {setting}=1` on the host"))
            .caused_by(e)
    })
}

/// A router of IPv6 hears no other routers, and forgets those it has heard of: a host that has its default route from
/// them would be cut off. With the value 2 an interface that hears them goes on doing so; not those that are still to
/// come, nor bridges, as whoever is on one could pass for a router.
fn go_on_hearing_routers() {
    let interfaces = fs::read_dir(IPV6).into_iter().flatten().flatten();
    let own = interfaces.filter(|interface| {
        let name = interface.file_name();
        let is_bridge = || Path::new("/sys/class/net").join(&name).join("bridge").exists();
        name != "all" && name != "default" && !is_bridge()
    });
    for setting in own.map(|interface| interface.path().join("accept_ra")) {
        if fs::read(&setting).is_ok_and(|value| value.first() == Some(&b'1')) {
            let _ = fs::write(&setting, "2");
        }
    }
}

/// Makes an interface of the current namespace have IPv6, where new ones are made without. To write the setting is to
/// spin until nobody else changes the network, so it is read first.
pub(super) fn enable_ipv6(interface: &str) {
    let setting = format!("{IPV6}/{interface}/disable_ipv6");
    if fs::read(&setting).is_ok_and(|value| value.first() == Some(&b'1')) {
        // If it stays without, the kernel says so when it is given an address.
        let _ = fs::write(&setting, "0");
    }
}

/// Makes the bridge of a network without IPv6 take none. A member can send such packets all the same, and without rules
/// for them a host that forwards IPv6 would send them on, out of an internal network as well.
pub(super) fn disable_ipv6(bridge: &str) {
    // A kernel without IPv6 forwards none.
    let _ = fs::write(format!("{IPV6}/{bridge}/disable_ipv6"), "1");
}

/// Ignores router advertisements on an interface of the current namespace: one that anybody on a network can send must
/// change nobody's routes. A kernel without IPv6 has none to ignore.
///
/// `disable_ipv6` would say more, but to write it is to spin until nobody else changes the network: tens of
/// milliseconds while other containers start. An interface without addresses of IPv6 is as good as one without IPv6.
pub(super) fn ignore_router_advertisements(interface: &str) {
    let _ = fs::write(format!("{IPV6}/{interface}/accept_ra"), "0");
}
