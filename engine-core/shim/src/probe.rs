//! One run of a health check: a process in the container, what it says, and how it ends.
//!
//! The monitor stays where it is. Its child enters the container's namespaces by itself, all but that of processes,
//! which is for children only: the monitor borrows that for the moment of the clone.

use alloc::string::String;
use alloc::vec::Vec;

use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::pipe::PipeFlags;
use rustix::process::{DumpableBehavior, WaitId, WaitIdOptions};

use crate::agent::{self, Agent};
use crate::failure::{Result, Step};
use crate::hub::{monotonic, now};
use crate::init::{self, Stdio, become_user, guard};
use crate::life::{End, exit_code, nonblocking};
use crate::plan::{Cgroup, ContainerPlan, HealthPlan};
use crate::sys::{self, Forked};
use crate::text::Text;
use crate::wire::{Cause, Failure};
use crate::{identity, teardown};

/// No more of what a check says is kept.
const MAX_OUTPUT: usize = 4096;
const PID: u32 = libc::CLONE_NEWPID as u32;

/// A check that runs.
pub(crate) struct Probe {
    process: OwnedFd,
    pid: u32,
    output: OwnedFd,
    said: Vec<u8>,
    truncated: bool,
    started: i64,
    /// When it has taken too long, by the clock that nobody sets.
    pub(crate) deadline: i64,
    timed_out: bool,
}

/// How a check went.
pub(crate) struct Outcome {
    pub(crate) started: i64,
    pub(crate) ended: i64,
    /// The exit code; -1 for a check that took too long or could not be run.
    pub(crate) code: i32,
    pub(crate) output: Vec<u8>,
}

impl Probe {
    /// Starts a check in the container whose first process is `init`, number `pid`.
    pub(crate) fn start(
        plan: &ContainerPlan,
        check: &HealthPlan,
        init: BorrowedFd<'_>,
        pid: u32,
    ) -> Result<Probe> {
        let (output, theirs) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC).step("make", "a pipe")?;
        nonblocking(&output)?;
        let started = now();
        let process = match clone_into(&plan.cgroup, check.namespaces & PID, init, pid)? {
            Forked::Child => run(plan, check, (init, pid), &theirs),
            Forked::Parent(pidfd, pid) => (pidfd, pid),
        };
        let deadline = monotonic().saturating_add(check.timeout);
        let (process, pid) = process;
        Ok(Probe {
            process,
            pid,
            output,
            said: Vec::new(),
            truncated: false,
            started,
            deadline,
            timed_out: false,
        })
    }

    /// What to watch: its end, and what it says.
    pub(crate) fn watched(&self) -> [BorrowedFd<'_>; 2] {
        [self.process.as_fd(), self.output.as_fd()]
    }

    /// Reads what it has said. `false` when it will say no more.
    pub(crate) fn read(&mut self) -> bool {
        let mut buffer = [0; MAX_OUTPUT];
        match rustix::io::read(&self.output, &mut buffer) {
            Ok(0) => false,
            Ok(length) => {
                let kept = length.min(MAX_OUTPUT - self.said.len());
                self.truncated |= kept < length;
                self.said.extend_from_slice(buffer.get(..kept).unwrap_or_default());
                true
            }
            Err(Errno::INTR | Errno::AGAIN) => true,
            Err(_) => false,
        }
    }

    /// It took too long: kills it, with what it started in its session.
    pub(crate) fn time_out(&mut self) {
        (self.timed_out, self.deadline) = (true, i64::MAX);
        self.kill();
    }

    fn kill(&self) {
        if let Ok(pid) = i32::try_from(self.pid) {
            sys::kill_session(pid, self.process.as_fd());
        }
    }

    /// It is not waited for any more.
    pub(crate) fn abandon(self) {
        self.kill();
        let _ = rustix::process::waitid(WaitId::PidFd(self.process.as_fd()), WaitIdOptions::EXITED);
    }

    /// It has ended. Whether it was killed by somebody else, and the container perhaps with it, is told beside.
    pub(crate) fn end(mut self, check: &HealthPlan) -> (Outcome, bool) {
        let status = rustix::process::waitid(WaitId::PidFd(self.process.as_fd()), WaitIdOptions::EXITED);
        let code = status.ok().flatten().map_or(255, |status| exit_code(&status));
        // What it has started may go on and hold the pipe; a pipe's worth is all that it has said itself.
        for _ in 0..16 {
            let before = self.said.len();
            if !self.read() || self.said.len() == before {
                break;
            }
        }
        let killed = code == 128 + libc::SIGKILL && !self.timed_out;
        if self.truncated {
            self.said.extend_from_slice(b"...");
        }
        let (code, output) = match self.timed_out {
            false => (code, self.said),
            true => {
                let mut output = check.timed_out.clone().into_bytes();
                if !self.said.is_empty() {
                    output.extend_from_slice(b": ");
                    output.extend_from_slice(&self.said);
                }
                (-1, output)
            }
        };
        (Outcome { started: self.started, ended: now(), code, output }, killed)
    }
}

impl Outcome {
    /// Of a check that could not be run.
    pub(crate) fn failed(failure: &Failure) -> Outcome {
        let now = now();
        Outcome { started: now, ended: now, code: -1, output: told(failure) }
    }
}

fn told(failure: &Failure) -> Vec<u8> {
    let mut text = failure.step.clone();
    if failure.cause == Cause::Step {
        let mut errno = Text::default();
        errno.push(": errno ").number(failure.errno.into());
        text.extend_from_slice(errno.as_str().as_bytes());
    }
    text
}

/// A copy of this process in the container's group and, with `namespace`, in its namespace of processes, where it is in
/// sight of the container's: what it is must not be open to them.
fn clone_into(cgroup: &Cgroup, namespace: u32, init: BorrowedFd<'_>, pid: u32) -> Result<Forked> {
    let own =
        rustix::fs::open("/proc/self/ns/pid_for_children", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
            .step("open", "the namespace of processes")?;
    let born = init::open_born(cgroup)?;
    rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable)
        .step("close itself to", "inspection")?;
    if namespace != 0 {
        sys::setns(init, namespace).step("enter", "the container")?;
    }
    let cloned = match (sys::clone(0, born.as_ref().map(AsFd::as_fd)), &cgroup.born) {
        // The container has divided its group, and its processes are in those below.
        (Err(Errno::BUSY | Errno::OPNOTSUPP), Some(group)) => {
            let below = Cgroup { born: Some(group_of(group, pid)), ..Cgroup::default() };
            let born = init::open_born(&below);
            born.and_then(|born| sys::clone(0, born.as_ref().map(AsFd::as_fd)).step("clone", "the check"))
        }
        (cloned, _) => cloned.step("clone", "the check"),
    };
    if matches!(cloned, Ok(Forked::Child)) {
        return cloned;
    }
    if namespace != 0 {
        sys::setns(own.as_fd(), PID).step("leave", "the container")?;
    }
    rustix::process::set_dumpable_behavior(DumpableBehavior::Dumpable)
        .step("open itself to", "inspection")?;
    cloned
}

/// The directory of the group that the process `pid` is in, somewhere at or below `group`.
fn group_of(group: &str, pid: u32) -> String {
    let mut path = Text::default();
    path.push("/proc/").number(pid.into()).push("/cgroup");
    let content = teardown::read(path.as_str()).unwrap_or_default();
    let content = core::str::from_utf8(&content).unwrap_or_default();
    let name = group.rsplit('/').next().unwrap_or_default();
    let path = content.split('\n').find_map(|line| line.strip_prefix("0::")).unwrap_or_default();
    let below = path.split('/').skip_while(|part| *part != name).skip(1);
    below.fold(group.into(), |group: String, part| [group.as_str(), "/", part].concat())
}

/// Becomes the check, or says why not and ends.
fn run(plan: &ContainerPlan, check: &HealthPlan, init: (BorrowedFd<'_>, u32), output: &OwnedFd) -> ! {
    let failure = match prepare(plan, check, init, output) {
        Ok(command) => command.exec(),
        Err(failure) => failure,
    };
    let _ = rustix::io::write(output, &told(&failure));
    sys::exit(End::of(failure).code)
}

fn prepare(
    plan: &ContainerPlan,
    check: &HealthPlan,
    (init, container): (BorrowedFd<'_>, u32),
    output: &OwnedFd,
) -> Result<crate::command::Command> {
    guard()?;
    // While the host's files are in reach.
    let mut process = plan.process.clone();
    (process.args, process.terminal) = (check.args.clone(), false);
    process.agent.iter_mut().for_each(|agent| agent.container = container);
    let mut agent = agent::connect(process.agent.as_ref())?;
    agent.as_mut().map_or(Ok(()), Agent::is_of_this_process)?;
    init::join_cgroup(&plan.cgroup.join)?;
    if let Some(adjustment) = plan.process.oom_score_adj {
        init::adjust_oom_score(adjustment)?;
    }
    sys::setns(init, check.namespaces & !PID).step("enter", "the container")?;
    let root = rustix::fs::open("/", OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).step("open", "/")?;
    let copy = || rustix::io::fcntl_dupfd_cloexec(output, 3).step("copy", "a pipe");
    let stdio = Stdio { stdin: None, stdout: copy()?, stderr: copy()? }.with_input(root.as_fd())?;
    let identity = identity::look_up(root.as_fd(), &process)?;
    let command = become_user(&process, &identity, stdio, false)?;
    identity::confine(&process, &mut agent)?;
    Ok(command)
}
