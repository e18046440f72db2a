//! What a container is doing: found from its monitor and its exit record, never from a flag.

use super::info::{ContainerState, ContainerStatus, HealthState};
use super::reconcile;
use crate::error::Result;
use crate::parts::Parts;
use crate::store::containers::ContainerRow;

/// The state of a container whose end, if there was one, is recorded.
pub(super) fn of(parts: &Parts, row: &ContainerRow) -> Result<ContainerState> {
    let told = reconcile::told(parts, row)?;
    let life = told.as_ref().and_then(|living| living.status.as_ref());
    let paused = told.as_ref().is_some_and(|living| living.paused);
    // Between the end of its program and the recording of that, by whoever is at it right now, it is as good as over.
    let status = match (&told, row.started) {
        (Some(_), _) if life.is_some_and(|life| life.restarting) => ContainerStatus::Restarting,
        (Some(_), _) if paused => ContainerStatus::Paused,
        (Some(_), _) => ContainerStatus::Running,
        (None, Some(_)) => ContainerStatus::Exited,
        (None, None) => ContainerStatus::Created,
    };
    let last = life.and_then(|life| life.last.as_ref());
    let failure = last.and_then(|last| last.failure.clone()).or_else(|| row.failure.clone());
    let health = life.and_then(|life| life.health);
    Ok(ContainerState {
        status,
        running: told.is_some(),
        paused: status == ContainerStatus::Paused,
        restarting: status == ContainerStatus::Restarting,
        oom_killed: last.map_or(row.oom_killed, |last| last.oom_killed),
        dead: false,
        pid: told.as_ref().and_then(|living| living.pid).unwrap_or(0),
        exit_code: match status {
            ContainerStatus::Running | ContainerStatus::Paused => 0,
            _ => last.map(|last| last.code).or(row.exit_code).unwrap_or(0),
        },
        error: failure.unwrap_or_default(),
        started_at: life.map(|life| life.started).or(row.started),
        finished_at: last.map(|last| last.finished).or(row.finished),
        health: health.map(|status| HealthState { status, failing_streak: 0, log: Vec::new() }),
        restarts: life.map_or(row.restarts, |life| life.restarts),
    })
}
