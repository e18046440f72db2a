//! The devices that a container may use whatever its configuration says (OCI runtime-spec, config-linux.md, "Allowed
//! Device list").

use oci_spec::runtime::{LinuxDeviceCgroup, LinuxDeviceCgroupBuilder, LinuxDeviceType, LinuxResources};

use crate::error::{Error, Result};

/// Type, major and minor number, access: making any node, the default devices, the console, terminals, tun.
const ALLOWED: [(LinuxDeviceType, Option<i64>, Option<i64>, &str); 12] = [
    (LinuxDeviceType::C, None, None, "m"),
    (LinuxDeviceType::B, None, None, "m"),
    (LinuxDeviceType::C, Some(1), Some(3), "rwm"),
    (LinuxDeviceType::C, Some(1), Some(5), "rwm"),
    (LinuxDeviceType::C, Some(1), Some(7), "rwm"),
    (LinuxDeviceType::C, Some(1), Some(8), "rwm"),
    (LinuxDeviceType::C, Some(1), Some(9), "rwm"),
    (LinuxDeviceType::C, Some(5), Some(0), "rwm"),
    (LinuxDeviceType::C, Some(5), Some(1), "rwm"),
    (LinuxDeviceType::C, Some(5), Some(2), "rwm"),
    (LinuxDeviceType::C, Some(136), None, "rwm"),
    (LinuxDeviceType::C, Some(10), Some(200), "rwm"),
];

/// Allows the devices after all that the configuration says of devices.
pub(super) fn allow(resources: &mut LinuxResources) -> Result<()> {
    let Some(mut rules) = resources.devices().clone().filter(|rules| !rules.is_empty()) else {
        return Ok(());
    };
    for (kind, major, minor, access) in ALLOWED {
        rules.push(rule(kind, major, minor, access)?);
    }
    resources.set_devices(Some(rules));
    Ok(())
}

fn rule(
    kind: LinuxDeviceType,
    major: Option<i64>,
    minor: Option<i64>,
    access: &str,
) -> Result<LinuxDeviceCgroup> {
    let mut rule = LinuxDeviceCgroupBuilder::default().allow(true).typ(kind).access(access);
    if let Some(major) = major {
        rule = rule.major(major);
    }
    if let Some(minor) = minor {
        rule = rule.minor(minor);
    }
    rule.build().map_err(|e| Error::internal("a rule for devices", "it is not complete").caused_by(e))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_specification_wants_comes_after_all_that_is_asked() {
        let mut resources = LinuxResources::default();
        allow(&mut resources).expect("adds nothing");
        assert_eq!(*resources.devices(), None, "without rules all devices are allowed");
        let nothing = LinuxDeviceCgroupBuilder::default().allow(false).access("rwm").build().expect("a rule");
        resources.set_devices(Some(vec![nothing.clone()]));
        allow(&mut resources).expect("adds");
        let rules = resources.devices().clone().expect("has some");
        assert_eq!((rules.len(), &rules[0]), (1 + ALLOWED.len(), &nothing));
        let null = |rule: &&LinuxDeviceCgroup| (rule.major(), rule.minor()) == (Some(1), Some(3));
        assert!(rules.iter().find(null).expect("the null device").allow());
    }
}
