//! What is known of the processes that run, or ran, beside a container's program: see `engine_shim::execs`. All calls
//! block.

use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use engine_shim::execs::{DIRECTORY, ExecStatus};
use engine_shim::plan;

use super::{plan::text, state};
use crate::error::{Error, Result, Subject};
use crate::runtime::driver::{ExecRecord, ExecState, Place};
use crate::spec::Timestamp;

/// Those that ended are told of for so long.
const KEPT: Duration = Duration::from_secs(5 * 60);
/// So many are kept without a look at when they ended.
const FEW: usize = 32;
/// No description is longer.
const MAX: u64 = 16 << 20;

/// Makes room for the record of a process that is about to begin.
pub(super) fn prepare(place: &Place, record: &ExecRecord) -> Result<plan::ExecRecord> {
    let directory = directory(place);
    let ExecRecord { id, description } = record;
    if id.is_empty() || id.contains(['/', '\0']) || id.starts_with('.') || description.contains('\n') {
        return Err(Error::invalid(format!("the record of process {id:?}"), "it cannot be kept in a file"));
    }
    match fs::DirBuilder::new().mode(0o700).create(&directory) {
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => forget(&directory)?,
        result => result.subject(|| format!("directory {}", directory.display()))?,
    }
    let path = text(&directory.join(id), "the record of a process")?;
    Ok(plan::ExecRecord { path, description: description.clone() })
}

/// Those that run, and those that ended a while ago.
pub(super) fn list(place: &Place) -> Result<Vec<ExecState>> {
    let mut found = Vec::new();
    for path in files(&directory(place))? {
        // One that is just being made, or is forgotten at this moment, is none.
        if let Some(state) = read(&path)?.filter(|state| !is_old(state)) {
            found.push(state);
        }
    }
    Ok(found)
}

/// Forgets all of them.
pub(super) fn clear(place: &Place) -> Result<()> {
    let directory = directory(place);
    match fs::remove_dir_all(&directory) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        result => result.subject(|| format!("directory {}", directory.display())),
    }
}

fn directory(place: &Place) -> PathBuf {
    place.run_dir.join(DIRECTORY)
}

fn files(directory: &Path) -> Result<Vec<PathBuf>> {
    let entries = match fs::read_dir(directory) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.subject(|| format!("directory {}", directory.display()))?,
    };
    Ok(entries.flatten().map(|entry| entry.path()).collect())
}

/// Forgets those that ended long ago, once there are many.
fn forget(directory: &Path) -> Result<()> {
    let files = files(directory)?;
    if files.len() < FEW {
        return Ok(());
    }
    for path in files {
        if read(&path)?.is_some_and(|state| is_old(&state)) {
            let _ = fs::remove_file(&path);
        }
    }
    Ok(())
}

fn is_old(state: &ExecState) -> bool {
    state.exit.is_some_and(|(_, ended)| Timestamp::now().since(ended) > KEPT)
}

fn read(path: &Path) -> Result<Option<ExecState>> {
    let file = match File::open(path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        file => file.subject(|| path.display().to_string())?,
    };
    // The lock first: who has it writes how it ended before letting go.
    let locked = state::is_locked(&file, path)?;
    let mut text = String::new();
    file.take(MAX).read_to_string(&mut text).subject(|| path.display().to_string())?;
    let (Some(status), Some(id)) = (ExecStatus::from_text(&text), path.file_name()) else { return Ok(None) };
    Ok(Some(ExecState {
        record: ExecRecord {
            id: id.to_string_lossy().into_owned(),
            description: status.description.to_owned(),
        },
        pid: Some(status.pid).filter(|pid| *pid != 0),
        running: locked && status.end.is_none(),
        exit: status.end.map(|(code, time)| (code, Timestamp::from_nanos(time))),
    }))
}
