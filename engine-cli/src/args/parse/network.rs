//! `--network` and `--attach`: names, and the long form of the first.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use engine_core::spec::{NetworkMode, Subnet};

use super::{Parsed, csv, reason};

/// A network, and what is asked of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct NetworkFlag {
    /// The network.
    pub(crate) mode: NetworkMode,
    /// The address in it.
    pub(crate) address: Option<Ipv4Addr>,
    /// The IPv6 address in it.
    pub(crate) ipv6: Option<Ipv6Addr>,
    /// Further addresses, of the link alone.
    pub(crate) link_local: Vec<IpAddr>,
    /// The hardware address in it.
    pub(crate) mac: Option<[u8; 6]>,
    /// What others can call it there.
    pub(crate) aliases: Vec<String>,
}

/// `NAME`, `host`, `none`, `container:NAME`, or the long form `name=NAME,alias=…,ip=…,ip6=…,mac-address=…`.
pub(crate) fn network(text: &str) -> Parsed<NetworkFlag> {
    if !text.contains('=') {
        let mode = text.parse().map_err(reason)?;
        return Ok(NetworkFlag {
            mode,
            address: None,
            ipv6: None,
            link_local: Vec::new(),
            mac: None,
            aliases: Vec::new(),
        });
    }
    let (mut name, mut address, mut ipv6, mut mac) = (None, None, None, None);
    let (mut link_local, mut aliases) = (Vec::new(), Vec::new());
    for field in csv::fields(text)? {
        match field.split_once('=') {
            Some(("name", value)) => name = Some(value.to_owned()),
            Some(("ip", value)) => {
                address = Some(value.parse().map_err(|_| format!("{value:?} is not an IPv4 address"))?);
            }
            Some(("alias", value)) => aliases.push(value.to_owned()),
            Some(("ip6", value)) => {
                ipv6 = Some(value.parse().map_err(|_| format!("{value:?} is not an IPv6 address"))?);
            }
            Some(("link-local-ip", value)) => {
                link_local.push(value.parse().map_err(|_| format!("{value:?} is not an IP address"))?);
            }
            Some(("mac-address", value)) => mac = Some(hardware_address(value)?),
            Some((key, _)) => {
                return Err(format!(
                    "the option {key:?} of a network is not supported; name=, alias=, ip=, ip6=, link-local-ip= and \
                     mac-address= are"
                ));
            }
            None => return Err(format!("{field:?} must have the form key=value")),
        }
    }
    let name = name.filter(|name| !name.is_empty()).ok_or("the network's name is missing: name=NAME")?;
    let mode = name.parse().map_err(reason)?;
    Ok(NetworkFlag { mode, address, ipv6, link_local, mac, aliases })
}

/// A range of addresses of either family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Range {
    /// Of IPv4.
    V4(Subnet),
    /// Of IPv6.
    V6(Subnet<Ipv6Addr>),
}

/// `172.18.0.0/16` or `fd00:1::/64`.
pub(crate) fn range(text: &str) -> Parsed<Range> {
    if text.contains(':') {
        text.parse().map(Range::V6).map_err(reason)
    } else {
        text.parse().map(Range::V4).map_err(reason)
    }
}

/// Six bytes in hexadecimal, with colons or dashes between them.
pub(crate) fn hardware_address(text: &str) -> Parsed<[u8; 6]> {
    let bad = || format!("{text:?} is not a MAC address");
    let separator = if text.contains('-') { '-' } else { ':' };
    let mut bytes = [0; 6];
    let mut parts = text.split(separator);
    for byte in &mut bytes {
        let part = parts.next().filter(|part| part.len() == 2 && part.bytes().all(|b| b.is_ascii_hexdigit()));
        *byte = u8::from_str_radix(part.ok_or_else(bad)?, 16).map_err(|_| bad())?;
    }
    // That of everybody, or of nobody, is no container's.
    if parts.next().is_some() || bytes[0] & 1 == 1 || bytes == [0; 6] {
        return Err(bad());
    }
    Ok(bytes)
}

/// A standard stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stream {
    /// Standard input.
    Stdin,
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// `stdin`, `stdout` or `stderr`, in either case.
pub(crate) fn stream(text: &str) -> Parsed<Stream> {
    match text.to_ascii_lowercase().as_str() {
        "stdin" => Ok(Stream::Stdin),
        "stdout" => Ok(Stream::Stdout),
        "stderr" => Ok(Stream::Stderr),
        _ => Err("valid streams are STDIN, STDOUT and STDERR".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_long_form_names_the_same_network() {
        let mode = |text: &str| network(text).map(|flag| flag.mode.to_string());
        for (text, expected) in
            [("host", "host"), ("name=none", "none"), ("name=web", "web"), ("container:y", "container:y")]
        {
            assert_eq!(mode(text).as_deref(), Ok(expected));
        }
        let flag =
            network("name=web,ip=10.0.0.9,alias=a,alias=b,ip6=fd00::9,link-local-ip=fe80::9,mac-address=92-d0-c6-0a-29-33")
                .expect("well formed");
        assert_eq!(flag.aliases, ["a", "b"]);
        assert_eq!(flag.address, Some([10, 0, 0, 9].into()));
        assert_eq!(flag.ipv6.map(|address| address.to_string()).as_deref(), Some("fd00::9"));
        assert_eq!(flag.link_local, ["fe80::9".parse::<IpAddr>().expect("an address")]);
        assert_eq!(flag.mac, Some([0x92, 0xd0, 0xc6, 0x0a, 0x29, 0x33]));
        for bad in [
            "alias=x",
            "name=web,ip=1.2.3",
            "name=",
            "-x",
            "container:",
            "a=b,c",
            "name=w,mac-address=1",
            "name=w,ip6=1.2.3.4",
            "name=w,link-local-ip=x",
        ] {
            assert!(network(bad).is_err(), "{bad:?} was accepted");
        }
    }

    #[test]
    fn a_hardware_address_is_one_of_a_single_machine() {
        for bad in [
            "",
            "92:d0:c6:0a:29",
            "92:d0:c6:0a:29:33:44",
            "ff:ff:ff:ff:ff:ff",
            "00:00:00:00:00:00",
            "+2:d0:c6:0a:29:33",
        ] {
            assert!(hardware_address(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn streams_are_named_in_either_case() {
        assert_eq!(stream("STDIN"), Ok(Stream::Stdin));
        assert_eq!(stream("stderr"), Ok(Stream::Stderr));
        assert!(stream("std").is_err());
    }

    proptest! {
        #[test]
        fn never_panics(text in "(name=)?.{0,40}") {
            let _ = network(&text);
            let _ = (hardware_address(&text), range(&text));
        }
    }
}
