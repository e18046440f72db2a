//! Processes beside a container's first, as every program that has the store open sees them.

use serde_json::Value;

use crate::support::{Sandbox, eventually};

#[test]
fn inspect_names_the_processes_that_run_and_no_others() {
    let sandbox = Sandbox::new("execs");
    sandbox.busybox();
    let plain = ["run", "-d", "--name", "web", "busybox", "sleep", "1000"];
    sandbox.engine(&plain).ok();
    let ids = || {
        let told = sandbox.engine(&["inspect", "--format", "{{json .ExecIDs}}", "web"]).ok().to_owned();
        serde_json::from_str::<Value>(&told).expect("JSON")
    };
    assert_eq!(ids(), Value::Null);
    sandbox.engine(&["exec", "-d", "web", "sh", "-c", "while [ ! -e /go ]; do sleep 0.05; done"]).ok();
    sandbox.engine(&["exec", "-d", "web", "sleep", "1000"]).ok();
    let begun = ids();
    let begun: Vec<&str> = begun.as_array().expect("a list").iter().filter_map(Value::as_str).collect();
    assert!(begun.len() == 2 && begun.iter().all(|id| id.len() == 64), "{begun:?}");
    sandbox.engine(&["exec", "web", "no-such-program"]).fails(127, ["no-such-program"]);
    sandbox.engine(&["exec", "web", "touch", "/go"]).ok();
    eventually(10, "the one that ended is not named", || {
        ids()
            .as_array()
            .is_some_and(|ids| ids.len() == 1 && ids.iter().all(|id| begun.contains(&id.as_str().unwrap())))
    });
    // They end with their container, and are not those of its next run.
    sandbox.engine(&["restart", "-t", "0", "web"]).ok();
    assert_eq!(ids(), Value::Null);
    sandbox.engine(&["exec", "-d", "web", "sleep", "1000"]).ok();
    sandbox.engine(&["kill", "web"]).ok();
    sandbox.engine(&["wait", "web"]).ok();
    assert_eq!(ids(), Value::Null);
}
