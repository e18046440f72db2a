//! What a running container uses: its group's figures, and those of its network interfaces. All calls block.

use super::cgroup::GroupUsage;
use super::{Host, client, state};
use crate::error::{Error, Result, Subject};
use crate::runtime::driver::Place;
use crate::runtime::usage::{CpuSample, InterfaceUsage, Traffic, Usage};
use crate::spec::Timestamp;

/// Nanoseconds in one tick of `/proc/stat`.
const TICK: u64 = 10_000_000;

/// The figures of a container.
pub(super) fn of(host: &Host, place: &Place, system: u64) -> Result<Usage> {
    let pid = state::running_pid(place)?.ok_or_else(|| client::not_running(place))?;
    figures(host, &place.cgroup, pid, system)
}

/// The figures of a group, and of the network that `pid` has.
pub(super) fn figures(host: &Host, cgroup: &str, pid: u32, system: u64) -> Result<Usage> {
    let read = Timestamp::now();
    let GroupUsage { cpu, mut memory, pids, block } = host.cgroups.usage(cgroup)?;
    let total = rustix::system::sysinfo();
    memory.limit = memory.limit.min(total.totalram.saturating_mul(u64::from(total.mem_unit)));
    let network = std::fs::read_to_string(format!("/proc/{pid}/net/dev"));
    let network = network.map_or_else(|_| Vec::new(), |text| interfaces(&text));
    Ok(Usage { cpu: CpuSample { read, usage: cpu, system }, memory, pids, block, network })
}

/// The processor time alone, which is a small part of the work.
pub(super) fn cpu(host: &Host, place: &Place, system: u64) -> Result<CpuSample> {
    if !state::is_looked_after(place)? {
        return Err(client::not_running(place));
    }
    let read = Timestamp::now();
    Ok(CpuSample { read, usage: host.cgroups.cpu_usage(&place.cgroup)?, system })
}

/// Processor time of the whole host, idle time included: what the figures of any number of containers are set beside.
pub(super) fn system_time() -> Result<u64> {
    let text = std::fs::read_to_string("/proc/stat").subject(|| "/proc/stat".to_owned())?;
    let line = text.lines().next().and_then(|line| line.strip_prefix("cpu "));
    // What guests took is in the time of users already.
    let ticks =
        line.map(|line| line.split_whitespace().take(8).filter_map(|word| word.parse::<u64>().ok()).sum());
    ticks
        .map(|ticks: u64| ticks.saturating_mul(TICK))
        .ok_or_else(|| Error::internal("/proc/stat", "it does not tell the time of the processors"))
}

/// The interfaces in the kernel's table, but for loopback.
fn interfaces(table: &str) -> Vec<InterfaceUsage> {
    table
        .lines()
        .filter_map(|line| {
            let (name, figures) = line.split_once(':')?;
            let figures: Vec<u64> = figures.split_whitespace().map_while(|word| word.parse().ok()).collect();
            // Eight of what came, eight of what went.
            let (received, sent) = figures.split_at_checked(8)?;
            let name = name.trim();
            (name != "lo").then(|| InterfaceUsage {
                name: name.to_owned(),
                received: traffic(received),
                sent: traffic(sent),
            })
        })
        .collect()
}

fn traffic(figures: &[u64]) -> Traffic {
    let figure = |at: usize| figures.get(at).copied().unwrap_or(0);
    Traffic { bytes: figure(0), packets: figure(1), errors: figure(2), dropped: figure(3) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn interfaces_are_those_of_the_table_without_loopback() {
        let table = "Inter-|   Receive                |  Transmit\n \
             face |bytes    packets errs drop fifo frame compressed multicast|bytes packets errs drop fifo\n    \
             lo: 9 9 0 0 0 0 0 0 9 9 0 0 0 0 0 0\n  \
             eth0: 1000 10 1 2 0 0 0 0 2000 20 3 4 0 0 0 0\n";
        let eth0 = InterfaceUsage {
            name: "eth0".to_owned(),
            received: Traffic { bytes: 1000, packets: 10, errors: 1, dropped: 2 },
            sent: Traffic { bytes: 2000, packets: 20, errors: 3, dropped: 4 },
        };
        assert_eq!(interfaces(table), [eth0]);
        assert_eq!(interfaces("eth0: 1 2 3\n"), []);
    }
}
