//! Images and what they are called.

use rusqlite::params;

use super::{Tx, column, document, parsed, to_document};
use crate::error::Result;
use crate::id::ImageId;
use crate::image::driver::{ImageRecord, NamedImage};
use crate::reference::Reference;
use crate::spec::Timestamp;

/// Records the image, or replaces its record.
pub(crate) fn put(tx: &Tx<'_>, image: &ImageRecord) -> Result<()> {
    tx.execute(
        "INSERT INTO images (id, created, record) VALUES (?1, ?2, ?3)
         ON CONFLICT (id) DO UPDATE SET record = excluded.record",
        params![image.id.as_str(), image.created.map(|t| t.nanos()), to_document(image)?],
    )?;
    Ok(())
}

/// Points the name at the image, which is recorded; it may have pointed elsewhere.
pub(crate) fn point(tx: &Tx<'_>, name: &Reference, image: &ImageId) -> Result<()> {
    tx.execute(
        "INSERT INTO image_names (reference, image, tagged) VALUES (?1, ?2, ?3)
         ON CONFLICT (reference) DO UPDATE SET image = excluded.image, tagged = excluded.tagged",
        params![name.to_string(), image.as_str(), Timestamp::now().nanos()],
    )?;
    Ok(())
}

/// The image that the name points at.
pub(crate) fn by_name(tx: &Tx<'_>, name: &Reference) -> Result<Option<ImageRecord>> {
    tx.row(
        "SELECT record FROM images JOIN image_names ON image = id WHERE reference = ?1",
        [name.to_string()],
        |row| document(row, 0),
    )
}

pub(crate) fn get(tx: &Tx<'_>, id: &ImageId) -> Result<Option<ImageRecord>> {
    tx.row("SELECT record FROM images WHERE id = ?1", [id.as_str()], |row| document(row, 0))
}

/// The images whose identifier, after `sha256:`, begins with `prefix`.
pub(crate) fn by_prefix(tx: &Tx<'_>, prefix: &str) -> Result<Vec<ImageRecord>> {
    tx.rows("SELECT record FROM images WHERE substr(id, 8, length(?1)) = ?1 LIMIT 2", [prefix], |row| {
        document(row, 0)
    })
}

/// Takes the name away; gives the image it pointed at.
pub(crate) fn unpoint(tx: &Tx<'_>, name: &Reference) -> Result<Option<ImageId>> {
    tx.row("DELETE FROM image_names WHERE reference = ?1 RETURNING image", [name.to_string()], |row| {
        parsed(row, 0)
    })
}

/// What the image is called: tags and digests.
pub(crate) fn names(tx: &Tx<'_>, id: &ImageId) -> Result<Vec<Reference>> {
    tx.rows("SELECT reference FROM image_names WHERE image = ?1 ORDER BY reference", [id.as_str()], |row| {
        parsed(row, 0)
    })
}

/// The image with its names told apart.
pub(crate) fn named(tx: &Tx<'_>, image: ImageRecord) -> Result<NamedImage> {
    let (tags, digests) = names(tx, &image.id)?.into_iter().partition(|name| name.digest().is_none());
    let tagged = tx
        .row("SELECT max(tagged) FROM image_names WHERE image = ?1", [image.id.as_str()], |row| {
            column(row, 0)
        })?
        .flatten()
        .map(Timestamp::from_nanos);
    Ok(NamedImage { image, tags, digests, tagged })
}

/// All images, newest first.
pub(crate) fn list(tx: &Tx<'_>) -> Result<Vec<NamedImage>> {
    let images: Vec<ImageRecord> =
        tx.rows("SELECT record FROM images ORDER BY created DESC, id", [], |row| document(row, 0))?;
    images.into_iter().map(|image| named(tx, image)).collect()
}

/// Forgets the image and its names.
pub(crate) fn delete(tx: &Tx<'_>, id: &ImageId) -> Result<()> {
    tx.execute("DELETE FROM images WHERE id = ?1", [id.as_str()])?;
    Ok(())
}
