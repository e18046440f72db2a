//! Taking a container away.

use std::path::Path;
use std::time::{Duration, Instant};

use super::record::{self, Record};
use super::signal::wrong_state;
use super::{OciId, OciRuntime, Status, absent, name, process};
use crate::error::{Error, ErrorKind, Faults, Result, Subject};
use crate::runtime::linux::cgroup::Cgroups;
use crate::runtime::linux::plan::{State, hooks_plan};
use crate::spec::Signal;

/// How long a killed container may take to end.
const PATIENCE: Duration = Duration::from_secs(10);

impl OciRuntime {
    /// Takes away a container that has ended or was never started; with `force` any, and that there is none is no
    /// failure then. A failed `poststop` hook is told by the second value.
    ///
    /// # Errors
    /// [`ErrorKind::Conflict`] if it runs.
    pub fn delete(&self, id: &OciId, force: bool) -> Result<Option<Error>> {
        let directory = self.directory(id);
        let Some(record) = Record::read(&directory)? else {
            // One that was being made when its maker was killed has no record.
            let there = directory.exists();
            if there && force {
                take_away(&self.host.cgroups, &directory, None)?;
            }
            return if force { Ok(None) } else { Err(absent(id)) };
        };
        match self.status(id, &record)? {
            Status::Stopped => {}
            Status::Created => self.end(id, &record)?,
            _ if force => self.end(id, &record)?,
            status => {
                let reason = format!("cannot delete container that is not stopped: {}", status.as_str());
                return Err(wrong_state(id, &reason));
            }
        }
        let spec = record::configuration(&directory);
        take_away(&self.host.cgroups, &directory, Some(&record.cgroup))?;
        let told = spec
            .and_then(|spec| hooks_plan(&spec, (id.as_str(), &record.bundle), State::Stopped))
            .and_then(|hooks| hooks.map_or(Ok(()), |hooks| self.run_hooks(id, &hooks)));
        Ok(told.err())
    }

    /// Kills the container and waits until its first process is gone.
    fn end(&self, id: &OciId, record: &Record) -> Result<()> {
        match self.kill(id, Signal::KILL, false) {
            Err(e) if !e.is(ErrorKind::Conflict) => return Err(e),
            _ => {}
        }
        let deadline = Instant::now() + PATIENCE;
        let mut pause = Duration::from_micros(200);
        while process::begin(record.pid)? == Some(record.begun) {
            if Instant::now() > deadline {
                return Err(Error::new(ErrorKind::TimedOut, name(id))
                    .because("it was killed and does not end")
                    .with_remedy("look for a process that waits for a broken disk or network file system"));
            }
            std::thread::sleep(pause);
            pause = (pause * 2).min(Duration::from_millis(20));
        }
        Ok(())
    }
}

/// Kills what is left in the group, and removes it and the directory. Goes on past failures; may run twice.
pub(super) fn take_away(cgroups: &Cgroups, directory: &Path, cgroup: Option<&str>) -> Result<()> {
    let mut faults = Faults::new();
    if let Some(cgroup) = cgroup
        && cgroups.find(cgroup).dirs.iter().any(|directory| Path::new(directory).exists())
    {
        faults.note(cgroups.kill(cgroup));
        faults.note(cgroups.remove(cgroup));
    }
    // As long as something is left of it, its name stays, and this can be tried again.
    faults.into_result()?;
    std::fs::remove_dir_all(directory).subject(|| format!("directory {}", directory.display()))
}
