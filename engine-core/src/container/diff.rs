//! What a container has changed of its image.

use super::{Container, view};
use crate::error::{Error, ErrorKind, Result};
use crate::image::driver::{Base, Change};
use crate::spec::RootSource;

/// The changes, sorted by path.
pub(super) async fn diff(container: &Container) -> Result<Vec<Change>> {
    let row = container.row().await?;
    let base = match &row.record.spec.root {
        RootSource::Image(_) => Base::Chain(row.record.chain.clone()),
        RootSource::Directory { path, overlay: true } => Base::Directory(path.clone()),
        RootSource::Directory { overlay: false, .. } => {
            return Err(Error::new(ErrorKind::Unsupported, container.subject())
                .because("it writes to a directory of the host, of which nobody knows what it was before")
                .with_remedy("run it on a layer of its own: --rootfs PATH:O"));
        }
    };
    container.parts.images.changes(row.id.as_str(), &base, &view::mount_points()).await
}
