//! Hooks: programs that run beside the container's at points of its life, one after the other. Each is given the
//! container's state on its standard input, and no environment but its own.

use alloc::ffi::CString;
use alloc::string::String;
use alloc::vec::Vec;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{MemfdFlags, Mode, OFlags, SeekFrom};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, WaitId, WaitIdOptions};

use crate::failure::{Result, Step, failure};
use crate::life::exit_code;
use crate::plan::{Hook, HooksPlan};
use crate::sys;
use crate::text::Text;
use crate::wire::{Cause, Failure};

/// So much is told of what a hook that failed said.
const MAX_SAID: usize = 1024;

/// The state that hooks are given: `state` with the container's number and status.
pub(crate) fn state(state: &str, status: &str, pid: u32) -> String {
    let mut text = Text::default();
    text.push(state).push(",\"status\":\"").push(status).push("\"");
    if pid != 0 {
        text.push(",\"pid\":").number(pid.into());
    }
    text.push("}");
    text.into()
}

/// Runs the hooks of a plan; with `go_on` all of them, and the first failure is told in the end.
pub(crate) fn run_plan(plan: &HooksPlan) -> Result<()> {
    let mut result = Ok(());
    for hook in &plan.hooks {
        result = result.and(run_one(hook, &plan.state));
        if result.is_err() && !plan.go_on {
            break;
        }
    }
    result
}

/// Runs the hooks, up to the first that fails.
pub(crate) fn run(hooks: &[Hook], state: &str) -> Result<()> {
    hooks.iter().try_for_each(|hook| run_one(hook, state))
}

/// The streams of a hook are files in memory: nobody has to read while it writes, nor to write while it reads.
fn run_one(hook: &Hook, state: &str) -> Result<()> {
    let name = hook.name.as_str();
    let memory = || rustix::fs::memfd_create(c"hook", MemfdFlags::CLOEXEC).step("make memory for", name);
    let (input, output) = (memory()?, memory()?);
    let mut rest = state.as_bytes();
    while !rest.is_empty() {
        let written = rustix::io::write(&input, rest).step("write the state for", name)?;
        rest = rest.get(written..).unwrap_or_default();
    }
    rustix::fs::seek(&input, SeekFrom::Start(0)).step("write the state for", name)?;
    let c_string = |text: &String| CString::new(text.as_str()).map_err(|_| Errno::INVAL).step("run", name);
    let path = c_string(&hook.path)?;
    let args: Vec<CString> = hook.args.iter().map(c_string).collect::<Result<_>>()?;
    let env: Vec<CString> = hook.env.iter().map(c_string).collect::<Result<_>>()?;
    // Not clone3, which the filter of a container that is built may not know.
    let (process, pid) = match sys::fork().step("fork for", name)? {
        None => {
            // What it starts is known by its session.
            let _ = rustix::process::setsid();
            let errno = become_hook(&input, &output, &path, &args, &env);
            let said = ["cannot be executed: ", &hook.path].concat();
            let _ = rustix::io::write(&output, said.as_bytes());
            sys::exit(if errno == Errno::NOENT { 127 } else { 126 });
        }
        Some(pid) => {
            let own = Pid::from_raw(pid).ok_or(Errno::SRCH).step("fork for", name)?;
            (rustix::process::pidfd_open(own, PidfdFlags::empty()).step("wait for", name)?, pid)
        }
    };
    if !ended_in_time(&process, hook.timeout) {
        sys::kill_session(pid, process.as_fd());
        let _ = rustix::process::waitid(WaitId::PidFd(process.as_fd()), WaitIdOptions::EXITED);
        return Err(failure(Cause::Step, Errno::TIMEDOUT, name, "did not end in time"));
    }
    let status = rustix::process::waitid(WaitId::PidFd(process.as_fd()), WaitIdOptions::EXITED);
    match status.ok().flatten().map_or(255, |status| exit_code(&status)) {
        0 => Ok(()),
        code => Err(failed(name, code, &output)),
    }
}

fn become_hook(
    input: &OwnedFd,
    output: &OwnedFd,
    path: &CString,
    args: &[CString],
    env: &[CString],
) -> Errno {
    let streams = || -> rustix::io::Result<()> {
        let null = rustix::fs::open("/dev/null", OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty());
        sys::dup_to(input, 0)?;
        // In a container there may be no null device.
        match null {
            Ok(null) => sys::dup_to(&null, 1)?,
            Err(_) => sys::dup_to(output, 1)?,
        }
        sys::dup_to(output, 2)?;
        sys::cloexec_from_3()
    };
    if let Err(errno) = streams() {
        return errno;
    }
    sys::reset_signals();
    sys::execve(path, args, env)
}

/// Waits for the end, for as many seconds as are given.
fn ended_in_time(process: &OwnedFd, seconds: Option<u32>) -> bool {
    let timeout = seconds.map(|seconds| Timespec { tv_sec: seconds.into(), tv_nsec: 0 });
    loop {
        match poll(&mut [PollFd::new(process, PollFlags::IN)], timeout.as_ref()) {
            Ok(0) => return false,
            Ok(_) => return true,
            Err(Errno::INTR) => {}
            Err(_) => return true,
        }
    }
}

/// What a hook that failed said is told in the message.
fn failed(name: &str, code: i32, output: &OwnedFd) -> Failure {
    let mut said = alloc::vec![0; MAX_SAID];
    let length = rustix::io::pread(output, &mut said, 0).unwrap_or(0);
    said.truncate(length);
    let mut text = Text::default();
    text.push(name).push(" ended with code ").number(code.into());
    let mut step = Vec::from(text.as_str().as_bytes());
    if !said.trim_ascii().is_empty() {
        step.extend_from_slice(b": ");
        step.extend_from_slice(said.trim_ascii());
    }
    Failure { cause: Cause::Hook, errno: 0, step }
}
