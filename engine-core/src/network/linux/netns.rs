//! Work inside another network namespace.
//!
//! A thread of its own enters the namespace, does the work and ends. No thread of a pool ever enters one: whatever ran
//! on it next would find itself in somebody's container.

use std::os::fd::{AsFd, BorrowedFd};
use std::thread;

use nix::sched::{CloneFlags, setns};

use crate::error::{Error, ErrorKind, Result, Subject};

/// What the work needs for its stack; it is small, and a thread's default is not.
const STACK: usize = 256 << 10;

/// Does `inside` in the network namespace `netns`, and `here` at the same time in the current one. A socket opened
/// inside stays there.
///
/// # Errors
/// Those of `here` come first; [`ErrorKind::PermissionDenied`] when the namespace cannot be entered.
pub(super) fn beside(
    netns: BorrowedFd<'_>,
    inside: impl FnOnce() -> Result<()> + Send,
    here: impl FnOnce() -> Result<()>,
) -> Result<()> {
    thread::scope(|scope| {
        let inside = move || {
            setns(netns.as_fd(), CloneFlags::CLONE_NEWNET)
                .subject(|| "network namespace of the container".into())?;
            inside()
        };
        let thread = thread::Builder::new()
            .name("engine-netns".into())
            .stack_size(STACK)
            .spawn_scoped(scope, inside)
            .map_err(|e| {
                Error::new(ErrorKind::LimitExceeded, "network namespace of the container")
                    .because("no thread can be started to enter it")
                    .caused_by(e)
            })?;
        let here = here();
        let inside = thread
            .join()
            .unwrap_or_else(|_| Err(Error::internal("network namespace", "the work in it panicked")));
        here.and(inside)
    })
}
