//! Which namespaces a container shares, and with whom.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// Whose namespaces of one kind a container is in.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum NamespaceMode {
    /// Its own.
    #[default]
    Private,
    /// The host's.
    Host,
    /// Those of another container, by name or identifier.
    Container(String),
}

/// Which System V IPC objects and POSIX message queues a container sees, and what is its `/dev/shm`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum IpcMode {
    /// Its own; no other container may share them.
    #[default]
    Private,
    /// Its own; other containers may share them.
    Shareable,
    /// Its own, without a `/dev/shm`.
    None,
    /// The host's.
    Host,
    /// Those of another container, by name or identifier.
    Container(String),
}

/// The rest of `container:NAME`, if the text is such.
fn of_container<'a>(noun: &str, text: &'a str) -> Result<Option<&'a str>> {
    match text.strip_prefix("container:") {
        Some("") => Err(Error::invalid(format!("{noun} mode {text:?}"), "it names no container")),
        rest => Ok(rest),
    }
}

impl NamespaceMode {
    /// The mode that `text` names for the namespace that is called `noun`. Docker takes `private` for some of them
    /// and an empty text for all.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`](crate::ErrorKind::InvalidInput) for a mode that there is not.
    pub fn parse(noun: &str, text: &str) -> Result<NamespaceMode> {
        match text {
            "" | "private" => Ok(NamespaceMode::Private),
            "host" => Ok(NamespaceMode::Host),
            _ => match of_container(noun, text)? {
                Some(name) => Ok(NamespaceMode::Container(name.to_owned())),
                None => Err(Error::invalid(format!("{noun} mode {text:?}"), "there is no such mode")
                    .with_remedy("use host, private or container:NAME")),
            },
        }
    }
}

impl fmt::Display for NamespaceMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NamespaceMode::Private => f.write_str("private"),
            NamespaceMode::Host => f.write_str("host"),
            NamespaceMode::Container(name) => write!(f, "container:{name}"),
        }
    }
}

impl FromStr for IpcMode {
    type Err = Error;

    fn from_str(text: &str) -> Result<IpcMode> {
        match text {
            "" | "private" => Ok(IpcMode::Private),
            "shareable" => Ok(IpcMode::Shareable),
            "none" => Ok(IpcMode::None),
            "host" => Ok(IpcMode::Host),
            _ => match of_container("IPC", text)? {
                Some(name) => Ok(IpcMode::Container(name.to_owned())),
                None => Err(Error::invalid(format!("IPC mode {text:?}"), "there is no such mode")
                    .with_remedy("use private, shareable, none, host or container:NAME")),
            },
        }
    }
}

impl fmt::Display for IpcMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            IpcMode::Private => f.write_str("private"),
            IpcMode::Shareable => f.write_str("shareable"),
            IpcMode::None => f.write_str("none"),
            IpcMode::Host => f.write_str("host"),
            IpcMode::Container(name) => write!(f, "container:{name}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes_are_read_and_written_as_docker_does() {
        for text in ["private", "host", "container:web"] {
            assert_eq!(NamespaceMode::parse("PID", text).expect(text).to_string(), text);
        }
        for text in ["private", "shareable", "none", "host", "container:web"] {
            assert_eq!(text.parse::<IpcMode>().expect(text).to_string(), text);
        }
        let error = NamespaceMode::parse("PID", "container:").expect_err("names nobody");
        assert!(error.to_string().contains("PID mode"), "{error}");
        assert!("shared".parse::<IpcMode>().is_err());
    }
}
