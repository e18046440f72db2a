//! How long a container takes, for people to read: `cargo test --release -- --ignored --nocapture speed`.

use std::time::{Duration, Instant};

use super::fixture::{Fixture, exec_bundle};
use crate::runtime::driver::Runtime;

#[tokio::test(flavor = "multi_thread")]
#[ignore = "it measures and does not check"]
async fn create_start_wait_delete() {
    let fixture = Fixture::new();
    let runs: u32 = std::env::var("ENGINE_TEST_RUNS").ok().and_then(|runs| runs.parse().ok()).unwrap_or(200);
    let mut times: Vec<[Duration; 5]> = Vec::new();
    for _ in 0..runs {
        let bundle = fixture.bundle(&["true"]);
        let place = bundle.place.clone();
        let begin = Instant::now();
        fixture.runtime.create(bundle).await.expect("creates");
        let created = begin.elapsed();
        fixture.runtime.start(&place).await.expect("starts");
        let started = begin.elapsed();
        fixture.runtime.wait(&place).await.expect("waits");
        let waited = begin.elapsed();
        fixture.runtime.delete(&place).await.expect("deletes");
        let deleted = begin.elapsed();
        times.push([created, started - created, waited - started, deleted - waited, deleted]);
    }
    // The machine does other things as well: the quickest says what it costs, the median what it takes.
    for (name, step) in ["create", "start", "wait", "delete", "together"].into_iter().zip(0..) {
        times.sort_by_key(|time: &[Duration; 5]| time[step]);
        println!("{name}: at best {:?}, median {:?}", times[0][step], times[times.len() / 2][step]);
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "it measures and does not check"]
async fn exec_and_memory() {
    let fixture = Fixture::new();
    let mut bundle = fixture.bundle(&["sleep", "1000"]);
    bundle.streams.log = Some(fixture.path("log"));
    let place = bundle.place.clone();
    let pid = fixture.runtime.create(bundle).await.expect("creates").pid;
    fixture.runtime.start(&place).await.expect("starts");
    let mut times = Vec::new();
    for _ in 0..100 {
        let begin = Instant::now();
        let session = fixture.runtime.exec(&place, exec_bundle(&["true"])).await.expect("executes");
        session.wait().await.expect("ends");
        times.push(begin.elapsed());
    }
    times.sort();
    println!("exec: at best {:?}, median {:?}", times[0], times[times.len() / 2]);
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).expect("reads");
    let monitor = stat.rsplit(')').next().and_then(|rest| rest.split_whitespace().nth(1)).expect("a parent");
    let memory = std::fs::read_to_string(format!("/proc/{monitor}/smaps_rollup")).expect("reads");
    for line in memory.lines().filter(|line| line.starts_with("Pss:") || line.starts_with("Private_Dirty:")) {
        println!("monitor {line}");
    }
}
