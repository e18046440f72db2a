//! What to wait for.

use std::fmt;
use std::str::FromStr;

use crate::error::{Error, Result};

/// What of a container to wait for, in docker's words.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum WaitCondition {
    /// Until it does not run; that may be so already.
    #[default]
    NotRunning,
    /// Until its program ends the next time, which may have to be started first.
    NextExit,
    /// Until it is gone.
    Removed,
}

impl WaitCondition {
    const ALL: [WaitCondition; 3] =
        [WaitCondition::NotRunning, WaitCondition::NextExit, WaitCondition::Removed];

    /// As docker writes it: `not-running`.
    pub fn as_str(self) -> &'static str {
        match self {
            WaitCondition::NotRunning => "not-running",
            WaitCondition::NextExit => "next-exit",
            WaitCondition::Removed => "removed",
        }
    }
}

impl fmt::Display for WaitCondition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for WaitCondition {
    type Err = Error;

    fn from_str(text: &str) -> Result<WaitCondition> {
        WaitCondition::ALL.into_iter().find(|condition| condition.as_str() == text).ok_or_else(|| {
            Error::invalid(format!("condition {text:?}"), "there is none of that name")
                .with_remedy("use not-running, next-exit or removed")
        })
    }
}
