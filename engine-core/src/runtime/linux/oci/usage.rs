//! What a container uses, and what happens to it, for somebody who looks on.

use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags};

use super::{OciId, OciRuntime, Status, not_running, process};
use crate::error::{Result, Subject};
use crate::runtime::linux::usage;
use crate::runtime::usage::Usage;

impl OciRuntime {
    /// What a container uses at this moment.
    ///
    /// # Errors
    /// [`ErrorKind::Conflict`](crate::ErrorKind::Conflict) if it does not run.
    pub fn usage(&self, id: &OciId) -> Result<Usage> {
        let record = self.record(id)?;
        match self.status(id, &record)? {
            Status::Stopped => Err(not_running(id)),
            _ => usage::figures(&self.host, &record.cgroup, record.pid, usage::system_time()?),
        }
    }

    /// How many of its processes the kernel has killed for want of memory; `None` if the kernel does not tell.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`](crate::ErrorKind::NotFound) if there is none of that name.
    pub fn oom_kills(&self, id: &OciId) -> Result<Option<u64>> {
        let file = self.host.cgroups.find(&self.record(id)?.cgroup).oom;
        let text = file.and_then(|file| std::fs::read_to_string(file).ok());
        Ok(text.and_then(|text| kills(&text)))
    }

    /// Waits until a container has ended, and no longer than `patience`; tells whether it has.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`](crate::ErrorKind::NotFound) if there is none of that name.
    pub fn has_ended(&self, id: &OciId, patience: Duration) -> Result<bool> {
        let record = self.record(id)?;
        let Some(pid) = i32::try_from(record.pid).ok().and_then(Pid::from_raw) else { return Ok(true) };
        // Once it is open, the descriptor stands for this process alone; before, the number may be another's.
        let first = match rustix::process::pidfd_open(pid, PidfdFlags::empty()) {
            Err(Errno::SRCH) => return Ok(true),
            result => result.subject(|| super::name(id))?,
        };
        if process::begin(record.pid)? != Some(record.begun) {
            return Ok(true);
        }
        let deadline = Instant::now() + patience;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let timeout = Timespec {
                tv_sec: i64::try_from(left.as_secs()).unwrap_or(i64::MAX),
                tv_nsec: left.subsec_nanos().into(),
            };
            match poll(&mut [PollFd::new(&first, PollFlags::IN)], Some(&timeout)) {
                Err(Errno::INTR) => {}
                result => return Ok(result.subject(|| super::name(id))? > 0),
            }
        }
    }
}

/// The figure in the line `oom_kill N`.
fn kills(text: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix("oom_kill ")?.trim().parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_versions_tell_of_kills_in_the_same_words() {
        assert_eq!(kills("oom_kill_disable 0\nunder_oom 0\noom_kill 2\n"), Some(2));
        assert_eq!(kills("low 0\nhigh 0\nmax 7\noom 3\noom_kill 3\noom_group_kill 0\n"), Some(3));
        assert_eq!(kills("oom_kill_disable 0\nunder_oom 0\n"), None);
    }
}
