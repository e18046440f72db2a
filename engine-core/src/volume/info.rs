//! What is asked for and what is known of volumes.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::Serialize;

use crate::id::VolumeName;
use crate::spec::Timestamp;

/// A volume to create.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct VolumeSpec {
    /// Its name; 64 random digits unless given.
    pub name: Option<VolumeName>,
    /// The driver that makes it; `local` unless given.
    pub driver: Option<String>,
    /// Options of the driver.
    pub options: BTreeMap<String, String>,
    /// Labels.
    pub labels: BTreeMap<String, String>,
}

impl VolumeSpec {
    /// A local volume of that name.
    pub fn named(name: VolumeName) -> VolumeSpec {
        VolumeSpec { name: Some(name), ..VolumeSpec::default() }
    }
}

/// All that is known of a volume. Serialises as Docker's inspect does.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
#[non_exhaustive]
pub struct VolumeInfo {
    /// When it was made.
    pub created_at: Timestamp,
    /// The driver that made it.
    pub driver: String,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Where its content is on this host.
    pub mountpoint: PathBuf,
    /// Its name.
    pub name: VolumeName,
    /// Options of the driver.
    pub options: BTreeMap<String, String>,
    /// Always `local`.
    pub scope: &'static str,
}

/// What a prune of volumes did.
#[derive(Clone, Debug, Default)]
pub struct VolumePruneReport {
    /// The volumes destroyed.
    pub deleted: Vec<VolumeName>,
    /// The bytes freed.
    pub reclaimed: u64,
}
