//! The flags of `run` and `create` as the specification that they ask for.

use std::path::PathBuf;

use engine_core::spec::{
    AttachSpec, ContainerSpec, DnsSpec, HealthSpec, HealthTest, LogSpec, MountKind, MountSpec, NetworkMode,
    PullPolicy, Resources, RestartPolicy, Seccomp, SecuritySpec,
};
use engine_core::{Error, ErrorKind};

use crate::args::create::{Container, Limits, Network, Pull, Security};
use crate::args::health::Health;
use crate::args::parse::network::Stream;
use crate::args::parse::security::SecurityOption;
use crate::args::parse::time::Negative;
use crate::args::parse::volume::absolute_source;
use crate::attach::terminal;
use crate::exit::Failure;

/// A container that was asked for, and what the command line itself needs to know of it.
#[derive(Debug)]
pub(super) struct Wish {
    /// The container.
    pub(super) spec: ContainerSpec,
    /// The image as it was named.
    pub(super) image: Option<String>,
    /// The streams to attach to.
    pub(super) streams: AttachSpec,
    /// Where to write its identifier.
    pub(super) cidfile: Option<PathBuf>,
    /// Say nothing of a pull.
    pub(super) quiet: bool,
}

/// The container that the flags ask for. `environment` comes from the user's configuration, and gives way to the
/// flags.
///
/// # Errors
/// Flags that contradict each other, or that this engine does not have.
pub(super) fn wish(args: Container, detach: bool, environment: Vec<String>) -> Result<Wish, Failure> {
    args.unsupported.check()?;
    let restart = args.restart.unwrap_or_default();
    if args.rm && restart != RestartPolicy::No {
        return Err(Failure::new("conflicting options: cannot specify both --restart and --rm"));
    }
    if detach && !args.attach.is_empty() {
        return Err(Failure::new("conflicting options: cannot specify both --attach and --detach"));
    }
    let wants = |stream| args.attach.contains(&stream);
    let streams = match (detach, args.attach.is_empty()) {
        (true, _) => AttachSpec::new(false, false, false),
        (false, true) => AttachSpec::new(args.interactive, true, true),
        // Standard input is kept open only with -i, and attached to whenever it is.
        (false, false) => AttachSpec::new(args.interactive, wants(Stream::Stdout), wants(Stream::Stderr)),
    };

    let mut words = args.words.into_iter();
    let (mut spec, image) = match &args.rootfs {
        Some(path) => (directory(path)?, None),
        None => {
            let image = words.next().unwrap_or_default();
            (ContainerSpec::image(image.clone()), Some(image))
        }
    };
    spec.pull = match args.pull {
        Some(Pull::Always) => PullPolicy::Always,
        Some(Pull::Never) => PullPolicy::Never,
        Some(Pull::Missing) | None => PullPolicy::Missing,
    };
    spec.platform = args.platform;
    spec.name = args.name;
    spec.auto_remove = args.rm;

    // A single word; an empty one takes the image's entry point away.
    spec.entrypoint = args.entrypoint.map(|word| if word.is_empty() { Vec::new() } else { vec![word] });
    spec.command = words.collect();
    spec.env = merged(environment, args.env_file.into_iter().flatten().chain(args.env).collect());
    spec.working_dir = args.workdir.filter(|path| !path.is_empty());
    spec.user = args.user.filter(|user| !user.is_empty());
    spec.group_add = args.group_add;
    spec.hostname = args.hostname;
    spec.domainname = args.domainname;
    spec.labels = args.label_file.into_iter().flatten().chain(args.label).collect();
    spec.annotations = args.annotation.into_iter().collect();
    spec.init = args.init;
    spec.stop_signal = args.stop_signal;
    spec.stop_timeout = args.stop_timeout;
    spec.restart = restart;
    spec.health = health(args.health)?;

    spec.terminal = args.tty;
    spec.terminal_size = if args.tty { terminal::size() } else { None };
    spec.open_stdin = args.interactive;
    spec.stdin_once = streams.stdin;

    let files = args.files;
    let driver = files.volume_driver.filter(|driver| !driver.is_empty());
    let volumes = files.volume.into_iter().map(|mount| driven_by(mount, driver.as_deref()));
    spec.mounts = volumes.chain(files.mount).chain(files.tmpfs).collect();
    spec.read_only = files.read_only;
    spec.shm_size = files.shm_size;
    let options = files.log_opt.into_iter().collect();
    spec.log = match files.log_driver.filter(|driver| !driver.is_empty()) {
        Some(driver) => LogSpec { driver, options },
        None => LogSpec { options, ..LogSpec::default() },
    };

    spec.volumes_from = files.volumes_from;
    spec.runtime = args.runtime.filter(|name| !name.is_empty());
    spec.pid = args.spaces.pid.unwrap_or_default();
    spec.ipc = args.spaces.ipc.unwrap_or_default();
    spec.uts = args.spaces.uts.unwrap_or_default();
    spec.cgroupns = args.spaces.cgroupns.unwrap_or_default();

    network(&mut spec, args.network)?;
    spec.oom_score_adj = args.limits.oom_score_adj;
    spec.cgroup_parent = args.limits.cgroup_parent.clone().filter(|path| !path.is_empty());
    spec.resources = limits(args.limits);
    spec.sysctls = args.security.sysctl.iter().cloned().collect();
    spec.security = security(args.security)?;

    Ok(Wish { spec, image, streams, cidfile: args.cidfile, quiet: args.quiet })
}

/// `PATH`, or with `:O` a throw-away copy of it.
fn directory(text: &str) -> Result<ContainerSpec, Failure> {
    let (path, overlay) = text.strip_suffix(":O").map_or((text, false), |path| (path, true));
    if path.is_empty() {
        return Err(Failure::new(format!(
            "invalid argument {text:?} for \"--rootfs\" flag: the path is empty"
        )));
    }
    let here = std::env::current_dir().map_err(|e| Failure::new(format!("the working directory: {e}")))?;
    let path = absolute_source(path, &here);
    Ok(if overlay { ContainerSpec::overlay(path) } else { ContainerSpec::directory(path) })
}

/// How to check the container, with docker's rules for what goes together.
fn health(args: Health) -> Result<HealthSpec, Failure> {
    let mut spec = HealthSpec::default();
    spec.test = args.health_cmd.filter(|line| !line.is_empty()).map(HealthTest::Shell);
    for (flag, time, into) in [
        ("interval", args.health_interval, &mut spec.interval),
        ("timeout", args.health_timeout, &mut spec.timeout),
        ("start-period", args.health_start_period, &mut spec.start_period),
        ("start-interval", args.health_start_interval, &mut spec.start_interval),
    ] {
        *into = match time {
            Some(Ok(time)) => Some(time).filter(|time| !time.is_zero()),
            Some(Err(Negative)) => {
                return Err(Failure::new(format!("--health-{flag} cannot be negative")));
            }
            None => None,
        };
    }
    let retries = args.health_retries.unwrap_or(0);
    spec.retries = match u32::try_from(retries) {
        Ok(0) => None,
        Ok(retries) => Some(retries),
        Err(_) if retries < 0 => return Err(Failure::new("--health-retries cannot be negative")),
        Err(_) => Some(u32::MAX),
    };
    if args.no_healthcheck {
        if spec != HealthSpec::default() {
            return Err(Failure::new("--no-healthcheck conflicts with --health-* options"));
        }
        spec.test = Some(HealthTest::None);
    }
    Ok(spec)
}

/// A mount of `-v`, which is made by `--volume-driver` if it is a volume that is not there.
fn driven_by(mut mount: MountSpec, driver: Option<&str>) -> MountSpec {
    if let MountKind::Volume(volume) = &mut mount.kind {
        volume.driver = driver.map(str::to_owned);
    }
    mount
}

/// The variables of the configuration that the flags do not set, and those that they do.
fn merged(configured: Vec<String>, flags: Vec<String>) -> Vec<String> {
    let name = |variable: &str| variable.split('=').next().unwrap_or_default().to_owned();
    let set: Vec<String> = flags.iter().map(|variable| name(variable)).collect();
    let kept = configured.into_iter().filter(|variable| !set.contains(&name(variable)));
    kept.chain(flags.iter().cloned()).collect()
}

fn network(spec: &mut ContainerSpec, args: Network) -> Result<(), Failure> {
    let mut networks = args.network.into_iter();
    if let Some(flag) = networks.next() {
        spec.network = flag.mode;
        spec.endpoint.address = flag.address;
        spec.endpoint.ipv6 = flag.ipv6;
        spec.endpoint.link_local = flag.link_local;
        spec.endpoint.mac = flag.mac;
        spec.endpoint.aliases = flag.aliases;
    }
    if let Some(more) = networks.next() {
        let subject = format!("flag --network={}", more.mode);
        return Err(Error::new(ErrorKind::Unsupported, subject)
            .because("a container can be in one network only")
            .with_remedy("give --network once")
            .into());
    }
    spec.endpoint.address = args.ip.or(spec.endpoint.address);
    spec.endpoint.ipv6 = args.ip6.or(spec.endpoint.ipv6);
    spec.endpoint.link_local.extend(args.link_local_ip);
    spec.endpoint.mac = args.mac_address.or(spec.endpoint.mac);
    spec.endpoint.aliases.extend(args.network_alias);
    spec.links = args.link;
    if matches!(spec.network, NetworkMode::Container(_)) && !args.expose.is_empty() {
        let reason = "port exposing and the container type network mode";
        return Err(Failure::new(format!("conflicting options: {reason}")));
    }
    spec.ports = args.publish.into_iter().flatten().collect();
    spec.publish_all = args.publish_all;
    if args.publish_all {
        // Ports that the image does not know of are published all the same.
        spec.ports.extend(args.expose.into_iter().flatten());
    }
    if matches!(spec.network, NetworkMode::Host | NetworkMode::None) && !spec.ports.is_empty() {
        crate::render::tell("WARNING: Published ports are discarded when using host or none network mode\n");
        spec.ports.clear();
    }
    spec.dns = DnsSpec { servers: args.dns, search: args.dns_search, options: args.dns_option };
    spec.extra_hosts = args.add_host;
    Ok(())
}

fn limits(args: Limits) -> Resources {
    let mut limits = Resources::default();
    // Docker's zero is no limit.
    limits.memory = args.memory.filter(|bytes| *bytes > 0);
    limits.memory_swap = args.memory_swap.filter(|bytes| *bytes != 0);
    limits.memory_reservation = args.memory_reservation.filter(|bytes| *bytes > 0);
    limits.memory_swappiness = args.memory_swappiness;
    limits.oom_kill_disable = args.oom_kill_disable;
    limits.cpu_shares = args.cpu_shares.filter(|shares| *shares > 0);
    limits.cpu_quota = args.cpu_quota.filter(|quota| *quota != 0);
    limits.cpu_period = args.cpu_period.filter(|period| *period > 0);
    limits.cpu_rt_period = args.cpu_rt_period.filter(|period| *period > 0);
    limits.cpu_rt_runtime = args.cpu_rt_runtime.filter(|runtime| *runtime != 0);
    limits.nano_cpus = args.cpus.filter(|cpus| *cpus > 0);
    limits.cpuset_cpus = args.cpuset_cpus.filter(|list| !list.is_empty());
    limits.cpuset_mems = args.cpuset_mems.filter(|list| !list.is_empty());
    limits.pids_limit = args.pids_limit.filter(|limit| *limit != 0);
    limits.blkio_weight = args.blkio_weight;
    limits.blkio_weight_device = args.blkio_weight_device;
    limits.device_read_bps = args.device_read_bps;
    limits.device_write_bps = args.device_write_bps;
    limits.device_read_iops = args.device_read_iops;
    limits.device_write_iops = args.device_write_iops;
    limits.rlimits = args.ulimit;
    limits
}

fn security(args: Security) -> Result<SecuritySpec, Failure> {
    let mut security = SecuritySpec::default();
    security.privileged = args.privileged;
    security.cap_add = args.cap_add;
    security.cap_drop = args.cap_drop;
    security.devices = args.device;
    security.device_rules = args.device_cgroup_rule;
    for option in args.security_opt {
        match option {
            SecurityOption::SeccompDefault => security.seccomp = Seccomp::Default,
            SecurityOption::SeccompUnconfined => security.seccomp = Seccomp::Unconfined,
            SecurityOption::SeccompFile(path) => {
                let profile = std::fs::read_to_string(&path)
                    .map_err(|e| Failure::new(format!("opening seccomp profile ({path}) failed: {e}")))?;
                security.seccomp = Seccomp::Profile(profile);
            }
            SecurityOption::NoNewPrivileges(on) => security.no_new_privileges = on,
            SecurityOption::UnmaskSystemPaths => security.unmask_system_paths = true,
            SecurityOption::WritableCgroups(on) => security.writable_cgroups = on,
            SecurityOption::AppArmor(profile) => security.apparmor = Some(profile),
            SecurityOption::Label(label) => security.labels.push(label),
        }
    }
    Ok(security)
}

#[cfg(test)]
mod tests;
