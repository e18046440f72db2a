//! The files that the engine keeps for a container: its log, and the three that it finds in `/etc`.

use std::fs::{DirBuilder, File};
use std::io::{Read, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use crate::error::{Result, Subject};
use crate::id::ContainerId;
use crate::network::endpoint::Wiring;
use crate::network::names::{HOSTS, Hosts, Linked, ResolvConf};
use crate::parts::Parts;
use crate::spec::{ContainerSpec, DnsSpec, LogSpec, NamespaceMode, NetworkMode};
use crate::store::blocking;
use crate::store::containers::ContainerRow;

/// Where a container's root needs a file or a directory, because the engine mounts something of its own there.
pub(super) const MOUNT_POINTS: [&str; 8] =
    ["/etc/hosts", "/etc/hostname", "/etc/resolv.conf", "/dev/console", "/dev/shm", "/dev", "/proc", "/sys"];

/// The files of `/etc` that are the engine's.
pub(crate) struct EtcFiles {
    pub(crate) hosts: PathBuf,
    pub(crate) hostname: PathBuf,
    pub(crate) resolv_conf: PathBuf,
}

impl EtcFiles {
    /// Where they are.
    pub(crate) fn of(parts: &Parts, id: &ContainerId) -> EtcFiles {
        let directory = parts.container_dir(id);
        EtcFiles {
            hosts: directory.join("hosts"),
            hostname: directory.join("hostname"),
            resolv_conf: directory.join("resolv.conf"),
        }
    }
}

/// The container's log, if its output is kept. Those of the drivers that have no file of their own to show lie where
/// docker's do.
pub(super) fn log(parts: &Parts, id: &ContainerId, log: &LogSpec) -> Option<PathBuf> {
    let directory = parts.container_dir(id);
    match log.driver.as_str() {
        "none" => None,
        "local" => Some(directory.join(LOCAL_LOGS).join("container.log")),
        "journald" => Some(directory.join(LOCAL_LOGS).join("container-cached.log")),
        _ => Some(directory.join(format!("{id}-json.log"))),
    }
}

const LOCAL_LOGS: &str = "local-logs";

/// Its host name: in the host's network it is the host's, unless one was asked for.
pub(super) fn hostname(row: &ContainerRow) -> String {
    let spec = &row.record.spec;
    let of_host = spec.network == NetworkMode::Host || spec.uts == NamespaceMode::Host;
    match (&spec.hostname, of_host) {
        (Some(name), _) => name.clone(),
        (None, true) => rustix::system::uname().nodename().to_str().unwrap_or("localhost").to_owned(),
        (None, false) => row.id.short().to_owned(),
    }
}

/// Writes the files of `/etc` for a run of the container.
pub(super) async fn write(
    parts: &Parts,
    row: &ContainerRow,
    wiring: Option<&Wiring>,
    links: &[Linked],
) -> Result<EtcFiles> {
    let files = EtcFiles::of(parts, &row.id);
    let hostname = hostname(row);
    let spec = &row.record.spec;
    let hosts = Hosts {
        address: wiring.map(|wiring| wiring.endpoint.address),
        ipv6: wiring.and_then(|wiring| wiring.endpoint.ipv6),
        hostname: &hostname,
        domainname: spec.domainname.as_deref(),
        extra: &spec.extra_hosts,
        links,
        gateway: wiring.and_then(|wiring| wiring.network.plan.gateway),
    };
    let hosts = match spec.network {
        // As in docker: in the host's network the host's own names hold.
        NetworkMode::Host => [host_names(), hosts.text()?.replacen(HOSTS, "", 1)].concat(),
        _ => hosts.text()?,
    };
    let resolv_conf = resolv_conf(spec, wiring).to_string();
    let contents = [
        (files.hosts.clone(), hosts),
        (files.hostname.clone(), format!("{hostname}\n")),
        (files.resolv_conf.clone(), resolv_conf),
    ];
    let directory = parts.container_dir(&row.id);
    let own_folder = matches!(spec.log.driver.as_str(), "local" | "journald");
    blocking(move || {
        make_directory(&directory)?;
        if own_folder {
            make_directory(&directory.join(LOCAL_LOGS))?;
        }
        contents.iter().try_for_each(|(path, content)| write_file(path, content))
    })
    .await?;
    Ok(files)
}

/// Those of the container whose network it is in; its own directory is made all the same.
pub(super) async fn shared(parts: &Parts, row: &ContainerRow, donor: &ContainerRow) -> Result<EtcFiles> {
    let directory = parts.container_dir(&row.id);
    blocking(move || make_directory(&directory)).await?;
    Ok(EtcFiles::of(parts, &donor.id))
}

/// The servers that the container asks.
pub(super) fn resolv_conf(spec: &ContainerSpec, wiring: Option<&Wiring>) -> ResolvConf {
    let with_ipv6 = wiring.is_some_and(|wiring| wiring.endpoint.ipv6.is_some());
    match spec.network {
        _ if wiring.is_some_and(|wiring| wiring.redirect.is_some()) => upstream(&spec.dns).of_name_service(),
        NetworkMode::Host => upstream(&spec.dns),
        _ => ResolvConf::of_host().direct(&spec.dns, with_ipv6),
    }
}

/// The servers that a container's server of names asks, and the settings of the resolver that asks it.
pub(super) fn upstream(wanted: &DnsSpec) -> ResolvConf {
    ResolvConf::of_host().with(wanted)
}

/// The host's own `/etc/hosts`; a host without has no names to give.
fn host_names() -> String {
    const LIMIT: u64 = 1 << 20;
    let mut text = Vec::new();
    let read = File::open("/etc/hosts").and_then(|file| file.take(LIMIT).read_to_end(&mut text));
    match read {
        Ok(_) => String::from_utf8_lossy(&text).into_owned(),
        Err(_) => HOSTS.to_owned(),
    }
}

/// The container's directory: for nobody but the engine, as what a container wrote may be anything.
pub(super) fn make_directory(directory: &Path) -> Result<()> {
    match DirBuilder::new().mode(0o710).create(directory) {
        Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => Ok(()),
        made => made.subject(|| format!("directory {}", directory.display())),
    }
}

fn write_file(path: &Path, content: &str) -> Result<()> {
    let mut file = File::create(path).subject(|| path.display().to_string())?;
    file.write_all(content.as_bytes()).subject(|| path.display().to_string())
}
