//! A directory in memory that nobody sees but this process and those it starts: in a mount namespace of its own, so that
//! all that is mounted and written there is gone with them, however they end.

use alloc::string::String;
use alloc::vec::Vec;

use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{AtFlags, CWD, Mode, OFlags, StatxAttributes, StatxFlags};
use rustix::io::Errno;

use crate::failure::{Result, Step};
use crate::filesystem::filesystem;
use crate::rootfs::{MS_SLAVE, attach, open_path};
use crate::sys;

/// The directory; this process is in it.
pub(super) struct Desk {
    path: String,
    directory: OwnedFd,
}

impl Desk {
    /// Makes it at `path`, which is made too if it is not there.
    pub(super) fn make(path: &str) -> Result<Desk> {
        match rustix::fs::mkdir(path, Mode::from_raw_mode(0o700)) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(errno) => return Err(errno).step("make directory", path),
        }
        sys::unshare(libc::CLONE_NEWNS as u32).step("make", "a mount namespace")?;
        keep_to_itself(path)?;
        let mode = [(String::from("mode"), Some(String::from("700")))];
        let memory = filesystem("tmpfs", "bundle", &mode, 0, path)?;
        attach(memory.as_fd(), CWD, path)?;
        let directory = open_path(path).step("open", path)?;
        rustix::process::fchdir(&directory).step("enter", path)?;
        Ok(Desk { path: path.into(), directory })
    }

    /// The path of what is called `name` here.
    pub(super) fn path(&self, name: &str) -> String {
        [&self.path, "/", name].concat()
    }

    /// The directory itself.
    pub(super) fn copy(&self) -> Result<OwnedFd> {
        rustix::io::fcntl_dupfd_cloexec(&self.directory, 3).step("open", &self.path)
    }

    /// Makes a directory.
    pub(super) fn directory(&self, name: &str) -> Result<()> {
        rustix::fs::mkdirat(&self.directory, name, Mode::from_raw_mode(0o755)).step("make directory", name)
    }

    /// Makes a file, empty.
    pub(super) fn file(&self, name: &str, mode: u32) -> Result<OwnedFd> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        rustix::fs::openat(&self.directory, name, flags, Mode::from_raw_mode(mode)).step("make", name)
    }

    /// Reads a file; no more than `limit` bytes of it, the last ones.
    pub(super) fn read(&self, name: &str, limit: usize) -> Result<Vec<u8>> {
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let file =
            rustix::fs::openat(&self.directory, name, flags, Mode::empty()).step("open", self.path(name))?;
        let length = rustix::fs::fstat(&file).step("examine", name)?.st_size;
        let from = u64::try_from(length).unwrap_or(0).saturating_sub(limit as u64);
        let mut content = alloc::vec![0; limit];
        let mut filled = 0;
        while let Some(space) = content.get_mut(filled..).filter(|space| !space.is_empty()) {
            match rustix::io::pread(&file, space, from + filled as u64).step("read", name)? {
                0 => break,
                length => filled += length,
            }
        }
        content.truncate(filled);
        Ok(content)
    }
}

/// What is mounted below the mount that has `path` does not travel to the host. Other mounts are left as they are: a
/// container may share one of them with the host.
fn keep_to_itself(path: &str) -> Result<()> {
    rustix::process::chdir(path).step("enter", path)?;
    let here = rustix::process::getcwd(Vec::new()).step("find the path of", path)?;
    let mut above = core::str::from_utf8(here.to_bytes()).map_err(|_| Errno::ILSEQ).step("enter", path)?;
    while !is_mount(above).step("examine", above)? {
        above = match above.rsplit_once('/') {
            Some(("", _)) | None => "/",
            Some((parent, _)) => parent,
        };
        if above == "/" {
            break;
        }
    }
    let mount = open_path(above).step("open", above)?;
    sys::mount_setattr(mount.as_fd(), false, 0, 0, MS_SLAVE).step("make private the mount at", above)
}

fn is_mount(path: &str) -> rustix::io::Result<bool> {
    let stat = rustix::fs::statx(CWD, path, AtFlags::SYMLINK_NOFOLLOW, StatxFlags::TYPE)?;
    Ok(stat.stx_attributes.contains(StatxAttributes::MOUNT_ROOT))
}
