//! A profile as it is for one interface: what happens to each call, by number.

use std::collections::BTreeMap;

use oci_spec::runtime::{
    LinuxSeccomp, LinuxSeccompAction, LinuxSeccompArg, LinuxSeccompOperator, LinuxSyscall,
};

use super::syscalls::{ARM_PRIVATE, Interface};
use crate::error::{Error, ErrorKind, Result};

/// What the kernel does, as it takes it from a filter: `SECCOMP_RET_*` and its data.
pub(super) type Action = u32;

/// The call is made.
pub(super) const ALLOW: Action = 0x7fff_0000;
/// The thread ends, as with libseccomp: what happens to calls through an interface that the profile is not about.
pub(super) const KILL_THREAD: Action = 0;
/// The call fails with the error number in the lower half.
pub(super) const ERRNO: Action = 0x0005_0000;
/// The call does not exist.
pub(super) const NO_SUCH_CALL: Action = ERRNO | 38;
const EPERM: u32 = 1;
/// The interfaces have six arguments.
const ARGUMENTS: usize = 6;
/// Names and conditions that a profile may have; the kernel's own limit on programs is reached before.
const LIMIT: usize = 50_000;

/// What happens to the calls of one interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Table {
    /// The interface.
    pub(super) interface: Interface,
    /// By number; the rest gets the default action.
    pub(super) calls: BTreeMap<u32, Verdict>,
    /// The first number that is newer than all the profile names, if such calls do not exist.
    pub(super) newer: Option<u32>,
}

/// What happens to a call.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Verdict {
    /// Always the same.
    Plain(Action),
    /// What the first alternative says whose conditions hold; else the default action.
    Conditional(Vec<Alternative>),
}

/// An action under conditions that must all hold.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Alternative {
    /// The conditions; at least one.
    pub(super) conditions: Vec<Condition>,
    /// The action.
    pub(super) action: Action,
}

/// A condition on an argument, of which only the bits in `mask` count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Condition {
    /// Which argument, from 0.
    pub(super) argument: usize,
    /// How it is compared.
    pub(super) comparison: Comparison,
    /// The bits that count.
    pub(super) mask: u64,
    /// With what it is compared.
    pub(super) value: u64,
}

/// How an argument is compared. Less is the opposite of one of these.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Comparison {
    /// Equal.
    Equal,
    /// Not equal.
    NotEqual,
    /// Greater.
    Greater,
    /// Greater or equal.
    GreaterOrEqual,
    /// Less.
    Less,
    /// Less or equal.
    LessOrEqual,
}

/// The action for calls that no rule is about.
pub(super) fn default_action(profile: &LinuxSeccomp) -> Result<Action> {
    action(profile.default_action(), profile.default_errno_ret())
}

/// Reads the profile for one interface.
pub(super) fn read(profile: &LinuxSeccomp, interface: Interface) -> Result<Table> {
    let default = default_action(profile)?;
    let rules = profile.syscalls().as_deref().unwrap_or_default();
    let size: usize = rules.iter().map(|rule| rule.names().len().saturating_add(arguments(rule).len())).sum();
    if size > LIMIT {
        return Err(Error::new(ErrorKind::LimitExceeded, "seccomp profile")
            .because(format!("it has more than {LIMIT} names and conditions")));
    }
    let mut table = Table { interface, calls: BTreeMap::new(), newer: None };
    let mut highest = None;
    for rule in rules {
        let action = action(rule.action(), rule.errno_ret())?;
        let alternatives = alternatives(rule, action, interface)?;
        for name in rule.names() {
            let Some(number) = interface.number(name) else { continue };
            if number < ARM_PRIVATE {
                highest = highest.max(Some(number));
            }
            // What holds anyway needs no rule.
            if action == default {
                continue;
            }
            table.add(number, action, &alternatives);
            if let Some((call, first)) = interface.multiplexed(name)
                && alternatives.is_empty()
            {
                let condition = Condition {
                    argument: 0,
                    comparison: Comparison::Equal,
                    mask: u32::MAX.into(),
                    value: first.into(),
                };
                table.add(call, action, &[Alternative { conditions: vec![condition], action }]);
            }
        }
    }
    // A profile that allows what it does not name, or lets somebody decide, is as good for new calls as for old ones.
    let refuses = ![ALLOW, LOG, NOTIFY, NO_SUCH_CALL].contains(&default) && default & 0xffff_0000 != TRACE;
    table.newer = highest.filter(|_| refuses).map(|number| number + 1);
    Ok(table)
}

impl Table {
    /// What always happens to the call, where nothing else would; `None` if that depends on its arguments.
    pub(super) fn answer(&self, number: u32, default: Action) -> Option<Action> {
        match self.calls.get(&number) {
            None if self.newer.is_some_and(|newer| number >= newer) => Some(NO_SUCH_CALL),
            None => Some(default),
            Some(Verdict::Plain(action)) => Some(*action),
            Some(Verdict::Conditional(_)) => None,
        }
    }

    fn add(&mut self, number: u32, action: Action, alternatives: &[Alternative]) {
        use std::collections::btree_map::Entry;
        match (self.calls.entry(number), alternatives) {
            (Entry::Vacant(entry), []) => {
                entry.insert(Verdict::Plain(action));
            }
            (Entry::Vacant(entry), _) => {
                entry.insert(Verdict::Conditional(alternatives.to_vec()));
            }
            (Entry::Occupied(mut entry), alternatives) => match entry.get_mut() {
                Verdict::Plain(_) => {}
                verdict if alternatives.is_empty() => *verdict = Verdict::Plain(action),
                Verdict::Conditional(known) => known.extend_from_slice(alternatives),
            },
        }
    }
}

fn arguments(rule: &LinuxSyscall) -> &[LinuxSeccompArg] {
    rule.args().as_deref().unwrap_or_default()
}

/// The rule's conditions; none if it has none.
fn alternatives(rule: &LinuxSyscall, action: Action, interface: Interface) -> Result<Vec<Alternative>> {
    let mut conditions = Vec::with_capacity(arguments(rule).len());
    for argument in arguments(rule) {
        if argument.index() >= ARGUMENTS {
            return Err(Error::invalid(
                format!("seccomp rule for {}", rule.names().join(", ")),
                format!("there is no argument {}: they are counted from 0 to 5", argument.index()),
            ));
        }
        conditions.push(condition(argument, interface));
    }
    let mut seen = [false; ARGUMENTS];
    let repeated = conditions.iter().any(|c| std::mem::replace(&mut seen[c.argument], true));
    Ok(match (conditions.is_empty(), repeated) {
        (true, _) => Vec::new(),
        (_, false) => vec![Alternative { conditions, action }],
        (_, true) => conditions.into_iter().map(|c| Alternative { conditions: vec![c], action }).collect(),
    })
}

fn condition(argument: &LinuxSeccompArg, interface: Interface) -> Condition {
    // The kernel looks at half of the register only, where the interface has 32 bits.
    let all = if interface.wide() { u64::MAX } else { u32::MAX.into() };
    let (comparison, mask, value) = match argument.op() {
        LinuxSeccompOperator::ScmpCmpEq => (Comparison::Equal, all, argument.value()),
        LinuxSeccompOperator::ScmpCmpNe => (Comparison::NotEqual, all, argument.value()),
        LinuxSeccompOperator::ScmpCmpGt => (Comparison::Greater, all, argument.value()),
        LinuxSeccompOperator::ScmpCmpGe => (Comparison::GreaterOrEqual, all, argument.value()),
        LinuxSeccompOperator::ScmpCmpLt => (Comparison::Less, all, argument.value()),
        LinuxSeccompOperator::ScmpCmpLe => (Comparison::LessOrEqual, all, argument.value()),
        LinuxSeccompOperator::ScmpCmpMaskedEq => {
            (Comparison::Equal, argument.value() & all, argument.value_two().unwrap_or(0))
        }
    };
    Condition { argument: argument.index(), comparison, mask, value: value & mask }
}

const TRACE: Action = 0x7ff0_0000;
/// The call is made, and written down.
pub(super) const LOG: Action = 0x7ffc_0000;
/// Whoever listens decides.
pub(super) const NOTIFY: Action = 0x7fc0_0000;

/// The action as the kernel takes it; `data` is the error number, or the message for a tracer.
fn action(action: LinuxSeccompAction, data: Option<u32>) -> Result<Action> {
    const KILL_PROCESS: Action = 0x8000_0000;
    const TRAP: Action = 0x0003_0000;
    let data = || {
        let data = data.unwrap_or(EPERM);
        u16::try_from(data).map(u32::from).map_err(|_| {
            Error::invalid(format!("seccomp error number {data}"), "an error number is less than 65536")
        })
    };
    Ok(match action {
        LinuxSeccompAction::ScmpActKill | LinuxSeccompAction::ScmpActKillThread => KILL_THREAD,
        LinuxSeccompAction::ScmpActKillProcess => KILL_PROCESS,
        LinuxSeccompAction::ScmpActTrap => TRAP,
        LinuxSeccompAction::ScmpActErrno => ERRNO | data()?,
        LinuxSeccompAction::ScmpActTrace => TRACE | data()?,
        LinuxSeccompAction::ScmpActLog => LOG,
        LinuxSeccompAction::ScmpActAllow => ALLOW,
        LinuxSeccompAction::ScmpActNotify => NOTIFY,
    })
}
