//! What a container is doing, derived from facts that are each true by themselves: a held lock, an exit record, and a
//! group that is held still.

use std::fs::File;
use std::io::Read;
use std::os::fd::AsFd;
use std::path::Path;

use engine_shim::record::Record;
use engine_shim::status;
use nix::fcntl::{FcntlArg, fcntl};

use super::client::{failed, name};
use super::{Host, pause};
use crate::error::{Error, Result, Subject};
use crate::runtime::driver::{ExitRecord, Place, State, Status};
use crate::spec::{HealthStatus, Timestamp};

/// No record is longer.
const MAX_RECORD: u64 = 4096;

/// The state. The lock first: a monitor writes the record before it lets go of the lock.
pub(super) fn of(host: &Host, place: &Place) -> Result<State> {
    if is_looked_after(place)? {
        return running(place, pause::is_paused(host, place)?);
    }
    Ok(match record(place)? {
        Some(record) => State::Exited(record),
        None => State::Absent,
    })
}

/// Whether a monitor is alive that is responsible for the container.
pub(super) fn is_looked_after(place: &Place) -> Result<bool> {
    let path = place.run_dir.join("monitor");
    let Some(file) = open(&path)? else { return Ok(false) };
    is_locked(&file, &path)
}

/// Whether some process holds the file locked, which is at `path`.
pub(super) fn is_locked(file: &File, path: &Path) -> Result<bool> {
    let mut lock = libc::flock {
        l_type: libc::F_WRLCK as libc::c_short,
        l_whence: libc::SEEK_SET as libc::c_short,
        l_start: 0,
        l_len: 0,
        l_pid: 0,
    };
    fcntl(file.as_fd(), FcntlArg::F_OFD_GETLK(&mut lock)).subject(|| format!("lock {}", path.display()))?;
    Ok(lock.l_type != libc::F_UNLCK as libc::c_short)
}

/// The first process of a container that runs, 0 if it is not known; `None` if nobody looks after it.
pub(super) fn running_pid(place: &Place) -> Result<Option<u32>> {
    if !is_looked_after(place)? {
        return Ok(None);
    }
    Ok(Some(told(place)?.map_or(0, |told| told.pid)))
}

/// The exit record; `None` if there is none.
pub(super) fn record(place: &Place) -> Result<Option<ExitRecord>> {
    let Some(text) = read(&place.exit_record)? else { return Ok(None) };
    // It appears by a rename, whole: anything else is not the monitor's work.
    let record = Record::from_text(&text).ok_or_else(|| {
        Error::new(crate::error::ErrorKind::Corrupt, format!("exit record {}", place.exit_record.display()))
            .because("it is no exit record")
            .with_remedy("remove the file")
    })?;
    let failure = record.failure.clone().map(|failure| failed(&name(place), failure).to_string());
    Ok(Some(ExitRecord { failure, ..record.into() }))
}

/// What the monitor tells of a container that it looks after.
fn running(place: &Place, paused: bool) -> Result<State> {
    let Some(told) = told(place)? else {
        return Ok(State::Running { pid: None, status: None, paused });
    };
    let last = told.last.map(|exit| ExitRecord {
        again: true,
        restarts: told.restarts,
        failure: told.failure.map(|failure| failed(&name(place), failure).to_string()),
        ..exit.into()
    });
    let status = Status {
        restarting: told.phase == status::Phase::Restarting,
        started: Timestamp::from_nanos(told.started),
        restarts: told.restarts,
        health: match told.health {
            status::Health::None => None,
            status::Health::Starting => Some(HealthStatus::Starting),
            status::Health::Healthy => Some(HealthStatus::Healthy),
            status::Health::Unhealthy => Some(HealthStatus::Unhealthy),
        },
        last,
    };
    let pid = Some(told.pid).filter(|pid| *pid != 0);
    Ok(State::Running { pid, status: Some(status), paused })
}

fn told(place: &Place) -> Result<Option<status::Status>> {
    let text = read(&place.run_dir.join(status::FILE))?;
    Ok(text.and_then(|text| status::Status::from_text(&text)))
}

fn open(path: &Path) -> Result<Option<File>> {
    match File::open(path) {
        Ok(file) => Ok(Some(file)),
        Err(e) if matches!(e.kind(), std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory) => {
            Ok(None)
        }
        Err(e) => Err(Error::io(path.display().to_string(), e)),
    }
}

fn read(path: &Path) -> Result<Option<String>> {
    let Some(file) = open(path)? else { return Ok(None) };
    let mut bytes = Vec::with_capacity(64);
    file.take(MAX_RECORD).read_to_end(&mut bytes).subject(|| path.display().to_string())?;
    Ok(Some(String::from_utf8_lossy(&bytes).into_owned()))
}
