//! `engine help`: what there is, in docker's order.

use clap::CommandFactory;

use super::{ENTRIES, Entry, GROUPS, is_group, named};
use crate::args;
use crate::args::global::Global;
use crate::attach::terminal;
use crate::exit::{Failure, Outcome};
use crate::render::{self, help, print};

/// What most people need, and its order.
const COMMON: [&str; 7] = ["run", "exec", "ps", "pull", "images", "version", "info"];

fn about(entry: &Entry) -> String {
    (entry.arguments)().get_about().map(ToString::to_string).unwrap_or_default()
}

fn row(name: &str, text: String) -> (String, String) {
    (format!("  {name}"), text)
}

/// All commands.
pub(crate) fn overview() -> Outcome {
    let mut out = String::from("Usage:  engine [OPTIONS] COMMAND\n\nAn embeddable container engine\n");
    let width = terminal::width();
    let common: Vec<_> =
        COMMON.iter().filter_map(|name| named(name).map(|entry| row(name, about(entry)))).collect();
    let groups: Vec<_> = GROUPS.iter().map(|(name, text)| row(name, (*text).to_owned())).collect();
    let mut others: Vec<_> = ENTRIES
        .iter()
        .filter_map(|entry| entry.paths.first().map(|name| (name, entry)))
        .filter(|(name, _)| !name.contains(' ') && !COMMON.contains(name))
        .map(|(name, entry)| row(name, about(entry)))
        .collect();
    others.sort();
    out.push_str(&help::section("Common Commands", &common, width));
    out.push_str(&help::section("Management Commands", &groups, width));
    out.push_str(&help::section("Commands", &others, width));
    out.push_str(&help::flags(&args::prepare(Global::command()), "Global Options", width));
    out.push_str("\nRun 'engine COMMAND --help' for more information on a command.\n");
    print(&out)?;
    Ok(0)
}

/// The commands of a group.
fn group(name: &str) -> String {
    let about_group = GROUPS.iter().find(|(group, _)| *group == name).map_or("", |(_, text)| text);
    let mut out = format!("Usage:  engine {name} COMMAND\n\n{about_group}\n");
    let prefix = format!("{name} ");
    let mut rows: Vec<_> = ENTRIES
        .iter()
        .filter_map(|entry| {
            let own = entry.paths.iter().find_map(|path| path.strip_prefix(&prefix))?;
            Some(row(own, about(entry)))
        })
        .collect();
    rows.sort();
    out.push_str(&help::section("Commands", &rows, terminal::width()));
    out.push_str(&format!("\nRun 'engine {name} COMMAND --help' for more information on a command.\n"));
    out
}

/// Help about these words.
pub(crate) fn of(words: &[String]) -> Outcome {
    match words {
        [] => overview(),
        [name] if is_group(name) => {
            print(&group(name))?;
            Ok(0)
        }
        words => {
            let name = words.join(" ");
            match named(&name) {
                Some(entry) => of_command(entry, &format!("engine {name}")),
                None => Err(Failure::new(format!("unknown command: engine {name}"))),
            }
        }
    }
}

/// Help about a command.
pub(crate) fn of_command(entry: &Entry, path: &str) -> Outcome {
    let command = args::prepare((entry.arguments)());
    print(&render::help::command(&command, path, entry.paths, terminal::width()))?;
    Ok(0)
}
