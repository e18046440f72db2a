//! A configuration to start from.

use serde_json::{Value, json};

use super::OCI_VERSION;

/// The capabilities of runc's example.
const CAPABILITIES: [&str; 3] = ["CAP_AUDIT_WRITE", "CAP_KILL", "CAP_NET_BIND_SERVICE"];

/// A configuration of a shell on the directory `rootfs`, as `runc spec` writes it.
pub fn example() -> Value {
    json!({
        "ociVersion": OCI_VERSION,
        "process": {
            "terminal": true,
            "user": { "uid": 0, "gid": 0 },
            "args": ["sh"],
            "env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "TERM=xterm"],
            "cwd": "/",
            "capabilities": {
                "bounding": CAPABILITIES, "effective": CAPABILITIES, "permitted": CAPABILITIES,
            },
            "rlimits": [{ "type": "RLIMIT_NOFILE", "hard": 1024, "soft": 1024 }],
            "noNewPrivileges": true,
        },
        "root": { "path": "rootfs", "readonly": true },
        "hostname": "engine",
        "mounts": mounts(),
        "linux": {
            "resources": { "devices": [{ "allow": false, "access": "rwm" }] },
            "namespaces": [
                { "type": "pid" }, { "type": "network" }, { "type": "ipc" }, { "type": "uts" },
                { "type": "mount" }, { "type": "cgroup" },
            ],
            "maskedPaths": [
                "/proc/acpi", "/proc/asound", "/proc/kcore", "/proc/keys", "/proc/latency_stats",
                "/proc/timer_list", "/proc/timer_stats", "/proc/sched_debug", "/sys/firmware", "/proc/scsi",
            ],
            "readonlyPaths": [
                "/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger",
            ],
        },
    })
}

/// The same for the user of this process, without privileges: that is the only user the container has, and the network
/// is the host's. See runc-spec(8).
pub fn rootless_example() -> Value {
    let mut config = example();
    let id = |id: u32| json!([{ "containerID": 0, "hostID": id, "size": 1 }]);
    config["linux"]["uidMappings"] = id(rustix::process::geteuid().as_raw());
    config["linux"]["gidMappings"] = id(rustix::process::getegid().as_raw());
    let is = |value: &Value, name: &str| value["type"] == name;
    if let Some(namespaces) = config["linux"]["namespaces"].as_array_mut() {
        namespaces.retain(|namespace| !is(namespace, "network"));
        namespaces.push(json!({ "type": "user" }));
    }
    // Whoever does not own the network does not see it in a sysfs of its own, and owns no other groups.
    for mount in config["mounts"].as_array_mut().into_iter().flatten() {
        if is(mount, "sysfs") {
            *mount = json!({
                "destination": "/sys", "type": "none", "source": "/sys",
                "options": ["rbind", "nosuid", "noexec", "nodev", "ro"],
            });
        }
        if let Some(options) = mount.get_mut("options").and_then(Value::as_array_mut) {
            let owner = |option: &Value| {
                option.as_str().is_some_and(|text| text.starts_with("uid=") || text.starts_with("gid="))
            };
            options.retain(|option| !owner(option));
        }
    }
    // It has no say in limits.
    if let Some(linux) = config["linux"].as_object_mut() {
        linux.remove("resources");
    }
    config
}

fn mounts() -> Value {
    json!([
        { "destination": "/proc", "type": "proc", "source": "proc" },
        {
            "destination": "/dev", "type": "tmpfs", "source": "tmpfs",
            "options": ["nosuid", "strictatime", "mode=755", "size=65536k"],
        },
        {
            "destination": "/dev/pts", "type": "devpts", "source": "devpts",
            "options": ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"],
        },
        {
            "destination": "/dev/shm", "type": "tmpfs", "source": "shm",
            "options": ["nosuid", "noexec", "nodev", "mode=1777", "size=65536k"],
        },
        {
            "destination": "/dev/mqueue", "type": "mqueue", "source": "mqueue",
            "options": ["nosuid", "noexec", "nodev"],
        },
        {
            "destination": "/sys", "type": "sysfs", "source": "sysfs",
            "options": ["nosuid", "noexec", "nodev", "ro"],
        },
        {
            "destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup",
            "options": ["nosuid", "noexec", "nodev", "relatime", "ro"],
        },
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_examples_are_configurations_and_every_option_of_them_is_offered() {
        let offered = super::super::features()["mountOptions"].clone();
        for example in [example(), rootless_example()] {
            let spec: oci_spec::runtime::Spec = serde_json::from_value(example).expect("is a configuration");
            assert_eq!(spec.version(), OCI_VERSION);
            for mount in spec.mounts().as_ref().expect("has some") {
                for option in mount.options().iter().flatten().filter(|option| !option.contains('=')) {
                    let known = offered.as_array().is_some_and(|all| all.contains(&json!(option)));
                    assert!(known || option == "newinstance", "{option}");
                }
            }
        }
    }
}
