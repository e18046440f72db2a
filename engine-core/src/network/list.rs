//! Finding networks: by name, identifier or the beginning of one, and by filters.

use std::collections::BTreeSet;

use super::PREDEFINED;
use super::endpoint::{DEFAULT, Ground};
use super::info::NetworkInfo;
use crate::error::{Error, Result};
use crate::id::{NetworkId, NetworkName};
use crate::spec::{Filter, Timestamp};
use crate::store::networks::NetworkRecord;
use crate::store::{Tx, containers, endpoints, networks};

/// The filters of a list.
const FILTERS: [&str; 7] = ["dangling", "driver", "id", "label", "name", "scope", "type"];

/// The networks that are only names, with what stands for their driver.
fn built_in(created: Timestamp) -> impl Iterator<Item = NetworkInfo> {
    [("host", "host"), ("none", "null")]
        .into_iter()
        .filter_map(move |(name, driver)| NetworkInfo::built_in(name, driver, created))
}

impl Ground<'_> {
    pub(super) async fn get(&self, name: &str) -> Result<NetworkInfo> {
        // The networks that are always there have to be there before they can be found.
        let default = self.default_network().await?;
        let built_in: Vec<_> = built_in(default.created).collect();
        if let Some(found) = built_in.iter().find(|info| info.name == name || info.id.as_str() == name) {
            return Ok(found.clone());
        }
        let wanted = name.to_owned();
        self.store
            .read(move |tx| match find(tx, &wanted, &built_in)? {
                Found::Record(record) => with_members(tx, &record),
                Found::BuiltIn(info) => Ok(*info),
            })
            .await
    }

    pub(super) async fn list(&self, filter: &Filter) -> Result<Vec<NetworkInfo>> {
        filter.allow(&FILTERS)?;
        check_values(filter, "type", &["builtin", "custom"])?;
        check_values(filter, "dangling", &["true", "false", "1", "0"])?;
        let default = self.default_network().await?;
        let (recorded, places) =
            self.store.read(|tx| Ok((networks::list(tx)?, endpoints::list(tx)?))).await?;
        let used: BTreeSet<NetworkId> = places.into_iter().map(|(_, network, _)| network).collect();
        let recorded = recorded.iter().map(|record| NetworkInfo::of(record, []));
        let mut found: Vec<_> = recorded
            .chain(built_in(default.created))
            .filter(|info| satisfies(filter, info, used.contains(&info.id)))
            .collect();
        found.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(found)
    }
}

fn check_values(filter: &Filter, key: &str, known: &[&str]) -> Result<()> {
    match filter.values(key).unwrap_or_default().iter().find(|value| !known.contains(&value.as_str())) {
        None => Ok(()),
        Some(value) => Err(Error::invalid(format!("filter {key}={value}"), "it has no such value")
            .with_remedy(format!("use one of: {}", known.join(", ")))),
    }
}

fn satisfies(filter: &Filter, info: &NetworkInfo, used: bool) -> bool {
    let custom = !PREDEFINED.contains(&info.name.as_str());
    filter.any("driver", |driver| *driver == info.driver)
        && filter.any("id", |id| info.id.as_str().starts_with(id.as_str()))
        && filter.any("name", |name| info.name.contains(name.as_str()))
        && filter.any("scope", |scope| *scope == info.scope)
        && filter.any("type", |kind| (kind == "custom") == custom)
        && filter.any("dangling", |value| matches!(value.as_str(), "true" | "1") == (custom && !used))
        && filter.labels(&info.labels)
}

enum Found {
    Record(Box<NetworkRecord>),
    BuiltIn(Box<NetworkInfo>),
}

/// The recorded network with this identifier, name or beginning of an identifier.
pub(super) fn record(tx: &Tx<'_>, wanted: &str) -> Result<NetworkRecord> {
    match find(tx, wanted, &[])? {
        Found::Record(record) => Ok(*record),
        Found::BuiltIn(info) => Err(Error::not_found(format!("network {}", info.name))),
    }
}

/// By the whole identifier, then by name, then by the beginning of an identifier.
fn find(tx: &Tx<'_>, wanted: &str, built_in: &[NetworkInfo]) -> Result<Found> {
    if let Ok(id) = wanted.parse::<NetworkId>()
        && let Some(record) = networks::get(tx, &id)?
    {
        return Ok(Found::Record(Box::new(record)));
    }
    let name = if wanted == "default" { DEFAULT } else { wanted };
    if let Ok(name) = name.parse::<NetworkName>()
        && let Some(record) = networks::by_name(tx, &name)?
    {
        return Ok(Found::Record(Box::new(record)));
    }
    let not_found = || Error::not_found(format!("network {wanted}"));
    if wanted.is_empty() || !wanted.bytes().all(|b| b.is_ascii_hexdigit()) {
        return Err(not_found());
    }
    let built_in = built_in.iter().filter(|info| info.id.as_str().starts_with(wanted)).cloned();
    let recorded = networks::by_prefix(tx, wanted)?.into_iter();
    let mut found = recorded
        .map(|record| Found::Record(Box::new(record)))
        .chain(built_in.map(|info| Found::BuiltIn(Box::new(info))));
    match (found.next(), found.next()) {
        (Some(one), None) => Ok(one),
        (None, _) => Err(not_found()),
        (Some(_), Some(_)) => {
            Err(Error::invalid(format!("network {wanted}"), "several identifiers begin so")
                .with_remedy("give more digits, or the name"))
        }
    }
}

fn with_members(tx: &Tx<'_>, record: &NetworkRecord) -> Result<NetworkInfo> {
    let members = endpoints::of_network(tx, &record.plan.id)?
        .into_iter()
        .map(|(id, endpoint)| {
            let name = containers::get(tx, &id)?.map(|row| row.name);
            Ok((id, name, endpoint))
        })
        .collect::<Result<Vec<_>>>()?;
    Ok(NetworkInfo::of(record, members))
}
