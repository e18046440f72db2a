//! What procfs says of a process: whether it lives, and whether it is still the same one.

use std::os::fd::OwnedFd;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags};

use crate::error::{Result, Subject};

/// A helper has nothing left to do but to end.
const PATIENCE: Timespec = Timespec { tv_sec: 10, tv_nsec: 0 };

/// When the process began, in ticks since the host did; `None` if it is gone or only waits to be reaped. A number is
/// given to another process one day; with this it is not taken for the one that had it.
pub(super) fn begin(pid: u32) -> Result<Option<u64>> {
    let Some(stat) = stat(pid)? else { return Ok(None) };
    let mut fields = fields(&stat);
    let state = fields.next().unwrap_or("X");
    if matches!(state, "Z" | "X") {
        return Ok(None);
    }
    Ok(fields.nth(18).and_then(|ticks| ticks.parse().ok()))
}

/// The helper that has begun a process and is about to leave it to whoever takes in orphans.
pub(super) struct Helper(Option<OwnedFd>);

impl Helper {
    /// That of a process which it was not told to leave yet.
    pub(super) fn of(pid: u32) -> Result<Helper> {
        let stat = stat(pid)?;
        let parent = stat.as_deref().and_then(|stat| fields(stat).nth(1)?.parse().ok());
        let parent = parent.and_then(Pid::from_raw);
        Ok(Helper(parent.and_then(|parent| rustix::process::pidfd_open(parent, PidfdFlags::empty()).ok())))
    }

    /// Waits until it has left: callers wait for a process as its parent as soon as they are told its number.
    pub(super) fn await_leave(self) {
        let Some(helper) = self.0 else { return };
        while let Err(Errno::INTR) = poll(&mut [PollFd::new(&helper, PollFlags::IN)], Some(&PATIENCE)) {}
    }
}

/// What the kernel says of a process; `None` if it is gone.
fn stat(pid: u32) -> Result<Option<String>> {
    let path = format!("/proc/{pid}/stat");
    match std::fs::read_to_string(&path) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound || is_gone(&e) => Ok(None),
        stat => stat.map(Some).subject(|| path),
    }
}

/// State, parent, and so on. The name in parentheses before them may hold anything.
fn fields(stat: &str) -> impl Iterator<Item = &str> {
    stat.rsplit(')').next().unwrap_or_default().split_whitespace()
}

/// It went away while it was read.
fn is_gone(error: &std::io::Error) -> bool {
    error.raw_os_error() == Some(libc::ESRCH)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_has_a_parent_until_that_ends() {
        let mut child = std::process::Command::new("sleep").arg("60").spawn().expect("sleep is there");
        let stat = stat(child.id()).expect("reads").expect("is there");
        assert_eq!(fields(&stat).nth(1), Some(std::process::id().to_string().as_str()));
        assert!(Helper::of(child.id()).expect("reads").0.is_some());
        assert_eq!(fields("7 (a) b) S 1 7").collect::<Vec<_>>(), ["S", "1", "7"]);
        child.kill().expect("kills");
        child.wait().expect("ends");
        let gone = Helper::of(child.id()).expect("reads");
        assert!(gone.0.is_none());
        gone.await_leave();
    }

    #[test]
    fn a_process_has_a_beginning_until_it_ends() {
        let mut child = std::process::Command::new("sleep").arg("60").spawn().expect("sleep is there");
        let begun = begin(child.id()).expect("reads");
        assert!(begun.is_some_and(|ticks| ticks > 0));
        assert_eq!(begin(child.id()).expect("reads"), begun);
        child.kill().expect("kills");
        std::thread::sleep(std::time::Duration::from_millis(50));
        assert_eq!(begin(child.id()).expect("reads"), None, "a zombie is gone");
        child.wait().expect("ends");
        assert_eq!(begin(child.id()).expect("reads"), None);
    }
}
