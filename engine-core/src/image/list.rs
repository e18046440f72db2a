//! Lists of images, with docker's filters.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::config::ImageConfig;
use super::driver::{LayerStore, NamedImage};
use super::info::{ImageListSpec, ImageSummary};
use super::inspect::labels;
use super::pattern::matches;
use super::prune::dangling;
use super::resolve::resolve;
use crate::error::Result;
use crate::id::{ChainId, ImageId};
use crate::parts::Parts;
use crate::reference::Reference;
use crate::spec::{Filter, Timestamp};
use crate::store::containers;

/// What the filters ask for, parsed.
struct Wish<'a> {
    filter: &'a Filter,
    dangling: Option<bool>,
    /// Made before and after these times.
    before: Option<Timestamp>,
    since: Option<Timestamp>,
    until: Option<Timestamp>,
}

impl<'a> Wish<'a> {
    async fn parse(parts: &Parts, filter: &'a Filter) -> Result<Wish<'a>> {
        filter.allow(&["dangling", "label", "label!", "before", "since", "until", "reference"])?;
        let mut times = [None, None];
        for (time, key) in times.iter_mut().zip(["before", "since"]) {
            if let Some(name) = filter.values(key).and_then(|values| values.last()) {
                *time = Some(resolve(parts, name).await?.created.unwrap_or(Timestamp::from_nanos(0)));
            }
        }
        let [before, since] = times;
        let until = filter.until()?;
        Ok(Wish { filter, dangling: dangling(filter)?, before, since, until })
    }

    fn selects(&self, named: &NamedImage, labels: &BTreeMap<String, String>) -> bool {
        let created = named.image.created.unwrap_or(Timestamp::from_nanos(0));
        let dangling = match self.dangling {
            Some(true) => named.tags.is_empty(),
            Some(false) => !(named.tags.is_empty() && named.digests.is_empty()),
            None => true,
        };
        dangling
            && self.before.is_none_or(|time| created < time)
            && self.since.is_none_or(|time| created > time)
            && self.until.is_none_or(|time| created <= time)
            && self.filter.labels(labels)
    }

    /// Those names that the patterns of `reference` match; a name is matched with and without its tag.
    fn names(&self, names: Vec<Reference>) -> Vec<Reference> {
        let wanted = |name: &Reference| {
            self.filter.any("reference", |pattern| {
                matches(pattern, &name.familiar()) || matches(pattern, &name.familiar_name())
            })
        };
        names.into_iter().filter(wanted).collect()
    }
}

/// The images that the wish selects, newest first.
pub(super) async fn list(parts: &Parts, list: &ImageListSpec) -> Result<Vec<ImageSummary>> {
    let wish = Wish::parse(parts, &list.filter).await?;
    let images = parts.images.images().await?;
    let shared = Shared::of(&images, LayerStore::list(&*parts.images).await?);
    let mut users: HashMap<ImageId, u64> = HashMap::new();
    for row in parts.store.read(containers::list).await? {
        if let Some(image) = row.record.image {
            *users.entry(image).or_default() += 1;
        }
    }
    let mut summaries = Vec::with_capacity(images.len());
    for named in images {
        let labels = ImageConfig::parse(named.image.config.as_bytes()).map(labels).unwrap_or_default();
        if !wish.selects(&named, &labels) {
            continue;
        }
        let shared_size = shared.bytes(&named);
        let (tags, digests) = (wish.names(named.tags), wish.names(named.digests));
        if tags.is_empty() && digests.is_empty() && list.filter.values("reference").is_some() {
            continue;
        }
        summaries.push(ImageSummary {
            containers: users.get(&named.image.id).copied().unwrap_or_default(),
            id: named.image.id,
            tags,
            digests,
            created: named.image.created,
            size: named.image.size,
            shared_size,
            labels,
        });
    }
    Ok(summaries)
}

/// Which layers several images have, and how large they are.
struct Shared(HashMap<ChainId, u64>);

impl Shared {
    fn of(images: &[NamedImage], layers: Vec<super::driver::LayerRecord>) -> Shared {
        let (mut once, mut often) = (HashSet::new(), HashSet::new());
        for chain in images.iter().flat_map(|named| named.image.chain()) {
            if !once.insert(chain.clone()) {
                often.insert(chain);
            }
        }
        let shared = layers.into_iter().filter(|layer| often.contains(&layer.chain));
        Shared(shared.map(|layer| (layer.chain, layer.size)).collect())
    }

    fn bytes(&self, named: &NamedImage) -> u64 {
        named.image.chain().iter().filter_map(|chain| self.0.get(chain)).sum()
    }
}
