//! What containers use, in the shape of Docker's API.

use std::collections::BTreeMap;

use serde::Serialize;
use serde::ser::Serializer;
use serde_json::{Value, json};

use super::{Container, reconcile};
use crate::error::{Error, ErrorKind, Result, Subject};
use crate::id::{ContainerId, ContainerName};
use crate::parts::Parts;
use crate::runtime::usage::{BlockUsage, CpuUsage, InterfaceUsage, Traffic, Usage};
use crate::spec::Timestamp;
use crate::store::{blocking, containers};

/// Nanoseconds in one tick of `/proc/stat`.
const TICK: u64 = 10_000_000;

/// Looks at one container again and again. Whoever has it decides how often; processor time is a difference between
/// two looks.
pub struct StatsStream {
    container: Container,
    place: crate::runtime::driver::Place,
    earlier: Option<(Usage, u64)>,
}

/// What a container uses, at one moment and at the one before. Serialises as Docker's statistics do.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ContainerStats {
    /// The container.
    pub id: ContainerId,
    /// Its name.
    pub name: ContainerName,
    /// What it uses; `None` if it does not run.
    pub now: Option<Usage>,
    /// What it used at the look before.
    pub earlier: Option<Usage>,
    /// Processor time of the whole host, in nanoseconds: now and at the look before.
    pub system: (u64, u64),
    /// Processors of the host.
    pub processors: u32,
}

/// That of one container.
pub(super) async fn stream(container: &Container) -> Result<StatsStream> {
    let row = container.row().await?;
    let place = reconcile::place(&container.parts, &row);
    Ok(StatsStream { container: container.clone(), place, earlier: None })
}

/// Those of all containers; only of those that may run, unless `all`.
pub(super) async fn streams(parts: &std::sync::Arc<Parts>, all: bool) -> Result<Vec<StatsStream>> {
    let rows = parts.store.read(containers::list).await?;
    let wanted = rows.into_iter().filter(|row| all || reconcile::may_run(row));
    let streams = wanted.map(|row| {
        let place = reconcile::place(parts, &row);
        let container = Container { parts: parts.clone(), id: row.id, name: row.name };
        StatsStream { container, place, earlier: None }
    });
    Ok(streams.collect())
}

impl StatsStream {
    /// The container.
    pub fn container(&self) -> &Container {
        &self.container
    }

    /// What it uses now, and what it used at the last call. One that does not run uses nothing.
    ///
    /// # Errors
    /// Failures of reading the figures.
    pub async fn next(&mut self) -> Result<ContainerStats> {
        let now = match self.container.parts.runtime.usage(&self.place).await {
            Ok(usage) => Some(usage),
            Err(e) if e.is(ErrorKind::Conflict) => None,
            Err(e) => return Err(e),
        };
        let system = blocking(system_time).await?;
        let earlier = self.earlier.take();
        self.earlier = now.clone().map(|now| (now, system));
        let (earlier, system_earlier) = earlier.map_or((None, 0), |(usage, system)| (Some(usage), system));
        Ok(ContainerStats {
            id: self.container.id.clone(),
            name: self.container.name.clone(),
            now,
            earlier,
            system: (system, system_earlier),
            processors: std::thread::available_parallelism()
                .map_or(1, |count| u32::try_from(count.get()).unwrap_or(1)),
        })
    }
}

/// Processor time of the whole host, idle time included.
fn system_time() -> Result<u64> {
    let text = std::fs::read_to_string("/proc/stat").subject(|| "/proc/stat".to_owned())?;
    let line = text.lines().next().and_then(|line| line.strip_prefix("cpu "));
    // What guests took is in the time of users already.
    let ticks =
        line.map(|line| line.split_whitespace().take(8).filter_map(|word| word.parse::<u64>().ok()).sum());
    ticks
        .map(|ticks: u64| ticks.saturating_mul(TICK))
        .ok_or_else(|| Error::internal("/proc/stat", "it does not tell the time of the processors"))
}

impl ContainerStats {
    /// How much of one processor it used between the two looks, in percent: 150 is one and a half. Measured by the
    /// wall clock, as the host's own figures are too coarse for looks that are close together.
    pub fn cpu_percent(&self) -> f64 {
        let (Some(now), Some(earlier)) = (&self.now, &self.earlier) else { return 0.0 };
        let passed = now.read.since(earlier.read).as_nanos();
        let used = now.cpu.total.saturating_sub(earlier.cpu.total);
        if passed == 0 {
            return 0.0;
        }
        #[expect(clippy::cast_precision_loss, reason = "percent have few digits")]
        let share = used as f64 / passed as f64;
        share * 100.0
    }

    /// How much of its memory is in use, in percent.
    pub fn memory_percent(&self) -> f64 {
        let Some(memory) = self.now.as_ref().map(|now| &now.memory) else { return 0.0 };
        if memory.limit == 0 {
            return 0.0;
        }
        #[expect(clippy::cast_precision_loss, reason = "percent have few digits")]
        let share = memory.working_set() as f64 / memory.limit as f64;
        share * 100.0
    }

    fn document(&self) -> Value {
        let zero = "0001-01-01T00:00:00Z";
        let time = |usage: &Option<Usage>| {
            usage.as_ref().map_or_else(|| zero.to_owned(), |usage| Timestamp::to_string(&usage.read))
        };
        let cpu = |usage: &Option<Usage>, system: u64| match usage {
            Some(usage) => cpu(&usage.cpu, system, self.processors),
            None => json!({
                "cpu_usage": { "total_usage": 0, "usage_in_kernelmode": 0, "usage_in_usermode": 0 },
                "throttling_data": { "periods": 0, "throttled_periods": 0, "throttled_time": 0 },
            }),
        };
        let mut document = json!({
            "id": self.id,
            "name": format!("/{}", self.name),
            "read": time(&self.now),
            "preread": time(&self.earlier),
            "num_procs": 0,
            "storage_stats": {},
            "cpu_stats": cpu(&self.now, self.system.0),
            "precpu_stats": cpu(&self.earlier, self.system.1),
            "pids_stats": {},
            "memory_stats": {},
            "blkio_stats": blkio(&[]),
        });
        let (Some(now), Some(members)) = (&self.now, document.as_object_mut()) else { return document };
        let mut pids = json!({ "current": now.pids.current });
        if let Some(limit) = now.pids.limit {
            pids["limit"] = json!(limit);
        }
        let details: BTreeMap<&str, u64> =
            now.memory.details.iter().map(|(name, value)| (name.as_str(), *value)).collect();
        let mut memory = json!({ "usage": now.memory.usage, "limit": now.memory.limit, "stats": details });
        for (name, figure) in [("max_usage", now.memory.max_usage), ("failcnt", now.memory.failures)] {
            if let Some(figure) = figure {
                memory[name] = json!(figure);
            }
        }
        members.insert("pids_stats".to_owned(), pids);
        members.insert("memory_stats".to_owned(), memory);
        members.insert("blkio_stats".to_owned(), blkio(&now.block));
        if !now.network.is_empty() {
            let networks: BTreeMap<&str, Value> =
                now.network.iter().map(|interface| (interface.name.as_str(), network(interface))).collect();
            members.insert("networks".to_owned(), json!(networks));
        }
        document
    }
}

impl Serialize for ContainerStats {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.document().serialize(serializer)
    }
}

fn cpu(cpu: &CpuUsage, system: u64, processors: u32) -> Value {
    let mut usage = json!({
        "total_usage": cpu.total,
        "usage_in_kernelmode": cpu.kernel,
        "usage_in_usermode": cpu.user,
    });
    if !cpu.each.is_empty() {
        usage["percpu_usage"] = json!(cpu.each);
    }
    json!({
        "cpu_usage": usage,
        "system_cpu_usage": system,
        "online_cpus": processors,
        "throttling_data": {
            "periods": cpu.periods,
            "throttled_periods": cpu.throttled_periods,
            "throttled_time": cpu.throttled,
        },
    })
}

fn blkio(devices: &[BlockUsage]) -> Value {
    let list = |figures: fn(&BlockUsage) -> [(&'static str, u64); 2]| {
        let of = |device: &BlockUsage| {
            figures(device).map(|(what, value)| {
                json!({ "major": device.major, "minor": device.minor, "op": what, "value": value })
            })
        };
        devices.iter().flat_map(of).collect::<Vec<_>>()
    };
    json!({
        "io_service_bytes_recursive": list(|d| [("read", d.read_bytes), ("write", d.written_bytes)]),
        "io_serviced_recursive": list(|d| [("read", d.reads), ("write", d.writes)]),
        "io_queue_recursive": null,
        "io_service_time_recursive": null,
        "io_wait_time_recursive": null,
        "io_merged_recursive": null,
        "io_time_recursive": null,
        "sectors_recursive": null,
    })
}

fn network(interface: &InterfaceUsage) -> Value {
    let Traffic { bytes, packets, errors, dropped } = interface.received;
    let sent = interface.sent;
    json!({
        "rx_bytes": bytes,
        "rx_packets": packets,
        "rx_errors": errors,
        "rx_dropped": dropped,
        "tx_bytes": sent.bytes,
        "tx_packets": sent.packets,
        "tx_errors": sent.errors,
        "tx_dropped": sent.dropped,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::usage::{MemoryUsage, PidsUsage};

    fn usage(read: i64, total: u64) -> Usage {
        Usage {
            read: Timestamp::from_nanos(read),
            cpu: CpuUsage { total, ..CpuUsage::default() },
            memory: MemoryUsage {
                usage: 300,
                limit: 1000,
                details: vec![("total_inactive_file".to_owned(), 50)],
                ..MemoryUsage::default()
            },
            pids: PidsUsage { current: 3, limit: None },
            block: vec![BlockUsage { major: 8, read_bytes: 7, ..BlockUsage::default() }],
            network: vec![InterfaceUsage { name: "eth0".to_owned(), ..InterfaceUsage::default() }],
        }
    }

    fn stats(now: Option<Usage>, earlier: Option<Usage>) -> ContainerStats {
        ContainerStats {
            id: "a".repeat(64).parse().expect("an identifier"),
            name: "web".parse().expect("a name"),
            now,
            earlier,
            system: (200, 100),
            processors: 2,
        }
    }

    #[test]
    fn percentages_are_those_between_two_looks() {
        let stats = stats(Some(usage(20_000_000, 35_000_000)), Some(usage(0, 5_000_000)));
        assert!((stats.cpu_percent() - 150.0).abs() < 1e-9);
        assert!((stats.memory_percent() - 25.0).abs() < 1e-9);
    }

    #[test]
    fn figures_have_docker_s_names() {
        let document = stats(Some(usage(1, 2)), None).document();
        for (pointer, value) in [
            ("/name", json!("/web")),
            ("/cpu_stats/cpu_usage/total_usage", json!(2)),
            ("/cpu_stats/system_cpu_usage", json!(200)),
            ("/cpu_stats/online_cpus", json!(2)),
            ("/precpu_stats/cpu_usage/total_usage", json!(0)),
            ("/memory_stats/stats/total_inactive_file", json!(50)),
            ("/memory_stats/usage", json!(300)),
            ("/pids_stats/current", json!(3)),
            ("/blkio_stats/io_service_bytes_recursive/0/op", json!("read")),
            ("/networks/eth0/rx_bytes", json!(0)),
        ] {
            assert_eq!(document.pointer(pointer), Some(&value), "{pointer}");
        }
        let ended = stats(None, None);
        assert_eq!(ended.document()["memory_stats"], json!({}));
        assert!(ended.cpu_percent().abs() < f64::EPSILON);
    }
}
