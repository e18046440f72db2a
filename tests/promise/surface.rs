//! Flags that no other file is about: how lists are cut, who detaches and how, and where things come from.

use std::io::Write;
use std::process::Command;
use std::time::Duration;

use crate::support::{Background, Sandbox, eventually};

/// A command on a terminal of its own, which `script` makes; what is written to it is typed.
fn on_a_terminal(sandbox: &Sandbox, words: &str) -> Background {
    let line = format!("{} {words}", env!("CARGO_BIN_EXE_engine"));
    let mut command = sandbox.command("script");
    command.args(["-qec", &line, "/dev/null"]);
    background(command)
}

fn background(mut command: Command) -> Background {
    use std::process::Stdio;
    let child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    Background(child.expect("starts"))
}

fn type_in(terminal: &mut Background, keys: &[u8]) {
    let stdin = terminal.0.stdin.as_mut().expect("a terminal");
    stdin.write_all(keys).and_then(|()| stdin.flush()).expect("types");
}

#[test]
fn keys_of_one_s_own_detach() {
    let sandbox = Sandbox::new("keys");
    sandbox.busybox();
    let running =
        |name: &str| sandbox.engine(&["inspect", "-f", "{{.State.Running}}", name]).stdout.trim() == "true";
    let mut terminal = on_a_terminal(&sandbox, "run -it --detach-keys ctrl-x,x --name mine busybox cat");
    eventually(10, "it runs", || running("mine"));
    // It is attached a moment later; what comes too early is the program's.
    std::thread::sleep(Duration::from_millis(500));
    type_in(&mut terminal, b"\x18x");
    assert_eq!(terminal.wait().code, 0);
    assert!(running("mine"));
    for words in ["attach --detach-keys a,b mine", "exec -it --detach-keys a,b mine cat"] {
        let mut terminal = on_a_terminal(&sandbox, words);
        std::thread::sleep(Duration::from_millis(500));
        type_in(&mut terminal, b"ab");
        let ran = terminal.wait();
        assert_eq!(ran.code, 0, "{words}: {ran:?}");
        assert!(running("mine"));
    }
    sandbox.engine(&["kill", "mine"]).ok();
    let mut terminal = on_a_terminal(&sandbox, "start -a -i --detach-keys a,b mine");
    eventually(10, "it runs", || running("mine"));
    std::thread::sleep(Duration::from_millis(500));
    type_in(&mut terminal, b"ab");
    assert_eq!(terminal.wait().code, 0);
    assert!(running("mine"));
    sandbox.engine(&["run", "--detach-keys", "nonsense-", "busybox", "true"]).fails(125, ["nonsense-"]);
}

#[test]
fn input_of_a_started_container_is_passed_on_if_that_is_wanted() {
    let sandbox = Sandbox::new("input");
    sandbox.busybox();
    sandbox.engine(&["create", "-i", "--name", "cat", "busybox", "cat"]).ok();
    let said = sandbox.engine_with_input(&["start", "-a", "-i", "cat"], b"to the program\n");
    assert_eq!((said.code, said.stdout.as_str()), (0, "to the program\n"));
    sandbox.engine(&["run", "-d", "-i", "--name", "deaf", "busybox", "cat"]).ok();
    let attached = sandbox.engine_in_background(&["attach", "--no-stdin", "--sig-proxy=false", "deaf"]);
    std::thread::sleep(Duration::from_millis(300));
    // What is not to be passed on, is not: neither input nor signals.
    attached.signal("TERM");
    attached.wait();
    assert_eq!(sandbox.engine(&["logs", "deaf"]).ok(), "");
    assert_eq!(sandbox.engine(&["inspect", "-f", "{{.State.Running}}", "deaf"]).ok(), "true");
}

#[test]
fn a_signal_is_the_client_s_own_without_sig_proxy() {
    let sandbox = Sandbox::new("sigproxy");
    sandbox.busybox();
    let words = ["run", "--sig-proxy=false", "--name", "calm", "busybox", "sh", "-c", "echo up; sleep 1000"];
    let client = sandbox.engine_in_background(&words);
    eventually(10, "it runs", || sandbox.engine(&["logs", "calm"]).stdout == "up\n");
    client.signal("TERM");
    assert_ne!(client.wait().code, 0);
    assert_eq!(sandbox.engine(&["inspect", "-f", "{{.State.Running}}", "calm"]).ok(), "true");
}

#[test]
fn lists_of_containers_are_cut_and_pruned_as_asked() {
    let sandbox = Sandbox::new("lists");
    sandbox.busybox();
    for name in ["one", "two", "three"] {
        let label = format!("n={name}");
        let write = "head -c 5000 /dev/zero > /f";
        sandbox.engine(&["run", "--name", name, "-l", &label, "busybox", "sh", "-c", write]).ok();
    }
    let names = |words: &[&str]| {
        let list = sandbox.engine(&[&["ps", "--format", "{{.Names}}"], words].concat());
        list.ok().lines().map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(names(&["-n", "2"]), ["three", "two"]);
    assert_eq!(names(&["--last", "1"]), ["three"]);
    assert_eq!(names(&["-l"]), ["three"]);
    assert_eq!(names(&["-a", "--filter", "label=n=two"]), ["two"]);
    let sized = sandbox.engine(&["ps", "-a", "-s", "--no-trunc"]).ok().to_owned();
    assert!(sized.lines().next().is_some_and(|head| head.ends_with("SIZE")), "{sized}");
    assert!(sized.contains("kB (virtual "), "{sized}");
    let size = sandbox.engine(&["container", "inspect", "-s", "-f", "{{.SizeRw}}", "one"]).ok().to_owned();
    assert!(size.parse::<u64>().is_ok_and(|size| size >= 5000), "{size}");
    let pruned =
        sandbox.engine(&["container", "prune", "--force", "--filter", "label=n=one"]).ok().to_owned();
    assert!(pruned.contains("Deleted Containers:"), "{pruned}");
    assert_eq!(names(&["-a"]), ["three", "two"]);
}

#[test]
fn the_command_its_place_and_its_image_are_chosen() {
    let sandbox = Sandbox::new("choice");
    sandbox.busybox();
    let run = |words: &[&str]| sandbox.engine(&[&["run", "--rm"], words].concat());
    assert_eq!(run(&["--entrypoint", "echo", "busybox", "hi"]).ok(), "hi");
    assert_eq!(
        run(&["--dns-option", "ndots:3", "busybox", "cat", "/etc/resolv.conf"])
            .ok()
            .lines()
            .filter(|line| line.contains("ndots:3"))
            .count(),
        1
    );
    let group = run(&[
        "--cgroup-parent",
        "/engine-test-parent",
        "--cgroupns",
        "host",
        "busybox",
        "cat",
        "/proc/self/cgroup",
    ]);
    assert!(group.ok().contains("/engine-test-parent/"), "{group:?}");
    for hierarchy in std::fs::read_dir("/sys/fs/cgroup").expect("is there").flatten() {
        let _ = std::fs::remove_dir(hierarchy.path().join("engine-test-parent"));
    }
    let _ = std::fs::remove_dir("/sys/fs/cgroup/engine-test-parent");
    assert_eq!(
        run(&["--platform", "linux/amd64", "busybox", "true"]).code,
        if cfg!(target_arch = "x86_64") { 0 } else { 125 }
    );
    sandbox
        .engine(&["run", "--pull", "never", "--platform", "linux/s390x", "busybox", "true"])
        .fails(125, ["busybox"]);
    sandbox.engine(&["run", "-d", "--name", "long", "busybox", "sleep", "1000"]).ok();
    let file = sandbox.dir().join("env");
    std::fs::write(&file, "FROM_FILE=yes\n").expect("writes");
    let file = file.to_str().expect("a path");
    let said =
        sandbox.engine(&["exec", "--env-file", file, "-e", "B=2", "long", "sh", "-c", "echo $FROM_FILE $B"]);
    assert_eq!(said.ok(), "yes 2");
}

#[test]
fn rates_of_a_block_device_are_limited() {
    let sandbox = Sandbox::new("rates");
    sandbox.busybox();
    let disk = std::fs::read_dir("/sys/block").expect("is there").flatten().find_map(|entry| {
        let path = format!("/dev/{}", entry.file_name().to_string_lossy());
        let numbers = std::fs::read_to_string(entry.path().join("dev")).ok()?.trim().to_owned();
        let proper = !path.starts_with("/dev/loop") && !path.starts_with("/dev/ram");
        (proper && std::path::Path::new(&path).exists()).then_some((path, numbers))
    });
    let v1 = std::path::Path::new("/sys/fs/cgroup/blkio").exists();
    let (Some((disk, numbers)), true) = (disk, v1) else {
        println!(
            "skipped: this host has no disk, or control groups of version 2 (the vm's tests have those)"
        );
        return;
    };
    for (flag, file) in [
        ("--device-read-bps", "read_bps_device"),
        ("--device-write-bps", "write_bps_device"),
        ("--device-read-iops", "read_iops_device"),
        ("--device-write-iops", "write_iops_device"),
    ] {
        let rate = format!("{disk}:1000000");
        let path = format!("/sys/fs/cgroup/blkio/blkio.throttle.{file}");
        let shown = sandbox.engine(&["run", "--rm", flag, &rate, "busybox", "cat", &path]);
        assert_eq!(shown.ok(), format!("{numbers} 1000000"), "{flag}");
    }
}

#[test]
fn another_process_is_as_asked() {
    let sandbox = Sandbox::new("exec");
    sandbox.busybox();
    sandbox.engine(&["run", "-d", "--name", "host", "busybox", "sleep", "1000"]).ok();
    let exec = |words: &[&str]| sandbox.engine(&[&["exec"], words].concat());
    assert_eq!(exec(&["-e", "A=b", "host", "sh", "-c", "echo $A"]).ok(), "b");
    assert_eq!(exec(&["-u", "12:34", "host", "sh", "-c", "id -u; id -g"]).ok(), "12\n34");
    assert_eq!(exec(&["-w", "/tmp", "host", "pwd"]).ok(), "/tmp");
    assert_eq!(sandbox.engine_with_input(&["exec", "-i", "host", "cat"], b"in\n").ok(), "in");
    exec(&["-d", "host", "sh", "-c", "echo done > /tmp/detached"]).ok();
    eventually(5, "it has run", || exec(&["host", "cat", "/tmp/detached"]).stdout == "done\n");
    exec(&["-t", "host", "true"]).ok();
    let terminal = on_a_terminal(&sandbox, "exec -it host sh -c 'test -t 0 && echo terminal'");
    let said = terminal.wait();
    assert!(said.stdout.contains("terminal"), "{said:?}");
    assert!(!exec(&["host", "sh", "-c", "grep CapEff /proc/self/status"]).ok().ends_with("0000003fffffffff"));
    let all = exec(&["--privileged", "host", "sh", "-c", "grep CapEff /proc/self/status"]).ok().to_owned();
    let bounding = std::fs::read_to_string("/proc/self/status").expect("reads");
    let bounding = bounding.lines().find_map(|line| line.strip_prefix("CapBnd:")).expect("a set").trim();
    assert!(all.ends_with(bounding), "{all} is not all of {bounding}");
}

#[test]
fn streams_and_ports_are_those_that_were_asked_for() {
    let sandbox = Sandbox::new("attached");
    sandbox.busybox();
    let script = "echo out; echo err >&2";
    let only = sandbox.engine(&["run", "--rm", "-a", "stderr", "busybox", "sh", "-c", script]);
    assert_eq!((only.stdout.as_str(), only.stderr.as_str()), ("", "err\n"));
    let tar = crate::support::fixture::busybox_tar();
    let tar = tar.to_str().expect("a path");
    sandbox.engine(&["import", "--change", "EXPOSE 80", "--change", "VOLUME /data", tar, "web"]).ok();
    sandbox.engine(&["run", "-d", "-P", "--name", "all", "web", "sleep", "1000"]).ok();
    assert!(sandbox.engine(&["port", "all"]).ok().starts_with("80/tcp -> 0.0.0.0:"));
    assert_eq!(sandbox.engine(&["volume", "ls", "-q"]).ok().lines().count(), 1);
    sandbox.engine(&["rm", "-f", "-v", "all"]).ok();
    assert_eq!(sandbox.engine(&["volume", "ls", "-q"]).ok(), "", "its anonymous volume goes with it");
}

#[test]
fn the_signal_that_ends_it_is_chosen() {
    let sandbox = Sandbox::new("stopsignal");
    sandbox.busybox();
    let script = "trap 'exit 5' INT; echo up; while true; do sleep 0.05; done";
    sandbox.engine(&["run", "-d", "--name", "choosy", "busybox", "sh", "-c", script]).ok();
    let up = || sandbox.engine(&["logs", "choosy"]).stdout.matches("up").count();
    eventually(10, "it is up", || up() == 1);
    sandbox.engine(&["restart", "-s", "INT", "choosy"]).ok();
    eventually(10, "it is up again", || up() == 2);
    sandbox.engine(&["stop", "-s", "INT", "choosy"]).ok();
    assert_eq!(sandbox.engine(&["inspect", "-f", "{{.State.ExitCode}}", "choosy"]).ok(), "5");
}
