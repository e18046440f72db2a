//! Writes the entries of a layer into a directory that nobody else is at.
//!
//! Every name is resolved beneath that directory. What the archive leaves open is decided as the OCI image
//! specification says, and where it says nothing, as Docker does:
//!
//! - A later entry replaces an earlier one of the same path; a directory over a directory only changes its
//!   attributes.
//! - Parents that are symbolic links of the same layer are followed, inside the layer.
//! - A parent that the archive does not mention is made, and noted as *implied*: if the layers below have that
//!   directory, its attributes are theirs, which is settled once they are there (`settle`).
//! - Times of directories are set at the end, after everything that changes them.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use rustix::fs::{AtFlags, FileType, Gid, Mode, OFlags, Stat, Uid, XattrFlags};
use rustix::io::Errno;

use super::attributes::{set_attributes, set_attributes_by_name};
use super::limits::{UnpackLimits, exceeded};
use super::name::LayerPath;
use super::tar::{Archive, Entry, Kind, Source, entry_name, timestamps};
use super::whiteout::{self, Meaning, OPAQUE};
use super::{file, trash};
use crate::error::{Error, ErrorKind, Result, Subject};
use crate::sys::beneath::{RootDir, make_directory};

/// How many directories are kept open: entries come directory by directory, mostly.
const OPEN: usize = 64;
/// What a directory takes in memory besides its path.
const RECORD: usize = 64;

const DIRECTORY: OFlags =
    OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// A layer that is being written.
pub(super) struct Tree<'a> {
    root: RootDir,
    /// Whether nothing is below, so that there is nothing to hide.
    base: bool,
    limits: &'a UnpackLimits,
    open: HashMap<Vec<u8>, Rc<OwnedFd>>,
    times: Vec<(Vec<u8>, (i64, u32))>,
    /// Directories that were made though no entry asked for them, by inode.
    implied: HashMap<u64, PathBuf>,
    root_is_implied: bool,
    directory_bytes: usize,
    claimed_bytes: u64,
    stored_bytes: u64,
}

/// A layer that was written.
pub(super) struct Written {
    /// The bytes of its files.
    pub(super) bytes: u64,
    /// The directories whose attributes are those of the layers below, if these have them. The empty path is the
    /// root.
    pub(super) implied: Vec<PathBuf>,
}

impl<'a> Tree<'a> {
    /// A layer to be written into the empty directory `root`.
    pub(super) fn new(root: RootDir, base: bool, limits: &'a UnpackLimits) -> Tree<'a> {
        Tree {
            root,
            base,
            limits,
            open: HashMap::new(),
            times: Vec::new(),
            implied: HashMap::new(),
            root_is_implied: true,
            directory_bytes: 0,
            claimed_bytes: 0,
            stored_bytes: 0,
        }
    }

    /// Writes one entry; its data comes from `archive`.
    pub(super) fn add<S: Source>(&mut self, entry: &Entry, archive: &mut Archive<S>) -> Result<()> {
        if entry.kind == Kind::Other {
            return Ok(());
        }
        let path = LayerPath::parse(&entry.path, self.limits)?;
        if path.is_root() {
            return match entry.kind {
                Kind::Directory => self.root_entry(entry),
                _ => Err(bad(entry, "the root of a layer must be a directory")),
            };
        }
        let (directory, name) = path.split();
        match whiteout::meaning(entry, &path)? {
            Meaning::Nothing => return Ok(()),
            Meaning::Opaque => return self.opaque(entry, directory),
            Meaning::Whiteout(hidden) => return self.whiteout(entry, directory, hidden),
            Meaning::Content => {}
        }
        if matches!(entry.kind, Kind::CharacterDevice) && entry.device == (0, 0) {
            // This is what a whiteout is made of in an overlay, so that is what it means there, as with Docker.
            return self.whiteout(entry, directory, name);
        }
        let parent = self.parent(entry, directory)?;
        match entry.kind {
            Kind::File => file::write(self, entry, archive, parent.as_fd(), name),
            Kind::Directory => self.directory(entry, path.as_bytes(), parent.as_fd(), name),
            Kind::SymbolicLink => self.symbolic_link(entry, parent.as_fd(), name),
            Kind::HardLink => self.hard_link(entry, parent.as_fd(), name),
            Kind::CharacterDevice => self.node(entry, FileType::CharacterDevice, parent.as_fd(), name),
            Kind::BlockDevice => self.node(entry, FileType::BlockDevice, parent.as_fd(), name),
            Kind::Fifo => self.node(entry, FileType::Fifo, parent.as_fd(), name),
            Kind::Other => Ok(()),
        }
    }

    /// Sets what could not be set before.
    pub(super) fn finish(mut self) -> Result<Written> {
        for (path, time) in std::mem::take(&mut self.times) {
            let path = Path::new(OsStr::from_bytes(&path));
            let set = || {
                let directory = self.root.resolve(path, DIRECTORY)?;
                rustix::fs::futimens(&directory, &timestamps(time))
            };
            match set() {
                // A later entry replaced it.
                Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => {}
                result => result.subject(|| entry_name(path.as_os_str().as_bytes()))?,
            }
        }
        let mut implied = Vec::new();
        if !self.base {
            if self.root_is_implied {
                implied.push(PathBuf::new());
            }
            for (inode, path) in self.implied {
                // One that was replaced later is not implied any more; what replaced it may have its inode.
                let is_it = |stat: Stat| {
                    stat.st_ino == inode && FileType::from_raw_mode(stat.st_mode) == FileType::Directory
                };
                if self.root.stat(&path).is_ok_and(is_it) {
                    implied.push(path);
                }
            }
        }
        Ok(Written { bytes: self.stored_bytes, implied })
    }

    /// Counts the bytes of a file: those it claims to have, holes included, and those that are stored.
    pub(super) fn count(&mut self, claimed: u64, stored: u64) -> Result<()> {
        self.claimed_bytes = self.claimed_bytes.saturating_add(claimed);
        self.stored_bytes += stored;
        if self.claimed_bytes > self.limits.layer_bytes {
            let limit = self.limits.layer_bytes;
            return Err(exceeded("layer", "its files are too large", "layer_bytes", limit));
        }
        Ok(())
    }

    /// Removes what an earlier entry put at `name`. Whether that was a whiteout is the answer.
    pub(super) fn make_room(&mut self, parent: BorrowedFd<'_>, name: &OsStr) -> rustix::io::Result<bool> {
        let stat = rustix::fs::statat(parent, name, AtFlags::SYMLINK_NOFOLLOW)?;
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory => {
                self.open.clear();
                trash::delete_tree(parent, Path::new(name))?;
            }
            kind => {
                // Open directories may have been reached through a link.
                if kind == FileType::Symlink {
                    self.open.clear();
                }
                rustix::fs::unlinkat(parent, name, AtFlags::empty())?;
            }
        }
        Ok(whiteout::is_whiteout(&stat))
    }

    /// The directory `path`, made if it is not there.
    fn parent(&mut self, entry: &Entry, path: &[u8]) -> Result<Rc<OwnedFd>> {
        if let Some(open) = self.open.get(path) {
            return Ok(Rc::clone(open));
        }
        let path_bytes = path;
        let path = Path::new(OsStr::from_bytes(path));
        let mut opened = self.make_all(path);
        if matches!(opened, Err(Errno::NOTDIR)) && self.reveal(path).map_err(|e| failed(entry, e))? {
            opened = self.make_all(path);
        }
        let directory = Rc::new(opened.map_err(|e| failed(entry, e))?);
        self.check_directory_bytes()?;
        if self.open.len() >= OPEN {
            self.open.clear();
        }
        self.open.insert(path_bytes.to_vec(), Rc::clone(&directory));
        Ok(directory)
    }

    fn make_all(&mut self, path: &Path) -> rustix::io::Result<OwnedFd> {
        let Tree { root, implied, directory_bytes, .. } = self;
        root.mkdir_all_with(path, &mut |parent, name, real| {
            let made = make_directory(parent, name, Mode::from_raw_mode(0o755))?;
            rustix::fs::fchown(&made, Some(Uid::ROOT), Some(Gid::ROOT))?;
            *directory_bytes += real.as_os_str().len() + RECORD;
            implied.insert(rustix::fs::fstat(&made)?.st_ino, real.to_owned());
            Ok(())
        })
    }

    fn check_directory_bytes(&self) -> Result<()> {
        if self.directory_bytes > self.limits.directory_bytes {
            let limit = self.limits.directory_bytes as u64;
            return Err(exceeded("layer", "it has too many directories", "directory_bytes", limit));
        }
        Ok(())
    }

    /// Makes the whiteout that stands in the way of `path` a directory that hides what the whiteout hid. Whether
    /// there was one is the answer.
    fn reveal(&mut self, path: &Path) -> rustix::io::Result<bool> {
        // What lies below something that is no directory cannot be examined; so the deepest path that can be is it.
        let mut ancestors: Vec<&Path> =
            path.ancestors().filter(|path| !path.as_os_str().is_empty()).collect();
        ancestors.reverse();
        let reachable = ancestors.partition_point(|ancestor| self.root.stat(ancestor).is_ok());
        let Some(obstacle) = reachable.checked_sub(1).and_then(|at| ancestors.get(at)) else {
            return Ok(false);
        };
        if !whiteout::is_whiteout(&self.root.stat(obstacle)?) {
            return Ok(false);
        }
        let (parent, name) = self.root.parent(obstacle)?;
        rustix::fs::unlinkat(&parent, name, AtFlags::empty())?;
        let made = make_directory(parent.as_fd(), name, Mode::from_raw_mode(0o755))?;
        make_opaque(&made)?;
        Ok(true)
    }

    fn root_entry(&mut self, entry: &Entry) -> Result<()> {
        let root = self.root.resolve(Path::new(""), DIRECTORY).map_err(|e| failed(entry, e))?;
        set_attributes(entry, root.as_fd())?;
        self.root_is_implied = false;
        self.note_time(entry, b"")
    }

    fn note_time(&mut self, entry: &Entry, path: &[u8]) -> Result<()> {
        self.directory_bytes += path.len() + RECORD;
        self.check_directory_bytes()?;
        self.times.push((path.to_vec(), entry.mtime));
        Ok(())
    }

    fn directory(&mut self, entry: &Entry, path: &[u8], parent: BorrowedFd<'_>, name: &OsStr) -> Result<()> {
        let mut opaque = false;
        let mut make = || {
            match rustix::fs::mkdirat(parent, name, Mode::RWXU) {
                Err(Errno::EXIST) => {}
                result => return result,
            }
            let stat = rustix::fs::statat(parent, name, AtFlags::SYMLINK_NOFOLLOW)?;
            if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
                return Ok(());
            }
            // A directory in the place of a whiteout is another one than that of the layers below.
            opaque = self.make_room(parent, name)?;
            rustix::fs::mkdirat(parent, name, Mode::RWXU)
        };
        make().map_err(|e| failed(entry, e))?;
        let made =
            rustix::fs::openat(parent, name, DIRECTORY, Mode::empty()).map_err(|e| failed(entry, e))?;
        if opaque {
            make_opaque(&made).map_err(|e| failed(entry, e))?;
        }
        set_attributes(entry, made.as_fd())?;
        if !self.implied.is_empty() {
            let stat = rustix::fs::fstat(&made).map_err(|e| failed(entry, e))?;
            self.implied.remove(&stat.st_ino);
        }
        self.note_time(entry, path)
    }

    fn symbolic_link(&mut self, entry: &Entry, parent: BorrowedFd<'_>, name: &OsStr) -> Result<()> {
        if entry.link.len() > self.limits.path_bytes {
            let limit = self.limits.path_bytes as u64;
            return Err(exceeded(entry_name(&entry.path), "its target is too long", "path_bytes", limit));
        }
        if entry.link.is_empty() {
            return Err(bad(entry, "it is a link to nothing"));
        }
        let target = OsStr::from_bytes(&entry.link);
        let mut made = rustix::fs::symlinkat(target, parent, name);
        if matches!(made, Err(Errno::EXIST)) {
            self.make_room(parent, name).map_err(|e| failed(entry, e))?;
            made = rustix::fs::symlinkat(target, parent, name);
        }
        made.map_err(|e| failed(entry, e))?;
        set_attributes_by_name(entry, parent, name)
    }

    /// Another name for a file of this layer. One of a layer below would have to be in this layer for that: whoever
    /// made the layer has to put it there.
    fn hard_link(&mut self, entry: &Entry, parent: BorrowedFd<'_>, name: &OsStr) -> Result<()> {
        let missing = || {
            let target = entry_name(&entry.link);
            bad(entry, &format!("it is a hard link to {target}, which is not a file of this layer"))
        };
        let target = LayerPath::parse(&entry.link, self.limits).map_err(|e| match e.kind() {
            ErrorKind::Corrupt => bad(entry, &format!("it is a hard link to {e}")),
            _ => e,
        })?;
        let (directory, old) = target.split();
        let from = match self.open.get(directory) {
            Some(open) => Rc::clone(open),
            None => {
                let path = Path::new(OsStr::from_bytes(directory));
                match self.root.resolve(path, OFlags::PATH | OFlags::DIRECTORY) {
                    Ok(open) => Rc::new(open),
                    Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => return Err(missing()),
                    Err(errno) => return Err(failed(entry, errno)),
                }
            }
        };
        let stat = match rustix::fs::statat(&*from, old, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => stat,
            Err(Errno::NOENT) => return Err(missing()),
            Err(errno) => return Err(failed(entry, errno)),
        };
        if FileType::from_raw_mode(stat.st_mode) == FileType::Directory || whiteout::is_whiteout(&stat) {
            return Err(missing());
        }
        let link = || rustix::fs::linkat(&*from, old, parent, name, AtFlags::empty());
        let mut linked = link();
        if matches!(linked, Err(Errno::EXIST)) {
            let there = rustix::fs::statat(parent, name, AtFlags::SYMLINK_NOFOLLOW);
            let there = there.map_err(|e| failed(entry, e))?;
            // To make room for a link to itself would remove the file.
            if (there.st_dev, there.st_ino) == (stat.st_dev, stat.st_ino) {
                return Ok(());
            }
            self.make_room(parent, name).map_err(|e| failed(entry, e))?;
            linked = link();
        }
        match linked {
            Err(Errno::NOENT) => Err(missing()),
            result => result.map_err(|e| failed(entry, e)),
        }
    }

    fn node(&mut self, entry: &Entry, kind: FileType, parent: BorrowedFd<'_>, name: &OsStr) -> Result<()> {
        let (major, minor) = entry.device;
        // What the kernel keeps of a device number; more would become another device.
        if major > 0xfff || minor > 0xf_ffff {
            return Err(bad(entry, "its device number is out of range"));
        }
        let device = rustix::fs::makedev(major, minor);
        let make = || rustix::fs::mknodat(parent, name, kind, Mode::from_raw_mode(0o600), device);
        let mut made = make();
        if matches!(made, Err(Errno::EXIST)) {
            self.make_room(parent, name).map_err(|e| failed(entry, e))?;
            made = make();
        }
        match made {
            Ok(()) => {}
            // Where the engine may not make devices, as in a user namespace, no container could use them either.
            Err(Errno::PERM) if kind != FileType::Fifo => return Ok(()),
            Err(errno) => return Err(failed(entry, errno)),
        }
        set_attributes_by_name(entry, parent, name)
    }

    fn whiteout(&mut self, entry: &Entry, directory: &[u8], hidden: &OsStr) -> Result<()> {
        if self.base {
            return Ok(());
        }
        let parent = self.parent(entry, directory)?;
        match rustix::fs::mknodat(&*parent, hidden, FileType::CharacterDevice, Mode::empty(), 0) {
            Ok(()) => return Ok(()),
            Err(Errno::EXIST) => {}
            Err(Errno::PERM) => return Err(no_overlay(entry, "the file system refuses to hold whiteouts")),
            Err(errno) => return Err(failed(entry, errno)),
        }
        // The layer has something there, which hides what is below by itself; only a directory would be merged.
        match rustix::fs::openat(&*parent, hidden, DIRECTORY, Mode::empty()) {
            Ok(directory) => make_opaque(&directory).map_err(|e| failed(entry, e)),
            Err(Errno::NOTDIR | Errno::LOOP) => Ok(()),
            Err(errno) => Err(failed(entry, errno)),
        }
    }

    fn opaque(&mut self, entry: &Entry, directory: &[u8]) -> Result<()> {
        if self.base {
            return Ok(());
        }
        let parent = self.parent(entry, directory)?;
        let open =
            rustix::fs::openat(&*parent, ".", DIRECTORY, Mode::empty()).map_err(|e| failed(entry, e))?;
        match make_opaque(&open) {
            Err(Errno::OPNOTSUPP | Errno::PERM) => {
                Err(no_overlay(entry, "the file system refuses the attribute of an opaque directory"))
            }
            result => result.map_err(|e| failed(entry, e)),
        }
    }
}

fn make_opaque(directory: &OwnedFd) -> rustix::io::Result<()> {
    rustix::fs::fsetxattr(directory, OPAQUE, b"y", XattrFlags::empty())
}

/// An entry that no proper layer has.
pub(super) fn bad(entry: &Entry, reason: &str) -> Error {
    Error::new(ErrorKind::Corrupt, entry_name(&entry.path)).because(reason)
}

fn no_overlay(entry: &Entry, reason: &str) -> Error {
    Error::new(ErrorKind::Unsupported, entry_name(&entry.path))
        .because(reason)
        .with_remedy("put the store on ext4, xfs, btrfs or tmpfs, not on another overlay")
}

/// A system call that failed for an entry. Some failures are the archive's own doing.
pub(super) fn failed(entry: &Entry, errno: Errno) -> Error {
    let subject = entry_name(&entry.path);
    let kind = match errno {
        Errno::NOTDIR => return bad(entry, "its path leads through something that is not a directory"),
        Errno::LOOP => return bad(entry, "its path leads through too many symbolic links"),
        Errno::NAMETOOLONG | Errno::FBIG | Errno::MLINK => ErrorKind::LimitExceeded,
        errno => return Error::io(subject, errno.into()),
    };
    Error::new(kind, subject)
        .because("the file system of the store cannot hold it")
        .caused_by(std::io::Error::from(errno))
}
