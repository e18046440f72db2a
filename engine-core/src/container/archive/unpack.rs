//! Unpacks an archive where others are at work: into a container that may be running, or into a directory of this host.
//!
//! Both sides are hostile. The archive's names are checked and resolved beneath a root, its links are made but never
//! believed, and its devices are only made where they may be. Whoever else is at the directory may exchange anything at
//! any moment: what is made is made exclusively and changed by its descriptor, so that the worst that can happen is that
//! another entry of the same tree is changed instead.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use rustix::fs::{AtFlags, FileType, Mode, OFlags, Stat};
use rustix::io::Errno;

use super::entry::{MAX_PATH, Owner, bad, clean, failed, is_directory, look, set_attributes};
use crate::error::{Error, ErrorKind, Result};
use crate::image::tar::{Archive, Entry, Kind, Source, entry_name, timestamps};
use crate::sys::beneath::RootDir;
use crate::sys::tree::remove_tree;

/// The longest names and attributes of an entry.
const MAX_HEADER: u64 = 1 << 20;
/// How many directories are kept open: entries come directory by directory, mostly.
const OPEN: usize = 64;
/// How often something is made again that somebody else has put something in the place of.
const ATTEMPTS: usize = 16;
/// The memory that the times of directories, which are set at the end, may take. What exceeds it keeps the time of now.
const MAX_TIMES: usize = 64 << 20;

const DIRECTORY: OFlags =
    OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);
const ITSELF: OFlags = OFlags::PATH.union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// Where links on the way to an entry lead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::container) enum Links {
    /// To where they lead for whoever's root the root is.
    Inside,
    /// Nowhere: they are in the way.
    Refused,
}

/// Where something is unpacked, and how.
#[derive(Clone, Copy)]
pub(in crate::container) struct Target<'a> {
    pub(in crate::container) root: &'a RootDir,
    /// The directory, as a path beneath the root.
    pub(in crate::container) path: &'a Path,
    pub(in crate::container) links: Links,
    pub(in crate::container) owner: Owner,
    /// Refuse to replace a directory by something else, and something else by a directory.
    pub(in crate::container) keep_directories: bool,
    /// Make devices.
    pub(in crate::container) devices: bool,
}

/// An archive on its way to the disk.
pub(in crate::container) struct Unpack<'a> {
    target: Target<'a>,
    open: HashMap<PathBuf, Rc<OwnedFd>>,
    times: Vec<(PathBuf, (i64, u32))>,
    times_bytes: usize,
}

impl<'a> Unpack<'a> {
    pub(in crate::container) fn new(target: Target<'a>) -> Unpack<'a> {
        Unpack { target, open: HashMap::new(), times: Vec::new(), times_bytes: 0 }
    }

    /// Unpacks the archive, and reads what it comes from to the end.
    pub(in crate::container) fn run<S: Source>(mut self, source: S) -> Result<()> {
        self.all(source).map(drop)
    }

    /// As [`Unpack::run`]; gives the source back.
    pub(in crate::container) fn all<S: Source>(&mut self, source: S) -> Result<S> {
        let mut archive = Archive::new(source, MAX_HEADER);
        while let Some(entry) = archive.next_entry()? {
            self.entry(&entry, &mut archive)?;
        }
        for (path, time) in std::mem::take(&mut self.times).into_iter().rev() {
            // A directory that is gone has no time.
            if let Ok(directory) = self.resolve(&path, DIRECTORY) {
                let _ = rustix::fs::futimens(&directory, &timestamps(time));
            }
        }
        // Whoever writes a pipe wants it to be read.
        let mut source = archive.into_source();
        loop {
            match source.fill()?.len() {
                0 => return Ok(source),
                count => source.consume(count),
            }
        }
    }

    fn entry<S: Source>(&mut self, entry: &Entry, archive: &mut Archive<S>) -> Result<()> {
        if entry.kind == Kind::Other {
            return Ok(());
        }
        let path = clean(&entry.path, entry)?;
        let (Some(parent_path), Some(name)) = (path.parent(), path.file_name()) else {
            // The directory itself, which is somebody else's.
            return match entry.kind {
                Kind::Directory => Ok(()),
                _ => Err(bad(entry, "it has no name")),
            };
        };
        let parent = self.parent(entry, parent_path)?;
        for _ in 0..ATTEMPTS {
            let there = look(parent.as_fd(), name).map_err(|e| failed(entry, e))?;
            if let Some(there) = &there {
                self.make_room(entry, &path, parent.as_fd(), name, there)?;
            }
            let made = match entry.kind {
                Kind::File => self.file(entry, archive, parent.as_fd(), name),
                Kind::Directory => self.directory(entry, &path, parent.as_fd(), name),
                Kind::SymbolicLink => self.symbolic_link(entry, parent.as_fd(), name),
                Kind::HardLink => self.hard_link(entry, parent.as_fd(), name),
                _ => self.node(entry, parent.as_fd(), name),
            };
            // Somebody else put something there meanwhile.
            if made? {
                return Ok(());
            }
        }
        Err(Error::new(ErrorKind::Conflict, entry_name(&entry.path))
            .because("somebody else makes and removes it all the time")
            .with_remedy("pause the container, and try again"))
    }

    /// Removes what is in the place of an entry, if that may be.
    fn make_room(
        &mut self,
        entry: &Entry,
        path: &Path,
        parent: BorrowedFd<'_>,
        name: &OsStr,
        there: &Stat,
    ) -> Result<()> {
        let (old, new) = (is_directory(there), entry.kind == Kind::Directory);
        if old && new {
            return Ok(());
        }
        if self.target.keep_directories && old != new {
            let word = |directory| if directory { "directory" } else { "non-directory" };
            let full = self.target.path.join(path);
            let reason = format!(
                "cannot overwrite {} {:?} with {} {:?}",
                word(old),
                full.display().to_string(),
                word(new),
                self.target.path.display().to_string()
            );
            return Err(Error::new(ErrorKind::Conflict, entry_name(&entry.path)).because(reason));
        }
        if old {
            self.open.clear();
            return remove_tree(parent, name);
        }
        // Open directories may have been reached through a link.
        if FileType::from_raw_mode(there.st_mode) == FileType::Symlink {
            self.open.clear();
        }
        match rustix::fs::unlinkat(parent, name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT | Errno::ISDIR) => Ok(()),
            Err(errno) => Err(failed(entry, errno)),
        }
    }

    /// Opens what is at a path beneath the target.
    fn resolve(&self, path: &Path, flags: OFlags) -> rustix::io::Result<OwnedFd> {
        match self.target.links {
            Links::Inside => self.target.root.resolve(&self.target.path.join(path), flags),
            Links::Refused => self.target.root.resolve_exact(path, flags),
        }
    }

    /// The directory that an entry belongs into, made if it is not there.
    fn parent(&mut self, entry: &Entry, path: &Path) -> Result<Rc<OwnedFd>> {
        if let Some(open) = self.open.get(path) {
            return Ok(Rc::clone(open));
        }
        let opened = match self.target.links {
            Links::Inside => {
                let mode = Mode::from_raw_mode(0o755);
                self.target.root.mkdir_all(&self.target.path.join(path), mode)
            }
            Links::Refused => self.exact(path),
        };
        let directory = Rc::new(opened.map_err(|e| failed(entry, e))?);
        if self.open.len() >= OPEN {
            self.open.clear();
        }
        self.open.insert(path.to_owned(), Rc::clone(&directory));
        Ok(directory)
    }

    /// As [`RootDir::mkdir_all`], but no component is a link.
    fn exact(&self, path: &Path) -> rustix::io::Result<OwnedFd> {
        let flags = OFlags::PATH | OFlags::DIRECTORY;
        match self.target.root.resolve_exact(path, flags) {
            Err(Errno::NOENT) => {}
            result => return result,
        }
        let mut directory = self.target.root.resolve_exact(Path::new(""), flags)?;
        for name in path {
            match rustix::fs::mkdirat(&directory, name, Mode::from_raw_mode(0o755)) {
                Ok(()) | Err(Errno::EXIST) => {}
                Err(errno) => return Err(errno),
            }
            directory = rustix::fs::openat(&directory, name, ITSELF | OFlags::DIRECTORY, Mode::empty())?;
        }
        Ok(directory)
    }

    fn file<S: Source>(
        &self,
        entry: &Entry,
        archive: &mut Archive<S>,
        parent: BorrowedFd<'_>,
        name: &OsStr,
    ) -> Result<bool> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = match rustix::fs::openat(parent, name, flags, Mode::from_raw_mode(0o600)) {
            Err(Errno::EXIST) => return Ok(false),
            file => file.map_err(|e| failed(entry, e))?,
        };
        archive.extract(entry, &file, failed)?;
        set_attributes(entry, file.as_fd(), self.target.owner)?;
        Ok(true)
    }

    fn directory(
        &mut self,
        entry: &Entry,
        path: &Path,
        parent: BorrowedFd<'_>,
        name: &OsStr,
    ) -> Result<bool> {
        match rustix::fs::mkdirat(parent, name, Mode::RWXU) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(errno) => return Err(failed(entry, errno)),
        }
        let made = match rustix::fs::openat(parent, name, DIRECTORY, Mode::empty()) {
            Err(Errno::NOTDIR | Errno::LOOP | Errno::NOENT) => return Ok(false),
            made => made.map_err(|e| failed(entry, e))?,
        };
        set_attributes(entry, made.as_fd(), self.target.owner)?;
        self.times_bytes += path.as_os_str().len() + size_of::<(PathBuf, (i64, u32))>();
        if self.times_bytes <= MAX_TIMES {
            self.times.push((path.to_owned(), entry.mtime));
        }
        Ok(true)
    }

    fn symbolic_link(&self, entry: &Entry, parent: BorrowedFd<'_>, name: &OsStr) -> Result<bool> {
        if entry.link.is_empty() || entry.link.len() > MAX_PATH || entry.link.contains(&0) {
            return Err(bad(entry, "it is a link to what cannot be"));
        }
        match rustix::fs::symlinkat(OsStr::from_bytes(&entry.link), parent, name) {
            Err(Errno::EXIST) => return Ok(false),
            made => made.map_err(|e| failed(entry, e))?,
        }
        self.set_attributes_of_new(entry, parent, name, FileType::Symlink)
    }

    /// Another name for a file that is there. There is no copy in place of a link that cannot be.
    fn hard_link(&self, entry: &Entry, parent: BorrowedFd<'_>, name: &OsStr) -> Result<bool> {
        let missing = || {
            bad(
                entry,
                &format!("it is a hard link to {}, which is not a file there", entry_name(&entry.link)),
            )
        };
        let target = clean(&entry.link, entry)?;
        let (Some(directory), Some(old)) = (target.parent(), target.file_name()) else {
            return Err(missing());
        };
        let from = match self.resolve(directory, OFlags::PATH | OFlags::DIRECTORY) {
            Ok(from) => from,
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => return Err(missing()),
            Err(errno) => return Err(failed(entry, errno)),
        };
        match look(from.as_fd(), old).map_err(|e| failed(entry, e))? {
            Some(stat) if !is_directory(&stat) => {}
            _ => return Err(missing()),
        }
        match rustix::fs::linkat(&from, old, parent, name, AtFlags::empty()) {
            Ok(()) => Ok(true),
            Err(Errno::EXIST) => Ok(false),
            Err(Errno::NOENT) => Err(missing()),
            Err(errno) => Err(failed(entry, errno)),
        }
    }

    fn node(&self, entry: &Entry, parent: BorrowedFd<'_>, name: &OsStr) -> Result<bool> {
        let kind = match entry.kind {
            Kind::CharacterDevice => FileType::CharacterDevice,
            Kind::BlockDevice => FileType::BlockDevice,
            _ => FileType::Fifo,
        };
        let (major, minor) = entry.device;
        if kind != FileType::Fifo {
            if !self.target.devices {
                return Err(Error::new(ErrorKind::PermissionDenied, entry_name(&entry.path))
                    .because("it is a device, which may not be made here")
                    .with_remedy("leave it out of the archive"));
            }
            // What the kernel keeps of a device number; more would become another device.
            if major > 0xfff || minor > 0xf_ffff {
                return Err(bad(entry, "its device number is out of range"));
            }
        }
        let device = rustix::fs::makedev(major, minor);
        match rustix::fs::mknodat(parent, name, kind, Mode::from_raw_mode(0o600), device) {
            Err(Errno::EXIST) => return Ok(false),
            made => made.map_err(|e| failed(entry, e))?,
        }
        self.set_attributes_of_new(entry, parent, name, kind)
    }

    /// For what cannot be opened for anything. Whether it is still what was made is the answer.
    fn set_attributes_of_new(
        &self,
        entry: &Entry,
        parent: BorrowedFd<'_>,
        name: &OsStr,
        kind: FileType,
    ) -> Result<bool> {
        let made = match rustix::fs::openat(parent, name, ITSELF, Mode::empty()) {
            Err(Errno::NOENT) => return Ok(false),
            made => made.map_err(|e| failed(entry, e))?,
        };
        let stat = rustix::fs::fstat(&made).map_err(|e| failed(entry, e))?;
        if FileType::from_raw_mode(stat.st_mode) != kind {
            return Ok(false);
        }
        set_attributes(entry, made.as_fd(), self.target.owner).map(|()| true)
    }
}
