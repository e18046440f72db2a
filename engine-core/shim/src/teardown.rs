//! What is left on the host when a container has ended, and taking it away. Goes on past every failure: an engine
//! that looks later does the rest.

use alloc::string::String;
use alloc::vec::Vec;

use rustix::fs::{AtFlags, CWD, Mode, OFlags};
use rustix::io::Errno;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, netlink};

use crate::plan::Cgroup;
use crate::sys;

/// So often is a group tried again that still has a process, with a pause of [`PAUSE_MICROS`].
const ATTEMPTS: u32 = 200;
const PAUSE_MICROS: i64 = 500;

/// Kills the processes that are in the group still: those of exec, where the namespace of processes is shared.
pub(crate) fn kill_rest(cgroup: &Cgroup) {
    let Some(procs) = cgroup.join.first() else { return };
    for _ in 0..ATTEMPTS {
        let pids = read(procs).unwrap_or_default();
        let mut any = false;
        for pid in pids.split(|byte| *byte == b'\n').filter_map(number) {
            any = true;
            let _ = sys::kill(pid, libc::SIGKILL);
        }
        if !any {
            return;
        }
        pause();
    }
}

/// How many processes of the group the kernel killed for want of memory.
pub(crate) fn oom_kills(cgroup: &Cgroup) -> i32 {
    let content = cgroup.oom.as_ref().and_then(read).unwrap_or_default();
    content
        .split(|byte| *byte == b'\n')
        .find_map(|line| number(line.strip_prefix(b"oom_kill ")?))
        .unwrap_or(0)
}

/// Removes the group's directories.
pub(crate) fn remove(cgroup: &Cgroup) {
    for directory in &cgroup.dirs {
        for _ in 0..ATTEMPTS {
            match rustix::fs::unlinkat(CWD, directory.as_str(), AtFlags::REMOVEDIR) {
                // The kernel counts a dying process for a moment longer.
                Err(Errno::BUSY) => pause(),
                _ => break,
            }
        }
    }
}

/// Sends netlink batches to the packet filter. That something is gone already is as good.
pub(crate) fn send(batches: &[Vec<u8>]) {
    if batches.is_empty() {
        return;
    }
    let flags = SocketFlags::CLOEXEC;
    let Ok(socket) =
        rustix::net::socket_with(AddressFamily::NETLINK, SocketType::RAW, flags, Some(netlink::NETFILTER))
    else {
        return;
    };
    for batch in batches {
        let _ = rustix::net::send(&socket, batch, SendFlags::empty());
    }
    // The kernel has acted when send returns; the answers only have to go somewhere.
    let mut answer = [0u8; 1024];
    while rustix::net::recv(&socket, &mut answer, RecvFlags::DONTWAIT).is_ok_and(|(length, _)| length > 0) {}
}

fn pause() {
    let _ = rustix::thread::nanosleep(&rustix::time::Timespec { tv_sec: 0, tv_nsec: PAUSE_MICROS * 1000 });
}

fn number(text: &[u8]) -> Option<i32> {
    core::str::from_utf8(text).ok()?.trim().parse().ok()
}

/// The first part of a small file.
fn read(path: &String) -> Option<Vec<u8>> {
    let file = rustix::fs::open(path.as_str(), OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).ok()?;
    let mut content = Vec::new();
    content.resize(16 << 10, 0);
    let length = rustix::io::read(&file, &mut content).ok()?;
    content.truncate(length);
    Some(content)
}
