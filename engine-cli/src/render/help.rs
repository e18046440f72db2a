//! Help, in the shape of docker's.

use clap::{Arg, ArgAction, Command};

use crate::args::usage;

const GAP: usize = 3;

/// A command's help: its usage, what it does, its other names and its flags.
pub(crate) fn command(command: &Command, path: &str, paths: &[&str], width: usize) -> String {
    let mut out = format!("Usage:  {}\n", usage::line(command, path));
    if let Some(about) = command.get_about() {
        out.push_str(&format!("\n{about}\n"));
    }
    if paths.len() > 1 {
        let names: Vec<String> = paths.iter().map(|path| format!("engine {path}")).collect();
        out.push_str(&format!("\nAliases:\n  {}\n", names.join(", ")));
    }
    out.push_str(&flags(command, "Options", width));
    out
}

/// The flags of a command, by name.
pub(crate) fn flags(command: &Command, heading: &str, width: usize) -> String {
    let mut flags: Vec<&Arg> = command.get_opts().filter(|arg| !arg.is_hide_set()).collect();
    flags.sort_by_key(|arg| arg.get_long().unwrap_or_default());
    let rows: Vec<(String, String)> = flags
        .into_iter()
        .map(|arg| (flag(arg), arg.get_help().map(ToString::to_string).unwrap_or_default()))
        .collect();
    match rows.is_empty() {
        true => String::new(),
        false => section(heading, &rows, width),
    }
}

/// A heading and two columns, the second of which is wrapped to the width.
pub(crate) fn section(heading: &str, rows: &[(String, String)], width: usize) -> String {
    let column = rows.iter().map(|(name, _)| name.chars().count()).max().unwrap_or(0) + GAP;
    let mut out = format!("\n{heading}:\n");
    for (name, text) in rows {
        let lines = wrap(text, width.saturating_sub(column).max(24));
        let mut lines = lines.iter();
        let first = lines.next().map(String::as_str).unwrap_or_default();
        out.push_str(format!("{name:column$}{first}").trim_end());
        out.push('\n');
        for line in lines {
            out.push_str(&format!("{:column$}{line}\n", ""));
        }
    }
    out
}

/// `  -m, --memory bytes`.
fn flag(arg: &Arg) -> String {
    let long = arg.get_long().unwrap_or_default();
    let names = match arg.get_short() {
        Some(short) => format!("  -{short}, --{long}"),
        None => format!("      --{long}"),
    };
    // A name that was given is in lower case; the one that is made up from the field's is not.
    let given =
        arg.get_value_names().and_then(<[_]>::first).filter(|name| name.chars().all(|c| !c.is_uppercase()));
    match (given, arg.get_action()) {
        _ if arg.is_require_equals_set() => names,
        (Some(given), _) => format!("{names} {given}"),
        (None, ArgAction::Append) => format!("{names} list"),
        (None, ArgAction::Set) => format!("{names} string"),
        (None, _) => names,
    }
}

fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines = Vec::new();
    let mut line = String::new();
    for word in text.split_whitespace() {
        if !line.is_empty() && line.chars().count() + 1 + word.chars().count() > width {
            lines.push(std::mem::take(&mut line));
        }
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(word);
    }
    lines.push(line);
    lines
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory, Parser};

    use super::*;
    use crate::args::prepare;

    /// Remove one or more things.
    #[derive(Parser)]
    struct Sample {
        /// Force the removal of a thing that somebody still uses and would rather keep
        #[arg(short, long)]
        _force: bool,
        /// How many
        #[arg(long, value_name = "int")]
        _count: Option<u32>,
        /// Those with a label
        #[arg(short, long)]
        _label: Vec<String>,
        /// The things
        #[arg(required = true, value_name = "THING")]
        _things: Vec<String>,
    }

    #[test]
    fn help_looks_like_docker_s() {
        let text = command(&prepare(Sample::command()), "engine rm", &["rm", "thing rm"], 74);
        let expected = "Usage:  engine rm [OPTIONS] THING [THING...]\n\nRemove one or more things\n\n\
                        Aliases:\n  engine rm, engine thing rm\n\nOptions:\n      --count int    How many\n  \
                        -f, --force        Force the removal of a thing that somebody still uses\n                     \
                        and would rather keep\n      --help         Print usage\n  -l, --label list   Those with a \
                        label\n";
        assert_eq!(text.replace("--_", "--"), expected);
    }
}
