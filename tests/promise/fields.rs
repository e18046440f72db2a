//! Fields of the runtime specification that few configurations have, driven by bundles through `engine oci`. Where
//! Debian's runc has the field as well, it is given the same bundle and has to say the same.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

use crate::support::{Ran, Sandbox, fixture, run};

/// A bundle of busybox in a directory of its own, and the two runtimes.
struct Field {
    sandbox: Sandbox,
    config: Value,
}

impl Field {
    /// A bundle that runs `script`.
    fn new(test: &str, script: &str) -> Field {
        let sandbox = Sandbox::new(test);
        let field = Field { config: config(script, sandbox.netns()), sandbox };
        std::fs::create_dir_all(field.rootfs()).expect("a directory");
        run(Command::new("tar").arg("-C").arg(field.rootfs()).arg("-xf").arg(fixture::busybox_tar()));
        field
    }

    fn bundle(&self) -> PathBuf {
        self.sandbox.dir().join("bundle")
    }

    fn rootfs(&self) -> PathBuf {
        self.bundle().join("rootfs")
    }

    /// Puts `value` at the place in the configuration.
    fn set(&mut self, place: &str, value: Value) -> &mut Field {
        let (parent, name) = place.rsplit_once('/').expect("begins with a slash");
        self.config.pointer_mut(parent).expect("is there")[name] = value;
        self
    }

    /// Adds to a list in the configuration.
    fn add(&mut self, place: &str, value: Value) -> &mut Field {
        self.config.pointer_mut(place).and_then(Value::as_array_mut).expect("is a list").push(value);
        self
    }

    fn write(&self) {
        std::fs::write(self.bundle().join("config.json"), self.config.to_string()).expect("writes");
    }

    /// `engine oci …`.
    fn engine(&self, words: &[&str]) -> Ran {
        let state = self.sandbox.dir().join("engine");
        self.sandbox.engine(&[&["oci", "--root", state.to_str().expect("a path")], words].concat())
    }

    fn runc(&self, words: &[&str]) -> Ran {
        let state = self.sandbox.dir().join("runc");
        self.sandbox.host(&[&["runc", "--root", state.to_str().expect("a path")], words].concat())
    }

    fn words(&self) -> [String; 4] {
        let bundle = self.bundle().display().to_string();
        ["run".to_owned(), "-b".to_owned(), bundle, self.sandbox.netns().to_owned()]
    }

    /// Runs the bundle by the engine.
    fn run(&self) -> Ran {
        self.write();
        self.engine(&self.words().each_ref().map(String::as_str))
    }

    /// Runs it by both, which say the same; gives what they say.
    #[track_caller]
    fn run_both(&self) -> String {
        let ours = self.run().ok().to_owned();
        let theirs = self.runc(&self.words().each_ref().map(String::as_str)).ok().to_owned();
        assert_eq!(ours, theirs, "runc says otherwise");
        ours
    }

    /// Both refuse it; gives what the engine says.
    #[track_caller]
    fn refused_by_both(&self) -> String {
        let ours = self.run();
        assert_ne!(ours.code, 0, "it ran: {}", ours.stdout);
        let theirs = self.runc(&self.words().each_ref().map(String::as_str));
        assert_ne!(theirs.code, 0, "runc ran it: {}", theirs.stdout);
        ours.stderr
    }

    /// Runs it in the background by the engine, until the guard goes.
    fn detached(&self) -> Running<'_> {
        self.write();
        let log = std::fs::File::create(self.sandbox.dir().join("log")).expect("a file");
        let state = self.sandbox.dir().join("engine");
        let mut command = self.sandbox.engine_command(&["oci", "--root", state.to_str().expect("a path")]);
        command.args(["run", "-d", "-b", self.bundle().to_str().expect("a path"), self.sandbox.netns()]);
        let status = command.stdout(log.try_clone().expect("copies")).stderr(log).status().expect("runs");
        let said = std::fs::read_to_string(self.sandbox.dir().join("log")).expect("reads");
        assert!(status.success(), "it did not start: {said}");
        Running(self)
    }
}

/// A container that runs.
struct Running<'a>(&'a Field);

impl Running<'_> {
    fn exec(&self, words: &[&str]) -> Ran {
        self.0.engine(&[&["exec", self.0.sandbox.netns()], words].concat())
    }

    fn pid(&self) -> u64 {
        let state = self.0.engine(&["state", self.0.sandbox.netns()]);
        let state: Value = serde_json::from_str(state.ok()).expect("is JSON");
        state["pid"].as_u64().expect("has a number")
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.0.engine(&["delete", "--force", self.0.sandbox.netns()]);
    }
}

fn config(script: &str, mark: &str) -> Value {
    let capabilities: Vec<String> =
        ["CHOWN", "DAC_OVERRIDE", "KILL", "SETUID", "SETGID", "SYS_ADMIN", "NET_ADMIN"]
            .iter()
            .map(|name| format!("CAP_{name}"))
            .collect();
    json!({
        "ociVersion": "1.0.2",
        "process": {
            "user": { "uid": 0, "gid": 0 },
            "args": ["sh", "-c", script],
            "env": ["PATH=/bin:/sbin:/usr/bin:/usr/sbin"],
            "cwd": "/",
            "capabilities": {
                "bounding": capabilities, "effective": capabilities, "permitted": capabilities,
            },
        },
        "root": { "path": "rootfs" },
        "hostname": "bundle",
        "mounts": [
            { "destination": "/proc", "type": "proc", "source": "proc" },
            {
                "destination": "/dev", "type": "tmpfs", "source": "tmpfs",
                "options": ["nosuid", "strictatime", "mode=755", "size=65536k"],
            },
            {
                "destination": "/dev/pts", "type": "devpts", "source": "devpts",
                "options": ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"],
            },
            {
                "destination": "/dev/shm", "type": "tmpfs", "source": "shm",
                "options": ["nosuid", "noexec", "nodev", "mode=1777", "size=65536k"],
            },
            {
                "destination": "/dev/mqueue", "type": "mqueue", "source": "mqueue",
                "options": ["nosuid", "noexec", "nodev"],
            },
            {
                "destination": "/sys", "type": "sysfs", "source": "sysfs",
                "options": ["nosuid", "noexec", "nodev", "ro"],
            },
        ],
        "linux": {
            "cgroupsPath": format!("/fields-{mark}"),
            "resources": { "devices": [{ "allow": false, "access": "rwm" }] },
            "namespaces": [
                { "type": "pid" }, { "type": "network" }, { "type": "ipc" }, { "type": "uts" },
                { "type": "mount" },
            ],
            "maskedPaths": ["/proc/kcore", "/proc/scsi"],
            "readonlyPaths": ["/proc/sys"],
        },
    })
}

/// The link of a namespace of a process of the host.
fn namespace(pid: u64, kind: &str) -> String {
    let link = std::fs::read_link(format!("/proc/{pid}/ns/{kind}")).expect("is there");
    link.display().to_string()
}

#[test]
fn a_container_has_clocks_of_its_own() {
    let mut field = Field::new("time", "cat /proc/self/timens_offsets; cut -d. -f1 /proc/uptime; sleep 60");
    field.add("/linux/namespaces", json!({ "type": "time" }));
    field.set(
        "/linux/timeOffsets",
        json!({ "boottime": { "secs": 5_000_000 }, "monotonic": { "secs": 7, "nanosecs": 5 } }),
    );
    let running = field.detached();
    let log = field.sandbox.dir().join("log");
    let read = || std::fs::read_to_string(&log).expect("reads");
    crate::support::eventually(10, "it tells its clocks", || read().lines().count() == 3);
    let said = read();
    let words: Vec<&str> = said.split_whitespace().collect();
    let [.., uptime] = words[..] else { panic!("{said}") };
    assert_eq!(words[..6], ["monotonic", "7", "5", "boottime", "5000000", "0"]);
    let host = std::fs::read_to_string("/proc/uptime").expect("reads");
    let host: f64 = host.split_whitespace().next().expect("a number").parse().expect("a number");
    let ahead = uptime.parse::<f64>().expect("a number") - host;
    assert!((4_999_000.0..=5_000_001.0).contains(&ahead), "{ahead}");
    // Another process there has the same clocks, and this one its own.
    assert_eq!(
        running.exec(&["cat", "/proc/self/timens_offsets"]).ok().split_whitespace().nth(4),
        Some("5000000")
    );
    assert_ne!(namespace(running.pid(), "time"), namespace(std::process::id().into(), "time"));

    // A second container joins it by its path.
    let mut other = Field::new("time-joined", "cat /proc/self/timens_offsets");
    other.add(
        "/linux/namespaces",
        json!({ "type": "time", "path": format!("/proc/{}/ns/time", running.pid()) }),
    );
    assert_eq!(other.run().ok().split_whitespace().nth(4), Some("5000000"));
    other.set("/linux/timeOffsets", json!({ "boottime": { "secs": 1 } }));
    other.run().fails(1, ["no time namespace of its own"]);
}

#[test]
fn a_program_is_scheduled_as_its_configuration_says() {
    let mut field =
        Field::new("scheduler", "grep -c . /proc/self/status >/dev/null; cut -d' ' -f19,41 /proc/self/stat");
    field.set("/process/scheduler", json!({ "policy": "SCHED_BATCH", "nice": 7 }));
    // Nice and policy of proc(5).
    assert_eq!(field.run().ok(), "7 3");
    // Where groups have shares of real time, one has to be given.
    field.set("/linux/resources/cpu", json!({ "realtimePeriod": 1_000_000, "realtimeRuntime": 1000 }));
    field.set(
        "/process/scheduler",
        json!({ "policy": "SCHED_FIFO", "priority": 9, "flags": ["SCHED_FLAG_RESET_ON_FORK"] }),
    );
    field.set("/process/args", json!(["cut", "-d ", "-f40,41", "/proc/self/stat"]));
    assert_eq!(field.run().ok(), "9 1");
    field.set("/process/scheduler", json!({ "policy": "SCHED_OTHER", "priority": 9 }));
    field.run().fails(1, ["only SCHED_FIFO and SCHED_RR have a priority"]);
}

#[test]
fn a_program_has_its_io_priority() {
    let mut field = Field::new("ioprio", "ionice -p 1");
    field.set("/process/ioPriority", json!({ "class": "IOPRIO_CLASS_BE", "priority": 6 }));
    assert_eq!(field.run().ok(), "best-effort: prio 6");
    field.set("/process/ioPriority", json!({ "class": "IOPRIO_CLASS_IDLE", "priority": 0 }));
    assert_eq!(field.run().ok(), "idle");
    field.set("/process/ioPriority", json!({ "class": "IOPRIO_CLASS_BE", "priority": 9 }));
    field.run().fails(1, ["between 0, the highest, and 7"]);
}

#[test]
fn a_process_joins_on_the_processors_it_is_told() {
    let mut field = Field::new("affinity", "sleep 60");
    field.set("/process/execCPUAffinity", json!({ "initial": "0", "final": "1" }));
    let running = field.detached();
    let allowed = ["grep", "Cpus_allowed_list", "/proc/self/status"];
    assert_eq!(running.exec(&allowed).ok(), "Cpus_allowed_list:\t1");
    let own = std::fs::read_to_string(format!("/proc/{}/status", running.pid())).expect("reads");
    assert!(!own.contains("Cpus_allowed_list:\t1\n"), "it is about processes that join alone:\n{own}");
    drop(running);
    field.set("/process/execCPUAffinity", json!({ "final": "7-3" }));
    field.run().fails(1, ["CPU affinity"]);
}

#[test]
fn a_program_has_the_personality_and_the_memory_policy_asked_for() {
    let mut field = Field::new(
        "personality",
        "uname -m; cat /proc/self/personality; head -n 1 /proc/1/numa_maps | cut -d' ' -f2",
    );
    field.set("/linux/personality", json!({ "domain": "LINUX32" }));
    field.set(
        "/linux/memoryPolicy",
        json!({ "mode": "MPOL_BIND", "nodes": "0", "flags": ["MPOL_F_STATIC_NODES"] }),
    );
    let said = field.run();
    let said: Vec<&str> = said.ok().lines().collect();
    assert_eq!(said, ["i686", "00000008", "bind=static:0"]);
    field.set("/linux/memoryPolicy", json!({ "mode": "MPOL_BIND", "nodes": "1000" }));
    field.run().fails(1, ["the memory policy"]);
    field.set("/linux/memoryPolicy", Value::Null);
    field.set("/linux/personality", json!({ "domain": "LINUX", "flags": ["ADDR_NO_RANDOMIZE"] }));
    // This field is newer than Debian's runc.
    field.run().fails(1, ["the specification has no flags for it"]);
}

/// Without the security module nobody can do what is asked: it is refused, not passed over. A host with the module is
/// not asked here.
#[test]
fn labels_are_refused_where_the_kernel_has_no_module_for_them() {
    let has = |path: &str| Path::new(path).exists();
    if has("/sys/module/apparmor") || has("/sys/fs/selinux") {
        return;
    }
    let mut field = Field::new("labels", "true");
    field.set("/process/apparmorProfile", json!("some-profile"));
    assert!(field.refused_by_both().contains("apply the AppArmor profile some-profile"));
    field.set("/process/apparmorProfile", json!(""));
    field.set("/process/selinuxLabel", json!("system_u:system_r:container_t:s0"));
    assert!(field.refused_by_both().contains("set the SELinux label system_u"));
    field.set("/process/selinuxLabel", json!(""));
    field.set("/linux/mountLabel", json!("system_u:object_r:container_file_t:s0"));
    assert!(field.refused_by_both().contains("context"));
    field.set("/linux/mountLabel", json!(""));
    assert_eq!(field.run_both(), "");
    field.set("/linux/intelRdt", json!({ "closID": "guaranteed" }));
    // Debian's runc passes over it where there is no resctrl.
    field.run().fails(1, ["Intel RDT"]);
}
