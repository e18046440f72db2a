//! Load: images out of an archive.

use std::io::Read;
use std::sync::Arc;

use super::layout::{Found, images};
use super::scan::{Cancel, Scan};
use crate::error::Result;
use crate::event::{LoadEvent, Reporter};
use crate::id::{Digest, ImageId};
use crate::image::hold::Hold;
use crate::image::pull::{Described, content, publish};
use crate::image::{blobs, facts, gc, layers};
use crate::parts::Parts;
use crate::spec::Platform;
use crate::store::blocking;

/// Loads all images of the archive; gives their identifiers, in the archive's order.
pub(in crate::image) async fn load(
    parts: Arc<Parts>,
    archive: Box<dyn Read + Send>,
    platform: Option<Platform>,
    reporter: Reporter<LoadEvent>,
) -> Result<Vec<ImageId>> {
    let (cancel, watch) = Cancel::new();
    let (store, root) = (Arc::clone(&parts.images), parts.root.clone());
    let (scan, hold, read) = blocking(move || {
        let mut scan = Scan::default();
        let mut hold = Hold::take_now(&root, &[])?;
        let read = scan.run(&*store, &root, archive, &mut hold, &watch);
        Ok((scan, hold, read))
    })
    .await?;
    drop(cancel);
    let loaded = match read {
        Ok(()) => install(&parts, &scan, platform.as_ref(), &reporter).await,
        Err(error) => Err(error),
    };
    drop(hold);
    // The archive may hold what no image of it needed; or none of them came to be.
    let dropped = gc::drop_blobs(&parts, &scan.written).await;
    loaded.and_then(|ids| dropped.map(|_| ids))
}

async fn install(
    parts: &Parts,
    scan: &Scan,
    platform: Option<&Platform>,
    reporter: &Reporter<LoadEvent>,
) -> Result<Vec<ImageId>> {
    let mut ids = Vec::new();
    for found in images(&*parts.images, scan, platform).await? {
        let names: Vec<String> = found.names.iter().map(|name| name.familiar()).collect();
        let id = one(parts, found, platform).await?;
        match names.as_slice() {
            [] => reporter.tell(LoadEvent::Loaded { name: id.to_string() }),
            names => names.iter().for_each(|name| reporter.tell(LoadEvent::Loaded { name: name.clone() })),
        }
        ids.push(id);
    }
    Ok(ids)
}

async fn one(parts: &Parts, found: Found, platform: Option<&Platform>) -> Result<ImageId> {
    let store = &*parts.images;
    let Found { names, config, manifest, document } = found;
    let id = manifest.config.digest.clone();
    let subject =
        names.first().map_or_else(|| format!("image {id}"), |name| format!("image {}", name.familiar()));
    let described = Described::parse(&subject, &config, platform)?;
    let stack = layers::pair(&subject, &manifest.layers, &described.diff_ids)?;
    let equals = layers::equals(store, &stack).await?;
    let digest = Digest::of(&document);
    let hold = Hold::take(&parts.root, content(&digest, &manifest.config, &stack, &equals)).await?;
    let layers = layers::ensure(store, None, &stack, &equals, &Reporter::deaf()).await?;
    blobs::put(store, &id, &config).await?;
    blobs::put(store, &digest, &document).await?;
    let image = described.record(parts, &digest, manifest.media_type, &id, layers).await?;
    publish(parts, &image, &names, hold).await?;
    facts::tell(parts, &image, "load");
    Ok(id)
}
