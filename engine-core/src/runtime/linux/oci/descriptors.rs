//! Descriptors that a caller gives or takes: those it hands on by their numbers, and the master of a terminal.

use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;

use engine_shim::control::{receive, send_all};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags};

use crate::error::{Error, Result, Subject};
use crate::sys::descriptors::inherited;

/// No more are handed on: the kernel passes so many with one message.
const MAX: u32 = 200;

/// The descriptors that this process was started with, `count` of them from number 3 on. To be called before the
/// process opens any of its own.
///
/// # Errors
/// One of them is not open.
pub fn inherit(count: u32) -> Result<Vec<OwnedFd>> {
    if count > MAX {
        return Err(Error::invalid(format!("{count} descriptors"), format!("at most {MAX} are handed on")));
    }
    // The number is at most 200, and fits.
    let end = 3 + count as i32;
    let copy = |number| {
        inherited(number, end).subject(|| format!("please check that preserved-fd {number} is present"))
    };
    (3..end).map(copy).collect()
}

/// Connects to the socket `path`, which takes the master of a terminal.
///
/// # Errors
/// Nobody listens there.
pub fn connect_console(path: &Path) -> Result<OwnedFd> {
    connect("console socket", path)
}

/// Connects to the socket `path`, which takes the pidfd of a process.
///
/// # Errors
/// Nobody listens there.
pub fn connect_pidfd(path: &Path) -> Result<OwnedFd> {
    connect("pidfd socket", path)
}

fn connect(noun: &str, path: &Path) -> Result<OwnedFd> {
    UnixStream::connect(path).map(OwnedFd::from).subject(|| format!("{noun} {}", path.display()))
}

/// Sends the pidfd of a process, which is there still or is not yet reaped, to whoever asked for it. `kind` is runc's
/// word beside it.
pub(super) fn send_pidfd(socket: Option<OwnedFd>, pid: u32, kind: &str) -> Result<()> {
    let Some(socket) = socket else { return Ok(()) };
    let open = || {
        let pid = i32::try_from(pid).ok().and_then(Pid::from_raw).ok_or(Errno::SRCH)?;
        rustix::process::pidfd_open(pid, PidfdFlags::empty())
    };
    let process = open().subject(|| format!("process {pid}"))?;
    send_all(socket, kind.as_bytes(), &[process.as_fd()]).subject(|| "the pidfd socket".to_owned())
}

/// Takes the master of a terminal within this process.
#[derive(Debug)]
pub struct Console(UnixStream);

impl Console {
    /// One that waits, and the connection for [`Creation::console`](super::Creation::console).
    ///
    /// # Errors
    /// There are too many open files.
    pub fn pair() -> Result<(Console, OwnedFd)> {
        let (ours, theirs) = UnixStream::pair().subject(|| "a console socket".to_owned())?;
        Ok((Console(ours), theirs.into()))
    }

    /// The master, once it was sent.
    ///
    /// # Errors
    /// Nothing was sent.
    pub fn master(&self) -> Result<OwnedFd> {
        let mut descriptors = Vec::new();
        receive(&self.0, &mut [0; 64], &mut descriptors).subject(|| "the console socket".to_owned())?;
        descriptors.pop().ok_or_else(|| Error::internal("the console socket", "no terminal came"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_descriptors_are_handed_on_than_one_message_takes() {
        assert!(inherit(0).expect("none").is_empty());
        inherit(MAX + 1).expect_err("are too many");
    }

    #[test]
    fn a_console_gives_what_it_was_sent_and_tells_if_that_is_nothing() {
        let (console, theirs) = Console::pair().expect("a pair");
        let (sent, kept) = rustix::pipe::pipe().expect("a pipe");
        let message = [std::os::fd::AsFd::as_fd(&sent)];
        engine_shim::control::send_all(&theirs, b"/dev/ptmx", &message).expect("sends");
        rustix::io::write(kept, b"x").expect("writes");
        let mut byte = [0];
        rustix::io::read(console.master().expect("came"), &mut byte).expect("reads");
        assert_eq!(byte, *b"x");
        drop(theirs);
        console.master().expect_err("nobody is left");
    }

    #[test]
    fn nobody_listens_at_a_path_that_is_not_there() {
        let error = connect_console(Path::new("/nowhere/console")).expect_err("is not there");
        assert!(error.to_string().contains("/nowhere/console"), "{error}");
        let error = connect_pidfd(Path::new("/nowhere/pidfd")).expect_err("is not there");
        assert!(error.to_string().contains("pidfd socket /nowhere/pidfd"), "{error}");
    }
}
