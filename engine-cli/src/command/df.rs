//! `engine system df`.

use engine_core::spec::Timestamp;
use engine_core::{DiskTotal, DiskUsage, VolumeUsage};
use serde::Serialize;

use super::{images, ps};
use crate::app::App;
use crate::args::system::Df;
use crate::exit::{Failure, Outcome};
use crate::render::list::{List, Row, Shape};
use crate::render::template::{Purpose, Template};
use crate::render::{json, list, print, size};

const LIST: List = List {
    fields: &[
        ("Type", "TYPE"),
        ("TotalCount", "TOTAL"),
        ("Active", "ACTIVE"),
        ("Size", "SIZE"),
        ("Reclaimable", "RECLAIMABLE"),
    ],
    table: "{{.Type}}\t{{.TotalCount}}\t{{.Active}}\t{{.Size}}\t{{.Reclaimable}}",
    quiet: "Type",
};

const IMAGES: &str = "{{.Repository}}\t{{.Tag}}\t{{.ID}}\t{{.CreatedSince}}\t{{.Size}}\t{{.SharedSize}}\t\
                      {{.UniqueSize}}\t{{.Containers}}";
const CONTAINERS: &str = "{{.ID}}\t{{.Image}}\t{{.Command}}\t{{.LocalVolumes}}\t{{.Size}}\t{{.RunningFor}}\t\
                          {{.Status}}\t{{.Names}}";
const VOLUMES: List = List {
    fields: &[("Name", "VOLUME NAME"), ("Links", "LINKS"), ("Size", "SIZE")],
    table: "{{.Name}}\t{{.Links}}\t{{.Size}}",
    quiet: "Name",
};
const BUILD_CACHE: List = List {
    fields: &[
        ("ID", "CACHE ID"),
        ("CacheType", "CACHE TYPE"),
        ("Size", "SIZE"),
        ("CreatedSince", "CREATED"),
        ("LastUsedSince", "LAST USED"),
        ("UsageCount", "USAGE"),
        ("Shared", "SHARED"),
    ],
    table: "{{.ID}}\t{{.CacheType}}\t{{.Size}}\t{{.CreatedSince}}\t{{.LastUsedSince}}\t{{.UsageCount}}\t{{.Shared}}",
    quiet: "ID",
};

/// Shows what the store takes up on disk.
pub(super) async fn df(args: Df, app: App) -> Outcome {
    let engine = app.engine().await?;
    let usage = engine.system().disk_usage().await?;
    let text = match args.verbose {
        true => Details::of(usage).render(args.format.as_deref())?,
        false => {
            let shape = Shape::of(&LIST, args.format.as_deref(), false, None, LIST.table);
            list::render(&LIST, &shape, &totals(&usage))?
        }
    };
    print(&text)?;
    Ok(0)
}

/// A row for each kind of object. There is no cache of builds: its row is docker's, for those who look for it.
fn totals(usage: &DiskUsage) -> [Row; 4] {
    let row = |kind: &str, total: DiskTotal, reclaimable: String| {
        Row::new([
            ("Type", kind.to_owned()),
            ("TotalCount", total.count.to_string()),
            ("Active", total.active.to_string()),
            ("Size", size::long(total.size)),
            ("Reclaimable", reclaimable),
        ])
    };
    let with_share = |kind, total| row(kind, total, reclaimable(total));
    [
        with_share("Images", usage.of_images()),
        with_share("Containers", usage.of_containers()),
        with_share("Local Volumes", usage.of_volumes()),
        row("Build Cache", DiskTotal::default(), size::long(0)),
    ]
}

/// `1.982MB (50%)`; without the share where there is nothing to have a share of.
fn reclaimable(total: DiskTotal) -> String {
    let bytes = size::long(total.reclaimable);
    let share = u128::from(total.reclaimable) * 100;
    share.checked_div(u128::from(total.size)).map_or(bytes.clone(), |share| format!("{bytes} ({share}%)"))
}

/// Every object with what it takes up.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Details {
    images: Vec<Row>,
    containers: Vec<Row>,
    volumes: Vec<Row>,
    build_cache: Vec<Row>,
}

impl Details {
    fn of(usage: DiskUsage) -> Details {
        let now = Timestamp::now();
        let containers = usage.containers.into_iter().map(|mut container| {
            // The size here is that of the container alone.
            container.image_size = None;
            ps::row(&container, now, false)
        });
        Details {
            images: usage.images.iter().flat_map(|image| images::rows(image, now, false, false)).collect(),
            containers: containers.collect(),
            volumes: usage.volumes.iter().map(volume).collect(),
            build_cache: Vec::new(),
        }
    }

    fn render(&self, format: Option<&str>) -> Result<String, Failure> {
        match format {
            None | Some("" | "table") => self.tables(),
            Some("json") => Ok(json::line(self)? + "\n"),
            Some(source) => Ok(Template::parse(source, Purpose::Data)?.render(self)? + "\n"),
        }
    }

    fn tables(&self) -> Result<String, Failure> {
        let table = |list: &List, template: &str, rows: &[Row]| {
            list::render(list, &Shape::Table(template.to_owned()), rows)
        };
        Ok(format!(
            "Images space usage:\n\n{}\nContainers space usage:\n\n{}\nLocal Volumes space usage:\n\n{}\n\
             Build cache usage: 0B\n\n{}",
            table(&images::LIST, IMAGES, &self.images)?,
            table(&ps::LIST, CONTAINERS, &self.containers)?,
            table(&VOLUMES, VOLUMES.table, &self.volumes)?,
            table(&BUILD_CACHE, BUILD_CACHE.table, &self.build_cache)?,
        ))
    }
}

fn volume(volume: &VolumeUsage) -> Row {
    Row::new([
        ("Name", volume.name.to_string()),
        ("Links", volume.links.to_string()),
        ("Size", volume.size.map_or_else(|| "N/A".to_owned(), size::long)),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_told_where_there_is_something() {
        let of = |size, reclaimable| super::reclaimable(DiskTotal { count: 1, active: 0, size, reclaimable });
        assert_eq!(of(4000, 1000), "1kB (25%)");
        assert_eq!(of(0, 0), "0B");
        assert_eq!(of(u64::MAX, u64::MAX), "18.45EB (100%)");
    }
}
