//! Ranges of addresses, of either family.

use std::fmt;
use std::hash::Hash;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// An address of one of the two families, [`Ipv4Addr`] or [`Ipv6Addr`], as a number.
pub trait Address:
    Copy
    + Ord
    + Hash
    + fmt::Debug
    + fmt::Display
    + FromStr
    + Into<IpAddr>
    + Serialize
    + DeserializeOwned
    + Send
    + Sync
    + 'static
{
    /// How many bits it has.
    const BITS: u8;
    /// The family's name.
    const FAMILY: &'static str;
    /// A range, as an example.
    const EXAMPLE: &'static str;

    /// The address as a number.
    fn number(self) -> u128;

    /// The address of that number, of which only the lowest [`Address::BITS`] count.
    fn of_number(number: u128) -> Self;

    /// Whether a host can have it as an address of its own, which others reach.
    fn is_for_hosts(self) -> bool;
}

impl Address for Ipv4Addr {
    const BITS: u8 = 32;
    const FAMILY: &'static str = "IPv4";
    const EXAMPLE: &'static str = "172.18.0.0/16";

    fn number(self) -> u128 {
        self.to_bits().into()
    }

    fn of_number(number: u128) -> Ipv4Addr {
        Ipv4Addr::from_bits(number as u32)
    }

    fn is_for_hosts(self) -> bool {
        !self.is_loopback() && (1..224).contains(&self.octets()[0])
    }
}

impl Address for Ipv6Addr {
    const BITS: u8 = 128;
    const FAMILY: &'static str = "IPv6";
    const EXAMPLE: &'static str = "fd00:1::/64";

    fn number(self) -> u128 {
        self.to_bits()
    }

    fn of_number(number: u128) -> Ipv6Addr {
        Ipv6Addr::from_bits(number)
    }

    fn is_for_hosts(self) -> bool {
        // 0000::/8 is set aside, with the loopback and the mapped addresses of IPv4.
        !self.is_multicast() && !self.is_unicast_link_local() && self.octets()[0] != 0
    }
}

/// A range of addresses of one family, written in masked form: `172.18.0.0/16`, `fd00:1::/64`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String", bound = "A: Address")]
pub struct Subnet<A = Ipv4Addr> {
    network: A,
    prefix: u8,
}

impl<A: Address> Subnet<A> {
    /// The subnet of `prefix` bits that `address` is in.
    pub fn of(address: A, prefix: u8) -> Subnet<A> {
        let prefix = prefix.min(A::BITS);
        Subnet { network: A::of_number(address.number() & !Subnet::<A>::free_bits(prefix)), prefix }
    }

    /// The bits that are not fixed.
    fn free_bits(prefix: u8) -> u128 {
        u128::MAX.checked_shr(128 - u32::from(A::BITS - prefix)).unwrap_or(0)
    }

    /// The first address: the network itself.
    pub fn network(self) -> A {
        self.network
    }

    /// How many leading bits are fixed.
    pub fn prefix(self) -> u8 {
        self.prefix
    }

    /// The last address; with IPv4 it means all hosts of the network.
    pub fn last(self) -> A {
        A::of_number(self.network.number() | Subnet::<A>::free_bits(self.prefix))
    }

    /// Whether `address` is one of its addresses.
    pub fn contains(self, address: A) -> bool {
        Subnet::of(address, self.prefix) == self
    }

    /// Whether all addresses of `part` are its own.
    pub fn covers(self, part: Subnet<A>) -> bool {
        part.prefix >= self.prefix && self.contains(part.network)
    }

    /// Whether the two have an address in common.
    pub fn overlaps(self, other: Subnet<A>) -> bool {
        self.covers(other) || other.covers(self)
    }

    /// The first and the last address that can be given to hosts: not the network's own, which with IPv6 is that of
    /// any router, nor with IPv4 the last one, which is everybody's. Of the smallest subnets it is all.
    pub fn ends(self) -> (A, A) {
        let (first, last) = (self.network.number(), self.last().number());
        let edge = u128::from(A::BITS - self.prefix > 1);
        let last_edge = if A::BITS == Ipv4Addr::BITS as u8 { edge } else { 0 };
        (A::of_number(first + edge), A::of_number(last - last_edge))
    }

    /// The addresses that can be given to hosts, lowest first.
    pub fn hosts(self) -> impl Iterator<Item = A> {
        let (first, last) = self.ends();
        (first.number()..=last.number()).map(A::of_number)
    }

    /// Whether `address` can be given to a host.
    pub fn has_host(self, address: A) -> bool {
        let (first, last) = self.ends();
        (first..=last).contains(&address)
    }
}

impl<A: Address> FromStr for Subnet<A> {
    type Err = Error;

    fn from_str(text: &str) -> Result<Subnet<A>> {
        let bad = |reason: String| Error::invalid(format!("subnet {text:?}"), reason);
        let (address, prefix) =
            text.split_once('/').ok_or_else(|| bad(format!("must look like {}", A::EXAMPLE)))?;
        let address: A =
            address.parse().map_err(|_| bad(format!("the address is not an {} address", A::FAMILY)))?;
        let prefix: u8 = match prefix.parse() {
            Ok(prefix) if prefix <= A::BITS => prefix,
            _ => return Err(bad(format!("the prefix is a number between 0 and {}", A::BITS))),
        };
        let subnet = Subnet::of(address, prefix);
        if subnet.network != address {
            return Err(bad("it has bits set after the prefix".into()).with_remedy(format!("write {subnet}")));
        }
        Ok(subnet)
    }
}

impl<A: Address> fmt::Display for Subnet<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.network, self.prefix)
    }
}

impl<A: Address> From<Subnet<A>> for String {
    fn from(subnet: Subnet<A>) -> String {
        subnet.to_string()
    }
}

impl<A: Address> TryFrom<String> for Subnet<A> {
    type Error = Error;

    fn try_from(text: String) -> Result<Subnet<A>> {
        text.parse()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_subnet_is_masked_and_knows_its_hosts() {
        let subnet: Subnet = "10.1.2.0/30".parse().expect("well formed");
        let hosts: Vec<String> = subnet.hosts().map(|a| a.to_string()).collect();
        assert_eq!(hosts, ["10.1.2.1", "10.1.2.2"]);
        assert_eq!("0.0.0.0/0".parse::<Subnet>().expect("well formed").last(), Ipv4Addr::BROADCAST);
        for bad in ["10.0.0.1/8", "10.0.0.0", "10.0.0.0/33", "x/8", "::/0"] {
            assert!(bad.parse::<Subnet>().is_err(), "{bad:?} was accepted");
        }
        let subnet: Subnet<Ipv6Addr> = "fd00::/126".parse().expect("well formed");
        let hosts: Vec<String> = subnet.hosts().map(|a| a.to_string()).collect();
        assert_eq!(hosts, ["fd00::1", "fd00::2", "fd00::3"], "nothing is broadcast");
        for bad in ["fd00::1/64", "fd00::", "fd00::/129", "10.0.0.0/8"] {
            assert!(bad.parse::<Subnet<Ipv6Addr>>().is_err(), "{bad:?} was accepted");
        }
    }

    #[test]
    fn the_smallest_subnets_have_no_edges() {
        let hosts = |text: &str| text.parse::<Subnet>().expect("well formed").hosts().count();
        assert_eq!((hosts("10.0.0.0/30"), hosts("10.0.0.0/31"), hosts("10.0.0.4/32")), (2, 2, 1));
        let hosts = |text: &str| text.parse::<Subnet<Ipv6Addr>>().expect("well formed").hosts().count();
        assert_eq!((hosts("fd00::/126"), hosts("fd00::/127"), hosts("fd00::4/128")), (3, 2, 1));
    }

    #[test]
    fn overlap_is_symmetric() {
        let subnet = |text: &str| text.parse::<Subnet>().expect("well formed");
        for (a, b, overlap) in [
            ("172.17.0.0/16", "172.17.3.0/24", true),
            ("172.17.0.0/16", "172.18.0.0/16", false),
            ("0.0.0.0/0", "10.0.0.0/8", true),
        ] {
            assert_eq!(subnet(a).overlaps(subnet(b)), overlap);
            assert_eq!(subnet(b).overlaps(subnet(a)), overlap);
        }
    }

    proptest! {
        #[test]
        fn a_subnet_has_its_own_addresses_and_survives_its_text(bits: u128, prefix in 0u8..=128, other: u128) {
            let subnet = Subnet::of(Ipv6Addr::from_bits(bits), prefix);
            prop_assert!(subnet.contains(Ipv6Addr::from_bits(bits)));
            prop_assert!(subnet.contains(subnet.last()));
            prop_assert_eq!(subnet.to_string().parse::<Subnet<Ipv6Addr>>().expect("its own text"), subnet);
            let other = Ipv6Addr::from_bits(other);
            prop_assert_eq!(subnet.contains(other), subnet.network() <= other && other <= subnet.last());
        }
    }
}
