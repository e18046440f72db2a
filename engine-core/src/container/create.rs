//! Creating a container: its image found or fetched, its volumes made, its record written.

use std::collections::BTreeSet;
use std::os::fd::AsFd;
use std::path::Path;
use std::sync::Arc;

use super::record::ContainerRecord;
use super::{Container, facts, health, logs, names, plan, restart, sharing, view};
use crate::error::{Error, ErrorKind, Result};
use crate::event::{PullEvent, Reporter};
use crate::id::{ContainerId, ContainerName, VolumeName};
use crate::image;
use crate::image::config::ImageConfig;
use crate::image::driver::ImageRecord;
use crate::network::Networks;
use crate::parts::Parts;
use crate::spec::{ContainerSpec, MountKind, MountSpec, NetworkMode, RootSource, Timestamp, VolumeMountSpec};
use crate::store::volumes::VolumeRecord;
use crate::store::{Durability, Tx, containers, images, volumes};
use crate::sys::fault;
use crate::volume::attach::{self, Claim};

/// So many names are made up before the store is thought to be full of them.
const MAX_NAMES: u32 = 32;

pub(super) async fn create(
    parts: Arc<Parts>,
    mut spec: ContainerSpec,
    reporter: Reporter<PullEvent>,
) -> Result<Container> {
    check(&spec)?;
    sharing::check(&spec)?;
    parts.runtimes.get(spec.runtime.as_deref())?;
    sharing::resolve(&parts, &mut spec).await?;
    let image = match &spec.root {
        RootSource::Image(name) => {
            Some(image::resolve::ensure(&parts, name, spec.pull, spec.platform.clone(), &reporter).await?)
        }
        RootSource::Directory { path, .. } => {
            check_directory(path)?;
            None
        }
    };
    let config = image.as_ref().map(|image| ImageConfig::parse(image.config.as_bytes())).transpose()?;
    if let Some(config) = &config {
        add_image_volumes(&mut spec, config)?;
    }
    // Docker's order: what is nearer the root first, so that nothing is hidden by what is mounted above it later.
    spec.mounts.sort_by_key(|mount| mount.target.trim_end_matches('/').matches('/').count());
    let id = ContainerId::random()?;
    let claims = claim_volumes(&parts, &mut spec).await?;
    let chain = image.as_ref().map(ImageRecord::chain).unwrap_or_default();
    let image_labels = config.as_ref().map(|config| config.config.labels.clone()).unwrap_or_default();
    let image = image.map(|image| image.id);
    let record = ContainerRecord { spec, image, chain, image_labels };
    match finish(&parts, &id, record, config.as_ref(), &claims).await {
        Ok(name) => Ok(Container { parts, id, name }),
        Err(e) => {
            // The failure that is told is the first one; a sweep finds what stays.
            let _ = attach::abandon(&*parts, claims).await;
            Err(e)
        }
    }
}

async fn finish(
    parts: &Arc<Parts>,
    id: &ContainerId,
    record: ContainerRecord,
    config: Option<&ImageConfig>,
    claims: &[Claim],
) -> Result<ContainerName> {
    // Refused now rather than at the first start: a wish that contradicts itself.
    plan::check(parts, id, &record, config)?;
    // The default network is always there; a run need not look for it twice.
    if let NetworkMode::Network(name) = &record.spec.network
        && record.spec.network.is_user_defined()
    {
        Networks::new(parts.clone()).get(name.as_str()).await?;
    }
    fill_volumes(parts, id, &record, claims).await?;
    fault::point("create.volumes-made");
    let (name, record) = insert(parts, id, record).await?;
    fault::point("create.recorded");
    facts::tell_of(parts, (id, &name, &record), "create", &[]);
    Ok(name)
}

/// What can be refused by looking at the wish alone.
fn check(spec: &ContainerSpec) -> Result<()> {
    let mut targets = BTreeSet::new();
    for mount in &spec.mounts {
        let subject = || format!("mount {}", mount.target);
        let target = mount.target.trim_end_matches('/');
        if !target.starts_with('/') {
            return Err(Error::invalid(
                subject(),
                "the path in the container must be absolute and not \"/\"",
            ));
        }
        if let MountKind::Volume(VolumeMountSpec { subpath: Some(path), name, .. }) = &mount.kind {
            check_subpath(path, name.is_some())?;
        }
        if mount.target.contains('\0') {
            return Err(Error::invalid(subject(), "a path cannot hold a zero byte"));
        }
        if !targets.insert(target) {
            return Err(Error::invalid(subject(), "two things cannot be mounted at one path")
                .with_remedy("give one of them another path"));
        }
    }
    if spec.network == NetworkMode::None && !spec.ports.is_empty() {
        return Err(Error::invalid(
            "published ports",
            "a container without a network has no ports to publish",
        ));
    }
    restart::check(spec.restart, spec.auto_remove)?;
    health::check(&spec.health)?;
    logs::driver::check(&spec.log)
}

/// A part of a volume is named by a path within it, and only a volume that is there has parts.
fn check_subpath(path: &str, named: bool) -> Result<()> {
    let wrong = |reason: &str| Err(Error::invalid(format!("volume subpath {path:?}"), reason));
    if !named {
        return wrong("must not set Subpath when using anonymous volumes");
    }
    match path.is_empty()
        || path.starts_with('/')
        || path.contains('\0')
        || path.split('/').any(|part| part == "..")
    {
        true => wrong("subpath must be a relative path within the volume"),
        false => Ok(()),
    }
}

fn check_directory(path: &Path) -> Result<()> {
    let subject = || format!("root file system {}", path.display());
    if !path.is_absolute() {
        return Err(Error::invalid(subject(), "the path must be absolute"));
    }
    match std::fs::metadata(path) {
        Ok(found) if found.is_dir() => Ok(()),
        Ok(_) => Err(Error::invalid(subject(), "it is not a directory")),
        Err(e) => Err(Error::io(subject(), e)),
    }
}

/// An image asks for volumes at certain paths: anonymous ones, unless something else is mounted there.
fn add_image_volumes(spec: &mut ContainerSpec, config: &ImageConfig) -> Result<()> {
    for target in &config.config.volumes {
        let target = format!("/{}", target.trim_matches('/'));
        let taken = spec.mounts.iter().any(|mount| mount.target.trim_end_matches('/') == target);
        if taken || target == "/" {
            continue;
        }
        spec.mounts.push(MountSpec {
            target,
            read_only: false,
            kind: MountKind::Volume(VolumeMountSpec::default()),
        });
    }
    Ok(())
}

/// Finds or makes the volumes, and gives every anonymous one its name. Nobody can remove them while the claims live.
async fn claim_volumes(parts: &Parts, spec: &mut ContainerSpec) -> Result<Vec<Claim>> {
    let mut claims = Vec::new();
    for mount in &mut spec.mounts {
        let MountKind::Volume(volume) = &mut mount.kind else { continue };
        match attach::ensure(parts, volume, spec.auto_remove).await {
            Ok(claim) => {
                volume.name = Some(claim.record().name.clone());
                claims.push(claim);
            }
            Err(e) => {
                let _ = attach::abandon(parts, claims).await;
                return Err(e);
            }
        }
    }
    Ok(claims)
}

/// Docker's rule: a volume that is empty is given what the image has at its path.
async fn fill_volumes(
    parts: &Parts,
    id: &ContainerId,
    record: &ContainerRecord,
    claims: &[Claim],
) -> Result<()> {
    let wanted = |name: &VolumeName| {
        record.spec.mounts.iter().find_map(|mount| match &mount.kind {
            MountKind::Volume(volume)
                if volume.name.as_ref() == Some(name) && !volume.no_copy && volume.subpath.is_none() =>
            {
                Some(mount.target.clone())
            }
            _ => None,
        })
    };
    let targets: Vec<(&VolumeRecord, String)> =
        claims.iter().filter_map(|claim| Some((claim.record(), wanted(&claim.record().name)?))).collect();
    if targets.is_empty() || record.chain.is_empty() {
        return Ok(());
    }
    let view = view::of_chain(parts, &record.chain).await?;
    for (volume, target) in targets {
        let path = attach::mount(parts, volume, id).await?;
        let filled = attach::populate(parts, volume, &path, view.as_fd(), &target).await;
        parts.volume_driver(&volume.driver)?.unmount(&volume.name, id.as_str()).await?;
        filled?;
    }
    Ok(())
}

/// Writes the record, under the name asked for or one made up.
async fn insert(
    parts: &Parts,
    id: &ContainerId,
    record: ContainerRecord,
) -> Result<(ContainerName, ContainerRecord)> {
    let id = id.clone();
    // A container that removes itself is gone after a loss of power in any case.
    let durability = if record.spec.auto_remove { Durability::Relaxed } else { Durability::Full };
    // Nobody decides on the image meanwhile.
    let _quiet = match record.image {
        Some(_) => Some(image::hold::quiet(&parts.root).await?),
        None => None,
    };
    parts
        .store
        .write(durability, move |tx| {
            // Whoever removes an image looks for containers of it in the same transaction.
            if let Some(image) = &record.image
                && images::get(tx, image)?.is_none()
            {
                return Err(Error::not_found(format!("image {image}")).because("it was removed meanwhile"));
            }
            let name = match &record.spec.name {
                Some(name) if containers::insert(tx, &id, name, Timestamp::now(), &record)? => name.clone(),
                Some(name) => return Err(taken(tx, name)?),
                None => insert_as_any(tx, &id, &record)?,
            };
            for mount in &record.spec.mounts {
                if let MountKind::Volume(VolumeMountSpec { name: Some(volume), .. }) = &mount.kind {
                    volumes::add_user(tx, volume, &id)?;
                }
            }
            Ok((name, record))
        })
        .await
}

fn insert_as_any(tx: &Tx<'_>, id: &ContainerId, record: &ContainerRecord) -> Result<ContainerName> {
    for attempt in 0..MAX_NAMES {
        let name = names::random(attempt)?;
        if containers::insert(tx, id, &name, Timestamp::now(), record)? {
            return Ok(name);
        }
    }
    Err(Error::new(ErrorKind::Conflict, "a new container")
        .because("every name that was made up is taken")
        .with_remedy("give it a name"))
}

/// The name belongs to another container.
pub(super) fn taken(tx: &Tx<'_>, name: &ContainerName) -> Result<Error> {
    let owner = containers::by_name(tx, name.as_str())?;
    let owner = owner.map_or_else(|| "another one".to_owned(), |row| row.id.to_string());
    Ok(Error::new(ErrorKind::Conflict, format!("container name \"/{name}\""))
        .because(format!("it is already in use by container {owner}"))
        .with_remedy("remove or rename that container, or choose another name"))
}
