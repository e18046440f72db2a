//! Volumes: directories that outlive containers.

pub(crate) mod attach;
#[cfg(any(test, feature = "conformance"))]
pub mod conformance;
mod copy_up;
pub mod driver;
mod info;
pub(crate) mod life;
pub(crate) mod local;
mod lock;

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;

pub use info::{VolumeInfo, VolumePruneReport, VolumeSpec};

use self::life::{DEFAULT_DRIVER, VolumeParts};
use crate::error::{Error, ErrorKind, Faults, Result, Subject};
use crate::event::EventKind;
use crate::id::VolumeName;
use crate::parts::Parts;
use crate::spec::Filter;
use crate::store::blocking;
use crate::store::volumes::{self, VolumeRecord};
use crate::sys::tree;

/// The volumes of an engine.
#[derive(Clone)]
pub struct Volumes {
    parts: Arc<Parts>,
}

impl Volumes {
    pub(crate) fn new(parts: Arc<Parts>) -> Volumes {
        Volumes { parts }
    }

    /// Makes a volume. One that is there already is left as it is.
    ///
    /// # Errors
    /// [`ErrorKind::Conflict`] if it is there and another driver than the one asked for made it;
    /// [`InvalidInput`](ErrorKind::InvalidInput) for options that the driver does not know.
    pub async fn create(&self, volume: VolumeSpec) -> Result<VolumeInfo> {
        create(self.volumes(), volume).await
    }

    /// The volume of that name.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`].
    pub async fn inspect(&self, name: &str) -> Result<VolumeInfo> {
        inspect(self.volumes(), name).await
    }

    /// The volumes that the filter (`dangling`, `driver`, `label`, `name`) selects, by name.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`] for a filter that is not known.
    pub async fn list(&self, filter: &Filter) -> Result<Vec<VolumeInfo>> {
        list(self.volumes(), filter).await
    }

    /// Destroys a volume with its content. With `force`, that there is none is no error.
    ///
    /// # Errors
    /// [`ErrorKind::InUse`], naming the containers that have it.
    pub async fn remove(&self, name: &str, force: bool) -> Result<()> {
        remove(self.volumes(), name, force).await
    }

    /// Destroys volumes that no container has: anonymous ones, or with the filter `all=true` named ones too; `label`
    /// and `label!` restrict it further. As docker does, it keeps those of other drivers than `local` and those that
    /// were made with options.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`] for a filter that is not known.
    pub async fn prune(&self, filter: &Filter) -> Result<VolumePruneReport> {
        let report = prune(self.volumes(), filter).await?;
        self.parts.tell_prune(EventKind::Volume, report.reclaimed);
        Ok(report)
    }

    fn volumes(&self) -> VolumeParts<'_> {
        (&self.parts).into()
    }
}

async fn create(parts: VolumeParts<'_>, volume: VolumeSpec) -> Result<VolumeInfo> {
    let driver = volume.driver.clone();
    let claim = life::find_or_make(parts, life::record(volume)?, driver.as_deref()).await?;
    Ok(info(parts, claim.record().clone()))
}

async fn inspect(parts: VolumeParts<'_>, name: &str) -> Result<VolumeInfo> {
    let wanted = parse(name)?;
    let found = parts.store().read(move |tx| volumes::get(tx, &wanted)).await?;
    found.map(|record| info(parts, record)).ok_or_else(|| not_found(name))
}

async fn list(parts: VolumeParts<'_>, filter: &Filter) -> Result<Vec<VolumeInfo>> {
    filter.allow(&["dangling", "driver", "label", "name"])?;
    let dangling = flag(filter, "dangling")?;
    let (records, used) = parts.store().read(|tx| Ok((volumes::list(tx)?, volumes::used(tx)?))).await?;
    let used: BTreeSet<VolumeName> = used.into_iter().collect();
    let selected = records.into_iter().filter(|volume| {
        dangling.is_none_or(|dangling| used.contains(&volume.name) != dangling)
            && filter.any("driver", |driver| *driver == volume.driver)
            && filter.any("name", |part| volume.name.as_str().contains(part.as_str()))
            && filter.labels(&volume.labels)
    });
    Ok(selected.map(|record| info(parts, record)).collect())
}

async fn remove(parts: VolumeParts<'_>, name: &str, force: bool) -> Result<()> {
    let result = match parse(name) {
        Ok(name) => life::remove(parts, &name).await,
        Err(e) => Err(e),
    };
    match result {
        Err(e) if force && e.is(ErrorKind::NotFound) && e.subject() == not_found(name).subject() => Ok(()),
        result => result,
    }
}

async fn prune(parts: VolumeParts<'_>, filter: &Filter) -> Result<VolumePruneReport> {
    filter.allow(&["all", "label", "label!"])?;
    let all = flag(filter, "all")?.unwrap_or(false);
    let (records, used) = parts.store().read(|tx| Ok((volumes::list(tx)?, volumes::used(tx)?))).await?;
    let used: BTreeSet<VolumeName> = used.into_iter().collect();
    let mut report = VolumePruneReport::default();
    let mut faults = Faults::new();
    for record in records {
        let selected = (all || record.anonymous)
            && record.driver == DEFAULT_DRIVER
            && record.options.is_empty()
            && !used.contains(&record.name)
            && filter.labels(&record.labels)
            && !carries_any(filter.values("label!"), &record);
        if !selected {
            continue;
        }
        let size = size(parts, &record).await.unwrap_or(0);
        match life::remove_unused(parts, &record).await {
            Ok(true) => {
                report.reclaimed = report.reclaimed.saturating_add(size);
                report.deleted.push(record.name);
            }
            result => faults.note(result),
        }
    }
    faults.into_result().map(|()| report)
}

/// Whether the volume has one of the labels, given as `key` or `key=value`.
fn carries_any(labels: Option<&[String]>, volume: &VolumeRecord) -> bool {
    labels.unwrap_or_default().iter().any(|label| {
        let mut one = Filter::new();
        one.add("label", label);
        one.labels(&volume.labels)
    })
}

/// The bytes that the volume's files take up.
pub(crate) async fn size(parts: impl Into<VolumeParts<'_>>, record: &VolumeRecord) -> Result<u64> {
    let path = parts.into().driver(&record.driver)?.path(&record.name);
    blocking(move || {
        let subject = || format!("directory {}", path.display());
        let directory = std::fs::File::open(&path).subject(subject)?;
        tree::tree_size(std::os::fd::AsFd::as_fd(&directory)).subject(subject)
    })
    .await
}

/// A name that no volume can have is the name of a volume that is not there.
fn parse(name: &str) -> Result<VolumeName> {
    name.parse().map_err(|_| not_found(name))
}

fn not_found(name: &str) -> Error {
    Error::not_found(format!("volume {name}")).with_remedy("`engine volume ls` lists the volumes there are")
}

fn flag(filter: &Filter, key: &str) -> Result<Option<bool>> {
    let mut value = None;
    for text in filter.values(key).unwrap_or_default() {
        value = match text.as_str() {
            "true" | "1" => Some(true),
            "false" | "0" => Some(false),
            _ => return Err(Error::invalid(format!("filter {key}={text:?}"), "must be true or false")),
        };
    }
    Ok(value)
}

fn info(parts: VolumeParts<'_>, record: VolumeRecord) -> VolumeInfo {
    // The volume of a driver that this engine does not have is still one to be listed.
    let mountpoint =
        parts.driver(&record.driver).map_or_else(|_| PathBuf::new(), |driver| driver.path(&record.name));
    VolumeInfo {
        created_at: record.created,
        driver: record.driver,
        labels: record.labels,
        mountpoint,
        name: record.name,
        options: record.options,
        scope: "local",
    }
}

#[cfg(test)]
mod tests;
