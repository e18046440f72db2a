//! `tmpcopyup`: what lies in a directory of the image is copied into the file system in memory that is mounted over it.
//!
//! The content is hostile: every step is taken from a descriptor by a name without a slash, and follows no link. What
//! it may use of memory the file system's own size and the container's group say.

use alloc::ffi::CString;
use alloc::vec::Vec;
use core::ffi::CStr;

use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{AtFlags, Dir, FileType, Gid, Mode, OFlags, Stat, Timespec, Timestamps, Uid};
use rustix::io::{Errno, Result};

/// So much is copied with one call.
const CHUNK: usize = 1 << 20;

/// Copies all below the directory `from` to the empty directory `to`, with owners, permissions and times, but no
/// extended attributes, as runc does it. Sockets are left out: nobody listens.
pub(crate) fn copy(from: BorrowedFd<'_>, to: BorrowedFd<'_>) -> Result<()> {
    // Not by recursion: how deep it goes is the image's choice, and ends when descriptors run out.
    let mut levels = alloc::vec![Level::open(from, to, c".")?];
    while let Some(level) = levels.last_mut() {
        match level.names.pop() {
            Some(name) => {
                let below = level.copy(&name)?;
                levels.extend(below);
            }
            None => {
                let done = levels.pop();
                // Only now: what was made in it has changed its times. `to` itself is the caller's.
                if let (Some(level), false) = (done, levels.is_empty()) {
                    become_like(level.to.as_fd(), &level.stat)?;
                }
            }
        }
    }
    Ok(())
}

/// A directory that is being copied.
struct Level {
    from: OwnedFd,
    to: OwnedFd,
    stat: Stat,
    /// What is left to copy.
    names: Vec<CString>,
}

impl Level {
    /// The directory `name` of both.
    fn open(from: BorrowedFd<'_>, to: BorrowedFd<'_>, name: &CStr) -> Result<Level> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let from = rustix::fs::openat(from, name, flags, Mode::empty())?;
        let to = rustix::fs::openat(to, name, flags, Mode::empty())?;
        let mut names = Vec::new();
        for entry in Dir::read_from(&from)? {
            let entry = entry?;
            if !matches!(entry.file_name().to_bytes(), b"." | b"..") {
                names.push(entry.file_name().into());
            }
        }
        Ok(Level { stat: rustix::fs::fstat(&from)?, from, to, names })
    }

    /// Copies what has this name; a directory is given, to go on with.
    fn copy(&self, name: &CStr) -> Result<Option<Level>> {
        let (from, to) = (self.from.as_fd(), self.to.as_fd());
        let stat = rustix::fs::statat(from, name, AtFlags::SYMLINK_NOFOLLOW)?;
        let mode = Mode::from_raw_mode(stat.st_mode);
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory => {
                rustix::fs::mkdirat(to, name, Mode::RWXU)?;
                return Level::open(from, to, name).map(Some);
            }
            FileType::RegularFile => copy_file(from, to, name)?,
            FileType::Symlink => {
                let link = rustix::fs::readlinkat(from, name, Vec::new())?;
                rustix::fs::symlinkat(link.as_c_str(), to, name)?;
                own(to, name, &stat)?;
            }
            FileType::Socket => {}
            kind => {
                rustix::fs::mknodat(to, name, kind, mode, stat.st_rdev)?;
                own(to, name, &stat)?;
                // The mask of this process took something of it.
                rustix::fs::chmodat(to, name, mode, AtFlags::empty())?;
            }
        }
        Ok(None)
    }
}

fn copy_file(from: BorrowedFd<'_>, to: BorrowedFd<'_>, name: &CStr) -> Result<()> {
    // Should it have become a pipe meanwhile, nobody waits for its other end.
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let from = rustix::fs::openat(from, name, flags, Mode::empty())?;
    let stat = rustix::fs::fstat(&from)?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        return Err(Errno::STALE);
    }
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let to = rustix::fs::openat(to, name, flags, Mode::RUSR | Mode::WUSR)?;
    loop {
        match rustix::fs::sendfile(&to, &from, None, CHUNK) {
            Ok(0) => return become_like(to.as_fd(), &stat),
            Ok(_) | Err(Errno::INTR) => {}
            Err(errno) => return Err(errno),
        }
    }
}

/// Gives a file or directory owner, permissions and times, in the order that leaves no bit out.
fn become_like(fd: BorrowedFd<'_>, stat: &Stat) -> Result<()> {
    rustix::fs::fchown(fd, Some(Uid::from_raw(stat.st_uid)), Some(Gid::from_raw(stat.st_gid)))?;
    rustix::fs::fchmod(fd, Mode::from_raw_mode(stat.st_mode))?;
    let last_access = Timespec { tv_sec: stat.st_atime as _, tv_nsec: stat.st_atime_nsec as _ };
    let last_modification = Timespec { tv_sec: stat.st_mtime as _, tv_nsec: stat.st_mtime_nsec as _ };
    rustix::fs::futimens(fd, &Timestamps { last_access, last_modification })
}

fn own(directory: BorrowedFd<'_>, name: &CStr, stat: &Stat) -> Result<()> {
    let (uid, gid) = (Uid::from_raw(stat.st_uid), Gid::from_raw(stat.st_gid));
    rustix::fs::chownat(directory, name, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW)
}
