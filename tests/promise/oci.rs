//! `engine oci`: the command line of runc. What both do the same way is asked of both, side by side.

use std::os::fd::AsRawFd;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::oci::{Oci, with_both};
use crate::support::{eventually, receive, run};

#[test]
fn a_container_is_created_started_and_deleted() {
    with_both("oci-life", |oci| {
        let bundle = oci.bundle("echo begun > /began; exec sleep 60");
        let (id, pid_file) = (oci.id("life"), oci.dir().join("pid"));
        let pid_file = pid_file.to_str().expect("a path");
        oci.run(&["create", "--bundle", bundle.path(), "--pid-file", pid_file, &id]).ok();
        let state = oci.state(&id);
        let pid = std::fs::read_to_string(pid_file).expect("reads");
        assert_eq!(state["status"], "created");
        assert_eq!(state["pid"].to_string(), pid);
        assert!(Path::new(&format!("/proc/{pid}")).exists());
        assert_eq!(state["ociVersion"].as_str().map(|version| version.starts_with("1.")), Some(true));
        assert_eq!((&state["id"], &state["bundle"]), (&json!(id), &json!(bundle.path)));
        assert_eq!(state["rootfs"], json!(bundle.rootfs()));
        assert_eq!(state["annotations"], json!({ "org.example.key": "value" }));
        assert!(state["created"].as_str().is_some_and(|time| time.ends_with('Z')));
        let members: Vec<&str> = state.as_object().expect("an object").keys().map(String::as_str).collect();
        let expected =
            ["annotations", "bundle", "created", "id", "ociVersion", "owner", "pid", "rootfs", "status"];
        assert_eq!(members, expected);
        assert!(!bundle.rootfs().join("began").exists(), "it waits for its start");

        oci.run(&["start", &id]).ok();
        eventually(10, "the program runs", || bundle.rootfs().join("began").exists());
        assert_eq!(oci.status(&id), "running");
        oci.run(&["kill", &id, "KILL"]).ok();
        eventually(10, "it has ended", || oci.status(&id) == "stopped");
        assert_eq!(oci.state(&id)["pid"], 0);
        oci.run(&["delete", &id]).ok();
        oci.run(&["state", &id]).fails(1, ["does not exist"]);
        assert_eq!(oci.run(&["list", "-q"]).ok(), "");
    });
}

#[test]
fn what_a_container_s_state_does_not_allow_is_refused() {
    with_both("oci-state", |oci| {
        let bundle = oci.bundle("exec sleep 60");
        let id = oci.id("state");
        let create = ["create", "-b", bundle.path(), &id];
        oci.run(&create).ok();
        oci.run(&create).fails(1, ["container with given ID already exists"]);
        oci.run(&["resume", &id]).fails(1, ["not paused"]);
        oci.run(&["start", &id]).ok();
        oci.run(&["start", &id]).fails(1, ["cannot start an already running container"]);
        oci.run(&["delete", &id]).fails(1, ["that is not stopped"]);
        assert_eq!(oci.status(&id), "running", "it lives on");
        oci.run(&["kill", &id, "NOSUCH"]).fails(1, ["NOSUCH"]);
        oci.run(&["kill", &id, "9"]).ok();
        eventually(10, "it has ended", || oci.status(&id) == "stopped");
        oci.run(&["start", &id]).fails(1, ["cannot start a container that has stopped"]);
        oci.run(&["kill", &id, "TERM"]).fails(1, ["container not running"]);
        oci.run(&["exec", &id, "true"]).fails(255, ["cannot exec in a stopped container"]);
        oci.run(&["pause", &id]).fails(1, ["not running"]);
        oci.run(&["delete", &id]).ok();

        for verb in ["state", "start", "kill", "delete", "pause", "resume", "ps", "update"] {
            oci.run(&[verb, &id]).fails(1, ["container does not exist"]);
        }
        oci.run(&["exec", &id, "true"]).fails(255, ["container does not exist"]);
        oci.run(&["delete", "--force", &id]).ok();
        for name in ["a/b", "..", "ä"] {
            oci.run(&["create", "-b", bundle.path(), name]).fails(1, ["invalid"]);
        }
        oci.run(&["nosuchverb"]).fails(3, ["No help topic for 'nosuchverb'"]);
        oci.run(&["start"]).fails(1, ["argument"]);
    });
}

#[test]
fn a_running_container_is_deleted_by_force_and_a_created_one_without() {
    with_both("oci-force", |oci| {
        let bundle = oci.bundle("trap '' TERM; sleep 60 & wait");
        let (one, two) = (oci.id("one"), oci.id("two"));
        oci.detached(&bundle, &one);
        let pid = oci.state(&one)["pid"].to_string();
        oci.run(&["delete", "--force", &one]).ok();
        assert!(!Path::new(&format!("/proc/{pid}/exe")).exists() || is_zombie(&pid), "{pid} still runs");
        oci.run(&["create", "-b", bundle.path(), &two]).ok();
        oci.run(&["delete", &two]).ok();
        assert_eq!(oci.run(&["list", "-q"]).ok(), "");
    });
}

fn is_zombie(pid: &str) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/status")).is_ok_and(|status| status.contains("Z (zombie)"))
}

#[test]
fn run_ends_as_the_program_does() {
    with_both("oci-run", |oci| {
        let ran = oci.run_bundle(&oci.bundle("echo out; echo err >&2; exit 7"));
        assert_eq!((ran.code, ran.stdout.as_str(), ran.stderr.as_str()), (7, "out\n", "err\n"));
        assert_eq!(
            oci.run_bundle(&oci.bundle("kill -KILL $$")).code,
            0,
            "the first process is not to be killed"
        );
        let ended =
            oci.bundle("true").with(|config| config["process"]["args"] = json!(["sh", "-c", "sleep 60"]));
        let id = oci.id("signal");
        let mut command = oci.command(&["run", "-b", ended.path(), &id]);
        let mut child = command.spawn().expect("starts");
        eventually(10, "it runs", || oci.run(&["state", &id]).stdout.contains("running"));
        oci.run(&["kill", &id, "KILL"]).ok();
        assert_eq!(child.wait().expect("ends").code(), Some(137));
        let missing = oci.bundle("").with(|config| config["process"]["args"] = json!(["nosuch"]));
        oci.run_bundle(&missing).fails(1, ["nosuch", "executable file not found in $PATH"]);
        assert_eq!(oci.run(&["list", "-q"]).ok(), "", "each was deleted");

        let (id, bundle) = (oci.id("kept"), oci.bundle("cat"));
        let kept = oci.run_with_input(&["run", "--keep", "-b", bundle.path(), &id], b"input\n");
        assert_eq!(kept.ok(), "input");
        if oci.is_engine() {
            // runc of this version has no such flag.
            assert_eq!(oci.status(&id), "stopped");
        }
    });
}

#[test]
fn a_detached_container_has_the_caller_s_streams_and_outlives_the_caller() {
    with_both("oci-detach", |oci| {
        let bundle = oci.bundle("echo early; while ! test -e /go; do sleep 0.05; done; echo late");
        let (id, pid_file) = (oci.id("detached"), oci.dir().join("pid"));
        let words = ["run", "-d", "-b", bundle.path(), "--pid-file", pid_file.to_str().expect("a path"), &id];
        let (ran, output) = oci.run_command(oci.command(&words));
        ran.ok();
        let pid = std::fs::read_to_string(&pid_file).expect("reads");
        assert_eq!(oci.state(&id)["pid"].to_string(), pid);
        std::fs::write(bundle.rootfs().join("go"), "").expect("writes");
        eventually(10, "it has ended", || oci.status(&id) == "stopped");
        assert_eq!(std::fs::read_to_string(output).expect("reads"), "early\nlate\n");
    });
}

/// A program that is told a path, listens there for the master of a terminal, and prints all that is written to it.
const CONSOLE: &str = r#"
import array, os, socket, sys
listener = socket.socket(socket.AF_UNIX)
listener.bind(sys.argv[1])
listener.listen(1)
print("ready", flush=True)
connection, _ = listener.accept()
_, ancillary, _, _ = connection.recvmsg(100, socket.CMSG_LEN(4))
master = array.array("i", ancillary[0][2])[0]
try:
    while data := os.read(master, 1000):
        os.write(1, data)
except OSError:
    pass
"#;

#[test]
fn a_terminal_goes_to_the_console_socket() {
    with_both("oci-console", |oci| {
        let bundle = oci.bundle("tty; stty size; echo on $(readlink /proc/self/fd/0)").with(|config| {
            config["process"]["terminal"] = json!(true);
            config["process"]["consoleSize"] = json!({ "height": 31, "width": 97 });
        });
        let id = oci.id("terminal");
        oci.run(&["create", "-b", bundle.path(), &id]).fails(1, ["without setting console socket"]);
        let socket = oci.dir().join("console");
        let socket = socket.to_str().expect("a path");
        let said = oci.dir().join("said");
        let listen = || {
            let mut python = Command::new("python3");
            python.args(["-c", CONSOLE, socket]).stdout(std::fs::File::create(&said).expect("a file"));
            let child = python.spawn().expect("starts");
            let text = || std::fs::read_to_string(&said).expect("reads");
            eventually(10, "it listens", || text().starts_with("ready"));
            child
        };
        let mut listener = listen();
        oci.run(&["create", "-b", bundle.path(), "--console-socket", socket, &id]).ok();
        oci.run(&["start", &id]).ok();
        listener.wait().expect("ends");
        let text = std::fs::read_to_string(&said).expect("reads").replace('\r', "");
        assert!(text.contains("/dev/pts/0\n") || text.contains("/dev/console\n"), "{text}");
        assert!(text.contains("31 97"), "{text}");
        eventually(10, "it has ended", || oci.status(&id) == "stopped");
        oci.run(&["delete", &id]).ok();

        let plain = oci.bundle("sleep 60");
        std::fs::remove_file(socket).expect("was there");
        let mut listener = listen();
        let id = oci.id("exec");
        oci.detached(&plain, &id);
        oci.run(&[
            "exec",
            "-t",
            "-d",
            "--console-socket",
            socket,
            &id,
            "sh",
            "-c",
            "test -t 0 && echo a tty",
        ])
        .ok();
        listener.wait().expect("ends");
        assert!(std::fs::read_to_string(&said).expect("reads").contains("a tty"));
    });
}

#[test]
fn a_terminal_in_the_foreground_is_that_of_the_caller() {
    with_both("oci-tty", |oci| {
        let bundle = oci.bundle("stty size; read line; echo got $line; exit 5");
        let bundle = bundle.with(|config| config["process"]["terminal"] = json!(true));
        let line = |words: &[&str]| {
            let command = oci.command(words);
            let words = std::iter::once(command.get_program()).chain(command.get_args());
            let words: Vec<String> = words.map(|word| format!("'{}'", word.to_string_lossy())).collect();
            format!("stty rows 33 cols 99; {}", words.join(" "))
        };
        let script = |words: &[&str], input: &[u8]| {
            let mut command = Command::new("script");
            command.args(["-qec", &line(words), "/dev/null"]);
            crate::support::with_input(&mut command, input)
        };
        let ran = script(&["run", "-b", bundle.path(), &oci.id("tty")], b"words\n");
        assert_eq!(ran.code, 5, "{ran:?}");
        assert!(ran.stdout.contains("got words"), "{ran:?}");
        assert!(!oci.is_engine() || ran.stdout.contains("33 99"), "from the beginning: {ran:?}");

        let id = oci.id("plain");
        oci.detached(&oci.bundle("sleep 60"), &id);
        let ran = script(
            &["exec", "-t", &id, "sh", "-c", "stty size; read line; echo in $line; tty; exit 6"],
            b"a tty\n",
        );
        assert_eq!(ran.code, 6, "{ran:?}");
        assert!(ran.stdout.contains("in a tty") && ran.stdout.contains("/dev/pts/"), "{ran:?}");
        // runc may give it its size when it has begun already.
        assert!(!oci.is_engine() || ran.stdout.contains("33 99"), "{ran:?}");
    });
}

#[test]
fn exec_runs_another_process_as_it_is_told() {
    with_both("oci-exec", |oci| {
        let bundle = oci.bundle("exec sleep 60").with(|config| {
            config["process"]["env"].as_array_mut().expect("has some").push(json!("BASE=yes"))
        });
        let id = oci.id("exec");
        oci.detached(&bundle, &id);
        let exec = |words: &[&str]| oci.run(&[&["exec"], words].concat());
        let ran = exec(&[
            "--cwd",
            "/tmp",
            "-e",
            "A=one",
            "-e",
            "B=two",
            &id,
            "sh",
            "-c",
            "pwd; echo $A $B $BASE; echo e >&2; exit 4",
        ]);
        assert_eq!((ran.code, ran.stdout.as_str(), ran.stderr.as_str()), (4, "/tmp\none two yes\n", "e\n"));
        assert_eq!(
            exec(&["-u", "8:8", "-g", "29", &id, "id"]).ok(),
            "uid=8(mail) gid=8(mail) groups=29(audio)"
        );
        assert_eq!(
            exec(&["--user", "8", "--env", "C=three", &id, "sh", "-c", "id -u; echo $C"]).ok(),
            "8\nthree"
        );
        assert_eq!(
            exec(&["--no-new-privs", &id, "grep", "NoNewPrivs", "/proc/self/status"]).ok(),
            "NoNewPrivs:\t1"
        );
        let caps = exec(&["--cap", "CAP_NET_RAW", &id, "grep", "CapEff", "/proc/self/status"]);
        assert_eq!(caps.ok(), "CapEff:\t00000000000020e3");
        assert_eq!(exec(&[&id, "sh", "-c", "kill -9 $$"]).code, 137);
        assert_eq!(oci.run_with_input(&["exec", &id, "cat"], b"through").ok(), "through");
        exec(&[&id, "nosuch"]).fails(255, ["nosuch", "executable file not found in $PATH"]);
        exec(&[&id]).fails(255, ["process args cannot be empty"]);

        let pid_file = oci.dir().join("exec-pid");
        let path = pid_file.to_str().expect("a path");
        exec(&["--detach", "--pid-file", path, &id, "sleep", "61"]).ok();
        let pid = std::fs::read_to_string(&pid_file).expect("reads");
        let line = std::fs::read(format!("/proc/{pid}/cmdline")).expect("it runs");
        assert_eq!(line, b"sleep\x0061\0");

        let document = oci.dir().join("process.json");
        let process = json!({
            "user": { "uid": 8, "gid": 8 }, "cwd": "/var",
            "args": ["sh", "-c", "id -u; pwd; echo $X"],
            "env": ["PATH=/bin", "X=document"],
        });
        std::fs::write(&document, process.to_string()).expect("writes");
        let ran = exec(&["--process", document.to_str().expect("a path"), &id]);
        assert_eq!(ran.ok(), "8\n/var\ndocument");
        std::fs::write(&document, "{\"cwd\": 7}").expect("writes");
        assert_ne!(exec(&["-p", document.to_str().expect("a path"), &id]).code, 0);
    });
}

#[test]
fn ps_lists_the_processes_of_the_container() {
    with_both("oci-ps", |oci| {
        let id = oci.id("ps");
        oci.detached(&oci.bundle("sleep 61 & exec sleep 62"), &id);
        let pids = || -> Vec<u64> {
            let text = oci.run(&["ps", "--format", "json", &id]);
            serde_json::from_str(text.ok()).expect("is JSON")
        };
        eventually(10, "both run", || pids().len() == 2);
        assert!(pids().contains(&oci.state(&id)["pid"].as_u64().expect("a number")));
        let table = oci.run(&["ps", &id]);
        let lines: Vec<&str> = table.ok().lines().collect();
        assert!(lines[0].contains("PID") && lines[0].contains("CMD"), "{lines:?}");
        assert_eq!(lines.len(), 3, "{lines:?}");
        let own = oci.run(&["ps", &id, "-o", "pid,args"]);
        assert!(own.ok().contains("sleep 61") && own.ok().contains("sleep 62"), "{own:?}");
        oci.run(&["ps", "-f", "xml", &id]).fails(1, ["invalid format option"]);
    });
}

#[test]
fn a_paused_container_holds_still() {
    with_both("oci-pause", |oci| {
        let bundle = oci.bundle("while :; do echo >> /ticks; sleep 0.02; done");
        let id = oci.id("pause");
        oci.detached(&bundle, &id);
        let ticks = || std::fs::metadata(bundle.rootfs().join("ticks")).map_or(0, |file| file.len());
        eventually(10, "it ticks", || ticks() > 0);
        oci.run(&["pause", &id]).ok();
        assert_eq!(oci.status(&id), "paused");
        let then = ticks();
        std::thread::sleep(Duration::from_millis(200));
        assert_eq!(ticks(), then);
        oci.run(&["exec", &id, "true"]).fails(255, ["cannot exec in a paused container"]);
        oci.run(&["delete", &id]).fails(1, ["not stopped: paused"]);
        oci.run(&["resume", &id]).ok();
        assert_eq!(oci.status(&id), "running");
        eventually(10, "it ticks again", || ticks() > then);
        oci.run(&["resume", &id]).fails(1, ["not paused"]);
        oci.run(&["pause", &id]).ok();
        oci.run(&["delete", "--force", &id]).ok();
    });
}

#[test]
fn update_changes_the_limits_that_are_given() {
    with_both("oci-update", |oci| {
        let id = oci.id("update");
        let bundle = oci.bundle("sleep 60").with(|config| {
            config["linux"]["resources"]["memory"] = json!({ "limit": 64 << 20 });
            config["linux"]["resources"]["pids"] = json!({ "limit": 50 });
        });
        let group = bundle.config["linux"]["cgroupsPath"].as_str().expect("text").to_owned();
        oci.detached(&bundle, &id);
        let limit = |v1: &str, v2: &str| limit_of(&group, v1, v2);
        assert_eq!(limit("memory/memory.limit_in_bytes", "memory.max"), (64 << 20).to_string());
        oci.run(&["update", "--memory", "32m", "--pids-limit", "20", &id]).ok();
        assert_eq!(limit("memory/memory.limit_in_bytes", "memory.max"), (32 << 20).to_string());
        assert_eq!(limit("pids/pids.max", "pids.max"), "20");
        let resources = json!({ "pids": { "limit": 30 }, "cpu": { "quota": 20_000, "period": 100_000 } });
        let ran = oci.run_with_input(&["update", "-r", "-", &id], resources.to_string().as_bytes());
        ran.ok();
        assert_eq!(limit("pids/pids.max", "pids.max"), "30");
        assert!(limit("cpu/cpu.cfs_quota_us", "cpu.max").starts_with("20000"));
        assert_eq!(limit("memory/memory.limit_in_bytes", "memory.max"), (32 << 20).to_string(), "as it was");
        let file = oci.dir().join("resources.json");
        std::fs::write(&file, json!({ "memory": { "limit": 48 << 20 } }).to_string()).expect("writes");
        oci.run(&["update", "--resources", file.to_str().expect("a path"), &id]).ok();
        assert_eq!(limit("memory/memory.limit_in_bytes", "memory.max"), (48 << 20).to_string());
        for (flag, value) in [
            ("--cpu-period", "50000"),
            ("--cpu-quota", "10000"),
            ("--cpu-share", "512"),
            ("--cpuset-cpus", "0"),
            ("--memory-reservation", "16m"),
        ] {
            oci.run(&["update", flag, value, &id]).ok();
        }
        assert_eq!(limit("cpuset/cpuset.cpus", "cpuset.cpus"), "0");
        assert_eq!(oci.run_with_input(&["update", "-r", "-", &id], b"{").code, 1);
        oci.run(&["update", "--memory", "much", &id]).fails(1, ["memory"]);
    });
}

/// What a file of a group says, whichever version of control groups this host has.
fn limit_of(group: &str, v1: &str, v2: &str) -> String {
    let (controller, file) = v1.split_once('/').expect("a controller");
    let v1 = format!("/sys/fs/cgroup/{controller}{group}/{file}");
    let v2 = format!("/sys/fs/cgroup{group}/{v2}");
    let text = std::fs::read_to_string(v1).or_else(|_| std::fs::read_to_string(v2));
    text.expect("reads").trim().to_owned()
}

#[test]
fn containers_are_listed() {
    with_both("oci-list", |oci| {
        let header = oci.run(&["list"]);
        let columns = |line: &str| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(columns(header.ok()), ["ID", "PID", "STATUS", "BUNDLE", "CREATED", "OWNER"]);
        assert_eq!(oci.run(&["list", "--format", "json"]).ok(), "null");
        let bundle = oci.bundle("sleep 60");
        let (one, two) = (oci.id("a"), oci.id("b"));
        oci.run(&["create", "-b", bundle.path(), &two]).ok();
        oci.detached(&oci.bundle("sleep 60"), &one);
        assert_eq!(oci.run(&["list", "--quiet"]).ok(), format!("{one}\n{two}"));
        let table = oci.run(&["list"]);
        let rows: Vec<Vec<String>> = table.ok().lines().map(columns).collect();
        assert_eq!(rows.len(), 3);
        assert_eq!((rows[1][0].as_str(), rows[1][2].as_str()), (one.as_str(), "running"));
        assert_eq!((rows[2][0].as_str(), rows[2][2].as_str()), (two.as_str(), "created"));
        assert_eq!((rows[2][3].as_str(), rows[2][5].as_str()), (bundle.path(), "root"));
        let text = oci.run(&["list", "-f", "json"]);
        assert_eq!(text.ok().lines().count(), 1, "callers read a line");
        let listed: Vec<Value> = serde_json::from_str(text.ok()).expect("is JSON");
        assert_eq!(listed[1]["id"], json!(two));
        assert_eq!(listed[1]["owner"], "root");
        oci.run(&["list", "-f", "xml"]).fails(1, ["invalid format option"]);
    });
}

#[test]
fn what_the_runtime_is_and_can_do_is_told() {
    with_both("oci-features", |oci| {
        let version = oci.run(&["--version"]);
        let lines: Vec<&str> = version.ok().lines().collect();
        assert!(lines[0].contains(" version ") && lines.iter().any(|line| line.starts_with("spec: 1.")));
        let features: Value = serde_json::from_str(oci.run(&["features"]).ok()).expect("is JSON");
        let has = |list: &Value, what: &str| list.as_array().is_some_and(|list| list.contains(&json!(what)));
        assert!(features["ociVersionMin"].is_string() && features["ociVersionMax"].is_string());
        for hook in
            ["prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"]
        {
            assert!(has(&features["hooks"], hook), "{hook}");
        }
        for option in ["ro", "rro", "rbind", "tmpcopyup", "nosuid"] {
            assert!(has(&features["mountOptions"], option), "{option}");
        }
        assert!(has(&features["linux"]["namespaces"], "pid"));
        assert!(has(&features["linux"]["capabilities"], "CAP_CHOWN"));
        assert_eq!(features["linux"]["seccomp"]["enabled"], true);

        let directory = oci.dir().join("spec");
        std::fs::create_dir(&directory).expect("a directory");
        let path = directory.to_str().expect("a path");
        oci.run(&["spec", "--bundle", path]).ok();
        oci.run(&["spec", "-b", path]).fails(1, ["config.json exists. Remove it first"]);
        let spec: Value =
            serde_json::from_slice(&std::fs::read(directory.join("config.json")).expect("reads"))
                .expect("is JSON");
        assert_eq!((&spec["process"]["args"], &spec["root"]["path"]), (&json!(["sh"]), &json!("rootfs")));
        // And it runs.
        let bundle = oci.bundle("").with(|config| {
            let group = config["linux"]["cgroupsPath"].clone();
            *config = spec;
            config["linux"]["cgroupsPath"] = group;
            config["process"]["terminal"] = json!(false);
            config["process"]["args"] = json!(["sh", "-c", "hostname; touch /x"]);
        });
        let ran = oci.run_bundle(&bundle);
        assert_eq!(ran.code, 1, "{ran:?}");
        assert!(ran.stderr.contains("Read-only file system"), "{ran:?}");
        assert!(oci.run(&["--help"]).ok().contains("create"));
        assert!(oci.run(&["exec", "--help"]).ok().contains("--process"));
    });
}

#[test]
fn the_example_for_a_user_without_privileges_is_as_runc_s() {
    let examples = std::cell::RefCell::new(Vec::new());
    with_both("oci-rootless", |oci| {
        let directory = oci.dir().join("spec");
        std::fs::create_dir(&directory).expect("a directory");
        oci.run(&["spec", "--rootless", "-b", directory.to_str().expect("a path")]).ok();
        let text = std::fs::read(directory.join("config.json")).expect("reads");
        let example: Value = serde_json::from_slice(&text).expect("is JSON");
        // It runs, as all root of the container is this user.
        let bundle = oci.bundle("").with(|config| {
            let group = config["linux"]["cgroupsPath"].clone();
            *config = example.clone();
            config["linux"]["cgroupsPath"] = group;
            config["process"]["terminal"] = json!(false);
            config["process"]["args"] =
                json!(["sh", "-c", "cat /proc/self/uid_map; readlink /proc/self/ns/net"]);
        });
        let said = oci.run_bundle(&bundle);
        let own = oci.sandbox().host(&["readlink", "/proc/self/ns/net"]);
        let words: Vec<&str> = said.ok().split_whitespace().collect();
        assert_eq!(words, ["0", "0", "1", own.ok()]);
        examples.borrow_mut().push(example);
    });
    // What the two differ in without the flag as well: name, version, and what later versions of runc changed.
    let same = |mut example: Value| {
        (example["ociVersion"], example["hostname"]) = (Value::Null, Value::Null);
        example["process"]["capabilities"]["ambient"] = Value::Null;
        example["linux"]["namespaces"].as_array_mut().expect("a list").retain(|one| one["type"] != "cgroup");
        example
    };
    if let [ours, theirs] = &examples.into_inner()[..] {
        assert_eq!(same(ours.clone()), same(theirs.clone()));
    }
}

/// The socket is newer than Debian's runc.
#[test]
fn a_pidfd_goes_to_the_socket_that_asked_for_it() {
    let oci = Oci::engine("oci-pidfd");
    let (bundle, id) = (oci.bundle("exec sleep 60"), oci.id("pidfd"));
    let path = oci.dir().join("pidfds");
    let listener = UnixListener::bind(&path).expect("listens");
    let path = path.to_str().expect("a path");
    // The word beside the pidfd, and the number that it stands for.
    let taken = || {
        let (connection, _) = listener.accept().expect("somebody connects");
        let mut word = [0; 64];
        let (length, pidfd) = receive(&connection, &mut word);
        let pidfd = pidfd.expect("a descriptor");
        let info =
            std::fs::read_to_string(format!("/proc/self/fdinfo/{}", pidfd.as_raw_fd())).expect("reads");
        let pid = info.lines().find_map(|line| line.strip_prefix("Pid:")).expect("is a pidfd");
        (String::from_utf8_lossy(&word[..length]).into_owned(), pid.trim().to_owned())
    };
    oci.run(&["create", "--pidfd-socket", path, "-b", bundle.path(), &id]).ok();
    assert_eq!(taken(), ("standard".to_owned(), oci.state(&id)["pid"].to_string()));
    oci.run(&["start", &id]).ok();
    let pid_file = oci.dir().join("pid");
    let file = pid_file.to_str().expect("a path");
    oci.run(&["exec", "-d", "--pidfd-socket", path, "--pid-file", file, &id, "sleep", "60"]).ok();
    let number = std::fs::read_to_string(&pid_file).expect("reads");
    assert_eq!(taken(), ("setns".to_owned(), number));
    let other = oci.id("run");
    oci.run(&["run", "-d", "--pidfd-socket", path, "-b", oci.bundle("exec sleep 60").path(), &other]).ok();
    assert_eq!(taken(), ("standard".to_owned(), oci.state(&other)["pid"].to_string()));

    // Nothing begins where nobody takes it.
    drop(listener);
    let nobody = ["--pidfd-socket", path];
    let ran = oci.run(&[&["exec"], &nobody[..], &[&id, "touch", "/made"]].concat());
    ran.fails(255, ["pidfd socket", path]);
    assert!(!bundle.rootfs().join("made").exists());
    let (bundle, id) = (oci.bundle("true"), oci.id("nobody"));
    oci.run(&[&["create"], &nobody[..], &["-b", bundle.path(), &id]].concat())
        .fails(1, ["pidfd socket", path]);
    oci.run(&["state", &id]).fails(1, ["does not exist"]);
}

#[test]
fn labels_of_another_process_are_refused_where_the_kernel_has_no_module_for_them() {
    let has = |path: &str| Path::new(path).exists();
    if has("/sys/module/apparmor") || has("/sys/fs/selinux") {
        return;
    }
    with_both("oci-labels", |oci| {
        let (bundle, id) = (oci.bundle("exec sleep 60"), oci.id("labels"));
        oci.detached(&bundle, &id);
        for (flag, label) in
            [("--apparmor", "some-profile"), ("--process-label", "system_u:system_r:some_t:s0")]
        {
            let ran = oci.run(&["exec", flag, label, &id, "true"]);
            assert_eq!(ran.code, 255, "{flag}: {ran:?}");
            assert!(!oci.is_engine() || ran.stderr.contains(label), "{ran:?}");
            oci.run(&["exec", flag, "", &id, "true"]).ok();
        }
    });
}

#[test]
fn failures_are_also_written_where_callers_look() {
    with_both("oci-log", |oci| {
        let log = oci.dir().join("log");
        let path = log.to_str().expect("a path");
        oci.run(&["--log", path, "--log-format", "json", "state", "nobody"]).fails(1, ["does not exist"]);
        let text = std::fs::read_to_string(&log).expect("reads");
        let line: Value = serde_json::from_str(text.lines().last().expect("a line")).expect("is JSON");
        assert_eq!(line["level"], "error");
        assert!(line["msg"].as_str().is_some_and(|message| message.contains("does not exist")), "{line}");
        assert!(line["time"].is_string());
        std::fs::remove_file(&log).expect("is there");
        oci.run(&["--log", path, "state", "nobody"]).fails(1, ["does not exist"]);
        let text = std::fs::read_to_string(&log).expect("reads");
        assert!(text.contains("level=error msg=\"") && text.contains("time=\""), "{text}");
        oci.run(&["--log-format", "xml", "list"]).fails(1, ["xml"]);
    });
}

#[test]
fn a_configuration_that_cannot_be_is_named() {
    with_both("oci-bad", |oci| {
        let create = |change: &dyn Fn(&mut Value)| {
            let bundle = oci.bundle("true").with(|config| change(config));
            oci.run(&["create", "-b", bundle.path(), &oci.id("bad")])
        };
        create(&|config| config["root"]["path"] = json!("nowhere")).fails(1, ["nowhere"]);
        create(&|config| config["process"]["cwd"] = json!("relative")).fails(1, ["absolute"]);
        create(&|config| config["linux"]["namespaces"][1] = json!({ "type": "pid" })).fails(1, ["pid"]);
        create(&|config| config["linux"]["sysctl"] = json!({ "kernel.nosuch": "1" }))
            .fails(1, ["kernel.nosuch"]);
        create(&|config| config["process"]["args"] = json!([])).fails(1, []);
        create(&|config| config["hostname"] = json!(5)).fails(1, []);
        create(&|config| config["mounts"][0]["options"] = json!(["nosuchoption"])).fails(1, ["/proc"]);
        let bundle = oci.bundle("true");
        std::fs::write(bundle.path.join("config.json"), "{ no").expect("writes");
        oci.run(&["run", "-b", bundle.path(), &oci.id("bad")]).fails(1, []);
        let empty = oci.dir().join("empty");
        std::fs::create_dir(&empty).expect("a directory");
        let empty = empty.to_str().expect("a path");
        oci.run(&["create", "-b", empty, &oci.id("bad")]).fails(1, ["config.json"]);
        oci.run(&["create", "-b", "/nowhere", &oci.id("bad")]).fails(1, ["/nowhere"]);
        assert_eq!(oci.run(&["list", "-q"]).ok(), "", "nothing was left of them");
    });
}

#[test]
fn a_file_system_in_memory_has_what_it_covers() {
    with_both("oci-copy-up", |oci| {
        let mount = |target: &str, options: &[&str]| json!({ "destination": target, "type": "tmpfs", "source": "tmpfs", "options": options });
        let script = "stat -c '%n %a %u:%g' /data /data/* /data/deep/*; cat /data/file /data/link /data/deep/file
            touch /data/new && echo writable; test -p /data/pipe && echo a pipe; ls -A /data/../ro; ls -lnd /plain /chosen | cut -c1-10
            touch /ro/x 2>&1; test -e /data/.hidden && echo hidden";
        let bundle = oci
            .bundle(script)
            .with_mount(mount("/data", &["nosuid", "nodev", "tmpcopyup"]))
            .with_mount(mount("/ro", &["ro", "tmpcopyup"]))
            .with_mount(mount("/plain", &["noexec"]))
            .with_mount(mount("/absent", &["tmpcopyup"]));
        let root = bundle.rootfs();
        let prepare = "mkdir -p data/deep ro plain chosen; echo one > data/file; ln -s file data/link
            echo two > data/deep/file; touch data/.hidden ro/kept; chown -R 8:29 data
            chmod 750 data; chmod 4711 data/file; chmod 1750 data/deep; chmod 711 plain chosen; ln -s /etc/shadow data/out";
        run(Command::new("sh").current_dir(&root).args(["-euc", prepare]));
        if oci.is_engine() {
            // runc of this version fails at one.
            run(Command::new("mkfifo").arg(root.join("data/pipe")));
        }
        let ran = oci.run_bundle(&bundle);
        let text = ran.stdout.as_str();
        assert_eq!(text.contains("a pipe"), oci.is_engine(), "{text}");
        for line in [
            "/data 750 0:0",
            "/data/deep 1750 8:29",
            "/data/file 4711 8:29",
            "/data/link 777 8:29",
            "/data/deep/file 644 8:29",
            "one\none\ntwo",
            "writable",
            "kept",
            "drwx--x--x",
            "Read-only file system",
            "hidden",
        ] {
            assert!(text.contains(line), "{line:?} is not in:\n{text}{}", ran.stderr);
        }
        assert!(!root.join("data/new").exists(), "the image has no part in it");
        assert_eq!(std::fs::read_to_string(root.join("data/file")).expect("reads"), "one\n");
    });
    let oci = Oci::engine("oci-copy-up");
    let small = oci.bundle("true").with_mount(
        json!({ "destination": "/big", "type": "tmpfs", "source": "tmpfs", "options": ["size=64k", "tmpcopyup"] }),
    );
    std::fs::create_dir(small.rootfs().join("big")).expect("a directory");
    std::fs::write(small.rootfs().join("big/file"), vec![1; 1 << 20]).expect("writes");
    oci.run_bundle(&small).fails(1, ["copy what lies at /big"]);
    let bind = oci.bundle("true").with_mount(
        json!({ "destination": "/x", "type": "bind", "source": "/tmp", "options": ["rbind", "tmpcopyup"] }),
    );
    oci.run_bundle(&bind).fails(1, ["/x", "tmpcopyup"]);
}

/// A hook that writes down when it ran, the namespaces it ran in, and what it was told.
const HOOK: &str = r#"#!/bin/sh
{ echo "== $1 mount=$(readlink /proc/self/ns/mnt) pid=$(readlink /proc/self/ns/pid) root=$(ls -d /is-bundle 2>/dev/null) X=$X HOME=$HOME"
cat
echo; } >> "$OUT"
"#;

#[test]
fn hooks_run_in_their_order_and_place_with_the_state() {
    with_both("oci-hooks", |oci| {
        let bundle = oci.bundle("echo == program >> /told; sleep 60");
        let (told, inside) = (oci.dir().join("told"), bundle.rootfs().join("told"));
        let script = oci.dir().join("hook");
        std::fs::write(&script, HOOK).expect("writes");
        std::fs::write(bundle.rootfs().join("hook"), HOOK).expect("writes");
        std::fs::write(bundle.rootfs().join("is-bundle"), "").expect("writes");
        run(Command::new("chmod").arg("755").arg(&script).arg(bundle.rootfs().join("hook")));
        let hook = |path: &Path, name: &str, out: &Path| {
            let out = format!("OUT={}", out.display());
            json!({ "path": path, "args": ["hook", name], "env": [out, "X=y", "PATH=/usr/bin:/bin"], "timeout": 10 })
        };
        let ours = |name: &str| json!([hook(&script, name, &told)]);
        let bundle = bundle.with(|config| {
            config["hooks"] = json!({
                "prestart": ours("prestart"), "createRuntime": ours("createRuntime"),
                "createContainer": ours("createContainer"),
                "startContainer": [hook(Path::new("/hook"), "startContainer", Path::new("/told"))],
                "poststart": ours("poststart"), "poststop": ours("poststop"),
            });
        });
        let id = oci.id("hooks");
        let read = |path: &Path| std::fs::read_to_string(path).unwrap_or_default();
        let names = |text: &str| -> Vec<String> {
            let heads = text.lines().filter_map(|line| line.strip_prefix("== "));
            let names = heads.map(|line| line.split(' ').next().unwrap_or_default());
            // runc of this version runs it too early.
            names.filter(|name| oci.is_engine() || *name != "poststart").map(str::to_owned).collect()
        };
        oci.run(&["create", "-b", bundle.path(), &id]).ok();
        assert_eq!(names(&read(&told)), ["prestart", "createRuntime", "createContainer"]);
        assert_eq!(read(&inside), "");
        let pid = oci.state(&id)["pid"].clone();
        oci.run(&["start", &id]).ok();
        eventually(10, "the program runs", || read(&inside).contains("== program"));
        assert_eq!(names(&read(&inside)), ["startContainer", "program"]);
        if oci.is_engine() {
            assert_eq!(names(&read(&told)).last().map(String::as_str), Some("poststart"));
        }
        oci.run(&["kill", &id, "KILL"]).ok();
        eventually(10, "it has ended", || oci.status(&id) == "stopped");
        assert!(!names(&read(&told)).contains(&"poststop".to_owned()));
        oci.run(&["delete", &id]).ok();
        let all = read(&told) + &read(&inside).replace("== program\n", "");
        let parts: Vec<&str> = all.split("== ").filter(|part| !part.is_empty()).collect();
        assert_eq!(parts.len(), 6);
        let own = |kind: &str| {
            std::fs::read_link(format!("/proc/self/ns/{kind}")).expect("reads").display().to_string()
        };
        for part in parts {
            let (head, state) = part.split_once('\n').expect("two lines");
            let state: Value = serde_json::from_str(state).unwrap_or_else(|e| panic!("{e}: {part}"));
            assert_eq!((&state["id"], &state["bundle"]), (&json!(id), &json!(bundle.path)), "{part}");
            assert_eq!(state["annotations"]["org.example.key"], "value", "{part}");
            let name = head.split(' ').next().unwrap_or_default();
            let status = match name {
                "startContainer" => "created",
                // runc of this version runs it too early.
                "poststart" if oci.is_engine() => "running",
                "poststart" => "created",
                "poststop" => "stopped",
                _ => "creating",
            };
            assert_eq!(state["status"], status, "{part}");
            match name {
                "poststop" => {}
                // As the container sees it.
                "createContainer" | "startContainer" => assert_eq!(state["pid"], 1, "{part}"),
                _ => assert_eq!(state["pid"], pid, "{part}"),
            }
            let in_container = name.ends_with("Container");
            assert_eq!(head.contains(&own("mnt")), !in_container, "{part}");
            // Of the container's files the last one alone knows nothing else.
            assert_eq!(head.contains("root=/is-bundle"), name == "startContainer", "{part}");
            assert!(head.contains("X=y") && head.ends_with("HOME="), "no variables but its own: {part}");
        }
    });
}

#[test]
fn a_hook_that_fails_is_named_and_ends_what_it_is_part_of() {
    with_both("oci-hook-fails", |oci| {
        let hooked = |kind: &str, script: &str, timeout: Option<u32>| {
            let mut hook = json!({ "path": "/bin/sh", "args": ["sh", "-c", script] });
            if let Some(timeout) = timeout {
                hook["timeout"] = json!(timeout);
            }
            oci.bundle("sleep 60").with(|config| config["hooks"] = json!({ kind: [hook] }))
        };
        for kind in ["prestart", "createRuntime", "createContainer"] {
            let bundle = hooked(kind, "echo no such luck >&2; exit 3", None);
            let ran = oci.run(&["create", "-b", bundle.path(), &oci.id("hook")]);
            ran.fails(1, ["hook", "no such luck"]);
            if oci.is_engine() {
                assert!(ran.stderr.contains(kind), "{ran:?}");
            }
        }
        let begun = std::time::Instant::now();
        let started = oci.dir().join("started");
        // What it starts goes with it, which runc would wait for.
        let slow = match oci.is_engine() {
            true => format!("sleep 30 & echo $! >{}; wait", started.display()),
            false => "exec sleep 30".to_owned(),
        };
        let slow = hooked("createRuntime", &slow, Some(1));
        oci.run(&["create", "-b", slow.path(), &oci.id("hook")]).fails(1, ["hook"]);
        assert!(begun.elapsed() < Duration::from_secs(10), "it was not killed");
        if oci.is_engine() {
            let number = std::fs::read_to_string(&started).expect("reads");
            let stat = format!("/proc/{}/stat", number.trim());
            eventually(10, "what it started has ended", || {
                std::fs::read_to_string(&stat).map_or(true, |stat| stat.contains(") Z "))
            });
        }
        assert_eq!(oci.run(&["list", "-q"]).ok(), "", "nothing was left of them");

        let id = oci.id("start");
        let bundle = hooked("startContainer", "exit 3", None);
        oci.run(&["create", "-b", bundle.path(), &id]).ok();
        let ran = oci.run(&["start", &id]);
        if oci.is_engine() {
            // runc of this version hears nothing of it.
            ran.fails(1, ["startContainer hook"]);
        }
        eventually(10, "it has ended", || oci.status(&id) == "stopped");
        oci.run(&["delete", &id]).ok();

        let (id, bundle) = (oci.id("poststop"), hooked("poststop", "exit 3", None));
        oci.detached(&bundle, &id);
        oci.run(&["delete", "--force", &id]).ok();
        oci.run(&["state", &id]).fails(1, ["does not exist"]);

        let (id, bundle) = (oci.id("poststart"), hooked("poststart", "exit 3", None));
        let created = oci.run(&["create", "-b", bundle.path(), &id]);
        if oci.is_engine() {
            created.ok();
            oci.run(&["start", &id]).fails(1, ["poststart hook", "code 3"]);
        }
        eventually(10, "it was ended", || oci.run(&["state", &id]).code != 0 || oci.status(&id) == "stopped");
    });
}

#[test]
fn descriptors_are_handed_on_by_their_numbers() {
    with_both("oci-fds", |oci| {
        let none = oci.bundle("ls /proc/self/fd");
        let bundle = oci.bundle("cat <&3; cat <&4; ls /proc/self/fd; echo $LISTEN_FDS $LISTEN_PID");
        let (one, two) = (oci.dir().join("one"), oci.dir().join("two"));
        std::fs::write(&one, "one\n").expect("writes");
        std::fs::write(&two, "two\n").expect("writes");
        let id = oci.id("fds");
        let run = |before: &str, words: &[&str], listen: &str| {
            let command = oci.command(words);
            let mut shell = oci.sandbox().command("sh");
            let line = format!("exec 3<{} 4<{}; {before} exec \"$@\"", one.display(), two.display());
            shell.args(["-c", &line, "sh"]).arg(command.get_program()).args(command.get_args());
            if !listen.is_empty() {
                shell.env("LISTEN_FDS", listen);
            }
            oci.run_command(shell).0
        };
        let ran = run("", &["run", "-b", bundle.path(), "--preserve-fds", "2", &id], "");
        // The last is what ls itself reads.
        assert_eq!(ran.ok(), "one\ntwo\n0\n1\n2\n3\n4\n5");
        let ran = run("export LISTEN_PID=$$;", &["run", "-b", bundle.path(), &id], "2");
        assert_eq!(ran.ok(), "one\ntwo\n0\n1\n2\n3\n4\n5\n2 1");
        let others = run("export LISTEN_PID=1;", &["run", "-b", none.path(), &id], "2");
        assert_eq!(others.ok(), "0\n1\n2\n3", "they are meant for somebody else");
        let closed = run("exec 4<&-;", &["run", "-b", bundle.path(), "--preserve-fds", "2", &id], "");
        if oci.is_engine() {
            // With runc the program gets what runc itself has opened.
            closed.fails(1, ["preserved-fd 4"]);
        }
        assert_eq!(
            run("", &["run", "-b", none.path(), &id], "").ok(),
            "0\n1\n2\n3",
            "none but those asked for"
        );

        let plain = oci.bundle("sleep 60");
        oci.detached(&plain, &id);
        let ran = run("", &["exec", "--preserve-fds", "1", &id, "cat", "/proc/self/fd/3"], "");
        assert_eq!(ran.ok(), "one");
    });
}

#[test]
fn a_group_of_systemd_is_where_systemd_would_have_it() {
    let oci = Oci::engine("oci-systemd");
    let id = oci.id("scope");
    let bundle = oci.bundle("cat /proc/self/cgroup").with(|config| {
        config["linux"]["cgroupsPath"] = json!(format!("-.slice:{id}:name"));
    });
    let ran = oci.run(&["--systemd-cgroup", "run", "-b", bundle.path(), &id]);
    assert!(ran.ok().contains(&format!("/{id}-name.scope")), "{ran:?}");
    let wrong = oci.bundle("true");
    let ran = oci.run(&["--systemd-cgroup", "run", "-b", wrong.path(), &id]);
    ran.fails(1, ["cgroupsPath", "slice:prefix:name"]);
}

#[test]
fn a_link_called_engine_oci_is_the_runtime() {
    let oci = Oci::engine("oci-link");
    let link = oci.dir().join("engine-oci");
    std::os::unix::fs::symlink(crate::support::ENGINE, &link).expect("a link");
    let bundle = oci.bundle("echo linked; exit 3");
    let mut command = oci.sandbox().command(link.to_str().expect("a path"));
    command.arg("--root").arg(oci.dir().join("oci")).args(["run", "-b", bundle.path(), &oci.id("link")]);
    let (ran, _) = oci.run_command(command);
    assert_eq!((ran.code, ran.stdout.as_str()), (3, "linked\n"));
    let wrapper = oci.dir().join("wrapper");
    std::fs::write(&wrapper, format!("#!/bin/sh\nexec {} oci \"$@\"\n", crate::support::ENGINE))
        .expect("writes");
    run(Command::new("chmod").arg("755").arg(&wrapper));
    let version = oci.sandbox().host(&[wrapper.to_str().expect("a path"), "--version"]);
    assert!(version.ok().starts_with("engine-oci version "));
}

#[test]
fn what_a_container_uses_is_told_once_or_again_and_again() {
    with_both("oci-events", |oci| {
        let bundle = oci.bundle("while ! test -e /end; do sleep 0.05; done").with(|config| {
            config["linux"]["resources"]["memory"] = json!({ "limit": 64 << 20 });
            config["linux"]["resources"]["pids"] = json!({ "limit": 30 });
        });
        let id = oci.id("events");
        oci.run(&["events", "--stats", &id]).fails(1, ["does not exist"]);
        oci.detached(&bundle, &id);
        let parse = |line: &str| serde_json::from_str::<Value>(line).expect("is JSON");
        let told = oci.run(&["events", "--stats", &id]);
        let told = parse(told.ok());
        assert_eq!((&told["type"], &told["id"]), (&json!("stats"), &json!(id)));
        let data = &told["data"];
        for path in ["/cpu/usage/total", "/memory/usage/usage", "/memory/raw/pgfault", "/pids/current"] {
            assert!(data.pointer(path).and_then(Value::as_u64).is_some_and(|n| n > 0), "{path}: {data}");
        }
        assert_eq!(data["memory"]["usage"]["limit"], 64 << 20);
        assert_eq!(data["pids"]["limit"], 30);
        oci.run(&["events", "--interval", "0s", &id]).fails(1, ["must be greater than 0"]);
        let mut command = oci.command(&["events", "--interval", "300ms", &id]);
        let child = command.stdout(std::process::Stdio::piped()).spawn().expect("starts");
        std::thread::sleep(Duration::from_millis(1500));
        std::fs::write(bundle.rootfs().join("end"), "").expect("writes");
        eventually(10, "it has ended", || oci.status(&id) == "stopped");
        oci.run(&["events", "--stats", &id]).fails(1, ["not running"]);
        // runc does not notice before the group is gone.
        oci.run(&["delete", &id]).ok();
        let output = child.wait_with_output().expect("ends with the container");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success() && (3..=6).contains(&text.lines().count()), "{text}");
        assert!(text.lines().all(|line| parse(line)["type"] == "stats"), "{text}");
    });
    let oci = Oci::engine("oci-oom");
    let bundle = oci.bundle("sleep 1; tail /dev/zero; sleep 1").with(|config| {
        config["linux"]["resources"]["memory"] = json!({ "limit": 16 << 20, "swap": 16 << 20 });
    });
    let id = oci.id("oom");
    oci.detached(&bundle, &id);
    let told = oci.run(&["events", &id]);
    assert!(told.ok().contains("{\"id\":") && told.ok().contains("\"type\":\"oom\""), "{told:?}");
}

/// A program that binds a datagram socket, says so, and prints what it is sent, in a line.
const MANAGER: &str = r#"
import socket, sys
manager = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
manager.bind(sys.argv[1].replace("@", "\0"))
print("listens", flush=True)
manager.settimeout(20)
print(manager.recv(4096).decode().replace("\n", " "), flush=True)
"#;

#[test]
fn a_container_tells_a_service_manager_that_it_is_ready() {
    with_both("oci-notify", |oci| {
        // busybox has nothing to send a datagram with: the host's socat and its libraries are lent.
        let script = "echo $NOTIFY_SOCKET; sleep 0.3; for line in STATUS=busy MAINPID=1 READY=1; do
            echo $line | socat -u - UNIX-SENDTO:$NOTIFY_SOCKET; done; exec sleep 60";
        let lend = |target: &str| json!({ "destination": target, "type": "bind", "source": target, "options": ["rbind", "ro"] });
        let make = || {
            oci.bundle(script).with_mount(lend("/usr")).with_mount(lend("/lib")).with_mount(lend("/lib64"))
        };
        let said = oci.dir().join("said");
        let manager = |address: &str| {
            let mut python = Command::new("python3");
            python.args(["-c", MANAGER, address]).stdout(std::fs::File::create(&said).expect("a file"));
            let child = python.spawn().expect("starts");
            eventually(10, "it listens", || {
                std::fs::read_to_string(&said).expect("reads").starts_with("listens")
            });
            child
        };
        let ran = |words: &[&str], address: &str| {
            let mut command = oci.command(words);
            command.env("NOTIFY_SOCKET", address);
            oci.run_command(command)
        };
        let address = oci.dir().join("manager");
        let address = address.to_str().expect("a path");

        let (id, bundle) = (oci.id("created"), make());
        let mut child = manager(address);
        let (created, output) = ran(&["create", "-b", bundle.path(), &id], address);
        created.ok();
        ran(&["start", &id], address).0.ok();
        child.wait().expect("ends");
        let pid = oci.state(&id)["pid"].to_string();
        let told = std::fs::read_to_string(&said).expect("reads");
        // runc tells the number with another message.
        let main = if oci.is_engine() { format!("MAINPID={pid}") } else { String::new() };
        assert_eq!(told, format!("listens\nREADY=1 {main}\n"), "and nothing else");
        let inside = std::fs::read_to_string(output).expect("reads");
        assert_eq!(inside, "/run/notify/notify.sock\n");
        oci.run(&["delete", "--force", &id]).ok();

        std::fs::remove_file(address).expect("was there");
        let (id, bundle) = (oci.id("ran"), make());
        let mut child = manager(address);
        ran(&["run", "--detach", "-b", bundle.path(), &id], address).0.ok();
        child.wait().expect("ends");
        assert!(std::fs::read_to_string(&said).expect("reads").contains("READY=1"));

        if oci.is_engine() {
            // One that says nothing and ends keeps nobody waiting, though nobody listens. runc wants a listener.
            let (id, bundle) = (oci.id("silent"), oci.bundle("exit 3"));
            ran(&["create", "-b", bundle.path(), &id], address).0.ok();
            ran(&["start", &id], address).0.ok();
        }
    });
}

#[test]
fn what_needs_criu_is_refused_by_name() {
    let oci = Oci::engine("oci-criu");
    let id = oci.id("checkpoint");
    oci.detached(&oci.bundle("sleep 60"), &id);
    for verb in ["checkpoint", "restore"] {
        oci.run(&[verb, "--image-path", "/tmp/x", &id]).fails(1, [verb, "not offered by this version"]);
    }
    assert_eq!(oci.status(&id), "running");
}

#[test]
fn all_processes_can_be_signalled_at_once() {
    with_both("oci-all", |oci| {
        let bundle = oci.bundle("trap : USR1; sleep 61 & sleep 62 & while :; do sleep 0.1; done");
        let id = oci.id("all");
        oci.detached(&bundle, &id);
        let others = || oci.run(&["ps", &id, "-eo", "pid,args"]).stdout;
        eventually(10, "all run", || others().contains("sleep 61\n") && others().contains("sleep 62\n"));
        oci.run(&["kill", "--all", &id, "USR1"]).ok();
        eventually(10, "the others ended", || {
            !others().contains("sleep 61\n") && !others().contains("sleep 62\n")
        });
        assert_eq!(oci.status(&id), "running", "it caught it");
        oci.run(&["kill", "-a", &id, "KILL"]).ok();
        eventually(10, "it has ended", || oci.status(&id) == "stopped");
    });
}

#[test]
fn a_process_for_a_paused_container_waits_for_its_end_if_that_is_wanted() {
    with_both("oci-ignore-paused", |oci| {
        let bundle = oci.bundle("exec sleep 60");
        let id = oci.id("paused");
        oci.detached(&bundle, &id);
        oci.run(&["pause", &id]).ok();
        let mut command = oci.command(&["exec", "--ignore-paused", &id, "touch", "/resumed"]);
        let mut child = command.spawn().expect("starts");
        std::thread::sleep(Duration::from_millis(300));
        assert!(!bundle.rootfs().join("resumed").exists() && child.try_wait().expect("is there").is_none());
        oci.run(&["resume", &id]).ok();
        assert!(child.wait().expect("ends").success());
        assert!(bundle.rootfs().join("resumed").exists());
    });
}

#[test]
fn flags_that_change_how_it_is_made_are_taken() {
    with_both("oci-flags", |oci| {
        let run = |global: &[&str], flags: &[&str]| {
            let (bundle, id) = (oci.bundle("exit 4"), oci.id("flags"));
            let words = [global, &["run"], flags, &["-b", bundle.path(), &id]].concat();
            oci.run(&words).code
        };
        for flag in ["--no-new-keyring", "--no-pivot", "--no-subreaper"] {
            assert_eq!(run(&[], &[flag]), 4, "{flag}");
        }
        for flag in ["--debug", "--rootless=false", "--rootless=auto"] {
            assert_eq!(run(&[flag], &[]), 4, "{flag}");
        }
    });
    let oci = Oci::engine("oci-flags-refused");
    let bundle = oci.bundle("sleep 60");
    let id = oci.id("refused");
    oci.detached(&bundle, &id);
    for (flag, value) in [("--cpu-idle", "1"), ("--cpu-burst", "1000"), ("--blkio-weight", "500")] {
        let ran = oci.run(&["update", flag, value, &id]);
        // Where the kernel has it; elsewhere the message names the setting.
        assert!(
            ran.code == 0 || ran.stderr.contains("cpu") || ran.stderr.contains("weight"),
            "{flag}: {ran:?}"
        );
    }
    oci.run(&["update", "--kernel-memory", "1g", "--memory-swap", "-1", &id]).ok();
    oci.run(&["update", "--cpuset-mems", "0", &id]).ok();
    oci.run(&["update", "--l3-cache-schema", "x", &id]).fails(1, ["--l3-cache-schema"]);
}

/// A program that takes in orphans, calls the runtime, and waits at once for the process whose number it was told.
const CALLER: &str = r#"
import ctypes, os, subprocess, sys
PR_SET_CHILD_SUBREAPER = 36
assert ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0
subprocess.run(sys.argv[2:], check=True)
os.waitpid(int(open(sys.argv[1]).read()), os.WNOHANG)
"#;

#[test]
fn a_process_is_the_caller_s_as_soon_as_its_number_is_told() {
    with_both("oci-parent", |oci| {
        let bundle = oci.bundle("exec sleep 60");
        let (id, pid_file) = (oci.id("parent"), oci.dir().join("pid"));
        let pid_file = pid_file.to_str().expect("a path");
        let call = |words: &[&str]| {
            let command = oci.command(words);
            let mut python = Command::new("python3");
            python.args(["-c", CALLER, pid_file]).arg(command.get_program()).args(command.get_args());
            oci.run_command(python).0.ok();
        };
        for _ in 0..10 {
            call(&["create", "--pid-file", pid_file, "-b", bundle.path(), &id]);
            oci.run(&["delete", "--force", &id]).ok();
        }
        oci.detached(&bundle, &id);
        for _ in 0..10 {
            call(&["exec", "--detach", "--pid-file", pid_file, &id, "sleep", "60"]);
        }
    });
}
