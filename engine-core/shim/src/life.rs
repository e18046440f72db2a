//! One life of a container: from the clone of its first process to the end of that. A container that is started again
//! has another one.

use alloc::vec::Vec;

use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::io::Errno;
use rustix::pipe::PipeFlags;
use rustix::process::{WaitId, WaitIdOptions, WaitIdStatus};

use crate::failure::{Result, Step, failure};
use crate::hub::{Hub, monotonic, now};
use crate::init::{self, Stdio};
use crate::namespaces::Kept;
use crate::plan::ContainerPlan;
use crate::sync::{Message, hear, tell};
use crate::text::Text;
use crate::wire::{Cause, Failure};
use crate::{foreign, hooks, sys};

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

/// A life.
pub(crate) struct Life {
    phase: Phase,
    /// The first process.
    init: OwnedFd,
    /// Its number.
    pub(crate) pid: u32,
    /// To the process, until it has become the program.
    sync: Option<OwnedFd>,
    /// The process that has another program build the container, once there is a first process.
    builder: Option<OwnedFd>,
    /// Where the program will write to. What another program that builds the container says is not its output.
    outputs: Option<(OwnedFd, OwnedFd)>,
    failure: Option<Vec<u8>>,
    /// When it was cloned, by the wall's clock and by one that is never set.
    pub(crate) started: i64,
    since: i64,
}

/// How a life ended.
pub(crate) struct End {
    /// The program's exit code; a shell's code for a program that could not be begun.
    pub(crate) code: i32,
    /// For how many nanoseconds it lasted.
    pub(crate) lasted: i64,
    /// Why the program was not begun.
    pub(crate) failure: Option<Failure>,
}

/// What has changed in a life.
#[derive(PartialEq, Eq)]
pub(crate) enum Change {
    /// Nothing that matters.
    Nothing,
    /// There is a first process now.
    Born,
    /// It waits for the word.
    Ready,
    /// The program runs.
    Began,
}

impl Life {
    /// Clones the first process, which begins to build the container around itself.
    pub(crate) fn begin(plan: &ContainerPlan, kept: &Kept, hub: &mut Hub) -> Result<Life> {
        let (stdio, stdin, outputs) = match plan.process.terminal {
            true => (None, None, None),
            false => {
                let (stdio, stdin, stdout, stderr) = pipes(plan.streams.open_stdin)?;
                (Some(stdio), stdin, Some((stdout, stderr)))
            }
        };
        let ((init, pid, ours), outputs) = match &plan.program {
            Some(program) => (foreign::build(plan, program, kept, stdio)?, outputs),
            None => {
                let begun = init::spawn(plan, kept, stdio, None)?;
                if let Some((stdout, stderr)) = outputs {
                    hub.set_outputs(stdout, stderr);
                }
                (begun, None)
            }
        };
        hub.set_input(stdin, plan.streams.stdin_once);
        let (started, since) = (now(), monotonic());
        let (phase, sync) = (Phase::Building, Some(ours));
        Ok(Life { phase, init, pid, sync, builder: None, outputs, failure: None, started, since })
    }

    /// The first process.
    pub(crate) fn init(&self) -> BorrowedFd<'_> {
        self.init.as_fd()
    }

    /// The connection to the process while it is not yet the program.
    pub(crate) fn sync(&self) -> Option<BorrowedFd<'_>> {
        self.sync.as_ref().map(AsFd::as_fd)
    }

    /// Whether the program runs.
    pub(crate) fn is_running(&self) -> bool {
        self.phase == Phase::Running
    }

    /// Gives the word to a process that waits for it.
    pub(crate) fn go(&mut self) {
        if let (Phase::Ready, Some(sync)) = (&self.phase, &self.sync)
            && tell(sync, &Message::Go).is_ok()
        {
            self.phase = Phase::Going;
        }
    }

    /// Kills the first process.
    pub(crate) fn kill(&self) -> rustix::io::Result<()> {
        sys::pidfd_send_signal(self.init.as_fd(), libc::SIGKILL)
    }

    /// The first process has ended: who still builds the container, or waits for the word to, does so in vain.
    pub(crate) fn stop_building(&self) {
        if let (Some(builder), Phase::Building | Phase::Ready) = (&self.builder, &self.phase) {
            let _ = sys::pidfd_send_signal(builder.as_fd(), libc::SIGKILL);
        }
    }

    /// A message of the process. The end of the connection means that it has become the program.
    pub(crate) fn hear(&mut self, plan: &ContainerPlan, hub: &mut Hub) -> Change {
        let Some(sync) = &self.sync else { return Change::Nothing };
        match hear(sync) {
            Ok(Some(Message::Console(master, slave))) => {
                hub.set_terminal(master, slave, plan.streams.open_stdin);
            }
            Ok(Some(Message::Hooks)) => self.run_hooks(plan),
            Ok(Some(Message::Born(process, pid))) => {
                foreign::adopted();
                self.builder = Some(core::mem::replace(&mut self.init, process));
                self.pid = pid;
                return Change::Born;
            }
            Ok(Some(Message::Ready)) => {
                self.phase = Phase::Ready;
                if let Some((stdout, stderr)) = self.outputs.take() {
                    hub.set_outputs(stdout, stderr);
                }
                return Change::Ready;
            }
            Ok(Some(Message::Failed(failure))) => {
                self.failure.get_or_insert(failure);
                if self.builder.is_some() {
                    // The first process does not know of it.
                    let _ = self.kill();
                }
            }
            Ok(Some(Message::Go)) => {}
            Ok(None) | Err(_) => {
                self.sync = None;
                if let Some(builder) = self.builder.take() {
                    let _ = rustix::process::waitid(WaitId::PidFd(builder.as_fd()), WaitIdOptions::EXITED);
                }
                if self.failure.is_none() && self.phase == Phase::Going && self.began(plan) {
                    self.phase = Phase::Running;
                    return Change::Began;
                }
            }
        }
        Change::Nothing
    }

    /// The hooks of the runtime's side, at their time. What one fails with is what building failed with.
    fn run_hooks(&mut self, plan: &ContainerPlan) {
        let Some(sync) = &self.sync else { return };
        let state = hooks::state(&plan.hooks.state, "creating", self.pid);
        match hooks::run(&plan.hooks.create_runtime, &state) {
            Ok(()) => {
                let _ = tell(sync, &Message::Go);
            }
            Err(failure) => self.fail(&failure),
        }
    }

    /// The process has become the program. Whether that is well with the hooks is the answer.
    fn began(&mut self, plan: &ContainerPlan) -> bool {
        if plan.hooks.poststart.is_empty() {
            return true;
        }
        let state = hooks::state(&plan.hooks.state, "running", self.pid);
        match hooks::run(&plan.hooks.poststart, &state) {
            Ok(()) => true,
            Err(failure) => {
                self.fail(&failure);
                false
            }
        }
    }

    /// Ends the container for this reason.
    fn fail(&mut self, failure: &Failure) {
        self.failure = Some(failure.encode());
        let _ = self.kill();
    }

    /// The first process has ended, and all that it said was heard: takes its code.
    pub(crate) fn end(self) -> End {
        let status = rustix::process::waitid(WaitId::PidFd(self.init.as_fd()), WaitIdOptions::EXITED);
        let code = status.ok().flatten().map_or(255, |status| exit_code(&status));
        let lasted = monotonic().saturating_sub(self.since);
        if self.phase == Phase::Running {
            return End { code, lasted, failure: None };
        }
        let failure = self.failure.as_deref().and_then(Failure::decode).unwrap_or_else(|| ended_early(code));
        End { lasted, ..End::of(failure) }
    }

    /// Ends the process while it is being built. If it failed itself meanwhile, that is why, and not what `failure`
    /// says.
    pub(crate) fn give_up(self, failure: Failure) -> Failure {
        give_up(&self.init, self.sync.as_ref(), failure)
    }
}

/// Ends a process that is being built; see [`Life::give_up`].
pub(crate) fn give_up(init: &OwnedFd, sync: Option<&OwnedFd>, failure: Failure) -> Failure {
    let _ = sys::pidfd_send_signal(init.as_fd(), libc::SIGKILL);
    let _ = rustix::process::waitid(WaitId::PidFd(init.as_fd()), WaitIdOptions::EXITED);
    let Some(sync) = sync else { return failure };
    while let Ok(Some(message)) = hear(sync) {
        if let Message::Failed(own) = message {
            return Failure::decode(&own).unwrap_or(failure);
        }
    }
    failure
}

impl End {
    /// Of a life that never came to its program.
    pub(crate) fn of(failure: Failure) -> End {
        // As docker's users know them.
        let code = match failure.cause {
            Cause::CommandNotFound => 127,
            Cause::CommandNotExecutable => 126,
            _ => 128,
        };
        End { code, lasted: 0, failure: Some(failure) }
    }
}

/// The first process ended before it became the program, and did not say why.
fn ended_early(code: i32) -> Failure {
    let mut text = Text::default();
    text.push("the container's first process ended with code ")
        .number(code.into())
        .push(" while it was built");
    failure(Cause::Step, Errno::CHILD, text.as_str(), "")
}

/// An exit code as a shell has it.
pub(crate) fn exit_code(status: &WaitIdStatus) -> i32 {
    match (status.exit_status(), status.terminating_signal()) {
        (Some(code), _) => code,
        (None, Some(signal)) => 128 + signal,
        (None, None) => 255,
    }
}

/// Sends the signal in a request's payload.
pub(crate) fn signal(process: BorrowedFd<'_>, payload: &[u8]) -> rustix::io::Result<()> {
    let number = payload.first_chunk::<4>().ok_or(Errno::INVAL)?;
    sys::pidfd_send_signal(process, i32::from_be_bytes(*number))
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

pub(crate) fn nonblocking(fd: &OwnedFd) -> Result<()> {
    rustix::io::ioctl_fionbio(fd, true).step("set up", "a pipe")
}
