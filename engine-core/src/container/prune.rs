//! Removing the containers that do not run.

use std::sync::Arc;

use super::lock::ContainerLock;
use super::{facts, reconcile, remove};
use crate::error::Result;
use crate::id::ContainerId;
use crate::parts::Parts;
use crate::spec::Filter;
use crate::store::containers;

/// What a prune of containers did.
#[derive(Clone, Debug, Default)]
pub struct ContainerPruneReport {
    /// The containers removed.
    pub deleted: Vec<ContainerId>,
    /// The bytes freed.
    pub reclaimed: u64,
}

pub(super) async fn prune(parts: &Arc<Parts>, filter: &Filter) -> Result<ContainerPruneReport> {
    filter.allow(&["label", "label!", "until"])?;
    let until = filter.until()?;
    let rows = parts.store.read(containers::list).await?;
    let mut report = ContainerPruneReport::default();
    for row in rows {
        if !filter.labels(&facts::labels(&row.record)) || until.is_some_and(|until| row.created >= until) {
            continue;
        }
        // One that somebody is at work on is in use.
        let Some(lock) = ContainerLock::try_take(parts, &row.id)? else { continue };
        let Some((row, lock)) = reconcile::settle_locked(parts, &row.id, lock).await? else { continue };
        if reconcile::running(parts, &row)?.is_some() {
            continue;
        }
        let freed = parts.images.written(row.id.as_str()).await?;
        remove::erase(parts, &row, false, reconcile::Ending::Unknown, lock).await?;
        report.deleted.push(row.id);
        report.reclaimed += freed;
    }
    Ok(report)
}
