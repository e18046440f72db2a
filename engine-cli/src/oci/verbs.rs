//! The commands of runc's command line.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use clap::CommandFactory;
use engine_core::oci::{self, Console, Creation, Execution, OciId};
use engine_core::spec::Signal;
use serde_json::{Map, Value, json};

use super::args::{
    Create, Delete, Exec, Features, Global, Kill, List, Making, Pause, Ps, Resume, Run, Spec, Start, State,
    Update,
};
use super::{Call, foreground, parse, print_help};
use crate::args::parse::size::size_or_unlimited;
use crate::exit::{Failure, Outcome};
use crate::render;
use crate::render::table::align;

/// runc's code of a failure of its own, whatever it is about.
const FAILED: u8 = 1;
/// That of a verb there is not.
const UNKNOWN: u8 = 3;
/// That of a process that could not be begun in a container.
const EXEC_FAILED: u8 = u8::MAX;

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

fn id(text: &str) -> Result<OciId, Failure> {
    Ok(text.parse::<OciId>()?)
}

impl Making {
    /// What the library takes. Descriptors are copied first, before this program opens any of its own.
    fn creation(&self) -> Result<Creation, Failure> {
        let sockets = sockets();
        let preserved = oci::inherit(self.preserve_fds.saturating_add(sockets))?;
        if self.pidfd_socket.is_some() {
            return Err(Failure::new("--pidfd-socket is not offered by this version"));
        }
        let mut creation = Creation::of(self.bundle.clone().unwrap_or_else(|| PathBuf::from(".")));
        creation.preserved = preserved;
        creation.keep_keyring = self.no_new_keyring;
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
    let (runtime, id) = (call.runtime()?, id(&arguments.id)?);
    let mut console = None;
    if !arguments.detach {
        if !arguments.no_subreaper {
            foreground::adopt()?;
        }
        if creation.console.is_none() && has_terminal(&creation.bundle)? {
            let (ours, theirs) = Console::pair()?;
            (console, creation.console) = (Some(ours), Some(theirs));
        }
    }
    let pid = runtime.create(&id, creation)?;
    let begun = write_pid(arguments.making.pid_file.as_deref(), pid)
        .and_then(|()| Ok(console.map(|console| console.master()).transpose()?))
        .and_then(|master| Ok(runtime.start(&id).map(|()| master)?));
    let master = begun.inspect_err(|_| {
        let _ = runtime.delete(&id, true);
    })?;
    if arguments.detach {
        return Ok(0);
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
fn write_pid(path: Option<&Path>, pid: u32) -> Result<(), Failure> {
    let Some(path) = path else { return Ok(()) };
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let unfinished = path.with_file_name(format!(".{name}"));
    std::fs::write(&unfinished, pid.to_string())
        .and_then(|()| std::fs::rename(&unfinished, path))
        .map_err(|e| Failure::new(format!("pid file {}: {e}", path.display())))
}

fn start(arguments: Start, call: &Call) -> Outcome {
    call.runtime()?.start(&id(&arguments.id)?)?;
    Ok(0)
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

fn exec(arguments: Exec, call: &Call) -> Outcome {
    exec_process(arguments, call).map_err(|failure| failure.with_code(EXEC_FAILED))
}

fn exec_process(arguments: Exec, call: &Call) -> Outcome {
    let mut execution = execution(&arguments)?;
    let (container, _) =
        arguments.words.split_first().ok_or_else(|| Failure::new("no container was named"))?;
    let (runtime, id) = (call.runtime()?, id(container)?);
    let mut console = None;
    if !arguments.detach {
        foreground::adopt()?;
        if execution.console.is_none() && runtime.has_terminal(&execution)? {
            let (ours, theirs) = Console::pair()?;
            (console, execution.console) = (Some(ours), Some(theirs));
        }
    }
    let pid = runtime.exec(&id, execution)?;
    write_pid(arguments.pid_file.as_deref(), pid)?;
    if arguments.detach {
        return Ok(0);
    }
    foreground::wait(pid, console.map(|console| console.master()).transpose()?)
}

fn execution(arguments: &Exec) -> Result<Execution, Failure> {
    let preserved = oci::inherit(arguments.preserve_fds)?;
    for (flag, given) in [
        ("--process-label", arguments.process_label.is_some()),
        ("--apparmor", arguments.apparmor.is_some()),
        ("--pidfd-socket", arguments.pidfd_socket.is_some()),
    ] {
        if given {
            return Err(Failure::new(format!("{flag} is not offered by this version")));
        }
    }
    let mut execution = Execution::default();
    execution.preserved = preserved;
    execution.process = arguments.process.clone();
    execution.args = arguments.words.get(1..).unwrap_or_default().to_vec();
    execution.cwd = arguments.cwd.clone();
    execution.env = arguments.env.clone();
    execution.terminal = arguments.tty;
    execution.user = arguments.user.as_deref().map(user).transpose()?;
    execution.additional_gids = arguments.additional_gids.clone();
    execution.no_new_privileges = arguments.no_new_privs;
    execution.capabilities = arguments.cap.clone();
    execution.ignore_paused = arguments.ignore_paused;
    execution.cgroup = arguments.cgroup.clone();
    execution.console = arguments.console_socket.as_deref().map(oci::connect_console).transpose()?;
    Ok(execution)
}

fn user(text: &str) -> Result<(u32, Option<u32>), Failure> {
    let number = |part: &str| {
        part.parse::<u32>()
            .map_err(|_| Failure::new(format!("user {text:?}: it has to be UID[:GID], by number")))
    };
    match text.split_once(':') {
        Some((uid, gid)) => Ok((number(uid)?, Some(number(gid)?))),
        None => Ok((number(text)?, None)),
    }
}

fn ps(arguments: Ps, call: &Call) -> Outcome {
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

fn update(arguments: Update, call: &Call) -> Outcome {
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
    let text = serde_json::to_string_pretty(&oci::example()).unwrap_or_default();
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
fn print_line(value: &impl serde::Serialize) -> Outcome {
    let text = serde_json::to_string(value).map_err(|e| Failure::new(e.to_string()))?;
    render::print(&format!("{text}\n"))?;
    Ok(0)
}
