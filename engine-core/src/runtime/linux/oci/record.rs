//! What is written down of a container: `state.json`, and a copy of its configuration.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use oci_spec::runtime::Spec;
use serde::{Deserialize, Serialize};

use super::status::{OciState, Status};
use crate::error::{Error, Result, Subject};
use crate::runtime::linux::document;
use crate::spec::Timestamp;

const STATE: &str = "state.json";
const CONFIG: &str = "config.json";

/// What is known of a container.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Record {
    pub(super) oci_version: String,
    pub(super) id: String,
    /// Its first process, and when that began.
    pub(super) pid: u32,
    pub(super) begun: u64,
    pub(super) bundle: PathBuf,
    pub(super) rootfs: PathBuf,
    pub(super) created: Timestamp,
    #[serde(default)]
    pub(super) annotations: BTreeMap<String, String>,
    pub(super) cgroup: String,
    /// It has processes numbered by itself: all of them end with the first.
    pub(super) own_pids: bool,
    /// Who made it.
    pub(super) owner: u32,
}

impl Record {
    /// That of the container in `directory`; `None` if there is none.
    pub(super) fn read(directory: &Path) -> Result<Option<Record>> {
        let path = directory.join(STATE);
        let text = match fs::read(&path) {
            Err(e)
                if matches!(e.kind(), std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory) =>
            {
                return Ok(None);
            }
            text => text.subject(|| path.display().to_string())?,
        };
        serde_json::from_slice(&text).map(Some).map_err(|e| {
            Error::new(crate::error::ErrorKind::Corrupt, path.display().to_string())
                .because("it is no state of a container")
                .caused_by(e)
        })
    }

    /// Writes it, so that it is there as a whole or not at all.
    pub(super) fn write(&self, directory: &Path) -> Result<()> {
        document::write(directory, STATE, self)
    }

    pub(super) fn into_state(self, status: Status) -> OciState {
        let gone = status == Status::Stopped;
        OciState {
            oci_version: self.oci_version,
            id: self.id,
            pid: if gone { 0 } else { self.pid },
            status,
            bundle: self.bundle,
            rootfs: self.rootfs,
            created: self.created,
            annotations: self.annotations,
            owner: owner(self.owner),
        }
    }
}

/// Keeps a copy of the configuration: later changes of the bundle's mean nothing.
pub(super) fn keep_configuration(directory: &Path, spec: &Spec) -> Result<()> {
    document::write(directory, CONFIG, spec)
}

/// The configuration that the container was made with.
pub(super) fn configuration(directory: &Path) -> Result<Spec> {
    super::bundle::configuration(&directory.join(CONFIG))
}

/// The name of a user of the host; nothing if it has none.
fn owner(uid: u32) -> String {
    let user = nix::unistd::User::from_uid(uid.into());
    user.ok().flatten().map(|user| user.name).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record() -> Record {
        Record {
            oci_version: "1.0.2".to_owned(),
            id: "web".to_owned(),
            pid: 7,
            begun: 99,
            bundle: "/bundle".into(),
            rootfs: "/bundle/rootfs".into(),
            created: Timestamp::from_nanos(1_700_000_000_000_000_000),
            annotations: BTreeMap::new(),
            cgroup: "/web".to_owned(),
            own_pids: true,
            owner: 0,
        }
    }

    #[test]
    fn what_was_written_is_read_and_a_torn_one_is_told() {
        let directory = tempfile::tempdir().expect("a directory");
        let directory = directory.path();
        assert!(Record::read(&directory.join("nobody")).expect("reads").is_none());
        assert!(Record::read(directory).expect("reads").is_none(), "it is being made");
        record().write(directory).expect("writes");
        let read = Record::read(directory).expect("reads").expect("is there");
        assert_eq!((read.pid, read.begun, read.cgroup.as_str()), (7, 99, "/web"));
        fs::write(directory.join(STATE), "{\"id\":").expect("writes");
        let error = Record::read(directory).expect_err("is torn");
        assert!(error.is(crate::error::ErrorKind::Corrupt), "{error}");
    }

    #[test]
    fn a_state_has_the_members_of_runc_s() {
        let state = record().into_state(Status::Stopped);
        let json = serde_json::to_value(&state).expect("is JSON");
        assert_eq!((&json["pid"], &json["status"]), (&0.into(), &"stopped".into()));
        assert_eq!(json["created"], "2023-11-14T22:13:20Z");
        assert_eq!(json.get("annotations"), None, "there are none");
        assert_eq!(record().into_state(Status::Paused).pid, 7);
    }
}
