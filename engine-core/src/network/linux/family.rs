//! The two families of addresses, as the kernel's messages tell them apart.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::spec::Address;

/// A family of addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Family {
    V4,
    V6,
}

impl Family {
    pub(super) const BOTH: [Family; 2] = [Family::V4, Family::V6];

    /// The family of the address.
    pub(super) fn of(address: IpAddr) -> Family {
        if address.is_ipv4() { Family::V4 } else { Family::V6 }
    }

    /// The family of such addresses.
    pub(super) fn of_all<A: Address>() -> Family {
        if A::BITS == Ipv4Addr::BITS as u8 { Family::V4 } else { Family::V6 }
    }

    /// Its number: that of sockets, which netfilter (`NFPROTO_*`) has as well.
    pub(super) fn number(self) -> u8 {
        match self {
            Family::V4 => libc::AF_INET as u8,
            Family::V6 => libc::AF_INET6 as u8,
        }
    }

    /// The address that means all of a host's.
    pub(super) fn any(self) -> IpAddr {
        match self {
            Family::V4 => Ipv4Addr::UNSPECIFIED.into(),
            Family::V6 => Ipv6Addr::UNSPECIFIED.into(),
        }
    }

    /// The address that `bytes` begin with.
    pub(super) fn address(self, bytes: &[u8]) -> Option<IpAddr> {
        match self {
            Family::V4 => Some(IpAddr::from(*bytes.first_chunk::<4>()?)),
            Family::V6 => Some(IpAddr::from(*bytes.first_chunk::<16>()?)),
        }
    }
}

/// The address as it is sent.
pub(super) fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    }
}

/// The address that `bytes` begin with.
pub(super) fn parse<A: Address>(bytes: &[u8]) -> Option<A> {
    let bytes = bytes.get(..usize::from(A::BITS / 8))?;
    Some(A::of_number(bytes.iter().fold(0, |number, byte| number << 8 | u128::from(*byte))))
}
