//! What another container has mounted, for one that shares it. A mount can be copied from within its own namespace
//! only, so this process goes there and comes back.

use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

use crate::failure::{Result, Step, failure};
use crate::rootfs::{clone_of, open_path, resolve_in};
use crate::sys;
use crate::wire::Cause;

const TMPFS_MAGIC: i64 = 0x0102_1994;
const MOUNT_NAMESPACE: u32 = libc::CLONE_NEWNS as u32;

/// A copy of the file system in memory at `path` in the mount namespace `namespace`. Whoever is there may have put
/// anything in its place: that is its own, but nothing else than a file system in memory is taken.
pub(crate) fn copy(namespace: &str, path: &str) -> Result<OwnedFd> {
    let open = |path: &str| rustix::fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty());
    let theirs = open(namespace).step("open namespace", namespace)?;
    let own = open("/proc/self/ns/mnt").step("open", "/proc/self/ns/mnt")?;
    // To enter a namespace changes the root and the working directory to those of the namespace.
    let root = open_path("/").step("open", "/")?;
    let here = open_path(".").step("open", "the working directory")?;
    sys::setns(theirs.as_fd(), MOUNT_NAMESPACE).step("enter", "the mount namespace of another container")?;
    let tree = take(path);
    sys::setns(own.as_fd(), MOUNT_NAMESPACE)
        .step("return from", "the mount namespace of another container")?;
    rustix::process::fchdir(&root)
        .and_then(|()| rustix::process::chroot("."))
        .and_then(|()| rustix::process::fchdir(&here))
        .step("return to", "the working directory")?;
    tree
}

fn take(path: &str) -> Result<OwnedFd> {
    let root = open_path("/").step("open", "/")?;
    let place = resolve_in(root.as_fd(), path, OFlags::PATH | OFlags::DIRECTORY, ResolveFlags::NO_SYMLINKS)
        .step("open what another container has at", path)?;
    let kind = rustix::fs::fstatfs(&place).step("examine", path)?.f_type;
    if kind != TMPFS_MAGIC {
        return Err(failure(Cause::Escape, Errno::NODEV, "another container shares no memory at", path));
    }
    clone_of(place.as_fd(), false).step("copy what another container has at", path)
}
