//! Networks and name service.

use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::id::NetworkName;

/// Where a container stands in the network.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum NetworkMode {
    /// A member of this network, with an address of its own. The network `bridge` is always there.
    Network(NetworkName),
    /// In the host's own network namespace.
    Host,
    /// In a namespace of its own with nothing but loopback.
    None,
    /// In the namespace of another container, by name or identifier.
    Container(String),
}

impl Default for NetworkMode {
    fn default() -> NetworkMode {
        match "bridge".parse() {
            Ok(name) => NetworkMode::Network(name),
            Err(_) => NetworkMode::None,
        }
    }
}

impl FromStr for NetworkMode {
    type Err = Error;

    fn from_str(text: &str) -> Result<NetworkMode> {
        match text {
            "" | "default" | "bridge" => Ok(NetworkMode::default()),
            "host" => Ok(NetworkMode::Host),
            "none" => Ok(NetworkMode::None),
            "container:" => Err(Error::invalid(format!("network {text:?}"), "it names no container")),
            _ => match text.strip_prefix("container:") {
                Some(name) => Ok(NetworkMode::Container(name.to_owned())),
                None => text.parse().map(NetworkMode::Network),
            },
        }
    }
}

impl fmt::Display for NetworkMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NetworkMode::Network(name) => write!(f, "{name}"),
            NetworkMode::Host => f.write_str("host"),
            NetworkMode::None => f.write_str("none"),
            NetworkMode::Container(name) => write!(f, "container:{name}"),
        }
    }
}

/// What a container is told about name servers, in place of the host's own settings.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct DnsSpec {
    /// Name servers.
    pub servers: Vec<IpAddr>,
    /// Domains to search; a single `.` means none.
    pub search: Vec<String>,
    /// Options for the resolver, as resolv.conf(5) has them.
    pub options: Vec<String>,
}

/// What a container asks of its place in a network.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct EndpointSpec {
    /// Its address; a free one unless given.
    pub address: Option<Ipv4Addr>,
    /// Its hardware address; one that follows from the address unless given.
    pub mac: Option<[u8; 6]>,
    /// What the other members can call it besides its name.
    pub aliases: Vec<String>,
}

/// A container whose address another one is told, under its name and another: docker's `--link`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LinkSpec {
    /// The container, by name or identifier.
    pub container: String,
    /// What it is called in the other one.
    pub alias: String,
}

impl FromStr for LinkSpec {
    type Err = Error;

    /// `NAME[:ALIAS]`.
    fn from_str(text: &str) -> Result<LinkSpec> {
        let bad = |reason: &str| Error::invalid(format!("link {text:?}"), reason);
        let (container, alias) = text.split_once(':').unwrap_or((text, text));
        let container = container.strip_prefix('/').unwrap_or(container);
        let alias = alias.rsplit('/').next().unwrap_or(alias);
        let plain = |name: &str| !name.is_empty() && name.bytes().all(|b| b.is_ascii_graphic() && b != b'#');
        if !plain(container) || !plain(alias) || alias.contains(':') {
            return Err(bad("must look like NAME or NAME:ALIAS"));
        }
        Ok(LinkSpec { container: container.to_owned(), alias: alias.to_owned() })
    }
}

/// A line for a container's `/etc/hosts`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExtraHost {
    /// The host name.
    pub name: String,
    /// Its address; `None` means the host as the container sees it, docker's `host-gateway`.
    pub address: Option<IpAddr>,
}

impl FromStr for ExtraHost {
    type Err = Error;

    /// `name:address` or `name=address`; an IPv6 address may be bracketed; `host-gateway` is an address too.
    fn from_str(text: &str) -> Result<ExtraHost> {
        let bad = |reason: &str| Error::invalid(format!("extra host {text:?}"), reason);
        let (name, address) = text
            .split_once('=')
            .or_else(|| text.split_once(':'))
            .ok_or_else(|| bad("must have the form name:address"))?;
        let printable = |b: u8| b.is_ascii_graphic() && b != b'#';
        if name.is_empty() || !name.bytes().all(printable) {
            return Err(bad("the host name is empty or has characters that cannot stand in a name"));
        }
        if address == "host-gateway" {
            return Ok(ExtraHost { name: name.to_owned(), address: None });
        }
        let bare = address.strip_prefix('[').and_then(|a| a.strip_suffix(']')).unwrap_or(address);
        let address = bare.parse().map_err(|_| bad("the address is not an IP address"))?;
        Ok(ExtraHost { name: name.to_owned(), address: Some(address) })
    }
}

/// A range of IPv4 addresses, written in masked form: `172.18.0.0/16`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Subnet {
    network: Ipv4Addr,
    prefix: u8,
}

impl Subnet {
    /// The subnet of `prefix` bits that `address` is in.
    pub fn of(address: Ipv4Addr, prefix: u8) -> Subnet {
        let prefix = prefix.min(32);
        Subnet { network: Ipv4Addr::from_bits(address.to_bits() & Subnet::mask(prefix)), prefix }
    }

    fn mask(prefix: u8) -> u32 {
        u32::MAX.checked_shl(32 - u32::from(prefix)).unwrap_or(0)
    }

    /// The first address: the network itself.
    pub fn network(self) -> Ipv4Addr {
        self.network
    }

    /// How many leading bits are fixed.
    pub fn prefix(self) -> u8 {
        self.prefix
    }

    /// The last address: broadcast.
    pub fn broadcast(self) -> Ipv4Addr {
        Ipv4Addr::from_bits(self.network.to_bits() | !Subnet::mask(self.prefix))
    }

    /// Whether `address` is one of its addresses.
    pub fn contains(self, address: Ipv4Addr) -> bool {
        Subnet::of(address, self.prefix) == self
    }

    /// Whether the two have an address in common.
    pub fn overlaps(self, other: Subnet) -> bool {
        let prefix = self.prefix.min(other.prefix);
        Subnet::of(self.network, prefix) == Subnet::of(other.network, prefix)
    }

    /// The addresses that can be given to hosts, lowest first: all but the network and broadcast addresses.
    pub fn hosts(self) -> impl Iterator<Item = Ipv4Addr> {
        let (first, last) = (self.network.to_bits(), self.broadcast().to_bits());
        let (first, last) = if self.prefix >= 31 { (first, last) } else { (first + 1, last - 1) };
        (first..=last).map(Ipv4Addr::from_bits)
    }
}

impl FromStr for Subnet {
    type Err = Error;

    fn from_str(text: &str) -> Result<Subnet> {
        let bad = |reason: &str| Error::invalid(format!("subnet {text:?}"), reason);
        let (address, prefix) = text.split_once('/').ok_or_else(|| bad("must look like 172.18.0.0/16"))?;
        let address: Ipv4Addr = address.parse().map_err(|_| bad("the address is not an IPv4 address"))?;
        let prefix: u8 = match prefix.parse() {
            Ok(prefix @ 0..=32) => prefix,
            _ => return Err(bad("the prefix is a number between 0 and 32")),
        };
        let subnet = Subnet::of(address, prefix);
        if subnet.network != address {
            return Err(bad("it has bits set after the prefix").with_remedy(format!("write {subnet}")));
        }
        Ok(subnet)
    }
}

impl fmt::Display for Subnet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.network, self.prefix)
    }
}

impl From<Subnet> for String {
    fn from(subnet: Subnet) -> String {
        subnet.to_string()
    }
}

impl TryFrom<String> for Subnet {
    type Error = Error;

    fn try_from(text: String) -> Result<Subnet> {
        text.parse()
    }
}

/// A network to create.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct NetworkSpec {
    /// Its name.
    pub name: NetworkName,
    /// The driver that makes it; `bridge` unless given.
    pub driver: Option<String>,
    /// Its addresses; a free range of the default pools unless given.
    pub subnet: Option<Subnet>,
    /// The host's address in it; the first of the subnet unless given.
    pub gateway: Option<Ipv4Addr>,
    /// Addresses are handed out only from this part of the subnet.
    pub ip_range: Option<Subnet>,
    /// Without a way out: no default route, no NAT, no published ports.
    pub internal: bool,
    /// Options of the driver, such as `com.docker.network.bridge.name`.
    pub options: BTreeMap<String, String>,
    /// Labels.
    pub labels: BTreeMap<String, String>,
}

impl NetworkSpec {
    /// A bridge network with this name and all the defaults.
    pub fn new(name: NetworkName) -> NetworkSpec {
        NetworkSpec {
            name,
            driver: None,
            subnet: None,
            gateway: None,
            ip_range: None,
            internal: false,
            options: BTreeMap::new(),
            labels: BTreeMap::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subnet_is_masked_and_knows_its_hosts() {
        let subnet: Subnet = "10.1.2.0/30".parse().expect("well formed");
        let hosts: Vec<String> = subnet.hosts().map(|a| a.to_string()).collect();
        assert_eq!(hosts, ["10.1.2.1", "10.1.2.2"]);
        assert_eq!("0.0.0.0/0".parse::<Subnet>().expect("well formed").broadcast(), Ipv4Addr::BROADCAST);
        for bad in ["10.0.0.1/8", "10.0.0.0", "10.0.0.0/33", "x/8", "::/0"] {
            assert!(bad.parse::<Subnet>().is_err(), "{bad:?} was accepted");
        }
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

    #[test]
    fn extra_hosts_take_both_separators() {
        let host = |text: &str| text.parse::<ExtraHost>();
        assert_eq!(host("db:10.0.0.1").expect("well formed").address, Some([10, 0, 0, 1].into()));
        assert_eq!(
            host("db=[::1]").expect("well formed").address,
            Some(IpAddr::V6(std::net::Ipv6Addr::LOCALHOST))
        );
        assert_eq!(host("gw:host-gateway").expect("well formed").address, None);
        for bad in ["db", ":1.2.3.4", "a\nb:1.2.3.4", "db:x"] {
            assert!(host(bad).is_err(), "{bad:?} was accepted");
        }
    }
}
