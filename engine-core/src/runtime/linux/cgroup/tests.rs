mod unified;

use std::process::{Child, Command, Stdio};
use std::time::Duration;

use oci_spec::runtime::{LinuxCpu, LinuxMemory, LinuxPids};

use super::*;
use crate::error::ErrorKind;

/// A group of this test's own, taken away whatever happens.
struct Group {
    cgroups: Cgroups,
    path: String,
}

/// The tree of version 2, where it is mounted beside hierarchies of version 1 too: it has groups even if it has few
/// controllers.
fn tree() -> Option<Cgroups> {
    let mounts = ["/sys/fs/cgroup/unified", "/sys/fs/cgroup"];
    let mount = mounts.into_iter().find(|mount| tree::read(mount, "cgroup.controllers").is_ok())?;
    Some(Cgroups(Version::Two(v2::Tree::new(mount.to_owned()).expect("a tree"))))
}

impl Group {
    /// `None` where this process may not make groups.
    fn new(name: &str) -> Option<Group> {
        Group::of(Cgroups::detect().expect("control groups"), name)
    }

    fn of(cgroups: Cgroups, name: &str) -> Option<Group> {
        let group = Group { cgroups, path: format!("/engine-test-{name}-{}/group", std::process::id()) };
        match group.cgroups.create(&group.path, &LinuxResources::default()) {
            Ok(_) => Some(group),
            Err(e) if e.is(ErrorKind::PermissionDenied) => None,
            Err(e) => panic!("{e}"),
        }
    }

    fn join(&self, script: &str) -> Child {
        let mut joining = String::from("set -e; ");
        let found = self.cgroups.find(&self.path);
        for file in found.join.into_iter().chain(found.born.map(|directory| directory + "/cgroup.procs")) {
            joining += &format!("echo 0 > {file}; ");
        }
        let script = format!("{joining}{script}");
        Command::new("sh").args(["-c", &script]).stdout(Stdio::piped()).spawn().expect("runs")
    }

    fn read(&self, file: &str) -> String {
        let found = self.cgroups.find(&self.path);
        let mut texts = found.dirs.iter().filter_map(|directory| tree::read(directory, file).ok());
        texts.next().unwrap_or_else(|| panic!("no {file}")).trim().to_owned()
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        let _ = self.cgroups.kill(&self.path);
        let (above, _) = self.path.rsplit_once('/').expect("has a parent");
        let _ = self.cgroups.remove(above);
    }
}

fn wait_for(what: &str, mut done: impl FnMut() -> bool) {
    for _ in 0..500 {
        if done() {
            return;
        }
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    panic!("{what}");
}

#[test]
fn a_group_is_made_filled_emptied_and_removed() {
    if let Some(group) = Group::new("life") {
        goes_through_its_life(&group);
    }
    if let Some(group) = tree().and_then(|tree| Group::of(tree, "life-2")) {
        goes_through_its_life(&group);
    }
}

fn goes_through_its_life(group: &Group) {
    let (cgroups, path) = (&group.cgroups, group.path.as_str());
    let mut children: Vec<Child> = (0..3).map(|_| group.join("sleep 100 & exec sleep 100")).collect();
    // A container may make groups of its own.
    for directory in cgroups.find(path).dirs {
        std::fs::create_dir_all(format!("{directory}/own/deep")).expect("makes a group");
    }
    wait_for("all processes join", || cgroups.pids(path).expect("lists").len() == 6);
    assert_eq!(cgroups.create(path, &LinuxResources::default()).expect_err("full").kind(), ErrorKind::InUse);
    assert_eq!(cgroups.remove(path).expect_err("is in use").kind(), ErrorKind::InUse);
    cgroups.kill(path).expect("kills");
    for child in &mut children {
        child.wait().expect("is reaped");
    }
    assert!(cgroups.pids(path).expect("lists").is_empty());
    cgroups.kill(path).expect("kills twice");
    let (parent, name) = path.rsplit_once('/').expect("has a parent");
    assert!(cgroups.list(parent).expect("lists").contains(&name.to_owned()));
    cgroups.remove(path).expect("removes");
    cgroups.remove(path).expect("removes twice");
    assert!(!cgroups.list(parent).expect("lists").contains(&name.to_owned()));
    for directory in cgroups.find(path).dirs {
        assert!(!std::path::Path::new(&directory).exists(), "{directory}");
    }
    assert!(cgroups.pids(path).expect("lists").is_empty());
    cgroups.kill(path).expect("kills nothing");
}

#[test]
fn limits_are_in_force_and_can_be_changed_both_ways() {
    let Some(group) = Group::new("limits") else { return };
    let Version::One(_) = group.cgroups.0 else { return };
    let memory = |limit: i64, swap: i64| {
        let mut memory = LinuxMemory::default();
        memory.set_limit(Some(limit)).set_swap(Some(swap));
        let mut resources = LinuxResources::default();
        resources.set_memory(Some(memory));
        resources
    };
    let update = |resources: &LinuxResources| group.cgroups.update(&group.path, resources);
    for (limit, swap) in [(64, 128), (256, 512), (32, 32), (512, -1), (16, 20)] {
        let bytes = |n: i64| if n < 0 { n } else { n << 20 };
        update(&memory(bytes(limit), bytes(swap))).expect("changes");
        assert_eq!(group.read("memory.limit_in_bytes"), (limit << 20).to_string());
        if swap > 0 {
            assert_eq!(group.read("memory.memsw.limit_in_bytes"), (swap << 20).to_string());
        }
    }
    let mut cpu = LinuxCpu::default();
    cpu.set_quota(Some(20_000)).set_period(Some(10_000)).set_shares(Some(256)).set_cpus(Some("0".into()));
    let mut resources = LinuxResources::default();
    resources.set_cpu(Some(cpu));
    let mut pids = LinuxPids::default();
    pids.set_limit(7);
    resources.set_pids(Some(pids));
    update(&resources).expect("changes");
    assert_eq!(group.read("cpu.cfs_quota_us"), "20000");
    assert_eq!(group.read("cpu.cfs_period_us"), "10000");
    assert_eq!(group.read("cpu.shares"), "256");
    assert_eq!(group.read("cpuset.cpus"), "0");
    assert_eq!(group.read("pids.max"), "7");
    let mut cpu = LinuxCpu::default();
    cpu.set_cpus(Some("4000".into()));
    let mut resources = LinuxResources::default();
    resources.set_cpu(Some(cpu));
    let error = update(&resources).expect_err("there is no such processor");
    assert!(error.to_string().contains("cpuset.cpus = 4000"), "{error}");
}

#[test]
fn a_group_that_cannot_be_limited_is_not_left_behind() {
    let Some(group) = Group::new("undone") else { return };
    let path = format!("{}-refused", group.path);
    let mut cpu = LinuxCpu::default();
    cpu.set_cpus(Some("4000".into()));
    let mut resources = LinuxResources::default();
    resources.set_cpu(Some(cpu));
    if let Err(error) = group.cgroups.create(&path, &resources) {
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error}");
    } else {
        group.cgroups.remove(&path).expect("removes");
    }
    for directory in group.cgroups.find(&path).dirs {
        assert!(!std::path::Path::new(&directory).exists(), "{directory}");
    }
}

#[test]
fn devices_are_denied_in_a_group_that_denies_them() {
    let Some(group) = Group::new("devices") else { return };
    let path = format!("{}-denied", group.path);
    let rule = |allow, typ, major, minor| devices::tests::rule(allow, typ, major, minor, "rwm");
    let c = Some(oci_spec::runtime::LinuxDeviceType::C);
    let mut resources = LinuxResources::default();
    resources.set_devices(Some(vec![
        rule(false, None, None, None),
        rule(true, c, Some(1), Some(3)),
        rule(true, c, Some(1), Some(5)),
    ]));
    let denied = Group { cgroups: Cgroups::detect().expect("detects"), path };
    denied.cgroups.create(&denied.path, &resources).expect("makes the group");
    let reads = |device: &str| {
        let mut child = denied.join(&format!("head -c 1 {device} > /dev/null"));
        child.wait().expect("ends").success()
    };
    assert!(reads("/dev/zero"));
    assert!(!reads("/dev/urandom"));
}

#[test]
fn a_path_that_could_lead_elsewhere_is_refused() {
    for bad in ["", "/", "engine", "/engine/../x", "/a//b", "/a/", "/a/./b", "/a\n", "/..", "/a/\0"] {
        assert!(check(bad).is_err(), "{bad:?}");
    }
    for good in ["/engine", "/engine/0123", "/my.slice/engine-1", "/a b/c"] {
        assert!(check(good).is_ok(), "{good:?}");
    }
}

#[test]
fn limits_of_version_2_are_in_force_and_can_be_changed() {
    let Some(group) = tree().and_then(|tree| Group::of(tree, "limits-2")) else { return };
    let Version::Two(tree) = &group.cgroups.0 else { return };
    let available = tree::read(&tree.directory(""), "cgroup.controllers").expect("reads");
    if !["cpu", "cpuset", "memory", "pids"]
        .iter()
        .all(|name| available.split_whitespace().any(|a| a == *name))
    {
        return;
    }
    let mut memory = LinuxMemory::default();
    memory.set_limit(Some(64 << 20)).set_swap(Some(96 << 20)).set_reservation(Some(32 << 20));
    let mut cpu = LinuxCpu::default();
    cpu.set_quota(Some(20_000)).set_period(Some(10_000)).set_shares(Some(512)).set_cpus(Some("0".into()));
    let mut pids = LinuxPids::default();
    pids.set_limit(7);
    let mut resources = LinuxResources::default();
    resources.set_memory(Some(memory)).set_cpu(Some(cpu)).set_pids(Some(pids));
    resources.set_unified(Some([("memory.high".to_owned(), "max".to_owned())].into()));
    let limited = format!("{}-limited", group.path);
    let made = group.cgroups.create(&limited, &resources).expect("makes a limited group");
    let read = |file: &str| tree::read(&tree.directory(&limited), file).expect(file).trim().to_owned();
    for (file, value) in [
        ("memory.max", "67108864"),
        ("memory.swap.max", "33554432"),
        ("memory.low", "33554432"),
        ("cpu.max", "20000 10000"),
        ("cpu.weight", "59"),
        ("cpuset.cpus", "0"),
        ("pids.max", "7"),
    ] {
        assert_eq!(read(file), value, "{file}");
    }
    memory.set_limit(Some(-1)).set_swap(Some(-1)).set_reservation(None);
    let mut resources = LinuxResources::default();
    resources.set_memory(Some(memory));
    group.cgroups.update(&limited, &resources).expect("changes");
    assert_eq!((read("memory.max"), read("memory.swap.max")), ("max".to_owned(), "max".to_owned()));
    assert_eq!(read("pids.max"), "7");
    let oom = made.oom.expect("has a file");
    assert!(std::fs::read_to_string(oom).expect("reads").contains("oom_kill 0"));
    let mut cpu = LinuxCpu::default();
    cpu.set_cpus(Some("4000".into()));
    resources.set_cpu(Some(cpu));
    let error = group.cgroups.update(&limited, &resources).expect_err("there is no such processor");
    assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error}");
}

#[test]
fn version_2_hands_controllers_down_and_says_who_does_not() {
    let Some(group) = tree().and_then(|tree| Group::of(tree, "hand-down")) else { return };
    let Version::Two(tree) = &group.cgroups.0 else { return };
    let available = tree::read(&tree.directory(""), "cgroup.controllers").expect("reads");
    if !available.split_whitespace().any(|name| name == "hugetlb") {
        return;
    }
    let mut limit = oci_spec::runtime::LinuxHugepageLimit::default();
    limit.set_page_size("2MB".into()).set_limit(4 << 20);
    let mut resources = LinuxResources::default();
    resources.set_hugepage_limits(Some(vec![limit]));
    let limited = format!("{}-limited", group.path);
    group.cgroups.create(&limited, &resources).expect("makes a limited group");
    let value = tree::read(&tree.directory(&limited), "hugetlb.2MB.max").expect("reads");
    assert_eq!(value.trim(), "4194304");
    group.cgroups.remove(&limited).expect("removes");

    // A group with processes of its own hands nothing down.
    let mut child = group.join("exec sleep 100");
    wait_for("the process joins", || group.cgroups.pids(&group.path).expect("lists").len() == 1);
    let below = format!("{}/below", group.path);
    let error = group.cgroups.create(&below, &resources).expect_err("is refused");
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert!(error.to_string().contains("has processes of its own"), "{error}");
    assert!(error.remedy().is_some());
    // What needs no controller is not refused for the want of one.
    group.cgroups.create(&below, &LinuxResources::default()).expect("makes a group without limits");
    let directory = group.cgroups.find(&below).born.expect("a directory of version 2");
    let joining = format!("echo 0 > {directory}/cgroup.procs");
    let mut other = Command::new("sh").args(["-c", &joining]).spawn().expect("runs");
    assert!(other.wait().expect("ends").success(), "nobody can join a group below");
    group.cgroups.kill(&group.path).expect("kills");
    child.wait().expect("is reaped");
}

#[test]
fn a_group_that_grows_while_it_is_killed_is_killed_all_the_same() {
    for cgroups in [Some(Cgroups::detect().expect("control groups")), tree()].into_iter().flatten() {
        let Some(group) = Group::of(cgroups, "growing") else { continue };
        let mut pids = LinuxPids::default();
        pids.set_limit(64);
        let mut resources = LinuxResources::default();
        resources.set_pids(Some(pids));
        group.cgroups.update(&group.path, &resources).expect("limits");
        let script =
            "while :; do (sleep 100 & sleep 0.01 & exit) 2>/dev/null & sleep 0.002; done 2>/dev/null";
        let mut child = group.join(script);
        wait_for("it grows", || group.cgroups.pids(&group.path).expect("lists").len() > 10);
        group.cgroups.kill(&group.path).expect("kills");
        assert!(group.cgroups.pids(&group.path).expect("lists").is_empty());
        child.wait().expect("is reaped");
        group.cgroups.remove(&group.path).expect("removes");
    }
}

/// The processor time of a process, in ticks: a busy one that is held uses none.
fn ticks(pid: u32) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).expect("reads");
    let fields = stat.rsplit(')').next().expect("fields").split_whitespace();
    fields.skip(11).take(2).filter_map(|field| field.parse::<u64>().ok()).sum()
}

#[test]
fn a_frozen_group_does_nothing_until_it_is_thawed() {
    for cgroups in [Some(Cgroups::detect().expect("control groups")), tree()].into_iter().flatten() {
        let Some(group) = Group::of(cgroups, "frozen") else { continue };
        let (cgroups, path) = (&group.cgroups, &group.path);
        if cgroups.freezer(path).is_err() {
            continue;
        }
        let mut child = group.join("while :; do :; done");
        wait_for("the process joins", || cgroups.pids(path).expect("lists").len() == 1);
        assert!(!cgroups.is_frozen(path).expect("tells"));
        cgroups.freeze(path).expect("freezes");
        cgroups.freeze(path).expect("may be called twice");
        assert!(cgroups.is_frozen(path).expect("tells"));
        let before = ticks(child.id());
        std::thread::sleep(Duration::from_millis(200));
        assert_eq!(ticks(child.id()), before);
        cgroups.thaw(path).expect("thaws");
        cgroups.thaw(path).expect("may be called twice");
        assert!(!cgroups.is_frozen(path).expect("tells"));
        wait_for("it goes on", || ticks(child.id()) > before);
        cgroups.kill(path).expect("kills");
        child.wait().expect("is reaped");
        cgroups.remove(path).expect("removes");
        assert!(!cgroups.is_frozen(path).expect("one that is gone is not frozen"));
        cgroups.thaw(path).expect("nor does it need to be thawed");
    }
}

#[test]
fn a_group_that_does_not_stop_in_time_goes_on() {
    for cgroups in [Some(Cgroups::detect().expect("control groups")), tree()].into_iter().flatten() {
        let Some(group) = Group::of(cgroups, "unfrozen") else { continue };
        let (cgroups, path) = (&group.cgroups, &group.path);
        let mut child =
            group.join("for i in 1 2 3 4 5 6 7 8 9 10 11 12; do (while :; do :; done) & done; wait");
        wait_for("they join", || cgroups.pids(path).expect("lists").len() > 12);
        let Ok(freezer) = cgroups.freezer(path) else { continue };
        // With no time at all it hardly ever succeeds.
        for _ in 0..20 {
            match freezer.hold(Duration::ZERO) {
                Ok(()) => freezer.release().expect("thaws"),
                Err(e) => {
                    assert_eq!(e.kind(), ErrorKind::TimedOut, "{e}");
                    assert!(!freezer.is_held().expect("tells"));
                }
            }
        }
        cgroups.kill(path).expect("kills");
        child.wait().expect("is reaped");
    }
}

#[test]
fn many_make_groups_in_one_new_parent_at_once() {
    for (name, detect) in [("crowd", Cgroups::detect().ok()), ("crowd-2", tree())] {
        let Some(cgroups) = detect else { continue };
        let parent = format!("/engine-test-{name}-{}", std::process::id());
        let group = Group { cgroups, path: format!("{parent}/deep/first") };
        std::thread::scope(|scope| {
            for n in 0..8 {
                let (cgroups, path) = (&group.cgroups, format!("{parent}/deep/{n}"));
                scope.spawn(move || match cgroups.create(&path, &LinuxResources::default()) {
                    Ok(made) => assert!(
                        made.join.iter().chain(&made.dirs).all(|file| std::path::Path::new(file).exists())
                    ),
                    Err(e) => assert!(e.is(ErrorKind::PermissionDenied), "{e}"),
                });
            }
        });
        let _ = group.cgroups.remove(&parent);
    }
}

/// Not a test of speed, but of what it costs: prints it, for whoever asks with `--nocapture`.
#[test]
fn what_a_group_costs() {
    let Some(group) = Group::new("cost") else { return };
    let resources = LinuxResources::default();
    let path = format!("{}-n", group.path);
    let rounds = 50;
    let (mut made, mut removed) = (std::time::Duration::ZERO, std::time::Duration::ZERO);
    for _ in 0..rounds {
        let start = std::time::Instant::now();
        group.cgroups.create(&path, &resources).expect("makes");
        made += start.elapsed();
        let start = std::time::Instant::now();
        group.cgroups.remove(&path).expect("removes");
        removed += start.elapsed();
    }
    println!("made in {:?}, removed in {:?}", made / rounds, removed / rounds);
    assert!(made / rounds < std::time::Duration::from_millis(50));
}
