//! Holding a container still, and letting it go on. Under the container's lock: of two who pause it, one is told that
//! it is paused already.

use super::lock::ContainerLock;
use super::reconcile::Living;
use super::{Container, facts, reconcile};
use crate::error::{Error, ErrorKind, Result};
use crate::store::containers::ContainerRow;

/// Holds it still.
pub(super) async fn pause(container: &Container) -> Result<()> {
    let parts = &container.parts;
    let (row, living, _lock) = living(container).await?;
    match living {
        None => Err(conflict(container, "it is not running").with_remedy("start it first")),
        Some(living) if living.paused => Err(conflict(container, "it is already paused")),
        Some(living) if living.is_restarting() => {
            Err(conflict(container, "it is restarting, wait until the container is running"))
        }
        Some(_) => {
            parts.runtime.pause(&reconcile::place(parts, &row)).await?;
            facts::tell(parts, &row, "pause", &[]);
            Ok(())
        }
    }
}

/// Lets it go on.
pub(super) async fn unpause(container: &Container) -> Result<()> {
    let parts = &container.parts;
    let (row, living, _lock) = living(container).await?;
    match living {
        Some(living) if living.paused => {
            parts.runtime.resume(&reconcile::place(parts, &row)).await?;
            facts::tell(parts, &row, "unpause", &[]);
            Ok(())
        }
        _ => Err(conflict(container, "it is not paused")),
    }
}

/// Holds it still while something is done that its program must not disturb, if it runs and is not held already:
/// whether it was is the answer, and then [`release`] follows.
pub(super) async fn hold(container: &Container) -> Result<bool> {
    match pause(container).await {
        Ok(()) => Ok(true),
        Err(e) if e.is(ErrorKind::Conflict) => Ok(false),
        Err(e) => Err(e),
    }
}

/// Lets it go on after [`hold`]. Somebody else may have, or ended it.
pub(super) async fn release(container: &Container) -> Result<()> {
    match unpause(container).await {
        Err(e) if matches!(e.kind(), ErrorKind::Conflict | ErrorKind::NotFound) => Ok(()),
        result => result,
    }
}

/// The container with what it is doing, and its lock.
async fn living(container: &Container) -> Result<(ContainerRow, Option<Living>, ContainerLock)> {
    let (parts, id) = (&container.parts, &container.id);
    let lock = ContainerLock::take(parts, id).await?;
    let (row, lock) = reconcile::settle_locked(parts, id, lock).await?.ok_or_else(|| container.gone())?;
    let living = reconcile::told(parts, &row)?;
    Ok((row, living, lock))
}

fn conflict(container: &Container, reason: &str) -> Error {
    Error::new(ErrorKind::Conflict, container.subject()).because(reason)
}
