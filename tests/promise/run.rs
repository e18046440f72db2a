//! Running a program in a container.

use crate::support::{Sandbox, eventually};

#[test]
fn a_copy_of_this_host_runs_without_any_image() {
    let sandbox = Sandbox::new("rootfs");
    let ran =
        sandbox.engine(&["run", "--rm", "--rootfs", "/:O", "sh", "-c", "echo hello; touch /written; id -u"]);
    assert_eq!(ran.ok(), "hello\n0");
    assert!(!std::path::Path::new("/written").exists(), "what it wrote went to the host");
    assert_eq!(sandbox.engine(&["ps", "-aq"]).ok(), "", "--rm left it");
}

#[test]
fn the_exit_code_and_both_outputs_reach_the_caller() {
    let sandbox = Sandbox::new("exit");
    sandbox.busybox();
    let ran = sandbox.engine(&["run", "--rm", "busybox", "sh", "-c", "echo out; echo err >&2; exit 7"]);
    assert_eq!((ran.code, ran.stdout.as_str(), ran.stderr.as_str()), (7, "out\n", "err\n"));
    let ran = sandbox.engine(&["run", "--rm", "busybox", "sh", "-c", "sh -c 'kill -9 $$'; exit $?"]);
    assert_eq!(ran.code, 137);
}

#[test]
fn a_program_that_is_not_there_is_127_and_one_that_cannot_be_executed_126() {
    let sandbox = Sandbox::new("notfound");
    sandbox.busybox();
    sandbox.engine(&["run", "--rm", "busybox", "nosuch"]).fails(127, ["nosuch", "not found"]);
    sandbox
        .engine(&["run", "--rm", "busybox", "/etc/passwd"])
        .fails(126, ["/etc/passwd", "permission denied"]);
    assert_eq!(sandbox.engine(&["ps", "-aq"]).ok(), "", "--rm left one that never began");
    sandbox.engine(&["run", "--name", "kept", "busybox", "nosuch"]).fails(127, ["nosuch"]);
    assert_eq!(
        sandbox.engine(&["inspect", "-f", "{{.State.Status}} {{.State.ExitCode}}", "kept"]).ok(),
        "created 127"
    );
}

#[test]
fn standard_input_reaches_the_program_and_its_end_too() {
    let sandbox = Sandbox::new("stdin");
    sandbox.busybox();
    let mut input = vec![b'x'; 1 << 20];
    input.push(b'\n');
    let ran = sandbox.engine_with_input(&["run", "--rm", "-i", "busybox", "wc", "-c"], &input);
    assert_eq!(ran.ok().trim(), (input.len()).to_string());
    let ran = sandbox.engine_with_input(&["run", "--rm", "busybox", "cat"], b"nobody asked");
    assert_eq!(ran.ok(), "", "without -i there is no input");
}

#[test]
fn a_terminal_is_one() {
    let sandbox = Sandbox::new("tty");
    sandbox.busybox();
    let ran = sandbox.host(&[
        "script",
        "-qec",
        &format!(
            "{} run --rm -it busybox sh -c 'test -t 0 && test -t 1 && echo yes; stty size'",
            env!("CARGO_BIN_EXE_engine")
        ),
        "/dev/null",
    ]);
    assert!(ran.ok().contains("yes\r"), "{ran:?}");
}

#[test]
fn user_groups_directory_environment_and_host_name_are_as_asked() {
    let sandbox = Sandbox::new("who");
    sandbox.busybox();
    let run = |flags: &[&str], script: &str| {
        let args = [&["run", "--rm"], flags, &["busybox", "sh", "-c", script]].concat();
        sandbox.engine(&args).ok().to_owned()
    };
    assert_eq!(run(&["-u", "mail"], "id -u; id -g; id -G"), "8\n8\n8 29");
    assert_eq!(run(&["-u", "12:34", "--group-add", "audio"], "id -u; id -g; id -G"), "12\n34\n34 29");
    assert_eq!(run(&["-w", "/not/there/yet"], "pwd"), "/not/there/yet");
    assert_eq!(run(&["-e", "A=b", "-h", "box"], "echo $A $(hostname) $HOSTNAME"), "b box box");
    sandbox.engine(&["run", "--rm", "-u", "nobody9", "busybox", "true"]).fails(125, ["nobody9"]);
}

#[test]
fn the_container_is_confined_as_docker_confines_it() {
    let sandbox = Sandbox::new("confined");
    sandbox.busybox();
    let run = |flags: &[&str], script: &str| {
        let args = [&["run", "--rm"], flags, &["busybox", "sh", "-c", script]].concat();
        sandbox.engine(&args)
    };
    let status = run(&[], "grep -E 'CapEff|CapBnd|Seccomp:|NoNewPrivs' /proc/self/status").ok().to_owned();
    assert!(status.contains("CapEff:\t00000000a80425fb"), "{status}");
    assert!(status.contains("Seccomp:\t2"), "{status}");
    let status = run(&["--cap-drop", "ALL", "--cap-add", "net_admin"], "grep CapEff /proc/self/status");
    assert_eq!(status.ok(), "CapEff:\t0000000000001000");
    assert_eq!(run(&[], "cat /proc/kcore | head -c1 | wc -c").ok().trim(), "0");
    assert!(run(&[], "echo 1 > /proc/sys/kernel/panic").code != 0);
    assert!(run(&[], "mount -t tmpfs x /tmp").code != 0);
    assert!(run(&[], "mknod /tmp/sda b 8 0 && cat /tmp/sda").code != 0);
    assert_eq!(run(&[], "cat /proc/1/comm").ok(), "cat", "it sees no process but its own");
    assert!(run(&["--read-only"], "touch /x").code != 0);
    assert_eq!(run(&["--privileged"], "grep Seccomp: /proc/self/status").ok(), "Seccomp:\t0");
    assert_eq!(
        run(&["--security-opt", "no-new-privileges"], "grep NoNewPrivs /proc/self/status").ok(),
        "NoNewPrivs:\t1"
    );
}

#[test]
fn limits_are_enforced() {
    let sandbox = Sandbox::new("limits");
    sandbox.busybox();
    let ran = sandbox.engine(&[
        "run",
        "--name",
        "hungry",
        "-m",
        "16m",
        "busybox",
        "sh",
        "-c",
        "x=a; while true; do x=$x$x; done",
    ]);
    assert_eq!(ran.code, 137, "{ran:?}");
    assert_eq!(sandbox.engine(&["inspect", "-f", "{{.State.OOMKilled}}", "hungry"]).ok(), "true");
    let ran = sandbox.engine(&[
        "run",
        "--rm",
        "--pids-limit",
        "5",
        "busybox",
        "sh",
        "-c",
        "for i in 1 2 3 4 5 6 7 8; do sleep 1 & done",
    ]);
    assert!(ran.stderr.contains("can't fork"), "{ran:?}");
    let ran = sandbox.engine(&[
        "run",
        "--rm",
        "--ulimit",
        "nofile=100:200",
        "busybox",
        "sh",
        "-c",
        "ulimit -n; ulimit -Hn",
    ]);
    assert_eq!(ran.ok(), "100\n200");
    let ran = sandbox.engine(&[
        "run",
        "--rm",
        "--cpuset-cpus",
        "0",
        "busybox",
        "grep",
        "Cpus_allowed_list",
        "/proc/self/status",
    ]);
    assert_eq!(ran.ok(), "Cpus_allowed_list:\t0");
    let ran = sandbox.engine(&["run", "--rm", "--shm-size", "1m", "busybox", "df", "-k", "/dev/shm"]);
    assert!(ran.ok().contains("1024"), "{ran:?}");
}

#[test]
fn an_init_reaps_orphans_and_hands_signals_on() {
    let sandbox = Sandbox::new("init");
    sandbox.busybox();
    let script = "trap 'echo got it; exit 3' TERM; echo ready; while true; do sleep 0.1; done";
    sandbox.engine(&["run", "-d", "--init", "--name", "init", "busybox", "sh", "-c", script]).ok();
    eventually(10, "it is ready", || sandbox.engine(&["logs", "init"]).stdout.contains("ready"));
    sandbox.engine(&["kill", "-s", "TERM", "init"]).ok();
    assert_eq!(sandbox.engine(&["wait", "init"]).ok(), "3");
    assert!(sandbox.engine(&["logs", "init"]).ok().contains("got it"));
}

#[test]
fn a_signal_to_the_client_reaches_the_program() {
    let sandbox = Sandbox::new("signal");
    sandbox.busybox();
    let script = "trap 'exit 42' TERM; echo ready; while true; do sleep 0.1; done";
    let client = sandbox.engine_in_background(&["run", "--name", "sig", "busybox", "sh", "-c", script]);
    eventually(10, "it is ready", || sandbox.engine(&["logs", "sig"]).stdout.contains("ready"));
    client.signal("TERM");
    assert_eq!(client.wait().code, 42);
}
