//! The commands for volumes.

use clap::Parser;

use super::container::{Condition, condition};
use super::parse::env::pair;

/// Create a volume
#[derive(Debug, Parser)]
pub(crate) struct Create {
    /// Specify volume driver name (default "local")
    #[arg(short, long)]
    pub(crate) driver: Option<String>,
    /// Set metadata for a volume
    #[arg(long, value_parser = pair)]
    pub(crate) label: Vec<(String, String)>,
    /// Set driver specific options
    #[arg(short, long, value_name = "map", value_parser = pair)]
    pub(crate) opt: Vec<(String, String)>,
    /// Its name; 64 random digits unless given.
    #[arg(value_name = "VOLUME")]
    pub(crate) name: Option<String>,
}

/// List volumes
#[derive(Debug, Parser)]
pub(crate) struct Ls {
    /// Provide filter values (e.g. "dangling=true")
    #[arg(short, long, value_name = "filter", value_parser = condition)]
    pub(crate) filter: Vec<Condition>,
    /// Format output: 'table', 'table TEMPLATE', 'json' or a Go template
    #[arg(long)]
    pub(crate) format: Option<String>,
    /// Only display volume names
    #[arg(short, long)]
    pub(crate) quiet: bool,
}

/// Display detailed information on one or more volumes
#[derive(Debug, Parser)]
pub(crate) struct Inspect {
    /// Format output: 'json' or a Go template
    #[arg(short, long)]
    pub(crate) format: Option<String>,
    /// The volumes.
    #[arg(required = true, value_name = "VOLUME")]
    pub(crate) names: Vec<String>,
}

/// Remove one or more volumes that no container uses
#[derive(Debug, Parser)]
pub(crate) struct Rm {
    /// Do not mind volumes that do not exist
    #[arg(short, long)]
    pub(crate) force: bool,
    /// The volumes.
    #[arg(required = true, value_name = "VOLUME")]
    pub(crate) names: Vec<String>,
}

/// Remove unused local volumes
#[derive(Debug, Parser)]
pub(crate) struct Prune {
    /// Remove all unused volumes, not just anonymous ones
    #[arg(short, long)]
    pub(crate) all: bool,
    /// Provide filter values (e.g. "label=<label>")
    #[arg(long, value_name = "filter", value_parser = condition)]
    pub(crate) filter: Vec<Condition>,
    /// Do not prompt for confirmation
    #[arg(short, long)]
    pub(crate) force: bool,
}
