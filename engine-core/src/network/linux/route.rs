//! The numbers and fixed headers of rtnetlink, as `linux/rtnetlink.h`, `linux/if_link.h` and `linux/if_addr.h` have
//! them.

use std::net::Ipv4Addr;

use super::netlink::{Batch, CREATE, REPLACE};
use crate::spec::Subnet;

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
pub(super) fn address_header(prefix: u8, link: u32) -> [u8; 8] {
    let index = link.to_ne_bytes();
    [INET, prefix, 0, 0, index[0], index[1], index[2], index[3]]
}

/// Gives the link an address; that it has it is no failure.
pub(super) fn new_address(batch: &mut Batch, link: u32, address: Ipv4Addr, subnet: Subnet) {
    batch.message(NEWADDR, CREATE | REPLACE, &address_header(subnet.prefix(), link), |m| {
        m.bytes(IFA_LOCAL, &address.octets());
        m.bytes(IFA_ADDRESS, &address.octets());
        if subnet.prefix() < 31 {
            m.bytes(IFA_BROADCAST, &subnet.broadcast().octets());
        }
    });
}
