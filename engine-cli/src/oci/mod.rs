//! `engine oci`: the command line of runc, so that Podman, containerd and Docker can use this engine as their runtime.
//! A link to this program that is called `engine-oci` is the same without the word.
//!
//! runc's manners, not docker's: an option's failure and the engine's own are code 1, and what went wrong is also
//! written to the file of `--log`, where callers look for it.

mod args;
mod events;
mod exec;
mod foreground;
mod log;
mod processes;
mod update;
mod verbs;

use std::ffi::OsStr;
use std::path::Path;

use clap::error::ErrorKind;
use clap::{CommandFactory, FromArgMatches};
use engine_core::oci::OciRuntime;

use self::args::Global;
use self::log::Log;
use crate::exit::{Failure, Outcome};
use crate::{args as manners, render};

/// What a link to this program is called that needs no `oci`.
const NAME: &str = "engine-oci";

/// The words after `oci`, if it is this that was called.
pub(crate) fn called<'a>(program: Option<&OsStr>, words: &'a [String]) -> Option<&'a [String]> {
    let linked = program.and_then(|program| Path::new(program).file_name()).is_some_and(|name| name == NAME);
    match words {
        _ if linked => Some(words),
        [first, rest @ ..] if first == "oci" => Some(rest),
        _ => None,
    }
}

/// The program as it was called.
struct Call {
    global: Global,
    log: Log,
}

impl Call {
    fn runtime(&self) -> Result<OciRuntime, Failure> {
        let runtime = OciRuntime::open(&self.global.directory(), engine_core::ShimProgram::Embedded)?;
        Ok(runtime.with_systemd_cgroup(self.global.systemd_cgroup))
    }
}

/// Runs it; its exit code.
pub(crate) fn program(words: &[String]) -> u8 {
    let global = match parse::<Global>("engine oci", words) {
        Ok(Some(global)) => global,
        Ok(None) => return verbs::help().unwrap_or_else(|failure| tell(&Log::default(), &failure)),
        Err(failure) => return tell(&Log::default(), &failure),
    };
    let log = match Log::open(&global) {
        Ok(log) => log,
        Err(failure) => return tell(&Log::default(), &failure),
    };
    let call = Call { global, log };
    run(&call).unwrap_or_else(|failure| tell(&call.log, &failure))
}

fn run(call: &Call) -> Outcome {
    if call.global.version {
        return verbs::version();
    }
    match call.global.words.split_first() {
        None => verbs::help(),
        Some((verb, rest)) => verbs::run(verb, rest, call),
    }
}

/// Says what went wrong where the caller looks for it.
fn tell(log: &Log, failure: &Failure) -> u8 {
    if let Some(message) = failure.message() {
        log.error(message);
    }
    failure.code()
}

/// Parses words; `None` if help was asked for.
fn parse<T: CommandFactory + FromArgMatches>(path: &str, words: &[String]) -> Result<Option<T>, Failure> {
    let mut command = manners::prepare(T::command()).bin_name(path);
    match command.try_get_matches_from_mut(words) {
        Ok(matches) => T::from_arg_matches(&matches).map(Some).map_err(|e| Failure::new(first_line(&e))),
        Err(e) if e.kind() == ErrorKind::DisplayHelp => Ok(None),
        Err(e) => Err(Failure::new(first_line(&e))),
    }
}

/// Prints what arguments there are.
fn print_help<T: CommandFactory>(path: &str) -> Outcome {
    let help = manners::prepare(T::command()).bin_name(path).render_help();
    render::print(&help.to_string())?;
    Ok(0)
}

/// What clap says, without usage and advice: it goes to a log. A list of what is missing begins on the next line.
fn first_line(error: &clap::Error) -> String {
    let text = error.render().to_string();
    let text = text.split("\n\n").next().unwrap_or_default();
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    let line = lines.join(" ");
    line.strip_prefix("error: ").unwrap_or(&line).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Vec<String> {
        line.split(' ').filter(|word| !word.is_empty()).map(str::to_owned).collect()
    }

    #[test]
    fn the_word_or_the_link_calls_it() {
        let line = words("oci --root /r state x");
        assert_eq!(called(Some(OsStr::new("/bin/engine")), &line).map(<[String]>::len), Some(4));
        let line = words("--root /r state x");
        assert_eq!(called(Some(OsStr::new("/bin/engine-oci")), &line).map(<[String]>::len), Some(4));
        assert_eq!(called(Some(OsStr::new("engine")), &line), None);
    }

    #[test]
    fn global_flags_end_at_the_verb() {
        let line = words("--root /r --log /l --log-format=json --systemd-cgroup create --bundle /b id");
        let global = parse::<Global>("engine oci", &line).expect("parses").expect("no help");
        assert_eq!(global.root.as_deref(), Some(Path::new("/r")));
        assert!(global.systemd_cgroup);
        assert_eq!(global.words, words("create --bundle /b id"));
        assert_eq!(parse::<Global>("engine oci", &words("--nosuch")).expect_err("is unknown").code(), 1);
    }
}
