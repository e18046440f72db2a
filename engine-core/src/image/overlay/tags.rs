//! Images and what they are called: rows of the database.

use async_trait::async_trait;

use super::OverlayStore;
use crate::error::Result;
use crate::id::ImageId;
use crate::image::driver::{ImageRecord, NamedImage, TagStore};
use crate::reference::Reference;
use crate::store::{Durability, images};

#[async_trait]
impl TagStore for OverlayStore {
    async fn resolve(&self, reference: &Reference) -> Result<Option<ImageRecord>> {
        let reference = reference.clone();
        self.0.store.read(move |tx| images::by_name(tx, &reference)).await
    }

    async fn by_prefix(&self, prefix: &str) -> Result<Vec<ImageRecord>> {
        let prefix = prefix.to_owned();
        self.0.store.read(move |tx| images::by_prefix(tx, &prefix)).await
    }

    async fn put(&self, image: &ImageRecord, names: &[Reference]) -> Result<()> {
        let (image, names) = (image.clone(), names.to_vec());
        let write = move |tx: &crate::store::Tx<'_>| {
            images::put(tx, &image)?;
            names.iter().try_for_each(|name| images::point(tx, name, &image.id))
        };
        self.0.store.write(Durability::Full, write).await
    }

    async fn untag(&self, reference: &Reference) -> Result<Option<ImageId>> {
        let reference = reference.clone();
        self.0.store.write(Durability::Full, move |tx| images::unpoint(tx, &reference)).await
    }

    async fn get(&self, id: &ImageId) -> Result<Option<NamedImage>> {
        let id = id.clone();
        let read = move |tx: &crate::store::Tx<'_>| match images::get(tx, &id)? {
            Some(image) => images::named(tx, image).map(Some),
            None => Ok(None),
        };
        self.0.store.read(read).await
    }

    async fn images(&self) -> Result<Vec<NamedImage>> {
        self.0.store.read(images::list).await
    }

    async fn forget(&self, id: &ImageId) -> Result<()> {
        let id = id.clone();
        self.0.store.write(Durability::Full, move |tx| images::delete(tx, &id)).await
    }
}
