//! What is wrong is refused: the message names the thing and what to do, and nothing is left.

use crate::support::Sandbox;

#[test]
fn bad_wishes_are_refused_with_the_thing_named() {
    let sandbox = Sandbox::new("badinput");
    sandbox.busybox();
    for (args, words) in [
        (["run", "-m", "lots", "busybox", "true"].as_slice(), ["lots", "memory"]),
        (&["run", "-m", "1m", "busybox", "true"], ["6", "emory"]),
        (&["run", "--name", "bad name", "busybox", "true"], ["bad name", "name"]),
        (&["run", "-p", "99999:80", "busybox", "true"], ["99999", "port"]),
        (&["run", "--network", "nosuch", "busybox", "true"], ["nosuch", "network"]),
        (&["run", "--cap-add", "FLY", "busybox", "true"], ["FLY", "capabilit"]),
        (&["run", "-v", "relative:path", "busybox", "true"], ["path", "absolute"]),
        (&["run", "--ulimit", "nosuch=1", "busybox", "true"], ["nosuch", "ulimit"]),
        (&["run", "--nosuchflag", "busybox", "true"], ["nosuchflag", "--help"]),
        (&["run", "--rootfs", "/nosuch:O", "true"], ["/nosuch", "o such file"]),
        (&["run", "UPPER", "true"], ["UPPER", "lowercase"]),
    ] {
        sandbox.engine(args).fails(125, words);
    }
    sandbox.engine(&["create", "--name", "dup", "busybox", "true"]).ok();
    sandbox.engine(&["create", "--name", "dup", "busybox", "true"]).fails(1, ["dup", "in use"]);
    for args in
        [["rm", "nosuch"], ["logs", "nosuch"], ["stop", "nosuch"], ["inspect", "nosuch"], ["rmi", "nosuch"]]
    {
        sandbox.engine(&args).fails(1, ["nosuch"]);
    }
    assert_eq!(sandbox.engine(&["ps", "-aq"]).ok().lines().count(), 1, "only what was created is there");
}

#[test]
fn an_image_that_is_nowhere_is_named() {
    let sandbox = Sandbox::new("noimage");
    sandbox.engine(&["run", "127.0.0.1:1/none:1", "true"]).fails(125, ["127.0.0.1:1"]);
    let registry = crate::support::fixture::Registry::start(&sandbox);
    sandbox.engine(&["run", &format!("{}/none:1", registry.address), "true"]).fails(125, ["none:1"]);
}

#[test]
fn an_archive_that_is_none_is_refused() {
    let sandbox = Sandbox::new("badarchive");
    let path = sandbox.dir().join("bad.tar");
    for content in [b"not a tar archive at all, but long enough to be looked at".repeat(40), Vec::new()] {
        std::fs::write(&path, content).expect("writes");
        let path = path.to_str().expect("a path");
        let ran = sandbox.engine(&["load", "-i", path]);
        assert_eq!(ran.code, 1, "{ran:?}");
    }
    assert_eq!(sandbox.engine(&["images", "-q"]).ok(), "");
}
