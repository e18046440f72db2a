//! A runtime, and bundles on a root directory with busybox in it. Whatever a test leaves is taken away in the end.

use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use oci_spec::runtime::Spec;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::error::Error;
use crate::id::ContainerId;
use crate::runtime::driver::{Bundle, ExecBundle, ExitRecord, Place, Runtime, Streams, UserSpec};
use crate::runtime::linux::{LinuxRuntime, RuntimeProgram, ShimProgram, delete};
use crate::spec::{AttachSpec, Lifetime, RestartPolicy, RootMount};

const APPLETS: [&str; 35] = [
    "awk", "cat", "chmod", "cp", "dd", "dmesg", "echo", "env", "false", "grep", "head", "hostname", "id",
    "kill", "ln", "ls", "mkdir", "mount", "od", "ps", "pwd", "readlink", "rm", "seq", "sh", "sleep", "stat",
    "stty", "tail", "test", "touch", "tr", "true", "tty", "wc",
];

/// More output than any test makes.
pub(super) const LIMIT: usize = 16 << 20;

pub(super) struct Fixture {
    pub(super) runtime: LinuxRuntime,
    directory: TempDir,
    /// The group above those of its containers.
    pub(super) cgroup: String,
    places: Mutex<Vec<Place>>,
}

/// What a container said, and how it ended.
#[derive(Debug)]
pub(super) struct Said {
    pub(super) stdout: String,
    pub(super) stderr: String,
    pub(super) exit: ExitRecord,
}

impl Fixture {
    pub(super) fn new() -> Fixture {
        Fixture::of(LinuxRuntime::new(ShimProgram::Embedded, None).expect("cgroups are mounted"))
    }

    /// With Debian's runc.
    pub(super) fn driving_runc() -> Fixture {
        let runc = RuntimeProgram::new("/usr/sbin/runc");
        Fixture::of(LinuxRuntime::driving(runc, ShimProgram::Embedded, None).expect("cgroups are mounted"))
    }

    fn of(runtime: LinuxRuntime) -> Fixture {
        let directory = tempfile::tempdir().expect("a directory");
        let root = directory.path().join("root");
        for name in ["bin", "dev", "etc", "proc", "sys", "tmp", "root", "home/web"] {
            std::fs::create_dir_all(root.join(name)).expect("makes directory");
        }
        std::fs::copy("/bin/busybox", root.join("bin/busybox")).expect("busybox-static is installed");
        for applet in APPLETS {
            symlink("busybox", root.join("bin").join(applet)).expect("links");
        }
        let passwd = "root:x:0:0:root:/root:/bin/sh\nweb:x:33:34::/home/web:/bin/sh\n";
        std::fs::write(root.join("etc/passwd"), passwd).expect("writes");
        std::fs::write(root.join("etc/group"), "root:x:0:\nweb:x:34:\nextra:x:50:web\n").expect("writes");
        std::fs::set_permissions(&root, PermissionsExt::from_mode(0o755)).expect("sets mode");
        let cgroup = format!("/engine-test-{}", ContainerId::random().expect("random numbers").short());
        Fixture { runtime, directory, cgroup, places: Mutex::default() }
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub(super) fn root(&self) -> PathBuf {
        self.path("root")
    }

    pub(super) fn place(&self) -> Place {
        let id = ContainerId::random().expect("random numbers");
        let directory = self.path(id.short());
        std::fs::create_dir(&directory).expect("makes directory");
        let place = Place {
            run_dir: directory.join("run"),
            exit_record: directory.join("exit"),
            cgroup: format!("{}/{id}", self.cgroup),
            runtime: None,
            id,
        };
        self.places.lock().expect("no panic").push(place.clone());
        place
    }

    /// A container that runs `command` as Docker's defaults would have it.
    pub(super) fn bundle(&self, command: &[&str]) -> Bundle {
        self.bundle_with(command, |_| {})
    }

    /// The same, with changes to its configuration.
    pub(super) fn bundle_with(&self, command: &[&str], change: impl FnOnce(&mut Value)) -> Bundle {
        bundle(self.place(), self.root(), command, change)
    }

    /// Why it cannot be created or started.
    pub(super) async fn refusal(&self, bundle: Bundle) -> Error {
        let place = bundle.place.clone();
        match self.runtime.create(bundle).await {
            Ok(_) => self.runtime.start(&place).await.expect_err("is refused"),
            Err(e) => e,
        }
    }

    /// What of a container is left on this host.
    pub(super) fn left(&self, place: &Place) -> Vec<String> {
        let mut left = Vec::new();
        if place.run_dir.exists() {
            left.push(place.run_dir.display().to_string());
        }
        let cgroup = self.runtime.host.cgroups.find(&place.cgroup);
        left.extend(cgroup.dirs.into_iter().filter(|directory| Path::new(directory).exists()));
        let mounts = std::fs::read_to_string("/proc/self/mountinfo").expect("reads");
        let here = self.directory.path().to_str().expect("text");
        left.extend(mounts.lines().filter(|line| line.contains(here)).map(str::to_owned));
        left
    }

    /// Creates it and lets it begin.
    pub(super) async fn begin(&self, bundle: Bundle) -> Place {
        let place = bundle.place.clone();
        self.runtime.create(bundle).await.expect("creates");
        self.runtime.start(&place).await.expect("starts");
        place
    }

    /// Runs it to its end.
    pub(super) async fn run(&self, bundle: Bundle) -> Said {
        let place = bundle.place.clone();
        self.runtime.create(bundle).await.expect("creates");
        let session = self.runtime.attach(&place, AttachSpec::OUTPUT).await.expect("attaches");
        self.runtime.start(&place).await.expect("starts");
        let (stdout, stderr, exit) = session.output(LIMIT).await.expect("talks");
        self.runtime.delete(&place).await.expect("deletes");
        Said { stdout: text(stdout), stderr: text(stderr), exit }
    }

    /// What a shell script prints in a container like the others.
    pub(super) async fn shell(&self, script: &str) -> String {
        let said = self.run(self.bundle(&["sh", "-c", script])).await;
        assert_eq!(said.stderr, "", "{script}");
        said.stdout
    }
}

impl Drop for Fixture {
    fn drop(&mut self) {
        let places = std::mem::take(self.places.get_mut().expect("no panic"));
        self.runtime.held().clear();
        for place in places {
            if let Err(e) = delete::delete(&self.runtime.host, &place) {
                eprintln!("cleaning up: {e}");
            }
        }
        let _ = self.runtime.host.cgroups.remove_everywhere(&self.cgroup);
    }
}

pub(super) fn text(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).expect("is text")
}

pub(super) fn exec_bundle(command: &[&str]) -> ExecBundle {
    let config = config(command);
    ExecBundle {
        process: serde_json::from_value(config["process"].clone()).expect("a process"),
        user: UserSpec::default(),
        seccomp: None,
        annotations: Default::default(),
        stdin: false,
        terminal_size: None,
        detach: false,
        events: None,
        record: None,
    }
}

/// Waits until `check` holds.
pub(super) async fn eventually(what: &str, mut check: impl FnMut() -> bool) {
    for _ in 0..1000 {
        if check() {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    panic!("{what} did not come true within ten seconds");
}

/// Whether a process is there, and no zombie.
pub(super) fn is_alive(pid: u32) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/stat"))
        .is_ok_and(|stat| !stat.rsplit(')').next().unwrap_or_default().starts_with(" Z"))
}

/// A container in `place` on the directory `root`.
pub(super) fn bundle(
    place: Place,
    root: PathBuf,
    command: &[&str],
    change: impl FnOnce(&mut Value),
) -> Bundle {
    let mut config = config(command);
    change(&mut config);
    let spec: Spec = serde_json::from_value(config).expect("a configuration");
    Bundle {
        place,
        title: "test".to_owned(),
        run: 1,
        spec,
        root: vec![RootMount::Directory { path: root }],
        user: UserSpec::default(),
        streams: Streams::default(),
        init: false,
        lifetime: Lifetime::Detached,
        durable: false,
        held: Vec::new(),
        teardown: Vec::new(),
        restart: RestartPolicy::No,
        health: None,
        events: None,
        shm: None,
        names: None,
    }
}

fn config(command: &[&str]) -> Value {
    let capabilities = [
        "CAP_CHOWN",
        "CAP_DAC_OVERRIDE",
        "CAP_FSETID",
        "CAP_FOWNER",
        "CAP_MKNOD",
        "CAP_NET_RAW",
        "CAP_SETGID",
        "CAP_SETUID",
        "CAP_SETFCAP",
        "CAP_SETPCAP",
        "CAP_NET_BIND_SERVICE",
        "CAP_SYS_CHROOT",
        "CAP_KILL",
        "CAP_AUDIT_WRITE",
    ];
    json!({
        "ociVersion": "1.0.2",
        "process": {
            "terminal": false,
            "user": { "uid": 0, "gid": 0 },
            "args": command,
            "env": ["PATH=/bin", "TERM=xterm"],
            "cwd": "/",
            "capabilities": {
                "bounding": capabilities, "effective": capabilities, "permitted": capabilities,
            },
            "rlimits": [{ "type": "RLIMIT_NOFILE", "soft": 1024, "hard": 4096 }],
            "noNewPrivileges": false,
        },
        "root": { "path": "ignored", "readonly": false },
        "hostname": "box",
        "mounts": [
            { "destination": "/proc", "type": "proc", "source": "proc", "options": ["nosuid", "noexec", "nodev"] },
            { "destination": "/dev", "type": "tmpfs", "source": "tmpfs",
              "options": ["nosuid", "strictatime", "mode=755", "size=65536k"] },
            { "destination": "/dev/pts", "type": "devpts", "source": "devpts",
              "options": ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"] },
            { "destination": "/sys", "type": "sysfs", "source": "sysfs",
              "options": ["nosuid", "noexec", "nodev", "ro"] },
            { "destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup",
              "options": ["nosuid", "noexec", "nodev", "relatime", "ro"] },
            { "destination": "/dev/mqueue", "type": "mqueue", "source": "mqueue",
              "options": ["nosuid", "noexec", "nodev"] },
            { "destination": "/dev/shm", "type": "tmpfs", "source": "shm",
              "options": ["nosuid", "noexec", "nodev", "mode=1777", "size=65536k"] },
        ],
        "linux": {
            "namespaces": [
                { "type": "mount" }, { "type": "network" }, { "type": "uts" }, { "type": "pid" },
                { "type": "ipc" }, { "type": "cgroup" },
            ],
            "maskedPaths": ["/proc/kcore", "/proc/keys", "/proc/timer_list", "/sys/firmware", "/proc/nothing"],
            "readonlyPaths": ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"],
        },
    })
}
