//! What a container is called in its networks, and the server of names that its monitor is to have.

use std::net::IpAddr;

use super::files;
use crate::network::directory::Directory;
use crate::network::endpoint::Wiring;
use crate::parts::Parts;
use crate::runtime::driver::NameService;
use crate::store::containers::ContainerRow;

/// Its name, its further names, the beginning of its identifier, and its host name.
pub(super) fn names(row: &ContainerRow) -> Vec<String> {
    let mut names = vec![row.name.to_string()];
    let more = row.record.spec.endpoint.aliases.iter().cloned();
    for name in more.chain([row.id.short().to_owned(), files::hostname(row)]) {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    names
}

/// Where it asks for names; `None` if its network has none.
pub(super) fn service(parts: &Parts, row: &ContainerRow, wiring: &Wiring) -> Option<NameService> {
    let redirect = wiring.redirect.clone()?;
    let plan = &wiring.network.plan;
    let wanted = &row.record.spec.dns;
    let inside = !wanted.servers.is_empty();
    // From the host's namespace an internal network would have a way out.
    let servers: Vec<IpAddr> = match plan.internal && !inside {
        true => Vec::new(),
        false => files::upstream(wanted).servers,
    };
    Some(NameService {
        networks: vec![(plan.name.clone(), Directory::of(&parts.run_root, &plan.id).path().to_owned())],
        member: wiring.endpoint.id.clone(),
        port: redirect.port,
        redirect: redirect.batch,
        servers,
        inside,
    })
}
