//! Images in files: docker-archive and OCI layout, one tar each, read in one pass and written in one pass.
//!
//! An archive is as hostile as a registry, and less orderly: its files come in any order, a layer before the
//! configuration that says what it is. So everything that may be content goes into the blob store as it passes by,
//! under a hold; then the images are put together from blobs; and what no image needed is dropped again. A name in an
//! archive is only ever a key of a table here, never a path.

mod layout;
mod load;
mod save;
mod scan;
mod stream;

pub(super) use load::load;
pub(super) use save::save;
pub(super) use scan::{Cancel, Watch, ingest, spool, unnamed};
pub(crate) use stream::open;
pub(super) use stream::{decoder, refuse_others};

/// The names of an image in an OCI layout's index.
const CONTAINERD_NAME: &str = "io.containerd.image.name";
const REF_NAME: &str = "org.opencontainers.image.ref.name";
const OCI_LAYOUT: &[u8] = br#"{"imageLayoutVersion":"1.0.0"}"#;

/// An image of a docker-archive, as `manifest.json` lists it.
#[derive(Clone, Debug, serde::Deserialize, serde::Serialize)]
#[serde(rename_all = "PascalCase")]
struct DockerImage {
    config: String,
    repo_tags: Option<Vec<String>>,
    layers: Option<Vec<String>>,
}
