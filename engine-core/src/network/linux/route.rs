//! The numbers and fixed headers of rtnetlink, as `linux/rtnetlink.h`, `linux/if_link.h` and `linux/if_addr.h` have
//! them.

use std::net::IpAddr;

use super::family::{Family, octets};
use super::netlink::{Batch, CREATE, REPLACE};
use crate::spec::{Address, Subnet};

pub(super) const NEWLINK: u16 = 16;
pub(super) const DELLINK: u16 = 17;
pub(super) const GETLINK: u16 = 18;
pub(super) const SETLINK: u16 = 19;
pub(super) const NEWADDR: u16 = 20;
pub(super) const GETADDR: u16 = 22;
pub(super) const NEWROUTE: u16 = 24;
pub(super) const GETROUTE: u16 = 26;

pub(super) const INET: u8 = libc::AF_INET as u8;
pub(super) const UP: u32 = libc::IFF_UP as u32;

pub(super) const IFLA_ADDRESS: u16 = 1;
pub(super) const IFLA_IFNAME: u16 = 3;
pub(super) const IFLA_MTU: u16 = 4;
pub(super) const IFLA_MASTER: u16 = 10;
pub(super) const IFLA_OPERSTATE: u16 = 16;
pub(super) const IFLA_LINKINFO: u16 = 18;
pub(super) const IFLA_IFALIAS: u16 = 20;
pub(super) const IFLA_AF_SPEC: u16 = 26;
pub(super) const IFLA_NET_NS_FD: u16 = 28;
pub(super) const IFLA_EXT_MASK: u16 = 29;
pub(super) const IFLA_NUM_TX_QUEUES: u16 = 31;
pub(super) const IFLA_NUM_RX_QUEUES: u16 = 32;
pub(super) const IFLA_INFO_KIND: u16 = 1;
pub(super) const IFLA_INFO_DATA: u16 = 2;
pub(super) const IFLA_INFO_SLAVE_KIND: u16 = 4;
pub(super) const IFLA_INFO_SLAVE_DATA: u16 = 5;
pub(super) const IFLA_INET_CONF: u16 = 1;
pub(super) const IFLA_INET6_ADDR_GEN_MODE: u16 = 8;
pub(super) const IFLA_BRPORT_STATE: u16 = 1;
pub(super) const IFLA_BRPORT_HAIRPIN: u16 = 4;
pub(super) const IFLA_BRPORT_ISOLATED: u16 = 33;
pub(super) const VETH_INFO_PEER: u16 = 1;
pub(super) const ROUTE_LOCALNET: u16 = 26;
pub(super) const NO_STATISTICS: u32 = 8;
pub(super) const PORT_DISABLED: u8 = 0;
/// `IF_OPER_UP`.
pub(super) const OPERATES: u8 = 6;

pub(super) const IFA_ADDRESS: u16 = 1;
pub(super) const IFA_LOCAL: u16 = 2;
pub(super) const IFA_BROADCAST: u16 = 4;
/// `IFA_F_NODAD`.
const UNQUESTIONED: u8 = 2;
/// `RTN_LOCAL`, of a route to this host.
pub(super) const ROUTE_IS_LOCAL: u8 = 2;
pub(super) const RTA_DST: u16 = 1;
pub(super) const RTA_OIF: u16 = 4;
pub(super) const RTA_GATEWAY: u16 = 5;

/// `struct ifinfomsg`.
pub(super) fn link_header(index: u32, flags: u32, change: u32) -> [u8; 16] {
    let mut header = [0; 16];
    header[4..8].copy_from_slice(&index.to_ne_bytes());
    header[8..12].copy_from_slice(&flags.to_ne_bytes());
    header[12..16].copy_from_slice(&change.to_ne_bytes());
    header
}

/// `struct ifaddrmsg`.
pub(super) fn address_header(family: Family, prefix: u8, link: u32) -> [u8; 8] {
    let index = link.to_ne_bytes();
    // An IPv6 address is in use at once: the leases see to it that nobody else has it, and to ask would take a second.
    let flags = if family == Family::V6 { UNQUESTIONED } else { 0 };
    [family.number(), prefix, flags, 0, index[0], index[1], index[2], index[3]]
}

/// Gives the link an address; that it has it is no failure.
pub(super) fn new_address<A: Address>(batch: &mut Batch, link: u32, address: A, subnet: Subnet<A>) {
    let family = Family::of_all::<A>();
    batch.message(NEWADDR, CREATE | REPLACE, &address_header(family, subnet.prefix(), link), |m| {
        let address = octets(address.into());
        m.bytes(IFA_LOCAL, &address);
        m.bytes(IFA_ADDRESS, &address);
        if family == Family::V4 && subnet.prefix() < 31 {
            m.bytes(IFA_BROADCAST, &octets(subnet.last().into()));
        }
    });
}

/// Sends what has no other way to the gateway.
pub(super) fn new_default_route(batch: &mut Batch, link: u32, gateway: IpAddr) {
    // `struct rtmsg`: a unicast route of the main table, made at boot, to anywhere.
    let header = [Family::of(gateway).number(), 0, 0, 0, 254, 3, 0, 1, 0, 0, 0, 0];
    batch.message(NEWROUTE, CREATE | REPLACE, &header, |m| {
        m.bytes(RTA_GATEWAY, &octets(gateway));
        m.native(RTA_OIF, link);
    });
}
