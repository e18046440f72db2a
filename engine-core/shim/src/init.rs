//! From clone to exec: what the first process of a container does before it becomes the program, top to bottom.

use alloc::string::String;

use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{Mode, OFlags, ResolveFlags};
use rustix::io::Errno;
use rustix::process::{DumpableBehavior, Signal};

use crate::command::{Command, enter_directory};
use crate::failure::{Result, Step, failure};
use crate::plan::{ContainerPlan, Process};
use crate::rootfs::Rootfs;
use crate::sync::{Message, hear, tell};
use crate::wire::{Cause, Failure};
use crate::{console, devices, identity, reaper, sys};

/// The ends of the streams that the program gets. A terminal is opened in the container instead.
pub(crate) struct Stdio {
    pub(crate) stdin: OwnedFd,
    pub(crate) stdout: OwnedFd,
    pub(crate) stderr: OwnedFd,
}

/// Builds the container around this process, waits for the word, and becomes the program. Returns only to say why
/// not.
pub(crate) fn run(plan: &ContainerPlan, stdio: Option<Stdio>, sync: &OwnedFd) -> Failure {
    match build(plan, stdio, sync) {
        Ok(command) => command.exec(),
        Err(failure) => failure,
    }
}

fn build(plan: &ContainerPlan, stdio: Option<Stdio>, sync: &OwnedFd) -> Result<Command> {
    guard()?;
    join_cgroup(&plan.cgroup.join)?;
    for (kind, path) in &plan.namespaces.join {
        let namespace = rustix::fs::open(path.as_str(), OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
            .step("open namespace", path)?;
        sys::setns(namespace.as_fd(), *kind).step("join namespace", path)?;
    }
    // Only now: a cgroup namespace begins at the group that the process is in.
    let cgroup_namespace = plan.namespaces.new & libc::CLONE_NEWCGROUP as u32;
    if cgroup_namespace != 0 {
        sys::unshare(cgroup_namespace).step("make a cgroup namespace", "")?;
    }
    if let Some(hostname) = &plan.hostname {
        rustix::system::sethostname(hostname.as_bytes()).step("set the host name", hostname)?;
    }
    if let Some(domainname) = &plan.domainname {
        rustix::system::setdomainname(domainname.as_bytes()).step("set the domain name", domainname)?;
    }
    let mut rootfs = Rootfs::mount(&plan.root, &plan.run_dir)?;
    for mount in &plan.mounts {
        rootfs.add(mount)?;
    }
    devices::make(rootfs.root(), &plan.devices)?;
    let stdio = match stdio {
        Some(stdio) => stdio,
        None => terminal(rootfs.root(), plan, sync)?,
    };
    settings(&rootfs, plan)?;
    for path in &plan.readonly {
        rootfs.make_readonly(path)?;
    }
    for path in &plan.masked {
        rootfs.mask(path)?;
    }
    let identity = identity::look_up(rootfs.root(), &plan.process)?;
    rootfs.enter(plan.root.readonly, plan.propagation)?;
    let command = become_user(&plan.process, &identity, stdio)?;
    tell(sync, &Message::Ready).step("tell", "the monitor")?;
    wait_for_go(sync)?;
    if plan.init {
        reaper::fork_program(plan.process.terminal)?;
    }
    Ok(command)
}

/// Makes sure that this process ends with its monitor, and that nobody in the container can look into it before it
/// is the program.
pub(crate) fn guard() -> Result<()> {
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))
        .step("ask to end with", "the monitor")?;
    rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable)
        .step("close itself to", "inspection")
}

pub(crate) fn join_cgroup(files: &[String]) -> Result<()> {
    for file in files {
        let fd = rustix::fs::open(file.as_str(), OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())
            .step("open cgroup", file)?;
        rustix::io::write(&fd, b"0").step("join cgroup", file)?;
    }
    Ok(())
}

/// A terminal of the container's own devpts, whose master goes to the monitor.
fn terminal(root: BorrowedFd<'_>, plan: &ContainerPlan, sync: &OwnedFd) -> Result<Stdio> {
    let (master, slave) = console::open(root)?;
    console::mount(root, slave.as_fd())?;
    if let Some((rows, columns)) = plan.streams.terminal_size {
        console::resize(&master, rows, columns);
    }
    tell(sync, &Message::Console(master)).step("hand over", "the terminal")?;
    streams_of(slave)
}

/// All three streams are the terminal.
pub(crate) fn streams_of(slave: OwnedFd) -> Result<Stdio> {
    Ok(Stdio { stdin: slave.try_clone_step()?, stdout: slave.try_clone_step()?, stderr: slave })
}

trait TryCloneStep {
    fn try_clone_step(&self) -> Result<OwnedFd>;
}

impl TryCloneStep for OwnedFd {
    fn try_clone_step(&self) -> Result<OwnedFd> {
        rustix::io::fcntl_dupfd_cloexec(self, 3).step("copy", "the terminal")
    }
}

/// Kernel settings, through the container's own procfs, which nobody could have tampered with.
fn settings(rootfs: &Rootfs, plan: &ContainerPlan) -> Result<()> {
    let write = |path: &str, value: &[u8]| -> rustix::io::Result<()> {
        let proc = rootfs.proc().ok_or(Errno::NOENT)?;
        let flags = ResolveFlags::NO_SYMLINKS;
        let file = crate::rootfs::resolve_in(proc, path, OFlags::WRONLY, flags)?;
        rustix::io::write(&file, value).map(drop)
    };
    for (path, value) in &plan.sysctls {
        let path = ["sys/", path].concat();
        write(&path, value.as_bytes()).step("write /proc/", &path)?;
    }
    if let Some(adjustment) = plan.process.oom_score_adj {
        let mut text = crate::text::Text::default();
        text.number(i64::from(adjustment));
        // `self` is a link, and the one process here is number 1 unless the namespace is shared.
        let pid = rustix::process::getpid().as_raw_nonzero().get();
        let mut path = crate::text::Text::default();
        path.number(i64::from(pid));
        path.push("/oom_score_adj");
        match write(path.as_str(), text.as_str().as_bytes()) {
            // To be killed less readily than the engine needs a privilege that an engine in a container may lack.
            Ok(()) | Err(Errno::ACCESS | Errno::PERM) => {}
            Err(errno) => return Err(errno).step("set", "oom_score_adj"),
        }
    }
    Ok(())
}

/// The last steps before the program: session, streams, limits, identity, working directory.
pub(crate) fn become_user(
    process: &Process,
    identity: &crate::users::Identity,
    stdio: Stdio,
) -> Result<Command> {
    match sys::new_session_keyring() {
        // A kernel without keyrings, or an engine under a filter that denies them, keeps nothing to be reached.
        Ok(()) | Err(Errno::NOSYS | Errno::PERM) => {}
        Err(errno) => return Err(errno).step("make", "a session keyring"),
    }
    rustix::process::setsid().step("begin", "a session")?;
    if process.terminal {
        rustix::process::ioctl_tiocsctty(&stdio.stdin).step("take", "the terminal")?;
    }
    for stream in [&stdio.stdin, &stdio.stdout, &stdio.stderr] {
        // So that the program can open /dev/stdout and the like again.
        let (uid, gid) = (rustix::fs::Uid::from_raw(identity.uid), rustix::fs::Gid::from_raw(identity.gid));
        let gid = (!process.terminal).then_some(gid);
        let _ = rustix::fs::fchown(stream, Some(uid), gid);
    }
    for (stream, number) in [(&stdio.stdin, 0), (&stdio.stdout, 1), (&stdio.stderr, 2)] {
        sys::dup_to(stream, number).step("set up", "the standard streams")?;
    }
    sys::reset_signals();
    enter_directory(&process.cwd)?;
    identity::assume(process, identity)?;
    // A change of identity cleared these.
    guard()?;
    let command = Command::find(process, identity)?;
    sys::cloexec_from_3().step("close", "descriptors")?;
    Ok(command)
}

/// Blocks until the monitor says so. If the monitor is gone there is nothing to become.
pub(crate) fn wait_for_go(sync: &OwnedFd) -> Result<()> {
    match hear(sync).step("hear", "the monitor")? {
        Some(Message::Go) => Ok(()),
        _ => Err(failure(Cause::Step, Errno::CONNRESET, "the monitor is gone", "")),
    }
}
