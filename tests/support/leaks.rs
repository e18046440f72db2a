//! What the engine may have left on the host: counted after every test, when all of a store was removed.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use super::Sandbox;

/// A line for each thing that should not be there any more. A network namespace, and the links into it, the kernel
/// takes apart in its own time after its last process has ended.
pub fn of(sandbox: &Sandbox) -> Vec<String> {
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        let left = look(sandbox);
        if left.is_empty() || Instant::now() > deadline {
            return left;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn look(sandbox: &Sandbox) -> Vec<String> {
    let mut left = Vec::new();
    let dir = sandbox.dir().to_str().expect("a path");
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").expect("reads");
    left.extend(mounts.lines().filter(|line| line.contains(dir)).map(|line| format!("mount {line}")));
    for (name, path) in [
        ("container", sandbox.root().join("containers")),
        ("exit record", sandbox.root().join("exits")),
        ("run directory", sandbox.run_root().join("containers")),
        ("lock", sandbox.run_root().join("locks")),
        ("layer", sandbox.root().join("layers")),
        ("blob", sandbox.root().join("blobs/sha256")),
        ("volume", sandbox.root().join("volumes")),
    ] {
        left.extend(entries(&path).into_iter().map(|entry| format!("{name} {entry}")));
    }
    left.extend(processes(dir));
    let links = sandbox.host(&["ip", "-o", "link"]).stdout;
    left.extend(links.lines().filter(|line| line.contains("veth")).map(|line| format!("link {line}")));
    let rules = sandbox.host(&["nft", "list", "ruleset"]).stdout;
    left.extend(elements(&rules).into_iter().map(|element| format!("packet filter element {element}")));
    left
}

fn entries(path: &Path) -> Vec<String> {
    // What is hidden is the engine's own bookkeeping.
    let Ok(entries) = std::fs::read_dir(path) else { return Vec::new() };
    let names = entries.flatten().map(|entry| entry.path());
    let own = |path: &Path| path.ends_with("empty") || path.extension().is_some_and(|end| end == "lock");
    names.filter(|path| !own(path)).map(|path| path.display().to_string()).collect()
}

/// Monitors and programs of the store: by their environment, command line or working directory.
fn processes(dir: &str) -> Vec<String> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc").expect("reads").flatten() {
        let cwd = std::fs::read_link(entry.path().join("cwd")).unwrap_or_default();
        if cwd.starts_with(dir) {
            let name = std::fs::read_to_string(entry.path().join("comm")).unwrap_or_default();
            found.push(format!("process {} {}", entry.file_name().to_string_lossy(), name.trim()));
        }
    }
    found
}

/// The elements of published ports in `nft list ruleset`: those of maps with an address to send packets to.
fn elements(rules: &str) -> Vec<String> {
    rules
        .lines()
        .filter(|line| line.contains(" . ") && (line.contains(" : ") || line.contains("elements")))
        .filter(|line| {
            !line.trim_start().starts_with("type ") && !line.contains(" map @") && line.contains(" : ")
        })
        .map(|line| line.trim().to_owned())
        .collect()
}

/// The groups of the cgroup tree below `/engine`, in all hierarchies, for the containers `ids`.
pub fn cgroups(ids: &[String]) -> Vec<String> {
    let output = Command::new("find").args(["/sys/fs/cgroup", "-type", "d", "-path", "*engine*"]).output();
    let text = String::from_utf8_lossy(&output.expect("runs").stdout).into_owned();
    text.lines().filter(|line| ids.iter().any(|id| line.contains(id.as_str()))).map(str::to_owned).collect()
}
