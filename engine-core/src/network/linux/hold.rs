//! Ports of the host, held by sockets that nobody reads: as long as one is open, nobody else gets the port, and who
//! has it already is found out at once.
//!
//! Packets to a published port are led to the container before any socket is looked for, so the sockets never get
//! one. That one can be bound is also the proof that a port's container is gone; see [`super::sweep`].

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV4};
use std::os::fd::OwnedFd;

use rustix::io::Errno;
use rustix::net::sockopt::{set_socket_recv_buffer_size, set_socket_reuseaddr};
use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, getsockname, listen, socket_with};

use crate::error::{Error, ErrorKind, Result};
use crate::network::driver::{PublishedPort, Reservation};
use crate::spec::{PortSpec, Protocol};

/// Takes hold of a port of the host for each of `ports`; on `default` where no address is asked for.
///
/// # Errors
/// [`ErrorKind::InUse`], naming the port; then none is held.
pub(super) fn reserve(ports: &[PortSpec], default: IpAddr) -> Result<Reservation> {
    let mut reservation = Reservation::default();
    for spec in ports {
        let asked = spec.host_address.unwrap_or(default);
        let address = ipv4(asked)?;
        let (held, host) = one(spec, address)?;
        let host_address = IpAddr::V4(address);
        let (container, protocol) = (spec.container, spec.protocol);
        reservation.ports.push(PublishedPort { container, protocol, host_address, host });
        reservation.held.push(held);
    }
    Ok(reservation)
}

/// `::`, all addresses, stands for all that the networks have: those of IPv4.
fn ipv4(address: IpAddr) -> Result<Ipv4Addr> {
    match address {
        IpAddr::V4(address) => Ok(address),
        IpAddr::V6(address) if address.is_unspecified() => Ok(Ipv4Addr::UNSPECIFIED),
        IpAddr::V6(address) => address.to_ipv4_mapped().ok_or_else(|| {
            Error::new(ErrorKind::Unsupported, format!("host address {address}"))
                .because("ports are published on IPv4 addresses only")
                .with_remedy("publish on an IPv4 address, or on 0.0.0.0 for all")
        }),
    }
}

fn one(spec: &PortSpec, address: Ipv4Addr) -> Result<(OwnedFd, u16)> {
    let (low, high) = spec.host.unwrap_or((0, 0));
    for port in low..=high {
        match hold(spec.protocol, address, port) {
            Ok(held) => return Ok(held),
            Err(Errno::ADDRINUSE) => {}
            Err(errno) => return Err(refused(spec.protocol, address, port, errno)),
        }
    }
    Err(in_use(spec.protocol, address, low, high))
}

fn in_use(protocol: Protocol, address: Ipv4Addr, low: u16, high: u16) -> Error {
    let (subject, remedy) = if low == high {
        let option = if protocol == Protocol::Tcp { "-ltnp" } else { "-lunp" };
        let find = format!("`ss {option} sport = :{low}` shows a program that listens there");
        (format!("host port {address}:{low}/{protocol}"), format!("publish another host port; {find}"))
    } else {
        (format!("host ports {address}:{low}-{high}/{protocol}"), "publish a wider range".into())
    };
    let reason =
        if low == high { "port is already allocated" } else { "all ports of the range are allocated" };
    Error::new(ErrorKind::InUse, subject).because(reason).with_remedy(remedy)
}

fn refused(protocol: Protocol, address: Ipv4Addr, port: u16, errno: Errno) -> Error {
    let subject = format!("host port {address}:{port}/{protocol}");
    match errno {
        Errno::ADDRNOTAVAIL => Error::invalid(subject, "the host has no such address")
            .with_remedy("publish on an address that `ip addr` shows, or on 0.0.0.0 for all"),
        Errno::ACCESS => Error::new(ErrorKind::PermissionDenied, subject)
            .because("ports below net.ipv4.ip_unprivileged_port_start need CAP_NET_BIND_SERVICE"),
        Errno::MFILE | Errno::NFILE => Error::new(ErrorKind::LimitExceeded, subject)
            .because("every published port needs an open file, and there are no more")
            .with_remedy("publish fewer ports, or raise the limit of open files"),
        errno => Error::io(subject, io::Error::from(errno)),
    }
}

/// Binds the port, any free one if it is 0, in the way that nobody else can.
pub(super) fn hold(protocol: Protocol, address: Ipv4Addr, port: u16) -> Result<(OwnedFd, u16), Errno> {
    let address = SocketAddr::V4(SocketAddrV4::new(address, port));
    let bound = match protocol {
        Protocol::Tcp => bind_tcp(&address)?,
        Protocol::Udp => {
            let socket = socket(SocketType::DGRAM)?;
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

fn socket(kind: SocketType) -> Result<OwnedFd, Errno> {
    socket_with(AddressFamily::INET, kind, SocketFlags::CLOEXEC, None)
}

/// A bound socket without `SO_REUSEADDR` excludes everybody, even if it does not listen, and the kernel refuses what
/// gets here after all. But it is itself refused while connections of an earlier server there have not timed out;
/// with `SO_REUSEADDR` it is not, and then only listening excludes everybody.
fn bind_tcp(address: &SocketAddr) -> Result<OwnedFd, Errno> {
    let plain = socket(SocketType::STREAM)?;
    match bind(&plain, address) {
        Ok(()) => return Ok(plain),
        Err(Errno::ADDRINUSE) => {}
        Err(errno) => return Err(errno),
    }
    let listening = socket(SocketType::STREAM)?;
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
            let first = reserve(std::slice::from_ref(&spec), LOOPBACK).expect("a free port");
            let port = first.ports[0].host;
            assert_ne!(port, 0);
            let same = PortSpec { host: Some((port, port)), ..spec };
            let error = reserve(std::slice::from_ref(&same), LOOPBACK).expect_err("it is taken");
            assert_eq!(error.kind(), ErrorKind::InUse);
            assert!(error.subject().contains(&format!("127.0.0.1:{port}/{protocol}")), "{error}");
            assert!(error.remedy().is_some());
            match protocol {
                // The standard library's listeners set SO_REUSEADDR.
                Protocol::Tcp => assert!(TcpListener::bind(("127.0.0.1", port)).is_err()),
                Protocol::Udp => assert!(UdpSocket::bind(("127.0.0.1", port)).is_err()),
            }
            drop(first);
            reserve(&[same], LOOPBACK).expect("it is free again");
        }
    }

    #[test]
    fn a_program_s_port_is_found_also_when_it_listens_on_all_addresses_of_both_families() {
        let Ok(program) = TcpListener::bind("[::]:0") else { return };
        let port = program.local_addr().expect("bound").port();
        let error = reserve(&[tcp(Some((port, port)))], Ipv4Addr::UNSPECIFIED.into()).expect_err("in use");
        assert_eq!(error.kind(), ErrorKind::InUse);
    }

    #[test]
    fn a_range_gives_its_first_free_port() {
        let first = reserve(&[tcp(None)], LOOPBACK).expect("a free port").ports[0].host;
        let range = (first, first.saturating_add(40));
        let one = reserve(&[tcp(Some(range))], LOOPBACK).expect("free");
        let two = reserve(&[tcp(Some(range))], LOOPBACK).expect("another one is free");
        assert!(two.ports[0].host > one.ports[0].host);
        let taken = one.ports[0].host;
        let error = reserve(&[tcp(Some((taken, taken)))], LOOPBACK).expect_err("taken");
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
        let held = reserve(&[tcp(Some((port, port)))], LOOPBACK).expect("nobody listens");
        assert!(TcpListener::bind(address).is_err(), "it is held all the same");
        drop(held);
    }

    #[test]
    fn addresses_that_cannot_be_are_refused() {
        let at = |address: &str| PortSpec {
            host_address: Some(address.parse().expect("an address")),
            ..tcp(None)
        };
        let error = reserve(&[at("198.51.100.7")], LOOPBACK).expect_err("not of this host");
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        let error = reserve(&[at("::1")], LOOPBACK).expect_err("IPv6");
        assert_eq!(error.kind(), ErrorKind::Unsupported);
        let all = reserve(&[at("::")], LOOPBACK).expect("all addresses");
        assert_eq!(all.ports[0].host_address, IpAddr::V4(Ipv4Addr::UNSPECIFIED));
    }
}
