//! Who is at something unfinished: a lock on the unfinished thing itself.
//!
//! What is being made has a name of its own until it is done. Whoever works at it holds a lock on it (flock(2)),
//! which ends with its holder, however that ends. So the next one, in whatever process, either waits, or goes on
//! where the holder stopped, and a sweep tells what is abandoned from what is not.

use std::ffi::OsStr;
use std::fs::File;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::time::Duration;

use rustix::fs::{AtFlags, FlockOperation, Mode, OFlags};
use rustix::io::Errno;

use crate::error::Result;
use crate::store::blocking;

/// Asks `attempt` again, with pauses, until it gives something. No thread waits meanwhile, and dropping the future
/// ends the waiting.
pub(super) async fn wait_for<T, F>(attempt: F) -> Result<T>
where
    T: Send + 'static,
    F: Fn() -> Result<Option<T>> + Clone + Send + 'static,
{
    let mut pause = Duration::from_millis(2);
    loop {
        if let Some(found) = blocking(attempt.clone()).await? {
            return Ok(found);
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(Duration::from_millis(100));
    }
}

/// The file `name`, made if it is not there, and locked; `None` while somebody else holds it.
pub(super) fn file(directory: BorrowedFd<'_>, name: &OsStr) -> rustix::io::Result<Option<File>> {
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = rustix::fs::openat(directory, name, flags, Mode::from_raw_mode(0o600))?;
    Ok(lock(directory, name, file)?.map(File::from))
}

/// The directory `name`, made if it is not there, and locked; `None` while somebody else holds it.
pub(super) fn directory(parent: BorrowedFd<'_>, name: &OsStr) -> rustix::io::Result<Option<OwnedFd>> {
    match rustix::fs::mkdirat(parent, name, Mode::RWXU) {
        Ok(()) | Err(Errno::EXIST) => existing(parent, name, OFlags::DIRECTORY),
        Err(errno) => Err(errno),
    }
}

/// What is called `name`, locked; `None` if it is not there, or somebody else holds it.
pub(super) fn existing(
    parent: BorrowedFd<'_>,
    name: &OsStr,
    flags: OFlags,
) -> rustix::io::Result<Option<OwnedFd>> {
    let flags = flags | OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    match rustix::fs::openat(parent, name, flags, Mode::empty()) {
        Ok(file) => lock(parent, name, file),
        Err(Errno::NOENT) => Ok(None),
        Err(errno) => Err(errno),
    }
}

fn lock(directory: BorrowedFd<'_>, name: &OsStr, file: OwnedFd) -> rustix::io::Result<Option<OwnedFd>> {
    match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => {}
        Err(Errno::WOULDBLOCK) => return Ok(None),
        Err(errno) => return Err(errno),
    }
    // The one who held the lock may have finished or removed it: then this is another file than the name's.
    let mine = rustix::fs::fstat(&file)?;
    match rustix::fs::statat(directory, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(named) if (named.st_dev, named.st_ino) == (mine.st_dev, mine.st_ino) => Ok(Some(file)),
        Ok(_) | Err(Errno::NOENT) => Ok(None),
        Err(errno) => Err(errno),
    }
}
