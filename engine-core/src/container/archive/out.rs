//! Out of a container.

use super::path::Found;
use super::pipe::{ArchiveStream, pipe};
use crate::container::{Container, view};
use crate::error::{Result, Subject};
use crate::image::tar::{Packer, Plain};
use crate::store::blocking;

use std::os::fd::AsFd;

use rustix::fs::{Mode, OFlags};

use super::info::PathStat;

/// What is at `path` of the container.
pub(in crate::container) async fn stat_path(container: &Container, path: &str) -> Result<PathStat> {
    let view = view::of_container(container).await?;
    let (path, name) = (path.to_owned(), container.name.clone());
    blocking(move || {
        let root = view.root()?;
        Found::find(&root, &path, name.as_str())?.describe(&root)
    })
    .await
}

/// What is at `path` of the container, as an archive.
pub(in crate::container) async fn copy_out(container: &Container, path: &str) -> Result<ArchiveStream> {
    let view = view::of_container(container).await?;
    let (path, name) = (path.to_owned(), container.name.clone());
    let (inlet, outlet) = pipe();
    let (stat, found, view) = blocking(move || {
        let root = view.root()?;
        let found = Found::find(&root, &path, name.as_str())?;
        Ok((found.describe(&root)?, found, view))
    })
    .await?;
    // Nobody waits for it: it ends with the archive, or when nobody reads that any more.
    drop(tokio::task::spawn_blocking(move || {
        inlet.fill(|inlet| {
            let mut packer = Packer::new(inlet, Plain::<true>);
            packer.add(found.parent.as_fd(), &found.name, &found.base)?;
            packer.finish().map(drop)
        });
        drop(view);
    }));
    Ok(ArchiveStream::new(Some(stat), outlet))
}

/// All files of the container but those that are mounted in it, as an archive.
pub(in crate::container) async fn export(container: &Container) -> Result<ArchiveStream> {
    let row = container.row().await?;
    let tree = view::without_mounts(&container.parts, &row).await?;
    let (inlet, outlet) = pipe();
    drop(tokio::task::spawn_blocking(move || {
        inlet.fill(|inlet| {
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
            let root = rustix::fs::openat(&tree, c".", flags, Mode::empty())
                .subject(|| "the root of a container".to_owned())?;
            let mut packer = Packer::new(inlet, Plain::<false>);
            packer.tree(root.as_fd(), None)?;
            packer.finish().map(drop)
        });
    }));
    Ok(ArchiveStream::new(None, outlet))
}
