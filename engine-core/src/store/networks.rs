//! Networks.

use std::collections::BTreeMap;

use rusqlite::params;
use serde::{Deserialize, Serialize};

use super::{Tx, document, to_document};
use crate::error::Result;
use crate::id::{NetworkId, NetworkName};
use crate::network::driver::NetworkPlan;
use crate::spec::Timestamp;

/// A network as it is recorded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct NetworkRecord {
    pub(crate) plan: NetworkPlan,
    pub(crate) driver: String,
    pub(crate) created: Timestamp,
    #[serde(default)]
    pub(crate) options: BTreeMap<String, String>,
    #[serde(default)]
    pub(crate) labels: BTreeMap<String, String>,
}

/// Records a network, unless the name is taken; whether it was recorded is the answer.
pub(crate) fn insert(tx: &Tx<'_>, network: &NetworkRecord) -> Result<bool> {
    let changed = tx.execute(
        "INSERT INTO networks (id, name, created, record) VALUES (?1, ?2, ?3, ?4) ON CONFLICT (name) DO NOTHING",
        params![
            network.plan.id.as_str(),
            network.plan.name,
            network.created.nanos(),
            to_document(network)?
        ],
    )?;
    Ok(changed == 1)
}

pub(crate) fn get(tx: &Tx<'_>, id: &NetworkId) -> Result<Option<NetworkRecord>> {
    tx.row("SELECT record FROM networks WHERE id = ?1", [id.as_str()], |row| document(row, 0))
}

pub(crate) fn by_name(tx: &Tx<'_>, name: &NetworkName) -> Result<Option<NetworkRecord>> {
    tx.row("SELECT record FROM networks WHERE name = ?1", [name.as_str()], |row| document(row, 0))
}

/// The networks whose identifier begins with `prefix`.
pub(crate) fn by_prefix(tx: &Tx<'_>, prefix: &str) -> Result<Vec<NetworkRecord>> {
    tx.rows("SELECT record FROM networks WHERE substr(id, 1, length(?1)) = ?1", [prefix], |row| {
        document(row, 0)
    })
}

/// All networks by name.
pub(crate) fn list(tx: &Tx<'_>) -> Result<Vec<NetworkRecord>> {
    tx.rows("SELECT record FROM networks ORDER BY name", [], |row| document(row, 0))
}

/// Removes the record; whether it was there is the answer. Nobody may be in the network.
pub(crate) fn delete(tx: &Tx<'_>, id: &NetworkId) -> Result<bool> {
    Ok(tx.execute("DELETE FROM networks WHERE id = ?1", [id.as_str()])? == 1)
}
