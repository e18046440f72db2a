//! Ports of the host, held by sockets that nobody reads: as long as one is open, nobody else gets the port, and who
//! has it already is found out at once.
//!
//! Packets to a published port are led to the container before any socket is looked for, so the sockets never get
//! one. That one can be bound is also the proof that a port's container is gone; see [`super::sweep`].

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::OwnedFd;

use rustix::io::Errno;
use rustix::net::sockopt::{set_ipv6_v6only, set_socket_recv_buffer_size, set_socket_reuseaddr};
use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, getsockname, listen, socket_with};

use crate::error::{Error, ErrorKind, Result};
use crate::network::driver::{PublishedPort, Reservation};
use crate::spec::{PortSpec, Protocol};

/// The kernel chooses a port that is free in one family, and is asked again, so often, if it is not in the other.
const ATTEMPTS: usize = 16;

/// Takes hold of a port of the host for each of `ports`; on `default` where no address is asked for. If the containers
/// have IPv6 addresses, all addresses of the host are those of both families.
///
/// # Errors
/// [`ErrorKind::InUse`], naming the port; then none is held.
pub(super) fn reserve(ports: &[PortSpec], default: IpAddr, with_ipv6: bool) -> Result<Reservation> {
    let mut reservation = Reservation::default();
    for spec in ports {
        let mut addresses = addresses(spec, default, with_ipv6)?;
        // Two wishes may mean the same, one for all addresses and one for those of a family.
        addresses.retain(|address| {
            let is_held = |held: &PublishedPort| {
                (held.container, held.protocol, held.host_address)
                    == (spec.container, spec.protocol, *address)
                    && spec.host == Some((held.host, held.host))
            };
            !reservation.ports.iter().any(is_held)
        });
        let (held, host) = one(spec, &addresses)?;
        reservation.ports.extend(addresses.into_iter().map(|host_address| PublishedPort {
            container: spec.container,
            protocol: spec.protocol,
            host_address,
            host,
        }));
        reservation.held.extend(held);
    }
    Ok(reservation)
}

/// The addresses of the host that the port is published on. Where the containers have none of IPv6, `::`, all
/// addresses, stands for all that lead to them.
fn addresses(spec: &PortSpec, default: IpAddr, with_ipv6: bool) -> Result<Vec<IpAddr>> {
    const ALL: [IpAddr; 2] = [IpAddr::V4(Ipv4Addr::UNSPECIFIED), IpAddr::V6(Ipv6Addr::UNSPECIFIED)];
    match spec.host_address.map(|address| address.to_canonical()) {
        None if default == ALL[0] && with_ipv6 => Ok(ALL.into()),
        None => Ok(vec![default]),
        Some(IpAddr::V6(address)) if !with_ipv6 && address.is_unspecified() => Ok(vec![ALL[0]]),
        Some(IpAddr::V6(address)) if !with_ipv6 => {
            Err(Error::new(ErrorKind::Unsupported, format!("host address {address}"))
                .because("the containers of the network have IPv4 addresses only")
                .with_remedy("use a network with IPv6, or publish on an IPv4 address, or on 0.0.0.0 for all"))
        }
        Some(address) => Ok(vec![address]),
    }
}

/// Holds one port on all the addresses.
fn one(spec: &PortSpec, addresses: &[IpAddr]) -> Result<(Vec<OwnedFd>, u16)> {
    let (low, high) = spec.host.unwrap_or((0, 0));
    let attempts = if high == 0 { ATTEMPTS } else { 1 };
    for port in (0..attempts).flat_map(|_| low..=high) {
        match on_all(spec.protocol, addresses, port) {
            Ok(held) => return Ok(held),
            Err((_, Errno::ADDRINUSE)) => {}
            Err((address, errno)) => return Err(refused(spec.protocol, address, port, errno)),
        }
    }
    let address = addresses.first().copied().unwrap_or(Ipv4Addr::UNSPECIFIED.into());
    Err(in_use(spec.protocol, address, low, high))
}

/// The same port on all the addresses; or which of them cannot be had, and why.
fn on_all(
    protocol: Protocol,
    addresses: &[IpAddr],
    mut port: u16,
) -> Result<(Vec<OwnedFd>, u16), (IpAddr, Errno)> {
    let mut held = Vec::with_capacity(addresses.len());
    for address in addresses {
        let (socket, found) = hold(protocol, *address, port).map_err(|errno| (*address, errno))?;
        held.push(socket);
        // What the kernel chose for the first address holds for the others.
        port = found;
    }
    Ok((held, port))
}

fn in_use(protocol: Protocol, address: IpAddr, low: u16, high: u16) -> Error {
    let (subject, remedy) = if low == high {
        let option = if protocol == Protocol::Tcp { "-ltnp" } else { "-lunp" };
        let find = format!("`ss {option} sport = :{low}` shows a program that listens there");
        (
            format!("host port {}/{protocol}", SocketAddr::new(address, low)),
            format!("publish another host port; {find}"),
        )
    } else {
        (
            format!("host ports {}-{high}/{protocol}", SocketAddr::new(address, low)),
            "publish a wider range".into(),
        )
    };
    let reason =
        if low == high { "port is already allocated" } else { "all ports of the range are allocated" };
    Error::new(ErrorKind::InUse, subject).because(reason).with_remedy(remedy)
}

fn refused(protocol: Protocol, address: IpAddr, port: u16, errno: Errno) -> Error {
    let subject = format!("host port {}/{protocol}", SocketAddr::new(address, port));
    match errno {
        Errno::ADDRNOTAVAIL => Error::invalid(subject, "the host has no such address")
            .with_remedy("publish on an address that `ip addr` shows, or on none in particular for all"),
        Errno::ACCESS => Error::new(ErrorKind::PermissionDenied, subject)
            .because("ports below net.ipv4.ip_unprivileged_port_start need CAP_NET_BIND_SERVICE"),
        Errno::MFILE | Errno::NFILE => Error::new(ErrorKind::LimitExceeded, subject)
            .because("every published port needs an open file, and there are no more")
            .with_remedy("publish fewer ports, or raise the limit of open files"),
        errno => Error::io(subject, io::Error::from(errno)),
    }
}

/// Binds the port, any free one if it is 0, in the way that nobody else can.
pub(super) fn hold(protocol: Protocol, address: IpAddr, port: u16) -> Result<(OwnedFd, u16), Errno> {
    let address = SocketAddr::new(address, port);
    let bound = match protocol {
        Protocol::Tcp => bind_tcp(&address)?,
        Protocol::Udp => {
            let socket = socket(&address, SocketType::DGRAM)?;
            // Whatever gets here is thrown away; let it not take the kernel's memory first.
            let _ = set_socket_recv_buffer_size(&socket, 0);
            bind(&socket, &address)?;
            socket
        }
    };
    let port = match SocketAddr::try_from(getsockname(&bound)?) {
        Ok(address) => address.port(),
        Err(_) => port,
    };
    Ok((bound, port))
}

fn socket(address: &SocketAddr, kind: SocketType) -> Result<OwnedFd, Errno> {
    let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let socket = socket_with(family, kind, SocketFlags::CLOEXEC, None)?;
    if address.is_ipv6() {
        // The same port of IPv4 may be somebody else's, and has a socket of its own if it is ours.
        set_ipv6_v6only(&socket, true)?;
    }
    Ok(socket)
}

/// A bound socket without `SO_REUSEADDR` excludes everybody, even if it does not listen, and the kernel refuses what
/// gets here after all. But it is itself refused while connections of an earlier server there have not timed out;
/// with `SO_REUSEADDR` it is not, and then only listening excludes everybody.
fn bind_tcp(address: &SocketAddr) -> Result<OwnedFd, Errno> {
    let plain = socket(address, SocketType::STREAM)?;
    match bind(&plain, address) {
        Ok(()) => return Ok(plain),
        Err(Errno::ADDRINUSE) => {}
        Err(errno) => return Err(errno),
    }
    let listening = socket(address, SocketType::STREAM)?;
    set_socket_reuseaddr(&listening, true)?;
    bind(&listening, address)?;
    listen(&listening, 0)?;
    Ok(listening)
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, UdpSocket};

    use super::*;

    fn tcp(host: Option<(u16, u16)>) -> PortSpec {
        PortSpec { container: 80, protocol: Protocol::Tcp, host_address: None, host }
    }

    const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

    #[test]
    fn a_held_port_is_nobody_else_s_and_free_when_it_is_let_go() {
        for protocol in [Protocol::Tcp, Protocol::Udp] {
            let spec = PortSpec { protocol, ..tcp(None) };
            let first = reserve(std::slice::from_ref(&spec), LOOPBACK, false).expect("a free port");
            let port = first.ports[0].host;
            assert_ne!(port, 0);
            let same = PortSpec { host: Some((port, port)), ..spec };
            let error = reserve(std::slice::from_ref(&same), LOOPBACK, false).expect_err("it is taken");
            assert_eq!(error.kind(), ErrorKind::InUse);
            assert!(error.subject().contains(&format!("127.0.0.1:{port}/{protocol}")), "{error}");
            assert!(error.remedy().is_some());
            match protocol {
                // The standard library's listeners set SO_REUSEADDR.
                Protocol::Tcp => assert!(TcpListener::bind(("127.0.0.1", port)).is_err()),
                Protocol::Udp => assert!(UdpSocket::bind(("127.0.0.1", port)).is_err()),
            }
            drop(first);
            reserve(&[same], LOOPBACK, false).expect("it is free again");
        }
    }

    #[test]
    fn a_program_s_port_is_found_also_when_it_listens_on_all_addresses_of_both_families() {
        let Ok(program) = TcpListener::bind("[::]:0") else { return };
        let port = program.local_addr().expect("bound").port();
        let error =
            reserve(&[tcp(Some((port, port)))], Ipv4Addr::UNSPECIFIED.into(), false).expect_err("in use");
        assert_eq!(error.kind(), ErrorKind::InUse);
    }

    #[test]
    fn a_range_gives_its_first_free_port() {
        let first = reserve(&[tcp(None)], LOOPBACK, false).expect("a free port").ports[0].host;
        let range = (first, first.saturating_add(40));
        let one = reserve(&[tcp(Some(range))], LOOPBACK, false).expect("free");
        let two = reserve(&[tcp(Some(range))], LOOPBACK, false).expect("another one is free");
        assert!(two.ports[0].host > one.ports[0].host);
        let taken = one.ports[0].host;
        let error = reserve(&[tcp(Some((taken, taken)))], LOOPBACK, false).expect_err("taken");
        assert!(error.to_string().contains("already allocated"), "{error}");
    }

    #[test]
    fn remnants_of_an_earlier_server_do_not_keep_a_port() {
        let server = TcpListener::bind("127.0.0.1:0").expect("binds");
        let address = server.local_addr().expect("bound");
        let client = std::net::TcpStream::connect(address).expect("connects");
        let (accepted, _) = server.accept().expect("accepts");
        // The side that closes first keeps the connection in TIME_WAIT.
        drop(accepted);
        drop(server);
        drop(client);
        let port = address.port();
        let held = reserve(&[tcp(Some((port, port)))], LOOPBACK, false).expect("nobody listens");
        assert!(TcpListener::bind(address).is_err(), "it is held all the same");
        drop(held);
    }

    #[test]
    fn addresses_that_cannot_be_are_refused() {
        let at = |address: &str| PortSpec {
            host_address: Some(address.parse().expect("an address")),
            ..tcp(None)
        };
        let error = reserve(&[at("198.51.100.7")], LOOPBACK, false).expect_err("not of this host");
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        let error = reserve(&[at("::1")], LOOPBACK, false).expect_err("IPv6");
        assert_eq!(error.kind(), ErrorKind::Unsupported);
        let all = reserve(&[at("::")], LOOPBACK, false).expect("all addresses");
        assert_eq!(all.ports[0].host_address, IpAddr::V4(Ipv4Addr::UNSPECIFIED));
    }

    #[test]
    fn with_ipv6_all_addresses_are_those_of_both_families_and_the_port_is_one() {
        const ALL: IpAddr = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
        let both = reserve(&[tcp(None)], ALL, true).expect("a free port");
        let port = both.ports[0].host;
        let addresses: Vec<_> =
            both.ports.iter().map(|port| (port.host_address.to_string(), port.host)).collect();
        assert_eq!(addresses, [("0.0.0.0".into(), port), ("::".into(), port)]);
        assert_eq!(both.held.len(), 2);
        let at = |address: &str| PortSpec {
            host_address: Some(address.parse().expect("an address")),
            ..tcp(Some((port, port)))
        };
        let error = reserve(&[at("::1")], ALL, true).expect_err("it is taken");
        assert!(error.subject().contains(&format!("[::1]:{port}/tcp")), "{error}");
        drop(both);
        let wishes = [at("0.0.0.0"), tcp(Some((port, port))), at("::")];
        assert_eq!(reserve(&wishes, ALL, true).expect("they mean two").held.len(), 2);
        assert_eq!(reserve(&wishes, ALL, false).expect("they mean one").held.len(), 1);
        assert_eq!(reserve(&[tcp(None)], LOOPBACK, true).expect("free").held.len(), 1, "one was asked for");
        let (four, six) = (reserve(&[at("0.0.0.0")], ALL, true), reserve(&[at("::")], ALL, true));
        assert_eq!((four.expect("free").held.len(), six.expect("free").held.len()), (1, 1));
    }
}
