//! Which devices a group may use, decided from the rules of an OCI runtime configuration.
//!
//! The rules apply in order, with the meaning that the kernel's version 1 controller gives to each
//! (Documentation/admin-guide/cgroup-v1/devices.rst): a rule for all devices sets what holds in general and forgets
//! the rest; any other adds or takes away an exception. Version 2 has no controller, so the filter program of
//! `filter` is made from the same decision and the two agree.

use oci_spec::runtime::{LinuxDeviceCgroup, LinuxDeviceType};

use crate::error::{Error, ErrorKind, Result};

/// May be made with mknod(2).
pub(super) const MAKE: u8 = 1;
/// May be read.
pub(super) const READ: u8 = 2;
/// May be written.
pub(super) const WRITE: u8 = 4;
const ALL: u8 = MAKE | READ | WRITE;
/// Rules that a group may have. A filter program of so many has some 30 000 instructions, of the million that there may be.
const LIMIT: usize = 4096;

/// A block or a character device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Block device.
    Block,
    /// Character device.
    Char,
}

/// What holds in general, and what does not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Policy {
    /// Whether everything is allowed but the exceptions, or nothing but them.
    pub(super) allow: bool,
    /// The exceptions.
    pub(super) exceptions: Vec<Exception>,
}

/// Devices and what is the other way round for them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Exception {
    /// Block or character.
    pub(super) kind: Kind,
    /// Major number; any if there is none.
    pub(super) major: Option<u32>,
    /// Minor number; any if there is none.
    pub(super) minor: Option<u32>,
    /// [`MAKE`], [`READ`] and [`WRITE`].
    pub(super) access: u8,
}

/// The policy of the rules; `None` without any, which leaves devices as they are. What no rule mentions is denied.
///
/// # Errors
/// A rule that means nothing.
pub(super) fn decide(rules: &[LinuxDeviceCgroup]) -> Result<Option<Policy>> {
    if rules.is_empty() {
        return Ok(None);
    }
    let mut policy = Policy { allow: false, exceptions: Vec::new() };
    for rule in rules {
        let access = access(rule)?;
        let (major, minor) = (number(rule, rule.major())?, number(rule, rule.minor())?);
        let kinds: &[Kind] = match rule.typ() {
            None | Some(LinuxDeviceType::A) if (major, minor, access) == (None, None, ALL) => {
                policy = Policy { allow: rule.allow(), exceptions: Vec::new() };
                continue;
            }
            None | Some(LinuxDeviceType::A) => &[Kind::Block, Kind::Char],
            Some(LinuxDeviceType::B) => &[Kind::Block],
            Some(LinuxDeviceType::C | LinuxDeviceType::U) => &[Kind::Char],
            Some(LinuxDeviceType::P) => return Err(bad(rule, "a pipe is no device")),
        };
        for &kind in kinds {
            let exception = Exception { kind, major, minor, access };
            if rule.allow() == policy.allow {
                policy.take_away(exception);
            } else {
                policy.add(exception);
            }
        }
        if policy.exceptions.len() > LIMIT {
            return Err(Error::new(ErrorKind::LimitExceeded, "device rules")
                .because(format!("there are more than {LIMIT}")));
        }
    }
    Ok(Some(policy))
}

impl Policy {
    fn same(&mut self, wanted: Exception) -> Option<&mut Exception> {
        let place = |e: &Exception| (e.kind, e.major, e.minor);
        self.exceptions.iter_mut().find(|known| place(known) == place(&wanted))
    }

    fn add(&mut self, exception: Exception) {
        match self.same(exception) {
            Some(known) => known.access |= exception.access,
            None => self.exceptions.push(exception),
        }
    }

    fn take_away(&mut self, exception: Exception) {
        if let Some(known) = self.same(exception) {
            known.access &= !exception.access;
        }
        self.exceptions.retain(|known| known.access != 0);
    }
}

impl Exception {
    /// As the files of version 1 take it: `c 1:3 rwm`.
    pub(super) fn line(&self) -> String {
        let kind = if self.kind == Kind::Block { 'b' } else { 'c' };
        let number = |n: Option<u32>| n.map_or("*".to_owned(), |n| n.to_string());
        let letters = [(READ, 'r'), (WRITE, 'w'), (MAKE, 'm')];
        let access: String =
            letters.iter().filter(|(bit, _)| self.access & bit != 0).map(|(_, letter)| letter).collect();
        format!("{kind} {}:{} {access}", number(self.major), number(self.minor))
    }
}

fn access(rule: &LinuxDeviceCgroup) -> Result<u8> {
    let text = rule.access().as_deref().unwrap_or_default();
    let mut access = 0;
    for letter in text.chars() {
        access |= match letter {
            'r' => READ,
            'w' => WRITE,
            'm' => MAKE,
            _ => return Err(bad(rule, "what is allowed is letters out of r, w and m")),
        };
    }
    // Nothing said is everything meant: the specification leaves it out for a rule about all devices.
    Ok(if access == 0 { ALL } else { access })
}

/// A device number; -1 and none mean any.
fn number(rule: &LinuxDeviceCgroup, number: Option<i64>) -> Result<Option<u32>> {
    match number {
        None | Some(-1) => Ok(None),
        Some(number) => {
            u32::try_from(number).map(Some).map_err(|_| bad(rule, "device numbers are 0 to 4294967295"))
        }
    }
}

fn bad(rule: &LinuxDeviceCgroup, reason: &str) -> Error {
    let show = |n: Option<i64>| n.map_or("*".to_owned(), |n| n.to_string());
    let access = rule.access().as_deref().unwrap_or_default();
    Error::invalid(format!("device rule {}:{} {access:?}", show(rule.major()), show(rule.minor())), reason)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A rule by its parts; `None` for any number.
    pub(crate) fn rule(
        allow: bool,
        typ: Option<LinuxDeviceType>,
        major: Option<i64>,
        minor: Option<i64>,
        access: &str,
    ) -> LinuxDeviceCgroup {
        let mut rule = LinuxDeviceCgroup::default();
        rule.set_allow(allow).set_typ(typ).set_major(major).set_minor(minor).set_access(Some(access.into()));
        rule
    }

    const C: Option<LinuxDeviceType> = Some(LinuxDeviceType::C);

    #[test]
    fn rules_apply_in_order() {
        let rules = [
            rule(true, None, None, None, "rwm"),
            rule(false, None, None, None, "rwm"),
            rule(true, C, Some(1), Some(3), "r"),
            rule(true, C, Some(1), Some(3), "w"),
            rule(true, C, Some(5), None, "rwm"),
            rule(false, C, Some(5), None, "m"),
            rule(false, C, Some(9), None, "rwm"),
        ];
        let policy = decide(&rules).expect("sound").expect("there are rules");
        assert!(!policy.allow);
        let lines: Vec<String> = policy.exceptions.iter().map(Exception::line).collect();
        assert_eq!(lines, ["c 1:3 rw", "c 5:* rw"]);
    }

    #[test]
    fn without_a_rule_for_all_the_rest_is_denied() {
        let policy = decide(&[rule(true, C, Some(1), Some(3), "rwm")]).expect("sound").expect("a rule");
        assert!(!policy.allow);
        assert_eq!(decide(&[]).expect("sound"), None);
    }

    #[test]
    fn a_rule_for_everything_but_one_access_is_two_exceptions() {
        let rules = [rule(true, None, None, None, "rwm"), rule(false, None, None, None, "w")];
        let policy = decide(&rules).expect("sound").expect("there are rules");
        assert!(policy.allow);
        let lines: Vec<String> = policy.exceptions.iter().map(Exception::line).collect();
        assert_eq!(lines, ["b *:* w", "c *:* w"]);
    }

    #[test]
    fn senseless_rules_are_refused() {
        for bad in [
            rule(true, C, Some(1), Some(3), "x"),
            rule(true, C, Some(-2), Some(3), "r"),
            rule(true, C, Some(1), Some(1 << 40), "r"),
            rule(true, Some(LinuxDeviceType::P), None, None, "r"),
        ] {
            assert!(decide(&[bad]).is_err());
        }
        let many: Vec<_> = (0..5000).map(|minor| rule(true, C, Some(1), Some(minor), "r")).collect();
        assert_eq!(decide(&many).expect_err("is refused").kind(), ErrorKind::LimitExceeded);
    }
}
