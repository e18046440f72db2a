//! What is known of the processes that run beside a container's program, in the shape of Docker's exec inspect. They are
//! found from any process, also when whoever started them is gone.

use serde::ser::{Serialize, Serializer};
use serde_json::json;

use super::{Container, reconcile};
use crate::error::{Error, ErrorKind, Result};
use crate::id::ContainerId;
use crate::runtime::driver::{ExecRecord, ExecState};
use crate::spec::{ExecSpec, Timestamp};

/// A process that was started by [`Container::exec`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ExecInfo {
    /// Its identifier.
    pub id: String,
    /// The container it runs in.
    pub container: ContainerId,
    /// What was asked for.
    pub spec: ExecSpec,
    /// Whether it runs.
    pub running: bool,
    /// The process, in the host's numbers, if it has begun.
    pub pid: Option<u32>,
    /// Its exit code, and when it ended; `None` while it runs, and if who looked after it was killed.
    pub exit: Option<(i32, Timestamp)>,
}

/// What is kept of a process that is about to be started.
pub(super) fn record(id: &str, exec: &ExecSpec) -> Result<ExecRecord> {
    // The values of variables may be secrets, and nobody asks for them.
    let told = ExecSpec { env: Vec::new(), ..exec.clone() };
    let description = serde_json::to_string(&told)
        .map_err(|e| Error::internal("the description of a process", "it has no encoding").caused_by(e))?;
    Ok(ExecRecord { id: id.to_owned(), description })
}

/// Those that run, and those that ended in the last minutes of a container that runs.
pub(super) async fn list(container: &Container) -> Result<Vec<ExecInfo>> {
    let row = container.row().await?;
    let found = container.parts.runtime.execs(&reconcile::place(&container.parts, &row)).await?;
    Ok(found.into_iter().filter_map(|state| ExecInfo::of(&row.id, state)).collect())
}

/// The one of that identifier.
pub(super) async fn get(container: &Container, id: &str) -> Result<ExecInfo> {
    let known = list(container).await?.into_iter().find(|exec| exec.id == id);
    known
        .ok_or_else(|| Error::new(ErrorKind::NotFound, format!("exec {id}")).because("No such exec instance"))
}

impl ExecInfo {
    /// `None` for one that another version has described.
    fn of(container: &ContainerId, state: ExecState) -> Option<ExecInfo> {
        let ExecState { record, pid, running, exit } = state;
        let spec = serde_json::from_str(&record.description).ok()?;
        Some(ExecInfo { id: record.id, container: container.clone(), spec, running, pid, exit })
    }
}

impl Serialize for ExecInfo {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let ExecSpec { command, user, privileged, terminal, stdin, detach, .. } = &self.spec;
        let (entrypoint, arguments) = command.split_first().map_or(("", [].as_slice()), |(e, a)| (e, a));
        json!({
            "ID": self.id,
            "Running": self.running,
            "ExitCode": self.exit.map(|(code, _)| code),
            "ProcessConfig": {
                "tty": terminal,
                "entrypoint": entrypoint,
                "arguments": arguments,
                "privileged": privileged,
                "user": user.as_deref().unwrap_or_default(),
            },
            "OpenStdin": stdin,
            "OpenStdout": !detach,
            "OpenStderr": !detach,
            "CanRemove": !self.running,
            "ContainerID": self.container,
            "DetachKeys": "",
            "Pid": self.pid.unwrap_or(0),
        })
        .serialize(serializer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_looks_as_docker_shows_it_and_keeps_no_secrets() {
        let mut spec = ExecSpec::new(["sh", "-c", "true"]);
        spec.env = vec!["PASSWORD=secret".to_owned()];
        spec.stdin = true;
        let record = record("ab12", &spec).expect("is encoded");
        assert!(!record.description.contains("secret") && !record.description.contains('\n'));
        let id: ContainerId = "c".repeat(64).parse().expect("an identifier");
        let state =
            ExecState { record, pid: Some(7), running: false, exit: Some((3, Timestamp::from_nanos(1))) };
        let info = ExecInfo::of(&id, state).expect("is understood");
        let shown = serde_json::to_value(&info).expect("is shown");
        assert_eq!(shown["ProcessConfig"]["arguments"], json!(["-c", "true"]));
        assert_eq!(
            (&shown["ExitCode"], &shown["Running"], &shown["Pid"]),
            (&json!(3), &json!(false), &json!(7))
        );
        assert_eq!((&shown["OpenStdin"], &shown["ContainerID"]), (&json!(true), &json!(id)));
    }
}
