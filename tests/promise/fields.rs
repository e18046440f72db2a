//! Fields of the runtime specification that few configurations have, driven by bundles through `engine oci`. Where
//! Debian's runc has the field as well, it is given the same bundle and has to say the same.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

use crate::support::{Ran, Sandbox, oci, run};

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
        oci::unpack(&field.rootfs());
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
        let parent = self.config.pointer_mut(parent).expect("is there");
        match parent {
            Value::Array(list) => list[name.parse::<usize>().expect("a place")] = value,
            parent => parent[name] = value,
        }
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

/// The usual configuration with what more of these tests need: capabilities, and mounts before that of `/sys`.
fn config(script: &str, mark: &str) -> Value {
    let mut config = oci::config(script, &format!("/fields-{mark}"));
    config["process"]["env"] = json!(["PATH=/bin:/sbin:/usr/bin:/usr/sbin"]);
    let sets = config["process"]["capabilities"].as_object_mut().expect("has sets");
    for set in sets.values_mut().filter_map(Value::as_array_mut) {
        set.extend([json!("CAP_SYS_ADMIN"), json!("CAP_NET_ADMIN")]);
    }
    let more = [
        json!({
            "destination": "/dev/shm", "type": "tmpfs", "source": "shm",
            "options": ["nosuid", "noexec", "nodev", "mode=1777", "size=65536k"],
        }),
        json!({
            "destination": "/dev/mqueue", "type": "mqueue", "source": "mqueue",
            "options": ["nosuid", "noexec", "nodev"],
        }),
    ];
    let mounts = config["mounts"].as_array_mut().expect("has mounts");
    let last = mounts.len() - 1;
    mounts.splice(last..last, more);
    config["linux"]["maskedPaths"] = json!(["/proc/kcore", "/proc/scsi"]);
    config
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

/// The numbers that users of a container have on the host.
const OUTSIDE: u64 = 100_000;

impl Field {
    /// Gives the container users of its own, to whom its files belong.
    fn map_users(&mut self) -> &mut Field {
        let mapping = json!([{ "containerID": 0, "hostID": OUTSIDE, "size": 65536 }]);
        self.set("/linux/uidMappings", mapping.clone()).set("/linux/gidMappings", mapping);
        self.own_files();
        self.add("/linux/namespaces", json!({ "type": "user" }))
    }

    fn own_files(&self) {
        run(Command::new("chown").args(["-R", &format!("{OUTSIDE}:{OUTSIDE}")]).arg(self.rootfs()));
    }

    /// Mounts a directory of the test at `/data`.
    fn bind(&mut self, options: Value) -> (&mut Field, PathBuf) {
        let data = self.sandbox.dir().join("data");
        std::fs::create_dir_all(&data).expect("a directory");
        let mount = json!({ "destination": "/data", "type": "bind", "source": data, "options": options });
        self.add("/mounts", mount);
        (self, data)
    }
}

fn owner(path: &Path) -> (u32, u32) {
    use std::os::unix::fs::MetadataExt;
    let file = std::fs::symlink_metadata(path).expect("is there");
    (file.uid(), file.gid())
}

#[test]
fn the_root_of_a_user_namespace_is_another_user_of_the_host() {
    let script = "id -u; id -g; cat /proc/self/uid_map; touch /made; echo x >/dev/null; stat -c %u:%a /dev/null /dev/pts \
                  /made; cat /proc/self/setgroups; echo told >/dev/stdout; mount -t tmpfs own /mnt && echo mounted";
    let mut field = Field::new("users", script);
    std::fs::create_dir_all(field.rootfs().join("mnt")).expect("a directory");
    field.map_users();
    let said = field.run_both();
    let words: Vec<&str> = said.split_whitespace().collect();
    assert_eq!(words[..5], ["0", "0", "0", "100000", "65536"]);
    assert_eq!(words[5..], ["65534:666", "0:755", "0:644", "allow", "told", "mounted"]);
    assert_eq!(owner(&field.rootfs().join("made")), (100_000, 100_000));

    field.set("/process/user", json!({ "uid": 7, "gid": 8, "additionalGids": [9] }));
    field.set("/process/args", json!(["sh", "-c", "id -u; id -g; id -G"]));
    assert_eq!(field.run_both(), "7\n8\n8 9");
    // Nobody of the host is that user.
    field.set("/process/user", json!({ "uid": 70_000, "gid": 0 }));
    field.refused_by_both();
    field.set("/process/user", json!({ "uid": 0, "gid": 0 }));
    field.set("/linux/uidMappings", json!([]));
    field.refused_by_both();
}

#[test]
fn a_user_namespace_has_its_own_view_of_its_group_and_its_processes() {
    let mut field = Field::new(
        "users-cgroup",
        "cat /proc/self/cgroup | cut -d: -f3 | sort -u; ls -d /sys/fs/cgroup/*/tasks | head -n 1 | grep -c tasks",
    );
    field.add("/linux/namespaces", json!({ "type": "cgroup" }));
    field.add(
        "/mounts",
        json!({ "destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup", "options": ["ro"] }),
    );
    field.set("/process/oomScoreAdj", json!(77));
    field.set("/linux/sysctl", json!({ "net.ipv4.ip_forward": "1", "kernel.shm_rmid_forced": "1" }));
    field.map_users();
    assert_eq!(field.run().ok(), "/\n1");
    let script =
        "cat /proc/self/oom_score_adj /proc/sys/net/ipv4/ip_forward /proc/sys/kernel/shm_rmid_forced";
    field.set("/process/args", json!(["sh", "-c", script]));
    assert_eq!(field.run_both(), "77\n1\n1");
}

#[test]
fn another_process_enters_the_user_namespace() {
    let mut field = Field::new("users-exec", "sleep 60");
    field.map_users();
    let running = field.detached();
    let inside = namespace(running.pid(), "user");
    assert_ne!(inside, namespace(std::process::id().into(), "user"));
    assert_eq!(running.exec(&["readlink", "/proc/self/ns/user"]).ok(), inside);
    running.exec(&["touch", "/by-another"]).ok();
    assert_eq!(owner(&field.rootfs().join("by-another")), (100_000, 100_000));
    assert_eq!(
        running.exec(&["sh", "-c", "id -u; cat /proc/self/uid_map | tr -s ' '"]).ok(),
        "0\n 0 100000 65536"
    );

    // A second container has the same users, with all else of its own; a third one is in the network besides.
    let mut other =
        Field::new("users-joined", "readlink /proc/self/ns/user; readlink /proc/self/ns/net; touch /made");
    other.own_files();
    other.add(
        "/linux/namespaces",
        json!({ "type": "user", "path": format!("/proc/{}/ns/user", running.pid()) }),
    );
    let said = other.run();
    let said: Vec<&str> = said.ok().lines().collect();
    assert_eq!(said[0], inside);
    assert_ne!(said[1], namespace(running.pid(), "net"));
    assert_eq!(owner(&other.rootfs().join("made")), (100_000, 100_000));
    let network = json!({ "type": "network", "path": format!("/proc/{}/ns/net", running.pid()) });
    other.set("/linux/namespaces/1", network);
    let said = other.run();
    let said: Vec<&str> = said.ok().lines().collect();
    assert_eq!(said, [inside, namespace(running.pid(), "net")]);
}

/// Whoever has users of its own may still be in a network of the host's.
#[test]
fn a_user_namespace_goes_with_namespaces_of_the_host() {
    let mut field = Field::new("users-net", "readlink /proc/self/ns/net; id -u");
    let path = format!("/run/netns/{}", field.sandbox.netns());
    field.set("/linux/namespaces/1", json!({ "type": "network", "path": path }));
    // The kernel shows a network in sysfs to nobody but its own users.
    field.config["mounts"].as_array_mut().expect("is a list").retain(|mount| mount["type"] != "sysfs");
    field.map_users();
    let said = field.run_both();
    let own = field.sandbox.host(&["readlink", "/proc/self/ns/net"]);
    assert_eq!(said, format!("{}\n0", own.ok()));
}

/// The root of a user namespace is given all that it can be given there, and still has nothing of the host.
#[test]
fn the_root_of_a_user_namespace_cannot_change_the_host() {
    let script = "
        try() { \"$@\" >/dev/null 2>&1 && echo \"ALLOWED: $*\"; }
        try sh -c 'echo 1 >/proc/sys/kernel/panic'
        try sh -c 'echo c >/proc/sysrq-trigger'
        try sh -c 'echo 0 >/proc/sys/vm/overcommit_memory'
        try sh -c 'echo x >/data/secret'
        try cat /data/secret
        try chown 0 /data/secret
        try chmod 666 /data/secret
        try rm /data/secret
        try mount -o remount,rw /data
        try touch /fixed/made
        try mknod /tmp/disk b 8 0
        try mknod /tmp/memory c 1 1
        try chmod 600 /dev/null
        try adjtimex -t 10001
        try mount -t ext4 /dev/vda /mnt
        try sh -c 'echo -999 >/proc/self/oom_score_adj'
        try nsenter -t 1 -u -i -n -m -p -U true
        echo done";
    let mut field = Field::new("users-attack", script);
    let (field, data) = field.bind(json!(["rbind", "rw"]));
    std::fs::write(data.join("secret"), "secret").expect("writes");
    run(Command::new("chmod").arg("600").arg(data.join("secret")));
    field.add(
        "/mounts",
        json!({ "destination": "/fixed", "type": "bind", "source": data, "options": ["bind", "ro"] }),
    );
    std::fs::create_dir_all(field.rootfs().join("mnt")).expect("a directory");
    field.map_users();
    let all: Vec<Value> =
        (0..41).filter_map(|bit| CAPABILITIES.get(bit)).map(|name| json!(format!("CAP_{name}"))).collect();
    for set in ["bounding", "effective", "permitted"] {
        field.set(&format!("/process/capabilities/{set}"), json!(all));
    }
    field.set("/linux/readonlyPaths", json!([])).set("/linux/maskedPaths", json!([]));
    let before = std::fs::read_to_string("/proc/sys/kernel/panic").expect("reads");
    assert_eq!(field.run().ok(), "done");
    assert_eq!(std::fs::read_to_string("/proc/sys/kernel/panic").expect("reads"), before);
    assert_eq!(owner(&data.join("secret")), (0, 0));
    assert_eq!(std::fs::read_to_string(data.join("secret")).expect("reads"), "secret");
}

const CAPABILITIES: [&str; 16] = [
    "CHOWN",
    "DAC_OVERRIDE",
    "DAC_READ_SEARCH",
    "FOWNER",
    "KILL",
    "MKNOD",
    "NET_ADMIN",
    "SETGID",
    "SETPCAP",
    "SETUID",
    "SYS_ADMIN",
    "SYS_BOOT",
    "SYS_MODULE",
    "SYS_PTRACE",
    "SYS_RESOURCE",
    "SYS_TIME",
];

#[test]
fn files_of_a_mount_belong_to_whom_its_mapping_says() {
    let script = "stat -c %u:%g /data/old; touch /data/new; chown 5000:6000 /data/new";
    let mut field = Field::new("idmap", script);
    let (field, data) = field.bind(json!(["bind"]));
    std::fs::write(data.join("old"), "").expect("writes");
    run(Command::new("chown").arg("1000:2000").args([&data, &data.join("old")]));
    let last = field.config["mounts"].as_array().expect("is a list").len() - 1;
    let place = format!("/mounts/{last}");
    let mapping =
        |inside: u32, outside: u32| json!([{ "containerID": inside, "hostID": outside, "size": 1 }]);
    field.set(&format!("{place}/uidMappings"), mapping(1000, 5000));
    field.set(&format!("{place}/gidMappings"), mapping(2000, 6000));
    // Its root owns nothing there.
    field.set("/process/user", json!({ "uid": 5000, "gid": 6000 }));
    field.set("/process/capabilities", json!({}));
    assert_eq!(field.run().ok(), "5000:6000");
    assert_eq!(owner(&data.join("new")), (1000, 2000), "is its owner's on disk");

    field.set(&format!("{place}/gidMappings"), json!([]));
    field.run().fails(1, ["uidMappings and gidMappings belong together"]);
    field.set(&format!("{place}/uidMappings"), json!([]));
    field.set(&format!("{place}/options"), json!(["bind", "idmap"]));
    field.run().fails(1, ["it has no mapping, and the container no user namespace"]);
    field.set(&place, json!({ "destination": "/data", "type": "tmpfs", "options": ["idmap"] }));
    field.set(&format!("{place}/uidMappings"), mapping(0, 1));
    field.set(&format!("{place}/gidMappings"), mapping(0, 1));
    field.run().fails(1, ["owners are mapped on bind mounts only"]);
}

/// A file system that the test mounts for a while.
struct Mounted(PathBuf);

impl Drop for Mounted {
    fn drop(&mut self) {
        run(Command::new("umount").arg(&self.0));
    }
}

#[test]
fn mounts_are_mapped_as_the_users_of_the_container_are() {
    let mut field = Field::new("idmap-users", "stat -c %u /data/old /data/below/old; touch /data/new");
    let (field, data) = field.bind(json!(["rbind", "idmap"]));
    std::fs::write(data.join("old"), "").expect("writes");
    std::fs::create_dir_all(data.join("below")).expect("a directory");
    run(Command::new("mount").args(["-t", "tmpfs", "test"]).arg(data.join("below")));
    let _mounted = Mounted(data.join("below"));
    std::fs::write(data.join("below/old"), "").expect("writes");
    field.map_users();
    // Root of the host on disk, and its own to the container.
    assert_eq!(field.run().ok(), "0\n65534");
    assert_eq!(owner(&data.join("new")), (0, 0));
    let last = field.config["mounts"].as_array().expect("is a list").len() - 1;
    field.set(&format!("/mounts/{last}/options"), json!(["rbind", "ridmap"]));
    assert_eq!(field.run().ok(), "0\n0");

    // Those of a user namespace that is joined, too.
    let mut holder = Field::new("idmap-holder", "sleep 60");
    holder.map_users();
    let running = holder.detached();
    let namespaces = field.config["linux"]["namespaces"].as_array().expect("is a list").len();
    let path = format!("/proc/{}/ns/user", running.pid());
    field.set(&format!("/linux/namespaces/{}", namespaces - 1), json!({ "type": "user", "path": path }));
    field.set("/linux/uidMappings", json!([])).set("/linux/gidMappings", json!([]));
    assert_eq!(field.run().ok(), "0\n0");
}

#[test]
fn an_earlier_mount_is_changed_by_a_later_one_of_the_list() {
    let script = "touch /tmp/made 2>/dev/null || echo fixed; touch /tmp/below/made && echo made
        touch /data/made 2>/dev/null || echo fixed; grep -c ' /tmp .*size=8k' /proc/self/mounts";
    let mut field = Field::new("remount", script);
    let tmpfs = |destination: &str, options: Value| json!({ "destination": destination, "type": "tmpfs", "source": "tmpfs", "options": options });
    field.add("/mounts", tmpfs("/tmp", json!(["nosuid", "size=4k"])));
    field.add("/mounts", tmpfs("/tmp/below", json!([])));
    field.add("/mounts", tmpfs("/tmp", json!(["remount", "nosuid", "ro", "size=8k"])));
    let (field, data) = field.bind(json!(["rbind", "rw"]));
    let bind = json!({
        "destination": "/data", "type": "bind", "source": data, "options": ["bind", "remount", "ro"],
    });
    field.add("/mounts", bind);
    assert_eq!(field.run_both(), "fixed\nmade\nfixed\n1");
    // The host's own mount is as it was.
    std::fs::write(data.join("made"), "").expect("writes");

    field.add("/mounts", json!({ "destination": "/elsewhere", "type": "tmpfs", "options": ["remount"] }));
    assert!(field.refused_by_both().contains("no earlier mount"));
}

#[test]
fn a_network_of_its_own_has_its_loopback_up() {
    let script = "ip addr show lo | grep -o 'UP\\|127.0.0.1/8' | sort -u; ping -c 1 127.0.0.1 >/dev/null && echo answers";
    let mut field = Field::new("loopback", script);
    for set in ["bounding", "effective", "permitted"] {
        field.add(&format!("/process/capabilities/{set}"), json!("CAP_NET_RAW"));
    }
    assert_eq!(field.run_both(), "127.0.0.1/8\nUP\nanswers");
    field.map_users();
    assert_eq!(field.run_both(), "127.0.0.1/8\nUP\nanswers");
}

#[test]
fn what_most_configurations_say_is_as_with_runc() {
    let script = "pwd; umask; id -u; id -G; echo $WORD; ulimit -n; hostname; cat /proc/self/oom_score_adj
        grep -E '^(CapEff|CapBnd|CapPrm|NoNewPrivs|Seccomp):' /proc/self/status
        touch /x 2>/dev/null || echo fixed; cat /proc/kcore | wc -c; ls /proc/scsi | wc -l
        sh -c 'echo 1 >/proc/sys/kernel/msgmax' 2>/dev/null || echo fixed
        stat -c %t:%T:%a:%u /dev/mine; cat /proc/sys/kernel/msgmax; chmod 777 /dev/shm 2>/dev/null || echo denied";
    let mut field = Field::new("common", script);
    std::fs::create_dir_all(field.rootfs().join("work")).expect("a directory");
    field.set("/hostname", json!("bundle")).set("/process/cwd", json!("/work"));
    field.set("/process/env", json!(["PATH=/bin", "WORD=said"]));
    field.set("/process/user", json!({ "uid": 0, "gid": 0, "umask": 0o27, "additionalGids": [5, 6] }));
    field.set("/process/rlimits", json!([{ "type": "RLIMIT_NOFILE", "soft": 321, "hard": 400 }]));
    field.set("/process/noNewPrivileges", json!(true)).set("/process/oomScoreAdj", json!(55));
    field.set("/root/readonly", json!(true)).set("/annotations", json!({ "a.b": "c" }));
    field.set("/linux/sysctl", json!({ "kernel.msgmax": "4096" }));
    let device =
        json!({ "path": "/dev/mine", "type": "c", "major": 1, "minor": 5, "fileMode": 0o640, "uid": 3 });
    field.set("/linux/devices", json!([device]));
    let rule = json!({ "names": ["chmod", "fchmodat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 13 });
    field.set(
        "/linux/seccomp",
        json!({ "defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_X86_64"], "syscalls": [rule] }),
    );
    let said = field.run_both();
    let lines: Vec<&str> = said.lines().collect();
    assert_eq!(lines[..8], ["/work", "0027", "0", "0 5 6", "said", "321", "bundle", "55"]);
    assert_eq!(lines[13..], ["fixed", "0", "0", "fixed", "1:5:640:3", "4096", "denied"]);

    // Newer than Debian's runc, or of the mount table alone.
    let script =
        "cat /proc/sys/kernel/domainname; awk '$5 == \"/\" { print $7 ~ /^shared:/ }' /proc/self/mountinfo";
    let mut field = Field::new("common-newer", script);
    field.set("/domainname", json!("example.org")).set("/linux/rootfsPropagation", json!("shared"));
    assert_eq!(field.run().ok(), "example.org\n1");
}

#[test]
fn what_is_not_offered_is_refused_by_its_name() {
    let mut field = Field::new("not-offered", "true");
    // A monitor that looks after a container would not enter its users' namespace: the command line has no such flag.
    field.set("/linux/namespaces", json!([{ "type": "pid" }]));
    field.run().fails(1, ["mount namespace of its own"]);
}

#[test]
fn a_link_of_the_host_is_given_to_a_container_with_its_addresses() {
    let mut field = Field::new("links", "ip -o addr show inside; ip link show inside; sleep 60");
    let ip = |words: &[&str]| field.sandbox.host(&[&["ip"], words].concat()).ok().to_owned();
    ip(&[
        "link",
        "add",
        "mine",
        "mtu",
        "1400",
        "address",
        "02:00:00:00:00:07",
        "type",
        "veth",
        "peer",
        "name",
        "other",
    ]);
    ip(&["addr", "add", "10.9.8.7/24", "dev", "mine"]);
    ip(&["addr", "add", "fd00:9::7/64", "dev", "mine", "nodad"]);
    field.set("/linux/netDevices", json!({ "mine": { "name": "inside" } }));
    let running = field.detached();
    let log = field.sandbox.dir().join("log");
    let read = || std::fs::read_to_string(&log).expect("reads");
    crate::support::eventually(10, "it tells its link", || read().contains("link/ether"));
    let said = read();
    for word in ["10.9.8.7/24", "fd00:9::7/64", "mtu 1400", "02:00:00:00:00:07", "UP"] {
        assert!(said.contains(word), "{word}: {said}");
    }
    let links = field.sandbox.host(&["ip", "-o", "link"]);
    assert!(!links.ok().contains("mine"), "{}", links.stdout);
    drop(running);

    // One that there is not, and a name that is taken.
    field.run().fails(1, ["network device mine"]);
    field.sandbox.host(&["ip", "link", "add", "again", "type", "veth", "peer", "name", "mine"]).ok();
    field.set("/linux/netDevices", json!({ "mine": { "name": "lo" } }));
    field.run().fails(1, ["network device mine to the container as lo"]);
    field.set("/linux/netDevices", json!({ "mine": {} }));
    field.set(
        "/linux/namespaces",
        json!([{ "type": "mount" }, { "type": "pid" }, { "type": "uts" }, { "type": "ipc" }]),
    );
    field.run().fails(1, ["the container has the host's network"]);
}
