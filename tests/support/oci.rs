//! Runtimes by OCI's command line: `engine oci`, and Debian's runc as its peer. A test is written once and walks through
//! both, so that what it wants of the engine is what runc does.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use serde_json::{Value, json};

use super::{ENGINE, Ran, Sandbox, fixture, run};

/// The variables that programs of a bundle have.
const PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// A runtime with a directory for state of its own, and bundles to run. What it ran ends with it.
pub struct Oci {
    /// `engine` or `runc`.
    pub name: &'static str,
    sandbox: Sandbox,
    words: Vec<String>,
    bundles: AtomicU32,
}

/// A directory with `config.json` and a root file system of busybox.
pub struct Bundle {
    pub path: PathBuf,
    /// What `config.json` says; [written](Bundle::write) when it was changed.
    pub config: Value,
}

/// Does `test` with the engine and with runc: paths and names in what a failure says tell which.
#[expect(clippy::print_stdout, reason = "what was not looked at is told")]
pub fn with_both(test: &str, scenario: impl Fn(&Oci)) {
    scenario(&Oci::engine(test));
    match installed("runc") {
        true => scenario(&Oci::runc(test)),
        false => println!("skipped: this host has no runc to do the same"),
    }
}

/// Whether this host has the program.
pub fn installed(program: &str) -> bool {
    let found = Command::new("sh").args(["-c", &format!("command -v {program}")]).output();
    found.is_ok_and(|found| found.status.success())
}

impl Oci {
    /// The engine.
    pub fn engine(test: &str) -> Oci {
        Oci::new(test, "engine", vec![ENGINE.to_owned(), "oci".to_owned()])
    }

    /// Its peer.
    pub fn runc(test: &str) -> Oci {
        Oci::new(test, "runc", vec!["runc".to_owned()])
    }

    fn new(test: &str, name: &'static str, mut words: Vec<String>) -> Oci {
        let sandbox = Sandbox::new(&format!("{test}-{name}"));
        words.extend(["--root".to_owned(), sandbox.dir().join("oci").display().to_string()]);
        Oci { name, sandbox, words, bundles: AtomicU32::new(0) }
    }

    pub fn is_engine(&self) -> bool {
        self.name == "engine"
    }

    /// A directory for the test.
    pub fn dir(&self) -> &Path {
        self.sandbox.dir()
    }

    pub fn sandbox(&self) -> &Sandbox {
        &self.sandbox
    }

    /// A name that no other container of the host has.
    pub fn id(&self, name: &str) -> String {
        format!("{name}-{}", self.sandbox.netns())
    }

    /// A bundle that runs `script`.
    pub fn bundle(&self, script: &str) -> Bundle {
        let number = self.bundles.fetch_add(1, Ordering::Relaxed);
        let path = self.dir().join(format!("bundle-{number}"));
        unpack(&path.join("rootfs"));
        let group = format!("/oci-{}-{number}", self.sandbox.netns());
        let mut bundle = Bundle { path, config: config(script, &group) };
        bundle.write();
        bundle
    }

    /// `… VERB`, not yet run. A container that is left behind has its standard streams, so they are no pipes.
    pub fn command<S: AsRef<str>>(&self, words: &[S]) -> Command {
        let mut command = self.sandbox.command(&self.words[0]);
        command.args(&self.words[1..]).args(words.iter().map(AsRef::as_ref));
        command.current_dir(self.dir());
        command
    }

    /// `… VERB`, run to its end; gives what was written until then.
    pub fn run<S: AsRef<str>>(&self, words: &[S]) -> Ran {
        self.run_command(self.command(words)).0
    }

    /// The same, with the file that is the standard output of whatever was left running.
    pub fn run_command(&self, mut command: Command) -> (Ran, PathBuf) {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let n = COUNT.fetch_add(1, Ordering::Relaxed);
        let (stdout, stderr) = (self.dir().join(format!("out-{n}")), self.dir().join(format!("err-{n}")));
        let file = |path: &Path| Stdio::from(File::create(path).expect("a file"));
        let status = command.stdout(file(&stdout)).stderr(file(&stderr)).status().expect("runs");
        let read = |path: &Path| String::from_utf8_lossy(&std::fs::read(path).expect("reads")).into_owned();
        (Ran { code: super::code(status), stdout: read(&stdout), stderr: read(&stderr) }, stdout)
    }

    /// The same, with something on its standard input.
    pub fn run_with_input<S: AsRef<str>>(&self, words: &[S], input: &[u8]) -> Ran {
        super::with_input(&mut self.command(words), input)
    }

    /// `run -b BUNDLE NAME`: a bundle's life in the foreground.
    pub fn run_bundle(&self, bundle: &Bundle) -> Ran {
        self.run(&["run", "-b", bundle.path(), &self.id("run")])
    }

    /// The state of a container, as it is told.
    #[track_caller]
    pub fn state(&self, id: &str) -> Value {
        serde_json::from_str(self.run(&["state", id]).ok()).expect("is JSON")
    }

    /// Its status.
    #[track_caller]
    pub fn status(&self, id: &str) -> String {
        self.state(id)["status"].as_str().expect("has a status").to_owned()
    }

    /// A program in the background, in the foreground of which a bundle runs.
    #[track_caller]
    pub fn detached(&self, bundle: &Bundle, id: &str) {
        self.run(&["run", "--detach", "-b", bundle.path(), id]).ok();
    }
}

impl Drop for Oci {
    fn drop(&mut self) {
        for id in self.run(&["list", "-q"]).stdout.lines() {
            self.run(&["delete", "--force", id]);
        }
        let left = leftovers(self.sandbox.netns());
        for group in left.iter().rev() {
            let _ = std::fs::remove_dir(group);
        }
        if !std::thread::panicking() && self.is_engine() {
            assert!(left.is_empty(), "the test left groups behind: {left:?}");
        }
    }
}

/// Groups that have the mark of a test in their path.
fn leftovers(mark: &str) -> Vec<String> {
    let mut find = Command::new("find");
    find.args(["/sys/fs/cgroup", "-type", "d", "-path", &format!("*{mark}*")]);
    // Other tests' groups go away while it looks.
    let output = find.output().expect("runs");
    String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect()
}

/// Makes a root file system of busybox.
pub fn unpack(rootfs: &Path) {
    std::fs::create_dir_all(rootfs).expect("a directory");
    run(Command::new("tar").arg("-C").arg(rootfs).arg("-xf").arg(fixture::busybox_tar()));
}

impl Bundle {
    pub fn path(&self) -> &str {
        self.path.to_str().expect("a path")
    }

    pub fn rootfs(&self) -> PathBuf {
        self.path.join("rootfs")
    }

    /// Writes down what `config` says.
    pub fn write(&mut self) {
        let text = serde_json::to_string_pretty(&self.config).expect("is JSON");
        std::fs::write(self.path.join("config.json"), text).expect("writes");
    }

    /// The same bundle, changed.
    #[must_use]
    pub fn with(mut self, change: impl FnOnce(&mut Value)) -> Bundle {
        change(&mut self.config);
        self.write();
        self
    }

    /// With one more mount.
    #[must_use]
    pub fn with_mount(self, mount: Value) -> Bundle {
        self.with(|config| config["mounts"].as_array_mut().expect("has mounts").push(mount))
    }
}

/// A configuration that runs `script` in the control group `group`.
pub fn config(script: &str, group: &str) -> Value {
    let capabilities = ["CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_KILL", "CAP_SETUID", "CAP_SETGID"];
    json!({
        "ociVersion": "1.0.2",
        "process": {
            "terminal": false,
            "user": { "uid": 0, "gid": 0 },
            "args": ["sh", "-c", script],
            "env": [PATH],
            "cwd": "/",
            "capabilities": {
                "bounding": capabilities, "effective": capabilities, "permitted": capabilities,
            },
        },
        "root": { "path": "rootfs" },
        "hostname": "bundle",
        "annotations": { "org.example.key": "value" },
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
                "destination": "/sys", "type": "sysfs", "source": "sysfs",
                "options": ["nosuid", "noexec", "nodev", "ro"],
            },
        ],
        "linux": {
            "cgroupsPath": group,
            "resources": { "devices": [{ "allow": false, "access": "rwm" }] },
            "namespaces": [
                { "type": "pid" }, { "type": "network" }, { "type": "ipc" }, { "type": "uts" },
                { "type": "mount" },
            ],
            "maskedPaths": ["/proc/kcore"],
            "readonlyPaths": ["/proc/sys"],
        },
    })
}
