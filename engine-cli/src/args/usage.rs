//! Usage lines, and the parser's complaints in docker's words.

use clap::error::{ContextKind, ContextValue, Error, ErrorKind};
use clap::{Arg, ArgAction, Command};

use crate::exit::{ENGINE, Failure};

/// `engine rm [OPTIONS] CONTAINER [CONTAINER...]`.
pub(crate) fn line(command: &Command, path: &str) -> String {
    let mut line = path.to_owned();
    let options = command.get_opts().any(|arg| !arg.is_hide_set() && arg.get_id() != super::HELP);
    if options {
        line.push_str(" [OPTIONS]");
    }
    for arg in command.get_positionals() {
        let name = arg.get_value_names().and_then(<[_]>::first).map_or(arg.get_id().as_str(), |name| name);
        line.push(' ');
        line.push_str(&match (arg.is_trailing_var_arg_set(), arg.is_required_set(), is_many(arg)) {
            // Its name is a whole line of its own.
            (true, ..) => name.to_owned(),
            (_, true, true) => format!("{name} [{name}...]"),
            (_, true, false) => name.to_owned(),
            (_, false, true) => format!("[{name}...]"),
            (_, false, false) => format!("[{name}]"),
        });
    }
    line
}

fn is_many(arg: &Arg) -> bool {
    matches!(arg.get_action(), ArgAction::Append)
}

/// `-m, --memory`.
fn flag_name(arg: &Arg) -> String {
    match (arg.get_short(), arg.get_long()) {
        (Some(short), Some(long)) => format!("-{short}, --{long}"),
        (Some(short), None) => format!("-{short}"),
        (None, Some(long)) => format!("--{long}"),
        (None, None) => arg.get_id().to_string(),
    }
}

/// The flag that the parser calls `--memory <MEMORY>`.
fn find<'a>(command: &'a Command, called: &str) -> Option<&'a Arg> {
    let word = called.split([' ', '[', '=']).next()?;
    command.get_arguments().find(|arg| match (arg.get_long(), arg.get_short()) {
        (Some(long), _) => word.strip_prefix("--") == Some(long),
        (None, Some(short)) => word.strip_prefix('-').is_some_and(|rest| rest.starts_with(short)),
        (None, None) => false,
    })
}

/// The failure for what the parser complained of.
pub(crate) fn explain(error: &Error, command: &Command, path: &str) -> Failure {
    let usage = line(command, path);
    let context = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => text.clone(),
        Some(ContextValue::Strings(texts)) => texts.join(", "),
        _ => String::new(),
    };
    // What the parser of the value said, or the values that there are.
    let reason = || match std::error::Error::source(error) {
        Some(reason) => reason.to_string(),
        None => format!("must be one of: {}", context(ContextKind::ValidValue)),
    };
    let (called, value) = (context(ContextKind::InvalidArg), context(ContextKind::InvalidValue));
    let flag = find(command, &called).map(flag_name);
    match (error.kind(), flag) {
        (ErrorKind::InvalidValue, Some(flag)) if value.is_empty() => {
            Failure::usage(&format!("flag needs an argument: {flag}"), &usage, path, ENGINE)
        }
        (ErrorKind::ValueValidation | ErrorKind::InvalidValue, Some(flag)) => {
            let reason =
                std::error::Error::source(error).map_or_else(|| "not valid".to_owned(), ToString::to_string);
            let text = format!("invalid argument {value:?} for {flag:?} flag: {reason}");
            Failure::usage(&text, &usage, path, ENGINE)
        }
        (ErrorKind::UnknownArgument, _) if called.starts_with("--") => {
            Failure::usage(&format!("unknown flag: {called}"), &usage, path, ENGINE)
        }
        (ErrorKind::UnknownArgument, _) if called.starts_with('-') => {
            let letter = called.trim_start_matches('-');
            Failure::usage(&format!("unknown shorthand flag: '{letter}' in -{letter}"), &usage, path, ENGINE)
        }
        (ErrorKind::ValueValidation | ErrorKind::InvalidValue, None) if !value.is_empty() => {
            Failure::usage(&format!("invalid argument {value:?}: {}", reason()), &usage, path, 1)
        }
        (ErrorKind::InvalidUtf8, _) => Failure::usage("an argument is not valid UTF-8", &usage, path, ENGINE),
        _ => Failure::usage(&format!("'{path}' {}", arity(command)), &usage, path, 1),
    }
}

/// How many arguments the command takes.
fn arity(command: &Command) -> String {
    let least: usize = command
        .get_positionals()
        .filter(|arg| arg.is_required_set())
        .map(|arg| arg.get_num_args().map_or(1, |range| range.min_values().max(1)))
        .sum();
    let most = command.get_positionals().count();
    let arguments = |n: usize| format!("{n} argument{}", if n == 1 { "" } else { "s" });
    match (least, most) {
        (_, 0) => "accepts no arguments".to_owned(),
        _ if command.get_positionals().any(is_many) => {
            format!("requires at least {}", arguments(least.max(1)))
        }
        (least, most) if least == most => format!("requires {}", arguments(least)),
        (0, most) => format!("requires at most {}", arguments(most)),
        (least, most) => format!("requires at least {least} and at most {}", arguments(most)),
    }
}
