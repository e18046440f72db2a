//! The places of containers in networks, and with them the leases of addresses.

use std::net::{Ipv4Addr, Ipv6Addr};

use rusqlite::params;

use super::networks::{self, NetworkRecord};
use super::{Tx, column, document, parsed, to_document};
use crate::error::Result;
use crate::id::{ContainerId, NetworkId};
use crate::network::driver::Endpoint;

/// Leases the endpoint's addresses to the container. `false` if one is taken.
pub(crate) fn insert(
    tx: &Tx<'_>,
    container: &ContainerId,
    network: &NetworkId,
    endpoint: &Endpoint,
) -> Result<bool> {
    let changed = tx.execute(
        "INSERT INTO endpoints (container, network, address, ipv6, record) VALUES (?1, ?2, ?3, ?4, ?5)
         ON CONFLICT DO NOTHING",
        params![
            container.as_str(),
            network.as_str(),
            endpoint.address.to_bits(),
            endpoint.ipv6.map(|address| address.octets()),
            to_document(endpoint)?
        ],
    )?;
    Ok(changed == 1)
}

/// The IPv4 addresses that are leased in the network, lowest first.
pub(crate) fn addresses(tx: &Tx<'_>, network: &NetworkId) -> Result<Vec<Ipv4Addr>> {
    tx.rows("SELECT address FROM endpoints WHERE network = ?1 ORDER BY address", [network.as_str()], |row| {
        column::<u32>(row, 0).map(Ipv4Addr::from_bits)
    })
}

/// The IPv6 addresses that are leased in the network, lowest first.
pub(crate) fn ipv6_addresses(tx: &Tx<'_>, network: &NetworkId) -> Result<Vec<Ipv6Addr>> {
    tx.rows(
        "SELECT ipv6 FROM endpoints WHERE network = ?1 AND ipv6 IS NOT NULL ORDER BY ipv6",
        [network.as_str()],
        |row| column::<[u8; 16]>(row, 0).map(Ipv6Addr::from),
    )
}

/// The members of the network.
pub(crate) fn of_network(tx: &Tx<'_>, network: &NetworkId) -> Result<Vec<(ContainerId, Endpoint)>> {
    tx.rows(
        "SELECT container, record FROM endpoints WHERE network = ?1 ORDER BY address",
        [network.as_str()],
        |row| Ok((parsed(row, 0)?, document(row, 1)?)),
    )
}

/// The container's places.
pub(crate) fn of_container(tx: &Tx<'_>, container: &ContainerId) -> Result<Vec<(NetworkId, Endpoint)>> {
    tx.rows("SELECT network, record FROM endpoints WHERE container = ?1", [container.as_str()], |row| {
        Ok((parsed(row, 0)?, document(row, 1)?))
    })
}

/// All places.
pub(crate) fn list(tx: &Tx<'_>) -> Result<Vec<(ContainerId, NetworkId, Endpoint)>> {
    tx.rows("SELECT container, network, record FROM endpoints", [], |row| {
        Ok((parsed(row, 0)?, parsed(row, 1)?, document(row, 2)?))
    })
}

/// Ends the container's lease in one network.
pub(crate) fn leave(tx: &Tx<'_>, container: &ContainerId, network: &NetworkId) -> Result<()> {
    tx.execute(
        "DELETE FROM endpoints WHERE container = ?1 AND network = ?2",
        params![container.as_str(), network.as_str()],
    )?;
    Ok(())
}

/// Ends the container's leases; gives the networks that it was in.
pub(crate) fn release(tx: &Tx<'_>, container: &ContainerId) -> Result<Vec<NetworkRecord>> {
    let left: Vec<NetworkId> = tx.rows(
        "DELETE FROM endpoints WHERE container = ?1 RETURNING network",
        [container.as_str()],
        |row| parsed(row, 0),
    )?;
    left.iter().filter_map(|network| networks::get(tx, network).transpose()).collect()
}
