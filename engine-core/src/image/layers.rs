//! The layers of one image: brought into the store, each from the nearest place that has it.
//!
//! A layer of an image is two things in the store: the *blob*, as a registry sends it, and the unpacked *tree* on top
//! of its parents. What is there is left alone; a tree without a blob, or a blob without a tree, is completed from the
//! other side. A blob with another digest but the same content once it is decompressed is as good as the one of the
//! manifest, so the same layer is never fetched twice because somebody compressed it again.

use std::collections::HashMap;
use std::io::Read;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use futures_util::stream::{StreamExt, TryStreamExt};

use super::blobs;
use super::driver::{ImageLayer, ImageStore, LayerSource};
use super::remote::Remote;
use super::transfer::Transfer;
use crate::error::{Error, ErrorKind, Result};
use crate::event::{PullEvent, Reporter};
use crate::id::{ChainId, DiffId, Digest};
use crate::spec::{Compression, Descriptor};

/// How many layers are worked on at the same time.
const PARALLEL: usize = 4;

/// A layer that an image needs.
#[derive(Clone, Debug)]
pub(super) struct Wanted {
    /// The blob that the manifest names.
    pub(super) blob: Descriptor,
    pub(super) diff_id: DiffId,
    pub(super) parent: Option<ChainId>,
    pub(super) chain: ChainId,
}

/// The layers of a manifest together with what the configuration calls them.
///
/// # Errors
/// [`ErrorKind::Corrupt`] if they are not equally many.
pub(super) fn pair(subject: &str, blobs: &[Descriptor], diffs: &[DiffId]) -> Result<Vec<Wanted>> {
    if blobs.len() != diffs.len() {
        return Err(Error::new(ErrorKind::Corrupt, subject).because(format!(
            "its manifest has {} layers, its configuration {}",
            blobs.len(),
            diffs.len()
        )));
    }
    let chains = ChainId::chain(diffs);
    let parents = std::iter::once(None).chain(chains.iter().cloned().map(Some));
    Ok(blobs
        .iter()
        .zip(diffs)
        .zip(chains.iter().zip(parents))
        .map(|((blob, diff), (chain, parent))| Wanted {
            blob: blob.clone(),
            diff_id: diff.clone(),
            parent,
            chain: chain.clone(),
        })
        .collect())
}

/// Which blobs of the store hold which layers, by their content once decompressed.
pub(super) type Equals = HashMap<DiffId, Vec<ImageLayer>>;

/// The blobs that images of the store have for these layers.
pub(super) async fn equals(store: &dyn ImageStore, stack: &[Wanted]) -> Result<Equals> {
    let mut equals: Equals = stack.iter().map(|wanted| (wanted.diff_id.clone(), Vec::new())).collect();
    for named in store.images().await? {
        for layer in named.image.layers {
            if let Some(found) = equals.get_mut(&layer.diff_id)
                && !found.contains(&layer)
            {
                found.push(layer);
            }
        }
    }
    Ok(equals)
}

/// One blob and the places in the stack whose trees come out of it.
struct Job<'a> {
    blob: Descriptor,
    fetch: bool,
    /// Trees that are missing.
    trees: Vec<&'a Wanted>,
}

/// Sees to it that all layers of the stack are there, and gives what they are in the store. What is missing comes from
/// `remote`; where there is none, it must be there already as a blob. The caller holds blobs and chains.
pub(super) async fn ensure(
    store: &dyn ImageStore,
    remote: Option<&Remote>,
    stack: &[Wanted],
    equals: &Equals,
    reporter: &Reporter<PullEvent>,
) -> Result<Vec<ImageLayer>> {
    let mut layers = Vec::with_capacity(stack.len());
    let mut jobs: Vec<Job<'_>> = Vec::new();
    for wanted in stack {
        let found = nearest(store, wanted, equals).await?;
        let tree = store.has(&wanted.chain).await?;
        let layer = found.clone().unwrap_or_else(|| as_layer(&wanted.blob, &wanted.diff_id));
        if found.is_some() && tree {
            reporter.tell(PullEvent::Exists { layer: wanted.blob.digest.clone() });
        } else {
            let job = match jobs.iter_mut().find(|job| job.blob.digest == layer.blob) {
                Some(job) => job,
                None => {
                    let blob = Descriptor::new(&*layer.media_type, layer.blob.clone(), layer.size);
                    jobs.push(Job { blob, fetch: found.is_none(), trees: Vec::new() });
                    jobs.last_mut().ok_or_else(|| Error::internal("layers", "a job got lost"))?
                }
            };
            if !tree {
                job.trees.push(wanted);
            }
        }
        layers.push(layer);
    }
    let work: Vec<BoxFuture<'_, Result<()>>> =
        jobs.into_iter().map(|job| job.run(store, remote, reporter).boxed()).collect();
    futures_util::stream::iter(work).buffer_unordered(PARALLEL).try_collect::<Vec<()>>().await?;
    Ok(layers)
}

fn as_layer(blob: &Descriptor, diff_id: &DiffId) -> ImageLayer {
    ImageLayer {
        blob: blob.digest.clone(),
        media_type: blob.media_type.clone(),
        size: blob.size,
        diff_id: diff_id.clone(),
    }
}

/// The blob of the store that holds the layer: the manifest's own, or one that is equal to it.
async fn nearest(store: &dyn ImageStore, wanted: &Wanted, equals: &Equals) -> Result<Option<ImageLayer>> {
    let own = as_layer(&wanted.blob, &wanted.diff_id);
    let others = equals.get(&wanted.diff_id).into_iter().flatten();
    for layer in std::iter::once(&own).chain(others) {
        if let Some(size) = store.stat(&layer.blob).await? {
            if size == layer.size {
                return Ok(Some(layer.clone()));
            }
            if layer.blob == own.blob {
                return Err(Error::new(ErrorKind::Corrupt, format!("layer {}", own.blob))
                    .because(format!("the manifest gives it {} bytes, but it has {size}", own.size)));
            }
        }
    }
    Ok(None)
}

impl Job<'_> {
    async fn run(
        self,
        store: &dyn ImageStore,
        remote: Option<&Remote>,
        reporter: &Reporter<PullEvent>,
    ) -> Result<()> {
        let mut trees = self.trees.as_slice();
        if self.fetch {
            let remote = remote.ok_or_else(|| missing(&self.blob))?;
            let tree = trees.first().copied();
            if (Transfer { store, remote, blob: &self.blob, tree, reporter }).run().await? {
                trees = trees.get(1..).unwrap_or_default();
            }
        }
        for tree in trees {
            unpack(store, &self.blob.digest, tree).await?;
        }
        reporter.tell(PullEvent::Complete { layer: self.blob.digest });
        Ok(())
    }
}

fn missing(blob: &Descriptor) -> Error {
    Error::new(ErrorKind::NotFound, format!("layer {}", blob.digest))
        .because("it is neither given nor in the store")
}

/// Unpacks a blob of the store.
async fn unpack(store: &dyn ImageStore, blob: &Digest, tree: &Wanted) -> Result<()> {
    let (compression, stream) = blobs::open(store, blob).await?;
    store.apply(source(tree, compression, stream)).await.map(drop)
}

pub(super) fn source(tree: &Wanted, compression: Compression, stream: Box<dyn Read + Send>) -> LayerSource {
    LayerSource { parent: tree.parent.clone(), diff_id: tree.diff_id.clone(), compression, stream }
}
