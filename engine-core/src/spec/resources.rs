//! Limits.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// The limits of a container. What is `None` is not limited, or left as the kernel has it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct Resources {
    /// Memory, in bytes; at least 6 MiB.
    pub memory: Option<u64>,
    /// Memory and swap together, in bytes; -1 is no limit. Twice the memory unless given.
    pub memory_swap: Option<i64>,
    /// Memory that is left to the container when the host runs short, in bytes.
    pub memory_reservation: Option<u64>,
    /// How readily its memory is swapped, 0 to 100. cgroup v1 only.
    pub memory_swappiness: Option<u64>,
    /// Do not kill when the memory limit is hit. cgroup v1 only.
    pub oom_kill_disable: bool,
    /// Share of the processors relative to others; 1024 is the norm.
    pub cpu_shares: Option<u64>,
    /// Microseconds of processor time in each period.
    pub cpu_quota: Option<i64>,
    /// The period of the quota, in microseconds.
    pub cpu_period: Option<u64>,
    /// The period of real-time scheduling, in microseconds. cgroup v1 only, and few kernels.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu_rt_period: Option<u64>,
    /// Microseconds in each such period in which real-time processes may run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu_rt_runtime: Option<i64>,
    /// Processors, in billionths: 1.5 processors are 1_500_000_000. In place of quota and period.
    pub nano_cpus: Option<u64>,
    /// The processors it may run on: `0-3,5`.
    pub cpuset_cpus: Option<String>,
    /// The memory nodes it may use: `0-1`.
    pub cpuset_mems: Option<String>,
    /// Processes and threads; -1 is no limit.
    pub pids_limit: Option<i64>,
    /// Share of block I/O relative to others, 10 to 1000.
    pub blkio_weight: Option<u16>,
    /// The same for single devices.
    pub blkio_weight_device: Vec<DeviceWeight>,
    /// Bytes read per second.
    pub device_read_bps: Vec<DeviceRate>,
    /// Bytes written per second.
    pub device_write_bps: Vec<DeviceRate>,
    /// Reads per second.
    pub device_read_iops: Vec<DeviceRate>,
    /// Writes per second.
    pub device_write_iops: Vec<DeviceRate>,
    /// Per-process limits.
    pub rlimits: Vec<Rlimit>,
}

/// A share of block I/O on one device.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceWeight {
    /// The device's file on the host.
    pub path: PathBuf,
    /// 10 to 1000.
    pub weight: u16,
}

/// A rate of block I/O on one device.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceRate {
    /// The device's file on the host.
    pub path: PathBuf,
    /// Bytes or operations per second.
    pub rate: u64,
}

/// A limit of each process of the container (getrlimit(2)).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rlimit {
    /// Its name in lower case without the prefix, as `--ulimit` takes it: `nofile`.
    pub name: String,
    /// What is enforced; `u64::MAX` is no limit.
    pub soft: u64,
    /// How far a process may raise it; `u64::MAX` is no limit.
    pub hard: u64,
}
