//! Volumes, bind mounts and tmpfs, as `-v`, `--mount` and `--tmpfs` ask for them.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::id::VolumeName;

/// Something mounted into a container.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MountSpec {
    /// Where it appears: an absolute path in the container, other than `/`.
    pub target: String,
    /// Whether it is read-only inside. For a bind mount that holds for the mounts below it too.
    pub read_only: bool,
    /// What it is.
    pub kind: MountKind,
}

impl MountSpec {
    /// The named volume `name` at `target`, writable.
    pub fn volume(name: VolumeName, target: impl Into<String>) -> MountSpec {
        let volume = VolumeMountSpec { name: Some(name), ..VolumeMountSpec::default() };
        MountSpec { target: target.into(), read_only: false, kind: MountKind::Volume(volume) }
    }

    /// The host's `source` at `target`, writable.
    pub fn bind(source: impl Into<PathBuf>, target: impl Into<String>) -> MountSpec {
        MountSpec { target: target.into(), read_only: false, kind: MountKind::Bind(BindSpec::new(source)) }
    }

    /// An empty file system in memory at `target`.
    pub fn tmpfs(target: impl Into<String>) -> MountSpec {
        MountSpec { target: target.into(), read_only: false, kind: MountKind::Tmpfs(TmpfsSpec::default()) }
    }

    /// The same mount, read-only.
    #[must_use]
    pub fn read_only(mut self) -> MountSpec {
        self.read_only = true;
        self
    }
}

/// What is mounted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum MountKind {
    /// A volume of the engine.
    Volume(VolumeMountSpec),
    /// A directory or file of the host.
    Bind(BindSpec),
    /// A file system in memory.
    Tmpfs(TmpfsSpec),
}

/// A volume of the engine. It is created if it does not exist.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct VolumeMountSpec {
    /// Its name; an anonymous volume, which goes with the container, unless given.
    pub name: Option<VolumeName>,
    /// Do not copy the image's content at the target into the volume while it is empty.
    pub no_copy: bool,
    /// The part of it that is mounted, a path in it that is there; all of it unless given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subpath: Option<String>,
    /// The driver for a volume that has to be created; `local` unless given.
    pub driver: Option<String>,
    /// Options of the driver for a volume that has to be created.
    pub options: BTreeMap<String, String>,
    /// Labels for a volume that has to be created.
    pub labels: BTreeMap<String, String>,
}

/// A directory or file of the host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct BindSpec {
    /// An absolute path of the host.
    pub source: PathBuf,
    /// Make the source as an empty directory if it does not exist, as `-v` does and `--mount` does not.
    pub create_source: bool,
    /// How mounts made later on either side travel to the other.
    pub propagation: Propagation,
    /// Whether mounts below the source come along.
    pub recursive: bool,
    /// A read-only mount leaves the mounts below it as they are.
    #[serde(default)]
    pub writable_below: bool,
}

impl BindSpec {
    /// The host's `source`, which must exist, with the mounts below it.
    pub fn new(source: impl Into<PathBuf>) -> BindSpec {
        BindSpec {
            source: source.into(),
            create_source: false,
            propagation: Propagation::Private,
            recursive: true,
            writable_below: false,
        }
    }
}

/// How mounts travel between the host and a bind mount (mount_namespaces(7)).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Propagation {
    /// Not at all.
    #[default]
    Private,
    /// From the host into the container.
    Slave,
    /// Both ways.
    Shared,
}

/// A file system in memory.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct TmpfsSpec {
    /// At most so many bytes; half of the host's memory unless given.
    pub size: Option<u64>,
    /// The permissions of its root; 1777 unless given.
    pub mode: Option<u32>,
    /// Whether programs on it can be executed. Docker's default is no for `--tmpfs`, yes for `--mount`.
    pub exec: bool,
    /// The owner of its root.
    pub uid: Option<u32>,
    /// The group of its root.
    pub gid: Option<u32>,
}
