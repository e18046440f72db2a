//! Changing the limits of a container, and when it is started again; of one that runs as well.

use super::lock::ContainerLock;
use super::oci::HostDevices;
use super::{Container, facts, oci, reconcile, restart};
use crate::error::{Error, ErrorKind, Result};
use crate::spec::{Resources, RestartPolicy, UpdateSpec};
use crate::store::containers;
use crate::store::{Durability, blocking};

/// Changes it. What the kernel has refused is not on record.
pub(super) async fn update(container: &Container, update: &UpdateSpec) -> Result<()> {
    let (parts, id) = (&container.parts, &container.id);
    let lock = ContainerLock::take(parts, id).await?;
    let (mut row, _lock) =
        reconcile::settle_locked(parts, id, lock).await?.ok_or_else(|| container.gone())?;
    let spec = &mut row.record.spec;
    let (limits, changed) = update
        .applied(&spec.resources)
        .map_err(|reason| Error::new(ErrorKind::InvalidInput, container.subject()).because(reason))?;
    if update.restart.is_some_and(|policy| policy != RestartPolicy::No) && spec.auto_remove {
        return Err(Error::new(ErrorKind::InvalidInput, container.subject())
            .because("Restart policy cannot be updated because AutoRemove is enabled for the container"));
    }
    spec.resources = limits.clone();
    spec.restart = update.restart.unwrap_or(spec.restart);
    let (host, wanted) = (parts.clone(), changed.clone());
    let in_force = blocking(move || {
        // All of them have to fit each other, not only those that change.
        let devices = HostDevices::of_limits(&limits)?;
        oci::limits(&limits, host.host()?, &devices)?;
        oci::limits(&wanted, host.host()?, &HostDevices::default())
    })
    .await?;
    let (place, running) = (reconcile::place(parts, &row), reconcile::running(parts, &row)?.is_some());
    if running && changed != Resources::default() {
        match parts.runtime.update(&place, &in_force).await {
            // It ended in this very moment.
            Err(e) if e.is(ErrorKind::Conflict) => {}
            result => result?,
        }
    }
    let (id, record) = (row.id.clone(), row.record.clone());
    parts.store.write(Durability::Full, move |tx| containers::set_record(tx, &id, &record)).await?;
    match update.restart {
        Some(policy) if running => restart::put_in_force(parts, &place, policy).await?,
        _ => {}
    }
    facts::tell(parts, &row, "update", &[]);
    Ok(())
}
