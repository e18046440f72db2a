//! The way of a container's output into its log: how fast one that writes as fast as it can is logged, and what its
//! monitor needs for that.

use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use crate::peers::{BOX, Host, run};
use crate::rows::{parent, peak_of};
use crate::timing::{Contender, in_turn, process};
use crate::{Bar, Row};

/// Bytes of a line.
const LINE: usize = 100;
const NAME: &str = "logged";

pub(crate) fn measure(host: &Host) -> Vec<Row> {
    let bytes = if host.quick { 20_000_000 } else { 200_000_000 };
    let folder = host.dir.join("lines");
    std::fs::create_dir_all(&folder).expect("a directory");
    let line = format!("{:0>width$}\n", "a line of a log ", width = LINE - 1);
    std::fs::write(folder.join("lines"), line.repeat(bytes / LINE)).expect("writes");
    let volume = format!("{}:/in:ro", folder.display());
    let create = [
        "create",
        "--name",
        NAME,
        "--network",
        "none",
        "--log-driver",
        "json-file",
        "-v",
        &volume,
        BOX,
        "/bin/busybox",
        "cat",
        "/in/lines",
    ];
    let engine = |args: &[&str]| Some(host.engine_command(args));
    let docker = |args: &[&str]| host.docker_command(args);
    let mut contenders: Vec<Contender<'_>> = vec![("engine", Box::new(|| logged(&engine, &create)))];
    if host.docker_command(&[]).is_some() {
        contenders.push(("docker", Box::new(|| logged(&docker, &create))));
    }
    let figures = in_turn(if host.quick { 1 } else { 3 }, contenders);
    let peak = monitor_peak(host, &create);
    std::fs::remove_dir_all(&folder).expect("removes");
    vec![
        Row {
            work: "200 MB of 100-byte lines into the log",
            figures,
            unit: "ms",
            bar: Bar::Ratio("docker", 0.5),
        },
        Row {
            work: "peak memory of the monitor meanwhile",
            figures: vec![("engine".into(), peak)],
            unit: "MB",
            bar: Bar::Absolute(2.0),
        },
    ]
}

/// From the start of the container to its end, when all of its output is in the log.
fn logged(command: &dyn Fn(&[&str]) -> Option<Command>, create: &[&str]) -> f64 {
    let of = |args: &[&str]| command(args).expect("is installed");
    run(&mut of(create));
    let begin = Instant::now();
    process(&mut of(&["start", NAME]));
    process(&mut of(&["wait", NAME]));
    let elapsed = begin.elapsed().as_secs_f64() * 1000.0;
    run(&mut of(&["rm", NAME]));
    elapsed
}

/// The largest resident set of the monitor, in megabytes.
fn monitor_peak(host: &Host, create: &[&str]) -> f64 {
    run(&mut host.engine_command(create));
    run(&mut host.engine_command(&["start", NAME]));
    let output = host.engine_command(&["inspect", "-f", "{{.State.Pid}}", NAME]).output().expect("runs");
    let pid: u32 = String::from_utf8_lossy(&output.stdout).trim().parse().expect("a process");
    let (monitor, over) = (parent(pid), AtomicBool::new(false));
    let peak = std::thread::scope(|scope| {
        let watcher = scope.spawn(|| {
            let mut peak = 0.0f64;
            while !over.load(Ordering::Relaxed) {
                peak = peak.max(peak_of(monitor).unwrap_or(0.0));
                std::thread::sleep(std::time::Duration::from_millis(5));
            }
            peak
        });
        process(&mut host.engine_command(&["wait", NAME]));
        over.store(true, Ordering::Relaxed);
        watcher.join().expect("ends")
    });
    run(&mut host.engine_command(&["rm", NAME]));
    peak
}
