//! What a container shares with another one: namespaces, memory, the files of its network, volumes. Names are made
//! identifiers when it is created; when it is started, the other one must be running, and its namespaces are taken as
//! descriptors, which stay what they are whatever becomes of it.

use std::os::fd::OwnedFd;
use std::path::PathBuf;

use super::{find, plan, reconcile};
use crate::error::{Error, ErrorKind, Result};
use crate::id::ContainerId;
use crate::network::directory;
use crate::parts::Parts;
use crate::runtime::driver::NamespaceKind;
use crate::spec::{ContainerSpec, IpcMode, MountKind, MountSpec, NamespaceMode, NetworkMode};
use crate::store::containers::ContainerRow;

/// The network of a container of a container of… is followed so far.
const DEPTH: usize = 32;

/// What a run takes from other containers.
#[derive(Debug, Default)]
pub(super) struct Shared {
    /// The namespaces, by the paths that stand for `held` in this process.
    pub(super) joined: Vec<(NamespaceKind, PathBuf)>,
    /// The namespaces.
    pub(super) held: Vec<OwnedFd>,
    /// The mount namespace of the one whose shared memory it has.
    pub(super) shm: Option<OwnedFd>,
}

/// The other containers of a wish, each with what is shared and how docker calls that.
fn others(spec: &mut ContainerSpec) -> Vec<(&mut String, NamespaceKind, &'static str)> {
    use NamespaceKind as T;
    let mut others = Vec::new();
    if let NetworkMode::Container(name) = &mut spec.network {
        others.push((name, T::Network, "network namespace"));
    }
    if let IpcMode::Container(name) = &mut spec.ipc {
        others.push((name, T::Ipc, "IPC namespace"));
    }
    for (mode, kind, noun) in [
        (&mut spec.pid, T::Pid, "PID namespace"),
        (&mut spec.uts, T::Uts, "UTS namespace"),
        (&mut spec.cgroupns, T::Cgroup, "cgroup namespace"),
    ] {
        if let NamespaceMode::Container(name) = mode {
            others.push((name, kind, noun));
        }
    }
    others
}

/// Puts identifiers in the stead of names, and the mounts of other containers among those of the wish.
pub(super) async fn resolve(parts: &Parts, spec: &mut ContainerSpec) -> Result<()> {
    for (name, ..) in others(spec) {
        *name = find(parts, name).await?.id.to_string();
    }
    for link in &spec.links {
        find(parts, &link.container).await?;
    }
    for from in spec.volumes_from.clone() {
        let (name, read_only) = volumes_from(&from)?;
        let row = find(parts, name).await?;
        for mount in row.record.spec.mounts {
            let target = |mount: &MountSpec| mount.target.trim_end_matches('/').to_owned();
            // What the wish itself has at a place comes first.
            if !spec.mounts.iter().any(|own| target(own) == target(&mount)) {
                spec.mounts.extend(borrowed(mount, read_only));
            }
        }
    }
    Ok(())
}

/// `NAME[:ro|rw]`, and whether it is to be read-only.
fn volumes_from(text: &str) -> Result<(&str, bool)> {
    let invalid = |reason: String| Error::invalid(format!("volumes-from {text:?}"), reason);
    let (name, mode) = text.split_once(':').unwrap_or((text, "rw"));
    match (name, mode) {
        ("", _) => Err(invalid("volumes-from specification cannot be an empty string".into())),
        (_, "ro") => Ok((name, true)),
        (_, "rw" | "z" | "Z") => Ok((name, false)),
        _ => Err(invalid(format!("invalid mode: {mode}")).with_remedy("use ro or rw")),
    }
}

/// Another container's mount as one of this one: a file system in memory is nobody else's.
fn borrowed(mut mount: MountSpec, read_only: bool) -> Option<MountSpec> {
    mount.read_only |= read_only;
    match &mut mount.kind {
        // It was filled when it was made.
        MountKind::Volume(volume) => volume.no_copy = true,
        MountKind::Bind(_) => {}
        MountKind::Tmpfs(_) => return None,
    }
    Some(mount)
}

/// Takes what a run shares from those it shares it with.
pub(super) async fn take(parts: &Parts, spec: &ContainerSpec) -> Result<Shared> {
    use NamespaceKind as T;
    let mut shared = Shared::default();
    // Most share nothing, and this costs them nothing.
    let mut spec = spec.clone();
    let own_shm =
        spec.mounts.iter().any(|mount| matches!(mount.target.trim_end_matches('/'), "/dev" | "/dev/shm"));
    for (id, kind, noun) in others(&mut spec) {
        let row = running(parts, id, noun).await?;
        let memory = kind == T::Ipc && !own_shm;
        if kind == T::Ipc {
            require_shareable(&row)?;
        }
        // In the host's own it shares that as well: there is no other place to look for its memory.
        let of_host = memory && row.record.spec.ipc == IpcMode::Host;
        let kinds: &[T] = if memory { &[kind, T::Mount] } else { &[kind] };
        let place = reconcile::place(parts, &row);
        let mut namespaces = parts.runtime.namespaces(&place, kinds).await?.into_iter();
        let namespace = namespaces
            .next()
            .ok_or_else(|| Error::internal(format!("container {}", row.name), "it has no such namespace"))?;
        shared.joined.push((kind, plan::own_path(&namespace)));
        shared.held.push(namespace);
        shared.shm = namespaces.next().filter(|_| !of_host).or(shared.shm);
    }
    Ok(shared)
}

async fn running(parts: &Parts, id: &str, noun: &str) -> Result<ContainerRow> {
    let row = find(parts, id).await?;
    match reconcile::running(parts, &row)? {
        Some(_) => Ok(row),
        None => {
            Err(Error::new(ErrorKind::Conflict, format!("cannot join {noun} of a non running container"))
                .because(row.id.to_string())
                .with_remedy(format!("start {} first", row.name)))
        }
    }
}

fn require_shareable(row: &ContainerRow) -> Result<()> {
    match row.record.spec.ipc {
        IpcMode::Shareable | IpcMode::Host | IpcMode::Container(_) => Ok(()),
        IpcMode::Private | IpcMode::None => Err(Error::invalid(
            format!("container {}", row.name),
            "non-shareable IPC (hint: use IpcMode:shareable for the donor container)",
        )),
    }
}

/// The container whose network files and host name this one has: itself, unless it is in another one's network.
pub(super) async fn network_of(parts: &Parts, row: &ContainerRow) -> Result<Option<ContainerRow>> {
    let mut donor = None;
    let mut mode = row.record.spec.network.clone();
    for _ in 0..DEPTH {
        let NetworkMode::Container(id) = &mode else { break };
        let id: ContainerId = id.parse()?;
        let Some(next) = reconcile::row(parts, &id).await? else { break };
        mode = next.record.spec.network.clone();
        donor = Some(next);
    }
    Ok(donor)
}

/// Refuses what contradicts itself, in docker's words.
pub(super) fn check(spec: &ContainerSpec) -> Result<()> {
    let conflict = |reason: &str| Err(Error::invalid("conflicting options", reason));
    let named = spec.hostname.is_some();
    if named && spec.uts != NamespaceMode::Private {
        return conflict("hostname and the UTS mode");
    }
    if spec.domainname.is_some() && spec.uts != NamespaceMode::Private {
        return conflict("domainname and the UTS mode");
    }
    if spec.network == NetworkMode::Host && !spec.links.is_empty() {
        return conflict(
            "host type networking can't be used with links. This would result in undefined behavior",
        );
    }
    let addresses = spec.endpoint.address.is_some() || spec.endpoint.ipv6.is_some();
    if !matches!(spec.network, NetworkMode::Network(_)) && addresses {
        return conflict("user specified IP address is supported on user defined networks only");
    }
    if !spec.network.is_user_defined() && !spec.endpoint.aliases.is_empty() {
        return conflict("network-scoped aliases are only supported for user-defined networks");
    }
    spec.endpoint.aliases.iter().try_for_each(|alias| directory::check(alias))?;
    if !matches!(spec.network, NetworkMode::Container(_)) {
        return Ok(());
    }
    let asked = [
        (named, "hostname and the network mode"),
        (
            !spec.links.is_empty(),
            "container type network can't be used with links. This would result in undefined behavior",
        ),
        (spec.dns != Default::default(), "dns and the network mode"),
        (!spec.extra_hosts.is_empty(), "custom host-to-IP mapping and the network mode"),
        (spec.endpoint.mac.is_some(), "mac-address and the network mode"),
        (spec.publish_all || !spec.ports.is_empty(), "port publishing and the container type network mode"),
    ];
    match asked.into_iter().find(|(asked, _)| *asked) {
        Some((_, reason)) => conflict(reason),
        None => Ok(()),
    }
}
