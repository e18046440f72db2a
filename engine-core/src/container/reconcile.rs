//! From exit records to facts: when a container has ended, its end is recorded, its address and ports are given back,
//! and it is removed if it was to remove itself.
//!
//! A monitor leaves an exit record and knows nothing of the store. Whoever looks at a container next, in whatever
//! process, does the rest, once, under the container's lock; each step may run twice, so that dying between two of
//! them loses nothing. The folder of exit records is a journal: what is in it has not been replayed.

use std::path::Path;

use super::lock::ContainerLock;
use super::{Container, facts, remove};
use crate::error::{Error, ErrorKind, Faults, Result, Subject};
use crate::id::ContainerId;
use crate::network;
use crate::parts::Parts;
use crate::runtime::driver::{ExitRecord, Place, State, Status};
use crate::spec::Timestamp;
use crate::store::containers::{self, ContainerRow};
use crate::store::{Durability, blocking, endpoints};
use crate::sys::fault;
use crate::volume::attach;

/// The exit code of a container whose monitor was killed: nobody knows how the program ended, but it did not end well.
const LOST: i32 = 255;
/// What is recorded as the failure of such a container.
pub(super) const LOST_TEXT: &str = "its monitor ended without a record of how the program did";

/// Where the runtime finds the container.
pub(super) fn place(parts: &Parts, row: &ContainerRow) -> Place {
    let spec = &row.record.spec;
    let mut place = parts.place(&row.id, spec.cgroup_parent.as_deref());
    place.runtime.clone_from(&spec.runtime);
    place
}

/// Whether its last run may be going on, as far as the records know.
pub(super) fn may_run(row: &ContainerRow) -> bool {
    row.started.is_some() && row.finished.is_none()
}

/// Whether its program runs, or will again in a moment; the process, if there is one and it is known.
pub(super) fn running(parts: &Parts, row: &ContainerRow) -> Result<Option<Option<u32>>> {
    Ok(told(parts, row)?.map(|living| living.pid))
}

/// What is known of a container while it lives.
#[derive(Debug)]
pub(super) struct Living {
    /// Its first process, if there is one and it is known.
    pub(super) pid: Option<u32>,
    /// What its monitor tells of it.
    pub(super) status: Option<Status>,
    /// Its processes are held still.
    pub(super) paused: bool,
}

impl Living {
    /// Its program has ended and is started again in a moment.
    pub(super) fn is_restarting(&self) -> bool {
        self.status.as_ref().is_some_and(|status| status.restarting)
    }
}

/// The same, with what is known of it.
pub(super) fn told(parts: &Parts, row: &ContainerRow) -> Result<Option<Living>> {
    if !may_run(row) {
        return Ok(None);
    }
    match parts.runtime.state(&place(parts, row))? {
        State::Running { pid, status, paused } => Ok(Some(Living { pid, status, paused })),
        State::Exited(_) | State::Absent => Ok(None),
    }
}

/// Whether its program runs: not one that waits to be started again.
///
/// # Errors
/// [`ErrorKind::Conflict`], saying what it does instead, in docker's words.
pub(super) async fn require_running(container: &Container, row: &ContainerRow) -> Result<Living> {
    let conflict = |reason: &str| Error::new(ErrorKind::Conflict, container.subject()).because(reason);
    match told(&container.parts, row)? {
        Some(living) if living.is_restarting() => {
            Err(conflict("it is restarting, wait until the container is running"))
        }
        Some(living) => Ok(living),
        None => {
            container.settled().await?;
            Err(conflict("it is not running").with_remedy("start it first"))
        }
    }
}

/// The same; and it is not paused, or it would never answer. `what` is what it is wanted for.
///
/// # Errors
/// As [`require_running`].
pub(super) async fn require_moving(container: &Container, row: &ContainerRow, what: &str) -> Result<()> {
    match require_running(container, row).await?.paused {
        false => Ok(()),
        true => Err(Error::new(ErrorKind::Conflict, container.subject())
            .because(format!("it is paused, unpause the container before {what}"))),
    }
}

/// The container as it is now, with the end of its last run recorded if that is over. `None` if it is gone.
///
/// A container that another process is at work on is given as it was.
pub(super) async fn settle(parts: &Parts, row: ContainerRow) -> Result<Option<ContainerRow>> {
    if !may_run(&row) || running(parts, &row)?.is_some() {
        return Ok(Some(row));
    }
    match ContainerLock::try_take(parts, &row.id)? {
        Some(lock) => settle_locked(parts, &row.id, lock).await.map(|settled| settled.map(|(row, _)| row)),
        None => Ok(Some(row)),
    }
}

/// As [`settle`], for whoever holds the container's lock. Gives the lock back with the container.
pub(super) async fn settle_locked(
    parts: &Parts,
    id: &ContainerId,
    lock: ContainerLock,
) -> Result<Option<(ContainerRow, ContainerLock)>> {
    let Some(row) = row(parts, id).await? else {
        lock.retire();
        return Ok(None);
    };
    if !may_run(&row) {
        return Ok(Some((row, lock)));
    }
    let exit = match parts.runtime.state(&place(parts, &row))? {
        State::Running { .. } => return Ok(Some((row, lock))),
        State::Exited(exit) if exit.run == row.run => Some(exit),
        State::Exited(_) | State::Absent => None,
    };
    end(parts, row, exit, lock).await
}

/// What the records know of the container.
pub(super) async fn row(parts: &Parts, id: &ContainerId) -> Result<Option<ContainerRow>> {
    let id = id.clone();
    parts.store.read(move |tx| containers::get(tx, &id)).await
}

/// Takes away what a run left on the host, and records how it ended.
async fn end(
    parts: &Parts,
    mut row: ContainerRow,
    exit: Option<ExitRecord>,
    lock: ContainerLock,
) -> Result<Option<(ContainerRow, ContainerLock)>> {
    let lost = exit.is_none();
    let exit = exit.unwrap_or_else(|| ExitRecord {
        failure: Some(LOST_TEXT.to_owned()),
        started: row.started,
        ..ExitRecord::new(row.run, LOST, Timestamp::now())
    });
    let ending = if lost { Ending::Unknown } else { Ending::Told };
    if lost {
        // Its monitor would have told of it.
        let lasted = exit.finished.since(exit.started.unwrap_or(exit.finished)).as_secs();
        let more = [("execDuration", lasted.to_string()), ("exitCode", exit.code.to_string())];
        facts::tell(parts, &row, "die", &more.each_ref().map(|(key, value)| (*key, value.as_str())));
    }
    if row.record.spec.auto_remove {
        remove::erase(parts, &row, true, ending, lock).await?;
        return Ok(None);
    }
    clear(parts, &row, ending).await?;
    fault::point("end.cleared");
    let (id, end) = (row.id.clone(), exit.clone());
    let left = parts
        .store
        .write(Durability::Full, move |tx| {
            containers::end_run(tx, &id, &end)?;
            endpoints::release(tx, &id)
        })
        .await?;
    network::endpoint::tell_left(parts, &left, &row.id);
    facts::tell_volumes(parts, &row, "unmount");
    fault::point("end.recorded");
    forget_record(&place(parts, &row).exit_record).await?;
    row.finished = Some(exit.finished);
    row.exit_code = Some(exit.code);
    row.oom_killed = exit.oom_killed;
    row.failure = exit.failure;
    row.restarts = exit.restarts;
    row.started = exit.started.or(row.started);
    Ok(Some((row, lock)))
}

/// What is known of the end of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ending {
    /// Its monitor told of it, and had taken back by then what the run had in the network; the link went with its
    /// namespace. To ask the kernel for that once more costs more than the whole run.
    Told,
    /// Nobody told.
    Unknown,
}

/// Takes away what a run left on the host, but for the exit record. May run twice; goes on past failures.
pub(super) async fn clear(parts: &Parts, row: &ContainerRow, ending: Ending) -> Result<()> {
    let mut faults = Faults::new();
    faults.note(parts.runtime.delete(&place(parts, row)).await);
    if ending == Ending::Unknown {
        faults.note(network::endpoint::release(parts, &row.id).await);
    }
    faults.note(attach::unmount(parts, &row.id).await);
    faults.into_result()
}

/// The exit record was replayed.
pub(super) async fn forget_record(record: &Path) -> Result<()> {
    let record = record.to_owned();
    blocking(move || match std::fs::remove_file(&record) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
            Err(e).subject(|| format!("exit record {}", record.display()))
        }
        _ => Ok(()),
    })
    .await
}

/// Replays the exit records that are there: what ended while no engine looked.
pub(crate) async fn replay(parts: &Parts) -> Result<()> {
    let directory = parts.exits_dir();
    let names = blocking(move || {
        let entries =
            std::fs::read_dir(&directory).subject(|| format!("directory {}", directory.display()))?;
        Ok(entries.flatten().filter_map(|entry| entry.file_name().into_string().ok()).collect::<Vec<_>>())
    })
    .await?;
    for id in names.iter().filter_map(|name| name.parse::<ContainerId>().ok()) {
        match row(parts, &id).await? {
            Some(row) if may_run(&row) => {
                settle(parts, row).await?;
            }
            // Replayed, or removed, by a process that died before it could forget the record.
            _ => forget_record(&parts.place(&id, None).exit_record).await?,
        }
    }
    Ok(())
}
