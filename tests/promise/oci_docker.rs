//! Docker's daemon with `engine oci` as a runtime: what a user of docker sees is what it is with runc.

use crate::images::Docker;
use crate::support::oci::installed;
use crate::support::{ENGINE, Ran, Sandbox, eventually, fixture};

/// A daemon that knows the engine as a runtime, with the image `busybox`; nothing, and a word about it, where there is
/// none.
#[expect(clippy::print_stdout, reason = "what was not looked at is told")]
fn docker(sandbox: &Sandbox) -> Option<Docker> {
    if let Some(program) = ["dockerd", "docker"].into_iter().find(|program| !installed(program)) {
        println!("skipped: this host has no {program}");
        return None;
    }
    let link = sandbox.dir().join("engine-oci");
    std::os::unix::fs::symlink(ENGINE, &link).expect("a link");
    let docker = Docker::start_with(sandbox, &["--add-runtime", &format!("engine={}", link.display())]);
    docker.run(&["import", fixture::busybox_tar().to_str().expect("a path"), "busybox"]);
    Some(docker)
}

/// `docker run --rm --runtime engine FLAGS busybox sh -c SCRIPT`.
fn run(docker: &Docker, flags: &[&str], script: &str) -> Ran {
    docker.ran(&[&["run", "--rm", "--runtime", "engine"], flags, &["busybox", "sh", "-c", script]].concat())
}

#[test]
fn docker_s_containers_live_with_the_engine_as_with_runc() {
    let sandbox = Sandbox::new("docker-life");
    let Some(docker) = docker(&sandbox) else { return };
    let inspect = |name: &str, format: &str| docker.run(&["inspect", "-f", format, name]).trim().to_owned();
    assert_eq!(run(&docker, &[], "echo hello").ok(), "hello");
    assert_eq!(run(&docker, &[], "exit 9").code, 9);
    let script = "trap 'exit 7' TERM; echo begun; while :; do sleep 0.1; done";
    docker.run(&["run", "-d", "--name", "one", "--runtime", "engine", "busybox", "sh", "-c", script]);
    assert_eq!(inspect("one", "{{.HostConfig.Runtime}}"), "engine");
    eventually(10, "it says so", || docker.run(&["logs", "one"]) == "begun\n");
    let exec = docker.ran(&[
        "exec",
        "-u",
        "8",
        "-w",
        "/tmp",
        "-e",
        "A=b",
        "one",
        "sh",
        "-c",
        "id -u; pwd; echo $A; exit 4",
    ]);
    assert_eq!((exec.code, exec.stdout.as_str()), (4, "8\n/tmp\nb\n"));
    docker.run(&["exec", "-d", "one", "sh", "-c", "echo > /detached"]);
    eventually(10, "the other ran", || docker.ran(&["exec", "one", "test", "-e", "/detached"]).code == 0);
    assert_eq!(docker.ran(&["exec", "-t", "one", "tty"]).ok().trim(), "/dev/pts/0");
    let missing = docker.ran(&["exec", "one", "nosuch"]);
    assert_eq!(missing.code, 126);
    assert!(missing.stdout.contains("exec: \"nosuch\": executable file not found in $PATH"), "{missing:?}");
    assert!(docker.run(&["top", "one"]).contains("sleep 0.1"));
    let stats = docker.run(&["stats", "--no-stream", "--format", "{{.PIDs}} {{.MemUsage}}", "one"]);
    assert!(!stats.starts_with("0 ") && !stats.contains(" 0B /"), "{stats}");

    docker.run(&["pause", "one"]);
    assert_eq!(inspect("one", "{{.State.Status}}"), "paused");
    docker.run(&["unpause", "one"]);
    docker.run(&["update", "-m", "64m", "--memory-swap", "64m", "--pids-limit", "40", "one"]);
    let limit = "cat /sys/fs/cgroup/pids/pids.max /sys/fs/cgroup/pids.max 2>/dev/null";
    assert_eq!(docker.ran(&["exec", "one", "sh", "-c", limit]).stdout, "40\n");
    docker.run(&["stop", "one"]);
    assert_eq!(inspect("one", "{{.State.Status}} {{.State.ExitCode}}"), "exited 7");
    docker.run(&["start", "one"]);
    docker.run(&["restart", "-t", "1", "one"]);
    assert_eq!(inspect("one", "{{.State.Status}}"), "running");
    docker.run(&["kill", "one"]);
    assert_eq!(docker.run(&["wait", "one"]).trim(), "137");
    docker.run(&["rm", "one"]);
    assert_eq!(docker.run(&["ps", "-aq"]), "");
    run(&docker, &["--entrypoint", "nosuch"], "")
        .fails(127, ["nosuch", "executable file not found in $PATH"]);
    assert_eq!(run(&docker, &["--entrypoint", "/etc"], "").code, 126);
}

#[test]
fn docker_s_wishes_are_granted_by_the_engine() {
    let sandbox = Sandbox::new("docker-flags");
    let Some(docker) = docker(&sandbox) else { return };
    let inspect = |name: &str, format: &str| docker.run(&["inspect", "-f", format, name]).trim().to_owned();
    let read_only =
        run(&docker, &["--read-only", "--tmpfs", "/data:size=1m"], "touch /x 2>&1; df /data | tail -1");
    assert!(
        read_only.ok().contains("Read-only file system") && read_only.ok().contains("1024"),
        "{read_only:?}"
    );
    let init = run(&docker, &["--init"], "cat /proc/1/comm");
    assert_eq!(init.ok(), "docker-init");
    assert_eq!(run(&docker, &["--user", "8:29", "--group-add", "8"], "id -u; id -G").ok(), "8\n29 8");
    assert_eq!(run(&docker, &["--hostname", "pod"], "hostname").ok(), "pod");
    assert_eq!(
        run(&docker, &["--cap-drop", "all"], "grep CapEff /proc/self/status").ok(),
        "CapEff:\t0000000000000000"
    );
    assert_eq!(run(&docker, &["--privileged"], "mount -t tmpfs x /tmp && echo may mount").ok(), "may mount");
    assert_eq!(
        run(&docker, &["--security-opt", "no-new-privileges"], "grep NoNewPrivs /proc/self/status").ok(),
        "NoNewPrivs:\t1"
    );
    assert_eq!(
        run(&docker, &["--network=host", "--pid=host", "--ipc=host"], "test -d /proc/2 && echo sees").ok(),
        "sees"
    );
    assert_eq!(run(&docker, &["-v", "volume:/v"], "touch /v/x; ls /v").ok(), "x");
    assert_eq!(run(&docker, &["-v", "volume:/v:ro"], "touch /v/y 2>/dev/null; ls /v").ok(), "x");
    assert_eq!(run(&docker, &["--device", "/dev/fuse"], "stat -c %t:%T /dev/fuse").ok(), "a:e5");

    docker.ran(&[
        "run",
        "--name",
        "greedy",
        "--runtime",
        "engine",
        "-m",
        "16m",
        "--memory-swap",
        "16m",
        "busybox",
        "tail",
        "/dev/zero",
    ]);
    assert_eq!(inspect("greedy", "{{.State.ExitCode}} {{.State.OOMKilled}}"), "137 true");

    let flags = ["--health-cmd", "test -e /well", "--health-interval", "200ms", "--health-retries", "1"];
    let words = [
        &["run", "-d", "--name", "patient", "--runtime", "engine"],
        flags.as_slice(),
        &["busybox", "sleep", "60"],
    ];
    docker.run(&words.concat());
    eventually(20, "it is ill", || inspect("patient", "{{.State.Health.Status}}") == "unhealthy");
    docker.run(&["exec", "patient", "touch", "/well"]);
    eventually(20, "it is well", || inspect("patient", "{{.State.Health.Status}}") == "healthy");
    docker.run(&["rm", "-f", "patient"]);

    docker.run(&[
        "run",
        "-d",
        "--name",
        "again",
        "--runtime",
        "engine",
        "--restart",
        "on-failure:2",
        "busybox",
        "sh",
        "-c",
        "exit 3",
    ]);
    eventually(20, "it was begun again twice", || {
        inspect("again", "{{.RestartCount}} {{.State.Status}} {{.State.ExitCode}}") == "2 exited 3"
    });
    docker.run(&["rm", "again", "greedy"]);
}
