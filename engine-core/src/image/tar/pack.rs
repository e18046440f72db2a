//! Writes file trees into an archive.
//!
//! The tree may be a container's that runs: nothing in it is followed, what is opened is looked at again by its
//! descriptor, pipes and devices are not opened at all. A file that grows meanwhile is cut, one that shrinks is filled
//! up with zeros, and what vanishes is left out: an archive is well formed in any case.

use std::collections::HashMap;
use std::ffi::{CStr, CString};
use std::io::Write;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{AtFlags, FileType, Mode, OFlags, ResolveFlags, Stat};
use rustix::io::Errno;

use super::content::{data_of, xattrs};
use super::{Entry, Kind, Sparse, Writer, entry_name};
use crate::error::{Error, ErrorKind, Result, Subject};
use crate::sys::tree::{below, each_entry};

/// How much is read at once.
const CHUNK: usize = 256 << 10;
/// A file is written with its holes if they are as large, together.
const HOLES: u64 = 1 << 20;
/// The memory that the names of files with several names may take. What exceeds it is written several times.
const MAX_LINKS: usize = 64 << 20;

/// What becomes of an entry of the tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It is written.
    Take,
    /// It is left out, with all below it.
    Skip,
    /// An empty file `.wh.NAME` is written for it.
    Whiteout,
}

/// What is written of a tree.
pub(crate) trait Rules {
    /// Whether what is mounted in the tree belongs to it.
    const MOUNTS: bool;

    /// What becomes of `name` in `directory`, whose path in the tree is `path`.
    fn verdict(
        &mut self,
        directory: BorrowedFd<'_>,
        name: &CStr,
        path: &CStr,
        stat: &Stat,
    ) -> Result<Verdict>;

    /// Whether the directory `path`, which is open, hides what the layers below have there.
    fn is_opaque(&mut self, directory: BorrowedFd<'_>, path: &CStr) -> Result<bool>;
}

/// All of a tree, as it is. With `MOUNTS`, what is mounted in it too.
pub(crate) struct Plain<const MOUNTS: bool>;

impl<const MOUNTS: bool> Rules for Plain<MOUNTS> {
    const MOUNTS: bool = MOUNTS;

    fn verdict(&mut self, _: BorrowedFd<'_>, _: &CStr, _: &CStr, _: &Stat) -> Result<Verdict> {
        Ok(Verdict::Take)
    }

    fn is_opaque(&mut self, _: BorrowedFd<'_>, _: &CStr) -> Result<bool> {
        Ok(false)
    }
}

/// Writes trees into an archive.
pub(crate) struct Packer<W, R> {
    writer: Writer<W>,
    rules: R,
    /// What files with several names were written as.
    links: HashMap<(u64, u64), Vec<u8>>,
    links_bytes: usize,
    buffer: Vec<u8>,
}

/// A directory of the tree that has yet to be read.
struct Waiting {
    /// Its path in the tree, and in the archive.
    path: CString,
    name: Vec<u8>,
}

impl<W: Write, R: Rules> Packer<W, R> {
    /// An archive that is written to `out`.
    pub(crate) fn new(out: W, rules: R) -> Packer<W, R> {
        let writer = Writer::new(out);
        Packer { writer, rules, links: HashMap::new(), links_bytes: 0, buffer: vec![0; CHUNK] }
    }

    /// Writes what is called `name` in `parent`, with all below it, as `as_name`.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] if there is nothing.
    pub(crate) fn add(&mut self, parent: BorrowedFd<'_>, name: &CStr, as_name: &[u8]) -> Result<()> {
        let shown = || entry_name(as_name);
        let stat = rustix::fs::statat(parent, name, AtFlags::SYMLINK_NOFOLLOW).subject(shown)?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::Directory {
            return self.entry(parent, name, as_name.to_vec(), &stat);
        }
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let root = rustix::fs::openat(parent, name, flags, Mode::empty()).subject(shown)?;
        self.tree(root.as_fd(), Some(as_name))
    }

    /// Writes what is in the directory `root`, and with `as_name` the directory itself.
    pub(crate) fn tree(&mut self, root: BorrowedFd<'_>, as_name: Option<&[u8]>) -> Result<()> {
        let (path, name) = (CString::from(c"."), as_name.unwrap_or_default().to_vec());
        if as_name.is_some() {
            let stat = rustix::fs::fstat(root).subject(|| entry_name(&name))?;
            self.directory(root, &path, &name, &stat)?;
        }
        let mut waiting = vec![Waiting { path, name }];
        while let Some(directory) = waiting.pop() {
            let opened = match open_directory(root, &directory.path, R::MOUNTS) {
                Ok(opened) => opened,
                // It went, or became something else, or is a mount that does not belong here.
                Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::XDEV) => continue,
                Err(errno) => return Err(errno).subject(|| entry_name(&directory.name)),
            };
            let before = waiting.len();
            self.content(opened.as_fd(), &directory, &mut waiting)?;
            // The first one comes next.
            waiting[before..].reverse();
        }
        Ok(())
    }

    /// The rules, and what they have counted.
    pub(crate) fn rules(&self) -> &R {
        &self.rules
    }

    /// Ends the archive, and gives what it was written to.
    pub(crate) fn finish(self) -> Result<W> {
        self.writer.finish()
    }

    /// Writes the entries of a directory, in the order of their names: the same tree gives the same archive.
    fn content(&mut self, directory: BorrowedFd<'_>, of: &Waiting, waiting: &mut Vec<Waiting>) -> Result<()> {
        let mut names = Vec::new();
        let read = each_entry(directory, |name, _| {
            names.push(name.to_owned());
            Ok::<(), Errno>(())
        });
        read.subject(|| entry_name(&of.name))?;
        names.sort_unstable();
        for name in names {
            let as_name = joined(&of.name, name.to_bytes());
            let shown = || entry_name(&as_name);
            let stat = match rustix::fs::statat(directory, &name, AtFlags::SYMLINK_NOFOLLOW) {
                Ok(stat) => stat,
                Err(Errno::NOENT) => continue,
                Err(errno) => return Err(errno).subject(shown),
            };
            let path = below(&of.path, &name).ok_or_else(|| {
                Error::new(ErrorKind::LimitExceeded, shown())
                    .because("the tree is deeper than a path can be long")
            })?;
            match self.rules.verdict(directory, &name, &path, &stat)? {
                Verdict::Skip => {}
                Verdict::Whiteout => {
                    let hidden = joined(&of.name, &[b".wh.", name.to_bytes()].concat());
                    self.writer.entry(&Entry { mode: 0, ..marker(hidden) })?;
                }
                Verdict::Take if FileType::from_raw_mode(stat.st_mode) == FileType::Directory => {
                    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                    match rustix::fs::openat(directory, &name, flags, Mode::empty()) {
                        Ok(opened) => self.directory(opened.as_fd(), &path, &as_name, &stat)?,
                        Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => continue,
                        Err(errno) => return Err(errno).subject(shown),
                    }
                    waiting.push(Waiting { path, name: as_name });
                }
                Verdict::Take => self.entry(directory, &name, as_name, &stat)?,
            }
        }
        Ok(())
    }

    fn directory(&mut self, opened: BorrowedFd<'_>, path: &CStr, name: &[u8], stat: &Stat) -> Result<()> {
        let name = if name.ends_with(b"/") { name.to_vec() } else { [name, b"/"].concat() };
        let opaque = self.rules.is_opaque(opened, path)?;
        let marked = opaque.then(|| marker(joined(&name, b".wh..wh..opq")));
        let xattrs = xattrs(opened).subject(|| entry_name(&name))?;
        self.writer.entry(&Entry { kind: Kind::Directory, xattrs, ..described(name, stat) })?;
        marked.map_or(Ok(()), |marker| self.writer.entry(&marker))
    }

    /// Writes anything but a directory. What is no file of any kind, like a socket, is left out, as nobody could use it.
    fn entry(&mut self, parent: BorrowedFd<'_>, name: &CStr, as_name: Vec<u8>, stat: &Stat) -> Result<()> {
        let mut entry = described(as_name, stat);
        entry.kind = match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile => Kind::File,
            FileType::Symlink => Kind::SymbolicLink,
            FileType::CharacterDevice => Kind::CharacterDevice,
            FileType::BlockDevice => Kind::BlockDevice,
            FileType::Fifo => Kind::Fifo,
            _ => return Ok(()),
        };
        if stat.st_nlink > 1 && self.is_link(&mut entry, stat) {
            return self.writer.entry(&entry);
        }
        match entry.kind {
            Kind::File => return self.file(parent, name, entry),
            Kind::SymbolicLink => match rustix::fs::readlinkat(parent, name, Vec::new()) {
                Ok(target) => entry.link = target.into_bytes(),
                Err(Errno::NOENT | Errno::INVAL) => return Ok(()),
                Err(errno) => return Err(errno).subject(|| entry_name(&entry.path)),
            },
            _ => entry.device = (rustix::fs::major(stat.st_rdev), rustix::fs::minor(stat.st_rdev)),
        }
        self.writer.entry(&entry)
    }

    /// Whether the file was written under another name: then the entry is a link to that.
    fn is_link(&mut self, entry: &mut Entry, stat: &Stat) -> bool {
        let key = (stat.st_dev, stat.st_ino);
        if let Some(first) = self.links.get(&key) {
            entry.link.clone_from(first);
            entry.kind = Kind::HardLink;
            return true;
        }
        self.links_bytes += entry.path.len() + size_of::<(u64, u64)>();
        if self.links_bytes < MAX_LINKS {
            self.links.insert(key, entry.path.clone());
        }
        false
    }

    fn file(&mut self, parent: BorrowedFd<'_>, name: &CStr, mut entry: Entry) -> Result<()> {
        let shown = || entry_name(&entry.path);
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let file = match rustix::fs::openat(parent, name, flags, Mode::empty()) {
            Ok(file) => file,
            // It went, or became something else.
            Err(Errno::NOENT | Errno::LOOP | Errno::NXIO) => return self.forget(&entry.path),
            Err(errno) => return Err(errno).subject(shown),
        };
        let stat = rustix::fs::fstat(&file).subject(shown)?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            return self.forget(&entry.path);
        }
        entry = Entry {
            kind: Kind::File,
            xattrs: xattrs(file.as_fd()).subject(shown)?,
            ..described(entry.path, &stat)
        };
        let size = u64::try_from(stat.st_size).unwrap_or(0);
        let stored = u64::try_from(stat.st_blocks).unwrap_or(0).saturating_mul(512);
        let mut pieces = vec![(0, size)];
        if stored.saturating_add(HOLES) <= size
            && let Some(found) = data_of(&file, size).subject(|| entry_name(&entry.path))?
        {
            entry.sparse = Some(Sparse { size, pieces: found.clone() });
            pieces = found;
        }
        entry.size = pieces.iter().map(|(_, length)| length).sum();
        self.writer.entry(&entry)?;
        for (offset, length) in pieces {
            self.piece(&entry, &file, offset, length)?;
        }
        Ok(())
    }

    /// Another name of a file that was not written after all is not a link.
    fn forget(&mut self, path: &[u8]) -> Result<()> {
        self.links.retain(|_, first| first != path);
        Ok(())
    }

    fn piece(&mut self, entry: &Entry, file: &OwnedFd, mut at: u64, length: u64) -> Result<()> {
        let end = at + length;
        while at < end {
            let wanted = usize::try_from(end - at).unwrap_or(CHUNK).min(CHUNK);
            let buffer = &mut self.buffer[..wanted];
            let mut got = rustix::io::retry_on_intr(|| rustix::io::pread(file, &mut *buffer, at))
                .subject(|| entry_name(&entry.path))?;
            if got == 0 {
                buffer.fill(0);
                got = wanted;
            }
            self.writer.data(&self.buffer[..got])?;
            at += got as u64;
        }
        Ok(())
    }
}

/// Opens a directory of the tree without following a link.
fn open_directory(root: BorrowedFd<'_>, path: &CStr, mounts: bool) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mut resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
    if !mounts {
        resolve |= ResolveFlags::NO_XDEV;
    }
    loop {
        match rustix::fs::openat2(root, path, flags, Mode::empty(), resolve) {
            Err(Errno::AGAIN | Errno::INTR) => {}
            result => return result,
        }
    }
}

fn joined(directory: &[u8], name: &[u8]) -> Vec<u8> {
    match directory {
        [] | [.., b'/'] => [directory, name].concat(),
        _ => [directory, b"/", name].concat(),
    }
}

/// An entry with what stat(2) says, but for its kind.
fn described(path: Vec<u8>, stat: &Stat) -> Entry {
    Entry {
        path,
        link: Vec::new(),
        kind: Kind::Other,
        mode: stat.st_mode & 0o7777,
        uid: stat.st_uid,
        gid: stat.st_gid,
        mtime: (stat.st_mtime, 0),
        size: 0,
        device: (0, 0),
        xattrs: Vec::new(),
        sparse: None,
    }
}

/// An empty file whose name says something.
fn marker(path: Vec<u8>) -> Entry {
    Entry {
        path,
        link: Vec::new(),
        kind: Kind::File,
        mode: 0o600,
        uid: 0,
        gid: 0,
        mtime: (0, 0),
        size: 0,
        device: (0, 0),
        xattrs: Vec::new(),
        sparse: None,
    }
}
