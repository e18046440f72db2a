//! Hosts: what they are called, which of them may be spoken to without verified TLS, and where a registry's server
//! and its mirrors are. Decides by configuration alone; never looks a name up, never connects.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use reqwest::Url;

use super::config::RegistryConfig;
use crate::error::{Error, Result};
use crate::reference::DEFAULT_REGISTRY;
use crate::registry::driver::Credential;

/// Where Docker Hub's registry answers: its images are not served by the host they are named after.
const DEFAULT_SERVER: &str = "registry-1.docker.io";

/// A host, with a port unless it is the scheme's own.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Address {
    /// In canonical form: lower case, numbers as dotted quads, IPv6 without brackets.
    host: String,
    port: Option<u16>,
}

impl Address {
    /// The host and port that a URL leads to.
    pub(super) fn of(url: &Url) -> Option<Address> {
        let host = url.host_str()?;
        let host = host.strip_prefix('[').and_then(|h| h.strip_suffix(']')).unwrap_or(host);
        Some(Address { host: host.to_owned(), port: url.port() })
    }

    fn ip(&self) -> Option<IpAddr> {
        self.host.parse().ok().map(|ip: IpAddr| ip.to_canonical())
    }

    /// Whether the port was said.
    pub(super) fn has_port(&self) -> bool {
        self.port.is_some()
    }

    /// Whether it is this machine.
    pub(super) fn is_loopback(&self) -> bool {
        self.host == "localhost" || self.ip().is_some_and(|ip| ip.is_loopback())
    }

    /// Whether what answers there is reachable for this machine only, or differs for every machine: nothing that
    /// somebody else's server may send us to.
    pub(super) fn is_private_to_the_host(&self) -> bool {
        self.is_loopback()
            || self.ip().is_some_and(|ip| match ip {
                IpAddr::V4(ip) => ip.is_unspecified() || ip.is_link_local(),
                IpAddr::V6(ip) => ip.is_unspecified() || ip.is_unicast_link_local(),
            })
    }

    /// Whether it can be the name of a directory as it is.
    pub(super) fn is_file_name(&self) -> bool {
        let fine = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b':');
        !self.host.starts_with('.') && self.host.bytes().all(fine)
    }
}

impl FromStr for Address {
    type Err = Error;

    fn from_str(text: &str) -> Result<Address> {
        let bad = || Error::invalid(format!("registry {text:?}"), "must have the form host or host:port");
        let (host, port) = match text.rfind(']') {
            Some(bracket) => text.split_at(bracket + 1),
            None => text.find(':').map_or((text, ""), |colon| text.split_at(colon)),
        };
        let port = match port.strip_prefix(':') {
            Some(digits) => Some(digits.parse::<u16>().map_err(|_| bad())?),
            None if port.is_empty() => None,
            None => return Err(bad()),
        };
        let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_' | b':' | b'[' | b']');
        if host.is_empty() || !host.bytes().all(plain) {
            return Err(bad());
        }
        // The URL parser has the last word on what a host is: it is what will be connected to.
        let url = Url::parse(&format!("https://{host}/")).map_err(|_| bad())?;
        Address::of(&url).map(|address| Address { port, ..address }).ok_or_else(bad)
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.host.contains(':') {
            true => write!(f, "[{}]", self.host)?,
            false => f.write_str(&self.host)?,
        }
        match self.port {
            Some(port) => write!(f, ":{port}"),
            None => Ok(()),
        }
    }
}

/// How a server is spoken to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scheme {
    Https,
    Http,
}

impl fmt::Display for Scheme {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Scheme::Https => "https",
            Scheme::Http => "http",
        })
    }
}

/// A server to ask, as configured: the registry itself, or a mirror of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Site {
    pub(super) address: Address,
    /// Where it was said, the scheme.
    pub(super) scheme: Option<Scheme>,
    /// The path that everything is below: `/v2`, with what the mirror has before it.
    pub(super) root: String,
    pub(super) mirror: bool,
    /// For a mirror: its own. The registry's are not for it.
    credential: Option<Credential>,
}

impl Site {
    /// The server of a registry as image references name it.
    pub(super) fn of_registry(registry: &str) -> Result<Site> {
        let address = if registry == DEFAULT_REGISTRY { DEFAULT_SERVER } else { registry }.parse()?;
        Ok(Site { address, scheme: None, root: "/v2".to_owned(), mirror: false, credential: None })
    }

    /// The credential to show to a mirror.
    pub(super) fn credential(&self) -> Option<&Credential> {
        self.credential.as_ref()
    }

    fn of_mirror(text: &str) -> Result<Site> {
        let bad = |reason: &str| Error::invalid(format!("registry mirror {text:?}"), reason);
        let (scheme, rest) = match text.split_once("://") {
            Some(("https", rest)) => (Some(Scheme::Https), rest),
            Some(("http", rest)) => (Some(Scheme::Http), rest),
            Some(_) => return Err(bad("the scheme must be https or http")),
            None => (None, text),
        };
        let (address, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'/' | b'-' | b'.' | b'_' | b'~');
        if !path.bytes().all(plain) || path.split('/').any(|part| part == "..") {
            return Err(bad("the path may have letters, digits, '-', '.', '_' and '~' only"));
        }
        let path = path.trim_end_matches('/');
        // A mirror of many registries serves each below a path of its own, before `/v2` or after it.
        let root = match path == "/v2" || path.starts_with("/v2/") {
            true => path.to_owned(),
            false => format!("{path}/v2"),
        };
        let address = address.parse().map_err(|e: Error| bad("has no valid host").caused_by(e))?;
        Ok(Site { address, scheme, root, mirror: true, credential: None })
    }
}

/// A pattern for hosts.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Pattern {
    Host(Address),
    Range { network: u128, mask: u128, v4: bool },
}

impl Pattern {
    fn matches(&self, address: &Address) -> bool {
        match self {
            Pattern::Host(host) => {
                host.host == address.host && (host.port.is_none() || host.port == address.port)
            }
            Pattern::Range { network, mask, v4 } => {
                address.ip().is_some_and(|ip| ip.is_ipv4() == *v4 && bits(ip) & mask == *network)
            }
        }
    }
}

fn bits(ip: IpAddr) -> u128 {
    match ip {
        IpAddr::V4(ip) => u128::from(ip.to_bits()),
        IpAddr::V6(ip) => ip.to_bits(),
    }
}

impl FromStr for Pattern {
    type Err = Error;

    fn from_str(text: &str) -> Result<Pattern> {
        let bad = |reason: &str| Error::invalid(format!("insecure registry {text:?}"), reason);
        let Some((ip, length)) = text.split_once('/') else {
            return text
                .parse()
                .map(Pattern::Host)
                .map_err(|_| bad("must be host, host:port or a range of addresses"));
        };
        let ip: IpAddr = ip.parse().map_err(|_| bad("a range begins with an IP address"))?;
        let width = if ip.is_ipv4() { 32 } else { 128 };
        let length = length.parse::<u32>().ok().filter(|length| *length <= width);
        let length =
            length.ok_or_else(|| bad("the length of a range's prefix is a number up to 32 or 128"))?;
        let mask = match width - length {
            128 => 0,
            free => (u128::MAX << free) & (u128::MAX >> (128 - width)),
        };
        Ok(Pattern::Range { network: bits(ip) & mask, mask, v4: ip.is_ipv4() })
    }
}

/// The configuration, read once.
#[derive(Debug)]
pub(super) struct Policy {
    insecure: Vec<Pattern>,
    loopback: bool,
    mirrors: BTreeMap<String, Vec<Site>>,
}

impl Policy {
    /// # Errors
    /// [`ErrorKind::InvalidInput`](crate::ErrorKind::InvalidInput) for a malformed host, range or mirror.
    pub(super) fn new(config: &RegistryConfig) -> Result<Policy> {
        let mut insecure: Vec<Pattern> =
            config.insecure.iter().map(|text| text.parse()).collect::<Result<_>>()?;
        let mut credentials: HashMap<Address, &Credential> = HashMap::new();
        for (host, credential) in &config.mirror_credentials {
            credentials.insert(host.parse()?, credential);
        }
        let mut mirrors: BTreeMap<String, Vec<Site>> = BTreeMap::new();
        for (registry, texts) in &config.mirrors {
            for text in texts {
                let mut site = Site::of_mirror(text)?;
                site.credential = credentials.get(&site.address).copied().cloned();
                if site.scheme == Some(Scheme::Http) {
                    insecure.push(Pattern::Host(site.address.clone()));
                }
                mirrors.entry(registry.clone()).or_default().push(site);
            }
        }
        Ok(Policy { insecure, loopback: !config.verify_loopback, mirrors })
    }

    /// Whether the host may be spoken to without verified TLS.
    pub(super) fn is_insecure(&self, address: &Address) -> bool {
        (self.loopback && address.is_loopback())
            || self.insecure.iter().any(|pattern| pattern.matches(address))
    }

    /// The registry's mirrors, in order.
    pub(super) fn mirrors(&self, registry: &str) -> &[Site] {
        self.mirrors.get(registry).map_or(&[], Vec::as_slice)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn address(text: &str) -> Address {
        text.parse().unwrap_or_else(|e| panic!("{text:?}: {e}"))
    }

    fn policy(config: RegistryConfig) -> Policy {
        Policy::new(&config).expect("a policy")
    }

    #[test]
    fn only_this_machine_and_what_is_listed_may_go_without_tls() {
        let policy = policy(
            RegistryConfig::new()
                .insecure("reg.lan")
                .insecure("other.lan:5000")
                .insecure("10.1.0.0/16")
                .insecure("fd00::/8"),
        );
        for insecure in [
            "localhost",
            "localhost:5000",
            "127.0.0.1",
            "127.9.9.9:80",
            "[::1]:5000",
            "0x7f.1",
            "reg.lan",
            "REG.lan:8080",
            "other.lan:5000",
            "10.1.2.3:5000",
            "[fd12::1]",
        ] {
            assert!(policy.is_insecure(&address(insecure)), "{insecure}");
        }
        for secure in [
            "docker.io",
            "other.lan",
            "other.lan:5001",
            "reg.lan.evil.com",
            "10.2.0.1",
            "128.0.0.1",
            "localhost.evil.com",
            "[fe80::1]",
        ] {
            assert!(!policy.is_insecure(&address(secure)), "{secure}");
        }
    }

    #[test]
    fn a_range_of_no_bits_is_everything() {
        let policy = policy(RegistryConfig::new().insecure("0.0.0.0/0").insecure("::/0"));
        assert!(policy.is_insecure(&address("203.0.113.1")) && policy.is_insecure(&address("[2001:db8::1]")));
        assert!(!policy.is_insecure(&address("reg.lan")));
    }

    #[test]
    fn loopback_is_verified_where_the_program_asks_for_it() {
        assert!(!policy(RegistryConfig::new().verify_loopback()).is_insecure(&address("127.0.0.1:5000")));
    }

    #[test]
    fn mirrors_keep_their_order_and_scheme() {
        let policy = policy(
            RegistryConfig::new()
                .mirror("docker.io", "mirror.lan:5000")
                .mirror("docker.io", "http://10.0.0.1/hub/")
                .mirror("docker.io", "https://cache.lan/v2/hub"),
        );
        let sites = policy.mirrors("docker.io");
        let told: Vec<String> = sites.iter().map(|s| format!("{}{}", s.address, s.root)).collect();
        assert_eq!(told, ["mirror.lan:5000/v2", "10.0.0.1/hub/v2", "cache.lan/v2/hub"]);
        assert!(policy.is_insecure(&sites[1].address) && !policy.is_insecure(&sites[0].address));
        assert!(policy.mirrors("reg.lan").is_empty());
    }

    #[test]
    fn malformed_settings_are_refused_when_the_client_is_made() {
        for bad in
            ["", "a b", "http://reg.lan", "user@reg.lan", "10.0.0.0/33", "reg.lan/8", "a:99999", "::/129"]
        {
            assert!(Policy::new(&RegistryConfig::new().insecure(bad)).is_err(), "{bad:?} was accepted");
        }
        for bad in ["", "ftp://m.lan", "https://m.lan?x", "https://u:p@m.lan", "m.lan/../x", "https:///v2"] {
            assert!(
                Policy::new(&RegistryConfig::new().mirror("docker.io", bad)).is_err(),
                "{bad:?} was accepted"
            );
        }
    }

    #[test]
    fn an_address_that_could_leave_a_directory_is_no_file_name() {
        assert!(address("reg.lan:5000").is_file_name());
        let url = Url::parse("https://..%2f/").ok().and_then(|url| Address::of(&url));
        assert!(url.is_none_or(|address| !address.is_file_name()));
    }

    proptest! {
        #[test]
        fn what_parses_prints_and_parses_again(text in "[a-zA-Z0-9.:\\[\\]-]{0,30}") {
            if let Ok(parsed) = text.parse::<Address>() {
                prop_assert_eq!(address(&parsed.to_string()), parsed);
            }
        }

        #[test]
        fn settings_never_panic(text in ".{0,40}") {
            let _ = Policy::new(&RegistryConfig::new().insecure(text.clone()).mirror("docker.io", text));
        }
    }
}
