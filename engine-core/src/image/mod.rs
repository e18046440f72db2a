//! Images: what the engine knows how to run.

mod archive;
mod blobs;
pub(crate) mod changes;
pub(crate) mod commit;
pub mod config;
#[cfg(any(test, feature = "conformance"))]
pub mod conformance;
pub mod driver;
mod facts;
mod feed;
pub(crate) mod gc;
mod history;
pub(crate) mod hold;
mod import;
mod info;
mod inspect;
mod layers;
mod limits;
mod list;
pub(crate) mod manifest;
pub(crate) mod overlay;
mod pattern;
mod prune;
pub(crate) mod pull;
mod remote;
mod remove;
pub(crate) mod resolve;
mod select;
mod tag;
pub(crate) mod tar;
#[cfg(test)]
mod tests;
mod transfer;

pub(crate) use archive::open as open_archive;
pub use driver::{Change, ChangeKind};

use std::io::{Read, Write};
use std::sync::Arc;

pub use info::{
    HistoryEntry, ImageInfo, ImageListSpec, ImagePruneReport, ImageRemoveReport, ImageSummary, ImportSpec,
    PullSpec, SaveFormat,
};
pub use limits::UnpackLimits;

use crate::error::Result;
use crate::event::{EventKind, LoadEvent, Operation, PullEvent};
use crate::id::ImageId;
use crate::parts::Parts;
use crate::reference::Reference;
use crate::registry::driver::Credential;
use crate::spec::{Filter, Platform};

/// The images of an engine.
#[derive(Clone)]
pub struct Images {
    parts: Arc<Parts>,
}

impl Images {
    pub(crate) fn new(parts: Arc<Parts>) -> Images {
        Images { parts }
    }

    /// Fetches an image from its registry and unpacks it. The result is its identifier.
    pub fn pull(&self, pull: PullSpec) -> Operation<PullEvent, ImageId> {
        let parts = Arc::clone(&self.parts);
        Operation::new(
            |reporter| async move { pull::pull(parts, pull, reporter).await.map(|image| image.id) },
        )
    }

    /// The tags that the registry has of the repository, in its order.
    pub async fn remote_tags(
        &self,
        repository: &Reference,
        credential: Option<Credential>,
    ) -> Result<Vec<String>> {
        let mut wish = PullSpec::new(repository.clone());
        wish.credential = credential;
        remote::Remote::of(&self.parts, &wish).await.tags().await
    }

    /// The image of that reference, identifier, or beginning of an identifier.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`](crate::ErrorKind::NotFound), [`Conflict`](crate::ErrorKind::Conflict) if several
    /// identifiers begin so.
    pub async fn inspect(&self, name: &str) -> Result<ImageInfo> {
        inspect::inspect(&self.parts, name).await
    }

    /// The images that the wish selects, newest first.
    pub async fn list(&self, list: &ImageListSpec) -> Result<Vec<ImageSummary>> {
        list::list(&self.parts, list).await
    }

    /// How the image came to be, newest step first.
    pub async fn history(&self, name: &str) -> Result<Vec<HistoryEntry>> {
        history::history(&self.parts, name).await
    }

    /// Gives the image another name.
    pub async fn tag(&self, name: &str, tag: &Reference) -> Result<()> {
        tag::tag(&self.parts, name, tag).await
    }

    /// Takes a name away, and the image with its last name. By identifier, all its names, with `force`.
    pub async fn remove(&self, name: &str, force: bool) -> Result<ImageRemoveReport> {
        remove::remove(&self.parts, name, force).await
    }

    /// Removes images that no container uses: those without a name, or with the filter `dangling=false` all.
    pub async fn prune(&self, filter: &Filter) -> Result<ImagePruneReport> {
        let report = prune::prune(&self.parts, filter).await?;
        self.parts.tell_prune(EventKind::Image, report.reclaimed);
        Ok(report)
    }

    /// Loads images from an archive: docker-archive or OCI layout, compressed or not.
    pub fn load(
        &self,
        archive: Box<dyn Read + Send>,
        platform: Option<Platform>,
    ) -> Operation<LoadEvent, Vec<ImageId>> {
        let parts = Arc::clone(&self.parts);
        Operation::new(|reporter| archive::load(parts, archive, platform, reporter))
    }

    /// Writes images, with all their names or the names given, to an archive.
    pub async fn save(&self, names: &[String], format: SaveFormat, to: Box<dyn Write + Send>) -> Result<()> {
        archive::save(&self.parts, names, format, to).await
    }

    /// Makes an image of one layer from a tar archive of a root file system.
    pub async fn import(&self, archive: Box<dyn Read + Send>, import: ImportSpec) -> Result<ImageId> {
        import::import(&self.parts, archive, import).await
    }
}
