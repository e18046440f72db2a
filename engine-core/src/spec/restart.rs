//! Whether a container is started again when its program has ended.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// When a container is started again by itself. A user who stops it is obeyed under every policy.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum RestartPolicy {
    /// Never.
    #[default]
    No,
    /// When its program ends with another code than 0, at most so often in a row; 0 is any number of times.
    OnFailure {
        /// The most attempts.
        retries: u32,
    },
    /// Whenever its program ends, and when the host has started.
    Always,
    /// As [`RestartPolicy::Always`], but a container that a user stopped stays so when the host has started.
    UnlessStopped,
}

impl RestartPolicy {
    /// The policy's name without its number: `on-failure`.
    pub fn name(self) -> &'static str {
        match self {
            RestartPolicy::No => "no",
            RestartPolicy::OnFailure { .. } => "on-failure",
            RestartPolicy::Always => "always",
            RestartPolicy::UnlessStopped => "unless-stopped",
        }
    }

    /// The most attempts, 0 for any number.
    pub fn retries(self) -> u32 {
        match self {
            RestartPolicy::OnFailure { retries } => retries,
            _ => 0,
        }
    }
}

impl FromStr for RestartPolicy {
    type Err = Error;

    fn from_str(text: &str) -> Result<RestartPolicy> {
        let wrong = |reason: &str| {
            Error::invalid(format!("restart policy {text:?}"), reason)
                .with_remedy("use no, always, unless-stopped, on-failure or on-failure:N")
        };
        let (name, retries) = match text.split_once(':') {
            Some((name, number)) => {
                (name, Some(number.parse().map_err(|_| wrong("the number of retries is none"))?))
            }
            None => (text, None),
        };
        match (name, retries) {
            ("" | "no", None) => Ok(RestartPolicy::No),
            ("always", None) => Ok(RestartPolicy::Always),
            ("unless-stopped", None) => Ok(RestartPolicy::UnlessStopped),
            ("on-failure", retries) => Ok(RestartPolicy::OnFailure { retries: retries.unwrap_or(0) }),
            ("no" | "always" | "unless-stopped", Some(_)) => {
                Err(wrong("only on-failure has a number of retries"))
            }
            _ => Err(wrong("there is no such policy")),
        }
    }
}

impl fmt::Display for RestartPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RestartPolicy::OnFailure { retries } if *retries > 0 => write!(f, "on-failure:{retries}"),
            policy => f.write_str(policy.name()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn policies_are_read_and_written_as_docker_does() {
        for text in ["no", "always", "unless-stopped", "on-failure", "on-failure:3"] {
            assert_eq!(text.parse::<RestartPolicy>().expect(text).to_string(), text);
        }
        for text in ["never", "always:3", "on-failure:", "on-failure:-1", "on-failure:x"] {
            assert!(text.parse::<RestartPolicy>().is_err(), "{text}");
        }
    }
}
