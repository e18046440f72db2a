//! The contract of a volume driver.
//!
//! **Life of a volume.** [`VolumeDriver::create`] makes it; the same call again finds it made. While a container has
//! it, it is mounted under that container's name: [`VolumeDriver::mount`] gives the directory, and is called once for
//! each container that starts with it; [`VolumeDriver::unmount`] ends that, may be called twice, and is called for
//! containers that died too. [`VolumeDriver::remove`] destroys it with its content, and is called only when nobody has
//! it mounted; that it is gone already is no error.
//!
//! The service records which volumes there are and who uses them; a driver keeps no list.

use std::collections::BTreeMap;
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

    /// Makes the volume, empty, and durable. If it is made already, that is fine.
    async fn create(&self, name: &VolumeName, options: &BTreeMap<String, String>) -> Result<()>;

    /// Where its content is, or would be, on this host.
    fn path(&self, name: &VolumeName) -> PathBuf;

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
}
