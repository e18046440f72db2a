//! The engine's part of the packet filter: one table of nf_tables, `ip engine`.
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

use std::net::{IpAddr, Ipv4Addr};

use nix::errno::Errno;

use self::batch::{
    CHAIN_NAME, CHAIN_USE, DATA_VALUE, ELEM_DATA, ELEM_KEY, ELEM_LIST_ELEMENTS, Element, GENERATION_ID,
    LIST_ELEM, Transaction, Value,
};
use self::expr::{address_port_key, interface_key, port_key, target};
use self::ruleset::{BRIDGES, Chain, INTERNAL, MARKER, MASQUERADED, PUBLISHED, PUBLISHED_ANY, TABLE, WITHIN};
use super::connection::{Connection, Refusal};
use super::netlink::{Batch, attribute, attributes, descend, network_u32, text};
use crate::error::{Error, ErrorKind, Result};
use crate::network::driver::{Endpoint, NetworkPlan, PublishedPort};
use crate::spec::Protocol;

/// Another process may change the table between the look and the change; then look again, so often.
const ATTEMPTS: usize = 8;
/// So many elements are asked for at once: the answers must fit the socket's buffer.
const CHUNK: usize = 64;

/// The static part of the table, ready to be written.
pub(super) struct Ruleset {
    chains: [Chain; 5],
    /// The name of the chain that tells its version.
    marker: String,
}

/// A port that is published, as the table has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Published {
    /// The address of the host; `None` for all.
    pub(super) host_address: Option<Ipv4Addr>,
    pub(super) protocol: u8,
    pub(super) host: u16,
    /// Where it leads.
    pub(super) address: Ipv4Addr,
    pub(super) container: u16,
}

impl Ruleset {
    pub(super) fn new() -> Ruleset {
        let chains = ruleset::chains();
        let marker = ruleset::marker(&chains);
        Ruleset { chains, marker }
    }

    /// Makes sure that the table is there and knows the network whose bridge is `bridge`.
    pub(super) fn ensure(&self, connection: &mut Connection, plan: &NetworkPlan, bridge: &str) -> Result<()> {
        let wanted = elements(plan, bridge);
        let mut refusal = None;
        for _ in 0..ATTEMPTS {
            let found = self.look(connection, &wanted)?;
            if found.forward_is_closed {
                forward::open(connection, bridge)?;
            }
            let mut transaction = Transaction::new(TABLE);
            if !found.is_current {
                for old in &found.old_markers {
                    transaction.remove_chain(old);
                }
                ruleset::write(&mut transaction, &self.chains);
                transaction.chain(&self.marker, None);
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
        let mut questions = Batch::new();
        batch::ask_chain(&mut questions, TABLE, &self.marker);
        for chain in &self.chains {
            batch::ask_chain(&mut questions, TABLE, chain.name);
        }
        let first_element = questions.len();
        for (element, _) in wanted {
            batch::ask_element(&mut questions, TABLE, element);
        }
        let forward_chain = questions.len();
        forward::ask(&mut questions);

        let mut rules = [None; 6];
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
        let old_markers = if is_current { Vec::new() } else { markers(connection)? };
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
            .with_remedy("enable nf_tables with NAT, masquerade, conntrack and fib for IPv4 in the kernel")
            .caused_by(refusal),
        _ => refusal.about("packet filter table engine"),
    }
}

/// The chains of the table that tell its version.
fn markers(connection: &mut Connection) -> Result<Vec<String>> {
    const CHAIN_TABLE: u16 = 1;
    let mut found = Vec::new();
    connection
        .dump(batch::dump_chains(), |message| {
            let chain = message.body.get(4..).unwrap_or_default();
            let name = attribute(chain, CHAIN_NAME).map(text).unwrap_or_default();
            if attribute(chain, CHAIN_TABLE).map(text) == Some(TABLE.as_bytes())
                && name.starts_with(MARKER.as_bytes())
            {
                found.push(String::from_utf8_lossy(name).into_owned());
            }
        })?
        .map_err(failed)?;
    Ok(found)
}

/// The elements that can stand for a network.
fn keys(bridge: &str) -> [Element; 4] {
    let key = interface_key(bridge);
    let both = [key.as_slice(), key.as_slice()].concat();
    let element = |set, key| Element { set, key, value: Value::None };
    [
        element(BRIDGES, key.clone()),
        element(INTERNAL, key.clone()),
        element(MASQUERADED, key),
        element(WITHIN, both),
    ]
}

/// The elements that can stand for a network, with whether they shall be there.
fn elements(plan: &NetworkPlan, bridge: &str) -> [(Element, bool); 4] {
    let [bridges, internal, masqueraded, within] = keys(bridge);
    [
        (bridges, true),
        (internal, plan.internal),
        (masqueraded, plan.masquerade && !plan.internal),
        (within, plan.inter_container),
    ]
}

/// Removes what stands for a network.
pub(super) fn withdraw(connection: &mut Connection, bridge: &str) -> Result<()> {
    for element in keys(bridge) {
        remove(connection, &element)?;
    }
    forward::close(connection, bridge)
}

/// Notes that the engine made this host a router: from now on it routes for the networks only.
pub(super) fn keep_strangers_out(connection: &mut Connection) -> Result<()> {
    let mut transaction = Transaction::new(TABLE);
    transaction.add(&ruleset::no_strangers());
    connection.commit(transaction.end())?.map_err(failed)
}

/// The element of a published port; `None` for an address that is none of IPv4.
fn published(port: &PublishedPort, address: Ipv4Addr) -> Option<Element> {
    let protocol = port.protocol.number();
    let value = Value::Bytes(target(address, port.container));
    match port.host_address {
        any if any.is_unspecified() => {
            Some(Element { set: PUBLISHED_ANY, key: port_key(protocol, port.host), value })
        }
        IpAddr::V4(host) => {
            Some(Element { set: PUBLISHED, key: address_port_key(host, protocol, port.host), value })
        }
        IpAddr::V6(_) => None,
    }
}

fn published_elements(endpoint: &Endpoint) -> impl Iterator<Item = Element> {
    endpoint.ports.iter().filter_map(|port| published(port, endpoint.address))
}

/// Leads what a container asks of 127.0.0.11, port 53, to another port there: in its own network namespace, with the
/// same table that publishes ports on the host.
pub(super) fn redirect_names(port: u16) -> Option<Vec<u8>> {
    const SERVER: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 11);
    const PORT: u16 = 53;
    let mut transaction = Transaction::new(TABLE);
    ruleset::write_names(&mut transaction);
    for protocol in [Protocol::Udp, Protocol::Tcp] {
        let key = address_port_key(SERVER, protocol.number(), PORT);
        transaction.add(&Element { set: PUBLISHED, key, value: Value::Bytes(target(SERVER, port)) });
    }
    transaction.end().finish()
}

/// Leads the endpoint's published ports to it.
pub(super) fn publish(connection: &mut Connection, endpoint: &Endpoint) -> Result<()> {
    let mut transaction = Transaction::new(TABLE);
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
    let mut transaction = Transaction::new(TABLE);
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
            let mut transaction = Transaction::since(TABLE, generation);
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
        batch::ask_element(&mut questions, TABLE, element);
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
        let mut transaction = Transaction::new(TABLE);
        transaction.remove(&element);
        transaction.end().finish()
    };
    published_elements(endpoint).filter_map(batch).collect()
}

fn remove(connection: &mut Connection, element: &Element) -> Result<()> {
    let mut transaction = Transaction::new(TABLE);
    transaction.remove(element);
    match connection.commit(transaction.end())? {
        Err(refusal) if refusal.errno != Errno::ENOENT => Err(failed(refusal)),
        _ => Ok(()),
    }
}

/// Removes one published port.
pub(super) fn remove_published(connection: &mut Connection, port: &Published) -> Result<()> {
    let (set, key) = match port.host_address {
        None => (PUBLISHED_ANY, port_key(port.protocol, port.host)),
        Some(address) => (PUBLISHED, address_port_key(address, port.protocol, port.host)),
    };
    remove(connection, &Element { set, key, value: Value::None })
}

/// All published ports, of whatever store.
pub(super) fn list_published(connection: &mut Connection) -> Result<Vec<Published>> {
    let mut ports = Vec::new();
    for set in [PUBLISHED, PUBLISHED_ANY] {
        let dump = connection.dump(batch::dump_elements(TABLE, set), |message| {
            let answer = message.body.get(4..).unwrap_or_default();
            let elements = attribute(answer, ELEM_LIST_ELEMENTS).unwrap_or_default();
            ports.extend(attributes(elements).filter_map(|(_, element)| parse_published(element)));
        })?;
        match dump {
            Err(refusal) if refusal.errno != Errno::ENOENT => return Err(failed(refusal)),
            _ => {}
        }
    }
    Ok(ports)
}

fn parse_published(element: &[u8]) -> Option<Published> {
    let key = descend(element, &[ELEM_KEY, DATA_VALUE])?;
    let value = descend(element, &[ELEM_DATA, DATA_VALUE])?;
    let address = |bytes: &[u8]| Some(Ipv4Addr::from(*bytes.first_chunk::<4>()?));
    let port = |bytes: &[u8]| Some(u16::from_be_bytes(*bytes.first_chunk::<2>()?));
    let (host_address, rest) = match key.len() {
        12 => (Some(address(key)?), &key[4..]),
        8 => (None, key),
        _ => return None,
    };
    Some(Published {
        host_address,
        protocol: *rest.first()?,
        host: port(rest.get(4..)?)?,
        address: address(value)?,
        container: port(value.get(4..)?)?,
    })
}

impl Published {
    /// The protocol, if it is one that the engine publishes.
    pub(super) fn known_protocol(&self) -> Option<Protocol> {
        [Protocol::Tcp, Protocol::Udp].into_iter().find(|protocol| protocol.number() == self.protocol)
    }
}
