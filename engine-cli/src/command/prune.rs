//! `engine … prune`: taking away what nothing needs, after asking.

use std::io::{self, BufRead as _, IsTerminal as _, Write as _};

use engine_core::Engine;
use engine_core::spec::Filter;

use super::filter::filter;
use crate::app::App;
use crate::args::container::Condition;
use crate::args::{container, image, network, system, volume};
use crate::exit::{Failure, Outcome};
use crate::render::text::escape;
use crate::render::{print, size};

/// Asks; anything but yes is no.
fn confirm(warning: &str) -> io::Result<bool> {
    print(&format!("WARNING! {warning}\nAre you sure you want to continue? [y/N] "))?;
    let mut answer = String::new();
    io::stdin().lock().read_line(&mut answer)?;
    if !io::stdin().is_terminal() {
        // Nobody pressed the key that would have ended the line.
        io::stdout().lock().write_all(b"\n")?;
    }
    Ok(matches!(answer.trim(), "y" | "Y" | "yes" | "Yes" | "YES"))
}

/// What one prune did: lines for people, and bytes.
#[derive(Debug, Default)]
struct Pruned {
    lines: String,
    reclaimed: u64,
}

impl Pruned {
    fn new(heading: &str, lines: Vec<String>, reclaimed: u64) -> Pruned {
        let lines = match lines.is_empty() {
            true => String::new(),
            false => format!("{heading}:\n{}\n\n", lines.join("\n")),
        };
        Pruned { lines, reclaimed }
    }

    fn total(&self) -> String {
        format!("{}Total reclaimed space: {}\n", self.lines, size::long(self.reclaimed))
    }
}

async fn prune_containers(engine: &Engine, filter: &Filter) -> Result<Pruned, Failure> {
    let report = engine.containers().prune(filter).await?;
    let deleted = report.deleted.iter().map(ToString::to_string).collect();
    Ok(Pruned::new("Deleted Containers", deleted, report.reclaimed))
}

async fn prune_networks(engine: &Engine, filter: &Filter) -> Result<Pruned, Failure> {
    let deleted = engine.networks().prune(filter).await?;
    Ok(Pruned::new("Deleted Networks", deleted.iter().map(ToString::to_string).collect(), 0))
}

async fn prune_volumes(engine: &Engine, filter: &Filter) -> Result<Pruned, Failure> {
    let report = engine.volumes().prune(filter).await?;
    let deleted = report.deleted.iter().map(ToString::to_string).collect();
    Ok(Pruned::new("Deleted Volumes", deleted, report.reclaimed))
}

async fn prune_images(engine: &Engine, filter: &Filter) -> Result<Pruned, Failure> {
    let report = engine.images().prune(filter).await?;
    let untagged = report.removed.untagged.iter().map(|name| format!("untagged: {}", name.familiar()));
    let deleted = report.removed.deleted.iter().map(|digest| format!("deleted: {digest}"));
    Ok(Pruned::new("Deleted Images", untagged.chain(deleted).collect(), report.reclaimed))
}

/// The filter of an image prune.
fn of_images(conditions: Vec<Condition>, all: bool) -> Filter {
    let mut filter = filter(conditions);
    filter.add("dangling", if all { "false" } else { "true" });
    filter
}

/// Removes stopped containers.
pub(super) async fn containers(args: container::Prune, app: App) -> Outcome {
    if !args.force && !confirm("This will remove all stopped containers.")? {
        return Ok(0);
    }
    let engine = app.engine().await?;
    print(&prune_containers(&engine, &filter(args.filter)).await?.total())?;
    Ok(0)
}

/// Removes images that no container uses.
pub(super) async fn images(args: image::Prune, app: App) -> Outcome {
    let warning = match args.all {
        true => "This will remove all images without at least one container associated to them.",
        false => "This will remove all dangling images.",
    };
    if !args.force && !confirm(warning)? {
        return Ok(0);
    }
    let engine = app.engine().await?;
    print(&prune_images(&engine, &of_images(args.filter, args.all)).await?.total())?;
    Ok(0)
}

/// Removes networks that nobody is in.
pub(super) async fn networks(args: network::Prune, app: App) -> Outcome {
    if !args.force && !confirm("This will remove all custom networks not used by at least one container.")? {
        return Ok(0);
    }
    let engine = app.engine().await?;
    print(&prune_networks(&engine, &filter(args.filter)).await?.lines)?;
    Ok(0)
}

/// Destroys volumes that no container has.
pub(super) async fn volumes(args: volume::Prune, app: App) -> Outcome {
    let warning = match args.all {
        true => "This will remove all local volumes not used by at least one container.",
        false => "This will remove anonymous local volumes not used by at least one container.",
    };
    if !args.force && !confirm(warning)? {
        return Ok(0);
    }
    let mut filter = filter(args.filter);
    if args.all {
        filter.add("all", "true");
    }
    let engine = app.engine().await?;
    print(&prune_volumes(&engine, &filter).await?.total())?;
    Ok(0)
}

/// Removes all of that, and what interrupted work left on the host.
pub(super) async fn system(args: system::Prune, app: App) -> Outcome {
    if args.volumes && args.filter.iter().any(|(key, _)| key == "until") {
        return Err(Failure::new("the \"until\" filter is not supported with \"--volumes\""));
    }
    if !args.force && !confirm(&warning(&args))? {
        return Ok(0);
    }
    let engine = app.engine().await?;
    let all = filter(args.filter.clone());
    let mut total = Pruned::default();
    let mut add = |pruned: Pruned| -> io::Result<()> {
        total.reclaimed = total.reclaimed.saturating_add(pruned.reclaimed);
        print(&pruned.lines)
    };
    // Containers first: what only they need is free then.
    add(prune_containers(&engine, &all).await?)?;
    add(prune_networks(&engine, &all).await?)?;
    if args.volumes {
        add(prune_volumes(&engine, &all).await?)?;
    }
    add(prune_images(&engine, &of_images(args.filter, args.all)).await?)?;
    let swept = engine.system().sweep().await?;
    let swept_lines = swept.removed.iter().map(|line| escape(line).into_owned()).collect();
    add(Pruned::new("Deleted leftovers of interrupted work", swept_lines, swept.reclaimed))?;
    print(&total.total())?;
    Ok(0)
}

fn warning(args: &system::Prune) -> String {
    let mut lines = vec!["all stopped containers", "all networks not used by at least one container"];
    if args.volumes {
        lines.push("all anonymous volumes not used by at least one container");
    }
    lines.push(match args.all {
        true => "all images without at least one container associated to them",
        false => "all dangling images",
    });
    lines.push("what interrupted work left on the host");
    let mut text = String::from("This will remove:\n");
    lines.iter().for_each(|line| text.push_str(&format!("  - {line}\n")));
    if !args.filter.is_empty() {
        text.push_str("\n  Items to be pruned will be filtered with:\n");
        args.filter.iter().for_each(|(key, value)| text.push_str(&format!("  - {key}={value}\n")));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn totals_are_docker_s() {
        assert_eq!(Pruned::default().total(), "Total reclaimed space: 0B\n");
        let pruned =
            Pruned::new("Deleted Images", vec!["untagged: a:1".into(), "deleted: x".into()], 1_982_464);
        assert_eq!(
            pruned.total(),
            "Deleted Images:\nuntagged: a:1\ndeleted: x\n\nTotal reclaimed space: 1.982MB\n"
        );
    }

    #[test]
    fn the_warning_tells_all_that_will_go() {
        let args = |all, volumes| system::Prune {
            all,
            filter: vec![("label".into(), "a".into())],
            force: false,
            volumes,
        };
        let text = warning(&args(true, true));
        assert!(text.contains("  - all images without") && text.contains("  - all anonymous volumes"));
        assert!(text.contains("  - label=a\n"));
        assert!(warning(&args(false, false)).contains("  - all dangling images\n"));
        assert!(of_images(Vec::new(), true).values("dangling").is_some_and(|v| v == ["false"]));
    }
}
