//! The builder role: builds a container whose caller looks after it by itself, and leaves. The container's first
//! process, which waits for its start on a socket of its own, then belongs to whoever takes in the caller's orphans.

use alloc::vec::Vec;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::fd::{AsFd, OwnedFd};
use rustix::io::Errno;

use crate::control::{receive_frame, send_all, send_frame};
use crate::failure::{Result, Step, failure};
use crate::init::{self, Stdio, Waiting};
use crate::life::give_up;
use crate::namespaces::Kept;
use crate::plan::ContainerPlan;
use crate::sync::{Message, hear, tell};
use crate::wire::{Cause, Failure, Kind};
use crate::{hooks, links, text::Text};

/// What console-socket's reader finds beside the descriptor: any name will do.
const CONSOLE: &[u8] = b"/dev/ptmx";

/// Builds the container. `descriptors` are those that came with the plan.
pub(crate) fn run(control: OwnedFd, plan: &ContainerPlan, descriptors: Vec<OwnedFd>) {
    if let Err(failure) = build(&control, plan, descriptors) {
        let _ = send_frame(&control, Kind::Failed, &failure.encode(), &[]);
    }
}

fn build(control: &OwnedFd, plan: &ContainerPlan, descriptors: Vec<OwnedFd>) -> Result<()> {
    let preserved = plan.direct.as_ref().map_or(0, |direct| direct.preserved);
    let Given { first: listener, stdio, preserved, console } = Given::sort(descriptors, preserved)?;
    // Closed at once for one that has a terminal: callers read a pipe to its end before they go on.
    let stdio = (!plan.process.terminal).then_some(stdio);
    let waiting = Waiting { listener, preserved };
    let (init, pid, ours) = init::spawn(plan, &Kept::open(&plan.namespaces)?, stdio, Some(waiting))?;
    await_ready(control, plan, &ours, pid, console)
        .map_err(|failure| give_up(&init, Some(&ours), failure))?;
    // The caller writes down what is there now; should it be gone, nobody would know of it.
    let told = send_frame(control, Kind::Created, &pid.to_be_bytes(), &[]);
    match told.and_then(|()| receive_frame(control)) {
        Ok(Some(frame)) if Kind::from_byte(frame.kind) == Some(Kind::Start) => Ok(()),
        _ => Err(give_up(&init, Some(&ours), gone())),
    }
}

/// Serves the process that is being built until it is.
fn await_ready(
    control: &OwnedFd,
    plan: &ContainerPlan,
    sync: &OwnedFd,
    pid: u32,
    console: Option<OwnedFd>,
) -> Result<()> {
    let mut links = plan.spaces.links.as_slice();
    loop {
        let mut fds = [PollFd::new(sync, PollFlags::IN), PollFd::new(control, PollFlags::IN)];
        match poll(&mut fds, None) {
            Err(Errno::INTR) => continue,
            result => result.step("wait for", "the container's first process")?,
        };
        // The caller says nothing before it has heard: this is its end.
        if fds[0].revents().is_empty() {
            return Err(gone());
        }
        let message = hear(sync).step("hear", "the container's first process")?;
        if matches!(message, Some(Message::Hooks | Message::Ready)) {
            // It is in its network namespace by now, and hooks find there what the program will.
            links::hand_over(core::mem::take(&mut links), pid)?;
        }
        match message {
            Some(Message::Console(master, _)) => hand_console(console.as_ref(), &master)?,
            Some(Message::Hooks) => {
                let state = hooks::state(&plan.hooks.state, "creating", pid);
                hooks::run(&plan.hooks.create_runtime, &state)?;
                tell(sync, &Message::Go).step("tell", "the container's first process")?;
            }
            Some(Message::Ready) => return Ok(()),
            Some(Message::Failed(failure)) => return Err(Failure::decode(&failure).unwrap_or_else(gone)),
            Some(Message::Born(..) | Message::Go) => {}
            None => return Err(died(pid)),
        }
    }
}

/// Sends the master of a terminal to whoever asked for it.
pub(crate) fn hand_console(console: Option<&OwnedFd>, master: &OwnedFd) -> Result<()> {
    let console = console.ok_or(Errno::BADF).step("find", "the console socket")?;
    send_all(console, CONSOLE, &[master.as_fd()]).step("send the terminal to", "the console socket")
}

fn gone() -> Failure {
    failure(Cause::Step, Errno::CONNRESET, "the caller is gone", "")
}

fn died(pid: u32) -> Failure {
    let mut text = Text::default();
    text.push("the container's first process, ").number(pid.into()).push(", ended while it was built");
    failure(Cause::Step, Errno::CHILD, text.as_str(), "")
}

/// Descriptors that came with a plan.
pub(crate) struct Given {
    /// The one that is different for each role.
    pub(crate) first: OwnedFd,
    pub(crate) stdio: Stdio,
    pub(crate) preserved: Vec<OwnedFd>,
    pub(crate) console: Option<OwnedFd>,
}

impl Given {
    /// Finds out which is which.
    pub(crate) fn sort(descriptors: Vec<OwnedFd>, preserved: u32) -> Result<Given> {
        let mut descriptors = descriptors.into_iter();
        let mut next = || {
            let missing = || failure(Cause::Plan, Errno::BADF, "the plan came without its descriptors", "");
            descriptors.next().ok_or_else(missing)
        };
        let first = next()?;
        let stdio = Stdio { stdin: Some(next()?), stdout: next()?, stderr: next()? };
        let preserved = (0..preserved).map(|_| next()).collect::<Result<_>>()?;
        Ok(Given { first, stdio, preserved, console: descriptors.next() })
    }
}
