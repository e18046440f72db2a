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
    let polite = "trap 'exit 7' TERM; trap 'exit 8' HUP; while :; do sleep 0.05; done";
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
    assert_eq!(sandbox.engine(&["wait", "told"]).ok(), "8");
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

/// A file of the container's own group, as it sees it: version 1 has one name for it, version 2 another.
fn group_file(sandbox: &Sandbox, one: &str, two: &str) -> String {
    let script = format!("cat /sys/fs/cgroup/{two} 2>/dev/null || cat /sys/fs/cgroup/{one}");
    sandbox.engine(&["exec", "web", "sh", "-c", &script]).ok().to_owned()
}

/// Whether this host's groups are of version 2.
fn unified() -> bool {
    std::path::Path::new("/sys/fs/cgroup/cgroup.controllers").exists()
}

#[test]
fn update_changes_the_limits_of_a_running_container() {
    let sandbox = Sandbox::new("update");
    sandbox.busybox();
    let limits = ["-m", "64m", "--memory-swap", "96m", "--pids-limit", "50"];
    let run = [["run", "-d", "--name", "web"].as_slice(), &limits, &["busybox", "sleep", "1000"]].concat();
    sandbox.engine(&run).ok();
    let update = |flags: &[&str]| {
        let words = [["update"].as_slice(), flags, &["web"]].concat();
        assert_eq!(sandbox.engine(&words).ok(), "web", "{flags:?}");
    };
    let memory = || group_file(&sandbox, "memory/memory.limit_in_bytes", "memory.max");
    // Both up, in which one has to go first, and both down, in which the other has to.
    for (memory_flag, swap, bytes) in [("128m", "256m", 128 << 20), ("32m", "48m", 32 << 20)] {
        update(&["-m", memory_flag, "--memory-swap", swap]);
        assert_eq!(memory(), bytes.to_string());
    }
    update(&["--memory", "40m"]);
    assert_eq!(memory(), (40 << 20).to_string());
    assert_eq!(shown(&sandbox, "{{.HostConfig.Memory}} {{.HostConfig.MemorySwap}}"), "41943040 50331648");
    update(&["--memory-reservation", "16m"]);
    let reserved = group_file(&sandbox, "memory/memory.soft_limit_in_bytes", "memory.low");
    assert_eq!(reserved, (16 << 20).to_string());
    update(&["--memory-swap", "-1", "--kernel-memory", "4m"]);
    assert_eq!(shown(&sandbox, "{{.HostConfig.MemorySwap}}"), "-1");
    update(&["--pids-limit", "77"]);
    assert_eq!(group_file(&sandbox, "pids/pids.max", "pids.max"), "77");
    for unlimited in ["0", "-1"] {
        update(&["--pids-limit", unlimited]);
        assert_eq!(group_file(&sandbox, "pids/pids.max", "pids.max"), "max");
    }
    update(&["-c", "512"]);
    let weight = if unified() { "59" } else { "512" };
    assert_eq!(group_file(&sandbox, "cpu/cpu.shares", "cpu.weight"), weight);
    update(&["--cpuset-cpus", "0", "--cpuset-mems", "0"]);
    assert_eq!(group_file(&sandbox, "cpuset/cpuset.cpus", "cpuset.cpus"), "0");
    assert_eq!(group_file(&sandbox, "cpuset/cpuset.mems", "cpuset.mems"), "0");
    update(&["--blkio-weight", "300"]);
    assert_eq!(shown(&sandbox, "{{.HostConfig.BlkioWeight}} {{.HostConfig.CpusetCpus}}"), "300 0");
    update(&["--cpu-quota", "20000", "--cpu-period", "50000"]);
    let quota = || group_file(&sandbox, "cpu/cpu.cfs_quota_us", "cpu.max");
    assert_eq!(quota().split(' ').next(), Some("20000"));
    update(&["--cpu-period", "60000"]);
    assert_eq!(quota().split(' ').next(), Some("20000"), "the quota stays");
    // A paused one hears of it too.
    sandbox.engine(&["pause", "web"]).ok();
    update(&["--cpu-shares", "1024"]);
    sandbox.engine(&["unpause", "web"]).ok();
    assert_eq!(group_file(&sandbox, "cpu/cpu.shares", "cpu.weight"), if unified() { "100" } else { "1024" });
}

#[test]
fn a_stopped_container_has_its_new_limits_when_it_is_started() {
    let sandbox = Sandbox::new("update-stopped");
    sandbox.busybox();
    sandbox.engine(&["create", "--name", "web", "busybox", "sleep", "1000"]).ok();
    sandbox.engine(&["create", "--name", "other", "busybox", "true"]).ok();
    let words = ["container", "update", "--memory", "50m", "--cpus", "0.5", "web", "other"];
    assert_eq!(sandbox.engine(&words).ok(), "web\nother");
    assert_eq!(shown(&sandbox, "{{.HostConfig.Memory}} {{.HostConfig.NanoCpus}}"), "52428800 500000000");
    sandbox.engine(&["start", "web"]).ok();
    let memory = group_file(&sandbox, "memory/memory.limit_in_bytes", "memory.max");
    assert_eq!(memory, (50 << 20).to_string());
    assert!(group_file(&sandbox, "cpu/cpu.cfs_quota_us", "cpu.max").starts_with("50000"));
    sandbox.engine(&["update", "--cpus", "1", "web"]).ok();
    assert!(group_file(&sandbox, "cpu/cpu.cfs_quota_us", "cpu.max").starts_with("100000"));
}

#[test]
fn an_update_that_cannot_be_is_refused_and_changes_nothing() {
    let sandbox = Sandbox::new("update-refused");
    sandbox.busybox();
    let run = ["run", "-d", "--name", "web", "-m", "64m", "--cpus", "0.5", "busybox", "sleep", "1000"];
    sandbox.engine(&run).ok();
    let before = sandbox.engine(&["inspect", "-f", "{{json .HostConfig}}", "web"]).ok().to_owned();
    for (flags, reason) in [
        (["-m", "200m"].as_slice(), "smaller than already set memoryswap limit"),
        (&["-m", "1m"], "6 MiB"),
        (&["-m", "64m", "--memory-swap", "32m"], "less than the memory limit"),
        (&["--memory-reservation", "100m"], "more than the memory limit"),
        (&["--cpu-quota", "20000"], "CPU Quota cannot be updated as NanoCPUs has already been set"),
        (&["--cpu-period", "20000"], "CPU Period cannot be updated as NanoCPUs has already been set"),
        (&["--cpus", "4000"], "CPUs available"),
        (&["--cpuset-cpus", "4000"], "not available"),
        (&["--cpuset-mems", "400"], "not available"),
        // Of a kernel that has none as well.
        (&["--cpu-rt-period", "1000", "--cpu-rt-runtime", "2000"], "real-time"),
        (&[], "you must provide one or more flags"),
    ] {
        sandbox.engine(&[["update"].as_slice(), flags, &["web"]].concat()).fails(1, [reason]);
    }
    assert_eq!(sandbox.engine(&["inspect", "-f", "{{json .HostConfig}}", "web"]).ok(), before);
    let ran = sandbox.engine(&["update", "--cpu-shares", "100", "nosuch", "web"]);
    ran.fails(1, ["nosuch"]);
    assert_eq!(ran.stdout, "web\n");
}

#[test]
fn update_changes_real_time_scheduling_where_the_kernel_has_it() {
    let sandbox = Sandbox::new("update-rt");
    if !std::path::Path::new("/sys/fs/cgroup/cpu/cpu.rt_period_us").exists() {
        println!("skipped: this kernel has no real-time scheduling of control groups");
        return;
    }
    sandbox.busybox();
    sandbox.engine(&["run", "-d", "--name", "web", "busybox", "sleep", "1000"]).ok();
    assert_eq!(sandbox.engine(&["update", "--cpu-rt-period", "500000", "web"]).ok(), "web");
    let period = sandbox.engine(&["exec", "web", "cat", "/sys/fs/cgroup/cpu/cpu.rt_period_us"]);
    assert_eq!(period.ok(), "500000");
    let shown = sandbox.engine(&["inspect", "-f", "{{.HostConfig.CpuRealtimePeriod}}", "web"]);
    assert_eq!(shown.ok(), "500000");
    // What it may use is checked against the period that there is.
    sandbox.engine(&["update", "--cpu-rt-runtime", "600000", "web"]).fails(1, ["real-time"]);
}

#[test]
fn update_changes_when_a_container_is_started_again() {
    let sandbox = Sandbox::new("update-restart");
    sandbox.busybox();
    sandbox.engine(&["run", "-d", "--name", "web", "busybox", "sh", "-c", "sleep 2; exit 3"]).ok();
    assert_eq!(sandbox.engine(&["update", "--restart", "on-failure:1", "web"]).ok(), "web");
    let policy = "{{.HostConfig.RestartPolicy.Name}} {{.HostConfig.RestartPolicy.MaximumRetryCount}}";
    assert_eq!(shown(&sandbox, policy), "on-failure 1");
    eventually(20, "it was started again, once", || {
        shown(&sandbox, "{{.State.Status}} {{.RestartCount}}") == "exited 1"
    });
    sandbox.engine(&["run", "-d", "--rm", "--name", "gone", "busybox", "sleep", "1000"]).ok();
    let words = ["update", "--restart", "always", "gone"];
    sandbox.engine(&words).fails(1, ["Restart policy cannot be updated because AutoRemove is enabled"]);
    sandbox.engine(&["update", "--restart", "no", "gone"]).ok();
}

#[test]
fn top_shows_the_processes_of_a_container_and_no_others() {
    let sandbox = Sandbox::new("top");
    sandbox.busybox();
    let script = "sleep 1001 & exec sleep 1002";
    sandbox.engine(&["run", "-d", "--name", "web", "busybox", "sh", "-c", script]).ok();
    sandbox.engine(&["exec", "-d", "web", "sleep", "1003"]).ok();
    let rows = |words: &[&str]| -> Vec<Vec<String>> {
        let text = sandbox.engine(&[["top", "web"].as_slice(), words].concat()).ok().to_owned();
        text.lines().map(|line| line.split_whitespace().map(str::to_owned).collect()).collect()
    };
    eventually(10, "all three are there", || rows(&[]).len() == 4);
    let found = rows(&[]);
    assert_eq!(found[0], ["UID", "PID", "PPID", "C", "STIME", "TTY", "TIME", "CMD"]);
    assert_eq!((found[1][0].as_str(), found[1][7..].join(" ").as_str()), ("root", "sleep 1002"));
    // The numbers are the host's.
    assert_eq!(found[1][1], shown(&sandbox, "{{.State.Pid}}"));
    for (words, titles) in [
        (["-ef"].as_slice(), "UID PID PPID C STIME TTY TIME CMD"),
        (&["-o", "pid,user,comm"], "PID USER COMMAND"),
        (&["-eo", "pid,ppid,stime,etime,rss,args"], "PID PPID STIME ELAPSED RSS COMMAND"),
        (&["aux"], "USER PID %CPU %MEM VSZ RSS TTY STAT START TIME COMMAND"),
        (&["-o", "pid,lstart"], "PID STARTED"),
    ] {
        let found = rows(words);
        assert_eq!(found[0].join(" "), titles, "{words:?}");
        assert_eq!(found.len(), 4, "{words:?}");
    }
    // It says of them what ps says.
    let own = rows(&["-o", "pid,ppid,pgid,sid,uid,gid,user,group,comm,tname,nlwp,ni,time,args"]);
    let theirs = rows(&["-w", "-o", "pid,ppid,pgid,sid,uid,gid,user,group,comm,tname,nlwp,ni,time,args"]);
    let sorted = |mut rows: Vec<Vec<String>>| {
        rows.sort();
        rows
    };
    assert_eq!(sorted(own), sorted(theirs));
    assert!(sandbox.engine(&["container", "top", "web"]).ok().starts_with("UID                 PID  "));
    sandbox.engine(&["top", "web", "-o", "args"]).fails(1, ["Couldn't find PID field in ps output"]);
    sandbox.engine(&["top", "web", "--nosuch"]).fails(1, ["ps"]);
    sandbox.engine(&["pause", "web"]).ok();
    assert_eq!(rows(&[]).len(), 4);
    sandbox.engine(&["create", "--name", "idle", "busybox", "true"]).ok();
    sandbox.engine(&["top", "idle"]).fails(1, ["idle", "is not running"]);
    sandbox.engine(&["top", "nosuch"]).fails(1, ["nosuch"]);
}

#[test]
fn wait_knows_docker_s_conditions() {
    let sandbox = Sandbox::new("wait");
    sandbox.busybox();
    sandbox.engine(&["create", "--name", "web", "busybox", "sh", "-c", "sleep 0.5; exit 4"]).ok();
    assert_eq!(sandbox.engine(&["wait", "web"]).ok(), "0", "it does not run");
    let next = sandbox.engine_in_background(&["wait", "--condition", "next-exit", "web"]);
    let removed = sandbox.engine_in_background(&["container", "wait", "--condition", "removed", "web"]);
    std::thread::sleep(Duration::from_millis(500));
    sandbox.engine(&["start", "web"]).ok();
    assert_eq!(sandbox.engine(&["wait", "--condition", "not-running", "web"]).ok(), "4");
    assert_eq!(next.wait().ok(), "4");
    let begin = Instant::now();
    std::thread::sleep(Duration::from_millis(300));
    sandbox.engine(&["rm", "web"]).ok();
    assert_eq!(removed.wait().ok(), "4");
    assert!(begin.elapsed() >= Duration::from_millis(300));
    let next = {
        sandbox.engine(&["create", "--name", "gone", "busybox", "true"]).ok();
        let next = sandbox.engine_in_background(&["wait", "--condition", "next-exit", "gone"]);
        std::thread::sleep(Duration::from_millis(500));
        sandbox.engine(&["rm", "gone"]).ok();
        next
    };
    next.wait().fails(1, ["gone"]);
    sandbox
        .engine(&["wait", "--condition", "nosuch", "web"])
        .fails(125, ["not-running, next-exit or removed"]);
    // What removes itself is gone when that is told.
    sandbox.engine(&["run", "-d", "--rm", "--name", "self", "busybox", "sh", "-c", "sleep 1; exit 5"]).ok();
    assert_eq!(sandbox.engine(&["wait", "--condition", "removed", "self"]).ok(), "5");
    sandbox.engine(&["inspect", "self"]).fails(1, ["self"]);
}

#[test]
fn what_was_done_to_a_container_is_told() {
    let sandbox = busy("control-events");
    for words in [["pause", "web"].as_slice(), &["unpause", "web"], &["update", "-c", "100", "web"]] {
        sandbox.engine(words).ok();
    }
    sandbox.engine(&["top", "web"]).ok();
    // While it is read it holds still, and goes on.
    sandbox.engine(&["commit", "web", "held"]).ok();
    assert_eq!(shown(&sandbox, "{{.State.Status}}"), "running");
    sandbox.engine(&["commit", "--pause=false", "web", "moving"]).ok();
    let words =
        ["events", "--since", "1h", "--until", "0s", "--filter", "container=web", "--format", "{{.Action}}"];
    let told = sandbox.engine(&words).ok().to_owned();
    let told: Vec<&str> = told.lines().skip_while(|action| *action != "pause").collect();
    let wanted = ["pause", "unpause", "update", "top", "pause", "unpause", "commit", "commit"];
    assert_eq!(told, wanted);
}
