//! What happened, told to whoever watches.

use crate::support::Sandbox;
use crate::support::fixture::{Registry, busybox_tar};

/// Kinds and actions of what was told since the beginning, with the filters given.
fn told(sandbox: &Sandbox, filters: &[&str]) -> Vec<String> {
    let mut args = vec!["events", "--since", "1h", "--until", "0s", "--format", "{{.Type}} {{.Action}}"];
    for filter in filters {
        args.extend(["--filter", filter]);
    }
    sandbox.engine(&args).ok().lines().map(str::to_owned).collect()
}

/// Whether `wanted` are among `told`, in this order.
fn in_order(told: &[String], wanted: &[&str]) -> bool {
    let mut rest = told.iter();
    wanted.iter().all(|wanted| rest.any(|told| told == wanted))
}

#[test]
fn a_whole_life_is_told_in_order_whichever_process_lives_it() {
    let sandbox = Sandbox::new("wholelife");
    sandbox.busybox();
    let watcher = sandbox.engine_in_background(&["events", "--format", "{{.Type}} {{.Action}}"]);
    // It is there when the first thing that it is to see is.
    std::thread::sleep(std::time::Duration::from_millis(500));
    let run = ["run", "-d", "--name", "web", "-v", "data:/data", "busybox", "sleep", "1000"];
    sandbox.engine(&run).ok();
    sandbox.engine(&["exec", "web", "true"]).ok();
    sandbox.engine(&["rename", "web", "other"]).ok();
    sandbox.engine(&["kill", "-s", "CONT", "other"]).ok();
    sandbox.engine(&["stop", "-t", "0", "other"]).ok();
    sandbox.engine(&["start", "other"]).ok();
    sandbox.engine(&["restart", "-t", "0", "other"]).ok();
    sandbox.engine(&["rm", "-f", "other"]).ok();
    sandbox.engine(&["volume", "rm", "data"]).ok();
    let told = told(&sandbox, &[]);
    let life = [
        "image import",
        "volume create",
        "container create",
        "network connect",
        "volume mount",
        "container start",
        "container exec_create: true",
        "container exec_start: true",
        "container exec_die",
        "container rename",
        "container kill",
        "container kill",
        "network disconnect",
        "volume unmount",
        "container stop",
        "container start",
        "container stop",
        "container start",
        "container restart",
        "container kill",
        "container destroy",
        "volume destroy",
    ];
    assert!(in_order(&told, &life), "{told:#?}");
    // What was told a moment ago is on its way to it.
    std::thread::sleep(std::time::Duration::from_millis(300));
    watcher.signal("INT");
    let watched = watcher.wait();
    assert_eq!(watched.code, 130);
    // All but what was before it came.
    let seen: Vec<String> = watched.stdout.lines().map(str::to_owned).collect();
    assert_eq!(seen, told.iter().filter(|line| *line != "image import").cloned().collect::<Vec<_>>());
}

#[test]
fn a_line_says_when_what_and_of_which_thing() {
    let sandbox = Sandbox::new("eventline");
    sandbox.busybox();
    let id = sandbox
        .engine(&["create", "--name", "web", "--label", "tier=front", "busybox", "true"])
        .ok()
        .to_owned();
    let events = |args: &[&str]| {
        sandbox.engine(&[&["events", "--since", "1h", "--until", "0s", "-f", "event=create"], args].concat())
    };
    let line = events(&[]);
    let (time, rest) = line.ok().split_once(' ').expect("words");
    assert_eq!(rest, format!("container create {id} (image=busybox, name=web, tier=front)"));
    assert_eq!(time.len(), "2026-11-28T04:00:00.123456789Z".len(), "{time}");
    let json = events(&["--format", "json"]);
    let begin = format!(
        "{{\"status\":\"create\",\"id\":\"{id}\",\"from\":\"busybox\",\"Type\":\"container\",\"Action\":\"create\",\
         \"Actor\":{{\"ID\":\"{id}\",\"Attributes\":{{\"image\":\"busybox\",\"name\":\"web\",\"tier\":\"front\"}}}},\
         \"scope\":\"local\",\"time\":"
    );
    assert!(json.ok().starts_with(&begin), "{json:?}");
    assert_eq!(events(&["--format", "{{json .}}"]).ok(), json.ok());
    let name = events(&["--format", "{{.Actor.Attributes.name}} {{.Scope}}"]);
    assert_eq!(name.ok(), "web local");
    // By the clock of whoever asks.
    let mut command = sandbox.engine_command(&["system", "events", "--since", "1h", "--until", "0s"]);
    let east = command.env("TZ", "Asia/Tokyo").output().expect("runs");
    if std::path::Path::new("/usr/share/zoneinfo/Asia/Tokyo").exists() {
        assert!(String::from_utf8_lossy(&east.stdout).contains("+09:00 container create"), "{east:?}");
    }
}

#[test]
fn filters_choose_by_docker_s_rules() {
    let sandbox = Sandbox::new("eventfilters");
    sandbox.busybox();
    for (name, label) in [("one", "a=1"), ("two", "a=2")] {
        sandbox.engine(&["create", "--name", name, "--label", label, "busybox", "true"]).ok();
    }
    sandbox.engine(&["network", "create", "net"]).ok();
    sandbox.engine(&["volume", "create", "vol"]).ok();
    let count = |filters: &[&str]| told(&sandbox, filters).len();
    assert_eq!(count(&["type=container"]), 2);
    assert_eq!(count(&["type=container", "type=volume"]), 3);
    assert_eq!(count(&["container=one"]), 1);
    assert_eq!(count(&["label=a"]), 2);
    assert_eq!(count(&["label=a=2"]), 1);
    assert_eq!(count(&["image=busybox"]), 2);
    assert_eq!(told(&sandbox, &["network=net"]), ["network create"]);
    assert_eq!(told(&sandbox, &["volume=vol"]), ["volume create"]);
    assert_eq!(count(&["event=create", "container=one", "container=two"]), 2);
    assert_eq!(count(&["event=start"]), 0);
    assert_eq!(count(&["scope=swarm"]), 0);
    sandbox.engine(&["events", "--filter", "colour=red", "--until", "0s"]).fails(1, ["colour"]);
    sandbox
        .engine(&["events", "--since", "2026-01-02T00:00:00Z", "--until", "2026-01-01T00:00:00Z"])
        .fails(1, ["`since` time cannot be after `until` time"]);
    let none = sandbox.engine(&["events", "--since", "1h", "--until", "30m"]);
    assert_eq!(none.ok(), "");
    sandbox.engine(&["network", "rm", "net"]).ok();
}

#[test]
fn images_and_their_names_are_told() {
    let sandbox = Sandbox::new("eventimages");
    let registry = Registry::start(&sandbox);
    let name = registry.push_tar(&sandbox, &busybox_tar(), "box:1");
    sandbox.engine(&["pull", "-q", &name]).ok();
    sandbox.engine(&["tag", &name, "mine"]).ok();
    let archive = sandbox.dir().join("archive.tar");
    let archive = archive.to_str().expect("a path");
    sandbox.engine(&["save", "-o", archive, "mine"]).ok();
    sandbox.engine(&["rmi", "-f", "mine", &name]).ok();
    sandbox.engine(&["load", "-i", archive]).ok();
    sandbox.engine(&["image", "prune", "-af"]).ok();
    let life =
        ["image pull", "image tag", "image save", "image untag", "image untag", "image delete", "image load"];
    let told = told(&sandbox, &["type=image"]);
    assert!(in_order(&told, &life), "{told:#?}");
    assert!(in_order(&told, &["image load", "image untag", "image delete", "image prune"]), "{told:#?}");
    let pull = sandbox.engine(&[
        "events",
        "--since",
        "1h",
        "--until",
        "0s",
        "-f",
        "event=pull",
        "--format",
        "{{.ID}} {{.Actor.Attributes.name}}",
    ]);
    assert_eq!(pull.ok(), format!("{name} {}", name.trim_end_matches(":1")));
}

#[test]
fn prunes_and_attachments_are_told() {
    let sandbox = Sandbox::new("eventprunes");
    sandbox.busybox();
    sandbox.engine(&["run", "busybox", "true"]).ok();
    for noun in ["container", "volume", "network"] {
        sandbox.engine(&[noun, "prune", "-f"]).ok();
    }
    let told = told(&sandbox, &[]);
    let life =
        ["container attach", "container start", "container destroy", "container prune", "volume prune"];
    assert!(in_order(&told, &life), "{told:#?}");
    assert!(told.contains(&"network prune".to_owned()));
}
