//! What a container sees, has and may do.

use std::os::fd::AsRawFd;

use serde_json::json;

use super::fixture::{Fixture, LIMIT, exec_bundle, text};
use crate::ErrorKind;
use crate::runtime::driver::Runtime;

#[tokio::test(flavor = "multi_thread")]
async fn masked_and_read_only_paths_are() {
    let fixture = Fixture::new();
    let script = "
        wc -c < /proc/interrupts; ls -A /sys/firmware | wc -l
        for path in /proc/sys/kernel/hostname /proc/sysrq-trigger /sys/kernel/mm/ksm/run /proc/irq/0/x; do
            (echo b > $path) 2>/dev/null && echo wrote $path
        done
        (echo x > /sys/firmware/x) 2>/dev/null && echo wrote to a mask
        mount -o remount,rw /proc/sys 2>/dev/null && echo remounted
        echo end";
    let said = fixture
        .run(fixture.bundle_with(&["sh", "-c", script], |config| {
            config["linux"]["maskedPaths"].as_array_mut().expect("a list").push("/proc/interrupts".into());
        }))
        .await;
    assert_eq!((said.stdout.as_str(), said.stderr.as_str()), ("0\n0\nend\n", ""));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_read_only_root_is_but_not_what_is_mounted_over_it() {
    let fixture = Fixture::new();
    let script = "touch /x 2>/dev/null && echo wrote; touch /dev/shm/x && echo shared; pwd";
    let said = fixture
        .run(fixture.bundle_with(&["sh", "-c", script], |config| {
            config["root"]["readonly"] = true.into();
            config["process"]["cwd"] = "/new/directory".into();
        }))
        .await;
    assert_eq!((said.stdout.as_str(), said.stderr.as_str()), ("shared\n/new/directory\n", ""));
}

#[tokio::test(flavor = "multi_thread")]
async fn it_has_namespaces_of_its_own() {
    let fixture = Fixture::new();
    let said = fixture
        .run(fixture.bundle_with(
            &["sh", "-c", "hostname; cat /proc/sys/kernel/domainname; echo $$; ls /sys/class/net; set -- /proc/[0-9]*; echo $#"],
            |config| config["domainname"] = "example".into(),
        ))
        .await;
    let lines: Vec<&str> = said.stdout.lines().collect();
    assert_eq!(lines, ["box", "example", "1", "lo", "1"], "{said:?}");
    let own = fixture
        .shell("readlink /proc/self/ns/mnt; readlink /proc/self/ns/cgroup; cat /proc/self/cgroup")
        .await;
    for kind in ["mnt", "cgroup"] {
        let host = std::fs::read_link(format!("/proc/self/ns/{kind}")).expect("reads");
        assert!(!own.contains(host.to_str().expect("text")), "{own}");
    }
    assert!(own.lines().skip(2).all(|line| line.ends_with(":/")), "its groups are roots: {own}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_by_name_has_its_groups_and_its_home() {
    let fixture = Fixture::new();
    let script = "id -u; id -g; id -G; echo $HOME; grep CapEff /proc/self/status; echo x > /dev/stdout";
    let mut bundle = fixture.bundle(&["sh", "-c", script]);
    "web".clone_into(&mut bundle.user.user);
    bundle.user.additional_groups = vec!["77".to_owned(), "root".to_owned()];
    let before = std::fs::metadata("/dev/null").expect("is there");
    let said = fixture.run(bundle).await;
    let lines: Vec<&str> = said.stdout.lines().collect();
    let expected = ["33", "34", "34 0 50 77", "/home/web", "CapEff:\t0000000000000000", "x"];
    assert_eq!(lines.get(..6), Some(expected.as_slice()), "{said:?}");
    use std::os::unix::fs::MetadataExt;
    let after = std::fs::metadata("/dev/null").expect("is there");
    assert_eq!(
        (before.uid(), before.mode()),
        (after.uid(), after.mode()),
        "the host's null device was given away"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn its_input_is_not_the_host_s_null_device() {
    let fixture = Fixture::new();
    let place = fixture.begin(fixture.bundle(&["sleep", "1000"])).await;
    let command =
        ["sh", "-c", "readlink /proc/self/fd/0; chmod 600 /proc/self/fd/0; stat -L -c %a /proc/self/fd/0"];
    let session = fixture.runtime.exec(&place, exec_bundle(&command)).await.expect("executes");
    assert_eq!(text(session.output(LIMIT).await.expect("talks").0), "/dev/null\n600\n");
    use std::os::unix::fs::MetadataExt;
    assert_eq!(std::fs::metadata("/dev/null").expect("is there").mode() & 0o777, 0o666);
}

#[tokio::test(flavor = "multi_thread")]
async fn limits_and_privileges_are_as_asked() {
    let fixture = Fixture::new();
    let script =
        "ulimit -n; ulimit -Hn; umask; cat /proc/self/oom_score_adj; cat /proc/sys/net/ipv4/ip_forward
        cat /proc/sys/kernel/shmmax; grep -E '^(CapBnd|CapPrm|CapInh|CapAmb|NoNewPrivs)' /proc/self/status";
    let said = fixture
        .run(fixture.bundle_with(&["sh", "-c", script], |config| {
            config["process"]["user"]["umask"] = 0o77.into();
            config["process"]["oomScoreAdj"] = 500.into();
            config["process"]["noNewPrivileges"] = true.into();
            config["process"]["capabilities"] = json!({
                "bounding": ["CAP_KILL", "CAP_CHOWN"], "permitted": ["CAP_KILL"], "effective": ["CAP_KILL"],
                "inheritable": ["CAP_KILL"], "ambient": ["CAP_KILL"],
            });
            config["linux"]["sysctl"] = json!({ "net.ipv4.ip_forward": "1", "kernel.shmmax": "65536" });
        }))
        .await;
    let expected = [
        "1024",
        "4096",
        "0077",
        "500",
        "1",
        "65536",
        "CapInh:\t0000000000000020",
        "CapPrm:\t0000000000000020",
        "CapBnd:\t0000000000000021",
        "CapAmb:\t0000000000000020",
        "NoNewPrivs:\t1",
    ];
    let lines: Vec<&str> = said.stdout.lines().collect();
    // Without new privileges execve does not even give root all that the bounding set allows.
    assert_eq!(lines, expected, "{said:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn devices_are_there_and_work() {
    let fixture = Fixture::new();
    let script = "
        for name in null zero full random urandom tty; do test -c /dev/$name || echo no $name; done
        readlink /dev/fd; readlink /dev/ptmx; head -c 3 /dev/zero | wc -c; echo x > /dev/null
        stat -c '%a %U %t %T' /dev/extra; stat -c %F /dev/pipe";
    let said = fixture
        .run(fixture.bundle_with(&["sh", "-c", script], |config| {
            config["linux"]["devices"] = json!([
                { "path": "/dev/extra", "type": "c", "major": 10, "minor": 229, "fileMode": 0o640, "uid": 33 },
                { "path": "/dev/pipe", "type": "p", "fileMode": 0o600 },
            ]);
        }))
        .await;
    assert_eq!(said.stdout, "/proc/self/fd\npts/ptmx\n3\n640 web a e5\nfifo\n", "{said:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn no_descriptor_of_the_host_comes_along() {
    let fixture = Fixture::new();
    // A careless host program: open, and not to be closed by execve.
    let leaked = std::fs::File::open("/etc/hostname").expect("opens");
    nix::fcntl::fcntl(&leaked, nix::fcntl::FcntlArg::F_SETFD(nix::fcntl::FdFlag::empty())).expect("sets");
    assert!(leaked.as_raw_fd() > 2);
    // The last one is that of ls itself.
    let bundle = fixture.bundle(&["sh", "-c", "ls /proc/self/fd; sleep 1000"]);
    let place = bundle.place.clone();
    let pid = fixture.runtime.create(bundle).await.expect("creates").pid;
    let mut session =
        fixture.runtime.attach(&place, crate::spec::AttachSpec::OUTPUT).await.expect("attaches");
    fixture.runtime.start(&place).await.expect("starts");
    let said = session.next().await.expect("talks");
    assert_eq!(said, Some(crate::runtime::session::Frame::Stdout("0\n1\n2\n3\n".into())));
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).expect("reads");
    let monitor = stat.rsplit(')').next().and_then(|rest| rest.split_whitespace().nth(1)).expect("a parent");
    let open = std::fs::read_dir(format!("/proc/{monitor}/fd")).expect("reads");
    let names: Vec<_> = open.filter_map(|fd| std::fs::read_link(fd.ok()?.path()).ok()).collect();
    assert!(!names.iter().any(|name| name.ends_with("hostname")), "{names:?}");
    let session =
        fixture.runtime.exec(&place, exec_bundle(&["ls", "/proc/self/fd"])).await.expect("executes");
    assert_eq!(text(session.output(LIMIT).await.expect("talks").0), "0\n1\n2\n3\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn namespaces_of_another_container_can_be_joined() {
    let fixture = Fixture::new();
    let first = fixture.bundle(&["sleep", "1000"]);
    let place = first.place.clone();
    let pid = fixture.runtime.create(first).await.expect("creates").pid;
    fixture.runtime.start(&place).await.expect("starts");
    let said = fixture
        .run(fixture.bundle_with(&["sh", "-c", "readlink /proc/self/ns/net; ps -o args"], |config| {
            config["linux"]["namespaces"] = json!([
                { "type": "mount" }, { "type": "uts" }, { "type": "cgroup" }, { "type": "ipc" },
                { "type": "network", "path": format!("/proc/{pid}/ns/net") },
                { "type": "pid", "path": format!("/proc/{pid}/ns/pid") },
            ]);
        }))
        .await;
    let theirs = std::fs::read_link(format!("/proc/{pid}/ns/net")).expect("reads");
    assert_eq!(said.stdout.lines().next(), theirs.to_str());
    assert!(said.stdout.contains("sleep 1000"), "{said:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_it_leaves_behind_in_the_host_s_processes_ends_with_it() {
    let fixture = Fixture::new();
    let bundle = fixture.bundle_with(&["sh", "-c", "sleep 1234 & echo $!"], |config| {
        config["linux"]["namespaces"] = json!([{ "type": "mount" }]);
        config.as_object_mut().expect("an object").remove("hostname");
        config["mounts"] = json!([{ "destination": "/proc", "type": "proc" }]);
        config["linux"]["readonlyPaths"] = json!([]);
        config["linux"]["maskedPaths"] = json!([]);
    });
    let place = bundle.place.clone();
    let said = fixture.run(bundle).await;
    let pid: u32 = said.stdout.trim().parse().expect("a number");
    assert!(!super::fixture::is_alive(pid));
    assert_eq!(fixture.left(&place), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn impossible_wishes_are_refused_before_anything_is_made() {
    let fixture = Fixture::new();
    let bundle = fixture.bundle_with(&["true"], |config| {
        config["linux"]["namespaces"] = json!([{ "type": "pid" }]);
    });
    let place = bundle.place.clone();
    let error = fixture.runtime.create(bundle).await.expect_err("it would mount on the host");
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    assert_eq!(fixture.left(&place), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn system_calls_are_filtered_even_if_the_helper_program_needs_them() {
    let fixture = Fixture::new();
    // What the helper program says and does to the end; with new privileges possible the filter goes in before the
    // last capabilities are given up, so that those calls have to be allowed.
    let said = ["sendmsg", "recvmsg", "setgroups", "setresuid", "close_range", "openat2"];
    let done = ["capset", "prctl", "capget"];
    for (no_new_privileges, user, denied) in [
        (false, "", said.to_vec()),
        (false, "web", said.to_vec()),
        (true, "", [said.as_slice(), &done].concat()),
        (true, "web", [said.as_slice(), &done].concat()),
    ] {
        let script = "mkdir /tmp/x 2>/dev/null || echo denied; grep Seccomp: /proc/self/status; id -u";
        let mut bundle = fixture.bundle_with(&["sh", "-c", script], |config| {
            config["process"]["noNewPrivileges"] = no_new_privileges.into();
            let mut names = denied.clone();
            names.extend(["mkdir", "mkdirat"]);
            config["linux"]["seccomp"] = json!({
                "defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_X86_64"],
                "syscalls": [{ "names": names, "action": "SCMP_ACT_ERRNO" }],
            });
        });
        user.clone_into(&mut bundle.user.user);
        let said = fixture.run(bundle).await;
        let uid = if user.is_empty() { "0" } else { "33" };
        assert_eq!(
            said.stdout,
            format!("denied\nSeccomp:\t2\n{uid}\n"),
            "{no_new_privileges} {user} {said:?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn limits_can_be_changed_while_it_runs() {
    let fixture = Fixture::new();
    let place = fixture.begin(fixture.bundle(&["sleep", "1000"])).await;
    let resources = serde_json::from_value(json!({ "pids": { "limit": 17 } })).expect("resources");
    fixture.runtime.update(&place, &resources).await.expect("updates");
    let found = fixture.runtime.host.cgroups.find(&place.cgroup);
    let limits = found.dirs.iter().find_map(|d| std::fs::read_to_string(format!("{d}/pids.max")).ok());
    assert_eq!(limits.as_deref().map(str::trim), Some("17"));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_kernel_s_killing_for_memory_is_told() {
    let fixture = Fixture::new();
    let said = fixture
        .run(fixture.bundle_with(
            &["sh", "-c", "x=$(head -c 100000000 /dev/zero | tr '\\0' x); echo survived"],
            |config| {
                config["linux"]["resources"] = json!({ "memory": { "limit": 16 << 20, "swap": 16 << 20 } });
            },
        ))
        .await;
    assert_eq!(said.stdout, "");
    assert!(said.exit.oom_killed, "{said:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_can_be_born_in_its_group() {
    use crate::runtime::linux::{client::Client, create, plan};
    use engine_shim::wire::Kind;

    let fixture = Fixture::new();
    let mounts = std::fs::read_to_string("/proc/self/mounts").expect("reads");
    let Some(tree) =
        mounts.lines().find_map(|line| line.split(' ').nth(1).filter(|_| line.contains(" cgroup2 ")))
    else {
        return;
    };
    let bundle = fixture.bundle(&["true"]);
    let place = &bundle.place;
    let above = format!("{tree}{}", fixture.cgroup);
    let directory = format!("{tree}{}", place.cgroup);
    std::fs::create_dir_all(&directory).expect("makes the group");
    std::fs::create_dir_all(&place.run_dir).expect("makes directory");
    let mut plan = plan::container(&bundle, &[]).expect("plans");
    plan.cgroup.born = Some(directory.clone());
    plan.cgroup.dirs = vec![directory.clone()];
    let (control, _first) = fixture.runtime.host.shim.start("test").expect("starts");
    let client = Client::over(control, place).expect("connects");
    client.send(Kind::PlanContainer, &create::encode(&plan).expect("encodes"), &[]).expect("sends");
    let created = client.expect(Kind::Created).expect("is created");
    let pid = u32::from_be_bytes(created.payload.try_into().expect("a number"));
    let groups = std::fs::read_to_string(format!("/proc/{pid}/cgroup")).expect("reads");
    assert!(groups.lines().any(|line| line == format!("0::{}", place.cgroup)), "{groups}");
    client.send(Kind::Start, &[], &[]).expect("sends");
    client.expect(Kind::Exited).expect("ends");
    assert!(!std::path::Path::new(&directory).exists(), "the monitor removes the group");
    let _ = std::fs::remove_dir(above);
}
