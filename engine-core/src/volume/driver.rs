//! The contract of a volume driver.
//!
//! **Life of a volume.** [`VolumeDriver::create`] makes it; the same call again finds it made. While a container has
//! it, it is mounted under that container's name: [`VolumeDriver::mount`] gives the directory, and is called once for
//! each container that starts with it; [`VolumeDriver::unmount`] ends that, may be called twice, and is called for
//! containers that died too. [`VolumeDriver::remove`] destroys it with its content, and is called only when nobody has
//! it mounted; that it is gone already is no error.
//!
//! The service records which volumes there are and who uses them; a driver keeps no list. The service makes a volume
//! before it records it and forgets it after it destroyed it, so a process that dies leaves a volume that is empty, or
//! one that is recorded as being destroyed. [`VolumeDriver::strays`] finds the former. At most one process at a time
//! creates or removes a volume of one name.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use async_trait::async_trait;

use crate::error::Result;
use crate::id::VolumeName;

/// Makes volumes.
#[async_trait]
pub trait VolumeDriver: Send + Sync {
    /// Refuses options that the driver does not know.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`](crate::ErrorKind::InvalidInput), naming the option.
    fn check(&self, options: &BTreeMap<String, String>) -> Result<()>;

    /// Makes the volume, empty. If it is made already, that is fine, and it keeps its content. It survives a loss of
    /// power when this returns, unless it is `volatile`: then it goes with a container that does not survive one.
    async fn create(
        &self,
        name: &VolumeName,
        options: &BTreeMap<String, String>,
        volatile: bool,
    ) -> Result<()>;

    /// Where its content is, or would be, on this host.
    fn path(&self, name: &VolumeName) -> PathBuf;

    /// A directory on the file system of the content that nobody who has the volume can reach, where content can be
    /// prepared. Without one it is prepared in the volume, under a name that is not likely to be in use.
    fn staging(&self, name: &VolumeName, options: &BTreeMap<String, String>) -> Option<PathBuf> {
        let _ = (name, options);
        None
    }

    /// Makes its content reachable for `owner`, a container; gives the directory.
    async fn mount(
        &self,
        name: &VolumeName,
        options: &BTreeMap<String, String>,
        owner: &str,
    ) -> Result<PathBuf>;

    /// `owner` needs it no longer. May be called twice.
    async fn unmount(&self, name: &VolumeName, owner: &str) -> Result<()>;

    /// Destroys it with its content. That it is gone already is no error.
    async fn remove(&self, name: &VolumeName) -> Result<()>;

    /// The volumes on this host that are not among `recorded` and hold nothing: what is left when somebody dies who
    /// made one. One that holds something is never among them: it may belong to a store whose records were lost.
    async fn strays(&self, recorded: &BTreeSet<VolumeName>) -> Result<Vec<VolumeName>> {
        let _ = recorded;
        Ok(Vec::new())
    }

    /// Throws away what interrupted removals left; gives a line for each thing.
    async fn sweep(&self) -> Result<Vec<String>> {
        Ok(Vec::new())
    }
}
