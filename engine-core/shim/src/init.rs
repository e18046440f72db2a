//! From clone to exec: what the first process of a container does before it becomes the program, top to bottom.

use alloc::string::String;
use alloc::vec::Vec;

use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{FileType, Gid, Mode, OFlags, ResolveFlags, Uid};
use rustix::io::Errno;
use rustix::net::SocketFlags;
use rustix::process::{DumpableBehavior, Signal};

use crate::agent::{self, Agent};
use crate::command::{Command, enter_directory};
use crate::failure::{Result, Step, failure};
use crate::life::give_up;
use crate::namespaces::Kept;
use crate::plan::{Cgroup, ContainerPlan, Hooks, Process};
use crate::rootfs::{self, Rootfs, resolve_in};
use crate::sync::{self, Message, hear, tell};
use crate::sys::Forked;
use crate::text::Text;
use crate::wire::Cause;
use crate::{console, devices, hooks, identity, mapping, namespaces, reaper, sys};

/// The ends of the streams that the program gets. A terminal is opened in the container instead.
pub(crate) struct Stdio {
    /// `None` for a program that is given no input.
    pub(crate) stdin: Option<OwnedFd>,
    pub(crate) stdout: OwnedFd,
    pub(crate) stderr: OwnedFd,
}

/// What a process has that waits for its start on a socket of its own, as nobody looks after it.
pub(crate) struct Waiting {
    pub(crate) listener: OwnedFd,
    /// What the program gets from number 3 on.
    pub(crate) preserved: Vec<OwnedFd>,
}

/// What the first process has from the one that clones it, which opened it.
struct Brought<'a> {
    stdio: Option<Stdio>,
    /// Sources of mounts, by their place in the list.
    sources: Vec<(usize, OwnedFd)>,
    agent: Option<Agent<'a>>,
}

/// A process that was begun: a pidfd, its number, and the socket over which it tells how far it is.
pub(crate) type Begun = (OwnedFd, u32, OwnedFd);

/// Clones the container's first process, which builds the container around itself. Nobody looks after one that is
/// `waiting`.
pub(crate) fn spawn(
    plan: &ContainerPlan,
    kept: &Kept,
    stdio: Option<Stdio>,
    waiting: Option<Waiting>,
) -> Result<Begun> {
    let (ours, mut theirs) = sync::pair().step("make", "a socket pair")?;
    let born = open_born(&plan.cgroup)?;
    let users = plan.namespaces.has_users();
    let sources = rootfs::open_early(&plan.mounts, users, kept.users())?;
    if users {
        mapping::hand_over(stdio.as_ref(), &plan.spaces.users)?;
    }
    let mut brought = Brought { stdio, sources, agent: agent::connect(plan.process.agent.as_ref())? };
    let (namespaces, group) = (kept.to_make(&plan.namespaces), born.as_ref().map(AsFd::as_fd));
    let cloned = match kept.come_first() {
        true => mapping::clone_inside(kept, namespaces, group)?,
        false => sys::clone(namespaces, group).step("clone", "the container's first process")?,
    };
    match cloned {
        Forked::Child => {
            drop(ours);
            let failure = match build(plan, kept, &mut brought, &mut theirs, waiting) {
                Ok(command) => command.exec(),
                Err(failure) => failure,
            };
            let _ = tell(&theirs, &Message::Failed(failure.encode()));
            sys::exit(255);
        }
        Forked::Parent(pidfd, pid) => {
            // Whoever waits for it must not wait for itself.
            drop(theirs);
            if users {
                mapping::settle(plan, pid, &ours).map_err(|failure| give_up(&pidfd, Some(&ours), failure))?;
            }
            Ok((pidfd, pid, ours))
        }
    }
}

/// Builds the container around this process, waits for the word, and finds the program to become.
fn build(
    plan: &ContainerPlan,
    kept: &Kept,
    Brought { stdio, sources, agent }: &mut Brought<'_>,
    sync: &mut OwnedFd,
    waiting: Option<Waiting>,
) -> Result<Command> {
    guard()?;
    // Hooks that run in the container are told its number there.
    let pid = if plan.hooks == Hooks::default() { 0 } else { own_number() };
    agent.as_mut().map_or(Ok(()), Agent::is_of_this_process)?;
    join_cgroup(&plan.cgroup.join)?;
    let users = plan.namespaces.has_users();
    if users {
        wait_for_go(sync)?;
    } else if let Some(adjustment) = plan.process.oom_score_adj {
        adjust_oom_score(adjustment)?;
    }
    namespaces::own_clocks(&plan.namespaces, &plan.spaces.clocks)?;
    if !kept.come_first() {
        kept.enter()?;
    }
    // Only now: a cgroup namespace begins at the group that the process is in.
    let cgroup_namespace = plan.namespaces.new & libc::CLONE_NEWCGROUP as u32;
    if cgroup_namespace != 0 {
        sys::unshare(cgroup_namespace).step("make a cgroup namespace", "")?;
    }
    if kept.to_make(&plan.namespaces) & namespaces::NET != 0 {
        namespaces::raise_loopback()?;
    }
    if let Some(hostname) = &plan.hostname {
        rustix::system::sethostname(hostname.as_bytes()).step("set the host name", hostname)?;
    }
    if let Some(domainname) = &plan.domainname {
        rustix::system::setdomainname(domainname.as_bytes()).step("set the domain name", domainname)?;
    }
    // Without a cgroup namespace a hierarchy would show the host's groups: the container's own are shown instead.
    let groups = if cgroup_namespace == 0 { plan.cgroup.dirs.as_slice() } else { &[] };
    let mut rootfs =
        Rootfs::mount(&plan.root, &plan.mounts, &plan.run_dir, groups, core::mem::take(sources))?;
    if users {
        mapping::become_root()?;
    }
    for (place, mount) in plan.mounts.iter().enumerate() {
        rootfs.add(place, mount)?;
    }
    devices::make(rootfs.root(), plan)?;
    let stdio = match stdio.take() {
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
    if pid != 0 {
        tell(&*sync, &Message::Hooks).step("tell", "the monitor")?;
        wait_for_go(sync)?;
        hooks::run(&plan.hooks.create_container, &hooks::state(&plan.hooks.state, "creating", pid))?;
    }
    let identity = identity::look_up(rootfs.root(), &plan.process)?;
    rootfs.make_directory(&plan.process.cwd)?;
    rootfs.enter(plan.root.readonly, plan.propagation)?;
    let keyring = plan.direct.as_ref().is_some_and(|direct| direct.keyring);
    let command = become_user(&plan.process, &identity, stdio, keyring)?;
    let mut confined = false;
    match waiting {
        None => {
            tell(&*sync, &Message::Ready).step("tell", "the monitor")?;
            wait_for_go(sync)?;
        }
        Some(Waiting { listener, preserved }) => {
            leave_alone()?;
            // Whoever creates a container with an agent finds the agent told when that is done.
            if agent.is_some() {
                identity::confine(&plan.process, agent)?;
                confined = true;
            }
            tell(&*sync, &Message::Ready).step("tell", "the builder")?;
            *sync = wait_for_start(listener)?;
            hand_on(preserved, sync, agent)?;
        }
    }
    if pid != 0 {
        hooks::run(&plan.hooks.start_container, &hooks::state(&plan.hooks.state, "created", pid))?;
    }
    if !confined {
        identity::confine(&plan.process, agent)?;
    }
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

/// Nobody looks after this process: it does not end with the one that built it.
pub(crate) fn leave_alone() -> Result<()> {
    rustix::process::set_parent_process_death_signal(None).step("stop ending with", "the builder")
}

/// The number of this process in its own namespace.
fn own_number() -> u32 {
    rustix::process::getpid().as_raw_nonzero().get().unsigned_abs()
}

/// The number of this process, as that procfs shows it whose link `self` is at `link`.
pub(crate) fn shown_number(directory: BorrowedFd<'_>, link: &str) -> Result<u32> {
    let link = rustix::fs::readlinkat(directory, link, Vec::new()).step("read", "/proc/self")?;
    let number = core::str::from_utf8(link.to_bytes()).ok().and_then(|number| number.parse().ok());
    number.ok_or(Errno::INVAL).step("read", "/proc/self")
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
/// identity, working directory. With `keyring` the session's is kept.
pub(crate) fn become_user(
    process: &Process,
    identity: &crate::users::Identity,
    stdio: Stdio,
    keyring: bool,
) -> Result<Command> {
    match if keyring { Ok(()) } else { sys::new_session_keyring() } {
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
    if identity.uid == 0 || !(terminal || FileType::from_raw_mode(kind) == FileType::Fifo) {
        return Ok(());
    }
    let gid = (!terminal).then_some(Gid::from_raw(identity.gid));
    match rustix::fs::fchown(stream, Some(Uid::from_raw(identity.uid)), gid) {
        // A user namespace has no say in what belongs to nobody in it.
        Ok(()) | Err(Errno::PERM | Errno::INVAL | Errno::OVERFLOW) => Ok(()),
        result => result.step("give to the user", "a standard stream"),
    }
}

/// Blocks until the monitor says so. If the monitor is gone there is nothing to become.
pub(crate) fn wait_for_go(sync: &OwnedFd) -> Result<()> {
    match hear(sync).step("hear", "the monitor")? {
        Some(Message::Go) => Ok(()),
        _ => Err(failure(Cause::Step, Errno::CONNRESET, "the monitor is gone", "")),
    }
}

/// Blocks until somebody connects and says so; gives the connection, whose end tells that the program has begun.
fn wait_for_start(listener: OwnedFd) -> Result<OwnedFd> {
    loop {
        let connection = match rustix::net::accept_with(&listener, SocketFlags::CLOEXEC) {
            Err(Errno::INTR | Errno::CONNABORTED) => continue,
            result => result.step("wait for", "the start")?,
        };
        // Whoever goes away without a word wanted nothing.
        if let Ok(Some(Message::Go)) = hear(&connection) {
            return Ok(connection);
        }
    }
}

/// Gives the program what it is to have from number 3 on. `sync` and the connection to the agent make way.
pub(crate) fn hand_on(
    preserved: Vec<OwnedFd>,
    sync: &mut OwnedFd,
    agent: &mut Option<Agent<'_>>,
) -> Result<()> {
    if preserved.is_empty() {
        return Ok(());
    }
    // All of them first move to where none of them has to go.
    let beyond = 3 + preserved.len() as i32;
    let away = |fd: &OwnedFd| rustix::io::fcntl_dupfd_cloexec(fd, beyond).step("keep", "a descriptor");
    *sync = away(sync)?;
    if let Some(agent) = agent {
        agent.socket = away(&agent.socket)?;
    }
    let moved = preserved.iter().map(away).collect::<Result<Vec<_>>>()?;
    drop(preserved);
    for (number, fd) in (3..).zip(&moved) {
        sys::dup_to(fd, number).step("hand on", "a descriptor")?;
    }
    Ok(())
}
