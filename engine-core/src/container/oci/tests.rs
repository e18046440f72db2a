use oci_spec::runtime::LinuxNamespaceType;

use super::*;
use crate::spec::{Seccomp, SecuritySpec};

/// A wish and all around it, to be changed by a test.
pub(super) struct Wish {
    pub(super) container: ContainerSpec,
    pub(super) image: ImageConfig,
    pub(super) mounts: Vec<ResolvedMount>,
    pub(super) host: HostFacts,
    pub(super) devices: HostDevices,
}

impl Default for Wish {
    fn default() -> Wish {
        Wish {
            container: ContainerSpec::image("busybox").command(["true"]),
            image: ImageConfig::default(),
            mounts: Vec::new(),
            host: host(),
            devices: HostDevices::default(),
        }
    }
}

/// A host with four processors, one memory node and all capabilities.
pub(super) fn host() -> HostFacts {
    HostFacts {
        kernel: (6, 1),
        capabilities: (1 << 41) - 1,
        cpus: "0-3".parse().expect("a list"),
        memory_nodes: "0".parse().expect("a list"),
        throttles: vec!["/sys/devices/system/cpu/cpu0/thermal_throttle".into()],
        cgroup_v2: false,
        realtime: false,
        apparmor: false,
        selinux: false,
    }
}

/// The input for a container named `box`.
pub(super) fn input(wish: &Wish) -> SpecInput<'_> {
    SpecInput {
        container: &wish.container,
        image: Some(&wish.image),
        hostname: "box",
        mounts: &wish.mounts,
        files: Some(NetworkFiles {
            hosts: Path::new("/files/hosts"),
            hostname: Path::new("/files/hostname"),
            resolv_conf: Path::new("/files/resolv.conf"),
        }),
        network: NetworkNamespace::Own,
        joined: &[],
        cgroup: "/engine/0123",
        host: &wish.host,
        devices: &wish.devices,
    }
}

fn golden(wish: &Wish) -> serde_json::Value {
    let mut value = serde_json::to_value(spec(&input(wish)).expect("well formed")).expect("has a text form");
    // Sets come in any order, and the filter is looked at elsewhere.
    for set in ["bounding", "effective", "permitted"] {
        let set = &mut value["process"]["capabilities"][set];
        let names = set.as_array_mut().expect("a set");
        names.sort_by_key(ToString::to_string);
    }
    value["linux"]["seccomp"] = serde_json::Value::Bool(value["linux"]["seccomp"].is_object());
    value
}

#[test]
fn a_plain_container_is_docker_s_plain_container() {
    let capabilities = serde_json::json!([
        "CAP_AUDIT_WRITE",
        "CAP_CHOWN",
        "CAP_DAC_OVERRIDE",
        "CAP_FOWNER",
        "CAP_FSETID",
        "CAP_KILL",
        "CAP_MKNOD",
        "CAP_NET_BIND_SERVICE",
        "CAP_NET_RAW",
        "CAP_SETFCAP",
        "CAP_SETGID",
        "CAP_SETPCAP",
        "CAP_SETUID",
        "CAP_SYS_CHROOT",
    ]);
    let device = |major: Option<u32>, minor: Option<u32>| {
        let mut rule = serde_json::json!({"allow": true, "type": "c", "access": "rwm"});
        if let Some(major) = major {
            rule["major"] = major.into();
        }
        if let Some(minor) = minor {
            rule["minor"] = minor.into();
        }
        rule
    };
    let mut spec = golden(&Wish::default());
    let mounts = spec["mounts"].take();
    assert_eq!(mounts.as_array().map(Vec::len), Some(10));
    let expected = serde_json::json!({
        "ociVersion": "1.2.0",
        "root": {"path": "rootfs", "readonly": false},
        "mounts": null,
        "process": {
            "terminal": false,
            "user": {"uid": 0, "gid": 0},
            "args": ["true"],
            "env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOSTNAME=box"],
            "cwd": "/",
            "capabilities": {
                "bounding": capabilities, "effective": capabilities, "permitted": capabilities,
                "inheritable": [], "ambient": [],
            },
            "rlimits": [],
            "noNewPrivileges": false,
            "oomScoreAdj": 0,
        },
        "hostname": "box",
        "annotations": {},
        "linux": {
            "sysctl": {
                "net.ipv4.ip_unprivileged_port_start": "0",
                "net.ipv4.ping_group_range": "0 2147483647",
            },
            "resources": {
                "devices": [
                    {"allow": false, "type": "a", "access": "rwm"},
                    {"allow": true, "type": "c", "access": "m"},
                    {"allow": true, "type": "b", "access": "m"},
                    device(Some(1), Some(3)), device(Some(1), Some(5)), device(Some(1), Some(7)),
                    device(Some(1), Some(8)), device(Some(1), Some(9)), device(Some(5), Some(0)),
                    device(Some(5), Some(1)), device(Some(5), Some(2)), device(Some(136), None),
                ],
            },
            "cgroupsPath": "/engine/0123",
            "namespaces": [
                {"type": "mount"}, {"type": "uts"}, {"type": "ipc"}, {"type": "pid"}, {"type": "cgroup"},
                {"type": "network"},
            ],
            "devices": [],
            "seccomp": true,
            "maskedPaths": [
                "/proc/acpi", "/proc/asound", "/proc/interrupts", "/proc/kcore", "/proc/keys",
                "/proc/latency_stats", "/proc/sched_debug", "/proc/scsi", "/proc/timer_list", "/proc/timer_stats",
                "/sys/devices/virtual/powercap", "/sys/firmware", "/sys/devices/system/cpu/cpu0/thermal_throttle",
            ],
            "readonlyPaths": ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"],
        },
    });
    assert_eq!(spec, expected, "{spec:#}");
}

#[test]
fn a_privileged_container_is_hardly_confined() {
    let mut wish = Wish::default();
    wish.container.security.privileged = true;
    wish.container.security.cap_drop = vec!["ALL".into()];
    let value = golden(&wish);
    assert_eq!(value["process"]["capabilities"]["bounding"].as_array().map(Vec::len), Some(41));
    assert_eq!(value["linux"]["maskedPaths"], serde_json::json!([]));
    assert_eq!(value["linux"]["readonlyPaths"], serde_json::json!([]));
    assert_eq!(value["linux"]["seccomp"], false);
    let devices = serde_json::json!([{"allow": true, "type": "a", "access": "rwm"}]);
    assert_eq!(value["linux"]["resources"]["devices"], devices);
    wish.container.security.seccomp = Seccomp::Profile(r#"{"defaultAction": "SCMP_ACT_ALLOW"}"#.into());
    assert_eq!(golden(&wish)["linux"]["seccomp"], true);
}

#[test]
fn a_container_in_the_host_s_network_has_no_namespace_for_it() {
    let wish = Wish::default();
    let network = |network| {
        let spec = spec(&SpecInput { network, ..input(&wish) }).expect("well formed");
        let linux = spec.linux().clone().expect("has one");
        let namespaces = linux.namespaces().clone().expect("some");
        let found = namespaces.into_iter().find(|n| n.typ() == LinuxNamespaceType::Network);
        (found.map(|n| n.path().clone()), linux.sysctl().clone().expect("some").len())
    };
    assert_eq!(network(NetworkNamespace::Host), (None, 0));
    assert_eq!(network(NetworkNamespace::Own), (Some(None), 2));
}

#[test]
fn what_is_asked_for_arrives() {
    let mut wish = Wish::default();
    let container = &mut wish.container;
    container.read_only = true;
    container.terminal = true;
    container.terminal_size = Some(crate::spec::TerminalSize { rows: 24, columns: 80 });
    container.domainname = Some("example".into());
    container.oom_score_adj = Some(-500);
    container.annotations.insert("a".into(), "b".into());
    container.security.no_new_privileges = true;
    container.security.unmask_system_paths = true;
    container.security.device_rules = vec!["b 8:* r".into()];
    container.resources.memory = Some(64 << 20);
    container.resources.pids_limit = Some(100);
    let value = golden(&wish);
    assert_eq!(value["root"]["readonly"], true);
    assert_eq!(value["process"]["consoleSize"], serde_json::json!({"height": 24, "width": 80}));
    assert_eq!(value["process"]["env"][2], "TERM=xterm");
    assert_eq!(value["domainname"], "example");
    assert_eq!(value["process"]["oomScoreAdj"], -500);
    assert_eq!(value["process"]["noNewPrivileges"], true);
    assert_eq!(value["annotations"], serde_json::json!({"a": "b"}));
    assert_eq!(value["linux"]["maskedPaths"], serde_json::json!([]));
    let resources = &value["linux"]["resources"];
    assert_eq!(resources["memory"], serde_json::json!({"limit": 67_108_864, "swap": 134_217_728}));
    assert_eq!(resources["pids"], serde_json::json!({"limit": 100}));
    let last = resources["devices"].as_array().and_then(|rules| rules.last());
    let expected = serde_json::json!({"allow": true, "type": "b", "major": 8, "access": "r"});
    assert_eq!(last, Some(&expected));
}

#[test]
fn what_cannot_be_is_refused_by_its_name() {
    type Change = fn(&mut ContainerSpec);
    let refused: [(Change, &str); 7] = [
        (|c| c.command.clear(), "no command"),
        (|c| c.oom_score_adj = Some(1001), "1001"),
        (|c| c.security = SecuritySpec { cap_add: vec!["FLY".into()], ..Default::default() }, "\"FLY\""),
        (|c| c.security.device_rules = vec!["c 1:3".into()], "\"c 1:3\""),
        (|c| c.security.seccomp = Seccomp::Profile("{".into()), "seccomp profile"),
        (|c| drop(c.sysctls.insert("kernel.panic".into(), "1".into())), "kernel.panic"),
        (|c| c.working_dir = Some("here".into()), "\"here\""),
    ];
    for (change, name) in refused {
        let mut wish = Wish::default();
        change(&mut wish.container);
        let error = spec(&input(&wish)).expect_err(name);
        assert_eq!(error.kind(), crate::ErrorKind::InvalidInput);
        assert!(error.to_string().contains(name), "{error}");
    }
}
