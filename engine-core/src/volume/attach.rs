//! Volumes and the containers that have them: for the containers' service.
//!
//! **Creating a container.** [`ensure`] finds or makes each of its volumes and gives a [`Claim`], to be held until the
//! container is recorded: nobody can remove the volume before. The transaction that records the container calls
//! [`add_user`](crate::store::volumes::add_user) for each volume; only that makes an anonymous one be there. If the
//! container is not recorded after all, [`abandon`] takes the claims. A process that dies in between leaves at most an
//! empty named volume, as docker does, and what a sweep finds.
//!
//! **Running it.** [`mount`] gives the directory of a volume, [`populate`] puts into it what the image has at its path,
//! and [`unmount`] ends it for all volumes of the container.
//!
//! **Removing it.** The transaction that removes the container calls
//! [`doom_anonymous`](crate::store::volumes::doom_anonymous); afterwards [`finish`] destroys what was doomed.

use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};

pub(crate) use super::life::Claim;
use super::life::{self, VolumeParts};
use super::{VolumeSpec, copy_up};
use crate::error::{Error, Faults, Result, Subject};
use crate::id::ContainerId;
use crate::spec::VolumeMountSpec;
use crate::store::blocking;
use crate::store::volumes::{self, VolumeRecord};

/// Finds or makes the volume of a mount. `volatile` says that the container goes when it ends: an anonymous volume
/// need not survive a loss of power then.
///
/// # Errors
/// [`ErrorKind::Conflict`](crate::ErrorKind::Conflict) if the volume is there and another driver than the one asked for
/// made it; [`ErrorKind::InvalidInput`](crate::ErrorKind::InvalidInput) for options its driver does not know.
pub(crate) async fn ensure(
    parts: impl Into<VolumeParts<'_>>,
    mount: &VolumeMountSpec,
    volatile: bool,
) -> Result<Claim> {
    let parts = parts.into();
    let record = life::record(VolumeSpec {
        name: mount.name.clone(),
        driver: mount.driver.clone(),
        options: mount.options.clone(),
        labels: mount.labels.clone(),
    })?;
    match mount.name {
        Some(_) => life::find_or_make(parts, record, mount.driver.as_deref()).await,
        None => life::make_for_container(parts, record, volatile).await,
    }
}

/// The container of these claims is not recorded after all: destroys the volumes that were made for it alone.
pub(crate) async fn abandon(parts: impl Into<VolumeParts<'_>>, claims: Vec<Claim>) -> Result<()> {
    let parts = parts.into();
    let mut faults = Faults::new();
    for claim in claims {
        faults.note(life::unmake(parts, claim).await);
    }
    faults.into_result()
}

/// Makes the content of the volume reachable for the container; gives the directory.
pub(crate) async fn mount(
    parts: impl Into<VolumeParts<'_>>,
    record: &VolumeRecord,
    container: &ContainerId,
) -> Result<PathBuf> {
    let parts = parts.into();
    let driver = parts.driver(&record.driver)?;
    let path = driver.mount(&record.name, &record.options, container.as_str()).await?;
    // Whoever has the volume finds it empty or whole, also if somebody died who filled it.
    let staging = driver.staging(&record.name, &record.options).unwrap_or_else(|| path.clone());
    let (locks, name, volume) = (parts.locks(), record.name.clone(), path.clone());
    blocking(move || {
        if copy_up::is_unsettled(&staging)
            && let Some(_hold) = locks.try_filling(&name)?
        {
            copy_up::settle(&volume, &staging)?;
        }
        Ok(())
    })
    .await?;
    Ok(path)
}

/// Fills the volume, which is mounted at `path`, with what the image has at `target`, if the volume is empty and the
/// image has a directory there. `view` is the root of the image's files.
pub(crate) async fn populate(
    parts: impl Into<VolumeParts<'_>>,
    record: &VolumeRecord,
    path: &Path,
    view: BorrowedFd<'_>,
    target: &str,
) -> Result<()> {
    let parts = parts.into();
    let driver = parts.driver(&record.driver)?;
    let staging = driver.staging(&record.name, &record.options).unwrap_or_else(|| path.to_owned());
    let view = view.try_clone_to_owned().subject(|| "a view of the image's files".to_owned())?;
    let (locks, name, path, target) =
        (parts.locks(), record.name.clone(), path.to_owned(), target.to_owned());
    blocking(move || {
        let _hold = locks.filling(&name)?;
        copy_up::copy_up(view.as_fd(), &target, &path, &staging).map_err(|e| {
            Error::new(e.kind(), format!("volume {name}: copy of {target} from the image"))
                .because(e.to_string())
                .with_remedy("free what is missing, or mount the volume with nocopy")
        })
    })
    .await
}

/// The container needs its volumes no longer. May be called twice, and goes on past failures.
pub(crate) async fn unmount(parts: impl Into<VolumeParts<'_>>, container: &ContainerId) -> Result<()> {
    let parts = parts.into();
    let id = container.clone();
    let mut faults = Faults::new();
    for record in parts.store().read(move |tx| volumes::of_container(tx, &id)).await? {
        match parts.driver(&record.driver) {
            Ok(driver) => faults.note(driver.unmount(&record.name, container.as_str()).await),
            Err(e) => faults.note(Err::<(), Error>(e)),
        }
    }
    faults.into_result()
}

/// Destroys what was doomed.
pub(crate) async fn finish(parts: impl Into<VolumeParts<'_>>, doomed: &[VolumeRecord]) -> Result<()> {
    life::finish(parts.into(), doomed).await
}
