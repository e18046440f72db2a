//! What a running container uses: plain figures, whichever version of control groups they come from.

use crate::spec::Timestamp;

/// What a container uses at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Usage {
    /// Processor time, and when all of this was read.
    pub cpu: CpuSample,
    /// Memory.
    pub memory: MemoryUsage,
    /// Processes and threads.
    pub pids: PidsUsage,
    /// What was read from and written to block devices.
    pub block: Vec<BlockUsage>,
    /// What came and went over its network interfaces; empty if it has none of its own.
    pub network: Vec<InterfaceUsage>,
}

/// Processor time at one moment: what a container takes of the host is the difference of two.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CpuSample {
    /// When the figures were read.
    pub read: Timestamp,
    /// The container's.
    pub usage: CpuUsage,
    /// That of the whole host, idle time included, in nanoseconds since it was started.
    pub system: u64,
}

/// Processor time, in nanoseconds since the container was started.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CpuUsage {
    /// All of it.
    pub total: u64,
    /// In the kernel.
    pub kernel: u64,
    /// In programs.
    pub user: u64,
    /// On each processor; empty with control groups of version 2, which do not tell.
    pub each: Vec<u64>,
    /// Periods in which there was a quota.
    pub periods: u64,
    /// Those in which it was used up.
    pub throttled_periods: u64,
    /// How long its processes were held back then, in nanoseconds.
    pub throttled: u64,
}

/// Memory, in bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MemoryUsage {
    /// In use, the page cache included.
    pub usage: u64,
    /// The most that ever was, if the kernel tells.
    pub max_usage: Option<u64>,
    /// The most that may be; what the host has if there is no limit.
    pub limit: u64,
    /// How often the limit was hit, if the kernel tells.
    pub failures: Option<u64>,
    /// The kernel's own figures (`memory.stat`).
    pub details: Vec<(String, u64)>,
}

impl MemoryUsage {
    /// One of the kernel's own figures.
    pub fn detail(&self, name: &str) -> Option<u64> {
        self.details.iter().find(|(known, _)| known == name).map(|(_, value)| *value)
    }

    /// What is in use and would not be given up at once: without the page cache that nobody has touched for a while.
    pub fn working_set(&self) -> u64 {
        let idle = self.detail("total_inactive_file").or_else(|| self.detail("inactive_file"));
        // As docker has it: what cannot be is not subtracted.
        idle.filter(|idle| *idle < self.usage).map_or(self.usage, |idle| self.usage - idle)
    }
}

/// Processes and threads.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PidsUsage {
    /// How many there are.
    pub current: u64,
    /// How many there may be, if there is a limit.
    pub limit: Option<u64>,
}

/// What was done with one block device.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BlockUsage {
    /// The device's major number.
    pub major: u32,
    /// The device's minor number.
    pub minor: u32,
    /// Bytes read.
    pub read_bytes: u64,
    /// Bytes written.
    pub written_bytes: u64,
    /// Reads.
    pub reads: u64,
    /// Writes.
    pub writes: u64,
}

/// What came and went over one network interface.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct InterfaceUsage {
    /// The interface, as the container calls it.
    pub name: String,
    /// What came.
    pub received: Traffic,
    /// What went.
    pub sent: Traffic,
}

/// One direction of an interface.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Bytes.
    pub bytes: u64,
    /// Packets.
    pub packets: u64,
    /// Packets with errors.
    pub errors: u64,
    /// Packets thrown away.
    pub dropped: u64,
}
