//! Remove: names first, and with its last name the image, by docker's rules.
//!
//! By name, that name is taken away; if it was the last one the image goes with it, unless a container needs it. By
//! identifier, the image goes with all its names, if they are within one repository. `force` overrides everything but
//! a running container; the layers under a container that is left stay until it goes.

use super::driver::{ImageRecord, NamedImage};
use super::hold::{Collecting, collecting};
use super::info::ImageRemoveReport;
use super::resolve::{Named, find, no_such_image};
use super::{facts, gc};
use crate::error::{Error, ErrorKind, Result};
use crate::id::{ContainerId, ImageId};
use crate::parts::Parts;
use crate::reference::Reference;
use crate::store::containers::{self, ContainerRow};

/// Takes a name away, or all of them, and the image with its last name.
pub(super) async fn remove(parts: &Parts, name: &str, force: bool) -> Result<ImageRemoveReport> {
    let lock = collecting(&parts.root).await?;
    let (image, named) = find(&*parts.images, name).await?;
    let mut report = ImageRemoveReport::default();
    let gone = match named {
        Named::Reference(reference) => by_name(parts, &image, reference, force, &mut report).await?,
        Named::Identifier => by_identifier(parts, &image, name, force, &mut report).await?,
    };
    if gone {
        forget(parts, lock, image, &mut report).await?;
    }
    Ok(report)
}

/// Whether the image itself is to go.
async fn by_name(
    parts: &Parts,
    image: &ImageRecord,
    reference: Reference,
    force: bool,
    report: &mut ImageRemoveReport,
) -> Result<bool> {
    let named = names(parts, &image.id).await?;
    let users = users(parts, &image.id).await?;
    let last = one_repository(&named);
    if let Some(user) = users.first().filter(|_| last && !force) {
        return Err(Error::new(ErrorKind::Conflict, format!("image {}", reference.familiar()))
            .because(format!(
                "conflict: unable to remove repository reference {:?} (must force) - container {} is using its \
                 referenced image {}",
                reference.familiar(),
                user.short(),
                image.id.short()
            ))
            .with_remedy(format!("remove container {} first, or pass force", user.short())));
    }
    // Digests go with the last tag of their repository: they came with it, and nobody would think of them.
    let same = |other: &&Reference| other.familiar_name() == reference.familiar_name();
    let tagged = named.tags.iter().filter(same).any(|other| *other != reference);
    let mut going = vec![reference.clone()];
    if reference.digest().is_none() && !tagged {
        going.extend(named.digests.iter().filter(same).cloned());
    }
    let left = (named.tags.len() + named.digests.len()).saturating_sub(going.len());
    if left == 0 {
        // The name goes only if the image may.
        check_users(parts, image, force).await?;
    }
    untag(parts, image, &going, report).await?;
    Ok(left == 0)
}

async fn by_identifier(
    parts: &Parts,
    image: &ImageRecord,
    name: &str,
    force: bool,
    report: &mut ImageRemoveReport,
) -> Result<bool> {
    let named = names(parts, &image.id).await?;
    check_users(parts, image, force).await?;
    if !force && !one_repository(&named) {
        return Err(conflict(image, true, "image is referenced in multiple repositories")
            .with_remedy(format!("remove its names one by one, or pass force to remove all of {name}")));
    }
    let all: Vec<Reference> = named.tags.into_iter().chain(named.digests).collect();
    untag(parts, image, &all, report).await?;
    Ok(true)
}

async fn names(parts: &Parts, id: &ImageId) -> Result<NamedImage> {
    parts.images.get(id).await?.ok_or_else(|| no_such_image(id.as_str()))
}

/// Whether the image has no more than one tag, and digests of no other repository.
fn one_repository(named: &NamedImage) -> bool {
    match named.tags.as_slice() {
        [] => {
            let mut names: Vec<String> = named.digests.iter().map(Reference::familiar_name).collect();
            names.dedup();
            names.len() <= 1
        }
        [only] => named.digests.iter().all(|digest| digest.familiar_name() == only.familiar_name()),
        _ => false,
    }
}

async fn untag(
    parts: &Parts,
    image: &ImageRecord,
    names: &[Reference],
    report: &mut ImageRemoveReport,
) -> Result<()> {
    for name in names {
        if parts.images.untag(name).await?.is_some() {
            report.untagged.push(name.clone());
            facts::tell(parts, image, "untag");
        }
    }
    Ok(())
}

/// The image is known no more, and what only it needed goes.
async fn forget(
    parts: &Parts,
    lock: Collecting,
    image: ImageRecord,
    report: &mut ImageRemoveReport,
) -> Result<u64> {
    parts.images.forget(&image.id).await?;
    report.deleted.push(image.id.clone());
    facts::tell(parts, &image, "delete");
    let freed = gc::release(parts, lock, &[image]).await?;
    for chain in &freed.layers {
        report.deleted.push(chain.as_str().parse()?);
    }
    Ok(freed.bytes)
}

/// The same for an image that a prune chose; gives the bytes freed. `None` if it has got a user meanwhile.
pub(super) async fn prune_one(
    parts: &Parts,
    id: &ImageId,
    still: impl FnOnce(&NamedImage) -> bool,
    report: &mut ImageRemoveReport,
) -> Result<Option<u64>> {
    let lock = collecting(&parts.root).await?;
    let Some(named) = parts.images.get(id).await?.filter(still) else { return Ok(None) };
    if !users(parts, id).await?.is_empty() {
        return Ok(None);
    }
    let all: Vec<Reference> = named.tags.into_iter().chain(named.digests).collect();
    untag(parts, &named.image, &all, report).await?;
    forget(parts, lock, named.image, report).await.map(Some)
}

async fn rows(parts: &Parts, id: &ImageId) -> Result<Vec<ContainerRow>> {
    let id = id.clone();
    parts
        .store
        .read(move |tx| {
            let users = containers::of_image(tx, &id)?;
            users.iter().filter_map(|(user, _)| containers::get(tx, user).transpose()).collect()
        })
        .await
}

/// The containers that were made from the image.
async fn users(parts: &Parts, id: &ImageId) -> Result<Vec<ContainerId>> {
    Ok(rows(parts, id).await?.into_iter().map(|row| row.id).collect())
}

/// Refuses if a container needs the image: one that may be running always, another one unless forced.
async fn check_users(parts: &Parts, image: &ImageRecord, force: bool) -> Result<()> {
    let rows = rows(parts, &image.id).await?;
    let runs = |row: &&ContainerRow| row.started.is_some() && row.finished.is_none();
    if let Some(row) = rows.iter().find(runs) {
        let user = row.id.short();
        return Err(conflict(image, false, &format!("image is being used by running container {user}"))
            .with_remedy(format!("stop and remove container {user} first")));
    }
    match rows.first().filter(|_| !force) {
        Some(row) => {
            let user = row.id.short();
            Err(conflict(image, true, &format!("image is being used by stopped container {user}"))
                .with_remedy(format!("remove container {user} first, or pass force")))
        }
        None => Ok(()),
    }
}

fn conflict(image: &ImageRecord, forcible: bool, why: &str) -> Error {
    let (short, how) = (image.id.short(), if forcible { "must be forced" } else { "cannot be forced" });
    Error::new(ErrorKind::Conflict, format!("image {short}"))
        .because(format!("conflict: unable to delete {short} ({how}) - {why}"))
}
