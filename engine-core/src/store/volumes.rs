//! Volumes and who uses them.

use std::collections::BTreeMap;

use rusqlite::params;
use serde::{Deserialize, Serialize};

use super::{Tx, document, parsed, to_document};
use crate::error::{Error, ErrorKind, Result};
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
    insert_as(tx, volume, "live")
}

/// Records a volume that nobody sees until a container has it: [`add_user`] makes it live.
pub(crate) fn insert_claimed(tx: &Tx<'_>, volume: &VolumeRecord) -> Result<bool> {
    insert_as(tx, volume, "claimed")
}

fn insert_as(tx: &Tx<'_>, volume: &VolumeRecord, state: &str) -> Result<bool> {
    let changed = tx.execute(
        "INSERT INTO volumes (name, created, state, record) VALUES (?1, ?2, ?3, ?4)
         ON CONFLICT (name) DO NOTHING",
        params![volume.name.as_str(), volume.created.nanos(), state, to_document(volume)?],
    )?;
    Ok(changed == 1)
}

pub(crate) fn get(tx: &Tx<'_>, name: &VolumeName) -> Result<Option<VolumeRecord>> {
    tx.row("SELECT record FROM volumes WHERE name = ?1 AND state = 'live'", [name.as_str()], |row| {
        document(row, 0)
    })
}

/// All volumes by name.
pub(crate) fn list(tx: &Tx<'_>) -> Result<Vec<VolumeRecord>> {
    tx.rows("SELECT record FROM volumes WHERE state = 'live' ORDER BY name", [], |row| document(row, 0))
}

/// What is left of the volume if somebody died while making it for a container or while removing it. For whoever
/// holds the lock on the name.
pub(crate) fn leftover(tx: &Tx<'_>, name: &VolumeName) -> Result<Option<VolumeRecord>> {
    tx.row("SELECT record FROM volumes WHERE name = ?1 AND state <> 'live'", [name.as_str()], |row| {
        document(row, 0)
    })
}

/// The volumes that are being made for a container or removed, or were when somebody died.
pub(crate) fn leftovers(tx: &Tx<'_>) -> Result<Vec<VolumeRecord>> {
    tx.rows("SELECT record FROM volumes WHERE state <> 'live' ORDER BY name", [], |row| document(row, 0))
}

/// The names of all volumes that are recorded in any way.
pub(crate) fn names(tx: &Tx<'_>) -> Result<Vec<VolumeName>> {
    tx.rows("SELECT name FROM volumes", [], |row| parsed(row, 0))
}

/// The names of the volumes that some container has.
pub(crate) fn used(tx: &Tx<'_>) -> Result<Vec<VolumeName>> {
    tx.rows("SELECT DISTINCT volume FROM volume_users", [], |row| parsed(row, 0))
}

/// The containers that have the volume.
pub(crate) fn users(tx: &Tx<'_>, name: &VolumeName) -> Result<Vec<ContainerId>> {
    tx.rows("SELECT container FROM volume_users WHERE volume = ?1", [name.as_str()], |row| parsed(row, 0))
}

/// The container has the volume, from now until it is removed.
///
/// # Errors
/// [`ErrorKind::Conflict`] if the volume is not there any more.
pub(crate) fn add_user(tx: &Tx<'_>, name: &VolumeName, container: &ContainerId) -> Result<()> {
    tx.execute("UPDATE volumes SET state = 'live' WHERE name = ?1 AND state = 'claimed'", [name.as_str()])?;
    if get(tx, name)?.is_none() {
        return Err(Error::new(ErrorKind::Conflict, format!("volume {name}"))
            .because("it was removed meanwhile")
            .with_remedy("try again"));
    }
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

/// Makes the volume not be there, while its content still is: from here on only [`delete`] follows. `false` if there
/// is no such volume, or some container has it.
pub(crate) fn doom(tx: &Tx<'_>, name: &VolumeName) -> Result<bool> {
    let changed = tx.execute(
        "UPDATE volumes SET state = 'removing' WHERE name = ?1 AND state = 'live'
         AND NOT EXISTS (SELECT 1 FROM volume_users WHERE volume = ?1)",
        [name.as_str()],
    )?;
    Ok(changed == 1)
}

/// Takes the anonymous volumes that nobody else has away from the container, and dooms them. For the transaction that
/// removes the container, before its record is deleted.
pub(crate) fn doom_anonymous(tx: &Tx<'_>, container: &ContainerId) -> Result<Vec<VolumeRecord>> {
    let mut doomed = Vec::new();
    for volume in of_container(tx, container)?.into_iter().filter(|volume| volume.anonymous) {
        if users(tx, &volume.name)?.iter().all(|user| user == container) {
            tx.execute("DELETE FROM volume_users WHERE volume = ?1", [volume.name.as_str()])?;
            if doom(tx, &volume.name)? {
                doomed.push(volume);
            }
        }
    }
    Ok(doomed)
}

/// Removes the record; whether it was there is the answer. Nobody may have the volume.
pub(crate) fn delete(tx: &Tx<'_>, name: &VolumeName) -> Result<bool> {
    Ok(tx.execute("DELETE FROM volumes WHERE name = ?1", [name.as_str()])? == 1)
}
