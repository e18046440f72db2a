//! Containers that are started again: by their monitor, with no other process of the engine alive, and by whoever
//! starts what should run.

use crate::support::{Sandbox, eventually};

fn field(sandbox: &Sandbox, name: &str, field: &str) -> String {
    sandbox.engine(&["inspect", "-f", &format!("{{{{{field}}}}}"), name]).ok().to_owned()
}

/// The monitor of a running container.
fn monitor(sandbox: &Sandbox, name: &str) -> String {
    let pid = field(sandbox, name, ".State.Pid");
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("it runs");
    status.lines().find_map(|line| line.strip_prefix("PPid:\t")).expect("a parent").to_owned()
}

fn lost(sandbox: &Sandbox, name: &str) {
    let monitor = monitor(sandbox, name);
    sandbox.host(&["kill", "-9", &monitor]).ok();
    eventually(1, "the loss is seen", || field(sandbox, name, ".State.Running") == "false");
}

#[test]
fn a_failing_program_is_started_again_so_often_and_every_life_is_logged_in_order() {
    let sandbox = Sandbox::new("on-failure");
    sandbox.busybox();
    let script = "echo x >> /lives; echo life $(wc -l < /lives); echo oops >&2; exit 3";
    sandbox
        .engine(&["run", "-d", "--name", "fails", "--restart", "on-failure:3", "busybox", "sh", "-c", script])
        .ok();
    eventually(10, "it gives up", || field(&sandbox, "fails", ".State.Status") == "exited");
    assert_eq!(field(&sandbox, "fails", ".RestartCount"), "3");
    assert_eq!(field(&sandbox, "fails", ".State.ExitCode"), "3");
    let log = sandbox.engine(&["logs", "fails"]);
    assert_eq!(
        (log.stdout.as_str(), log.stderr.as_str()),
        ("life 1\nlife 2\nlife 3\nlife 4\n", "oops\noops\noops\noops\n")
    );
    assert_eq!(field(&sandbox, "fails", ".HostConfig.RestartPolicy.Name"), "on-failure");
    assert_eq!(field(&sandbox, "fails", ".HostConfig.RestartPolicy.MaximumRetryCount"), "3");
    let events = std::fs::read_to_string(sandbox.run_root().join("events")).expect("a journal");
    let died = |line: &&str| line.contains("\"Action\":\"die\"") && line.contains("\"exitCode\":\"3\"");
    assert_eq!(events.lines().filter(died).count(), 4, "{events}");
    assert_eq!(events.lines().filter(|line| line.contains("\"Action\":\"start\"")).count(), 4, "{events}");
    let mut own = events.lines().filter(|line| line.contains("\"Type\":\"container\""));
    assert!(own.all(|line| line.contains("\"name\":\"fails\"")), "{events}");
    // A success is none of its business, and a start by hand counts anew.
    let once = ["run", "--name", "well", "--restart", "on-failure", "busybox", "true"];
    assert_eq!(sandbox.engine(&once).code, 0);
    eventually(5, "it is over", || field(&sandbox, "well", ".State.Status") == "exited");
    assert_eq!(field(&sandbox, "well", ".RestartCount"), "0");
}

#[test]
fn what_is_always_started_again_keeps_its_address_and_its_ports() {
    let sandbox = Sandbox::new("always");
    sandbox.busybox();
    // A server that ends with its first client.
    let script = "echo up; hostname -i; nc -l -p 80 -e echo served";
    sandbox
        .engine(&[
            "run",
            "-d",
            "--name",
            "web",
            "--restart",
            "always",
            "-p",
            "8080:80",
            "busybox",
            "sh",
            "-c",
            script,
        ])
        .ok();
    let address = field(&sandbox, "web", ".NetworkSettings.IPAddress");
    let namespace = |pid: &str| std::fs::read_link(format!("/proc/{pid}/ns/net")).expect("it runs");
    let (first, started) = (field(&sandbox, "web", ".State.Pid"), field(&sandbox, "web", ".State.StartedAt"));
    let before = namespace(&first);
    for life in 1..=3 {
        eventually(10, "the published port answers in every life", || {
            sandbox.host(&["bash", "-c", "exec 3<>/dev/tcp/127.0.0.1/8080; cat <&3"]).stdout == "served\n"
        });
        eventually(10, "it is started again", || {
            field(&sandbox, "web", ".RestartCount") == life.to_string()
                && field(&sandbox, "web", ".State.Status") == "running"
        });
        assert_eq!(field(&sandbox, "web", ".NetworkSettings.IPAddress"), address);
    }
    let pid = field(&sandbox, "web", ".State.Pid");
    assert_ne!(pid, first);
    assert_eq!(namespace(&pid), before, "its network namespace stayed");
    assert_ne!(field(&sandbox, "web", ".State.StartedAt"), started);
    let log = sandbox.engine(&["logs", "web"]).stdout;
    assert_eq!(log.matches(&address).count(), 4, "{log}");
    sandbox.engine(&["stop", "-t", "0", "web"]).ok();
    assert_eq!(field(&sandbox, "web", ".State.Status"), "exited");
    assert_eq!(field(&sandbox, "web", ".RestartCount"), "3", "it is told of a container that has ended too");
    sandbox.engine(&["run", "--rm", "-p", "8080:80", "busybox", "true"]).ok();
    sandbox.engine(&["start", "web"]).ok();
    assert_eq!(field(&sandbox, "web", ".RestartCount"), "0");
}

#[test]
fn a_stop_in_the_pause_between_two_lives_ends_it_at_once() {
    let sandbox = Sandbox::new("backoff");
    sandbox.busybox();
    sandbox
        .engine(&["run", "-d", "--name", "loop", "--restart", "always", "busybox", "sh", "-c", "exit 7"])
        .ok();
    // Pauses double: the fifth is 1.6 seconds long.
    eventually(10, "it fails for the fifth time", || {
        field(&sandbox, "loop", ".RestartCount") == "5"
            && field(&sandbox, "loop", ".State.Status") == "restarting"
    });
    let ps = sandbox.engine(&[
        "ps",
        "--filter",
        "status=restarting",
        "--format",
        "{{.Names}} {{.State}} {{.Status}}",
    ]);
    assert!(ps.ok().starts_with("loop restarting Restarting (7) "), "{}", ps.stdout);
    let format = "{{.State.Restarting}} {{.State.Running}} {{.State.ExitCode}} {{.State.Pid}}";
    assert_eq!(sandbox.engine(&["inspect", "-f", format, "loop"]).ok(), "true true 7 0");
    sandbox.engine(&["exec", "loop", "true"]).fails(1, ["restarting"]);
    sandbox.engine(&["attach", "loop"]).fails(1, ["restarting"]);
    sandbox.engine(&["rm", "loop"]).fails(1, ["restarting"]);
    let begin = std::time::Instant::now();
    sandbox.engine(&["stop", "loop"]).ok();
    assert!(begin.elapsed().as_millis() < 1500, "it did not wait for the next life: {:?}", begin.elapsed());
    assert_eq!(
        sandbox.engine(&["inspect", "-f", "{{.State.Status}} {{.State.ExitCode}}", "loop"]).ok(),
        "exited 7"
    );
    sandbox.engine(&["start", "loop"]).ok();
    eventually(5, "it fails again", || field(&sandbox, "loop", ".State.Status") == "restarting");
    sandbox.engine(&["rm", "-f", "loop"]).ok();
    assert_eq!(sandbox.engine(&["ps", "-aq"]).ok(), "");
}

#[test]
fn a_user_s_word_is_obeyed_under_every_policy_and_other_signals_are_the_program_s_affair() {
    let sandbox = Sandbox::new("obeyed");
    sandbox.busybox();
    let script = "trap 'exit 5' USR1; trap 'exit 6' QUIT; echo ready; while true; do sleep 0.1; done";
    let run = [
        "run",
        "-d",
        "--name",
        "loop",
        "--restart",
        "always",
        "--stop-signal",
        "QUIT",
        "busybox",
        "sh",
        "-c",
        script,
    ];
    sandbox.engine(&run).ok();
    eventually(5, "its traps are set", || sandbox.engine(&["logs", "loop"]).stdout == "ready\n");
    sandbox.engine(&["kill", "-s", "USR1", "loop"]).ok();
    eventually(5, "it is started again", || {
        field(&sandbox, "loop", ".RestartCount") == "1"
            && field(&sandbox, "loop", ".State.Status") == "running"
    });
    // By another process, the program is killed: that is no user's word.
    let pid = field(&sandbox, "loop", ".State.Pid");
    sandbox.host(&["kill", "-9", &pid]).ok();
    eventually(5, "it is started again", || {
        field(&sandbox, "loop", ".RestartCount") == "2"
            && field(&sandbox, "loop", ".State.Status") == "running"
    });
    for words in [&["kill", "-s", "QUIT", "loop"][..], &["kill", "loop"], &["stop", "-t", "0", "loop"]] {
        sandbox.engine(words).ok();
        eventually(5, "it has ended", || field(&sandbox, "loop", ".State.Status") == "exited");
        sandbox.engine(&["start", "loop"]).ok();
        assert_eq!(field(&sandbox, "loop", ".State.Running"), "true");
    }
    sandbox.engine(&["restart", "-t", "0", "loop"]).ok();
    assert_eq!(field(&sandbox, "loop", ".State.Status"), "running");
    assert_eq!(field(&sandbox, "loop", ".RestartCount"), "0", "a restart by hand is none of the policy's");
}

#[test]
fn who_is_attached_is_let_go_at_the_end_of_a_life_and_who_waits_too() {
    let sandbox = Sandbox::new("let-go");
    sandbox.busybox();
    let script = "echo hello; sleep 0.5; exit 4";
    let ran = sandbox.engine(&["run", "--name", "att", "--restart", "always", "busybox", "sh", "-c", script]);
    assert_eq!((ran.code, ran.stdout.as_str()), (4, "hello\n"), "{ran:?}");
    eventually(5, "it runs again", || field(&sandbox, "att", ".State.Status") == "running");
    assert_eq!(sandbox.engine(&["wait", "att"]).ok(), "4");
    sandbox.engine(&["rm", "-f", "att"]).ok();
}

#[test]
fn a_start_that_fails_later_is_a_failed_life_and_says_why() {
    let sandbox = Sandbox::new("gone");
    sandbox.busybox();
    let source = sandbox.dir().join("source");
    std::fs::create_dir(&source).expect("a directory");
    let mount = format!("type=bind,src={},dst=/s", source.display());
    let script = "test ! -e /s/end";
    sandbox
        .engine(&[
            "run",
            "-d",
            "--name",
            "gone",
            "--restart",
            "always",
            "--mount",
            &mount,
            "busybox",
            "sh",
            "-c",
            &format!("{script} && while {script}; do sleep 0.1; done; exit 1"),
        ])
        .ok();
    std::fs::rename(&source, sandbox.dir().join("moved")).expect("moves");
    std::fs::write(sandbox.dir().join("moved/end"), "").expect("writes");
    eventually(10, "it cannot be started", || field(&sandbox, "gone", ".State.Error").contains("source"));
    assert_eq!(field(&sandbox, "gone", ".State.Status"), "restarting");
    assert_eq!(field(&sandbox, "gone", ".State.ExitCode"), "128");
    std::fs::create_dir(&source).expect("a directory");
    eventually(20, "it runs when it can", || field(&sandbox, "gone", ".State.Status") == "running");
    assert_eq!(field(&sandbox, "gone", ".State.Error"), "");
    std::fs::remove_dir(&source).expect("is empty");
    sandbox.engine(&["rm", "-f", "gone"]).ok();
}

#[test]
fn all_that_should_run_is_started_after_a_loss_and_nothing_else() {
    let sandbox = Sandbox::new("start-all");
    sandbox.busybox();
    let policies = [
        ("always", "always"),
        ("always-stopped", "always"),
        ("unless", "unless-stopped"),
        ("unless-stopped", "unless-stopped"),
        ("failure", "on-failure"),
        ("failure-stopped", "on-failure"),
        ("no", "no"),
    ];
    for (name, policy) in policies {
        sandbox.engine(&["run", "-d", "--name", name, "--restart", policy, "busybox", "sleep", "1000"]).ok();
        if name.ends_with("stopped") {
            sandbox.engine(&["stop", "-t", "0", name]).ok();
        } else {
            lost(&sandbox, name);
        }
    }
    sandbox.engine(&["create", "--name", "never", "--restart", "always", "busybox", "sleep", "1000"]).ok();
    sandbox.engine(&["run", "-d", "--name", "on", "--restart", "always", "busybox", "sleep", "1000"]).ok();
    sandbox.engine(&["run", "--name", "fine", "--restart", "on-failure", "busybox", "true"]).ok();
    let started = sandbox.engine(&["system", "start-all"]).ok().to_owned();
    assert_eq!(started.lines().collect::<Vec<_>>(), ["always", "always-stopped", "unless", "failure"]);
    for name in started.lines() {
        assert_eq!(field(&sandbox, name, ".State.Running"), "true", "{name}");
    }
    for name in ["unless-stopped", "failure-stopped", "no", "never", "fine"] {
        assert_eq!(field(&sandbox, name, ".State.Running"), "false", "{name}");
    }
    assert_eq!(sandbox.engine(&["system", "start-all"]).ok(), "", "all that should run does");
    // One that cannot be started does not keep the others from it.
    let source = sandbox.dir().join("source");
    std::fs::create_dir(&source).expect("a directory");
    let mount = format!("type=bind,src={},dst=/s", source.display());
    let words = [
        "run",
        "-d",
        "--name",
        "broken",
        "--restart",
        "always",
        "--mount",
        &mount,
        "busybox",
        "sleep",
        "1000",
    ];
    sandbox.engine(&words).ok();
    lost(&sandbox, "broken");
    lost(&sandbox, "on");
    std::fs::remove_dir(&source).expect("is empty");
    let ran = sandbox.engine(&["system", "start-all"]);
    ran.fails(1, ["source"]);
    assert_eq!(ran.stdout, "on\n");
}

#[test]
fn a_killed_monitor_takes_its_container_along_and_the_loss_is_told() {
    let sandbox = Sandbox::new("monitor-killed");
    sandbox.busybox();
    sandbox.engine(&["run", "-d", "--name", "lost", "--restart", "always", "busybox", "sleep", "1000"]).ok();
    let pid = field(&sandbox, "lost", ".State.Pid");
    lost(&sandbox, "lost");
    let gone = || {
        std::fs::read_to_string(format!("/proc/{pid}/status")).map_or(true, |text| text.contains("State:\tZ"))
    };
    eventually(1, "its program is gone", gone);
    let format = "{{.State.Status}} {{.State.ExitCode}} {{.State.Error}}";
    let state = sandbox.engine(&["inspect", "-f", format, "lost"]).ok().to_owned();
    assert!(state.starts_with("exited 255 its monitor ended without a record"), "{state}");
    let events = std::fs::read_to_string(sandbox.run_root().join("events")).expect("a journal");
    let die: Vec<&str> = events.lines().filter(|line| line.contains("\"Action\":\"die\"")).collect();
    assert!(matches!(die.as_slice(), [line] if line.contains("\"exitCode\":\"255\"")), "{events}");
    assert_eq!(sandbox.engine(&["start", "lost"]).ok(), "lost");
}

#[test]
fn a_program_that_outlives_its_monitor_is_found_and_killed_by_whoever_looks_next() {
    let sandbox = Sandbox::new("cleared");
    let script =
        "import ctypes, time; ctypes.CDLL(None).prctl(1, 0); print('cleared', flush=True); time.sleep(1000)";
    sandbox.engine(&["run", "-d", "--name", "tough", "--rootfs", "/:O", "python3", "-c", script]).ok();
    eventually(10, "it has said that it will stay", || {
        sandbox.engine(&["logs", "tough"]).stdout == "cleared\n"
    });
    let pid = field(&sandbox, "tough", ".State.Pid");
    let monitor = monitor(&sandbox, "tough");
    sandbox.host(&["kill", "-9", &monitor]).ok();
    let alive = || {
        std::fs::read_to_string(format!("/proc/{pid}/status")).is_ok_and(|text| !text.contains("State:\tZ"))
    };
    eventually(2, "the monitor is gone", || !std::path::Path::new(&format!("/proc/{monitor}")).exists());
    assert!(alive(), "it does not end by itself");
    assert_eq!(
        sandbox.engine(&["inspect", "-f", "{{.State.Status}} {{.State.ExitCode}}", "tough"]).ok(),
        "exited 255"
    );
    eventually(2, "whoever looked has killed it", || !alive());
}

#[test]
fn flags_that_contradict_each_other_are_refused() {
    let sandbox = Sandbox::new("conflict");
    sandbox.busybox();
    sandbox
        .engine(&["run", "--rm", "--restart", "always", "busybox", "true"])
        .fails(125, ["conflicting options: cannot specify both --restart and --rm"]);
    sandbox.engine(&["run", "--rm", "--restart", "no", "busybox", "true"]).ok();
    sandbox.engine(&["run", "--restart", "sometimes", "busybox", "true"]).fails(125, ["restart policy"]);
    sandbox.engine(&["run", "--restart", "always:3", "busybox", "true"]).fails(125, ["number of retries"]);
}

#[test]
fn memory_that_ran_out_is_told_of_the_life_it_ended_and_of_no_other() {
    let sandbox = Sandbox::new("restart-oom");
    sandbox.busybox();
    let script = "test -e /second && exit 5; touch /second; exec tail /dev/zero";
    let flags =
        ["run", "-d", "--name", "hungry", "--restart", "on-failure:1", "-m", "16m", "--memory-swap", "16m"];
    sandbox.engine(&[&flags[..], &["busybox", "sh", "-c", script]].concat()).ok();
    eventually(10, "it gives up", || field(&sandbox, "hungry", ".State.Status") == "exited");
    let format = "{{.RestartCount}} {{.State.ExitCode}} {{.State.OOMKilled}}";
    assert_eq!(sandbox.engine(&["inspect", "-f", format, "hungry"]).ok(), "1 5 false");
    let events = std::fs::read_to_string(sandbox.run_root().join("events")).expect("a journal");
    assert_eq!(events.matches("\"Action\":\"oom\"").count(), 1, "{events}");
    assert_eq!(events.matches("\"exitCode\":\"137\"").count(), 1, "{events}");
}

#[test]
fn a_terminal_and_a_read_only_root_are_there_in_every_life() {
    let sandbox = Sandbox::new("restart-tty");
    sandbox.busybox();
    let script = "tty; touch /x 2>&1 | grep -o Read-only; echo y >> /v/lives; exit 1";
    let flags = [
        "run",
        "-d",
        "-t",
        "--init",
        "--read-only",
        "-v",
        "lives:/v",
        "--name",
        "term",
        "--restart",
        "on-failure:2",
    ];
    sandbox.engine(&[&flags[..], &["busybox", "sh", "-c", script]].concat()).ok();
    eventually(10, "it gives up", || field(&sandbox, "term", ".State.Status") == "exited");
    let log = sandbox.engine(&["logs", "term"]).stdout;
    assert_eq!((log.matches("/dev/pts/0").count(), log.matches("Read-only").count()), (3, 3), "{log}");
    let lives = sandbox.engine(&["run", "--rm", "-v", "lives:/v", "busybox", "cat", "/v/lives"]);
    assert_eq!(lives.ok(), "y\ny\ny");
}

#[test]
fn a_monitor_that_is_killed_between_two_lives_is_missed_too() {
    let sandbox = Sandbox::new("killed-pause");
    sandbox.busybox();
    let script = "test -e /v/well && exec sleep 1000; exit 9";
    let flags = ["run", "-d", "--name", "loop", "-v", "state:/v", "--restart", "on-failure"];
    sandbox.engine(&[&flags[..], &["busybox", "sh", "-c", script]].concat()).ok();
    let first = monitor_of_run_dir(&sandbox);
    eventually(10, "it waits for its next life", || {
        field(&sandbox, "loop", ".RestartCount") == "5"
            && field(&sandbox, "loop", ".State.Status") == "restarting"
    });
    sandbox.host(&["kill", "-9", &first]).ok();
    eventually(1, "the loss is seen", || field(&sandbox, "loop", ".State.Status") == "exited");
    assert_eq!(field(&sandbox, "loop", ".State.ExitCode"), "255");
    sandbox.engine(&["run", "--rm", "-v", "state:/v", "busybox", "touch", "/v/well"]).ok();
    assert_eq!(sandbox.engine(&["system", "start-all"]).ok(), "loop");
    assert_eq!(field(&sandbox, "loop", ".State.Status"), "running");
}

/// The monitor of the only container: the process that works in its run directory.
fn monitor_of_run_dir(sandbox: &Sandbox) -> String {
    let here = sandbox.run_root().join("containers");
    let processes = std::fs::read_dir("/proc").expect("reads").flatten();
    let found = processes
        .map(|entry| entry.path())
        .find(|path| std::fs::read_link(path.join("cwd")).is_ok_and(|cwd| cwd.starts_with(&here)));
    let path = found.expect("a monitor");
    path.file_name().and_then(|name| name.to_str()).expect("a number").to_owned()
}
