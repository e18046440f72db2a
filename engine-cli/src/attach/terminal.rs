//! The terminal that the program was started on: its size, and raw mode.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use engine_core::spec::TerminalSize;
use rustix::termios::{OptionalActions, Termios, isatty, tcgetattr, tcgetwinsize, tcsetattr};

use crate::exit::Failure;

const USUAL_WIDTH: usize = 80;

/// Whether standard input is a terminal.
pub(crate) fn is_stdin() -> bool {
    isatty(rustix::stdio::stdin())
}

/// The size of the terminal that standard output is, or standard input if that is none.
pub(crate) fn size() -> Option<TerminalSize> {
    let of =
        |stream: BorrowedFd<'_>| tcgetwinsize(stream).ok().filter(|size| size.ws_row > 0 && size.ws_col > 0);
    let size = of(rustix::stdio::stdout()).or_else(|| of(rustix::stdio::stdin()))?;
    Some(TerminalSize { rows: size.ws_row, columns: size.ws_col })
}

/// How wide to write for people.
pub(crate) fn width() -> usize {
    size().map_or(USUAL_WIDTH, |size| usize::from(size.columns))
}

/// Refuses to attach the input of a program on a terminal to something that is none.
///
/// # Errors
/// Docker's words for it.
pub(crate) fn require(interactive: bool, tty: bool) -> Result<(), Failure> {
    match interactive && tty && !is_stdin() {
        true => Err(Failure::new("the input device is not a TTY").with_remedy("leave the flag -t away")),
        false => Ok(()),
    }
}

/// Standard input in raw mode: every key goes to the program in the container as it is, those that would make
/// signals too. Dropping it gives the terminal back as it was.
#[derive(Debug)]
pub(crate) struct RawMode<'a> {
    terminal: BorrowedFd<'a>,
    before: Termios,
}

impl<'a> RawMode<'a> {
    /// Enters raw mode.
    ///
    /// # Errors
    /// What the kernel said.
    pub(crate) fn enter(terminal: &'a impl AsFd) -> io::Result<RawMode<'a>> {
        let terminal = terminal.as_fd();
        let before = tcgetattr(terminal)?;
        let mut raw = before.clone();
        raw.make_raw();
        tcsetattr(terminal, OptionalActions::Now, &raw)?;
        Ok(RawMode { terminal, before })
    }
}

impl Drop for RawMode<'_> {
    fn drop(&mut self) {
        // A terminal that has gone away needs no mending.
        let _ = tcsetattr(self.terminal, OptionalActions::Now, &self.before);
    }
}

#[cfg(test)]
mod tests {
    use std::fs::{File, OpenOptions};

    use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
    use rustix::termios::LocalModes;

    use super::*;

    /// A terminal of our own, with the master that keeps it alive.
    fn terminal() -> (std::os::fd::OwnedFd, File) {
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).expect("a pty");
        grantpt(&master).and_then(|()| unlockpt(&master)).expect("granted");
        let name = ptsname(&master, Vec::new()).expect("named").into_string().expect("UTF-8");
        let terminal = OpenOptions::new().read(true).write(true).open(name).expect("opens");
        (master, terminal)
    }

    fn is_cooked(terminal: &File) -> bool {
        tcgetattr(terminal).expect("a terminal").local_modes.contains(LocalModes::ICANON)
    }

    #[test]
    fn raw_mode_ends_with_its_guard() {
        let (_master, terminal) = terminal();
        let raw = RawMode::enter(&terminal).expect("raw");
        assert!(!is_cooked(&terminal));
        drop(raw);
        assert!(is_cooked(&terminal));
    }

    #[test]
    fn raw_mode_ends_with_a_panic() {
        let (_master, terminal) = terminal();
        let result = std::panic::catch_unwind(|| {
            let _raw = RawMode::enter(&terminal).expect("raw");
            panic!("on purpose");
        });
        assert!(result.is_err() && is_cooked(&terminal));
    }

    #[test]
    fn what_is_no_terminal_cannot_be_raw() {
        let file = File::open("/dev/null").expect("opens");
        assert!(RawMode::enter(&file).is_err());
    }
}
