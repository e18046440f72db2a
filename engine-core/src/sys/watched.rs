//! Descriptors that tokio watches.
#![expect(unsafe_code, reason = "tokio wants to be told that a descriptor stays open")]

use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::inotify::{self, CreateFlags, WatchFlags};
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

/// Wakes when a file in the folder is made or written to.
///
/// # Errors
/// The failure of inotify_init(2), inotify_add_watch(2) or epoll_ctl(2).
pub(crate) fn folder(folder: &Path) -> std::io::Result<AsyncFd<OwnedFd>> {
    let changes = inotify::init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC)?;
    inotify::add_watch(&changes, folder, WatchFlags::CREATE | WatchFlags::MODIFY)?;
    readable(changes)
}

/// Waits for a change in a watched [`folder`]. What changed does not matter: whoever waits reads to the end anyway.
///
/// # Errors
/// The runtime is shutting down.
pub(crate) async fn changed(changes: &AsyncFd<OwnedFd>) -> std::io::Result<()> {
    let mut ready = changes.readable().await?;
    let mut events = [0; 4096];
    while rustix::io::read(changes.get_ref(), &mut events).is_ok_and(|length| length > 0) {}
    ready.clear_ready();
    Ok(())
}
