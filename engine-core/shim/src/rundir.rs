//! The run directory: the lock that says a monitor lives, the socket it listens on, and the status that it tells.

use alloc::string::String;

use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{AtFlags, CWD, Mode, OFlags};
use rustix::io::Errno;
use rustix::net::SocketFlags;

use crate::failure::{Result, Step, failure};
use crate::status::{self, Status};
use crate::text::Text;
use crate::wire::Cause;
use crate::{socket, sys};

const SOCKET: &str = "control";

/// Takes the lock of the container. It is held for as long as the descriptor is open, or until it is given back.
pub(crate) fn take_lock(run_dir: &str) -> Result<OwnedFd> {
    let path: String = [run_dir, "/monitor"].concat();
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let lock = rustix::fs::open(path.as_str(), flags, Mode::from_raw_mode(0o600)).step("open lock", &path)?;
    match sys::lock(lock.as_fd(), true) {
        Err(Errno::AGAIN | Errno::ACCESS) => {
            let what = "another monitor looks after the container of";
            return Err(failure(Cause::Step, Errno::BUSY, what, run_dir));
        }
        result => result.step("lock", &path)?,
    }
    Ok(lock)
}

/// The control socket. It is bound by its bare name, as a whole path may be too long for one.
pub(crate) fn listen(run_dir: &str) -> Result<OwnedFd> {
    rustix::process::chdir(run_dir).step("enter", run_dir)?;
    crate::rootfs::clear(CWD, SOCKET).step("clear", "the control socket")?;
    socket::listen(SOCKET, SocketFlags::empty(), 16).step("listen on", "the control socket")
}

/// Has `link` lead to the program of this process: who opens it there can start it too. It need not be so; a process that
/// finds nothing has a copy of its own.
pub(crate) fn lead_to_program(link: &str) {
    let pid = i64::from(rustix::process::getpid().as_raw_nonzero().get());
    let (mut target, mut unfinished) = (Text::default(), Text::default());
    target.push("/proc/").number(pid).push("/exe");
    unfinished.push(link).push(".").number(pid);
    // Of a monitor that had the same number and was killed here.
    let _ = rustix::fs::unlink(unfinished.as_str());
    let _ = rustix::fs::symlink(target.as_str(), unfinished.as_str())
        .and_then(|()| rustix::fs::rename(unfinished.as_str(), link));
}

/// Replaces what is told of the container.
pub(crate) fn tell(run_dir: &str, status: &Status) -> Result<()> {
    replace(&[run_dir, "/", status::FILE].concat(), status.to_text().as_bytes(), false)
}

/// Replaces the file at `path`: whoever opens it finds the old content or the new. With `durable` the new one is on the
/// disk then.
pub(crate) fn replace(path: &str, content: &[u8], durable: bool) -> Result<()> {
    let unfinished = [path, ".new"].concat();
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let file = rustix::fs::open(unfinished.as_str(), flags, Mode::from_raw_mode(0o600))
        .step("write", &unfinished)?;
    match rustix::io::write(&file, content).step("write", &unfinished)? {
        written if written == content.len() => {}
        _ => return Err(Errno::NOSPC).step("write", &unfinished),
    }
    if durable {
        rustix::fs::fsync(&file).step("sync", &unfinished)?;
    }
    rustix::fs::renameat(CWD, unfinished.as_str(), CWD, path).step("replace", path)?;
    if durable {
        let (directory, _) = path.rsplit_once('/').unwrap_or((".", path));
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let directory = rustix::fs::open(directory, flags, Mode::empty()).step("open", directory)?;
        rustix::fs::fsync(&directory).step("sync the directory of", path)?;
    }
    Ok(())
}

/// Nothing is told any more.
pub(crate) fn clear(run_dir: &str) {
    for name in [SOCKET, status::FILE] {
        let _ = rustix::fs::unlinkat(CWD, [run_dir, "/", name].concat(), AtFlags::empty());
    }
}
