//! What is left on the host when a container has ended, and taking it away. Goes on past every failure: an engine
//! that looks later does the rest.

use alloc::string::String;
use alloc::vec::Vec;

use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags};
use rustix::io::Errno;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, netlink};

use crate::plan::Cgroup;
use crate::sys;

/// So often is a group tried again that still has a process, with a pause of [`PAUSE_MICROS`].
const ATTEMPTS: u32 = 200;
const PAUSE_MICROS: i64 = 500;
/// Groups that the container made are followed so deep.
const DEPTH: u32 = 32;

/// Kills the processes that are in the group still: those of exec, where the namespace of processes is shared.
pub(crate) fn kill_rest(cgroup: &Cgroup) {
    let Some(directory) = cgroup.dirs.first() else { return };
    if cgroup.born.is_some() && kill_at_once(directory) {
        return;
    }
    let procs = [directory, "/cgroup.procs"].concat();
    for _ in 0..ATTEMPTS {
        let pids = read(&procs).unwrap_or_default();
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

/// Version 2 kills a whole tree of groups, those included that the container made; false before Linux 5.14.
fn kill_at_once(directory: &str) -> bool {
    let events = [directory, "/cgroup.events"].concat();
    let populated = || {
        let content = read(&events).unwrap_or_default();
        content.split(|byte| *byte == b'\n').any(|line| line == b"populated 1")
    };
    if !populated() {
        return true;
    }
    let kill = [directory, "/cgroup.kill"].concat();
    let flags = OFlags::WRONLY | OFlags::CLOEXEC;
    let Ok(file) = rustix::fs::open(kill.as_str(), flags, Mode::empty()) else { return false };
    if rustix::io::write(&file, b"1").is_err() {
        return false;
    }
    for _ in 0..ATTEMPTS {
        if !populated() {
            break;
        }
        pause();
    }
    true
}

/// How many processes of the group the kernel killed for want of memory.
pub(crate) fn oom_kills(cgroup: &Cgroup) -> i32 {
    let content = cgroup.oom.as_deref().and_then(read).unwrap_or_default();
    content
        .split(|byte| *byte == b'\n')
        .find_map(|line| number(line.strip_prefix(b"oom_kill ")?))
        .unwrap_or(0)
}

/// Removes the group's directories, and those of groups that the container made in it.
pub(crate) fn remove(cgroup: &Cgroup) {
    for directory in &cgroup.dirs {
        for _ in 0..ATTEMPTS {
            match remove_tree(directory, DEPTH) {
                // The kernel counts a dying process for a moment longer.
                Err(Errno::BUSY) => pause(),
                _ => break,
            }
        }
    }
}

/// Lets a group go on that is paused, to hear that it is to end, or for another life.
pub(crate) fn thaw(cgroup: &Cgroup) {
    let (file, word) =
        if cgroup.born.is_some() { ("/cgroup.freeze", "0") } else { ("/freezer.state", "THAWED") };
    // Of version 1 one hierarchy has the file.
    for directory in &cgroup.dirs {
        write(&[directory, file].concat(), word.as_bytes());
    }
}

/// Makes the container's group as it was before its first life: without the groups that it made in it. Of version 2,
/// what it handed down to those is taken back, or nobody could be born in it; and it is thawed, as a frozen one can be
/// killed, and the next life would be born so.
pub(crate) fn clear(cgroup: &Cgroup) {
    thaw(cgroup);
    for directory in &cgroup.dirs {
        for child in children(directory).unwrap_or_default() {
            for _ in 0..ATTEMPTS {
                match remove_tree(&child, DEPTH) {
                    Err(Errno::BUSY) => pause(),
                    _ => break,
                }
            }
        }
    }
    let Some(directory) = &cgroup.born else { return };
    let handed_down = [directory, "/cgroup.subtree_control"].concat();
    for controller in read(&handed_down).unwrap_or_default().split(|byte| byte.is_ascii_whitespace()) {
        if !controller.is_empty() {
            write(&handed_down, &[b"-", controller].concat());
        }
    }
}

fn write(path: &str, value: &[u8]) {
    let flags = OFlags::WRONLY | OFlags::CLOEXEC;
    let _ = rustix::fs::open(path, flags, Mode::empty()).and_then(|file| rustix::io::write(&file, value));
}

fn remove_tree(directory: &str, depth: u32) -> rustix::io::Result<()> {
    let remove = || rustix::fs::unlinkat(CWD, directory, AtFlags::REMOVEDIR);
    match remove() {
        Err(Errno::BUSY) if depth > 0 => {
            for child in children(directory)? {
                remove_tree(&child, depth - 1)?;
            }
            remove()
        }
        result => result,
    }
}

/// The groups directly below; what they are called is the container's choice, and what is no text stays.
fn children(directory: &str) -> rustix::io::Result<Vec<String>> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let mut names = Vec::new();
    for entry in rustix::fs::Dir::new(rustix::fs::open(directory, flags, Mode::empty())?)? {
        let entry = entry?;
        let name = entry.file_name().to_str().unwrap_or(".");
        if entry.file_type() == FileType::Directory && name != "." && name != ".." {
            names.push([directory, "/", name].concat());
        }
    }
    Ok(names)
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
pub(crate) fn read(path: &str) -> Option<Vec<u8>> {
    let file = rustix::fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).ok()?;
    let mut content = alloc::vec![0; 16 << 10];
    let length = rustix::io::read(&file, &mut content).ok()?;
    content.truncate(length);
    Some(content)
}
