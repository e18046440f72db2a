//! kill -9 at named points: what was being done is wholly there or not at all, nothing leaks, and it can be done again.

use crate::support::fixture::{self, Registry};
use crate::support::{Sandbox, eventually, leaks};

/// The guard of the sandbox counts what is left after a prune: mounts, cgroups, links, elements, directories.
fn can_still_run(sandbox: &Sandbox) {
    assert_eq!(sandbox.engine(&["run", "--rm", "busybox", "echo", "well"]).ok(), "well");
}

#[test]
fn a_start_that_is_killed_anywhere_leaves_nothing() {
    let sandbox = Sandbox::new("crash-start");
    sandbox.busybox();
    for point in [
        "create.volumes-made",
        "create.recorded",
        "start.begun",
        "start.reserved",
        "start.created",
        "start.connected",
    ] {
        sandbox.engine_dies_at(
            point,
            &["run", "-p", "9000:9000", "-v", "vol:/v", "-v", "/anon", "busybox", "sleep", "1000"],
        );
        let ids: Vec<String> =
            sandbox.engine(&["ps", "-aq", "--no-trunc"]).ok().lines().map(str::to_owned).collect();
        eventually(5, "nothing is left running that was not started", || {
            sandbox.engine(&["ps", "-q"]).ok().is_empty()
        });
        if !ids.is_empty() {
            sandbox
                .engine(
                    &[&["rm", "-v"], ids.iter().map(String::as_str).collect::<Vec<_>>().as_slice()].concat(),
                )
                .ok();
        }
        sandbox.engine(&["system", "prune", "-f"]).ok();
        assert_eq!(leaks::cgroups(&ids), Vec::<String>::new(), "{point}");
        sandbox.engine(&["run", "--rm", "-p", "9000:9000", "busybox", "true"]).ok();
        can_still_run(&sandbox);
    }
}

#[test]
fn a_client_that_is_killed_right_after_the_start_leaves_a_running_container() {
    let sandbox = Sandbox::new("crash-started");
    sandbox.busybox();
    sandbox.engine_dies_at("start.started", &["run", "-d", "--name", "on", "busybox", "sleep", "1000"]);
    assert_eq!(sandbox.engine(&["inspect", "-f", "{{.State.Running}}", "on"]).ok(), "true");
}

#[test]
fn an_end_that_is_recorded_by_a_killed_process_is_recorded_by_the_next() {
    let sandbox = Sandbox::new("crash-end");
    sandbox.busybox();
    for (point, status) in [("end.cleared", "exited 3"), ("end.recorded", "exited 3")] {
        let name = point.replace('.', "-");
        sandbox.engine_dies_at(point, &["run", "--name", &name, "busybox", "sh", "-c", "exit 3"]);
        let format = "{{.State.Status}} {{.State.ExitCode}}";
        assert_eq!(sandbox.engine(&["inspect", "-f", format, &name]).ok(), status, "{point}");
        sandbox.engine(&["start", "-a", &name]).fails(3, []);
    }
}

#[test]
fn a_removal_that_is_killed_is_wholly_done_or_can_be_repeated() {
    let sandbox = Sandbox::new("crash-rm");
    sandbox.busybox();
    for point in ["remove.cleared", "remove.forgotten"] {
        sandbox.engine(&["run", "--name", "gone", "busybox", "touch", "/x"]).ok();
        sandbox.engine_dies_at(point, &["rm", "gone"]);
        let still = sandbox.engine(&["ps", "-aq"]).ok().to_owned();
        if !still.is_empty() {
            sandbox.engine(&["rm", "gone"]).ok();
        }
        sandbox.engine(&["system", "prune", "-f"]).ok();
        let left = std::fs::read_dir(sandbox.root().join("containers")).expect("reads").count();
        assert_eq!(left, 0, "{point}");
    }
}

#[test]
fn a_pull_that_is_killed_anywhere_is_taken_up_again() {
    let sandbox = Sandbox::new("crash-pull");
    let registry = Registry::start(&sandbox);
    let reference = registry.push_tar(&sandbox, &fixture::busybox_tar(), "box:1");
    for point in
        ["pull.manifest", "pull.held", "layer.unpacked", "layer.placed", "blob.written", "pull.layers-done"]
    {
        sandbox.engine_dies_at(point, &["pull", &reference]);
        assert_eq!(sandbox.engine(&["images", "-q"]).ok(), "", "{point}");
        sandbox.engine(&["pull", "-q", &reference]).ok();
        assert_eq!(sandbox.engine(&["run", "--rm", &reference, "echo", "whole"]).ok(), "whole", "{point}");
        sandbox.engine(&["rmi", &reference]).ok();
        sandbox.engine_dies_at(point, &["pull", &reference]);
        sandbox.engine(&["system", "prune", "-f"]).ok();
        for folder in ["layers", "blobs/sha256", "blobs/ingest"] {
            let entries = std::fs::read_dir(sandbox.root().join(folder)).expect("reads").flatten();
            let left: Vec<_> = entries.filter(|entry| entry.file_name().len() > 20).collect();
            assert!(left.is_empty(), "{point}: {folder}: {left:?}");
        }
    }
}
