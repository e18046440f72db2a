//! `cargo xtask test`: everything that has to hold, from a clean clone, on a machine that may be fresh.

use std::path::Path;
use std::process::{Command, Stdio};

/// A program that tests need, and Debian's package that has it.
const NEEDED: [(&str, &str); 16] = [
    ("/usr/sbin/dockerd", "docker.io"),
    ("/usr/bin/docker-registry", "docker-registry"),
    ("/usr/bin/skopeo", "skopeo"),
    ("/usr/sbin/debootstrap", "debootstrap"),
    ("/bin/busybox", "busybox-static"),
    ("/usr/sbin/nft", "nftables"),
    ("/sbin/ip", "iproute2"),
    ("/usr/sbin/iptables", "iptables"),
    ("/usr/bin/socat", "socat"),
    ("/usr/sbin/runc", "runc"),
    ("/usr/bin/podman", "podman"),
    ("/usr/bin/qemu-system-x86_64", "qemu-system-x86"),
    ("/sbin/mke2fs", "e2fsprogs"),
    ("/usr/bin/script", "bsdutils"),
    ("/usr/bin/nsenter", "util-linux"),
    ("/usr/bin/python3", "python3"),
];

/// Runs all checks, in order of their price. The first one that fails ends it.
pub(crate) fn run(root: &Path) -> Result<(), String> {
    install()?;
    cargo("format", &["fmt", "--all", "--check"], &[])?;
    crate::floors::run(root)?;
    crate::sizes::run(root)?;
    crate::promises::run(root)?;
    cargo(
        "lints",
        &["clippy", "--workspace", "--all-targets", "--features", FEATURES, "--", "-D", "warnings"],
        &[],
    )?;
    cargo(
        "lints of the helper program",
        &["clippy", "-p", "engine-shim", "--lib", "--features", "program", "--", "-D", "warnings"],
        &[],
    )?;
    cargo("documentation", &["doc", "--workspace", "--no-deps"], &[("RUSTDOCFLAGS", "-D warnings")])?;
    cargo(
        "tests of the helper program",
        &["test", "-p", "engine-shim", "--lib", "--features", "program"],
        &[],
    )?;
    cargo("tests", &["test", "--workspace", "--features", FEATURES, "--no-fail-fast"], &[])?;
    crate::vm::run(&[])?;
    // Whether it runs is the question; figures are for `cargo xtask bench`, which builds what is shipped.
    cargo("smoke run of the bench", &["build", "--workspace"], &[])?;
    step("smoke run of the bench", Command::new("target/debug/engine-bench").arg("--quick"))?;
    examples()
}

/// Crash tests kill the command line at named points; conformance suites are public behind a feature.
pub(crate) const FEATURES: &str = "engine-cli/fault-points,engine-core/conformance";

/// Installs the packages whose programs are missing, quietly and once.
fn install() -> Result<(), String> {
    // The helper program is smaller on musl; where its target cannot be had, gnu serves.
    let _ = Command::new("rustup")
        .args(["target", "add", "x86_64-unknown-linux-musl"])
        .stderr(Stdio::null())
        .status();
    let missing: Vec<&str> = NEEDED
        .iter()
        .filter(|(program, _)| !Path::new(program).exists())
        .map(|(_, package)| *package)
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    let quiet = |command: &mut Command| {
        command.env("DEBIAN_FRONTEND", "noninteractive").stdout(Stdio::null());
        step("installing what tests need", command)
    };
    quiet(Command::new("apt-get").args(["update", "-qq"]))?;
    quiet(Command::new("apt-get").args(["install", "-y", "-qq", "--no-install-recommends"]).args(&missing))
}

/// Each example, and the README's first command, runs and says what it should: in a network namespace of its own, as
/// the host's links are not the tests' to make.
fn examples() -> Result<(), String> {
    let hello = "run -q -p engine-cli -- run --rm --rootfs /:O sh -c 'echo hello from $(hostname)'";
    let gnu = "ENGINE_SHIM_TARGET=x86_64-unknown-linux-gnu";
    for (name, environment, command, says) in [
        ("example hello", "", "run -q -p engine-examples --bin hello", "it ended with 0"),
        ("example sandboxes", "", "run -q -p engine-examples --bin sandboxes", "16 sandboxes"),
        ("the README's first command", "", hello, "hello from"),
        ("the same where musl is not installed", gnu, hello, "hello from"),
    ] {
        println!("== {name}");
        let script = format!("ip link set lo up && export {environment} && exec {} {command}", env!("CARGO"));
        let output = Command::new("unshare")
            .args(["--net", "sh", "-c", &script])
            .output()
            .map_err(|e| format!("{name}: {e}"))?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        print!("{text}");
        if !output.status.success() || !text.contains(says) {
            return Err(format!("{name} failed: {}", String::from_utf8_lossy(&output.stderr)));
        }
    }
    Ok(())
}

fn cargo(what: &str, args: &[&str], env: &[(&str, &str)]) -> Result<(), String> {
    step(what, Command::new(env!("CARGO")).args(args).envs(env.iter().copied()))
}

/// Runs a command that has to go well.
pub(crate) fn step(what: &str, command: &mut Command) -> Result<(), String> {
    println!("== {what}");
    let begin = std::time::Instant::now();
    let status = command.stdin(Stdio::null()).status().map_err(|e| format!("{what}: {command:?}: {e}"))?;
    match status.success() {
        true => {
            println!("== {what}: {} s", begin.elapsed().as_secs());
            Ok(())
        }
        false => Err(format!("{what} failed: {command:?}")),
    }
}
