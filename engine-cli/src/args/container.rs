//! The commands for containers, but for those that make one.

use std::path::PathBuf;
use std::time::Duration;

use clap::{ArgAction, Parser};
use engine_core::Reference;
use engine_core::spec::{Signal, WaitCondition};

use super::create::{env_file, env_variable};
use super::image::reference;
use super::parse::boolean::boolean;
use super::parse::number::tail;
use super::parse::reason;
use super::parse::time::patience;

/// A signal by name or number.
pub(crate) fn signal(text: &str) -> Result<Signal, String> {
    text.parse().map_err(reason)
}

/// A condition of `wait`.
fn wait_condition(text: &str) -> Result<WaitCondition, String> {
    text.parse().map_err(reason)
}

/// A filter's key and value.
pub(crate) type Condition = (String, String);

/// `key=value`.
pub(crate) fn condition(text: &str) -> Result<Condition, String> {
    match text.split_once('=') {
        Some((key, value)) if !key.trim().is_empty() => Ok((key.trim().to_owned(), value.trim().to_owned())),
        _ => Err("bad format of filter (expected name=value)".to_owned()),
    }
}

/// Start one or more stopped containers
#[derive(Debug, Parser)]
pub(crate) struct Start {
    /// Attach STDOUT/STDERR and forward signals
    #[arg(short, long)]
    pub(crate) attach: bool,
    /// Attach the container's STDIN
    #[arg(short, long)]
    pub(crate) interactive: bool,
    /// Override the key sequence for detaching a container
    #[arg(long)]
    pub(crate) detach_keys: Option<String>,
    /// The containers.
    #[arg(required = true, value_name = "CONTAINER")]
    pub(crate) containers: Vec<String>,
}

/// Stop one or more running containers
#[derive(Debug, Parser)]
pub(crate) struct Stop {
    /// Signal to send to the container
    #[arg(short, long, value_parser = signal)]
    pub(crate) signal: Option<Signal>,
    /// Seconds to wait before killing the container (-1 waits for ever)
    #[arg(short, long, alias = "time", value_name = "int", value_parser = patience)]
    pub(crate) timeout: Option<Duration>,
    /// The containers.
    #[arg(required = true, value_name = "CONTAINER")]
    pub(crate) containers: Vec<String>,
}

/// Restart one or more containers
#[derive(Debug, Parser)]
pub(crate) struct Restart {
    /// Signal to send to the container
    #[arg(short, long, value_parser = signal)]
    pub(crate) signal: Option<Signal>,
    /// Seconds to wait before killing the container (-1 waits for ever)
    #[arg(short, long, alias = "time", value_name = "int", value_parser = patience)]
    pub(crate) timeout: Option<Duration>,
    /// The containers.
    #[arg(required = true, value_name = "CONTAINER")]
    pub(crate) containers: Vec<String>,
}

/// Kill one or more running containers
#[derive(Debug, Parser)]
pub(crate) struct Kill {
    /// Signal to send to the container (default "KILL")
    #[arg(short, long, value_parser = signal)]
    pub(crate) signal: Option<Signal>,
    /// The containers.
    #[arg(required = true, value_name = "CONTAINER")]
    pub(crate) containers: Vec<String>,
}

/// Remove one or more containers
#[derive(Debug, Parser)]
pub(crate) struct Rm {
    /// Force the removal of a running container (uses SIGKILL)
    #[arg(short, long)]
    pub(crate) force: bool,
    /// Remove anonymous volumes associated with the container
    #[arg(short, long)]
    pub(crate) volumes: bool,
    /// The containers.
    #[arg(required = true, value_name = "CONTAINER")]
    pub(crate) containers: Vec<String>,
}

/// Block until one or more containers stop, then print their exit codes
#[derive(Debug, Parser)]
pub(crate) struct Wait {
    /// What to wait for: "not-running", "next-exit" or "removed" (default "not-running")
    #[arg(long, value_parser = wait_condition)]
    pub(crate) condition: Option<WaitCondition>,
    /// The containers.
    #[arg(required = true, value_name = "CONTAINER")]
    pub(crate) containers: Vec<String>,
}

/// Pause all processes within one or more containers
#[derive(Debug, Parser)]
pub(crate) struct Pause {
    /// The containers.
    #[arg(required = true, value_name = "CONTAINER")]
    pub(crate) containers: Vec<String>,
}

/// Unpause all processes within one or more containers
#[derive(Debug, Parser)]
pub(crate) struct Unpause {
    /// The containers.
    #[arg(required = true, value_name = "CONTAINER")]
    pub(crate) containers: Vec<String>,
}

/// Display the running processes of a container
#[derive(Debug, Parser)]
pub(crate) struct Top {
    /// The container, and arguments of ps.
    #[arg(
        trailing_var_arg = true,
        allow_hyphen_values = true,
        required = true,
        value_name = "CONTAINER [ps OPTIONS]"
    )]
    pub(crate) words: Vec<String>,
}

/// Rename a container
#[derive(Debug, Parser)]
pub(crate) struct Rename {
    /// The container.
    #[arg(value_name = "CONTAINER")]
    pub(crate) container: String,
    /// What to call it.
    #[arg(value_name = "NEW_NAME")]
    pub(crate) name: String,
}

/// List containers
#[derive(Debug, Parser)]
pub(crate) struct Ps {
    /// Show all containers (default shows just running)
    #[arg(short, long)]
    pub(crate) all: bool,
    /// Filter output based on conditions provided
    #[arg(short, long, value_name = "filter", value_parser = condition)]
    pub(crate) filter: Vec<Condition>,
    /// Format output: 'table', 'table TEMPLATE', 'json' or a Go template
    #[arg(long)]
    pub(crate) format: Option<String>,
    /// Show n last created containers (includes all states) (default -1)
    #[arg(short = 'n', long, value_name = "int", default_value = "-1")]
    pub(crate) last: i64,
    /// Show the latest created container (includes all states)
    #[arg(short, long)]
    pub(crate) latest: bool,
    /// Don't truncate output
    #[arg(long)]
    pub(crate) no_trunc: bool,
    /// Only display container IDs
    #[arg(short, long)]
    pub(crate) quiet: bool,
    /// Display total file sizes
    #[arg(short, long)]
    pub(crate) size: bool,
}

/// How many lines: all of them, or so many. An alias, so that the parser's macro takes it as it is.
pub(crate) type Lines = Option<usize>;

/// Display a live stream of container(s) resource usage statistics
#[derive(Debug, Parser)]
pub(crate) struct Stats {
    /// Show all containers (default shows just running)
    #[arg(short, long)]
    pub(crate) all: bool,
    /// Format output: 'table', 'table TEMPLATE', 'json' or a Go template
    #[arg(long)]
    pub(crate) format: Option<String>,
    /// Disable streaming stats and only pull the first result
    #[arg(long)]
    pub(crate) no_stream: bool,
    /// Do not truncate output
    #[arg(long)]
    pub(crate) no_trunc: bool,
    /// The containers; all that run unless given.
    #[arg(value_name = "CONTAINER")]
    pub(crate) containers: Vec<String>,
}

/// List port mappings or a specific mapping for the container
#[derive(Debug, Parser)]
pub(crate) struct Port {
    /// The container.
    #[arg(value_name = "CONTAINER")]
    pub(crate) container: String,
    /// A port of it, with its protocol unless that is TCP
    #[arg(value_name = "PRIVATE_PORT[/PROTO]")]
    pub(crate) port: Option<String>,
}

/// Fetch the logs of a container
#[derive(Debug, Parser)]
pub(crate) struct Logs {
    /// Show extra details provided to logs
    #[arg(long)]
    pub(crate) details: bool,
    /// Follow log output
    #[arg(short, long)]
    pub(crate) follow: bool,
    /// Show logs since a time (e.g. "2013-01-02T13:23:37Z") or for a length of time (e.g. "42m")
    #[arg(long)]
    pub(crate) since: Option<String>,
    /// Show logs before a time, as --since takes it
    #[arg(long)]
    pub(crate) until: Option<String>,
    /// Number of lines to show from the end of the logs (default "all")
    #[arg(short = 'n', long, default_value = "all", value_parser = tail)]
    pub(crate) tail: Lines,
    /// Show timestamps
    #[arg(short, long)]
    pub(crate) timestamps: bool,
    /// The container.
    #[arg(value_name = "CONTAINER")]
    pub(crate) container: String,
}

/// Execute a command in a running container
#[derive(Debug, Parser)]
pub(crate) struct Exec {
    /// Detached mode: run the command in the background
    #[arg(short, long)]
    pub(crate) detach: bool,
    /// Override the key sequence for detaching a container
    #[arg(long)]
    pub(crate) detach_keys: Option<String>,
    /// Set environment variables
    #[arg(short, long, value_parser = env_variable)]
    pub(crate) env: Vec<String>,
    /// Read in a file of environment variables
    #[arg(long, value_parser = env_file)]
    pub(crate) env_file: Vec<Variables>,
    /// Keep STDIN open even if not attached
    #[arg(short, long)]
    pub(crate) interactive: bool,
    /// Give extended privileges to the command
    #[arg(long)]
    pub(crate) privileged: bool,
    /// Allocate a pseudo-TTY
    #[arg(short, long)]
    pub(crate) tty: bool,
    /// Username or UID (format: "<name|uid>[:<group|gid>]")
    #[arg(short, long)]
    pub(crate) user: Option<String>,
    /// Working directory inside the container
    #[arg(short, long)]
    pub(crate) workdir: Option<String>,
    /// The container, the command and its arguments.
    #[arg(trailing_var_arg = true, required = true, num_args = 2.., value_name = "CONTAINER COMMAND [ARG...]")]
    pub(crate) words: Vec<String>,
}

/// The variables of a file. An alias, so that the parser's macro takes it as it is.
pub(crate) type Variables = Vec<String>;

/// Attach local standard input, output, and error streams to a running container
#[derive(Debug, Parser)]
pub(crate) struct Attach {
    /// Override the key sequence for detaching a container
    #[arg(long)]
    pub(crate) detach_keys: Option<String>,
    /// Do not attach STDIN
    #[arg(long)]
    pub(crate) no_stdin: bool,
    /// Proxy all received signals to the process (default true)
    #[arg(long, default_value = "true", action = ArgAction::SetTrue)]
    pub(crate) sig_proxy: bool,
    /// The container.
    #[arg(value_name = "CONTAINER")]
    pub(crate) container: String,
}

/// Copy files/folders between a container and the local filesystem
#[derive(Debug, Parser)]
pub(crate) struct Cp {
    /// Archive mode (copy all uid/gid information)
    #[arg(short, long)]
    pub(crate) archive: bool,
    /// Always follow symbol link in SRC_PATH
    #[arg(short = 'L', long)]
    pub(crate) follow_link: bool,
    /// Suppress progress output during copy. Progress output is automatically suppressed if no terminal is attached
    #[arg(short, long, value_name = "bool", num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = boolean)]
    pub(crate) quiet: Option<bool>,
    /// What to copy: `CONTAINER:PATH` or a path of this host; `-` is a tar archive on standard input.
    #[arg(value_name = "CONTAINER:SRC_PATH|SRC_PATH|-")]
    pub(crate) source: String,
    /// Where to: a path of this host or `CONTAINER:PATH`; `-` is a tar archive on standard output.
    #[arg(value_name = "DEST_PATH|-|CONTAINER:DEST_PATH")]
    pub(crate) destination: String,
}

/// Inspect changes to files or directories on a container's filesystem
#[derive(Debug, Parser)]
pub(crate) struct Diff {
    /// The container.
    #[arg(value_name = "CONTAINER")]
    pub(crate) container: String,
}

/// Export a container's filesystem as a tar archive
#[derive(Debug, Parser)]
pub(crate) struct Export {
    /// Write to a file, instead of STDOUT
    #[arg(short, long)]
    pub(crate) output: Option<PathBuf>,
    /// The container.
    #[arg(value_name = "CONTAINER")]
    pub(crate) container: String,
}

/// Create a new image from a container's changes
#[derive(Debug, Parser)]
pub(crate) struct Commit {
    /// Author (e.g., "John Hannibal Smith <hannibal@a-team.com>")
    #[arg(short, long)]
    pub(crate) author: Option<String>,
    /// Apply Dockerfile instruction to the created image
    #[arg(short, long)]
    pub(crate) change: Vec<String>,
    /// Commit message
    #[arg(short, long)]
    pub(crate) message: Option<String>,
    /// Pause container during commit (default true)
    #[arg(short, long, default_value = "true", action = ArgAction::SetTrue)]
    pub(crate) pause: bool,
    /// The container.
    #[arg(value_name = "CONTAINER")]
    pub(crate) container: String,
    /// What to call the image.
    #[arg(value_name = "REPOSITORY[:TAG]", value_parser = reference)]
    pub(crate) reference: Option<Reference>,
}

/// Display detailed information on one or more containers
#[derive(Debug, Parser)]
pub(crate) struct Inspect {
    /// Format output: 'json' or a Go template
    #[arg(short, long)]
    pub(crate) format: Option<String>,
    /// Display total file sizes
    #[arg(short, long)]
    pub(crate) size: bool,
    /// The containers.
    #[arg(required = true, value_name = "CONTAINER")]
    pub(crate) names: Vec<String>,
}

/// Remove all stopped containers
#[derive(Debug, Parser)]
pub(crate) struct Prune {
    /// Provide filter values (e.g. "until=<timestamp>")
    #[arg(long, value_name = "filter", value_parser = condition)]
    pub(crate) filter: Vec<Condition>,
    /// Do not prompt for confirmation
    #[arg(short, long)]
    pub(crate) force: bool,
}
