//! Health checks: run by the monitor in the container, told by ps and inspect.

use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::{Sandbox, eventually};

fn health(sandbox: &Sandbox, name: &str) -> Value {
    let text = sandbox.engine(&["inspect", "-f", "{{json .State}}", name]).ok().to_owned();
    serde_json::from_str::<Value>(&text).expect("JSON")["Health"].clone()
}

fn is(sandbox: &Sandbox, name: &str, status: &str) -> bool {
    health(sandbox, name)["Status"] == status
}

fn ps(sandbox: &Sandbox, filter: &str) -> String {
    sandbox.engine(&["ps", "-a", "--filter", filter, "--format", "{{.Names}} {{.Status}}"]).ok().to_owned()
}

fn actions(sandbox: &Sandbox) -> Vec<String> {
    let events = std::fs::read_to_string(sandbox.run_root().join("events")).expect("a journal");
    let action =
        |line: &str| serde_json::from_str::<Value>(line).expect("JSON")["Action"].as_str().map(str::to_owned);
    events.lines().filter_map(action).collect()
}

/// `engine run` of a container that sleeps, with a check.
fn run(sandbox: &Sandbox, name: &str, flags: &[&str]) {
    let words = [&["run", "-d", "--name", name], flags, &["busybox", "sleep", "1000"]].concat();
    sandbox.engine(&words).ok();
}

#[test]
fn a_container_starts_gets_well_and_falls_ill() {
    let sandbox = Sandbox::new("health");
    sandbox.busybox();
    let check = "test -e /well && echo fine \"as a fiddle\"";
    let flags = ["--health-cmd", check, "--health-interval", "300ms", "--health-retries", "3"];
    run(&sandbox, "app", &flags);
    assert!(ps(&sandbox, "health=starting").starts_with("app Up "), "{}", ps(&sandbox, "name=app"));
    assert!(ps(&sandbox, "name=app").ends_with(" (health: starting)"));
    sandbox.engine(&["exec", "app", "touch", "/well"]).ok();
    eventually(5, "it is well", || is(&sandbox, "app", "healthy"));
    assert!(ps(&sandbox, "health=healthy").ends_with(" (healthy)"));
    assert_eq!(ps(&sandbox, "health=unhealthy"), "");
    let well = health(&sandbox, "app");
    let last = well["Log"].as_array().and_then(|log| log.last()).expect("a result").clone();
    assert_eq!((last["ExitCode"].as_i64(), last["Output"].as_str()), (Some(0), Some("fine as a fiddle\n")));
    assert!(last["Start"].as_str() < last["End"].as_str(), "{last}");
    assert_eq!(well["FailingStreak"], 0);
    sandbox.engine(&["exec", "app", "rm", "/well"]).ok();
    eventually(5, "it is ill", || is(&sandbox, "app", "unhealthy"));
    assert!(ps(&sandbox, "health=unhealthy").ends_with(" (unhealthy)"));
    eventually(5, "five results are kept", || {
        let ill = health(&sandbox, "app");
        ill["FailingStreak"].as_u64() > Some(5) && ill["Log"].as_array().map(Vec::len) == Some(5)
    });
    let told: Vec<String> =
        actions(&sandbox).into_iter().filter(|action| action.starts_with("health_status")).collect();
    assert_eq!(told, ["health_status: healthy", "health_status: unhealthy"]);
    sandbox.engine(&["stop", "-t", "0", "app"]).ok();
    assert!(is(&sandbox, "app", "unhealthy"), "as docker has it");
    assert_eq!(health(&sandbox, "app")["Log"].as_array().map(Vec::len), Some(5), "what it said last is kept");
    run(&sandbox, "plain", &[]);
    assert_eq!(health(&sandbox, "plain"), Value::Null);
    assert!(ps(&sandbox, "health=none").starts_with("plain "));
    sandbox.engine(&["ps", "--filter", "health=good"]).fails(1, ["health=good", "unhealthy"]);
}

#[test]
fn a_check_that_takes_too_long_is_killed_with_what_it_started() {
    let sandbox = Sandbox::new("health-timeout");
    sandbox.busybox();
    let check = "echo begun; sleep 4711 & sleep 4712";
    let flags = [
        "--health-cmd",
        check,
        "--health-interval",
        "200ms",
        "--health-timeout",
        "300ms",
        "--health-retries",
        "1",
    ];
    run(&sandbox, "slow", &flags);
    eventually(5, "it is ill", || is(&sandbox, "slow", "unhealthy"));
    let log = health(&sandbox, "slow")["Log"].clone();
    let result = &log.as_array().expect("results")[0];
    assert_eq!(result["ExitCode"], -1);
    assert_eq!(result["Output"], "Health check exceeded timeout (300ms): begun\n");
    // At most the check that runs right now.
    let processes = sandbox.engine(&["exec", "slow", "ps"]).stdout;
    assert!(processes.matches("4711").count() <= 2, "{processes}");
}

#[test]
fn a_check_is_run_as_the_program_is() {
    let sandbox = Sandbox::new("health-as");
    sandbox.busybox();
    let check = "id -un; pwd; echo $COLOUR; cat /proc/self/cgroup | head -n1 | grep -c /; \
                 grep Seccomp: /proc/self/status; grep CapEff /proc/self/status; cat; tail -c 9999 /bin/busybox | \
                 od | head -c 9999";
    let flags = [
        "--health-cmd",
        check,
        "--health-interval",
        "100ms",
        "-u",
        "mail",
        "-w",
        "/tmp",
        "-e",
        "COLOUR=blue",
    ];
    run(&sandbox, "as", &flags);
    eventually(5, "it was checked", || is(&sandbox, "as", "healthy"));
    let log = health(&sandbox, "as")["Log"].clone();
    let output = log.as_array().expect("results")[0]["Output"].as_str().expect("text").to_owned();
    let lines: Vec<&str> = output.lines().collect();
    assert_eq!(lines[..3], ["mail", "/tmp", "blue"]);
    assert_eq!(lines[4..6], ["Seccomp:\t2", "CapEff:\t0000000000000000"]);
    assert!(output.ends_with("..."), "what is said at length is cut");
    assert_eq!(output.len(), 4096 + 3);
}

#[test]
fn a_check_that_cannot_be_run_is_a_failed_one_and_says_why() {
    let sandbox = Sandbox::new("health-missing");
    let layout = r#"{"Cmd": ["/bin/sleep", "1000"], "Healthcheck": {"Test": ["CMD", "nosuch", "x"], "Interval": 200000000, "Retries": 1}}"#;
    image(&sandbox, "checked", layout);
    sandbox.engine(&["run", "-d", "--name", "app", "checked"]).ok();
    eventually(5, "it is ill", || is(&sandbox, "app", "unhealthy"));
    let text = health(&sandbox, "app")["Log"][0].to_string();
    assert!(text.contains("nosuch") && text.contains("not found"), "{text}");
    // What the user says comes before what the image says.
    sandbox.engine(&["run", "-d", "--name", "other", "--health-cmd", "true", "checked"]).ok();
    eventually(5, "it is well", || is(&sandbox, "other", "healthy"));
    let test = sandbox.engine(&["inspect", "-f", "{{json .Config.Healthcheck}}", "other"]).ok().to_owned();
    assert_eq!(test, r#"{"Interval":200000000,"Retries":1,"Test":["CMD-SHELL","true"]}"#);
    sandbox.engine(&["run", "-d", "--name", "none", "--no-healthcheck", "checked"]).ok();
    assert_eq!(health(&sandbox, "none"), Value::Null);
}

/// An image of busybox with a configuration of its own.
fn image(sandbox: &Sandbox, name: &str, config: &str) {
    let layout = sandbox.dir().join("layout");
    crate::support::fixture::oci_layout(&crate::support::fixture::busybox_tar(), &layout);
    let script = r#"
import hashlib, json, os, sys
layout, config = sys.argv[1], json.loads(sys.argv[2])
blob = lambda digest: os.path.join(layout, "blobs", "sha256", digest.split(":")[1])
def put(document):
    data = json.dumps(document).encode()
    digest = "sha256:" + hashlib.sha256(data).hexdigest()
    open(blob(digest), "wb").write(data)
    return digest, len(data)
index = json.load(open(os.path.join(layout, "index.json")))
manifest = json.load(open(blob(index["manifests"][0]["digest"])))
image = json.load(open(blob(manifest["config"]["digest"])))
image["config"].update(config)
manifest["config"]["digest"], manifest["config"]["size"] = put(image)
index["manifests"][0]["digest"], index["manifests"][0]["size"] = put(manifest)
index["manifests"][0]["annotations"]["org.opencontainers.image.ref.name"] = "docker.io/library/checked:latest"
index["manifests"][0]["annotations"]["io.containerd.image.name"] = "docker.io/library/checked:latest"
json.dump(index, open(os.path.join(layout, "index.json"), "w"))
"#;
    let layout = layout.to_str().expect("a path");
    sandbox.host(&["python3", "-c", script, layout, config]).ok();
    let tar = format!("{layout}.tar");
    sandbox.host(&["tar", "-C", layout, "-cf", &tar, "."]).ok();
    let loaded = sandbox.engine(&["load", "-i", &tar]).ok().to_owned();
    assert!(loaded.contains(name), "{loaded}");
}

#[test]
fn failures_while_it_starts_do_not_count_and_checks_are_closer_then() {
    let sandbox = Sandbox::new("health-start");
    sandbox.busybox();
    let flags = [
        "--health-cmd",
        "false",
        "--health-interval",
        "1h",
        "--health-start-period",
        "1s",
        "--health-start-interval",
        "100ms",
        "--health-retries",
        "1",
    ];
    let begin = Instant::now();
    run(&sandbox, "app", &flags);
    eventually(5, "it was checked several times", || {
        health(&sandbox, "app")["Log"].as_array().map(Vec::len) > Some(2)
    });
    if begin.elapsed() < Duration::from_millis(900) {
        assert!(is(&sandbox, "app", "starting"));
    }
    assert_eq!(health(&sandbox, "app")["FailingStreak"], 0);
}

#[test]
fn every_life_is_checked_anew_and_a_check_does_not_keep_it_from_ending() {
    let sandbox = Sandbox::new("health-lives");
    sandbox.busybox();
    let words = [
        "run",
        "-d",
        "--name",
        "lives",
        "--restart",
        "always",
        "--health-cmd",
        "echo x >> /checks; sleep 1000",
        "--health-interval",
        "100ms",
        "--health-retries",
        "1",
        "busybox",
        "sh",
        "-c",
        "while test $(wc -l < /checks || echo 0) -lt 1; do sleep 0.1; done; rm /checks; exit 1",
    ];
    sandbox.engine(&words).ok();
    eventually(10, "it lives several times", || {
        sandbox
            .engine(&["inspect", "-f", "{{.RestartCount}}", "lives"])
            .ok()
            .parse::<u32>()
            .is_ok_and(|n| n >= 3)
    });
    let begin = Instant::now();
    sandbox.engine(&["stop", "-t", "1", "lives"]).ok();
    assert!(begin.elapsed() < Duration::from_secs(4), "{:?}", begin.elapsed());
    let ill = actions(&sandbox).into_iter().filter(|action| action.contains("unhealthy")).count();
    assert_eq!(ill, 0, "a check that ended with its container is no sign of illness");
}

#[test]
fn a_killed_monitor_takes_its_check_along() {
    let sandbox = Sandbox::new("health-killed");
    sandbox.busybox();
    run(&sandbox, "app", &["--health-cmd", "sleep 1000", "--health-interval", "100ms"]);
    let find = || sandbox.engine(&["exec", "app", "pidof", "sleep"]).stdout.split_whitespace().count();
    eventually(5, "the check runs", || find() > 1);
    let pid = sandbox.engine(&["inspect", "-f", "{{.State.Pid}}", "app"]).ok().to_owned();
    let namespace = std::fs::read_link(format!("/proc/{pid}/ns/pid")).expect("it runs");
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("it runs");
    let monitor = status.lines().find_map(|line| line.strip_prefix("PPid:\t")).expect("a parent").to_owned();
    sandbox.host(&["kill", "-9", &monitor]).ok();
    // Whoever takes in orphans may take a while to bury them.
    let alive = |path: &std::path::Path| {
        std::fs::read_to_string(path.join("status")).is_ok_and(|text| !text.contains("State:\tZ"))
    };
    let inside = || {
        let processes = std::fs::read_dir("/proc").expect("reads").flatten().map(|entry| entry.path());
        let inside =
            processes.filter(|path| std::fs::read_link(path.join("ns/pid")).is_ok_and(|ns| ns == namespace));
        let left: Vec<_> = inside.filter(|path| alive(path)).collect();
        left.iter()
            .for_each(|path| println!("{:?} {:?}", path, std::fs::read_to_string(path.join("status"))));
        left.len()
    };
    eventually(2, "nobody is in the container any more", || inside() == 0);
}

#[test]
fn flags_that_contradict_each_other_are_refused() {
    let sandbox = Sandbox::new("health-flags");
    sandbox.busybox();
    for (flags, says) in [
        (
            &["--no-healthcheck", "--health-cmd", "x"][..],
            "--no-healthcheck conflicts with --health-* options",
        ),
        (&["--health-interval", "-1s"], "--health-interval cannot be negative"),
        (&["--health-timeout", "10us"], "Timeout in Healthcheck cannot be less than 1ms"),
        (&["--health-start-period", "soon"], "invalid argument \"soon\" for \"--health-start-period\" flag"),
    ] {
        sandbox.engine(&[&["run"], flags, &["busybox", "true"]].concat()).fails(125, [says]);
    }
}
