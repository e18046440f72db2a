//! Seccomp agents: whoever decides about the system calls that a filter asks about (SCMP_ACT_NOTIFY). The process that
//! has loaded the filter sends its listener itself, in one message with what the agent is told of the process.

use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{Mode, OFlags};
use rustix::net::{SocketFlags, SocketType};

use crate::control::send_all;
use crate::failure::{Result, Step};
use crate::init::shown_number;
use crate::text::Text;
use crate::{hooks, plan, socket};

/// A connection to an agent, made while the host's files are in reach and by a process that has the right to.
pub(crate) struct Agent<'a> {
    plan: &'a plan::Agent,
    pub(crate) socket: OwnedFd,
    /// The host's procfs, until this process knows its number there.
    processes: Option<OwnedFd>,
    own: u32,
}

/// Connects to the agent, if there is to be one.
pub(crate) fn connect(plan: Option<&plan::Agent>) -> Result<Option<Agent<'_>>> {
    let Some(plan) = plan else { return Ok(None) };
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let processes = rustix::fs::open("/proc", flags, Mode::empty()).step("open", "/proc")?;
    let socket = socket::connect(&plan.path, SocketType::STREAM, SocketFlags::NONBLOCK)
        .step("connect to the seccomp agent at", &plan.path)?;
    Ok(Some(Agent { plan, socket, processes: Some(processes), own: 0 }))
}

impl Agent<'_> {
    /// Finds out which process this is, which is the one to tell of. The host's procfs is out of reach from here on.
    pub(crate) fn is_of_this_process(&mut self) -> Result<()> {
        if let Some(processes) = self.processes.take() {
            self.own = shown_number(processes.as_fd(), "self")?;
        }
        Ok(())
    }

    /// What it is told.
    pub(crate) fn state(&self) -> Text {
        let (status, container) = match self.plan.container {
            0 => ("creating", self.own),
            container => ("running", container),
        };
        let mut state = Text::default();
        state.push(&hooks::state(&self.plan.state, status, container));
        state.push(",\"pid\":").number(self.own.into()).push("}");
        state
    }

    /// Sends the listener of the filter that this process has loaded.
    pub(crate) fn hand_over(&self, state: &Text, listener: &OwnedFd) -> Result<()> {
        send_all(&self.socket, state.as_str().as_bytes(), &[listener.as_fd()])
            .step("send the listener of the filter to", "the seccomp agent")
    }
}
