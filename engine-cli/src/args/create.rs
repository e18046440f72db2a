//! `run` and `create`: the flags that say what a container is to be.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;
use std::time::Duration;

use clap::{ArgAction, Args, Parser, ValueEnum};
use engine_core::ContainerName;
use engine_core::spec::{
    DeviceRate, DeviceSpec, DeviceWeight, ExtraHost, IpcMode, LinkSpec, MountSpec, NamespaceMode, Platform,
    PortSpec, RestartPolicy, Rlimit, Signal,
};

use super::container::signal;
use super::health::Health;
use super::image::platform;
use super::parse::env::pair;
use super::parse::network::{NetworkFlag, Stream, hardware_address, network, stream};
use super::parse::security::{SecurityOption, security_option};
use super::parse::time::patience;
use super::parse::{Parsed, device, env, mount, namespace, number, reason, size, tmpfs, ulimit, volume};
use super::unsupported::Unsupported;

/// Create and run a new container from an image
#[derive(Debug, Parser)]
pub(crate) struct Run {
    /// Run container in background and print container ID
    #[arg(short, long)]
    pub(crate) detach: bool,
    /// Override the key sequence for detaching a container
    #[arg(long)]
    pub(crate) detach_keys: Option<String>,
    /// Proxy received signals to the process (default true)
    #[arg(long, default_value = "true", action = ArgAction::SetTrue)]
    pub(crate) sig_proxy: bool,
    #[command(flatten)]
    pub(crate) container: Container,
}

/// Create a new container
#[derive(Debug, Parser)]
pub(crate) struct Create {
    #[command(flatten)]
    pub(crate) container: Container,
}

/// When to pull.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Pull {
    /// Every time.
    Always,
    /// When it is not in the store.
    Missing,
    /// Never.
    Never,
}

/// What the container is to be. In the order of the specification that it becomes.
#[derive(Debug, Args)]
pub(crate) struct Container {
    /// Run on a directory of the host instead of an image; with ":O" on a throw-away copy of it
    #[arg(long, value_name = "path[:O]")]
    pub(crate) rootfs: Option<String>,
    /// Pull image before running ("always", "missing", "never")
    #[arg(long)]
    pub(crate) pull: Option<Pull>,
    /// The platform, where the image is for several
    #[arg(long, value_parser = platform)]
    pub(crate) platform: Option<Platform>,
    /// Suppress the pull output
    #[arg(short, long)]
    pub(crate) quiet: bool,
    /// Write the container ID to the file
    #[arg(long)]
    pub(crate) cidfile: Option<PathBuf>,
    /// Assign a name to the container
    #[arg(long, value_parser = container_name)]
    pub(crate) name: Option<ContainerName>,
    /// Automatically remove the container and its associated anonymous volumes when it exits
    #[arg(long)]
    pub(crate) rm: bool,

    /// Attach to STDIN, STDOUT or STDERR
    #[arg(short, long, value_parser = stream)]
    pub(crate) attach: Vec<Stream>,
    /// Keep STDIN open even if not attached
    #[arg(short, long)]
    pub(crate) interactive: bool,
    /// Allocate a pseudo-TTY
    #[arg(short, long)]
    pub(crate) tty: bool,

    /// Overwrite the default ENTRYPOINT of the image
    #[arg(long)]
    pub(crate) entrypoint: Option<String>,
    /// Set environment variables
    #[arg(short, long, value_parser = env_variable)]
    pub(crate) env: Vec<String>,
    /// Read in a file of environment variables
    #[arg(long, value_parser = env_file)]
    pub(crate) env_file: Vec<super::container::Variables>,
    /// Working directory inside the container
    #[arg(short, long)]
    pub(crate) workdir: Option<String>,
    /// Username or UID (format: <name|uid>[:<group|gid>])
    #[arg(short, long)]
    pub(crate) user: Option<String>,
    /// Add additional groups to join
    #[arg(long)]
    pub(crate) group_add: Vec<String>,
    /// Container host name
    #[arg(short = 'h', long)]
    pub(crate) hostname: Option<String>,
    /// Container NIS domain name
    #[arg(long)]
    pub(crate) domainname: Option<String>,
    /// Set meta data on a container
    #[arg(short, long, value_parser = pair)]
    pub(crate) label: Vec<(String, String)>,
    /// Read in a line delimited file of labels
    #[arg(long, value_parser = label_file)]
    pub(crate) label_file: Vec<Labels>,
    /// Add an annotation to the container (passed through to the OCI runtime)
    #[arg(long, value_name = "map", value_parser = pair)]
    pub(crate) annotation: Vec<(String, String)>,
    /// Run an init inside the container that forwards signals and reaps processes
    #[arg(long)]
    pub(crate) init: bool,
    /// Signal to stop the container
    #[arg(long, value_parser = signal)]
    pub(crate) stop_signal: Option<Signal>,
    /// Timeout (in seconds) to stop a container
    #[arg(long, value_name = "int", value_parser = patience)]
    pub(crate) stop_timeout: Option<Duration>,
    /// Restart policy to apply when a container exits (default no)
    #[arg(long, value_name = "string", value_parser = restart)]
    pub(crate) restart: Option<RestartPolicy>,
    #[command(flatten)]
    pub(crate) health: Health,

    /// Runtime to use for this container
    #[arg(long)]
    pub(crate) runtime: Option<String>,

    #[command(flatten)]
    pub(crate) spaces: Spaces,
    #[command(flatten)]
    pub(crate) files: Files,
    #[command(flatten)]
    pub(crate) network: Network,
    #[command(flatten)]
    pub(crate) limits: Limits,
    #[command(flatten)]
    pub(crate) security: Security,
    #[command(flatten)]
    pub(crate) unsupported: Unsupported,

    /// The image, the command and its arguments.
    #[arg(
        trailing_var_arg = true,
        required_unless_present = "rootfs",
        value_name = "IMAGE [COMMAND] [ARG...]"
    )]
    pub(crate) words: Vec<String>,
}

/// Whose namespaces it is in.
#[derive(Debug, Args)]
pub(crate) struct Spaces {
    /// PID namespace to use
    #[arg(long, value_parser = namespace::pid)]
    pub(crate) pid: Option<NamespaceMode>,
    /// IPC mode to use
    #[arg(long, value_parser = namespace::ipc)]
    pub(crate) ipc: Option<IpcMode>,
    /// UTS namespace to use
    #[arg(long, value_parser = namespace::uts)]
    pub(crate) uts: Option<NamespaceMode>,
    /// Cgroup namespace to use (host|private)
    #[arg(long, value_parser = namespace::cgroup)]
    pub(crate) cgroupns: Option<NamespaceMode>,
}

/// Its files.
#[derive(Debug, Args)]
pub(crate) struct Files {
    /// Bind mount a volume
    #[arg(short, long, value_parser = volume_here)]
    pub(crate) volume: Vec<MountSpec>,
    /// Attach a filesystem mount to the container
    #[arg(long, value_name = "mount", value_parser = mount_here)]
    pub(crate) mount: Vec<MountSpec>,
    /// Mount a tmpfs directory
    #[arg(long, value_parser = tmpfs::tmpfs)]
    pub(crate) tmpfs: Vec<MountSpec>,
    /// Mount volumes from the specified container(s)
    #[arg(long)]
    pub(crate) volumes_from: Vec<String>,
    /// Optional volume driver for the container
    #[arg(long)]
    pub(crate) volume_driver: Option<String>,
    /// Mount the container's root filesystem as read only
    #[arg(long)]
    pub(crate) read_only: bool,
    /// Size of /dev/shm
    #[arg(long, value_name = "bytes", value_parser = size::size)]
    pub(crate) shm_size: Option<u64>,
    /// Logging driver for the container (json-file or none)
    #[arg(long)]
    pub(crate) log_driver: Option<String>,
    /// Log driver options
    #[arg(long, value_parser = pair)]
    pub(crate) log_opt: Vec<(String, String)>,
}

/// Its place in the network.
#[derive(Debug, Args)]
pub(crate) struct Network {
    /// Connect a container to a network
    #[arg(long, alias = "net", value_name = "network", value_parser = network)]
    pub(crate) network: Vec<NetworkFlag>,
    /// IPv4 address (e.g., 172.30.100.104)
    #[arg(long)]
    pub(crate) ip: Option<Ipv4Addr>,
    /// Add network-scoped alias for the container
    #[arg(long, alias = "net-alias")]
    pub(crate) network_alias: Vec<String>,
    /// IPv6 address (e.g., 2001:db8::33)
    #[arg(long)]
    pub(crate) ip6: Option<Ipv6Addr>,
    /// Container IPv4/IPv6 link-local addresses
    #[arg(long)]
    pub(crate) link_local_ip: Vec<IpAddr>,
    /// Container MAC address (e.g., 92:d0:c6:0a:29:33)
    #[arg(long, value_parser = hardware_address)]
    pub(crate) mac_address: Option<[u8; 6]>,
    /// Add link to another container
    #[arg(long, value_parser = link)]
    pub(crate) link: Vec<LinkSpec>,
    /// Publish a container's port(s) to the host
    #[arg(short, long, value_parser = ports)]
    pub(crate) publish: Vec<Ports>,
    /// Publish all exposed ports to random ports
    #[arg(short = 'P', long)]
    pub(crate) publish_all: bool,
    /// Expose a port or a range of ports (to be published, use --publish)
    #[arg(long, value_parser = exposed)]
    pub(crate) expose: Vec<Ports>,
    /// Set custom DNS servers
    #[arg(long)]
    pub(crate) dns: Vec<IpAddr>,
    /// Set DNS options
    #[arg(long, alias = "dns-opt")]
    pub(crate) dns_option: Vec<String>,
    /// Set custom DNS search domains
    #[arg(long)]
    pub(crate) dns_search: Vec<String>,
    /// Add a custom host-to-IP mapping (host:ip)
    #[arg(long, value_parser = extra_host)]
    pub(crate) add_host: Vec<ExtraHost>,
}

/// Its limits.
#[derive(Debug, Args)]
pub(crate) struct Limits {
    /// Memory limit
    #[arg(short, long, value_name = "bytes", value_parser = size::size)]
    pub(crate) memory: Option<u64>,
    /// Swap limit equal to memory plus swap: '-1' to enable unlimited swap
    #[arg(long, value_name = "bytes", value_parser = size::size_or_unlimited)]
    pub(crate) memory_swap: Option<i64>,
    /// Memory soft limit
    #[arg(long, value_name = "bytes", value_parser = size::size)]
    pub(crate) memory_reservation: Option<u64>,
    /// Tune container memory swappiness (0 to 100) (default -1)
    #[arg(long, value_name = "int", default_value = "-1", value_parser = number::swappiness)]
    pub(crate) memory_swappiness: Swappiness,
    /// Disable OOM Killer
    #[arg(long)]
    pub(crate) oom_kill_disable: bool,
    /// Tune host's OOM preferences (-1000 to 1000)
    #[arg(long, value_name = "int", value_parser = number::oom_score)]
    pub(crate) oom_score_adj: Option<i32>,
    /// Number of CPUs
    #[arg(long, value_name = "decimal", value_parser = number::cpus)]
    pub(crate) cpus: Option<u64>,
    /// CPU shares (relative weight)
    #[arg(short = 'c', long, value_name = "int")]
    pub(crate) cpu_shares: Option<u64>,
    /// Limit CPU CFS (Completely Fair Scheduler) period
    #[arg(long, value_name = "int")]
    pub(crate) cpu_period: Option<u64>,
    /// Limit CPU CFS (Completely Fair Scheduler) quota
    #[arg(long, value_name = "int")]
    pub(crate) cpu_quota: Option<i64>,
    /// Limit CPU real-time period in microseconds
    #[arg(long, value_name = "int")]
    pub(crate) cpu_rt_period: Option<u64>,
    /// Limit CPU real-time runtime in microseconds
    #[arg(long, value_name = "int")]
    pub(crate) cpu_rt_runtime: Option<i64>,
    /// CPUs in which to allow execution (0-3, 0,1)
    #[arg(long)]
    pub(crate) cpuset_cpus: Option<String>,
    /// MEMs in which to allow execution (0-3, 0,1)
    #[arg(long)]
    pub(crate) cpuset_mems: Option<String>,
    /// Tune container pids limit (set -1 for unlimited)
    #[arg(long, value_name = "int")]
    pub(crate) pids_limit: Option<i64>,
    /// Block IO (relative weight), between 10 and 1000, or 0 to disable (default 0)
    #[arg(long, value_name = "uint16", default_value = "0", value_parser = number::weight)]
    pub(crate) blkio_weight: Weight,
    /// Block IO weight (relative device weight)
    #[arg(long, value_parser = device::weight)]
    pub(crate) blkio_weight_device: Vec<DeviceWeight>,
    /// Limit read rate (bytes per second) from a device
    #[arg(long, value_parser = device::bytes_rate)]
    pub(crate) device_read_bps: Vec<DeviceRate>,
    /// Limit write rate (bytes per second) to a device
    #[arg(long, value_parser = device::bytes_rate)]
    pub(crate) device_write_bps: Vec<DeviceRate>,
    /// Limit read rate (IO per second) from a device
    #[arg(long, value_parser = device::operations_rate)]
    pub(crate) device_read_iops: Vec<DeviceRate>,
    /// Limit write rate (IO per second) to a device
    #[arg(long, value_parser = device::operations_rate)]
    pub(crate) device_write_iops: Vec<DeviceRate>,
    /// Ulimit options
    #[arg(long, value_name = "ulimit", value_parser = ulimit::ulimit)]
    pub(crate) ulimit: Vec<Rlimit>,
    /// Optional parent cgroup for the container
    #[arg(long)]
    pub(crate) cgroup_parent: Option<String>,
}

/// Its confinement.
#[derive(Debug, Args)]
pub(crate) struct Security {
    /// Give extended privileges to this container
    #[arg(long)]
    pub(crate) privileged: bool,
    /// Add Linux capabilities
    #[arg(long)]
    pub(crate) cap_add: Vec<String>,
    /// Drop Linux capabilities
    #[arg(long)]
    pub(crate) cap_drop: Vec<String>,
    /// Security Options
    #[arg(long, value_parser = security_option)]
    pub(crate) security_opt: Vec<SecurityOption>,
    /// Add a host device to the container
    #[arg(long, value_parser = device::device)]
    pub(crate) device: Vec<DeviceSpec>,
    /// Add a rule to the cgroup allowed devices list
    #[arg(long)]
    pub(crate) device_cgroup_rule: Vec<String>,
    /// Sysctl options
    #[arg(long, value_name = "map", value_parser = pair)]
    pub(crate) sysctl: Vec<(String, String)>,
}

// Aliases, so that the parser's macro takes the types as they are.
/// The ports of one `-p`.
pub(crate) type Ports = Vec<PortSpec>;
/// The labels of one file.
pub(crate) type Labels = Vec<(String, String)>;
/// Swappiness, unless the kernel is to decide.
pub(crate) type Swappiness = Option<u64>;
/// A weight, unless the kernel is to decide.
pub(crate) type Weight = Option<u16>;

pub(super) fn restart(text: &str) -> Parsed<RestartPolicy> {
    text.parse().map_err(reason)
}

fn container_name(text: &str) -> Parsed<ContainerName> {
    text.strip_prefix('/').unwrap_or(text).parse().map_err(reason)
}

fn link(text: &str) -> Parsed<LinkSpec> {
    text.parse().map_err(reason)
}

fn extra_host(text: &str) -> Parsed<ExtraHost> {
    text.parse().map_err(reason)
}

fn ports(text: &str) -> Parsed<Ports> {
    if !text.contains('=') {
        return PortSpec::parse(text).map_err(reason);
    }
    // The long form: published=8080,target=80,protocol=tcp.
    let (mut published, mut target, mut protocol) = (String::new(), String::new(), "tcp".to_owned());
    for field in super::parse::csv::fields(text)? {
        match field.split_once('=') {
            Some(("published", value)) => published = value.to_owned(),
            Some(("target", value)) => target = value.to_owned(),
            Some(("protocol", value)) => protocol = value.to_owned(),
            Some(("mode", _)) => {}
            _ => return Err(format!("{field:?} is not known; use published=, target= and protocol=")),
        }
    }
    let short = if published.is_empty() { target } else { format!("{published}:{target}") };
    PortSpec::parse(&format!("{short}/{protocol}")).map_err(reason)
}

fn exposed(text: &str) -> Parsed<Ports> {
    if text.contains(':') {
        return Err("exposed ports have no host part; use --publish".to_owned());
    }
    PortSpec::parse(text).map_err(reason)
}

fn host_variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// A flag's variable, with the value of this process where it has none of its own.
pub(crate) fn env_variable(text: &str) -> Parsed<String> {
    env::variable(text, host_variable)
}

fn file(path: &str) -> Parsed<Vec<u8>> {
    std::fs::read(path).map_err(|e| format!("{path}: {e}"))
}

/// A file of variables, with the values of this process where they have none of their own.
pub(crate) fn env_file(path: &str) -> Parsed<super::container::Variables> {
    env::variables(&file(path)?, host_variable).map_err(|e| format!("{path}: {e}"))
}

fn label_file(path: &str) -> Parsed<Labels> {
    env::labels(&file(path)?).map_err(|e| format!("{path}: {e}"))
}

fn here() -> Parsed<PathBuf> {
    std::env::current_dir().map_err(|e| format!("the working directory: {e}"))
}

fn volume_here(text: &str) -> Parsed<MountSpec> {
    volume::volume(text, &here()?)
}

fn mount_here(text: &str) -> Parsed<MountSpec> {
    mount::mount(text, &here()?)
}
