//! Capabilities: from names to the bits of a set.

use oci_spec::runtime::{Capabilities as Names, LinuxCapabilities};

use engine_shim::plan::Capabilities;

/// The names, each at the place that is its number (capabilities(7), `linux/capability.h`).
const NAMES: [&str; 41] = [
    "CHOWN",
    "DAC_OVERRIDE",
    "DAC_READ_SEARCH",
    "FOWNER",
    "FSETID",
    "KILL",
    "SETGID",
    "SETUID",
    "SETPCAP",
    "LINUX_IMMUTABLE",
    "NET_BIND_SERVICE",
    "NET_BROADCAST",
    "NET_ADMIN",
    "NET_RAW",
    "IPC_LOCK",
    "IPC_OWNER",
    "SYS_MODULE",
    "SYS_RAWIO",
    "SYS_CHROOT",
    "SYS_PTRACE",
    "SYS_PACCT",
    "SYS_ADMIN",
    "SYS_BOOT",
    "SYS_NICE",
    "SYS_RESOURCE",
    "SYS_TIME",
    "SYS_TTY_CONFIG",
    "MKNOD",
    "LEASE",
    "AUDIT_WRITE",
    "AUDIT_CONTROL",
    "SETFCAP",
    "MAC_OVERRIDE",
    "MAC_ADMIN",
    "SYSLOG",
    "WAKE_ALARM",
    "BLOCK_SUSPEND",
    "AUDIT_READ",
    "PERFMON",
    "BPF",
    "CHECKPOINT_RESTORE",
];

/// The sets as bits. What is not said is empty: a process is given nothing that was not asked for.
pub(super) fn sets(capabilities: Option<&LinuxCapabilities>) -> Capabilities {
    let Some(sets) = capabilities else { return Capabilities::default() };
    Capabilities {
        bounding: bits(sets.bounding()),
        effective: bits(sets.effective()),
        permitted: bits(sets.permitted()),
        inheritable: bits(sets.inheritable()),
        ambient: bits(sets.ambient()),
    }
}

fn bits(names: &Option<Names>) -> u64 {
    names.iter().flatten().filter_map(|name| number(&name.to_string())).fold(0, |set, bit| set | 1 << bit)
}

/// The number of a capability; `None` for a name that this version does not know, which the specification wants to be
/// passed over.
fn number(name: &str) -> Option<usize> {
    let name = name.strip_prefix("CAP_").unwrap_or(name);
    NAMES.iter().position(|known| *known == name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use oci_spec::runtime::{Capability, LinuxCapabilitiesBuilder};

    #[test]
    fn a_capability_s_bit_is_its_number() {
        let names: Names = [Capability::Chown, Capability::SysAdmin, Capability::CheckpointRestore].into();
        let sets = sets(Some(&LinuxCapabilitiesBuilder::default().bounding(names).build().expect("builds")));
        assert_eq!(sets.bounding, 1 | 1 << 21 | 1 << 40);
    }

    #[test]
    fn the_specification_and_the_table_know_the_same_names() {
        for name in NAMES {
            let parsed: Capability = name.parse().expect("the specification knows it");
            assert_eq!(number(&parsed.to_string()), number(name), "{name}");
        }
    }
}
