//! What a container is doing: found from its monitor and its exit record, never from a flag.

use super::info::{ContainerState, ContainerStatus};
use super::reconcile;
use crate::error::Result;
use crate::parts::Parts;
use crate::store::containers::ContainerRow;

/// The state of a container whose end, if there was one, is recorded.
pub(super) fn of(parts: &Parts, row: &ContainerRow) -> Result<ContainerState> {
    let running = reconcile::running(parts, row)?;
    // Between the end of its program and the recording of that, by whoever is at it right now, it is as good as over.
    let status = match (&running, row.started) {
        (Some(_), _) => ContainerStatus::Running,
        (None, Some(_)) => ContainerStatus::Exited,
        (None, None) => ContainerStatus::Created,
    };
    let running_now = status == ContainerStatus::Running;
    Ok(ContainerState {
        status,
        running: running_now,
        paused: false,
        restarting: false,
        oom_killed: row.oom_killed,
        dead: false,
        pid: running.flatten().unwrap_or(0),
        exit_code: if running_now { 0 } else { row.exit_code.unwrap_or(0) },
        error: row.failure.clone().unwrap_or_default(),
        started_at: row.started,
        finished_at: row.finished,
    })
}
