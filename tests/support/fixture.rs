//! Real things to test against: a registry, an image of busybox, an image of Debian. What takes long to make is made
//! once for all tests and kept in a folder of its own.

use std::fs::File;
use std::net::TcpStream;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use super::{Sandbox, eventually, run};

/// Where made things are kept between runs.
fn cache() -> PathBuf {
    let path = PathBuf::from("/var/cache/engine-tests");
    std::fs::create_dir_all(&path).expect("a directory");
    path
}

/// Makes `name` in the cache, once, however many tests want it at the same time.
fn made(name: &str, make: impl FnOnce(&Path)) -> PathBuf {
    let path = cache().join(name);
    let lock = File::create(cache().join(format!("{name}.lock"))).expect("a lock");
    lock.lock().expect("locks");
    if !path.exists() {
        let unfinished = cache().join(format!("{name}.new"));
        let _ = std::fs::remove_file(&unfinished);
        make(&unfinished);
        std::fs::rename(&unfinished, &path).expect("renames");
    }
    path
}

/// A tar archive of a root file system with busybox in it.
pub fn busybox_tar() -> PathBuf {
    made("busybox.tar", |to| {
        let root = tempfile::tempdir().expect("a directory");
        let root = root.path();
        for folder in ["bin", "etc", "tmp", "root", "var", "proc", "sys", "dev"] {
            std::fs::create_dir(root.join(folder)).expect("a directory");
        }
        std::fs::copy("/bin/busybox", root.join("bin/busybox")).expect("busybox-static is installed");
        let applets = run(Command::new("/bin/busybox").arg("--list"));
        for applet in applets.lines().filter(|applet| *applet != "busybox") {
            symlink("busybox", root.join("bin").join(applet)).expect("a link");
        }
        std::fs::write(
            root.join("etc/passwd"),
            "root:x:0:0:root:/root:/bin/sh\nmail:x:8:8:mail:/var:/bin/sh\n",
        )
        .expect("writes");
        std::fs::write(root.join("etc/group"), "root:x:0:\nmail:x:8:\naudio:x:29:mail\n").expect("writes");
        run(Command::new("chmod").arg("1777").arg(root.join("tmp")));
        run(Command::new("tar").arg("-C").arg(root).arg("-cf").arg(to).arg("."));
    })
}

/// A tar archive of a small Debian, made by debootstrap.
pub fn debian_tar() -> PathBuf {
    made("debian.tar", |to| {
        let root = tempfile::tempdir_in(cache()).expect("a directory");
        let mut command = Command::new("debootstrap");
        command.args(["--variant=minbase", "bookworm"]).arg(root.path());
        if let Some(mirror) = mirror() {
            command.arg(mirror);
        }
        run(&mut command);
        run(Command::new("tar")
            .arg("-C")
            .arg(root.path())
            .arg("--exclude=./var/cache/apt/archives/*")
            .arg("-cf")
            .arg(to)
            .arg("."));
    })
}

/// The mirror that this machine's own apt uses.
fn mirror() -> Option<String> {
    let policy = run(Command::new("apt-cache").arg("policy"));
    policy
        .lines()
        .filter_map(|line| line.split_whitespace().find(|word| word.starts_with("http")))
        .find(|url| !url.contains("security"))
        .map(str::to_owned)
}

/// Debian's docker-registry, on the loopback of the test's own network.
pub struct Registry {
    child: Child,
    pub address: String,
}

impl Registry {
    /// Starts it; it keeps its content in the test's folder.
    pub fn start(sandbox: &Sandbox) -> Registry {
        let (dir, port) = (sandbox.dir().join("registry"), 5000);
        std::fs::create_dir_all(&dir).expect("a directory");
        let config = dir.join("config.yml");
        let text = format!(
            "version: 0.1\nlog: {{level: error}}\nstorage: {{filesystem: {{rootdirectory: {}}}, delete: {{enabled: true}}}}\nhttp: {{addr: '127.0.0.1:{port}'}}\n",
            dir.join("data").display()
        );
        std::fs::write(&config, text).expect("writes");
        let child = sandbox
            .command("docker-registry")
            .arg("serve")
            .arg(&config)
            .env("OTEL_TRACES_EXPORTER", "none")
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("docker-registry is installed");
        let registry = Registry { child, address: format!("127.0.0.1:{port}") };
        eventually(20, "the registry answers", || {
            sandbox.host(&["bash", "-c", &format!("exec 3<>/dev/tcp/127.0.0.1/{port}")]).code == 0
        });
        registry
    }

    /// Pushes an archive of a root file system as an image of one layer, by means of the engine's own import and
    /// skopeo. Gives the reference.
    pub fn push_tar(&self, sandbox: &Sandbox, tar: &Path, name: &str) -> String {
        let layout = sandbox.dir().join(format!("{}.oci", name.replace([':', '/'], "-")));
        oci_layout(tar, &layout);
        let reference = format!("{}/{name}", self.address);
        sandbox
            .host(&[
                "skopeo",
                "--insecure-policy",
                "copy",
                "--dest-tls-verify=false",
                &format!("oci:{}:image", layout.display()),
                &format!("docker://{reference}"),
            ])
            .ok();
        reference
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// An OCI layout with one image of one gzip layer, made by hand so that nothing under test had a part in it.
pub fn oci_layout(tar: &Path, layout: &Path) {
    let script = r#"
import gzip, hashlib, json, os, sys
tar, layout = sys.argv[1:]
blobs = os.path.join(layout, "blobs", "sha256")
os.makedirs(blobs)
def put(data):
    digest = hashlib.sha256(data).hexdigest()
    open(os.path.join(blobs, digest), "wb").write(data)
    return "sha256:" + digest, len(data)
raw = open(tar, "rb").read()
layer, size = put(gzip.compress(raw, 1, mtime=0))
config, config_size = put(json.dumps({
    "architecture": "amd64", "os": "linux", "created": "2026-11-24T00:00:00Z",
    "config": {"Env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"], "Cmd": ["/bin/sh"]},
    "rootfs": {"type": "layers", "diff_ids": ["sha256:" + hashlib.sha256(raw).hexdigest()]},
    "history": [{"created": "2026-11-24T00:00:00Z", "created_by": "test"}],
}).encode())
manifest, manifest_size = put(json.dumps({
    "schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
    "config": {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": config, "size": config_size},
    "layers": [{"mediaType": "application/vnd.oci.image.layer.v1.tar+gzip", "digest": layer, "size": size}],
}).encode())
json.dump({"schemaVersion": 2, "manifests": [{
    "mediaType": "application/vnd.oci.image.manifest.v1+json", "digest": manifest, "size": manifest_size,
    "annotations": {"org.opencontainers.image.ref.name": "image"}}]}, open(os.path.join(layout, "index.json"), "w"))
json.dump({"imageLayoutVersion": "1.0.0"}, open(os.path.join(layout, "oci-layout"), "w"))
"#;
    let _ = std::fs::remove_dir_all(layout);
    std::fs::create_dir_all(layout).expect("a directory");
    run(Command::new("python3").args(["-c", script]).arg(tar).arg(layout));
}

/// Whether something listens on the loopback of this process's own network.
pub fn answers(port: u16) -> bool {
    TcpStream::connect(("127.0.0.1", port)).is_ok()
}
