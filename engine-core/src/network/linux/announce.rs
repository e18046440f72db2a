//! Tells the neighbours of a bridge that an IPv6 address is at another link now.
//!
//! The hardware address follows from the IPv4 address, so with IPv4 whoever remembers one remembers the right one. An
//! IPv6 address that is leased anew, beside another IPv4 address, is at another link than before; whoever remembers the
//! old one would send there for some seconds before asking again. An advertisement that nobody asked for (RFC 4861,
//! 7.2.6) corrects that at once, with the members and, as what is sent to all comes back, with the host itself.

use std::net::{Ipv6Addr, SocketAddrV6};

use rustix::io::Errno;
use rustix::net::ipproto::ICMPV6;
use rustix::net::sockopt::set_ipv6_multicast_hops;
use rustix::net::{AddressFamily, SendFlags, SocketFlags, SocketType, sendto, socket_with};

const ADVERTISEMENT: u8 = 136;
/// What is remembered is to be replaced.
const OVERRIDE: u8 = 0x20;
/// The option that has the hardware address, and its length in units of eight bytes.
const LINK_ADDRESS: [u8; 2] = [2, 1];
/// With fewer hops it could be from beyond a router, and is ignored.
const HOPS: u32 = 255;
const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);

/// Tells on the link with the number `bridge` that `address` is at `mac`. That it cannot be told is no failure: then
/// it is found out a little later.
pub(super) fn announce(bridge: u32, address: Ipv6Addr, mac: [u8; 6]) {
    let _ = send(bridge, &advertisement(address, mac));
}

fn advertisement(address: Ipv6Addr, mac: [u8; 6]) -> Vec<u8> {
    // The checksum is the kernel's to fill in.
    let head = [ADVERTISEMENT, 0, 0, 0, OVERRIDE, 0, 0, 0];
    [&head[..], &address.octets(), &LINK_ADDRESS, &mac].concat()
}

fn send(bridge: u32, message: &[u8]) -> Result<(), Errno> {
    let socket = socket_with(AddressFamily::INET6, SocketType::RAW, SocketFlags::CLOEXEC, Some(ICMPV6))?;
    set_ipv6_multicast_hops(&socket, HOPS)?;
    sendto(&socket, message, SendFlags::DONTWAIT, &SocketAddrV6::new(ALL_NODES, 0, 0, bridge)).map(drop)
}
