//! Docker's rule: an empty volume is given what the image has at its path, with the permissions and the owner of the
//! image's directory itself.
//!
//! The content is copied aside, made durable, and declared whole by one rename; then it is moved to its place. A
//! process that dies before the rename leaves an empty volume, and one that dies after it leaves work that [`settle`]
//! finishes for whoever needs the volume next. The volume's own directory is never exchanged: a container that runs
//! may have it mounted already, and is to see the content too.
//!
//! The volume may be in the hands of a container while this goes on. Everything is done beneath descriptors, no
//! symbolic link is followed in the volume, and what a container made under the same name stays.

use std::ffi::CStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{AtFlags, Mode, OFlags, RenameFlags, ResolveFlags};
use rustix::io::Errno;

use crate::error::{Result, Subject};
use crate::sys::copy_tree::{copy_attributes, copy_children, of_the_file};
use crate::sys::tree;

/// Where content is until it is whole.
const PARTIAL: &CStr = c".engine-copy-partial";
/// Where it is from then on, until the last of it is in its place.
const WHOLE: &CStr = c".engine-copy-whole";

/// Whether somebody died who filled the volume that has this staging directory.
pub(super) fn is_unsettled(staging: &Path) -> bool {
    rustix::fs::open(staging, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty()).is_ok_and(
        |staging| {
            [PARTIAL, WHOLE]
                .iter()
                .any(|name| rustix::fs::statat(&staging, *name, AtFlags::SYMLINK_NOFOLLOW).is_ok())
        },
    )
}

/// Finishes what somebody who died had begun: afterwards the volume is as it was before, or whole. The caller holds
/// the lock on the volume's content.
pub(super) fn settle(volume: &Path, staging: &Path) -> Result<()> {
    let (volume, staging) = (open(volume)?, open(staging)?);
    settle_in(volume.as_fd(), staging.as_fd())
}

/// Fills the volume with what is at `target` in the tree `view`, if the volume is empty and that is a directory. The
/// content is prepared in the directory `staging` of the same file system. The caller holds the lock on the volume's
/// content.
pub(super) fn copy_up(view: BorrowedFd<'_>, target: &str, volume: &Path, staging: &Path) -> Result<()> {
    let (volume, staging) = (open(volume)?, open(staging)?);
    settle_in(volume.as_fd(), staging.as_fd())?;
    if !is_empty(volume.as_fd())? {
        return Ok(());
    }
    let source = match resolve(view, target) {
        Ok(source) => source,
        // The image has nothing there, or no directory.
        Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::NAMETOOLONG) => return Ok(()),
        Err(errno) => return Err(errno).subject(|| target.to_owned()),
    };
    if is_empty(source.as_fd())? {
        // Most directories that images declare as volumes are. A process that dies on the way leaves an empty volume.
        return rustix::fs::fstat(&source)
            .and_then(|stat| copy_attributes(source.as_fd(), volume.as_fd(), &stat, of_the_file))
            .subject(|| target.to_owned());
    }
    let result = stage(source.as_fd(), staging.as_fd());
    if result.is_err() {
        // The failure of the copy is the one to tell; what stays is taken away by the next one.
        let _ = remove(staging.as_fd(), PARTIAL);
    }
    result?;
    settle_in(volume.as_fd(), staging.as_fd())
}

/// As a process in the image would: links lead to where they lead inside.
fn resolve(view: BorrowedFd<'_>, target: &str) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    loop {
        match rustix::fs::openat2(view, target, flags, Mode::empty(), resolve) {
            Err(Errno::AGAIN | Errno::INTR) => {}
            result => return result,
        }
    }
}

fn stage(source: BorrowedFd<'_>, staging: BorrowedFd<'_>) -> Result<()> {
    let shown = || "a copy".to_owned();
    rustix::fs::mkdirat(staging, PARTIAL, Mode::RWXU).subject(shown)?;
    let copy = tree::open_directory(staging, PARTIAL).subject(shown)?;
    // A name of this engine's own in the image would be taken for a copy that was interrupted.
    copy_children(source, copy.as_fd(), &|name| name == PARTIAL || name == WHOLE, of_the_file)?;
    rustix::fs::fstat(source)
        .and_then(|stat| copy_attributes(source, copy.as_fd(), &stat, of_the_file))
        .subject(shown)?;
    // One call for the whole file system costs less than one for each file.
    rustix::fs::syncfs(&copy).subject(shown)?;
    rustix::fs::renameat_with(staging, PARTIAL, staging, WHOLE, RenameFlags::NOREPLACE).subject(shown)
}

fn settle_in(volume: BorrowedFd<'_>, staging: BorrowedFd<'_>) -> Result<()> {
    let shown = || "a copy".to_owned();
    match tree::open_directory(staging, WHOLE) {
        Ok(whole) => {
            // Before it is emptied, which changes its times.
            let stat = rustix::fs::fstat(&whole).subject(shown)?;
            tree::each_entry(whole.as_fd(), |name, _| {
                match rustix::fs::renameat_with(&whole, name, volume, name, RenameFlags::NOREPLACE) {
                    // Somebody who has the volume was faster, or the process that died had moved it.
                    Err(Errno::EXIST | Errno::NOENT) => Ok(()),
                    result => result,
                }
            })
            .subject(shown)?;
            copy_attributes(whole.as_fd(), volume, &stat, of_the_file).subject(shown)?;
            remove(staging, WHOLE)?;
        }
        Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => {}
        Err(errno) => return Err(errno).subject(shown),
    }
    remove(staging, PARTIAL)
}

fn remove(staging: BorrowedFd<'_>, name: &CStr) -> Result<()> {
    use std::os::unix::ffi::OsStrExt as _;
    tree::remove_tree(staging, std::ffi::OsStr::from_bytes(name.to_bytes()))
}

fn open(path: &Path) -> Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::open(path, flags, Mode::empty()).subject(|| format!("directory {}", path.display()))
}

fn is_empty(directory: BorrowedFd<'_>) -> Result<bool> {
    let mut empty = true;
    tree::each_entry(directory, |_, _| {
        empty = false;
        Ok::<(), Errno>(())
    })
    .subject(|| "the volume's directory".to_owned())?;
    Ok(empty)
}

#[cfg(test)]
mod tests;
