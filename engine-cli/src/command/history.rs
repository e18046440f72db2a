//! `engine history`.

use engine_core::image::HistoryEntry;
use engine_core::spec::Timestamp;

use crate::app::App;
use crate::args::image::History;
use crate::exit::Outcome;
use crate::render::list::{List, Row, Shape};
use crate::render::text::{ellipsis, short_id};
use crate::render::{list, print, size, time};

const LIST: List = List {
    fields: &[
        ("ID", "IMAGE"),
        ("CreatedSince", "CREATED"),
        ("CreatedAt", "CREATED AT"),
        ("CreatedBy", "CREATED BY"),
        ("Size", "SIZE"),
        ("Comment", "COMMENT"),
    ],
    table: "{{.ID}}\t{{.CreatedSince}}\t{{.CreatedBy}}\t{{.Size}}\t{{.Comment}}",
    quiet: "ID",
};
const MACHINE: &str = "{{.ID}}\t{{.CreatedAt}}\t{{.CreatedBy}}\t{{.Size}}\t{{.Comment}}";
/// Docker's width of an instruction.
const CREATED_BY: usize = 45;

/// Shows how an image came to be.
pub(super) async fn history(args: History, app: App) -> Outcome {
    let table = if args.human { LIST.table } else { MACHINE };
    let shape = Shape::of(&LIST, args.format.as_deref(), args.quiet, None, table);
    let engine = app.engine().await?;
    let now = Timestamp::now();
    let entries = engine.images().history(&args.image).await?;
    let rows: Vec<Row> = entries.iter().map(|entry| row(entry, now, args.no_trunc, args.human)).collect();
    print(&list::render(&LIST, &shape, &rows)?)?;
    Ok(0)
}

fn row(entry: &HistoryEntry, now: Timestamp, whole: bool, human: bool) -> Row {
    let id = match &entry.id {
        Some(id) if whole => id.to_string(),
        Some(id) => short_id(id.as_str()).to_owned(),
        None => "<missing>".to_owned(),
    };
    let not_known = || "N/A".to_owned();
    Row::new([
        ("ID", id),
        ("CreatedSince", entry.created.map_or_else(not_known, |created| time::ago(created, now))),
        ("CreatedAt", entry.created.map_or_else(not_known, time::rfc3339)),
        ("CreatedBy", created_by(&entry.created_by, whole)),
        ("Size", if human { size::short(entry.size) } else { entry.size.to_string() }),
        ("Comment", entry.comment.clone()),
    ])
}

fn created_by(instruction: &str, whole: bool) -> String {
    let line = instruction.replace('\t', " ");
    if whole { line } else { ellipsis(&line, CREATED_BY).into_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instructions_are_cut_and_have_no_tabs() {
        assert_eq!(created_by("RUN\ta", false), "RUN a");
        let cut = created_by(&"x".repeat(46), false);
        assert_eq!((cut.chars().count(), cut.ends_with('…')), (45, true));
        assert_eq!(created_by(&"x".repeat(46), true).len(), 46);
    }
}
