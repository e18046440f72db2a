//! Waiting for a container, by docker's conditions.

use std::time::Duration;

use super::{Container, reconcile, stop};
use crate::error::Result;
use crate::runtime::driver::ExitRecord;
use crate::spec::WaitCondition;
use crate::store::containers::ContainerRow;

/// How often it is looked whether something was done by another process, which nobody tells of.
const PAUSE: Duration = Duration::from_millis(100);

/// Waits until the condition holds, and gives how the program ended.
pub(super) async fn wait(container: &Container, condition: WaitCondition) -> Result<ExitRecord> {
    match condition {
        WaitCondition::NotRunning => stop::wait(container).await,
        WaitCondition::NextExit => next_exit(container).await,
        WaitCondition::Removed => removed(container).await,
    }
}

/// Waits for the next end of the program; first for its start, if need be.
async fn next_exit(container: &Container) -> Result<ExitRecord> {
    let before = container.settled().await?.ok_or_else(|| container.gone())?;
    let runs = |row: &ContainerRow| Ok(reconcile::running(&container.parts, row)?.is_some());
    if runs(&before)? {
        return stop::wait(container).await;
    }
    loop {
        tokio::time::sleep(PAUSE).await;
        let row = container.row().await?;
        // A run that is over already was the next one, too; one that only begins may come to nothing.
        let over = row.run > before.run && row.finished.is_some();
        if over || runs(&row)? {
            return stop::wait(container).await;
        }
    }
}

/// Waits until it is gone.
async fn removed(container: &Container) -> Result<ExitRecord> {
    let mut exit = stop::wait(container).await?;
    // One that was to remove itself is gone by now.
    while let Some(row) = reconcile::row(&container.parts, &container.id).await? {
        if reconcile::may_run(&row) {
            // It may be gone before it is looked at again.
            exit = stop::wait(container).await.unwrap_or(exit);
        }
        tokio::time::sleep(PAUSE).await;
    }
    Ok(exit)
}
