//! The default image store: blobs as an OCI layout, layers as directories, containers as overlays of them.
//!
//! ```text
//! <root>/oci-layout, index.json     what makes the blobs an OCI image layout
//! <root>/blobs/sha256/<hex>         content, byte for byte as it was received
//! <root>/blobs/ingest/<hex>         content that is being received; locked by whoever is at it
//! <root>/layers/<hex>/fs            a layer by its chain; appears by rename, whole, verified and synced
//! <root>/layers/<hex>/record        what it is, for a database that lost it
//! <root>/layers/<hex>/implied       directories that are to be settled (`settle`); absent when they are
//! <root>/layers/tmp-<hex>/          a layer that is being unpacked; locked by whoever is at it
//! <root>/layers/empty/{0,1}         nothing, for the overlay of an image without layers
//! <root>/containers/<key>/{upper,work}    what a container has written
//! <root>/trash/<random>             what is being deleted
//! ```
//!
//! Any number of processes use these directories at once. Everything appears and disappears by one rename, and what
//! is unfinished is locked by its maker (`claim`), so whatever a crash leaves is told from work in progress.

mod attributes;
mod blob_writer;
mod blobs;
mod capture;
mod changes;
mod claim;
mod decode;
mod file;
mod layers;
mod name;
mod settle;
mod tags;
#[cfg(test)]
mod tests;
mod trash;
mod tree;
mod unpack;
mod upper;
mod whiteout;
mod writable;

use std::fs::File;
use std::io::Write;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{AtFlags, CWD, Mode, OFlags};
use rustix::io::Errno;

use self::trash::Trash;
use crate::error::{Error, Result, Subject};
use crate::id::random_hex;
use crate::image::limits::UnpackLimits;
use crate::image::{limits, tar};
use crate::store::Store;

/// The default image store. Clones are the same store.
#[derive(Clone)]
pub(crate) struct OverlayStore(Arc<Shared>);

/// The directories of a store, open.
struct Shared {
    /// The absolute path of the store.
    root: PathBuf,
    blobs: OwnedFd,
    ingest: OwnedFd,
    layers: OwnedFd,
    containers: OwnedFd,
    trash: Trash,
    store: Store,
    limits: UnpackLimits,
}

/// Nobody but the owner of the store may come to what is in it: images hold set-user-ID programs.
const PRIVATE: Mode = Mode::RWXU;
const LAYOUT: &[u8] = br#"{"imageLayoutVersion":"1.0.0"}"#;
/// Images are named in the database. The layout's own index stays empty.
const INDEX: &[u8] =
    br#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[]}"#;

impl OverlayStore {
    /// Opens the image store in the directory `root`, which is there, making what is missing of it. Blocks.
    pub(crate) fn open(root: &Path, store: Store, limits: UnpackLimits) -> Result<OverlayStore> {
        let subject = || format!("store {}", root.display());
        let root = root.canonicalize().subject(subject)?;
        let top = open_directory(CWD, &root).subject(subject)?;
        let directory = |name: &str| {
            match rustix::fs::mkdirat(&top, name, PRIVATE) {
                Ok(()) | Err(Errno::EXIST) => {}
                Err(errno) => return Err(errno).subject(subject),
            }
            open_directory(&top, Path::new(name)).subject(subject)
        };
        directory("blobs")?;
        let shared = Shared {
            blobs: directory("blobs/sha256")?,
            ingest: directory("blobs/ingest")?,
            layers: directory("layers")?,
            containers: directory("containers")?,
            trash: Trash::new(directory("trash")?),
            root: root.clone(),
            store,
            limits,
        };
        for (name, content) in [("oci-layout", LAYOUT), ("index.json", INDEX)] {
            match rustix::fs::statat(&top, name, AtFlags::SYMLINK_NOFOLLOW) {
                Ok(_) => {}
                Err(Errno::NOENT) => write_file(&top, name, content).subject(subject)?,
                Err(errno) => return Err(errno).subject(subject),
            }
        }
        Ok(OverlayStore(Arc::new(shared)))
    }
}

fn open_directory(parent: impl AsFd, path: &Path) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::openat(parent, path, flags, Mode::empty())
}

/// Writes a small file, which is there with all of its content or not at all.
fn write_file(directory: &OwnedFd, name: &str, content: &[u8]) -> std::io::Result<()> {
    let partial = format!(".{name}-{}", random_hex::<8>().map_err(std::io::Error::other)?);
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
    let written = (|| {
        let mut file =
            File::from(rustix::fs::openat(directory, &partial, flags, Mode::from_raw_mode(0o644))?);
        file.write_all(content)?;
        Ok(rustix::fs::renameat(directory, &partial, directory, name)?)
    })();
    if written.is_err() {
        let _ = rustix::fs::unlinkat(directory, &partial, AtFlags::empty());
    }
    written
}

/// What is in the way of a name that is not one of the store's own.
fn bad_key(key: &str) -> Error {
    Error::invalid(format!("key {key:?} of a container's tree"), "must be letters, digits, '_', '.' and '-'")
}
