//! Commit: an image out of another one and a layer that a container wrote.
//!
//! The layer is kept in both of its forms, as everywhere: the tree, which the store has already, and the blob. The blob
//! is compressed with gzip, at the level that costs least: a push sends blobs as they are, every registry and every
//! engine takes gzip, and compressing once, here, is less than storing and sending the archive as it is. (Docker keeps
//! no blob and compresses for each push anew, to a digest that may be another one each time.)

use std::fs::File;
use std::io::{self, Seek, Write};
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use bytes::Bytes;
use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha256};

use super::archive::{Cancel, ingest, unnamed};
use super::blobs;
use super::driver::{CapturedLayer, ImageLayer, ImageRecord};
use super::hold::Hold;
use super::manifest::{OCI_CONFIG, OCI_MANIFEST, compose, layer_type};
use super::pull::{Described, publish};
use crate::error::{Error, Result, Subject};
use crate::id::{ChainId, DiffId, Digest, ImageId};
use crate::parts::Parts;
use crate::reference::Reference;
use crate::spec::{Compression, Descriptor, Timestamp};
use crate::store::blocking;
use crate::sys::fault;

/// The bytes of a chunk on its way to be compressed, and how many may wait.
const CHUNK: usize = 256 << 10;
const AHEAD: usize = 4;
/// The archive of no files: two empty blocks.
const NOTHING: [u8; 1024] = [0; 1024];

/// An image to be made.
pub(crate) struct Commit {
    /// What it is made on.
    pub(crate) base: ImageRecord,
    /// What is to be its topmost layer.
    pub(crate) layer: Box<dyn CapturedLayer>,
    /// How to run it: `config` in the OCI image configuration.
    pub(crate) run: Map<String, Value>,
    /// By what the layer was made.
    pub(crate) created_by: String,
    pub(crate) author: Option<String>,
    pub(crate) comment: Option<String>,
    pub(crate) reference: Option<Reference>,
}

/// A layer's archive, compressed, and what is known of it.
struct Packed {
    file: File,
    blob: Descriptor,
    diff_id: DiffId,
}

/// Makes the image, and names it. A layer without anything in it is left out.
pub(crate) async fn commit(parts: &Parts, commit: Commit) -> Result<ImageId> {
    if commit.reference.as_ref().is_some_and(|reference| reference.digest().is_some()) {
        return Err(Error::invalid("commit", "an image cannot be given a name with a digest"));
    }
    let Commit { base, mut layer, run, created_by, author, comment, reference } = commit;
    let root = parts.root.clone();
    let (packed, layer) = blocking(move || Ok((pack(&root, &mut *layer)?, layer))).await?;
    fault::point("commit.packed");
    let mut layers = base.layers.clone();
    let empty = packed.diff_id == Digest::of(&NOTHING);
    if !empty {
        layers.push(ImageLayer {
            blob: packed.blob.digest.clone(),
            media_type: packed.blob.media_type.clone(),
            size: packed.blob.size,
            diff_id: packed.diff_id.clone(),
        });
    }
    let step = Step { created: Timestamp::now(), created_by, author, comment, empty };
    let config = config(&base, run, &layers, step)?;
    let document = Descriptor::new(OCI_CONFIG, Digest::of(&config), config.len() as u64);
    let blobs_of: Vec<Descriptor> = layers
        .iter()
        .map(|layer| Descriptor::new(&*layer.media_type, layer.blob.clone(), layer.size))
        .collect();
    let manifest: Bytes = compose(&document, &blobs_of)?.into();
    let digest = Digest::of(&manifest);
    let hold = Hold::take(&parts.root, content(&digest, &document, &layers)).await?;
    let described = Described::parse("image", &config, None)?;
    if !empty {
        let (cancel, watch) = Cancel::new();
        let images = Arc::clone(&parts.images);
        let Packed { mut file, blob, diff_id } = packed;
        blocking(move || {
            ingest(&*images, &blob.digest, blob.size, &mut file, &watch)?;
            layer.finish(&diff_id)
        })
        .await?;
        drop(cancel);
    }
    fault::point("commit.layer-done");
    let store = &*parts.images;
    blobs::put(store, &document.digest, &config).await?;
    blobs::put(store, &digest, &manifest).await?;
    let image = described.record(parts, &digest, OCI_MANIFEST.to_owned(), &document.digest, layers).await?;
    publish(parts, &image, reference.as_slice(), hold).await?;
    Ok(image.id)
}

/// All that the image consists of.
fn content(manifest: &Digest, config: &Descriptor, layers: &[ImageLayer]) -> Vec<String> {
    let diffs: Vec<DiffId> = layers.iter().map(|layer| layer.diff_id.clone()).collect();
    let chains = ChainId::chain(&diffs).into_iter().map(|chain| chain.to_string());
    let blobs = layers.iter().map(|layer| layer.blob.to_string());
    [manifest.to_string(), config.digest.to_string()].into_iter().chain(chains).chain(blobs).collect()
}

/// Writes the archive to a file without a name, compressed; digests are computed on the way. One thread reads the files,
/// another one compresses. Blocks.
fn pack(root: &Path, layer: &mut dyn CapturedLayer) -> Result<Packed> {
    let file = unnamed(root)?;
    let (sender, chunks) = sync_channel(AHEAD);
    std::thread::scope(|scope| {
        let squeezing = scope.spawn(move || squeeze(file, &chunks));
        let mut tee = Tee { hash: Sha256::new(), chunk: Vec::with_capacity(CHUNK), chunks: sender };
        let packed = layer.pack(&mut tee).and_then(|()| tee.flush().subject(subject));
        let diff_id = Digest::from_sha256(&tee.hash.finalize_reset());
        drop(tee);
        let squeezed = squeezing
            .join()
            .unwrap_or_else(|_| Err(Error::internal(subject(), "the thread that compresses it panicked")));
        // Why nobody took it any more says more than that nobody did.
        let (file, digest, size) = squeezed?;
        packed?;
        let blob = Descriptor::new(layer_type(Compression::Gzip), digest, size);
        Ok(Packed { file, blob, diff_id })
    })
}

fn subject() -> String {
    "the archive of a layer".to_owned()
}

/// Hashes what is written, and hands it on.
struct Tee {
    hash: Sha256,
    chunk: Vec<u8>,
    chunks: SyncSender<Vec<u8>>,
}

impl Write for Tee {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = bytes.len().min(CHUNK - self.chunk.len());
        self.chunk.extend_from_slice(&bytes[..count]);
        if self.chunk.len() == CHUNK {
            self.flush()?;
        }
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        let chunk = std::mem::replace(&mut self.chunk, Vec::with_capacity(CHUNK));
        self.hash.update(&chunk);
        self.chunks.send(chunk).map_err(|_| io::ErrorKind::BrokenPipe.into())
    }
}

/// Compresses the chunks into the file; gives it at its beginning, with digest and size.
fn squeeze(file: File, chunks: &Receiver<Vec<u8>>) -> Result<(File, Digest, u64)> {
    let hashed = Hashed { file, hash: Sha256::new(), size: 0 };
    // Without a time or a name in it: the same layer gets the same digest.
    let mut gzip = flate2::GzBuilder::new().write(hashed, flate2::Compression::fast());
    for chunk in chunks {
        gzip.write_all(&chunk).subject(subject)?;
    }
    let Hashed { mut file, hash, size } = gzip.finish().subject(subject)?;
    file.rewind().subject(subject)?;
    Ok((file, Digest::from_sha256(&hash.finalize()), size))
}

/// A file, and the digest of what was written to it.
struct Hashed {
    file: File,
    hash: Sha256,
    size: u64,
}

impl Write for Hashed {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.file.write(bytes)?;
        self.hash.update(&bytes[..count]);
        self.size += count as u64;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What the history says of the new image.
struct Step {
    created: Timestamp,
    created_by: String,
    author: Option<String>,
    comment: Option<String>,
    empty: bool,
}

/// The configuration: that of the image below, so that what nobody here knows is kept, with what is new.
fn config(base: &ImageRecord, run: Map<String, Value>, layers: &[ImageLayer], step: Step) -> Result<Bytes> {
    let corrupt = |reason: &str| {
        Error::new(crate::error::ErrorKind::Corrupt, format!("image {}", base.id)).because(reason)
    };
    let mut config: Map<String, Value> = serde_json::from_str(&base.config)
        .map_err(|e| corrupt("its configuration cannot be read").caused_by(e))?;
    // What old versions of docker say of the container that an image was made of.
    for key in
        ["container", "container_config", "id", "parent", "parent_id", "docker_version", "author", "comment"]
    {
        config.remove(key);
    }
    let diffs: Vec<&DiffId> = layers.iter().map(|layer| &layer.diff_id).collect();
    let mut history = match config.remove("history") {
        Some(Value::Array(history)) => history,
        _ => Vec::new(),
    };
    let mut entry = json!({"created": step.created, "created_by": step.created_by});
    if let Value::Object(entry) = &mut entry {
        for (key, text) in [("author", &step.author), ("comment", &step.comment)] {
            if let Some(text) = text.as_ref().filter(|text| !text.is_empty()) {
                entry.insert(key.to_owned(), json!(text));
                config.insert(key.to_owned(), json!(text));
            }
        }
        if step.empty {
            entry.insert("empty_layer".to_owned(), json!(true));
        }
    }
    history.push(entry);
    let platform = &base.platform;
    for (key, value) in [
        ("architecture", json!(platform.architecture)),
        ("os", json!(platform.os)),
        ("created", json!(step.created)),
        ("config", Value::Object(run)),
        ("rootfs", json!({"type": "layers", "diff_ids": diffs})),
        ("history", Value::Array(history)),
    ] {
        config.insert(key.to_owned(), value);
    }
    serde_json::to_vec(&config)
        .map(Bytes::from)
        .map_err(|e| Error::internal("a configuration", "it has no text form").caused_by(e))
}
