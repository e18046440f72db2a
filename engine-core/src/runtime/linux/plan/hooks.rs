//! Hooks, and the state they are given.

use std::collections::HashMap;
use std::path::Path;

use oci_spec::runtime::{Hook, Spec};
use serde::Serialize;

use engine_shim::plan;

use super::text;
use crate::error::{Error, Result};

/// A container's state as the specification has it, but for its number and status.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct StateHead<'a> {
    pub(super) oci_version: &'a str,
    pub(super) id: &'a str,
    pub(super) bundle: &'a Path,
    #[serde(skip_serializing_if = "HashMap::is_empty")]
    pub(super) annotations: HashMap<String, String>,
}

/// A point in a container's life, with the number of its first process if it has one.
#[derive(Clone, Copy)]
pub(in crate::runtime::linux) enum State {
    /// Its program runs.
    Running(u32),
    /// It is gone.
    Stopped,
}

/// The state as JSON, to which the shim puts number, status and a closing brace.
pub(super) fn state(spec: &Spec, id: &str, bundle: &Path) -> Result<String> {
    if spec.hooks().is_none() {
        return Ok(String::new());
    }
    let annotations = spec.annotations().clone().unwrap_or_default();
    let head = StateHead { oci_version: spec.version(), id, bundle, annotations };
    let mut json = serde_json::to_string(&head)
        .map_err(|e| Error::invalid("the configuration", "its state has no JSON").caused_by(e))?;
    json.pop();
    Ok(json)
}

/// The hooks of the configuration, each at its point.
pub(super) fn hooks(spec: &Spec) -> Result<plan::Hooks> {
    let Some(hooks) = spec.hooks() else { return Ok(plan::Hooks::default()) };
    // The specification calls them deprecated; docker uses them for its networks.
    let mut create_runtime = list("prestart", hooks.prestart().as_deref())?;
    create_runtime.extend(list("createRuntime", hooks.create_runtime().as_deref())?);
    Ok(plan::Hooks {
        state: String::new(),
        create_runtime,
        create_container: list("createContainer", hooks.create_container().as_deref())?,
        start_container: list("startContainer", hooks.start_container().as_deref())?,
        poststart: list("poststart", hooks.poststart().as_deref())?,
        poststop: list("poststop", hooks.poststop().as_deref())?,
    })
}

/// Those hooks that are run when the shim that built the container is gone; `None` if there are none.
pub(in crate::runtime::linux) fn hooks_plan(
    spec: &Spec,
    (id, bundle): (&str, &Path),
    at: State,
) -> Result<Option<plan::HooksPlan>> {
    let hooks = hooks(spec)?;
    let (hooks, end) = match at {
        State::Running(pid) => (hooks.poststart, format!(",\"status\":\"running\",\"pid\":{pid}}}")),
        State::Stopped => (hooks.poststop, ",\"status\":\"stopped\"}".to_owned()),
    };
    if hooks.is_empty() {
        return Ok(None);
    }
    let state = state(spec, id, bundle)? + &end;
    Ok(Some(plan::HooksPlan { hooks, state, go_on: matches!(at, State::Stopped) }))
}

fn list(kind: &str, hooks: Option<&[Hook]>) -> Result<Vec<plan::Hook>> {
    hooks.unwrap_or_default().iter().enumerate().map(|(place, hook)| plan(kind, place, hook)).collect()
}

fn plan(kind: &str, place: usize, hook: &Hook) -> Result<plan::Hook> {
    let name = format!("{kind} hook {place}");
    let wrong = |reason: &str| Error::invalid(name.clone(), reason);
    let path = text(hook.path(), "the path of a hook")?;
    if !hook.path().is_absolute() {
        return Err(wrong("its path is not absolute"));
    }
    let timeout = match hook.timeout() {
        None => None,
        Some(seconds) if seconds > 0 => Some(u32::try_from(seconds).unwrap_or(u32::MAX)),
        Some(_) => return Err(wrong("its time limit is not above zero")),
    };
    let args = hook.args().clone().unwrap_or_else(|| vec![path.clone()]);
    let env = hook.env().clone().unwrap_or_default();
    if args.iter().chain(&env).any(|text| text.contains('\0')) {
        return Err(wrong("an argument or variable holds a zero byte"));
    }
    Ok(plan::Hook { name, path, args, env, timeout })
}
