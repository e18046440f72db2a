//! How a volume comes and goes, so that a process that dies anywhere on the way leaves it wholly there or wholly not.
//!
//! Coming: the content is made, then recorded. Going: the record is doomed, which makes the volume not be there, then
//! the content is destroyed, then the record is deleted. Whoever makes or destroys a volume holds the exclusive lock on
//! its name; so a doomed record whose lock is free, and an empty volume that has neither record nor lock, are leftovers,
//! and whoever comes next finishes the work.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use super::driver::VolumeDriver;
use super::info::VolumeSpec;
use super::lock::{Hold, Locks};
use crate::error::{Error, ErrorKind, Faults, Result};
use crate::event::{EventKind, SystemEvent};
use crate::id::{ContainerId, VolumeName};
use crate::parts::{self, Parts};
use crate::store::volumes::{self, VolumeRecord};
use crate::store::{Durability, Store, Tx, blocking, containers};

/// The driver of volumes for which no other one is asked.
pub(super) const DEFAULT_DRIVER: &str = "local";
/// Docker's mark of a volume that was made without a name.
const ANONYMOUS: &str = "com.docker.volume.anonymous";
/// So many containers are named in an error.
const NAMED: usize = 5;

/// What volumes need of an engine's parts.
#[derive(Clone, Copy)]
pub(crate) struct VolumeParts<'a> {
    root: &'a Path,
    store: &'a Store,
    drivers: &'a BTreeMap<String, Arc<dyn VolumeDriver>>,
    /// Who is told of what happens.
    listener: Option<&'a Parts>,
}

impl<'a> From<&'a Parts> for VolumeParts<'a> {
    fn from(parts: &'a Parts) -> VolumeParts<'a> {
        let listener = Some(parts);
        VolumeParts { listener, ..VolumeParts::new(&parts.root, &parts.store, &parts.volumes) }
    }
}

impl<'a> From<&'a Arc<Parts>> for VolumeParts<'a> {
    fn from(parts: &'a Arc<Parts>) -> VolumeParts<'a> {
        parts.as_ref().into()
    }
}

impl<'a> VolumeParts<'a> {
    pub(crate) fn new(
        root: &'a Path,
        store: &'a Store,
        drivers: &'a BTreeMap<String, Arc<dyn VolumeDriver>>,
    ) -> VolumeParts<'a> {
        VolumeParts { root, store, drivers, listener: None }
    }

    fn tell(self, action: &str, record: &VolumeRecord) {
        if let Some(parts) = self.listener {
            let event = SystemEvent::now(EventKind::Volume, action, record.name.as_str());
            parts.tell(&event.with("driver", record.driver.as_str()));
        }
    }

    pub(super) fn store(self) -> &'a Store {
        self.store
    }

    pub(super) fn driver(self, name: &str) -> Result<&'a Arc<dyn VolumeDriver>> {
        parts::driver("volume", self.drivers, name)
    }

    pub(super) fn locks(self) -> Locks {
        Locks::of(self.root)
    }

    async fn exclusive(self, name: &VolumeName) -> Result<Hold> {
        let (locks, name) = (self.locks(), name.clone());
        blocking(move || locks.exclusive(&name)).await
    }

    pub(super) async fn try_exclusive(self, name: &VolumeName) -> Result<Option<Hold>> {
        let (locks, name) = (self.locks(), name.clone());
        blocking(move || locks.try_exclusive(&name)).await
    }
}

/// A volume that is there, and that nobody can remove while this is held.
#[derive(Debug)]
pub(crate) struct Claim {
    record: VolumeRecord,
    _hold: Hold,
}

impl Claim {
    pub(crate) fn record(&self) -> &VolumeRecord {
        &self.record
    }
}

/// The record of a volume to be made.
pub(super) fn record(spec: VolumeSpec) -> Result<VolumeRecord> {
    let driver = spec.driver.as_deref().filter(|driver| !driver.is_empty()).unwrap_or(DEFAULT_DRIVER);
    let (name, anonymous) = match spec.name {
        Some(name) => (name, false),
        None => (VolumeName::anonymous()?, true),
    };
    let mut record = VolumeRecord::new(name, driver);
    record.options = spec.options;
    record.labels = spec.labels;
    record.anonymous = anonymous;
    if anonymous {
        record.labels.insert(ANONYMOUS.to_owned(), String::new());
    }
    Ok(record)
}

/// The volume of that name, made if it is not there.
///
/// # Errors
/// [`ErrorKind::Conflict`] if it is there and `driver`, which was asked for, did not make it.
pub(super) async fn find_or_make(
    parts: VolumeParts<'_>,
    wanted: VolumeRecord,
    driver: Option<&str>,
) -> Result<Claim> {
    let (locks, store, name) = (parts.locks(), parts.store.clone(), wanted.name.clone());
    let found = blocking(move || {
        let hold = locks.shared(&name)?;
        let record = store.read_now(|tx| volumes::get(tx, &name))?;
        Ok(record.map(|record| Claim { record, _hold: hold }))
    })
    .await?;
    let claim = match found {
        Some(claim) => claim,
        None => make(parts, wanted).await?,
    };
    match driver.filter(|driver| !driver.is_empty()) {
        Some(driver) if driver != claim.record.driver => {
            Err(Error::new(ErrorKind::Conflict, format!("volume {}", claim.record.name))
                .because(format!("it is there already, made by the driver {:?}", claim.record.driver))
                .with_remedy("choose another name, or remove that volume first"))
        }
        _ => Ok(claim),
    }
}

async fn make(parts: VolumeParts<'_>, wanted: VolumeRecord) -> Result<Claim> {
    let driver = parts.driver(&wanted.driver)?;
    driver.check(&wanted.options)?;
    let hold = parts.exclusive(&wanted.name).await?;
    let name = wanted.name.clone();
    let (live, leftover) =
        parts.store.read(move |tx| Ok((volumes::get(tx, &name)?, volumes::leftover(tx, &name)?))).await?;
    let record = match live {
        // Somebody else has made it meanwhile.
        Some(record) => record,
        None => {
            if let Some(leftover) = leftover {
                destroy(parts, &leftover).await?;
            }
            driver.create(&wanted.name, &wanted.options, false).await?;
            let record = parts
                .store
                .write(Durability::Full, move |tx| volumes::insert(tx, &wanted).map(|_| wanted))
                .await?;
            parts.tell("create", &record);
            record
        }
    };
    hold.share()?;
    Ok(Claim { record, _hold: hold })
}

/// Makes a volume for a container that is about to be recorded. If that never happens, the volume is a leftover.
pub(super) async fn make_for_container(
    parts: VolumeParts<'_>,
    wanted: VolumeRecord,
    volatile: bool,
) -> Result<Claim> {
    let driver = parts.driver(&wanted.driver)?;
    driver.check(&wanted.options)?;
    let hold = parts.exclusive(&wanted.name).await?;
    driver.create(&wanted.name, &wanted.options, volatile).await?;
    // The transaction that records the container makes this one durable too.
    let record = parts
        .store
        .write(Durability::Relaxed, move |tx| volumes::insert_claimed(tx, &wanted).map(|_| wanted))
        .await?;
    parts.tell("create", &record);
    Ok(Claim { record, _hold: hold })
}

/// Destroys the volume that was made for a container which will not be recorded.
pub(super) async fn unmake(parts: VolumeParts<'_>, claim: Claim) -> Result<()> {
    let name = claim.record.name.clone();
    match parts.store.read(move |tx| volumes::leftover(tx, &name)).await? {
        Some(record) => destroy(parts, &record).await,
        None => Ok(()),
    }
}

/// Removes the volume.
///
/// # Errors
/// [`ErrorKind::NotFound`]; [`ErrorKind::InUse`], naming the containers that have it.
pub(super) async fn remove(parts: VolumeParts<'_>, name: &VolumeName) -> Result<()> {
    let _hold = parts.exclusive(name).await?;
    let wanted = name.clone();
    let drivers: BTreeSet<String> = parts.drivers.keys().cloned().collect();
    let (doomed, found) = parts
        .store
        .write(Durability::Full, move |tx| {
            let Some(record) = volumes::get(tx, &wanted)? else {
                return Ok((volumes::leftover(tx, &wanted)?, false));
            };
            if !drivers.contains(&record.driver) {
                return Err(Error::new(ErrorKind::NotFound, format!("volume driver {:?}", record.driver))
                    .because(format!("it made the volume {wanted}, and this engine does not have it")));
            }
            let users = volumes::users(tx, &wanted)?;
            if !users.is_empty() {
                return Err(in_use(tx, &wanted, &users)?);
            }
            volumes::doom(tx, &wanted)?;
            Ok((Some(record), true))
        })
        .await?;
    if let Some(record) = &doomed {
        destroy(parts, record).await?;
    }
    if found { Ok(()) } else { Err(Error::not_found(format!("volume {name}"))) }
}

fn in_use(tx: &Tx<'_>, name: &VolumeName, users: &[ContainerId]) -> Result<Error> {
    let mut names = Vec::new();
    for id in users.iter().take(NAMED) {
        match containers::get(tx, id)? {
            Some(row) => names.push(format!("{} ({})", row.name, id.short())),
            None => names.push(id.short().to_owned()),
        }
    }
    let more = match users.len() - names.len() {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    Ok(Error::new(ErrorKind::InUse, format!("volume {name}"))
        .because(format!("it is in use by container {}{more}", names.join(", ")))
        .with_remedy("remove that first, stopped or not"))
}

/// Removes the volume if nobody has it and nobody is at it; whether it was so is the answer.
pub(super) async fn remove_unused(parts: VolumeParts<'_>, record: &VolumeRecord) -> Result<bool> {
    let Some(_hold) = parts.try_exclusive(&record.name).await? else { return Ok(false) };
    let name = record.name.clone();
    if !parts.store.write(Durability::Full, move |tx| volumes::doom(tx, &name)).await? {
        return Ok(false);
    }
    destroy(parts, record).await?;
    Ok(true)
}

/// Destroys what is left of volumes that were doomed.
pub(super) async fn finish(parts: VolumeParts<'_>, doomed: &[VolumeRecord]) -> Result<()> {
    let mut faults = Faults::new();
    for record in doomed {
        faults.note(finish_one(parts, &record.name, parts.exclusive(&record.name).await).await);
    }
    faults.into_result()
}

async fn finish_one(parts: VolumeParts<'_>, name: &VolumeName, hold: Result<Hold>) -> Result<bool> {
    let _hold = hold?;
    let wanted = name.clone();
    match parts.store.read(move |tx| volumes::leftover(tx, &wanted)).await? {
        Some(record) => destroy(parts, &record).await.map(|()| true),
        None => Ok(false),
    }
}

/// The lock on the name is held, and the record is one that nobody sees.
async fn destroy(parts: VolumeParts<'_>, record: &VolumeRecord) -> Result<()> {
    parts.driver(&record.driver)?.remove(&record.name).await?;
    let name = record.name.clone();
    // If a loss of power undoes this, the next one finds nothing to destroy and deletes the record again.
    parts.store.write(Durability::Relaxed, move |tx| volumes::delete(tx, &name)).await?;
    parts.tell("destroy", record);
    Ok(())
}

/// Takes away what those left who died while they made or removed a volume: a line for each thing. Goes on past
/// failures.
pub(crate) async fn sweep(parts: impl Into<VolumeParts<'_>>) -> Result<Vec<String>> {
    let parts = parts.into();
    let mut faults = Faults::new();
    let mut lines = Vec::new();
    for record in parts.store.read(volumes::leftovers).await? {
        let Some(hold) = parts.try_exclusive(&record.name).await? else { continue };
        match finish_one(parts, &record.name, Ok(hold)).await {
            Ok(true) => {
                lines.push(format!("volume {}, whose creation or removal was interrupted", record.name))
            }
            result => faults.note(result),
        }
    }
    let recorded: BTreeSet<VolumeName> = parts.store.read(volumes::names).await?.into_iter().collect();
    for driver in parts.drivers.values() {
        match driver.strays(&recorded).await {
            Ok(strays) => {
                for name in strays {
                    match remove_stray(parts, driver.as_ref(), &name).await {
                        Ok(true) => lines.push(format!("volume {name}, whose creation was interrupted")),
                        result => faults.note(result),
                    }
                }
            }
            Err(e) => faults.note(Err::<(), Error>(e)),
        }
        match driver.sweep().await {
            Ok(more) => lines.extend(more),
            Err(e) => faults.note(Err::<(), Error>(e)),
        }
    }
    faults.into_result().map(|()| lines)
}

async fn remove_stray(parts: VolumeParts<'_>, driver: &dyn VolumeDriver, name: &VolumeName) -> Result<bool> {
    let Some(_hold) = parts.try_exclusive(name).await? else { return Ok(false) };
    // It may have been recorded since; with the lock held, it will not be from here on.
    let wanted = name.clone();
    let recorded = parts
        .store
        .read(move |tx| Ok(volumes::get(tx, &wanted)?.is_some() || volumes::leftover(tx, &wanted)?.is_some()))
        .await?;
    if !recorded {
        driver.remove(name).await?;
    }
    Ok(!recorded)
}
