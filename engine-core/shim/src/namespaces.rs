//! The namespaces that stay when a container is started again: those it joins, which must not become those of another
//! process that got the same number meanwhile, and its own network namespace, so that its address, its links and its
//! published ports stay without anybody's doing.

use alloc::vec::Vec;

use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{Mode, OFlags};

use crate::failure::{Result, Step};
use crate::plan::Namespaces;
use crate::sys;
use crate::text::Text;

/// To join it is for children only: the monitor does it before there is one.
pub(crate) const PID: u32 = libc::CLONE_NEWPID as u32;
pub(crate) const NET: u32 = libc::CLONE_NEWNET as u32;
pub(crate) const USER: u32 = libc::CLONE_NEWUSER as u32;
/// It begins at the group of the process that makes it: the container's own process does, once it is in its group.
const CGROUP: u32 = libc::CLONE_NEWCGROUP as u32;
/// What its clocks say can be set only while nobody is in it: the container's own process makes it, and then enters.
const TIME: u32 = 0x80;

/// The namespaces of a container that are known before it is built.
pub(crate) struct Kept {
    /// That of users first, as the others may be joined by its right.
    joined: Vec<(u32, OwnedFd)>,
    net: Option<OwnedFd>,
    /// The container's users are others than this process's.
    users: bool,
}

impl Kept {
    /// Opens those to join.
    pub(crate) fn open(plan: &Namespaces) -> Result<Kept> {
        let mut joined = Vec::with_capacity(plan.join.len());
        let users = plan.has_users();
        for (kind, path) in &plan.join {
            let namespace = rustix::fs::open(path.as_str(), OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
                .step("open namespace", path)?;
            match *kind {
                USER => joined.insert(0, (USER, namespace)),
                PID if !users => sys::setns(namespace.as_fd(), PID).step("join namespace", path)?,
                kind => joined.push((kind, namespace)),
            }
        }
        Ok(Kept { joined, net: None, users })
    }

    /// Whether the container's first process is to be cloned from within those that are there already. One in a user
    /// namespace of its own has no right to enter the host's, and cannot be moved to the one that it joins when its
    /// other namespaces are made.
    pub(crate) fn come_first(&self) -> bool {
        self.users && !(self.joined.is_empty() && self.net.is_none())
    }

    /// The user namespace to join.
    pub(crate) fn users(&self) -> Option<BorrowedFd<'_>> {
        self.joined.first().filter(|(kind, _)| *kind == USER).map(|(_, namespace)| namespace.as_fd())
    }

    /// For a container that another program builds, which joins namespaces by itself: its own network namespace is made
    /// here, so that it stays.
    pub(crate) fn made(plan: &Namespaces) -> Result<Kept> {
        if plan.new & NET == 0 {
            return Ok(Kept { joined: Vec::new(), net: None, users: false });
        }
        let net = and_back(|| {
            sys::unshare(NET).step("make", "a network namespace")?;
            raise_loopback()?;
            open_own("/proc/self/ns/net")
        })?;
        Ok(Kept { joined: Vec::new(), net: Some(net), users: false })
    }

    /// Those that the container's first process is to be cloned into.
    pub(crate) fn to_make(&self, plan: &Namespaces) -> u32 {
        let kept = if self.net.is_some() { NET } else { 0 };
        plan.new & !(CGROUP | TIME | kept)
    }

    /// Keeps the network namespace that the process `pid` was cloned into.
    pub(crate) fn keep(&mut self, plan: &Namespaces, pid: u32) -> Result<()> {
        if plan.new & NET != 0 && self.net.is_none() {
            let mut path = Text::default();
            path.push("/proc/").number(pid.into()).push("/ns/net");
            let flags = OFlags::RDONLY | OFlags::CLOEXEC;
            let net = rustix::fs::open(path.as_str(), flags, Mode::empty()).step("open", path.as_str())?;
            self.net = Some(net);
        }
        Ok(())
    }

    /// The container's own network namespace.
    pub(crate) fn net(&self) -> Option<BorrowedFd<'_>> {
        self.net.as_ref().map(AsFd::as_fd)
    }

    /// Moves this process, the container's first or the one that clones it, to those that are there already.
    pub(crate) fn enter(&self) -> Result<()> {
        for (kind, namespace) in &self.joined {
            sys::setns(namespace.as_fd(), *kind).step("join", "a namespace")?;
        }
        match &self.net {
            Some(net) => sys::setns(net.as_fd(), NET).step("join", "the container's network namespace"),
            None => Ok(()),
        }
    }
}

/// Does `work` in the network namespace `net`. This process has one thread, and nothing of the container acts meanwhile.
pub(crate) fn within<T>(net: BorrowedFd<'_>, work: impl FnOnce() -> Result<T>) -> Result<T> {
    and_back(|| {
        sys::setns(net, NET).step("join", "the container's network namespace")?;
        work()
    })
}

/// Does `work`, which leads to another network namespace, and returns from there.
fn and_back<T>(work: impl FnOnce() -> Result<T>) -> Result<T> {
    let own = open_own("/proc/self/ns/net")?;
    let done = work();
    sys::setns(own.as_fd(), NET).step("return to", "the host's network namespace")?;
    done
}

/// Starts a child where this process is, also if its other children are in the sight of another container.
pub(crate) fn out_of_sight<T>(start: impl FnOnce() -> Result<T>) -> Result<T> {
    let children = open_own("/proc/self/ns/pid_for_children")?;
    let own = open_own("/proc/self/ns/pid")?;
    sys::setns(own.as_fd(), PID).step("return to", "the host's namespace of processes")?;
    let started = start();
    sys::setns(children.as_fd(), PID).step("join", "the container's namespace of processes")?;
    started
}

fn open_own(path: &str) -> Result<OwnedFd> {
    rustix::fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).step("open", path)
}

/// Every network namespace has a loopback, which is down at first.
pub(crate) fn raise_loopback() -> Result<()> {
    sys::raise_loopback().step("bring up", "the loopback")
}

/// Moves this process to a time namespace of its own, if there is to be one, with clocks ahead by `offsets`.
pub(crate) fn own_clocks(plan: &Namespaces, offsets: &str) -> Result<()> {
    if plan.new & TIME == 0 {
        return Ok(());
    }
    sys::unshare(TIME).step("make", "a time namespace")?;
    let open =
        |path, flags| rustix::fs::open(path, flags | OFlags::CLOEXEC, Mode::empty()).step("open", path);
    if !offsets.is_empty() {
        let file = open("/proc/self/timens_offsets", OFlags::WRONLY)?;
        rustix::io::write(&file, offsets.as_bytes()).step("set the clocks by", offsets)?;
    }
    let namespace = open("/proc/self/ns/time_for_children", OFlags::RDONLY)?;
    sys::setns(namespace.as_fd(), TIME).step("enter", "the container's time namespace")
}
