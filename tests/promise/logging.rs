//! Log drivers and their options.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::support::{Sandbox, eventually};

/// Prints the numbers from the first to the second argument, a line each.
fn count(from: u32, to: u32) -> String {
    format!(
        "i={from}; while [ $i -le {to} ]; do echo \"number $i of a line that is not very short\"; i=$((i+1)); done"
    )
}

fn numbers(text: &str) -> Vec<u32> {
    text.lines()
        .filter_map(|line| line.split_once("number ")?.1.split_once(' '))
        .map(|(number, _)| number.parse().expect("a number"))
        .collect()
}

fn all(from: u32, to: u32) -> Vec<u32> {
    (from..=to).collect()
}

/// The files below the container's folder whose name has `part` in it.
fn files(sandbox: &Sandbox, name: &str, part: &str) -> Vec<PathBuf> {
    let id = sandbox.engine(&["inspect", "-f", "{{.Id}}", name]).ok().to_owned();
    let folder = sandbox.root().join("containers").join(id);
    let mut found = Vec::new();
    for folder in [folder.clone(), folder.join("local-logs")] {
        let entries = std::fs::read_dir(&folder).into_iter().flatten().flatten();
        found.extend(entries.map(|entry| entry.path()).filter(|path| path.is_file()));
    }
    found.retain(|path| path.file_name().is_some_and(|name| name.to_string_lossy().contains(part)));
    found.sort();
    found
}

fn content(path: &Path) -> String {
    let bytes = std::fs::read(path).expect("reads");
    if path.extension().is_none_or(|end| end != "gz") {
        return String::from_utf8(bytes).expect("text");
    }
    let output = std::process::Command::new("gzip").arg("-dc").arg(path).output().expect("gzip is installed");
    assert!(output.status.success(), "{path:?} is no archive");
    String::from_utf8(output.stdout).expect("text")
}

#[test]
fn a_log_is_put_aside_when_it_has_grown_and_no_line_is_lost() {
    let sandbox = Sandbox::new("rotation");
    sandbox.busybox();
    let options = ["--log-opt", "max-size=20k", "--log-opt", "max-file=100"];
    let run = ["run", "--name", "many", "busybox", "sh", "-c", &count(1, 3000)];
    let run = [&run[..1], &options, &run[1..]].concat();
    let ran = sandbox.engine(&run);
    assert_eq!(numbers(&ran.stdout), all(1, 3000));
    let files = files(&sandbox, "many", "json.log");
    assert!(files.len() > 10, "{files:?}");
    let mut kept: Vec<u32> = files.iter().flat_map(|file| numbers(&content(file))).collect();
    kept.sort_unstable();
    assert_eq!(kept, all(1, 3000), "every line is in one file, once");
    for file in &files {
        assert!(content(file).len() < 21_000, "{file:?} is too large");
    }
    let logs = |args: &[&str]| numbers(&sandbox.engine(&[&["logs"], args, &["many"]].concat()).stdout);
    assert_eq!(logs(&[]), all(1, 3000));
    assert_eq!(logs(&["--tail", "1000"]), all(2001, 3000));
    assert_eq!(logs(&["--since", "1h"]), all(1, 3000));
    assert_eq!(logs(&["--since", "2100-01-01T00:00:00Z"]), Vec::<u32>::new());
    assert_eq!(logs(&["--until", "2020-01-01T00:00:00Z"]), Vec::<u32>::new());
    let config = sandbox.engine(&["inspect", "-f", "{{json .HostConfig.LogConfig}}", "many"]);
    assert_eq!(config.ok(), r#"{"Config":{"max-file":"100","max-size":"20k"},"Type":"json-file"}"#);
}

#[test]
fn only_so_many_files_are_kept() {
    let sandbox = Sandbox::new("kept");
    sandbox.busybox();
    for (name, keep) in [("one", "1"), ("three", "3")] {
        let keep = format!("max-file={keep}");
        let options = ["run", "--name", name, "--log-opt", "max-size=20k", "--log-opt", &keep];
        let script = count(1, 3000);
        sandbox.engine(&[&options[..], &["busybox", "sh", "-c", &script]].concat()).ok();
    }
    assert_eq!(files(&sandbox, "one", "json.log").len(), 1);
    assert_eq!(files(&sandbox, "three", "json.log").len(), 3);
    let kept = numbers(&sandbox.engine(&["logs", "three"]).stdout);
    assert_eq!(kept, all(kept[0], 3000));
    assert!(kept.len() > 300 && kept.len() < 1000, "{}", kept.len());
}

#[test]
fn a_follower_misses_nothing_while_files_are_put_aside_and_compressed() {
    let sandbox = Sandbox::new("followed");
    sandbox.busybox();
    let script = format!("sleep 1; {}; sleep 1; {}", count(1, 4000), count(4001, 6000));
    let options = ["--log-opt", "max-size=50k", "--log-opt", "max-file=1000", "--log-opt", "compress=true"];
    let run = [&["run", "-d", "--name", "busy"], &options[..], &["busybox", "sh", "-c", &script]].concat();
    sandbox.engine(&run).ok();
    let followed = sandbox.engine(&["logs", "-f", "busy"]);
    assert_eq!(numbers(&followed.stdout), all(1, 6000));
    assert_eq!(numbers(&sandbox.engine(&["logs", "busy"]).stdout), all(1, 6000));
    assert_eq!(numbers(&sandbox.engine(&["logs", "--tail", "5500", "busy"]).stdout), all(501, 6000));
    let files = files(&sandbox, "busy", "json.log");
    let packed = files.iter().filter(|file| file.extension().is_some_and(|end| end == "gz")).count();
    assert!(packed > 2, "{files:?}");
    let mut kept: Vec<u32> = files.iter().flat_map(|file| numbers(&content(file))).collect();
    kept.sort_unstable();
    assert_eq!(kept, all(1, 6000));
}

#[test]
fn a_killed_monitor_leaves_a_log_that_can_be_read_and_goes_on() {
    let sandbox = Sandbox::new("killedlog");
    sandbox.busybox();
    let script = format!(
        "cat /n || echo 0 > /n; [ $(cat /n) = 0 ] && echo 1 > /n && {{ {}; }}; sleep 1000",
        count(1, 1_000_000)
    );
    let options = ["--log-opt", "max-size=200k", "--log-opt", "max-file=5", "--log-opt", "compress=true"];
    let run = [&["run", "-d", "--name", "dead"], &options[..], &["busybox", "sh", "-c", &script]].concat();
    sandbox.engine(&run).ok();
    eventually(20, "it writes", || files(&sandbox, "dead", "json.log").len() > 3);
    let pid = sandbox.engine(&["inspect", "-f", "{{.State.Pid}}", "dead"]).ok().to_owned();
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("it runs");
    let monitor = status.lines().find_map(|line| line.strip_prefix("PPid:\t")).expect("a parent").to_owned();
    sandbox.host(&["kill", "-9", &monitor]).ok();
    eventually(5, "it has ended", || {
        sandbox.engine(&["inspect", "-f", "{{.State.Running}}", "dead"]).ok() == "false"
    });
    let kept = numbers(&sandbox.engine(&["logs", "dead"]).stdout);
    assert!(kept.len() > 100 && kept.windows(2).all(|pair| pair[0] + 1 == pair[1]), "{} lines", kept.len());
    sandbox.engine(&["start", "dead"]).ok();
    eventually(5, "the second run writes", || {
        sandbox.engine(&["logs", "--tail", "1", "dead"]).stdout == "1\n"
    });
    assert!(!files(&sandbox, "dead", ".part").iter().any(|file| {
        // Only one that is at work now.
        file.metadata().is_ok_and(|metadata| {
            metadata
                .modified()
                .is_ok_and(|time| time.elapsed().is_ok_and(|age| age > Duration::from_secs(30)))
        })
    }));
    sandbox.engine(&["kill", "dead"]).ok();
}

#[test]
fn a_local_log_is_a_log_and_none_is_none() {
    let sandbox = Sandbox::new("drivers");
    sandbox.busybox();
    sandbox.engine(&["run", "--name", "local", "--log-driver", "local", "busybox", "echo", "hello"]).ok();
    assert_eq!(sandbox.engine(&["logs", "local"]).stdout, "hello\n");
    assert_eq!(files(&sandbox, "local", "container.log").len(), 1);
    let inspected =
        sandbox.engine(&["inspect", "-f", "{{.HostConfig.LogConfig.Type}}:{{.LogPath}}", "local"]);
    assert_eq!(inspected.ok(), "local:");
    let ran = sandbox.engine(&["run", "--name", "none", "--log-driver", "none", "busybox", "echo", "hello"]);
    assert_eq!(ran.ok(), "hello");
    sandbox.engine(&["logs", "none"]).fails(1, ["configured logging driver does not support reading"]);
    let plugins = sandbox.engine(&["info", "-f", "{{json .Plugins.Log}}"]);
    for driver in ["json-file", "local", "none"] {
        assert!(plugins.ok().contains(&format!("\"{driver}\"")), "{plugins:?}");
    }
}

#[test]
fn what_a_log_cannot_be_is_refused_before_anything_is_made() {
    let sandbox = Sandbox::new("badlog");
    sandbox.busybox();
    for (args, says) in [
        (&["--log-driver", "foo"][..], "logger: no log driver named 'foo' is registered"),
        (&["--log-driver", "none", "--log-opt", "max-size=1m"], "invalid logging opts for driver none"),
        (&["--log-opt", "foo=1"], "unknown log opt 'foo' for json-file log driver"),
        (&["--log-driver", "local", "--log-opt", "tag=x"], "unknown log opt 'tag' for local log driver"),
        (&["--log-opt", "max-size=big"], "invalid size: 'big'"),
        (&["--log-opt", "max-file=0"], "max-file cannot be less than 1"),
        (&["--log-opt", "compress=true"], "compress cannot be true when max-file is less than 2"),
    ] {
        let ran = sandbox.engine(&[&["run", "--rm"], args, &["busybox", "true"]].concat());
        ran.fails(125, [says]);
    }
    assert_eq!(sandbox.engine(&["ps", "-aq"]).ok(), "");
}

#[test]
fn labels_variables_and_tags_are_the_details_of_a_log() {
    let sandbox = Sandbox::new("details");
    sandbox.busybox();
    let options = [
        "--log-opt",
        "labels=tier,absent",
        "--log-opt",
        "env=MODE",
        "--log-opt",
        "tag={{.Name}}/{{.ImageName}}",
    ];
    let run = ["run", "--name", "tagged", "--label", "tier=front", "-e", "MODE=a b", "-e", "OTHER=x"];
    sandbox.engine(&[&run[..], &options, &["busybox", "echo", "hello"]].concat()).ok();
    let logs = sandbox.engine(&["logs", "--details", "tagged"]);
    assert_eq!(logs.ok(), "MODE=a+b,tag=tagged%2Fbusybox,tier=front hello");
    assert_eq!(sandbox.engine(&["logs", "tagged"]).ok(), "hello");
    sandbox.engine(&["run", "--name", "plain", "busybox", "echo", "hello"]).ok();
    assert_eq!(sandbox.engine(&["logs", "--details", "plain"]).ok(), " hello");
}

#[test]
fn the_journal_of_the_host_is_told_every_line() {
    let sandbox = Sandbox::new("journald");
    sandbox.busybox();
    let run = ["run", "--log-driver", "journald", "--name", "told", "--label", "my.tier=x"];
    let script = "echo out; echo err >&2";
    let (engine, out) = (env!("CARGO_BIN_EXE_engine"), sandbox.dir().join("journal"));
    let words = [&run[..], &["--log-opt", "labels=my.tier", "busybox", "sh", "-c"]].concat().join(" ");
    // A mount namespace with a /run of its own, where a program stands in for the journal.
    let listen = "import socket, sys, time\ns = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)\n\
        s.bind('/run/systemd/journal/socket')\ns.settimeout(20)\nf = open(sys.argv[1], 'wb')\n\
        for i in range(2):\n    f.write(s.recv(65536) + b'--\\n')\nf.close()";
    std::fs::write(sandbox.dir().join("listen.py"), listen).expect("writes");
    let ran = sandbox.host(&[
        "unshare",
        "-m",
        "sh",
        "-c",
        &format!(
            "mount -t tmpfs none /run && mkdir -p /run/systemd/journal && \
             (python3 {dir}/listen.py {out} & p=$!; \
             while [ ! -S /run/systemd/journal/socket ]; do sleep 0.1; done; \
             {engine} {words} '{script}'; {engine} logs told; wait $p)",
            dir = sandbox.dir().display(),
            out = out.display(),
        ),
    ]);
    assert_eq!((ran.stdout.as_str(), ran.stderr.as_str()), ("out\nout\n", "err\nerr\n"), "{ran:?}");
    let mut journal = Vec::new();
    std::fs::File::open(&out).and_then(|mut file| file.read_to_end(&mut journal)).expect("was written");
    let journal = String::from_utf8_lossy(&journal).into_owned();
    let id = sandbox.engine(&["inspect", "-f", "{{.Id}}", "told"]).ok().to_owned();
    for field in [
        format!("CONTAINER_ID_FULL={id}\n"),
        format!("CONTAINER_ID={}\n", &id[..12]),
        format!("CONTAINER_TAG={}\n", &id[..12]),
        format!("SYSLOG_IDENTIFIER={}\n", &id[..12]),
        "CONTAINER_NAME=told\n".to_owned(),
        "IMAGE_NAME=busybox\n".to_owned(),
        "MY_TIER=x\n".to_owned(),
        "PRIORITY=6\nMESSAGE\n\x03\0\0\0\0\0\0\0out\n".to_owned(),
        "PRIORITY=3\nMESSAGE\n\x03\0\0\0\0\0\0\0err\n".to_owned(),
    ] {
        assert!(journal.contains(&field), "{field:?} is not in {journal}");
    }
    if !Path::new("/run/systemd/journal/socket").exists() {
        let ran = sandbox.engine(&["run", "--rm", "--log-driver", "journald", "busybox", "true"]);
        ran.fails(125, ["journald is not enabled on this host"]);
    }
}

#[test]
fn a_full_disk_loses_lines_and_the_container_goes_on() {
    let sandbox = Sandbox::new("fulldisk");
    sandbox.busybox();
    sandbox
        .engine(&[
            "create",
            "--name",
            "full",
            "busybox",
            "sh",
            "-c",
            &format!("{}; echo done > /end; exit 7", count(1, 20_000)),
        ])
        .ok();
    // The log lies on a disk of its own, which is small.
    let id = sandbox.engine(&["inspect", "-f", "{{.Id}}", "full"]).ok().to_owned();
    let folder = sandbox.root().join("containers").join(&id);
    std::fs::create_dir_all(&folder).expect("a directory");
    let folder = folder.display();
    let engine = env!("CARGO_BIN_EXE_engine");
    // What is written to the container's layer goes elsewhere.
    let script = format!(
        "mount -t tmpfs -o size=300k none /mnt && touch {folder}/{id}-json.log /mnt/log && \
         mount --bind /mnt/log {folder}/{id}-json.log && {engine} start -a full > /dev/null; echo $?; {engine} logs full"
    );
    let ran = sandbox.host(&["unshare", "-m", "sh", "-c", &script]);
    let (code, logs) = ran.stdout.split_once('\n').expect("a line");
    assert_eq!(code, "7", "{}", ran.stderr);
    let kept = numbers(logs);
    assert!(kept.len() > 1000 && kept.len() < 20_000, "{} lines", kept.len());
    assert_eq!(kept, all(1, kept.len() as u32));
}
