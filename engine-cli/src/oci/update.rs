//! `update`: other limits for a container.

use std::io;
use std::path::Path;

use serde_json::{Map, Value, json};

use super::Call;
use super::args::Update;
use super::verbs::id;
use crate::args::parse::size::size_or_unlimited;
use crate::exit::{Failure, Outcome};

/// Changes those that are given, by flags or by a document.
pub(super) fn update(arguments: Update, call: &Call) -> Outcome {
    let (runtime, id) = (call.runtime()?, id(&arguments.id)?);
    match &arguments.resources {
        Some(path) if path == Path::new("-") => runtime.update(&id, io::stdin().lock())?,
        Some(path) => {
            let file =
                std::fs::File::open(path).map_err(|e| Failure::new(format!("{}: {e}", path.display())))?;
            runtime.update(&id, io::BufReader::new(file))?;
        }
        None => runtime.update(&id, io::Cursor::new(resources(&arguments)?.to_string()))?,
    }
    Ok(0)
}

/// The flags as `linux.resources` has them.
fn resources(arguments: &Update) -> Result<Value, Failure> {
    let bytes = |text: &Option<String>| {
        text.as_deref()
            .map(size_or_unlimited)
            .transpose()
            .map_err(|e| Failure::new(format!("invalid memory: {e}")))
    };
    let groups = [
        ("blockIO", vec![("weight", arguments.blkio_weight.map(|weight| json!(weight)))]),
        (
            "cpu",
            vec![
                ("period", arguments.cpu_period.map(|value| json!(value))),
                ("quota", arguments.cpu_quota.map(|value| json!(value))),
                ("burst", arguments.cpu_burst.map(|value| json!(value))),
                ("shares", arguments.cpu_share.map(|value| json!(value))),
                ("realtimePeriod", arguments.cpu_rt_period.map(|value| json!(value))),
                ("realtimeRuntime", arguments.cpu_rt_runtime.map(|value| json!(value))),
                ("cpus", arguments.cpuset_cpus.as_ref().map(|value| json!(value))),
                ("mems", arguments.cpuset_mems.as_ref().map(|value| json!(value))),
                ("idle", arguments.cpu_idle.map(|value| json!(value))),
            ],
        ),
        (
            "memory",
            vec![
                ("limit", bytes(&arguments.memory)?.map(|value| json!(value))),
                ("reservation", bytes(&arguments.memory_reservation)?.map(|value| json!(value))),
                ("swap", bytes(&arguments.memory_swap)?.map(|value| json!(value))),
            ],
        ),
        ("pids", vec![("limit", arguments.pids_limit.map(|value| json!(value)))]),
    ];
    let mut resources = Map::new();
    for (name, members) in groups {
        let given: Map<String, Value> =
            members.into_iter().filter_map(|(key, value)| Some((key.to_owned(), value?))).collect();
        if !given.is_empty() {
            resources.insert(name.to_owned(), given.into());
        }
    }
    Ok(resources.into())
}
