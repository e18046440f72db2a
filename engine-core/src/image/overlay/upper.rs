//! What a writable tree says about what is below it: the one reading of it that the list of changes and the archive of a
//! layer share.
//!
//! In an overlay the directory `upper` holds what was written, and marks for what was taken away: a device with the
//! number 0:0 hides a name, an attribute of a directory hides all below it. Some marks are there without need (the
//! kernel marks every new directory), and some entries without having been written: a file that was opened for writing,
//! a directory that was entered to write below it, and what the engine made to mount something on.

use std::ffi::CStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;

use rustix::fs::{AtFlags, FileType, Mode, OFlags, Stat};
use rustix::io::Errno;

use super::whiteout::OPAQUE;
use crate::error::{Error, ErrorKind, Result};

/// Attributes of an overlay that is mounted with features this store does not use: the tree cannot be read without
/// them.
const REDIRECT: &CStr = c"trusted.overlay.redirect";
const METACOPY: &CStr = c"trusted.overlay.metacopy";
const CAPABILITY: &CStr = c"security.capability";
/// As much as file capabilities take (`struct vfs_ns_cap_data`).
const CAPABILITY_MAX: usize = 64;

/// The attributes that a copy of a writable tree has to have, so that it says the same.
pub(super) fn is_mark(name: &CStr) -> bool {
    name == REDIRECT || name == METACOPY || name.to_bytes() == OPAQUE.as_bytes()
}

/// What the engine made for its own mounts, in the form of paths in the archive: `etc/hosts`.
pub(super) fn mount_points(paths: &[PathBuf]) -> Vec<PathBuf> {
    paths.iter().map(|path| path.strip_prefix("/").unwrap_or(path).to_owned()).collect()
}

pub(super) fn is_directory(stat: &Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::Directory
}

/// Opens a directory without following a link; `None` where there is none.
pub(super) fn open_exact(parent: BorrowedFd<'_>, name: &CStr) -> rustix::io::Result<Option<OwnedFd>> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    absent_is_none(rustix::fs::openat(parent, name, flags, Mode::empty()))
}

/// What is there; `None` if nothing is.
pub(super) fn look(parent: BorrowedFd<'_>, name: &CStr) -> rustix::io::Result<Option<Stat>> {
    absent_is_none(rustix::fs::statat(parent, name, AtFlags::SYMLINK_NOFOLLOW))
}

pub(super) fn absent_is_none<T>(result: rustix::io::Result<T>) -> rustix::io::Result<Option<T>> {
    match result {
        Ok(found) => Ok(Some(found)),
        Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => Ok(None),
        Err(errno) => Err(errno),
    }
}

/// Whether the directory hides all that the layers below have there.
///
/// # Errors
/// [`ErrorKind::Unsupported`] for one that stands for a directory of another name.
pub(super) fn is_opaque(directory: BorrowedFd<'_>, shown: impl FnOnce() -> String) -> Result<bool> {
    let path = by_descriptor(directory);
    let mut value = [0; 1];
    if rustix::fs::getxattr(&path, REDIRECT, &mut value[..]).is_ok_or(Errno::RANGE) {
        return Err(foreign(shown(), "redirect_dir"));
    }
    Ok(rustix::fs::getxattr(&path, OPAQUE, &mut value[..]) == Ok(1) && value == *b"y")
}

/// Refuses a file whose content is still in a layer below.
pub(super) fn check_content(
    parent: BorrowedFd<'_>,
    name: &CStr,
    stat: &Stat,
    shown: impl FnOnce() -> String,
) -> Result<()> {
    if stat.st_blocks > 0 || stat.st_size == 0 {
        return Ok(());
    }
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let Ok(file) = rustix::fs::openat(parent, name, flags, Mode::empty()) else { return Ok(()) };
    match rustix::fs::getxattr(by_descriptor(file.as_fd()), METACOPY, &mut [0u8; 1][..]) {
        result if result.is_ok_or(Errno::RANGE) => Err(foreign(shown(), "metacopy")),
        _ => Ok(()),
    }
}

/// Whether a call worked, or failed only because there is more than was asked for.
trait OkOr {
    fn is_ok_or(&self, errno: Errno) -> bool;
}

impl<T> OkOr for rustix::io::Result<T> {
    fn is_ok_or(&self, errno: Errno) -> bool {
        match self {
            Ok(_) => true,
            Err(found) => *found == errno,
        }
    }
}

fn foreign(shown: String, feature: &str) -> Error {
    Error::new(ErrorKind::Unsupported, shown)
        .because(format!("it was written through an overlay with the feature {feature}"))
        .with_remedy(format!(
            "switch it off in /sys/module/overlay/parameters/{feature}, and make the container anew"
        ))
}

/// Whether two entries of the same name differ in what a user can see of them. Of a directory its times do not count:
/// they change with what is in it.
pub(super) fn differs(ours: (BorrowedFd<'_>, &CStr, &Stat), theirs: (BorrowedFd<'_>, &CStr, &Stat)) -> bool {
    let (a, b) = (ours.2, theirs.2);
    if (a.st_mode, a.st_uid, a.st_gid, a.st_rdev) != (b.st_mode, b.st_uid, b.st_gid, b.st_rdev) {
        return true;
    }
    let times = |stat: &Stat| (stat.st_size, stat.st_mtime, stat.st_mtime_nsec);
    if !is_directory(a) && times(a) != times(b) {
        return true;
    }
    FileType::from_raw_mode(a.st_mode) == FileType::RegularFile
        && capability(ours.0, ours.1) != capability(theirs.0, theirs.1)
}

fn capability(parent: BorrowedFd<'_>, name: &CStr) -> Option<Vec<u8>> {
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = rustix::fs::openat(parent, name, flags, Mode::empty()).ok()?;
    let mut value = vec![0; CAPABILITY_MAX];
    let length = rustix::fs::getxattr(by_descriptor(file.as_fd()), CAPABILITY, &mut value[..]).ok()?;
    value.truncate(length);
    Some(value)
}

/// By this name the kernel takes a file that was opened for nothing, too.
fn by_descriptor(file: BorrowedFd<'_>) -> String {
    use std::os::fd::AsRawFd;
    format!("/proc/self/fd/{}", file.as_raw_fd())
}
