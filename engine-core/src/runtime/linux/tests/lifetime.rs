//! What the ends of engines, monitors and containers mean for each other, and what is left.

use std::io::{BufRead, BufReader, Read, pipe};
use std::os::fd::OwnedFd;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Stdio};

use super::fixture::{Fixture, bundle, eventually, exec_bundle, is_alive};
use crate::runtime::driver::{Place, Runtime, State};
use crate::runtime::linux::{LinuxRuntime, ShimProgram};
use crate::spec::{Lifetime, Signal};

/// Not a test: an engine in a process of its own, which starts a container and then waits to be killed.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "other tests start it"]
async fn engine_process() {
    let Ok(place) = std::env::var("ENGINE_TEST_PLACE") else { return };
    let place: Place = serde_json::from_str(&place).expect("a place");
    let root = std::env::var("ENGINE_TEST_ROOT").expect("a root");
    let mut bundle = bundle(place.clone(), root.into(), &["sleep", "1000"], |_| {});
    if std::env::var_os("ENGINE_TEST_WITH_ENGINE").is_some() {
        bundle.lifetime = Lifetime::WithEngine;
    }
    let runtime = LinuxRuntime::new(ShimProgram::Embedded, None).expect("cgroups are mounted");
    let created = runtime.create(bundle).await.expect("creates");
    if std::env::var_os("ENGINE_TEST_ONLY_CREATE").is_none() {
        runtime.start(&place).await.expect("starts");
    }
    println!("\npid={}", created.pid);
    std::future::pending::<()>().await;
}

/// Starts an engine in a process of its own, kills it when its container is there, and gives the container.
fn kill_an_engine(fixture: &Fixture, variables: &[&str]) -> (Place, u32) {
    let place = fixture.place();
    let mut engine = Command::new(std::env::current_exe().expect("this program"))
        .args(["--exact", "runtime::linux::tests::lifetime::engine_process", "--ignored", "--nocapture"])
        .env("ENGINE_TEST_PLACE", serde_json::to_string(&place).expect("text"))
        .env("ENGINE_TEST_ROOT", fixture.root())
        .envs(variables.iter().map(|name| (name, "1")))
        .stdout(Stdio::piped())
        .spawn()
        .expect("starts");
    let lines = BufReader::new(engine.stdout.take().expect("is a pipe")).lines();
    let pid = lines.map(|line| line.expect("reads")).find_map(|line| line.strip_prefix("pid=")?.parse().ok());
    engine.kill().expect("kills");
    assert_eq!(engine.wait().expect("waits").signal(), Some(9));
    (place, pid.expect("the engine says its container's number"))
}

fn parent(pid: u32) -> i32 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).expect("is there");
    let after = stat.rsplit(')').next().expect("has fields");
    after.split_whitespace().nth(1).expect("has a parent").parse().expect("a number")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_engine_leaves_the_container_running() {
    let fixture = Fixture::new();
    let (place, pid) = kill_an_engine(&fixture, &[]);
    tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    assert!(is_alive(pid));
    let state = fixture.runtime.state(&place).expect("has a state");
    assert!(matches!(state, State::Running { pid: Some(first), .. } if first == pid), "{state:?}");
    // This one never saw it before.
    let session = fixture.runtime.exec(&place, exec_bundle(&["sh", "-c", "exit 3"])).await.expect("executes");
    assert_eq!(session.wait().await.expect("ends").code, 3);
    fixture.runtime.kill(&place, Signal::KILL).await.expect("kills");
    assert_eq!(fixture.runtime.wait(&place).await.expect("waits").expect("has a record").code, 137);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_engine_takes_a_container_along_that_was_to_end_with_it() {
    let fixture = Fixture::new();
    let (place, pid) = kill_an_engine(&fixture, &["ENGINE_TEST_WITH_ENGINE"]);
    let record = fixture.runtime.wait(&place).await.expect("waits").expect("has a record");
    assert_eq!(record.code, 137);
    assert!(!is_alive(pid));
    assert!(matches!(fixture.runtime.state(&place).expect("has a state"), State::Exited(_)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_engine_takes_a_container_along_that_has_not_begun() {
    let fixture = Fixture::new();
    let (place, pid) = kill_an_engine(&fixture, &["ENGINE_TEST_ONLY_CREATE"]);
    assert_eq!(fixture.runtime.wait(&place).await.expect("waits"), None);
    eventually("the end of the process", || !is_alive(pid)).await;
    fixture.runtime.delete(&place).await.expect("deletes");
    assert_eq!(fixture.left(&place), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_runtime_that_is_dropped_ends_what_depends_on_it() {
    let fixture = Fixture::new();
    let runtime = LinuxRuntime::new(ShimProgram::Embedded, None).expect("cgroups are mounted");
    let mut dependent = fixture.bundle(&["sleep", "1000"]);
    dependent.lifetime = Lifetime::WithEngine;
    let place = dependent.place.clone();
    runtime.create(dependent).await.expect("creates");
    runtime.start(&place).await.expect("starts");
    let only_created = fixture.bundle(&["sleep", "1000"]);
    let other = only_created.place.clone();
    runtime.create(only_created).await.expect("creates");
    drop(runtime);
    assert_eq!(fixture.runtime.wait(&place).await.expect("waits").expect("has a record").code, 137);
    assert_eq!(fixture.runtime.wait(&other).await.expect("waits"), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_monitor_takes_its_container_along() {
    let fixture = Fixture::new();
    let bundle = fixture.bundle(&["sh", "-c", "sleep 1000 & sleep 1000"]);
    let place = bundle.place.clone();
    let pid = fixture.runtime.create(bundle).await.expect("creates").pid;
    fixture.runtime.start(&place).await.expect("starts");
    let monitor = parent(pid);
    assert_ne!(monitor, std::process::id() as i32, "the host keeps no child");
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(monitor), nix::sys::signal::SIGKILL).expect("kills");
    assert_eq!(fixture.runtime.wait(&place).await.expect("waits"), None);
    eventually("the end of the container", || !is_alive(pid)).await;
    assert_eq!(fixture.runtime.state(&place).expect("has a state"), State::Absent);
    fixture.runtime.delete(&place).await.expect("deletes");
    assert_eq!(fixture.left(&place), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn another_engine_waits_for_the_end() {
    let fixture = Fixture::new();
    let place = fixture.begin(fixture.bundle(&["sh", "-c", "sleep 0.3; exit 6"])).await;
    let other = LinuxRuntime::new(ShimProgram::Embedded, None).expect("cgroups are mounted");
    assert_eq!(other.wait(&place).await.expect("waits").expect("has a record").code, 6);
}

#[tokio::test(flavor = "multi_thread")]
async fn delete_leaves_nothing_but_the_exit_record() {
    let fixture = Fixture::new();
    let running = fixture.begin(fixture.bundle(&["sh", "-c", "sleep 1000 & sleep 1000"])).await;
    let ended = fixture.begin(fixture.bundle(&["true"])).await;
    fixture.runtime.wait(&ended).await.expect("waits");
    for place in [running, ended] {
        assert!(place.run_dir.exists());
        fixture.runtime.delete(&place).await.expect("deletes");
        assert_eq!(fixture.left(&place), Vec::<String>::new());
        assert!(place.exit_record.exists());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_start_leaves_nothing() {
    let fixture = Fixture::new();
    let nowhere = fixture.path("nowhere");
    let bundle = fixture.bundle_with(&["true"], |config| {
        let mount = serde_json::json!({ "destination": "/x", "source": nowhere, "options": ["rbind"] });
        config["mounts"].as_array_mut().expect("a list").push(mount);
    });
    let place = bundle.place.clone();
    let error = fixture.refusal(bundle).await;
    assert!(error.to_string().contains("open bind source"), "{error}");
    assert_eq!(fixture.left(&place), Vec::<String>::new());
    assert_eq!(fixture.runtime.state(&place).expect("has a state"), State::Absent);
}

#[tokio::test(flavor = "multi_thread")]
async fn descriptors_are_held_as_long_as_the_container_lives() {
    let fixture = Fixture::new();
    let (mut read, write) = pipe().expect("a pipe");
    let mut bundle = fixture.bundle(&["sh", "-c", "ls /proc/self/fd | wc -l; sleep 0.5"]);
    // More than go with one message.
    bundle.held = (0..299).map(|_| write.try_clone().expect("copies").into()).collect();
    bundle.held.push(OwnedFd::from(write));
    let place = fixture.begin(bundle).await;
    let closed = tokio::task::spawn_blocking(move || read.read(&mut [0]).expect("reads"));
    tokio::time::sleep(std::time::Duration::from_millis(200)).await;
    assert!(!closed.is_finished(), "they were closed while the container ran");
    fixture.runtime.wait(&place).await.expect("waits");
    assert_eq!(closed.await.expect("no panic"), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_in_a_file_takes_the_place_of_the_embedded_one() {
    let fixture = Fixture::new();
    let file = |name: &str, content: &[u8]| {
        let (source, path) = (fixture.path("source"), fixture.path(name));
        std::fs::write(&source, content).expect("writes");
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(&source, mode).expect("sets mode");
        // Another process copies it: what this one has open to write, a child of another test may have a moment too.
        assert!(Command::new("cp").args([&source, &path]).status().expect("runs").success());
        LinuxRuntime::new(ShimProgram::Path(path), None).expect("cgroups are mounted")
    };
    let runtime = file("shim", crate::runtime::linux::SHIM_PROGRAM);
    let bundle = fixture.bundle(&["sh", "-c", "exit 8"]);
    let place = bundle.place.clone();
    runtime.create(bundle).await.expect("creates");
    runtime.start(&place).await.expect("starts");
    assert_eq!(runtime.wait(&place).await.expect("waits").expect("has a record").code, 8);

    let bundle = fixture.bundle(&["true"]);
    let place = bundle.place.clone();
    let error = file("text", b"nothing to execute").create(bundle).await.expect_err("cannot be executed");
    assert!(error.remedy().is_some(), "{error:?}");
    assert_eq!(fixture.left(&place), Vec::<String>::new());
}
