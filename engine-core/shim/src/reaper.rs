//! `--init`: a first process that runs the program as its child, hands on signals and reaps orphans.

use alloc::string::String;
use alloc::vec::Vec;

use rustix::fd::AsFd;
use rustix::io::Errno;
use rustix::process::{WaitOptions, WaitStatus};

use crate::command::Command;
use crate::failure::{Result, Step};
use crate::life::End;
use crate::plan::Process;
use crate::sys;
use crate::users::Identity;

/// Is the small init of a container that another program builds: runs the program in `args` as its child, and gives the
/// exit code that says why that could not be begun.
pub(crate) fn run(args: &[String], env: Vec<String>) -> i32 {
    let args = match args.split_first() {
        Some((first, rest)) if first == "--" => rest.to_vec(),
        _ => args.to_vec(),
    };
    let process = Process { args, env, ..Process::default() };
    let identity = Identity { uid: 0, gid: 0, groups: Vec::new(), home: None };
    let terminal = rustix::termios::isatty(sys::stdin());
    let failure = match fork_program(terminal).and_then(|()| Command::find(&process, &identity)) {
        Ok(command) => command.exec(),
        Err(failure) => failure,
    };
    let said = [&failure.step[..], b"\n"].concat();
    let _ = rustix::io::write(sys::stderr(), &said);
    End::of(failure).code
}

/// Forks. Returns in the child, which is to become the program; the parent stays here until the child has ended, and
/// then ends with its exit code.
pub(crate) fn fork_program(terminal: bool) -> Result<()> {
    let signals = sys::signalfd().step("wait for", "signals")?;
    let Some(child) = sys::fork().step("fork", "the program")? else {
        // A group of its own, so that the terminal's signals reach the program once.
        let _ = rustix::process::setpgid(None, None);
        if terminal {
            let _ = rustix::termios::tcsetpgrp(sys::stdin(), rustix::process::getpid());
        }
        sys::reset_signals();
        return crate::init::guard();
    };
    sys::close_all_but(&[signals.as_fd()]).step("close", "descriptors")?;
    loop {
        // struct signalfd_siginfo begins with the signal's number.
        let mut info = [0u8; 128];
        match rustix::io::read(&signals, &mut info) {
            Ok(_) => {}
            Err(Errno::INTR) => continue,
            Err(errno) => return Err(errno).step("wait for", "signals"),
        }
        let [a, b, c, d, ..] = info;
        let signal = u32::from_ne_bytes([a, b, c, d]) as i32;
        if signal != libc::SIGCHLD {
            let _ = sys::kill(child, signal);
            continue;
        }
        while let Ok(Some((pid, status))) = rustix::process::wait(WaitOptions::NOHANG) {
            if pid.as_raw_nonzero().get() == child {
                sys::exit(code(status));
            }
        }
    }
}

/// An exit code as a shell has it.
fn code(status: WaitStatus) -> i32 {
    match (status.exit_status(), status.terminating_signal()) {
        (Some(code), _) => code,
        (None, Some(signal)) => 128 + signal,
        (None, None) => 255,
    }
}
