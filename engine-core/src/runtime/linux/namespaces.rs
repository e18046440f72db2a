//! The namespaces of a running container, for others that share them. Blocks.

use std::fs::File;
use std::os::fd::{AsRawFd, OwnedFd};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::time::Timespec;

use super::client;
use crate::error::{Error, Result, Subject};
use crate::runtime::driver::{NamespaceKind, Place};

/// A namespace of each kind, opened. They are found by the number of the first process, which the kernel gives to
/// another process only when that one has been reaped: what was opened while it was there is its own.
pub(super) fn of(place: &Place, kinds: &[NamespaceKind]) -> Result<Vec<OwnedFd>> {
    let process = client::process(place)?;
    let pid = number(&process)?.ok_or_else(|| client::not_running(place))?;
    let mut opened = Vec::with_capacity(kinds.len());
    for kind in kinds {
        let path = format!("/proc/{pid}/ns/{}", file(*kind));
        match File::open(&path) {
            Ok(namespace) => opened.push(namespace.into()),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Err(client::not_running(place)),
            Err(e) => return Err(Error::io(path, e)),
        }
    }
    // A pidfd is readable once its process has ended.
    let mut ended = [PollFd::new(&process, PollFlags::IN)];
    match poll(&mut ended, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })) {
        Ok(0) => Ok(opened),
        Ok(_) => Err(client::not_running(place)),
        Err(errno) => Err(Error::io(client::name(place), errno.into())),
    }
}

/// The number of a pidfd's process in the procfs that is mounted here; `None` if it has been reaped.
fn number(process: &OwnedFd) -> Result<Option<u32>> {
    let path = format!("/proc/self/fdinfo/{}", process.as_raw_fd());
    let text = std::fs::read_to_string(&path).subject(|| path)?;
    let number = text.lines().find_map(|line| line.strip_prefix("Pid:"));
    Ok(number.and_then(|number| number.trim().parse().ok()))
}

/// What a namespace is called in `/proc/<pid>/ns`.
fn file(kind: NamespaceKind) -> &'static str {
    match kind {
        NamespaceKind::Cgroup => "cgroup",
        NamespaceKind::Ipc => "ipc",
        NamespaceKind::Mount => "mnt",
        NamespaceKind::Network => "net",
        NamespaceKind::Pid => "pid",
        NamespaceKind::Uts => "uts",
    }
}
