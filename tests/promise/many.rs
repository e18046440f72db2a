//! Several processes and one store.

use std::os::unix::fs::MetadataExt;

use crate::support::Sandbox;

#[test]
fn eight_processes_create_run_and_remove_in_one_store() {
    let sandbox = Sandbox::new("many");
    sandbox.busybox();
    std::thread::scope(|scope| {
        for worker in 0..8 {
            let sandbox = &sandbox;
            scope.spawn(move || {
                for n in 0..6 {
                    let name = format!("w{worker}-{n}");
                    let ran = sandbox.engine(&["run", "--name", &name, "busybox", "echo", &name]);
                    assert_eq!(ran.ok(), name);
                    sandbox.engine(&["rm", &name]).ok();
                    assert_eq!(sandbox.engine(&["run", "--rm", "busybox", "echo", "x"]).ok(), "x");
                }
            });
        }
    });
    assert_eq!(sandbox.engine(&["ps", "-aq"]).ok(), "");
}

#[test]
fn every_running_container_has_an_address_of_its_own() {
    let sandbox = Sandbox::new("addresses");
    sandbox.busybox();
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| sandbox.engine(&["run", "-d", "busybox", "sleep", "1000"]).ok().to_owned());
        }
    });
    let ids = sandbox.engine(&["ps", "-q"]).ok().to_owned();
    let mut args = vec!["inspect", "-f", "{{.NetworkSettings.IPAddress}}"];
    args.extend(ids.lines());
    let addresses = sandbox.engine(&args).ok().to_owned();
    let distinct: std::collections::BTreeSet<&str> = addresses.lines().filter(|a| !a.is_empty()).collect();
    assert_eq!(distinct.len(), 8, "{addresses}");
}

#[test]
fn one_start_of_two_at_the_same_time_is_made() {
    let sandbox = Sandbox::new("race");
    sandbox.busybox();
    sandbox.engine(&["create", "--name", "race", "busybox", "sh", "-c", "echo x; sleep 1000"]).ok();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| sandbox.engine(&["start", "race"]).ok().to_owned());
        }
    });
    crate::support::eventually(5, "it runs", || sandbox.engine(&["logs", "race"]).stdout == "x\n");
}

#[test]
fn monitors_of_different_processes_run_from_one_copy_in_memory() {
    let sandbox = Sandbox::new("one-copy");
    sandbox.busybox();
    let program = |name: &str| {
        let pid = sandbox.engine(&["inspect", "-f", "{{.State.Pid}}", name]).ok().to_owned();
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("it runs");
        let monitor = status.lines().find_map(|line| line.strip_prefix("PPid:\t")).expect("a parent");
        std::fs::metadata(format!("/proc/{monitor}/exe")).expect("it runs").ino()
    };
    let run = |name: &str| {
        sandbox.engine(&["run", "-d", "--name", name, "busybox", "sleep", "1000"]).ok();
        program(name)
    };
    let first = run("a1");
    assert_eq!(run("b1"), first);
    // Whose program it was is gone, and the others go on.
    sandbox.engine(&["rm", "-f", "a1"]).ok();
    assert_eq!(program("b1"), first);
    let second = run("c1");
    assert_eq!(run("d1"), second);
    // A link that leads to another program is not followed, and put in order.
    let link = sandbox.run_root().join("shim");
    std::fs::remove_file(&link).expect("is there");
    std::os::unix::fs::symlink("/bin/busybox", &link).expect("a link");
    let third = run("e1");
    assert_eq!(run("f1"), third);
}
