//! The exec role: enters a running container, runs one process there, and tells how it ended.

use alloc::vec::Vec;

use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::process::{DumpableBehavior, WaitId, WaitIdOptions};

use crate::failure::{Result, Step, failure};
use crate::hub::{Event, Hub, now};
use crate::init::{self, Stdio, become_user, guard};
use crate::monitor::{exit_code, pipes};
use crate::plan::ExecPlan;
use crate::sync::{self, Message, hear, tell};
use crate::sys::{self, Forked};
use crate::wire::{Cause, Exit, Failure, Kind, streams};
use crate::{console, identity};

/// Runs the process. `target` is the pidfd of the container's first process.
pub(crate) fn run(control: OwnedFd, plan: &ExecPlan, target: Option<OwnedFd>) {
    let mut hub = Hub::default();
    let engine = hub.add_client(control, streams::STDIN | streams::STDOUT | streams::STDERR);
    match Exec::begin(plan, target, &mut hub, engine) {
        Ok(exec) => exec.look_after(&mut hub),
        Err(failure) => hub.reply(engine, Kind::Failed, &failure.encode(), None),
    }
    hub.flush_clients();
}

struct Exec {
    engine: u32,
    process: OwnedFd,
    pid: u32,
    sync: Option<OwnedFd>,
    failure: Option<Vec<u8>>,
    started: bool,
    takes_input: bool,
}

impl Exec {
    fn begin(plan: &ExecPlan, target: Option<OwnedFd>, hub: &mut Hub, engine: u32) -> Result<Exec> {
        let target =
            target.ok_or_else(|| failure(Cause::Plan, Errno::BADF, "the plan came without a process", ""))?;
        // While the host's files are in reach: the process joins the group by itself.
        let mut groups = Vec::with_capacity(plan.cgroup.join.len());
        for file in &plan.cgroup.join {
            let flags = OFlags::WRONLY | OFlags::CLOEXEC;
            groups.push(rustix::fs::open(file.as_str(), flags, Mode::empty()).step("open cgroup", file)?);
        }
        let (ours, theirs) = sync::pair().step("make", "a socket pair")?;
        let (stdio, stdin, outputs) = match plan.process.terminal {
            true => (None, None, None),
            false => {
                let (stdio, stdin, stdout, stderr) = pipes(plan.stdin)?;
                (Some(stdio), stdin, Some((stdout, stderr)))
            }
        };
        // From here on this process is in sight of the container's, and what it is must not be open to them.
        rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable)
            .step("close itself to", "inspection")?;
        sys::setns(target.as_fd(), plan.namespaces).step("enter", "the container")?;
        drop(target);
        let (process, pid) = match sys::clone(0).step("clone", "the process")? {
            Forked::Child => {
                drop(ours);
                let failure = become_program(plan, stdio, &groups, &theirs);
                let _ = tell(&theirs, &Message::Failed(failure.encode()));
                sys::exit(255);
            }
            Forked::Parent(pidfd, pid) => (pidfd, pid),
        };
        drop((theirs, stdio, groups));
        hub.set_streams(stdin, true, None);
        if let Some((stdout, stderr)) = outputs {
            hub.set_outputs(stdout, stderr);
        }
        let takes_input = plan.stdin;
        Ok(Exec { engine, process, pid, sync: Some(ours), failure: None, started: false, takes_input })
    }

    fn look_after(mut self, hub: &mut Hub) {
        loop {
            let events = {
                let (process, sync) = (self.process.as_fd(), self.sync.as_ref());
                match sync {
                    Some(sync) => hub.turn(&[process, sync.as_fd()], None),
                    None => hub.turn(&[process], None),
                }
            };
            let mut ended = events.is_err();
            for event in events.unwrap_or_default() {
                match event {
                    Event::Ready(0) => ended = true,
                    Event::Ready(_) => self.hear(hub),
                    Event::Request(_, Kind::Signal, payload) => {
                        if let [a, b, c, d] = payload.as_slice() {
                            let signal = i32::from_be_bytes([*a, *b, *c, *d]);
                            let _ = sys::pidfd_send_signal(self.process.as_fd(), signal);
                        }
                    }
                    Event::Request(..) | Event::Gone(_) => {}
                }
            }
            if ended {
                break;
            }
        }
        while self.sync.is_some() {
            self.hear(hub);
        }
        let status = rustix::process::waitid(WaitId::PidFd(self.process.as_fd()), WaitIdOptions::EXITED);
        let code = status.ok().flatten().map_or(255, |status| exit_code(&status));
        hub.drain_outputs();
        if self.started {
            let exit = Exit { code, oom_killed: false, finished: now(), run: 0 };
            hub.tell_all(Kind::Exited, &exit.encode());
            return;
        }
        let failure = self.failure.take().unwrap_or_else(|| {
            failure(Cause::Step, Errno::SRCH, "the process ended before it began", "").encode()
        });
        hub.reply(self.engine, Kind::Failed, &failure, None);
    }

    fn hear(&mut self, hub: &mut Hub) {
        let Some(sync) = &self.sync else { return };
        match hear(sync) {
            Ok(Some(Message::Console(master))) => {
                let _ = rustix::io::ioctl_fionbio(&master, true);
                hub.set_terminal(master, self.takes_input);
            }
            Ok(Some(Message::Failed(failure))) => self.failure = Some(failure),
            Ok(Some(Message::Ready | Message::Go)) => {}
            Ok(None) | Err(_) => {
                self.sync = None;
                if self.failure.is_none() {
                    self.started = true;
                    hub.reply(self.engine, Kind::Started, &self.pid.to_be_bytes(), None);
                }
            }
        }
    }
}

/// In the container already, all but the group: becomes the program, or says why not.
fn become_program(plan: &ExecPlan, stdio: Option<Stdio>, groups: &[OwnedFd], sync: &OwnedFd) -> Failure {
    match prepare(plan, stdio, groups, sync) {
        Ok(command) => command.exec(),
        Err(failure) => failure,
    }
}

fn prepare(
    plan: &ExecPlan,
    stdio: Option<Stdio>,
    groups: &[OwnedFd],
    sync: &OwnedFd,
) -> Result<crate::command::Command> {
    guard()?;
    for group in groups {
        rustix::io::write(group, b"0").step("join", "the container's cgroup")?;
    }
    let root = rustix::fs::open("/", OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).step("open", "/")?;
    let stdio = match stdio {
        Some(stdio) => stdio,
        None => {
            let (master, slave) = console::open(root.as_fd())?;
            if let Some((rows, columns)) = plan.terminal_size {
                console::resize(&master, rows, columns);
            }
            tell(sync, &Message::Console(master)).step("hand over", "the terminal")?;
            init::streams_of(slave)?
        }
    };
    let identity = identity::look_up(root.as_fd(), &plan.process)?;
    become_user(&plan.process, &identity, stdio)
}
