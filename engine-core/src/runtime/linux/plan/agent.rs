//! Who is asked about system calls, and what is told of the process that asks.

use std::collections::HashMap;
use std::path::Path;

use oci_spec::runtime::LinuxSeccomp;
use serde::Serialize;

use engine_shim::plan::{Agent, Process};

use super::hooks::StateHead;
use super::text;
use crate::error::{Error, Result};
use crate::runtime::linux::oci::OCI_VERSION;
use crate::runtime::linux::seccomp;

/// The container that a process is of.
pub(super) struct Of<'a> {
    /// The version of its configuration.
    pub(super) version: &'a str,
    /// Its name.
    pub(super) id: &'a str,
    /// Its bundle.
    pub(super) bundle: &'a Path,
    /// What its configuration says besides.
    pub(super) annotations: HashMap<String, String>,
}

/// The "container process state", but for what the shim says: the status of the container and the two processes.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ProcessState<'a> {
    oci_version: &'a str,
    fds: [&'static str; 1],
    #[serde(skip_serializing_if = "str::is_empty")]
    metadata: &'a str,
    state: StateHead<'a>,
}

/// Gives the process its agent, if its filter asks somebody; a socket that nobody is asked over is not looked at, as the
/// specification wants it. It makes the calls in `waiting` when it has loaded the filter.
pub(super) fn give(
    process: &mut Process,
    filter: Option<&LinuxSeccomp>,
    of: Of<'_>,
    waiting: &[&str],
) -> Result<()> {
    let Some(filter) =
        filter.filter(|_| process.seccomp.as_ref().is_some_and(|(_, flags)| seccomp::asks(*flags)))
    else {
        return Ok(());
    };
    let path = filter.listener_path().as_deref().filter(|path| !path.as_os_str().is_empty());
    let path = path.ok_or_else(|| {
        Error::invalid("seccomp action SCMP_ACT_NOTIFY", "nobody listens: listenerPath is not set")
    })?;
    if !path.is_absolute() {
        return Err(Error::invalid(format!("listenerPath {}", path.display()), "it is not an absolute path"));
    }
    seccomp::require(filter, "sendmsg", waiting)?;
    let state = ProcessState {
        oci_version: OCI_VERSION,
        fds: ["seccompFd"],
        metadata: filter.listener_metadata().as_deref().unwrap_or_default(),
        state: StateHead {
            oci_version: of.version,
            id: of.id,
            bundle: of.bundle,
            annotations: of.annotations,
        },
    };
    let mut state = serde_json::to_string(&state)
        .map_err(|e| Error::invalid("the configuration", "its state has no JSON").caused_by(e))?;
    // The shim closes both objects.
    state.truncate(state.len().saturating_sub(2));
    process.agent = Some(Agent { path: text(path, "listenerPath")?, state, container: 0 });
    Ok(())
}
