//! Waiting for a process as its parent: passes on signals and the terminal, and ends as it ends.

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, WaitId, WaitIdOptions};
use rustix::termios::{Winsize, tcgetwinsize, tcsetwinsize};

use crate::attach::signals::Signals;
use crate::attach::terminal::{self, RawMode};
use crate::exit::{Failure, Outcome, SIGNAL};

/// Tells that a terminal has another size.
const SIGWINCH: i32 = 28;

/// Takes in orphans, so that a process that a helper leaves becomes this one's child.
///
/// # Errors
/// What the kernel said.
pub(super) fn adopt() -> Result<(), Failure> {
    rustix::process::set_child_subreaper(Some(rustix::process::getpid()))
        .map_err(|e| Failure::new(format!("taking in orphans: {e}")))
}

/// Waits for the end of the process; its exit code. `master` is that of its terminal.
pub(super) fn wait(pid: u32, master: Option<OwnedFd>) -> Outcome {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw);
    let pid = pid.ok_or_else(|| Failure::new("the process has no number"))?;
    let process = rustix::process::pidfd_open(pid, PidfdFlags::empty())
        .map_err(|e| Failure::new(format!("the process {}: {e}", pid.as_raw_nonzero())))?;
    let stdin = rustix::stdio::stdin();
    let _raw = match &master {
        Some(_) if terminal::is_stdin() => RawMode::enter(&stdin).ok(),
        _ => None,
    };
    let output =
        master.as_ref().map(relay).transpose().map_err(|e| Failure::new(format!("the terminal: {e}")))?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime?.block_on(pass_signals(&process, master.as_ref()))?;
    let code = code(&process)?;
    if let Some(output) = output {
        // The terminal ends with the last process that has it; what a background process may still say is its own.
        let _ = output.recv_timeout(Duration::from_millis(500));
    }
    Ok(code)
}

/// Carries bytes between this process's streams and the terminal; tells when there is nothing more to read.
fn relay(master: &OwnedFd) -> io::Result<std::sync::mpsc::Receiver<()>> {
    let (mut read, mut write) = (File::from(master.try_clone()?), File::from(master.try_clone()?));
    // It ends with this program.
    std::thread::spawn(move || io::copy(&mut io::stdin().lock(), &mut write));
    let (tell, told) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        // Reading a terminal that nobody has open any more is an error, and the end.
        let _ = io::copy(&mut read, &mut io::stdout().lock());
        let _ = tell.send(());
    });
    Ok(told)
}

/// Passes signals on until the process has ended.
async fn pass_signals(process: &OwnedFd, master: Option<&OwnedFd>) -> Result<(), Failure> {
    let watched = process.try_clone()?;
    let mut ended = tokio::task::spawn_blocking(move || await_end(&watched));
    let mut signals = Signals::passed_on()?;
    let mut resized = Signals::resized()?;
    resize(master);
    loop {
        tokio::select! {
            _ = &mut ended => return Ok(()),
            number = signals.next() => {
                if let Some(signal) = rustix::process::Signal::from_named_raw(number) {
                    let _ = rustix::process::pidfd_send_signal(process, signal);
                }
            }
            number = resized.next() => {
                if number == SIGWINCH {
                    resize(master);
                }
            }
        }
    }
}

/// Blocks until the process has ended.
fn await_end(process: &OwnedFd) {
    while let Err(Errno::INTR) = poll(&mut [PollFd::new(process, PollFlags::IN)], None) {}
}

/// Gives the terminal the size of the one this program was started on.
fn resize(master: Option<&OwnedFd>) {
    if let (Some(master), Some(size)) = (master, terminal::size()) {
        let pixels =
            tcgetwinsize(rustix::stdio::stdin()).map_or((0, 0), |size| (size.ws_xpixel, size.ws_ypixel));
        let size =
            Winsize { ws_row: size.rows, ws_col: size.columns, ws_xpixel: pixels.0, ws_ypixel: pixels.1 };
        let _ = tcsetwinsize(master, size);
    }
}

/// The exit code.
fn code(process: &OwnedFd) -> Outcome {
    use std::os::fd::AsFd;
    loop {
        match rustix::process::waitid(WaitId::PidFd(process.as_fd()), WaitIdOptions::EXITED) {
            Ok(Some(status)) => {
                let signal = status.terminating_signal().and_then(|signal| u8::try_from(signal).ok());
                return Ok(match (status.exit_status(), signal) {
                    (Some(code), _) => crate::exit::of_program(code),
                    (None, Some(signal)) => SIGNAL + signal,
                    (None, None) => u8::MAX,
                });
            }
            Ok(None) | Err(Errno::INTR) => {}
            Err(e) => return Err(Failure::new(format!("waiting for the process: {e}"))),
        }
    }
}
