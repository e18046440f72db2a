//! Confinement.

use serde::{Deserialize, Serialize};

/// How a container is confined. The default is Docker's default.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct SecuritySpec {
    /// Give it nearly everything the host's root has: all capabilities, all devices, no seccomp, no masks.
    pub privileged: bool,
    /// Capabilities on top of the default fourteen; with or without `CAP_`, in either case, or `ALL`.
    pub cap_add: Vec<String>,
    /// Capabilities taken away.
    pub cap_drop: Vec<String>,
    /// Which system calls it may make.
    pub seccomp: Seccomp,
    /// Programs inside cannot gain privileges by set-user-ID files or file capabilities.
    pub no_new_privileges: bool,
    /// Leave nothing of `/proc` and `/sys` masked or read-only.
    pub unmask_system_paths: bool,
    /// Its control groups are writable inside. For control groups of version 2.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub writable_cgroups: bool,
    /// The profile of AppArmor that confines it. The engine has none: on a host with AppArmor only `unconfined` can be
    /// had, and on one without it means nothing, as with docker.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub apparmor: Option<String>,
    /// Options of SELinux for its labels, likewise: on a host with SELinux only `disable` can be had.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub labels: Vec<String>,
    /// Devices of the host it may use.
    pub devices: Vec<DeviceSpec>,
    /// Further rules for devices, as `--device-cgroup-rule` takes them: `c 1:3 mr`.
    pub device_rules: Vec<String>,
}

/// Which system calls a container may make.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Seccomp {
    /// Docker's default profile.
    #[default]
    Default,
    /// All of them.
    Unconfined,
    /// Those of this profile, a JSON document in Docker's format.
    Profile(String),
}

/// A device of the host, given to a container.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceSpec {
    /// Its file on the host. A directory stands for all the devices in it.
    pub host: String,
    /// Its file in the container.
    pub container: String,
    /// What is allowed: letters out of `r`, `w` and `m` (make).
    pub permissions: String,
}
