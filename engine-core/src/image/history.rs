//! How an image came to be, step by step.

use super::config::ImageConfig;
use super::driver::{LayerRecord, LayerStore, NamedImage};
use super::info::HistoryEntry;
use super::resolve::{no_such_image, resolve};
use crate::error::Result;
use crate::parts::Parts;

/// The steps, newest first.
pub(super) async fn history(parts: &Parts, name: &str) -> Result<Vec<HistoryEntry>> {
    let image = resolve(parts, name).await?;
    let named = parts.images.get(&image.id).await?.ok_or_else(|| no_such_image(name))?;
    let layers = LayerStore::list(&*parts.images).await?;
    steps(named, &layers)
}

fn steps(named: NamedImage, layers: &[LayerRecord]) -> Result<Vec<HistoryEntry>> {
    let config = ImageConfig::parse(named.image.config.as_bytes())?;
    let size = |chain| layers.iter().find(|layer| layer.chain == chain).map_or(0, |layer| layer.size);
    let mut sizes = named.image.chain().into_iter().map(size);
    let mut steps: Vec<HistoryEntry> = config
        .history
        .into_iter()
        .map(|step| HistoryEntry {
            id: None,
            created: step.created,
            created_by: step.created_by,
            // A step that says it made no layer made none; the others made them in order.
            size: if step.empty_layer { 0 } else { sizes.next().unwrap_or(0) },
            comment: step.comment,
            tags: Vec::new(),
        })
        .collect();
    // Tools may leave the history out, or a part of it: what is there is shown all the same.
    steps.extend(sizes.map(|size| HistoryEntry {
        id: None,
        created: named.image.created,
        created_by: String::new(),
        size,
        comment: String::new(),
        tags: Vec::new(),
    }));
    if let Some(last) = steps.last_mut() {
        last.id = Some(named.image.id);
        last.tags = named.tags;
    }
    steps.reverse();
    Ok(steps)
}
