//! What a group uses, read from its files. A file that this kernel has not, or a figure that is none, counts as zero:
//! figures are for people to look at, and the group may go at any moment.

use super::tree;
use crate::runtime::usage::{BlockUsage, CpuUsage, MemoryUsage, PidsUsage};

/// What a group uses.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct GroupUsage {
    pub(crate) cpu: CpuUsage,
    /// The limit is `u64::MAX` where there is none.
    pub(crate) memory: MemoryUsage,
    pub(crate) pids: PidsUsage,
    pub(crate) block: Vec<BlockUsage>,
}

/// Nanoseconds in one tick of the figures that are in ticks: 100 in a second, on every architecture (USER_HZ).
const TICK: u64 = 10_000_000;
const MICROSECOND: u64 = 1000;

/// The processor time of a group of version 1, whose directory in the hierarchy of a controller `directory` gives.
pub(super) fn cpu_of_hierarchies(directory: impl Fn(&str) -> Option<String>) -> CpuUsage {
    let text = |controller: &str, file: &str| text(directory(controller), file);
    let ticks = text("cpuacct", "cpuacct.stat");
    let quota = text("cpu", "cpu.stat");
    CpuUsage {
        total: number(&text("cpuacct", "cpuacct.usage")),
        kernel: value(&ticks, "system").saturating_mul(TICK),
        user: value(&ticks, "user").saturating_mul(TICK),
        each: text("cpuacct", "cpuacct.usage_percpu").split_whitespace().map(number).collect(),
        periods: value(&quota, "nr_periods"),
        throttled_periods: value(&quota, "nr_throttled"),
        throttled: value(&quota, "throttled_time"),
    }
}

fn text(directory: Option<String>, file: &str) -> String {
    directory.and_then(|directory| tree::read(&directory, file).ok()).unwrap_or_default()
}

/// All that a group of version 1 uses; see [`cpu_of_hierarchies`].
pub(super) fn of_hierarchies(directory: impl Fn(&str) -> Option<String>) -> GroupUsage {
    let text = |controller: &str, file: &str| text(directory(controller), file);
    let memory = MemoryUsage {
        usage: number(&text("memory", "memory.usage_in_bytes")),
        max_usage: Some(number(&text("memory", "memory.max_usage_in_bytes"))),
        limit: limit(&text("memory", "memory.limit_in_bytes")).unwrap_or(u64::MAX),
        failures: Some(number(&text("memory", "memory.failcnt"))),
        details: pairs(&text("memory", "memory.stat")),
    };
    let pids =
        PidsUsage { current: number(&text("pids", "pids.current")), limit: limit(&text("pids", "pids.max")) };
    // Without a policy of its own a device is accounted by the throttle alone.
    let bytes = text("blkio", "blkio.throttle.io_service_bytes_recursive");
    let operations = text("blkio", "blkio.throttle.io_serviced_recursive");
    let block = block_of_1(&bytes, &operations);
    GroupUsage { cpu: cpu_of_hierarchies(directory), memory, pids, block }
}

/// The processor time of a group of version 2.
pub(super) fn cpu_of_group(directory: &str) -> CpuUsage {
    let time = tree::read(directory, "cpu.stat").unwrap_or_default();
    let nanos = |name: &str| value(&time, name).saturating_mul(MICROSECOND);
    CpuUsage {
        total: nanos("usage_usec"),
        kernel: nanos("system_usec"),
        user: nanos("user_usec"),
        each: Vec::new(),
        periods: value(&time, "nr_periods"),
        throttled_periods: value(&time, "nr_throttled"),
        throttled: nanos("throttled_usec"),
    }
}

/// All that a group of version 2 uses.
pub(super) fn of_group(directory: &str) -> GroupUsage {
    let text = |file: &str| tree::read(directory, file).unwrap_or_default();
    let events = text("memory.events");
    let memory = MemoryUsage {
        usage: number(&text("memory.current")),
        max_usage: tree::read(directory, "memory.peak").ok().map(|peak| number(&peak)),
        limit: limit(&text("memory.max")).unwrap_or(u64::MAX),
        failures: Some(value(&events, "max")),
        details: pairs(&text("memory.stat")),
    };
    let pids = PidsUsage { current: number(&text("pids.current")), limit: limit(&text("pids.max")) };
    GroupUsage { cpu: cpu_of_group(directory), memory, pids, block: block_of_2(&text("io.stat")) }
}

fn number(text: &str) -> u64 {
    text.trim().parse().unwrap_or(0)
}

/// A limit; `max` is none.
fn limit(text: &str) -> Option<u64> {
    text.trim().parse().ok()
}

/// The value in the line `name value`.
fn value(text: &str, name: &str) -> u64 {
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.map_or(0, number)
}

fn pairs(text: &str) -> Vec<(String, u64)> {
    text.lines()
        .filter_map(|line| {
            let (name, value) = line.split_once(' ')?;
            Some((name.to_owned(), value.trim().parse().ok()?))
        })
        .collect()
}

fn device(text: &str) -> Option<(u32, u32)> {
    let (major, minor) = text.split_once(':')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}

/// Lines `8:0 Read 4096`; the last one is the total of all.
fn block_of_1(bytes: &str, operations: &str) -> Vec<BlockUsage> {
    let mut found: Vec<BlockUsage> = Vec::new();
    for (text, is_bytes) in [(bytes, true), (operations, false)] {
        for line in text.lines() {
            let mut words = line.split_whitespace();
            let (Some((major, minor)), Some(what), Some(count)) =
                (words.next().and_then(device), words.next(), words.next())
            else {
                continue;
            };
            let place = found.iter().position(|known| (known.major, known.minor) == (major, minor));
            let place = place.unwrap_or_else(|| {
                found.push(BlockUsage { major, minor, ..BlockUsage::default() });
                found.len() - 1
            });
            let Some(known) = found.get_mut(place) else { continue };
            let figure = match (what, is_bytes) {
                ("Read", true) => &mut known.read_bytes,
                ("Write", true) => &mut known.written_bytes,
                ("Read", false) => &mut known.reads,
                ("Write", false) => &mut known.writes,
                _ => continue,
            };
            *figure = number(count);
        }
    }
    found
}

/// Lines `8:0 rbytes=4096 wbytes=0 rios=1 wios=0 dbytes=0 dios=0`.
fn block_of_2(text: &str) -> Vec<BlockUsage> {
    text.lines()
        .filter_map(|line| {
            let mut words = line.split_whitespace();
            let (major, minor) = device(words.next()?)?;
            let mut usage = BlockUsage { major, minor, ..BlockUsage::default() };
            for (name, count) in words.filter_map(|word| word.split_once('=')) {
                match name {
                    "rbytes" => usage.read_bytes = number(count),
                    "wbytes" => usage.written_bytes = number(count),
                    "rios" => usage.reads = number(count),
                    "wios" => usage.writes = number(count),
                    _ => {}
                }
            }
            Some(usage)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn both_versions_tell_the_same_of_a_block_device() {
        let both =
            [BlockUsage { major: 254, minor: 16, read_bytes: 4096, written_bytes: 512, reads: 2, writes: 1 }];
        let bytes = "254:16 Read 4096\n254:16 Write 512\n254:16 Sync 512\n254:16 Total 4608\nTotal 4608\n";
        let operations = "254:16 Read 2\n254:16 Write 1\n254:16 Total 3\nTotal 3\n";
        assert_eq!(block_of_1(bytes, operations), both);
        assert_eq!(block_of_2("254:16 rbytes=4096 wbytes=512 rios=2 wios=1 dbytes=0 dios=0\n"), both);
        assert_eq!(block_of_1("Total 0\n", "Total 0\n"), []);
    }

    #[test]
    fn figures_are_found_by_their_whole_names() {
        let text = "usage_usec 12\nuser_usec 7\nnr_throttled 3\n";
        assert_eq!((value(text, "user_usec"), value(text, "usage_usec"), value(text, "user")), (7, 12, 0));
        assert_eq!((limit("max\n"), limit("512\n")), (None, Some(512)));
        assert_eq!(pairs("cache 1\nodd\nrss x\n"), [("cache".to_owned(), 1)]);
    }

    proptest! {
        #[test]
        fn whatever_the_kernel_says_is_read_without_a_panic(text in "[ -~\n]{0,200}") {
            let _ = (block_of_1(&text, &text), block_of_2(&text), pairs(&text), value(&text, "a"));
        }
    }
}
