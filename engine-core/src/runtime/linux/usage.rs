//! What a running container uses: its group's figures, and those of its network interfaces. All calls block.

use super::{Host, client, state};
use crate::error::Result;
use crate::runtime::driver::{Place, State};
use crate::runtime::usage::{InterfaceUsage, Traffic, Usage};
use crate::spec::Timestamp;

/// The figures of a container.
pub(super) fn of(host: &Host, place: &Place) -> Result<Usage> {
    let State::Running { pid, .. } = state::of(host, place)? else { return Err(client::not_running(place)) };
    figures(host, &place.cgroup, pid)
}

/// The figures of a group, and of the network that `pid` has.
pub(super) fn figures(host: &Host, cgroup: &str, pid: Option<u32>) -> Result<Usage> {
    let read = Timestamp::now();
    let group = host.cgroups.usage(cgroup)?;
    let mut memory = group.memory;
    let system = rustix::system::sysinfo();
    memory.limit = memory.limit.min(system.totalram.saturating_mul(u64::from(system.mem_unit)));
    let network = pid
        .and_then(|pid| std::fs::read_to_string(format!("/proc/{pid}/net/dev")).ok())
        .map_or_else(Vec::new, |text| interfaces(&text));
    Ok(Usage { read, cpu: group.cpu, memory, pids: group.pids, block: group.block, network })
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
