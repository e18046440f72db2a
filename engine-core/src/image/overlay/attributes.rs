//! Owner, mode, times and extended attributes of what a layer holds.

use std::ffi::OsStr;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::fs::{AtFlags, Gid, Mode, Uid, XattrFlags};
use rustix::io::Errno;

use super::tar::{Entry, Kind, timestamps};
use super::tree::{bad, failed};
use crate::error::Result;

/// Owner, extended attributes and mode, in this order: to change the owner takes set-user-ID bits and file
/// capabilities away.
pub(super) fn set_attributes(entry: &Entry, file: BorrowedFd<'_>) -> Result<()> {
    let (uid, gid) = (Uid::from_raw(entry.uid), Gid::from_raw(entry.gid));
    rustix::fs::fchown(file, Some(uid), Some(gid)).map_err(|e| failed(entry, e))?;
    for (name, value) in kept_xattrs(entry) {
        check_xattr(entry, name, rustix::fs::fsetxattr(file, name, value, XattrFlags::empty()))?;
    }
    rustix::fs::fchmod(file, Mode::from_raw_mode(entry.mode)).map_err(|e| failed(entry, e))
}

/// As [`set_attributes`], and the time, for what cannot be opened.
pub(super) fn set_attributes_by_name(entry: &Entry, parent: BorrowedFd<'_>, name: &OsStr) -> Result<()> {
    let (uid, gid) = (Uid::from_raw(entry.uid), Gid::from_raw(entry.gid));
    let nofollow = AtFlags::SYMLINK_NOFOLLOW;
    rustix::fs::chownat(parent, name, Some(uid), Some(gid), nofollow).map_err(|e| failed(entry, e))?;
    for (attribute, value) in kept_xattrs(entry) {
        let path = Path::new("/proc/self/fd").join(parent.as_raw_fd().to_string()).join(name);
        check_xattr(entry, attribute, rustix::fs::lsetxattr(path, attribute, value, XattrFlags::empty()))?;
    }
    if entry.kind != Kind::SymbolicLink {
        let mode = Mode::from_raw_mode(entry.mode);
        rustix::fs::chmodat(parent, name, mode, AtFlags::empty()).map_err(|e| failed(entry, e))?;
    }
    rustix::fs::utimensat(parent, name, &timestamps(entry.mtime), nofollow).map_err(|e| failed(entry, e))
}

/// The extended attributes of an entry, without those that would steer the overlay that the layer becomes part of.
fn kept_xattrs(entry: &Entry) -> impl Iterator<Item = (&OsStr, &[u8])> {
    let steers = |name: &[u8]| name.starts_with(b"trusted.overlay.") || name.starts_with(b"user.overlay.");
    let kept = entry.xattrs.iter().filter(move |(name, _)| !steers(name) && !name.contains(&0));
    kept.map(|(name, value)| (OsStr::from_bytes(name), value.as_slice()))
}

/// File capabilities and attributes of users belong to the content; others are of the system the layer was made on
/// and need not be possible here.
fn check_xattr(entry: &Entry, name: &OsStr, result: rustix::io::Result<()>) -> Result<()> {
    let name = name.as_bytes();
    let needed = name == b"security.capability" || name.starts_with(b"user.");
    match result {
        Ok(()) | Err(Errno::OPNOTSUPP | Errno::PERM | Errno::ACCESS) => Ok(()),
        Err(errno @ (Errno::NOSPC | Errno::DQUOT)) => Err(failed(entry, errno)),
        Err(errno) if needed => {
            let name = String::from_utf8_lossy(name);
            Err(bad(entry, &format!("its attribute {name:?} is refused"))
                .caused_by(std::io::Error::from(errno)))
        }
        Err(_) => Ok(()),
    }
}
