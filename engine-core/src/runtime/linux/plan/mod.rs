//! What the shim is to do, decided from an OCI runtime configuration. Pure: nothing here looks at the host, and what
//! the shim could not do, or would misunderstand, is refused here, before anything is made.

mod agent;
mod exec;
pub(super) mod held;
mod hooks;
mod mounts;
mod process;
mod spaces;
mod sysctl;
#[cfg(test)]
mod tests;
mod traits;

use std::path::Path;
use std::time::Duration;

use engine_shim::restart::Policy;
use oci_spec::runtime::{Linux, LinuxDevice, LinuxDeviceType, LinuxNamespace, LinuxSeccomp, Spec};

use engine_shim::plan::{
    Cgroup, CgroupMount, ContainerPlan, Device, Direct, Events, HealthPlan, HostJournal, Logging, Names,
    Namespaces, Root, RootSource, Streams,
};

use self::agent::Of;
pub(super) use self::exec::{exec, exec_direct};
pub(super) use self::hooks::{State, hooks_plan};
pub(super) use self::mounts::options;
use self::process::Who;
use crate::error::{Error, ErrorKind, Result};
use crate::runtime::driver::{self, Bundle, EventSource, HealthCheck, NameService};
use crate::spec::{Lifetime, RestartPolicy, RootMount, go_duration};

/// Devices that every container has (OCI runtime-spec, config-linux.md, "Default Devices"): name, major and minor.
const DEVICES: [(&str, u32, u32); 6] =
    [("full", 1, 7), ("null", 1, 3), ("random", 1, 8), ("tty", 5, 0), ("urandom", 1, 9), ("zero", 1, 5)];

/// All namespaces of a container but that of users, which an engine of the host's root shares with it.
const JOINED: i32 = libc::CLONE_NEWCGROUP
    | libc::CLONE_NEWIPC
    | libc::CLONE_NEWNET
    | libc::CLONE_NEWNS
    | libc::CLONE_NEWPID
    | libc::CLONE_NEWUTS;

/// The plan for a container, but for its cgroup, which is made later. `cgroup_mounts` are those that show it inside.
pub(super) fn container(bundle: &Bundle, cgroup_mounts: &[CgroupMount]) -> Result<ContainerPlan> {
    let spec = &bundle.spec;
    let root = root(&bundle.root, spec.root().as_ref().and_then(|root| root.readonly()).unwrap_or(false))?;
    let plan = decide(spec, root, &Who::Named(&bundle.user), cgroup_mounts)?;
    // Its checks and other processes would not enter the one, and the other would not come again with its next life.
    if plan.namespaces.has_users() {
        return Err(unsupported("a user namespace"));
    }
    if !plan.spaces.links.is_empty() {
        return Err(unsupported("network devices of the host"));
    }
    let terminal_size = bundle.streams.terminal_size.map(|size| (size.rows, size.columns));
    let mut hooks = plan.hooks;
    hooks.state = hooks::state(spec, bundle.place.id.as_str(), &bundle.place.run_dir)?;
    let mut plan = ContainerPlan {
        run_dir: text(&bundle.place.run_dir, "the directory of run-time state")?,
        exit_record: text(&bundle.place.exit_record, "the exit record")?,
        durable: bundle.durable,
        run: bundle.run,
        with_engine: bundle.lifetime == Lifetime::WithEngine,
        teardown: bundle.teardown.clone(),
        streams: Streams {
            terminal_size: terminal_size.or(plan.streams.terminal_size),
            open_stdin: bundle.streams.open_stdin,
            stdin_once: bundle.streams.stdin_once,
            log: bundle.streams.log.as_deref().map(|log| text(log, "the log")).transpose()?,
            logging: logging(&bundle.streams.logging)?,
        },
        init: bundle.init,
        hooks,
        restart: policy(bundle.restart),
        health: bundle.health.as_ref().map(health).transpose()?,
        events: bundle.events.as_ref().map(|events| self::events(bundle, events)).transpose()?,
        names: bundle.names.as_ref().map(names).transpose()?,
        ..plan
    };
    held::resolve(&mut plan, bundle)?;
    let of = of(spec, bundle.place.id.as_str(), &bundle.place.run_dir);
    agent::give(&mut plan.process, filter(spec.linux().as_ref()), of, &[])?;
    Ok(plan)
}

fn names(service: &NameService) -> Result<Names> {
    let networks = service.networks.iter().map(|(network, directory)| {
        Ok((network.clone(), text(directory, "the directory of a network's names")?))
    });
    Ok(Names {
        networks: networks.collect::<Result<_>>()?,
        member: service.member.clone(),
        port: service.port,
        redirect: service.redirect.clone(),
        servers: service.servers.clone(),
        inside: service.inside,
    })
}

/// The plan for a container that its caller looks after: `id` in the directory `bundle`, with its root at `rootfs`.
pub(super) fn direct(
    spec: &Spec,
    (id, bundle, rootfs): (&str, &Path, &Path),
    direct: Direct,
    cgroup_mounts: &[CgroupMount],
) -> Result<ContainerPlan> {
    let path = text(rootfs, "the root file system")?;
    let readonly = spec.root().as_ref().and_then(|root| root.readonly()).unwrap_or(false);
    let root = Root { source: RootSource::Directory(path.clone()), readonly };
    let mut plan = decide(spec, root, &Who::Numbered, cgroup_mounts)?;
    let waiting = ["accept4", "recvmsg"];
    agent::give(&mut plan.process, filter(spec.linux().as_ref()), of(spec, id, bundle), &waiting)?;
    let mut hooks = plan.hooks;
    hooks.state = hooks::state(spec, id, bundle)?;
    // In its own mount namespace the root may as well be mounted where it is.
    Ok(ContainerPlan { run_dir: path, hooks, direct: Some(direct), ..plan })
}

fn filter(linux: Option<&Linux>) -> Option<&LinuxSeccomp> {
    linux.and_then(|linux| linux.seccomp().as_ref())
}

/// What an agent is told of a container of that configuration.
fn of<'a>(spec: &'a Spec, id: &'a str, bundle: &'a Path) -> Of<'a> {
    let annotations = spec.annotations().clone().unwrap_or_default();
    Of { version: spec.version(), id, bundle, annotations }
}

/// What of a plan follows from the configuration; the rest is left empty.
fn decide(spec: &Spec, root: Root, who: &Who<'_>, cgroup_mounts: &[CgroupMount]) -> Result<ContainerPlan> {
    let linux =
        spec.linux().as_ref().ok_or_else(|| Error::invalid("the configuration", "it is not for Linux"))?;
    refuse_unsupported(linux)?;
    let process =
        spec.process().as_ref().ok_or_else(|| Error::invalid("the command", "no command was given"))?;
    let namespaces = namespaces(linux.namespaces().as_deref().unwrap_or_default())?;
    let spaces = spaces::spaces(linux, &namespaces)?;
    let mut program = process::process(process, who, linux.seccomp().as_ref())?;
    traits::of_container(&mut program.traits, linux)?;
    let own_uts = has(&namespaces, libc::CLONE_NEWUTS);
    Ok(ContainerPlan {
        run_dir: String::new(),
        exit_record: String::new(),
        durable: false,
        run: 0,
        with_engine: false,
        teardown: Vec::new(),
        cgroup: Cgroup::default(),
        root,
        propagation: mounts::root_propagation(linux.rootfs_propagation().as_deref())?,
        mounts: mounts::mounts(spec.mounts().as_deref().unwrap_or_default(), cgroup_mounts, linux)?,
        devices: devices(linux.devices().as_deref().unwrap_or_default())?,
        masked: absolute(linux.masked_paths().as_deref(), "masked path")?,
        readonly: absolute(linux.readonly_paths().as_deref(), "read-only path")?,
        sysctls: match linux.sysctl() {
            Some(settings) => sysctl::sysctls(settings, &namespaces)?,
            None => Vec::new(),
        },
        hostname: host_name("host name", spec.hostname().as_deref(), own_uts)?,
        domainname: host_name("domain name", spec.domainname().as_deref(), own_uts)?,
        namespaces,
        streams: Streams { terminal_size: process::terminal_size(None, process), ..Streams::default() },
        process: program,
        init: false,
        names: None,
        program_link: None,
        hooks: hooks::hooks(spec)?,
        direct: None,
        restart: Policy::default(),
        health: None,
        events: None,
        program: None,
        spaces,
    })
}

/// A policy as a monitor has it: a user who stops a container overrules all of them.
pub(super) fn policy(policy: RestartPolicy) -> Policy {
    match policy {
        RestartPolicy::No => Policy::No,
        RestartPolicy::OnFailure { retries } => Policy::OnFailure(retries),
        RestartPolicy::Always | RestartPolicy::UnlessStopped => Policy::Always,
    }
}

fn health(check: &HealthCheck) -> Result<HealthPlan> {
    let nanos = |time: Duration| i64::try_from(time.as_nanos()).unwrap_or(i64::MAX);
    if check.args.first().is_none_or(String::is_empty) || check.args.iter().any(|arg| arg.contains('\0')) {
        return Err(Error::invalid("the health check", "its command is empty or holds a zero byte"));
    }
    Ok(HealthPlan {
        args: check.args.clone(),
        namespaces: JOINED as u32,
        interval: nanos(check.interval),
        timeout: nanos(check.timeout),
        start_period: nanos(check.start_period),
        start_interval: nanos(check.start_interval),
        retries: check.retries,
        timed_out: format!("Health check exceeded timeout ({})", go_duration(check.timeout)),
        file: text(&check.results, "the results of the health check")?,
    })
}

fn events(bundle: &Bundle, events: &EventSource) -> Result<Events> {
    Ok(Events {
        journal: text(&events.journal, "the journal of events")?,
        id: bundle.place.id.to_string(),
        attributes: events.attributes.clone(),
    })
}

fn logging(logging: &driver::Logging) -> Result<Logging> {
    let journal = logging.journal.as_ref().map(|journal| {
        Ok(HostJournal {
            socket: text(&journal.socket, "the socket of the host's journal")?,
            fields: journal.fields.clone(),
        })
    });
    Ok(Logging {
        max_size: logging.max_size.unwrap_or(0),
        max_files: logging.max_files,
        compress: logging.compress,
        attributes: logging.attributes.clone(),
        journal: journal.transpose()?,
    })
}

fn refuse_unsupported(linux: &Linux) -> Result<()> {
    if linux.intel_rdt().is_some() { Err(unsupported("Intel RDT")) } else { Ok(()) }
}

fn unsupported(what: &str) -> Error {
    Error::new(ErrorKind::Unsupported, "the configuration")
        .because(format!("it asks for {what}, which this version does not offer"))
        .with_remedy("leave it out")
}

fn namespaces(wanted: &[LinuxNamespace]) -> Result<Namespaces> {
    let mut namespaces = Namespaces::default();
    let mut seen = 0;
    for namespace in wanted {
        let kind = namespace.typ();
        // The type's value is its CLONE_NEW* flag.
        let flag = kind as u32;
        if seen & flag != 0 {
            return Err(Error::invalid(format!("{kind} namespace"), "it is given twice"));
        }
        seen |= flag;
        match namespace.path().as_deref().filter(|path| !path.as_os_str().is_empty()) {
            Some(path) => namespaces.join.push((flag, text(path, "a namespace")?)),
            None => namespaces.new |= flag,
        }
    }
    // All mounts of a container would be made on the host, or in another container.
    if !has(&namespaces, libc::CLONE_NEWNS) {
        return Err(Error::invalid(
            "the configuration",
            "a container has to have a mount namespace of its own",
        ));
    }
    Ok(namespaces)
}

fn has(namespaces: &Namespaces, flag: i32) -> bool {
    namespaces.new & flag as u32 != 0
}

/// A name of the UTS namespace; nothing if it is empty.
fn host_name(noun: &str, name: Option<&str>, own_namespace: bool) -> Result<Option<String>> {
    // The kernel's limit (__NEW_UTS_LEN).
    const MAX: usize = 64;
    let Some(name) = name.filter(|name| !name.is_empty()) else { return Ok(None) };
    if !own_namespace {
        return Err(Error::invalid(format!("{noun} {name:?}"), "the container shares the host's"));
    }
    if name.len() > MAX || name.contains('\0') {
        return Err(Error::invalid(format!("{noun} {name:?}"), "it is longer than 64 bytes, or no text"));
    }
    Ok(Some(name.to_owned()))
}

fn root(mounts: &[RootMount], readonly: bool) -> Result<Root> {
    let [mount] = mounts else {
        return Err(Error::invalid("the root file system", "it has to be one mount"));
    };
    let layer = |path: &Path| text(path, "a directory of the root file system");
    Ok(match mount {
        // An overlay of one layer and nothing on it is that layer, which the kernel wants to hear.
        RootMount::Overlay { lower, upper: None, .. } if lower.len() == 1 => {
            Root { source: RootSource::Directory(layer(&lower[0])?), readonly: true }
        }
        RootMount::Overlay { lower, upper, volatile } => {
            if lower.is_empty() {
                return Err(Error::invalid(
                    "the root file system",
                    "an overlay has to have a lower directory",
                ));
            }
            let lower = lower.iter().map(|path| layer(path)).collect::<Result<_>>()?;
            let upper = match upper {
                Some((upper, work)) => Some((layer(upper)?, layer(work)?)),
                None => None,
            };
            Root { source: RootSource::Overlay { lower, upper, volatile: *volatile }, readonly }
        }
        RootMount::Directory { path } => Root { source: RootSource::Directory(layer(path)?), readonly },
    })
}

fn devices(asked: &[LinuxDevice]) -> Result<Vec<Device>> {
    let mut devices = Vec::with_capacity(asked.len() + DEVICES.len());
    // Of the multiplexer every container has its own, that of its devpts.
    for device in asked.iter().filter(|device| device.path() != Path::new("/dev/ptmx")) {
        devices.push(self::device(device)?);
    }
    for (name, major, minor) in DEVICES {
        let path = format!("/dev/{name}");
        if !devices.iter().any(|device| device.path == path) {
            devices.push(Device { path, mode: libc::S_IFCHR | 0o666, major, minor, uid: 0, gid: 0 });
        }
    }
    Ok(devices)
}

fn device(device: &LinuxDevice) -> Result<Device> {
    let path = text(device.path(), "a device")?;
    let wrong = |reason: &str| Error::invalid(format!("device {path}"), reason);
    if !Path::new(&path).is_absolute() || path.ends_with('/') || path.split('/').any(|part| part == "..") {
        return Err(wrong("it is not the absolute path of a file"));
    }
    let kind = match device.typ() {
        LinuxDeviceType::B => libc::S_IFBLK,
        LinuxDeviceType::C | LinuxDeviceType::U => libc::S_IFCHR,
        LinuxDeviceType::P => libc::S_IFIFO,
        LinuxDeviceType::A => return Err(wrong("it has no type")),
    };
    let number = |number: i64| u32::try_from(number).map_err(|_| wrong("its number is not a device's"));
    let (major, minor) = match kind {
        libc::S_IFIFO => (0, 0),
        _ => (number(device.major())?, number(device.minor())?),
    };
    let mode = kind | device.file_mode().unwrap_or(0o666) & 0o777;
    let (uid, gid) = (device.uid().unwrap_or(0), device.gid().unwrap_or(0));
    Ok(Device { path, mode, major, minor, uid, gid })
}

fn absolute(paths: Option<&[String]>, noun: &str) -> Result<Vec<String>> {
    let paths = paths.unwrap_or_default();
    match paths.iter().find(|path| !path.starts_with('/') || path.contains('\0')) {
        Some(path) => Err(Error::invalid(format!("{noun} {path:?}"), "it is not an absolute path")),
        None => Ok(paths.to_vec()),
    }
}

/// A path as text: the shim speaks UTF-8.
pub(super) fn text(path: &Path, noun: &str) -> Result<String> {
    match path.to_str() {
        Some(text) if !text.contains('\0') => Ok(text.to_owned()),
        _ => Err(Error::invalid(format!("{noun} {path:?}"), "it is not UTF-8 without zero bytes")),
    }
}
