//! The commands of runc's command line.

use std::ffi::OsString;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::CommandFactory;
use engine_core::oci::{self, Console, Creation, Notify, OciId, OciRuntime};
use engine_core::spec::Signal;
use serde_json::Value;

use super::args::{
    Create, Delete, Events, Exec, Features, Global, Kill, List, Making, Pause, Ps, Resume, Run, Spec, Start,
    State, Update,
};
use super::events::events;
use super::exec::exec;
use super::processes::ps;
use super::update::update;
use super::{Call, foreground, parse, print_help};
use crate::attach::terminal;
use crate::exit::{Failure, Outcome};
use crate::render;
use crate::render::table::align;

/// runc's code of a failure of its own, whatever it is about.
const FAILED: u8 = 1;
/// That of a verb there is not.
const UNKNOWN: u8 = 3;
/// That of a process that could not be begun in a container.
pub(super) const EXEC_FAILED: u8 = u8::MAX;

/// A verb, and what it is for.
type Verb = (&'static str, fn(&[String], &Call) -> Outcome, fn() -> clap::Command);

/// A verb of the table: the structure of its arguments, and what it does.
macro_rules! verb {
    ($name:literal, $arguments:ty, $run:path) => {
        (
            $name,
            |words, call| match parse::<$arguments>(concat!("engine oci ", $name), words)? {
                Some(arguments) => $run(arguments, call),
                None => print_help::<$arguments>(concat!("engine oci ", $name)),
            },
            <$arguments as CommandFactory>::command,
        )
    };
}

const VERBS: &[Verb] = &[
    verb!("create", Create, create),
    verb!("delete", Delete, delete),
    verb!("events", Events, events),
    verb!("exec", Exec, exec),
    verb!("features", Features, features),
    verb!("kill", Kill, kill),
    verb!("list", List, list),
    verb!("pause", Pause, pause),
    verb!("ps", Ps, ps),
    verb!("resume", Resume, resume),
    verb!("run", Run, run_container),
    verb!("spec", Spec, spec),
    verb!("start", Start, start),
    verb!("state", State, state),
    verb!("update", Update, update),
];

/// Verbs of runc that need a program of their own, CRIU.
const UNOFFERED: [&str; 2] = ["checkpoint", "restore"];

/// Runs the verb.
pub(super) fn run(verb: &str, rest: &[String], call: &Call) -> Outcome {
    if matches!(verb, "help" | "h") {
        return help();
    }
    match VERBS.iter().find(|(name, ..)| *name == verb) {
        Some((_, run, _)) => run(rest, call).map_err(|failure| match failure.code() {
            EXEC_FAILED => failure,
            _ => failure.with_code(FAILED),
        }),
        None if UNOFFERED.contains(&verb) => {
            Err(Failure::new(format!("{verb} is not offered by this version"))
                .with_remedy("a container that has to go on elsewhere is stopped here and started there")
                .with_code(FAILED))
        }
        None => Err(Failure::new(format!("No help topic for '{verb}'")).with_code(UNKNOWN)),
    }
}

/// The commands there are.
pub(super) fn help() -> Outcome {
    let mut text = "Usage:  engine oci [OPTIONS] COMMAND\n\nCommands:\n".to_owned();
    for (name, _, arguments) in VERBS {
        let about = arguments().get_about().map(ToString::to_string).unwrap_or_default();
        text.push_str(&format!("  {name:<9} {about}\n"));
    }
    let options = Global::command().disable_help_flag(true).render_help().to_string();
    let options = options.split_once("Options:\n").map_or("", |(_, options)| options);
    render::print(&format!("{text}\nOptions:\n{options}"))?;
    Ok(0)
}

/// In the form that callers parse.
pub(super) fn version() -> Outcome {
    render::print(&format!(
        "engine-oci version {}\nspec: {}\n",
        env!("CARGO_PKG_VERSION"),
        oci::OCI_VERSION
    ))?;
    Ok(0)
}

/// The name of a container.
pub(super) fn id(text: &str) -> Result<OciId, Failure> {
    Ok(text.parse::<OciId>()?)
}

impl Making {
    /// What the library takes. Descriptors are copied first, before this program opens any of its own.
    fn creation(&self) -> Result<Creation, Failure> {
        let sockets = sockets();
        let preserved = oci::inherit(self.preserve_fds.saturating_add(sockets))?;
        let mut creation = Creation::of(self.bundle.clone().unwrap_or_else(|| PathBuf::from(".")));
        creation.preserved = preserved;
        creation.keep_keyring = self.no_new_keyring;
        creation.notify = notify_socket().is_some();
        creation.pidfd = self.pidfd_socket.as_deref().map(oci::connect_pidfd).transpose()?;
        creation.console = self.console_socket.as_deref().map(oci::connect_console).transpose()?;
        if sockets > 0 {
            creation.env = vec![format!("LISTEN_FDS={sockets}"), "LISTEN_PID=1".to_owned()];
        }
        Ok(creation)
    }
}

/// How many sockets a service manager has given to this process, as sd_listen_fds(3) has it: what is meant for another
/// process is not passed on.
fn sockets() -> u32 {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse().ok());
    match number("LISTEN_PID") {
        Some(pid) if pid == std::process::id() => number("LISTEN_FDS").unwrap_or(0),
        _ => 0,
    }
}

/// Where this process is to tell of readiness, as sd_notify(3) has it.
fn notify_socket() -> Option<OsString> {
    std::env::var_os("NOTIFY_SOCKET").filter(|path| !path.is_empty())
}

fn create(arguments: Create, call: &Call) -> Outcome {
    let creation = arguments.making.creation()?;
    let (runtime, id) = (call.runtime()?, id(&arguments.id)?);
    let pid = runtime.create(&id, creation)?;
    if let Err(failure) = write_pid(arguments.making.pid_file.as_deref(), pid) {
        let _ = runtime.delete(&id, true);
        return Err(failure);
    }
    Ok(0)
}

fn run_container(arguments: Run, call: &Call) -> Outcome {
    let mut creation = arguments.making.creation()?;
    let (runtime, id) = (Arc::new(call.runtime()?), id(&arguments.id)?);
    let mut console = None;
    if !arguments.detach {
        // Also with --no-subreaper: what a helper leaves could not be waited for otherwise.
        foreground::adopt()?;
        if creation.console.is_none() && has_terminal(&creation.bundle)? {
            let (ours, theirs) = Console::pair()?;
            (console, creation.console) = (Some(ours), Some(theirs));
            creation.terminal_size = terminal::size();
        }
    }
    let pid = runtime.create(&id, creation)?;
    let begun = write_pid(arguments.making.pid_file.as_deref(), pid)
        .and_then(|()| Ok(console.map(|console| console.master()).transpose()?))
        .and_then(|master| {
            let notify = notify(&runtime, &id)?;
            runtime.start(&id)?;
            Ok((master, notify))
        });
    let (master, notify) = begun.inspect_err(|_| {
        let _ = runtime.delete(&id, true);
    })?;
    if arguments.detach {
        return notify.map_or(Ok(0), |notify| Ok(runtime.pass_readiness(&id, &notify).map(|()| 0)?));
    }
    if let Some(notify) = notify {
        let (runtime, id) = (Arc::clone(&runtime), id.clone());
        // It ends with the container, or with this program.
        std::thread::spawn(move || runtime.pass_readiness(&id, &notify));
    }
    let code = foreground::wait(pid, master);
    if !arguments.keep {
        runtime.delete(&id, true)?;
    }
    code
}

/// Whether the process of the bundle has a terminal.
fn has_terminal(bundle: &Path) -> Result<bool, Failure> {
    let path = bundle.join("config.json");
    let text = std::fs::read(&path).map_err(|e| Failure::new(format!("{}: {e}", path.display())))?;
    // What is wrong with it is told by whoever takes it in earnest.
    let config: Value = serde_json::from_slice(&text).unwrap_or_default();
    Ok(config["process"]["terminal"].as_bool().unwrap_or(false))
}

/// Written whole or not at all: callers wait for it to appear.
pub(super) fn write_pid(path: Option<&Path>, pid: u32) -> Result<(), Failure> {
    let Some(path) = path else { return Ok(()) };
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let unfinished = path.with_file_name(format!(".{name}"));
    std::fs::write(&unfinished, pid.to_string())
        .and_then(|()| std::fs::rename(&unfinished, path))
        .map_err(|e| Failure::new(format!("pid file {}: {e}", path.display())))
}

fn start(arguments: Start, call: &Call) -> Outcome {
    let (runtime, id) = (call.runtime()?, id(&arguments.id)?);
    let notify = notify(&runtime, &id)?;
    runtime.start(&id)?;
    if let Some(notify) = notify {
        runtime.pass_readiness(&id, &notify)?;
    }
    Ok(0)
}

/// The socket on which the container may tell that it is ready, if somebody wants to hear it.
fn notify(runtime: &OciRuntime, id: &OciId) -> Result<Option<Notify>, Failure> {
    Ok(notify_socket().map(|to| runtime.notify(id, &to)).transpose()?.flatten())
}

fn state(arguments: State, call: &Call) -> Outcome {
    print_json(&call.runtime()?.state(&id(&arguments.id)?)?)
}

fn kill(arguments: Kill, call: &Call) -> Outcome {
    let signal: Signal = arguments.signal.parse()?;
    call.runtime()?.kill(&id(&arguments.id)?, signal, arguments.all)?;
    Ok(0)
}

fn delete(arguments: Delete, call: &Call) -> Outcome {
    if let Some(warning) = call.runtime()?.delete(&id(&arguments.id)?, arguments.force)? {
        call.log.warn(&warning.to_string());
    }
    Ok(0)
}

fn list(arguments: List, call: &Call) -> Outcome {
    let containers = call.runtime()?.list()?;
    if arguments.quiet {
        let names: String = containers.iter().map(|container| format!("{}\n", container.id)).collect();
        render::print(&names)?;
        return Ok(0);
    }
    match arguments.format.as_str() {
        "json" if containers.is_empty() => print_line(&Value::Null),
        "json" => print_line(&containers),
        "table" => {
            let mut rows = "ID\tPID\tSTATUS\tBUNDLE\tCREATED\tOWNER\n".to_owned();
            for container in containers {
                let (pid, status) = (container.pid, container.status.as_str());
                let (bundle, created) = (container.bundle.display(), container.created);
                let (id, owner) = (container.id, container.owner);
                rows.push_str(&format!("{id}\t{pid}\t{status}\t{bundle}\t{created}\t{owner}\n"));
            }
            render::print(&align(&rows))?;
            Ok(0)
        }
        _ => Err(Failure::new("invalid format option")),
    }
}

fn pause(arguments: Pause, call: &Call) -> Outcome {
    call.runtime()?.pause(&id(&arguments.id)?)?;
    Ok(0)
}

fn resume(arguments: Resume, call: &Call) -> Outcome {
    call.runtime()?.resume(&id(&arguments.id)?)?;
    Ok(0)
}

fn features(_: Features, _: &Call) -> Outcome {
    print_json(&oci::features())
}

fn spec(arguments: Spec, _: &Call) -> Outcome {
    let path = arguments.bundle.unwrap_or_default().join("config.json");
    let mut file = std::fs::File::create_new(&path).map_err(|e| match e.kind() {
        io::ErrorKind::AlreadyExists => {
            Failure::new(format!("File {} exists. Remove it first", path.display()))
        }
        _ => Failure::new(format!("{}: {e}", path.display())),
    })?;
    let example = if arguments.rootless { oci::rootless_example() } else { oci::example() };
    let text = serde_json::to_string_pretty(&example).unwrap_or_default();
    file.write_all(format!("{text}\n").as_bytes())?;
    Ok(0)
}

/// Indented, as runc's is.
fn print_json(value: &impl serde::Serialize) -> Outcome {
    let text = serde_json::to_string_pretty(value).map_err(|e| Failure::new(e.to_string()))?;
    render::print(&format!("{text}\n"))?;
    Ok(0)
}

/// In one line, as runc's lists are.
pub(super) fn print_line(value: &impl serde::Serialize) -> Outcome {
    let text = serde_json::to_string(value).map_err(|e| Failure::new(e.to_string()))?;
    render::print(&format!("{text}\n"))?;
    Ok(0)
}
