//! A layer out of what a container has written, without an archive that is unpacked again.
//!
//! The writable tree is copied, or taken away, into a directory of unfinished layers, and from there on nobody else can
//! be at it: so the archive that is written of it and the layer that it becomes are the same, whatever the container does
//! meanwhile. When the digest of the archive is known, the directory gets the name of its chain.

use std::collections::HashSet;
use std::ffi::{CStr, CString, OsStr};
use std::io::Write;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{AtFlags, FileType, Mode, OFlags, RenameFlags, Stat};
use rustix::io::Errno;

use super::changes::{is_bare, relative};
use super::layers::{RECORD, TREE, UNFINISHED};
use super::tar::{Packer, Rules, Verdict};
use super::upper::{self, check_content, is_directory, is_opaque, look, open_exact};
use super::whiteout::is_whiteout;
use super::writable::{UPPER, WORK};
use super::{OverlayStore, claim, open_directory, write_file};
use crate::error::{Error, Result, Subject};
use crate::id::{ChainId, DiffId, random_hex};
use crate::image::driver::{CaptureSpec, CapturedLayer, LayerRecord};
use crate::store::{self, Durability};
use crate::sys::beneath::{RootDir, make_directory, split};
use crate::sys::copy_tree::{copy_attributes, copy_children, of_the_file};
use crate::sys::{fault, overlay_view};

/// How long to wait before looking again whether somebody else has made the same layer.
const PAUSE: Duration = Duration::from_millis(5);

/// A tree that becomes a layer, in a directory that is locked. Unless it is finished, it goes with this.
pub(super) struct Captured {
    store: OverlayStore,
    parent: Option<ChainId>,
    /// The files of the layers below.
    below: OwnedFd,
    /// Holds the lock.
    directory: OwnedFd,
    name: String,
    tree: OwnedFd,
    /// The bytes of its files; known when it was packed.
    size: Option<u64>,
}

impl OverlayStore {
    /// Captures the tree of `key`.
    pub(super) fn capture_tree(&self, key: &str, spec: &CaptureSpec) -> Result<Captured> {
        let lower = self.lower(&spec.chain)?;
        let below = overlay_view(&lower.iter().map(PathBuf::as_path).collect::<Vec<_>>())?;
        let subject = || format!("layer of container {key}");
        let (directory, name) = loop {
            let name = format!("{UNFINISHED}{}", random_hex::<16>()?);
            match claim::directory(self.0.layers.as_fd(), OsStr::new(&name)).subject(subject)? {
                Some(directory) => break (directory, name),
                None => continue,
            }
        };
        let mut captured = Captured {
            store: self.clone(),
            parent: spec.chain.last().cloned(),
            below,
            tree: directory.try_clone().subject(subject)?,
            directory,
            name,
            size: None,
        };
        captured.tree = match spec.take {
            true => self.take_upper(key, &captured.directory)?,
            false => self.copy_upper(key, &captured.directory)?,
        };
        fault::point("capture.copied");
        captured.prune(&upper::mount_points(&spec.mount_points))?;
        Ok(captured)
    }

    /// Moves the tree of `key` away from it. `work` goes first: without it the tree is not whole for anybody.
    fn take_upper(&self, key: &str, to: &OwnedFd) -> Result<OwnedFd> {
        let subject = || format!("file system of container {key}");
        let Some(home) = self.home(key)? else { return empty_tree(to).subject(subject) };
        self.0.trash.delete(home.as_fd(), Path::new(WORK))?;
        match rustix::fs::renameat_with(&home, UPPER, to, TREE, RenameFlags::NOREPLACE) {
            Ok(()) => open_directory(to, Path::new(TREE)).subject(subject),
            Err(Errno::NOENT) => empty_tree(to).subject(subject),
            Err(errno) => Err(errno).subject(subject),
        }
    }

    fn copy_upper(&self, key: &str, to: &OwnedFd) -> Result<OwnedFd> {
        let subject = || format!("file system of container {key}");
        let tree = empty_tree(to).subject(subject)?;
        let Some(home) = self.home(key)? else { return Ok(tree) };
        let upper = match open_directory(&home, Path::new(UPPER)) {
            Err(Errno::NOENT) => return Ok(tree),
            upper => upper.subject(subject)?,
        };
        let keep = |name: &CStr| of_the_file(name) || upper::is_mark(name);
        copy_children(upper.as_fd(), tree.as_fd(), &|_| false, keep)?;
        rustix::fs::fstat(&upper)
            .and_then(|stat| copy_attributes(upper.as_fd(), tree.as_fd(), &stat, keep))
            .subject(subject)?;
        Ok(tree)
    }
}

fn empty_tree(directory: &OwnedFd) -> rustix::io::Result<OwnedFd> {
    make_directory(directory.as_fd(), OsStr::new(TREE), Mode::from_raw_mode(0o755))
}

impl Captured {
    /// Removes what the engine made to mount something on, and the directories that are there only for that.
    fn prune(&self, mount_points: &[PathBuf]) -> Result<()> {
        for point in mount_points {
            let mut path = point.as_path();
            let mut wanted: fn(Option<Place>, &Place) -> Result<bool> = |theirs, _| Ok(theirs.is_some());
            while !path.as_os_str().is_empty() && self.remove_unless(path, &mut wanted)? {
                path = path.parent().unwrap_or(Path::new(""));
                // A directory above it that is as it was, and empty, holds nothing that was written.
                wanted = |theirs, ours| match theirs {
                    Some(theirs) => Ok(ours.differs(&theirs) || ours.is_opaque()?),
                    None => Ok(true),
                };
            }
        }
        Ok(())
    }

    /// Removes the bare file or directory at `path`, unless it is `wanted`; whether it was removed is the answer.
    fn remove_unless(
        &self,
        path: &Path,
        wanted: &mut fn(Option<Place>, &Place) -> Result<bool>,
    ) -> Result<bool> {
        let Some(ours) = Place::find(self.tree.as_fd(), path)? else { return Ok(false) };
        if !is_bare(ours.parent.as_fd(), &ours.name, &ours.stat)
            || wanted(Place::find(self.below.as_fd(), path)?, &ours)?
        {
            return Ok(false);
        }
        let flags = if is_directory(&ours.stat) { AtFlags::REMOVEDIR } else { AtFlags::empty() };
        rustix::fs::unlinkat(&ours.parent, &ours.name, flags).subject(|| self.subject())?;
        Ok(true)
    }

    fn subject(&self) -> String {
        "a layer of what a container has written".to_owned()
    }

    /// Gives the directory the name of its chain, unless somebody else was faster; then it is the same as this one.
    fn publish(&mut self, record: &LayerRecord) -> Result<bool> {
        let layers = &self.store.0.layers;
        let claimed = format!("{UNFINISHED}{}", record.chain.encoded());
        let _claim = loop {
            if self.store.layer_is_there(&record.chain)? {
                return Ok(false);
            }
            match claim::directory(layers.as_fd(), OsStr::new(&claimed)).subject(|| self.subject())? {
                Some(claim) => break Claim { store: &self.store, name: &claimed, _lock: claim },
                None => std::thread::sleep(PAUSE),
            }
        };
        if self.store.layer_is_there(&record.chain)? {
            return Ok(false);
        }
        let name = record.chain.encoded();
        rustix::fs::syncfs(&self.directory)
            .and_then(|()| {
                rustix::fs::renameat_with(layers, &self.name, layers, name, RenameFlags::NOREPLACE)
            })
            .and_then(|()| rustix::fs::fsync(layers))
            .subject(|| self.subject())?;
        Ok(true)
    }
}

/// The right to make a layer; what it is made in goes with it.
struct Claim<'a> {
    store: &'a OverlayStore,
    name: &'a str,
    _lock: OwnedFd,
}

impl Drop for Claim<'_> {
    fn drop(&mut self) {
        // What stays is found by the next one who wants the layer, or by a sweep.
        let _ = self.store.0.trash.delete(self.store.0.layers.as_fd(), Path::new(self.name));
    }
}

impl CapturedLayer for Captured {
    fn pack(&mut self, to: &mut dyn Write) -> Result<()> {
        let rules = LayerRules { below: self.below.as_fd(), linked: HashSet::new(), bytes: 0 };
        let mut packer = Packer::new(to, rules);
        let stat = rustix::fs::fstat(&self.tree).subject(|| self.subject())?;
        let theirs = rustix::fs::statat(&self.below, c"", AtFlags::EMPTY_PATH).subject(|| self.subject())?;
        // What is not said of the root stays as it is below.
        let root = upper::differs((self.tree.as_fd(), c".", &stat), (self.below.as_fd(), c".", &theirs))
            || is_opaque(self.tree.as_fd(), || self.subject())?;
        packer.tree(self.tree.as_fd(), if root { Some(b"./") } else { None })?;
        self.size = Some(packer.rules().bytes);
        packer.finish().map(drop)
    }

    fn finish(mut self: Box<Self>, diff_id: &DiffId) -> Result<LayerRecord> {
        let size = self.size.ok_or_else(|| Error::internal(self.subject(), "it was not packed"))?;
        let record = LayerRecord {
            chain: ChainId::extend(self.parent.as_ref(), diff_id),
            parent: self.parent.clone(),
            diff_id: diff_id.clone(),
            size,
        };
        let text = serde_json::to_vec(&record)
            .map_err(|e| Error::internal(self.subject(), "it has no text form").caused_by(e))?;
        write_file(&self.directory, RECORD, &text).subject(|| self.subject())?;
        if !self.publish(&record)? {
            return self.store.layer_record(&record.chain);
        }
        fault::point("capture.placed");
        let insert = |tx: &store::Tx<'_>| store::layers::insert(tx, &record);
        if let Err(error) = self.store.0.store.write_now(Durability::Full, insert) {
            // Nothing of it may be left.
            let name = Path::new(record.chain.encoded());
            self.store.0.trash.delete(self.store.0.layers.as_fd(), name)?;
            return Err(error);
        }
        Ok(record)
    }
}

impl Drop for Captured {
    fn drop(&mut self) {
        // Once it is published, nothing has this name.
        let _ = self.store.0.trash.delete(self.store.0.layers.as_fd(), Path::new(&self.name));
    }
}

/// Something in a tree, found without following a link.
struct Place {
    parent: OwnedFd,
    name: CString,
    stat: Stat,
}

impl Place {
    fn find(root: BorrowedFd<'_>, path: &Path) -> Result<Option<Place>> {
        let shown = || format!("file {path:?} of a layer");
        let Some((parent, name)) = split(path) else { return Ok(None) };
        let root = RootDir::from(root.try_clone_to_owned().subject(shown)?);
        let flags = OFlags::PATH | OFlags::DIRECTORY;
        let Some(parent) = upper::absent_is_none(root.resolve_exact(parent, flags)).subject(shown)? else {
            return Ok(None);
        };
        let name =
            CString::new(name.as_bytes()).map_err(|_| Error::invalid(shown(), "it holds a zero byte"))?;
        Ok(look(parent.as_fd(), &name).subject(shown)?.map(|stat| Place { parent, name, stat }))
    }

    fn differs(&self, other: &Place) -> bool {
        upper::differs(
            (self.parent.as_fd(), &self.name, &self.stat),
            (other.parent.as_fd(), &other.name, &other.stat),
        )
    }

    fn is_opaque(&self) -> Result<bool> {
        let shown = || format!("directory {:?} of a layer", self.name);
        match open_exact(self.parent.as_fd(), &self.name).subject(shown)? {
            Some(directory) => is_opaque(directory.as_fd(), shown),
            None => Ok(false),
        }
    }
}

/// What of a writable tree belongs into the archive of a layer, in OCI's words.
struct LayerRules<'a> {
    below: BorrowedFd<'a>,
    /// Files with several names that were counted.
    linked: HashSet<u64>,
    bytes: u64,
}

impl LayerRules<'_> {
    /// What the layers below have there; links of theirs are not followed.
    fn theirs(&self, path: &CStr) -> Result<Option<Stat>> {
        Ok(Place::find(self.below, relative(path))?.map(|place| place.stat))
    }
}

impl Rules for LayerRules<'_> {
    const MOUNTS: bool = false;

    fn verdict(&mut self, parent: BorrowedFd<'_>, name: &CStr, path: &CStr, stat: &Stat) -> Result<Verdict> {
        let shown = || format!("file {:?} of a layer", relative(path));
        if is_whiteout(stat) {
            let hides = self.theirs(path)?.is_some();
            return Ok(if hides { Verdict::Whiteout } else { Verdict::Skip });
        }
        match FileType::from_raw_mode(stat.st_mode) {
            // No archive can hold it, so the layer must not have it either.
            FileType::Socket => {
                rustix::fs::unlinkat(parent, name, AtFlags::empty()).subject(shown)?;
                return Ok(Verdict::Skip);
            }
            FileType::RegularFile => {
                check_content(parent, name, stat, shown)?;
                if stat.st_nlink < 2 || self.linked.insert(stat.st_ino) {
                    self.bytes += stat.st_size.cast_unsigned();
                }
            }
            _ => {}
        }
        Ok(Verdict::Take)
    }

    fn is_opaque(&mut self, directory: BorrowedFd<'_>, path: &CStr) -> Result<bool> {
        if !is_opaque(directory, || format!("directory {:?} of a layer", relative(path)))? {
            return Ok(false);
        }
        Ok(path == c"." || self.theirs(path)?.is_some_and(|stat| is_directory(&stat)))
    }
}
