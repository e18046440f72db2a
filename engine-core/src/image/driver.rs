//! The contract of an image store.
//!
//! An image store is three small stores. *Blobs* are content by digest, exactly as a registry sent it. *Layers* are
//! unpacked file trees, each on top of a chain of parents, and the writable trees of containers on top of them.
//! *Tags* know which images there are and what they are called.
//!
//! **Life of a blob.** [`BlobStore::begin`] gives a writer, at most one per digest and machine at a time; a second
//! one waits. The writer begins where an interrupted one stopped. Bytes are appended; [`BlobWriter::finish`] checks
//! size and digest, makes them durable, and then the blob *is there*, for all processes at once; before, it is not.
//! A writer that is dropped keeps what it has for the next one. [`BlobStore::delete`] makes it *not there*.
//!
//! **Life of a layer.** [`LayerStore::apply`] unpacks a tar stream; when it returns, the layer *is there*, whole and
//! verified; if it fails, nothing of it is. [`LayerStore::prepare`] gives a container (the key) a writable tree on
//! top of a chain; the same key again gives the same tree with its content. [`LayerStore::discard`] throws the tree
//! away; a key that has none is fine. A layer under a prepared tree must not be deleted; the service sees to it.
//!
//! [`LayerStore::capture`] makes a layer the other way round, out of such a tree: it is copied or taken away, its archive
//! is written, and when the digest of that is known it *is there*, without being unpacked.
//!
//! **Life of an image.** [`TagStore::put`] records an image and gives it names, in one step; a name that pointed
//! elsewhere now points here. Its blobs and layers must be there before. [`TagStore::forget`] makes it unknown;
//! blobs and layers that nothing reaches any more are found by comparing [`TagStore::images`] with
//! [`BlobStore::list`] and [`LayerStore::list`].

use std::io::{Read, Write};
use std::path::PathBuf;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::id::{ChainId, DiffId, Digest, ImageId};
use crate::reference::Reference;
use crate::spec::{Compression, Platform, RootMount, Timestamp};

/// Content by digest.
#[async_trait]
pub trait BlobStore: Send + Sync {
    /// The size of the blob in bytes, or `None` if it is not there.
    async fn stat(&self, digest: &Digest) -> Result<Option<u64>>;

    /// The blob's bytes from `offset` on. Reading blocks.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`](crate::ErrorKind::NotFound) if it is not there.
    async fn read(&self, digest: &Digest, offset: u64) -> Result<Box<dyn Read + Send>>;

    /// A writer for the blob with this digest and size, which begins where an interrupted one stopped. Waits while
    /// another writer, in any process, is at the same blob.
    async fn begin(&self, digest: &Digest, size: u64) -> Result<Box<dyn BlobWriter>>;

    /// Makes the blob not be there. That it was not there is no error.
    async fn delete(&self, digest: &Digest) -> Result<()>;

    /// All blobs with their sizes.
    async fn list(&self) -> Result<Vec<(Digest, u64)>>;

    /// Throws away what interrupted writers left that nobody is at any more; gives the bytes freed.
    async fn sweep(&self) -> Result<u64>;
}

/// Appends to one blob. All calls block.
pub trait BlobWriter: Send {
    /// How many bytes are there already.
    fn offset(&self) -> u64;

    /// Reads those bytes, for whoever has to see the whole content.
    fn existing(&self) -> Result<Box<dyn Read + Send>>;

    /// Appends.
    ///
    /// # Errors
    /// [`ErrorKind::Corrupt`](crate::ErrorKind::Corrupt) as soon as there are more bytes than announced.
    fn write(&mut self, bytes: &[u8]) -> Result<()>;

    /// Begins again at offset 0: what was there did not turn out to be the beginning of this blob.
    fn restart(&mut self) -> Result<()>;

    /// Checks size and digest, makes the blob durable and then visible. If another writer has finished the same
    /// blob meanwhile, that is fine.
    ///
    /// # Errors
    /// [`ErrorKind::Corrupt`](crate::ErrorKind::Corrupt) if they do not match; then nothing is kept.
    fn finish(self: Box<Self>) -> Result<()>;
}

/// A layer to unpack.
pub struct LayerSource {
    /// The chain it goes on top of; `None` for a base layer.
    pub parent: Option<ChainId>,
    /// The digest of the uncompressed stream, which is checked.
    pub diff_id: DiffId,
    /// How the stream is compressed.
    pub compression: Compression,
    /// The stream.
    pub stream: Box<dyn Read + Send>,
}

/// A layer that is there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LayerRecord {
    /// Its chain.
    pub chain: ChainId,
    /// The chain below it.
    pub parent: Option<ChainId>,
    /// The digest of its uncompressed tar stream.
    pub diff_id: DiffId,
    /// The bytes of its files.
    pub size: u64,
}

/// What a writable tree is on top of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Base {
    /// A chain of layers, base first.
    Chain(Vec<ChainId>),
    /// A directory of the host.
    Directory(PathBuf),
}

/// How a container changed something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ChangeKind {
    /// Its content or its attributes; of a directory, or something in it.
    Modified,
    /// It was not there.
    Added,
    /// It is not there any more.
    Deleted,
}

/// Something that a container changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// Where: an absolute path in the container.
    pub path: PathBuf,
    /// How.
    pub kind: ChangeKind,
}

/// How to make a layer of a writable tree.
#[derive(Clone, Debug, Default)]
pub struct CaptureSpec {
    /// The chain that the tree is on top of, base first.
    pub chain: Vec<ChainId>,
    /// Take the tree away from its container, which is thrown away next, instead of copying it.
    pub take: bool,
    /// Paths that the engine mounts something on. An empty file or directory there that the layers below do not have
    /// was made for that, and is not part of the layer.
    pub mount_points: Vec<PathBuf>,
}

/// A tree that becomes a layer; nobody else is at it any more. All calls block. Dropping it throws it away.
pub trait CapturedLayer: Send {
    /// Writes its archive: an uncompressed tar stream with whiteouts in OCI's form. The same tree gives the same bytes.
    fn pack(&mut self, to: &mut dyn Write) -> Result<()>;

    /// Makes it the layer with the digest `diff_id`, which is that of what [`CapturedLayer::pack`] wrote: durable, then
    /// visible. That the layer is there already is fine.
    fn finish(self: Box<Self>, diff_id: &DiffId) -> Result<LayerRecord>;
}

/// Unpacked layers and the writable trees on top of them.
#[async_trait]
pub trait LayerStore: Send + Sync {
    /// Whether the layer is there.
    async fn has(&self, chain: &ChainId) -> Result<bool>;

    /// Unpacks a layer on top of its parent, which need not be there yet. A layer that is there already is left as
    /// it is, and the stream is not read to its end.
    ///
    /// # Errors
    /// [`ErrorKind::Corrupt`](crate::ErrorKind::Corrupt) if the stream is not the one announced or no proper
    /// archive; [`ErrorKind::LimitExceeded`](crate::ErrorKind::LimitExceeded) if it holds more than the store's
    /// limits allow; [`ErrorKind::OutOfSpace`](crate::ErrorKind::OutOfSpace). Nothing of the layer is left then.
    async fn apply(&self, layer: LayerSource) -> Result<LayerRecord>;

    /// A writable tree for `key` on top of `chain`: the mounts that make it, outermost first.
    /// `volatile` says that it will be thrown away when it is unmounted.
    async fn prepare(&self, key: &str, chain: &[ChainId], volatile: bool) -> Result<Vec<RootMount>>;

    /// The same on top of a directory of the host instead of a chain.
    async fn prepare_on(&self, key: &str, lower: PathBuf, volatile: bool) -> Result<Vec<RootMount>>;

    /// A read-only view of `chain`.
    async fn view(&self, chain: &[ChainId]) -> Result<Vec<RootMount>>;

    /// Throws away the tree of `key`. That there is none is no error.
    async fn discard(&self, key: &str) -> Result<()>;

    /// Deletes the layer. That it is not there is no error.
    async fn delete(&self, chain: &ChainId) -> Result<()>;

    /// All layers.
    async fn list(&self) -> Result<Vec<LayerRecord>>;

    /// The bytes that the container `key` has written.
    async fn written(&self, key: &str) -> Result<u64>;

    /// What the container `key` changed of what its tree is on top of, sorted by path. For `mount_points` see
    /// [`CaptureSpec::mount_points`]. The container may be running.
    async fn changes(&self, key: &str, base: &Base, mount_points: &[PathBuf]) -> Result<Vec<Change>>;

    /// Begins to make a layer of the tree of `key`. When this returns, the container may go on.
    async fn capture(&self, key: &str, spec: CaptureSpec) -> Result<Box<dyn CapturedLayer>>;

    /// Throws away what interrupted work left that nobody is at any more; gives the number of trees removed.
    async fn sweep(&self) -> Result<usize>;
}

/// A layer of an image. It is what the manifest says, unless the store had the same content already in a blob that is
/// compressed otherwise: then it is that one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageLayer {
    /// The digest of the blob.
    pub blob: Digest,
    /// The blob's media type.
    pub media_type: String,
    /// The blob's size in bytes.
    pub size: u64,
    /// The digest of the uncompressed tar stream.
    pub diff_id: DiffId,
}

/// An image that is there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageRecord {
    /// The digest of the configuration.
    pub id: ImageId,
    /// The digest of the manifest, byte for byte as it was received or made; a blob of the store.
    pub manifest: Digest,
    /// The media type of the manifest.
    pub media_type: String,
    /// The platform it is for.
    pub platform: Platform,
    /// Its layers, base first.
    pub layers: Vec<ImageLayer>,
    /// The configuration, byte for byte.
    pub config: String,
    /// When it was built, by its own account.
    pub created: Option<Timestamp>,
    /// The bytes of the files of all its layers.
    pub size: u64,
}

impl ImageRecord {
    /// The chain of its layers, base first.
    pub fn chain(&self) -> Vec<ChainId> {
        let diffs: Vec<DiffId> = self.layers.iter().map(|layer| layer.diff_id.clone()).collect();
        ChainId::chain(&diffs)
    }
}

/// An image and what it is called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamedImage {
    /// The image.
    pub image: ImageRecord,
    /// Its tags.
    pub tags: Vec<Reference>,
    /// The digests it was pulled by: repository and digest of the manifest or index.
    pub digests: Vec<Reference>,
    /// When it was last given a name.
    pub tagged: Option<Timestamp>,
}

/// Which images there are and what they are called.
#[async_trait]
pub trait TagStore: Send + Sync {
    /// The image that `reference` names, by tag or by the digest it was pulled by.
    async fn resolve(&self, reference: &Reference) -> Result<Option<ImageRecord>>;

    /// The images whose identifier begins with `prefix` (hexadecimal digits): none, one, or several if it is
    /// ambiguous.
    async fn by_prefix(&self, prefix: &str) -> Result<Vec<ImageRecord>>;

    /// Records the image and points the names at it, in one step.
    async fn put(&self, image: &ImageRecord, names: &[Reference]) -> Result<()>;

    /// Takes a name away. Gives the image it pointed at, or `None` if there was no such name.
    async fn untag(&self, reference: &Reference) -> Result<Option<ImageId>>;

    /// The image and all its names, by identifier.
    async fn get(&self, id: &ImageId) -> Result<Option<NamedImage>>;

    /// All images with their names, newest first.
    async fn images(&self) -> Result<Vec<NamedImage>>;

    /// Forgets the image and all its names. That it is not known is no error.
    async fn forget(&self, id: &ImageId) -> Result<()>;
}

/// Everything an engine needs of an image store: implement the three parts.
pub trait ImageStore: BlobStore + TagStore + LayerStore {}

impl<T: BlobStore + TagStore + LayerStore> ImageStore for T {}
