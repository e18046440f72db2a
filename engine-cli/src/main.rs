//! The command line of the engine: docker's commands, flags, columns and exit codes, with no daemon behind them.
//!
//! `args` is what was typed, `command` what it means, `render` what is printed, `attach` the joining of terminals,
//! `oci` the command line of runc, `exit` how it ends. Only this file ends the process.
#![allow(
    rustdoc::invalid_html_tags,
    rustdoc::broken_intra_doc_links,
    reason = "what is said of arguments is help, printed as it stands"
)]

mod app;
mod args;
mod attach;
mod command;
mod config;
mod exit;
mod oci;
mod render;

use std::ffi::{OsStr, OsString};

use clap::{CommandFactory, FromArgMatches};

use crate::app::App;
use crate::args::Typed;
use crate::args::global::Global;
use crate::command::{Found, Work};
use crate::exit::{Failure, Outcome};

#[expect(clippy::disallowed_methods, reason = "the one place that ends the process")]
fn main() {
    // Not by returning: threads that block in a read of standard input would have to end first.
    let mut words = std::env::args_os();
    let name = words.next();
    std::process::exit(i32::from(program(name.as_deref(), words)));
}

/// The whole program; its exit code.
fn program(name: Option<&OsStr>, words: impl Iterator<Item = OsString>) -> u8 {
    let mut debug = false;
    let outcome = match words.map(OsString::into_string).collect::<Result<Vec<String>, OsString>>() {
        Ok(words) => match oci::called(name, &words) {
            Some(words) => return oci::program(words),
            None => dispatch(&words, &mut debug),
        },
        Err(word) => Err(Failure::new(format!("the argument {word:?} is not valid UTF-8")).of_run("engine")),
    };
    outcome.unwrap_or_else(|failure| {
        render::tell(&failure.report());
        if debug {
            render::tell(&failure.detail());
        }
        failure.code()
    })
}

/// Finds the command and runs it. `debug` is whether all of a failure is to be told, as soon as that is known.
fn dispatch(words: &[String], debug: &mut bool) -> Outcome {
    let mut global = match args::parse(Global::command(), "engine", words)? {
        Typed::Help => return command::help::overview(),
        Typed::Arguments(matches) => {
            Global::from_arg_matches(&matches).map_err(|e| Failure::new(e.to_string()))?
        }
    };
    *debug = global.debug;
    if global.version {
        return command::version::short();
    }
    let words = std::mem::take(&mut global.words);
    match command::find(&words) {
        Found::Help(words) => command::help::of(words),
        Found::Unknown(path) => Err(Failure::new(format!("unknown command: {path}"))
            .with_remedy("see 'engine --help' for the commands there are")),
        Found::Command { entry, path, rest } => match args::parse((entry.arguments)(), &path, rest)? {
            Typed::Help => command::help::of_command(entry, &path),
            Typed::Arguments(matches) => run((entry.run)(&matches, App::new(global, path))),
        },
    }
}

/// Runs a command to its end, on this thread alone; threads for blocking work start when there is some.
fn run(work: Work) -> Outcome {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|e| Failure::new(format!("starting: {e}")))?;
    let outcome = runtime.block_on(work);
    // What the engine does in the background is safe to leave; the next one goes on with it.
    runtime.shutdown_background();
    outcome
}
