//! Which ports are published: those asked for, and those an image exposes. Pure.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};

use crate::error::{Error, ErrorKind, Result};
use crate::spec::{PortSpec, Protocol};

/// The ports to publish. With `all`, each of `exposed` that is not asked for gets a free port of the host.
///
/// The same wish said twice is one wish; two containers' ports on one port of the host cannot be.
///
/// # Errors
/// [`ErrorKind::InvalidInput`] and [`ErrorKind::Conflict`], naming the port.
pub(crate) fn published(asked: &[PortSpec], all: bool, exposed: &[(u16, Protocol)]) -> Result<Vec<PortSpec>> {
    let mut ports: Vec<PortSpec> = Vec::with_capacity(asked.len());
    for spec in asked {
        check(spec)?;
        // A range, or no port at all, may be asked for twice: it is two ports then.
        let Some((low, high)) = spec.host.filter(|(low, high)| low == high) else {
            ports.push(spec.clone());
            continue;
        };
        let same_port = |known: &&PortSpec| (known.host, known.protocol) == (spec.host, spec.protocol);
        let mut at_same_port = ports.iter().filter(same_port);
        if at_same_port.clone().any(|known| known.container == spec.container && includes(known, spec)) {
            continue;
        }
        let clashes = |known: &&PortSpec| {
            let one_wish = known.container == spec.container && is_open(known) && is_open(spec);
            meet(known, spec) && !one_wish
        };
        if let Some(other) = at_same_port.find(clashes).filter(|_| high > 0) {
            let subject = match address(spec) {
                Some(address) => format!("host port {}/{}", SocketAddr::new(address, low), spec.protocol),
                None => format!("host port {low}/{}", spec.protocol),
            };
            let whom = format!("port {}/{}", other.container, other.protocol);
            return Err(Error::new(ErrorKind::Conflict, subject)
                .because(format!("it is asked for twice, also for {whom} of the container"))
                .with_remedy("publish each port of the container on another port of the host"));
        }
        ports.push(spec.clone());
    }
    if all {
        let wanted: BTreeSet<_> = exposed.iter().copied().collect();
        for (container, protocol) in wanted {
            let asked_for = |spec: &PortSpec| (spec.container, spec.protocol) == (container, protocol);
            if container != 0 && !asked.iter().any(asked_for) {
                ports.push(PortSpec { container, protocol, host_address: None, host: None });
            }
        }
    }
    Ok(ports)
}

fn check(spec: &PortSpec) -> Result<()> {
    let subject = || format!("published port {}/{}", spec.container, spec.protocol);
    if spec.container == 0 {
        return Err(Error::invalid(subject(), "a container's port is not 0"));
    }
    match spec.host {
        Some((low, high)) if low > high => {
            Err(Error::invalid(subject(), "a range begins with its lower end"))
        }
        Some((0, high)) if high > 0 => Err(Error::invalid(subject(), "a range of host ports begins above 0")),
        _ => Ok(()),
    }
}

/// The address that is asked for; `None` for all.
fn address(spec: &PortSpec) -> Option<IpAddr> {
    spec.host_address.map(|address| address.to_canonical())
}

/// Whether all addresses of the host are meant, or all of one family.
fn is_open(spec: &PortSpec) -> bool {
    address(spec).is_none_or(|address| address.is_unspecified())
}

/// Whether all that `spec` asks for is in what `known` does. What `::` means to a network without IPv6 is for its
/// driver to say.
fn includes(known: &PortSpec, spec: &PortSpec) -> bool {
    match (address(known), address(spec)) {
        (None, _) => is_open(spec),
        (known, address) => known == address,
    }
}

/// Whether there is an address that both are for.
fn meet(one: &PortSpec, two: &PortSpec) -> bool {
    match (address(one), address(two)) {
        (Some(one), Some(two)) => {
            one == two || one.is_ipv4() == two.is_ipv4() && (one.is_unspecified() || two.is_unspecified())
        }
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parse(texts: &[&str]) -> Vec<PortSpec> {
        texts.iter().flat_map(|text| PortSpec::parse(text).expect("well formed")).collect()
    }

    #[test]
    fn all_exposed_ports_are_published_unless_asked_for_otherwise() {
        let exposed = [(80, Protocol::Tcp), (53, Protocol::Udp), (80, Protocol::Udp), (53, Protocol::Udp)];
        let asked = parse(&["8080:80"]);
        assert_eq!(published(&asked, false, &exposed).expect("decided"), asked);
        let all = published(&asked, true, &exposed).expect("decided");
        let rest: Vec<_> = all[1..].iter().map(|p| (p.container, p.protocol, p.host)).collect();
        assert_eq!(rest, [(53, Protocol::Udp, None), (80, Protocol::Udp, None)]);
    }

    #[test]
    fn one_wish_said_twice_is_one_and_two_wishes_for_one_port_are_refused() {
        assert_eq!(
            published(&parse(&["8080:80", "0.0.0.0:8080:80", "[::]:8080:80"]), false, &[])
                .expect("one")
                .len(),
            1
        );
        // Each of a family alone, as the two may be led to different places.
        for two in [
            ["0.0.0.0:8080:80", "[::]:8080:80"],
            ["0.0.0.0:8080:80", "8080:80"],
            ["[::1]:8080:80", "127.0.0.1:8080:80"],
        ] {
            assert_eq!(published(&parse(&two), false, &[]).expect("two").len(), 2, "{two:?}");
        }
        assert_eq!(published(&parse(&["80", "80"]), false, &[]).expect("two free ones").len(), 2);
        assert_eq!(
            published(&parse(&["127.0.0.1:80:80", "127.0.0.2:80:81"]), false, &[]).expect("two").len(),
            2
        );
        assert_eq!(published(&parse(&["80:80", "80:80/udp"]), false, &[]).expect("two").len(), 2);
        for bad in [
            ["8080:80", "8080:81"],
            ["127.0.0.1:8080:80", "8080:81"],
            ["8080:80", "127.0.0.1:8080:80"],
            ["[::]:8080:80", "[::1]:8080:80"],
        ] {
            let error = published(&parse(&bad), false, &[]).expect_err("one port, two wishes");
            assert_eq!(error.kind(), ErrorKind::Conflict, "{bad:?}");
            assert!(error.to_string().contains("8080"), "{error}");
        }
    }

    #[test]
    fn ports_that_cannot_be_are_refused() {
        let port = |container, host| PortSpec { host, ..PortSpec::tcp(0, container) };
        for bad in [port(0, None), port(80, Some((9, 8))), port(80, Some((0, 9)))] {
            assert_eq!(published(&[bad], false, &[]).expect_err("refused").kind(), ErrorKind::InvalidInput);
        }
    }

    proptest! {
        #[test]
        fn no_two_fixed_ports_clash(wishes in proptest::collection::vec((1u16..4, 1u16..4, 0usize..5), 0..8)) {
            let asked: Vec<_> = wishes
                .iter()
                .map(|(host, container, address)| PortSpec {
                    host_address: ["127.0.0.1", "127.0.0.2", "::1", "::2"]
                        .get(*address)
                        .map(|address| address.parse().expect("an address")),
                    ..PortSpec::tcp(*host, *container)
                })
                .collect();
            if let Ok(ports) = published(&asked, false, &[]) {
                for (at, one) in ports.iter().enumerate() {
                    for two in &ports[at + 1..] {
                        prop_assert!(one.host != two.host || !meet(one, two), "{:?} and {:?}", one, two);
                    }
                }
            }
        }
    }
}
