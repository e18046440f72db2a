//! Volumes, bind mounts and file systems in memory.

use crate::support::Sandbox;

#[test]
fn a_named_volume_is_shared_and_outlives_its_containers() {
    let sandbox = Sandbox::new("volume");
    sandbox.busybox();
    sandbox
        .engine(&[
            "run",
            "-d",
            "--name",
            "writer",
            "-v",
            "data:/d",
            "busybox",
            "sh",
            "-c",
            "echo one > /d/f; sleep 1000",
        ])
        .ok();
    let read = |args: &[&str]| sandbox.engine(&[&["run", "--rm", "-v"], args].concat());
    crate::support::eventually(5, "the other reads it", || {
        read(&["data:/x", "busybox", "cat", "/x/f"]).stdout == "one\n"
    });
    assert!(read(&["data:/x:ro", "busybox", "touch", "/x/g"]).code != 0);
    sandbox.engine(&["volume", "rm", "data"]).fails(1, ["data", "writer"]);
    sandbox.engine(&["rm", "-f", "writer"]).ok();
    assert_eq!(read(&["data:/x", "busybox", "cat", "/x/f"]).ok(), "one");
    assert_eq!(sandbox.engine(&["volume", "ls", "-q"]).ok(), "data");
    sandbox.engine(&["volume", "rm", "data"]).ok();
}

#[test]
fn an_empty_volume_is_given_what_the_image_has_there() {
    let sandbox = Sandbox::new("copyup");
    sandbox.busybox();
    let list = |flag: &str| {
        sandbox
            .engine(&["run", "--rm", "-v", flag, "busybox", "sh", "-c", "ls /etc; stat -c %a /etc"])
            .ok()
            .to_owned()
    };
    let etc = list("filled:/etc");
    assert!(etc.contains("passwd") && etc.contains("group"), "{etc}");
    assert!(!list("bare:/etc:nocopy").contains("passwd"));
    sandbox.engine(&["run", "--rm", "-v", "filled:/etc", "busybox", "rm", "/etc/group"]).ok();
    assert!(!list("filled:/etc").contains("group\n"), "copied once, not again");
}

#[test]
fn the_hosts_files_are_mounted_as_asked() {
    let sandbox = Sandbox::new("bind");
    sandbox.busybox();
    let dir = sandbox.dir().join("shared");
    std::fs::create_dir(&dir).expect("a directory");
    std::fs::write(dir.join("f"), "host\n").expect("writes");
    let source = dir.to_str().expect("a path");
    let mount = format!("type=bind,source={source},target=/m,readonly");
    let ran =
        sandbox.engine(&["run", "--rm", "--mount", &mount, "busybox", "sh", "-c", "cat /m/f; touch /m/g"]);
    assert_eq!(ran.stdout, "host\n");
    assert_ne!(ran.code, 0);
    sandbox
        .engine(&["run", "--rm", "-v", &format!("{source}:/m"), "busybox", "sh", "-c", "echo new > /m/f"])
        .ok();
    assert_eq!(std::fs::read_to_string(dir.join("f")).expect("reads"), "new\n");
    let missing = format!("type=bind,source={source}/nosuch,target=/m");
    sandbox.engine(&["run", "--rm", "--mount", &missing, "busybox", "true"]).fails(125, ["nosuch"]);
    sandbox.engine(&["run", "--rm", "-v", &format!("{source}/made:/m"), "busybox", "true"]).ok();
    assert!(dir.join("made").is_dir(), "-v makes the source");
}

#[test]
fn a_tmpfs_is_one() {
    let sandbox = Sandbox::new("tmpfs");
    sandbox.busybox();
    let ran = sandbox.engine(&[
        "run",
        "--rm",
        "--tmpfs",
        "/t:size=1m",
        "busybox",
        "sh",
        "-c",
        "grep ' /t ' /proc/mounts",
    ]);
    let line = ran.ok();
    assert!(line.contains("tmpfs") && line.contains("size=1024k") && line.contains("noexec"), "{line}");
}
