//! The processes of a container, as ps(1) shows them.
//!
//! What docker asks ps for unless told otherwise, and the usual columns, are found without it: a program that embeds
//! the engine need not have one. For all else the host's own is asked about all processes, and those of the container
//! are picked out, as docker does.

mod columns;
mod process;

use std::collections::BTreeSet;
use std::path::Path;
use std::process::{Command, Stdio};

use columns::{Column, Host};
use process::Process;

use super::{Container, facts, reconcile};
use crate::error::{Error, ErrorKind, Result, Subject};
use crate::store::blocking;

/// Where the host's own program may be.
const PROGRAMS: [&str; 2] = ["/usr/bin/ps", "/bin/ps"];

/// Processes, with what is told of each. Serialises as docker's API has it.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "PascalCase")]
#[non_exhaustive]
pub struct Processes {
    /// The titles of the columns.
    pub titles: Vec<String>,
    /// A line for each, with a text for every title.
    pub processes: Vec<Vec<String>>,
}

pub(super) async fn top(container: &Container, arguments: &[String]) -> Result<Processes> {
    let parts = &container.parts;
    let row = container.row().await?;
    reconcile::require_running(container, &row).await?;
    let pids = parts.runtime.processes(&reconcile::place(parts, &row)).await?;
    let arguments = arguments.to_vec();
    let found = blocking(move || match columns(&arguments) {
        Some(columns) => Ok(own(&columns, &pids)),
        None => asked(&arguments, &pids.into_iter().collect()),
    })
    .await?;
    facts::tell(parts, &row, "top", &[]);
    Ok(found)
}

/// The titles and columns that the arguments ask for, if these are known here.
fn columns(arguments: &[String]) -> Option<Vec<(&'static str, &'static Column)>> {
    if arguments.is_empty() {
        return Some(columns::full());
    }
    let (mut full, mut chosen) = (false, Vec::new());
    let mut words = arguments.iter();
    while let Some(word) = words.next() {
        let mut letters = word.strip_prefix('-').filter(|letters| !letters.is_empty())?.chars();
        while let Some(letter) = letters.next() {
            match letter {
                'e' | 'A' => {}
                'f' => full = true,
                // The list is what is left of the word, or the next one.
                'o' => {
                    let rest = letters.as_str();
                    let list = if rest.is_empty() { words.next()?.as_str() } else { rest };
                    for name in list.split([',', ' ']).filter(|name| !name.is_empty()) {
                        let column = columns::named(name)?;
                        chosen.push((column.title, column));
                    }
                    break;
                }
                _ => return None,
            }
        }
    }
    // Without the number docker could not tell whose process it is.
    match (full, chosen.iter().any(|(title, _)| *title == "PID")) {
        (true, _) if chosen.is_empty() => Some(columns::full()),
        (false, true) => Some(chosen),
        _ => None,
    }
}

/// The processes as they are found here.
fn own(columns: &[(&'static str, &'static Column)], pids: &[u32]) -> Processes {
    let host = Host::look();
    let mut pids = pids.to_vec();
    pids.sort_unstable();
    let line = |process: Process| columns.iter().map(|(_, column)| (column.show)(&process, &host)).collect();
    Processes {
        titles: columns.iter().map(|(title, _)| (*title).to_owned()).collect(),
        processes: pids.into_iter().filter_map(Process::look).map(line).collect(),
    }
}

/// The processes as the host's own program tells of them.
fn asked(arguments: &[String], pids: &BTreeSet<u32>) -> Result<Processes> {
    let subject = || format!("ps {}", arguments.join(" "));
    let Some(program) = PROGRAMS.into_iter().find(|program| Path::new(program).exists()) else {
        return Err(Error::new(ErrorKind::Unsupported, subject())
            .because("this host has no ps, which these arguments need")
            .with_remedy("leave them away, or choose columns with -o pid,user,args"));
    };
    let mut command = Command::new(program);
    command
        .args(arguments)
        .env_clear()
        .env("PATH", "/usr/bin:/bin")
        .env("LC_ALL", "C.UTF-8")
        .stdin(Stdio::null());
    let output = command.output().subject(subject)?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        let said = said.lines().map(str::trim).find(|line| !line.is_empty()).unwrap_or("it says nothing");
        return Err(Error::invalid(subject(), format!("ps did not take the arguments: {said}")));
    }
    picked(&String::from_utf8_lossy(&output.stdout), pids)
        .ok_or_else(|| Error::invalid(subject(), "Couldn't find PID field in ps output"))
}

/// The lines of the container's processes. `None` if the numbers are not among what is told.
fn picked(output: &str, pids: &BTreeSet<u32>) -> Option<Processes> {
    let mut lines = output.lines();
    let titles: Vec<String> = lines.next()?.split_whitespace().map(str::to_owned).collect();
    let at = titles.iter().position(|title| title == "PID")?;
    let last = titles.len().saturating_sub(1);
    let mut processes = Vec::new();
    // A thread has a line of its own under its process, without the number.
    let mut ours = false;
    for line in lines {
        let mut fields: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        match fields.get(at).map(String::as_str) {
            Some("-") => {}
            Some(pid) => ours = pid.parse().is_ok_and(|pid| pids.contains(&pid)),
            None => continue,
        }
        if ours {
            // Only the last column has blanks in it.
            let rest = fields.split_off(last.min(fields.len())).join(" ");
            fields.push(rest);
            processes.push(fields);
        }
    }
    Some(Processes { titles, processes })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn titles(line: &str) -> Option<Vec<&'static str>> {
        let words: Vec<String> = line.split(' ').filter(|word| !word.is_empty()).map(str::to_owned).collect();
        columns(&words).map(|columns| columns.into_iter().map(|(title, _)| title).collect())
    }

    #[test]
    fn the_usual_is_shown_without_a_program() {
        let full = ["UID", "PID", "PPID", "C", "STIME", "TTY", "TIME", "CMD"];
        for line in ["", "-ef", "-e -f", "-f", "-Af"] {
            assert_eq!(titles(line), Some(full.to_vec()), "{line}");
        }
        for line in ["-o pid,args", "-eo pid,args", "-e -o pid -o args", "-opid,args"] {
            assert_eq!(titles(line), Some(vec!["PID", "COMMAND"]), "{line}");
        }
        for line in ["aux", "-o pid=", "-o args", "-o", "-", "-efo pid", "-eF", "-e", "-o pid,nosuch"] {
            assert_eq!(titles(line), None, "{line}");
        }
    }

    #[test]
    fn lines_of_others_are_left_out() {
        let output =
            "USER PID %CPU COMMAND\nroot 1 0.0 init\nweb 7 1.5 sh -c  a b\nweb - 1.5 -\nroot 8 0 x\nodd\n";
        let found = picked(output, &BTreeSet::from([7])).expect("has numbers");
        assert_eq!(found.titles, ["USER", "PID", "%CPU", "COMMAND"]);
        assert_eq!(found.processes, [vec!["web", "7", "1.5", "sh -c a b"], vec!["web", "-", "1.5", "-"]]);
        assert_eq!(picked("USER COMMAND\nroot init\n", &BTreeSet::new()), None);
        assert_eq!(picked("", &BTreeSet::new()), None);
    }

    #[test]
    fn this_process_is_found() {
        let own_pid = std::process::id();
        let found = own(&columns::full(), &[own_pid, u32::MAX]);
        assert_eq!(found.processes.len(), 1);
        assert_eq!(found.processes[0][1], own_pid.to_string());
    }
}
