//! Capabilities: Docker's fourteen, what is added and what is taken away.

use std::collections::HashSet;
use std::str::FromStr;

use oci_spec::runtime::{Capability, LinuxCapabilities};

use super::host::HostFacts;
use crate::error::{Error, ErrorKind, Result};
use crate::spec::{CAPABILITIES, SecuritySpec};

/// What a container has unless it says otherwise.
const DEFAULT: [&str; 14] = [
    "AUDIT_WRITE",
    "CHOWN",
    "DAC_OVERRIDE",
    "FOWNER",
    "FSETID",
    "KILL",
    "MKNOD",
    "NET_BIND_SERVICE",
    "NET_RAW",
    "SETFCAP",
    "SETGID",
    "SETPCAP",
    "SETUID",
    "SYS_CHROOT",
];

/// A set of capabilities, a bit each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Set(u64);

impl Set {
    /// All that there are.
    const ALL: Set = Set((1 << CAPABILITIES.len()) - 1);

    /// What a container has unless it says otherwise.
    fn default_set() -> Set {
        Set(DEFAULT.iter().filter_map(|name| number(name)).fold(0, |set, n| set | 1 << n))
    }

    /// Whether a capability is in it, by its full name: `CAP_SYS_ADMIN`.
    pub(super) fn has(self, name: &str) -> bool {
        name.strip_prefix("CAP_").and_then(number).is_some_and(|n| self.0 & 1 << n != 0)
    }

    /// The capabilities that this host can give.
    pub(super) fn available(host: &HostFacts) -> Set {
        Set(Set::ALL.0 & host.capabilities)
    }

    /// As the specification has it: what may be had is had. Nothing is inheritable, or programs could pass on what
    /// their files do not grant (CVE-2022-24769).
    pub(super) fn to_oci(self) -> LinuxCapabilities {
        let set: HashSet<Capability> = CAPABILITIES
            .iter()
            .enumerate()
            .filter(|(n, _)| self.0 & 1 << n != 0)
            .filter_map(|(_, name)| Capability::from_str(name).ok())
            .collect();
        let mut capabilities = LinuxCapabilities::default();
        capabilities
            .set_bounding(Some(set.clone()))
            .set_effective(Some(set.clone()))
            .set_permitted(Some(set))
            .set_inheritable(Some(HashSet::new()))
            .set_ambient(Some(HashSet::new()));
        capabilities
    }
}

fn number(name: &str) -> Option<usize> {
    CAPABILITIES.iter().position(|known| *known == name)
}

/// What the container may have.
///
/// # Errors
/// [`ErrorKind::InvalidInput`] for a capability that there is not, [`ErrorKind::Unsupported`] for one that the engine
/// cannot give because it lacks it itself.
pub(super) fn decide(security: &SecuritySpec, host: &HostFacts) -> Result<Set> {
    let available = Set::available(host);
    if security.privileged {
        return Ok(available);
    }
    let (add, add_all) = parse(&security.cap_add)?;
    let (drop, drop_all) = parse(&security.cap_drop)?;
    // Docker's order: "all but" and "none but" look at one list only.
    let set = match (add_all, drop_all) {
        (true, _) => return Ok(Set(available.0 & !drop.0)),
        (false, true) => add,
        (false, false) => Set(Set::default_set().0 & available.0 & !drop.0 | add.0),
    };
    match set.0 & !available.0 {
        0 => Ok(set),
        lacking => {
            let name = CAPABILITIES.get(lacking.trailing_zeros() as usize).copied().unwrap_or_default();
            Err(Error::new(ErrorKind::Unsupported, format!("capability CAP_{name}"))
                .because("neither the kernel nor the engine's own process has it to give")
                .with_remedy("run the engine with that capability, or leave it out"))
        }
    }
}

/// The capabilities of a list, and whether it says `ALL`.
fn parse(names: &[String]) -> Result<(Set, bool)> {
    let (mut set, mut all) = (0, false);
    for name in names {
        let upper = name.trim().to_ascii_uppercase();
        let bare = upper.strip_prefix("CAP_").unwrap_or(&upper);
        match number(bare) {
            Some(n) => set |= 1 << n,
            None if bare == "ALL" => all = true,
            None => {
                return Err(Error::invalid(format!("capability {name:?}"), "there is no such capability")
                    .with_remedy("use a name of capabilities(7) with or without CAP_, or ALL"));
            }
        }
    }
    Ok((Set(set), all))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::container::oci::tests::host;

    fn decided(add: &[&str], drop: &[&str]) -> Result<Set> {
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        let mut security = SecuritySpec::default();
        (security.cap_add, security.cap_drop) = (names(add), names(drop));
        decide(&security, &host())
    }

    fn names(set: Set) -> Vec<&'static str> {
        CAPABILITIES.iter().enumerate().filter(|(n, _)| set.0 & 1 << n != 0).map(|(_, name)| *name).collect()
    }

    #[test]
    fn every_capability_has_its_number_and_its_oci_name() {
        for (name, number) in [("CHOWN", 0), ("SYS_ADMIN", 21), ("SETFCAP", 31), ("CHECKPOINT_RESTORE", 40)] {
            assert_eq!(self::number(name), Some(number));
        }
        for name in CAPABILITIES {
            assert!(Capability::from_str(name).is_ok(), "{name}");
        }
        assert_eq!(Set::default_set().0.count_ones(), 14);
        let oci = Set::default_set().to_oci();
        assert_eq!(oci.bounding().as_ref().map(HashSet::len), Some(14));
        assert_eq!(oci.inheritable().as_ref().map(HashSet::len), Some(0));
        assert_eq!(oci.ambient().as_ref().map(HashSet::len), Some(0));
    }

    #[test]
    fn names_are_taken_in_any_case_with_or_without_prefix() {
        let same = decided(&["SYS_ADMIN"], &["chown"]).expect("known");
        assert_eq!(decided(&["cap_sys_admin"], &["CAP_CHOWN"]).expect("known"), same);
        assert!(same.has("CAP_SYS_ADMIN") && !same.has("CAP_CHOWN") && same.has("CAP_KILL"));
        assert!(!same.has("SYS_ADMIN") && !same.has("CAP_NONE"));
    }

    #[test]
    fn all_is_understood_as_docker_understands_it() {
        assert_eq!(decided(&["ALL"], &[]).expect("known"), Set::ALL);
        assert_eq!(names(decided(&[], &["all"]).expect("known")), [""; 0]);
        assert_eq!(names(decided(&["NET_ADMIN"], &["ALL"]).expect("known")), ["NET_ADMIN"]);
        let all_but = decided(&["ALL"], &["MKNOD", "ALL"]).expect("known");
        assert_eq!(all_but.0, Set::ALL.0 & !(1 << 27));
        // Taken away and added: added.
        assert_eq!(decided(&["CHOWN"], &["CHOWN"]).expect("known"), Set::default_set());
    }

    #[test]
    fn an_unknown_capability_is_named() {
        for bad in ["SYS_ADMINS", "CAP_", "", "CAP_CAP_CHOWN", "21", "ALL_OF_THEM", "SYS_ADMIN\0"] {
            for error in [decided(&[bad], &[]), decided(&[], &[bad])] {
                let error = error.expect_err(bad);
                assert_eq!(error.kind(), ErrorKind::InvalidInput);
                assert!(error.to_string().contains(&format!("{bad:?}")), "{error}");
                assert!(error.remedy().is_some());
            }
        }
    }

    #[test]
    fn what_the_engine_does_not_have_it_does_not_promise() {
        let mut host = host();
        host.capabilities = Set::default_set().0 & !1;
        let mut security = SecuritySpec::default();
        assert!(!decide(&security, &host).expect("the rest").has("CAP_CHOWN"));
        security.cap_add = vec!["SYS_TIME".into()];
        let error = decide(&security, &host).expect_err("lacking");
        assert_eq!(error.kind(), ErrorKind::Unsupported);
        assert!(error.to_string().contains("CAP_SYS_TIME"), "{error}");
        security.privileged = true;
        assert_eq!(decide(&security, &host).expect("what there is").0, host.capabilities);
    }
}
