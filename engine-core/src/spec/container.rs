//! A container to create.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{
    DnsSpec, EndpointSpec, ExtraHost, HealthSpec, IpcMode, LinkSpec, MountSpec, NamespaceMode, NetworkMode,
    Platform, PortSpec, Resources, RestartPolicy, SecuritySpec, Signal, TerminalSize,
};
use crate::id::ContainerName;

/// A container to create: where its files come from, what runs in it, what it may do and use.
///
/// ```
/// use engine_core::ContainerSpec;
///
/// let spec = ContainerSpec::image("alpine:3.20").command(["sleep", "60"]).env("MODE", "demo").publish(8080, 80);
/// ```
#[derive(Clone, Debug, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ContainerSpec {
    /// Where its files come from.
    pub root: RootSource,
    /// When to ask the registry for the image.
    #[serde(default)]
    pub pull: PullPolicy,
    /// The platform of the image; this host's unless given.
    #[serde(default)]
    pub platform: Option<Platform>,
    /// Its name; one is made up unless given.
    #[serde(default)]
    pub name: Option<ContainerName>,
    /// What the command is given to, in place of the image's entry point; an empty list takes that away.
    #[serde(default)]
    pub entrypoint: Option<Vec<String>>,
    /// The command and its arguments, in place of the image's.
    #[serde(default)]
    pub command: Vec<String>,
    /// `KEY=value`, on top of the image's; `KEY` alone takes a variable away.
    #[serde(default)]
    pub env: Vec<String>,
    /// Where the command runs, in place of the image's working directory. Made if it does not exist.
    #[serde(default)]
    pub working_dir: Option<String>,
    /// `user[:group]`, by name or number, in place of the image's.
    #[serde(default)]
    pub user: Option<String>,
    /// Further groups of the user, by name or number.
    #[serde(default)]
    pub group_add: Vec<String>,
    /// Its host name; the first twelve digits of its identifier unless given.
    #[serde(default)]
    pub hostname: Option<String>,
    /// Its domain name.
    #[serde(default)]
    pub domainname: Option<String>,
    /// Labels, on top of the image's.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// Annotations, handed to the runtime.
    #[serde(default)]
    pub annotations: BTreeMap<String, String>,
    /// Run the command on a terminal.
    #[serde(default)]
    pub terminal: bool,
    /// The terminal's first size.
    #[serde(default)]
    pub terminal_size: Option<TerminalSize>,
    /// Keep standard input open, attached or not.
    #[serde(default)]
    pub open_stdin: bool,
    /// Close standard input when the first client that was attached to it goes.
    #[serde(default)]
    pub stdin_once: bool,
    /// Volumes, bind mounts and file systems in memory.
    #[serde(default)]
    pub mounts: Vec<MountSpec>,
    /// Containers whose volumes and bind mounts it has too: `NAME[:ro|rw]`.
    #[serde(default, skip_serializing_if = "is_default")]
    pub volumes_from: Vec<String>,
    /// The root file system is read-only.
    #[serde(default)]
    pub read_only: bool,
    /// Where it stands in the network.
    #[serde(default)]
    pub network: NetworkMode,
    /// What it asks of its place in the network.
    #[serde(default, skip_serializing_if = "is_default")]
    pub endpoint: EndpointSpec,
    /// Running containers of the same network that it is told the addresses of.
    #[serde(default, skip_serializing_if = "is_default")]
    pub links: Vec<LinkSpec>,
    /// Published ports.
    #[serde(default)]
    pub ports: Vec<PortSpec>,
    /// Publish every port that the image exposes on a free port of the host.
    #[serde(default)]
    pub publish_all: bool,
    /// Name servers, in place of the host's.
    #[serde(default)]
    pub dns: DnsSpec,
    /// Further lines for `/etc/hosts`.
    #[serde(default)]
    pub extra_hosts: Vec<ExtraHost>,
    /// Whose processes it sees.
    #[serde(default, skip_serializing_if = "is_default")]
    pub pid: NamespaceMode,
    /// Which IPC objects it sees.
    #[serde(default, skip_serializing_if = "is_default")]
    pub ipc: IpcMode,
    /// Whose host name it has.
    #[serde(default, skip_serializing_if = "is_default")]
    pub uts: NamespaceMode,
    /// Whose control groups it sees.
    #[serde(default, skip_serializing_if = "is_default")]
    pub cgroupns: NamespaceMode,
    /// The runtime that runs it, by name; the engine's own unless given.
    #[serde(default, skip_serializing_if = "is_default")]
    pub runtime: Option<String>,
    /// Limits.
    #[serde(default)]
    pub resources: Resources,
    /// The group in the cgroup tree that its own group is made in; `/engine` unless given.
    #[serde(default)]
    pub cgroup_parent: Option<String>,
    /// Confinement.
    #[serde(default)]
    pub security: SecuritySpec,
    /// Kernel settings of its own namespaces.
    #[serde(default)]
    pub sysctls: BTreeMap<String, String>,
    /// Bytes of `/dev/shm`; 64 MiB unless given.
    #[serde(default)]
    pub shm_size: Option<u64>,
    /// How readily the kernel kills it when the host runs out of memory, -1000 to 1000.
    #[serde(default)]
    pub oom_score_adj: Option<i32>,
    /// Run a small init as process 1, which reaps orphans and forwards signals.
    #[serde(default)]
    pub init: bool,
    /// What stop sends first, in place of the image's; SIGTERM unless either says.
    #[serde(default)]
    pub stop_signal: Option<Signal>,
    /// How long stop waits before SIGKILL; ten seconds unless given.
    #[serde(default)]
    pub stop_timeout: Option<Duration>,
    /// Whether it is started again when its program has ended.
    #[serde(default, skip_serializing_if = "is_default")]
    pub restart: RestartPolicy,
    /// How to tell whether it is well, on top of what the image says.
    #[serde(default, skip_serializing_if = "is_default")]
    pub health: HealthSpec,
    /// Remove it, with its anonymous volumes, when it has stopped.
    #[serde(default)]
    pub auto_remove: bool,
    /// What the end of the program that starts it means for it.
    #[serde(default)]
    pub lifetime: Lifetime,
    /// What becomes of its output.
    #[serde(default)]
    pub log: LogSpec,
}

/// Where a container's files come from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum RootSource {
    /// An image, by reference, identifier or the beginning of an identifier.
    Image(String),
    /// A directory of the host.
    Directory {
        /// An absolute path.
        path: PathBuf,
        /// Leave the directory as it is: what the container writes goes to a layer of its own.
        overlay: bool,
    },
}

/// When to ask the registry for an image.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PullPolicy {
    /// When it is not in the store.
    #[default]
    Missing,
    /// Every time.
    Always,
    /// Never.
    Never,
}

/// What the end of the program that starts a container means for it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Lifetime {
    /// Nothing: the container goes on, and any other process can control it through the same store.
    #[default]
    Detached,
    /// The container is killed, however the program ended, `kill -9` included. For tests and sandboxes.
    WithEngine,
}

/// What becomes of a container's output.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogSpec {
    /// `json-file`, `local`, `journald` or `none`.
    pub driver: String,
    /// Options of the driver, docker's: `max-size`, `max-file`, `compress`, `labels`, `env`, `tag`.
    #[serde(default)]
    pub options: BTreeMap<String, String>,
}

impl Default for LogSpec {
    fn default() -> LogSpec {
        LogSpec { driver: "json-file".into(), options: BTreeMap::new() }
    }
}

/// Most containers leave most of a wish out; their records should not be longer for what they might have asked for.
fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

impl ContainerSpec {
    fn from_root(root: RootSource) -> ContainerSpec {
        ContainerSpec {
            root,
            pull: PullPolicy::default(),
            platform: None,
            name: None,
            entrypoint: None,
            command: Vec::new(),
            env: Vec::new(),
            working_dir: None,
            user: None,
            group_add: Vec::new(),
            hostname: None,
            domainname: None,
            labels: BTreeMap::new(),
            annotations: BTreeMap::new(),
            terminal: false,
            terminal_size: None,
            open_stdin: false,
            stdin_once: false,
            mounts: Vec::new(),
            volumes_from: Vec::new(),
            read_only: false,
            network: NetworkMode::default(),
            endpoint: EndpointSpec::default(),
            links: Vec::new(),
            ports: Vec::new(),
            publish_all: false,
            dns: DnsSpec::default(),
            extra_hosts: Vec::new(),
            pid: NamespaceMode::default(),
            ipc: IpcMode::default(),
            uts: NamespaceMode::default(),
            cgroupns: NamespaceMode::default(),
            runtime: None,
            resources: Resources::default(),
            cgroup_parent: None,
            security: SecuritySpec::default(),
            sysctls: BTreeMap::new(),
            shm_size: None,
            oom_score_adj: None,
            init: false,
            stop_signal: None,
            stop_timeout: None,
            restart: RestartPolicy::default(),
            health: HealthSpec::default(),
            auto_remove: false,
            lifetime: Lifetime::default(),
            log: LogSpec::default(),
        }
    }

    /// A container of an image, by reference, identifier or the beginning of an identifier.
    pub fn image(image: impl Into<String>) -> ContainerSpec {
        ContainerSpec::from_root(RootSource::Image(image.into()))
    }

    /// A container on a directory of the host, which it writes to.
    pub fn directory(path: impl Into<PathBuf>) -> ContainerSpec {
        ContainerSpec::from_root(RootSource::Directory { path: path.into(), overlay: false })
    }

    /// A container on a throw-away copy of a directory of the host. `/` is a fine directory: a sandbox of this very
    /// host, with nothing to download.
    pub fn overlay(path: impl Into<PathBuf>) -> ContainerSpec {
        ContainerSpec::from_root(RootSource::Directory { path: path.into(), overlay: true })
    }

    /// Sets the name.
    #[must_use]
    pub fn name(mut self, name: ContainerName) -> ContainerSpec {
        self.name = Some(name);
        self
    }

    /// Sets the command and its arguments.
    #[must_use]
    pub fn command<I>(mut self, command: I) -> ContainerSpec
    where
        I: IntoIterator,
        I::Item: Into<String>,
    {
        self.command = command.into_iter().map(Into::into).collect();
        self
    }

    /// Sets a variable of the environment.
    #[must_use]
    pub fn env(mut self, key: &str, value: &str) -> ContainerSpec {
        self.env.push(format!("{key}={value}"));
        self
    }

    /// Publishes TCP port `container` on port `host` of every address of the host.
    #[must_use]
    pub fn publish(mut self, host: u16, container: u16) -> ContainerSpec {
        self.ports.push(PortSpec::tcp(host, container));
        self
    }

    /// Mounts something.
    #[must_use]
    pub fn mount(mut self, mount: MountSpec) -> ContainerSpec {
        self.mounts.push(mount);
        self
    }

    /// Sets the place in the network.
    #[must_use]
    pub fn network(mut self, network: NetworkMode) -> ContainerSpec {
        self.network = network;
        self
    }

    /// Limits its memory to `bytes`.
    #[must_use]
    pub fn memory(mut self, bytes: u64) -> ContainerSpec {
        self.resources.memory = Some(bytes);
        self
    }

    /// Removes it, with its anonymous volumes, when it has stopped.
    #[must_use]
    pub fn auto_remove(mut self) -> ContainerSpec {
        self.auto_remove = true;
        self
    }

    /// Sets what the end of the program that starts it means for it.
    #[must_use]
    pub fn lifetime(mut self, lifetime: Lifetime) -> ContainerSpec {
        self.lifetime = lifetime;
        self
    }
}
