//! `engine volume`: creating, listing and removing.

use engine_core::volume::VolumeSpec;

use super::each::tell_failure;
use super::filter::filter;
use crate::app::App;
use crate::args::volume::{Create, Ls, Rm};
use crate::exit::Outcome;
use crate::render::list::{List, Row, Shape};
use crate::render::{list, print};

const LIST: List = List {
    fields: &[
        ("Name", "VOLUME NAME"),
        ("Driver", "DRIVER"),
        ("Scope", "SCOPE"),
        ("Mountpoint", "MOUNTPOINT"),
        ("Labels", "LABELS"),
        ("Links", "LINKS"),
        ("Size", "SIZE"),
        ("Group", "GROUP"),
        ("Availability", "AVAILABILITY"),
        ("Status", "STATUS"),
    ],
    table: "{{.Driver}}\t{{.Name}}",
    quiet: "Name",
};

/// Makes a volume and prints its name.
pub(super) async fn create(args: Create, app: App) -> Outcome {
    let mut spec = VolumeSpec::default();
    spec.name = args.name.map(|name| name.parse()).transpose()?;
    spec.driver = args.driver;
    spec.options = args.opt.into_iter().collect();
    spec.labels = args.label.into_iter().collect();
    let engine = app.engine().await?;
    let volume = engine.volumes().create(spec).await?;
    print(&format!("{}\n", volume.name))?;
    Ok(0)
}

/// Lists volumes.
pub(super) async fn ls(args: Ls, app: App) -> Outcome {
    let configured = if args.format.is_none() && !args.quiet { app.config().volumes_format } else { None };
    let shape = Shape::of(&LIST, args.format.as_deref(), args.quiet, configured.as_deref(), LIST.table);
    let engine = app.engine().await?;
    let volumes = engine.volumes().list(&filter(args.filter)).await?;
    let not_known = || "N/A".to_owned();
    let rows: Vec<Row> = volumes
        .iter()
        .map(|volume| {
            Row::new([
                ("Name", volume.name.to_string()),
                ("Driver", volume.driver.clone()),
                ("Scope", volume.scope.to_owned()),
                ("Mountpoint", volume.mountpoint.display().to_string()),
                ("Links", not_known()),
                ("Size", not_known()),
                ("Group", not_known()),
                ("Availability", not_known()),
                ("Status", not_known()),
            ])
            .with_labels(&volume.labels)
        })
        .collect();
    print(&list::render(&LIST, &shape, &rows)?)?;
    Ok(0)
}

/// Destroys volumes, one after the other, and prints the names of those that are gone.
pub(super) async fn rm(args: Rm, app: App) -> Outcome {
    let engine = app.engine().await?;
    let mut code = 0;
    for name in &args.names {
        match engine.volumes().remove(name, args.force).await {
            Ok(()) => print(&format!("{name}\n"))?,
            Err(e) => {
                tell_failure(&e.into());
                code = 1;
            }
        }
    }
    Ok(code)
}
