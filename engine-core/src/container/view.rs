//! The files of an image and of a container, to look into and to write to.

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::lock::ContainerLock;
use super::{Container, files, reconcile, start};
use crate::error::{Error, ErrorKind, Result};
use crate::id::ChainId;
use crate::parts::Parts;
use crate::spec::{MountKind, RootMount};
use crate::store::containers::ContainerRow;
use crate::store::{blocking, patience, volumes};
use crate::sys;
use crate::sys::beneath::RootDir;
use crate::sys::room::{Placed, Room};
use crate::volume::attach;

/// The root of the file tree that the layers make together. The host sees no mount.
pub(super) async fn of_chain(parts: &Parts, chain: &[ChainId]) -> Result<OwnedFd> {
    let mounts = parts.images.view(chain).await?;
    blocking(move || match mounts.as_slice() {
        [RootMount::Overlay { lower, upper: None, .. }] => {
            sys::overlay_view(&lower.iter().map(PathBuf::as_path).collect::<Vec<_>>())
        }
        [RootMount::Directory { path }] => sys::overlay_view(&[path]),
        _ => Err(unknown_mounts()),
    })
    .await
}

fn unknown_mounts() -> Error {
    Error::internal("a view of an image", "its store gave mounts that cannot be looked into")
}

/// The files of a container, its volumes among them.
pub(super) struct View {
    room: Room,
    /// Held while the container does not run: nobody starts or removes it meanwhile.
    _lock: Option<ContainerLock>,
}

impl View {
    /// Its root, to resolve names beneath: nothing else is safe where the container's processes rename things.
    pub(super) fn root(&self) -> Result<RootDir> {
        self.room.root()
    }
}

/// The files of a container: as its processes see them while it runs, else put together from what they consist of.
pub(super) async fn of_container(container: &Container) -> Result<View> {
    let parts = &container.parts;
    let deadline = patience();
    loop {
        let row = container.row().await?;
        if reconcile::running(parts, &row)?.is_some() {
            match parts.runtime.root(&reconcile::place(parts, &row)).await {
                Ok(root) => return Ok(View { room: Room::of(root), _lock: None }),
                // It is about to begin or to end.
                Err(e) if e.is(ErrorKind::Conflict) && std::time::Instant::now() < deadline => {}
                Err(e) => return Err(e),
            }
        }
        let lock = ContainerLock::take(parts, &container.id).await?;
        let Some((row, lock)) = reconcile::settle_locked(parts, &container.id, lock).await? else {
            return Err(container.gone());
        };
        if reconcile::running(parts, &row)?.is_none() {
            return stopped(parts, &row, lock).await;
        }
        drop(lock);
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

async fn stopped(parts: &Parts, row: &ContainerRow, lock: ContainerLock) -> Result<View> {
    let mounts = start::root(parts, row).await?;
    let placed = placed(parts, row).await;
    let read_only = row.record.spec.read_only;
    let room = match placed {
        Ok(placed) => blocking(move || Room::furnish(tree(&mounts)?, placed, read_only)).await,
        Err(e) => Err(e),
    };
    // What was mounted for this is held by the room now.
    let unmounted = attach::unmount(parts, &row.id).await;
    let room = room?;
    unmounted?;
    Ok(View { room, _lock: Some(lock) })
}

fn tree(mounts: &[RootMount]) -> Result<OwnedFd> {
    match mounts {
        [RootMount::Overlay { lower, upper: Some((upper, work)), .. }] => {
            sys::overlay_tree(&lower.iter().map(PathBuf::as_path).collect::<Vec<_>>(), upper, work)
        }
        [RootMount::Directory { path }] => Room::directory(path),
        _ => Err(unknown_mounts()),
    }
}

/// The container without what is mounted in it, read-only: layers, and what it has written. It may be running.
pub(super) async fn without_mounts(parts: &Parts, row: &ContainerRow) -> Result<OwnedFd> {
    let mounts = start::root(parts, row).await?;
    blocking(move || match mounts.as_slice() {
        [RootMount::Overlay { lower, upper: Some((upper, _)), .. }] => {
            let upper = std::iter::once(upper);
            sys::overlay_view(&upper.chain(lower).map(PathBuf::as_path).collect::<Vec<_>>())
        }
        [RootMount::Directory { path }] => sys::overlay_view(&[path]),
        _ => Err(unknown_mounts()),
    })
    .await
}

/// The volumes and the directories of the host that the container has, in the order in which they are mounted. What is
/// in memory is not there while it does not run, and neither is a directory of the host that is gone.
async fn placed(parts: &Parts, row: &ContainerRow) -> Result<Vec<Placed>> {
    let id = row.id.clone();
    let records = parts.store.read(move |tx| volumes::of_container(tx, &id)).await?;
    let mut placed = Vec::new();
    for mount in &row.record.spec.mounts {
        let (source, recursive) = match &mount.kind {
            MountKind::Volume(volume) => {
                let record = records.iter().find(|record| Some(&record.name) == volume.name.as_ref());
                let record = record.ok_or_else(|| {
                    Error::internal(format!("mount {}", mount.target), "its volume is not recorded")
                })?;
                (attach::mount(parts, record, &row.id).await?, true)
            }
            MountKind::Bind(bind) if exists(&bind.source).await => (bind.source.clone(), bind.recursive),
            MountKind::Bind(_) | MountKind::Tmpfs(_) => continue,
        };
        let (target, read_only) = (mount.target.clone(), mount.read_only);
        placed.push(Placed { source, target, read_only, recursive });
    }
    placed.sort_by_key(|placed| placed.target.trim_end_matches('/').matches('/').count());
    Ok(placed)
}

async fn exists(path: &Path) -> bool {
    let path = path.to_owned();
    blocking(move || Ok(path.exists())).await.unwrap_or(false)
}

/// Paths that the engine mounts something of its own on: a file or directory there that holds nothing was made for that.
pub(super) fn mount_points() -> Vec<PathBuf> {
    files::MOUNT_POINTS.iter().map(PathBuf::from).collect()
}
