//! Directories that a layer's archive does not mention, but has something in.
//!
//! Layers are unpacked in any order, several at a time, so a layer does not see what is below it. In an overlay the
//! topmost directory decides about mode, owner, times and attributes: a directory that had to be made only to hold
//! something must look like the one it is merged with, or `/tmp` would lose its sticky bit to a layer that just adds
//! `tmp/x`. Most often that is the root itself, which few archives mention. (containerd copies such directories from
//! the parents too, and therefore unpacks one after the other; Docker makes them 0755 and root's.)
//!
//! So a layer comes with a list of these directories, in a file beside its tree. It is settled as soon as all layers
//! below are there: at the end of unpacking, or at the latest before the layer is first used. Settling sets what
//! follows from the layers below, so it may happen twice and be interrupted; then the list is removed. Content is
//! never looked at: if a layer has `lib/x` and the one below has a symbolic link `lib`, the directory hides the link,
//! as with both others.

use std::ffi::OsStr;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, Gid, Mode, OFlags, Timespec, Timestamps, Uid, XattrFlags};
use rustix::io::Errno;

use crate::error::{Result, Subject};
use crate::sys::beneath::RootDir;
use crate::sys::overlay_view;

/// The longest list and value of extended attributes the kernel knows.
const XATTR_MAX: usize = 64 << 10;

/// The text of a list: each path is followed by a zero byte.
pub(super) fn list(implied: &[PathBuf]) -> Vec<u8> {
    let mut text = Vec::new();
    for path in implied {
        text.extend_from_slice(path.as_os_str().as_bytes());
        text.push(0);
    }
    text
}

/// Gives the directories of the list the attributes of those that they are merged with: `tree` is the layer's, and
/// `lower` are those below it, topmost first.
pub(super) fn settle(tree: &RootDir, lower: &[&Path], list: &[u8]) -> Result<()> {
    let below = RootDir::from(overlay_view(lower)?);
    for path in list.split_inclusive(|b| *b == 0) {
        let path = Path::new(OsStr::from_bytes(path.strip_suffix(&[0]).unwrap_or(path)));
        let flags = OFlags::RDONLY | OFlags::DIRECTORY;
        let (theirs, ours) = match (below.resolve_exact(path, flags), tree.resolve_exact(path, flags)) {
            (Ok(theirs), Ok(ours)) => (theirs, ours),
            // The layers below have nothing there, or no directory: then it is this layer's alone.
            (Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP), _) => continue,
            (Err(errno), _) | (_, Err(errno)) => return Err(errno).subject(|| subject(path)),
        };
        copy_attributes(&theirs, &ours).subject(|| subject(path))?;
    }
    Ok(())
}

fn subject(path: &Path) -> String {
    format!("directory {:?} of a layer", path.as_os_str())
}

fn copy_attributes(from: &OwnedFd, to: &OwnedFd) -> rustix::io::Result<()> {
    let stat = rustix::fs::statat(from, "", AtFlags::EMPTY_PATH)?;
    rustix::fs::fchown(to, Some(Uid::from_raw(stat.st_uid)), Some(Gid::from_raw(stat.st_gid)))?;
    copy_xattrs(from, to);
    rustix::fs::fchmod(to, Mode::from_raw_mode(stat.st_mode))?;
    let time = |tv_sec, nanos: u64| Timespec { tv_sec, tv_nsec: nanos.cast_signed() };
    let times = Timestamps {
        last_access: time(stat.st_atime, stat.st_atime_nsec),
        last_modification: time(stat.st_mtime, stat.st_mtime_nsec),
    };
    rustix::fs::futimens(to, &times)
}

/// Copies what can be copied. The overlay's own attributes do not show in a view, and where there is one layer
/// alone they must not be copied either.
fn copy_xattrs(from: &OwnedFd, to: &OwnedFd) {
    let mut names = vec![0; XATTR_MAX];
    let Ok(length) = rustix::fs::flistxattr(from, &mut names[..]) else { return };
    if length == 0 {
        return;
    }
    let mut value = vec![0; XATTR_MAX];
    for name in names[..length].split(|b| *b == 0).filter(|name| !name.is_empty()) {
        if name.starts_with(b"trusted.overlay.") || name.starts_with(b"user.overlay.") {
            continue;
        }
        if let Ok(length) = rustix::fs::fgetxattr(from, name, &mut value[..]) {
            let _ = rustix::fs::fsetxattr(to.as_fd(), name, &value[..length], XattrFlags::empty());
        }
    }
}
