//! What the kernel does with a group of version 2 that this engine made. Such tests have something to look at only
//! where version 2 rules alone; `cargo xtask vm-test` boots a kernel on which it does.

use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::super::*;
use super::wait_for;
use crate::error::ErrorKind;

/// A group with limits, and those above and below it; all taken away in the end, with their processes.
struct Limited {
    cgroups: Cgroups,
    /// The group above.
    parent: String,
    path: String,
}

/// This host's groups, if they are of version 2.
fn unified() -> Option<Cgroups> {
    let cgroups = Cgroups::detect().expect("control groups");
    if matches!(cgroups.0, Version::Two(_)) {
        return Some(cgroups);
    }
    println!("skipped: version 1 rules here; see cargo xtask vm-test");
    None
}

impl Limited {
    fn new(name: &str, resources: &LinuxResources) -> Option<Limited> {
        let parent = format!("/engine-test-2-{name}-{}", std::process::id());
        let limited = Limited { cgroups: unified()?, path: format!("{parent}/group"), parent };
        limited.cgroups.create(&limited.path, resources).expect("makes the group");
        Some(limited)
    }

    fn directory(&self) -> String {
        self.cgroups.processes(&self.path)
    }

    fn read(&self, file: &str) -> String {
        tree::read(&self.directory(), file).expect(file).trim().to_owned()
    }

    /// A number out of a file with a name and a number in each line.
    fn count(&self, file: &str, name: &str) -> u64 {
        let text = self.read(file);
        let value = text.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok());
        value.unwrap_or_else(|| panic!("no {name} in {file}: {text}"))
    }

    fn update(&self, resources: &LinuxResources) {
        self.cgroups.update(&self.path, resources).expect("changes limits");
    }

    /// A shell that joins the group as the shim does, and goes on with `script`. `$group` is its directory.
    fn begin(&self, script: &str) -> Child {
        let directory = self.directory();
        let script = format!("group={directory}; echo 0 > $group/cgroup.procs || exit 1; {script}");
        let mut shell = Command::new("sh");
        shell.args(["-c", &script]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        shell.spawn().expect("runs")
    }

    fn run(&self, script: &str) -> ExitStatus {
        self.begin(script).wait().expect("ends")
    }

    fn pids(&self) -> Vec<u32> {
        self.cgroups.pids(&self.path).expect("lists")
    }
}

impl Drop for Limited {
    fn drop(&mut self) {
        let _ = self.cgroups.kill(&self.parent);
        if let Err(e) = self.cgroups.remove(&self.parent) {
            eprintln!("cleaning up: {e}");
        }
    }
}

/// Limits as an OCI configuration has them.
fn limits(json: Value) -> LinuxResources {
    serde_json::from_value(json).expect("limits")
}

/// A rule for memory devices: all of them, or the one with that minor number.
fn rule(allow: bool, minor: Option<i64>, access: &str) -> Value {
    match minor {
        Some(minor) => json!({ "allow": allow, "type": "c", "major": 1, "minor": minor, "access": access }),
        None => json!({ "allow": allow, "access": access }),
    }
}

/// Everything denied, and then these.
fn devices(rules: &[Value]) -> LinuxResources {
    let rules = [&[rule(false, None, "rwm")], rules].concat();
    limits(json!({ "devices": rules }))
}

#[test]
fn a_group_gets_all_controllers_and_its_parent_hands_them_down() {
    let Some(group) = Limited::new("controllers", &LinuxResources::default()) else { return };
    let controllers = group.read("cgroup.controllers");
    for wanted in ["cpu", "cpuset", "io", "memory", "pids"] {
        assert!(controllers.split_whitespace().any(|name| name == wanted), "{wanted} of {controllers}");
    }
    assert_eq!(group.read("cgroup.type"), "domain");
    assert_eq!(group.read("cgroup.subtree_control"), "", "a container decides that for itself");
}

#[test]
fn too_much_memory_ends_a_process_and_is_counted() {
    let wanted = limits(json!({ "memory": { "limit": 32 << 20, "swap": 32 << 20 } }));
    let Some(group) = Limited::new("memory", &wanted) else { return };
    // A line without an end, which `tail` has to keep.
    assert_eq!(group.run("exec tail -n 1 /dev/zero").signal(), Some(9));
    assert_eq!(group.count("memory.events", "oom_kill "), 1);
    let file = group.cgroups.find(&group.path).oom.expect("a file to see it in");
    assert_eq!(file, format!("{}/memory.events", group.directory()));

    group.update(&limits(json!({ "memory": { "limit": 512 << 20, "swap": 512 << 20 } })));
    assert!(group.run("head -c 100000000 /dev/zero | tail -n 1").success(), "the new limit is enough");
}

#[test]
fn a_limit_below_what_is_used_is_refused_to_who_asks() {
    let Some(group) = Limited::new("used", &LinuxResources::default()) else { return };
    let mut child = group.begin("(head -c 8000000 /dev/zero; sleep 100) | tail -n 1");
    wait_for("it takes memory", || group.read("memory.current").parse::<u64>().expect("number") > 8_000_000);
    let wanted = limits(json!({ "memory": { "limit": 64 << 10, "checkBeforeUpdate": true } }));
    let error = group.cgroups.update(&group.path, &wanted).expect_err("is in use");
    assert_eq!(error.kind(), ErrorKind::InUse, "{error}");
    assert_eq!(group.read("memory.max"), "max");
    group.cgroups.kill(&group.path).expect("kills");
    child.wait().expect("is reaped");
}

#[test]
fn no_more_processes_than_allowed() {
    let limit = |limit: i64| limits(json!({ "pids": { "limit": limit } }));
    let Some(group) = Limited::new("pids", &limit(4)) else { return };
    let script = "for i in 1 2 3 4 5 6; do sleep 100 & done";
    assert!(!group.run(script).success(), "the shell cannot fork any more");
    assert_eq!(group.pids().len(), 3);
    assert!(group.count("pids.events", "max ") >= 1);
    group.cgroups.kill(&group.path).expect("kills");
    group.update(&limit(-1));
    assert_eq!(group.read("pids.max"), "max");
    assert!(group.run(script).success());
}

#[test]
fn a_quota_slows_down_until_it_is_lifted() {
    let wanted = limits(json!({ "cpu": { "quota": 10_000, "period": 100_000 } }));
    let Some(group) = Limited::new("quota", &wanted) else { return };
    let mut child = group.begin("while :; do :; done");
    wait_for("it is throttled", || group.count("cpu.stat", "nr_throttled ") >= 3);
    let used = || (group.count("cpu.stat", "usage_usec "), Instant::now());
    let ((before, begin), ()) = (used(), std::thread::sleep(Duration::from_secs(1)));
    let (after, end) = used();
    // A tenth of one processor, and what a slice has too much.
    let share = (after - before) as f64 / (end - begin).as_micros() as f64;
    assert!(share < 0.2, "it had {share} of a processor");

    group.update(&limits(json!({ "cpu": { "quota": -1 } })));
    assert_eq!(group.read("cpu.max"), "max 100000");
    std::thread::sleep(Duration::from_millis(200));
    let throttled = group.count("cpu.stat", "nr_throttled ");
    std::thread::sleep(Duration::from_millis(500));
    assert_eq!(group.count("cpu.stat", "nr_throttled "), throttled);
    group.cgroups.kill(&group.path).expect("kills");
    child.wait().expect("is reaped");
}

#[test]
fn processors_are_assigned_and_reassigned() {
    let on = |list: &str| limits(json!({ "cpu": { "cpus": list, "mems": "0" } }));
    let last = std::thread::available_parallelism().expect("known").get() - 1;
    let Some(group) = Limited::new("cpuset", &on(&last.to_string())) else { return };
    let mut child = group.begin("exec sleep 100");
    wait_for("it joins", || !group.pids().is_empty());
    let allowed = || {
        let status = std::fs::read_to_string(format!("/proc/{}/status", child.id())).expect("runs");
        let line = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:")).expect("a line");
        line.trim().to_owned()
    };
    assert_eq!((allowed(), group.read("cpuset.mems.effective").as_str()), (last.to_string(), "0"));
    group.update(&on("0"));
    assert_eq!(allowed(), "0");
    group.cgroups.kill(&group.path).expect("kills");
    child.wait().expect("is reaped");
}

#[test]
fn every_limit_of_the_processor_has_its_file() {
    let wanted = limits(json!({ "cpu": { "shares": 2048, "quota": 50_000, "burst": 20_000 } }));
    let Some(group) = Limited::new("cpu", &wanted) else { return };
    for (file, value) in [("cpu.weight", "174"), ("cpu.max", "50000 100000"), ("cpu.max.burst", "20000")] {
        assert_eq!(group.read(file), value, "{file}");
    }
    // A quota below the burst, and the burst that fits it: in whatever order the kernel takes them.
    group.update(&limits(json!({ "cpu": { "quota": 10_000, "burst": 5_000 } })));
    assert_eq!((group.read("cpu.max"), group.read("cpu.max.burst")), ("10000 100000".into(), "5000".into()));
    group.update(&limits(json!({ "cpu": { "period": 50_000 } })));
    assert_eq!(group.read("cpu.max"), "10000 50000", "who changes the period keeps the quota");
    group.update(&limits(json!({ "cpu": { "idle": 1 } })));
    assert_eq!(group.read("cpu.idle"), "1");
}

#[test]
fn a_frozen_group_can_be_killed() {
    let Some(group) = Limited::new("frozen", &LinuxResources::default()) else { return };
    let mut child = group.begin("sleep 100 & exec sleep 100");
    wait_for("both join", || group.pids().len() == 2);
    group.update(&limits(json!({ "unified": { "cgroup.freeze": "1" } })));
    wait_for("it is frozen", || group.count("cgroup.events", "frozen ") == 1);
    group.cgroups.kill(&group.path).expect("kills");
    assert!(group.pids().is_empty());
    child.wait().expect("is reaped");
    group.cgroups.remove(&group.path).expect("removes");
}

#[test]
fn killing_reaches_groups_that_the_container_made() {
    let Some(group) = Limited::new("nested", &LinuxResources::default()) else { return };
    // Stopped, nested, and below a group that has handed a controller down.
    let script = "mkdir -p $group/a/b && echo 0 > $group/a/b/cgroup.procs
        echo +pids > $group/cgroup.subtree_control || exit 1
        sleep 100 & kill -STOP $!; sleep 100 & exec sleep 100";
    let mut child = group.begin(script);
    wait_for("all are there", || group.pids().len() == 3);
    assert_eq!(group.cgroups.remove(&group.path).expect_err("in use").kind(), ErrorKind::InUse);
    assert_eq!(group.pids().len(), 3);
    group.cgroups.kill(&group.path).expect("kills");
    assert!(group.pids().is_empty());
    child.wait().expect("is reaped");
    group.cgroups.remove(&group.path).expect("removes");
    assert!(!std::path::Path::new(&group.directory()).exists());
    assert_eq!(group.cgroups.list(&group.parent).expect("lists"), [""; 0]);
}

/// A disk of this host, and its numbers.
fn disk() -> Option<(String, i64, i64)> {
    let found = std::fs::read_dir("/sys/block").ok()?.flatten().find_map(|entry| {
        let name = entry.file_name().into_string().ok().filter(|name| name.starts_with("vd"))?;
        let numbers = std::fs::read_to_string(entry.path().join("dev")).ok()?;
        let (major, minor) = numbers.trim().split_once(':')?;
        Some((format!("/dev/{name}"), major.parse().ok()?, minor.parse().ok()?))
    });
    if found.is_none() {
        println!("skipped: this host has no disk to slow down");
    }
    found
}

#[test]
fn a_disk_is_as_slow_as_it_should_be() {
    let Some(group) = Limited::new("io", &LinuxResources::default()) else { return };
    let Some((disk, major, minor)) = disk() else { return };
    let rates = |rate: u64| {
        let device = json!([{ "major": major, "minor": minor, "rate": rate }]);
        let block =
            json!({ "throttleReadBpsDevice": device, "throttleWriteIOPSDevice": device, "weight": 200 });
        limits(json!({ "blockIO": block }))
    };
    group.update(&rates(1 << 20));
    let line = format!("{major}:{minor} rbps=1048576 wbps=max riops=max wiops=1048576");
    assert_eq!(group.read("io.max"), line);
    let read = || {
        let begin = Instant::now();
        assert!(group.run(&format!("dd if={disk} of=/dev/null bs=64k count=32 iflag=direct")).success());
        begin.elapsed()
    };
    assert!(read() > Duration::from_millis(1200), "two megabytes, one in a second");
    // No rate is no limit, as in version 1.
    group.update(&rates(0));
    assert_eq!(group.read("io.max"), "");
}

#[test]
fn devices_are_made_and_opened_by_the_rules() {
    let (null, zero, urandom) = (Some(3), Some(5), Some(9));
    let Some(group) = Limited::new("devices", &devices(&[rule(true, null, "rwm"), rule(true, zero, "r")]))
    else {
        return;
    };
    let opens = |file: &str| group.run(&format!("exec 3< {file}")).success();
    let makes = |minor: i64| {
        let directory = tempfile::tempdir().expect("a directory");
        let node = directory.path().join("node");
        group.run(&format!("mknod {} c 1 {minor}", node.display())).success() && node.exists()
    };
    assert!(opens("/dev/null") && makes(3));
    assert!(opens("/dev/zero") && !makes(5), "it may be read and not made");
    assert!(!group.run("exec 3> /dev/zero").success(), "nor written");
    assert!(!opens("/dev/urandom") && !makes(9));

    // The new rules hold alone, and no matter how often they change there is one program.
    for _ in 0..3 {
        group.update(&devices(&[rule(true, null, "rw"), rule(true, urandom, "rm")]));
    }
    assert!(opens("/dev/null") && !makes(3));
    assert!(!opens("/dev/zero"));
    assert!(opens("/dev/urandom") && makes(9));
    let directory = std::fs::File::open(group.directory()).expect("opens");
    let programs = crate::sys::bpf::device_programs(std::os::fd::AsFd::as_fd(&directory)).expect("asks");
    assert_eq!(programs.len(), 1);

    group.update(&limits(json!({ "memory": { "limit": 64 << 20 } })));
    assert!(!opens("/dev/zero"), "other limits leave the rules alone");
    // All that a privileged container may do.
    group.update(&limits(json!({ "devices": [rule(true, None, "rwm")] })));
    assert!(opens("/dev/zero") && makes(5));
}

#[test]
fn many_rules_are_accepted_by_the_kernel() {
    let rules: Vec<_> = (0..500).map(|minor| rule(true, Some(minor), "rwm")).collect();
    let Some(group) = Limited::new("rules", &devices(&rules)) else { return };
    assert!(group.run("exec 3< /dev/zero").success());
    assert!(!group.run("exec 3< /dev/ptmx").success());
}

#[test]
fn a_parent_with_processes_is_named_with_what_to_do() {
    let Some(group) = Limited::new("parent", &LinuxResources::default()) else { return };
    let mut child = group.begin("exec sleep 100");
    wait_for("it joins", || !group.pids().is_empty());
    let below = format!("{}/below", group.path);
    let wanted = limits(json!({ "memory": { "limit": 64 << 20 } }));
    let error = group.cgroups.create(&below, &wanted).expect_err("cannot be limited");
    assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
    assert!(error.to_string().contains(&group.path), "{error}");
    assert!(error.remedy().is_some_and(|remedy| remedy.contains("move those processes")));
    assert!(!std::path::Path::new(&group.cgroups.processes(&below)).exists(), "nothing is left");

    // Without limits it is a group like any other.
    group.cgroups.create(&below, &devices(&[rule(true, Some(3), "rwm")])).expect("needs no controller");
    assert!(group.run("echo 0 > $group/below/cgroup.procs && exec 3< /dev/null").success());
    group.cgroups.remove(&below).expect("removes");

    // The remedy is one.
    let aside = format!("{}/aside", group.directory());
    std::fs::create_dir(&aside).expect("makes a group");
    std::fs::write(format!("{aside}/cgroup.procs"), child.id().to_string()).expect("moves");
    group.cgroups.create(&below, &wanted).expect("makes the group");
    group.cgroups.kill(&group.path).expect("kills");
    child.wait().expect("is reaped");
}

/// As in a container, whose processes are in what it sees as the root.
#[test]
fn an_engine_in_a_group_of_its_own_tells_what_it_cannot_limit() {
    let Some(group) = Limited::new("inside", &LinuxResources::default()) else { return };
    let mut child = group.begin("exec sleep 100");
    wait_for("it joins", || !group.pids().is_empty());
    let inside = Cgroups(Version::Two(v2::Tree::new(group.directory()).expect("a tree")));
    inside.create("/engine/one", &LinuxResources::default()).expect("without limits");
    assert!(group.run("echo 0 > $group/engine/one/cgroup.procs").success(), "it can be joined");
    inside.remove("/engine/one").expect("removes");
    let wanted = limits(json!({ "memory": { "limit": 64 << 20 } }));
    let error = inside.create("/engine/two", &wanted).expect_err("cannot be limited");
    assert!(error.to_string().contains(&format!("{} has processes", group.directory())), "{error}");
    group.cgroups.kill(&group.path).expect("kills");
    child.wait().expect("is reaped");
    inside.create("/engine/two", &wanted).expect("nobody is in the way");
}

#[test]
fn a_limit_that_is_refused_leaves_no_group() {
    let Some(group) = Limited::new("refused", &LinuxResources::default()) else { return };
    let path = format!("{}-more", group.path);
    for (file, value) in [("memory.max", "much"), ("pids.max", "-3"), ("cpu.max", "1"), ("io.max", "7:0 x=1")]
    {
        let wanted = limits(json!({ "unified": { file: value } }));
        let error = group.cgroups.create(&path, &wanted).expect_err(file);
        assert!(error.to_string().contains(&format!("{file} = {value}")), "{error}");
        assert!(matches!(error.kind(), ErrorKind::InvalidInput), "{error}");
    }
    assert_eq!(group.cgroups.list(&group.parent).expect("lists"), ["group"]);
}
