//! Descriptors that tokio watches.
#![expect(unsafe_code, reason = "tokio wants to be told that a descriptor stays open")]

use std::os::fd::OwnedFd;

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// A descriptor that does not block, watched until there is something to read from it.
///
/// # Errors
/// The failure of epoll_ctl(2).
pub(crate) fn readable(fd: OwnedFd) -> std::io::Result<AsyncFd<OwnedFd>> {
    // SAFETY: an `OwnedFd` is open until it is dropped, which `AsyncFd` does after it has ended the watch; nobody else
    // can get at it to close it.
    unsafe { AsyncFd::register_with_interest(fd, Interest::READABLE) }.map_err(std::io::Error::from)
}
