//! The terminal of a container's program.

use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{Mode, OFlags, ResolveFlags};
use rustix::pty::OpenptFlags;
use rustix::termios::Winsize;

use crate::failure::{Result, Step};

/// Opens a new terminal in the container's own devpts, beneath `root`: master and slave. The slave is opened through
/// the master, not by a path that the container could have changed.
pub(crate) fn open(root: BorrowedFd<'_>) -> Result<(OwnedFd, OwnedFd)> {
    let flags = OFlags::RDWR | OFlags::NOCTTY;
    // `/dev/ptmx` may be a link to `pts/ptmx`; the latter is always the instance's own.
    let master = crate::rootfs::resolve_in(root, "/dev/pts/ptmx", flags, ResolveFlags::NO_SYMLINKS)
        .step("open", "/dev/pts/ptmx")?;
    rustix::pty::unlockpt(&master).step("unlock", "the terminal")?;
    let slave = rustix::pty::ioctl_tiocgptpeer(
        &master,
        OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC,
    )
    .step("open", "the terminal")?;
    rustix::fs::fchmod(&slave, Mode::from_raw_mode(0o620)).step("set the mode of", "the terminal")?;
    Ok((master, slave))
}

/// Sets the size of a terminal. A size of zero means that nobody said one.
pub(crate) fn resize(terminal: impl AsFd, rows: u16, columns: u16) {
    if rows > 0 && columns > 0 {
        let size = Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
        // It may be hung up already; then nobody misses the size.
        let _ = rustix::termios::tcsetwinsize(terminal, size);
    }
}

/// Mounts the terminal as `/dev/console`.
pub(crate) fn mount(root: BorrowedFd<'_>, slave: BorrowedFd<'_>) -> Result<()> {
    let target = crate::devices::console_target(root)?;
    crate::rootfs::bind(slave, target.as_fd(), "/dev/console")
}
