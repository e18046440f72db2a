//! Another process in a running container, and attaching to a process.

use serde::{Deserialize, Serialize};

/// Rows and columns of a terminal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TerminalSize {
    /// Lines.
    pub rows: u16,
    /// Characters in a line.
    pub columns: u16,
}

/// Another process in a running container.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct ExecSpec {
    /// The program and its arguments.
    pub command: Vec<String>,
    /// `KEY=value`, on top of the container's environment.
    pub env: Vec<String>,
    /// Where it runs; the container's working directory unless given.
    pub working_dir: Option<String>,
    /// `user[:group]`, by name or number; the container's user unless given.
    pub user: Option<String>,
    /// With all capabilities.
    pub privileged: bool,
    /// On a terminal of its own.
    pub terminal: bool,
    /// The terminal's first size.
    pub terminal_size: Option<TerminalSize>,
    /// Whether the caller will write to its standard input; without it the process reads end of file.
    pub stdin: bool,
    /// Run on without anybody to read its output, which is thrown away.
    pub detach: bool,
    /// Its identifier, by which [`Container::inspect_exec`](crate::container::Container::inspect_exec) finds it; one
    /// is made up unless given.
    pub id: Option<String>,
}

impl ExecSpec {
    /// A process that runs `command`.
    pub fn new<I>(command: I) -> ExecSpec
    where
        I: IntoIterator,
        I::Item: Into<String>,
    {
        ExecSpec { command: command.into_iter().map(Into::into).collect(), ..ExecSpec::default() }
    }
}

/// Which streams of a container's first process to attach to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct AttachSpec {
    /// Write to its standard input, if the container keeps that open.
    pub stdin: bool,
    /// Read its standard output.
    pub stdout: bool,
    /// Read its standard error.
    pub stderr: bool,
}

impl AttachSpec {
    /// Read both outputs; do not write.
    pub const OUTPUT: AttachSpec = AttachSpec { stdin: false, stdout: true, stderr: true };
    /// All three streams.
    pub const ALL: AttachSpec = AttachSpec { stdin: true, stdout: true, stderr: true };

    /// These streams.
    pub const fn new(stdin: bool, stdout: bool, stderr: bool) -> AttachSpec {
        AttachSpec { stdin, stdout, stderr }
    }
}
