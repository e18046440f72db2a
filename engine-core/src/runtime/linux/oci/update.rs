//! Freezing a container, and changing its limits.

use std::io::Read;

use oci_spec::runtime::LinuxResources;

use super::signal::wrong_state;
use super::{OciId, OciRuntime, Status};
use crate::error::{Error, Result};

impl OciRuntime {
    /// Freezes all processes of a container.
    ///
    /// # Errors
    /// [`ErrorKind::Conflict`](crate::ErrorKind::Conflict) if it does not run.
    pub fn pause(&self, id: &OciId) -> Result<()> {
        let record = self.record(id)?;
        match self.status(id, &record)? {
            Status::Running | Status::Created => self.host.cgroups.freeze(&record.cgroup),
            _ => Err(wrong_state(id, "container not running")),
        }
    }

    /// Lets the processes of a container go on.
    ///
    /// # Errors
    /// [`ErrorKind::Conflict`](crate::ErrorKind::Conflict) if it is not paused.
    pub fn resume(&self, id: &OciId) -> Result<()> {
        let record = self.record(id)?;
        match self.status(id, &record)? {
            Status::Paused => self.host.cgroups.thaw(&record.cgroup),
            _ => Err(wrong_state(id, "container not paused")),
        }
    }

    /// Changes those limits of a container that are given: JSON of the configuration's `linux.resources`.
    ///
    /// # Errors
    /// The limit that was refused.
    pub fn update(&self, id: &OciId, resources: impl Read) -> Result<()> {
        let record = self.record(id)?;
        let resources: LinuxResources = serde_json::from_reader(resources).map_err(|e| {
            Error::invalid("the resources", "they are not as the specification has them").caused_by(e)
        })?;
        if self.status(id, &record)? == Status::Stopped {
            return Err(wrong_state(id, "container not running"));
        }
        self.host.cgroups.update(&record.cgroup, &resources)
    }
}
