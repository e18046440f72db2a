//! From a record to an OCI specification: image, mounts and facts about the host are found, [`oci`](super::oci)
//! decides.

use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;

use super::files::EtcFiles;
use super::oci::{ExecParts, HostDevices, NetworkFiles, NetworkNamespace, ResolvedMount, SpecInput};
use super::record::ContainerRecord;
use super::{oci, reconcile};
use crate::error::{Error, ErrorKind, Result, Subject};
use crate::id::ContainerId;
use crate::image::config::ImageConfig;
use crate::image::driver::ImageRecord;
use crate::network;
use crate::parts::Parts;
use crate::runtime::driver::NamespaceKind;
use crate::spec::{ContainerSpec, ExecSpec, MountKind, MountSpec, NetworkMode, PortSpec, Protocol, Signal};
use crate::store::blocking;
use crate::store::containers::ContainerRow;
use crate::store::volumes;
use crate::sys::beneath::RootDir;
use crate::volume::attach;

/// All that the specification of a container's run is made of.
pub(super) struct Prepared<'a> {
    pub(super) row: &'a ContainerRow,
    pub(super) config: Option<&'a ImageConfig>,
    pub(super) hostname: &'a str,
    pub(super) mounts: Vec<ResolvedMount>,
    pub(super) files: EtcFiles,
    pub(super) joined: &'a [(NamespaceKind, PathBuf)],
}

impl Prepared<'_> {
    fn with<T>(&self, parts: &Parts, make: impl FnOnce(&SpecInput<'_>) -> Result<T>) -> Result<T> {
        let spec = &self.row.record.spec;
        let files = NetworkFiles {
            hosts: &self.files.hosts,
            hostname: &self.files.hostname,
            resolv_conf: &self.files.resolv_conf,
        };
        let cgroup = reconcile::place(parts, self.row).cgroup;
        make(&SpecInput {
            container: spec,
            image: self.config,
            hostname: self.hostname,
            mounts: &self.mounts,
            files: Some(files),
            network: namespace(&spec.network),
            joined: self.joined,
            cgroup: &cgroup,
            host: parts.host()?,
            devices: &HostDevices::find(spec)?,
        })
    }

    /// The specification of the container. Blocks.
    pub(super) fn spec(&self, parts: &Parts) -> Result<oci::Spec> {
        self.with(parts, oci::spec)
    }

    /// That of another process in it. Blocks.
    pub(super) fn exec(&self, parts: &Parts, exec: &ExecSpec) -> Result<ExecParts> {
        self.with(parts, |input| oci::exec(input, exec))
    }
}

fn namespace(network: &NetworkMode) -> NetworkNamespace {
    match network {
        NetworkMode::Host => NetworkNamespace::Host,
        NetworkMode::Network(_) | NetworkMode::None => NetworkNamespace::Own,
        NetworkMode::Container(_) => NetworkNamespace::Joined,
    }
}

/// Refuses a wish that cannot be: before anything of it is made.
pub(super) fn check(
    parts: &Parts,
    id: &ContainerId,
    record: &ContainerRecord,
    config: Option<&ImageConfig>,
) -> Result<()> {
    let spec = &record.spec;
    for mount in &spec.mounts {
        if let MountKind::Bind(bind) = &mount.kind
            && !bind.create_source
        {
            check_source(&bind.source)?;
        }
    }
    ports(spec, config)?;
    let place = parts.place(id, spec.cgroup_parent.as_deref());
    oci::spec(&SpecInput {
        container: spec,
        image: config,
        hostname: spec.hostname.as_deref().unwrap_or(id.short()),
        mounts: &[],
        files: None,
        network: namespace(&spec.network),
        joined: &[],
        cgroup: &place.cgroup,
        host: parts.host()?,
        devices: &HostDevices::find(spec)?,
    })
    .map(drop)
}

fn check_source(source: &Path) -> Result<()> {
    let subject = || format!("bind source {}", source.display());
    if !source.is_absolute() {
        return Err(Error::invalid(subject(), "the path must be absolute"));
    }
    match std::fs::symlink_metadata(source) {
        Ok(_) => Ok(()),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
            Err(Error::invalid(subject(), "it does not exist on this host")
                .with_remedy("make it first, or mount it with -v, which makes a directory"))
        }
        Err(e) => Err(Error::io(subject(), e)),
    }
}

/// The configuration of the image the container was made from.
pub(super) async fn image_config(parts: &Parts, record: &ContainerRecord) -> Result<Option<ImageConfig>> {
    let Some(id) = &record.image else { return Ok(None) };
    match parts.images.get(id).await? {
        Some(named) => config_of(&named.image).map(Some),
        None => Err(Error::new(ErrorKind::Corrupt, format!("image {id}"))
            .because("a container was made from it, and it is not there any more")
            .with_remedy("load or pull the image again")),
    }
}

/// The configuration of an image of the store.
pub(super) fn config_of(image: &ImageRecord) -> Result<ImageConfig> {
    ImageConfig::parse(image.config.as_bytes())
}

/// The ports to publish: those asked for and, where all are to be, those that the image exposes.
pub(super) fn ports(spec: &ContainerSpec, config: Option<&ImageConfig>) -> Result<Vec<PortSpec>> {
    let exposed = config.map(|config| &config.config.exposed_ports).into_iter().flatten();
    // What an image exposes that is no port is nothing to publish.
    let exposed = exposed.filter_map(|text| {
        let (port, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
        Some((port.parse::<u16>().ok()?, protocol.parse::<Protocol>().ok()?))
    });
    network::ports::published(&spec.ports, spec.publish_all, &exposed.collect::<Vec<_>>())
}

/// Whether its kernel settings turn IPv6 off, of all interfaces or of those that are yet to come.
pub(super) fn without_ipv6(spec: &ContainerSpec) -> bool {
    let is_off = |(name, value): (&String, &String)| {
        let name = name.replace('/', ".");
        let of_all = ["net.ipv6.conf.all.disable_ipv6", "net.ipv6.conf.default.disable_ipv6"];
        of_all.contains(&name.as_str()) && value.trim() != "0"
    };
    spec.sysctls.iter().any(is_off)
}

/// `user[:group]` that the program runs as.
pub(super) fn user(spec: &ContainerSpec, config: Option<&ImageConfig>) -> String {
    spec.user.clone().unwrap_or_else(|| config.map(|config| config.config.user.clone()).unwrap_or_default())
}

/// The signal that asks its program to end.
pub(super) fn stop_signal(spec: &ContainerSpec, config: Option<&ImageConfig>) -> Signal {
    let of_image = || config.and_then(|config| config.config.stop_signal.parse().ok());
    spec.stop_signal.or_else(of_image).unwrap_or(Signal::TERM)
}

/// Makes everything that is mounted reachable on this host. What is reached by a descriptor is added to `held`.
pub(super) async fn mounts(
    parts: &Parts,
    row: &ContainerRow,
    held: &mut Vec<OwnedFd>,
) -> Result<Vec<ResolvedMount>> {
    let wanted = &row.record.spec.mounts;
    if wanted.is_empty() {
        return Ok(Vec::new());
    }
    let id = row.id.clone();
    let records = parts.store.read(move |tx| volumes::of_container(tx, &id)).await?;
    let mut mounts = Vec::with_capacity(wanted.len());
    for mount in wanted {
        mounts.push(match &mount.kind {
            MountKind::Volume(volume) => {
                let record = records
                    .iter()
                    .find(|record| Some(&record.name) == volume.name.as_ref())
                    .ok_or_else(|| Error::internal(subject(mount), "its volume is not recorded"))?;
                let mut path = attach::mount(parts, record, &row.id).await?;
                if let Some(part) = volume.subpath.clone() {
                    let opened = blocking(move || part_of(&path, &part)).await?;
                    path = own_path(&opened);
                    held.push(opened);
                }
                ResolvedMount::volume(mount, path)
            }
            MountKind::Bind(bind) => {
                let (source, create) = (bind.source.clone(), bind.create_source);
                let source = blocking(move || bind_source(source, create)).await?;
                ResolvedMount::bind(mount, bind, source)
            }
            MountKind::Tmpfs(tmpfs) => ResolvedMount::tmpfs(mount, tmpfs),
        });
    }
    Ok(mounts)
}

/// A part of a volume, opened: another container may put a link in its place at any moment, which leads nowhere but
/// in the volume, and what was opened stays what it is.
fn part_of(volume: &Path, part: &str) -> Result<OwnedFd> {
    let subject = || format!("volume subpath {part:?}");
    let root = RootDir::open(volume).subject(subject)?;
    let opened = root.resolve(Path::new(part), OFlags::PATH);
    opened.map_err(|e| Error::io(subject(), e.into()).with_remedy("make it in the volume first"))
}

/// What a runtime can reach a descriptor of this process by.
pub(super) fn own_path(descriptor: &OwnedFd) -> PathBuf {
    format!("/proc/{}/fd/{}", std::process::id(), descriptor.as_raw_fd()).into()
}

fn subject(mount: &MountSpec) -> String {
    format!("mount {}", mount.target)
}

fn bind_source(source: PathBuf, create: bool) -> Result<PathBuf> {
    if create && !source.try_exists().subject(|| format!("bind source {}", source.display()))? {
        std::fs::create_dir_all(&source).subject(|| format!("bind source {}", source.display()))?;
    }
    check_source(&source)?;
    Ok(source)
}
