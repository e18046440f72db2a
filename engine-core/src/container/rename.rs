//! Giving a container another name.

use super::{Container, create};
use crate::error::Result;
use crate::id::ContainerName;
use crate::store::{Durability, containers};

pub(super) async fn rename(container: &Container, name: ContainerName) -> Result<()> {
    let (id, gone) = (container.id.clone(), container.gone());
    container
        .parts
        .store
        .write(Durability::Full, move |tx| {
            if containers::get(tx, &id)?.is_none() {
                return Err(gone);
            }
            match containers::rename(tx, &id, &name)? {
                true => Ok(()),
                false => Err(create::taken(tx, &name)?),
            }
        })
        .await
}
