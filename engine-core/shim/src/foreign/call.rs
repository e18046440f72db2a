//! One call of the program: its arguments, its streams, its end, and what came of it.

use alloc::ffi::CString;
use alloc::string::String;
use alloc::vec::Vec;

use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{Access, CWD, Mode, OFlags};
use rustix::io::Errno;
use rustix::net::SocketFlags;
use rustix::process::{Pid, PidfdFlags, WaitId, WaitIdOptions};
use rustix::pty::OpenptFlags;

use super::desk::Desk;
use crate::console;
use crate::control::receive;
use crate::failure::{Result, Step, failure};
use crate::init::{Stdio, guard, shown_number};
use crate::life::exit_code;
use crate::plan::Program;
use crate::socket;
use crate::sync::{Message, tell};
use crate::sys::{self, Forked};
use crate::text::Text;
use crate::wire::{Cause, Failure};

/// Where the program connects to with a terminal.
const CONSOLE: &str = "console";
/// Where it writes the number of the process that it made.
const NUMBER: &str = "pid";
/// Where it writes what went wrong.
const LOG: &str = "log";
/// No more of that is told, the end of it.
const MAX_LOG: usize = 1536;

/// What calls of the program have in common.
pub(super) struct Call<'a> {
    pub(super) program: &'a Program,
    pub(super) desk: &'a Desk,
}

impl Call<'_> {
    /// Has the program make a process, which gets `stdio` or else a terminal, and tells of both.
    pub(super) fn begin(
        &self,
        command: &[&str],
        stdio: Option<Stdio>,
        size: Option<(u16, u16)>,
        sync: &OwnedFd,
    ) -> Result<()> {
        let number = self.desk.path(NUMBER);
        let mut command: Vec<&str> = command.iter().copied().chain(["--pid-file", &number]).collect();
        let listener = match stdio {
            Some(_) => None,
            None => Some(listen()?),
        };
        // By a path that is short enough for an address, however long that of the desk is.
        let mut console = Text::default();
        console.push("/proc/").number(shown_number(CWD, "/proc/self")?.into()).push("/cwd/").push(CONSOLE);
        if listener.is_some() {
            command.extend(["--console-socket", console.as_str()]);
        }
        self.run(&command, stdio)?;
        let content = self.desk.read(NUMBER, 32)?;
        let number = core::str::from_utf8(&content).ok().and_then(|text| text.trim().parse::<i32>().ok());
        let pid = number.and_then(Pid::from_raw).ok_or(Errno::INVAL).step("read", "the pid file")?;
        let process = rustix::process::pidfd_open(pid, PidfdFlags::empty()).step("open", "the process")?;
        let pid = pid.as_raw_nonzero().get().cast_unsigned();
        tell(sync, &Message::Born(process, pid)).step("tell", "the monitor")?;
        match listener {
            Some(listener) => {
                let (master, slave) = terminal(&listener)?;
                if let Some((rows, columns)) = size {
                    console::resize(&master, rows, columns);
                }
                tell(sync, &Message::Console(master, slave)).step("hand over", "the terminal")
            }
            None => Ok(()),
        }
    }

    /// Runs the program to its end.
    pub(super) fn run(&self, command: &[&str], stdio: Option<Stdio>) -> Result<()> {
        let path = self.program.path.as_str();
        // Said here, where there are words for it.
        rustix::fs::access(path, Access::EXEC_OK).step("execute the runtime program", path)?;
        let c_string = |text: &str| CString::new(text).map_err(|_| Errno::INVAL).step("run", path);
        let words = self.program.args.iter().map(String::as_str).chain(command.iter().copied());
        let words = words.chain([self.program.id.as_str()]);
        let args: Vec<CString> = words.map(c_string).collect::<Result<_>>()?;
        let env: Vec<CString> =
            self.program.env.iter().map(|entry| c_string(entry)).collect::<Result<_>>()?;
        let path = c_string(path)?;
        let process = match sys::clone(0, None).step("clone for", &self.program.path)? {
            Forked::Child => {
                let _ = guard().is_ok() && streams(stdio).is_ok() && {
                    sys::reset_signals();
                    sys::execve(&path, &args, &env);
                    false
                };
                sys::exit(127);
            }
            Forked::Parent(process, _) => process,
        };
        drop(stdio);
        let status = rustix::process::waitid(WaitId::PidFd(process.as_fd()), WaitIdOptions::EXITED);
        match status.ok().flatten().map_or(255, |status| exit_code(&status)) {
            0 => Ok(()),
            code => Err(self.failed(command.first().copied().unwrap_or_default(), code)),
        }
    }

    /// What the program has said of its failure is for the engine to understand.
    fn failed(&self, command: &str, code: i32) -> Failure {
        let log = self.desk.read(LOG, MAX_LOG).unwrap_or_default();
        let step = [self.program.path.as_bytes(), b" ", command.as_bytes(), b"\n", &log].concat();
        failure(Cause::Program, Errno::from_raw_os_error(code), "", step)
    }
}

/// The streams of the program, which become those of the container's process.
fn streams(stdio: Option<Stdio>) -> rustix::io::Result<()> {
    let null = rustix::fs::open("/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())?;
    match &stdio {
        Some(stdio) => {
            sys::dup_to(stdio.stdin.as_ref().unwrap_or(&null), 0)?;
            sys::dup_to(&stdio.stdout, 1)?;
            sys::dup_to(&stdio.stderr, 2)?;
        }
        None => (0..3).try_for_each(|number| sys::dup_to(&null, number))?,
    }
    sys::cloexec_from_3()
}

/// Listens for the program in the working directory, and waits for nobody.
fn listen() -> Result<OwnedFd> {
    socket::listen(CONSOLE, SocketFlags::NONBLOCK, 1).step("listen on", "the console socket")
}

/// The terminal that the program has sent: master and slave.
fn terminal(listener: &OwnedFd) -> Result<(OwnedFd, OwnedFd)> {
    let socket = rustix::net::accept_with(listener, SocketFlags::CLOEXEC)
        .step("receive the terminal from", "the runtime program")?;
    let mut descriptors = Vec::new();
    receive(&socket, &mut [0; 256], &mut descriptors).step("receive", "the terminal")?;
    let master = descriptors.into_iter().next().ok_or(Errno::BADF).step("receive", "the terminal")?;
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
    let slave = rustix::pty::ioctl_tiocgptpeer(&master, flags).step("open", "the terminal")?;
    Ok((master, slave))
}
