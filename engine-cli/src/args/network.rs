//! The commands for networks.

use std::net::IpAddr;

use clap::{ArgAction, Parser};

use super::container::{Condition, condition};
use super::parse::env::pair;
use super::parse::network::{Range, range};

/// Create a network
#[derive(Debug, Parser)]
pub(crate) struct Create {
    /// Accepted for docker's sake: containers can be attached by hand to every network.
    #[arg(long, hide = true)]
    pub(crate) attachable: bool,
    /// Driver to manage the network (default "bridge")
    #[arg(short, long)]
    pub(crate) driver: Option<String>,
    /// IPv4 or IPv6 gateway for the subnet of the same family
    #[arg(long, value_delimiter = ',')]
    pub(crate) gateway: Vec<IpAddr>,
    /// Restrict external access to the network
    #[arg(long)]
    pub(crate) internal: bool,
    /// Allocate container addresses from a sub-range
    #[arg(long, value_delimiter = ',', value_parser = range)]
    pub(crate) ip_range: Vec<Range>,
    /// Enable IPv4 address assignment (default true)
    #[arg(long, default_value = "true", action = ArgAction::SetTrue, hide = true)]
    pub(crate) ipv4: bool,
    /// Enable IPv6 address assignment
    #[arg(long)]
    pub(crate) ipv6: bool,
    /// Set metadata on a network
    #[arg(long, value_parser = pair)]
    pub(crate) label: Vec<(String, String)>,
    /// Set driver specific options
    #[arg(short, long, value_name = "map", value_parser = pair)]
    pub(crate) opt: Vec<(String, String)>,
    /// Subnet in CIDR format that represents a network segment
    #[arg(long, value_delimiter = ',', value_parser = range)]
    pub(crate) subnet: Vec<Range>,
    /// Its name.
    #[arg(value_name = "NETWORK")]
    pub(crate) name: String,
}

/// List networks
#[derive(Debug, Parser)]
pub(crate) struct Ls {
    /// Provide filter values (e.g. "driver=bridge")
    #[arg(short, long, value_name = "filter", value_parser = condition)]
    pub(crate) filter: Vec<Condition>,
    /// Format output: 'table', 'table TEMPLATE', 'json' or a Go template
    #[arg(long)]
    pub(crate) format: Option<String>,
    /// Do not truncate the output
    #[arg(long)]
    pub(crate) no_trunc: bool,
    /// Only display network IDs
    #[arg(short, long)]
    pub(crate) quiet: bool,
}

/// Display detailed information on one or more networks
#[derive(Debug, Parser)]
pub(crate) struct Inspect {
    /// Format output: 'json' or a Go template
    #[arg(short, long)]
    pub(crate) format: Option<String>,
    /// Accepted for docker's sake.
    #[arg(short, long, hide = true)]
    pub(crate) verbose: bool,
    /// The networks.
    #[arg(required = true, value_name = "NETWORK")]
    pub(crate) names: Vec<String>,
}

/// Remove one or more networks
#[derive(Debug, Parser)]
pub(crate) struct Rm {
    /// Do not error if the network does not exist
    #[arg(short, long)]
    pub(crate) force: bool,
    /// The networks.
    #[arg(required = true, value_name = "NETWORK")]
    pub(crate) names: Vec<String>,
}

/// Remove all unused networks
#[derive(Debug, Parser)]
pub(crate) struct Prune {
    /// Provide filter values (e.g. "until=<timestamp>")
    #[arg(long, value_name = "filter", value_parser = condition)]
    pub(crate) filter: Vec<Condition>,
    /// Do not prompt for confirmation
    #[arg(short, long)]
    pub(crate) force: bool,
}
