//! Namespaces of users, of clocks and of the network: what they say and have.

use std::collections::HashMap;
use std::fmt::Write as _;

use oci_spec::runtime::{Linux, LinuxIdMapping, LinuxNamespaceType, LinuxTimeOffset, Mount};

use engine_shim::plan::{Mapping, Namespaces, Spaces};

use super::has;
use crate::error::{Error, Result};

/// The flag of time namespaces, which libc does not have.
pub(super) const CLONE_NEWTIME: i32 = 0x80;

/// What the container's own namespaces say.
pub(super) fn spaces(linux: &Linux, namespaces: &Namespaces) -> Result<Spaces> {
    let clocks = match linux.time_offsets() {
        Some(offsets) if !offsets.is_empty() => {
            if !has(namespaces, CLONE_NEWTIME) {
                return Err(Error::invalid(
                    "the time offsets",
                    "the container has no time namespace of its own",
                )
                .with_remedy("ask for a namespace of type \"time\" without a path"));
            }
            clocks(offsets)?
        }
        _ => String::new(),
    };
    Ok(Spaces { users: users(linux, namespaces)?, clocks, links: links(linux, namespaces)? })
}

/// The kernel's limit (`IFNAMSIZ`), without the zero.
const LONGEST_NAME: usize = 15;

fn links(linux: &Linux, namespaces: &Namespaces) -> Result<Vec<(String, String)>> {
    let network = libc::CLONE_NEWNET;
    let asked = linux.net_devices().iter().flatten();
    let mut links = Vec::new();
    for (host, device) in asked {
        let inside = device.name().as_deref().filter(|name| !name.is_empty()).unwrap_or(host);
        let named = |name: &str| {
            (1..=LONGEST_NAME).contains(&name.len())
                && !matches!(name, "." | "..")
                && name.bytes().all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'/' | b':' | b'%'))
        };
        if !named(host) || !named(inside) {
            return Err(Error::invalid(
                format!("network device {host:?} as {inside:?}"),
                "it is no name of a network device",
            ));
        }
        if !has(namespaces, network) && !namespaces.join.iter().any(|(kind, _)| *kind == network as u32) {
            return Err(Error::invalid(
                format!("network device {host}"),
                "the container has the host's network, where it is already",
            ));
        }
        if links.iter().any(|(_, name)| name == inside) {
            return Err(Error::invalid(format!("network device {host}"), format!("{inside} is given twice")));
        }
        links.push((host.clone(), inside.to_owned()));
    }
    Ok(links)
}

fn users(linux: &Linux, namespaces: &Namespaces) -> Result<Mapping> {
    let given = |mapping: &Option<Vec<LinuxIdMapping>>| mapping.as_ref().is_some_and(|list| !list.is_empty());
    let (uids, gids) = (linux.uid_mappings(), linux.gid_mappings());
    let joined = namespaces.join.iter().any(|(kind, _)| *kind == libc::CLONE_NEWUSER as u32);
    match (has(namespaces, libc::CLONE_NEWUSER), given(uids) && given(gids)) {
        (true, true) => mapping(uids.as_deref().unwrap_or_default(), gids.as_deref().unwrap_or_default()),
        (true, false) => Err(Error::invalid(
            "the user namespace",
            "it has no mapping of users (uidMappings) or none of groups (gidMappings)",
        )),
        // The namespace that is joined has its own.
        (false, _) if joined => Ok(Mapping::default()),
        (false, _) if given(uids) || given(gids) => Err(Error::invalid(
            "the mapping of users",
            "User namespace mappings specified, but USER namespace isn't enabled in the config",
        )),
        (false, _) => Ok(Mapping::default()),
    }
}

/// How the owners of a mount are mapped, and whether those of the mounts below it are: as it says itself, or else with
/// an option as the container's users are.
pub(super) fn of_mount(
    mount: &Mount,
    option: Option<bool>,
    linux: &Linux,
) -> Result<Option<(Mapping, bool)>, String> {
    let of = |uids: &[LinuxIdMapping], gids: &[LinuxIdMapping]| {
        let mapping = mapping(uids, gids).map_err(|e| e.to_string())?;
        Ok(Some((mapping, option.unwrap_or(false))))
    };
    let list = |mapping: &Option<Vec<LinuxIdMapping>>| mapping.clone().unwrap_or_default();
    match (list(mount.uid_mappings()), list(mount.gid_mappings())) {
        (uids, gids) if !uids.is_empty() && !gids.is_empty() => return of(&uids, &gids),
        (uids, gids) if !uids.is_empty() || !gids.is_empty() => {
            return Err("uidMappings and gidMappings belong together".to_owned());
        }
        _ if option.is_none() => return Ok(None),
        _ => {}
    }
    let user = linux.namespaces().iter().flatten().find(|one| one.typ() == LinuxNamespaceType::User);
    match user {
        None => Err("it has no mapping, and the container no user namespace".to_owned()),
        Some(joined) if joined.path().is_some() => Ok(Some((Mapping::default(), option.unwrap_or(false)))),
        Some(_) => of(&list(linux.uid_mappings()), &list(linux.gid_mappings())),
    }
}

/// A mapping as the kernel takes it, with the numbers that the host has for its root.
pub(super) fn mapping(uids: &[LinuxIdMapping], gids: &[LinuxIdMapping]) -> Result<Mapping> {
    Ok(Mapping { uids: lines(uids)?, gids: lines(gids)?, root: (root(uids), root(gids)) })
}

fn root(mapping: &[LinuxIdMapping]) -> u32 {
    mapping.iter().find(|range| range.container_id() == 0).map_or(0, LinuxIdMapping::host_id)
}

/// The kernel's limit (user_namespaces(7)).
const MOST_RANGES: usize = 340;

fn lines(mapping: &[LinuxIdMapping]) -> Result<String> {
    let mut lines = String::new();
    for range in mapping {
        let (inside, outside, size) = (range.container_id(), range.host_id(), range.size());
        if size == 0 || inside.checked_add(size).is_none() || outside.checked_add(size).is_none() {
            return Err(Error::invalid(
                format!("mapping {inside}:{outside}:{size}"),
                "it is empty, or goes beyond the last number",
            ));
        }
        // To write to a string does not fail.
        let _ = writeln!(lines, "{inside} {outside} {size}");
    }
    if mapping.len() > MOST_RANGES {
        return Err(Error::invalid("the mapping of users", format!("it has more than {MOST_RANGES} ranges")));
    }
    Ok(lines)
}

fn clocks(offsets: &HashMap<String, LinuxTimeOffset>) -> Result<String> {
    const SECOND: u32 = 1_000_000_000;
    let mut lines = String::new();
    for (clock, offset) in offsets {
        let (seconds, nanos) = (offset.secs().unwrap_or(0), offset.nanosecs().unwrap_or(0));
        if !matches!(clock.as_str(), "monotonic" | "boottime") {
            return Err(Error::invalid(
                format!("time offset {clock:?}"),
                "there are two clocks to set: monotonic and boottime",
            ));
        }
        if nanos >= SECOND {
            return Err(Error::invalid(
                format!("time offset {clock:?}"),
                "its nanosecs are a second or more",
            ));
        }
        let _ = writeln!(lines, "{clock} {seconds} {nanos}");
    }
    Ok(lines)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn linux(json: &str) -> Linux {
        serde_json::from_str(json).expect("is JSON")
    }

    #[test]
    fn clocks_are_set_in_a_namespace_of_its_own_only() {
        let with = |json: &str| linux(&format!(r#"{{"timeOffsets":{json}}}"#));
        let own = Namespaces { new: CLONE_NEWTIME as u32, join: Vec::new() };
        let offsets = with(r#"{"boottime":{"secs":-5,"nanosecs":7}}"#);
        assert_eq!(spaces(&offsets, &own).expect("is one").clocks, "boottime -5 7\n");
        spaces(&offsets, &Namespaces::default()).expect_err("the clocks are the host's");
        for wrong in [r#"{"realtime":{"secs":1}}"#, r#"{"monotonic":{"nanosecs":1000000000}}"#] {
            spaces(&with(wrong), &own).expect_err(wrong);
        }
    }

    #[test]
    fn users_are_mapped_in_a_namespace_of_its_own_only() {
        let mapped = linux(
            r#"{"uidMappings":[{"containerID":0,"hostID":100000,"size":1000}],
                "gidMappings":[{"containerID":5,"hostID":7,"size":1},{"containerID":0,"hostID":9,"size":1}]}"#,
        );
        let own = Namespaces { new: libc::CLONE_NEWUSER as u32, join: Vec::new() };
        let users = spaces(&mapped, &own).expect("is one").users;
        assert_eq!((users.uids.as_str(), users.gids.as_str()), ("0 100000 1000\n", "5 7 1\n0 9 1\n"));
        assert_eq!(users.root, (100_000, 9));
        spaces(&mapped, &Namespaces::default()).expect_err("the users are the host's");
        spaces(&linux("{}"), &own).expect_err("nobody is mapped");
        let joined = Namespaces { new: 0, join: vec![(libc::CLONE_NEWUSER as u32, "/ns".to_owned())] };
        assert_eq!(spaces(&mapped, &joined).expect("has its own").users, Mapping::default());
        let endless = r#"{"uidMappings":[{"containerID":1,"hostID":0,"size":4294967295}],
            "gidMappings":[{"containerID":0,"hostID":0,"size":1}]}"#;
        spaces(&linux(endless), &own).expect_err("there are no such numbers");
    }

    #[test]
    fn links_go_to_a_network_of_its_own_by_names_that_can_be() {
        let with = |json: &str| linux(&format!(r#"{{"netDevices":{json}}}"#));
        let own = Namespaces { new: libc::CLONE_NEWNET as u32, join: Vec::new() };
        let links = |json: &str| spaces(&with(json), &own).map(|spaces| spaces.links);
        let pair = |host: &str, inside: &str| vec![(host.to_owned(), inside.to_owned())];
        assert_eq!(links(r#"{"eth7":{"name":"inside"}}"#).expect("is one"), pair("eth7", "inside"));
        assert_eq!(links(r#"{"eth7":{}}"#).expect("is one"), pair("eth7", "eth7"));
        for wrong in
            [r#"{"a/b":{}}"#, r#"{"a":{"name":"x%d"}}"#, r#"{"a":{"name":"b"},"b":{}}"#, r#"{"":{}}"#]
        {
            links(wrong).expect_err(wrong);
        }
        spaces(&with(r#"{"a":{}}"#), &Namespaces::default()).expect_err("the network is the host's");
    }

    #[test]
    fn a_mount_is_mapped_as_it_says_or_as_the_container_is() {
        let own = linux(
            r#"{"namespaces":[{"type":"user"}],"uidMappings":[{"containerID":0,"hostID":7,"size":1}],
                "gidMappings":[{"containerID":0,"hostID":8,"size":1}]}"#,
        );
        let mount = |json: &str| serde_json::from_str::<Mount>(json).expect("is JSON");
        let plain = mount(r#"{"destination":"/a"}"#);
        assert_eq!(of_mount(&plain, None, &own), Ok(None));
        let (mapping, below) = of_mount(&plain, Some(true), &own).expect("is mapped").expect("as the users");
        assert_eq!((mapping.uids.as_str(), mapping.root, below), ("0 7 1\n", (7, 8), true));
        of_mount(&plain, Some(false), &linux("{}")).expect_err("there is no mapping");
        let joined = linux(r#"{"namespaces":[{"type":"user","path":"/proc/1/ns/user"}]}"#);
        assert_eq!(of_mount(&plain, Some(false), &joined), Ok(Some((Mapping::default(), false))));
        let mapped = mount(
            r#"{"destination":"/a","uidMappings":[{"containerID":1,"hostID":2,"size":3}],
                "gidMappings":[{"containerID":0,"hostID":2,"size":3}]}"#,
        );
        let (mapping, below) = of_mount(&mapped, None, &linux("{}")).expect("is mapped").expect("by itself");
        assert_eq!((mapping.uids.as_str(), below), ("1 2 3\n", false));
        let half = r#"{"destination":"/a","uidMappings":[{"containerID":1,"hostID":2,"size":3}]}"#;
        of_mount(&mount(half), None, &own).expect_err("is half a mapping");
    }
}
