//! What the store takes up on disk, and what of that could be had back: `system df`.

use std::sync::Arc;

use crate::container::{ContainerSummary, Containers, ListSpec};
use crate::error::Result;
use crate::id::VolumeName;
use crate::image::driver::LayerStore;
use crate::image::{ImageListSpec, ImageSummary, Images};
use crate::parts::Parts;
use crate::store::volumes;
use crate::volume;

/// What the store takes up on disk.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct DiskUsage {
    /// The bytes of all unpacked layers; one that several images have counts once.
    pub layers: u64,
    /// The images, each with what it shares with others.
    pub images: Vec<ImageSummary>,
    /// The containers, each with the bytes it has written.
    pub containers: Vec<ContainerSummary>,
    /// The volumes.
    pub volumes: Vec<VolumeUsage>,
}

/// What a volume takes up.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct VolumeUsage {
    /// Its name.
    pub name: VolumeName,
    /// The bytes of its files; `None` if they cannot be looked at.
    pub size: Option<u64>,
    /// How many containers have it.
    pub links: usize,
}

/// Objects of one kind, counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DiskTotal {
    /// How many there are.
    pub count: usize,
    /// How many are in use: images and volumes that a container has, containers that run.
    pub active: usize,
    /// Their bytes.
    pub size: u64,
    /// The bytes of those that are not in use.
    pub reclaimable: u64,
}

/// Adds it all up.
pub(super) async fn usage(parts: &Arc<Parts>) -> Result<DiskUsage> {
    let images = Images::new(parts.clone()).list(&ImageListSpec::default()).await?;
    let layers = LayerStore::list(&*parts.images).await?.iter().map(|layer| layer.size).sum();
    let all = ListSpec { all: true, size: true, ..ListSpec::default() };
    let containers = Containers::new(parts.clone()).list(&all).await?;
    Ok(DiskUsage { layers, images, containers, volumes: of_volumes(parts).await? })
}

async fn of_volumes(parts: &Arc<Parts>) -> Result<Vec<VolumeUsage>> {
    let records = parts
        .store
        .read(|tx| {
            let counted = |record: volumes::VolumeRecord| {
                let links = volumes::users(tx, &record.name)?.len();
                Ok((record, links))
            };
            volumes::list(tx)?.into_iter().map(counted).collect::<Result<Vec<_>>>()
        })
        .await?;
    let mut usage = Vec::with_capacity(records.len());
    for (record, links) in records {
        // One that is just being removed, or whose driver this engine does not have, is told without a size.
        let size = volume::size(parts, &record).await.ok();
        usage.push(VolumeUsage { name: record.name, size, links });
    }
    Ok(usage)
}

impl DiskUsage {
    /// The images. Of those in use, what they share with others is not counted, as in docker.
    pub fn of_images(&self) -> DiskTotal {
        let used = self.images.iter().filter(|image| image.containers > 0);
        let kept: u64 = used.clone().map(|image| image.size.saturating_sub(image.shared_size)).sum();
        DiskTotal {
            count: self.images.len(),
            active: used.count(),
            size: self.layers,
            reclaimable: self.layers.saturating_sub(kept),
        }
    }

    /// The containers.
    pub fn of_containers(&self) -> DiskTotal {
        let of = |container: &ContainerSummary| (container.state.running, container.size.unwrap_or(0));
        total(self.containers.iter().map(of))
    }

    /// The volumes.
    pub fn of_volumes(&self) -> DiskTotal {
        total(self.volumes.iter().map(|volume| (volume.links > 0, volume.size.unwrap_or(0))))
    }
}

/// The sum of objects, each in use or not, and so large.
fn total(objects: impl Iterator<Item = (bool, u64)>) -> DiskTotal {
    objects.fold(DiskTotal::default(), |sum, (active, size)| DiskTotal {
        count: sum.count + 1,
        active: sum.active + usize::from(active),
        size: sum.size.saturating_add(size),
        reclaimable: sum.reclaimable.saturating_add(if active { 0 } else { size }),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_in_use_can_be_had_back() {
        let sum = total([(true, 5), (false, 7), (false, u64::MAX)].into_iter());
        assert_eq!(sum, DiskTotal { count: 3, active: 1, size: u64::MAX, reclaimable: u64::MAX });
        assert_eq!(total(std::iter::empty()), DiskTotal::default());
    }
}
