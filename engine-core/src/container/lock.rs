//! One process at a time changes what a container does.
//!
//! Owns the lock files. A lock is an flock(2), so it ends with its holder, however that ends. It is held for the
//! milliseconds of a start or a removal, never while somebody waits for a program.

use std::fs::{File, OpenOptions, TryLockError};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::error::{Error, ErrorKind, Result, Subject};
use crate::id::ContainerId;
use crate::parts::Parts;
use crate::store::patience;

/// The right to change what a container does; given back when dropped.
#[derive(Debug)]
pub(crate) struct ContainerLock {
    path: PathBuf,
    _file: File,
}

impl ContainerLock {
    /// Waits for the lock of the container.
    ///
    /// # Errors
    /// [`ErrorKind::TimedOut`] if another process keeps it.
    pub(crate) async fn take(parts: &Parts, id: &ContainerId) -> Result<ContainerLock> {
        let deadline = patience();
        let mut pause = Duration::from_micros(200);
        loop {
            if let Some(lock) = ContainerLock::try_take(parts, id)? {
                return Ok(lock);
            }
            if std::time::Instant::now() > deadline {
                return Err(Error::new(ErrorKind::TimedOut, format!("container {}", id.short()))
                    .because("another process keeps it locked")
                    .with_remedy("end that process and try again"));
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(Duration::from_millis(20));
        }
    }

    /// The lock of the container, unless another process has it.
    pub(crate) fn try_take(parts: &Parts, id: &ContainerId) -> Result<Option<ContainerLock>> {
        let path = parts.lock_file(id);
        loop {
            let file = open(&path).subject(|| format!("lock {}", path.display()))?;
            match file.try_lock() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => return Ok(None),
                Err(TryLockError::Error(e)) => return Err(Error::io(format!("lock {}", path.display()), e)),
            }
            // Whoever removed the container removed the file too; what was locked then is nobody's.
            let links = file.metadata().subject(|| format!("lock {}", path.display()))?.nlink();
            if links > 0 {
                return Ok(Some(ContainerLock { path, _file: file }));
            }
        }
    }

    /// The container is gone, and its lock with it.
    pub(crate) fn retire(self) {
        // One that stays is an empty file on a file system that a reboot clears.
        let _ = std::fs::remove_file(&self.path);
    }
}

fn open(path: &Path) -> std::io::Result<File> {
    OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path)
}
