//! Compressing a file that was put aside: in a child of the monitor, so that the monitor neither waits nor grows.

use alloc::string::String;

use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{AtFlags, CWD, Mode, OFlags, Timespec, Timestamps};
use rustix::process::{WaitId, WaitIdOptions};

use super::deflate::Packer;
use crate::sys::{self, Forked};

/// What follows the name of a file that is compressed.
pub(super) const SUFFIX: &str = ".gz";
const CHUNK: usize = 64 << 10;
/// It has time: the container has not.
const NICE: i32 = 10;

/// What is not complete yet, whatever log it becomes.
pub(super) fn unfinished(path: &str) -> String {
    [path, ".part"].concat()
}

/// A child at work.
pub(super) struct Compressor {
    pub(super) process: OwnedFd,
    /// The place among the files of what it compresses.
    pub(super) index: u32,
}

impl Compressor {
    /// Starts compressing `plain` to the file `to`. `None` if there can be no child now.
    pub(super) fn start(index: u32, plain: OwnedFd, to: &str) -> Option<Compressor> {
        match sys::clone(0, None).ok()? {
            Forked::Parent(process, _) => Some(Compressor { process, index }),
            Forked::Child => sys::exit(i32::from(work(plain, to).is_none())),
        }
    }

    /// It has ended; whether it did what it was to do.
    pub(super) fn succeeded(self) -> bool {
        let status = rustix::process::waitid(WaitId::PidFd(self.process.as_fd()), WaitIdOptions::EXITED);
        status.ok().flatten().is_some_and(|status| status.exit_status() == Some(0))
    }

    pub(super) fn kill(self) {
        let _ = sys::pidfd_send_signal(self.process.as_fd(), libc::SIGKILL);
        let _ = self.succeeded();
    }
}

/// The child. It has copies of all that the monitor has open, and keeps none of it: a client would wait for the end of
/// its connection, and a port would stay taken.
fn work(plain: OwnedFd, to: &str) -> Option<()> {
    crate::init::guard().ok()?;
    let _ = rustix::process::nice(NICE);
    sys::close_all_but(&[plain.as_fd()]).ok()?;
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let file = rustix::fs::open(to, flags, Mode::from_raw_mode(0o640)).ok()?;
    let stat = rustix::fs::fstat(&plain).ok()?;
    pack(&plain, &file, &header(stat.st_ino))?;
    // A reader who wants what is younger need not look into it.
    let time = Timespec { tv_sec: stat.st_mtime as _, tv_nsec: stat.st_mtime_nsec as _ };
    let times = Timestamps { last_access: time, last_modification: time };
    let _ = rustix::fs::utimensat(CWD, to, &times, AtFlags::SYMLINK_NOFOLLOW);
    // It replaces what is on the disk.
    rustix::fs::fdatasync(&file).ok()
}

/// The header of RFC 1952, with the inode that the content had, for readers who are at it.
fn header(inode: u64) -> [u8; 24] {
    let mut header = [0; 24];
    // The magic number, deflate, an extra field; no time; Unix; its length, its name "in" and the length of that.
    header[..16].copy_from_slice(&[0x1f, 0x8b, 8, 4, 0, 0, 0, 0, 0, 3, 12, 0, b'i', b'n', 8, 0]);
    header[16..].copy_from_slice(&inode.to_le_bytes());
    header
}

fn pack(plain: &OwnedFd, file: &OwnedFd, header: &[u8]) -> Option<()> {
    let mut packer = Packer::new(header);
    let mut input = alloc::vec![0; CHUNK];
    loop {
        let read = rustix::io::retry_on_intr(|| rustix::io::read(plain, input.as_mut_slice())).ok()?;
        match read {
            0 => packer.finish(),
            _ => packer.add(input.get(..read)?),
        }
        write_all(file, &packer.out)?;
        packer.out.clear();
        if read == 0 {
            return Some(());
        }
    }
}

fn write_all(file: &OwnedFd, mut bytes: &[u8]) -> Option<()> {
    while !bytes.is_empty() {
        let written = rustix::io::retry_on_intr(|| rustix::io::write(file, bytes)).ok()?;
        bytes = bytes.get(written..)?;
    }
    Some(())
}
