//! Containers that another program builds, Debian's runc: with the engine's words they are what all others are.

use std::time::Duration;

use crate::support::{Ran, Sandbox, eventually};

/// `engine run --runtime runc …`
fn run(sandbox: &Sandbox, words: &[&str]) -> Ran {
    sandbox.engine(&[&["run", "--runtime", "runc"], words].concat())
}

fn show(sandbox: &Sandbox, name: &str, field: &str) -> String {
    sandbox.engine(&["inspect", "-f", &format!("{{{{{field}}}}}"), name]).ok().to_owned()
}

fn is_alive(pid: &str) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/status")).is_ok_and(|text| !text.contains("State:\tZ"))
}

#[test]
fn outputs_and_exit_codes_are_the_program_s() {
    let sandbox = Sandbox::new("runc-run");
    sandbox.busybox();
    let said = run(&sandbox, &["--rm", "busybox", "sh", "-c", "echo out; echo err >&2; exit 7"]);
    assert_eq!((said.code, said.stdout.as_str(), said.stderr.as_str()), (7, "out\n", "err\n"));
    run(&sandbox, &["--rm", "busybox", "no-such-program"]).fails(127, ["no-such-program", "not found"]);
    run(&sandbox, &["--rm", "busybox", "/etc"]).fails(126, ["permission denied"]);
    let input = sandbox
        .engine_with_input(&["run", "--runtime", "runc", "--rm", "-i", "busybox", "wc", "-c"], b"12345");
    assert_eq!(input.ok(), "5");
    let greedy = ["--name", "greedy", "-m", "16m", "busybox", "sh", "-c", "x=a; while true; do x=$x$x; done"];
    assert_eq!(run(&sandbox, &greedy).code, 137);
    assert_eq!(show(&sandbox, "greedy", ".State.OOMKilled"), "true");
    assert_eq!(show(&sandbox, "greedy", ".HostConfig.Runtime"), "runc");
}

#[test]
fn a_program_gets_what_run_s_flags_say() {
    let sandbox = Sandbox::new("runc-flags");
    sandbox.busybox();
    let inside = |flags: &[&str], script: &str| {
        run(&sandbox, &[&["--rm"], flags, &["busybox", "sh", "-c", script]].concat()).ok().to_owned()
    };
    assert_eq!(inside(&["-u", "5:6", "--group-add", "77"], "id -u; id -g; id -G"), "5\n6\n6 77");
    assert_eq!(inside(&["--init"], "cat /proc/1/comm; echo $$ | grep -vc '^1$'"), "docker-init\n1");
    let places =
        ["--read-only", "--tmpfs", "/memory", "-v", "data:/data", "-e", "A=b", "-w", "/tmp", "-h", "here"];
    let script = "touch /no 2>/dev/null || touch /memory/a /data/b; ls /memory /data; pwd; echo $A; hostname";
    assert_eq!(inside(&places, script), "/data:\nb\n\n/memory:\na\n/tmp\nb\nhere");
    assert_eq!(
        inside(&["-v", "data:/data:ro"], "ls /data; touch /data/c 2>/dev/null || echo kept"),
        "b\nkept"
    );
    assert_eq!(inside(&["--cap-drop", "ALL"], "grep CapEff /proc/self/status"), "CapEff:\t0000000000000000");
    assert_eq!(inside(&["--pids-limit", "55"], "cat /sys/fs/cgroup/pids*/pids.max"), "55");
    let line =
        format!("{} run --runtime runc --rm -it busybox sh -c 'tty; exit 4'", env!("CARGO_BIN_EXE_engine"));
    let terminal = sandbox.host(&["script", "-qec", &line, "/dev/null"]);
    assert!(terminal.code == 4 && terminal.stdout.contains("/dev/pts/0"), "{terminal:?}");
}

#[test]
fn its_life_is_that_of_all_containers() {
    let sandbox = Sandbox::new("runc-life");
    sandbox.busybox();
    let polite = "echo begun; trap 'echo bye; exit 3' TERM; while :; do sleep 0.1; done";
    run(&sandbox, &["-d", "--name", "web", "-m", "64m", "busybox", "sh", "-c", polite]).ok();
    eventually(10, "it has said something", || sandbox.engine(&["logs", "web"]).stdout == "begun\n");
    let exec = |words: &[&str]| sandbox.engine(&[&["exec"], words].concat());
    let said =
        exec(&["-u", "5", "-w", "/tmp", "-e", "A=b", "web", "sh", "-c", "id -u; pwd; echo $A >&2; exit 5"]);
    assert_eq!((said.code, said.stdout.as_str(), said.stderr.as_str()), (5, "5\n/tmp\n", "b\n"));
    exec(&["web", "no-such-program"]).fails(127, ["no-such-program"]);
    assert_eq!(sandbox.engine_with_input(&["exec", "-i", "web", "cat"], b"through").ok(), "through");
    let line = format!("{} exec -it web sh -c 'tty; exit 6'", env!("CARGO_BIN_EXE_engine"));
    let terminal = sandbox.host(&["script", "-qec", &line, "/dev/null"]);
    assert!(terminal.code == 6 && terminal.stdout.contains("/dev/pts/0"), "{terminal:?}");
    assert!(sandbox.engine(&["top", "web"]).ok().contains("sleep 0.1"));
    let stats = sandbox.engine(&["stats", "--no-stream", "--format", "{{.MemUsage}}", "web"]);
    assert!(stats.ok().ends_with("/ 64MiB"), "{stats:?}");
    sandbox.engine(&["pause", "web"]).ok();
    assert_eq!(show(&sandbox, "web", ".State.Status"), "paused");
    sandbox.engine(&["unpause", "web"]).ok();
    sandbox.engine(&["update", "-m", "100m", "web"]).ok();
    let limit = "cat /sys/fs/cgroup/memory/memory.limit_in_bytes /sys/fs/cgroup/memory.max 2>/dev/null";
    assert_eq!(exec(&["web", "sh", "-c", limit]).stdout, "104857600\n");
    sandbox.engine_with_input(&["exec", "-i", "web", "tee", "/tmp/f"], b"inside").ok();
    let copy = sandbox.dir().join("copy");
    sandbox.engine(&["cp", "web:/tmp/f", copy.to_str().expect("a path")]).ok();
    assert_eq!(std::fs::read_to_string(&copy).expect("reads"), "inside");
    assert_eq!(sandbox.engine(&["stop", "web"]).ok(), "web");
    assert_eq!(show(&sandbox, "web", ".State.ExitCode"), "3");
    assert_eq!(sandbox.engine(&["logs", "web"]).stdout, "begun\nbye\n");
    sandbox.engine(&["start", "web"]).ok();
    eventually(10, "it lives again", || sandbox.engine(&["logs", "web"]).stdout == "begun\nbye\nbegun\n");
    assert_eq!(exec(&["web", "sh", "-c", limit]).stdout, "104857600\n", "what was changed stays so");
    let pid = show(&sandbox, "web", ".State.Pid");
    sandbox.engine(&["rm", "-f", "web"]).ok();
    assert!(!is_alive(&pid));
}

#[test]
fn it_is_started_again_and_keeps_its_network() {
    let sandbox = Sandbox::new("runc-restart");
    sandbox.busybox();
    let serve = "while :; do echo hello | nc -l -p 80; rm /tmp/end 2>/dev/null && exit 1; done";
    run(
        &sandbox,
        &["-d", "--name", "web", "--restart", "always", "-p", "8087:80", "busybox", "sh", "-c", serve],
    )
    .ok();
    let ask = || sandbox.host(&["socat", "-T2", "-", "TCP:127.0.0.1:8087"]).stdout == "hello\n";
    eventually(10, "it answers", ask);
    let address = show(&sandbox, "web", ".NetworkSettings.IPAddress");
    // It may take this process along.
    sandbox.engine(&["exec", "web", "touch", "/tmp/end"]);
    eventually(20, "it was started again", || {
        ask();
        show(&sandbox, "web", ".RestartCount") != "0"
    });
    eventually(20, "it answers again", ask);
    assert_eq!(show(&sandbox, "web", ".NetworkSettings.IPAddress"), address);
    let beside = ["--rm", "--network", "container:web", "--pid", "container:web", "busybox"];
    let seen = run(&sandbox, &[&beside[..], &["sh", "-c", "ip -o -4 addr; ps"]].concat());
    assert!(seen.ok().contains(&address) && seen.stdout.contains("nc -l"), "{seen:?}");
}

#[test]
fn its_health_is_checked() {
    let sandbox = Sandbox::new("runc-health");
    sandbox.busybox();
    let check = ["--health-cmd", "test -e /tmp/well", "--health-interval", "200ms", "--health-retries", "1"];
    let words = [&["-d", "--name", "ill"], &check[..], &["busybox", "sleep", "1000"]].concat();
    run(&sandbox, &words).ok();
    eventually(10, "it is ill", || show(&sandbox, "ill", ".State.Health.Status") == "unhealthy");
    sandbox.engine(&["exec", "ill", "touch", "/tmp/well"]).ok();
    eventually(10, "it is well", || show(&sandbox, "ill", ".State.Health.Status") == "healthy");
}

#[test]
fn it_does_not_outlive_its_monitor_unnoticed() {
    let sandbox = Sandbox::new("runc-lost");
    sandbox.busybox();
    run(&sandbox, &["-d", "--name", "lost", "busybox", "sleep", "1000"]).ok();
    let pid = show(&sandbox, "lost", ".State.Pid");
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("it runs");
    let monitor =
        status.lines().find_map(|line| line.strip_prefix("PPid:")).expect("a parent").trim().to_owned();
    sandbox.host(&["kill", "-9", &monitor]).ok();
    eventually(2, "the monitor is gone", || !std::path::Path::new(&format!("/proc/{monitor}")).exists());
    let format = "{{.State.Status}} {{.State.ExitCode}}";
    assert_eq!(sandbox.engine(&["inspect", "-f", format, "lost"]).ok(), "exited 255");
    eventually(2, "its program is gone", || !is_alive(&pid));
    assert_eq!(sandbox.engine(&["start", "lost"]).ok(), "lost");
    assert_eq!(sandbox.engine(&["exec", "lost", "echo", "again"]).ok(), "again");
    std::thread::sleep(Duration::from_millis(100));
}

#[test]
fn orphans_in_the_host_s_namespace_of_processes_are_reaped() {
    let sandbox = Sandbox::new("runc-orphans");
    sandbox.busybox();
    let script = "(sleep 0.2 &); sleep 1000";
    run(&sandbox, &["-d", "--name", "host", "--pid", "host", "busybox", "sh", "-c", script]).ok();
    let status = std::fs::read_to_string(format!("/proc/{}/status", show(&sandbox, "host", ".State.Pid")));
    let status = status.expect("it runs");
    let monitor = status.lines().find_map(|line| line.strip_prefix("PPid:")).expect("a parent").trim();
    let children = format!("/proc/{monitor}/task/{monitor}/children");
    std::thread::sleep(Duration::from_millis(500));
    let children = std::fs::read_to_string(children).expect("reads");
    assert_eq!(children.split_whitespace().count(), 1, "the program is its only child: {children}");
}

#[test]
fn a_runtime_is_found_by_its_name_and_its_path_and_no_other() {
    let sandbox = Sandbox::new("runc-name");
    sandbox.busybox();
    let by = |name: &str| sandbox.engine(&["run", "--rm", "--runtime", name, "busybox", "echo", "found"]);
    assert_eq!(by("/usr/sbin/runc").ok(), "found");
    assert_eq!(by("engine").ok(), "found");
    by("no-such").fails(125, ["unknown or invalid runtime name: no-such", "runc"]);
    by("/usr/sbin/no-such").fails(125, ["unknown or invalid runtime name"]);
    let info = sandbox.engine(&["info", "--format", "{{json .Runtimes}}"]);
    assert!(info.ok().contains(r#""runc":{"path":"/usr/sbin/runc"}"#), "{info:?}");
}
