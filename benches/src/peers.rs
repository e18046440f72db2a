//! Who is measured and on what: the engine's own program, Docker with a daemon of its own, Podman, runc and crun where
//! they are installed, a registry on the loopback, and the same images for all. Everything lives in one folder and one
//! network namespace, and goes with [`Host`].
#![expect(unsafe_code, reason = "entering a network namespace of its own")]

use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Where the bench takes place.
pub(crate) struct Host {
    pub(crate) dir: PathBuf,
    pub(crate) quick: bool,
    engine: PathBuf,
    docker: Option<Child>,
    registry: Option<Child>,
    podman: bool,
}

/// The image that every contender runs, in the registry.
pub(crate) const BOX: &str = "127.0.0.1:5055/box:1";
/// An image of one layer of some 90 MB, 199 MB unpacked.
pub(crate) const LARGE: &str = "127.0.0.1:5055/large:1";

impl Host {
    pub(crate) fn prepare(quick: bool) -> Host {
        // SAFETY: takes an integer; this program has one thread.
        assert_eq!(unsafe { libc::unshare(libc::CLONE_NEWNET) }, 0, "the bench needs root");
        run(Command::new("ip").args(["link", "set", "lo", "up"]));
        let dir = PathBuf::from(format!("/var/tmp/engine-bench-{}", std::process::id()));
        std::fs::create_dir_all(&dir).expect("a directory");
        let engine = std::env::current_exe().expect("a path").with_file_name("engine");
        assert!(engine.exists(), "{} is not built: cargo build --workspace", engine.display());
        let mut host = Host { dir, quick, engine, docker: None, registry: None, podman: false };
        host.root_file_system();
        host.registry = host.start_registry();
        host.push();
        host.docker = host.start_docker();
        host.podman = installed("podman");
        run(&mut host.engine_command(&["pull", "-q", BOX]));
        if host.docker.is_some() {
            run(host.docker_command(&["pull", "-q", BOX]).as_mut().expect("docker"));
        }
        let layer = host.dir.join("box.tar");
        run(Command::new("tar").arg("-C").arg(host.rootfs()).arg("-cf").arg(&layer).arg("."));
        if let Some(mut podman) = host.podman_command(&["import", "-q", &layer.display().to_string(), BOX]) {
            host.podman = podman.output().is_ok_and(|output| output.status.success());
        }
        host
    }

    /// How often a short thing is measured.
    pub(crate) fn rounds(&self) -> usize {
        if self.quick { 2 } else { 15 }
    }

    /// A bare root file system with busybox in it.
    pub(crate) fn rootfs(&self) -> PathBuf {
        self.dir.join("rootfs")
    }

    pub(crate) fn engine_command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(&self.engine);
        command
            .args(args)
            .env("ENGINE_ROOT", self.dir.join("engine"))
            .env("ENGINE_RUN_ROOT", self.dir.join("engine-run"))
            .stdin(Stdio::null());
        command
    }

    pub(crate) fn docker_command(&self, args: &[&str]) -> Option<Command> {
        self.docker.as_ref()?;
        let mut command = Command::new("docker");
        command.arg("-H").arg(format!("unix://{}", self.dir.join("docker.sock").display())).args(args);
        Some(command)
    }

    /// With runc: crun refuses hosts that have both versions of control groups.
    pub(crate) fn podman_command(&self, args: &[&str]) -> Option<Command> {
        if !self.podman {
            return None;
        }
        let mut command = Command::new("podman");
        command
            .arg("--root")
            .arg(self.dir.join("podman"))
            .arg("--runroot")
            .arg(self.dir.join("podman-run"))
            .args(["--cgroup-manager=cgroupfs", "--events-backend=file", "--runtime=runc"])
            .args(args);
        Some(command)
    }

    /// `podman run` of the image: without a network, which it can set up only with helper programs, and with limits
    /// that a nested host may set.
    pub(crate) fn podman_run(&self, args: &[&str]) -> Option<Command> {
        let fixed = ["run", "--network=none", "--ulimit=nofile=1024:1024", "--ulimit=nproc=1024:1024"];
        self.podman_command(&[&fixed, args].concat())
    }

    /// `runc run` or the like, of a bundle with the same root file system, without an image and without a network.
    pub(crate) fn runtime_command(&self, runtime: &str) -> Option<Command> {
        if !installed(runtime) {
            return None;
        }
        let bundle = self.dir.join("bundle");
        if !bundle.exists() {
            std::fs::create_dir_all(&bundle).expect("a directory");
            run(Command::new("runc").arg("spec").current_dir(&bundle));
            let config = std::fs::read_to_string(bundle.join("config.json")).expect("reads");
            let config = config
                .replace("\"terminal\": true", "\"terminal\": false")
                .replace("\"sh\"", "\"true\"")
                .replace("\"path\": \"rootfs\"", &format!("\"path\": \"{}\"", self.rootfs().display()));
            std::fs::write(bundle.join("config.json"), config).expect("writes");
        }
        let mut command = Command::new(runtime);
        command.args(["run", "--bundle"]).arg(&bundle).arg("engine-bench");
        Some(command)
    }

    fn root_file_system(&self) {
        let root = self.rootfs();
        for folder in ["bin", "etc", "proc", "sys", "dev", "tmp", "root"] {
            std::fs::create_dir_all(root.join(folder)).expect("a directory");
        }
        std::fs::copy("/bin/busybox", root.join("bin/busybox")).expect("busybox-static is installed");
        for applet in ["sh", "true", "sleep", "echo"] {
            symlink("busybox", root.join("bin").join(applet)).expect("a link");
        }
        std::fs::write(root.join("etc/passwd"), "root:x:0:0:root:/root:/bin/sh\n").expect("writes");
    }

    fn start_registry(&self) -> Option<Child> {
        let config = self.dir.join("registry.yml");
        let text = format!(
            "version: 0.1\nlog: {{level: error}}\nstorage: {{filesystem: {{rootdirectory: {}}}}}\nhttp: {{addr: '127.0.0.1:5055'}}\n",
            self.dir.join("registry").display()
        );
        std::fs::write(&config, text).expect("writes");
        let mut command = Command::new("docker-registry");
        command.arg("serve").arg(&config).env("OTEL_TRACES_EXPORTER", "none");
        let child = command
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("docker-registry is installed");
        until("the registry answers", || std::net::TcpStream::connect("127.0.0.1:5055").is_ok());
        Some(child)
    }

    /// Puts the two images into the registry, with skopeo and tools of the host.
    fn push(&self) {
        let large = self.dir.join("large");
        std::fs::create_dir_all(large.join("data")).expect("a directory");
        let size = if self.quick { 20 } else { 199 };
        // Half of it cannot be compressed, half compresses away: in all about half is left.
        run(Command::new("sh").arg("-c").arg(format!(
            "cd {}/data && i=0; while [ $i -lt {size} ]; do (head -c 450000 /dev/urandom; head -c 550000 /dev/zero | tr '\\0' 'a') > f$i; i=$((i+1)); done",
            large.display()
        )));
        for (root, name) in [(self.rootfs(), BOX), (large.clone(), LARGE)] {
            let tar = self.dir.join("layer.tar");
            run(Command::new("tar").arg("-C").arg(&root).arg("-cf").arg(&tar).arg("."));
            let layout = self.dir.join("layout");
            run(Command::new("python3").arg("-c").arg(LAYOUT).arg(&tar).arg(&layout));
            run(Command::new("skopeo")
                .args(["--insecure-policy", "copy", "--dest-tls-verify=false"])
                .arg(format!("oci:{}:image", layout.display()))
                .arg(format!("docker://{name}")));
            std::fs::remove_dir_all(&layout).expect("removes");
        }
        std::fs::remove_dir_all(&large).expect("removes");
    }

    fn start_docker(&self) -> Option<Child> {
        if !installed("dockerd") {
            return None;
        }
        let path = |name: &str| self.dir.join(name).display().to_string();
        let child = Command::new("dockerd")
            .args([
                "--data-root",
                &path("docker"),
                "--exec-root",
                &path("docker-exec"),
                "-p",
                &path("docker.pid"),
            ])
            .args(["-H", &format!("unix://{}", path("docker.sock"))])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("starts");
        until("docker answers", || self.dir.join("docker.sock").exists());
        let socket = format!("unix://{}", path("docker.sock"));
        until("docker answers", || {
            Command::new("docker").args(["-H", &socket, "version"]).output().is_ok_and(|o| o.status.success())
        });
        Some(child)
    }

    /// The daemon's data, for a pull that begins from nothing.
    pub(crate) fn forget_large(&self) {
        let _ = self.engine_command(&["rmi", "-f", LARGE]).output();
        if let Some(mut docker) = self.docker_command(&["rmi", "-f", LARGE]) {
            let _ = docker.output();
        }
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        let ids = self.engine_command(&["ps", "-aq"]).output().map(|o| o.stdout).unwrap_or_default();
        let ids = String::from_utf8_lossy(&ids).into_owned();
        let ids: Vec<&str> = ids.lines().collect();
        if !ids.is_empty() {
            let _ = self.engine_command(&[&["rm", "-f"], ids.as_slice()].concat()).output();
        }
        if let Some(mut docker) = self.docker.take() {
            let _ = Command::new("kill").arg(docker.id().to_string()).output();
            let _ = docker.wait();
        }
        if let Some(mut registry) = self.registry.take() {
            let _ = registry.kill();
            let _ = registry.wait();
        }
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

/// Runs what has to go well.
pub(crate) fn run(command: &mut Command) {
    said(command);
}

/// What a command that has to go well says.
pub(crate) fn said(command: &mut Command) -> String {
    let output = command.stdin(Stdio::null()).output().unwrap_or_else(|e| panic!("{command:?}: {e}"));
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn installed(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| Path::new(&folder).join(program).exists())
}

fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !holds() {
        assert!(Instant::now() < deadline, "it did not come to this: {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// An OCI layout of one gzip layer, made by hand so that nothing that is measured had a part in it.
const LAYOUT: &str = r#"
import gzip, hashlib, json, os, sys
tar, layout = sys.argv[1:]
blobs = os.path.join(layout, "blobs", "sha256")
os.makedirs(blobs)
def put(data):
    digest = hashlib.sha256(data).hexdigest()
    open(os.path.join(blobs, digest), "wb").write(data)
    return "sha256:" + digest, len(data)
raw = open(tar, "rb").read()
layer, size = put(gzip.compress(raw, 6, mtime=0))
config, config_size = put(json.dumps({"architecture": "amd64", "os": "linux",
    "config": {"Env": ["PATH=/bin"], "Cmd": ["/bin/sh"]},
    "rootfs": {"type": "layers", "diff_ids": ["sha256:" + hashlib.sha256(raw).hexdigest()]}}).encode())
kind = "application/vnd.oci.image."
manifest, manifest_size = put(json.dumps({"schemaVersion": 2, "mediaType": kind + "manifest.v1+json",
    "config": {"mediaType": kind + "config.v1+json", "digest": config, "size": config_size},
    "layers": [{"mediaType": kind + "layer.v1.tar+gzip", "digest": layer, "size": size}]}).encode())
json.dump({"schemaVersion": 2, "manifests": [{"mediaType": kind + "manifest.v1+json", "digest": manifest,
    "size": manifest_size, "annotations": {"org.opencontainers.image.ref.name": "image"}}]},
    open(os.path.join(layout, "index.json"), "w"))
json.dump({"imageLayoutVersion": "1.0.0"}, open(os.path.join(layout, "oci-layout"), "w"))
"#;
