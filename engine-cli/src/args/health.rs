//! `run` and `create`: the flags that say how to tell whether the container is well.

use clap::Args;

use super::parse::time::{Span, span};

/// How to tell whether it is well.
#[derive(Debug, Args)]
pub(crate) struct Health {
    /// Command to run to check health
    #[arg(long)]
    pub(crate) health_cmd: Option<String>,
    /// Time between running the check (ms|s|m|h) (default 0s)
    #[arg(long, value_name = "duration", value_parser = span)]
    pub(crate) health_interval: Option<Span>,
    /// Consecutive failures needed to report unhealthy
    #[arg(long, value_name = "int")]
    pub(crate) health_retries: Option<i64>,
    /// Time between running the check during the start period (ms|s|m|h) (default 0s)
    #[arg(long, value_name = "duration", value_parser = span)]
    pub(crate) health_start_interval: Option<Span>,
    /// Start period for the container to initialize before starting health-retries countdown (ms|s|m|h) (default 0s)
    #[arg(long, value_name = "duration", value_parser = span)]
    pub(crate) health_start_period: Option<Span>,
    /// Maximum time to allow one check to run (ms|s|m|h) (default 0s)
    #[arg(long, value_name = "duration", value_parser = span)]
    pub(crate) health_timeout: Option<Span>,
    /// Disable any container-specified HEALTHCHECK
    #[arg(long)]
    pub(crate) no_healthcheck: bool,
}
