//! What a container is doing, derived from the kernel.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Serialize, Serializer};

use super::record::Record;
use super::start::SOCKET;
use super::{OciId, OciRuntime, process};
use crate::error::Result;
use crate::spec::Timestamp;

/// The state of a container as runc tells it.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct OciState {
    /// The version of the specification.
    pub oci_version: String,
    /// Its name.
    pub id: String,
    /// Its first process, in the host's numbers; 0 if it has ended.
    pub pid: u32,
    /// What it does.
    pub status: Status,
    /// Its bundle.
    pub bundle: PathBuf,
    /// Its root file system.
    pub rootfs: PathBuf,
    /// When it was made.
    pub created: Timestamp,
    /// Annotations of its configuration.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    /// The user who made it.
    pub owner: String,
}

/// What a container does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Status {
    /// It is built and waits for its start.
    Created,
    /// Its program runs.
    Running,
    /// Its processes are frozen.
    Paused,
    /// Its program has ended.
    Stopped,
}

impl Status {
    /// The specification's word.
    pub fn as_str(self) -> &'static str {
        match self {
            Status::Created => "created",
            Status::Running => "running",
            Status::Paused => "paused",
            Status::Stopped => "stopped",
        }
    }
}

impl Serialize for Status {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl OciRuntime {
    pub(super) fn status(&self, id: &OciId, record: &Record) -> Result<Status> {
        if process::begin(record.pid)? != Some(record.begun) {
            return Ok(Status::Stopped);
        }
        if self.host.cgroups.is_frozen(&record.cgroup)? {
            return Ok(Status::Paused);
        }
        Ok(match self.directory(id).join(SOCKET).exists() {
            true => Status::Created,
            false => Status::Running,
        })
    }
}
