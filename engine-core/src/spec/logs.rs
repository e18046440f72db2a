//! What to read of a container's log.

use super::Timestamp;

/// What to read of a container's log: all of it, unless told otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct LogsSpec {
    /// Go on with what is written later, until the container has stopped.
    pub follow: bool,
    /// Only lines written at or after this time.
    pub since: Option<Timestamp>,
    /// Only lines written before or at this time.
    pub until: Option<Timestamp>,
    /// Only so many lines from the end.
    pub tail: Option<usize>,
    /// Lines of standard output.
    pub stdout: bool,
    /// Lines of standard error.
    pub stderr: bool,
}

impl Default for LogsSpec {
    fn default() -> LogsSpec {
        LogsSpec { follow: false, since: None, until: None, tail: None, stdout: true, stderr: true }
    }
}
