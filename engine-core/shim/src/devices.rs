//! Device nodes and the usual links of `/dev`.

use alloc::vec::Vec;

use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{AtFlags, FileType, Gid, Mode, OFlags, ResolveFlags, Uid};
use rustix::io::Errno;
use rustix::pipe::PipeFlags;

use crate::failure::{Result, Step, failure};
use crate::plan::{ContainerPlan, Device, Mount, MountSource};
use crate::rootfs::{bind, directory, open_path, resolve_in};
use crate::wire::Cause;

/// Links that programs expect (OCI runtime-spec, config-linux.md, "Default Devices" and "/dev symbolic links").
const LINKS: [(&str, &str); 5] = [
    ("fd", "/proc/self/fd"),
    ("stdin", "/proc/self/fd/0"),
    ("stdout", "/proc/self/fd/1"),
    ("stderr", "/proc/self/fd/2"),
    ("ptmx", "pts/ptmx"),
];

/// Makes the nodes and the links beneath `root`; nothing if `/dev` is the host's, whose it would change.
pub(crate) fn make(root: BorrowedFd<'_>, plan: &ContainerPlan) -> Result<()> {
    let is_host = |mount: &Mount| mount.target == "/dev" && matches!(mount.source, MountSource::Bind { .. });
    if plan.mounts.iter().any(is_host) {
        return Ok(());
    }
    let dev = directory(root, "/dev", true)?;
    for (name, target) in LINKS {
        match rustix::fs::symlinkat(target, &dev, name) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(errno) => return Err(errno).step("link /dev", name),
        }
    }
    for device in &plan.devices {
        let (parent, name) = device.path.rsplit_once('/').unwrap_or(("", &device.path));
        let other: OwnedFd;
        let parent = if parent == "/dev" {
            dev.as_fd()
        } else {
            other = directory(root, parent, false)?;
            other.as_fd()
        };
        if plan.namespaces.has_users() && device.mode & libc::S_IFMT != libc::S_IFIFO {
            borrow(parent, name, device)?;
        } else {
            node(parent, name, device)?;
        }
    }
    Ok(())
}

/// Mounts the host's node, as no user namespace may make one: the host's mode and owner hold. It has to be the same
/// device.
fn borrow(parent: BorrowedFd<'_>, name: &str, device: &Device) -> Result<()> {
    let path = device.path.as_str();
    let theirs = open_path(path).step("open the host's device", path)?;
    let there = rustix::fs::fstat(&theirs).step("examine", path)?;
    let kind = FileType::from_raw_mode(device.mode);
    if FileType::from_raw_mode(there.st_mode) != kind
        || there.st_rdev != rustix::fs::makedev(device.major, device.minor)
    {
        return Err(failure(Cause::Step, Errno::NODEV, "the host has another device at", path));
    }
    match rustix::fs::mknodat(parent, name, FileType::RegularFile, Mode::from_raw_mode(0o666), 0) {
        Ok(()) | Err(Errno::EXIST) => {}
        Err(errno) => return Err(errno).step("make", path),
    }
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let place = rustix::fs::openat(parent, name, flags, Mode::empty()).step("open", path)?;
    if FileType::from_raw_mode(rustix::fs::fstat(&place).step("examine", path)?.st_mode) == FileType::Symlink
    {
        return Err(failure(Cause::Escape, Errno::LOOP, "a link is at device", path));
    }
    bind(theirs.as_fd(), place.as_fd(), path)
}

/// Makes one node. One that is there already must be the same device, or it is somebody's trap.
fn node(parent: BorrowedFd<'_>, name: &str, device: &Device) -> Result<()> {
    let kind = FileType::from_raw_mode(device.mode);
    let mode = Mode::from_raw_mode(device.mode & 0o7777);
    let number = rustix::fs::makedev(device.major, device.minor);
    match rustix::fs::mknodat(parent, name, kind, mode, number) {
        Ok(()) => {}
        Err(Errno::EXIST) => {
            let there =
                rustix::fs::statat(parent, name, AtFlags::SYMLINK_NOFOLLOW).step("examine", &device.path)?;
            let same = FileType::from_raw_mode(there.st_mode) == kind
                && (kind == FileType::Fifo || there.st_rdev == number);
            if !same {
                return Err(failure(
                    Cause::Escape,
                    Errno::EXIST,
                    "something else is at device",
                    &device.path,
                ));
            }
            return Ok(());
        }
        Err(errno) => return Err(errno).step("make device", &device.path),
    }
    // The mode was cut by the mask of this process.
    rustix::fs::chmodat(parent, name, mode, AtFlags::empty()).step("set the mode of device", &device.path)?;
    if (device.uid, device.gid) != (0, 0) {
        let (uid, gid) = (Uid::from_raw(device.uid), Gid::from_raw(device.gid));
        rustix::fs::chownat(parent, name, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW)
            .step("set the owner of device", &device.path)?;
    }
    Ok(())
}

/// The file over which the terminal is mounted as `/dev/console`, made if it is not there. A link is refused
/// (CVE-2025-52565).
pub(crate) fn console_target(root: BorrowedFd<'_>) -> Result<OwnedFd> {
    match resolve_in(root, "/dev/console", OFlags::PATH | OFlags::NOFOLLOW, ResolveFlags::NO_SYMLINKS) {
        Err(Errno::NOENT) => {}
        result => return result.step("open", "/dev/console"),
    }
    let dev = directory(root, "/dev", true)?;
    let flags = OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::RDONLY;
    rustix::fs::openat(&dev, "console", flags, Mode::from_raw_mode(0o600)).step("make", "/dev/console")
}

/// What a program reads that is given no input: the container's own null device, as through a descriptor of the host's
/// the owner and the mode of that could be changed. Where there is none, a pipe that nobody writes to.
pub(crate) fn no_input(root: BorrowedFd<'_>) -> Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::NOCTTY | OFlags::NONBLOCK;
    if let Ok(null) = resolve_in(root, "/dev/null", OFlags::PATH, ResolveFlags::NO_SYMLINKS)
        && is_null(null.as_fd())
        && let Ok(null) = resolve_in(root, "/dev/null", flags, ResolveFlags::NO_SYMLINKS)
        && is_null(null.as_fd())
        && rustix::io::ioctl_fionbio(&null, false).is_ok()
    {
        return Ok(null);
    }
    let (read, _) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC).step("make", "a pipe")?;
    Ok(read)
}

/// Whether `fd` is the null device.
pub(crate) fn is_null(fd: BorrowedFd<'_>) -> bool {
    rustix::fs::fstat(fd).is_ok_and(|stat| {
        let number = (rustix::fs::major(stat.st_rdev), rustix::fs::minor(stat.st_rdev));
        FileType::from_raw_mode(stat.st_mode) == FileType::CharacterDevice && number == (1, 3)
    })
}

/// Reads a file beneath `root` of at most `limit` bytes; nothing if it is not there.
pub(crate) fn read_bounded(root: BorrowedFd<'_>, path: &str, limit: usize) -> Result<Vec<u8>> {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY;
    let file = match resolve_in(root, path, flags, ResolveFlags::empty()) {
        Ok(file) => file,
        Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => return Ok(Vec::new()),
        Err(errno) => return Err(errno).step("open", path),
    };
    let stat = rustix::fs::fstat(&file).step("examine", path)?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        return Ok(Vec::new());
    }
    let mut content = alloc::vec![0; (stat.st_size as usize).min(limit)];
    let mut at = 0;
    while at < content.len() {
        match rustix::io::read(&file, &mut content[at..]) {
            Ok(0) => break,
            Ok(read) => at += read,
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno).step("read", path),
        }
    }
    content.truncate(at);
    Ok(content)
}
