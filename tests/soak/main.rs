//! A week of life in minutes: many containers with restart policies, health checks and logs, while monitors, programs
//! and command lines are killed at random. In the end nothing is left on the host, no container is in a state that is
//! not true, and no line that a program wrote is missing from its log.
//!
//! Short by itself; `cargo xtask soak` makes it 100 containers for five minutes (`ENGINE_SOAK_CONTAINERS`,
//! `ENGINE_SOAK_SECONDS`).

#![expect(clippy::expect_used, reason = "a test fails loudly")]

#[path = "../support/mod.rs"]
mod support;

use std::collections::BTreeSet;
use std::path::Path;
use std::time::{Duration, Instant};

use support::{Sandbox, leaks};

/// Writes numbered lines: first to standard output, then to a file that outlives everything, so that a line in the
/// file was written for certain. Now and then it fails, for the policy to have something to do.
const PROGRAM: &str = r#"
while true; do
    n=$(($(cat /proof/next) + 1)); echo $n > /proof/next
    echo "line $n"; echo $n >> /proof/written
    [ $((n % 40)) -eq 39 ] && exit 1
    sleep 0.05
done"#;

/// A container of the test, and what was done to it.
struct Member {
    name: String,
    /// How often its monitor was killed: the last bytes in its pipe may have gone with it.
    monitors: u32,
}

/// What was done, for the figures.
#[derive(Default)]
struct Deeds {
    monitors: u32,
    programs: u32,
    clients: u32,
    commands: u32,
}

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

/// Numbers that look random and are the same in every run (SplitMix64).
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % sides as u64) as usize
    }
}

#[test]
fn a_week_of_life_in_minutes_leaks_nothing_and_loses_no_line() {
    let (count, seconds) = (setting("ENGINE_SOAK_CONTAINERS", 12), setting("ENGINE_SOAK_SECONDS", 20));
    let sandbox = Sandbox::new("soak");
    sandbox.busybox();
    let mut members: Vec<Member> = (0..count).map(|n| begin(&sandbox, n)).collect();
    let ids: Vec<String> =
        sandbox.engine(&["ps", "-aq", "--no-trunc"]).ok().lines().map(str::to_owned).collect();
    assert_eq!(ids.len(), members.len());

    let (mut dice, mut deeds) = (Dice(7), Deeds::default());
    let deadline = Instant::now() + Duration::from_secs(seconds);
    let mut revival = Instant::now();
    while Instant::now() < deadline {
        let chosen = dice.roll(members.len());
        let member = &mut members[chosen];
        match dice.roll(6) {
            0 => kill_monitor(&sandbox, member, &mut deeds),
            1 => kill_program(&sandbox, member, &mut deeds),
            2 | 3 => kill_client(&sandbox, member, &mut dice, &mut deeds),
            4 => {
                // It may be between two of its runs.
                sandbox.engine(&["exec", &member.name, "true"]);
                deeds.commands += 1;
            }
            _ => {
                sandbox.engine(&["ps", "-a"]).ok();
                deeds.commands += 1;
            }
        }
        // What the boot of a host, or a server, does.
        if revival.elapsed() > Duration::from_secs(2) {
            sandbox.engine(&["system", "start-all"]).ok();
            revival = Instant::now();
        }
        std::thread::sleep(Duration::from_millis(20));
    }

    // Killed clients may have left a stop half way; from here on all is orderly.
    let names: Vec<&str> = members.iter().map(|member| member.name.as_str()).collect();
    sandbox.engine(&[&["stop", "-t", "1"], names.as_slice()].concat()).ok();
    for line in sandbox.engine(&["ps", "-a", "--format", "{{.Names}} {{.State}}"]).ok().lines() {
        assert!(line.ends_with(" exited"), "stopped, and yet: {line}");
    }
    let restarts: u64 = members.iter().map(|member| number(&sandbox, member, "{{.RestartCount}}")).sum();
    let (mut written, mut lost, mut with_monitor) = (0, 0, 0);
    for member in &members {
        let (lines, missing) = compare(&sandbox, member);
        written += lines;
        if member.monitors == 0 {
            lost += missing;
        } else {
            // One line may be in the pipe of each monitor that was killed.
            assert!(missing <= member.monitors as usize, "{}: {missing} lines are missing", member.name);
            with_monitor += missing;
        }
    }
    println!(
        "soak: {count} containers, {seconds} s: {} monitors, {} programs and {} command lines killed, {} commands, \
         {restarts} restarts by monitors in their last lives, {written} lines written, {lost} lost, {with_monitor} \
         in the pipes of killed monitors",
        deeds.monitors, deeds.programs, deeds.clients, deeds.commands
    );
    assert_eq!(lost, 0, "lines of containers whose monitors were left alone");
    sandbox.engine(&[&["rm", "-f"], names.as_slice()].concat()).ok();
    assert_eq!(leaks::cgroups(&ids), Vec::<String>::new());
    // Mounts, processes, links, elements of the packet filter, files: looked for when the sandbox goes.
}

/// Starts a container: every third with a health check, every third with rotated logs, policies in turn.
fn begin(sandbox: &Sandbox, n: u64) -> Member {
    let name = format!("soak{n}");
    let proof = sandbox.dir().join("proof").join(&name);
    std::fs::create_dir_all(&proof).expect("a directory");
    std::fs::write(proof.join("next"), "0\n").expect("writes");
    let volume = format!("{}:/proof", proof.display());
    let mut words = vec!["run", "-d", "--name", &name, "-v", &volume];
    words.extend(["--restart", ["always", "unless-stopped", "on-failure"][(n % 3) as usize]]);
    if n.is_multiple_of(3) {
        words.extend(["--health-cmd", "true", "--health-interval", "1s"]);
    }
    if n % 3 == 1 {
        words.extend(["--log-opt", "max-size=16k", "--log-opt", "max-file=1000"]);
    }
    words.extend(["busybox", "sh", "-c", PROGRAM]);
    sandbox.engine(&words).ok();
    Member { name, monitors: 0 }
}

fn number(sandbox: &Sandbox, member: &Member, format: &str) -> u64 {
    sandbox.engine(&["inspect", "-f", format, &member.name]).ok().parse().expect("a number")
}

/// The first process of a container that runs.
fn pid(sandbox: &Sandbox, member: &Member) -> Option<u32> {
    u32::try_from(number(sandbox, member, "{{.State.Pid}}")).ok().filter(|pid| *pid != 0)
}

/// Kills a process that is of this store for certain: it is checked once more through the descriptor that is used.
fn kill(pid: u32, proper: impl Fn(&Path) -> bool) -> bool {
    let Some(id) = i32::try_from(pid).ok().and_then(rustix::process::Pid::from_raw) else { return false };
    let Ok(process) = rustix::process::pidfd_open(id, rustix::process::PidfdFlags::empty()) else {
        return false;
    };
    proper(Path::new(&format!("/proc/{pid}")))
        && rustix::process::pidfd_send_signal(&process, rustix::process::Signal::KILL).is_ok()
}

fn parent(process: &Path) -> Option<u32> {
    let status = std::fs::read_to_string(process.join("status")).ok()?;
    status.lines().find_map(|line| line.strip_prefix("PPid:"))?.trim().parse().ok()
}

fn kill_monitor(sandbox: &Sandbox, member: &mut Member, deeds: &mut Deeds) {
    let Some(monitor) = pid(sandbox, member).and_then(|pid| parent(Path::new(&format!("/proc/{pid}"))))
    else {
        return;
    };
    // A monitor's working directory is the run directory of its container.
    let run_root = sandbox.run_root();
    let is_monitor =
        |process: &Path| std::fs::read_link(process.join("cwd")).is_ok_and(|cwd| cwd.starts_with(&run_root));
    if kill(monitor, is_monitor) {
        member.monitors += 1;
        deeds.monitors += 1;
        // The state is the truth within a second.
        let begin = Instant::now();
        while sandbox.engine(&["inspect", "-f", "{{.State.Running}}", &member.name]).ok() == "true" {
            assert!(
                begin.elapsed() < Duration::from_secs(1),
                "{} is said to run without a monitor",
                member.name
            );
        }
    }
}

fn kill_program(sandbox: &Sandbox, member: &Member, deeds: &mut Deeds) {
    let Some(pid) = pid(sandbox, member) else { return };
    let run_root = sandbox.run_root();
    let is_ours = |process: &Path| {
        parent(process).is_some_and(|parent| {
            std::fs::read_link(format!("/proc/{parent}/cwd")).is_ok_and(|cwd| cwd.starts_with(&run_root))
        })
    };
    deeds.programs += u32::from(kill(pid, is_ours));
}

/// A command that is killed some milliseconds after it began.
fn kill_client(sandbox: &Sandbox, member: &Member, dice: &mut Dice, deeds: &mut Deeds) {
    let name = member.name.as_str();
    let words: &[&str] = match dice.roll(6) {
        0 => &["restart", "-t", "0", name],
        1 => &["stop", "-t", "0", name],
        2 => &["start", name],
        3 => &["logs", "-f", name],
        4 => &["exec", name, "sleep", "1"],
        _ => &["ps", "-a", "-s"],
    };
    let mut client = sandbox.engine_in_background(words);
    std::thread::sleep(Duration::from_millis(dice.roll(60) as u64));
    client.kill();
    deeds.clients += 1;
}

/// How many lines the container wrote for certain, and how many of them its log does not have.
fn compare(sandbox: &Sandbox, member: &Member) -> (usize, usize) {
    let written = std::fs::read_to_string(sandbox.dir().join("proof").join(&member.name).join("written"));
    let log = sandbox.engine(&["logs", &member.name]);
    let logged: BTreeSet<&str> = log.ok().lines().filter_map(|line| line.strip_prefix("line ")).collect();
    let written = written.unwrap_or_default();
    let missing = written.lines().filter(|n| !logged.contains(n)).count();
    (written.lines().count(), missing)
}
