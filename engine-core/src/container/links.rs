//! Links: the addresses of other containers of the same network, for `/etc/hosts`. As of when the container starts; a
//! container that gets another address later is found by the next start.

use super::{find, reconcile};
use crate::error::{Error, ErrorKind, Result};
use crate::network::endpoint::Wiring;
use crate::network::names::Linked;
use crate::parts::Parts;
use crate::store::containers::ContainerRow;
use crate::store::endpoints;

/// Where the containers are that this one is linked to, which must be running.
pub(super) async fn resolve(
    parts: &Parts,
    row: &ContainerRow,
    wiring: Option<&Wiring>,
) -> Result<Vec<Linked>> {
    let links = &row.record.spec.links;
    let mut linked = Vec::with_capacity(links.len());
    for link in links {
        let other = find(parts, &link.container).await?;
        let conflict = |reason: &str| {
            Error::new(ErrorKind::Conflict, format!("Cannot link to /{}", other.name))
                .because(reason.to_owned())
        };
        if reconcile::running(parts, &other)?.is_none() {
            return Err(conflict(&format!(
                "Cannot link to a non running container: /{} AS /{}/{}",
                other.name, row.name, link.alias
            ))
            .with_remedy(format!("start {} first", other.name)));
        }
        let network = wiring.map(|wiring| wiring.network.plan.id.clone());
        let id = other.id.clone();
        let places = parts.store.read(move |tx| endpoints::of_container(tx, &id)).await?;
        let place = places.into_iter().find(|(of, _)| Some(of) == network.as_ref());
        let (_, endpoint) = place.ok_or_else(|| {
            let network = wiring.map_or("none", |wiring| wiring.network.plan.name.as_str());
            conflict(&format!("it does not belong to network {network}"))
        })?;
        let mut names = vec![link.alias.clone()];
        for name in [other.id.short().to_owned(), other.name.to_string()] {
            if !names.contains(&name) {
                names.push(name);
            }
        }
        linked.push(Linked { address: endpoint.address, names });
    }
    Ok(linked)
}
