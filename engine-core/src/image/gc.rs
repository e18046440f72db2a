//! Collecting garbage: layers and blobs that no image, no container and no hold reaches.
//!
//! Safe at any time and in any process: it is done in the absence of whoever makes records, see [`super::hold`].

use std::collections::HashSet;

use super::driver::{BlobStore, ImageRecord, ImageStore, LayerStore};
use super::hold::{Collecting, collecting};
use crate::error::{Faults, Result};
use crate::id::{ChainId, Digest};
use crate::parts::Parts;
use crate::store::{blocking, containers};

/// What was deleted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Freed {
    /// Layers, topmost first.
    pub(crate) layers: Vec<ChainId>,
    pub(crate) blobs: Vec<Digest>,
    /// The bytes of both.
    pub(crate) bytes: u64,
}

/// What must stay.
struct Reached(HashSet<String>);

impl Reached {
    async fn find(parts: &Parts, lock: Collecting) -> Result<(Reached, Collecting)> {
        let mut reached = HashSet::new();
        for named in parts.images.images().await? {
            reached.extend(content(&named.image));
        }
        let store = parts.store.clone();
        let (held, chains, lock) = blocking(move || {
            let rows = store.read_now(containers::list)?;
            let chains: Vec<ChainId> = rows.into_iter().flat_map(|row| row.record.chain).collect();
            Ok((lock.held()?, chains, lock))
        })
        .await?;
        reached.extend(chains.into_iter().map(String::from));
        reached.extend(held);
        Ok((Reached(reached), lock))
    }

    fn has(&self, content: &str) -> bool {
        self.0.contains(content)
    }
}

/// The blobs and layers of an image.
fn content(image: &ImageRecord) -> impl Iterator<Item = String> {
    let blobs = [image.id.to_string(), image.manifest.to_string()];
    let layers: Vec<String> = image.layers.iter().map(|layer| layer.blob.to_string()).collect();
    blobs.into_iter().chain(layers).chain(image.chain().into_iter().map(String::from))
}

/// Deletes of the content of images that were forgotten what nothing reaches any more.
pub(crate) async fn release(parts: &Parts, lock: Collecting, images: &[ImageRecord]) -> Result<Freed> {
    let candidates: HashSet<String> = images.iter().flat_map(content).collect();
    collect(parts, lock, |name| candidates.contains(name)).await
}

/// Deletes what interrupted work left, and whatever nothing reaches.
pub(crate) async fn sweep(parts: &Parts) -> Result<Freed> {
    let store: &dyn ImageStore = &*parts.images;
    let partial = BlobStore::sweep(store).await?;
    // First, as it makes known the layers whose records a crash prevented.
    LayerStore::sweep(store).await?;
    let lock = collecting(&parts.root).await?;
    let mut freed = collect(parts, lock, |_| true).await?;
    freed.bytes += partial;
    Ok(freed)
}

/// Deletes those of these blobs that nothing reaches: what a load brought and no image of it needed.
pub(crate) async fn drop_blobs(parts: &Parts, blobs: &[Digest]) -> Result<Freed> {
    let lock = collecting(&parts.root).await?;
    collect(parts, lock, |name| blobs.iter().any(|blob| blob.as_str() == name)).await
}

async fn collect(parts: &Parts, lock: Collecting, candidate: impl Fn(&str) -> bool) -> Result<Freed> {
    let store: &dyn ImageStore = &*parts.images;
    let (reached, lock) = Reached::find(parts, lock).await?;
    let garbage = |name: &str| candidate(name) && !reached.has(name);
    let mut freed = Freed::default();
    let mut faults = Faults::new();
    let mut layers: Vec<_> =
        LayerStore::list(store).await?.into_iter().filter(|layer| garbage(layer.chain.as_str())).collect();
    // Children before their parents: what a crash in between leaves is a chain without gaps.
    while !layers.is_empty() {
        let parents: HashSet<ChainId> = layers.iter().filter_map(|layer| layer.parent.clone()).collect();
        let (below, mut top): (Vec<_>, Vec<_>) =
            layers.into_iter().partition(|layer| parents.contains(&layer.chain));
        layers = below;
        if top.is_empty() {
            // Records that name each other as parents: not to be waited for.
            std::mem::swap(&mut top, &mut layers);
        }
        for layer in top {
            match LayerStore::delete(store, &layer.chain).await {
                Ok(()) => {
                    freed.bytes += layer.size;
                    freed.layers.push(layer.chain);
                }
                Err(e) => faults.note::<()>(Err(e)),
            }
        }
    }
    for (blob, size) in BlobStore::list(store).await? {
        if garbage(blob.as_str()) {
            match BlobStore::delete(store, &blob).await {
                Ok(()) => {
                    freed.bytes += size;
                    freed.blobs.push(blob);
                }
                Err(e) => faults.note::<()>(Err(e)),
            }
        }
    }
    drop(lock);
    faults.into_result().map(|()| freed)
}
