//! What a container is called in its networks, and the server of names that its monitor is to have.

use std::net::IpAddr;

use super::files;
use crate::network::directory::Directory;
use crate::network::driver::NAME_SERVER;
use crate::network::endpoint::Wiring;
use crate::parts::Parts;
use crate::runtime::driver::NameService;
use crate::store::containers::ContainerRow;

/// Its name, its further names, the beginning of its identifier, and the host name that it was given.
pub(super) fn names(row: &ContainerRow) -> Vec<String> {
    let mut names = vec![row.name.to_string()];
    let spec = &row.record.spec;
    let own = [row.id.short().to_owned()].into_iter().chain(spec.hostname.clone());
    for name in spec.endpoint.aliases.iter().cloned().chain(own) {
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
    // It would ask itself.
    let servers = servers.into_iter().filter(|server| *server != NAME_SERVER).collect();
    Some(NameService {
        networks: vec![(plan.name.clone(), Directory::of(&parts.run_root, &plan.id).path().to_owned())],
        member: wiring.endpoint.id.clone(),
        port: redirect.port,
        redirect: redirect.batch,
        servers,
        inside,
    })
}
