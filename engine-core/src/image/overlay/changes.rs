//! What a container changed: its writable tree compared with what is below it.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{CStr, CString, OsStr};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{FileType, Stat};
use rustix::io::Errno;

use super::upper::{differs, is_directory, is_opaque, look, open_exact};
use super::whiteout::is_whiteout;
use crate::error::{Error, ErrorKind, Result, Subject};
use crate::image::driver::{Change, ChangeKind};
use crate::image::limits::exceeded;
use crate::sys::tree::{below, each_entry, open_directory};

/// Compares a tree with what is below it.
pub(super) struct Comparison<'a> {
    pub(super) upper: BorrowedFd<'a>,
    pub(super) below: BorrowedFd<'a>,
    /// What the engine made to mount something on, without the slash before it.
    pub(super) mount_points: &'a [PathBuf],
    /// So many changes are listed at most.
    pub(super) limit: u64,
}

/// A directory of the tree that has yet to be read.
struct Waiting {
    path: CString,
    /// What it is merged with or stands for.
    lower: Option<OwnedFd>,
    opaque: bool,
}

/// Why a directory could not be gone through.
struct Failure(Error);

impl From<Errno> for Failure {
    fn from(errno: Errno) -> Failure {
        Failure(Error::io("a directory of a container", errno.into()))
    }
}

impl Comparison<'_> {
    /// The changes, sorted by path. A directory in which something changed is a change too.
    pub(super) fn run(self) -> Result<Vec<Change>> {
        let mut found = BTreeMap::new();
        let root = || "root of a container".to_owned();
        let opaque = is_opaque(self.upper, root)?;
        let lower = open_exact(self.below, c".").subject(root)?;
        let mut waiting = vec![Waiting { path: c".".into(), lower, opaque }];
        while let Some(directory) = waiting.pop() {
            // It may have gone meanwhile: the container may be running.
            let Ok(opened) = open_directory(self.upper, &directory.path) else { continue };
            self.directory(opened.as_fd(), &directory, &mut found, &mut waiting)?;
        }
        Ok(with_parents(found))
    }

    fn directory(
        &self,
        opened: BorrowedFd<'_>,
        of: &Waiting,
        found: &mut BTreeMap<PathBuf, ChangeKind>,
        waiting: &mut Vec<Waiting>,
    ) -> Result<()> {
        let mut names = BTreeSet::new();
        let each = |name: &CStr, _| self.entry(opened, of, name, found, waiting, &mut names).map_err(Failure);
        each_entry(opened, each).map_err(|e| e.0)?;
        // What it hides and does not have itself is gone.
        if let (true, Some(lower)) = (of.opaque, &of.lower) {
            let each = |name: &CStr, _| match names.contains(name) {
                true => Ok(()),
                false => below_or_deep(&of.path, name)
                    .and_then(|path| self.note(found, &path, ChangeKind::Deleted))
                    .map_err(Failure),
            };
            each_entry(lower.as_fd(), each).map_err(|e| e.0)?;
        }
        Ok(())
    }

    fn entry(
        &self,
        opened: BorrowedFd<'_>,
        of: &Waiting,
        name: &CStr,
        found: &mut BTreeMap<PathBuf, ChangeKind>,
        waiting: &mut Vec<Waiting>,
        names: &mut BTreeSet<CString>,
    ) -> Result<()> {
        let path = below_or_deep(&of.path, name)?;
        let shown = || shown(&path);
        let Some(stat) = look(opened, name).subject(shown)? else { return Ok(()) };
        let theirs = match &of.lower {
            Some(lower) => look(lower.as_fd(), name).subject(shown)?,
            None => None,
        };
        if is_whiteout(&stat) {
            if theirs.is_some() && !of.opaque {
                self.note(found, &path, ChangeKind::Deleted)?;
            }
            return Ok(());
        }
        if of.opaque {
            names.insert(name.to_owned());
        }
        match (&theirs, &of.lower) {
            (Some(theirs), Some(lower)) => {
                if differs((opened, name, &stat), (lower.as_fd(), name, theirs)) {
                    self.note(found, &path, ChangeKind::Modified)?;
                }
            }
            _ if self.is_mount_point(opened, name, &path, &stat) => return Ok(()),
            _ => self.note(found, &path, ChangeKind::Added)?,
        }
        if is_directory(&stat) {
            let Some(inner) = open_exact(opened, name).subject(shown)? else { return Ok(()) };
            let opaque = is_opaque(inner.as_fd(), shown)? || of.opaque;
            let lower = match &of.lower {
                Some(lower) => open_exact(lower.as_fd(), name).subject(shown)?,
                None => None,
            };
            waiting.push(Waiting { path, lower, opaque });
        }
        Ok(())
    }

    /// Whether it is empty, and there only because the engine mounts something on it.
    fn is_mount_point(&self, parent: BorrowedFd<'_>, name: &CStr, path: &CStr, stat: &Stat) -> bool {
        self.mount_points.iter().any(|point| point == relative(path)) && is_bare(parent, name, stat)
    }

    fn note(&self, found: &mut BTreeMap<PathBuf, ChangeKind>, path: &CStr, kind: ChangeKind) -> Result<()> {
        if found.len() as u64 >= self.limit {
            return Err(exceeded("changes of a container", "there are too many", "entries", self.limit));
        }
        found.insert(Path::new("/").join(relative(path)), kind);
        Ok(())
    }
}

/// Whether nothing was ever written there: an empty file or an empty directory.
pub(super) fn is_bare(parent: BorrowedFd<'_>, name: &CStr, stat: &Stat) -> bool {
    if !is_directory(stat) {
        return FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile && stat.st_size == 0;
    }
    let mut bare = true;
    match open_exact(parent, name) {
        Ok(Some(directory)) => {
            let read = each_entry(directory.as_fd(), |_, _| {
                bare = false;
                Ok::<(), Errno>(())
            });
            bare && read.is_ok()
        }
        _ => false,
    }
}

/// A path in the tree, as archives have it.
pub(super) fn relative(path: &CStr) -> &Path {
    let bytes = path.to_bytes();
    Path::new(OsStr::from_bytes(bytes.strip_prefix(b"./").unwrap_or(bytes)))
}

fn below_or_deep(path: &CStr, name: &CStr) -> Result<CString> {
    below(path, name).ok_or_else(|| {
        Error::new(ErrorKind::LimitExceeded, shown(path))
            .because("the tree is deeper than a path can be long")
    })
}

fn shown(path: &CStr) -> String {
    format!("file {:?} of a container", relative(path))
}

fn with_parents(found: BTreeMap<PathBuf, ChangeKind>) -> Vec<Change> {
    let mut all = found.clone();
    for path in found.keys() {
        for parent in path.ancestors().skip(1).take_while(|parent| parent.parent().is_some()) {
            all.entry(parent.to_owned()).or_insert(ChangeKind::Modified);
        }
    }
    all.into_iter().map(|(path, kind)| Change { path, kind }).collect()
}
