//! Networks: creates, finds, lists and removes them; `endpoint` puts containers into them.
//!
//! The service decides and records, and says *what* shall be; a driver (see [`driver`]) makes it on the host. Three
//! networks are always there: `bridge`, which is recorded when it is first asked for, and `host` and `none`, which are
//! only names for having no network of one's own, and having none at all.

#[cfg(any(test, feature = "conformance"))]
pub mod conformance;
pub(crate) mod directory;
pub mod driver;
pub(crate) mod endpoint;
mod info;
mod ipam;
mod lease;
pub(crate) mod linux;
mod list;
pub(crate) mod names;
pub(crate) mod ports;
#[cfg(test)]
mod tests;
mod turns;

use std::sync::Arc;

use self::directory::Directory;
use self::endpoint::{DEFAULT, Ground};
pub use self::info::{ConfigFrom, Ipam, IpamConfig, Member, NetworkInfo};
use crate::error::{Error, ErrorKind, Faults, Result};
use crate::event::EventKind;
use crate::id::{ContainerId, NetworkName};
use crate::parts::Parts;
use crate::spec::{Filter, NetworkSpec};
use crate::store::networks::NetworkRecord;
use crate::store::{Durability, Tx, containers, endpoints, networks};

/// Names that cannot be given to a network, and drivers that make no further ones.
const PREDEFINED: [&str; 4] = [DEFAULT, "host", "none", "default"];
const SINGLE: [&str; 3] = ["host", "null", "none"];

/// The networks of an engine.
pub struct Networks {
    parts: Arc<Parts>,
}

impl Networks {
    pub(crate) fn new(parts: Arc<Parts>) -> Networks {
        Networks { parts }
    }

    /// Creates a network.
    ///
    /// # Errors
    /// [`ErrorKind::Conflict`] if the name or the subnet is taken, [`ErrorKind::InvalidInput`] for addresses and
    /// options that cannot be, [`ErrorKind::PermissionDenied`] for the name of a network that is always there.
    pub async fn create(&self, spec: NetworkSpec) -> Result<NetworkInfo> {
        Ground::of(&self.parts).create(spec).await
    }

    /// The network with this identifier, name or beginning of an identifier; with its members.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`], and [`ErrorKind::InvalidInput`] for a beginning that several have.
    pub async fn get(&self, name: &str) -> Result<NetworkInfo> {
        Ground::of(&self.parts).get(name).await
    }

    /// The networks that satisfy `filter`, by name. Filters: `driver`, `id`, `label`, `name`, `type` (`custom` or
    /// `builtin`), `scope` and `dangling`.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`] for other filters and for values they do not have.
    pub async fn list(&self, filter: &Filter) -> Result<Vec<NetworkInfo>> {
        Ground::of(&self.parts).list(filter).await
    }

    /// Removes a network; gives what it was.
    ///
    /// # Errors
    /// [`ErrorKind::InUse`], naming the containers that are in it, and [`ErrorKind::PermissionDenied`] for one that
    /// is always there.
    pub async fn remove(&self, name: &str) -> Result<NetworkInfo> {
        Ground::of(&self.parts).remove(name).await
    }

    /// Removes the networks that nobody is in and that satisfy `filter`; gives their names. Filter: `label`.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`] for other filters.
    pub async fn prune(&self, filter: &Filter) -> Result<Vec<NetworkName>> {
        let pruned = Ground::of(&self.parts).prune(filter).await?;
        self.parts.tell_prune(EventKind::Network, 0);
        Ok(pruned)
    }
}

impl Ground<'_> {
    async fn create(&self, spec: NetworkSpec) -> Result<NetworkInfo> {
        let subject = || format!("network {}", spec.name);
        if PREDEFINED.contains(&spec.name.as_str()) {
            return Err(predefined(&spec.name, "created"));
        }
        let driver = match spec.driver.as_deref() {
            None | Some("" | "default") => DEFAULT,
            Some(driver) if SINGLE.contains(&driver) => {
                return Err(Error::new(ErrorKind::PermissionDenied, subject())
                    .because(format!("there is one network of the driver {driver}, and it is there"))
                    .with_remedy("use the driver bridge"));
            }
            Some(driver) => driver,
        };
        self.driver(driver)?;
        // It is always there, and has the first of the addresses.
        self.default_network().await?;
        let record = self.record(&spec, driver, Durability::Full).await?.ok_or_else(|| {
            Error::new(ErrorKind::Conflict, subject())
                .because("a network of that name exists")
                .with_remedy("choose another name, or remove that network first")
        })?;
        let driver = self.driver(&record.driver)?;
        if let Err(e) = driver.create(&record.plan).await {
            let id = record.plan.id.clone();
            // The failure that is told is the one that matters; what remains on the host is swept.
            let _ = self.store.write(Durability::Full, move |tx| networks::delete(tx, &id)).await;
            let _ = driver.remove(&record.plan).await;
            return Err(e);
        }
        self.tell(&endpoint::event("create", &record));
        Ok(NetworkInfo::of(&record, []))
    }

    async fn remove(&self, name: &str) -> Result<NetworkInfo> {
        let info = self.get(name).await?;
        if PREDEFINED.contains(&info.name.as_str()) {
            return Err(predefined(&info.name, "removed"));
        }
        let id = info.id.clone();
        let removed = self
            .store
            .write(Durability::Full, move |tx| {
                let Some(network) = networks::get(tx, &id)? else { return Ok(None) };
                let members = endpoints::of_network(tx, &id)?;
                if !members.is_empty() {
                    let members = members.iter().map(|(container, _)| container);
                    return Err(in_use(&network, &names_of(tx, members)?));
                }
                networks::delete(tx, &id)?;
                Ok(Some(network))
            })
            .await?;
        let network = removed.ok_or_else(|| Error::not_found(format!("network {name}")))?;
        self.driver(&network.driver)?.remove(&network.plan).await?;
        if let Some(parts) = self.listener {
            Directory::of(&parts.run_root, &network.plan.id).remove();
        }
        self.tell(&endpoint::event("destroy", &network));
        Ok(info)
    }

    async fn prune(&self, filter: &Filter) -> Result<Vec<NetworkName>> {
        filter.allow(&["label"])?;
        let (all, places) = self.store.read(|tx| Ok((networks::list(tx)?, endpoints::list(tx)?))).await?;
        let mut pruned = Vec::new();
        let mut faults = Faults::new();
        for network in all {
            let plan = &network.plan;
            let used = places.iter().any(|(_, place, _)| *place == plan.id);
            if used || PREDEFINED.contains(&plan.name.as_str()) || !filter.labels(&network.labels) {
                continue;
            }
            match self.remove(plan.id.as_str()).await {
                Ok(info) => pruned.push(info.name.parse()?),
                // A container came into it meanwhile.
                Err(e) if e.is(ErrorKind::InUse) => {}
                Err(e) => faults.note::<()>(Err(e)),
            }
        }
        faults.into_result().map(|()| pruned)
    }
}

fn predefined(name: &(impl std::fmt::Display + ?Sized), what: &str) -> Error {
    Error::new(ErrorKind::PermissionDenied, format!("network {name}"))
        .because(format!("it is always there, and cannot be {what}"))
}

fn in_use(network: &NetworkRecord, members: &[String]) -> Error {
    const SHOWN: usize = 5;
    let shown = members.iter().take(SHOWN).map(String::as_str).collect::<Vec<_>>().join(", ");
    let more = match members.len().saturating_sub(SHOWN) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    Error::new(ErrorKind::InUse, format!("network {}", network.plan.name))
        .because(format!("it has active endpoints: {shown}{more}"))
        .with_remedy("stop these containers first")
}

/// The names of containers, or what there is in place of one.
fn names_of<'a>(tx: &Tx<'_>, ids: impl Iterator<Item = &'a ContainerId>) -> Result<Vec<String>> {
    ids.map(|id| Ok(containers::get(tx, id)?.map_or_else(|| id.short().to_owned(), |row| row.name.into())))
        .collect()
}
