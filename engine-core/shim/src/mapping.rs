//! Users and groups of a container that are others on the host: its user namespace, and mounts whose files belong to
//! others than on disk.
//!
//! What takes the host's privilege is done by the process that clones: it writes the mapping and opens what is mounted.
//! The container's first process has no right of the host's from its first instruction on.

use alloc::vec::Vec;

use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{FileType, Gid, Mode, OFlags, Uid};
use rustix::io::Errno;
use rustix::process::{WaitId, WaitIdOptions};

use crate::failure::{Result, Step, failure};
use crate::init::Stdio;
use crate::namespaces::{Kept, USER};
use crate::plan::{ContainerPlan, Mapping};
use crate::sync::{self, Message, hear, tell};
use crate::sys::{self, Forked, SIBLING};
use crate::text::Text;
use crate::wire::{Cause, Failure};

/// Clones the container's first process from within the namespaces that are there already, by a process that stands
/// between and ends at once.
pub(crate) fn clone_inside(kept: &Kept, namespaces: u32, cgroup: Option<BorrowedFd<'_>>) -> Result<Forked> {
    let (ours, theirs) = sync::pair().step("make", "a socket pair")?;
    match sys::clone(0, None).step("clone", "a process to join the namespaces")? {
        Forked::Child => {
            let cloned = kept.enter().and_then(|()| {
                sys::clone(namespaces | SIBLING, cgroup).step("clone", "the container's first process")
            });
            let _ = match cloned {
                Ok(Forked::Child) => return Ok(Forked::Child),
                Ok(Forked::Parent(process, pid)) => tell(&theirs, &Message::Born(process, pid)),
                Err(failure) => tell(&theirs, &Message::Failed(failure.encode())),
            };
            sys::exit(0)
        }
        Forked::Parent(between, _) => {
            drop(theirs);
            let heard = hear(&ours);
            let _ = rustix::process::waitid(WaitId::PidFd(between.as_fd()), WaitIdOptions::EXITED);
            let unclear = || failure(Cause::Step, Errno::SRCH, "nobody could join the namespaces", "");
            match heard {
                Ok(Some(Message::Born(process, pid))) => Ok(Forked::Parent(process, pid)),
                Ok(Some(Message::Failed(failure))) => Err(Failure::decode(&failure).unwrap_or_else(unclear)),
                _ => Err(unclear()),
            }
        }
    }
}

/// Says who the users of the first process `pid` are, and lets it go on.
pub(crate) fn settle(plan: &ContainerPlan, pid: u32, sync: &OwnedFd) -> Result<()> {
    if plan.namespaces.new & USER != 0 {
        write(pid, &plan.spaces.users)?;
    }
    if let Some(adjustment) = plan.process.oom_score_adj {
        let mut value = Text::default();
        value.number(adjustment.into());
        write_file(pid, "oom_score_adj", value.as_str())?;
    }
    tell(sync, &Message::Go).step("tell", "the container's first process")
}

/// Gives pipes to the container's root, so that its programs can open `/dev/stdout` and the like again.
pub(crate) fn hand_over(stdio: Option<&Stdio>, users: &Mapping) -> Result<()> {
    let Some(Stdio { stdin, stdout, stderr }) = stdio.filter(|_| !users.uids.is_empty()) else {
        return Ok(());
    };
    for stream in stdin.iter().chain([stdout, stderr]) {
        let kind = rustix::fs::fstat(stream).step("examine", "a standard stream")?.st_mode;
        if FileType::from_raw_mode(kind) == FileType::Fifo {
            let (uid, gid) = users.root;
            rustix::fs::fchown(stream, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)))
                .step("give to the container's root", "a standard stream")?;
        }
    }
    Ok(())
}

/// Makes this process the root of its user namespace. Whoever it was before is nobody there.
pub(crate) fn become_root() -> Result<()> {
    sys::set_identity(0, 0, &[]).step("become", "the root of the user namespace")?;
    // A change of identity cleared these.
    crate::init::guard()
}

/// Maps the owners of what the detached mount `tree` shows. An empty mapping is that of the namespace `joined`.
pub(crate) fn apply(
    tree: BorrowedFd<'_>,
    (mapping, recursive): &(Mapping, bool),
    joined: Option<BorrowedFd<'_>>,
    target: &str,
) -> Result<()> {
    let own: OwnedFd;
    let users = match joined {
        Some(joined) if mapping.uids.is_empty() => joined,
        _ => {
            own = namespace(mapping)?;
            own.as_fd()
        }
    };
    sys::map_mount(tree, *recursive, users).step("map the users of the mount at", target)
}

/// A user namespace that nobody is in.
fn namespace(mapping: &Mapping) -> Result<OwnedFd> {
    let (ours, theirs) = sync::pair().step("make", "a socket pair")?;
    match sys::clone(USER, None).step("clone", "a process for a mapping")? {
        Forked::Child => {
            drop(ours);
            // Until the other side closes.
            let _ = hear(&theirs);
            sys::exit(0)
        }
        Forked::Parent(process, pid) => {
            drop(theirs);
            let namespace = write(pid, mapping).and_then(|()| {
                let path = file_of(pid, "ns/user");
                let flags = OFlags::RDONLY | OFlags::CLOEXEC;
                rustix::fs::open(path.as_str(), flags, Mode::empty()).step("open", path.as_str())
            });
            drop(ours);
            let _ = rustix::process::waitid(WaitId::PidFd(process.as_fd()), WaitIdOptions::EXITED);
            namespace
        }
    }
}

fn write(pid: u32, mapping: &Mapping) -> Result<()> {
    write_file(pid, "uid_map", &mapping.uids)?;
    write_file(pid, "gid_map", &mapping.gids)
}

fn write_file(pid: u32, name: &str, value: &str) -> Result<()> {
    let path = file_of(pid, name);
    let file = rustix::fs::open(path.as_str(), OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty());
    let written = file.and_then(|file| rustix::io::write(&file, value.as_bytes()));
    let step: Vec<u8> = [path.as_str(), ": ", value.trim_end()].concat().into();
    written.step("write", step).map(drop)
}

fn file_of(pid: u32, name: &str) -> Text {
    let mut path = Text::default();
    path.push("/proc/").number(pid.into()).push("/").push(name);
    path
}
