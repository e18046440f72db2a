//! Lists of containers, by docker's filters.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::info::{ContainerStatus, ContainerSummary};
use super::record::ContainerRecord;
use super::{health, oci, plan, reconcile, state};
use crate::error::{Error, Result};
use crate::id::{ContainerId, ImageId};
use crate::image::config::RunConfig;
use crate::image::driver::NamedImage;
use crate::network::driver::Endpoint;
use crate::parts::Parts;
use crate::reference::Reference;
use crate::spec::{Filter, MountKind, MountSpec, NetworkMode, RootSource};
use crate::store::containers::{self, ContainerRow};
use crate::store::endpoints;

/// Which containers to list.
#[derive(Clone, Debug, Default)]
pub struct ListSpec {
    /// Those that do not run too.
    pub all: bool,
    /// Only so many of the newest, running or not.
    pub last: Option<usize>,
    /// Compute the bytes each has written.
    pub size: bool,
    /// docker's filters: `id`, `name`, `label`, `status`, `exited`, `ancestor`, `before`, `since`, `volume`,
    /// `network`, `publish`, `expose`, `health`.
    pub filter: Filter,
}

const FILTERS: [&str; 13] = [
    "ancestor", "before", "exited", "expose", "health", "id", "label", "name", "network", "publish", "since",
    "status", "volume",
];

pub(super) async fn list(parts: &Arc<Parts>, list: &ListSpec) -> Result<Vec<ContainerSummary>> {
    list.filter.allow(&FILTERS)?;
    check_status(&list.filter)?;
    let (rows, leases) = parts.store.read(|tx| Ok((containers::list(tx)?, endpoints::list(tx)?))).await?;
    let images = images(parts).await?;
    let bounds = Bounds::find(parts, &list.filter, &rows).await?;
    let mut summaries = Vec::new();
    // A status, an exit code or a number of the newest is asked of stopped containers too, as in docker.
    let stopped_too = list.all
        || list.last.is_some()
        || list.filter.values("status").is_some()
        || list.filter.values("exited").is_some();
    for row in rows {
        let Some(row) = reconcile::settle(parts, row).await? else { continue };
        let mut state = state::of(parts, &row)?;
        if !state.running && !stopped_too {
            continue;
        }
        let run =
            row.record.image.as_ref().and_then(|id| images.get(id)).and_then(|image| image.run.as_ref());
        if !state.running && health::is_checked(&row.record.spec.health, run) {
            state.health = Some(health::ended());
        }
        let mut summary = summarise(&row, state, &images, &leases);
        if !selects(&list.filter, &bounds, &row, &summary, &images) {
            continue;
        }
        if list.size {
            summary.size = Some(parts.images.written(row.id.as_str()).await?);
        }
        summaries.push(summary);
        if list.last.is_some_and(|last| summaries.len() >= last) {
            break;
        }
    }
    Ok(summaries)
}

/// An image, with what it says of how to run it: read once, however many containers it has.
struct Image {
    named: NamedImage,
    run: Option<RunConfig>,
}

async fn images(parts: &Parts) -> Result<BTreeMap<ImageId, Image>> {
    let images = parts.images.images().await?.into_iter().map(|named| {
        let run = plan::config_of(&named.image).ok().map(|config| config.config);
        (named.image.id.clone(), Image { named, run })
    });
    Ok(images.collect())
}

fn summarise(
    row: &ContainerRow,
    state: super::ContainerState,
    images: &BTreeMap<ImageId, Image>,
    leases: &[(ContainerId, crate::id::NetworkId, Endpoint)],
) -> ContainerSummary {
    let spec = &row.record.spec;
    let image = row.record.image.as_ref().and_then(|id| images.get(id));
    let endpoint =
        leases.iter().find(|(id, ..)| *id == row.id && state.running).map(|(.., endpoint)| endpoint);
    let config = image.and_then(|image| image.run.as_ref());
    let image = image.map(|image| &image.named);
    let command = oci::command(spec, config);
    let mut labels = config.map(|config| config.labels.clone()).unwrap_or_default();
    labels.extend(spec.labels.clone());
    ContainerSummary {
        id: row.id.clone(),
        name: row.name.to_string(),
        image: image_name(&row.record, image),
        image_id: row.record.image.clone(),
        command,
        created: row.created,
        ports: endpoint.map(|endpoint| endpoint.ports.clone()).unwrap_or_default(),
        exposed: config.map(|config| config.exposed_ports.iter().cloned().collect()).unwrap_or_default(),
        labels,
        networks: BTreeMap::from([(spec.network.to_string(), endpoint.map(|endpoint| endpoint.address))]),
        mounts: spec.mounts.iter().filter_map(mount_name).collect(),
        size: None,
        image_size: image.map(|image| image.image.size),
        state,
    }
}

/// The image as it was asked for, if that still means it; else by its identifier.
fn image_name(record: &ContainerRecord, image: Option<&NamedImage>) -> String {
    match &record.spec.root {
        RootSource::Directory { path, .. } => path.display().to_string(),
        RootSource::Image(name) => {
            let still = match (name.parse::<Reference>(), image) {
                (Ok(reference), Some(image)) => {
                    image.tags.contains(&reference)
                        || image.digests.iter().any(|d| d.digest() == reference.digest())
                }
                (Err(_), _) => true,
                (_, None) => false,
            };
            match (&record.image, still) {
                (Some(id), false) => id.short().to_owned(),
                _ => name.clone(),
            }
        }
    }
}

fn mount_name(mount: &MountSpec) -> Option<String> {
    match &mount.kind {
        MountKind::Volume(volume) => volume.name.as_ref().map(ToString::to_string),
        MountKind::Bind(bind) => Some(bind.source.display().to_string()),
        MountKind::Tmpfs(_) => None,
    }
}

fn check_status(filter: &Filter) -> Result<()> {
    const KNOWN: [&str; 7] = ["created", "restarting", "running", "removing", "paused", "exited", "dead"];
    for status in filter.values("status").unwrap_or_default() {
        if !KNOWN.contains(&status.as_str()) {
            return Err(Error::invalid(format!("filter status={status}"), "no container has that status")
                .with_remedy(format!("use one of: {}", KNOWN.join(", "))));
        }
    }
    const HEALTH: [&str; 4] = ["none", "starting", "healthy", "unhealthy"];
    for health in filter.values("health").unwrap_or_default() {
        if !HEALTH.contains(&health.as_str()) {
            return Err(Error::invalid(format!("filter health={health}"), "no container's health is that")
                .with_remedy(format!("use one of: {}", HEALTH.join(", "))));
        }
    }
    for code in filter.values("exited").unwrap_or_default() {
        if code.parse::<i32>().is_err() {
            return Err(Error::invalid(format!("filter exited={code}"), "an exit code is a number"));
        }
    }
    Ok(())
}

/// The containers that `before` and `since` name: by their time of creation, and the images of `ancestor`.
struct Bounds {
    before: Option<crate::spec::Timestamp>,
    since: Option<crate::spec::Timestamp>,
    ancestors: Option<BTreeSet<ImageId>>,
}

impl Bounds {
    async fn find(parts: &Parts, filter: &Filter, rows: &[ContainerRow]) -> Result<Bounds> {
        let created = |key: &str| -> Result<Option<crate::spec::Timestamp>> {
            let Some(name) = filter.values(key).and_then(<[String]>::first) else { return Ok(None) };
            rows.iter()
                .find(|row| row.name.as_str() == name || row.id.as_str().starts_with(name.as_str()))
                .map(|row| Some(row.created))
                .ok_or_else(|| Error::not_found(format!("container {name}")))
        };
        let mut ancestors = filter.values("ancestor").map(|_| BTreeSet::new());
        for name in filter.values("ancestor").unwrap_or_default() {
            // docker lists nothing for an image that is not there.
            if let (Ok(image), Some(ancestors)) =
                (crate::image::resolve::resolve(parts, name).await, ancestors.as_mut())
            {
                ancestors.insert(image.id);
            }
        }
        Ok(Bounds { before: created("before")?, since: created("since")?, ancestors })
    }
}

fn selects(
    filter: &Filter,
    bounds: &Bounds,
    row: &ContainerRow,
    summary: &ContainerSummary,
    images: &BTreeMap<ImageId, Image>,
) -> bool {
    let spec = &row.record.spec;
    let port_is = |wanted: &String, published: bool| {
        let (port, protocol) = wanted.split_once('/').unwrap_or((wanted, "tcp"));
        let published_port = summary.ports.iter().any(|p| {
            p.protocol.to_string() == protocol && in_range(port, if published { p.host } else { p.container })
        });
        published_port || (!published && summary.exposed.iter().any(|e| *e == format!("{port}/{protocol}")))
    };
    filter.any("id", |id| row.id.as_str().starts_with(id.as_str()))
        && filter.any("name", |name| row.name.as_str().contains(name.trim_start_matches('/')))
        && filter.labels(&summary.labels)
        && filter.any("status", |status| summary.state.status.as_str() == status)
        && filter.any("exited", |code| {
            summary.state.status == ContainerStatus::Exited && summary.state.exit_code.to_string() == *code
        })
        && bounds.ancestors.as_ref().is_none_or(|ancestors| descends(row, ancestors, images))
        && bounds.before.is_none_or(|before| row.created < before)
        && bounds.since.is_none_or(|since| row.created > since)
        && filter.any("volume", |volume| {
            summary.mounts.contains(volume) || spec.mounts.iter().any(|mount| mount.target == *volume)
        })
        && filter.any("network", |network| match &spec.network {
            NetworkMode::Network(name) => name.as_str() == network,
            other => other.to_string() == *network,
        })
        && filter.any("publish", |port| port_is(port, true))
        && filter.any("expose", |port| port_is(port, false))
        && filter.any("health", |health| {
            summary.state.health.as_ref().map_or("none", |found| found.status.as_str()) == health
        })
}

fn in_range(range: &str, port: u16) -> bool {
    let (low, high) = range.split_once('-').unwrap_or((range, range));
    matches!((low.parse::<u16>(), high.parse::<u16>()), (Ok(low), Ok(high)) if (low..=high).contains(&port))
}

/// Whether the container's image is one of `ancestors`, or built on one.
fn descends(row: &ContainerRow, ancestors: &BTreeSet<ImageId>, images: &BTreeMap<ImageId, Image>) -> bool {
    let Some(image) = &row.record.image else { return false };
    ancestors.contains(image)
        || ancestors.iter().filter_map(|id| images.get(id)).any(|ancestor| {
            let chain = ancestor.named.image.chain();
            !chain.is_empty() && row.record.chain.starts_with(&chain)
        })
}
