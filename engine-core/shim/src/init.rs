//! From clone to exec: what the first process of a container does before it becomes the program, top to bottom.

use alloc::string::String;

use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{FileType, Gid, Mode, OFlags, ResolveFlags, Uid};
use rustix::io::Errno;
use rustix::process::{DumpableBehavior, Signal};

use crate::command::{Command, enter_directory};
use crate::failure::{Result, Step, failure};
use crate::namespaces::Kept;
use crate::plan::{Cgroup, ContainerPlan, Process};
use crate::rootfs::{Rootfs, resolve_in};
use crate::sync::{Message, hear, tell};
use crate::text::Text;
use crate::wire::{Cause, Failure};
use crate::{console, devices, identity, reaper, sys};

/// The ends of the streams that the program gets. A terminal is opened in the container instead.
pub(crate) struct Stdio {
    /// `None` for a program that is given no input.
    pub(crate) stdin: Option<OwnedFd>,
    pub(crate) stdout: OwnedFd,
    pub(crate) stderr: OwnedFd,
}

/// Builds the container around this process, waits for the word, and becomes the program. Returns only to say why
/// not.
pub(crate) fn run(plan: &ContainerPlan, kept: &Kept, stdio: Option<Stdio>, sync: &OwnedFd) -> Failure {
    match build(plan, kept, stdio, sync) {
        Ok(command) => command.exec(),
        Err(failure) => failure,
    }
}

fn build(plan: &ContainerPlan, kept: &Kept, stdio: Option<Stdio>, sync: &OwnedFd) -> Result<Command> {
    guard()?;
    join_cgroup(&plan.cgroup.join)?;
    if let Some(adjustment) = plan.process.oom_score_adj {
        adjust_oom_score(adjustment)?;
    }
    kept.enter()?;
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
    let mut rootfs = Rootfs::mount(&plan.root, &plan.mounts, &plan.run_dir)?;
    for (place, mount) in plan.mounts.iter().enumerate() {
        rootfs.add(place, mount)?;
    }
    devices::make(rootfs.root(), plan)?;
    let stdio = match stdio {
        Some(stdio) => stdio,
        None => {
            let (master, slave) = terminal(rootfs.root(), plan.streams.terminal_size)?;
            console::mount(rootfs.root(), slave.as_fd())?;
            hand_over(sync, master, slave)?
        }
    };
    let stdio = stdio.with_input(rootfs.root())?;
    settings(&rootfs, plan)?;
    for path in &plan.readonly {
        rootfs.make_readonly(path)?;
    }
    for path in &plan.masked {
        rootfs.mask(path)?;
    }
    let identity = identity::look_up(rootfs.root(), &plan.process)?;
    rootfs.make_directory(&plan.process.cwd)?;
    rootfs.enter(plan.root.readonly, plan.propagation)?;
    let command = become_user(&plan.process, &identity, stdio)?;
    tell(sync, &Message::Ready).step("tell", "the monitor")?;
    wait_for_go(sync)?;
    identity::confine(&plan.process)?;
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

/// The group that a process is born in.
pub(crate) fn open_born(cgroup: &Cgroup) -> Result<Option<OwnedFd>> {
    let Some(path) = &cgroup.born else { return Ok(None) };
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::open(path.as_str(), flags, Mode::empty()).step("open cgroup", path).map(Some)
}

pub(crate) fn join_cgroup(files: &[String]) -> Result<()> {
    for file in files {
        let fd = rustix::fs::open(file.as_str(), OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())
            .step("open cgroup", file)?;
        rustix::io::write(&fd, b"0").step("join cgroup", file)?;
    }
    Ok(())
}

/// A terminal of the container's own devpts: master and slave.
pub(crate) fn terminal(root: BorrowedFd<'_>, size: Option<(u16, u16)>) -> Result<(OwnedFd, OwnedFd)> {
    let (master, slave) = console::open(root)?;
    if let Some((rows, columns)) = size {
        console::resize(&master, rows, columns);
    }
    Ok((master, slave))
}

/// Gives the terminal to whoever looks after this process, and makes it all three streams. The other one keeps the
/// slave open too: a program that closes all of its terminal may open it again.
pub(crate) fn hand_over(sync: &OwnedFd, master: OwnedFd, slave: OwnedFd) -> Result<Stdio> {
    let copy = || rustix::io::fcntl_dupfd_cloexec(&slave, 3).step("copy", "the terminal");
    let stdio = Stdio { stdin: Some(copy()?), stdout: copy()?, stderr: copy()? };
    tell(sync, &Message::Console(master, slave)).step("hand over", "the terminal")?;
    Ok(stdio)
}

impl Stdio {
    /// The same, with something to read that is empty if there was nothing. `root` is the container's.
    pub(crate) fn with_input(self, root: BorrowedFd<'_>) -> Result<Stdio> {
        let stdin = match self.stdin {
            Some(stdin) => stdin,
            None => devices::no_input(root)?,
        };
        Ok(Stdio { stdin: Some(stdin), ..self })
    }
}

/// Says how readily the kernel kills this process, and those it starts, for want of memory.
pub(crate) fn adjust_oom_score(adjustment: i32) -> Result<()> {
    let mut text = Text::default();
    text.number(i64::from(adjustment));
    let written =
        rustix::fs::open("/proc/self/oom_score_adj", OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())
            .and_then(|file| rustix::io::write(&file, text.as_str().as_bytes()));
    match written {
        // To be killed less readily than the engine needs a privilege that an engine in a container may lack.
        Ok(_) | Err(Errno::ACCESS | Errno::PERM) => Ok(()),
        Err(errno) => Err(errno).step("set", "oom_score_adj"),
    }
}

/// Kernel settings, through the container's own procfs, which nobody could have tampered with.
fn settings(rootfs: &Rootfs, plan: &ContainerPlan) -> Result<()> {
    for (path, value) in &plan.sysctls {
        let path = ["sys/", path].concat();
        rootfs
            .proc()
            .ok_or(Errno::NOENT)
            .and_then(|proc| resolve_in(proc, &path, OFlags::WRONLY, ResolveFlags::NO_SYMLINKS))
            .and_then(|file| rustix::io::write(&file, value.as_bytes()))
            .step("write", ["/proc/", &path].concat())?;
    }
    Ok(())
}

/// The last steps before the program but for its [confinement](identity::confine): session, streams, limits,
/// identity, working directory.
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
        rustix::process::ioctl_tiocsctty(&stdio.stdout).step("take", "the terminal")?;
    }
    let stdin = stdio.stdin.as_ref().unwrap_or(&stdio.stdout);
    for (stream, number) in [(stdin, 0), (&stdio.stdout, 1), (&stdio.stderr, 2)] {
        own(stream, process.terminal, identity)?;
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

/// Gives a pipe or terminal to the program's user, so that the program can open `/dev/stdout` and the like again. A
/// terminal keeps its group.
fn own(stream: &OwnedFd, terminal: bool, identity: &crate::users::Identity) -> Result<()> {
    let kind = rustix::fs::fstat(stream).step("examine", "a standard stream")?.st_mode;
    if identity.uid != 0 && (terminal || FileType::from_raw_mode(kind) == FileType::Fifo) {
        let gid = (!terminal).then_some(Gid::from_raw(identity.gid));
        rustix::fs::fchown(stream, Some(Uid::from_raw(identity.uid)), gid)
            .step("give to the user", "a standard stream")?;
    }
    Ok(())
}

/// Blocks until the monitor says so. If the monitor is gone there is nothing to become.
pub(crate) fn wait_for_go(sync: &OwnedFd) -> Result<()> {
    match hear(sync).step("hear", "the monitor")? {
        Some(Message::Go) => Ok(()),
        _ => Err(failure(Cause::Step, Errno::CONNRESET, "the monitor is gone", "")),
    }
}
