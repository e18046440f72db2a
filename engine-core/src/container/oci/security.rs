//! What a wish says of security modules and control groups, and this host cannot give.

use super::host::HostFacts;
use crate::error::{Error, ErrorKind, Result};
use crate::spec::{ContainerSpec, NamespaceMode};

/// Refuses confinement that would be believed to be there and is not. A module that the host does not have confines
/// nothing in docker either, and whoever names it there knows.
pub(super) fn check(container: &ContainerSpec, host: &HostFacts) -> Result<()> {
    let security = &container.security;
    let refused = |subject: String, remedy: &str| {
        Err(Error::new(ErrorKind::Unsupported, subject)
            .because("the engine does not confine by it")
            .with_remedy(format!("use {remedy}")))
    };
    if let Some(profile) =
        security.apparmor.as_deref().filter(|profile| host.apparmor && *profile != "unconfined")
    {
        return refused(format!("AppArmor profile {profile:?}"), "apparmor=unconfined");
    }
    if let Some(label) = security.labels.iter().find(|label| host.selinux && *label != "disable") {
        return refused(format!("SELinux label {label:?}"), "label=disable");
    }
    if security.writable_cgroups && (!host.cgroup_v2 || container.cgroupns == NamespaceMode::Host) {
        // In version 1 a group could lift its own limits, and in the host's namespace those of others.
        return Err(Error::new(ErrorKind::Unsupported, "writable control groups").because(
            "they need control groups of version 2, and a cgroup namespace of the container's own",
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::container::oci::tests::host;

    fn checked(change: impl FnOnce(&mut ContainerSpec, &mut HostFacts)) -> Result<()> {
        let (mut container, mut host) = (ContainerSpec::image("x"), host());
        change(&mut container, &mut host);
        check(&container, &host)
    }

    #[test]
    fn a_module_that_the_host_has_is_not_believed_to_confine() {
        let profile = |container: &mut ContainerSpec| container.security.apparmor = Some("strict".into());
        assert!(checked(|container, _| profile(container)).is_ok(), "as with docker it means nothing");
        assert!(
            checked(|container, host| {
                profile(container);
                host.apparmor = true;
            })
            .is_err()
        );
        let label = |container: &mut ContainerSpec, text: &str| container.security.labels.push(text.into());
        assert!(checked(|container, _| label(container, "level:s0")).is_ok());
        assert!(
            checked(|container, host| {
                label(container, "level:s0");
                host.selinux = true;
            })
            .is_err()
        );
        assert!(
            checked(|container, host| {
                label(container, "disable");
                host.selinux = true;
            })
            .is_ok()
        );
    }

    #[test]
    fn control_groups_are_writable_only_where_that_lifts_no_limit() {
        let asked = |container: &mut ContainerSpec| container.security.writable_cgroups = true;
        assert!(checked(|container, _| asked(container)).is_err());
        assert!(
            checked(|container, host| {
                asked(container);
                host.cgroup_v2 = true;
            })
            .is_ok()
        );
        let in_host = checked(|container, host| {
            asked(container);
            (host.cgroup_v2, container.cgroupns) = (true, NamespaceMode::Host);
        });
        assert!(in_host.is_err());
    }
}
