//! Copies a tree of files with everything that belongs to them: modes, owners, times, extended attributes, hard and
//! symbolic links, devices, and the holes of sparse files.
//!
//! Everything is reached beneath the two roots, one component at a time or without following links, and what was made
//! is changed through its descriptor, never again by its name.

use std::collections::{BTreeMap, VecDeque};
use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use rustix::fs::{
    AtFlags, FileType, Gid, Mode, OFlags, SeekFrom, Stat, Timespec, Timestamps, Uid, XattrFlags,
};
use rustix::io::Errno;

use super::tree::{below, each_entry, open_directory};
use crate::error::{Error, ErrorKind, Result, Subject};

/// As much as an extended attribute, or the list of a file's attributes, can be long (xattr(7)).
const LARGEST_XATTR: usize = 64 * 1024;
/// How much is copied at once where the kernel cannot copy by itself.
const CHUNK: usize = 128 * 1024;

/// Whether an extended attribute belongs to the copy too.
pub(crate) type Keep = fn(&CStr) -> bool;

/// Copies all that is in `source` into `target`, except for the entries at the top that `skip` names, with the extended
/// attributes that `keep` says. Mounts are not entered.
///
/// # Errors
/// The first failure, naming the file; what was copied until then stays.
pub(crate) fn copy_children(
    source: BorrowedFd<'_>,
    target: BorrowedFd<'_>,
    skip: &dyn Fn(&CStr) -> bool,
    keep: Keep,
) -> Result<()> {
    let mut copy =
        Copy { target, keep, links: BTreeMap::new(), waiting: VecDeque::from([CString::from(c".")]) };
    while let Some(path) = copy.waiting.pop_back() {
        let shown = || path.to_string_lossy().into_owned();
        let from = match open_directory(source, &path) {
            Ok(from) => from,
            Err(Errno::NOENT | Errno::XDEV) => continue,
            Err(errno) => return Err(errno).subject(shown),
        };
        let to = open_directory(target, &path).subject(shown)?;
        let mut failed = CString::default();
        each_entry(from.as_fd(), |name, _| {
            if path.as_bytes() == b"." && skip(name) {
                return Ok(());
            }
            match copy.entry(&path, from.as_fd(), to.as_fd(), name) {
                // The source may be a directory of the host, where things come and go.
                Err(Errno::NOENT) => Ok(()),
                Err(errno) => {
                    failed = name.to_owned();
                    Err(errno)
                }
                Ok(()) => Ok(()),
            }
        })
        .map_err(|errno| match errno {
            Errno::NAMETOOLONG => Error::new(ErrorKind::LimitExceeded, shown())
                .because("the tree is deeper than a path can be long"),
            errno => Error::io(format!("{}/{}", shown(), failed.to_string_lossy()), errno.into()),
        })?;
        // Its directories are made by now, so that nothing changes its times any more.
        if path.as_bytes() != b"." {
            rustix::fs::fstat(&from)
                .and_then(|stat| copy_attributes(from.as_fd(), to.as_fd(), &stat, keep))
                .subject(shown)?;
        }
    }
    Ok(())
}

/// Gives the file `target` the extended attributes of `source` that `keep` says, and the owner, mode and times that `source` had when
/// it was asked for `stat`. Any descriptors will do, those opened with `O_PATH` too.
///
/// # Errors
/// What the kernel says. That the file system of `target` has no such attributes is none.
pub(crate) fn copy_attributes(
    source: BorrowedFd<'_>,
    target: BorrowedFd<'_>,
    stat: &Stat,
    keep: Keep,
) -> rustix::io::Result<()> {
    let (uid, gid) = (Uid::from_raw(stat.st_uid), Gid::from_raw(stat.st_gid));
    // The owner first: changing it takes away set-user-ID bits and capabilities.
    rustix::fs::chownat(target, c"", Some(uid), Some(gid), AtFlags::EMPTY_PATH)?;
    copy_xattrs(source, target, keep)?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::Symlink {
        rustix::fs::chmod(itself(target), Mode::from_raw_mode(stat.st_mode))?;
    }
    let times = Timestamps {
        last_access: Timespec { tv_sec: stat.st_atime as _, tv_nsec: stat.st_atime_nsec as _ },
        last_modification: Timespec { tv_sec: stat.st_mtime as _, tv_nsec: stat.st_mtime_nsec as _ },
    };
    rustix::fs::utimensat(target, c"", &times, AtFlags::EMPTY_PATH)
}

/// The name under which the kernel takes an open file, whatever it is opened for.
fn itself(file: BorrowedFd<'_>) -> String {
    format!("/proc/self/fd/{}", file.as_raw_fd())
}

fn copy_xattrs(source: BorrowedFd<'_>, target: BorrowedFd<'_>, keep: Keep) -> rustix::io::Result<()> {
    let (from, to) = (itself(source), itself(target));
    // Most files have none, and the question needs no memory.
    match rustix::fs::listxattr_query(&from) {
        Ok(0) | Err(Errno::OPNOTSUPP | Errno::NOSYS) => return Ok(()),
        result => result?,
    };
    let mut names = vec![0; LARGEST_XATTR];
    let length = rustix::fs::listxattr(&from, &mut names[..])?;
    let mut value = vec![0; LARGEST_XATTR];
    for name in names[..length].split_inclusive(|byte| *byte == 0) {
        let Ok(name) = CStr::from_bytes_with_nul(name) else { continue };
        if !keep(name) {
            continue;
        }
        let length = match rustix::fs::getxattr(&from, name, &mut value[..]) {
            Err(Errno::NODATA) => continue,
            result => result?,
        };
        match rustix::fs::setxattr(&to, name, &value[..length], XattrFlags::empty()) {
            Ok(()) | Err(Errno::OPNOTSUPP) => {}
            Err(errno) => return Err(errno),
        }
    }
    Ok(())
}

/// All but what says something about the place of a file and not about the file: marks of overlayfs, and the label that
/// the host's policy gives by place.
pub(crate) fn of_the_file(name: &CStr) -> bool {
    let name = name.to_bytes();
    !name.starts_with(b"trusted.overlay.")
        && !name.starts_with(b"user.overlay.")
        && name != b"security.selinux"
}

struct Copy<'a> {
    target: BorrowedFd<'a>,
    keep: Keep,
    /// Where the files with several names are, by device and number in the source.
    links: BTreeMap<(u64, u64), CString>,
    /// The directories that were made, and have yet to be filled.
    waiting: VecDeque<CString>,
}

impl Copy<'_> {
    /// Copies one entry of the directory `path`. A directory is made, and filled later.
    fn entry(
        &mut self,
        path: &CStr,
        from: BorrowedFd<'_>,
        to: BorrowedFd<'_>,
        name: &CStr,
    ) -> rustix::io::Result<()> {
        let stat = rustix::fs::statat(from, name, AtFlags::SYMLINK_NOFOLLOW)?;
        let kind = FileType::from_raw_mode(stat.st_mode);
        let here = below(path, name).ok_or(Errno::NAMETOOLONG)?;
        if kind == FileType::Directory {
            rustix::fs::mkdirat(to, name, Mode::RWXU)?;
            self.waiting.push_back(here);
            return Ok(());
        }
        let key = (stat.st_dev, stat.st_ino);
        if stat.st_nlink > 1 {
            match self.links.get(&key) {
                Some(first) if self.link(first, to, name).is_ok() => return Ok(()),
                _ => self.links.insert(key, here),
            };
        }
        match kind {
            FileType::RegularFile => copy_file(from, to, name, self.keep),
            FileType::Symlink => {
                let target = rustix::fs::readlinkat(from, name, Vec::new())?;
                rustix::fs::symlinkat(target, to, name)?;
                copy_special(from, to, name, self.keep)
            }
            kind => {
                rustix::fs::mknodat(to, name, kind, Mode::RUSR | Mode::WUSR, stat.st_rdev)?;
                copy_special(from, to, name, self.keep)
            }
        }
    }

    /// Makes `name` another name of the copy at `first`.
    fn link(&self, first: &CStr, to: BorrowedFd<'_>, name: &CStr) -> rustix::io::Result<()> {
        let path = first.to_bytes();
        let end = path.iter().rposition(|byte| *byte == b'/').ok_or(Errno::INVAL)?;
        let parent = CString::new(&path[..end]).map_err(|_| Errno::INVAL)?;
        let last = CString::new(&path[end + 1..]).map_err(|_| Errno::INVAL)?;
        rustix::fs::linkat(open_directory(self.target, &parent)?, last, to, name, AtFlags::empty())
    }
}

/// The attributes of what has no content to open.
fn copy_special(from: BorrowedFd<'_>, to: BorrowedFd<'_>, name: &CStr, keep: Keep) -> rustix::io::Result<()> {
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let source = rustix::fs::openat(from, name, flags, Mode::empty())?;
    let target = rustix::fs::openat(to, name, flags, Mode::empty())?;
    copy_attributes(source.as_fd(), target.as_fd(), &rustix::fs::fstat(&source)?, keep)
}

fn copy_file(from: BorrowedFd<'_>, to: BorrowedFd<'_>, name: &CStr, keep: Keep) -> rustix::io::Result<()> {
    // Should it have become a pipe meanwhile, nobody waits for who writes to it.
    let reading = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let source = rustix::fs::openat(from, name, reading, Mode::empty())?;
    let stat = rustix::fs::fstat(&source)?;
    let writing = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let target = rustix::fs::openat(to, name, writing, Mode::RUSR | Mode::WUSR)?;
    copy_content(&source, &target, &stat)?;
    copy_attributes(source.as_fd(), target.as_fd(), &stat, keep)
}

fn copy_content(source: &OwnedFd, target: &OwnedFd, stat: &Stat) -> rustix::io::Result<()> {
    let size = u64::try_from(stat.st_size).unwrap_or(0);
    let stored = u64::try_from(stat.st_blocks).unwrap_or(0).saturating_mul(512);
    if stored >= size {
        return copy_range(source, target, 0, size);
    }
    let mut at = 0;
    while at < size {
        let data = match rustix::fs::seek(source, SeekFrom::Data(at)) {
            Ok(data) => data,
            Err(Errno::NXIO) => break,
            Err(Errno::INVAL | Errno::OPNOTSUPP) => return copy_range(source, target, at, size - at),
            Err(errno) => return Err(errno),
        };
        let hole = rustix::fs::seek(source, SeekFrom::Hole(data))?.min(size);
        copy_range(source, target, data, hole.saturating_sub(data))?;
        at = hole.max(data + 1);
    }
    rustix::fs::ftruncate(target, size)
}

/// Copies so many bytes from an offset on to the same offset, or as many as there are.
fn copy_range(source: &OwnedFd, target: &OwnedFd, at: u64, length: u64) -> rustix::io::Result<()> {
    let (mut read, mut written, end) = (at, at, at + length);
    while read < end {
        let left = usize::try_from(end - read).unwrap_or(usize::MAX);
        match rustix::fs::copy_file_range(source, Some(&mut read), target, Some(&mut written), left) {
            // Some file systems have content that only reading gives.
            Ok(0) => return copy_by_hand(source, target, read, end),
            Ok(_) | Err(Errno::INTR) => {}
            Err(Errno::XDEV | Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP | Errno::PERM) => {
                return copy_by_hand(source, target, read, end);
            }
            Err(errno) => return Err(errno),
        }
    }
    Ok(())
}

fn copy_by_hand(source: &OwnedFd, target: &OwnedFd, mut at: u64, end: u64) -> rustix::io::Result<()> {
    let mut buffer = vec![0; CHUNK];
    while at < end {
        let wanted = usize::try_from(end - at).unwrap_or(CHUNK).min(CHUNK);
        let got = rustix::io::retry_on_intr(|| rustix::io::pread(source, &mut buffer[..wanted], at))?;
        if got == 0 {
            break;
        }
        let mut rest = &buffer[..got];
        while !rest.is_empty() {
            let put = rustix::io::retry_on_intr(|| rustix::io::pwrite(target, rest, at))?;
            rest = &rest[put..];
            at += put as u64;
        }
    }
    Ok(())
}
