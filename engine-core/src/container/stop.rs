//! Ending a container's program: politely, then not.

use std::time::Duration;

use super::{Container, facts, plan, reconcile, restart};
use crate::error::{Error, ErrorKind, Result};
use crate::parts::Parts;
use crate::runtime::driver::{ExitRecord, Place};
use crate::spec::{Signal, StopSpec};
use crate::store::containers::ContainerRow;

/// Docker's patience where nobody says another.
const PATIENCE: Duration = Duration::from_secs(10);
/// A container that was killed and takes longer may be held still.
const HELD: Duration = Duration::from_secs(1);

/// Asks its program to end, and kills it when the time is up.
pub(super) async fn stop(container: &Container, stop: StopSpec) -> Result<()> {
    let parts = &container.parts;
    let row = container.row().await?;
    if reconcile::running(parts, &row)?.is_none() {
        return container.settled().await.map(drop);
    }
    let place = reconcile::place(parts, &row);
    let config = plan::image_config(parts, &row.record).await?;
    let signal = stop.signal.unwrap_or_else(|| plan::stop_signal(&row.record.spec, config.as_ref()));
    let patience = stop.timeout.or(row.record.spec.stop_timeout).unwrap_or(PATIENCE);
    restart::note_stopped(parts, &row).await?;
    // That it ended in this very moment is what was asked for.
    ended_is_fine(parts.runtime.end(&place, signal).await)?;
    tell_kill(parts, &row, signal);
    let wait = parts.runtime.wait(&place);
    let ended = match patience {
        Duration::MAX => wait.await.map(drop),
        patience => match tokio::time::timeout(patience, wait).await {
            Ok(ended) => ended.map(drop),
            Err(_) => {
                ended_is_fine(parts.runtime.end(&place, Signal::KILL).await)?;
                tell_kill(parts, &row, Signal::KILL);
                killed(parts, &place).await
            }
        },
    };
    ended?;
    container.settled().await?;
    facts::tell(parts, &row, "stop", &[]);
    Ok(())
}

fn tell_kill(parts: &Parts, row: &ContainerRow, signal: Signal) {
    facts::tell(parts, row, "kill", &[("signal", &signal.number().to_string())]);
}

/// Sends a signal to its program.
pub(super) async fn kill(container: &Container, signal: Signal) -> Result<()> {
    let parts = &container.parts;
    let row = container.row().await?;
    if reconcile::running(parts, &row)?.is_none() {
        return Err(Error::new(ErrorKind::Conflict, container.subject()).because("it is not running"));
    }
    let place = reconcile::place(parts, &row);
    // A signal that means the end is obeyed whatever the policy says; any other is the program's own affair.
    let config = plan::image_config(parts, &row.record).await?;
    if signal != Signal::KILL && signal != plan::stop_signal(&row.record.spec, config.as_ref()) {
        parts.runtime.kill(&place, signal).await?;
        tell_kill(parts, &row, signal);
        return Ok(());
    }
    restart::note_stopped(parts, &row).await?;
    parts.runtime.end(&place, signal).await?;
    tell_kill(parts, &row, signal);
    if signal == Signal::KILL {
        // Nothing refuses this signal; docker tells of the end as well when it answers.
        killed(parts, &place).await?;
        container.settled().await?;
    }
    Ok(())
}

/// Waits until its program ends.
pub(super) async fn wait(container: &Container) -> Result<ExitRecord> {
    let parts = &container.parts;
    let row = container.row().await?;
    let mut exit = None;
    if reconcile::may_run(&row) {
        exit = parts.runtime.wait_next(&reconcile::place(parts, &row)).await?;
    }
    // It goes on without being looked at.
    if let Some(exit) = exit.take_if(|exit| exit.again) {
        return Ok(exit);
    }
    let settled = container.settled().await?;
    exit.or_else(|| {
        let row = settled.as_ref()?;
        let finished = row.finished.unwrap_or(row.created);
        Some(ExitRecord {
            oom_killed: row.oom_killed,
            started: row.started,
            restarts: row.restarts,
            failure: row.failure.clone(),
            ..ExitRecord::new(row.run, row.exit_code.unwrap_or(0), finished)
        })
    })
    .ok_or_else(|| container.gone())
}

/// Waits for the end of a container that was sent SIGKILL. Somebody may have paused it in that moment, and a process
/// that is held still does not hear even this signal.
pub(super) async fn killed(parts: &Parts, place: &Place) -> Result<()> {
    loop {
        match tokio::time::timeout(HELD, parts.runtime.wait(place)).await {
            Ok(ended) => return ended.map(drop),
            Err(_) => ended_is_fine(parts.runtime.resume(place).await)?,
        }
    }
}

fn ended_is_fine(result: Result<()>) -> Result<()> {
    match result {
        Err(e) if e.is(ErrorKind::Conflict) => Ok(()),
        result => result,
    }
}
