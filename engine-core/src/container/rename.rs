//! Giving a container another name.

use super::{Container, create, facts, naming};
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
    endpoint::rename(&container.parts, &row.id, naming::names(&row)).await?;
    facts::tell(&container.parts, &row, "rename", &[("oldName", &format!("/{old}"))]);
    Ok(())
}
