//! Capabilities: from names to the bits of a set.

use oci_spec::runtime::{Capabilities as Names, LinuxCapabilities};

use engine_shim::plan::Capabilities;

use crate::spec::CAPABILITIES;

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
    CAPABILITIES.iter().position(|known| *known == name)
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
        for name in CAPABILITIES {
            let parsed: Capability = name.parse().expect("the specification knows it");
            assert_eq!(number(&parsed.to_string()), number(name), "{name}");
        }
    }
}
