//! Published ports.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::error::{Error, ErrorKind, Result};

/// A transport protocol whose ports can be published.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Protocol {
    /// TCP.
    #[default]
    Tcp,
    /// UDP.
    Udp,
}

impl Protocol {
    /// Its number in an IP header.
    pub fn number(self) -> u8 {
        match self {
            Protocol::Tcp => 6,
            Protocol::Udp => 17,
        }
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Protocol::Tcp => "tcp",
            Protocol::Udp => "udp",
        })
    }
}

impl FromStr for Protocol {
    type Err = Error;

    fn from_str(text: &str) -> Result<Protocol> {
        match text.to_ascii_lowercase().as_str() {
            "tcp" => Ok(Protocol::Tcp),
            "udp" => Ok(Protocol::Udp),
            "sctp" => Err(Error::new(ErrorKind::Unsupported, "protocol sctp")
                .because("ports of SCTP cannot be published")),
            _ => Err(Error::invalid(format!("protocol {text:?}"), "must be tcp or udp")),
        }
    }
}

/// One port of a container, published on the host.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct PortSpec {
    /// The port inside the container.
    pub container: u16,
    /// The protocol.
    pub protocol: Protocol,
    /// The address of the host; all of them unless given.
    pub host_address: Option<IpAddr>,
    /// The port of the host: the first free one of this range, both ends included; any free one unless given.
    pub host: Option<(u16, u16)>,
}

impl PortSpec {
    /// TCP port `container`, published on `host` of every address of the host.
    pub fn tcp(host: u16, container: u16) -> PortSpec {
        PortSpec { container, protocol: Protocol::Tcp, host_address: None, host: Some((host, host)) }
    }

    /// Ports from docker's syntax: `[[address:][port|range]:]port|range[/tcp|udp]`. Two ranges of one length pair
    /// up; a host range with a single container port means its first free port.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`](crate::ErrorKind::InvalidInput) that quotes `text` and says what is wrong.
    pub fn parse(text: &str) -> Result<Vec<PortSpec>> {
        let bad = |reason: &str| Error::invalid(format!("published port {text:?}"), reason);
        let (ports, protocol) = match text.rsplit_once('/') {
            Some((ports, protocol)) => (ports, protocol.parse()?),
            None => (text, Protocol::Tcp),
        };
        let (front, container) = match ports.rsplit_once(':') {
            Some((front, container)) => (Some(front), container),
            None => (None, ports),
        };
        let (address, host) = match front {
            None => (None, None),
            Some(front) => match front.rsplit_once(':') {
                Some((address, host)) => (Some(address), Some(host)),
                None => (None, Some(front)),
            },
        };
        let host_address = match address {
            None | Some("") => None,
            Some(address) => {
                let bare = address.strip_prefix('[').and_then(|a| a.strip_suffix(']')).unwrap_or(address);
                Some(bare.parse::<IpAddr>().map_err(|_| bad("the host's address is not an IP address"))?)
            }
        };
        let range = |text: &str| -> Result<(u16, u16)> {
            let port = |text: &str| match text.parse::<u16>() {
                Ok(port) if text.bytes().all(|b| b.is_ascii_digit()) => Ok(port),
                _ => Err(bad("a port is a number between 0 and 65535")),
            };
            let (low, high) = match text.split_once('-') {
                Some((low, high)) => (port(low)?, port(high)?),
                None => (port(text)?, port(text)?),
            };
            if low > high {
                return Err(bad("a range begins with its lower end"));
            }
            Ok((low, high))
        };
        let (first, last) = range(container)?;
        if first == 0 {
            return Err(bad("a container's port is not 0"));
        }
        let host = match host {
            None | Some("" | "0") => None,
            Some(host) => Some(range(host)?),
        };
        let spec = |container, host| PortSpec { container, protocol, host_address, host };
        match host {
            None => Ok((first..=last).map(|container| spec(container, None)).collect()),
            Some(range) if first == last => Ok(vec![spec(first, Some(range))]),
            Some((low, high)) if high - low == last - first => Ok((first..=last)
                .zip(low..=high)
                .map(|(container, host)| spec(container, Some((host, host))))
                .collect()),
            Some(_) => Err(bad("the ranges of host and container must be of the same length")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(text: &str) -> PortSpec {
        let mut ports = PortSpec::parse(text).unwrap_or_else(|e| panic!("{text}: {e}"));
        assert_eq!(ports.len(), 1, "{text}");
        ports.remove(0)
    }

    #[test]
    fn docker_s_forms_are_understood() {
        assert_eq!(one("8080:80"), PortSpec::tcp(8080, 80));
        assert_eq!(one("80").host, None);
        assert_eq!(one("53:53/udp").protocol, Protocol::Udp);
        assert_eq!(one("127.0.0.1:8080:80").host_address, Some([127, 0, 0, 1].into()));
        assert_eq!(one("127.0.0.1::80").host, None);
        assert_eq!(one("[::1]:80:80").host_address, Some(IpAddr::V6(std::net::Ipv6Addr::LOCALHOST)));
        assert_eq!(one("8000-8010:80").host, Some((8000, 8010)));
        let pairs = PortSpec::parse("8000-8002:80-82").expect("well formed");
        assert_eq!(pairs[2], PortSpec::tcp(8002, 82));
    }

    #[test]
    fn nonsense_is_refused() {
        for bad in [
            "",
            ":",
            "x:80",
            "80:0",
            "1:2:3:4x",
            "70000:80",
            "80:90-80",
            "8000-8001:80-82",
            "80/sctp",
            "80/x",
            "+1:80",
        ] {
            assert!(PortSpec::parse(bad).is_err(), "{bad:?} was accepted");
        }
    }
}
