//! Containers by OCI's own operations: create, start, state, kill, delete, and what runc's command line adds to them.
//! Whoever calls looks after the container by itself, as containerd's shim and conmon do: there is no monitor, the
//! container's first process belongs to the caller, and has the streams that the caller has.
//!
//! A container is a directory `<root>/<id>`: `state.json` says what it is (`record`), `config.json` is the
//! configuration it was made with, and the socket `start` is there until it was started. What it does is derived
//! from the kernel (`status`), never stored. Everything here blocks.

mod bundle;
mod create;
mod delete;
mod descriptors;
mod devices;
mod example;
mod exec;
mod features;
mod group;
mod id;
mod notify;
mod process;
mod record;
mod signal;
mod start;
mod status;
mod update;
mod usage;

use std::path::{Path, PathBuf};

pub use self::create::Creation;
pub use self::descriptors::{Console, connect_console, connect_pidfd, inherit};
pub use self::example::{example, rootless_example};
pub use self::exec::Execution;
pub use self::features::features;
pub use self::id::OciId;
pub use self::notify::Notify;
use self::record::Record;
pub use self::status::{OciState, Status};
use super::cgroup::Cgroups;
use super::spawn::{Shim, ShimProgram};
use super::{Host, client};
use crate::error::{Error, ErrorKind, Result, Subject};

/// The version of the runtime specification that is spoken.
pub const OCI_VERSION: &str = "1.3.0";

/// The containers whose state is in one directory.
pub struct OciRuntime {
    root: PathBuf,
    host: Host,
    /// `cgroupsPath` has the form `slice:prefix:name`.
    systemd_cgroup: bool,
}

impl OciRuntime {
    /// Those in the directory `root`, which appears with the first of them.
    ///
    /// # Errors
    /// [`ErrorKind::Unsupported`] on a host without control groups.
    pub fn open(root: &Path, shim: ShimProgram) -> Result<OciRuntime> {
        let root = std::path::absolute(root).subject(|| format!("directory {}", root.display()))?;
        let host = Host { shim: Shim::new(shim, None), cgroups: Cgroups::detect()?, program: None };
        Ok(OciRuntime { root, host, systemd_cgroup: false })
    }

    /// Takes a `cgroupsPath` to be systemd's `slice:prefix:name`. The group is made where systemd would have it; the
    /// service manager itself is not asked.
    #[must_use]
    pub fn with_systemd_cgroup(mut self, systemd: bool) -> OciRuntime {
        self.systemd_cgroup = systemd;
        self
    }

    /// The containers there are, sorted by name.
    ///
    /// # Errors
    /// The directory cannot be read. A container that cannot be is left out, as it may be about to come or to go.
    pub fn list(&self) -> Result<Vec<OciState>> {
        let entries = match std::fs::read_dir(&self.root) {
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries.subject(|| format!("directory {}", self.root.display()))?,
        };
        let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
        let mut ids: Vec<OciId> = names.filter_map(|name| name.parse().ok()).collect();
        ids.sort();
        Ok(ids.iter().filter_map(|id| self.state(id).ok()).collect())
    }

    /// What a container is doing.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] if there is none of that name.
    pub fn state(&self, id: &OciId) -> Result<OciState> {
        let record = self.record(id)?;
        let status = self.status(id, &record)?;
        Ok(record.into_state(status))
    }

    /// The processes of a container, in the host's numbers.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] if there is none of that name.
    pub fn processes(&self, id: &OciId) -> Result<Vec<u32>> {
        self.host.cgroups.pids(&self.record(id)?.cgroup)
    }

    fn directory(&self, id: &OciId) -> PathBuf {
        self.root.join(id.as_str())
    }

    fn record(&self, id: &OciId) -> Result<Record> {
        Record::read(&self.directory(id))?.ok_or_else(|| absent(id))
    }
}

/// What messages call a container.
fn name(id: &OciId) -> String {
    format!("container {id}")
}

/// In words that containerd looks for.
fn absent(id: &OciId) -> Error {
    Error::new(ErrorKind::NotFound, name(id)).because("container does not exist")
}

/// In words that containerd looks for.
fn not_running(id: &OciId) -> Error {
    Error::new(ErrorKind::Conflict, name(id)).because("container not running")
}
