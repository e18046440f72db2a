//! How a command ends: the exit code, and what is said of a failure.
//!
//! Docker's codes: 125 when the engine could not do what `run` asked for, 126 for a program that cannot be executed,
//! 127 for one that is not there, 128 + n for one that signal n ended, and otherwise the program's own; 1 for what
//! other commands could not do.

use std::io;

use engine_core::{Error, ErrorKind};

use crate::render::text::escape;

/// `run` failed before the container's program ran; or a flag is not known.
pub(crate) const ENGINE: u8 = 125;
const NOT_EXECUTABLE: u8 = 126;
const NOT_FOUND: u8 = 127;
/// Added to the number of the signal that ended something.
pub(crate) const SIGNAL: u8 = 128;
const SIGPIPE: u8 = 13;

/// What a command ends with: an exit code, or a failure to report.
pub(crate) type Outcome = Result<u8, Failure>;

/// Why a command did not do what it was asked for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    /// What to say; nothing if it has been said.
    message: Option<String>,
    remedy: Option<String>,
    code: u8,
    /// The command whose help might help.
    see: Option<String>,
    /// For `--debug`: the kind of the engine's failure, with all that is known of it.
    detail: Option<String>,
}

impl Failure {
    /// A failure of the command itself: code 1.
    pub(crate) fn new(message: impl Into<String>) -> Failure {
        Failure { message: Some(message.into()), remedy: None, code: 1, see: None, detail: None }
    }

    /// Something was asked for in a wrong way: what, the command's usage, and the command.
    pub(crate) fn usage(message: &str, usage: &str, path: &str, code: u8) -> Failure {
        let message = Some(format!("{message}\n\nUsage:  {usage}"));
        Failure { message, remedy: None, code, see: Some(path.to_owned()), detail: None }
    }

    /// All has been said; only the code is left.
    pub(crate) fn told(code: u8) -> Failure {
        Failure { message: None, remedy: None, code, see: None, detail: None }
    }

    /// Adds what the user can do about it.
    #[must_use]
    pub(crate) fn with_remedy(mut self, remedy: impl Into<String>) -> Failure {
        self.remedy = Some(remedy.into());
        self
    }

    /// The same failure of `run`, which keeps the codes of other commands for the program it runs.
    #[must_use]
    pub(crate) fn of_run(mut self, path: &str) -> Failure {
        if self.code == 1 {
            self.code = ENGINE;
        }
        if self.message.is_some() {
            self.see.get_or_insert_with(|| path.to_owned());
        }
        self
    }

    /// The same failure with another exit code.
    #[must_use]
    pub(crate) fn with_code(mut self, code: u8) -> Failure {
        self.code = code;
        self
    }

    /// What went wrong, for a log; `None` if all has been said.
    pub(crate) fn message(&self) -> Option<&str> {
        self.message.as_deref()
    }

    /// The exit code.
    pub(crate) fn code(&self) -> u8 {
        self.code
    }

    /// What `--debug` tells on top; empty if there is nothing more.
    pub(crate) fn detail(&self) -> String {
        self.detail.as_ref().map(|detail| format!("Debug: {}\n", lines(detail))).unwrap_or_default()
    }

    /// What to print on standard error, without control characters; empty if there is nothing to say.
    pub(crate) fn report(&self) -> String {
        let Some(message) = &self.message else { return String::new() };
        let mut report = format!("engine: {}\n", lines(message));
        if let Some(remedy) = &self.remedy {
            report.push_str(&format!("Hint: {}\n", lines(remedy)));
        }
        if let Some(path) = &self.see {
            report.push_str(&format!("\nSee '{path} --help'.\n"));
        }
        report
    }
}

/// Escapes each line, so that text from a registry or an image cannot play with the terminal.
fn lines(text: &str) -> String {
    text.split('\n').map(escape).collect::<Vec<_>>().join("\n")
}

impl From<Error> for Failure {
    fn from(error: Error) -> Failure {
        let code = match error.kind() {
            ErrorKind::CommandNotExecutable => NOT_EXECUTABLE,
            ErrorKind::CommandNotFound => NOT_FOUND,
            _ => 1,
        };
        let remedy = error.remedy().map(str::to_owned);
        let detail = Some(format!("{error:?}"));
        Failure { message: Some(error.to_string()), remedy, code, see: None, detail }
    }
}

impl From<io::Error> for Failure {
    /// Of the command's own standard streams. Whoever closes the pipe does not want to hear more.
    fn from(error: io::Error) -> Failure {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Failure::told(SIGNAL + SIGPIPE),
            _ => Failure::new(error.to_string()),
        }
    }
}

/// The exit code of a container's program, as a process of this system can have it.
pub(crate) fn of_program(code: i32) -> u8 {
    u8::try_from(code & 0xff).unwrap_or(u8::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_map_to_docker_s_codes() {
        let code = |kind| Failure::from(Error::new(kind, "x")).of_run("engine run").code();
        assert_eq!(code(ErrorKind::CommandNotFound), 127);
        assert_eq!(code(ErrorKind::CommandNotExecutable), 126);
        assert_eq!(code(ErrorKind::NotFound), 125);
        assert_eq!(Failure::from(Error::not_found("x")).code(), 1);
    }

    #[test]
    fn a_report_has_the_remedy_and_points_to_the_help_of_run() {
        let error =
            Error::new(ErrorKind::InUse, "volume data").because("in use by web").with_remedy("remove web");
        assert_eq!(
            Failure::from(error).of_run("engine run").report(),
            "engine: volume data: in use by web\nHint: remove web\n\nSee 'engine run --help'.\n"
        );
    }

    #[test]
    fn control_characters_of_a_message_do_not_reach_the_terminal() {
        assert_eq!(Failure::new("a\u{1b}[2Jb").report(), "engine: a\\x1b[2Jb\n");
    }

    #[test]
    fn a_closed_pipe_ends_quietly_as_the_signal_would() {
        let failure = Failure::from(io::Error::from(io::ErrorKind::BrokenPipe));
        assert_eq!((failure.code(), failure.report()), (141, String::new()));
    }

    #[test]
    fn a_program_s_code_is_cut_to_a_byte() {
        assert_eq!(of_program(7), 7);
        assert_eq!(of_program(256 + 3), 3);
        assert_eq!(of_program(-1), 255);
    }
}
