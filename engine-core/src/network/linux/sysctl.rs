//! The few kernel settings that the networks need and netlink does not have.

use std::fs;

use crate::error::{Error, ErrorKind, Result};

const FORWARDING: &str = "/proc/sys/net/ipv4/ip_forward";

/// Whether this namespace forwards packets.
pub(super) fn forwards() -> Result<bool> {
    fs::read(FORWARDING)
        .map(|value| value.first() == Some(&b'1'))
        .map_err(|e| Error::io("kernel setting net.ipv4.ip_forward", e))
}

/// Makes this namespace forward packets.
pub(super) fn forward() -> Result<()> {
    fs::write(FORWARDING, "1").map_err(|e| {
        Error::new(ErrorKind::PermissionDenied, "kernel setting net.ipv4.ip_forward")
            .because("the host does not forward packets, and the setting cannot be changed from here")
            .with_remedy("run `sysctl net.ipv4.ip_forward=1` on the host")
            .caused_by(e)
    })
}

/// Ignores router advertisements on an interface of the current namespace: one that anybody on a network can send must
/// change nobody's routes. A kernel without IPv6 has none to ignore.
///
/// `disable_ipv6` would say more, but to write it is to spin until nobody else changes the network: tens of
/// milliseconds while other containers start. An interface without addresses of IPv6 is as good as one without IPv6.
pub(super) fn ignore_router_advertisements(interface: &str) {
    let _ = fs::write(format!("/proc/sys/net/ipv6/conf/{interface}/accept_ra"), "0");
}
