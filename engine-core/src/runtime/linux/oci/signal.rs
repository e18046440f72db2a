//! Sending signals to a container.

use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags};

use super::record::Record;
use super::{OciId, OciRuntime, Status, name, not_running, process};
use crate::error::{Error, Result, Subject};
use crate::spec::Signal;

impl OciRuntime {
    /// Sends a signal to the first process, or with `all` to every process of the container. A container without a
    /// process namespace of its own does not end with its first process: a SIGKILL is for all of them then.
    ///
    /// # Errors
    /// [`ErrorKind::Conflict`](crate::ErrorKind::Conflict) if it does not run.
    pub fn kill(&self, id: &OciId, signal: Signal, all: bool) -> Result<()> {
        let record = self.record(id)?;
        if signal == Signal::KILL && !record.own_pids {
            let any = !self.host.cgroups.pids(&record.cgroup)?.is_empty();
            self.host.cgroups.kill(&record.cgroup)?;
            return if any { Ok(()) } else { Err(not_running(id)) };
        }
        if all {
            for pid in self.host.cgroups.pids(&record.cgroup)? {
                if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
                    send(pid, signal).subject(|| format!("{signal} for {}", name(id)))?;
                }
            }
            return Ok(());
        }
        if self.status(id, &record)? == Status::Stopped {
            return Err(not_running(id));
        }
        match signal_first(&record, signal) {
            Err(Errno::SRCH) => return Err(not_running(id)),
            result => result.subject(|| format!("{signal} for {}", name(id)))?,
        }
        if signal == Signal::KILL && self.host.cgroups.is_frozen(&record.cgroup)? {
            // A frozen process of version 1 does not take the signal.
            self.host.cgroups.thaw(&record.cgroup)?;
        }
        Ok(())
    }
}

fn signal_first(record: &Record, signal: Signal) -> rustix::io::Result<()> {
    let pid = i32::try_from(record.pid).ok().and_then(Pid::from_raw).ok_or(Errno::SRCH)?;
    // Once it is open, the descriptor stands for this process alone; before, the number may be another's.
    let process = rustix::process::pidfd_open(pid, PidfdFlags::empty())?;
    if !matches!(process::begin(record.pid), Ok(Some(begun)) if begun == record.begun) {
        return Err(Errno::SRCH);
    }
    let signal = rustix::process::Signal::from_named_raw(signal.number());
    match signal {
        Some(signal) => rustix::process::pidfd_send_signal(process, signal),
        None => Err(Errno::INVAL),
    }
}

/// That a process is gone already is as good.
fn send(pid: Pid, signal: Signal) -> rustix::io::Result<()> {
    let signal = rustix::process::Signal::from_named_raw(signal.number()).ok_or(Errno::INVAL)?;
    match rustix::process::kill_process(pid, signal) {
        Err(Errno::SRCH) => Ok(()),
        result => result,
    }
}

/// An error about a container that is not as it has to be.
pub(super) fn wrong_state(id: &OciId, reason: &str) -> Error {
    Error::new(crate::error::ErrorKind::Conflict, name(id)).because(reason.to_owned())
}
