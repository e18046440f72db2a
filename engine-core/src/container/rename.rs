//! Giving a container another name.

use super::lock::ContainerLock;
use super::{Container, create, facts, naming, reconcile};
use crate::error::Result;
use crate::id::ContainerName;
use crate::network::endpoint;
use crate::store::{Durability, containers};

pub(super) async fn rename(container: &Container, name: ContainerName) -> Result<()> {
    let (id, gone) = (container.id.clone(), container.gone());
    let (row, old) = container
        .parts
        .store
        .write(Durability::Full, move |tx| {
            let Some(mut row) = containers::get(tx, &id)? else { return Err(gone) };
            match containers::rename(tx, &id, &name)? {
                true => {
                    let old = std::mem::replace(&mut row.name, name);
                    Ok((row, old))
                }
                false => Err(create::taken(tx, &name)?),
            }
        })
        .await?;
    let parts = &container.parts;
    facts::tell(parts, &row, "rename", &[("oldName", &format!("/{old}"))]);
    // One that is being started gets the old name first.
    let lock = ContainerLock::take(parts, &row.id).await?;
    if reconcile::running(parts, &row)?.is_some() {
        endpoint::rename(parts, &row.id, naming::names(&row)).await?;
        // Its monitor may have taken its names away before they were there.
        if reconcile::running(parts, &row)?.is_none() {
            endpoint::rename(parts, &row.id, Vec::new()).await?;
        }
    }
    drop(lock);
    Ok(())
}
