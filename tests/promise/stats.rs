//! What containers use, which ports they have, and what the store takes up.

use std::time::{Duration, Instant};

use crate::support::{Sandbox, eventually};

#[test]
fn stats_tell_what_a_container_uses() {
    let sandbox = Sandbox::new("stats");
    sandbox.busybox();
    let busy = "dd if=/dev/zero of=/dev/shm/f bs=1M count=20 2>/dev/null; while true; do :; done";
    sandbox.engine(&["run", "-d", "--name", "busy", "-m", "64m", "busybox", "sh", "-c", busy]).ok();
    sandbox.engine(&["run", "-d", "--name", "idle", "busybox", "sleep", "1000"]).ok();
    sandbox.engine(&["create", "--name", "ended", "busybox", "true"]).ok();
    let table = sandbox.engine(&["stats", "--no-stream"]).ok().to_owned();
    let mut lines = table.lines();
    let words: Vec<&str> = lines.next().expect("a head").split("  ").filter(|w| !w.is_empty()).collect();
    let words: Vec<&str> = words.iter().map(|word| word.trim()).collect();
    assert_eq!(
        words,
        ["CONTAINER ID", "NAME", "CPU %", "MEM USAGE / LIMIT", "MEM %", "NET I/O", "BLOCK I/O", "PIDS"]
    );
    assert_eq!(lines.count(), 2, "only those that run: {table}");
    let format = "{{.Name}} {{.CPUPerc}} {{.MemUsage}} {{.MemPerc}} {{.PIDs}} {{.Container}}";
    let stat = |name: &str| {
        let line = sandbox.engine(&["stats", "--no-stream", "--format", format, name]).ok().to_owned();
        line.split(' ').map(str::to_owned).collect::<Vec<_>>()
    };
    let percent = |text: &str| text.trim_end_matches('%').parse::<f64>().expect("a number");
    eventually(10, "the memory is in use", || percent(&stat("busy")[5]) > 30.0);
    let (busy, idle) = (stat("busy"), stat("idle"));
    // Other tests take their part of the processors.
    assert!(percent(&busy[1]) > 5.0 && percent(&idle[1]) < percent(&busy[1]), "{busy:?} {idle:?}");
    assert!(busy[2].ends_with("MiB") && busy[4] == "64MiB", "{busy:?}");
    assert_eq!((busy[6].as_str(), idle[6].as_str()), ("1", "1"));
    assert_eq!(busy[7].len(), 12);
    let whole = sandbox.engine(&["stats", "--no-stream", "--no-trunc", "--format", "{{.ID}}", "idle"]);
    assert_eq!(whole.ok().len(), 64);
    let all = sandbox.engine(&["stats", "-a", "--no-stream", "--format", "{{.Name}} {{.PIDs}}"]);
    assert!(all.ok().lines().any(|line| line == "ended 0"), "{all:?}");
    sandbox.engine(&["stats", "--no-stream", "nobody"]).fails(1, ["nobody"]);
    // The stream goes on until it is interrupted.
    let stream = sandbox.engine_in_background(&["stats", "--format", "json", "idle"]);
    std::thread::sleep(Duration::from_millis(2500));
    stream.signal("INT");
    let stream = stream.wait();
    assert!(stream.stdout.lines().count() >= 2, "{stream:?}");
    assert!(stream.stdout.lines().all(|line| line.contains("\"Name\":\"idle\"")), "{stream:?}");
}

#[test]
fn traffic_is_counted_for_each_container() {
    let sandbox = Sandbox::new("netstats");
    sandbox.busybox();
    sandbox
        .engine(&[
            "run",
            "-d",
            "--name",
            "server",
            "-p",
            "8080:80",
            "busybox",
            "sh",
            "-c",
            "while true; do nc -l -p 80 > /dev/null; done",
        ])
        .ok();
    let sent = || {
        sandbox.host(&["bash", "-c", "head -c 200000 /dev/zero | timeout 5 socat -u - TCP:127.0.0.1:8080"]);
        let io = sandbox.engine(&["stats", "--no-stream", "--format", "{{.NetIO}}", "server"]);
        let received = io.ok().split(' ').next().expect("a figure").to_owned();
        received.ends_with("kB") && received.trim_end_matches("kB").parse::<f64>().is_ok_and(|kb| kb > 190.0)
            || received.ends_with("MB")
    };
    eventually(20, "what it received is counted", sent);
}

#[test]
fn port_tells_where_a_port_is_published() {
    let sandbox = Sandbox::new("port");
    sandbox.busybox();
    sandbox
        .engine(&[
            "run",
            "-d",
            "--name",
            "web",
            "-p",
            "8081:80",
            "-p",
            "127.0.0.1:5353:53/udp",
            "busybox",
            "sleep",
            "1000",
        ])
        .ok();
    let all = sandbox.engine(&["port", "web"]).ok().to_owned();
    assert!(all.lines().any(|line| line == "80/tcp -> 0.0.0.0:8081"), "{all}");
    assert!(all.lines().any(|line| line == "53/udp -> 127.0.0.1:5353"), "{all}");
    assert!(sandbox.engine(&["port", "web", "80"]).ok().starts_with("0.0.0.0:8081"));
    assert_eq!(sandbox.engine(&["port", "web", "53/udp"]).ok(), "127.0.0.1:5353");
    sandbox.engine(&["port", "web", "81"]).fails(1, ["no public port '81/tcp' published for web"]);
    sandbox.engine(&["port", "nobody"]).fails(1, ["nobody"]);
}

#[test]
fn many_containers_are_looked_at_in_a_moment() {
    let sandbox = Sandbox::new("manystats");
    sandbox.busybox();
    for n in 0..20 {
        let name = format!("c{n}");
        sandbox.engine(&["run", "-d", "--network", "none", "--name", &name, "busybox", "sleep", "1000"]).ok();
    }
    let begin = Instant::now();
    let stats = sandbox.engine(&["stats", "--no-stream", "--format", "{{.Name}}"]);
    let taken = begin.elapsed();
    assert_eq!(stats.ok().lines().count(), 20);
    // The bar is in the bench; this is no second of waiting between two looks.
    assert!(taken < Duration::from_millis(800), "{taken:?}");
}
