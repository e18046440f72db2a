//! Runtime programs: containers that are built by another program with runc's command line, as runc, crun, youki and
//! runsc have it. The monitor looks after them as after its own (`engine_shim`'s `foreign`), so their logs, their
//! restarts, their health and their ends are those of all containers; this says what the program is told.

mod config;
mod reason;

use std::path::{Path, PathBuf};

use engine_shim::plan::{self, ContainerPlan, HooksPlan};
use engine_shim::wire::Kind;
use oci_spec::runtime::LinuxResources;
use serde_json::Value;

pub(super) use self::reason::explain;
use super::client::Client;
use super::{Host, create, document};
use crate::error::{Error, Faults, Result, Subject};
use crate::runtime::driver::{Bundle, ExecBundle, Place};

/// The directory over which a container's bundle is put together, in its run directory.
const BUNDLE: &str = "bundle";
/// The directory of what the program remembers.
const STATE: &str = "program";
/// Limits that were changed since the container was made, for its next life.
const RESOURCES: &str = "resources";

/// All that is in its environment.
const ENVIRONMENT: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// So many seconds may a call take that somebody waits for.
const PATIENCE: u32 = 30;

/// A program that builds containers, with the command line of runc.
///
/// ```no_run
/// use engine_core::{Engine, RuntimeProgram};
///
/// # async fn example() -> engine_core::Result<()> {
/// let runc = RuntimeProgram::new("/usr/sbin/runc");
/// let engine = Engine::builder().runtime_program("runc", runc).open().await?;
/// # Ok(()) }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuntimeProgram {
    path: PathBuf,
    args: Vec<String>,
}

impl RuntimeProgram {
    /// The program at this path.
    pub fn new(path: impl Into<PathBuf>) -> RuntimeProgram {
        RuntimeProgram { path: path.into(), args: Vec::new() }
    }

    /// Adds an argument that it is given before every command: `--systemd-cgroup`.
    #[must_use]
    pub fn arg(mut self, arg: impl Into<String>) -> RuntimeProgram {
        self.args.push(arg.into());
        self
    }

    /// Its path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What the shim is told of it.
    fn plan(&self, place: &Place, config: (String, String)) -> Result<plan::Program> {
        let log = text(&place.run_dir.join(BUNDLE).join("log"))?;
        let log = ["--log", &log, "--log-format", "json"].map(str::to_owned);
        let mut args = self.arguments(place)?;
        args.extend(log);
        Ok(plan::Program {
            path: text(&self.path)?,
            env: vec![ENVIRONMENT.to_owned()],
            args,
            id: place.id.to_string(),
            bundle: text(&place.run_dir.join(BUNDLE))?,
            config,
            resources: text(&place.run_dir.join(RESOURCES))?,
            delete: Some(self.call(place, &["delete", "--force"])?),
            state: text(&place.run_dir.join(STATE))?,
        })
    }

    /// Its name, and what it is given before every command.
    fn arguments(&self, place: &Place) -> Result<Vec<String>> {
        let mut arguments = vec![text(&self.path)?];
        arguments.extend(self.args.iter().cloned());
        arguments.extend(["--root".to_owned(), text(&place.run_dir.join(STATE))?]);
        Ok(arguments)
    }

    /// The call of one of its commands for a container.
    fn call(&self, place: &Place, command: &[&str]) -> Result<plan::Hook> {
        let mut args = self.arguments(place)?;
        args.extend(command.iter().map(|word| (*word).to_owned()));
        args.push(place.id.to_string());
        let file = self.path.file_name().unwrap_or(self.path.as_os_str()).display().to_string();
        Ok(plan::Hook {
            name: [&file, " ", command.first().copied().unwrap_or_default()].concat(),
            path: args.first().cloned().unwrap_or_default(),
            args,
            env: vec![ENVIRONMENT.to_owned()],
            timeout: Some(PATIENCE),
        })
    }
}

fn text(path: &Path) -> Result<String> {
    super::plan::text(path, "path")
}

/// The plan for a container that `program` builds, from that for one that the shim does.
pub(super) fn container(
    program: &RuntimeProgram,
    bundle: &Bundle,
    plan: ContainerPlan,
) -> Result<ContainerPlan> {
    let told = program.plan(&bundle.place, Default::default())?;
    let (config, mounts) = config::container(bundle, &plan, &told.bundle)?;
    Ok(ContainerPlan {
        mounts,
        devices: Vec::new(),
        masked: Vec::new(),
        readonly: Vec::new(),
        sysctls: Vec::new(),
        hooks: plan::Hooks::default(),
        program: Some(plan::Program { config, ..told }),
        ..plan
    })
}

/// What the shim is told of another process in a container.
pub(super) fn exec(program: &RuntimeProgram, place: &Place, exec: &ExecBundle) -> Result<plan::Program> {
    Ok(plan::Program { delete: None, ..program.plan(place, config::process(exec)?)? })
}

/// Changes limits, of this life and of those that follow.
pub(super) fn update(
    host: &Host,
    program: &RuntimeProgram,
    place: &Place,
    resources: &LinuxResources,
) -> Result<()> {
    let subject = || format!("the limits of {}", super::client::name(place));
    let invalid = |e| Error::internal(subject(), "they have no JSON").caused_by(e);
    let changed = serde_json::to_value(resources).map_err(invalid)?;
    let hook = program.call(place, &["update", "--resources", "-"])?;
    call(host, place, HooksPlan { hooks: vec![hook], state: changed.to_string(), go_on: false })?;
    let path = place.run_dir.join(RESOURCES);
    let mut all = match std::fs::read(&path) {
        Ok(text) => serde_json::from_slice(&text).unwrap_or(Value::Null),
        Err(_) => Value::Null,
    };
    merge(&mut all, changed);
    document::write(&place.run_dir, RESOURCES, &all)
}

/// Puts what `new` says in the place of what `all` says of the same.
fn merge(all: &mut Value, new: Value) {
    match (all, new) {
        (Value::Object(all), Value::Object(new)) => {
            for (name, value) in new {
                merge(all.entry(name).or_insert(Value::Null), value);
            }
        }
        (all, new) => *all = new,
    }
}

/// Has the program forget a container whose monitor was killed, and whose processes are.
pub(super) fn delete(host: &Host, program: &RuntimeProgram, place: &Place) -> Result<()> {
    if !place.run_dir.join(STATE).exists() {
        return Ok(());
    }
    let hook = program.call(place, &["delete", "--force"])?;
    call(host, place, HooksPlan { hooks: vec![hook], state: String::new(), go_on: false })
}

/// Runs the program, from a helper process.
fn call(host: &Host, place: &Place, hooks: HooksPlan) -> Result<()> {
    let (control, first) = host.shim.start(&format!("runtime program for {}", place.id.short()))?;
    let client = Client::over(control, place)?;
    client.send(Kind::PlanHooks, &create::encode(&hooks)?, &[])?;
    drop(first);
    client.expect(Kind::Done).map(drop)
}

/// Removes what is left in the run directory of a container that is gone. What its bundle was made of went with the
/// mount namespace that it was in.
pub(super) fn clean(place: &Place, faults: &mut Faults) {
    let path = |name: &str| place.run_dir.join(name);
    for (path, result) in [
        (path(BUNDLE), std::fs::remove_dir(path(BUNDLE))),
        (path(STATE), std::fs::remove_dir_all(path(STATE))),
        (path(RESOURCES), std::fs::remove_file(path(RESOURCES))),
    ] {
        faults.note(result.subject(|| path.display().to_string()));
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn limits_that_were_changed_before_stay_changed() {
        let mut all = Value::Null;
        merge(&mut all, json!({"memory": {"limit": 1, "swap": 2}}));
        merge(&mut all, json!({"memory": {"limit": 3}, "pids": {"limit": 4}}));
        assert_eq!(all, json!({"memory": {"limit": 3, "swap": 2}, "pids": {"limit": 4}}));
    }
}
