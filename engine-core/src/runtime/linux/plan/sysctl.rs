//! Kernel settings of a container: only those that belong to a namespace of its own, as all others are the host's.

use std::collections::HashMap;

use engine_shim::plan::Namespaces;

use crate::error::{Error, ErrorKind, Result};

const IPC: [&str; 8] = [
    "kernel/msgmax",
    "kernel/msgmnb",
    "kernel/msgmni",
    "kernel/sem",
    "kernel/shmall",
    "kernel/shmmax",
    "kernel/shmmni",
    "kernel/shm_rmid_forced",
];

/// The settings as paths below `/proc/sys` with their values, in the order of the paths.
pub(super) fn sysctls(
    settings: &HashMap<String, String>,
    namespaces: &Namespaces,
) -> Result<Vec<(String, String)>> {
    let mut paths = Vec::with_capacity(settings.len());
    for (name, value) in settings {
        let path = path(name);
        let Some(namespace) = namespace(&path) else {
            return Err(Error::new(ErrorKind::InvalidInput, format!("sysctl {name}"))
                .because("it is not one of those that a container has of its own")
                .with_remedy("set it on the host"));
        };
        if namespaces.new & namespace == 0 {
            return Err(Error::new(ErrorKind::InvalidInput, format!("sysctl {name}"))
                .because("the container shares the namespace that it belongs to")
                .with_remedy("give the container a namespace of its own"));
        }
        if value.contains(['\0', '\n']) {
            return Err(Error::invalid(format!("sysctl {name}"), "its value is more than one line"));
        }
        paths.push((path, value.clone()));
    }
    paths.sort();
    Ok(paths)
}

/// Dots separate the parts of a name, unless a slash comes first: then slashes do, and a dot is part of an
/// interface's name (sysctl.d(5)).
fn path(name: &str) -> String {
    match name.find(['.', '/']).map(|at| name.as_bytes()[at]) {
        Some(b'.') => name
            .chars()
            .map(|c| match c {
                '.' => '/',
                '/' => '.',
                other => other,
            })
            .collect(),
        _ => name.to_owned(),
    }
}

/// The namespace, as `CLONE_NEW*`, that the setting at `path` belongs to.
fn namespace(path: &str) -> Option<u32> {
    let plain = path.split('/').all(|part| !part.is_empty() && part != "." && part != "..");
    let namespace = match path {
        _ if !plain || path.contains('\0') => return None,
        "kernel/domainname" => libc::CLONE_NEWUTS,
        _ if path.starts_with("net/") => libc::CLONE_NEWNET,
        _ if path.starts_with("fs/mqueue/") || IPC.contains(&path) => libc::CLONE_NEWIPC,
        _ => return None,
    };
    Some(namespace as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn planned(name: &str, value: &str, new: i32) -> Result<Vec<(String, String)>> {
        let namespaces = Namespaces { new: new as u32, join: Vec::new() };
        sysctls(&HashMap::from([(name.to_owned(), value.to_owned())]), &namespaces)
    }

    #[test]
    fn both_notations_name_the_same_setting() {
        let expected = vec![("net/ipv4/conf/eth0.5/forwarding".to_owned(), "1".to_owned())];
        for name in ["net.ipv4.conf.eth0/5.forwarding", "net/ipv4/conf/eth0.5/forwarding"] {
            assert_eq!(planned(name, "1", libc::CLONE_NEWNET).expect(name), expected);
        }
    }

    #[test]
    fn a_setting_of_the_host_is_refused() {
        let all = libc::CLONE_NEWNET | libc::CLONE_NEWIPC | libc::CLONE_NEWUTS;
        for name in [
            "kernel.core_pattern",
            "vm.swappiness",
            "net",
            "net..x",
            "net/../kernel/core_pattern",
            "",
            "fs.mqueue",
            "kernel.hostname",
        ] {
            let error = planned(name, "1", all).expect_err(name);
            assert!(error.is(ErrorKind::InvalidInput), "{name}: {error}");
        }
        planned("net.ipv4.ip_forward", "1", libc::CLONE_NEWIPC).expect_err("the network is shared");
        planned("kernel.shmmax", "1\n2", all).expect_err("two lines");
        planned("kernel.shmmax", "1", all).expect("is the container's own");
    }
}
