//! `engine stats`.

use std::io::IsTerminal;
use std::time::Duration;

use engine_core::container::{ContainerStats, StatsStream};
use engine_core::{Engine, Error};

use crate::app::App;
use crate::args::container::Stats;
use crate::exit::Outcome;
use crate::render::list::{List, Row, Shape};
use crate::render::text::short_id;
use crate::render::{list, print, size};

const LIST: List = List {
    fields: &[
        ("Container", "CONTAINER"),
        ("ID", "CONTAINER ID"),
        ("Name", "NAME"),
        ("CPUPerc", "CPU %"),
        ("MemUsage", "MEM USAGE / LIMIT"),
        ("MemPerc", "MEM %"),
        ("NetIO", "NET I/O"),
        ("BlockIO", "BLOCK I/O"),
        ("PIDs", "PIDS"),
    ],
    table: "{{.ID}}\t{{.Name}}\t{{.CPUPerc}}\t{{.MemUsage}}\t{{.MemPerc}}\t{{.NetIO}}\t{{.BlockIO}}\t{{.PIDs}}",
    quiet: "ID",
};

/// Time between two looks of a single answer: processor time is a difference, and is measured to the nanosecond.
const BLINK: Duration = Duration::from_millis(15);
/// And between two screens.
const BEAT: Duration = Duration::from_secs(1);
/// To the top left, and away with what is below.
const CLEAR: &str = "\u{1b}[H\u{1b}[J";

/// Shows what containers use: once, or again every second until it is interrupted.
pub(super) async fn stats(args: Stats, app: App) -> Outcome {
    let shape =
        Shape::of(&LIST, args.format.as_deref(), false, app.config().stats_format.as_deref(), LIST.table);
    let engine = app.engine().await?;
    let mut stream = stream(&engine, &args).await?;
    stream.begin().await?;
    tokio::time::sleep(BLINK).await;
    loop {
        let seen = stream.next().await?;
        let rows: Vec<Row> = seen.iter().map(|stats| row(stats, args.no_trunc)).collect();
        let text = list::render(&LIST, &shape, &rows)?;
        if args.no_stream {
            print(&text)?;
            return Ok(0);
        }
        print(&if std::io::stdout().is_terminal() { [CLEAR, &text].concat() } else { text })?;
        tokio::time::sleep(BEAT).await;
    }
}

async fn stream(engine: &Engine, args: &Stats) -> Result<StatsStream, Error> {
    let containers = engine.containers();
    if args.containers.is_empty() {
        return Ok(containers.stats(args.all));
    }
    let mut named = Vec::with_capacity(args.containers.len());
    for name in &args.containers {
        named.push(containers.get(name).await?);
    }
    containers.stats_of(&named).await
}

fn row(stats: &ContainerStats, whole: bool) -> Row {
    let id = stats.id.as_str();
    let id = if whole { id } else { short_id(id) }.to_owned();
    let usage = stats.now.as_ref();
    let memory = usage.map_or((0, 0), |usage| (usage.memory.working_set(), usage.memory.limit));
    let interfaces = usage.map(|usage| usage.network.as_slice()).unwrap_or_default();
    let devices = usage.map(|usage| usage.block.as_slice()).unwrap_or_default();
    let pair = |a: u64, b: u64| format!("{} / {}", size::short(a), size::short(b));
    Row::new([
        ("Container", id.clone()),
        ("ID", id),
        ("Name", stats.name.to_string()),
        ("CPUPerc", format!("{:.2}%", stats.cpu_percent())),
        ("MemUsage", format!("{} / {}", size::binary(memory.0), size::binary(memory.1))),
        ("MemPerc", format!("{:.2}%", stats.memory_percent())),
        (
            "NetIO",
            pair(
                interfaces.iter().map(|interface| interface.received.bytes).sum(),
                interfaces.iter().map(|interface| interface.sent.bytes).sum(),
            ),
        ),
        (
            "BlockIO",
            pair(
                devices.iter().map(|device| device.read_bytes).sum(),
                devices.iter().map(|device| device.written_bytes).sum(),
            ),
        ),
        ("PIDs", usage.map_or(0, |usage| usage.pids.current).to_string()),
    ])
}
