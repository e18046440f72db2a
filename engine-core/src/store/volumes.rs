//! Volumes and who uses them.

use std::collections::BTreeMap;

use rusqlite::params;
use serde::{Deserialize, Serialize};

use super::{Tx, column, document, parsed, to_document};
use crate::error::Result;
use crate::id::{ContainerId, VolumeName};
use crate::spec::Timestamp;

/// A volume as it is recorded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct VolumeRecord {
    pub(crate) name: VolumeName,
    pub(crate) driver: String,
    pub(crate) created: Timestamp,
    /// Goes with the container it was made for.
    #[serde(default)]
    pub(crate) anonymous: bool,
    #[serde(default)]
    pub(crate) options: BTreeMap<String, String>,
    #[serde(default)]
    pub(crate) labels: BTreeMap<String, String>,
}

impl VolumeRecord {
    pub(crate) fn new(name: VolumeName, driver: &str) -> VolumeRecord {
        VolumeRecord {
            name,
            driver: driver.to_owned(),
            created: Timestamp::now(),
            anonymous: false,
            options: BTreeMap::new(),
            labels: BTreeMap::new(),
        }
    }
}

/// Records a volume. One that is there already is left as it is; whether this one is new is the answer.
pub(crate) fn insert(tx: &Tx<'_>, volume: &VolumeRecord) -> Result<bool> {
    let changed = tx.execute(
        "INSERT INTO volumes (name, created, record) VALUES (?1, ?2, ?3) ON CONFLICT (name) DO NOTHING",
        params![volume.name.as_str(), volume.created.nanos(), to_document(volume)?],
    )?;
    Ok(changed == 1)
}

pub(crate) fn get(tx: &Tx<'_>, name: &VolumeName) -> Result<Option<VolumeRecord>> {
    tx.row("SELECT record FROM volumes WHERE name = ?1", [name.as_str()], |row| document(row, 0))
}

/// All volumes by name.
pub(crate) fn list(tx: &Tx<'_>) -> Result<Vec<VolumeRecord>> {
    tx.rows("SELECT record FROM volumes ORDER BY name", [], |row| document(row, 0))
}

/// The names of the volumes that some container has.
pub(crate) fn used(tx: &Tx<'_>) -> Result<Vec<VolumeName>> {
    tx.rows("SELECT DISTINCT volume FROM volume_users", [], |row| parsed(row, 0))
}

/// The containers that have the volume.
pub(crate) fn users(tx: &Tx<'_>, name: &VolumeName) -> Result<Vec<ContainerId>> {
    tx.rows("SELECT container FROM volume_users WHERE volume = ?1", [name.as_str()], |row| parsed(row, 0))
}

/// How many containers have each volume.
pub(crate) fn user_counts(tx: &Tx<'_>) -> Result<BTreeMap<String, i64>> {
    let rows = tx.rows("SELECT volume, count(*) FROM volume_users GROUP BY volume", [], |row| {
        Ok((column::<String>(row, 0)?, column::<i64>(row, 1)?))
    })?;
    Ok(rows.into_iter().collect())
}

/// The container has the volume, from now until it is removed.
pub(crate) fn add_user(tx: &Tx<'_>, name: &VolumeName, container: &ContainerId) -> Result<()> {
    tx.execute(
        "INSERT INTO volume_users (volume, container) VALUES (?1, ?2) ON CONFLICT DO NOTHING",
        [name.as_str(), container.as_str()],
    )?;
    Ok(())
}

/// The volumes that the container has.
pub(crate) fn of_container(tx: &Tx<'_>, container: &ContainerId) -> Result<Vec<VolumeRecord>> {
    tx.rows(
        "SELECT record FROM volumes JOIN volume_users ON name = volume WHERE container = ?1 ORDER BY name",
        [container.as_str()],
        |row| document(row, 0),
    )
}

/// Removes the record; whether it was there is the answer. Nobody may have the volume.
pub(crate) fn delete(tx: &Tx<'_>, name: &VolumeName) -> Result<bool> {
    Ok(tx.execute("DELETE FROM volumes WHERE name = ?1", [name.as_str()])? == 1)
}
