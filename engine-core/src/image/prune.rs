//! Prune: images that nobody needs, by docker's idea of that.

use super::config::ImageConfig;
use super::driver::NamedImage;
use super::info::ImagePruneReport;
use super::remove::prune_one;
use crate::error::{Error, Result};
use crate::parts::Parts;
use crate::spec::Filter;

/// Removes images that no container uses: those without a tag, or with `dangling=false` all of them.
pub(super) async fn prune(parts: &Parts, filter: &Filter) -> Result<ImagePruneReport> {
    filter.allow(&["dangling", "until", "label", "label!"])?;
    let dangling = dangling(filter)?.unwrap_or(true);
    let until = filter.until()?;
    let chosen = |named: &NamedImage| {
        let old = until.is_none_or(|until| named.image.created.is_none_or(|created| created <= until));
        let labels = || {
            let config = ImageConfig::parse(named.image.config.as_bytes());
            filter.labels(&config.map(super::inspect::labels).unwrap_or_default())
        };
        (!dangling || named.tags.is_empty()) && old && labels()
    };
    let mut report = ImagePruneReport::default();
    for named in parts.images.images().await?.into_iter().filter(chosen) {
        let freed = prune_one(parts, &named.image.id, chosen, &mut report.removed).await?;
        report.reclaimed += freed.unwrap_or_default();
    }
    Ok(report)
}

/// The value of the filter `dangling`.
pub(super) fn dangling(filter: &Filter) -> Result<Option<bool>> {
    let Some(values) = filter.values("dangling") else { return Ok(None) };
    let parsed = |value: &String| match value.as_str() {
        "true" | "1" => Ok(true),
        "false" | "0" => Ok(false),
        other => Err(Error::invalid(format!("filter dangling={other}"), "must be true or false")),
    };
    values.iter().map(parsed).collect::<Result<Vec<bool>>>().map(|values| values.last().copied())
}
