//! `engine images`.

use std::collections::BTreeMap;

use engine_core::Reference;
use engine_core::image::{ImageListSpec, ImageSummary};
use engine_core::spec::Timestamp;

use super::filter::filter;
use crate::app::App;
use crate::args::image::Ls;
use crate::exit::Outcome;
use crate::render::list::{List, Row, Shape};
use crate::render::text::short_id;
use crate::render::{list, print, size, time};

pub(super) const LIST: List = List {
    fields: &[
        ("ID", "IMAGE ID"),
        ("Repository", "REPOSITORY"),
        ("Tag", "TAG"),
        ("Digest", "DIGEST"),
        ("CreatedSince", "CREATED"),
        ("CreatedAt", "CREATED AT"),
        ("Size", "SIZE"),
        ("Containers", "CONTAINERS"),
        ("SharedSize", "SHARED SIZE"),
        ("UniqueSize", "UNIQUE SIZE"),
        ("VirtualSize", "SIZE"),
    ],
    table: "{{.Repository}}\t{{.Tag}}\t{{.ID}}\t{{.CreatedSince}}\t{{.Size}}",
    quiet: "ID",
};
const WITH_DIGESTS: &str = "{{.Repository}}\t{{.Tag}}\t{{.Digest}}\t{{.ID}}\t{{.CreatedSince}}\t{{.Size}}";
const NONE: &str = "<none>";

/// Lists images.
pub(super) async fn images(args: Ls, app: App) -> Outcome {
    let table = if args.digests { WITH_DIGESTS } else { LIST.table };
    let configured = if args.format.is_none() && !args.quiet { app.config().images_format } else { None };
    let shape = Shape::of(&LIST, args.format.as_deref(), args.quiet, configured.as_deref(), table);
    let mut filter = filter(args.filter);
    if let Some(repository) = args.repository {
        filter.add("reference", repository);
    }
    let engine = app.engine().await?;
    let now = Timestamp::now();
    let digests = args.digests || shape.names("Digest");
    let summaries = engine.images().list(&ImageListSpec { filter }).await?;
    let rows: Vec<Row> =
        summaries.iter().flat_map(|image| rows(image, now, digests, args.no_trunc)).collect();
    print(&list::render(&LIST, &shape, &rows)?)?;
    Ok(0)
}

/// The rows of an image, one for each of its names.
pub(super) fn rows(
    image: &ImageSummary,
    now: Timestamp,
    digests: bool,
    whole: bool,
) -> impl Iterator<Item = Row> {
    names(&image.tags, &image.digests, digests).into_iter().map(move |name| row(image, name, now, whole))
}

/// A repository, a tag and a digest: one name of an image.
#[derive(Debug, PartialEq, Eq)]
struct Name {
    repository: String,
    tag: String,
    digest: String,
}

/// The names of an image, a row each: its tags, each with every digest of its repository if digests are shown, and
/// the digests of repositories without a tag.
fn names(tags: &[Reference], digests: &[Reference], show_digests: bool) -> Vec<Name> {
    let name = |repository: &str, tag: &str, digest: &str| Name {
        repository: repository.to_owned(),
        tag: tag.to_owned(),
        digest: digest.to_owned(),
    };
    let mut by_repository: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    for reference in digests {
        let digest = reference.digest().map_or(NONE, AsRef::as_ref);
        by_repository.entry(reference.familiar_name()).or_default().push(digest);
    }
    let mut names = Vec::new();
    for reference in tags {
        let repository = reference.familiar_name();
        let tag = reference.tag().unwrap_or(NONE);
        match by_repository.get(&repository).filter(|_| show_digests) {
            Some(digests) => names.extend(digests.iter().map(|digest| name(&repository, tag, digest))),
            None => names.push(name(&repository, tag, NONE)),
        }
    }
    for (repository, digests) in &by_repository {
        if tags.iter().any(|tag| tag.familiar_name() == *repository) {
            continue;
        }
        match show_digests {
            true => names.extend(digests.iter().map(|digest| name(repository, NONE, digest))),
            false => names.push(name(repository, NONE, NONE)),
        }
    }
    if names.is_empty() {
        names.push(name(NONE, NONE, NONE));
    }
    names
}

fn row(image: &ImageSummary, name: Name, now: Timestamp, whole: bool) -> Row {
    let id = image.id.as_str();
    let not_known = || "N/A".to_owned();
    Row::new([
        ("ID", if whole { id } else { short_id(id) }.to_owned()),
        ("Repository", name.repository),
        ("Tag", name.tag),
        ("Digest", name.digest),
        ("CreatedSince", image.created.map_or_else(not_known, |created| time::ago(created, now))),
        ("CreatedAt", image.created.map_or_else(not_known, time::full)),
        ("Size", size::short(image.size)),
        ("Containers", image.containers.to_string()),
        ("SharedSize", size::short(image.shared_size)),
        ("UniqueSize", size::short(image.size.saturating_sub(image.shared_size))),
        ("VirtualSize", size::long(image.size)),
    ])
    .with_labels(&image.labels)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn references(texts: &[&str]) -> Vec<Reference> {
        texts.iter().map(|text| text.parse().expect("well formed")).collect()
    }

    fn shown(tags: &[&str], digests: &[&str], show_digests: bool) -> Vec<(String, String, bool)> {
        names(&references(tags), &references(digests), show_digests)
            .into_iter()
            .map(|name| (name.repository, name.tag, name.digest != NONE))
            .collect()
    }

    fn row(repository: &str, tag: &str, digest: bool) -> (String, String, bool) {
        (repository.to_owned(), tag.to_owned(), digest)
    }

    #[test]
    fn an_image_has_a_row_for_each_name() {
        let digest = format!("bb@sha256:{}", "ab".repeat(32));
        assert_eq!(shown(&[], &[], false), [row("<none>", "<none>", false)]);
        assert_eq!(
            shown(&["bb:1", "reg.local:5000/x/y:2"], &[&digest], false),
            [row("bb", "1", false), row("reg.local:5000/x/y", "2", false)]
        );
        assert_eq!(
            shown(&["bb:1", "other:2"], &[&digest], true),
            [row("bb", "1", true), row("other", "2", false)]
        );
        assert_eq!(shown(&[], &[&digest], true), [row("bb", "<none>", true)]);
        assert_eq!(shown(&[], &[&digest], false), [row("bb", "<none>", false)]);
    }
}
