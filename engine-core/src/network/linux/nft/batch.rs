//! Transactions of the packet filter: tables, chains, sets, elements and rules as netlink messages.

use super::expr::Rule;
use crate::network::linux::family::Family;
use crate::network::linux::netlink::{APPEND, Batch, CREATE, DUMP};

const SUBSYSTEM: u16 = 10;
const BATCH_BEGIN: u16 = 16;
const BATCH_END: u16 = 17;
const BATCH_GENERATION: u16 = 1;
const NEWTABLE: u16 = SUBSYSTEM << 8;
const NEWCHAIN: u16 = SUBSYSTEM << 8 | 3;
const GETCHAIN: u16 = SUBSYSTEM << 8 | 4;
const DELCHAIN: u16 = SUBSYSTEM << 8 | 5;
const NEWRULE: u16 = SUBSYSTEM << 8 | 6;
const GETRULE: u16 = SUBSYSTEM << 8 | 7;
const DELRULE: u16 = SUBSYSTEM << 8 | 8;
const NEWSET: u16 = SUBSYSTEM << 8 | 9;
const NEWSETELEM: u16 = SUBSYSTEM << 8 | 12;
const GETSETELEM: u16 = SUBSYSTEM << 8 | 13;
const DELSETELEM: u16 = SUBSYSTEM << 8 | 14;
const GETGENERATION: u16 = SUBSYSTEM << 8 | 16;

pub(super) const GENERATION_ID: u16 = 1;
const TABLE_NAME: u16 = 1;
pub(super) const CHAIN_NAME: u16 = 3;
const CHAIN_TABLE: u16 = 1;
const CHAIN_HOOK: u16 = 4;
pub(super) const CHAIN_POLICY: u16 = 5;
pub(super) const CHAIN_USE: u16 = 6;
const CHAIN_TYPE: u16 = 7;
const HOOK_NUMBER: u16 = 1;
const HOOK_PRIORITY: u16 = 2;
const RULE_TABLE: u16 = 1;
const RULE_CHAIN: u16 = 2;
pub(super) const RULE_HANDLE: u16 = 3;
const RULE_EXPRESSIONS: u16 = 4;
pub(super) const RULE_USERDATA: u16 = 7;
const SET_TABLE: u16 = 1;
const SET_NAME: u16 = 2;
const SET_FLAGS: u16 = 3;
const SET_KEY_TYPE: u16 = 4;
const SET_KEY_LEN: u16 = 5;
const SET_DATA_TYPE: u16 = 6;
const SET_DATA_LEN: u16 = 7;
const SET_ID: u16 = 10;
const SET_USERDATA: u16 = 13;
const ELEM_LIST_TABLE: u16 = 1;
const ELEM_LIST_SET: u16 = 2;
pub(super) const ELEM_LIST_ELEMENTS: u16 = 3;
pub(super) const LIST_ELEM: u16 = 1;
pub(super) const ELEM_KEY: u16 = 1;
pub(super) const ELEM_DATA: u16 = 2;
pub(super) const DATA_VALUE: u16 = 1;
const DATA_VERDICT: u16 = 2;
const VERDICT_CODE: u16 = 1;

const SET_IS_MAP: u32 = 8;
/// The type of a map's data that is a verdict.
const TYPE_VERDICT: u32 = 0xffff_ff00;

/// `NF_DROP`.
pub(super) const DROP: i32 = 0;
/// `NF_ACCEPT`.
pub(super) const ACCEPT: i32 = 1;
/// `NFT_RETURN`.
pub(super) const RETURN: i32 = -5;

/// A table of the packet filter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Table {
    pub(super) family: Family,
    pub(super) name: &'static str,
}

/// Where a base chain hangs.
#[derive(Clone, Copy, Debug)]
pub(super) struct Hook {
    /// `filter` or `nat`.
    pub(super) kind: &'static str,
    /// `NF_INET_*`.
    pub(super) number: u32,
    pub(super) priority: i32,
}

/// A set, or a map if it has data.
#[derive(Clone, Copy, Debug)]
pub(super) struct Set {
    pub(super) name: &'static str,
    /// What `nft` calls the key's type, and its length in bytes.
    pub(super) key: (u32, u32),
    pub(super) data: Option<Data>,
}

/// What a map gives.
#[derive(Clone, Copy, Debug)]
pub(super) enum Data {
    /// A value: what `nft` calls its type, and its length in bytes.
    Value(u32, u32),
    /// A verdict.
    Verdict,
}

/// The data of an element.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Value {
    /// None: the element of a set.
    None,
    /// A value.
    Bytes(Vec<u8>),
    /// A verdict.
    Verdict(i32),
}

/// An element of a set or a map.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Element {
    pub(super) table: Table,
    pub(super) set: &'static str,
    pub(super) key: Vec<u8>,
    pub(super) value: Value,
}

/// `struct nfgenmsg` of a message about a family's tables.
fn header(family: Family) -> [u8; 4] {
    [family.number(), 0, 0, 0]
}

/// That of a message about the packet filter as a whole.
fn frame() -> [u8; 4] {
    let [high, low] = SUBSYSTEM.to_be_bytes();
    [0, 0, high, low]
}

/// A transaction, on any tables.
pub(super) struct Transaction {
    batch: Batch,
    sets: u32,
}

impl Transaction {
    /// Begins one.
    pub(super) fn new() -> Transaction {
        let mut batch = Batch::new();
        batch.message(BATCH_BEGIN, 0, &frame(), |_| ());
        Transaction { batch, sets: 0 }
    }

    /// Begins one that is refused if anything of the packet filter has changed since `generation`.
    pub(super) fn since(generation: u32) -> Transaction {
        let mut batch = Batch::new();
        batch.message(BATCH_BEGIN, 0, &frame(), |m| m.network(BATCH_GENERATION, generation));
        Transaction { batch, sets: 0 }
    }

    /// Ends it: the batch to commit.
    pub(super) fn end(mut self) -> Batch {
        self.batch.acknowledge();
        self.batch.message(BATCH_END, 0, &frame(), |_| ());
        self.batch
    }

    /// Whether nothing is to be done.
    pub(super) fn is_empty(&self) -> bool {
        self.batch.len() < 2
    }

    /// Makes the table, if it is not there.
    pub(super) fn table(&mut self, table: Table) {
        self.batch.message(NEWTABLE, CREATE, &header(table.family), |m| m.text(TABLE_NAME, table.name));
    }

    /// Makes a chain, if it is not there.
    pub(super) fn chain(&mut self, table: Table, name: &str, hook: Option<Hook>) {
        self.batch.message(NEWCHAIN, CREATE, &header(table.family), |m| {
            m.text(CHAIN_TABLE, table.name);
            m.text(CHAIN_NAME, name);
            if let Some(hook) = hook {
                m.nest(CHAIN_HOOK, |m| {
                    m.network(HOOK_NUMBER, hook.number);
                    m.network(HOOK_PRIORITY, hook.priority.cast_unsigned());
                });
                m.network(CHAIN_POLICY, ACCEPT.cast_unsigned());
                m.text(CHAIN_TYPE, hook.kind);
            }
        });
    }

    /// Removes a chain.
    pub(super) fn remove_chain(&mut self, table: Table, name: &str) {
        self.batch.message(DELCHAIN, 0, &header(table.family), |m| {
            m.text(CHAIN_TABLE, table.name);
            m.text(CHAIN_NAME, name);
        });
    }

    /// Removes all rules of a chain.
    pub(super) fn flush(&mut self, table: Table, chain: &str) {
        self.batch.message(DELRULE, 0, &header(table.family), |m| {
            m.text(RULE_TABLE, table.name);
            m.text(RULE_CHAIN, chain);
        });
    }

    /// Adds a rule at the end of a chain; `comment` is shown by `nft`.
    pub(super) fn rule(&mut self, table: Table, chain: &str, comment: Option<&str>, rule: &Rule) {
        self.batch.message(NEWRULE, CREATE | APPEND, &header(table.family), |m| {
            m.text(RULE_TABLE, table.name);
            m.text(RULE_CHAIN, chain);
            m.nest(RULE_EXPRESSIONS, |m| rule.write(m));
            if let Some(comment) = comment {
                m.bytes(RULE_USERDATA, &comment_data(comment));
            }
        });
    }

    /// Removes one rule.
    pub(super) fn remove_rule(&mut self, table: Table, chain: &str, handle: &[u8]) {
        self.batch.message(DELRULE, 0, &header(table.family), |m| {
            m.text(RULE_TABLE, table.name);
            m.text(RULE_CHAIN, chain);
            m.bytes(RULE_HANDLE, handle);
        });
    }

    /// Makes a set, if it is not there. A set of that name and another shape is a failure.
    pub(super) fn set(&mut self, table: Table, set: &Set) {
        self.sets += 1;
        let id = self.sets;
        self.batch.message(NEWSET, CREATE, &header(table.family), |m| {
            m.text(SET_TABLE, table.name);
            m.text(SET_NAME, set.name);
            m.network(SET_FLAGS, if set.data.is_some() { SET_IS_MAP } else { 0 });
            m.network(SET_KEY_TYPE, set.key.0);
            m.network(SET_KEY_LEN, set.key.1);
            match set.data {
                None => {}
                Some(Data::Value(kind, length)) => {
                    m.network(SET_DATA_TYPE, kind);
                    m.network(SET_DATA_LEN, length);
                }
                Some(Data::Verdict) => m.network(SET_DATA_TYPE, TYPE_VERDICT),
            }
            m.network(SET_ID, id);
            m.bytes(SET_USERDATA, &byte_order(set));
        });
    }

    /// Adds an element. That it is there with the same data is no failure.
    pub(super) fn add(&mut self, element: &Element) {
        self.element(NEWSETELEM, CREATE, element, true);
    }

    /// Removes an element. That it is not there is a failure, which undoes the whole transaction.
    pub(super) fn remove(&mut self, element: &Element) {
        self.element(DELSETELEM, 0, element, false);
    }

    fn element(&mut self, kind: u16, flags: u16, element: &Element, with_value: bool) {
        self.batch.message(kind, flags, &header(element.table.family), |m| {
            write_element(m, element, with_value);
        });
    }
}

fn write_element(batch: &mut Batch, element: &Element, with_value: bool) {
    batch.text(ELEM_LIST_TABLE, element.table.name);
    batch.text(ELEM_LIST_SET, element.set);
    batch.nest(ELEM_LIST_ELEMENTS, |m| {
        m.nest(LIST_ELEM, |m| {
            m.nest(ELEM_KEY, |m| m.bytes(DATA_VALUE, &element.key));
            match &element.value {
                Value::Bytes(value) if with_value => m.nest(ELEM_DATA, |m| m.bytes(DATA_VALUE, value)),
                Value::Verdict(code) if with_value => m.nest(ELEM_DATA, |m| verdict(m, *code)),
                _ => {}
            }
        });
    });
}

/// A verdict, as data.
pub(super) fn verdict(batch: &mut Batch, code: i32) {
    batch.nest(DATA_VERDICT, |m| m.network(VERDICT_CODE, code.cast_unsigned()));
}

/// Notes for `nft`, which shows numbers wrongly without: the byte order of keys (0) and data (1), 1 for the host's
/// and 2 for the network's.
fn byte_order(set: &Set) -> Vec<u8> {
    let key = if set.data.is_some() { 2 } else { 1 };
    let mut notes = vec![0, 4];
    notes.extend_from_slice(&u32::to_ne_bytes(key));
    if let Some(Data::Value(..)) = set.data {
        notes.extend_from_slice(&[1, 4]);
        notes.extend_from_slice(&u32::to_ne_bytes(2));
    }
    notes
}

/// A comment as `nft` reads it: a type (0), a length, the text with a zero.
pub(super) fn comment_data(comment: &str) -> Vec<u8> {
    let text: Vec<u8> = comment.bytes().take(128).chain([0]).collect();
    [&[0, text.len() as u8], text.as_slice()].concat()
}

/// Asks for the number that every change of the packet filter increases.
pub(super) fn ask_generation(batch: &mut Batch) {
    batch.message(GETGENERATION, 0, &frame(), |_| ());
}

/// Asks for a chain.
pub(super) fn ask_chain(batch: &mut Batch, table: Table, chain: &str) {
    batch.message(GETCHAIN, 0, &header(table.family), |m| {
        m.text(CHAIN_TABLE, table.name);
        m.text(CHAIN_NAME, chain);
    });
}

/// Asks for an element.
pub(super) fn ask_element(batch: &mut Batch, element: &Element) {
    batch.message(GETSETELEM, 0, &header(element.table.family), |m| write_element(m, element, false));
}

/// Asks for all elements of a set.
pub(super) fn dump_elements(table: Table, set: &str) -> Batch {
    let mut batch = Batch::new();
    batch.message(GETSETELEM, DUMP, &header(table.family), |m| {
        m.text(ELEM_LIST_TABLE, table.name);
        m.text(ELEM_LIST_SET, set);
    });
    batch
}

/// Asks for all chains of the family.
pub(super) fn dump_chains(family: Family) -> Batch {
    let mut batch = Batch::new();
    batch.message(GETCHAIN, DUMP, &header(family), |_| ());
    batch
}

/// Asks for all rules of a chain.
pub(super) fn dump_rules(table: Table, chain: &str) -> Batch {
    let mut batch = Batch::new();
    batch.message(GETRULE, DUMP, &header(table.family), |m| {
        m.text(RULE_TABLE, table.name);
        m.text(RULE_CHAIN, chain);
    });
    batch
}
