//! The static part: one table for each family, its sets, its chains and their rules. A network or a container adds and
//! removes elements of the sets, never a rule.
//!
//! What the rules say, in the order a packet meets them:
//! - `guard`: nothing that comes out of a network may be from or to 127.0.0.0/8. The bridges let such packets pass
//!   (`route_localnet`, for ports published on the host's loopback), and without this a container would reach what
//!   listens on the host's loopback (CVE-2020-8558).
//! - `prerouting`, `output`: a published port leads to its container. Packets to 127.0.0.0/8 that arrive from
//!   elsewhere do not: a port published on the loopback is for the host alone.
//! - `forward`: answers pass; internal networks have no way in or out; what goes into a network must go to a published
//!   port, so networks are isolated from each other and from routers that would send packets straight in; what goes
//!   out passes. If the engine made this host a router, it routes for the networks only (`strangers`).
//! - `postrouting`: what leaves a network carries the host's address; so does what reaches a published port from a
//!   network, as the answer must come back through here, and what comes from the host itself. With `br_netfilter` a
//!   packet within a bridge seems to come from nowhere here, like one of the host.
//! - `returning`, `input`, of IPv6 alone: the way back to the host's loopback. There is no `route_localnet`: a packet to
//!   ::1 that comes through an interface is dropped when it arrives, or, where the answer of a published port was just
//!   led back to the client at ::1, when its route is looked for. So it keeps the address that it came to until it has
//!   arrived. That the address is ::1 only for its connection cannot be feigned: `guard` is before.

use super::batch::{ACCEPT, DROP, Data, Element, Hook, RETURN, Set, Table, Transaction, Value};
use super::expr::{Rule, Way};
use crate::id::Digest;
use crate::network::linux::family::Family;

/// The table of a family.
pub(super) fn table(family: Family) -> Table {
    Table { family, name: "engine" }
}

/// All bridges.
pub(super) const BRIDGES: &str = "bridges";
/// Bridges whose members have no way out.
pub(super) const INTERNAL: &str = "internal";
/// Bridges whose members leave with the host's address.
pub(super) const MASQUERADED: &str = "masqueraded";
/// Pairs of a bridge and itself: members may reach each other. Only asked where `br_netfilter` sends bridged packets
/// through here.
pub(super) const WITHIN: &str = "within";
/// What becomes of packets that are no business of the engine's; empty, unless it turned forwarding on.
pub(super) const STRANGERS: &str = "strangers";
/// Ports published on one address of the host.
pub(super) const PUBLISHED: &str = "published";
/// Ports published on all addresses of the host.
pub(super) const PUBLISHED_ANY: &str = "published_any";

/// The numbers that `nft` has for types; a concatenation takes six bits for each.
const ADDRESS: u32 = 7;
const ADDRESS6: u32 = 8;
const PROTOCOL: u32 = 12;
const PORT: u32 = 13;
const ADDRESS_TYPE: u32 = 38;
const INTERFACE: u32 = 41;

/// The sets. One whose shape changes must get another name, so that a newer engine can add it beside the old one.
fn sets(family: Family) -> [Set; 7] {
    let (address, length) = match family {
        Family::V4 => (ADDRESS, 4),
        Family::V6 => (ADDRESS6, 16),
    };
    let set = |name, key, data| Set { name, key, data };
    let target = Some(Data::Value(address << 6 | PORT, length + 4));
    [
        set(BRIDGES, (INTERFACE, 16), None),
        set(INTERNAL, (INTERFACE, 16), None),
        set(MASQUERADED, (INTERFACE, 16), None),
        set(WITHIN, (INTERFACE << 6 | INTERFACE, 32), None),
        set(STRANGERS, (ADDRESS_TYPE, 4), Some(Data::Verdict)),
        set(PUBLISHED, ((address << 6 | PROTOCOL) << 6 | PORT, length + 8), target),
        set(PUBLISHED_ANY, (PROTOCOL << 6 | PORT, 8), target),
    ]
}

/// A chain with its rules.
pub(super) struct Chain {
    pub(super) name: &'static str,
    hook: Hook,
    pub(super) rules: Vec<Rule>,
}

const ESTABLISHED_OR_RELATED: u32 = 2 | 4;

/// The chains.
pub(super) fn chains(family: Family) -> Vec<Chain> {
    let chain =
        |name, kind, number, priority, rules| Chain { name, hook: Hook { kind, number, priority }, rules };
    let rule = || Rule::new(family);
    let published = || {
        [
            rule().translate_by_address_and_port(PUBLISHED),
            rule().destination_is_this_host().translate_by_port(PUBLISHED_ANY),
        ]
    };
    let [exact, any] = published();
    let prerouting = vec![rule().destination_is_loopback().verdict(RETURN), exact, any];
    let mut chains = vec![
        chain(
            "guard",
            "filter",
            0,
            -300,
            vec![
                rule().destination_is_loopback().interface_in(Way::In, BRIDGES).verdict(DROP),
                rule().source_is_loopback().interface_in(Way::In, BRIDGES).verdict(DROP),
            ],
        ),
        chain("prerouting", "nat", 0, -100, prerouting),
        chain("output", "nat", 3, -100, published().into()),
        chain(
            "forward",
            "filter",
            2,
            0,
            vec![
                rule()
                    .interface_not_in(Way::In, BRIDGES)
                    .interface_not_in(Way::Out, BRIDGES)
                    .verdict_by_destination_type(STRANGERS),
                rule().connection_state(ESTABLISHED_OR_RELATED).verdict(ACCEPT),
                rule().interfaces_in(WITHIN).verdict(ACCEPT),
                rule().interface_in(Way::In, INTERNAL).verdict(DROP),
                rule().interface_in(Way::Out, INTERNAL).verdict(DROP),
                rule().interface_in(Way::Out, BRIDGES).translated().verdict(ACCEPT),
                rule().interface_in(Way::Out, BRIDGES).verdict(DROP),
            ],
        ),
        chain(
            "postrouting",
            "nat",
            4,
            100,
            vec![
                rule().interface_in(Way::In, MASQUERADED).interface_not_in(Way::Out, BRIDGES).masquerade(),
                rule()
                    .interface_in(Way::In, BRIDGES)
                    .interface_in(Way::Out, BRIDGES)
                    .translated()
                    .masquerade(),
                rule().interface_in(Way::Out, BRIDGES).source_is_loopback().masquerade(),
                rule().came_from_nowhere().interface_in(Way::Out, BRIDGES).translated().masquerade(),
            ],
        ),
    ];
    if family == Family::V6 {
        let from = || rule().interface_in(Way::In, BRIDGES);
        let (to_loopback, arrived) = (from().destination_is_loopback(), from().connection_of_loopback());
        chains.push(chain("returning", "filter", 0, -90, vec![to_loopback.restore_destination()]));
        chains.push(chain("input", "filter", 1, -10, vec![arrived.destine_to_loopback()]));
    }
    chains
}

/// The name of an empty chain that tells which version of the static part is there.
pub(super) fn marker(family: Family, chains: &[Chain]) -> String {
    let mut transaction = Transaction::new();
    write(&mut transaction, family, chains);
    let bytes = transaction.end().finish().unwrap_or_default();
    format!("{MARKER}{}", Digest::of(&bytes).short())
}

/// What the marker's name begins with.
pub(super) const MARKER: &str = "version-";

/// Makes all of it, whatever is there. Elements stay as they are.
pub(super) fn write(transaction: &mut Transaction, family: Family, chains: &[Chain]) {
    let table = table(family);
    transaction.table(table);
    for set in &sets(family) {
        transaction.set(table, set);
    }
    for chain in chains {
        transaction.chain(table, chain.name, Some(chain.hook));
        transaction.flush(table, chain.name);
        for rule in &chain.rules {
            transaction.rule(table, chain.name, None, rule);
        }
    }
}

/// The table of a container's own network; another one than that of an engine that may run in there.
pub(super) const NAMES: Table = Table { family: Family::V4, name: "engine-names" };

/// What is in it: what goes to an address and a port of a map is led elsewhere.
pub(super) fn write_names(transaction: &mut Transaction) {
    const CHAIN: &str = "names";
    let table = NAMES;
    transaction.table(table);
    for set in sets(table.family).iter().filter(|set| set.name == PUBLISHED) {
        transaction.set(table, set);
    }
    transaction.chain(table, CHAIN, Some(Hook { kind: "nat", number: 3, priority: -100 }));
    // It may be written again.
    transaction.flush(table, CHAIN);
    let rule = Rule::new(table.family).translate_by_address_and_port(PUBLISHED);
    transaction.rule(table, CHAIN, None, &rule);
}

/// Nothing is forwarded but for the networks.
pub(super) fn no_strangers(family: Family) -> Element {
    // `RTN_UNICAST`: what would be sent on.
    let key = 1u32.to_ne_bytes().to_vec();
    Element { table: table(family), set: STRANGERS, key, value: Value::Verdict(DROP) }
}
