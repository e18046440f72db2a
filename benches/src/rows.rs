//! The rows of the table: one function each.

use std::process::Command;
use std::time::Instant;

use engine_core::container::ContainerInfo;
use engine_core::spec::{AttachSpec, Lifetime};
use engine_core::{ContainerSpec, Engine};

use crate::peers::{BOX, Host, LARGE, run};
use crate::timing::{Contender, in_turn, median, process};
use crate::{Bar, Row};
use crate::{crowd, logging};

type Measure = fn(&Host) -> Vec<Row>;

/// All rows by name.
pub(crate) const ALL: [(&str, Measure); 10] = [
    ("run", whole_run),
    ("bundle", bundle),
    ("embedded", embedded),
    ("exec", exec),
    ("pull", pull),
    ("monitor", monitor),
    ("logging", logging::measure),
    ("fifty", fifty),
    ("crowd", crowd::measure),
    ("ps", ps),
];

type Run<'a> = Box<dyn FnMut() -> f64 + 'a>;

/// Those of the contenders that are installed.
fn present<'a>(all: Vec<(&'a str, Option<Run<'a>>)>) -> Vec<Contender<'a>> {
    all.into_iter().filter_map(|(name, run)| Some((name, run?))).collect()
}

/// A contender that is one command. One that does not go here (crun on a host with both versions of control groups)
/// is none.
fn command<'a>(make: impl Fn() -> Option<Command> + 'a) -> Option<Run<'a>> {
    make()?.output().ok().filter(|output| output.status.success())?;
    Some(Box::new(move || make().map_or(f64::NAN, |mut command| process(&mut command))))
}

fn whole_run(host: &Host) -> Vec<Row> {
    let figures = in_turn(
        host.rounds(),
        present(vec![
            ("engine", command(|| Some(host.engine_command(&["run", "--rm", BOX, "true"])))),
            ("runc", command(|| host.runtime_command("runc"))),
            ("crun", command(|| host.runtime_command("crun"))),
            ("docker", command(|| host.docker_command(&["run", "--rm", BOX, "true"]))),
            ("podman", command(|| host.podman_run(&["--rm", BOX, "true"]))),
        ]),
    );
    let work =
        "`run --rm IMAGE true`, bridge, whole process (runc, crun, podman: no network; runc, crun: no image)";
    vec![
        Row { work, figures: figures.clone(), unit: "ms", bar: Bar::Ratio("runc", 1.0) },
        Row { work, figures, unit: "ms", bar: Bar::Ratio("docker", 1.0 / 15.0) },
    ]
}

/// The same bundle for everybody who takes one.
fn bundle(host: &Host) -> Vec<Row> {
    let state = host.dir.join("oci").display().to_string();
    let engine = || {
        let of_runc = host.runtime_command("runc")?;
        let mut command = host.engine_command(&["oci", "--root", &state]);
        command.args(of_runc.get_args());
        Some(command)
    };
    let figures = in_turn(
        host.rounds(),
        present(vec![
            ("engine", command(engine)),
            ("runc", command(|| host.runtime_command("runc"))),
            ("crun", command(|| host.runtime_command("crun"))),
        ]),
    );
    vec![Row {
        work: "a bundle: `oci run`, whole process",
        figures,
        unit: "ms",
        bar: Bar::Ratio("runc", 0.5),
    }]
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime")
}

fn embedded(host: &Host) -> Vec<Row> {
    let runtime = runtime();
    let open = Engine::builder().root(host.dir.join("engine")).run_root(host.dir.join("engine-run"));
    let engine = runtime.block_on(open.open()).expect("opens");
    let floor = std::env::current_exe().expect("a path").with_file_name("floor");
    let rootfs = host.rootfs();
    let once = || {
        let begin = Instant::now();
        runtime.block_on(async {
            let spec =
                ContainerSpec::image(BOX).command(["true"]).auto_remove().lifetime(Lifetime::WithEngine);
            let container = engine.containers().create(spec).await.expect("creates");
            let session = container.start_attached(AttachSpec::OUTPUT).await.expect("starts");
            session.wait().await.expect("ends");
            container.wait().await.expect("is recorded");
        });
        begin.elapsed().as_secs_f64() * 1000.0
    };
    let bare = || {
        let output = Command::new(&floor).arg(&rootfs).arg("8").output().expect("runs");
        assert!(output.status.success(), "floor: {}", String::from_utf8_lossy(&output.stderr));
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        median(text.lines().filter_map(|line| line.parse::<f64>().ok()).map(|us| us / 1000.0).collect())
    };
    let ours = || median((0..8).map(|_| once()).collect());
    let figures = in_turn(host.rounds(), vec![("engine", Box::new(ours)), ("floor", Box::new(bare))]);
    vec![Row {
        work: "the same in process, through `Engine`",
        figures,
        unit: "ms",
        bar: Bar::Ratio("floor", 3.0),
    }]
}

fn exec(host: &Host) -> Vec<Row> {
    run(&mut host.engine_command(&["run", "-d", "--name", "bench", BOX, "sleep", "100000"]));
    if let Some(mut docker) = host.docker_command(&["run", "-d", "--name", "bench", BOX, "sleep", "100000"]) {
        run(&mut docker);
    }
    let podman = host
        .podman_run(&["-d", "--name", "bench", BOX, "sleep", "100000"])
        .is_some_and(|mut podman| podman.output().is_ok_and(|output| output.status.success()));
    let args = ["exec", "bench", "true"];
    let figures = in_turn(
        host.rounds(),
        present(vec![
            ("engine", command(|| Some(host.engine_command(&args)))),
            ("docker", command(|| host.docker_command(&args))),
            ("podman", podman.then(|| command(|| host.podman_command(&args))).flatten()),
        ]),
    );
    for command in [
        Some(host.engine_command(&["rm", "-f", "bench"])),
        host.docker_command(&["rm", "-f", "bench"]),
        podman.then(|| host.podman_command(&["rm", "-f", "-t0", "bench"])).flatten(),
    ] {
        command.into_iter().for_each(|mut command| run(&mut command));
    }
    vec![
        Row { work: "`exec … true`", figures: figures.clone(), unit: "ms", bar: Bar::Ratio("docker", 0.2) },
        Row { work: "`exec … true`", figures, unit: "ms", bar: Bar::Ratio("podman", 0.5) },
    ]
}

fn pull(host: &Host) -> Vec<Row> {
    let rounds = if host.quick { 1 } else { 5 };
    let fresh = |make: &dyn Fn() -> Option<Command>| {
        host.forget_large();
        make().map_or(f64::NAN, |mut command| process(&mut command))
    };
    let engine = || fresh(&|| Some(host.engine_command(&["pull", "-q", LARGE])));
    let docker = || fresh(&|| host.docker_command(&["pull", "-q", LARGE]));
    let mut contenders: Vec<Contender<'_>> = vec![("engine", Box::new(engine))];
    if host.docker_command(&[]).is_some() {
        contenders.push(("docker", Box::new(docker)));
    }
    let figures = in_turn(rounds, contenders);
    host.forget_large();
    let peak = peak_memory(&mut host.engine_command(&["pull", "-q", LARGE]));
    host.forget_large();
    vec![
        Row {
            work: "pull of one layer, 90 MB, 199 MB unpacked, from the loopback",
            figures,
            unit: "ms",
            bar: Bar::Ratio("docker", 0.4),
        },
        Row {
            work: "peak memory of that pull",
            figures: vec![("engine".into(), peak)],
            unit: "MB",
            bar: Bar::Absolute(150.0),
        },
    ]
}

/// The largest resident set of a command, in megabytes.
fn peak_memory(command: &mut Command) -> f64 {
    let mut child = command.stdout(std::process::Stdio::null()).spawn().expect("starts");
    let mut peak = 0.0f64;
    while child.try_wait().expect("waits").is_none() {
        peak = peak.max(peak_of(child.id()).unwrap_or(0.0));
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    peak
}

/// The largest resident set that a process has had so far, in megabytes. `None` if it is gone.
pub(crate) fn peak_of(pid: u32) -> Option<f64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    Some(line.split_whitespace().next()?.parse::<f64>().ok()? / 1000.0)
}

/// The monitor's share of memory, by smaps_rollup, with fifty running.
fn monitor(host: &Host) -> Vec<Row> {
    let count = if host.quick { 5 } else { 50 };
    let ids: Vec<String> = (0..count)
        .map(|_| {
            let output =
                host.engine_command(&["run", "-d", "--network", "none", BOX, "sleep", "100000"]).output();
            String::from_utf8_lossy(&output.expect("runs").stdout).trim().to_owned()
        })
        .collect();
    let runtime = runtime();
    let open = Engine::builder().root(host.dir.join("engine")).run_root(host.dir.join("engine-run"));
    let engine = runtime.block_on(open.open()).expect("opens");
    let shares = ids.iter().map(|id| {
        let info: ContainerInfo =
            runtime.block_on(async { engine.containers().get(id).await?.inspect().await }).expect("is there");
        pss(parent(info.state.pid))
    });
    let figure = median(shares.collect());
    run(&mut host.engine_command(
        &[&["rm", "-f"], ids.iter().map(String::as_str).collect::<Vec<_>>().as_slice()].concat(),
    ));
    vec![Row {
        work: "memory of a monitor, PSS, 50 running",
        figures: vec![("engine".into(), figure)],
        unit: "kB",
        bar: Bar::Absolute(300.0),
    }]
}

/// The parent of a process.
pub(crate) fn parent(pid: u32) -> u32 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("it runs");
    status.lines().find_map(|line| line.strip_prefix("PPid:")?.trim().parse().ok()).expect("a parent")
}

fn pss(pid: u32) -> f64 {
    let rollup = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).expect("it runs");
    rollup
        .lines()
        .find_map(|line| line.strip_prefix("Pss:")?.split_whitespace().next()?.parse().ok())
        .expect("a figure")
}

fn fifty(host: &Host) -> Vec<Row> {
    let count = if host.quick { 3 } else { 50 };
    let names: Vec<String> = (0..count).map(|n| format!("f{n}")).collect();
    let begin_all = |make: &dyn Fn(&[&str]) -> Option<Command>| -> (f64, f64) {
        let start = names
            .iter()
            .map(|name| {
                process(&mut make(&["run", "-d", "--name", name, BOX, "sleep", "100000"]).expect("installed"))
            })
            .sum();
        let rm: Vec<&str> = ["rm", "-f"].into_iter().chain(names.iter().map(String::as_str)).collect();
        (start, process(&mut make(&rm).expect("installed")))
    };
    let (start, remove) = begin_all(&|args| Some(host.engine_command(args)));
    let (mut starts, mut removes) = (vec![("engine".to_owned(), start)], vec![("engine".to_owned(), remove)]);
    if host.docker_command(&[]).is_some() {
        let (start, remove) = begin_all(&|args| host.docker_command(args));
        starts.push(("docker".to_owned(), start));
        removes.push(("docker".to_owned(), remove));
    }
    vec![
        Row {
            work: "50 detached, one after another, bridge",
            figures: starts,
            unit: "ms",
            bar: Bar::Ratio("docker", 0.1),
        },
        Row {
            work: "`rm -f` of those 50, one call",
            figures: removes,
            unit: "ms",
            bar: Bar::Ratio("docker", 0.1),
        },
    ]
}

fn ps(host: &Host) -> Vec<Row> {
    let count = if host.quick { 10 } else { 500 };
    let runtime = runtime();
    let open = Engine::builder().root(host.dir.join("engine")).run_root(host.dir.join("engine-run"));
    let engine = runtime.block_on(open.open()).expect("opens");
    runtime.block_on(async {
        for _ in 0..count {
            engine.containers().create(ContainerSpec::image(BOX)).await.expect("creates");
        }
    });
    let figures = in_turn(
        host.rounds(),
        vec![
            ("engine", Box::new(|| process(&mut host.engine_command(&["ps", "-a"])))),
            ("version", Box::new(|| process(&mut host.engine_command(&["version"])))),
        ],
    );
    run(&mut host.engine_command(&["container", "prune", "-f"]));
    vec![Row { work: "`ps -a` with 500 containers", figures, unit: "ms", bar: Bar::More("version", 15.0) }]
}
