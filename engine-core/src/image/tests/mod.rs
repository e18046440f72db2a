//! The service on the default store, against a registry in memory that does what it is told, and against real tools.

mod archives;
mod collecting;
mod fake;
mod imports;
mod names;
mod peers;
mod pulls;

use std::io::Write;
use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use serde_json::{Value, json};
use tempfile::TempDir;

use self::fake::Fake;
use super::Images;
use super::UnpackLimits;
use super::driver::{BlobStore, LayerStore};
use super::overlay::OverlayStore;
use crate::container::record::ContainerRecord;
use crate::error::{Error, Result};
use crate::id::{ContainerId, Digest, ImageId};
use crate::parts::Parts;
use crate::reference::Reference;
use crate::registry::driver::Registry;
use crate::runtime::choice::{Programs, Runtimes};
use crate::runtime::driver::{Bundle, Created, ExecBundle, ExitRecord, Place, Runtime, State};
use crate::runtime::session::Session;
use crate::spec::{AttachSpec, Compression, Signal, TerminalSize, Timestamp};
use crate::store::{Durability, Store, containers};

/// A store in a directory that goes with it.
pub(super) struct Bench {
    _directory: Option<TempDir>,
    pub(super) parts: Arc<Parts>,
    pub(super) images: Images,
}

impl Bench {
    pub(super) fn new(registry: Arc<dyn Registry>) -> Bench {
        let directory = tempfile::tempdir().expect("a directory");
        let bench = Bench::at(directory.path(), registry);
        Bench { _directory: Some(directory), ..bench }
    }

    /// Another engine on a store that is there, as another process has one.
    pub(super) fn at(root: &Path, registry: Arc<dyn Registry>) -> Bench {
        let store = Store::open(root).expect("a database");
        let images = OverlayStore::open(root, store.clone(), UnpackLimits::default()).expect("a store");
        let no_programs = Programs::new(Default::default(), None, |_, _| Ok(Arc::new(Nothing)));
        let parts = Arc::new(Parts {
            root: root.to_owned(),
            run_root: root.join("run"),
            store,
            images: Arc::new(images),
            registry,
            credentials: Default::default(),
            runtime: Arc::new(Nothing),
            runtimes: Arc::new(Runtimes::new(Arc::new(Nothing), Default::default(), no_programs)),
            networks: Default::default(),
            volumes: Default::default(),
            docker_config: None,
            host: Default::default(),
        });
        Bench { _directory: None, images: Images::new(Arc::clone(&parts)), parts }
    }

    pub(super) fn root(&self) -> &Path {
        &self.parts.root
    }

    pub(super) async fn pull(&self, name: &str) -> Result<ImageId> {
        self.images.pull(reference(name).into()).await
    }

    /// How many blobs and layers there are.
    pub(super) async fn content(&self) -> (usize, usize) {
        let blobs = BlobStore::list(&*self.parts.images).await.expect("lists").len();
        (blobs, LayerStore::list(&*self.parts.images).await.expect("lists").len())
    }

    /// Records a container of the image.
    pub(super) async fn container(&self, image: &ImageId, running: bool) -> ContainerId {
        let id = ContainerId::random().expect("random");
        let named = self.parts.images.get(image).await.expect("looks").expect("is there");
        let record = ContainerRecord {
            spec: crate::ContainerSpec::image(image.as_str()),
            image: Some(image.clone()),
            chain: named.image.chain(),
            image_labels: Default::default(),
        };
        self.parts
            .store
            .write_now(Durability::Relaxed, |tx| {
                let name = format!("c{}", id.short()).parse()?;
                containers::insert(tx, &id, &name, Timestamp::now(), &record)?;
                if running {
                    containers::begin_run(tx, &id, Timestamp::now())?;
                }
                Ok(())
            })
            .expect("is recorded");
        id
    }

    pub(super) fn remove_container(&self, id: &ContainerId) {
        self.parts.store.write_now(Durability::Relaxed, |tx| containers::delete(tx, id)).expect("is removed");
    }
}

pub(super) fn reference(name: &str) -> Reference {
    name.parse().expect("well formed")
}

/// A tar archive of files with this content.
pub(super) fn tar(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (path, content) in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        builder.append_data(&mut header, path, *content).expect("appends");
    }
    builder.into_inner().expect("ends")
}

pub(super) fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(bytes).expect("compresses");
    gzip.finish().expect("compresses")
}

/// Bytes that do not compress.
pub(super) fn noise(length: usize, mut seed: u64) -> Vec<u8> {
    std::iter::repeat_with(|| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 33) as u8
    })
    .take(length)
    .collect()
}

/// A layer in both of its forms.
#[derive(Clone)]
pub(super) struct Layer {
    pub(super) tar: Vec<u8>,
    pub(super) blob: Vec<u8>,
    pub(super) media_type: &'static str,
}

impl Layer {
    pub(super) fn new(tar: Vec<u8>, compression: Compression) -> Layer {
        let blob = match compression {
            Compression::Gzip => gzip(&tar),
            Compression::Zstd => zstd::encode_all(&*tar, 1).expect("compresses"),
            Compression::None => tar.clone(),
        };
        Layer { tar, blob, media_type: super::manifest::layer_type(compression) }
    }

    pub(super) fn digest(&self) -> Digest {
        Digest::of(&self.blob)
    }
}

/// A configuration for these layers.
pub(super) fn config(layers: &[Layer], more: Value) -> Vec<u8> {
    let diffs: Vec<Digest> = layers.iter().map(|layer| Digest::of(&layer.tar)).collect();
    let history: Vec<Value> = layers.iter().map(|_| json!({"created_by": "a step"})).collect();
    let mut config = json!({
        "architecture": "amd64", "os": "linux", "created": "2026-01-02T03:04:05Z", "config": {"Cmd": ["sh"]},
        "rootfs": {"type": "layers", "diff_ids": diffs}, "history": history,
    });
    if let (Value::Object(config), Value::Object(more)) = (&mut config, more) {
        config.extend(more);
    }
    config.to_string().into_bytes()
}

/// A runtime that nobody should ask.
struct Nothing;

fn nobody<T>() -> Result<T> {
    Err(Error::internal("runtime", "images have no use for it"))
}

#[async_trait]
impl Runtime for Nothing {
    async fn create(&self, _: Bundle) -> Result<Created> {
        nobody()
    }
    async fn start(&self, _: &Place) -> Result<()> {
        nobody()
    }
    async fn abandon(&self, _: &Place) -> Result<()> {
        nobody()
    }
    fn state(&self, _: &Place) -> Result<State> {
        nobody()
    }
    async fn attach(&self, _: &Place, _: AttachSpec) -> Result<Session> {
        nobody()
    }
    async fn kill(&self, _: &Place, _: Signal) -> Result<()> {
        nobody()
    }
    async fn wait(&self, _: &Place) -> Result<Option<ExitRecord>> {
        nobody()
    }
    async fn resize(&self, _: &Place, _: TerminalSize) -> Result<()> {
        nobody()
    }
    async fn exec(&self, _: &Place, _: ExecBundle) -> Result<Session> {
        nobody()
    }
    async fn root(&self, _: &Place) -> Result<std::os::fd::OwnedFd> {
        nobody()
    }
    async fn namespaces(
        &self,
        _: &Place,
        _: &[crate::runtime::driver::NamespaceKind],
    ) -> Result<Vec<std::os::fd::OwnedFd>> {
        nobody()
    }
    async fn usage(&self, _: &Place) -> Result<crate::runtime::usage::Usage> {
        nobody()
    }
    async fn update(&self, _: &Place, _: &oci_spec::runtime::LinuxResources) -> Result<()> {
        nobody()
    }
    async fn delete(&self, _: &Place) -> Result<()> {
        nobody()
    }
}

/// A registry with one image, `r.test/app:1`, of these layers.
fn app(layers: &[Layer]) -> Arc<Fake> {
    let fake = Fake::new();
    fake.image("1", layers, json!({}));
    fake
}
