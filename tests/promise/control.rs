//! Containers that are held still, changed and looked into while they run.

use std::time::{Duration, Instant};

use crate::support::{Ran, Sandbox, eventually};

/// A container that writes a line every moment.
const BUSY: &str = "i=0; while :; do i=$((i+1)); echo $i; sleep 0.05; done";

fn busy(name: &str) -> Sandbox {
    let sandbox = Sandbox::new(name);
    sandbox.busybox();
    sandbox.engine(&["run", "-d", "--name", "web", "busybox", "sh", "-c", BUSY]).ok();
    eventually(10, "it runs", || !sandbox.engine(&["logs", "web"]).stdout.is_empty());
    sandbox
}

fn shown(sandbox: &Sandbox, format: &str) -> String {
    sandbox.engine(&["inspect", "-f", format, "web"]).ok().to_owned()
}

fn lines(sandbox: &Sandbox) -> usize {
    sandbox.engine(&["logs", "web"]).ok().lines().count()
}

#[test]
fn a_paused_container_holds_still_until_it_is_unpaused() {
    let sandbox = busy("pause");
    assert_eq!(sandbox.engine(&["pause", "web"]).ok(), "web");
    let before = lines(&sandbox);
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(lines(&sandbox), before);
    let state = "{{.State.Status}} {{.State.Paused}} {{.State.Running}} {{.State.ExitCode}}";
    assert_eq!(shown(&sandbox, state), "paused true true 0");
    let status = sandbox.engine(&["ps", "--format", "{{.State}} {{.Status}}"]).ok().to_owned();
    assert!(status.starts_with("paused Up ") && status.ends_with(" (Paused)"), "{status}");
    for (filter, names) in [("status=paused", "web"), ("status=running", ""), ("status=exited", "")] {
        assert_eq!(sandbox.engine(&["ps", "-f", filter, "--format", "{{.Names}}"]).ok(), names, "{filter}");
    }
    assert_eq!(sandbox.engine(&["unpause", "web"]).ok(), "web");
    assert_eq!(shown(&sandbox, state), "running false true 0");
    eventually(10, "it goes on", || lines(&sandbox) > before);
    // By the long names, and several at once.
    sandbox.engine(&["run", "-d", "--name", "other", "busybox", "sleep", "1000"]).ok();
    assert_eq!(sandbox.engine(&["container", "pause", "web", "other"]).ok(), "web\nother");
    assert_eq!(sandbox.engine(&["container", "unpause", "web", "other"]).ok(), "web\nother");
}

#[test]
fn a_container_is_paused_once_and_only_while_it_runs() {
    let sandbox = busy("pause-twice");
    sandbox.engine(&["unpause", "web"]).fails(1, ["web", "is not paused"]);
    sandbox.engine(&["pause", "web"]).ok();
    sandbox.engine(&["pause", "web"]).fails(1, ["web", "is already paused"]);
    sandbox.engine(&["create", "--name", "idle", "busybox", "true"]).ok();
    let ran = sandbox.engine(&["pause", "idle", "nosuch"]);
    ran.fails(1, ["idle", "is not running", "nosuch"]);
    assert_eq!(ran.stdout, "");
    sandbox.engine(&["unpause", "idle"]).fails(1, ["idle", "is not paused"]);
    sandbox.engine(&["run", "-d", "--name", "again", "--restart", "always", "busybox", "false"]).ok();
    eventually(20, "it waits to be started again", || {
        sandbox
            .engine(&["pause", "again"])
            .stderr
            .contains("is restarting, wait until the container is running")
    });
    sandbox.engine(&["pause"]).fails(1, ["Usage:"]);
    sandbox.engine(&["unpause"]).fails(1, ["Usage:"]);
}

#[test]
fn what_would_wait_for_a_paused_container_is_refused() {
    let sandbox = busy("pause-refuses");
    sandbox.engine(&["pause", "web"]).ok();
    let exec = sandbox.engine(&["exec", "web", "true"]);
    exec.fails(1, ["web", "is paused, unpause the container before exec"]);
    sandbox.engine(&["attach", "web"]).fails(1, ["web", "is paused, unpause the container before attach"]);
    sandbox.engine(&["start", "web"]).fails(1, ["cannot start a paused container, try unpause instead"]);
    sandbox.engine(&["rm", "web"]).fails(1, ["web", "container is paused and must be unpaused first"]);
    assert_eq!(shown(&sandbox, "{{.State.Status}}"), "paused");
    sandbox.engine(&["unpause", "web"]).ok();
    sandbox.engine(&["exec", "web", "true"]).ok();
}

#[test]
fn a_paused_container_can_be_ended() {
    let sandbox = Sandbox::new("pause-ends");
    sandbox.busybox();
    let polite = "trap 'exit 7' TERM; while :; do sleep 0.05; done";
    let run = |name: &str| {
        sandbox.engine(&["run", "-d", "--name", name, "busybox", "sh", "-c", polite]).ok();
        std::thread::sleep(Duration::from_millis(200));
        sandbox.engine(&["pause", name]).ok();
    };
    let code = |name: &str| {
        sandbox.engine(&["inspect", "-f", "{{.State.Status}} {{.State.ExitCode}}", name]).ok().to_owned()
    };
    let quick = |ran: Ran, begin: Instant, name: &str| {
        assert_eq!(ran.ok(), name);
        assert!(begin.elapsed() < Duration::from_secs(5), "{name}: {:?}", begin.elapsed());
    };
    for (name, words, told) in [
        ("stopped", ["stop", "stopped"].as_slice(), "exited 7"),
        ("killed", &["kill", "killed"], "exited 137"),
        ("termed", &["kill", "-s", "TERM", "termed"], "exited 7"),
        ("again", &["restart", "again"], "running 0"),
    ] {
        run(name);
        let begin = Instant::now();
        quick(sandbox.engine(words), begin, name);
        eventually(5, told, || code(name) == told);
    }
    run("gone");
    let begin = Instant::now();
    quick(sandbox.engine(&["rm", "-f", "gone"]), begin, "gone");
    sandbox.engine(&["inspect", "gone"]).fails(1, ["gone"]);
    // Any other signal is heard when it goes on.
    run("told");
    sandbox.engine(&["kill", "-s", "HUP", "told"]).ok();
    assert_eq!(code("told"), "paused 0");
    sandbox.engine(&["unpause", "told"]).ok();
    assert_eq!(sandbox.engine(&["wait", "told"]).ok(), "129");
}

#[test]
fn the_health_of_a_paused_container_is_not_checked() {
    let sandbox = Sandbox::new("pause-health");
    sandbox.busybox();
    let check = "echo x >> /checks; sleep 0.3";
    let flags = ["--health-cmd", check, "--health-interval", "200ms", "--health-timeout", "1s"];
    let run = [["run", "-d", "--name", "web", "--health-retries", "1"].as_slice(), &flags];
    sandbox.engine(&[run.concat().as_slice(), &["busybox", "sleep", "1000"]].concat()).ok();
    let health = || shown(&sandbox, "{{.State.Health.Status}} {{.State.Health.FailingStreak}}");
    eventually(20, "it is well", || health() == "healthy 0");
    // A check may be at work then; it does not count how long it is held.
    for _ in 0..2 {
        sandbox.engine(&["pause", "web"]).ok();
        std::thread::sleep(Duration::from_millis(2500));
        assert_eq!(health(), "healthy 0");
        sandbox.engine(&["unpause", "web"]).ok();
        let checks = || sandbox.engine(&["exec", "web", "wc", "-l", "/checks"]).ok().to_owned();
        let before = checks();
        eventually(10, "it is checked again", || checks() != before);
        assert_eq!(health(), "healthy 0");
    }
}
