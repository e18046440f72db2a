//! The engine as a library: what a program that links it relies on.
#![expect(clippy::expect_used, reason = "a test fails loudly")]

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use engine_core::container::ListSpec;
use engine_core::spec::{AttachSpec, ExecSpec, Lifetime, MountSpec, NetworkMode, Signal, StopSpec};
use engine_core::volume::driver::VolumeDriver;
use engine_core::{ContainerSpec, Engine, ErrorKind, Result, VolumeName};

/// A store of a test's own. Goes with its guard.
struct Store(tempfile::TempDir);

impl Store {
    fn new() -> Store {
        Store(tempfile::tempdir_in("/var/tmp").expect("a directory"))
    }

    fn builder(&self) -> engine_core::EngineBuilder {
        Engine::builder().root(self.0.path().join("store")).run_root(self.0.path().join("run"))
    }

    async fn open(&self) -> Engine {
        self.builder().open().await.expect("opens")
    }
}

/// A sandbox of this host without a network.
fn sandbox(command: &[&str]) -> ContainerSpec {
    ContainerSpec::overlay("/").command(command.iter().copied()).network(NetworkMode::None)
}

async fn output(engine: &Engine, spec: ContainerSpec) -> (String, i32) {
    let container = engine.containers().create(spec).await.expect("creates");
    let session = container.start_attached(AttachSpec::OUTPUT).await.expect("starts");
    let (stdout, _, exit) = session.output(1 << 20).await.expect("ends");
    container.wait().await.expect("is recorded");
    (String::from_utf8_lossy(&stdout).into_owned(), exit.code)
}

#[tokio::test]
async fn ten_lines_run_a_container_and_read_its_output() {
    let store = Store::new();
    let engine = store.open().await;
    let spec = sandbox(&["sh", "-c", "echo hello; exit 3"]).auto_remove();
    assert_eq!(output(&engine, spec).await, ("hello\n".to_owned(), 3));
    let all = ListSpec { all: true, ..ListSpec::default() };
    assert!(engine.containers().list(&all).await.expect("lists").is_empty());
}

#[tokio::test]
async fn two_engines_in_one_process_do_not_meet() {
    let (one, two) = (Store::new(), Store::new());
    let (a, b) = (one.open().await, two.open().await);
    let name = "same".parse::<engine_core::ContainerName>().expect("a name");
    for engine in [&a, &b] {
        engine.containers().create(sandbox(&["true"]).name(name.clone())).await.expect("creates");
    }
    a.containers().get("same").await.expect("is there").remove(Default::default()).await.expect("removes");
    b.containers()
        .get("same")
        .await
        .expect("is still there")
        .remove(Default::default())
        .await
        .expect("removes");
}

#[tokio::test]
async fn a_program_talks_to_a_running_container() {
    let store = Store::new();
    let engine = store.open().await;
    let mut spec = sandbox(&["cat"]).auto_remove();
    spec.open_stdin = true;
    spec.stdin_once = true;
    let container = engine.containers().create(spec).await.expect("creates");
    let mut session = container.start_attached(AttachSpec::ALL).await.expect("starts");
    session.input().write(b"through").await.expect("writes");
    let exec = container.exec(ExecSpec::new(["sh", "-c", "exit 5"])).await.expect("begins");
    assert_eq!(exec.wait().await.expect("ends").code, 5);
    session.input().close().await.expect("closes");
    let (stdout, _, exit) = session.output(1 << 20).await.expect("ends");
    assert_eq!((stdout.as_slice(), exit.code), (b"through".as_slice(), 0));
    container.wait().await.expect("is recorded");
}

/// A volume driver of the program's own, which counts.
struct Counting {
    top: PathBuf,
    mounted: AtomicUsize,
    unmounted: AtomicUsize,
}

#[async_trait]
impl VolumeDriver for Counting {
    fn check(&self, _: &BTreeMap<String, String>) -> Result<()> {
        Ok(())
    }

    async fn create(&self, name: &VolumeName, _: &BTreeMap<String, String>, _: bool) -> Result<()> {
        std::fs::create_dir_all(self.path(name)).map_err(|e| engine_core::Error::io("volume", e))
    }

    fn path(&self, name: &VolumeName) -> PathBuf {
        self.top.join(name.as_str())
    }

    async fn mount(&self, name: &VolumeName, _: &BTreeMap<String, String>, _: &str) -> Result<PathBuf> {
        self.mounted.fetch_add(1, Ordering::Relaxed);
        Ok(self.path(name))
    }

    async fn unmount(&self, _: &VolumeName, _: &str) -> Result<()> {
        self.unmounted.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    async fn remove(&self, name: &VolumeName) -> Result<()> {
        std::fs::remove_dir_all(self.path(name)).map_err(|e| engine_core::Error::io("volume", e))
    }
}

#[tokio::test]
async fn a_driver_of_the_programs_own_takes_the_place_of_the_default() {
    let store = Store::new();
    let top = store.0.path().join("elsewhere");
    let driver = Arc::new(Counting { top: top.clone(), mounted: 0.into(), unmounted: 0.into() });
    let engine = store.builder().volume_driver("local", driver.clone()).open().await.expect("opens");
    let volume: VolumeName = "mine".parse().expect("a name");
    let spec =
        sandbox(&["sh", "-c", "echo x > /data/f"]).mount(MountSpec::volume(volume, "/data")).auto_remove();
    assert_eq!(output(&engine, spec).await.1, 0);
    assert_eq!(std::fs::read_to_string(top.join("mine/f")).expect("is there"), "x\n");
    assert_eq!(driver.mounted.load(Ordering::Relaxed), 1);
    assert!(driver.unmounted.load(Ordering::Relaxed) >= 1);
    engine.volumes().remove("mine", false).await.expect("removes");
}

#[tokio::test]
async fn dropping_a_handle_does_nothing_to_the_container() {
    let store = Store::new();
    let engine = store.open().await;
    let container = engine.containers().create(sandbox(&["sleep", "1000"])).await.expect("creates");
    container.start().await.expect("starts");
    let id = container.id().clone();
    drop((container, engine));
    let engine = store.open().await;
    let container = engine.containers().get(id.as_str()).await.expect("is there");
    assert!(container.inspect().await.expect("is there").state.running);
    let stop = StopSpec { timeout: Some(Duration::ZERO), ..StopSpec::default() };
    container.stop(stop).await.expect("stops");
    let again = container.stop(stop).await;
    assert!(again.is_ok(), "stopping what is stopped is no failure");
    assert_eq!(container.kill(Signal::TERM).await.expect_err("is refused").kind(), ErrorKind::Conflict);
    container.remove(Default::default()).await.expect("removes");
}

/// Not a test: the program that the next one kills. It starts a container that is to end with it.
#[test]
fn helper_that_is_killed() {
    let Some(root) = std::env::var_os("ENGINE_TEST_STORE") else { return };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let root = PathBuf::from(root);
        let builder = Engine::builder().root(root.join("store")).run_root(root.join("run"));
        let engine = builder.open().await.expect("opens");
        let spec = sandbox(&["sleep", "1000"]).lifetime(Lifetime::WithEngine);
        let container = engine.containers().create(spec).await.expect("creates");
        container.start().await.expect("starts");
        println!("started");
        std::future::pending::<()>().await;
    });
}

#[tokio::test]
async fn a_container_of_a_sandbox_ends_with_the_program_that_was_killed() {
    use std::io::{BufRead, BufReader};
    let store = Store::new();
    let mut child = Command::new(std::env::current_exe().expect("a path"))
        .args(["--exact", "helper_that_is_killed", "--nocapture"])
        .env("ENGINE_TEST_STORE", store.0.path())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .expect("starts");
    let mut lines = BufReader::new(child.stdout.take().expect("a pipe")).lines();
    assert!(lines.any(|line| line.is_ok_and(|line| line.contains("started"))), "the helper failed");
    let engine = store.open().await;
    let all = ListSpec { all: true, ..ListSpec::default() };
    let running = engine.containers().list(&all).await.expect("lists");
    assert!(running[0].state.running);
    child.kill().expect("kills");
    child.wait().expect("ends");
    let container = engine.containers().get(running[0].id.as_str()).await.expect("is there");
    let exit = tokio::time::timeout(Duration::from_secs(10), container.wait())
        .await
        .expect("in time")
        .expect("is told");
    assert_eq!(exit.code, 137);
    container.remove(Default::default()).await.expect("removes");
}

#[tokio::test]
async fn bad_input_is_an_error_with_a_kind_a_subject_and_a_remedy() {
    let store = Store::new();
    let engine = store.open().await;
    let error = engine.containers().get("nosuch").await.expect_err("is refused");
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert!(error.subject().contains("nosuch") && error.remedy().is_some());
    let error = engine.containers().create(sandbox(&["nosuchprogram"])).await.expect("creates").start().await;
    assert_eq!(error.expect_err("is refused").kind(), ErrorKind::CommandNotFound);
    let error =
        engine.containers().create(ContainerSpec::directory("relative")).await.expect_err("is refused");
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
}
