//! The file tree of a process, as the process sees it.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::fs::{CWD, Mode, OFlags};
use rustix::io::{Errno, Result};

/// The root directory of the process behind `pidfd`, in its own mount namespace: what is resolved beneath it crosses into
/// the mounts that the process has.
///
/// The number of the process leads there, and a number can be given to another process. So the process is looked at
/// once more when its root is open: if it has not ended by then, the number was its own all the time.
///
/// # Errors
/// `ESRCH` if the process has ended.
pub(crate) fn process_root(pidfd: BorrowedFd<'_>) -> Result<OwnedFd> {
    let number = number(pidfd)?;
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let root = match rustix::fs::openat(CWD, format!("/proc/{number}/root"), flags, Mode::empty()) {
        Err(Errno::NOENT) => return Err(Errno::SRCH),
        root => root?,
    };
    if has_ended(pidfd)? { Err(Errno::SRCH) } else { Ok(root) }
}

/// The process's number in this process's namespace, as proc(5) has it in `fdinfo`.
fn number(pidfd: BorrowedFd<'_>) -> Result<u32> {
    let path = format!("/proc/self/fdinfo/{}", pidfd.as_raw_fd());
    let text = std::fs::read_to_string(path).map_err(|e| Errno::from_io_error(&e).unwrap_or(Errno::IO))?;
    let number = text.lines().find_map(|line| line.strip_prefix("Pid:")?.trim().parse::<i64>().ok());
    // It is -1 once the process has been waited for, and 0 if it is of another namespace.
    number.and_then(|number| u32::try_from(number).ok()).filter(|number| *number > 0).ok_or(Errno::SRCH)
}

/// A pidfd can be read from, as far as poll(2) is concerned, once its process has ended.
fn has_ended(pidfd: BorrowedFd<'_>) -> Result<bool> {
    let mut polled = [PollFd::from_borrowed_fd(pidfd.as_fd(), PollFlags::IN)];
    let now = Timespec { tv_sec: 0, tv_nsec: 0 };
    rustix::io::retry_on_intr(|| rustix::event::poll(&mut polled, Some(&now))).map(|ready| ready > 0)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;
    use std::process::{Command, Stdio};

    use rustix::process::{Pid, PidfdFlags, pidfd_open};

    use super::*;

    #[test]
    fn the_root_of_a_process_is_found_and_that_of_one_that_ended_is_not() {
        let mut child = Command::new("sleep").arg("100").stdin(Stdio::null()).spawn().expect("starts");
        let pid = Pid::from_raw(i32::try_from(child.id()).expect("a number")).expect("a process");
        let pidfd = pidfd_open(pid, PidfdFlags::empty()).expect("opens");
        let root = process_root(pidfd.as_fd()).expect("it runs");
        let found = rustix::fs::fstat(&root).expect("stats");
        assert_eq!(found.st_ino, std::fs::metadata("/").expect("stats").ino());
        child.kill().expect("kills");
        rustix::event::poll(&mut [PollFd::new(&pidfd, PollFlags::IN)], None).expect("it ends");
        assert_eq!(process_root(pidfd.as_fd()).err(), Some(Errno::SRCH), "a zombie");
        child.wait().expect("ends");
        assert_eq!(process_root(pidfd.as_fd()).err(), Some(Errno::SRCH));
    }
}
