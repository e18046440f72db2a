//! Removing a container with the files it has written.

use super::lock::ContainerLock;
use super::reconcile::Ending;
use super::{Container, facts, reconcile, state, stop};
use crate::error::{Error, ErrorKind, Faults, Result, Subject};
use crate::network;
use crate::parts::Parts;
use crate::spec::{RemoveSpec, Signal};
use crate::store::containers::{self, ContainerRow};
use crate::store::{Durability, blocking, endpoints, volumes};
use crate::sys::fault;
use crate::volume::attach;

pub(super) async fn remove(container: &Container, remove: RemoveSpec) -> Result<()> {
    let (parts, id) = (&container.parts, &container.id);
    loop {
        let lock = ContainerLock::take(parts, id).await?;
        let Some((row, lock)) = reconcile::settle_locked(parts, id, lock).await? else {
            return Ok(());
        };
        if reconcile::running(parts, &row)?.is_none() {
            return erase(parts, &row, remove.volumes, Ending::Unknown, lock).await;
        }
        if !remove.force {
            let error = Error::new(ErrorKind::Conflict, container.subject());
            return Err(match state::of(parts, &row)? {
                state if state.paused => error
                    .because("container is paused and must be unpaused first")
                    .with_remedy("unpause it, or remove it with force"),
                state if state.restarting => {
                    error.because("it is restarting").with_remedy("stop it first, or remove it with force")
                }
                _ => error.because("it is running").with_remedy("stop it first, or remove it with force"),
            });
        }
        let place = reconcile::place(parts, &row);
        match parts.runtime.end(&place, Signal::KILL).await {
            Ok(()) => facts::tell(parts, &row, "kill", &[("signal", &Signal::KILL.number().to_string())]),
            Err(e) if !e.is(ErrorKind::Conflict) => return Err(e),
            Err(_) => {}
        }
        // Whoever waits for it too may need the lock to record its end.
        drop(lock);
        stop::killed(parts, &place).await?;
    }
}

/// Makes a container that does not run not be there. The record goes first: a process that dies here leaves files
/// that no record reaches, which a sweep finds, and not a container without files.
pub(super) async fn erase(
    parts: &Parts,
    row: &ContainerRow,
    with_volumes: bool,
    ending: Ending,
    lock: ContainerLock,
) -> Result<()> {
    let mut faults = Faults::new();
    faults.note(reconcile::clear(parts, row, ending).await);
    fault::point("remove.cleared");
    let id = row.id.clone();
    let durability = if row.record.spec.auto_remove { Durability::Relaxed } else { Durability::Full };
    let (doomed, left) = parts
        .store
        .write(durability, move |tx| {
            let doomed = if with_volumes { volumes::doom_anonymous(tx, &id)? } else { Vec::new() };
            let left = endpoints::release(tx, &id)?;
            containers::delete(tx, &id)?;
            Ok((doomed, left))
        })
        .await?;
    fault::point("remove.forgotten");
    network::endpoint::tell_left(parts, &left, &row.id);
    if reconcile::may_run(row) {
        facts::tell_volumes(parts, row, "unmount");
    }
    faults.note(reconcile::forget_record(&reconcile::place(parts, row).exit_record).await);
    faults.note(parts.images.discard(row.id.as_str()).await);
    let directory = parts.container_dir(&row.id);
    faults.note(
        blocking(move || {
            std::fs::remove_dir_all(&directory).subject(|| format!("directory {}", directory.display()))
        })
        .await,
    );
    faults.note(attach::finish(parts, &doomed).await);
    facts::tell(parts, row, "destroy", &[]);
    lock.retire();
    faults.into_result()
}
