//! Makes links, addresses and routes, in as few messages as the kernel allows.

use std::net::Ipv4Addr;
use std::os::fd::{AsRawFd, BorrowedFd};

use nix::errno::Errno;

use super::connection::{Connection, Refusal};
use super::netlink::{Batch, CREATE, EXCL, REPLACE};
use super::route::{
    DELLINK, IFLA_ADDRESS, IFLA_AF_SPEC, IFLA_BRPORT_HAIRPIN, IFLA_BRPORT_ISOLATED, IFLA_BRPORT_STATE,
    IFLA_IFALIAS, IFLA_IFNAME, IFLA_INET_CONF, IFLA_INET6_ADDR_GEN_MODE, IFLA_INFO_DATA, IFLA_INFO_KIND,
    IFLA_INFO_SLAVE_DATA, IFLA_INFO_SLAVE_KIND, IFLA_LINKINFO, IFLA_MASTER, IFLA_MTU, IFLA_NET_NS_FD,
    IFLA_NUM_RX_QUEUES, IFLA_NUM_TX_QUEUES, INET, NEWLINK, NEWROUTE, PORT_DISABLED, ROUTE_LOCALNET,
    RTA_GATEWAY, RTA_OIF, SETLINK, UP, VETH_INFO_PEER, link_header, new_address,
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
        m.nest(IFLA_AF_SPEC, no_ipv6);
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

/// No link-local address: the networks are IPv4.
fn no_ipv6(batch: &mut Batch) {
    batch.nest(libc::AF_INET6 as u16, |m| m.bytes(IFLA_INET6_ADDR_GEN_MODE, &[1]));
}

/// Gives the bridge its address and brings it up. What is right already is left alone.
pub(super) fn bring_up_bridge(
    connection: &mut Connection,
    link: u32,
    mtu: u32,
    gateway: Option<(Ipv4Addr, Subnet)>,
    route_localnet: bool,
) -> Result<Result<(), Refusal>> {
    let mut batch = Batch::new();
    if let Some((gateway, subnet)) = gateway {
        new_address(&mut batch, link, gateway, subnet);
    }
    batch.message(SETLINK, 0, &link_header(link, UP, UP), |m| {
        m.native(IFLA_MTU, mtu);
        m.nest(IFLA_AF_SPEC, |m| {
            m.nest(u16::from(INET), |m| {
                m.nest(IFLA_INET_CONF, |m| m.native(ROUTE_LOCALNET, u32::from(route_localnet)));
            });
        });
    });
    connection.send(batch)
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
        m.nest(IFLA_AF_SPEC, no_ipv6);
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
        let mut batch = Batch::new();
        batch.message(SETLINK, 0, &link_header(link, 0, 0), |m| m.nest(IFLA_AF_SPEC, no_ipv6));
        new_address(&mut batch, link, endpoint.address, subnet);
        batch.message(SETLINK, 0, &link_header(link, UP, UP), |_| ());
        if let Some(gateway) = plan.gateway.filter(|_| !plan.internal) {
            // `struct rtmsg`: a unicast route of the main table, made at boot, to anywhere.
            let header = [INET, 0, 0, 0, 254, 3, 0, 1, 0, 0, 0, 0];
            batch.message(NEWROUTE, CREATE | REPLACE, &header, |m| {
                m.bytes(RTA_GATEWAY, &gateway.octets());
                m.native(RTA_OIF, link);
            });
        }
        self.0.send(batch)?.map_err(|refusal| refusal.about(subject()))
    }
}
