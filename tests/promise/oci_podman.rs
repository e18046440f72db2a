//! Podman with `engine oci` as its runtime: what a user of Podman sees is what it is with runc.

use std::process::Command;

use crate::support::oci::installed;
use crate::support::{ENGINE, Ran, Sandbox, eventually, fixture, with_input};

/// Podman with a store of its own, and the engine as its runtime. It has no network: that is Podman's own affair.
struct Podman {
    sandbox: Sandbox,
}

impl Podman {
    /// With the image `busybox`; nothing, and a word about it, where Podman is not installed.
    #[expect(clippy::print_stdout, reason = "what was not looked at is told")]
    fn new(test: &str) -> Option<Podman> {
        let missing = ["podman", "conmon"].into_iter().find(|program| !installed(program));
        if let Some(program) = missing {
            println!("skipped: this host has no {program}");
            return None;
        }
        let podman = Podman { sandbox: Sandbox::new(test) };
        let dir = podman.sandbox.dir();
        std::os::unix::fs::symlink(ENGINE, dir.join("engine-oci")).expect("a link");
        // Locks in shared memory would be those of every Podman of this host.
        std::fs::write(dir.join("containers.conf"), "[engine]\nlock_type = \"file\"\n").expect("writes");
        let tar = fixture::busybox_tar();
        podman.ran(&["import", "--quiet", tar.to_str().expect("a path"), "busybox"]).ok();
        Some(podman)
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = self.sandbox.command("podman");
        let path = |name: &str| self.sandbox.dir().join(name).display().to_string();
        command.args(["--root", &path("root"), "--runroot", &self.runroot(), "--tmpdir", &path("tmp")]);
        command.args(["--storage-driver=vfs", "--cgroup-manager=cgroupfs", "--events-backend=file"]);
        command.args(["--runtime", &path("engine-oci")]).args(args);
        command.env("CONTAINERS_CONF", path("containers.conf")).env_remove("DOCKER_CONFIG");
        command
    }

    /// Podman wants one of at most fifty characters.
    fn runroot(&self) -> String {
        format!("/run/podman-{}", self.sandbox.netns())
    }

    fn ran(&self, args: &[&str]) -> Ran {
        with_input(&mut self.command(args), b"")
    }

    /// `podman run --rm --network=none FLAGS busybox sh -c SCRIPT`.
    fn run(&self, flags: &[&str], script: &str) -> Ran {
        self.ran(&[&["run", "--rm", "--network=none"], flags, &["busybox", "sh", "-c", script]].concat())
    }

    #[track_caller]
    fn inspect(&self, name: &str, format: &str) -> String {
        self.ran(&["inspect", "-f", format, name]).ok().to_owned()
    }
}

impl Drop for Podman {
    fn drop(&mut self) {
        self.ran(&["rm", "--all", "--force", "--time", "0"]);
        // Podman keeps its store mounted on itself.
        for name in ["root", "root/vfs", "root/vfs-containers"] {
            let _ = Command::new("umount").arg(self.sandbox.dir().join(name)).output();
        }
        let _ = std::fs::remove_dir_all(self.runroot());
    }
}

#[test]
fn podman_s_containers_live_with_the_engine_as_with_runc() {
    let Some(podman) = Podman::new("podman-life") else { return };
    assert_eq!(podman.run(&[], "echo hello").ok(), "hello");
    assert_eq!(podman.run(&[], "exit 9").code, 9);
    assert_eq!(podman.run(&[], "kill -TERM $$; sleep 1; exit 3").code, 3, "the first process is not killed");

    let script = "trap 'exit 7' TERM; echo begun; while :; do sleep 0.1; done";
    podman.ran(&["run", "-d", "--name", "one", "--network=none", "busybox", "sh", "-c", script]).ok();
    eventually(10, "it says so", || podman.ran(&["logs", "one"]).stdout == "begun\n");
    assert_eq!(podman.ran(&["exec", "one", "sh", "-c", "echo in; exit 4"]).code, 4);
    let told =
        podman.ran(&["exec", "-u", "8", "-w", "/tmp", "-e", "A=b", "one", "sh", "-c", "id -u; pwd; echo $A"]);
    assert_eq!(told.ok(), "8\n/tmp\nb");
    podman.ran(&["exec", "-d", "one", "sh", "-c", "echo > /detached"]).ok();
    eventually(10, "the other ran", || podman.ran(&["exec", "one", "test", "-e", "/detached"]).code == 0);
    assert!(podman.ran(&["ps", "--format", "{{.Names}} {{.Status}}"]).ok().starts_with("one Up"));
    assert!(podman.ran(&["top", "one"]).ok().contains("sleep"));

    podman.ran(&["pause", "one"]).ok();
    assert_eq!(podman.inspect("one", "{{.State.Status}}"), "paused");
    podman.ran(&["unpause", "one"]).ok();
    assert_eq!(podman.inspect("one", "{{.State.Status}}"), "running");
    let stats = podman.ran(&["stats", "--no-stream", "--format", "{{.PIDs}}", "one"]);
    assert_ne!(stats.ok(), "0");

    podman.ran(&["stop", "one"]).ok();
    assert_eq!(podman.inspect("one", "{{.State.Status}} {{.State.ExitCode}}"), "exited 7");
    podman.ran(&["start", "one"]).ok();
    podman.ran(&["kill", "one"]).ok();
    assert_eq!(podman.ran(&["wait", "one"]).ok(), "137");
    podman.ran(&["start", "one"]).ok();
    podman.ran(&["restart", "--time", "0", "one"]).ok();
    podman.ran(&["rm", "--force", "--time", "0", "one"]).ok();
    assert_eq!(podman.ran(&["ps", "-aq"]).ok(), "");

    let missing = podman.ran(&["run", "--rm", "--network=none", "busybox", "nosuch"]);
    missing.fails(127, ["nosuch"]);
    let directory = podman.ran(&["run", "--rm", "--network=none", "busybox", "/etc"]);
    assert_eq!(directory.code, 126, "{directory:?}");
}

#[test]
fn podman_s_wishes_are_granted_by_the_engine() {
    let Some(podman) = Podman::new("podman-flags") else { return };
    let limit = "cd /sys/fs/cgroup; cat memory/memory.limit_in_bytes 2>/dev/null || cat memory.max";
    assert_eq!(podman.run(&["-m", "64m"], limit).ok(), (64 << 20).to_string());
    let read_only = podman.run(&["--read-only"], "touch /x 2>&1; touch /tmp/y /run/y && echo in memory");
    assert!(read_only.ok().contains("Read-only file system"), "{read_only:?}");
    assert!(read_only.ok().ends_with("in memory"), "{read_only:?}");
    let tmpfs = podman.run(
        &["--tmpfs", "/etc", "--tmpfs", "/data:size=1m"],
        "grep -c root /etc/passwd; df /data | tail -1",
    );
    assert!(
        tmpfs.ok().starts_with("1\n") && tmpfs.ok().contains("1024"),
        "what it covers is in it: {tmpfs:?}"
    );
    assert_eq!(podman.run(&["--user", "8:29"], "id -u; id -g").ok(), "8\n29");
    assert_eq!(
        podman.run(&["--hostname", "pod", "--ulimit", "nofile=100:100"], "hostname; ulimit -n").ok(),
        "pod\n100"
    );
    assert_eq!(
        podman.run(&["--cap-drop", "all"], "grep CapEff /proc/self/status").ok(),
        "CapEff:\t0000000000000000"
    );
    assert_eq!(podman.run(&["--privileged"], "mount -t tmpfs x /tmp && echo may mount").ok(), "may mount");
    assert_eq!(
        podman.run(&["--pid=host"], &format!("test -d /proc/{} && echo sees", std::process::id())).ok(),
        "sees"
    );
    let volume = podman.sandbox.dir().join("volume");
    std::fs::create_dir(&volume).expect("a directory");
    let mount = format!("{}:/volume:ro", volume.display());
    assert_eq!(podman.run(&["-v", &mount], "touch /volume/x 2>/dev/null; echo $?").ok(), "1");

    let mut script = Command::new("script");
    let line = podman.command(&[
        "run",
        "--rm",
        "-it",
        "--network=none",
        "busybox",
        "sh",
        "-c",
        "'tty; read x; echo got $x; exit 5'",
    ]);
    let environment = line.get_envs().filter_map(|(name, value)| Some((name.to_owned(), value?.to_owned())));
    script.envs(environment.collect::<Vec<_>>());
    let words: Vec<_> = std::iter::once(line.get_program())
        .chain(line.get_args())
        .map(|word| word.to_string_lossy())
        .collect();
    script.args(["-qec", &words.join(" "), "/dev/null"]);
    let ran = with_input(&mut script, b"typed\n");
    assert_eq!(ran.code, 5, "{ran:?}");
    assert!(ran.stdout.contains("/dev/pts/0") && ran.stdout.contains("got typed"), "{ran:?}");
    let exec = podman.ran(&["run", "-d", "--name", "tty", "-t", "--network=none", "busybox", "sleep", "60"]);
    exec.ok();
    let context = podman.sandbox.dir().join("context");
    std::fs::create_dir(&context).expect("a directory");
    let file = "FROM busybox\nRUN echo built > /built\nRUN [\"sh\", \"-c\", \"test -e /built\"]\nCMD [\"cat\", \"/built\"]\n";
    std::fs::write(context.join("Dockerfile"), file).expect("writes");
    let context = context.to_str().expect("a path");
    let engine = podman.sandbox.dir().join("engine-oci").display().to_string();
    let built = podman.ran(&["build", "--network=none", "--runtime", &engine, "--tag", "built", context]);
    built.ok();
    assert!(!built.stderr.contains("no child processes"), "it has lost the processes: {built:?}");
    assert_eq!(podman.ran(&["run", "--rm", "--network=none", "built"]).ok(), "built");
    assert!(podman.ran(&["exec", "-t", "tty", "tty"]).ok().contains("/dev/pts/1"));
}
