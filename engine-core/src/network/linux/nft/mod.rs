//! The engine's part of the packet filter: one table of nf_tables, `ip engine`, and `ip6 engine` beside it where a
//! network has IPv6.
//!
//! Its rules never change while containers come and go; a network and a published port are elements of sets (see
//! [`ruleset`]). What is there already is looked for first, and nothing is written if all is well: a change of the
//! filter, however small, makes the kernel renew what all packets use.

mod batch;
mod expr;
mod forward;
mod ruleset;
#[cfg(test)]
mod tests;

use std::net::IpAddr;

use nix::errno::Errno;

use self::batch::{
    CHAIN_NAME, CHAIN_USE, DATA_VALUE, ELEM_DATA, ELEM_KEY, ELEM_LIST_ELEMENTS, Element, GENERATION_ID,
    LIST_ELEM, Transaction, Value,
};
use self::expr::{address_port_key, interface_key, port_key, target};
use self::ruleset::{BRIDGES, Chain, INTERNAL, MARKER, MASQUERADED, PUBLISHED, PUBLISHED_ANY, WITHIN, table};
use super::connection::{Connection, Refusal};
use super::family::Family;
use super::netlink::{Batch, attribute, attributes, descend, network_u32, text};
use crate::error::{Error, ErrorKind, Result};
use crate::network::driver::{Endpoint, NAME_SERVER, NetworkPlan, PublishedPort};
use crate::spec::Protocol;

/// Another process may change the table between the look and the change; then look again, so often.
const ATTEMPTS: usize = 8;
/// So many elements are asked for at once: the answers must fit the socket's buffer.
const CHUNK: usize = 64;

/// The static part of a family's table, ready to be written.
pub(super) struct Ruleset {
    family: Family,
    chains: Vec<Chain>,
    /// The name of the chain that tells its version.
    marker: String,
}

/// A port that is published, as the table has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Published {
    /// The address of the host; an unspecified one for all of its family.
    pub(super) host_address: IpAddr,
    pub(super) protocol: u8,
    pub(super) host: u16,
    /// Where it leads.
    pub(super) address: IpAddr,
    pub(super) container: u16,
}

impl Ruleset {
    pub(super) fn new(family: Family) -> Ruleset {
        let chains = ruleset::chains(family);
        let marker = ruleset::marker(family, &chains);
        Ruleset { family, chains, marker }
    }

    /// Makes sure that the table is there and knows the network whose bridge is `bridge`.
    pub(super) fn ensure(&self, connection: &mut Connection, plan: &NetworkPlan, bridge: &str) -> Result<()> {
        let (table, wanted) = (table(self.family), elements(plan, self.family, bridge));
        let mut refusal = None;
        for _ in 0..ATTEMPTS {
            let found = self.look(connection, &wanted)?;
            if found.forward_is_closed {
                forward::open(connection, self.family, bridge)?;
            }
            let mut transaction = Transaction::new();
            if !found.is_current {
                for old in &found.old_markers {
                    transaction.remove_chain(table, old);
                }
                ruleset::write(&mut transaction, self.family, &self.chains);
                transaction.chain(table, &self.marker, None);
            }
            for ((element, wanted), present) in wanted.iter().zip(&found.present) {
                match (wanted, present) {
                    (true, false) => transaction.add(element),
                    (false, true) => transaction.remove(element),
                    _ => {}
                }
            }
            if transaction.is_empty() {
                return Ok(());
            }
            match connection.commit(transaction.end())? {
                Ok(()) => return Ok(()),
                Err(found) if found.errno == Errno::EPERM => return Err(failed(found)),
                Err(found) => refusal = Some(found),
            }
        }
        Err(refusal
            .map_or_else(|| Error::internal("packet filter table engine", "it changes all the time"), failed))
    }

    /// What is there, with one question to the kernel.
    fn look(&self, connection: &mut Connection, wanted: &[(Element, bool)]) -> Result<Found> {
        let table = table(self.family);
        let mut questions = Batch::new();
        batch::ask_chain(&mut questions, table, &self.marker);
        for chain in &self.chains {
            batch::ask_chain(&mut questions, table, chain.name);
        }
        let first_element = questions.len();
        for (element, _) in wanted {
            batch::ask_element(&mut questions, element);
        }
        let forward_chain = questions.len();
        forward::ask(&mut questions, self.family);

        let mut rules = vec![None; first_element];
        let mut forward_is_closed = false;
        let refusals = connection.ask(questions, |question, message| {
            let answer = message.body.get(4..).unwrap_or_default();
            if question == forward_chain {
                forward_is_closed = forward::is_closed(answer);
            } else if let Some(rules) = rules.get_mut(question) {
                // How often a chain is used: by its rules, as none of ours is jumped to.
                *rules = attribute(answer, CHAIN_USE).and_then(network_u32);
            }
        })?;
        if let Some(refusal) = refusals.iter().flatten().find(|refusal| refusal.errno != Errno::ENOENT) {
            return Err(failed(refusal.clone()));
        }
        let intact = self
            .chains
            .iter()
            .zip(&rules[1..])
            .all(|(chain, rules)| usize::try_from(rules.unwrap_or(0)).ok() == Some(chain.rules.len()));
        let is_current = refusals[0].is_none() && intact;
        let old_markers = if is_current { Vec::new() } else { markers(connection, self.family)? };
        let present = refusals[first_element..forward_chain].iter().map(Option::is_none).collect();
        Ok(Found { is_current, old_markers, present, forward_is_closed })
    }
}

struct Found {
    /// The static part is there, in this version, with all its rules.
    is_current: bool,
    old_markers: Vec<String>,
    /// For each element asked for.
    present: Vec<bool>,
    /// Somebody else drops what is forwarded, unless a rule of theirs lets it pass.
    forward_is_closed: bool,
}

fn failed(refusal: Refusal) -> Error {
    match refusal.errno {
        Errno::ENOENT => Error::new(ErrorKind::Unsupported, "packet filter table engine")
            .because("the kernel lacks a part of nf_tables that is needed")
            .with_remedy(
                "enable nf_tables with NAT, masquerade, conntrack and fib for the families of the network's \
                 addresses in the kernel",
            )
            .caused_by(refusal),
        _ => refusal.about("packet filter table engine"),
    }
}

/// The chains of the table that tell its version.
fn markers(connection: &mut Connection, family: Family) -> Result<Vec<String>> {
    const CHAIN_TABLE: u16 = 1;
    let mut found = Vec::new();
    connection
        .dump(batch::dump_chains(family), |message| {
            let chain = message.body.get(4..).unwrap_or_default();
            let name = attribute(chain, CHAIN_NAME).map(text).unwrap_or_default();
            if attribute(chain, CHAIN_TABLE).map(text) == Some(table(family).name.as_bytes())
                && name.starts_with(MARKER.as_bytes())
            {
                found.push(String::from_utf8_lossy(name).into_owned());
            }
        })?
        .map_err(failed)?;
    Ok(found)
}

/// The elements of a family that can stand for a network.
fn keys(family: Family, bridge: &str) -> [Element; 4] {
    let key = interface_key(bridge);
    let both = [key.as_slice(), key.as_slice()].concat();
    let element = |set, key| Element { table: table(family), set, key, value: Value::None };
    [
        element(BRIDGES, key.clone()),
        element(INTERNAL, key.clone()),
        element(MASQUERADED, key),
        element(WITHIN, both),
    ]
}

/// The elements that can stand for a network, with whether they shall be there.
fn elements(plan: &NetworkPlan, family: Family, bridge: &str) -> [(Element, bool); 4] {
    let [bridges, internal, masqueraded, within] = keys(family, bridge);
    [
        (bridges, true),
        (internal, plan.internal),
        (masqueraded, plan.masquerade && !plan.internal),
        (within, plan.inter_container),
    ]
}

/// Removes what stands for a network in a family's table.
pub(super) fn withdraw(connection: &mut Connection, family: Family, bridge: &str) -> Result<()> {
    for element in keys(family, bridge) {
        remove(connection, &element)?;
    }
    forward::close(connection, family, bridge)
}

/// Notes that the engine made this host a router of that family: from now on it routes for the networks only.
pub(super) fn keep_strangers_out(connection: &mut Connection, family: Family) -> Result<()> {
    let mut transaction = Transaction::new();
    transaction.add(&ruleset::no_strangers(family));
    connection.commit(transaction.end())?.map_err(failed)
}

/// Where a port of the host stands in the table: the set of its address's family, and the key there.
fn place(host: IpAddr, protocol: u8, port: u16) -> (&'static str, Vec<u8>) {
    if host.is_unspecified() {
        (PUBLISHED_ANY, port_key(protocol, port))
    } else {
        (PUBLISHED, address_port_key(host, protocol, port))
    }
}

/// The element of a published port: it leads to the container's address of the same family.
fn published(port: &PublishedPort, address: IpAddr) -> Element {
    let (set, key) = place(port.host_address, port.protocol.number(), port.host);
    Element {
        table: table(Family::of(address)),
        set,
        key,
        value: Value::Bytes(target(address, port.container)),
    }
}

fn published_elements(endpoint: &Endpoint) -> impl Iterator<Item = Element> {
    endpoint.ports.iter().filter_map(|port| {
        let address = match port.host_address {
            IpAddr::V4(_) => Some(IpAddr::V4(endpoint.address)),
            IpAddr::V6(_) => endpoint.ipv6.map(IpAddr::V6),
        };
        Some(published(port, address?))
    })
}

/// Leads what a container asks of the server of names to another port there: in its own network namespace, as
/// ports are published on the host.
pub(super) fn redirect_names(port: u16) -> Option<Vec<u8>> {
    const PORT: u16 = 53;
    let mut transaction = Transaction::new();
    ruleset::write_names(&mut transaction);
    for protocol in [Protocol::Udp, Protocol::Tcp] {
        let key = address_port_key(NAME_SERVER, protocol.number(), PORT);
        let value = Value::Bytes(target(NAME_SERVER, port));
        transaction.add(&Element { table: ruleset::NAMES, set: PUBLISHED, key, value });
    }
    transaction.end().finish()
}

/// Leads the endpoint's published ports to it.
pub(super) fn publish(connection: &mut Connection, endpoint: &Endpoint) -> Result<()> {
    let mut transaction = Transaction::new();
    published_elements(endpoint).for_each(|element| transaction.add(&element));
    if transaction.is_empty() {
        return Ok(());
    }
    let Err(refusal) = connection.commit(transaction.end())? else { return Ok(()) };
    if !matches!(refusal.errno, Errno::EEXIST | Errno::EBUSY) {
        return Err(failed(refusal));
    }
    // The port leads elsewhere. Whoever it was published for is gone: the endpoint's container holds the port.
    for element in published_elements(endpoint) {
        remove(connection, &element)?;
    }
    let mut transaction = Transaction::new();
    published_elements(endpoint).for_each(|element| transaction.add(&element));
    connection.commit(transaction.end())?.map_err(failed)
}

/// Takes the endpoint's published ports back, but for those that lead elsewhere by now: a port is free as soon as its
/// container has ended, and may have been published anew before the engine gets here.
pub(super) fn unpublish(connection: &mut Connection, endpoint: &Endpoint) -> Result<()> {
    for elements in published_elements(endpoint).collect::<Vec<_>>().chunks(CHUNK) {
        let mut refusal = None;
        for _ in 0..ATTEMPTS {
            let (generation, ours) = look_up(connection, elements)?;
            // Nothing may come in between the look and the change.
            let mut transaction = Transaction::since(generation);
            elements
                .iter()
                .zip(ours)
                .filter(|(_, ours)| *ours)
                .for_each(|(element, _)| transaction.remove(element));
            if transaction.is_empty() {
                refusal = None;
                break;
            }
            match connection.commit(transaction.end())? {
                Ok(()) => {
                    refusal = None;
                    break;
                }
                Err(found) => refusal = Some(found),
            }
        }
        if let Some(refusal) = refusal {
            return Err(failed(refusal));
        }
    }
    Ok(())
}

/// The generation of the packet filter, and whether each element is there with the same data.
fn look_up(connection: &mut Connection, elements: &[Element]) -> Result<(u32, Vec<bool>)> {
    let mut questions = Batch::new();
    batch::ask_generation(&mut questions);
    for element in elements {
        batch::ask_element(&mut questions, element);
    }
    let mut generation = None;
    let mut ours = vec![false; elements.len()];
    let refusals = connection.ask(questions, |question, message| {
        let answer = message.body.get(4..).unwrap_or_default();
        let Some(at) = question.checked_sub(1) else {
            generation = attribute(answer, GENERATION_ID).and_then(network_u32);
            return;
        };
        let found = descend(answer, &[ELEM_LIST_ELEMENTS, LIST_ELEM, ELEM_DATA, DATA_VALUE]);
        if let (Some(ours), Some(Element { value: Value::Bytes(value), .. })) =
            (ours.get_mut(at), elements.get(at))
        {
            *ours = found == Some(value.as_slice());
        }
    })?;
    if let Some(refusal) = refusals.into_iter().flatten().find(|refusal| refusal.errno != Errno::ENOENT) {
        return Err(failed(refusal));
    }
    let generation =
        generation.ok_or_else(|| Error::internal("packet filter table engine", "it has no generation"))?;
    Ok((generation, ours))
}

/// Batches that take the endpoint's published ports back, one each: a batch fails as a whole.
pub(super) fn teardown(endpoint: &Endpoint) -> Vec<Vec<u8>> {
    let batch = |element: Element| {
        let mut transaction = Transaction::new();
        transaction.remove(&element);
        transaction.end().finish()
    };
    published_elements(endpoint).filter_map(batch).collect()
}

fn remove(connection: &mut Connection, element: &Element) -> Result<()> {
    let mut transaction = Transaction::new();
    transaction.remove(element);
    match connection.commit(transaction.end())? {
        Err(refusal) if refusal.errno != Errno::ENOENT => Err(failed(refusal)),
        _ => Ok(()),
    }
}

/// Removes one published port.
pub(super) fn remove_published(connection: &mut Connection, port: &Published) -> Result<()> {
    let (set, key) = place(port.host_address, port.protocol, port.host);
    let table = table(Family::of(port.host_address));
    remove(connection, &Element { table, set, key, value: Value::None })
}

/// All published ports, of whatever store.
pub(super) fn list_published(connection: &mut Connection) -> Result<Vec<Published>> {
    let mut ports = Vec::new();
    for (family, set) in
        Family::BOTH.into_iter().flat_map(|family| [(family, PUBLISHED), (family, PUBLISHED_ANY)])
    {
        let dump = connection.dump(batch::dump_elements(table(family), set), |message| {
            let answer = message.body.get(4..).unwrap_or_default();
            let elements = attribute(answer, ELEM_LIST_ELEMENTS).unwrap_or_default();
            ports.extend(attributes(elements).filter_map(|(_, element)| parse_published(family, element)));
        })?;
        match dump {
            Err(refusal) if refusal.errno != Errno::ENOENT => return Err(failed(refusal)),
            _ => {}
        }
    }
    Ok(ports)
}

fn parse_published(family: Family, element: &[u8]) -> Option<Published> {
    let key = descend(element, &[ELEM_KEY, DATA_VALUE])?;
    let value = descend(element, &[ELEM_DATA, DATA_VALUE])?;
    let port = |bytes: &[u8]| Some(u16::from_be_bytes(*bytes.first_chunk::<2>()?));
    // Protocol and port are the last eight bytes; before them is the address, if it is not all.
    let (host_address, rest) = match key.split_last_chunk::<8>()? {
        ([], rest) => (family.any(), rest),
        (address, rest) => (family.address(address)?, rest),
    };
    let (address, container) = value.split_last_chunk::<4>()?;
    Some(Published {
        host_address,
        protocol: *rest.first()?,
        host: port(rest.get(4..)?)?,
        address: family.address(address)?,
        container: port(container)?,
    })
}

impl Published {
    /// The protocol, if it is one that the engine publishes.
    pub(super) fn known_protocol(&self) -> Option<Protocol> {
        [Protocol::Tcp, Protocol::Udp].into_iter().find(|protocol| protocol.number() == self.protocol)
    }
}
