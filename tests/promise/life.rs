//! The life of a container that runs in the background.

use std::time::{Duration, Instant};

use crate::support::{Sandbox, eventually};

#[test]
fn a_detached_container_lives_on_and_is_handled_from_other_processes() {
    let sandbox = Sandbox::new("detached");
    sandbox.busybox();
    let id = sandbox
        .engine(&["run", "-d", "--name", "web", "busybox", "sh", "-c", "echo one; sleep 1000; true"])
        .ok()
        .to_owned();
    assert_eq!(id.len(), 64);
    let ps = sandbox.engine(&["ps", "--format", "{{.ID}} {{.Names}} {{.Image}} {{.Status}}"]).ok().to_owned();
    assert!(ps.starts_with(&format!("{} web busybox Up ", &id[..12])), "{ps}");
    eventually(5, "its output is logged", || sandbox.engine(&["logs", "web"]).stdout == "one\n");
    assert_eq!(sandbox.engine(&["exec", "web", "cat", "/proc/1/comm"]).ok(), "sh");
    assert_eq!(sandbox.engine(&["exec", "web", "sh", "-c", "exit 9"]).code, 9);
    sandbox.engine(&["exec", "web", "nosuch"]).fails(127, ["nosuch"]);
    sandbox.engine(&["rm", "web"]).fails(1, ["web", "running"]);
    assert_eq!(sandbox.engine(&["kill", "web"]).ok(), "web");
    assert_eq!(
        sandbox.engine(&["inspect", "-f", "{{.State.Status}} {{.State.ExitCode}}", "web"]).ok(),
        "exited 137"
    );
    assert_eq!(sandbox.engine(&["rm", "web"]).ok(), "web");
    sandbox.engine(&["inspect", "web"]).fails(1, ["web"]);
}

#[test]
fn stop_asks_first_and_then_insists() {
    let sandbox = Sandbox::new("stop");
    sandbox.busybox();
    let polite = "trap 'echo bye; exit 0' TERM; echo ready; while true; do sleep 0.1; done";
    let stubborn = "trap '' TERM; echo ready; while true; do sleep 0.1; done";
    for (name, script) in [("polite", polite), ("stubborn", stubborn)] {
        sandbox.engine(&["run", "-d", "--name", name, "busybox", "sh", "-c", script]).ok();
        eventually(10, "it is ready", || sandbox.engine(&["logs", name]).stdout.contains("ready"));
    }
    sandbox.engine(&["stop", "polite"]).ok();
    assert_eq!(sandbox.engine(&["inspect", "-f", "{{.State.ExitCode}}", "polite"]).ok(), "0");
    assert!(sandbox.engine(&["logs", "polite"]).ok().ends_with("bye"));
    let begin = Instant::now();
    sandbox.engine(&["stop", "-t", "1", "stubborn"]).ok();
    assert!(begin.elapsed() >= Duration::from_secs(1));
    assert_eq!(sandbox.engine(&["inspect", "-f", "{{.State.ExitCode}}", "stubborn"]).ok(), "137");
}

#[test]
fn a_container_is_started_again_with_its_files() {
    let sandbox = Sandbox::new("restart");
    sandbox.busybox();
    sandbox
        .engine(&["create", "--name", "again", "busybox", "sh", "-c", "echo x >> /file; wc -l < /file"])
        .ok();
    assert_eq!(sandbox.engine(&["ps", "-a", "--format", "{{.Status}}"]).ok(), "Created");
    for n in 1..=3 {
        assert_eq!(sandbox.engine(&["start", "-a", "again"]).ok().trim(), n.to_string());
    }
    assert_eq!(sandbox.engine(&["logs", "again"]).ok(), "1\n2\n3");
    sandbox.engine(&["rename", "again", "other"]).ok();
    sandbox.engine(&["restart", "-t", "0", "other"]).ok();
    assert_eq!(sandbox.engine(&["wait", "other"]).ok(), "0");
}

#[test]
fn logs_follow_until_the_end_and_can_be_cut() {
    let sandbox = Sandbox::new("logs");
    sandbox.busybox();
    let script = "for i in 1 2 3 4 5; do echo $i; sleep 0.2; done; echo oops >&2";
    sandbox.engine(&["run", "-d", "--name", "lines", "busybox", "sh", "-c", script]).ok();
    let followed = sandbox.engine(&["logs", "-f", "lines"]);
    assert_eq!((followed.stdout.as_str(), followed.stderr.as_str()), ("1\n2\n3\n4\n5\n", "oops\n"));
    assert_eq!(sandbox.engine(&["logs", "--tail", "2", "lines"]).stdout, "5\n");
    assert_eq!(
        sandbox.engine(&["logs", "--since", "1h", "--until", "2020-01-01T00:00:00Z", "lines"]).ok(),
        ""
    );
    let stamped = sandbox.engine(&["logs", "-t", "--tail", "2", "lines"]);
    assert!(stamped.stdout.contains("Z 5"), "{stamped:?}");
}

#[test]
fn attach_sees_the_output_and_detaching_leaves_it_running() {
    let sandbox = Sandbox::new("attach");
    sandbox.busybox();
    sandbox.engine(&["run", "-d", "-i", "--name", "att", "busybox", "cat"]).ok();
    let engine = env!("CARGO_BIN_EXE_engine");
    // Its standard input stays open when that of a client ends: it goes on, and so does the client.
    let ran = sandbox.host(&[
        "bash",
        "-c",
        &format!("echo through | timeout 2 {engine} attach --sig-proxy=false att"),
    ]);
    assert_eq!((ran.code, ran.stdout.as_str()), (124, "through\n"), "{ran:?}");
    assert_eq!(sandbox.engine(&["inspect", "-f", "{{.State.Running}}", "att"]).ok(), "true");
    sandbox.engine(&["run", "-d", "-it", "--name", "term", "busybox", "sh"]).ok();
    // The shell of `script` types ^P^Q into the terminal a moment after the client has attached.
    let ran = sandbox.host(&["bash", "-c", &format!("(sleep 1; printf 'echo in; '; printf '\\020\\021'; sleep 1) | script -qec '{engine} attach term' /dev/null")]);
    assert_eq!(ran.code, 0, "{ran:?}");
    assert_eq!(sandbox.engine(&["inspect", "-f", "{{.State.Running}}", "term"]).ok(), "true");
}

#[test]
fn a_container_of_a_killed_client_goes_on() {
    let sandbox = Sandbox::new("orphan");
    sandbox.busybox();
    let mut client = sandbox.engine_in_background(&[
        "run",
        "--name",
        "orphan",
        "busybox",
        "sh",
        "-c",
        "echo ready; sleep 1000",
    ]);
    eventually(10, "it runs", || sandbox.engine(&["logs", "orphan"]).stdout.contains("ready"));
    client.kill();
    assert_eq!(sandbox.engine(&["ps", "-q"]).ok().lines().count(), 1);
    assert_eq!(sandbox.engine(&["logs", "orphan"]).ok(), "ready");
    sandbox.engine(&["stop", "-t", "0", "orphan"]).ok();
    sandbox.engine(&["rm", "orphan"]).ok();
}

#[test]
fn a_container_that_removes_itself_does_so_when_nobody_waits() {
    let sandbox = Sandbox::new("autorm");
    sandbox.busybox();
    sandbox.engine(&["run", "-d", "--rm", "--name", "brief", "-v", "/data", "busybox", "sleep", "0.2"]).ok();
    eventually(10, "it is gone", || sandbox.engine(&["ps", "-aq"]).ok().is_empty());
    assert_eq!(sandbox.engine(&["volume", "ls", "-q"]).ok(), "", "its anonymous volume stayed");
}

#[test]
fn a_lost_monitor_is_told_and_not_guessed() {
    let sandbox = Sandbox::new("lost");
    sandbox.busybox();
    sandbox.engine(&["run", "-d", "--name", "lost", "busybox", "sleep", "1000"]).ok();
    let pid = sandbox.engine(&["inspect", "-f", "{{.State.Pid}}", "lost"]).ok().to_owned();
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("it runs");
    let monitor = status.lines().find_map(|line| line.strip_prefix("PPid:\t")).expect("a parent").to_owned();
    sandbox.host(&["kill", "-9", &monitor]).ok();
    // Whoever takes in orphans may take a while to bury them.
    let dead = |status: String| status.contains("State:\tZ");
    eventually(2, "its program ends with it", || {
        std::fs::read_to_string(format!("/proc/{pid}/status")).map_or(true, dead)
    });
    assert_eq!(
        sandbox.engine(&["inspect", "-f", "{{.State.Running}} {{.State.ExitCode}}", "lost"]).ok(),
        "false 255"
    );
    assert_eq!(sandbox.engine(&["start", "lost"]).ok(), "lost", "it can be started again");
}

#[test]
fn stopped_containers_are_pruned_and_running_ones_are_not() {
    let sandbox = Sandbox::new("prune");
    sandbox.busybox();
    sandbox.engine(&["run", "--name", "done", "busybox", "true"]).ok();
    sandbox.engine(&["run", "-d", "--name", "on", "busybox", "sleep", "1000"]).ok();
    assert!(sandbox.engine(&["container", "prune", "-f"]).ok().contains("Total reclaimed space"));
    assert_eq!(sandbox.engine(&["ps", "-a", "--format", "{{.Names}}"]).ok(), "on");
}
