//! `update`: the flags that change a container.

use clap::Parser;
use engine_core::spec::RestartPolicy;

use super::create::{Weight, restart};
use super::parse::{number, size};

/// Update configuration of one or more containers
#[derive(Debug, Parser)]
pub(crate) struct Update {
    /// Block IO (relative weight), between 10 and 1000, or 0 to disable (default 0)
    #[arg(long, value_name = "uint16", default_value = "0", value_parser = number::weight)]
    pub(crate) blkio_weight: Weight,
    /// Limit CPU CFS (Completely Fair Scheduler) period
    #[arg(long, value_name = "int")]
    pub(crate) cpu_period: Option<u64>,
    /// Limit CPU CFS (Completely Fair Scheduler) quota
    #[arg(long, value_name = "int", allow_negative_numbers = true)]
    pub(crate) cpu_quota: Option<i64>,
    /// Limit the CPU real-time period in microseconds
    #[arg(long, value_name = "int")]
    pub(crate) cpu_rt_period: Option<u64>,
    /// Limit the CPU real-time runtime in microseconds
    #[arg(long, value_name = "int", allow_negative_numbers = true)]
    pub(crate) cpu_rt_runtime: Option<i64>,
    /// CPU shares (relative weight)
    #[arg(short = 'c', long, value_name = "int")]
    pub(crate) cpu_shares: Option<u64>,
    /// Number of CPUs
    #[arg(long, value_name = "decimal", value_parser = number::cpus)]
    pub(crate) cpus: Option<u64>,
    /// CPUs in which to allow execution (0-3, 0,1)
    #[arg(long)]
    pub(crate) cpuset_cpus: Option<String>,
    /// MEMs in which to allow execution (0-3, 0,1)
    #[arg(long)]
    pub(crate) cpuset_mems: Option<String>,
    /// Kernel memory limit (the kernel has it no more)
    #[arg(long, value_name = "bytes", hide = true)]
    pub(crate) kernel_memory: Option<String>,
    /// Memory limit
    #[arg(short, long, value_name = "bytes", value_parser = size::size)]
    pub(crate) memory: Option<u64>,
    /// Memory soft limit
    #[arg(long, value_name = "bytes", value_parser = size::size)]
    pub(crate) memory_reservation: Option<u64>,
    /// Swap limit equal to memory plus swap: '-1' to enable unlimited swap
    #[arg(long, value_name = "bytes", value_parser = size::size_or_unlimited, allow_negative_numbers = true)]
    pub(crate) memory_swap: Option<i64>,
    /// Tune container pids limit (set -1 for unlimited)
    #[arg(long, value_name = "int", allow_negative_numbers = true)]
    pub(crate) pids_limit: Option<i64>,
    /// Restart policy to apply when a container exits
    #[arg(long, value_name = "string", value_parser = restart)]
    pub(crate) restart: Option<RestartPolicy>,
    /// The containers.
    #[arg(required = true, value_name = "CONTAINER")]
    pub(crate) containers: Vec<String>,
}
