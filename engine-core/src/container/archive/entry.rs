//! One entry of an archive: its path, checked, and what is set on the file that was made for it.

use std::ffi::{OsStr, OsString};
use std::os::fd::{AsRawFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use rustix::fs::{AtFlags, FileType, Gid, Mode, Stat, Uid, XattrFlags};
use rustix::io::Errno;

use crate::error::{Error, ErrorKind, Result};
use crate::image::tar::{Entry, Kind, entry_name, timestamps};

/// What a path may be for the kernel, and a name in it.
pub(super) const MAX_PATH: usize = 4095;
const MAX_NAME: usize = 255;

/// Who owns what is unpacked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::container) enum Owner {
    /// Whom the archive says.
    OfArchive,
    /// This user and group.
    Fixed(u32, u32),
    /// Whoever unpacks. What would lend an owner's rights to others is left out: the owner is another one.
    Copier,
}

/// Owner, extended attributes, mode and times, in this order: to change the owner takes set-user-ID bits and file
/// capabilities away.
pub(super) fn set_attributes(entry: &Entry, file: BorrowedFd<'_>, owner: Owner) -> Result<()> {
    let owner = match owner {
        Owner::OfArchive => Some((entry.uid, entry.gid)),
        Owner::Fixed(uid, gid) => Some((uid, gid)),
        Owner::Copier => None,
    };
    if let Some((uid, gid)) = owner {
        let (uid, gid) = (Uid::from_raw(uid), Gid::from_raw(gid));
        rustix::fs::chownat(file, c"", Some(uid), Some(gid), AtFlags::EMPTY_PATH)
            .map_err(|e| failed(entry, e))?;
    }
    // By this name the kernel takes a file that was opened for nothing, too, and no other one.
    let itself = || format!("/proc/self/fd/{}", file.as_raw_fd());
    for (name, value) in &entry.xattrs {
        let of_user = name.starts_with(b"user.") && !name.starts_with(b"user.overlay.");
        let capability = name == b"security.capability" && owner.is_some();
        if (of_user || capability) && !name.contains(&0) {
            match rustix::fs::setxattr(itself(), OsStr::from_bytes(name), value, XattrFlags::empty()) {
                // The file system has none, or not for such a file.
                Ok(()) | Err(Errno::OPNOTSUPP | Errno::PERM) => {}
                Err(errno) => return Err(failed(entry, errno)),
            }
        }
    }
    if entry.kind != Kind::SymbolicLink {
        let bits = if owner.is_some() { 0o7777 } else { 0o1777 };
        rustix::fs::chmod(itself(), Mode::from_raw_mode(entry.mode & bits)).map_err(|e| failed(entry, e))?;
    }
    rustix::fs::utimensat(file, c"", &timestamps(entry.mtime), AtFlags::EMPTY_PATH)
        .map_err(|e| failed(entry, e))
}

/// A path of an archive, relative and plain. A leading slash means the directory that is unpacked into; a `..` is
/// refused wherever it leads.
pub(super) fn clean(raw: &[u8], entry: &Entry) -> Result<PathBuf> {
    if raw.len() > MAX_PATH || raw.contains(&0) {
        return Err(bad(entry, "its path cannot be"));
    }
    let mut path = PathBuf::new();
    for component in raw.split(|b| *b == b'/') {
        match component {
            b"" | b"." => {}
            b".." => return Err(bad(entry, "its path holds \"..\", which may lead out")),
            _ if component.len() > MAX_NAME => return Err(bad(entry, "a name in its path is too long")),
            name => path.push(OsString::from(OsStr::from_bytes(name))),
        }
    }
    Ok(path)
}

pub(super) fn is_directory(stat: &Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::Directory
}

pub(super) fn look(parent: BorrowedFd<'_>, name: &OsStr) -> rustix::io::Result<Option<Stat>> {
    match rustix::fs::statat(parent, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => Ok(Some(stat)),
        Err(Errno::NOENT) => Ok(None),
        Err(errno) => Err(errno),
    }
}

/// An entry that no proper archive has.
pub(super) fn bad(entry: &Entry, reason: &str) -> Error {
    Error::new(ErrorKind::InvalidInput, entry_name(&entry.path)).because(reason)
}

pub(super) fn failed(entry: &Entry, errno: Errno) -> Error {
    let subject = entry_name(&entry.path);
    match errno {
        Errno::NOTDIR => bad(entry, "its path leads through something that is not a directory"),
        Errno::LOOP => bad(entry, "its path leads through symbolic links that are not followed"),
        Errno::ROFS => Error::new(ErrorKind::PermissionDenied, subject)
            .because("mounted volume is marked read-only")
            .with_remedy("mount it writable, or copy to where it comes from"),
        errno => Error::io(subject, errno.into()),
    }
}
