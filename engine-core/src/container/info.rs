//! What is known of a container, in the shape and with the names of Docker's API, so that every frontend tells the
//! same.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;
use serde_json::Value;

use crate::id::{ContainerId, ImageId};
use crate::network::driver::PublishedPort;
use crate::spec::{HealthStatus, Timestamp, human_duration};

/// What a container is doing, in docker's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum ContainerStatus {
    /// It was never started.
    Created,
    /// Its program runs.
    Running,
    /// Its program is held still.
    Paused,
    /// Its program has ended and will be started again in a moment.
    Restarting,
    /// Its program has ended.
    Exited,
    /// Its monitor was lost, and with it how the program ended.
    Dead,
}

impl ContainerStatus {
    /// As docker writes it: `running`.
    pub fn as_str(self) -> &'static str {
        match self {
            ContainerStatus::Created => "created",
            ContainerStatus::Running => "running",
            ContainerStatus::Paused => "paused",
            ContainerStatus::Restarting => "restarting",
            ContainerStatus::Exited => "exited",
            ContainerStatus::Dead => "dead",
        }
    }
}

/// What a container is doing, and how its last run went. Serialises as `State` of Docker's inspect.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
#[non_exhaustive]
pub struct ContainerState {
    /// What it is doing.
    pub status: ContainerStatus,
    /// Whether its program runs.
    pub running: bool,
    /// Whether its program is held still.
    pub paused: bool,
    /// Whether it waits to be started again.
    pub restarting: bool,
    /// Whether the kernel killed a process of its last run for want of memory.
    #[serde(rename = "OOMKilled")]
    pub oom_killed: bool,
    /// Whether its monitor was lost.
    pub dead: bool,
    /// Its first process, in the host's numbers; 0 if it does not run.
    pub pid: u32,
    /// The exit code of its last run.
    pub exit_code: i32,
    /// Why its last start failed; empty if it did not.
    pub error: String,
    /// When its last run began; docker writes the year 1 where there was none.
    #[serde(serialize_with = "time_or_zero")]
    pub started_at: Option<Timestamp>,
    /// When its last run ended.
    #[serde(serialize_with = "time_or_zero")]
    pub finished_at: Option<Timestamp>,
    /// Whether it is well, if somebody checks.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub health: Option<HealthState>,
    /// How often it was started again by itself; `RestartCount` of Docker's inspect.
    #[serde(skip)]
    pub restarts: u32,
}

/// Whether a container is well. Serialises as `State.Health` of Docker's inspect.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
#[non_exhaustive]
pub struct HealthState {
    /// Whether it is.
    pub status: HealthStatus,
    /// How many checks have failed in a row. Only inspect tells.
    pub failing_streak: u32,
    /// The results of the last checks: `Start`, `End`, `ExitCode` and `Output`. Only inspect tells.
    pub log: Vec<Value>,
}

/// Docker writes Go's zero time where there is none.
fn time_or_zero<S: serde::Serializer>(time: &Option<Timestamp>, serializer: S) -> Result<S::Ok, S::Error> {
    match time {
        Some(time) => serializer.collect_str(time),
        None => serializer.serialize_str("0001-01-01T00:00:00Z"),
    }
}

/// All that is known of a container. Serialises as Docker's inspect does.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
#[non_exhaustive]
pub struct ContainerInfo {
    /// Its identifier.
    pub id: ContainerId,
    /// When it was created.
    pub created: Timestamp,
    /// The program it runs.
    pub path: String,
    /// The program's arguments.
    pub args: Vec<String>,
    /// What it is doing.
    pub state: ContainerState,
    /// The identifier of its image; empty if it was made from a directory.
    pub image: String,
    /// Its name, after a slash.
    pub name: String,
    /// The rest, as Docker's inspect has it: `Config`, `HostConfig`, `NetworkSettings`, `Mounts` and the paths of
    /// its files.
    #[serde(flatten)]
    pub details: BTreeMap<String, Value>,
}

/// A line of a list of containers.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ContainerSummary {
    /// Its identifier.
    pub id: ContainerId,
    /// Its name.
    pub name: String,
    /// The image as the user wrote it, or its identifier if that name now means another one.
    pub image: String,
    /// The identifier of its image.
    pub image_id: Option<ImageId>,
    /// The program and its arguments.
    pub command: Vec<String>,
    /// When it was created.
    pub created: Timestamp,
    /// What it is doing.
    pub state: ContainerState,
    /// Its published ports.
    pub ports: Vec<PublishedPort>,
    /// Ports that its image exposes and that are not published: number and protocol, `80/tcp`.
    pub exposed: Vec<String>,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// The names of its networks, with its address in each while it runs.
    pub networks: BTreeMap<String, Option<std::net::Ipv4Addr>>,
    /// The names of its volumes and the paths of its bind mounts.
    pub mounts: Vec<String>,
    /// The bytes it has written, if they were asked for.
    pub size: Option<u64>,
    /// The bytes of its image.
    pub image_size: Option<u64>,
}

impl ContainerSummary {
    /// `Up 3 minutes`, `Exited (0) 2 hours ago`, `Created`: as docker's list has it.
    pub fn status(&self, now: Timestamp) -> String {
        self.state.told(now)
    }
}

impl ContainerState {
    /// The state in words, with how long it has lasted.
    fn told(&self, now: Timestamp) -> String {
        let since =
            |time: Option<Timestamp>| human_duration(time.map_or(Duration::ZERO, |time| now.since(time)));
        match self.status {
            ContainerStatus::Paused => format!("Up {} (Paused)", since(self.started_at)),
            ContainerStatus::Restarting => {
                format!("Restarting ({}) {} ago", self.exit_code, since(self.finished_at))
            }
            ContainerStatus::Running => match self.health.as_ref().map(|health| health.status) {
                None => format!("Up {}", since(self.started_at)),
                Some(HealthStatus::Starting) => format!("Up {} (health: starting)", since(self.started_at)),
                Some(health) => format!("Up {} ({})", since(self.started_at), health.as_str()),
            },
            ContainerStatus::Exited => format!("Exited ({}) {} ago", self.exit_code, since(self.finished_at)),
            ContainerStatus::Created => "Created".to_owned(),
            ContainerStatus::Dead => "Dead".to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(status: ContainerStatus, exit_code: i32) -> String {
        state(status, exit_code).told(Timestamp::from_nanos(8_010_000_000_000))
    }

    fn state(status: ContainerStatus, exit_code: i32) -> ContainerState {
        let time = |seconds: i64| Some(Timestamp::from_nanos(seconds * 1_000_000_000));
        ContainerState {
            status,
            running: !matches!(status, ContainerStatus::Created | ContainerStatus::Exited),
            paused: status == ContainerStatus::Paused,
            restarting: status == ContainerStatus::Restarting,
            oom_killed: false,
            dead: status == ContainerStatus::Dead,
            pid: 0,
            exit_code,
            error: String::new(),
            started_at: time(1000),
            finished_at: if matches!(status, ContainerStatus::Exited | ContainerStatus::Restarting) {
                time(8000)
            } else {
                None
            },
            health: None,
            restarts: 0,
        }
    }

    #[test]
    fn a_status_tells_how_well_a_container_is() {
        for (status, text) in [
            (HealthStatus::Starting, "Up 2 hours (health: starting)"),
            (HealthStatus::Healthy, "Up 2 hours (healthy)"),
            (HealthStatus::Unhealthy, "Up 2 hours (unhealthy)"),
        ] {
            let mut state = state(ContainerStatus::Running, 0);
            state.health = Some(HealthState { status, failing_streak: 0, log: Vec::new() });
            assert_eq!(state.told(Timestamp::from_nanos(8_010_000_000_000)), text);
        }
    }

    #[test]
    fn a_status_tells_how_long_it_has_lasted() {
        assert_eq!(told(ContainerStatus::Running, 0), "Up 2 hours");
        assert_eq!(told(ContainerStatus::Paused, 0), "Up 2 hours (Paused)");
        assert_eq!(told(ContainerStatus::Restarting, 1), "Restarting (1) 10 seconds ago");
        assert_eq!(told(ContainerStatus::Exited, 137), "Exited (137) 10 seconds ago");
        assert_eq!(told(ContainerStatus::Created, 0), "Created");
        assert_eq!(told(ContainerStatus::Dead, 0), "Dead");
    }
}
