//! Locks on the names of volumes: held while a volume is made, removed or filled, and while a container is created
//! that will have it.
//!
//! All of them are bytes of one file of the store, one for each name, so that nothing has to be cleaned up after a
//! name is gone. Two names may share a byte; then one waits for the other.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use sha2::{Digest as _, Sha256};

use crate::error::Result;
use crate::id::VolumeName;
use crate::store::patience;
use crate::sys::lock::{ByteLock, Strength, until};

/// Filling a volume takes as long as the image is large.
const FILLING: Duration = Duration::from_secs(600);

/// What a lock is for: the two do not meet.
#[derive(Clone, Copy, Debug)]
enum Of {
    /// That the volume is there.
    Name,
    /// What the image puts into it.
    Content,
}

/// The locks of one store.
#[derive(Clone, Debug)]
pub(super) struct Locks(PathBuf);

/// A lock, given back when dropped.
#[derive(Debug)]
pub(super) struct Hold(ByteLock);

impl Locks {
    /// The locks of the store in the directory `root`.
    pub(super) fn of(root: &Path) -> Locks {
        Locks(root.join("volumes.lock"))
    }

    /// Nobody removes the volume while this is held. Blocks.
    ///
    /// # Errors
    /// [`ErrorKind::TimedOut`](crate::error::ErrorKind::TimedOut) if another process keeps it.
    pub(super) fn shared(&self, name: &VolumeName) -> Result<Hold> {
        self.wait(name, Of::Name, Strength::Shared, patience())
    }

    /// Nobody else makes, removes or claims the volume while this is held. Blocks.
    ///
    /// # Errors
    /// [`ErrorKind::TimedOut`](crate::error::ErrorKind::TimedOut) if another process keeps it.
    pub(super) fn exclusive(&self, name: &VolumeName) -> Result<Hold> {
        self.wait(name, Of::Name, Strength::Exclusive, patience())
    }

    /// The same, or `None` if somebody has it.
    pub(super) fn try_exclusive(&self, name: &VolumeName) -> Result<Option<Hold>> {
        self.attempt(name, Of::Name)
    }

    /// Nobody else fills the volume while this is held. Blocks.
    ///
    /// # Errors
    /// [`ErrorKind::TimedOut`](crate::error::ErrorKind::TimedOut) if another process keeps it.
    pub(super) fn filling(&self, name: &VolumeName) -> Result<Hold> {
        self.wait(name, Of::Content, Strength::Exclusive, Instant::now() + FILLING)
    }

    /// The same, or `None` if somebody has it.
    pub(super) fn try_filling(&self, name: &VolumeName) -> Result<Option<Hold>> {
        self.attempt(name, Of::Content)
    }

    fn wait(&self, name: &VolumeName, of: Of, strength: Strength, deadline: Instant) -> Result<Hold> {
        let lock = self.byte(name, of)?;
        until(deadline, || format!("volume {name}"), || lock.try_take(strength))?;
        Ok(Hold(lock))
    }

    fn attempt(&self, name: &VolumeName, of: Of) -> Result<Option<Hold>> {
        let lock = self.byte(name, of)?;
        Ok(lock.try_take(Strength::Exclusive)?.then_some(Hold(lock)))
    }

    fn byte(&self, name: &VolumeName, of: Of) -> Result<ByteLock> {
        let hash = Sha256::new().chain_update([of as u8]).chain_update(name.as_str()).finalize();
        // Half of all offsets, so that the one after it is an offset too.
        let at = hash.iter().take(8).fold(0i64, |sum, byte| (sum << 8) | i64::from(*byte)) & (i64::MAX >> 1);
        ByteLock::open(&self.0, at)
    }
}

impl Hold {
    /// From exclusive to shared, with no moment between the two.
    ///
    /// # Errors
    /// The kernel has no memory for the lock.
    pub(super) fn share(&self) -> Result<()> {
        self.0.try_take(Strength::Shared).map(|_| ())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_what_is_locked_of_them_do_not_meet() {
        let root = tempfile::tempdir().expect("a directory");
        let locks = Locks::of(root.path());
        let (a, b): (VolumeName, VolumeName) =
            ("data".parse().expect("a name"), "logs".parse().expect("a name"));
        let only = locks.exclusive(&a).expect("locks");
        assert!(locks.try_exclusive(&a).expect("asks").is_none());
        assert!(locks.try_filling(&a).expect("asks").is_some());
        assert!(locks.try_exclusive(&b).expect("asks").is_some());
        only.share().expect("shares");
        drop(locks.shared(&a).expect("locks"));
    }
}
