//! What a container is doing, derived from facts that are each true by themselves: a held lock, and an exit record.

use std::fs::File;
use std::io::Read;
use std::os::fd::AsFd;
use std::path::Path;

use engine_shim::wire::Exit;
use nix::fcntl::{FcntlArg, fcntl};

use crate::error::{Error, Result, Subject};
use crate::runtime::driver::{ExitRecord, Place, State};

/// No record is longer.
const MAX_RECORD: u64 = 4096;

/// The state. The lock first: a monitor writes the record before it lets go of the lock.
pub(super) fn of(place: &Place) -> Result<State> {
    if is_looked_after(place)? {
        return Ok(State::Running { pid: pid(&place.run_dir)? });
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

/// The exit record; `None` if there is none.
pub(super) fn record(place: &Place) -> Result<Option<ExitRecord>> {
    let Some(text) = read(&place.exit_record)? else { return Ok(None) };
    // It appears by a rename, whole: anything else is not the monitor's work.
    let exit = Exit::from_text(&text).ok_or_else(|| {
        Error::new(crate::error::ErrorKind::Corrupt, format!("exit record {}", place.exit_record.display()))
            .because("it is no exit record")
            .with_remedy("remove the file")
    })?;
    Ok(Some(exit.into()))
}

fn pid(run_dir: &Path) -> Result<Option<u32>> {
    Ok(read(&run_dir.join("pid"))?.and_then(|text| text.parse().ok()))
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
