//! Containers that live several times, and how well they are.

use std::time::Duration;

use super::fixture::{Fixture, eventually, is_alive};
use crate::error::ErrorKind;
use crate::runtime::driver::{Bundle, HealthCheck, Place, Runtime, State, Status};
use crate::spec::{AttachSpec, HealthStatus, RestartPolicy, Signal};

fn status(fixture: &Fixture, place: &Place) -> Option<(Option<u32>, Status)> {
    match fixture.runtime.state(place).expect("has a state") {
        State::Running { pid, status, .. } => Some((pid, status?)),
        _ => None,
    }
}

fn restarts(fixture: &Fixture, place: &Place) -> u32 {
    status(fixture, place).map_or(0, |(_, status)| status.restarts)
}

fn health(fixture: &Fixture, place: &Place) -> Option<HealthStatus> {
    status(fixture, place).and_then(|(_, status)| status.health)
}

/// A check of the container, every tenth of a second.
pub(super) fn checked(fixture: &Fixture, mut bundle: Bundle, script: &str) -> Bundle {
    bundle.health = Some(HealthCheck {
        args: ["sh", "-c", script].map(str::to_owned).to_vec(),
        interval: Duration::from_millis(100),
        timeout: Duration::from_secs(5),
        start_period: Duration::ZERO,
        start_interval: Duration::from_secs(5),
        retries: 1,
        results: fixture.path(&format!("{}.health", bundle.place.id.short())),
    });
    bundle
}

#[tokio::test(flavor = "multi_thread")]
async fn a_policy_is_obeyed_changed_and_overruled() {
    let fixture = Fixture::new();
    let mut bundle = fixture.bundle(&["sh", "-c", "sleep 0.05; exit 3"]);
    bundle.restart = RestartPolicy::Always;
    let place = fixture.begin(bundle).await;
    let next = fixture.runtime.wait_next(&place).await.expect("waits").expect("a life has ended");
    assert_eq!((next.code, next.again), (3, true));
    eventually("it lives again", || restarts(&fixture, &place) >= 2).await;
    fixture.runtime.set_restart(&place, RestartPolicy::No).await.expect("changes");
    let last = fixture.runtime.wait(&place).await.expect("waits").expect("has a record");
    assert_eq!((last.code, last.again), (3, false));
    assert!(last.restarts >= 2 && last.started.is_some(), "{last:?}");
    let error = fixture.runtime.set_restart(&place, RestartPolicy::No).await.expect_err("it has ended");
    assert_eq!(error.kind(), ErrorKind::Conflict);

    let mut bundle = fixture.bundle(&["sleep", "1000"]);
    bundle.restart = RestartPolicy::UnlessStopped;
    let place = fixture.begin(bundle).await;
    fixture.runtime.kill(&place, Signal::KILL).await.expect("kills");
    eventually("it lives again", || restarts(&fixture, &place) == 1).await;
    eventually("it has begun", || status(&fixture, &place).is_some_and(|(pid, _)| pid.is_some())).await;
    fixture.runtime.end(&place, Signal::KILL).await.expect("ends");
    assert_eq!(fixture.runtime.wait(&place).await.expect("waits").expect("has a record").code, 137);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_life_begins_as_the_first_did() {
    let fixture = Fixture::new();
    // Its mounts, its group, its standard input and what hangs about of it are those of this life only.
    let script =
        "sleep 0.2; test -e /dev/shm/left && echo LEFT; touch /dev/shm/left; cat; sleep 1000 & exit 1";
    let mut bundle = fixture.bundle(&["sh", "-c", script]);
    bundle.restart = RestartPolicy::OnFailure { retries: 2 };
    bundle.streams.open_stdin = true;
    bundle.streams.stdin_once = true;
    let log = fixture.path("log");
    bundle.streams.log = Some(log.clone());
    let place = bundle.place.clone();
    fixture.runtime.create(bundle).await.expect("creates");
    for life in 0..3 {
        if life > 0 {
            eventually("it lives again", || {
                status(&fixture, &place)
                    .is_some_and(|(_, status)| status.restarts == life && !status.restarting)
            })
            .await;
        }
        let mut session = fixture.runtime.attach(&place, AttachSpec::ALL).await.expect("attaches");
        if life == 0 {
            fixture.runtime.start(&place).await.expect("starts");
        }
        session.input().write(format!("life {life}\n").as_bytes()).await.expect("writes");
        session.input().close().await.expect("closes");
        let (stdout, stderr, exit) = session.output(1 << 20).await.expect("talks");
        let said = String::from_utf8_lossy(&stdout).into_owned() + &String::from_utf8_lossy(&stderr);
        assert!(said.starts_with(&format!("life {life}\n")), "{said}");
        assert!(!said.contains("LEFT"), "{said}");
        assert_eq!(exit.again, life < 2, "{exit:?}");
        assert_eq!(exit.code, 1);
    }
    let text = std::fs::read_to_string(&log).expect("a log");
    let at = |life: u32| text.find(&format!("life {life}")).expect("is logged");
    assert!(at(0) < at(1) && at(1) < at(2));
    fixture.runtime.delete(&place).await.expect("deletes");
    assert_eq!(fixture.left(&place), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_container_that_ends_with_its_engine_is_not_started_again() {
    let fixture = Fixture::new();
    let mut bundle = fixture.bundle(&["sleep", "1000"]);
    bundle.restart = RestartPolicy::Always;
    bundle.lifetime = crate::spec::Lifetime::WithEngine;
    let place = fixture.begin(bundle).await;
    let pid = status(&fixture, &place).and_then(|(pid, _)| pid).expect("runs");
    fixture.runtime.kill(&place, Signal::KILL).await.expect("kills");
    eventually("it lives again", || restarts(&fixture, &place) == 1).await;
    drop(fixture.runtime.release(&place.run_dir));
    let record = fixture.runtime.wait(&place).await.expect("waits").expect("has a record");
    assert_eq!(record.code, 137);
    assert!(!is_alive(pid));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_check_tells_how_well_a_container_is() {
    let fixture = Fixture::new();
    let bundle = checked(&fixture, fixture.bundle(&["sleep", "1000"]), "test ! -e /tmp/ill; exit $?");
    let results = bundle.health.as_ref().expect("a check").results.clone();
    let place = fixture.begin(bundle).await;
    assert_eq!(health(&fixture, &place), Some(HealthStatus::Starting));
    eventually("it is well", || health(&fixture, &place) == Some(HealthStatus::Healthy)).await;
    std::fs::write(fixture.root().join("tmp/ill"), "").expect("writes");
    eventually("it is ill", || health(&fixture, &place) == Some(HealthStatus::Unhealthy)).await;
    std::fs::remove_file(fixture.root().join("tmp/ill")).expect("is there");
    eventually("it is well again", || health(&fixture, &place) == Some(HealthStatus::Healthy)).await;
    let text = std::fs::read_to_string(results).expect("results");
    assert!(
        serde_json::from_str::<serde_json::Value>(&text).is_ok_and(|found| found["Log"].is_array()),
        "{text}"
    );
    fixture.runtime.end(&place, Signal::KILL).await.expect("ends");
    fixture.runtime.wait(&place).await.expect("waits").expect("has a record");
}
