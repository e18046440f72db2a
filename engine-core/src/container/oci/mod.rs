//! The OCI runtime configuration of a container: what Docker makes of the same wish, to the letter where it matters.
//!
//! Pure: what has to be known of the host comes in as values ([`HostFacts`], [`HostDevices`]), so that a wish is
//! refused before anything is made, and a test needs no root. A file for each part of the configuration; most are
//! tables and the code that walks them.

mod capabilities;
mod cpus;
mod devices;
mod host;
mod mounts;
mod paths;
mod process;
mod resources;
mod seccomp;
mod security;
mod sysctls;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};

pub(crate) use oci_spec::runtime::Spec;
use oci_spec::runtime::{Linux, LinuxNamespace, LinuxNamespaceType, LinuxSeccomp, Process, Root};

use crate::error::{Error, Result};
use crate::image::config::{ImageConfig, RunConfig};
use crate::runtime::driver::NamespaceKind;
use crate::spec::{ContainerSpec, ExecSpec, IpcMode, NamespaceMode};

pub(crate) use devices::HostDevices;
pub(crate) use host::HostFacts;
pub(crate) use mounts::ResolvedMount;
pub(crate) use paths::shown as system_paths;
pub(crate) use resources::limits;

/// The version of the specification that the configuration follows.
const OCI_VERSION: &str = "1.2.0";

/// All that the configuration depends on.
pub(crate) struct SpecInput<'a> {
    /// What was asked for.
    pub(crate) container: &'a ContainerSpec,
    /// What the image says, if there is one.
    pub(crate) image: Option<&'a ImageConfig>,
    /// The host name: the one asked for, or that of the namespace the container shares.
    pub(crate) hostname: &'a str,
    /// Volumes, bind mounts and file systems in memory, with their sources found.
    pub(crate) mounts: &'a [ResolvedMount],
    /// Files that the engine keeps for the container; `None` leaves the image's.
    pub(crate) files: Option<NetworkFiles<'a>>,
    /// Where it stands in the network.
    pub(crate) network: NetworkNamespace,
    /// The namespaces of other containers that it is in, by what names them in the configuration.
    pub(crate) joined: &'a [(NamespaceKind, PathBuf)],
    /// Its group in the cgroup tree: `/engine/<id>`.
    pub(crate) cgroup: &'a str,
    /// Facts about this host.
    pub(crate) host: &'a HostFacts,
    /// Devices of this host that the wish names.
    pub(crate) devices: &'a HostDevices,
}

/// Files that the engine writes for a container and mounts over the image's.
#[derive(Clone, Copy, Debug)]
pub(crate) struct NetworkFiles<'a> {
    /// For `/etc/hosts`.
    pub(crate) hosts: &'a Path,
    /// For `/etc/hostname`.
    pub(crate) hostname: &'a Path,
    /// For `/etc/resolv.conf`.
    pub(crate) resolv_conf: &'a Path,
}

/// Another process, and what system calls it may make.
pub(crate) type ExecParts = (Process, Option<LinuxSeccomp>);

/// The network namespace of a container.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NetworkNamespace {
    /// One of its own.
    Own,
    /// The host's.
    Host,
    /// Another container's.
    Joined,
}

/// The configuration of the container.
///
/// # Errors
/// [`ErrorKind::InvalidInput`](crate::ErrorKind::InvalidInput) and others of the kind, naming what was asked for that
/// cannot be.
pub(crate) fn spec(input: &SpecInput<'_>) -> Result<Spec> {
    let container = input.container;
    security::check(container, input.host)?;
    let own_uts = container.uts == NamespaceMode::Private;
    let capabilities = capabilities::decide(&container.security, input.host)?;
    let mut spec = Spec::default();
    let mut root = Root::default();
    // The runtime is given the mounts that make the root file system instead.
    root.set_path("rootfs".into()).set_readonly(Some(container.read_only));
    spec.set_version(OCI_VERSION.into())
        .set_root(Some(root))
        .set_mounts(Some(mounts::mounts(input)?))
        .set_hostname(Some(input.hostname.to_owned()).filter(|name| own_uts && !name.is_empty()))
        .set_domainname(container.domainname.clone().filter(|name| own_uts && !name.is_empty()))
        .set_hooks(None)
        .set_annotations(Some(container.annotations.clone().into_iter().collect()))
        .set_linux(Some(linux(input, &capabilities)?))
        .set_process(Some(process::process(input, &capabilities)?));
    Ok(spec)
}

/// Another process for the container of `input`, and what system calls it may make.
///
/// # Errors
/// As [`spec`].
pub(crate) fn exec(input: &SpecInput<'_>, exec: &ExecSpec) -> Result<ExecParts> {
    let capabilities = capabilities::decide(&input.container.security, input.host)?;
    let seccomp = seccomp::decide(&input.container.security, &capabilities, input.host)?;
    Ok((process::exec(input, exec, &capabilities)?, seccomp))
}

/// The program and its arguments; nothing if neither the wish nor the image has any.
pub(crate) fn command(container: &ContainerSpec, image: Option<&RunConfig>) -> Vec<String> {
    process::args(container, image).unwrap_or_default()
}

fn linux(input: &SpecInput<'_>, capabilities: &capabilities::Set) -> Result<Linux> {
    let security = &input.container.security;
    let (masked, readonly) = paths::decide(security, input.host);
    let mut resources = limits(&input.container.resources, input.host, input.devices)?;
    resources.set_devices(Some(devices::rules(security, input.devices)?));
    let mut linux = Linux::default();
    linux
        .set_namespaces(Some(namespaces(input)))
        .set_sysctl(Some(sysctls::decide(input)?))
        .set_resources(Some(resources))
        .set_cgroups_path(Some(input.cgroup.into()))
        .set_devices(Some(devices::nodes(input.devices)))
        .set_seccomp(seccomp::decide(security, capabilities, input.host)?)
        .set_rootfs_propagation(mounts::root_propagation(input.mounts))
        .set_masked_paths(Some(masked))
        .set_readonly_paths(Some(readonly))
        .set_uid_mappings(None)
        .set_gid_mappings(None)
        .set_mount_label(None)
        .set_intel_rdt(None)
        .set_personality(None)
        .set_time_offsets(None);
    Ok(linux)
}

/// What a builder of the specification's types made. They fail for members that are left out only.
fn built<T>(result: Result<T, oci_spec::OciSpecError>) -> Result<T> {
    result.map_err(|e| Error::internal("the configuration", "a part of it is incomplete").caused_by(e))
}

/// Those of its own, and those of other containers; in those of the host it is anyway.
fn namespaces(input: &SpecInput<'_>) -> Vec<LinuxNamespace> {
    use LinuxNamespaceType as T;
    use NamespaceKind as K;
    let container = input.container;
    let host = |mode: &NamespaceMode| *mode == NamespaceMode::Host;
    let kinds = [
        (T::Mount, K::Mount, false),
        (T::Uts, K::Uts, host(&container.uts)),
        (T::Ipc, K::Ipc, container.ipc == IpcMode::Host),
        (T::Pid, K::Pid, host(&container.pid)),
        (T::Cgroup, K::Cgroup, host(&container.cgroupns)),
        (T::Network, K::Network, input.network == NetworkNamespace::Host),
    ];
    let inside = kinds.into_iter().filter(|(.., of_host)| !of_host);
    inside
        .map(|(name, kind, _)| {
            let joined = input.joined.iter().find(|(joined, _)| *joined == kind);
            let mut namespace = LinuxNamespace::default();
            namespace.set_typ(name).set_path(joined.map(|(_, path)| path.clone()));
            namespace
        })
        .collect()
}
