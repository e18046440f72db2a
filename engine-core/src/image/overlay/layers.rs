//! Layers: directories named by their chain, each unpacked once.

use std::ffi::OsStr;
use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use rustix::fs::{AtFlags, Dir, Mode, OFlags, RenameFlags};
use rustix::io::Errno;

use super::changes::Comparison;
use super::whiteout::OPAQUE;
use super::{OverlayStore, claim, settle, unpack, upper};
use crate::error::{Error, ErrorKind, Faults, Result, Subject};
use crate::id::ChainId;
use crate::image::driver::{Base, CaptureSpec, CapturedLayer, Change, LayerRecord, LayerSource, LayerStore};
use crate::spec::RootMount;
use crate::store::{self, Durability, blocking};
use crate::sys::beneath::{RootDir, make_directory};
use crate::sys::{fault, overlay_view};

pub(super) const TREE: &str = "fs";
pub(super) const RECORD: &str = "record";
const IMPLIED: &str = "implied";
pub(super) const UNFINISHED: &str = "tmp-";

#[async_trait]
impl LayerStore for OverlayStore {
    async fn has(&self, chain: &ChainId) -> Result<bool> {
        let (store, chain) = (self.clone(), chain.clone());
        blocking(move || {
            let there = store.layer_is_there(&chain)?;
            if there {
                // Whoever relies on it relies on its being listed too.
                store.layer_record(&chain)?;
            }
            Ok(there)
        })
        .await
    }

    async fn apply(&self, layer: LayerSource) -> Result<LayerRecord> {
        let chain = ChainId::extend(layer.parent.as_ref(), &layer.diff_id);
        let claimed = {
            let (store, chain) = (self.clone(), chain.clone());
            let (parent, diff_id) = (layer.parent.clone(), layer.diff_id.clone());
            claim::wait_for(move || {
                let record = LayerRecord {
                    chain: chain.clone(),
                    parent: parent.clone(),
                    diff_id: diff_id.clone(),
                    size: 0,
                };
                store.try_claim(record)
            })
        };
        let unfinished = match claimed.await? {
            Claimed::There(record) => return Ok(record),
            Claimed::Mine(unfinished) => unfinished,
        };
        let cancel = Cancel(Arc::default());
        let cancelled = Arc::clone(&cancel.0);
        blocking(move || unfinished.unpack(layer, cancelled)).await
    }

    async fn prepare(&self, key: &str, chain: &[ChainId], volatile: bool) -> Result<Vec<RootMount>> {
        let (store, key, chain) = (self.clone(), key.to_owned(), chain.to_vec());
        blocking(move || {
            let lower = store.lower(&chain)?;
            store.writable(&key, lower, volatile)
        })
        .await
    }

    async fn prepare_on(&self, key: &str, lower: PathBuf, volatile: bool) -> Result<Vec<RootMount>> {
        let (store, key) = (self.clone(), key.to_owned());
        blocking(move || store.writable(&key, vec![lower], volatile)).await
    }

    async fn view(&self, chain: &[ChainId]) -> Result<Vec<RootMount>> {
        let (store, chain) = (self.clone(), chain.to_vec());
        blocking(move || {
            let mut lower = store.lower(&chain)?;
            // An overlay without a writable directory has at least two others; alone, a layer could be written.
            if lower.len() < 2 {
                lower.push(store.empty("1")?);
            }
            Ok(vec![RootMount::Overlay { lower, upper: None, volatile: false }])
        })
        .await
    }

    async fn discard(&self, key: &str) -> Result<()> {
        let (store, key) = (self.clone(), key.to_owned());
        blocking(move || store.discard_writable(&key)).await
    }

    async fn delete(&self, chain: &ChainId) -> Result<()> {
        let (store, chain) = (self.clone(), chain.clone());
        blocking(move || store.delete_layer(&chain)).await
    }

    async fn list(&self) -> Result<Vec<LayerRecord>> {
        self.0.store.read(store::layers::list).await
    }

    async fn written(&self, key: &str) -> Result<u64> {
        let (store, key) = (self.clone(), key.to_owned());
        blocking(move || store.written_bytes(&key)).await
    }

    async fn changes(&self, key: &str, base: &Base, mount_points: &[PathBuf]) -> Result<Vec<Change>> {
        let (store, key, base, mount_points) =
            (self.clone(), key.to_owned(), base.clone(), upper::mount_points(mount_points));
        blocking(move || {
            let lower = match base {
                Base::Chain(chain) => store.lower(&chain)?,
                Base::Directory(path) => vec![path],
            };
            let Some(upper) = store.upper(&key)? else { return Ok(Vec::new()) };
            let below = overlay_view(&lower.iter().map(PathBuf::as_path).collect::<Vec<_>>())?;
            let limit = store.0.limits.entries;
            Comparison { upper: upper.as_fd(), below: below.as_fd(), mount_points: &mount_points, limit }
                .run()
        })
        .await
    }

    async fn capture(&self, key: &str, spec: CaptureSpec) -> Result<Box<dyn CapturedLayer>> {
        let (store, key) = (self.clone(), key.to_owned());
        blocking(move || Ok(Box::new(store.capture_tree(&key, &spec)?) as Box<dyn CapturedLayer>)).await
    }

    async fn sweep(&self) -> Result<usize> {
        let store = self.clone();
        blocking(move || store.sweep_layers()).await
    }
}

/// Whoever drops the future of an unpacking wants it no longer.
struct Cancel(Arc<AtomicBool>);

impl Drop for Cancel {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

enum Claimed {
    /// The layer is there.
    There(LayerRecord),
    /// It is not, and nobody else makes it.
    Mine(Unfinished),
}

impl OverlayStore {
    pub(super) fn layer_is_there(&self, chain: &ChainId) -> Result<bool> {
        match rustix::fs::statat(&self.0.layers, tree(chain), AtFlags::SYMLINK_NOFOLLOW) {
            Ok(_) => Ok(true),
            Err(Errno::NOENT) => Ok(false),
            Err(errno) => Err(errno).subject(|| subject(chain)),
        }
    }

    fn tree_path(&self, chain: &ChainId) -> PathBuf {
        self.0.root.join("layers").join(tree(chain))
    }

    /// The directory `name` of those that hold nothing.
    fn empty(&self, name: &str) -> Result<PathBuf> {
        let path = Path::new("empty").join(name);
        let subject = || "store, layers/empty".to_owned();
        match rustix::fs::statat(&self.0.layers, &path, AtFlags::SYMLINK_NOFOLLOW) {
            Err(Errno::NOENT) => {
                let layers = self.0.layers.try_clone().subject(subject)?;
                RootDir::from(layers).mkdir_all(&path, Mode::from_raw_mode(0o755)).subject(subject)?;
            }
            other => drop(other.subject(subject)?),
        }
        Ok(self.0.root.join("layers").join(path))
    }

    /// The directories of a chain, topmost first, settled.
    pub(super) fn lower(&self, chain: &[ChainId]) -> Result<Vec<PathBuf>> {
        // From the base up: what a layer is settled by has to be settled.
        for (at, layer) in chain.iter().enumerate() {
            if !self.layer_is_there(layer)? {
                return Err(Error::not_found(subject(layer)).with_remedy("pull the image again"));
            }
            self.settle(layer, &chain[..at])?;
        }
        match self.stack(chain) {
            stack if stack.is_empty() => Ok(vec![self.empty("0")?]),
            stack => Ok(stack),
        }
    }

    /// The directories of a chain, topmost first, down to one that hides all below. An overlay does not look whether
    /// the root of a layer is opaque, so the layers below are left out.
    fn stack(&self, chain: &[ChainId]) -> Vec<PathBuf> {
        let mut stack = Vec::with_capacity(chain.len());
        for layer in chain.iter().rev() {
            let path = self.tree_path(layer);
            let opaque = rustix::fs::getxattr(&path, OPAQUE, &mut [0u8; 1][..]) == Ok(1);
            stack.push(path);
            if opaque {
                break;
            }
        }
        stack
    }

    /// Settles the layer `chain` on top of `below`, base first, if that is still to be done.
    fn settle(&self, chain: &ChainId, below: &[ChainId]) -> Result<()> {
        let name = Path::new(chain.encoded()).join(IMPLIED);
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mut list = match rustix::fs::openat(&self.0.layers, &name, flags, Mode::empty()) {
            Ok(list) => std::fs::File::from(list),
            Err(Errno::NOENT) => return Ok(()),
            Err(errno) => return Err(errno).subject(|| subject(chain)),
        };
        // Two at a time would do the same, but the second could still be at it when the layer is in use.
        list.lock().subject(|| subject(chain))?;
        if rustix::fs::fstat(&list).subject(|| subject(chain))?.st_nlink == 0 {
            return Ok(());
        }
        let mut text = Vec::new();
        list.read_to_end(&mut text).subject(|| subject(chain))?;
        let lower = self.stack(below);
        let lower: Vec<&Path> = lower.iter().map(PathBuf::as_path).collect();
        if !lower.is_empty() {
            let tree = RootDir::open(&self.tree_path(chain)).subject(|| subject(chain))?;
            settle::settle(&tree, &lower, &text)?;
        }
        // The file systems that can hold an overlay keep the order of such changes through a loss of power.
        match rustix::fs::unlinkat(&self.0.layers, &name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(errno) => Err(errno).subject(|| subject(chain)),
        }
    }

    /// Settles a new layer if all layers below are there; if not, it is done when it is first used.
    fn settle_early(&self, record: &LayerRecord) -> Result<()> {
        let mut below = Vec::new();
        let mut next = record.parent.clone();
        while let Some(chain) = next {
            let Some(parent) = self.0.store.read_now(|tx| store::layers::get(tx, &chain))? else {
                return Ok(());
            };
            if !self.layer_is_there(&chain)? {
                return Ok(());
            }
            next = parent.parent;
            below.push(chain);
        }
        below.reverse();
        for (at, layer) in below.iter().enumerate() {
            self.settle(layer, &below[..at])?;
        }
        self.settle(&record.chain, &below)
    }

    /// The record of a layer that is there. The database may have missed it in a crash.
    pub(super) fn layer_record(&self, chain: &ChainId) -> Result<LayerRecord> {
        let chain_of_query = chain.clone();
        if let Some(record) = self.0.store.read_now(|tx| store::layers::get(tx, &chain_of_query))? {
            return Ok(record);
        }
        let path = Path::new(chain.encoded()).join(RECORD);
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file =
            rustix::fs::openat(&self.0.layers, path, flags, Mode::empty()).subject(|| subject(chain))?;
        let mut text = String::new();
        std::fs::File::from(file).read_to_string(&mut text).subject(|| subject(chain))?;
        let record: LayerRecord = serde_json::from_str(&text).map_err(|e| {
            Error::new(ErrorKind::Corrupt, subject(chain)).because("its record cannot be read").caused_by(e)
        })?;
        self.0.store.write_now(Durability::Full, |tx| store::layers::insert(tx, &record))?;
        Ok(record)
    }

    /// One attempt to become the one who unpacks the layer.
    fn try_claim(&self, record: LayerRecord) -> Result<Option<Claimed>> {
        if self.layer_is_there(&record.chain)? {
            return self.layer_record(&record.chain).map(|record| Some(Claimed::There(record)));
        }
        let name = format!("{UNFINISHED}{}", record.chain.encoded());
        let claim = claim::directory(self.0.layers.as_fd(), OsStr::new(&name));
        let Some(directory) = claim.subject(|| subject(&record.chain))? else { return Ok(None) };
        let unfinished = Unfinished { store: self.clone(), record, directory, name, published: false };
        // It may have been finished between the look and the lock.
        if self.layer_is_there(&unfinished.record.chain)? {
            return Ok(None);
        }
        Ok(Some(Claimed::Mine(unfinished)))
    }

    fn delete_layer(&self, chain: &ChainId) -> Result<()> {
        let chain_of_query = chain.clone();
        let delete = |tx: &store::Tx<'_>| store::layers::delete(tx, &chain_of_query);
        self.0.store.write_now(Durability::Relaxed, delete)?;
        self.0.trash.delete(self.0.layers.as_fd(), Path::new(chain.encoded())).map(drop)
    }

    fn sweep_layers(&self) -> Result<usize> {
        let mut swept = self.0.trash.empty()?;
        let mut faults = Faults::new();
        let layers = self.0.layers.as_fd();
        let subject = || "layers of the store".to_owned();
        let known: Vec<LayerRecord> = self.0.store.read_now(store::layers::list)?;
        for entry in Dir::read_from(layers).subject(subject)? {
            let name = entry.subject(subject)?.file_name().to_string_lossy().into_owned();
            if name.starts_with(UNFINISHED) {
                match claim::existing(layers, OsStr::new(&name), OFlags::DIRECTORY).subject(subject) {
                    // The claim is held until it is out of sight, so that nobody begins to use it.
                    Ok(Some(_claim)) => match self.0.trash.delete(layers, Path::new(&name)) {
                        Ok(true) => swept += 1,
                        Ok(false) => {}
                        Err(error) => faults.note::<()>(Err(error)),
                    },
                    Ok(None) => {}
                    Err(error) => faults.note::<()>(Err(error)),
                }
            } else if let Ok(chain) = format!("sha256:{name}").parse::<ChainId>()
                && !known.iter().any(|record| record.chain == chain)
            {
                // A crash came between the directory and its row: now it is known, and can be deleted.
                faults.note(self.layer_record(&chain));
            }
        }
        faults.into_result()?;
        Ok(swept)
    }
}

/// A layer that is being unpacked, in a directory that is locked. Unless it is published, it goes with this.
struct Unfinished {
    store: OverlayStore,
    record: LayerRecord,
    /// Holds the lock.
    directory: OwnedFd,
    name: String,
    published: bool,
}

impl Unfinished {
    fn unpack(mut self, layer: LayerSource, cancelled: Arc<AtomicBool>) -> Result<LayerRecord> {
        let chain = self.record.chain.clone();
        let subject = || subject(&chain);
        // What another one left who was killed.
        for name in [TREE, RECORD, IMPLIED] {
            self.store.0.trash.delete(self.directory.as_fd(), Path::new(name))?;
        }
        let mode = Mode::from_raw_mode(0o755);
        let root = make_directory(self.directory.as_fd(), OsStr::new(TREE), mode).subject(subject)?;
        let written = unpack::unpack(layer, RootDir::from(root), &self.store.0.limits, cancelled)?;
        self.record.size = written.bytes;
        let record = serde_json::to_vec(&self.record)
            .map_err(|e| Error::internal(subject(), "it has no text form").caused_by(e))?;
        self.write(RECORD, &record).subject(subject)?;
        if !written.implied.is_empty() {
            self.write(IMPLIED, &settle::list(&written.implied)).subject(subject)?;
        }
        fault::point("layer.unpacked");
        self.publish().subject(subject)?;
        fault::point("layer.placed");
        let insert = |tx: &store::Tx<'_>| store::layers::insert(tx, &self.record);
        if let Err(error) = self.store.0.store.write_now(Durability::Full, insert) {
            // Nothing of it may be left.
            self.store.0.trash.delete(self.store.0.layers.as_fd(), Path::new(chain.encoded()))?;
            return Err(error);
        }
        // The layer is there, whole. What this could not do is done, or told, when the layer is first used.
        let _ = self.store.settle_early(&self.record);
        Ok(self.record.clone())
    }

    fn write(&self, name: &str, content: &[u8]) -> std::io::Result<()> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = rustix::fs::openat(&self.directory, name, flags, Mode::from_raw_mode(0o600))?;
        std::fs::File::from(file).write_all(content)
    }

    /// Makes the layer durable and then visible.
    fn publish(&mut self) -> rustix::io::Result<()> {
        let layers = &self.store.0.layers;
        // One call for the whole file system: for the thousands of files of a layer that is much less than one
        // each, and what else is unwritten there has to be written soon anyway.
        rustix::fs::syncfs(&self.directory)?;
        let name = self.record.chain.encoded();
        rustix::fs::renameat_with(layers, &self.name, layers, name, RenameFlags::NOREPLACE)?;
        self.published = true;
        rustix::fs::fsync(layers)
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        if !self.published {
            // What stays here is found by the next one who wants the layer, or by a sweep.
            let _ = self.store.0.trash.delete(self.store.0.layers.as_fd(), Path::new(&self.name));
        }
    }
}

/// The tree of a layer within the directory of layers.
fn tree(chain: &ChainId) -> PathBuf {
    Path::new(chain.encoded()).join(TREE)
}

fn subject(chain: &ChainId) -> String {
    format!("layer {chain}")
}
