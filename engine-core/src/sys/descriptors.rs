//! Descriptors that this process was started with.
#![expect(unsafe_code, reason = "a descriptor that is known by its number alone")]

use std::io;
use std::os::fd::{FromRawFd, OwnedFd};

use nix::errno::Errno;

/// A copy of the descriptor `number`, at `lowest` or above, so that it takes no number that is still to be copied.
///
/// # Errors
/// `EBADF` if it is not open.
pub(crate) fn inherited(number: i32, lowest: i32) -> io::Result<OwnedFd> {
    // SAFETY: takes integers, and fails for a number that is not open.
    let copy = Errno::result(unsafe { libc::fcntl(number, libc::F_DUPFD_CLOEXEC, lowest) })?;
    // SAFETY: the call succeeded, so this is a new descriptor that nobody else owns.
    Ok(unsafe { OwnedFd::from_raw_fd(copy) })
}
