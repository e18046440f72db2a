//! Containers that are started again: the policy, and what it means where no monitor lives to obey it.

use std::sync::Arc;

use super::lock::ContainerLock;
use super::{Container, reconcile};
use crate::error::{Error, ErrorKind, Result};
use crate::id::ContainerName;
use crate::parts::Parts;
use crate::runtime::driver::Place;
use crate::spec::RestartPolicy;
use crate::store::Durability;
use crate::store::containers::{self, ContainerRow};

/// A container that was to be started, and how that went.
pub(crate) type Attempt = (ContainerName, Result<()>);

/// Refuses a policy for a container that is to be gone when it has ended.
pub(super) fn check(policy: RestartPolicy, auto_remove: bool) -> Result<()> {
    if policy != RestartPolicy::No && auto_remove {
        return Err(Error::new(ErrorKind::InvalidInput, format!("restart policy {policy}"))
            .because("can't create 'AutoRemove' container with restart policy")
            .with_remedy("leave one of the two out"));
    }
    Ok(())
}

/// Changes the policy, of a container that lives as well.
pub(super) async fn set_policy(container: &Container, policy: RestartPolicy) -> Result<()> {
    let (parts, id) = (&container.parts, &container.id);
    let lock = ContainerLock::take(parts, id).await?;
    let (mut row, _lock) =
        reconcile::settle_locked(parts, id, lock).await?.ok_or_else(|| container.gone())?;
    check(policy, row.record.spec.auto_remove)?;
    row.record.spec.restart = policy;
    let (id, record) = (row.id.clone(), row.record.clone());
    parts.store.write(Durability::Full, move |tx| containers::set_record(tx, &id, &record)).await?;
    if reconcile::running(parts, &row)?.is_none() {
        return Ok(());
    }
    put_in_force(parts, &reconcile::place(parts, &row), policy).await
}

/// Tells the policy to whoever looks after a container that lives.
pub(super) async fn put_in_force(parts: &Parts, place: &Place, policy: RestartPolicy) -> Result<()> {
    match parts.runtime.set_restart(place, policy).await {
        // It ended in this very moment.
        Err(e) if e.is(ErrorKind::Conflict) => Ok(()),
        result => result,
    }
}

/// A user ends the container: it is not to be started again when the host has.
pub(super) async fn note_stopped(parts: &Parts, row: &ContainerRow) -> Result<()> {
    if row.record.spec.restart == RestartPolicy::No {
        return Ok(());
    }
    let id = row.id.clone();
    parts.store.write(Durability::Full, move |tx| containers::note_stopped(tx, &id)).await
}

/// Whether a container that does not run should: the host was off, or its monitor was lost.
fn is_due(row: &ContainerRow) -> bool {
    let begun = row.run > 0;
    begun
        && match row.record.spec.restart {
            RestartPolicy::No => false,
            RestartPolicy::Always => true,
            RestartPolicy::UnlessStopped => !row.stopped,
            RestartPolicy::OnFailure { retries } => {
                !row.stopped
                    && row.exit_code.is_none_or(|code| code != 0)
                    && (retries == 0 || row.restarts < retries)
            }
        }
}

/// Starts all containers whose policy says so and that do not run, the oldest first.
pub(crate) async fn start_all(parts: &Arc<Parts>) -> Result<Vec<Attempt>> {
    let mut rows = parts.store.read(containers::list).await?;
    rows.reverse();
    let mut attempts = Vec::new();
    for row in rows {
        if row.record.spec.restart == RestartPolicy::No {
            continue;
        }
        let container = Container { parts: parts.clone(), id: row.id, name: row.name };
        // Waits for whoever is at its end, so that this is known.
        let row = match container.settled().await {
            Ok(Some(row)) => row,
            Ok(None) => continue,
            Err(e) => {
                attempts.push((container.name, Err(e)));
                continue;
            }
        };
        if reconcile::running(parts, &row)?.is_some() || !is_due(&row) {
            continue;
        }
        match container.start().await {
            // Somebody else was faster, or it was removed.
            Err(e) if matches!(e.kind(), ErrorKind::NotModified | ErrorKind::NotFound) => {}
            result => attempts.push((container.name, result)),
        }
    }
    Ok(attempts)
}
