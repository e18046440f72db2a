//! Ending and removing a container.

use std::time::Duration;

use super::Signal;

/// How to stop a container.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StopSpec {
    /// What to send first; what the container itself says unless given.
    pub signal: Option<Signal>,
    /// How long to wait before SIGKILL; what the container itself says unless given. `Duration::MAX` is for ever.
    pub timeout: Option<Duration>,
}

/// How to remove a container.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RemoveSpec {
    /// Kill it if it runs.
    pub force: bool,
    /// Remove its anonymous volumes too.
    pub volumes: bool,
}
