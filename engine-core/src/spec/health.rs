//! How to tell whether a container is well.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// A command that tells, by its exit code, whether a container is well: 0 says so. What is left out is as the image
/// says, or as docker has it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct HealthSpec {
    /// The check.
    pub test: Option<HealthTest>,
    /// How long to wait between two checks; 30 seconds unless given.
    pub interval: Option<Duration>,
    /// How long a check may take before it counts as failed; 30 seconds unless given.
    pub timeout: Option<Duration>,
    /// For so long after the start a failure does not count; not at all unless given.
    pub start_period: Option<Duration>,
    /// How long to wait between two checks in that time; 5 seconds unless given.
    pub start_interval: Option<Duration>,
    /// So many failures in a row make it unhealthy; 3 unless given.
    pub retries: Option<u32>,
}

/// Whether a container is well.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum HealthStatus {
    /// No check has said so yet.
    Starting,
    /// The last check said so.
    Healthy,
    /// Too many checks in a row failed.
    Unhealthy,
}

impl HealthStatus {
    /// As docker writes it: `healthy`.
    pub fn as_str(self) -> &'static str {
        match self {
            HealthStatus::Starting => "starting",
            HealthStatus::Healthy => "healthy",
            HealthStatus::Unhealthy => "unhealthy",
        }
    }
}

/// What is run to check.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum HealthTest {
    /// Nothing, whatever the image says.
    None,
    /// A command and its arguments.
    Command(Vec<String>),
    /// A line for the container's shell.
    Shell(String),
}
