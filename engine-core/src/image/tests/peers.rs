//! With real tools: Debian's docker-registry, skopeo, and a Docker daemon that the test starts.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;

use super::archives::{load, save};
use super::fake::Fake;
use super::{Bench, Layer, config, noise, tar};
use crate::id::{Digest, ImageId};
use crate::image::SaveFormat;
use crate::image::manifest::{DOCKER_MANIFEST, OCI_CONFIG, OCI_INDEX, OCI_MANIFEST};
use crate::image::resolve::resolve;
use crate::registry::oci::OciRegistry;
use crate::registry::oci::RegistryConfig;
use crate::spec::Compression;

/// A process that ends with its guard.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let pid = rustix::process::Pid::from_child(&self.0);
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        let deadline = Instant::now() + Duration::from_secs(15);
        while Instant::now() < deadline {
            if self.0.try_wait().is_ok_and(|ended| ended.is_some()) {
                return;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn run(program: &str, args: &[&str]) -> String {
    let output = Command::new(program).args(args).output().unwrap_or_else(|e| panic!("{program}: {e}"));
    let text =
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{program} {args:?}: {text}");
    text
}

/// A registry on a free port.
fn registry(directory: &Path) -> (Running, String) {
    for _ in 0..5 {
        let free = std::net::TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).expect("a port");
        let file = directory.join("registry.yml");
        let text = format!(
            "version: 0.1\nlog:\n  level: error\n  accesslog:\n    disabled: true\nstorage:\n  filesystem:\n    \
             rootdirectory: {}\nhttp:\n  addr: {free}\n",
            directory.join("registry").display()
        );
        fs::write(&file, text).expect("writes");
        let child = Command::new("docker-registry")
            .arg("serve")
            .arg(&file)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("docker-registry is installed");
        let mut running = Running(child);
        let deadline = Instant::now() + Duration::from_secs(20);
        while running.0.try_wait().expect("waits").is_none() && Instant::now() < deadline {
            if std::net::TcpStream::connect(free).is_ok() {
                return (running, free.to_string());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }
    panic!("docker-registry does not start");
}

fn client() -> Arc<OciRegistry> {
    Arc::new(OciRegistry::new(RegistryConfig::default()).expect("a client"))
}

/// A directory with an OCI layout of one image for each of these platforms, in one index.
fn layout(directory: &Path, images: &[(&str, &[Layer])]) -> (PathBuf, Vec<ImageId>) {
    let layout = directory.join("layout");
    fs::create_dir_all(layout.join("blobs/sha256")).expect("makes");
    let keep = |bytes: &[u8]| {
        let digest = Digest::of(bytes);
        fs::write(layout.join("blobs/sha256").join(digest.encoded()), bytes).expect("writes");
        json!({"digest": digest, "size": bytes.len()})
    };
    let mut ids = Vec::new();
    let mut entries = Vec::new();
    for (architecture, layers) in images {
        let config = config(layers, json!({"architecture": architecture}));
        ids.push(Digest::of(&config));
        let typed = |mut entry: Value, media_type: &str| {
            entry["mediaType"] = json!(media_type);
            entry
        };
        let listed: Vec<Value> = layers.iter().map(|l| typed(keep(&l.blob), l.media_type)).collect();
        let manifest = json!({"schemaVersion": 2, "mediaType": OCI_MANIFEST, "layers": listed,
            "config": typed(keep(&config), OCI_CONFIG)});
        let mut entry = typed(keep(manifest.to_string().as_bytes()), OCI_MANIFEST);
        entry["platform"] = json!({"os": "linux", "architecture": architecture});
        entries.push(entry);
    }
    let mut top = match entries.as_slice() {
        [one] => one.clone(),
        _ => {
            let index = json!({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": entries}).to_string();
            let mut entry = keep(index.as_bytes());
            entry["mediaType"] = json!(OCI_INDEX);
            entry
        }
    };
    top["annotations"] = json!({"org.opencontainers.image.ref.name": "1"});
    let index = json!({"schemaVersion": 2, "manifests": [top]}).to_string();
    fs::write(layout.join("index.json"), index).expect("writes");
    fs::write(layout.join("oci-layout"), "{\"imageLayoutVersion\": \"1.0.0\"}").expect("writes");
    (layout, ids)
}

fn layers() -> Vec<Layer> {
    vec![
        Layer::new(tar(&[("bin/sh", b"#!"), ("data", &noise(400_000, 1))]), Compression::Gzip),
        Layer::new(tar(&[("etc/motd", b"hello")]), Compression::Gzip),
    ]
}

fn push(from: &Path, to: &str, more: &[&str]) {
    let from = format!("oci:{}:1", from.display());
    let to = format!("docker://{to}");
    let args = [&["copy", "--quiet", "--dest-tls-verify=false"], more, &[&from, &to]].concat();
    run("skopeo", &args);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_skopeo_pushed_is_pulled_in_every_form() {
    let directory = tempfile::tempdir().expect("a directory");
    let (_registry, host) = registry(directory.path());
    let (layers, other) = (layers(), [Layer::new(tar(&[("arm", b"64")]), Compression::Gzip)]);
    let (one, ids) = layout(&directory.path().join("one"), &[("amd64", &layers)]);
    let (both, both_ids) = layout(&directory.path().join("both"), &[("arm64", &other), ("amd64", &layers)]);
    push(&one, &format!("{host}/a/oci:1"), &["--format", "oci"]);
    push(&one, &format!("{host}/a/docker:1"), &["--format", "v2s2"]);
    push(&one, &format!("{host}/a/zstd:1"), &["--format", "oci", "--dest-compress-format", "zstd"]);
    push(&both, &format!("{host}/a/both:1"), &["--all"]);
    let bench = Bench::new(client());
    for name in ["oci", "docker", "zstd", "both"] {
        let id = bench.pull(&format!("{host}/a/{name}:1")).await.unwrap_or_else(|e| panic!("{name}: {e:?}"));
        assert!([&ids[0], &both_ids[1]].contains(&&id), "{name}");
    }
    let docker = resolve(&bench.parts, &format!("{host}/a/docker:1")).await.expect("is there");
    assert_eq!(docker.size, 400_000 + 2 + 5);
    let alone = Bench::new(client());
    alone.pull(&format!("{host}/a/docker:1")).await.expect("pulls");
    assert_eq!(resolve(&alone.parts, ids[0].as_str()).await.expect("is there").media_type, DOCKER_MANIFEST);
    let none = alone.pull(&format!("{host}/a/none:1")).await.expect_err("is not there");
    assert_eq!(none.kind(), crate::ErrorKind::NotFound, "{none}");
}

/// Saves a pulled image; gives the archive and what it holds.
async fn saved(directory: &Path, format: SaveFormat) -> (PathBuf, ImageId) {
    let fake = Fake::new();
    let (id, _) = fake.image("1", &layers(), json!({}));
    let bench = Bench::new(fake);
    bench.pull("r.test/app:1").await.expect("pulls");
    let file = directory.join(format!("{format:?}.tar"));
    fs::write(&file, save(&bench, &["r.test/app:1"], format).await).expect("writes");
    (file, id)
}

#[tokio::test]
async fn skopeo_reads_what_is_saved_and_what_skopeo_writes_is_loaded() {
    let directory = tempfile::tempdir().expect("a directory");
    let (file, _) = saved(directory.path(), SaveFormat::Docker).await;
    let (oci, _) = saved(directory.path(), SaveFormat::Oci).await;
    let written = |form: &str| format!("{}:{}", form, directory.path().join(form).display());
    for (from, to) in [
        (format!("docker-archive:{}", file.display()), written("oci-archive") + ":made:1"),
        (format!("oci-archive:{}", file.display()), written("docker-archive") + ":made:1"),
        (format!("oci-archive:{}:1", oci.display()), written("dir")),
    ] {
        run("skopeo", &["copy", "--quiet", &from, &to]);
    }
    for form in ["oci-archive", "docker-archive"] {
        let archive = fs::read(directory.path().join(form)).expect("reads");
        let bench = Bench::new(Fake::new());
        let (_, names) = load(&bench, &archive).await.unwrap_or_else(|e| panic!("{form}: {e:?}"));
        assert_eq!(names, ["made:1"], "{form}");
        // Between the two families skopeo writes the configuration anew; the layers stay.
        let image = resolve(&bench.parts, "made:1").await.expect("is there");
        let diffs: Vec<Digest> = image.layers.into_iter().map(|layer| layer.diff_id).collect();
        assert_eq!(diffs, layers().iter().map(|layer| Digest::of(&layer.tar)).collect::<Vec<_>>());
    }
}

/// A Docker daemon without network, in a directory of its own.
struct Docker {
    _daemon: Running,
    host: String,
    _directory: TempDir,
}

impl Docker {
    fn start() -> Docker {
        let directory = tempfile::tempdir().expect("a directory");
        let at = |name: &str| directory.path().join(name).display().to_string();
        let host = format!("unix://{}", at("socket"));
        let log = fs::File::create(directory.path().join("log")).expect("a log");
        let daemon = Command::new("dockerd")
            .args([
                "--data-root",
                &at("data"),
                "--exec-root",
                &at("exec"),
                "--pidfile",
                &at("pid"),
                "-H",
                &host,
            ])
            .args(["--iptables=false", "--ip6tables=false", "--bridge=none", "--storage-driver=vfs"])
            .stdout(log.try_clone().expect("a log"))
            .stderr(log)
            .spawn()
            .expect("dockerd is installed");
        let mut daemon = Running(daemon);
        let deadline = Instant::now() + Duration::from_secs(60);
        while !Command::new("docker")
            .args(["-H", &host, "version"])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .expect("docker is installed")
            .success()
        {
            let ended = daemon.0.try_wait().expect("waits").is_some();
            let log = || fs::read_to_string(directory.path().join("log")).unwrap_or_default();
            assert!(!ended && Instant::now() < deadline, "dockerd does not start: {}", log());
            std::thread::sleep(Duration::from_millis(100));
        }
        Docker { _daemon: daemon, host, _directory: directory }
    }

    fn run(&self, args: &[&str]) -> String {
        run("docker", &[&["-H", &self.host], args].concat())
    }
}

#[tokio::test]
async fn docker_loads_what_is_saved_and_what_docker_saves_is_loaded() {
    let directory = tempfile::tempdir().expect("a directory");
    let (file, id) = saved(directory.path(), SaveFormat::Docker).await;
    let docker = Docker::start();
    let loaded = docker.run(&["load", "-i", &file.display().to_string()]);
    assert!(loaded.contains("Loaded image: r.test/app:1"), "{loaded}");
    assert_eq!(docker.run(&["image", "inspect", "-f", "{{.Id}}", "r.test/app:1"]).trim(), id.as_str());
    let back = directory.path().join("back.tar");
    docker.run(&["tag", "r.test/app:1", "back:2"]);
    docker.run(&["save", "-o", &back.display().to_string(), "r.test/app:1", "back:2"]);
    let bench = Bench::new(Fake::new());
    let (ids, mut names) = load(&bench, &fs::read(back).expect("reads")).await.expect("loads");
    names.sort();
    assert_eq!((ids, names), (vec![id.clone()], vec!["back:2".to_owned(), "r.test/app:1".to_owned()]));
    assert!(bench.parts.images.get(&id).await.expect("looks").is_some());
}

/// Measures; run alone, with optimisation: `cargo test --release … -- --ignored --nocapture`.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "measures"]
async fn pulling_a_large_layer_takes_as_long_as_inflating_it() {
    let directory = tempfile::tempdir().expect("a directory");
    let (_registry, host) = registry(directory.path());
    let found = run("find", &["/usr/lib/x86_64-linux-gnu", "/usr/share", "-type", "f", "-printf", "%s %p\n"]);
    let mut left = 199 << 20;
    let chosen: Vec<&str> = found
        .lines()
        .filter_map(|line| line.split_once(' '))
        .take_while(|(size, _)| {
            left -= size.parse::<i64>().expect("a size");
            left > 0
        })
        .map(|(_, path)| path)
        .collect();
    let (list, file) = (directory.path().join("list"), directory.path().join("large.tar"));
    fs::write(&list, chosen.join("\n")).expect("writes");
    run("tar", &["-P", "-T", &list.display().to_string(), "-cf", &file.display().to_string()]);
    let layer = Layer::new(fs::read(file).expect("reads"), Compression::Gzip);
    eprintln!("{} files, {} MB gzip, {} MB", chosen.len(), layer.blob.len() >> 20, layer.tar.len() >> 20);
    let (one, _) = layout(&directory.path().join("one"), &[("amd64", std::slice::from_ref(&layer))]);
    push(&one, &format!("{host}/a/large:1"), &["--format", "v2s2"]);
    drop(layer);
    for _ in 0..3 {
        let bench = Bench::new(client());
        // Begins to measure the peak of memory anew.
        fs::write("/proc/self/clear_refs", "5").expect("writes");
        let before = Instant::now();
        bench.pull(&format!("{host}/a/large:1")).await.expect("pulls");
        let status = fs::read_to_string("/proc/self/status").expect("reads");
        let peak = status.lines().find(|line| line.starts_with("VmHWM")).unwrap_or_default().to_owned();
        eprintln!("{:?}, {peak}", before.elapsed());
    }
}
