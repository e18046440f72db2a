//! `events`: what a container uses, and what happens to it, a line of JSON each, with runc's members.

use std::time::{Duration, Instant};

use engine_core::oci::{OciId, OciRuntime};
use engine_core::runtime::usage::{BlockUsage, InterfaceUsage, Usage};
use serde_json::{Map, Value, json};

use super::Call;
use super::args::Events;
use super::verbs::{id, print_line};
use crate::args::parse::time::duration;
use crate::exit::{Failure, Outcome};

/// So soon it is told that a process was killed for want of memory.
const TURN: Duration = Duration::from_millis(200);

/// Tells until the container ends, or once.
pub(super) fn events(arguments: Events, call: &Call) -> Outcome {
    let (runtime, id) = (call.runtime()?, id(&arguments.id)?);
    if arguments.stats {
        return print_line(&stats(&id, &runtime.usage(&id)?));
    }
    let interval = duration(&arguments.interval).filter(|interval| !interval.is_zero());
    let interval = interval.ok_or_else(|| Failure::new("duration interval must be greater than 0"))?;
    // That it runs is found out before anybody waits.
    runtime.usage(&id)?;
    let mut kills = runtime.oom_kills(&id)?;
    let mut next = Instant::now() + interval;
    loop {
        let ended = runtime.has_ended(&id, TURN.min(next.saturating_duration_since(Instant::now())))?;
        tell_kills(&runtime, &id, &mut kills)?;
        if ended {
            return Ok(0);
        }
        if Instant::now() >= next {
            next += interval;
            // It may end at any moment: that is found out in the next turn.
            if let Ok(usage) = runtime.usage(&id) {
                print_line(&stats(&id, &usage))?;
            }
        }
    }
}

/// Tells of each process that was killed since the last time.
fn tell_kills(runtime: &OciRuntime, id: &OciId, known: &mut Option<u64>) -> Result<(), Failure> {
    // A container that was deleted meanwhile has nothing more to tell.
    let Ok(now) = runtime.oom_kills(id) else { return Ok(()) };
    for _ in known.unwrap_or(0)..now.unwrap_or(0) {
        print_line(&json!({ "type": "oom", "id": id.as_str() }))?;
    }
    *known = now.or(*known);
    Ok(())
}

fn stats(id: &OciId, usage: &Usage) -> Value {
    let (cpu, memory) = (&usage.cpu.usage, &usage.memory);
    let raw: Map<String, Value> =
        memory.details.iter().map(|(name, value)| (name.clone(), json!(value))).collect();
    let cache = memory.detail("cache").or_else(|| memory.detail("file")).unwrap_or(0);
    json!({ "type": "stats", "id": id.as_str(), "data": {
        "cpu": {
            "usage": { "total": cpu.total, "percpu": cpu.each, "kernel": cpu.kernel, "user": cpu.user },
            "throttling": {
                "periods": cpu.periods,
                "throttledPeriods": cpu.throttled_periods,
                "throttledTime": cpu.throttled,
            },
        },
        "cpuset": {},
        "memory": {
            "cache": cache,
            "usage": {
                "limit": memory.limit,
                "usage": memory.usage,
                "max": memory.max_usage.unwrap_or(0),
                "failcnt": memory.failures.unwrap_or(0),
            },
            "raw": raw,
        },
        "pids": { "current": usage.pids.current, "limit": usage.pids.limit.unwrap_or(0) },
        "blkio": {
            "ioServiceBytesRecursive": block(usage, |of| (of.read_bytes, of.written_bytes)),
            "ioServicedRecursive": block(usage, |of| (of.reads, of.writes)),
        },
        "hugetlb": {},
        "intel_rdt": {},
        "network_interfaces": usage.network.iter().map(interface).collect::<Vec<_>>(),
    }})
}

/// A line for each device and direction, with one of its figures.
fn block(usage: &Usage, figures: impl Fn(&BlockUsage) -> (u64, u64)) -> Vec<Value> {
    let lines = usage.block.iter().flat_map(|of| {
        let (read, written) = figures(of);
        [("Read", read), ("Write", written)]
            .map(|(op, value)| json!({ "major": of.major, "minor": of.minor, "op": op, "value": value }))
    });
    lines.collect()
}

fn interface(of: &InterfaceUsage) -> Value {
    json!({
        "Name": of.name,
        "RxBytes": of.received.bytes, "RxPackets": of.received.packets,
        "RxErrors": of.received.errors, "RxDropped": of.received.dropped,
        "TxBytes": of.sent.bytes, "TxPackets": of.sent.packets,
        "TxErrors": of.sent.errors, "TxDropped": of.sent.dropped,
    })
}
