//! What a container shares with the host and with others, and what it asks of its place: a promise for each flag.

use crate::support::{Ran, Sandbox, eventually};

/// `engine run --rm` with flags, and a script for busybox's shell.
fn run(sandbox: &Sandbox, flags: &[&str], script: &str) -> Ran {
    sandbox.engine(&[&["run", "--rm"], flags, &["busybox", "sh", "-c", script]].concat())
}

/// A container that sleeps, with flags.
fn sleeper(sandbox: &Sandbox, name: &str, flags: &[&str]) {
    sandbox.engine(&[&["run", "-d", "--name", name], flags, &["busybox", "sleep", "1000"]].concat()).ok();
}

fn inspected(sandbox: &Sandbox, name: &str, template: &str) -> String {
    sandbox.engine(&["inspect", "-f", template, name]).ok().to_owned()
}

/// The namespace of this process.
fn own(kind: &str) -> String {
    std::fs::read_link(format!("/proc/self/ns/{kind}")).expect("reads").display().to_string()
}

#[test]
fn the_pid_namespace_can_be_the_host_s_or_another_container_s() {
    let sandbox = Sandbox::new("pid");
    sandbox.busybox();
    assert_eq!(run(&sandbox, &["--pid", "host"], "readlink /proc/self/ns/pid").ok(), own("pid"));
    sleeper(&sandbox, "first", &[]);
    let seen = run(&sandbox, &["--pid", "container:first"], "cat /proc/1/cmdline | tr '\\0' ' '; echo $$");
    assert!(seen.ok().starts_with("sleep 1000 "), "{seen:?}");
    assert!(!seen.ok().ends_with(" 1"), "{seen:?}");
    // With another one's processes it may end them, and ends when that one's first process does.
    sleeper(&sandbox, "second", &["--pid", "container:first", "--init"]);
    let id = inspected(&sandbox, "first", "{{.Id}}");
    assert_eq!(inspected(&sandbox, "second", "{{.HostConfig.PidMode}}"), format!("container:{id}"));
    sandbox.engine(&["kill", "first"]).ok();
    assert_eq!(sandbox.engine(&["wait", "second"]).ok(), "137");
    sandbox.engine(&["start", "second"]).fails(1, ["cannot join PID namespace of a non running container"]);
    run(&sandbox, &["--pid", "container:nobody"], "true").fails(125, ["nobody", "no such container"]);
    run(&sandbox, &["--pid", "hots"], "true").fails(125, ["--pid"]);
}

#[test]
fn ipc_objects_and_shared_memory_go_together() {
    let sandbox = Sandbox::new("ipc");
    sandbox.busybox();
    sleeper(&sandbox, "donor", &["--ipc", "shareable", "--shm-size", "3m"]);
    sleeper(&sandbox, "private", &[]);
    let joined = ["--ipc", "container:donor"];
    let script = "readlink /proc/self/ns/ipc; echo from-joiner > /dev/shm/note; df -k /dev/shm | tail -1; \
                  mount | grep ' /dev/shm '";
    let said = run(&sandbox, &joined, script).ok().to_owned();
    let theirs = sandbox.engine(&["exec", "donor", "readlink", "/proc/self/ns/ipc"]).ok().to_owned();
    assert_eq!(said.lines().next(), Some(theirs.as_str()));
    assert!(said.contains("3072"), "{said}");
    assert!(said.contains("nosuid,nodev,noexec"), "{said}");
    assert_eq!(sandbox.engine(&["exec", "donor", "cat", "/dev/shm/note"]).ok(), "from-joiner");
    // It keeps what it shares when the other one is gone.
    sleeper(&sandbox, "joiner", &joined);
    sandbox.engine(&["rm", "-f", "donor"]).ok();
    assert_eq!(sandbox.engine(&["exec", "joiner", "cat", "/dev/shm/note"]).ok(), "from-joiner");
    run(&sandbox, &["--ipc", "container:private"], "true").fails(125, ["non-shareable IPC"]);
    assert_eq!(
        run(&sandbox, &["--ipc", "none"], "ls -d /dev/shm 2>&1 | wc -l; mount | grep -c shm").stdout,
        "1\n0\n"
    );
    assert_eq!(run(&sandbox, &["--ipc", "host"], "readlink /proc/self/ns/ipc").ok(), own("ipc"));
    let source = run(&sandbox, &["--ipc", "host"], "stat -c %d /dev/shm").ok().to_owned();
    use std::os::unix::fs::MetadataExt;
    let of_host = std::fs::metadata("/dev/shm").expect("is there").dev().to_string();
    assert_eq!(source, of_host);
    assert_eq!(inspected(&sandbox, "private", "{{.HostConfig.IpcMode}}"), "private");
    run(&sandbox, &["--ipc", "all"], "true").fails(125, ["IPC mode"]);
}

#[test]
fn the_host_name_can_be_the_host_s() {
    let sandbox = Sandbox::new("uts");
    sandbox.busybox();
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").expect("reads");
    let said = run(&sandbox, &["--uts", "host"], "readlink /proc/self/ns/uts; hostname; cat /etc/hostname")
        .ok()
        .to_owned();
    let name = name.trim();
    assert_eq!(said, format!("{}\n{name}\n{name}", own("uts")));
    run(&sandbox, &["--uts", "host", "-h", "box"], "true")
        .fails(125, ["conflicting options: hostname and the UTS mode"]);
    run(&sandbox, &["--uts", "container:x"], "true").fails(125, ["UTS mode"]);
}

#[test]
fn the_cgroup_namespace_can_be_the_host_s() {
    let sandbox = Sandbox::new("cgroupns");
    sandbox.busybox();
    assert_eq!(run(&sandbox, &["--cgroupns", "host"], "readlink /proc/self/ns/cgroup").ok(), own("cgroup"));
    let private = run(&sandbox, &["--cgroupns", "private"], "cat /proc/self/cgroup");
    assert!(private.ok().lines().all(|line| line.ends_with(":/")), "{private:?}");
    sleeper(&sandbox, "host", &["--cgroupns", "host"]);
    assert_eq!(inspected(&sandbox, "host", "{{.HostConfig.CgroupnsMode}}"), "host");
    // Another process of it is in the same ones.
    assert_eq!(sandbox.engine(&["exec", "host", "readlink", "/proc/self/ns/cgroup"]).ok(), own("cgroup"));
}

#[test]
fn the_network_can_be_another_container_s_with_its_names() {
    let sandbox = Sandbox::new("netns");
    sandbox.busybox();
    sandbox
        .engine(
            &[
                "run",
                "-d",
                "--name",
                "web",
                "-h",
                "webhost",
                "--add-host",
                "db:10.9.8.7",
                "--dns",
                "10.1.1.1",
            ]
            .iter()
            .chain(["busybox", "sh", "-c", "echo hello > /tmp/index.html; httpd -f -p 80 -h /tmp"].iter())
            .copied()
            .collect::<Vec<_>>(),
        )
        .ok();
    let joined = ["--network", "container:web"];
    let script = "hostname; grep -c 10.9.8.7 /etc/hosts; cat /etc/hostname /etc/resolv.conf; \
                  for i in 1 2 3 4 5 6 7 8 9; do wget -qO- http://127.0.0.1/ && break; sleep 0.2; done";
    let said = run(&sandbox, &joined, script);
    assert_eq!(said.ok(), "webhost\n1\nwebhost\nnameserver 10.1.1.1\nhello");
    for (flags, words) in [
        (&["-p", "80:80"][..], "port publishing and the container type network mode"),
        (&["-P"], "port publishing and the container type network mode"),
        (&["--expose", "80"], "port exposing and the container type network mode"),
        (&["-h", "x"], "hostname and the network mode"),
        (&["--dns", "1.1.1.1"], "dns and the network mode"),
        (&["--add-host", "a:1.1.1.1"], "custom host-to-IP mapping and the network mode"),
        (&["--mac-address", "92:d0:c6:0a:29:33"], "mac-address and the network mode"),
        (&["--link", "web"], "container type network can't be used with links"),
    ] {
        run(&sandbox, &[&joined[..], flags].concat(), "true").fails(125, ["conflicting options", words]);
    }
    sleeper(&sandbox, "joiner", &joined);
    let id = inspected(&sandbox, "web", "{{.Id}}");
    assert_eq!(inspected(&sandbox, "joiner", "{{.HostConfig.NetworkMode}}"), format!("container:{id}"));
    assert_eq!(inspected(&sandbox, "joiner", "{{json .NetworkSettings.Networks}}"), "{}");
    // As with docker it goes on in what is left of the network when the other one ends; and cannot start without it.
    sandbox.engine(&["stop", "-t", "0", "web"]).ok();
    assert!(sandbox.engine(&["exec", "joiner", "ip", "addr"]).ok().contains("127.0.0.1"));
    sandbox
        .engine(&["restart", "-t", "0", "joiner"])
        .fails(1, ["cannot join network namespace of a non running container"]);
    sandbox.engine(&["start", "web"]).ok();
    sandbox.engine(&["start", "joiner"]).ok();
    eventually(10, "it answers", || {
        sandbox.engine(&["exec", "joiner", "wget", "-qO-", "http://127.0.0.1/"]).stdout == "hello\n"
    });
}

#[test]
fn a_link_tells_the_address_of_a_running_container() {
    let sandbox = Sandbox::new("link");
    sandbox.busybox();
    sleeper(&sandbox, "db", &["-h", "dbhost"]);
    let address = inspected(&sandbox, "db", "{{.NetworkSettings.IPAddress}}");
    let said = run(
        &sandbox,
        &["--link", "db:sql", "--name", "web"],
        "grep sql /etc/hosts; ping -c1 -W2 sql >/dev/null && echo up",
    );
    let said = said.ok();
    assert!(
        said.starts_with(&format!("{address}\tsql ")) && said.contains(" db\n") && said.ends_with("up"),
        "{said}"
    );
    sandbox.engine(&["create", "--name", "web", "--link", "db", "busybox", "true"]).ok();
    assert_eq!(inspected(&sandbox, "web", "{{json .HostConfig.Links}}"), "[\"/db:/web/db\"]");
    sandbox.engine(&["stop", "-t", "0", "db"]).ok();
    sandbox.engine(&["start", "web"]).fails(1, ["Cannot link to a non running container: /db AS /web/db"]);
    run(&sandbox, &["--link", "nobody"], "true").fails(125, ["nobody", "no such container"]);
    run(&sandbox, &["--link", "db", "--network", "host"], "true")
        .fails(125, ["host type networking can't be used with links"]);
}

#[test]
fn an_address_and_a_hardware_address_can_be_chosen() {
    let sandbox = Sandbox::new("addresses");
    sandbox.busybox();
    sandbox.engine(&["network", "create", "--subnet", "10.77.0.0/24", "lan"]).ok();
    let flags = ["--network", "lan", "--ip", "10.77.0.50", "--mac-address", "92:d0:c6:0a:29:33"];
    let said = run(&sandbox, &flags, "ip -o addr show eth0; cat /sys/class/net/eth0/address");
    assert!(said.ok().contains("10.77.0.50/24") && said.ok().ends_with("92:d0:c6:0a:29:33"), "{said:?}");
    let long = ["--network", "name=lan,ip=10.77.0.60"];
    assert!(run(&sandbox, &long, "ip -o addr show eth0").ok().contains("10.77.0.60/24"));
    sleeper(&sandbox, "here", &["--network", "lan", "--ip", "10.77.0.70"]);
    assert!(inspected(&sandbox, "here", "{{json .NetworkSettings.Networks.lan}}").contains("10.77.0.70"));
    run(&sandbox, &["--network", "lan", "--ip", "10.77.0.70"], "true").fails(125, ["Address already in use"]);
    run(&sandbox, &["--network", "lan", "--ip", "10.78.0.1"], "true").fails(125, ["10.78.0.1", "subnet"]);
    run(&sandbox, &["--network", "lan", "--ip", "10.77.0.255"], "true").fails(125, ["10.77.0.255"]);
    run(&sandbox, &["--ip", "172.17.0.9"], "true")
        .fails(125, ["user specified IP address is supported on user defined networks only"]);
    let bridge = run(&sandbox, &["--mac-address", "92:d0:c6:0a:29:44"], "cat /sys/class/net/eth0/address");
    assert_eq!(bridge.ok(), "92:d0:c6:0a:29:44");
    sandbox.engine(&["rm", "-f", "here"]).ok();
    sandbox.engine(&["network", "rm", "lan"]).ok();
}

#[test]
fn volumes_of_another_container_are_its_own_too() {
    let sandbox = Sandbox::new("volumesfrom");
    sandbox.busybox();
    let bound = sandbox.dir().join("bound");
    std::fs::create_dir(&bound).expect("a directory");
    let bind = format!("{}:/bound", bound.display());
    sandbox
        .engine(&[
            "create",
            "--name",
            "data",
            "-v",
            "named:/named",
            "-v",
            "/anonymous",
            "-v",
            &bind,
            "--tmpfs",
            "/memory",
            "busybox",
            "true",
        ])
        .ok();
    run(&sandbox, &["--volumes-from", "data"], "echo 1 > /named/a; echo 2 > /anonymous/a; echo 3 > /bound/a")
        .ok();
    assert_eq!(std::fs::read_to_string(bound.join("a")).expect("reads"), "3\n");
    let read_only = run(
        &sandbox,
        &["--volumes-from", "data:ro"],
        "cat /named/a /anonymous/a /bound/a; touch /named/b /bound/b; ls -d /memory",
    );
    assert_eq!(read_only.stdout, "1\n2\n3\n", "{read_only:?}");
    assert!(read_only.stderr.matches("Read-only").count() == 2, "{read_only:?}");
    // What the command itself says of a place comes first.
    assert_eq!(run(&sandbox, &["--volumes-from", "data", "--tmpfs", "/named"], "ls /named").ok(), "");
    sandbox.engine(&["create", "--name", "user", "--volumes-from", "data", "busybox", "true"]).ok();
    assert_eq!(inspected(&sandbox, "user", "{{json .HostConfig.VolumesFrom}}"), "[\"data\"]");
    // They are not gone with the first one.
    sandbox.engine(&["rm", "-v", "data"]).ok();
    assert_eq!(run(&sandbox, &["--volumes-from", "user"], "cat /anonymous/a").ok(), "2");
    run(&sandbox, &["--volumes-from", "nobody"], "true").fails(125, ["nobody", "no such container"]);
    run(&sandbox, &["--volumes-from", "user:nocopy"], "true").fails(125, ["invalid mode: nocopy"]);
    run(&sandbox, &["--volumes-from", ""], "true").fails(125, ["cannot be an empty string"]);
}

#[test]
fn a_volume_driver_and_a_runtime_are_chosen_by_name() {
    let sandbox = Sandbox::new("drivers");
    sandbox.busybox();
    run(&sandbox, &["--volume-driver", "local", "-v", "data:/data"], "touch /data/a").ok();
    run(&sandbox, &["--volume-driver", "nosuch", "-v", "other:/data"], "true").fails(125, ["nosuch"]);
    run(&sandbox, &["--runtime", "engine"], "true").ok();
    run(&sandbox, &["--runtime", "nosuch"], "true")
        .fails(125, ["unknown or invalid runtime name: nosuch", "engine"]);
    assert_eq!(sandbox.engine(&["info", "-f", "{{.DefaultRuntime}}"]).ok(), "engine");
    assert!(sandbox.engine(&["info", "-f", "{{json .Runtimes}}"]).ok().contains("\"engine\""));
}

#[test]
fn what_the_engine_does_not_have_is_refused_by_name() {
    let sandbox = Sandbox::new("refused");
    sandbox.busybox();
    for flags in [
        &["--gpus", "all"][..],
        &["--storage-opt", "size=1G"],
        &["--use-api-socket"],
        &["--userns", "keep-id"],
        &["--isolation", "hyperv"],
    ] {
        run(&sandbox, flags, "true").fails(125, [flags[0], "does not support it"]);
    }
    // What asks for nothing on this host is accepted.
    run(
        &sandbox,
        &["--userns", "host", "--isolation", "default", "--kernel-memory", "64m", "--cpu-count", "1"],
        "true",
    )
    .ok();
    run(&sandbox, &["--disable-content-trust", "--security-opt", "label=disable"], "true").ok();
}

#[test]
fn a_part_of_a_volume_is_mounted_and_no_link_in_it_leads_out() {
    let sandbox = Sandbox::new("subpath");
    sandbox.busybox();
    run(
        &sandbox,
        &["-v", "data:/data"],
        "mkdir -p /data/a/b; echo part > /data/a/b/file; ln -s / /data/up; \
        ln -s a /data/link; ln -s ../../../../../../.. /data/out",
    )
    .ok();
    let part = |path: &str| format!("source=data,target=/part,volume-subpath={path}");
    assert_eq!(run(&sandbox, &["--mount", &part("a/b")], "cat /part/file; ls /part").ok(), "part\nfile");
    assert_eq!(run(&sandbox, &["--mount", &part("link/b/file")], "cat /part").ok(), "part");
    // The volume's own root is as far up as a link leads.
    assert_eq!(run(&sandbox, &["--mount", &part("up")], "ls /part").ok(), "a\nlink\nout\nup");
    assert_eq!(run(&sandbox, &["--mount", &part("out/a")], "ls /part").ok(), "b");
    // It can be started again, and is as it was.
    let mount = part("a");
    sandbox.engine(&["run", "--name", "again", "--mount", &mount, "busybox", "ls", "/part"]).ok();
    assert_eq!(sandbox.engine(&["start", "-a", "again"]).ok(), "b");
    run(&sandbox, &["--mount", &part("nosuch")], "true").fails(125, ["nosuch"]);
    for bad in ["../x", "/etc", "a/../.."] {
        run(&sandbox, &["--mount", &part(bad)], "true")
            .fails(125, ["must be a relative path within the volume"]);
    }
    run(&sandbox, &["--mount", "target=/part,volume-subpath=a"], "true").fails(125, ["anonymous volumes"]);
}

#[test]
fn a_read_only_bind_mount_says_how_far_down_it_is_that() {
    let sandbox = Sandbox::new("recursive");
    sandbox.busybox();
    let top = sandbox.dir().join("top");
    std::fs::create_dir_all(top.join("below")).expect("a directory");
    crate::support::run(
        std::process::Command::new("mount").args(["-t", "tmpfs", "none"]).arg(top.join("below")),
    );
    let tried = |more: &str| {
        let mount = format!("type=bind,source={},target=/top,readonly{more}", top.display());
        let script =
            "(: > /top/x) 2>/dev/null && echo top; (: > /top/below/x) 2>/dev/null && echo below; true";
        run(&sandbox, &["--mount", &mount], script)
    };
    let said =
        ["", ",bind-recursive=enabled", ",bind-recursive=readonly", ",bind-recursive=writable"].map(&tried);
    let disabled = tried(",bind-recursive=disabled");
    let refused = tried(",bind-recursive=readonly,bind-propagation=rshared");
    crate::support::run(std::process::Command::new("umount").arg(top.join("below")));
    assert_eq!(said.map(|ran| ran.ok().to_owned()), ["", "", "", "below"]);
    assert_eq!(disabled.ok(), "");
    refused.fails(125, ["requires 'bind-propagation=rprivate'"]);
    let writable = format!("type=bind,source={},target=/top,bind-recursive=readonly", top.display());
    run(&sandbox, &["--mount", &writable], "true").fails(125, ["requires 'readonly'"]);
}
