use std::path::PathBuf;

use proptest::prelude::*;
use serde_json::{Value, json};

use engine_shim::plan::{Attributes, ContainerPlan, MountSource};

use super::*;
use crate::runtime::driver::{Place, Streams, UserSpec};
use crate::spec::TerminalSize;

fn config() -> Value {
    json!({
        "ociVersion": "1.2.0",
        "process": { "user": { "uid": 0, "gid": 0 }, "args": ["sh"], "cwd": "/" },
        "linux": { "namespaces": [{ "type": "mount" }, { "type": "uts" }, { "type": "pid" }] },
    })
}

fn bundle(config: Value) -> Bundle {
    let place = Place {
        id: "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
            .parse()
            .expect("an identifier"),
        run_dir: "/run/engine/x".into(),
        exit_record: "/var/lib/engine/x/exit".into(),
        cgroup: "/engine/x".to_owned(),
        runtime: None,
    };
    Bundle {
        place,
        title: "x".to_owned(),
        run: 0,
        spec: serde_json::from_value(config).expect("a configuration"),
        root: vec![RootMount::Directory { path: "/root".into() }],
        user: UserSpec::default(),
        streams: Streams::default(),
        init: false,
        lifetime: Lifetime::Detached,
        durable: true,
        held: Vec::new(),
        teardown: Vec::new(),
        restart: RestartPolicy::No,
        health: None,
        events: None,
        shm: None,
        names: None,
    }
}

fn planned(change: impl FnOnce(&mut Value)) -> Result<ContainerPlan> {
    let mut config = config();
    change(&mut config);
    container(&bundle(config), &[])
}

fn mounted(mount: Value) -> Result<engine_shim::plan::Mount> {
    let plan = planned(|config| config["mounts"] = json!([mount]))?;
    Ok(plan.mounts.into_iter().next().expect("one mount"))
}

fn refused(change: impl FnOnce(&mut Value)) -> ErrorKind {
    planned(change).expect_err("is refused").kind()
}

#[test]
fn what_is_not_asked_for_is_not_given() {
    let plan = planned(|_| {}).expect("plans");
    assert_eq!(plan.process.capabilities, engine_shim::plan::Capabilities::default());
    assert_eq!(plan.namespaces.new as i32, libc::CLONE_NEWNS | libc::CLONE_NEWUTS | libc::CLONE_NEWPID);
    assert_eq!((plan.process.seccomp, plan.process.umask, plan.hostname), (None, None, None));
    assert_eq!(plan.propagation, libc::MS_PRIVATE as u32);
    let names: Vec<&str> = plan.devices.iter().map(|device| device.path.as_str()).collect();
    assert_eq!(names, ["/dev/full", "/dev/null", "/dev/random", "/dev/tty", "/dev/urandom", "/dev/zero"]);
}

#[test]
fn options_change_a_mount_or_those_below_it() {
    let options = ["rbind", "ro", "nosuid", "rnodev", "noatime", "rslave"];
    let mount =
        mounted(json!({ "destination": "/x/./y/", "source": "/data", "options": options })).expect("plans");
    assert_eq!(mount.target, "/x/y");
    assert_eq!(mount.source, MountSource::Bind { path: "/data".to_owned(), recursive: true });
    let set = libc::MOUNT_ATTR_RDONLY | libc::MOUNT_ATTR_NOSUID | libc::MOUNT_ATTR_NOATIME;
    assert_eq!(mount.attributes, Attributes { set, clear: libc::MOUNT_ATTR__ATIME });
    assert_eq!(mount.attributes_below, Attributes { set: libc::MOUNT_ATTR_NODEV, clear: 0 });
    assert_eq!(mount.propagation, (libc::MS_SLAVE | libc::MS_REC) as u32);
    assert!(!mount.system);
}

#[test]
fn of_two_options_about_the_same_the_later_one_wins() {
    let options = |options: &[&str]| {
        let mount = json!({ "destination": "/x", "source": "/data", "options": options, "type": "bind" });
        mounted(mount).expect("plans").attributes
    };
    assert_eq!(options(&["ro", "rw"]), Attributes { set: 0, clear: libc::MOUNT_ATTR_RDONLY });
    assert_eq!(options(&["rw", "ro"]), Attributes { set: libc::MOUNT_ATTR_RDONLY, clear: 0 });
    assert_eq!(options(&["noatime", "relatime"]), Attributes { set: 0, clear: libc::MOUNT_ATTR__ATIME });
    assert_eq!(options(&["defaults", "sync", "silent"]), Attributes::default());
}

#[test]
fn a_file_system_has_parameters() {
    let options = ["nosuid", "size=1m", "noswap"];
    let mount =
        mounted(json!({ "destination": "/dev", "type": "tmpfs", "options": options })).expect("plans");
    let parameters = vec![("size".to_owned(), Some("1m".to_owned())), ("noswap".to_owned(), None)];
    assert_eq!(
        mount.source,
        MountSource::Filesystem { kind: "tmpfs".to_owned(), source: "tmpfs".to_owned(), parameters }
    );
    assert!(mount.system, "nothing of an image may be on the way to the devices");
    assert!(mounted(json!({ "destination": "/proc", "type": "proc" })).expect("plans").system);
    assert!(!mounted(json!({ "destination": "/tmp", "type": "tmpfs" })).expect("plans").system);
}

#[test]
fn an_earlier_mount_has_other_attributes_later_and_its_parameters_at_once() {
    let earlier = json!({ "destination": "/x", "type": "tmpfs", "options": ["nosuid", "size=1m"] });
    let mounts = |later: Value| {
        let between = json!({ "destination": "/x/y", "type": "tmpfs" });
        planned(|config| config["mounts"] = json!([earlier, between, later])).map(|plan| plan.mounts)
    };
    let later = json!({ "destination": "/x/", "options": ["remount", "ro", "size=2m"] });
    let planned = mounts(later).expect("plans");
    let size = |size: &str| ("size".to_owned(), Some(size.to_owned()));
    let MountSource::Filesystem { parameters, .. } = &planned[0].source else { panic!("{planned:?}") };
    assert_eq!(*parameters, [size("1m"), size("2m")]);
    assert_eq!((&planned[2].source, planned[2].target.as_str()), (&MountSource::Earlier, "/x"));
    assert_eq!(planned[2].attributes, Attributes { set: libc::MOUNT_ATTR_RDONLY, clear: 0 });
    for later in [
        json!({ "destination": "/z", "options": ["remount", "ro"] }),
        json!({ "destination": "/x", "type": "tmpfs", "options": ["remount", "tmpcopyup"] }),
    ] {
        mounts(later).expect_err("is refused");
    }
    let host = json!({ "destination": "/x", "type": "bind", "source": "/y" });
    let later = json!({ "destination": "/x", "options": ["remount", "size=2m"] });
    // The host's file system stays as it is.
    assert_eq!(refused(|config| config["mounts"] = json!([host, later])), ErrorKind::InvalidInput);
}

#[test]
fn what_is_covered_is_copied_into_memory_alone() {
    let mount = |kind: &str, options: &[&str]| {
        mounted(json!({ "destination": "/data", "type": kind, "source": "/x", "options": options }))
    };
    assert!(mount("tmpfs", &["nosuid", "tmpcopyup"]).expect("is one").copy_up);
    assert!(!mount("tmpfs", &["nosuid"]).expect("is one").copy_up);
    for (kind, options) in
        [("bind", &["tmpcopyup"][..]), ("tmpfs", &["rbind", "tmpcopyup"]), ("proc", &["tmpcopyup"])]
    {
        assert!(mount(kind, options).is_err(), "{kind} {options:?}");
    }
}

#[test]
fn what_a_mount_cannot_be_is_refused() {
    for mount in [
        json!({ "destination": "/", "type": "tmpfs" }),
        json!({ "destination": "/x/../y", "type": "tmpfs" }),
        json!({ "destination": "/x\u{0}", "type": "tmpfs" }),
        json!({ "destination": "/x" }),
        json!({ "destination": "/x", "options": ["bind"] }),
        json!({ "destination": "/x", "source": "relative", "options": ["bind"] }),
        json!({ "destination": "/x", "source": "/y", "options": ["bind", "z"] }),
        json!({ "destination": "/x", "source": "/y", "options": ["bind", ""] }),
        json!({ "destination": "/x", "source": "/y", "options": ["bind", "remount"] }),
        json!({ "destination": "/x", "type": "cgroup", "options": ["memory"] }),
    ] {
        let error = mounted(mount.clone()).expect_err("is refused");
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "{mount}: {error}");
    }
}

#[test]
fn a_container_has_mounts_of_its_own() {
    assert_eq!(refused(|c| c["linux"]["namespaces"] = json!([{ "type": "pid" }])), ErrorKind::InvalidInput);
    let joined = json!([{ "type": "mount", "path": "/proc/1/ns/mnt" }]);
    assert_eq!(refused(|c| c["linux"]["namespaces"] = joined), ErrorKind::InvalidInput);
    let twice = json!([{ "type": "mount" }, { "type": "pid" }, { "type": "pid" }]);
    assert_eq!(refused(|c| c["linux"]["namespaces"] = twice), ErrorKind::InvalidInput);
    let user = json!([{ "type": "mount" }, { "type": "user" }]);
    assert_eq!(refused(|c| c["linux"]["namespaces"] = user), ErrorKind::InvalidInput, "nobody is mapped");
}

#[test]
fn what_this_version_does_not_offer_is_not_passed_over() {
    assert_eq!(refused(|c| c["linux"]["intelRdt"] = json!({ "closID": "x" })), ErrorKind::Unsupported);
    let labelled = |c: &mut Value| {
        c["process"]["apparmorProfile"] = "a".into();
        c["process"]["selinuxLabel"] = "s".into();
        c["linux"]["mountLabel"] = "m".into();
        c["mounts"] = json!([
            { "destination": "/a", "type": "tmpfs" },
            { "destination": "/proc", "type": "proc" },
        ]);
    };
    let plan = planned(labelled).expect("it is for the kernel to say whether it has the module");
    let traits = plan.process.traits.expect("has some");
    assert_eq!((traits.apparmor.as_str(), traits.selinux.as_str()), ("a", "s"));
    let context = |mount: &engine_shim::plan::Mount| match &mount.source {
        MountSource::Filesystem { parameters, .. } => parameters.clone(),
        other => panic!("{other:?}"),
    };
    assert_eq!(context(&plan.mounts[0]), [("context".to_owned(), Some("m".to_owned()))]);
    assert_eq!(context(&plan.mounts[1]), [], "is labelled by the kernel itself");
}

#[test]
fn hooks_have_names_and_their_order() {
    assert_eq!(planned(|c| c["hooks"] = json!({})).expect("plans").hooks.create_runtime, []);
    let hook = |path: &str| json!({ "path": path, "args": ["me"], "timeout": 3 });
    let hooks = json!({ "prestart": [hook("/a")], "createRuntime": [hook("/b")], "poststop": [hook("/c")] });
    let hooks = planned(|c| c["hooks"] = hooks).expect("plans").hooks;
    let names: Vec<&str> = hooks.create_runtime.iter().map(|hook| hook.name.as_str()).collect();
    assert_eq!(names, ["prestart hook 0", "createRuntime hook 0"]);
    assert_eq!((hooks.poststop[0].path.as_str(), hooks.poststop[0].timeout), ("/c", Some(3)));
    for wrong in [hook("relative"), json!({ "path": "/a", "timeout": 0 })] {
        assert_eq!(refused(|c| c["hooks"] = json!({ "poststart": [wrong] })), ErrorKind::InvalidInput);
    }
}

#[test]
fn a_host_name_needs_a_place_of_its_own() {
    assert_eq!(planned(|c| c["hostname"] = "box".into()).expect("plans").hostname.as_deref(), Some("box"));
    let shared = |c: &mut Value| {
        c["hostname"] = "box".into();
        c["linux"]["namespaces"] = json!([{ "type": "mount" }]);
    };
    assert_eq!(refused(shared), ErrorKind::InvalidInput);
    assert_eq!(refused(|c| c["hostname"] = "x".repeat(65).into()), ErrorKind::InvalidInput);
}

#[test]
fn commands_that_cannot_be_are_refused() {
    for (key, value) in [
        ("args", json!([])),
        ("args", json!([""])),
        ("args", json!(["sh", "a\u{0}b"])),
        ("env", json!(["A=\u{0}"])),
        ("cwd", json!("relative")),
        ("oomScoreAdj", json!(1001)),
        ("rlimits", json!([{ "type": "RLIMIT_CPU", "soft": 2, "hard": 1 }])),
        (
            "rlimits",
            json!([{ "type": "RLIMIT_CPU", "soft": 1, "hard": 1 }, { "type": "RLIMIT_CPU", "soft": 1, "hard": 1 }]),
        ),
    ] {
        assert_eq!(refused(|c| c["process"][key] = value.clone()), ErrorKind::InvalidInput, "{key} {value}");
    }
}

#[test]
fn a_terminal_s_size_is_the_one_given_or_configured() {
    let configured = |c: &mut Value| c["process"]["consoleSize"] = json!({ "height": 10, "width": 20 });
    assert_eq!(planned(configured).expect("plans").streams.terminal_size, Some((10, 20)));
    let mut config = config();
    configured(&mut config);
    let mut bundle = bundle(config);
    bundle.streams.terminal_size = Some(TerminalSize { rows: 1, columns: 2 });
    assert_eq!(container(&bundle, &[]).expect("plans").streams.terminal_size, Some((1, 2)));
}

#[test]
fn devices_are_checked() {
    let device = |device: Value| {
        let plan = planned(|c| c["linux"]["devices"] = json!([device]))?;
        Ok::<_, Error>(plan.devices[0].clone())
    };
    let made =
        device(json!({ "path": "/dev/fuse", "type": "c", "major": 10, "minor": 229, "fileMode": 0o20600 }));
    assert_eq!(made.expect("plans").mode, libc::S_IFCHR | 0o600);
    // A default device that is given differently is made once.
    let plan = planned(|c| {
        c["linux"]["devices"] =
            json!([{ "path": "/dev/null", "type": "c", "major": 1, "minor": 3, "fileMode": 0o600 }]);
    });
    assert_eq!(plan.expect("plans").devices.iter().filter(|device| device.path == "/dev/null").count(), 1);
    for bad in [
        json!({ "path": "dev/x", "type": "c", "major": 1, "minor": 3 }),
        json!({ "path": "/dev/../x", "type": "c", "major": 1, "minor": 3 }),
        json!({ "path": "/dev/x/", "type": "c", "major": 1, "minor": 3 }),
        json!({ "path": "/dev/x", "type": "c", "major": -1, "minor": 3 }),
        json!({ "path": "/dev/x", "type": "a", "major": 1, "minor": 3 }),
    ] {
        device(bad).expect_err("is refused");
    }
}

#[test]
fn a_root_is_one_mount() {
    let root = |root: Vec<RootMount>| {
        let mut bundle = bundle(config());
        bundle.root = root;
        container(&bundle, &[]).map(|plan| plan.root)
    };
    let lower = |paths: &[&str]| RootMount::Overlay {
        lower: paths.iter().map(PathBuf::from).collect(),
        upper: None,
        volatile: false,
    };
    let single = root(vec![lower(&["/a"])]).expect("plans");
    assert_eq!(single, Root { source: RootSource::Directory("/a".to_owned()), readonly: true });
    root(vec![lower(&["/a", "/b"])]).expect("plans");
    root(vec![lower(&[])]).expect_err("has no layer");
    root(vec![]).expect_err("is nothing");
    root(vec![lower(&["/a"]), lower(&["/b"])]).expect_err("is two");
}

proptest! {
    #[test]
    fn no_option_is_misunderstood_as_an_attribute(option in "[a-z]{1,12}") {
        let known = mounted(json!({ "destination": "/x", "source": "/y", "options": ["bind", option] }));
        if let Ok(mount) = known {
            let changed = |attributes: Attributes| attributes.set | attributes.clear;
            let bits = changed(mount.attributes) | changed(mount.attributes_below);
            prop_assert_eq!(bits & !0x2000ff, 0);
        }
    }

    #[test]
    fn any_text_is_planned_or_refused(
        (target, option, source, kind) in (".{0,40}", ".{0,20}", ".{0,20}", ".{0,10}"),
    ) {
        let mount = json!({ "destination": target, "source": source, "type": kind, "options": [option] });
        if let Ok(mount) = mounted(mount) {
            prop_assert!(mount.target.starts_with('/') && mount.target.len() > 1);
            prop_assert!(!mount.target.split('/').any(|part| part == ".."));
        }
    }
}

#[test]
fn users_of_their_own_are_for_those_that_their_caller_looks_after() {
    let with_users = |config: &mut Value| {
        config["linux"]["namespaces"] = json!([{ "type": "mount" }, { "type": "user" }]);
        let mapping = json!([{ "containerID": 0, "hostID": 1000, "size": 1 }]);
        config["linux"]["uidMappings"] = mapping.clone();
        config["linux"]["gidMappings"] = mapping;
    };
    assert_eq!(planned(with_users).expect_err("checks would not enter").kind(), ErrorKind::Unsupported);
    let mut config = config();
    with_users(&mut config);
    let spec: Spec = serde_json::from_value(config).expect("a configuration");
    let of = ("x", Path::new("/bundle"), Path::new("/bundle/rootfs"));
    let plan = direct(&spec, of, Direct::default(), &[]).expect("a plan");
    assert!(plan.namespaces.has_users());
    assert_eq!(plan.spaces.users.uids, "0 1000 1\n");
}
