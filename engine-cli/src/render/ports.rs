//! The ports of a container, as docker's list has them.

use engine_core::network::driver::PublishedPort;

/// A run of ports that were merged: the same on both sides, each one more than the one before.
struct Run {
    /// The host's address, or nothing for ports that are only exposed.
    address: Option<String>,
    protocol: String,
    first: u16,
    last: u16,
}

impl Run {
    fn text(&self) -> String {
        let Run { first, last, protocol, address } = self;
        let range = if first == last { first.to_string() } else { format!("{first}-{last}") };
        match address {
            Some(address) => format!("{address}:{range}->{range}/{protocol}"),
            None => format!("{range}/{protocol}"),
        }
    }
}

/// One port, published or only exposed, in the order of docker's list.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Port {
    container: u16,
    address: Option<String>,
    host: u16,
    protocol: String,
}

/// `0.0.0.0:8080->80/tcp, 443/tcp`: runs of ports that are the same inside and outside first, in the order in which
/// they begin, then the ports that differ.
pub(crate) fn ports(published: &[PublishedPort], exposed: &[String]) -> String {
    let mut ports: Vec<Port> = published
        .iter()
        .map(|port| Port {
            container: port.container,
            address: Some(if port.host_address.is_ipv6() {
                format!("[{}]", port.host_address)
            } else {
                port.host_address.to_string()
            }),
            host: port.host,
            protocol: port.protocol.to_string(),
        })
        .chain(exposed.iter().filter_map(|text| {
            let (number, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
            let container = number.parse().ok()?;
            Some(Port { container, address: None, host: 0, protocol: protocol.to_owned() })
        }))
        .collect();
    ports.sort();

    let (mut closed, mut open, mut mapped): (Vec<Run>, Vec<Run>, Vec<String>) = Default::default();
    for port in ports {
        if let Some(address) = &port.address
            && port.host != port.container
        {
            mapped.push(format!("{address}:{}->{}/{}", port.host, port.container, port.protocol));
            continue;
        }
        let run = open.iter_mut().find(|run| run.address == port.address && run.protocol == port.protocol);
        let new = |port: Port| Run {
            address: port.address,
            protocol: port.protocol,
            first: port.container,
            last: port.container,
        };
        match run {
            Some(run) if run.last.checked_add(1) == Some(port.container) => run.last = port.container,
            Some(run) => closed.push(std::mem::replace(run, new(port))),
            None => open.push(new(port)),
        }
    }
    let runs = closed.iter().chain(&open).map(Run::text);
    runs.chain(mapped).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use engine_core::spec::Protocol;

    use super::*;

    fn published(address: &str, host: u16, container: u16) -> PublishedPort {
        let host_address = address.parse().expect("an address");
        PublishedPort { container, protocol: Protocol::Tcp, host_address, host }
    }

    #[test]
    fn a_port_shows_both_ends() {
        assert_eq!(ports(&[published("0.0.0.0", 8080, 80)], &[]), "0.0.0.0:8080->80/tcp");
        assert_eq!(ports(&[published("::1", 8080, 80)], &[]), "[::1]:8080->80/tcp");
        assert_eq!(ports(&[], &["80/tcp".into(), "53/udp".into()]), "53/udp, 80/tcp");
        assert_eq!(ports(&[], &[]), "");
    }

    #[test]
    fn equal_neighbours_are_merged_and_the_rest_follows() {
        let published = [
            published("0.0.0.0", 8002, 8002),
            published("0.0.0.0", 8000, 8000),
            published("0.0.0.0", 8001, 8001),
            published("0.0.0.0", 9000, 80),
            published("0.0.0.0", 8005, 8005),
        ];
        assert_eq!(
            ports(&published, &["443/tcp".into()]),
            "0.0.0.0:8000-8002->8000-8002/tcp, 443/tcp, 0.0.0.0:8005->8005/tcp, 0.0.0.0:9000->80/tcp"
        );
    }
}
