//! Networks and name service.

use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::id::NetworkName;
use crate::spec::{Address, Subnet};

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

impl NetworkMode {
    /// Whether it is a network that somebody created: those have addresses to choose and names.
    pub fn is_user_defined(&self) -> bool {
        matches!(self, NetworkMode::Network(_)) && *self != NetworkMode::default()
    }
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
    /// Its IPv4 address; a free one unless given.
    pub address: Option<Ipv4Addr>,
    /// Its IPv6 address, in a network that has such; a free one unless given.
    pub ipv6: Option<Ipv6Addr>,
    /// Further addresses, of the link alone: of 169.254.0.0/16 and fe80::/10.
    pub link_local: Vec<IpAddr>,
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

/// Addresses of one family that a network shall have; what is not given is chosen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(bound = "A: Address")]
pub struct PoolSpec<A> {
    /// All of them.
    pub subnet: Option<Subnet<A>>,
    /// The host's address; the first of the subnet unless given.
    pub gateway: Option<A>,
    /// Addresses are handed out only from this part of the subnet.
    pub ip_range: Option<Subnet<A>>,
}

impl<A> PoolSpec<A> {
    /// Whether all is left open.
    pub fn is_empty(&self) -> bool {
        self.subnet.is_none() && self.gateway.is_none() && self.ip_range.is_none()
    }
}

impl<A> Default for PoolSpec<A> {
    fn default() -> PoolSpec<A> {
        PoolSpec { subnet: None, gateway: None, ip_range: None }
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
    /// Its IPv4 addresses; a free range of the default pools unless given.
    pub subnet: Option<Subnet>,
    /// The host's address in it; the first of the subnet unless given.
    pub gateway: Option<Ipv4Addr>,
    /// Addresses are handed out only from this part of the subnet.
    pub ip_range: Option<Subnet>,
    /// Whether it has IPv6 addresses as well.
    pub enable_ipv6: bool,
    /// Which those shall be; a free range of addresses of this host's own unless given.
    pub ipv6: PoolSpec<Ipv6Addr>,
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
            enable_ipv6: false,
            ipv6: PoolSpec::default(),
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
    fn extra_hosts_take_both_separators() {
        let host = |text: &str| text.parse::<ExtraHost>();
        assert_eq!(host("db:10.0.0.1").expect("well formed").address, Some([10, 0, 0, 1].into()));
        assert_eq!(host("db=[::1]").expect("well formed").address, Some(IpAddr::V6(Ipv6Addr::LOCALHOST)));
        assert_eq!(host("gw:host-gateway").expect("well formed").address, None);
        for bad in ["db", ":1.2.3.4", "a\nb:1.2.3.4", "db:x"] {
            assert!(host(bad).is_err(), "{bad:?} was accepted");
        }
    }
}
