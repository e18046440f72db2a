//! The commands for the engine as a whole, and those for objects of any kind.

use clap::{Parser, ValueEnum};
use clap_complete::Shell;

use super::container::{Condition, condition};

/// A kind of object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Kind {
    /// A container.
    Container,
    /// An image.
    Image,
    /// A network.
    Network,
    /// A volume.
    Volume,
}

/// Return low-level information on objects of the engine
#[derive(Debug, Parser)]
pub(crate) struct Inspect {
    /// Format output: 'json' or a Go template
    #[arg(short, long)]
    pub(crate) format: Option<String>,
    /// Display total file sizes if the type is container
    #[arg(short, long)]
    pub(crate) size: bool,
    /// Only inspect objects of the given type: container, image, network or volume
    #[arg(long = "type")]
    pub(crate) kind: Option<Kind>,
    /// The objects.
    #[arg(required = true, value_name = "NAME|ID")]
    pub(crate) names: Vec<String>,
}

/// Show the version information
#[derive(Debug, Parser)]
pub(crate) struct Version {
    /// Format output: 'json' or a Go template
    #[arg(short, long)]
    pub(crate) format: Option<String>,
}

/// Show disk usage
#[derive(Debug, Parser)]
pub(crate) struct Df {
    /// Format output: 'table', 'table TEMPLATE', 'json' or a Go template
    #[arg(long)]
    pub(crate) format: Option<String>,
    /// Show detailed information on space usage
    #[arg(short, long)]
    pub(crate) verbose: bool,
}

/// Display system-wide information
#[derive(Debug, Parser)]
pub(crate) struct Info {
    /// Format output: 'json' or a Go template
    #[arg(short, long)]
    pub(crate) format: Option<String>,
}

/// Get real time events from the engine
#[derive(Debug, Parser)]
pub(crate) struct Events {
    /// Filter output based on conditions provided
    #[arg(short, long, value_name = "filter", value_parser = condition)]
    pub(crate) filter: Vec<Condition>,
    /// Format output: 'json' or a Go template
    #[arg(long)]
    pub(crate) format: Option<String>,
    /// Show all events created since a time (e.g. "2013-01-02T13:23:37Z") or for a length of time (e.g. "42m")
    #[arg(long)]
    pub(crate) since: Option<String>,
    /// Stream events until a time, as --since takes it
    #[arg(long)]
    pub(crate) until: Option<String>,
}

/// Remove unused data, and what interrupted work left on the host
#[derive(Debug, Parser)]
pub(crate) struct Prune {
    /// Remove all unused images, not just dangling ones
    #[arg(short, long)]
    pub(crate) all: bool,
    /// Provide filter values (e.g. "label=<key>=<value>")
    #[arg(long, value_name = "filter", value_parser = condition)]
    pub(crate) filter: Vec<Condition>,
    /// Do not prompt for confirmation
    #[arg(short, long)]
    pub(crate) force: bool,
    /// Prune anonymous volumes
    #[arg(long)]
    pub(crate) volumes: bool,
}

/// Start the containers that their restart policies want to run, as when the host has started
#[derive(Debug, Parser)]
pub(crate) struct StartAll {}

/// Generate the completion script for a shell: bash, zsh or fish
#[derive(Debug, Parser)]
pub(crate) struct Completion {
    /// The shell.
    #[arg(value_name = "SHELL")]
    pub(crate) shell: Shell,
}
