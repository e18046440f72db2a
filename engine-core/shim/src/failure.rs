//! Turning a failed system call into the [`Failure`] the engine is told.

use alloc::vec::Vec;

use rustix::io::Errno;

use crate::wire::{Cause, Failure};

/// The result of a step of building a container.
pub(crate) type Result<T> = core::result::Result<T, Failure>;

/// Says which step a system call belongs to.
pub(crate) trait Step<T> {
    /// Puts the words `what` and `to` to the failure: `mount`, `/proc`.
    fn step(self, what: &str, to: impl AsRef<[u8]>) -> Result<T>;
}

impl<T> Step<T> for rustix::io::Result<T> {
    fn step(self, what: &str, to: impl AsRef<[u8]>) -> Result<T> {
        self.map_err(|errno| failure(Cause::Step, errno, what, to))
    }
}

/// No more of it is told: it has to fit the message in which a process that is being built tells it.
const MAX_STEP: usize = 2048;

/// A failure of the kind `cause`.
pub(crate) fn failure(cause: Cause, errno: Errno, what: &str, to: impl AsRef<[u8]>) -> Failure {
    let to = to.as_ref();
    let mut step = Vec::with_capacity(what.len() + 1 + to.len());
    step.extend_from_slice(what.as_bytes());
    if !to.is_empty() {
        step.push(b' ');
        step.extend_from_slice(to);
    }
    step.truncate(MAX_STEP);
    Failure { cause, errno: errno.raw_os_error(), step }
}
