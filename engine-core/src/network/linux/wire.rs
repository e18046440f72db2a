//! Makes links, addresses and routes, in as few messages as the kernel allows.

use std::net::{IpAddr, Ipv6Addr};
use std::os::fd::{AsRawFd, BorrowedFd};

use nix::errno::Errno;

use super::connection::{Connection, Refusal};
use super::link::await_arrival;
use super::netlink::{Batch, CREATE, EXCL};
use super::route::{
    DELLINK, IFLA_ADDRESS, IFLA_AF_SPEC, IFLA_BRPORT_HAIRPIN, IFLA_BRPORT_ISOLATED, IFLA_BRPORT_STATE,
    IFLA_IFALIAS, IFLA_IFNAME, IFLA_INET_CONF, IFLA_INET6_ADDR_GEN_MODE, IFLA_INFO_DATA, IFLA_INFO_KIND,
    IFLA_INFO_SLAVE_DATA, IFLA_INFO_SLAVE_KIND, IFLA_LINKINFO, IFLA_MASTER, IFLA_MTU, IFLA_NET_NS_FD,
    IFLA_NUM_RX_QUEUES, IFLA_NUM_TX_QUEUES, INET, NEWLINK, PORT_DISABLED, ROUTE_LOCALNET, SETLINK, UP,
    VETH_INFO_PEER, link_header, new_address, new_default_route,
};
use super::sysctl;
use crate::error::{Error, Result};
use crate::id::random_hex;
use crate::network::driver::{Endpoint, NetworkPlan};
use crate::spec::Subnet;

/// A veth pair: one end here, a port of a bridge, the other one born inside.
pub(super) struct Pair<'a> {
    /// The name of the end that stays here.
    pub(super) outside: &'a str,
    /// The bridge that it becomes a port of.
    pub(super) bridge: u32,
    /// The namespace of the other end.
    pub(super) netns: BorrowedFd<'a>,
    /// The name of the other end.
    pub(super) inside: &'a str,
    /// The hardware address of the other end.
    pub(super) mac: [u8; 6],
    pub(super) mtu: u32,
    /// The port does not reach other isolated ports.
    pub(super) isolated: bool,
}

/// Makes a bridge that has `alias` noted on it from the moment it has its name. It is not up yet. That another link
/// has the name is a refusal with `EEXIST`.
pub(super) fn make_bridge(
    connection: &mut Connection,
    name: &str,
    mac: [u8; 6],
    mtu: u32,
    alias: &[u8],
) -> Result<Result<(), Refusal>> {
    // A note can only be put on a link that exists. Whoever finds the name without a note takes it for a stranger's.
    let first_name = format!("engine{}", random_hex::<4>()?);
    let mut batch = Batch::new();
    batch.message(NEWLINK, CREATE | EXCL, &link_header(0, 0, 0), |m| {
        m.text(IFLA_IFNAME, &first_name);
        // A bridge without an address of its own takes the lowest of its ports', and changes it with them.
        m.bytes(IFLA_ADDRESS, &mac);
        m.native(IFLA_MTU, mtu);
        m.nest(IFLA_LINKINFO, |m| m.text(IFLA_INFO_KIND, "bridge"));
    });
    batch.message(SETLINK, 0, &link_header(0, 0, 0), |m| {
        m.text(IFLA_IFNAME, &first_name);
        m.bytes(IFLA_IFALIAS, alias);
        m.nest(IFLA_AF_SPEC, no_addresses_of_its_own);
    });
    if let Err(refusal) = connection.send(batch)? {
        return Ok(Err(refusal));
    }
    let index = connection.index_of(&first_name).unwrap_or_default();
    let mut batch = Batch::new();
    batch.message(SETLINK, 0, &link_header(index, 0, 0), |m| m.text(IFLA_IFNAME, name));
    let named = connection.send(batch)?;
    if named.is_err() {
        remove(connection, &first_name)?;
    }
    Ok(named)
}

/// No link-local address is made up by the kernel, which would ask around for a second whether anybody has it.
fn no_addresses_of_its_own(batch: &mut Batch) {
    batch.nest(libc::AF_INET6 as u16, |m| m.bytes(IFLA_INET6_ADDR_GEN_MODE, &[1]));
}

/// Gives the bridge its addresses and brings it up. What is right already is left alone.
pub(super) fn bring_up_bridge(
    connection: &mut Connection,
    link: u32,
    plan: &NetworkPlan,
) -> Result<Result<(), Refusal>> {
    let mut batch = Batch::new();
    if let Some((gateway, subnet)) = plan.gateway.zip(plan.subnet) {
        new_address(&mut batch, link, gateway, subnet);
    }
    batch.message(SETLINK, 0, &link_header(link, UP, UP), |m| {
        m.native(IFLA_MTU, plan.mtu);
        m.nest(IFLA_AF_SPEC, |m| {
            m.nest(u16::from(INET), |m| {
                m.nest(IFLA_INET_CONF, |m| m.native(ROUTE_LOCALNET, u32::from(!plan.internal)));
            });
        });
    });
    for (address, subnet) in ipv6_of_bridge(plan) {
        new_address(&mut batch, link, address, subnet);
    }
    connection.send(batch)
}

/// The host's address on every bridge, as with Docker: a router of IPv6 speaks to its neighbours from such a one.
const LINK_LOCAL_ROUTER: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1);

/// The addresses that every link has for itself.
fn link_local() -> Subnet<Ipv6Addr> {
    Subnet::of(LINK_LOCAL_ROUTER, 64)
}

/// The address that a link has for itself, made from its hardware address (RFC 4291, appendix A) as the kernel makes
/// it.
fn link_local_of([a, b, c, d, e, f]: [u8; 6]) -> Ipv6Addr {
    let half = u64::from_be_bytes([a ^ 2, b, c, 0xff, 0xfe, d, e, f]);
    Ipv6Addr::from_bits(link_local().network().to_bits() | u128::from(half))
}

/// The IPv6 addresses that the bridge shall have.
pub(super) fn ipv6_of_bridge(plan: &NetworkPlan) -> impl Iterator<Item = (Ipv6Addr, Subnet<Ipv6Addr>)> {
    let first = (LINK_LOCAL_ROUTER, link_local());
    plan.ipv6
        .into_iter()
        .flat_map(move |pool| pool.gateway.map(|gateway| (gateway, pool.subnet)).into_iter().chain([first]))
}

/// Makes the pair, with this end up and a port of the bridge. The other end is born in its namespace: to move it
/// there afterwards takes the kernel fifty times as long.
pub(super) fn make_pair(connection: &mut Connection, pair: &Pair<'_>) -> Result<Result<(), Refusal>> {
    let one_queue = |m: &mut Batch| {
        m.native(IFLA_MTU, pair.mtu);
        m.native(IFLA_NUM_TX_QUEUES, 1);
        m.native(IFLA_NUM_RX_QUEUES, 1);
    };
    let mut batch = Batch::new();
    batch.message(NEWLINK, CREATE | EXCL, &link_header(0, 0, 0), |m| {
        m.text(IFLA_IFNAME, pair.outside);
        one_queue(m);
        m.nest(IFLA_LINKINFO, |m| {
            m.text(IFLA_INFO_KIND, "veth");
            m.nest(IFLA_INFO_DATA, |m| {
                m.nest(VETH_INFO_PEER, |m| {
                    m.raw(&link_header(0, 0, 0));
                    m.text(IFLA_IFNAME, pair.inside);
                    m.bytes(IFLA_ADDRESS, &pair.mac);
                    one_queue(m);
                    m.native(IFLA_NET_NS_FD, pair.netns.as_raw_fd().cast_unsigned());
                });
            });
        });
    });
    batch.message(SETLINK, 0, &link_header(0, 0, 0), |m| {
        m.text(IFLA_IFNAME, pair.outside);
        m.native(IFLA_MASTER, pair.bridge);
        m.nest(IFLA_AF_SPEC, no_addresses_of_its_own);
    });
    batch.message(SETLINK, 0, &link_header(0, UP, UP), |m| m.text(IFLA_IFNAME, pair.outside));
    batch.message(NEWLINK, 0, &link_header(0, 0, 0), |m| {
        m.text(IFLA_IFNAME, pair.outside);
        port_settings(m, |m| {
            // A container reaches its own published port: where `br_netfilter` is on, the packet is turned around
            // within the bridge.
            m.bytes(IFLA_BRPORT_HAIRPIN, &[1]);
            m.bytes(IFLA_BRPORT_ISOLATED, &[u8::from(pair.isolated)]);
        });
    });
    connection.send(batch)
}

fn port_settings(batch: &mut Batch, settings: impl FnOnce(&mut Batch)) {
    batch.nest(IFLA_LINKINFO, |m| {
        m.text(IFLA_INFO_SLAVE_KIND, "bridge");
        m.nest(IFLA_INFO_SLAVE_DATA, settings);
    });
}

/// Takes the port with that number out of its bridge's traffic at once, then removes the pair, which takes the kernel
/// its time.
pub(super) fn remove_port(connection: &mut Connection, index: u32) -> Result<()> {
    let header = link_header(index, 0, 0);
    let mut batch = Batch::new();
    batch.message(NEWLINK, 0, &header, |m| {
        port_settings(m, |m| m.bytes(IFLA_BRPORT_STATE, &[PORT_DISABLED]));
    });
    batch.message(DELLINK, 0, &header, |_| ());
    // It may be gone already, with the namespace of its other end.
    connection.send(batch).map(drop)
}

/// Removes the link. That it is not there is no error.
pub(super) fn remove(connection: &mut Connection, name: &str) -> Result<()> {
    let mut batch = Batch::new();
    batch.message(DELLINK, 0, &link_header(0, 0, 0), |m| m.text(IFLA_IFNAME, name));
    match connection.send(batch)? {
        Err(refusal) if refusal.errno != Errno::ENODEV => Err(refusal.about(format!("link {name}"))),
        _ => Ok(()),
    }
}

/// The inside of a container's network namespace. It is opened by a thread that is there.
pub(super) struct Inside(Connection);

impl Inside {
    /// Opens it, and brings its loopback up.
    pub(super) fn open() -> Result<Inside> {
        let mut connection = Connection::route()?;
        let mut batch = Batch::new();
        // The loopback is the first link of every namespace.
        batch.message(SETLINK, 0, &link_header(1, UP, UP), |_| ());
        connection.send(batch)?.map_err(|refusal| refusal.about("loopback of the container"))?;
        Ok(Inside(connection))
    }

    /// Sets the endpoint's interface up: with its address, and the default route if the network has a way out. Called
    /// by the thread that is there.
    pub(super) fn set_up(&mut self, plan: &NetworkPlan, endpoint: &Endpoint, subnet: Subnet) -> Result<()> {
        let subject = || format!("interface {} of the container", endpoint.interface);
        let link = self.0.index_of(&endpoint.interface).ok_or_else(|| Error::not_found(subject()))?;
        sysctl::ignore_router_advertisements(&endpoint.interface);
        if endpoint.ipv6.is_some() || endpoint.link_local.iter().any(IpAddr::is_ipv6) {
            sysctl::enable_ipv6(&endpoint.interface);
        }
        let mut batch = Batch::new();
        batch
            .message(SETLINK, 0, &link_header(link, 0, 0), |m| m.nest(IFLA_AF_SPEC, no_addresses_of_its_own));
        new_address(&mut batch, link, endpoint.address, subnet);
        batch.message(SETLINK, 0, &link_header(link, UP, UP), |_| ());
        let six = endpoint.ipv6.zip(plan.ipv6);
        if let Some((address, pool)) = six {
            new_address(&mut batch, link, address, pool.subnet);
            new_address(&mut batch, link, link_local_of(endpoint.mac), link_local());
        }
        for address in &endpoint.link_local {
            match *address {
                IpAddr::V4(address) => new_address(&mut batch, link, address, Subnet::of(address, 16)),
                IpAddr::V6(address) => new_address(&mut batch, link, address, link_local()),
            }
        }
        if !plan.internal {
            let six = six.and_then(|(_, pool)| pool.gateway).map(IpAddr::V6);
            for gateway in plan.gateway.map(IpAddr::V4).into_iter().chain(six) {
                new_default_route(&mut batch, link, gateway);
            }
        }
        self.0.send(batch)?.map_err(|refusal| refusal.about(subject()))?;
        six.map_or(Ok(()), |(address, _)| await_arrival(&mut self.0, address))
    }
}
