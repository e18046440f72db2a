//! Many containers at once: started by one process, and looked at by one command.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use engine_core::{ContainerSpec, Engine};

use crate::peers::{BOX, Host, run, said};
use crate::timing::{in_turn, process};
use crate::{Bar, Row};

/// So many are started at the same time.
const IN_FLIGHT: usize = 16;

/// The rows about crowds: how fast one comes together, and how fast it is looked at.
pub(crate) fn measure(host: &Host) -> Vec<Row> {
    let count = if host.quick { 8 } else { 200 };
    let mut figures = vec![("engine".to_owned(), ours(host, count))];
    let looked_at = stats(host, if host.quick { 8 } else { 100 });
    if host.docker_command(&[]).is_some() {
        figures.push(("docker".to_owned(), docker(host, count)));
    }
    let work = "200 started by one process, 16 at a time, bridge; for each";
    vec![Row { work, figures, unit: "ms", bar: Bar::Ratio("docker", 0.1) }, looked_at]
}

/// Milliseconds for each container. They are left running.
fn ours(host: &Host, count: usize) -> f64 {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    let open = Engine::builder().root(host.dir.join("engine")).run_root(host.dir.join("engine-run"));
    let engine = runtime.block_on(open.open()).expect("opens");
    let begin = Instant::now();
    runtime.block_on(async {
        let places = Arc::new(tokio::sync::Semaphore::new(IN_FLIGHT));
        let mut starts = tokio::task::JoinSet::new();
        for _ in 0..count {
            let (engine, places) = (engine.clone(), places.clone());
            starts.spawn(async move {
                let _place = places.acquire().await.expect("is open");
                let spec = ContainerSpec::image(BOX).command(["sleep", "100000"]);
                let container = engine.containers().create(spec).await.expect("creates");
                container.start().await.expect("starts");
            });
        }
        while let Some(start) = starts.join_next().await {
            start.expect("no panic");
        }
    });
    per_container(begin, count)
}

fn docker(host: &Host, count: usize) -> f64 {
    let (next, begin) = (AtomicUsize::new(0), Instant::now());
    std::thread::scope(|scope| {
        for _ in 0..IN_FLIGHT {
            scope.spawn(|| {
                while next.fetch_add(1, Ordering::Relaxed) < count {
                    process(
                        &mut host.docker_command(&["run", "-d", BOX, "sleep", "100000"]).expect("installed"),
                    );
                }
            });
        }
    });
    let figure = per_container(begin, count);
    let ids = said(&mut host.docker_command(&["ps", "-aq"]).expect("installed"));
    let remove: Vec<&str> = ["rm", "-f"].into_iter().chain(ids.lines()).collect();
    run(&mut host.docker_command(&remove).expect("installed"));
    figure
}

fn per_container(begin: Instant, count: usize) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "a few hundred")]
    let count = count as f64;
    begin.elapsed().as_secs_f64() * 1000.0 / count
}

/// Looks at `count` of those that run, with the other ones gone.
fn stats(host: &Host, count: usize) -> Row {
    let ids = said(&mut host.engine_command(&["ps", "-q"]));
    let many: Vec<&str> = ids.lines().skip(count).collect();
    if !many.is_empty() {
        run(&mut host.engine_command(&[&["rm", "-f"], many.as_slice()].concat()));
    }
    let look = || process(&mut host.engine_command(&["stats", "--no-stream"]));
    let figures = in_turn(host.rounds(), vec![("engine", Box::new(look))]);
    let rest: Vec<&str> = ["rm", "-f"].into_iter().chain(ids.lines().take(count)).collect();
    run(&mut host.engine_command(&rest));
    Row { work: "`stats --no-stream` of 100 containers", figures, unit: "ms", bar: Bar::Absolute(50.0) }
}
