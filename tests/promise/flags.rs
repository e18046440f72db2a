//! The flags of `run` that no other file is about: each does what docker's does.

use crate::support::{Ran, Sandbox};

fn run(sandbox: &Sandbox, flags: &[&str], script: &str) -> Ran {
    sandbox.engine(&[&["run", "--rm"], flags, &["busybox", "sh", "-c", script]].concat())
}

/// Creates a container with flags, and gives what inspect shows.
fn created(sandbox: &Sandbox, flags: &[&str], template: &str) -> String {
    let id = sandbox.engine(&[&["create"], flags, &["busybox", "true"]].concat()).ok().to_owned();
    sandbox.engine(&["inspect", "-f", template, &id]).ok().to_owned()
}

#[test]
fn files_of_variables_and_labels_and_for_the_identifier() {
    let sandbox = Sandbox::new("files");
    sandbox.busybox();
    let write = |name: &str, text: &str| {
        let path = sandbox.dir().join(name);
        std::fs::write(&path, text).expect("writes");
        path.to_str().expect("a path").to_owned()
    };
    let (env, labels) = (write("env", "# not\nA=1\nB=two words\n"), write("labels", "x=1\ny=2\n"));
    assert_eq!(run(&sandbox, &["--env-file", &env, "-e", "A=9"], "echo $A $B").ok(), "9 two words");
    let shown = created(&sandbox, &["--label-file", &labels, "-l", "y=3"], "{{json .Config.Labels}}");
    assert_eq!(shown, r#"{"x":"1","y":"3"}"#);
    let shown = created(&sandbox, &["--annotation", "a=b"], "{{json .HostConfig.Annotations}}");
    assert_eq!(shown, r#"{"a":"b"}"#);
    let cidfile = sandbox.dir().join("cid");
    let cid = cidfile.to_str().expect("a path");
    let id = sandbox.engine(&["create", "--cidfile", cid, "busybox", "true"]).ok().to_owned();
    assert_eq!(std::fs::read_to_string(&cidfile).expect("reads"), id);
    sandbox.engine(&["create", "--cidfile", cid, "busybox", "true"]).fails(1, ["container ID file found"]);
}

#[test]
fn limits_of_control_groups_are_set() {
    let sandbox = Sandbox::new("cgroups");
    sandbox.busybox();
    let v2 = std::path::Path::new("/sys/fs/cgroup/cgroup.controllers").exists();
    let read = |flags: &[&str], of_1: &str, of_2: &str| {
        let file = if v2 { of_2 } else { of_1 };
        run(&sandbox, flags, &format!("cat /sys/fs/cgroup/{file}")).ok().to_owned()
    };
    let reserved = ["-m", "32m", "--memory-reservation", "16m"];
    assert_eq!(read(&reserved, "memory/memory.soft_limit_in_bytes", "memory.low"), "16777216");
    assert_eq!(read(&["--cpus", "0.5"], "cpu/cpu.cfs_quota_us", "cpu.max").split(' ').next(), Some("50000"));
    let period = read(&["--cpu-period", "20000", "--cpu-quota", "10000"], "cpu/cpu.cfs_period_us", "cpu.max");
    assert_eq!(period.split(' ').next_back(), Some("20000"));
    assert_eq!(read(&["-c", "512"], "cpu/cpu.shares", "cpu.weight"), if v2 { "59" } else { "512" });
    assert_eq!(read(&["--cpuset-mems", "0"], "cpuset/cpuset.mems", "cpuset.mems"), "0");
    assert_eq!(read(&["--pids-limit", "77"], "pids/pids.max", "pids.max"), "77");
    let weighed =
        run(&sandbox, &["--blkio-weight", "300"], "cd /sys/fs/cgroup; cat blkio/blkio*weight io*weight");
    match weighed.code {
        125 => println!("skipped: this kernel has no weights of block devices"),
        // The cost model of version 2 has a scale of its own.
        _ if v2 => assert!(weighed.stdout.lines().any(|line| !line.ends_with("100")), "{weighed:?}"),
        _ => assert!(weighed.stdout.lines().any(|line| line.ends_with("300")), "{weighed:?}"),
    }
    if v2 {
        println!("skipped: swappiness and the OOM killer's absence, which version 2 does not have");
    } else {
        let swappiness = ["-m", "32m", "--memory-swappiness", "7"];
        assert_eq!(read(&swappiness, "memory/memory.swappiness", ""), "7");
        let killer = read(&["-m", "32m", "--oom-kill-disable"], "memory/memory.oom_control", "");
        assert!(killer.contains("oom_kill_disable 1"));
    }
    run(&sandbox, &["--cpu-rt-runtime", "20", "--cpu-rt-period", "10"], "true").fails(125, ["real-time"]);
    run(&sandbox, &["-m", "4m"], "true").fails(125, ["6 MiB"]);
    run(&sandbox, &["--memory-swappiness", "101"], "true").fails(125, ["--memory-swappiness"]);
    run(&sandbox, &["--blkio-weight", "5"], "true").fails(125, ["--blkio-weight"]);
    run(&sandbox, &["--device-read-bps", "/dev/nosuch:1mb"], "true").fails(125, ["/dev/nosuch"]);
    run(&sandbox, &["--device-write-iops", "/dev/null:1"], "true").fails(125, ["/dev/null"]);
}

#[test]
fn what_the_program_is_given_by_the_kernel() {
    let sandbox = Sandbox::new("process");
    sandbox.busybox();
    assert_eq!(run(&sandbox, &["--oom-score-adj", "321"], "cat /proc/self/oom_score_adj").ok(), "321");
    assert_eq!(
        run(
            &sandbox,
            &["--ulimit", "core=0", "--ulimit", "nproc=50:60"],
            "ulimit -c; grep -c 'Max processes *50 *60' /proc/self/limits"
        )
        .ok(),
        "0\n1"
    );
    assert_eq!(
        run(&sandbox, &["--sysctl", "kernel.msgmax=4096"], "cat /proc/sys/kernel/msgmax").ok(),
        "4096"
    );
    assert_eq!(
        run(&sandbox, &["-u", "5", "--group-add", "77", "--group-add", "mail"], "id -G").ok(),
        "0 8 77"
    );
    run(&sandbox, &["--group-add", "nosuch"], "true").fails(125, ["nosuch"]);
    assert_eq!(
        run(&sandbox, &["--domainname", "example.org"], "cat /proc/sys/kernel/domainname").ok(),
        "example.org"
    );
    run(&sandbox, &["--ulimit", "nofile=9:5"], "true").fails(125, ["--ulimit"]);
    run(&sandbox, &["--oom-score-adj", "1001"], "true").fails(125, ["--oom-score-adj"]);
}

#[test]
fn how_it_is_stopped_can_be_said() {
    let sandbox = Sandbox::new("stop");
    sandbox.busybox();
    let script = "trap 'exit 9' USR1; echo ready; while :; do sleep 0.1; done";
    let flags = ["--stop-signal", "USR1", "--stop-timeout", "20"];
    sandbox
        .engine(&[&["run", "-d", "--name", "box"], &flags[..], &["busybox", "sh", "-c", script]].concat())
        .ok();
    crate::support::eventually(10, "it is ready", || {
        sandbox.engine(&["logs", "box"]).stdout.contains("ready")
    });
    sandbox.engine(&["stop", "box"]).ok();
    assert_eq!(
        sandbox.engine(&["inspect", "-f", "{{.State.ExitCode}} {{.Config.StopTimeout}}", "box"]).ok(),
        "9 20"
    );
}

#[test]
fn memory_and_devices_and_their_rules() {
    let sandbox = Sandbox::new("memory");
    sandbox.busybox();
    let said =
        run(&sandbox, &["--tmpfs", "/t:size=1m,mode=700,exec"], "grep ' /t ' /proc/mounts; stat -c %a /t");
    let said = said.ok();
    assert!(said.contains("size=1024k") && said.ends_with("700") && !said.contains("noexec"), "{said}");
    assert!(
        run(&sandbox, &["--tmpfs", "/t"], "grep ' /t ' /proc/mounts").ok().contains("nosuid,nodev,noexec")
    );
    let fuse = std::path::Path::new("/dev/fuse").exists();
    let flags = if fuse { ["--device", "/dev/fuse:/dev/f:r"] } else { ["--device", "/dev/zero:/dev/f:r"] };
    assert_eq!(run(&sandbox, &flags, "test -c /dev/f && (: < /dev/f) && echo opened").ok(), "opened");
    // A device that opens for everybody who may: that of tunnels.
    if std::path::Path::new("/dev/net/tun").exists() {
        let script = "mknod /tmp/d c 10 200 && (: < /tmp/d) 2>/dev/null && echo opened; true";
        assert_eq!(run(&sandbox, &["--device-cgroup-rule", "c 10:200 r"], script).ok(), "opened");
        assert_eq!(run(&sandbox, &[], script).ok(), "");
    }
    run(&sandbox, &["--device-cgroup-rule", "x 1:11 r"], "true").fails(125, ["x 1:11 r"]);
}

#[test]
fn security_options_are_docker_s() {
    let sandbox = Sandbox::new("secopt");
    sandbox.busybox();
    let with = |option: &str, script: &str| run(&sandbox, &["--security-opt", option], script);
    let seccomp = "grep Seccomp: /proc/self/status | cut -f2";
    assert_eq!(with("seccomp=unconfined", seccomp).ok(), "0");
    assert_eq!(with("seccomp=builtin", seccomp).ok(), "2");
    let profile = sandbox.dir().join("profile.json");
    let text = r#"{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":["mkdir","mkdirat"],"action":"SCMP_ACT_ERRNO"}]}"#;
    std::fs::write(&profile, text).expect("writes");
    let denied = with(&format!("seccomp={}", profile.display()), "mkdir /tmp/x 2>/dev/null || echo denied");
    assert_eq!(denied.ok(), "denied");
    with("seccomp=/no/such/file", "true").fails(125, ["/no/such/file"]);
    assert_eq!(with("systempaths=unconfined", "grep -c ' /proc/sys ' /proc/mounts").stdout, "0\n");
    assert_eq!(with("no-new-privileges:true", "grep NoNewPrivs /proc/self/status | cut -f2").ok(), "1");
    assert_eq!(with("no-new-privileges=false", "grep NoNewPrivs /proc/self/status | cut -f2").ok(), "0");
    // Where there is no such module, as with docker, its options mean nothing.
    if !std::path::Path::new("/sys/module/apparmor").exists() {
        with("apparmor=nosuch", "true").ok();
    }
    if !std::path::Path::new("/sys/fs/selinux/enforce").exists() {
        with("label=type:nosuch_t", "true").ok();
    }
    let shown =
        created(&sandbox, &["--security-opt", "apparmor=unconfined"], "{{json .HostConfig.SecurityOpt}}");
    assert_eq!(shown, r#"["apparmor=unconfined"]"#);
    with("nosuch=1", "true").fails(125, ["invalid --security-opt"]);
    if !std::path::Path::new("/sys/fs/cgroup/cgroup.controllers").exists() {
        with("writable-cgroups", "true").fails(125, ["version 2"]);
    }
}
