//! What is on the host and belongs to nothing any more.
//!
//! A process can be killed between making a thing and recording it, and a store's directory can be deleted with its
//! networks still there. Things are judged by what the kernel knows, as another process may make or use them at this
//! very moment:
//! - a bridge says on its alias which network of which store it is. It goes when nothing is on it, and its network or
//!   its store is no more. A bridge that was taken away too early is made again by the next connection.
//! - a published port goes when no socket holds it: a container's monitor holds it as long as the container lives.
//! - a veth is never left behind: it dies with the namespace of its other end.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::net::{IpAddr, SocketAddr};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use super::connection::Connection;
use super::family::Family;
use super::link::{self, Link};
use super::nft::{self, Published};
use super::{alias, hold, wire};
use crate::error::{Faults, Result};
use crate::id::NetworkId;
use crate::network::driver::{Endpoint, NetworkPlan};

/// Unmakes what belongs to nothing; gives a line for each thing.
pub(super) fn sweep(
    root: &Path,
    plans: &[NetworkPlan],
    endpoints: &BTreeMap<NetworkId, Vec<Endpoint>>,
) -> Result<Vec<String>> {
    let mut lines = Vec::new();
    let mut faults = Faults::new();
    faults.note(ports(endpoints, &mut lines));
    faults.note(bridges(root, plans, &mut lines));
    faults.into_result().map(|()| lines)
}

fn bridges(root: &Path, plans: &[NetworkPlan], lines: &mut Vec<String>) -> Result<()> {
    let mut routes = Connection::route()?;
    let links = link::list(&mut routes)?;
    let mut filter = None;
    let mut faults = Faults::new();
    for bridge in links.iter().filter(|bridge| is_left_over(bridge, &links, root, plans)) {
        let filter = match &mut filter {
            Some(filter) => filter,
            none => none.insert(Connection::netfilter()?),
        };
        for family in Family::BOTH {
            faults.note(nft::withdraw(filter, family, &bridge.name));
        }
        let removed = wire::remove(&mut routes, &bridge.name);
        if removed.is_ok() {
            lines.push(format!("bridge {}", bridge.name));
        }
        faults.note(removed);
    }
    faults.into_result()
}

fn is_left_over(bridge: &Link, links: &[Link], root: &Path, plans: &[NetworkPlan]) -> bool {
    let Some((network, store)) = alias::parse(&bridge.alias) else { return false };
    if !bridge.is_bridge || links.iter().any(|link| link.master == Some(bridge.index)) {
        return false;
    }
    if store == root.as_os_str().as_bytes() {
        // One with another name was being made when its maker was killed.
        let is_made = |plan: &NetworkPlan| {
            plan.id.as_str() == network && plan.interface.as_deref() == Some(&bridge.name)
        };
        return !plans.iter().any(is_made);
    }
    let store = Path::new(OsStr::from_bytes(store));
    store.is_absolute() && matches!(store.try_exists(), Ok(false))
}

fn ports(endpoints: &BTreeMap<NetworkId, Vec<Endpoint>>, lines: &mut Vec<String>) -> Result<()> {
    let mut filter = Connection::netfilter()?;
    let mut faults = Faults::new();
    for port in nft::list_published(&mut filter)? {
        if endpoints.values().flatten().any(|endpoint| is_of(&port, endpoint)) {
            continue;
        }
        let Some(protocol) = port.known_protocol() else { continue };
        let address = port.host_address;
        // Held until the element is gone, so that nobody can publish the port in between.
        let Ok(_held) = hold::hold(protocol, address, port.host) else { continue };
        let removed = nft::remove_published(&mut filter, &port);
        if removed.is_ok() {
            lines.push(format!("published port {}/{protocol}", SocketAddr::new(address, port.host)));
        }
        faults.note(removed);
    }
    faults.into_result()
}

fn is_of(port: &Published, endpoint: &Endpoint) -> bool {
    let is_its_own = match port.address {
        IpAddr::V4(address) => endpoint.address == address,
        IpAddr::V6(address) => endpoint.ipv6 == Some(address),
    };
    is_its_own
        && endpoint.ports.iter().any(|published| {
            (published.host, published.container, published.protocol.number())
                == (port.host, port.container, port.protocol)
        })
}
