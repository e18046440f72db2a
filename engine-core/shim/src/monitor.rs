//! The monitor role: builds one container and looks after it until it has ended.

use alloc::string::String;
use alloc::vec::Vec;

use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{AtFlags, CWD, Mode, OFlags};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};
use rustix::pipe::PipeFlags;
use rustix::process::{WaitId, WaitIdOptions, WaitIdStatus};

use crate::failure::{Result, Step, failure};
use crate::hub::{Event, Hub, now};
use crate::init::{self, Stdio};
use crate::log::Log;
use crate::plan::ContainerPlan;
use crate::sync::{self, Message, hear, tell};
use crate::sys::{self, Forked};
use crate::text::Text;
use crate::wire::{Cause, Exit, Failure, Kind};
use crate::{held, record, teardown};

/// Builds the container and looks after it. `held` are descriptors to keep open for as long as it lives.
pub(crate) fn run(control: OwnedFd, mut plan: ContainerPlan, held: Vec<OwnedFd>) {
    held::name(&mut plan, &held);
    let mut hub = Hub::default();
    let engine = hub.add_client(control, 0);
    match Monitor::build(plan, &mut hub, engine) {
        Ok(mut monitor) => monitor.look_after(&mut hub, held),
        Err(failure) => hub.reply(engine, Kind::Failed, &failure.encode(), None),
    }
    hub.farewell();
}

/// How far the container has come.
#[derive(PartialEq, Eq)]
enum Phase {
    /// It is being built.
    Building,
    /// It is built and waits for the word.
    Ready,
    /// The word was given.
    Going,
    /// The program runs.
    Running,
}

struct Monitor {
    plan: ContainerPlan,
    /// The connection of the engine that started this monitor.
    engine: u32,
    phase: Phase,
    /// The engine has given the word.
    start_asked: bool,
    init: OwnedFd,
    /// To the process, until it has become the program.
    sync: Option<OwnedFd>,
    listener: OwnedFd,
    netns: Option<OwnedFd>,
    failure: Option<Vec<u8>>,
    /// Locked for as long as this monitor is responsible for the container.
    lock: OwnedFd,
}

impl Monitor {
    fn build(plan: ContainerPlan, hub: &mut Hub, engine: u32) -> Result<Monitor> {
        let lock = take_lock(&plan.run_dir)?;
        let log = match &plan.streams.log {
            Some(path) => Some(Log::open(path)?),
            None => None,
        };
        let (ours, theirs) = sync::pair().step("make", "a socket pair")?;
        let (stdio, stdin, outputs) = match plan.process.terminal {
            true => (None, None, None),
            false => {
                let (stdio, stdin, stdout, stderr) = pipes(plan.streams.open_stdin)?;
                (Some(stdio), stdin, Some((stdout, stderr)))
            }
        };
        // Those to join count for children only.
        for (_, path) in plan.namespaces.join.iter().filter(|(kind, _)| *kind == init::PID_NAMESPACE) {
            let namespace = rustix::fs::open(path.as_str(), OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
                .step("open namespace", path)?;
            sys::setns(namespace.as_fd(), init::PID_NAMESPACE).step("join namespace", path)?;
        }
        // A cgroup namespace begins at the group of the process that makes it: the container's own process does.
        let namespaces = plan.namespaces.new & !(libc::CLONE_NEWCGROUP as u32);
        let born = init::open_born(&plan.cgroup)?;
        let cloned = sys::clone(namespaces, born.as_ref().map(AsFd::as_fd));
        let (init, pid) = match cloned.step("clone", "the container's first process")? {
            Forked::Child => {
                drop(ours);
                let failure = init::run(&plan, stdio, &theirs);
                let _ = tell(&theirs, &Message::Failed(failure.encode()));
                sys::exit(255);
            }
            Forked::Parent(pidfd, pid) => (pidfd, pid),
        };
        drop((theirs, stdio));
        hub.set_streams(stdin, plan.streams.stdin_once, log);
        if let Some((stdout, stderr)) = outputs {
            hub.set_outputs(stdout, stderr);
        }
        let has_netns = plan.namespaces.new & libc::CLONE_NEWNET as u32 != 0;
        let (netns, listener) =
            publish(&plan.run_dir, pid, has_netns).map_err(|failure| give_up(&init, &ours, failure))?;
        hub.reply(engine, Kind::Created, &pid.to_be_bytes(), netns.as_ref().map(AsFd::as_fd));
        Ok(Monitor {
            plan,
            engine,
            phase: Phase::Building,
            start_asked: false,
            init,
            sync: Some(ours),
            listener,
            netns,
            failure: None,
            lock,
        })
    }

    /// Serves the container until its first process has ended, and cleans up after it.
    fn look_after(&mut self, hub: &mut Hub, held: Vec<OwnedFd>) {
        loop {
            let events = {
                let mut fds: [BorrowedFd<'_>; 3] =
                    [self.init.as_fd(), self.listener.as_fd(), self.init.as_fd()];
                let watched = match &self.sync {
                    Some(sync) => {
                        fds[2] = sync.as_fd();
                        3
                    }
                    None => 2,
                };
                hub.turn(fds.get(..watched).unwrap_or_default(), None)
            };
            let mut ended = events.is_err();
            for event in events.unwrap_or_default() {
                match event {
                    Event::Ready(0) => ended = true,
                    Event::Ready(1) => self.accept(hub),
                    Event::Ready(_) => self.hear_init(hub),
                    Event::Request(client, kind, payload) => self.answer(hub, client, kind, &payload),
                    Event::Gone(client) if client == self.engine => self.engine_gone(),
                    Event::Gone(_) => {}
                }
            }
            if ended {
                break;
            }
        }
        // Whatever it had left to say is in the socket still.
        while self.sync.is_some() {
            self.hear_init(hub);
        }
        self.finish(hub, held);
    }

    /// A message of the process that is being built. The end of the connection means that it has become the program.
    fn hear_init(&mut self, hub: &mut Hub) {
        let Some(sync) = &self.sync else { return };
        match hear(sync) {
            Ok(Some(Message::Console(master, slave))) => {
                hub.set_terminal(master, slave, self.plan.streams.open_stdin);
            }
            Ok(Some(Message::Ready)) => {
                self.phase = Phase::Ready;
                self.go();
            }
            Ok(Some(Message::Failed(failure))) => self.failure = Some(failure),
            Ok(Some(Message::Go)) => {}
            Ok(None) | Err(_) => {
                self.sync = None;
                if self.failure.is_none() && self.phase == Phase::Going {
                    self.phase = Phase::Running;
                    hub.reply(self.engine, Kind::Started, &[], None);
                }
            }
        }
    }

    fn go(&mut self) {
        if let (Phase::Ready, true, Some(sync)) = (&self.phase, self.start_asked, &self.sync)
            && tell(sync, &Message::Go).is_ok()
        {
            self.phase = Phase::Going;
        }
    }

    fn answer(&mut self, hub: &mut Hub, client: u32, kind: Kind, payload: &[u8]) {
        match kind {
            Kind::Start if client == self.engine => {
                self.start_asked = true;
                self.go();
            }
            Kind::Signal => hub.done(client, signal(self.init.as_fd(), payload)),
            // Before it is the program, the host's files are still in its reach.
            Kind::Process if self.phase != Phase::Running => hub.done(client, Err(Errno::SRCH)),
            Kind::Process => hub.reply(client, Kind::Process, &[], Some(self.init.as_fd())),
            Kind::Namespace => match &self.netns {
                Some(netns) => hub.reply(client, Kind::Namespace, &[], Some(netns.as_fd())),
                None => hub.done(client, Err(Errno::NOENT)),
            },
            _ => hub.done(client, Err(Errno::NOSYS)),
        }
    }

    /// The program that started this monitor is gone, or lets the container go. One that was never told to begin is
    /// nobody's; one that began goes on, unless it was to end with its engine.
    fn engine_gone(&mut self) {
        if !self.start_asked || self.plan.with_engine {
            let _ = sys::pidfd_send_signal(self.init.as_fd(), libc::SIGKILL);
        }
    }

    fn accept(&self, hub: &mut Hub) {
        let Ok(socket) = rustix::net::accept_with(&self.listener, SocketFlags::CLOEXEC) else { return };
        // The directory keeps others out; this says so again.
        let same_user = rustix::net::sockopt::socket_peercred(&socket)
            .is_ok_and(|peer| peer.uid == rustix::process::geteuid());
        if same_user {
            hub.add_client(socket, 0);
        }
    }

    /// The first process has ended: ends what is left, keeps the last output, takes away what was made on the host,
    /// and only then tells that it is over.
    fn finish(&mut self, hub: &mut Hub, held: Vec<OwnedFd>) {
        let status = rustix::process::waitid(WaitId::PidFd(self.init.as_fd()), WaitIdOptions::EXITED);
        let code = status.ok().flatten().map_or(255, |status| exit_code(&status));
        teardown::kill_rest(&self.plan.cgroup);
        hub.drain_outputs();
        let oom_killed = teardown::oom_kills(&self.plan.cgroup) > 0;
        teardown::remove(&self.plan.cgroup);
        teardown::send(&self.plan.teardown);
        for name in ["/control", "/pid"] {
            let _ = rustix::fs::unlinkat(CWD, [&self.plan.run_dir, name].concat(), AtFlags::empty());
        }
        // Who hears of the end may want the same ports again.
        drop(held);
        if self.phase != Phase::Running {
            let failure = self.failure.take().unwrap_or_else(|| self.died(code).encode());
            let _ = sys::lock(self.lock.as_fd(), false);
            hub.reply(self.engine, Kind::Failed, &failure, None);
            return;
        }
        let exit = Exit { code, oom_killed, finished: now(), run: self.plan.run };
        // If it cannot be written, the container is found without a monitor and without a record: lost, which is true.
        let _ = record::write(&self.plan.exit_record, &exit, self.plan.durable);
        let _ = sys::lock(self.lock.as_fd(), false);
        hub.tell_all(Kind::Exited, &exit.encode());
    }

    /// The first process ended before it became the program, and did not say why.
    fn died(&self, code: i32) -> Failure {
        let mut text = Text::default();
        text.push("the container's first process ended with code ")
            .number(code.into())
            .push(" while it was built");
        failure(Cause::Step, Errno::CHILD, text.as_str(), "")
    }
}

/// Sends the signal in a request's payload.
pub(crate) fn signal(process: BorrowedFd<'_>, payload: &[u8]) -> rustix::io::Result<()> {
    let number = <[u8; 4]>::try_from(payload).map_err(|_| Errno::INVAL)?;
    sys::pidfd_send_signal(process, i32::from_be_bytes(number))
}

/// Lets the container be found: its network namespace, its control socket and its number. Whoever hears that it is
/// created may connect at once.
fn publish(run_dir: &str, pid: u32, has_netns: bool) -> Result<(Option<OwnedFd>, OwnedFd)> {
    let netns = if has_netns { Some(open_netns(pid)?) } else { None };
    let listener = listen(run_dir)?;
    write_pid(run_dir, pid)?;
    Ok((netns, listener))
}

/// Ends the process that is being built. If it failed itself meanwhile, that is why, and not what `failure` says.
fn give_up(init: &OwnedFd, sync: &OwnedFd, failure: Failure) -> Failure {
    let _ = sys::pidfd_send_signal(init.as_fd(), libc::SIGKILL);
    let _ = rustix::process::waitid(WaitId::PidFd(init.as_fd()), WaitIdOptions::EXITED);
    while let Ok(Some(message)) = hear(sync) {
        if let Message::Failed(own) = message {
            return Failure::decode(&own).unwrap_or(failure);
        }
    }
    failure
}

/// An exit code as a shell has it.
pub(crate) fn exit_code(status: &WaitIdStatus) -> i32 {
    match (status.exit_status(), status.terminating_signal()) {
        (Some(code), _) => code,
        (None, Some(signal)) => 128 + signal,
        (None, None) => 255,
    }
}

fn take_lock(run_dir: &str) -> Result<OwnedFd> {
    let path: String = [run_dir, "/monitor"].concat();
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let lock = rustix::fs::open(path.as_str(), flags, Mode::from_raw_mode(0o600)).step("open lock", &path)?;
    match sys::lock(lock.as_fd(), true) {
        Err(Errno::AGAIN | Errno::ACCESS) => {
            let what = "another monitor looks after the container of";
            return Err(failure(Cause::Step, Errno::BUSY, what, run_dir));
        }
        result => result.step("lock", &path)?,
    }
    Ok(lock)
}

/// A pipe for each stream: the program's ends, and ours, which never block.
pub(crate) fn pipes(open_stdin: bool) -> Result<(Stdio, Option<OwnedFd>, OwnedFd, OwnedFd)> {
    let pipe = || rustix::pipe::pipe_with(PipeFlags::CLOEXEC).step("make", "a pipe");
    let (stdin, our_stdin) = match open_stdin {
        true => {
            let (read, write) = pipe()?;
            nonblocking(&write)?;
            (Some(read), Some(write))
        }
        false => (None, None),
    };
    let ((our_stdout, stdout), (our_stderr, stderr)) = (pipe()?, pipe()?);
    nonblocking(&our_stdout)?;
    nonblocking(&our_stderr)?;
    Ok((Stdio { stdin, stdout, stderr }, our_stdin, our_stdout, our_stderr))
}

fn nonblocking(fd: &OwnedFd) -> Result<()> {
    rustix::io::ioctl_fionbio(fd, true).step("set up", "a pipe")
}

fn open_netns(pid: u32) -> Result<OwnedFd> {
    let mut path = Text::default();
    path.push("/proc/").number(pid.into()).push("/ns/net");
    rustix::fs::open(path.as_str(), OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
        .step("open", path.as_str())
}

/// The socket `control` in the directory. It is bound by its bare name, as a whole path may be too long for one.
fn listen(run_dir: &str) -> Result<OwnedFd> {
    rustix::process::chdir(run_dir).step("enter", run_dir)?;
    crate::rootfs::clear(CWD, "control").step("clear", "the control socket")?;
    let socket =
        rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)
            .step("make", "the control socket")?;
    let address = SocketAddrUnix::new("control").step("name", "the control socket")?;
    rustix::net::bind(&socket, &address).step("bind", "the control socket")?;
    rustix::net::listen(&socket, 16).step("listen on", "the control socket")?;
    Ok(socket)
}

fn write_pid(run_dir: &str, pid: u32) -> Result<()> {
    let path: String = [run_dir, "/pid"].concat();
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let file = rustix::fs::open(path.as_str(), flags, Mode::from_raw_mode(0o600)).step("write", &path)?;
    let mut text = Text::default();
    text.number(pid.into());
    rustix::io::write(&file, text.as_str().as_bytes()).step("write", &path).map(drop)
}
