//! `engine ps`.

use engine_core::Reference;
use engine_core::container::{ContainerSummary, ListSpec};
use engine_core::spec::Timestamp;

use super::filter::filter;
use crate::app::App;
use crate::args::container::Ps;
use crate::exit::Outcome;
use crate::render::list::{List, Row, Shape};
use crate::render::ports::ports;
use crate::render::text::{ellipsis, quote, short_id};
use crate::render::{list, print, size, time};

pub(super) const LIST: List = List {
    fields: &[
        ("ID", "CONTAINER ID"),
        ("Names", "NAMES"),
        ("Image", "IMAGE"),
        ("Command", "COMMAND"),
        ("CreatedAt", "CREATED AT"),
        ("RunningFor", "CREATED"),
        ("Ports", "PORTS"),
        ("State", "STATE"),
        ("Status", "STATUS"),
        ("Size", "SIZE"),
        ("Labels", "LABELS"),
        ("Mounts", "MOUNTS"),
        ("LocalVolumes", "LOCAL VOLUMES"),
        ("Networks", "NETWORKS"),
    ],
    table: "{{.ID}}\t{{.Image}}\t{{.Command}}\t{{.RunningFor}}\t{{.Status}}\t{{.Ports}}\t{{.Names}}",
    quiet: "ID",
};

/// Docker's width of a command, and of the name of a mount.
const COMMAND: usize = 20;
const MOUNT: usize = 15;

/// Lists containers.
pub(super) async fn ps(args: Ps, app: App) -> Outcome {
    let table = if args.size { format!("{}\t{{{{.Size}}}}", LIST.table) } else { LIST.table.to_owned() };
    let configured = if args.format.is_none() && !args.quiet { app.config().ps_format } else { None };
    let shape = Shape::of(&LIST, args.format.as_deref(), args.quiet, configured.as_deref(), &table);
    let last = if args.latest { Some(1) } else { usize::try_from(args.last).ok().filter(|n| *n > 0) };
    let wanted = ListSpec {
        all: args.all || last.is_some(),
        last,
        size: args.size || shape.names("Size"),
        filter: filter(args.filter),
    };
    let engine = app.engine().await?;
    let now = Timestamp::now();
    let summaries = engine.containers().list(&wanted).await?;
    let rows: Vec<Row> = summaries.iter().map(|summary| row(summary, now, args.no_trunc)).collect();
    print(&list::render(&LIST, &shape, &rows)?)?;
    Ok(0)
}

/// The row of a container.
pub(super) fn row(container: &ContainerSummary, now: Timestamp, whole: bool) -> Row {
    let id = container.id.as_str();
    let mounts: Vec<String> = container
        .mounts
        .iter()
        .map(|mount| if whole { mount.clone() } else { ellipsis(mount, MOUNT).into_owned() })
        .collect();
    let volumes = container.mounts.iter().filter(|mount| !mount.starts_with('/')).count();
    let networks: Vec<&str> = container.networks.keys().map(String::as_str).collect();
    Row::new([
        ("ID", if whole { id } else { short_id(id) }.to_owned()),
        ("Names", container.name.trim_start_matches('/').to_owned()),
        ("Image", image(&container.image, container.image_id.as_ref().map(AsRef::as_ref), whole)),
        ("Command", command(&container.command, whole)),
        ("CreatedAt", time::full(container.created)),
        ("RunningFor", time::ago(container.created, now)),
        ("Ports", ports(&container.ports, &container.exposed)),
        ("State", container.state.status.as_str().to_owned()),
        ("Status", container.status(now)),
        ("Size", sizes(container.size, container.image_size)),
        ("Mounts", mounts.join(",")),
        ("LocalVolumes", volumes.to_string()),
        ("Networks", networks.join(",")),
    ])
    .with_labels(&container.labels)
}

/// `2B (virtual 21.5MB)`.
fn sizes(own: Option<u64>, image: Option<u64>) -> String {
    let own = own.unwrap_or(0);
    match image {
        Some(image) if image > 0 => {
            format!("{} (virtual {})", size::short(own), size::short(own.saturating_add(image)))
        }
        _ => size::short(own),
    }
}

/// The image as the user named it; identifiers are cut, and so are digests.
fn image(name: &str, id: Option<&str>, whole: bool) -> String {
    if name.is_empty() {
        return "<no image>".to_owned();
    }
    if whole {
        return name.to_owned();
    }
    if name.starts_with("sha256:") || id.is_some_and(|id| short_id(id) == short_id(name)) {
        return short_id(name).to_owned();
    }
    let (named, digest) = name.split_once('@').map_or((name, None), |(named, digest)| (named, Some(digest)));
    match (digest, named.parse::<Reference>()) {
        (Some(_), Ok(reference)) if has_tag(named) => reference.familiar(),
        (Some(_), Ok(reference)) => reference.familiar_name(),
        _ => name.to_owned(),
    }
}

/// Whether a tag is written, and not only meant.
pub(super) fn has_tag(name: &str) -> bool {
    name.rsplit('/').next().is_some_and(|last| last.contains(':'))
}

/// The command in quotes; arguments with spaces have quotes of their own.
fn command(words: &[String], whole: bool) -> String {
    let arguments = words.iter().enumerate().map(|(i, word)| match i > 0 && word.contains(' ') {
        true => format!("'{word}'"),
        false => word.clone(),
    });
    let line = arguments.collect::<Vec<_>>().join(" ");
    quote(&if whole { line.as_str().into() } else { ellipsis(&line, COMMAND) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(words: &[&str]) -> Vec<String> {
        words.iter().map(|word| (*word).to_owned()).collect()
    }

    #[test]
    fn commands_are_quoted_and_cut() {
        assert_eq!(command(&words(&["sleep", "600"]), false), "\"sleep 600\"");
        assert_eq!(
            command(&words(&["sh", "-c", "very long command here"]), false),
            "\"sh -c 'very long co…\""
        );
        assert_eq!(command(&words(&["sh", "-c", "echo \"hi there\""]), false), "\"sh -c 'echo \\\"hi the…\"");
        assert_eq!(
            command(&words(&["sh", "-c", "very long command here"]), true),
            "\"sh -c 'very long command here'\""
        );
        assert_eq!(command(&[], false), "\"\"");
    }

    #[test]
    fn images_are_named_as_the_user_did() {
        let digest = format!("sha256:{}", "ab".repeat(32));
        assert_eq!(image("bb:1", None, false), "bb:1");
        assert_eq!(image("alpine", None, false), "alpine");
        assert_eq!(image("", None, false), "<no image>");
        assert_eq!(image(&digest, None, false), "abababababab");
        assert_eq!(image(&digest, None, true), digest);
        assert_eq!(image(&format!("alpine@{digest}"), None, false), "alpine");
        assert_eq!(image(&format!("docker.io/library/alpine:3@{digest}"), None, false), "alpine:3");
        assert_eq!(image(&format!("r:5000/a@{digest}"), None, true), format!("r:5000/a@{digest}"));
    }

    #[test]
    fn sizes_tell_those_of_the_image_too() {
        assert_eq!(sizes(None, None), "0B");
        assert_eq!(sizes(Some(2), Some(21_500_000)), "2B (virtual 21.5MB)");
    }

    #[test]
    fn the_table_is_docker_s() {
        let fields = |id: &str, command: &str, status: &str, name: &str| {
            Row::new([
                ("ID", id.to_owned()),
                ("Image", "bb:1".to_owned()),
                ("Command", command.to_owned()),
                ("RunningFor", "1 second ago".to_owned()),
                ("Status", status.to_owned()),
                ("Ports", String::new()),
                ("Names", name.to_owned()),
            ])
        };
        let rows = [
            fields("49e268a53371", "\"sh -c 'very long co…\"", "Created", "relaxed_bose"),
            fields("7834124a5fe0", "\"sleep 600\"", "Up 3 minutes", "sl"),
        ];
        let shape = Shape::Table(LIST.table.to_owned());
        assert_eq!(
            list::render(&LIST, &shape, &rows).expect("renders"),
            "CONTAINER ID   IMAGE     COMMAND                  CREATED        STATUS         PORTS     NAMES\n\
             49e268a53371   bb:1      \"sh -c 'very long co…\"   1 second ago   Created                  relaxed_bose\n\
             7834124a5fe0   bb:1      \"sleep 600\"              1 second ago   Up 3 minutes             sl\n"
        );
    }
}
