//! What containers use, in the shape of Docker's API.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use serde::Serialize;
use serde::ser::Serializer;
use serde_json::{Value, json};

use super::{Container, reconcile};
use crate::error::Result;
use crate::id::{ContainerId, ContainerName};
use crate::parts::Parts;
use crate::runtime::driver::Place;
use crate::runtime::usage::{BlockUsage, CpuSample, InterfaceUsage, Traffic, Usage};
use crate::spec::Timestamp;
use crate::store::containers::{self, ContainerRow};

/// Looks at containers again and again. Whoever has it decides how often; processor time is a difference between two
/// looks.
pub struct StatsStream {
    parts: Arc<Parts>,
    choice: Choice,
    /// The processor time at the last look of those that ran then.
    earlier: HashMap<ContainerId, CpuSample>,
}

/// Which containers are looked at.
enum Choice {
    /// All that there are at the moment; only those that may run, unless that is true.
    All(bool),
    /// These.
    These(Vec<Seen>),
}

/// A container to look at.
#[derive(Clone)]
struct Seen {
    id: ContainerId,
    name: ContainerName,
    place: Place,
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
    /// The processor time at the look before.
    pub earlier: Option<CpuSample>,
    /// Processors of the host.
    pub processors: u32,
}

/// That of these containers.
pub(super) async fn of_these(parts: &Arc<Parts>, containers: &[Container]) -> Result<StatsStream> {
    let mut seen = Vec::with_capacity(containers.len());
    for container in containers {
        seen.push(Seen::of(parts, container.row().await?));
    }
    Ok(StatsStream { parts: parts.clone(), choice: Choice::These(seen), earlier: HashMap::new() })
}

/// That of all containers; only of those that may run, unless `all`.
pub(super) fn of_all(parts: &Arc<Parts>, all: bool) -> StatsStream {
    StatsStream { parts: parts.clone(), choice: Choice::All(all), earlier: HashMap::new() }
}

impl Seen {
    fn of(parts: &Parts, row: ContainerRow) -> Seen {
        let place = reconcile::place(parts, &row);
        Seen { id: row.id, name: row.name, place }
    }
}

impl StatsStream {
    /// Looks at the processor time alone, so that the next look has one before it.
    ///
    /// # Errors
    /// Failures of reading the store and the figures.
    pub async fn begin(&mut self) -> Result<()> {
        let (seen, places) = self.wanted().await?;
        let samples = self.parts.runtime.cpu_samples(&places).await?;
        let samples = seen.into_iter().zip(samples);
        self.earlier = samples.filter_map(|(seen, sample)| Some((seen.id, sample?))).collect();
        Ok(())
    }

    /// What each container uses now, and what it used at the last call. One that does not run uses nothing.
    ///
    /// # Errors
    /// Failures of reading the store and the figures.
    pub async fn next(&mut self) -> Result<Vec<ContainerStats>> {
        let (seen, places) = self.wanted().await?;
        let usages = self.parts.runtime.usages(&places).await?;
        let processors = std::thread::available_parallelism().map_or(1, |count| count.get());
        let processors = u32::try_from(processors).unwrap_or(1);
        let mut samples = HashMap::with_capacity(seen.len());
        let mut stats = Vec::with_capacity(seen.len());
        for (Seen { id, name, .. }, now) in seen.into_iter().zip(usages) {
            if let Some(now) = &now {
                samples.insert(id.clone(), now.cpu.clone());
            }
            let earlier = self.earlier.remove(&id);
            stats.push(ContainerStats { id, name, now, earlier, processors });
        }
        self.earlier = samples;
        Ok(stats)
    }

    /// The containers to look at, and where they are. Those that come and go while one looks are part of the picture.
    async fn wanted(&self) -> Result<(Vec<Seen>, Vec<Place>)> {
        let seen: Vec<Seen> = match &self.choice {
            Choice::These(seen) => seen.clone(),
            Choice::All(all) => {
                let rows = self.parts.store.read(containers::list).await?;
                let wanted = rows.into_iter().filter(|row| *all || reconcile::may_run(row));
                wanted.map(|row| Seen::of(&self.parts, row)).collect()
            }
        };
        let places = seen.iter().map(|seen| seen.place.clone()).collect();
        Ok((seen, places))
    }
}

impl ContainerStats {
    /// How much of one processor it used between the two looks, in percent: 150 is one and a half. Measured by the
    /// wall clock, as the host's own figures are too coarse for looks that are close together.
    pub fn cpu_percent(&self) -> f64 {
        let (Some(now), Some(earlier)) = (&self.now, &self.earlier) else { return 0.0 };
        let passed = now.cpu.read.since(earlier.read).as_nanos();
        let used = now.cpu.usage.total.saturating_sub(earlier.usage.total);
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
        let now = self.now.as_ref().map(|now| &now.cpu);
        let time = |sample: Option<&CpuSample>| {
            sample.map_or_else(|| zero.to_owned(), |sample| Timestamp::to_string(&sample.read))
        };
        let cpu = |sample: Option<&CpuSample>| match sample {
            Some(sample) => cpu(sample, self.processors),
            None => json!({
                "cpu_usage": { "total_usage": 0, "usage_in_kernelmode": 0, "usage_in_usermode": 0 },
                "throttling_data": { "periods": 0, "throttled_periods": 0, "throttled_time": 0 },
            }),
        };
        let mut document = json!({
            "id": self.id,
            "name": format!("/{}", self.name),
            "read": time(now),
            "preread": time(self.earlier.as_ref()),
            "num_procs": 0,
            "storage_stats": {},
            "cpu_stats": cpu(now),
            "precpu_stats": cpu(self.earlier.as_ref()),
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

fn cpu(sample: &CpuSample, processors: u32) -> Value {
    let CpuSample { usage: cpu, system, .. } = sample;
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
    use crate::runtime::usage::{CpuUsage, MemoryUsage, PidsUsage};

    fn sample(read: i64, total: u64) -> CpuSample {
        let usage = CpuUsage { total, ..CpuUsage::default() };
        CpuSample { read: Timestamp::from_nanos(read), usage, system: 200 }
    }

    fn usage(read: i64, total: u64) -> Usage {
        Usage {
            cpu: sample(read, total),
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

    fn stats(now: Option<Usage>, earlier: Option<CpuSample>) -> ContainerStats {
        ContainerStats {
            id: "a".repeat(64).parse().expect("an identifier"),
            name: "web".parse().expect("a name"),
            now,
            earlier,
            processors: 2,
        }
    }

    #[test]
    fn percentages_are_those_between_two_looks() {
        let stats = stats(Some(usage(20_000_000, 35_000_000)), Some(sample(0, 5_000_000)));
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
