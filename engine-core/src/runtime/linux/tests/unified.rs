//! Containers in groups of version 2. They have something to look at only where it rules alone; see `cargo xtask
//! vm-test`.

use std::path::PathBuf;

use serde_json::{Value, json};

use super::fixture::{Fixture, LIMIT, eventually, exec_bundle, is_alive, text};
use super::lives::checked;
use crate::runtime::driver::{Place, Runtime, State};
use crate::runtime::session::Frame;
use crate::spec::{AttachSpec, HealthStatus, RestartPolicy, Signal};

/// A fixture, if this host's groups are of version 2.
fn unified() -> Option<Fixture> {
    if std::path::Path::new("/sys/fs/cgroup/cgroup.controllers").exists() {
        return Some(Fixture::new());
    }
    println!("skipped: version 1 rules here; see cargo xtask vm-test");
    None
}

/// The directory of the container's group.
fn group(fixture: &Fixture, place: &Place) -> PathBuf {
    fixture.runtime.host.cgroups.find(&place.cgroup).born.expect("a group of version 2").into()
}

/// What a shell script prints that exec runs in the container.
async fn exec(fixture: &Fixture, place: &Place, script: &str) -> String {
    let session = fixture.runtime.exec(place, exec_bundle(&["sh", "-c", script])).await.expect("executes");
    let (stdout, stderr, _) = session.output(LIMIT).await.expect("talks");
    text(stdout) + &text(stderr)
}

/// The container's own groups can be changed from inside, as they can in a privileged one.
fn writable(config: &mut Value) {
    for mount in config["mounts"].as_array_mut().expect("a list") {
        if mount["type"] == "cgroup" {
            mount["options"] = json!(["nosuid", "noexec", "nodev", "relatime"]);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_container_sees_its_own_group_as_the_root() {
    let Some(fixture) = unified() else { return };
    let script = "cat /proc/self/cgroup /sys/fs/cgroup/memory.max /sys/fs/cgroup/pids.max
        grep -c ' /sys/fs/cgroup ' /proc/self/mountinfo; cat /sys/fs/cgroup/cgroup.controllers; sleep 1000";
    let bundle = fixture.bundle_with(&["sh", "-c", script], |config| {
        config["linux"]["resources"] = json!({ "memory": { "limit": 64 << 20 }, "pids": { "limit": 20 } });
    });
    let place = bundle.place.clone();
    fixture.runtime.create(bundle).await.expect("creates");
    let mut session = fixture.runtime.attach(&place, AttachSpec::OUTPUT).await.expect("attaches");
    fixture.runtime.start(&place).await.expect("starts");
    let mut heard = String::new();
    while heard.lines().count() < 5 {
        match session.next().await.expect("talks") {
            Some(Frame::Stdout(bytes)) => heard += &String::from_utf8_lossy(&bytes),
            other => panic!("{other:?} after {heard}"),
        }
    }
    let lines: Vec<&str> = heard.lines().collect();
    assert_eq!(lines.get(..4), Some(["0::/", "67108864", "20", "1"].as_slice()));
    assert!(lines[4].contains("memory") && lines[4].contains("pids"), "{heard}");

    // Another process sees the same, and is in the same group for the host.
    assert_eq!(exec(&fixture, &place, "cat /proc/self/cgroup /sys/fs/cgroup/pids.max").await, "0::/\n20\n");
    let resources = serde_json::from_value(json!({ "pids": { "limit": 21 } })).expect("limits");
    fixture.runtime.update(&place, &resources).await.expect("updates");
    assert_eq!(exec(&fixture, &place, "cat /sys/fs/cgroup/pids.max").await, "21\n");
    let denied =
        exec(&fixture, &place, "echo max > /sys/fs/cgroup/pids.max; cat /sys/fs/cgroup/pids.max").await;
    assert!(denied.starts_with("21\n"), "{denied}");
    fixture.runtime.delete(&place).await.expect("deletes");
    assert_eq!(fixture.left(&place), Vec::<String>::new());
}

/// As systemd or another engine does inside: processes in groups below, which have controllers of their own.
#[tokio::test(flavor = "multi_thread")]
async fn a_container_that_divides_its_group_can_be_entered_and_leaves_nothing() {
    let Some(fixture) = unified() else { return };
    let script = "mkdir -p /sys/fs/cgroup/a/b && echo 0 > /sys/fs/cgroup/a/b/cgroup.procs
        echo +memory +pids > /sys/fs/cgroup/cgroup.subtree_control && echo > /tmp/ready; sleep 1000";
    let place = fixture.begin(fixture.bundle_with(&["sh", "-c", script], writable)).await;
    let ready = fixture.root().join("tmp/ready");
    eventually("the container divides its group", || ready.exists()).await;
    assert_eq!(exec(&fixture, &place, "cat /proc/self/cgroup").await, "0::/a/b\n");
    fixture.runtime.kill(&place, Signal::KILL).await.expect("kills");
    fixture.runtime.wait(&place).await.expect("waits").expect("ended with a record");
    assert!(!group(&fixture, &place).exists(), "its monitor removes it all");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_hides_in_a_group_below_ends_with_the_container() {
    let Some(fixture) = unified() else { return };
    let script = "mkdir /sys/fs/cgroup/below; (echo 0 > /sys/fs/cgroup/below/cgroup.procs; exec sleep 1234) > /dev/null 2>&1 &
        while ! grep -q . /sys/fs/cgroup/below/cgroup.procs; do sleep 0.01; done; echo $!";
    let bundle = fixture.bundle_with(&["sh", "-c", script], |config| {
        writable(config);
        config["linux"]["namespaces"].as_array_mut().expect("a list").retain(|kind| kind["type"] != "pid");
    });
    let place = bundle.place.clone();
    fixture.runtime.create(bundle).await.expect("creates");
    let session = fixture.runtime.attach(&place, AttachSpec::OUTPUT).await.expect("attaches");
    fixture.runtime.start(&place).await.expect("starts");
    let (stdout, stderr, _) = session.output(LIMIT).await.expect("talks");
    let pid: u32 = text(stdout).trim().parse().unwrap_or_else(|e| panic!("{e}: {}", text(stderr)));
    assert!(!is_alive(pid));
    assert!(!group(&fixture, &place).exists());
}

/// Docker's rules: all may be made, few opened.
#[tokio::test(flavor = "multi_thread")]
async fn a_container_opens_only_devices_that_it_may() {
    let Some(fixture) = unified() else { return };
    let script = "mknod /tmp/kmsg c 1 11 && mknod /tmp/zero c 1 5 && echo made
        (exec 3< /tmp/kmsg) 2> /dev/null && echo kmsg; (exec 3< /tmp/zero) && echo zero
        head -c 3 /dev/urandom | wc -c; echo x > /dev/null && echo null";
    let bundle = fixture.bundle_with(&["sh", "-c", script], |config| {
        let rule = |major: i64, minor: i64| json!({ "allow": true, "type": "c", "major": major, "minor": minor, "access": "rwm" });
        config["linux"]["resources"] = json!({ "devices": [
            { "allow": false, "access": "rwm" },
            { "allow": true, "type": "c", "access": "m" }, { "allow": true, "type": "b", "access": "m" },
            rule(1, 3), rule(1, 5), rule(1, 7), rule(1, 8), rule(1, 9), rule(5, 0), rule(5, 2), rule(136, -1),
        ] });
    });
    let said = fixture.run(bundle).await;
    assert_eq!(said.stdout, "made\nzero\n3\nnull\n", "{said:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_container_that_divides_its_group_is_checked_and_lives_again() {
    let Some(fixture) = unified() else { return };
    let script = "mkdir -p /sys/fs/cgroup/a/b && echo 0 > /sys/fs/cgroup/a/b/cgroup.procs
        until echo +memory +pids > /sys/fs/cgroup/cgroup.subtree_control; do sleep 0.01; done; sleep 1000";
    let mut bundle = fixture.bundle_with(&["sh", "-c", script], writable);
    bundle.restart = RestartPolicy::Always;
    let bundle = checked(&fixture, bundle, "cat /proc/self/cgroup; grep -q a/b /proc/self/cgroup");
    let place = fixture.begin(bundle).await;
    let state = || match fixture.runtime.state(&place).expect("has a state") {
        State::Running { status: Some(status), .. } => (status.restarts, status.health),
        _ => (0, None),
    };
    eventually("it is well", || state() == (0, Some(HealthStatus::Healthy))).await;
    fixture.runtime.kill(&place, Signal::KILL).await.expect("kills");
    eventually("it is well in its next life", || state() == (1, Some(HealthStatus::Healthy))).await;
    fixture.runtime.end(&place, Signal::KILL).await.expect("ends");
    fixture.runtime.wait(&place).await.expect("waits").expect("ended with a record");
    assert!(!group(&fixture, &place).exists(), "its monitor removes it all");
}
