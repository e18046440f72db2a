//! Getting along with others who forbid forwarding.
//!
//! Docker, ufw and others set the policy of `filter FORWARD` of a family to drop. A packet must pass every table, so what the
//! engine accepts in its own is dropped there. Only the policy is overridden, by rules at the very end of that chain:
//! whatever somebody decided by a rule stays as it is. What must not reach the engine's networks is dropped in the
//! engine's own table. And as Docker leaves it to the policy to keep its networks from others, the engine's rules
//! leave packets into Docker's bridges to it too.

use nix::errno::Errno;

use super::batch::{
    ACCEPT, CHAIN_POLICY, DROP, RETURN, RULE_HANDLE, RULE_USERDATA, Table, Transaction, ask_chain,
    comment_data, dump_rules,
};
use super::expr::{Rule, Way};
use super::failed;
use crate::error::Result;
use crate::network::linux::connection::Connection;
use crate::network::linux::family::Family;
use crate::network::linux::netlink::{Batch, attribute, network_u32};

const CHAIN: &str = "FORWARD";

fn table(family: Family) -> Table {
    Table { family, name: "filter" }
}

/// Asks for the chain.
pub(super) fn ask(batch: &mut Batch, family: Family) {
    ask_chain(batch, table(family), CHAIN);
}

/// Whether the chain in the answer drops what none of its rules decides on.
pub(super) fn is_closed(answer: &[u8]) -> bool {
    attribute(answer, CHAIN_POLICY).and_then(network_u32) == Some(DROP.cast_unsigned())
}

/// The rules for one bridge. `iptables` shows them as its own.
fn rules(family: Family, bridge: &str) -> [Rule; 4] {
    let from = || Rule::new(family).interface(Way::In, bridge, true);
    [
        from().interface(Way::Out, "docker", false).counter().verdict(RETURN),
        from().interface(Way::Out, "br-", false).counter().verdict(RETURN),
        from().counter().verdict(ACCEPT),
        Rule::new(family).interface(Way::Out, bridge, true).counter().verdict(ACCEPT),
    ]
}

fn comment(bridge: &str) -> String {
    format!("engine: {bridge}")
}

/// Lets the bridge's packets pass, unless they are let pass already.
pub(super) fn open(connection: &mut Connection, family: Family, bridge: &str) -> Result<()> {
    let rules = rules(family, bridge);
    let found = handles(connection, family, bridge)?;
    if found.len() == rules.len() {
        return Ok(());
    }
    let mut transaction = Transaction::new();
    for handle in found {
        transaction.remove_rule(table(family), CHAIN, &handle);
    }
    for rule in &rules {
        transaction.rule(table(family), CHAIN, Some(&comment(bridge)), rule);
    }
    match connection.commit(transaction.end())? {
        // Whoever made the chain took it away meanwhile.
        Err(refusal) if refusal.errno != Errno::ENOENT => Err(failed(refusal)),
        _ => Ok(()),
    }
}

/// Takes the rules for the bridge back.
pub(super) fn close(connection: &mut Connection, family: Family, bridge: &str) -> Result<()> {
    let mut transaction = Transaction::new();
    for handle in handles(connection, family, bridge)? {
        transaction.remove_rule(table(family), CHAIN, &handle);
    }
    if transaction.is_empty() {
        return Ok(());
    }
    match connection.commit(transaction.end())? {
        Err(refusal) if refusal.errno != Errno::ENOENT => Err(failed(refusal)),
        _ => Ok(()),
    }
}

/// The handles of the rules for the bridge.
fn handles(connection: &mut Connection, family: Family, bridge: &str) -> Result<Vec<Vec<u8>>> {
    let mark = comment_data(&comment(bridge));
    let mut found = Vec::new();
    let dump = connection.dump(dump_rules(table(family), CHAIN), |message| {
        let rule = message.body.get(4..).unwrap_or_default();
        if attribute(rule, RULE_USERDATA) == Some(mark.as_slice()) {
            found.extend(attribute(rule, RULE_HANDLE).map(<[u8]>::to_vec));
        }
    })?;
    match dump {
        Err(refusal) if refusal.errno != Errno::ENOENT => Err(failed(refusal)),
        _ => Ok(found),
    }
}
