//! The exec role: enters a running container, runs one process there, and tells how it ended.

use alloc::vec::Vec;

use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::process::{DumpableBehavior, WaitId, WaitIdOptions};

use crate::agent::{self, Agent};
use crate::builder::{Given, hand_console};
use crate::control::{receive_frame, send_frame};
use crate::execs::Record;
use crate::failure::{Result, Step, failure};
use crate::foreign;
use crate::hub::{Event, Hub, now};
use crate::identity;
use crate::init::{self, Begun, Stdio, become_user, guard};
use crate::journal::{self, Entry};
use crate::life::{End, exit_code, pipes, signal};
use crate::mapping;
use crate::namespaces::USER;
use crate::plan::{ExecEvents, ExecPlan};
use crate::sync::{self, Message, hear, tell};
use crate::sys::{self, Forked};
use crate::text::Text;
use crate::traits;
use crate::wire::{Cause, Exit, Failure, Kind, streams};

/// Runs the process. `given` are the pidfd of the container's first process and, where another program runs it, the
/// container's root directory.
pub(crate) fn run(control: OwnedFd, plan: &ExecPlan, given: Vec<OwnedFd>) {
    let mut hub = Hub::default();
    let engine = hub.add_client(control, streams::STDIN | streams::STDOUT | streams::STDERR);
    // Opened while the host's files are in reach. What it cannot tell is no reason not to run.
    let journal = plan.events.as_ref().and_then(|events| journal::open_now(&events.journal).ok());
    let teller = Teller { events: plan.events.as_ref(), journal, record: Record::open(plan.record.as_ref()) };
    match Exec::begin(plan, given, &mut hub, engine, &teller) {
        Ok(exec) => exec.look_after(&mut hub, &teller),
        Err(failure) => {
            let failure = failure.encode();
            teller.failed(&failure);
            hub.reply(engine, Kind::Failed, &failure, None);
        }
    }
    hub.farewell();
}

/// Who tells of the process, in the journal of events and in its record.
struct Teller<'a> {
    events: Option<&'a ExecEvents>,
    journal: Option<OwnedFd>,
    record: Record,
}

impl Teller<'_> {
    fn started(&self, pid: u32) {
        self.record.began(pid);
        if let Some(events) = self.events {
            self.tell(events, &events.start, &events.attributes);
        }
    }

    /// It could not begin.
    fn failed(&self, failure: &[u8]) {
        let code = Failure::decode(failure).map_or(255, |failure| End::of(failure).code);
        self.record.ended(code, now());
    }

    /// For a child, which has no business with the host's files.
    fn close_in_child(&self) {
        sys::close_in_child(&self.journal);
        self.record.close_in_child();
    }

    fn ended(&self, code: i32) {
        self.record.ended(code, now());
        if let Some(events) = self.events {
            let mut attributes = Text::default();
            attributes.push(&events.attributes).push(if events.attributes.is_empty() { "" } else { "," });
            attributes.push("\"exitCode\":\"").number(code.into()).push("\"");
            self.tell(events, "exec_die", attributes.as_str());
        }
    }

    fn tell(&self, events: &ExecEvents, action: &str, attributes: &str) {
        let entry = Entry { kind: "container", action, id: &events.container, attributes, time: now() };
        if let Some(journal) = &self.journal {
            let _ = journal::append_to(journal, &entry);
        }
    }
}

struct Exec {
    engine: u32,
    process: OwnedFd,
    pid: u32,
    sync: Option<OwnedFd>,
    /// The process that has another program run it, once it is there.
    builder: Option<OwnedFd>,
    failure: Option<Vec<u8>>,
    started: bool,
    takes_input: bool,
    /// Until it has begun.
    outputs: Outputs,
}

/// Where the process writes to.
enum Outputs {
    None,
    Pipes(OwnedFd, OwnedFd),
    /// Master and slave.
    Terminal(OwnedFd, OwnedFd),
}

impl Exec {
    fn begin(
        plan: &ExecPlan,
        given: Vec<OwnedFd>,
        hub: &mut Hub,
        engine: u32,
        teller: &Teller<'_>,
    ) -> Result<Exec> {
        let mut given = given.into_iter();
        let mut next =
            || given.next().ok_or(failure(Cause::Plan, Errno::BADF, "the plan came without a process", ""));
        let target = next()?;
        let (stdio, stdin, outputs) = match plan.process.terminal {
            true => (None, None, Outputs::None),
            false => {
                let (stdio, stdin, stdout, stderr) = pipes(plan.stdin)?;
                (Some(stdio), stdin, Outputs::Pipes(stdout, stderr))
            }
        };
        let (process, pid, ours) = match &plan.program {
            Some(program) => foreign::enter(plan, program, &next()?, stdio)?,
            None => enter(plan, target, stdio, None, Some(teller))?,
        };
        hub.set_input(stdin, true);
        let takes_input = plan.stdin;
        Ok(Exec {
            engine,
            process,
            pid,
            sync: Some(ours),
            builder: None,
            failure: None,
            started: false,
            takes_input,
            outputs,
        })
    }

    fn look_after(mut self, hub: &mut Hub, teller: &Teller<'_>) {
        loop {
            let events = {
                let (process, sync) = (self.process.as_fd(), self.sync.as_ref());
                match sync {
                    Some(sync) => hub.turn(&[process, sync.as_fd()], None),
                    None => hub.turn(&[process], None),
                }
            };
            let mut ended = events.is_err();
            let watched = self.pid;
            for event in events.unwrap_or_default() {
                match event {
                    Event::Ready(0) => ended = true,
                    Event::Ready(_) => self.hear(hub, teller),
                    Event::Request(client, Kind::Signal, payload) => {
                        let result = signal(self.process.as_fd(), &payload);
                        hub.done(client, result);
                    }
                    Event::Request(..) | Event::Gone(_) => {}
                }
            }
            // A builder that is done leaves another process to look after, of which it has told before.
            if ended && self.pid == watched {
                break;
            }
        }
        while self.sync.is_some() {
            self.hear(hub, teller);
        }
        let status = rustix::process::waitid(WaitId::PidFd(self.process.as_fd()), WaitIdOptions::EXITED);
        let code = status.ok().flatten().map_or(255, |status| exit_code(&status));
        hub.drain_outputs();
        if self.started {
            teller.ended(code);
            let exit = Exit { code, oom_killed: false, finished: now(), run: 0 };
            hub.tell_all(Kind::Exited, &exit.encode());
            return;
        }
        let failure = self.failure.take().unwrap_or_else(|| {
            failure(Cause::Step, Errno::SRCH, "the process ended before it began", "").encode()
        });
        teller.failed(&failure);
        hub.reply(self.engine, Kind::Failed, &failure, None);
    }

    fn hear(&mut self, hub: &mut Hub, teller: &Teller<'_>) {
        let Some(sync) = &self.sync else { return };
        match hear(sync) {
            Ok(Some(Message::Console(master, slave))) => self.outputs = Outputs::Terminal(master, slave),
            Ok(Some(Message::Failed(failure))) => {
                self.failure = Some(failure);
                if self.builder.is_some() {
                    // The process does not know of it.
                    let _ = sys::pidfd_send_signal(self.process.as_fd(), libc::SIGKILL);
                }
            }
            Ok(Some(Message::Born(process, pid))) => {
                foreign::adopted();
                self.builder = Some(core::mem::replace(&mut self.process, process));
                self.pid = pid;
            }
            Ok(Some(Message::Hooks | Message::Ready | Message::Go)) => {}
            Ok(None) | Err(_) => {
                self.sync = None;
                if let Some(builder) = self.builder.take() {
                    let _ = rustix::process::waitid(WaitId::PidFd(builder.as_fd()), WaitIdOptions::EXITED);
                }
                if self.failure.is_none() {
                    self.started = true;
                    teller.started(self.pid);
                    hub.reply(self.engine, Kind::Started, &self.pid.to_be_bytes(), None);
                    // Only now is anything read of it, so that nothing it says overtakes the news that it began.
                    match core::mem::replace(&mut self.outputs, Outputs::None) {
                        Outputs::None => {}
                        Outputs::Pipes(stdout, stderr) => hub.set_outputs(stdout, stderr),
                        Outputs::Terminal(master, slave) => hub.set_terminal(master, slave, self.takes_input),
                    }
                }
            }
        }
    }
}

/// Runs the process of a caller who looks after it by itself. `descriptors` are those that came with the plan.
pub(crate) fn run_direct(control: &OwnedFd, plan: &ExecPlan, descriptors: Vec<OwnedFd>) {
    // Nobody is left to be told that nobody is left.
    let _ = match begin_direct(plan, descriptors) {
        // It stays the process's parent until the caller knows that, and goes.
        Ok(pid) => send_frame(control, Kind::Started, &pid.to_be_bytes(), &[])
            .and_then(|()| receive_frame(control).map(drop)),
        Err(failure) => send_frame(control, Kind::Failed, &failure.encode(), &[]),
    };
}

fn begin_direct(plan: &ExecPlan, descriptors: Vec<OwnedFd>) -> Result<u32> {
    let preserved = plan.direct.as_ref().map_or(0, |direct| direct.preserved);
    let Given { first: target, stdio, preserved, console } = Given::sort(descriptors, preserved)?;
    // Closed at once for one that has a terminal: callers read a pipe to its end before they go on.
    let stdio = (!plan.process.terminal).then_some(stdio);
    let (_process, pid, sync) = enter(plan, target, stdio, Some(preserved), None)?;
    loop {
        match hear(&sync) {
            Ok(Some(Message::Console(master, _))) => hand_console(console.as_ref(), &master)?,
            Ok(Some(Message::Failed(failure))) => {
                let unclear =
                    || self::failure(Cause::Step, Errno::SRCH, "the process ended before it began", "");
                return Err(Failure::decode(&failure).unwrap_or_else(unclear));
            }
            Ok(Some(_)) => {}
            Ok(None) | Err(_) => return Ok(pid),
        }
    }
}

/// Enters the container with this process, and clones the one that is to become the program. One with `direct` belongs
/// to the caller, and gets those descriptors from number 3 on.
fn enter(
    plan: &ExecPlan,
    target: OwnedFd,
    stdio: Option<Stdio>,
    direct: Option<Vec<OwnedFd>>,
    teller: Option<&Teller<'_>>,
) -> Result<Begun> {
    // While the host's files are in reach. The process inherits the one, and joins the group by itself.
    if let Some(adjustment) = plan.process.oom_score_adj {
        init::adjust_oom_score(adjustment)?;
    }
    traits::begin_on(&plan.process)?;
    let agent = agent::connect(plan.process.agent.as_ref())?;
    let born = init::open_born(&plan.cgroup)?;
    let mut groups = Vec::with_capacity(plan.cgroup.join.len());
    for file in &plan.cgroup.join {
        let flags = OFlags::WRONLY | OFlags::CLOEXEC;
        groups.push(rustix::fs::open(file.as_str(), flags, Mode::empty()).step("open cgroup", file)?);
    }
    let (ours, mut theirs) = sync::pair().step("make", "a socket pair")?;
    // From here on this process is in sight of the container's, and what it is must not be open to them.
    rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable)
        .step("close itself to", "inspection")?;
    // From inside the container's cgroup namespace the group that this process comes from is out of sight, and a
    // process moves only between groups in sight. So the process enters that one by itself, from its group.
    let cgroup_namespace = plan.namespaces & libc::CLONE_NEWCGROUP as u32;
    sys::setns(target.as_fd(), plan.namespaces & !cgroup_namespace).step("enter", "the container")?;
    let mut joining = Joining { groups, target, namespace: cgroup_namespace, agent };
    match sys::clone(0, born.as_ref().map(AsFd::as_fd)).step("clone", "the process")? {
        Forked::Child => {
            drop(ours);
            // The child is in sight of the container.
            if let Some(teller) = teller {
                teller.close_in_child();
            }
            let failure = become_program(plan, stdio, &mut joining, &mut theirs, direct);
            let _ = tell(&theirs, &Message::Failed(failure.encode()));
            sys::exit(255);
        }
        Forked::Parent(pidfd, pid) => Ok((pidfd, pid, ours)),
    }
}

/// What is left to join for a process that is in the container already otherwise.
struct Joining<'a> {
    /// The lists of the groups' processes.
    groups: Vec<OwnedFd>,
    /// The container's first process.
    target: OwnedFd,
    /// The flag of cgroup namespaces, if there is one to enter.
    namespace: u32,
    agent: Option<Agent<'a>>,
}

/// In the container already, all but the group: becomes the program, or says why not.
fn become_program(
    plan: &ExecPlan,
    stdio: Option<Stdio>,
    joining: &mut Joining<'_>,
    sync: &mut OwnedFd,
    direct: Option<Vec<OwnedFd>>,
) -> Failure {
    match prepare(plan, stdio, joining, sync, direct) {
        Ok(command) => command.exec(),
        Err(failure) => failure,
    }
}

fn prepare(
    plan: &ExecPlan,
    stdio: Option<Stdio>,
    joining: &mut Joining<'_>,
    sync: &mut OwnedFd,
    direct: Option<Vec<OwnedFd>>,
) -> Result<crate::command::Command> {
    guard()?;
    joining.agent.as_mut().map_or(Ok(()), Agent::is_of_this_process)?;
    for group in &joining.groups {
        rustix::io::write(group, b"0").step("join", "the container's cgroup")?;
    }
    traits::go_on(&plan.process)?;
    if joining.namespace != 0 {
        sys::setns(joining.target.as_fd(), joining.namespace)
            .step("enter", "the container's cgroup namespace")?;
    }
    if plan.namespaces & USER != 0 {
        mapping::become_root()?;
    }
    let root = rustix::fs::open("/", OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).step("open", "/")?;
    let stdio = match stdio {
        Some(stdio) => stdio,
        None => {
            let (master, slave) = init::terminal(root.as_fd(), plan.terminal_size)?;
            init::hand_over(sync, master, slave)?
        }
    };
    let stdio = stdio.with_input(root.as_fd())?;
    let identity = identity::look_up(root.as_fd(), &plan.process)?;
    let keyring = plan.direct.as_ref().is_some_and(|direct| direct.keyring);
    let command = become_user(&plan.process, &identity, stdio, keyring)?;
    if let Some(preserved) = direct {
        init::leave_alone()?;
        init::hand_on(preserved, sync, &mut joining.agent)?;
    }
    identity::confine(&plan.process, &mut joining.agent)?;
    Ok(command)
}
