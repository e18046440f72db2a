//! What is printed: everything between a value and the bytes on a terminal or in a pipe.

pub(crate) mod help;
pub(crate) mod json;
pub(crate) mod list;
pub(crate) mod ports;
pub(crate) mod progress;
pub(crate) mod size;
pub(crate) mod table;
pub(crate) mod template;
pub(crate) mod text;
pub(crate) mod time;
pub(crate) mod zone;

use std::io::{self, Write as _};

/// Prints to standard output, all at once.
///
/// # Errors
/// What writing gave, a closed pipe too: nothing here panics or kills.
pub(crate) fn print(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()
}

/// Prints to standard error. That nobody can read it is no reason to stop.
pub(crate) fn tell(text: &str) {
    // There is nowhere left to report to.
    let _ = io::stderr().lock().write_all(text.as_bytes());
}
