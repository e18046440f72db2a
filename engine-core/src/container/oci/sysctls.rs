//! Kernel settings: only those of the container's own namespaces, for all others are the host's.

use std::collections::HashMap;

use super::{NetworkNamespace, SpecInput};
use crate::error::{Error, Result};
use crate::spec::IpcMode;

/// Settings of the namespace of System V IPC and POSIX message queues.
const IPC: [&str; 8] = [
    "kernel.msgmax",
    "kernel.msgmnb",
    "kernel.msgmni",
    "kernel.sem",
    "kernel.shm_rmid_forced",
    "kernel.shmall",
    "kernel.shmmax",
    "kernel.shmmni",
];

/// What Docker sets in a network namespace of the container's own: every port may be bound to, and everybody may ping.
const NETWORK: [(&str, &str); 2] =
    [("net.ipv4.ip_unprivileged_port_start", "0"), ("net.ipv4.ping_group_range", "0 2147483647")];

/// The settings, by name with dots.
pub(super) fn decide(input: &SpecInput<'_>) -> Result<HashMap<String, String>> {
    let own = input.network == NetworkNamespace::Own;
    let own_ipc = !matches!(input.container.ipc, IpcMode::Host | IpcMode::Container(_));
    let defaults = NETWORK.iter().filter(|_| own);
    let mut settings: HashMap<String, String> =
        defaults.map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    for (name, value) in &input.container.sysctls {
        let wrong = |reason: &str| Error::invalid(format!("sysctl {name:?}"), reason);
        let dotted = dotted(name).ok_or_else(|| wrong("it is no name of a kernel setting"))?;
        // What a value of more than a line, or one that looks like several settings, is meant for: CVE-2022-0811.
        if value.contains(['\0', '\n', '+', '=']) {
            return Err(wrong("its value is not one line of plain text"));
        }
        if dotted.starts_with("net.") {
            if !own {
                return Err(wrong("it would change the network namespace that the container shares")
                    .with_remedy("set it on the host, or give the container a network of its own"));
            }
        } else if (IPC.contains(&dotted.as_str()) || dotted.starts_with("fs.mqueue.")) && !own_ipc {
            return Err(wrong("it would change the IPC namespace that the container shares")
                .with_remedy("set it on the host, or give the container an IPC namespace of its own"));
        } else if !IPC.contains(&dotted.as_str()) && !dotted.starts_with("fs.mqueue.") {
            return Err(wrong("it belongs to no namespace, so it would change the host")
                .with_remedy("use net.*, fs.mqueue.*, kernel.msg*, kernel.sem or kernel.shm*"));
        }
        settings.insert(dotted, value.clone());
    }
    Ok(settings)
}

/// A name as sysctl(8) takes it: parts with dots, or with slashes where a part has a dot in it, like the name of an
/// interface. Gives dots between the parts, and slashes in them.
fn dotted(name: &str) -> Option<String> {
    let slashes = name.find('/').is_some_and(|slash| name.find('.').is_none_or(|dot| slash < dot));
    let dotted: String = match slashes {
        true => name
            .chars()
            .map(|c| {
                if c == '/' {
                    '.'
                } else if c == '.' {
                    '/'
                } else {
                    c
                }
            })
            .collect(),
        false => name.to_owned(),
    };
    let part = |part: &str| {
        let harmless = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'/' | b':' | b'@');
        // A slash stands for a dot, so two could climb.
        !part.is_empty() && part.bytes().all(harmless) && !part.contains("//") && part != "/"
    };
    (dotted.len() <= 256 && dotted.split('.').all(part)).then_some(dotted)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::container::oci::tests::{Wish, input};

    fn decided(network: NetworkNamespace, name: &str) -> Result<HashMap<String, String>> {
        let mut wish = Wish::default();
        wish.container.sysctls.insert(name.into(), "1".into());
        decide(&SpecInput { network, ..input(&wish) })
    }

    #[test]
    fn settings_of_the_container_s_own_namespaces_are_allowed() {
        for good in [
            "net.ipv4.ip_forward",
            "net/ipv4/ip_forward",
            "kernel.shmmax",
            "kernel.sem",
            "fs.mqueue.msg_max",
            "net.ipv4.conf.eth0/100.forwarding",
        ] {
            assert_eq!(decided(NetworkNamespace::Own, good).expect(good).len(), 3);
        }
        let settings = decided(NetworkNamespace::Own, "net/ipv4/conf/eth0.100/forwarding").expect("allowed");
        assert_eq!(settings["net.ipv4.conf.eth0/100.forwarding"], "1");
        assert_eq!(settings["net.ipv4.ping_group_range"], "0 2147483647");
        let settings =
            decided(NetworkNamespace::Own, "net.ipv4.ip_unprivileged_port_start").expect("allowed");
        assert_eq!(settings["net.ipv4.ip_unprivileged_port_start"], "1");
    }

    #[test]
    fn settings_of_the_host_are_refused() {
        for bad in [
            "kernel.panic",
            "kernel.core_pattern",
            "kernel/core_pattern",
            "vm.swappiness",
            "fs.file-max",
            "kernel.hostname",
            "net",
            "net.",
            "net..ipv4",
            "net.ipv4.//.//.kernel.core_pattern",
            "net.ipv4./../kernel",
            "net.ipv4. x",
            "kernel.shmmax\0",
            "",
            ".",
            "/",
            "../kernel/core_pattern",
            "net/../kernel/core_pattern",
        ] {
            let error = decided(NetworkNamespace::Own, bad).expect_err(bad);
            assert!(error.to_string().contains(&format!("{bad:?}")), "{error}");
        }
        assert!(decided(NetworkNamespace::Host, "net.ipv4.ip_forward").is_err());
        let ipc = decided(NetworkNamespace::Host, "kernel.shmmax").expect("its own");
        assert_eq!(ipc.len(), 1);
    }
}
