//! `ps`: the processes of a container.

use super::Call;
use super::args::Ps;
use super::verbs::{id, print_line};
use crate::exit::{Failure, Outcome};
use crate::render;

/// Lists them, by number or as the host's ps does.
pub(super) fn ps(arguments: Ps, call: &Call) -> Outcome {
    let (container, options) =
        arguments.words.split_first().ok_or_else(|| Failure::new("no container was named"))?;
    let pids = call.runtime()?.processes(&id(container)?)?;
    match arguments.format.as_str() {
        "json" => print_line(&pids),
        "table" => processes_table(&pids, options),
        _ => Err(Failure::new("invalid format option")),
    }
}

/// What the host's ps says of the processes.
fn processes_table(pids: &[u32], options: &[String]) -> Outcome {
    let usual = ["-ef".to_owned()];
    let options = if options.is_empty() { usual.as_slice() } else { options };
    let output = std::process::Command::new("ps")
        .args(options)
        .output()
        .map_err(|e| Failure::new(format!("ps: {e}")))?;
    let text = String::from_utf8_lossy(&output.stdout);
    let mut lines = text.lines();
    let head = lines.next().unwrap_or_default();
    let column = head.split_whitespace().position(|name| name == "PID");
    let column = column.ok_or_else(|| Failure::new("couldn't find PID field in ps output"))?;
    let mut table = format!("{head}\n");
    for line in lines {
        let pid = line.split_whitespace().nth(column).and_then(|pid| pid.parse().ok());
        if pid.is_some_and(|pid| pids.contains(&pid)) {
            table.push_str(line);
            table.push('\n');
        }
    }
    render::print(&table)?;
    Ok(0)
}
