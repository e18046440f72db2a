//! What a container is told about names: the text of its `/etc/hosts` and `/etc/resolv.conf`. Pure, but for the
//! reading of the host's own settings.

use std::fmt;
use std::fs::File;
use std::io::Read;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::driver::NAME_SERVER;
use crate::error::{Error, Result};
use crate::spec::{DnsSpec, ExtraHost};

/// Where queries go when the host knows no server that a container can reach; the last two if it has IPv6.
const PUBLIC: [IpAddr; 4] = [
    IpAddr::V4(Ipv4Addr::new(8, 8, 8, 8)),
    IpAddr::V4(Ipv4Addr::new(8, 8, 4, 4)),
    IpAddr::V6(Ipv6Addr::new(0x2001, 0x4860, 0x4860, 0, 0, 0, 0, 0x8888)),
    IpAddr::V6(Ipv6Addr::new(0x2001, 0x4860, 0x4860, 0, 0, 0, 0, 0x8844)),
];

/// The stub of systemd-resolved; the servers behind it are in a file of its own.
const STUB: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 53));
const HOST_FILE: &str = "/etc/resolv.conf";
const BEHIND_STUB: &str = "/run/systemd/resolve/resolv.conf";
/// More of the host's file is not read.
const LIMIT: u64 = 64 << 10;

/// Settings of the resolver, as resolv.conf(5) has them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ResolvConf {
    /// Name servers.
    pub(crate) servers: Vec<IpAddr>,
    /// Domains to search.
    pub(crate) search: Vec<String>,
    /// Options.
    pub(crate) options: Vec<String>,
}

impl ResolvConf {
    /// Those of the host. A host without is one without settings.
    pub(crate) fn of_host() -> ResolvConf {
        let read = |path: &str| {
            let mut text = Vec::new();
            let file = File::open(path).ok()?;
            file.take(LIMIT).read_to_end(&mut text).ok()?;
            Some(ResolvConf::parse(&String::from_utf8_lossy(&text)))
        };
        let host = read(HOST_FILE).unwrap_or_default();
        match host.servers.as_slice() {
            [STUB] => read(BEHIND_STUB).unwrap_or(host),
            _ => host,
        }
    }

    /// Reads the text of a file; what is not understood is left out.
    pub(crate) fn parse(text: &str) -> ResolvConf {
        let mut conf = ResolvConf::default();
        for line in text.lines() {
            let mut words = line.split_whitespace();
            let keyword = words.next();
            let words = words.take_while(|word| !word.starts_with(['#', ';']));
            let mut words = words.map(str::to_owned);
            match keyword {
                Some("nameserver") => {
                    let server = words.next().unwrap_or_default();
                    // An IPv6 address of one link carries the link's name, which means nothing elsewhere.
                    let address = server.split('%').next().unwrap_or_default();
                    conf.servers.extend(address.parse::<IpAddr>());
                }
                // The last one counts.
                Some("search" | "domain") => conf.search = words.collect(),
                Some("options") => conf.options.extend(words),
                _ => {}
            }
        }
        conf
    }

    /// What is asked for in place of the host's.
    pub(crate) fn with(mut self, wanted: &DnsSpec) -> ResolvConf {
        if !wanted.servers.is_empty() {
            self.servers.clone_from(&wanted.servers);
        }
        if !wanted.search.is_empty() {
            self.search = wanted.search.iter().filter(|domain| *domain != ".").cloned().collect();
        }
        if !wanted.options.is_empty() {
            self.options.clone_from(&wanted.options);
        }
        self
    }

    /// For a container that asks the server of names that its monitor has. Every name is asked for as it is first, as
    /// names of a network have no dots.
    pub(crate) fn of_name_service(mut self) -> ResolvConf {
        self.servers = vec![NAME_SERVER];
        if !self.options.iter().any(|option| option.starts_with("ndots:")) {
            self.options.push("ndots:0".to_owned());
        }
        self
    }

    /// For a container that asks the servers itself, from its own namespace: the host's loopback and links are out of
    /// its reach, and so is IPv6 if it has no such address. Servers that were asked for are taken as they are.
    pub(crate) fn direct(mut self, wanted: &DnsSpec, with_ipv6: bool) -> ResolvConf {
        let within_reach = |server: &IpAddr| match server {
            IpAddr::V4(server) => !server.is_loopback(),
            IpAddr::V6(server) => with_ipv6 && !server.is_loopback() && !server.is_unicast_link_local(),
        };
        self.servers.retain(within_reach);
        let mut conf = self.with(wanted);
        if conf.servers.is_empty() {
            conf.servers = PUBLIC.into_iter().filter(within_reach).collect();
        }
        conf
    }
}

impl fmt::Display for ResolvConf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for server in &self.servers {
            writeln!(f, "nameserver {server}")?;
        }
        if !self.search.is_empty() {
            writeln!(f, "search {}", self.search.join(" "))?;
        }
        if !self.options.is_empty() {
            writeln!(f, "options {}", self.options.join(" "))?;
        }
        Ok(())
    }
}

/// The lines that every `/etc/hosts` begins with.
pub(crate) const HOSTS: &str = "\
127.0.0.1\tlocalhost
::1\tlocalhost ip6-localhost ip6-loopback
fe00::\tip6-localnet
ff00::\tip6-mcastprefix
ff02::1\tip6-allnodes
ff02::2\tip6-allrouters
";

/// A container that another one is linked to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Linked {
    /// Its address.
    pub(crate) address: Ipv4Addr,
    /// What it is called.
    pub(crate) names: Vec<String>,
}

/// What goes to a container's `/etc/hosts`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Hosts<'a> {
    /// The container's address, if it has one.
    pub(crate) address: Option<Ipv4Addr>,
    /// Its IPv6 address, if it has one.
    pub(crate) ipv6: Option<Ipv6Addr>,
    /// Its host name.
    pub(crate) hostname: &'a str,
    /// Its domain name.
    pub(crate) domainname: Option<&'a str>,
    /// Further lines.
    pub(crate) extra: &'a [ExtraHost],
    /// Containers that it is linked to.
    pub(crate) links: &'a [Linked],
    /// The host as the container sees it.
    pub(crate) gateway: Option<Ipv4Addr>,
}

impl Hosts<'_> {
    /// The text of the file.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`](crate::ErrorKind::InvalidInput) for a name that cannot stand in a line, and for
    /// `host-gateway` where there is none.
    pub(crate) fn text(&self) -> Result<String> {
        let mut text = HOSTS.to_owned();
        for host in self.extra {
            check("extra host", &host.name)?;
            let address = host.address.or(self.gateway.map(IpAddr::V4)).ok_or_else(|| {
                Error::invalid(format!("extra host {:?}", host.name), "there is no host-gateway here")
                    .with_remedy("give the host's address, or use a network that has a gateway")
            })?;
            text.push_str(&format!("{address}\t{}\n", host.name));
        }
        for Linked { address, names } in self.links {
            names.iter().try_for_each(|name| check("linked host", name))?;
            text.push_str(&format!("{address}\t{}\n", names.join(" ")));
        }
        check("host name", self.hostname)?;
        let addresses = self.address.map(IpAddr::V4).into_iter().chain(self.ipv6.map(IpAddr::V6));
        for address in addresses {
            match self.domainname.filter(|domain| !domain.is_empty()) {
                Some(domain) => {
                    check("domain name", domain)?;
                    text.push_str(&format!("{address}\t{0}.{domain} {0}\n", self.hostname));
                }
                None => text.push_str(&format!("{address}\t{}\n", self.hostname)),
            }
        }
        Ok(text)
    }
}

/// A name must not make another line, or another name.
fn check(what: &str, name: &str) -> Result<()> {
    if !name.is_empty() && name.bytes().all(|b| b.is_ascii_graphic() && b != b'#') {
        Ok(())
    } else {
        Err(Error::invalid(format!("{what} {name:?}"), "it has characters that cannot stand in /etc/hosts"))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn address(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    const HOST: &str = "# made by something\nnameserver 127.0.0.53\nnameserver 192.0.2.1 # first\n\
        nameserver fe80::1%eth0\nnameserver nonsense\ndomain example.org\nsearch a.example b.example\n\
        options edns0 trust-ad\n; the end\noptions rotate\n";

    #[test]
    fn a_file_is_read_as_the_resolver_does() {
        let conf = ResolvConf::parse(HOST);
        assert_eq!(conf.servers, [address("127.0.0.53"), address("192.0.2.1"), address("fe80::1")]);
        assert_eq!(conf.search, ["a.example", "b.example"]);
        assert_eq!(conf.options, ["edns0", "trust-ad", "rotate"]);
        assert_eq!(ResolvConf::parse(&conf.to_string()), conf);
    }

    #[test]
    fn servers_out_of_reach_are_left_out_unless_asked_for() {
        let conf = ResolvConf::parse(HOST).direct(&DnsSpec::default(), false);
        assert_eq!(conf.servers, [address("192.0.2.1")]);
        let none = |with_ipv6| {
            ResolvConf::parse("nameserver 127.0.0.1\nnameserver ::1").direct(&DnsSpec::default(), with_ipv6)
        };
        assert_eq!(none(false).servers, PUBLIC[..2]);
        assert_eq!(none(true).servers, PUBLIC);
        let six = format!("{HOST}nameserver 2001:db8::53\n");
        let conf = ResolvConf::parse(&six).direct(&DnsSpec::default(), true);
        assert_eq!(
            conf.servers,
            [address("192.0.2.1"), address("2001:db8::53")],
            "fe80 is of the host's link"
        );
        let wanted = DnsSpec { servers: vec![address("127.0.0.1")], ..DnsSpec::default() };
        assert_eq!(ResolvConf::parse(HOST).direct(&wanted, false).servers, [address("127.0.0.1")]);
    }

    #[test]
    fn each_part_is_replaced_by_itself_and_a_dot_means_no_search() {
        let wanted = DnsSpec { search: vec![".".into()], ..DnsSpec::default() };
        let conf = ResolvConf::parse(HOST).direct(&wanted, false);
        assert_eq!(conf.search, [""; 0]);
        assert_eq!(conf.options.len(), 3);
        assert_eq!(conf.to_string(), "nameserver 192.0.2.1\noptions edns0 trust-ad rotate\n");
    }

    #[test]
    fn hosts_are_localhost_the_extra_ones_and_oneself() {
        let extra: Vec<ExtraHost> = ["db=10.0.0.9", "six=[::9]", "me:host-gateway"]
            .iter()
            .map(|text| text.parse().expect("well formed"))
            .collect();
        let hosts = Hosts {
            address: Some([172, 17, 0, 2].into()),
            ipv6: None,
            hostname: "web",
            domainname: Some("example.org"),
            extra: &extra,
            links: &[Linked { address: [172, 17, 0, 3].into(), names: vec!["db".into(), "sql".into()] }],
            gateway: Some([172, 17, 0, 1].into()),
        };
        let text = hosts.text().expect("is written");
        assert!(text.starts_with("127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n"));
        assert!(text.ends_with(
            "10.0.0.9\tdb\n::9\tsix\n172.17.0.1\tme\n172.17.0.3\tdb sql\n172.17.0.2\tweb.example.org web\n"
        ));
        let six = Hosts { ipv6: Some(Ipv6Addr::LOCALHOST), ..hosts }.text().expect("is written");
        assert!(six.ends_with("172.17.0.2\tweb.example.org web\n::1\tweb.example.org web\n"), "{six}");
        let error = Hosts { gateway: None, ..hosts }.text().expect_err("there is no gateway");
        assert!(error.remedy().is_some());
        Hosts { hostname: "web\n10.0.0.1 bank", ..hosts }.text().expect_err("a second line");
        let alone = Hosts { address: None, domainname: None, extra: &[], links: &[], ..hosts };
        assert_eq!(alone.text().expect("is written"), HOSTS);
    }

    proptest! {
        #[test]
        fn reading_never_panics_and_survives_its_own_text(text in "(nameserver|search|options|domain|[#; .a-z0-9:%])*[\n \t]?.{0,60}") {
            let conf = ResolvConf::parse(&text);
            prop_assert_eq!(ResolvConf::parse(&conf.to_string()), conf);
        }
    }
}
