//! The kernel's table of connections.
//!
//! UDP has no beginning: a client that keeps sending to a port keeps its entry alive, and with it the decision where
//! its packets go, made before the port was published or for a container that is gone. TCP's new connections decide
//! anew.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::connection::Connection;
use super::family::Family;
use super::link;
use super::netlink::{Batch, DUMP, attribute, descend};
use crate::error::Result;
use crate::network::driver::PublishedPort;
use crate::spec::{Address, Protocol};

const GET: u16 = 1 << 8 | 1;
const DELETE: u16 = 1 << 8 | 2;

const TUPLE_ORIGINAL: u16 = 1;
const TUPLE_IP: u16 = 1;
const TUPLE_PROTOCOL: u16 = 2;
const IP_DESTINATION: u16 = 2;
const IP6_DESTINATION: u16 = 4;
const PROTOCOL_NUMBER: u16 = 1;
const PROTOCOL_DESTINATION: u16 = 3;

/// Forgets where packets to these ports went until now; does so for UDP only.
pub(super) fn forget(ports: &[PublishedPort]) -> Result<()> {
    let ports = ports.iter().filter(|port| port.protocol == Protocol::Udp);
    let (four, six): (Vec<_>, Vec<_>) = ports.partition(|port| port.host_address.is_ipv4());
    forget_family::<Ipv4Addr>(&four)?;
    forget_family::<Ipv6Addr>(&six)
}

fn forget_family<A: Address>(ports: &[&PublishedPort]) -> Result<()> {
    if ports.is_empty() {
        return Ok(());
    }
    let family = Family::of_all::<A>();
    let header = [family.number(), 0, 0, 0];
    let own = link::addresses::<A>(&mut Connection::route()?, None)?;
    let mut connection = Connection::netfilter()?;
    let mut batch = Batch::new();
    batch.message(GET, DUMP, &header, |_| ());
    let mut stale = Vec::new();
    let dump = connection.dump(batch, |message| {
        let Some(entry) = message.body.get(4..) else { return };
        let Some((address, port)) = udp_destination(family, entry) else { return };
        let meant = |published: &&&PublishedPort| {
            published.host == port
                && match published.host_address {
                    any if any.is_unspecified() => {
                        address.is_loopback() || own.iter().any(|own| own.address.into() == address)
                    }
                    host => host == address,
                }
        };
        if ports.iter().find(meant).is_some() {
            stale.extend(attribute(entry, TUPLE_ORIGINAL).map(<[u8]>::to_vec));
        }
    })?;
    if dump.is_err() {
        // A kernel that does not let its table be read lets old entries expire by themselves.
        return Ok(());
    }
    for tuple in stale {
        let mut batch = Batch::new();
        batch.message(DELETE, 0, &header, |m| m.nest(TUPLE_ORIGINAL, |m| m.raw(&tuple)));
        // It may have expired meanwhile.
        let _ = connection.send(batch)?;
    }
    Ok(())
}

/// Where the first packet of a UDP entry went; `None` for other protocols.
fn udp_destination(family: Family, entry: &[u8]) -> Option<(IpAddr, u16)> {
    let protocol = descend(entry, &[TUPLE_ORIGINAL, TUPLE_PROTOCOL])?;
    if attribute(protocol, PROTOCOL_NUMBER)? != [Protocol::Udp.number()] {
        return None;
    }
    let destination = if family == Family::V4 { IP_DESTINATION } else { IP6_DESTINATION };
    let address = family.address(descend(entry, &[TUPLE_ORIGINAL, TUPLE_IP, destination])?)?;
    let port = attribute(protocol, PROTOCOL_DESTINATION)?;
    Some((address, u16::from_be_bytes(*port.first_chunk::<2>()?)))
}
