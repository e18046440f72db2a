//! The files of an image, seen without a container.

use std::os::fd::OwnedFd;
use std::path::PathBuf;

use crate::error::{Error, Result};
use crate::id::ChainId;
use crate::parts::Parts;
use crate::spec::RootMount;
use crate::store::blocking;
use crate::sys;

/// The root of the file tree that the layers make together. The host sees no mount.
pub(super) async fn of_chain(parts: &Parts, chain: &[ChainId]) -> Result<OwnedFd> {
    let mounts = parts.images.view(chain).await?;
    blocking(move || match mounts.as_slice() {
        [RootMount::Overlay { lower, upper: None, .. }] => {
            sys::overlay_view(&lower.iter().map(PathBuf::as_path).collect::<Vec<_>>())
        }
        [RootMount::Directory { path }] => sys::overlay_view(&[path]),
        _ => Err(Error::internal("a view of an image", "its store gave mounts that cannot be looked into")),
    })
    .await
}
