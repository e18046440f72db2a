//! What a hostile container or image may try, and does not get. The numbers are those of docs/security.md, which says
//! what each is about. What needs a bundle made by hand is tried in `runtime/linux/tests`.

use std::io::Read;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use crate::support::{Ran, Sandbox, eventually, fixture};

/// `engine run --rm` with flags, and a script for busybox's shell.
fn run(sandbox: &Sandbox, flags: &[&str], script: &str) -> Ran {
    sandbox.engine(&[&["run", "--rm"], flags, &["busybox", "sh", "-c", script]].concat())
}

/// A system with perl in it: a copy of this host. Perl makes system calls that no other program makes.
fn perl(sandbox: &Sandbox, flags: &[&str], script: &str) -> Ran {
    sandbox.engine(&[&["run", "--rm", "--rootfs", "/:O"], flags, &["perl", "-e", script]].concat())
}

fn sleeper(sandbox: &Sandbox, name: &str, flags: &[&str]) {
    sandbox.engine(&[&["run", "-d", "--name", name], flags, &["busybox", "sleep", "1000"]].concat()).ok();
}

/// The root file system of busybox in a directory of the test, to be tampered with.
fn root(sandbox: &Sandbox) -> PathBuf {
    let root = sandbox.dir().join("root");
    std::fs::create_dir(&root).expect("a directory");
    let tar = fixture::busybox_tar();
    crate::support::run(Command::new("tar").arg("-C").arg(&root).arg("-xf").arg(tar));
    root
}

fn inspected(sandbox: &Sandbox, name: &str, template: &str) -> String {
    sandbox.engine(&["inspect", "-f", template, name]).ok().to_owned()
}

/// The first process of a running container.
fn pid(sandbox: &Sandbox, name: &str) -> u32 {
    inspected(sandbox, name, "{{.State.Pid}}").parse().expect("a number")
}

/// The monitor of a running container.
fn monitor(sandbox: &Sandbox, name: &str) -> u32 {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", pid(sandbox, name))).expect("reads");
    let rest = stat.rsplit(')').next().expect("a name");
    rest.split_whitespace().nth(1).and_then(|parent| parent.parse().ok()).expect("a parent")
}

fn is_empty(directory: &Path) -> bool {
    std::fs::read_dir(directory).expect("reads").next().is_none()
}

#[test]
fn s01_the_helper_program_can_be_written_neither_at_start_nor_during_exec() {
    let sandbox = Sandbox::new("s01");
    sandbox.busybox();
    let said = run(&sandbox, &["--init"], "(echo x > /proc/1/exe) 2>/dev/null && echo wrote; echo end");
    assert_eq!(said.ok(), "end");
    // Whoever comes in is watched, and opened as soon as it is seen.
    let script = "while :; do for p in /proc/[0-9]*; do case $p in /proc/1|/proc/$$) ;; *) \
                  readlink $p/exe 2>/dev/null | grep -q memfd && (echo x >> $p/exe) 2>/dev/null && echo wrote;; \
                  esac; done; done";
    sandbox.engine(&["run", "-d", "--name", "watcher", "busybox", "sh", "-c", script]).ok();
    for _ in 0..15 {
        assert_eq!(sandbox.engine(&["exec", "watcher", "echo", "fine"]).ok(), "fine");
    }
    assert_eq!(sandbox.engine(&["logs", "watcher"]).ok(), "");
    sandbox.engine(&["rm", "-f", "watcher"]).ok();
}

#[test]
fn s03_no_descriptor_is_a_working_directory() {
    let sandbox = Sandbox::new("s03");
    sandbox.busybox();
    sleeper(&sandbox, "box", &[]);
    for number in 0..16 {
        let directory = format!("/proc/self/fd/{number}");
        let ran = run(&sandbox, &["-w", &directory], "pwd; ls ../../../../../../../work");
        assert_ne!(ran.code, 0, "{ran:?}");
        assert_eq!(ran.stdout, "", "{ran:?}");
        // One of them may be the container's own root.
        let ran = sandbox.engine(&["exec", "-w", &directory, "box", "readlink", "/proc/self/cwd"]);
        assert!(ran.code != 0 || ran.ok() == "/", "{ran:?}");
    }
}

#[test]
fn s04_what_the_caller_holds_open_does_not_come_along() {
    let sandbox = Sandbox::new("s04");
    sandbox.busybox();
    sleeper(&sandbox, "box", &[]);
    let engine = env!("CARGO_BIN_EXE_engine");
    for what in ["run --rm busybox", "exec box"] {
        let script =
            format!("exec 7</etc/shadow 8</ 9>/dev/null; exec {engine} {what} sh -c 'ls -l /proc/$$/fd'");
        let said = sandbox.host(&["bash", "-c", &script]);
        let lines: Vec<&str> = said.ok().lines().filter(|line| line.contains("->")).collect();
        assert_eq!(lines.len(), 3, "{said:?}");
        assert!(!said.stdout.contains("shadow"), "{said:?}");
    }
}

#[test]
fn s05_what_is_swapped_during_exec_stays_inside() {
    let sandbox = Sandbox::new("s05");
    sandbox.busybox();
    let script = "mkdir /spin; while :; do mkdir -p /spin/dir; cp /bin/busybox /spin/prog; rm -r /spin/dir; \
                  ln -s /proc/1/root/../../.. /spin/dir; ln -sf /proc/self/exe /spin/prog; rm /spin/dir /spin/prog; done";
    sandbox.engine(&["run", "-d", "--name", "spin", "busybox", "sh", "-c", script]).ok();
    for _ in 0..30 {
        let ran = sandbox.engine(&["exec", "-w", "/spin/dir", "spin", "readlink", "/proc/self/cwd"]);
        let inside = ["/", "/spin/dir", "/spin/dir (deleted)"];
        assert!(ran.code != 0 || inside.contains(&ran.ok()), "{ran:?}");
        let ran = sandbox.engine(&["exec", "spin", "/spin/prog", "echo", "fine"]);
        assert!(ran.code != 0 || ran.ok() == "fine" || ran.ok().is_empty(), "{ran:?}");
    }
    sandbox.engine(&["rm", "-f", "spin"]).ok();
}

#[test]
fn s06_no_program_of_the_host_is_an_interpreter() {
    let sandbox = Sandbox::new("s06");
    let root = root(&sandbox);
    let path = root.to_str().expect("a path");
    std::fs::write(root.join("script"), "#!/proc/self/exe\necho hi\n").expect("writes");
    crate::support::run(Command::new("chmod").arg("755").arg(root.join("script")));
    symlink("/proc/self/exe", root.join("link")).expect("links");
    for program in ["/script", "/link", "/proc/self/exe"] {
        let ran = sandbox.engine(&["run", "--rm", "--rootfs", path, program, "--help"]);
        assert!(ran.code != 0 && ran.stdout.is_empty(), "{program}: {ran:?}");
    }
}

#[test]
fn s07_variables_of_an_image_change_nothing_outside() {
    let sandbox = Sandbox::new("s07");
    sandbox.busybox();
    let flags = ["-e", "LD_PRELOAD=/evil.so", "-e", "LD_LIBRARY_PATH=/evil", "-e", "HTTP_PROXY=http://evil"];
    sleeper(&sandbox, "box", &flags);
    let environ = |pid: u32| std::fs::read_to_string(format!("/proc/{pid}/environ")).expect("reads");
    assert!(environ(pid(&sandbox, "box")).contains("evil"), "the program has them");
    assert!(!environ(monitor(&sandbox, "box")).contains("evil"), "its monitor does not");
}

#[test]
fn variables_of_the_caller_do_not_leak_in() {
    let sandbox = Sandbox::new("leakenv");
    sandbox.busybox();
    sleeper(&sandbox, "box", &[]);
    for args in [&["run", "--rm", "busybox", "env"][..], &["exec", "box", "env"]] {
        let output = sandbox.engine_command(args).env("CANARY", "d41d8cd9").output().expect("runs");
        assert!(output.status.success());
        assert!(!String::from_utf8_lossy(&output.stdout).contains("d41d8cd9"));
    }
}

#[test]
fn s09_s10_devices_of_the_image_that_are_links_are_not_followed() {
    let sandbox = Sandbox::new("s09");
    let root = root(&sandbox);
    let trap = sandbox.dir().join("trap");
    std::fs::write(&trap, "the host's").expect("writes");
    for name in ["null", "console", "ptmx", "zero"] {
        symlink(&trap, root.join("dev").join(name)).expect("links");
    }
    let path = root.to_str().expect("a path");
    let script =
        "echo gone > /dev/null; test -c /dev/null && test -c /dev/console && cat /proc/interrupts | wc -c";
    let said = sandbox.engine(&["run", "--rm", "-t", "--rootfs", path, "sh", "-c", script]);
    assert_eq!(said.ok().trim(), "0");
    assert_eq!(std::fs::read_to_string(&trap).expect("reads"), "the host's");
}

#[test]
fn s12_s13_nothing_stands_in_for_procfs() {
    let sandbox = Sandbox::new("s13");
    sandbox.busybox();
    for target in ["/proc", "/proc/self/attr", "/proc/sys/kernel", "/proc/1"] {
        let ran = run(&sandbox, &["-v", &format!("data:{target}")], "true");
        assert!(ran.code >= 125 && ran.stderr.contains("/proc"), "{target}: {ran:?}");
        let ran = run(&sandbox, &["--tmpfs", target], "true");
        assert!(ran.code >= 125, "{target}: {ran:?}");
    }
    let root = root(&sandbox);
    std::fs::remove_dir(root.join("proc")).expect("removes");
    symlink("/tmp", root.join("proc")).expect("links");
    let path = root.to_str().expect("a path");
    assert!(sandbox.engine(&["run", "--rm", "--rootfs", path, "true"]).code >= 125);
    // What programs such as lxcfs do is allowed.
    let figures = sandbox.dir().join("figures");
    std::fs::write(&figures, "3 3\n").expect("writes");
    let bind = format!("{}:/proc/uptime:ro", figures.display());
    assert_eq!(run(&sandbox, &["-v", &bind], "cat /proc/uptime").ok(), "3 3");
}

#[test]
fn s14_what_is_masked_says_nothing_and_what_is_read_only_is() {
    let sandbox = Sandbox::new("s14");
    sandbox.busybox();
    sleeper(&sandbox, "box", &[]);
    let paths = |key: &str| {
        let text =
            inspected(&sandbox, "box", &format!("{{{{range .HostConfig.{key}}}}}{{{{.}}}} {{{{end}}}}"));
        assert!(text.contains("/proc/"), "{text}");
        text
    };
    let masked = format!(
        "for p in {}; do [ -d $p ] && ls -A $p; [ -f $p ] || [ -c $p ] && cat $p; \
         (echo x > $p/x) 2>/dev/null && [ -d $p ] && echo wrote $p; done; true",
        paths("MaskedPaths")
    );
    assert_eq!(sandbox.engine(&["exec", "box", "sh", "-c", &masked]).ok(), "");
    let read_only = format!(
        "for p in {} /sys/kernel /sys/fs/cgroup; do for f in $(find $p -type f -perm -200 2>/dev/null | head -20); do \
         (: >> $f) 2>/dev/null && echo wrote $f; done; done; \
         for f in /proc/sysrq-trigger /proc/sys/kernel/core_pattern /proc/sys/kernel/hostname /proc/sys/vm/drop_caches; \
         do (echo x > $f) 2>/dev/null && echo wrote $f; done; true",
        paths("ReadonlyPaths")
    );
    assert_eq!(sandbox.engine(&["exec", "box", "sh", "-c", &read_only]).ok(), "");
    // Nor with the right to mount, if nothing else was asked for: a read-only mount of it stays that.
    let remount = "mount -o remount,rw /proc/sys 2>/dev/null; umount /proc/sys 2>/dev/null; \
                   (echo x > /proc/sys/kernel/core_pattern) 2>/dev/null && echo wrote; true";
    assert_eq!(run(&sandbox, &[], remount).ok(), "");
}

#[test]
fn s11_s15_s16_s17_no_race_on_a_shared_volume_leads_out() {
    let sandbox = Sandbox::new("s16");
    sandbox.busybox();
    let outside = sandbox.dir().join("outside");
    std::fs::create_dir(&outside).expect("a directory");
    let given = sandbox.dir().join("given");
    std::fs::create_dir(&given).expect("a directory");
    std::fs::write(given.join("inside"), "").expect("writes");
    // The other container turns the place that something is mounted at from a directory into a link that leads up
    // and out, into one to procfs, and back.
    let up = format!("{}{}", "../".repeat(20), outside.strip_prefix("/").expect("absolute").display());
    let script = format!(
        "mkdir -p /vol/a /vol/b; ln -s {up} /vol/up; ln -s {} /vol/abs; ln -s /proc/self/attr /vol/proc; \
         while :; do for l in up abs proc; do mv -T /vol/a /vol/x 2>/dev/null; cp -P /vol/$l /vol/a 2>/dev/null; \
         rm -f /vol/a; mv -T /vol/x /vol/a 2>/dev/null; done; done",
        outside.display()
    );
    sandbox
        .engine(&["run", "-d", "--name", "swapper", "-v", "shared:/vol", "busybox", "sh", "-c", &script])
        .ok();
    let bind = format!("{}:/vol/a/deep/er", given.display());
    let file = format!("{}:/vol/a/file", given.join("inside").display());
    for _ in 0..40 {
        let flags = [
            "-v",
            "shared:/vol",
            "-v",
            &bind,
            "-v",
            &file,
            "--tmpfs",
            "/vol/a/tmp",
            "--sysctl",
            "net.ipv4.ip_forward=1",
        ];
        // It may fail: what it may not do is happen elsewhere.
        let _ = run(&sandbox, &flags, "ls /vol/a");
        assert!(is_empty(&outside), "something was made outside");
    }
    assert_eq!(std::fs::read_dir(&given).expect("reads").count(), 1);
    sandbox.engine(&["rm", "-f", "swapper"]).ok();
}

/// A mount of the host that goes with its guard.
struct Mounted(PathBuf);

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).output();
    }
}

fn mount_tmpfs(at: &Path) -> Mounted {
    std::fs::create_dir_all(at).expect("a directory");
    crate::support::run(Command::new("mount").args(["-t", "tmpfs", "none"]).arg(at));
    Mounted(at.to_owned())
}

#[test]
fn s21_mounts_travel_only_where_that_was_asked_for() {
    let sandbox = Sandbox::new("s21");
    sandbox.busybox();
    let shared = mount_tmpfs(&sandbox.dir().join("host"));
    crate::support::run(Command::new("mount").arg("--make-shared").arg(&shared.0));
    for name in ["inside", "private", "slave"] {
        std::fs::create_dir(shared.0.join(name)).expect("a directory");
    }
    let here = |flags: &str| format!("{}:/host{flags}", shared.0.display());
    sleeper(&sandbox, "private", &["--privileged", "-v", &here("")]);
    sleeper(&sandbox, "slave", &["--privileged", "-v", &here(":rslave")]);
    for name in ["private", "slave"] {
        sandbox.engine(&["exec", name, "mount", "-t", "tmpfs", "none", "/host/inside"]).ok();
    }
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").expect("reads");
    assert!(!mounts.contains("/host/inside "), "a mount of the container is on the host");
    let _later = mount_tmpfs(&shared.0.join("slave"));
    let sees =
        |name: &str| sandbox.engine(&["exec", name, "grep", "-c", " /host/slave ", "/proc/mounts"]).stdout;
    assert_eq!((sees("private").trim(), sees("slave").trim()), ("0", "1"));
    sandbox.engine(&["rm", "-f", "private", "slave"]).ok();
}

#[test]
fn s23_user_files_are_read_inside_and_not_to_their_end() {
    let sandbox = Sandbox::new("s23");
    let root = root(&sandbox);
    let path = root.to_str().expect("a path").to_owned();
    let passwd = root.join("etc/passwd");
    let who = |user: &str| sandbox.engine(&["run", "--rm", "-u", user, "--rootfs", &path, "true"]);
    std::fs::write(sandbox.dir().join("outside"), "mallory:x:0:0::/:\n").expect("writes");
    std::fs::remove_file(&passwd).expect("removes");
    symlink(sandbox.dir().join("outside"), &passwd).expect("links");
    who("mallory").fails(125, ["mallory"]);
    std::fs::remove_file(&passwd).expect("removes");
    // Without end, as far as anybody can tell.
    std::fs::File::create(&passwd).and_then(|file| file.set_len(1 << 40)).expect("makes it");
    let begun = Instant::now();
    who("mallory").fails(125, ["mallory"]);
    who("12:34").ok();
    assert!(begun.elapsed() < Duration::from_secs(10));
    for odd in ["/dev/zero", "/proc/kmsg"] {
        std::fs::remove_file(&passwd).expect("removes");
        symlink(odd, &passwd).expect("links");
        who("mallory").fails(125, []);
    }
}

#[test]
fn s41_no_number_wraps_to_root() {
    let sandbox = Sandbox::new("s41");
    sandbox.busybox();
    for user in [
        "4294967296",
        "4294967295",
        "2147483648",
        "-1",
        "0x0",
        "99999999999999999999",
        "0:4294967296",
        "1:-1",
        "+0",
    ] {
        let ran = run(&sandbox, &["-u", user], "id -u");
        assert!(ran.code == 125 && ran.stdout.is_empty(), "{user}: {ran:?}");
    }
    assert_eq!(run(&sandbox, &["-u", "2147483647"], "id -u").ok(), "2147483647");
    assert_eq!(run(&sandbox, &["-u", "0010"], "id -u").ok(), "10");
}

#[test]
fn s42_groups_are_those_that_were_asked_for() {
    let sandbox = Sandbox::new("s42");
    sandbox.busybox();
    let engine = env!("CARGO_BIN_EXE_engine");
    for (flags, groups) in
        [("", "0"), ("-u 5:6", "6"), ("-u mail", "8 29"), ("-u 5:6 --group-add 77", "6 77")]
    {
        let line = format!("exec setpriv --groups 4242,4243 {engine} run --rm {flags} busybox id -G");
        assert_eq!(sandbox.host(&["bash", "-c", &line]).ok(), groups, "{flags}");
    }
}

#[test]
fn s43_no_setting_of_the_host_is_changed() {
    let sandbox = Sandbox::new("s43");
    sandbox.busybox();
    for (flags, setting) in [
        (&[][..], "kernel.core_pattern=|/evil"),
        (&[], "kernel/core_pattern=x"),
        (&[], "vm.drop_caches=3"),
        (&[], "kernel.shm_rmid_forced=1+kernel.core_pattern=x"),
        (&[], "net.ipv4.ip_forward=1\nkernel.panic=1"),
        (&[], "net.ipv4/../../kernel.panic=1"),
        (&["--network", "host"], "net.ipv4.ip_forward=1"),
        (&["--ipc", "host"], "kernel.shmmax=1"),
        (&["--ipc", "host"], "fs.mqueue.msg_max=1"),
    ] {
        let ran = run(&sandbox, &[flags, &["--sysctl", setting]].concat(), "true");
        ran.fails(125, ["sysctl"]);
    }
    assert_eq!(
        run(&sandbox, &["--sysctl", "net.ipv4.ip_forward=1"], "cat /proc/sys/net/ipv4/ip_forward").ok(),
        "1"
    );
}

#[test]
fn s45_no_capability_is_inherited_and_the_bounds_are_those_asked_for() {
    let sandbox = Sandbox::new("s45");
    sandbox.busybox();
    sleeper(
        &sandbox,
        "box",
        &["--cap-drop", "ALL", "--cap-add", "chown", "--security-opt", "no-new-privileges"],
    );
    let script = "grep -E '^(Cap|NoNewPrivs)' /proc/self/status | tr -d '\\t\\n'";
    let expected = |user: &str| {
        let set = if user == "0" { "0000000000000001" } else { "0000000000000000" };
        format!(
            "CapInh:0000000000000000CapPrm:{set}CapEff:{set}CapBnd:0000000000000001CapAmb:0000000000000000NoNewPrivs:1"
        )
    };
    for user in ["0", "33"] {
        let said = sandbox.engine(&["exec", "-u", user, "box", "sh", "-c", script]);
        assert_eq!(said.ok(), expected(user));
    }
    let all = run(&sandbox, &[], "grep -E 'CapInh|CapAmb' /proc/self/status | tr -d '\\t\\n'");
    assert_eq!(all.ok(), "CapInh:0000000000000000CapAmb:0000000000000000");
}

#[test]
fn s56_a_terminal_for_a_missing_program_leaves_nothing() {
    let sandbox = Sandbox::new("s56");
    sandbox.busybox();
    sleeper(&sandbox, "box", &[]);
    let monitor = monitor(&sandbox, "box");
    let descriptors = || std::fs::read_dir(format!("/proc/{monitor}/fd")).expect("reads").count();
    let processes =
        || sandbox.engine(&["exec", "box", "sh", "-c", "ls -d /proc/[0-9]* | wc -l"]).ok().to_owned();
    let terminals = || sandbox.engine(&["exec", "box", "sh", "-c", "ls /dev/pts | wc -l"]).ok().to_owned();
    let before = (descriptors(), processes(), terminals());
    let engine = env!("CARGO_BIN_EXE_engine");
    let line = format!("for i in $(seq 60); do {engine} exec -t box /no/such/program; done; echo $?");
    let said = sandbox.host(&["script", "-qec", &line, "/dev/null"]);
    assert!(said.ok().contains("no such file") && said.ok().trim_end().ends_with("127"), "{said:?}");
    eventually(5, "all is gone", || (descriptors(), processes(), terminals()) == before);
}

#[test]
fn s57_an_output_that_a_child_keeps_open_does_not_keep_exec() {
    let sandbox = Sandbox::new("s57");
    sandbox.busybox();
    sleeper(&sandbox, "box", &[]);
    let begun = Instant::now();
    let ran = sandbox.engine(&["exec", "box", "sh", "-c", "sleep 60 & echo said; exit 4"]);
    assert_eq!((ran.code, ran.stdout.as_str()), (4, "said\n"), "{ran:?}");
    assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
}

/// Kilobytes that a process has in memory for itself.
fn memory(pid: u32) -> u64 {
    let text = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).expect("reads");
    let line = text.lines().find(|line| line.starts_with("Pss:")).expect("a figure");
    line.split_whitespace().nth(1).and_then(|figure| figure.parse().ok()).expect("a number")
}

#[test]
fn s58_a_slow_reader_costs_no_memory() {
    let sandbox = Sandbox::new("s58");
    sandbox.busybox();
    sandbox.engine(&["run", "-d", "--name", "box", "--log-driver", "none", "busybox", "yes"]).ok();
    // Clients that read a little, and then no more.
    let mut slow: Vec<_> = (0..3)
        .map(|n| match n {
            0 => sandbox.engine_in_background(&["attach", "box"]),
            _ => sandbox.engine_in_background(&["exec", "box", "yes"]),
        })
        .collect();
    for client in &mut slow {
        let mut bytes = [0; 4096];
        client.0.stdout.as_mut().expect("a pipe").read_exact(&mut bytes).expect("reads");
    }
    std::thread::sleep(Duration::from_secs(1));
    assert!(memory(monitor(&sandbox, "box")) < 2000, "the monitor keeps what nobody reads");
    for client in &slow {
        let used = memory(client.0.id());
        assert!(used < 40_000, "a client keeps what nobody reads: {used}");
    }
}

#[test]
#[cfg(target_arch = "x86_64")]
fn s59_a_terminal_cannot_be_typed_into_from_inside() {
    let sandbox = Sandbox::new("s59");
    let engine = env!("CARGO_BIN_EXE_engine");
    // TIOCSTI, with and without high bits, and TIOCLINUX (paste).
    let script = "for my $n (0x5412, 0x100005412) { for my $c (split //, qq(evil\\n)) { my $x = $c; \
                  syscall(16, 0, $n, $x) } } my $p = pack(q(C), 3); syscall(16, 0, 0x541c, $p)";
    let line =
        format!("{engine} run --rm -it --rootfs /:O perl -e '{script}'; read -t 1 typed; echo typed=$typed.");
    let said = sandbox.host(&[
        "script",
        "-qec",
        &format!("bash -c \"{}\"", line.replace('$', "\\$").replace('"', "\\\"")),
        "/dev/null",
    ]);
    assert!(said.stdout.contains("typed=."), "{said:?}");
}

#[test]
fn s60_control_bytes_are_not_printed() {
    let sandbox = Sandbox::new("s60");
    sandbox.busybox();
    let evil = "a\u{1b}]0;owned\u{7}\rb";
    sandbox
        .engine(&["create", "--name", "box", "--label", &format!("l={evil}"), "busybox", "echo", evil])
        .ok();
    run(&sandbox, &["--name", evil], "true").fails(125, ["name"]);
    for args in [
        &["ps", "-a", "--no-trunc"][..],
        &["ps", "-a", "--format", "table {{.Labels}} {{.Command}}"],
        &["inspect", "box"],
        &["rm", evil],
        &["run", "--rm", evil],
        &["exec", "box", evil],
    ] {
        let ran = sandbox.engine(args);
        let text = [ran.stdout, ran.stderr].concat();
        assert!(!text.contains('\u{1b}') && !text.contains('\u{7}'), "{args:?}: {text:?}");
    }
}

#[test]
fn devices_that_were_not_given_cannot_be_opened() {
    let sandbox = Sandbox::new("devices");
    sandbox.busybox();
    let script = "cd /tmp; for d in 'b 8 0' 'b 254 0' 'b 259 0' 'c 1 1' 'c 1 2' 'c 1 4' 'c 1 11' 'c 10 229' 'c 4 0'; do \
                  rm -f d; mknod d $d && (: < d) 2>/dev/null && echo opened $d; done; true";
    assert_eq!(run(&sandbox, &[], script).ok(), "");
    assert_eq!(
        run(&sandbox, &["--cap-drop", "mknod"], "mknod /tmp/d c 1 3 2>/dev/null || echo refused").ok(),
        "refused"
    );
}

#[test]
#[cfg(target_arch = "x86_64")]
fn keys_of_the_host_are_out_of_reach() {
    let sandbox = Sandbox::new("keys");
    // add_key, request_key and keyctl.
    let script = "for my $n (248, 249, 250) { my $r = syscall($n, 0, 0, 0, 0, 0); print $!+0, q( ) }";
    assert_eq!(perl(&sandbox, &[], script).ok(), "1 1 1 ");
    let session = "print syscall(250, 0, -3, 0)";
    let own = sandbox.host(&["perl", "-e", session]).ok().to_owned();
    let inside = perl(&sandbox, &["--security-opt", "seccomp=unconfined"], session);
    assert!(inside.ok().parse::<i64>().is_ok_and(|id| id > 0), "{inside:?}");
    assert_ne!(inside.ok(), own);
}

#[test]
#[cfg(target_arch = "x86_64")]
fn neither_monitor_nor_neighbour_can_be_traced() {
    let sandbox = Sandbox::new("ptrace");
    sandbox.busybox();
    sleeper(&sandbox, "victim", &["--cap-add", "net_admin"]);
    let targets = [monitor(&sandbox, "victim"), pid(&sandbox, "victim"), 1];
    for target in targets {
        // PTRACE_ATTACH, and the memory by another way; even where it can be seen.
        let script = format!(
            "my $r = syscall(101, 16, {target}, 0, 0); print $r, q( ), open(my $f, q(<), q(/proc/{target}/mem)) ? 1 : 0, \
             q( ), readlink(q(/proc/{target}/root)) // q(-)"
        );
        assert_eq!(perl(&sandbox, &["--pid", "host"], &script).ok(), "-1 0 -", "{target}");
    }
}

#[test]
fn a_container_cannot_signal_its_monitor() {
    let sandbox = Sandbox::new("signal");
    sandbox.busybox();
    let script = "kill -9 -1; kill -9 0; kill -9 $(cut -d' ' -f4 /proc/1/stat); echo alive; exit 5";
    sandbox.engine(&["run", "-d", "--name", "box", "busybox", "sh", "-c", script]).ok();
    assert_eq!(sandbox.engine(&["wait", "box"]).ok(), "5");
    assert_eq!(sandbox.engine(&["logs", "box"]).ok(), "alive");
}

#[test]
fn s62_no_monitor_has_a_socket_that_a_shared_network_shows() {
    let sandbox = Sandbox::new("abstract");
    sandbox.busybox();
    sleeper(&sandbox, "box", &["--network", "host"]);
    // A container in the same network namespace: abstract names belong to that, and are open to all in it.
    assert_eq!(run(&sandbox, &["--network", "host"], "grep -c @ /proc/net/unix").stdout.trim(), "0");
    use std::os::unix::fs::PermissionsExt;
    let id = inspected(&sandbox, "box", "{{.Id}}");
    let directory = sandbox.run_root().join("containers").join(id);
    assert_eq!(std::fs::metadata(directory).expect("is there").permissions().mode() & 0o777, 0o700);
}

#[test]
fn s40_labels_and_variables_of_an_image_are_data() {
    let sandbox = Sandbox::new("s40");
    sandbox.busybox();
    // An image whose labels look like wishes.
    let tar = fixture::busybox_tar();
    let change = "LABEL privileged=true org.opencontainers.runtime=/evil io.engine.mounts=/:/host";
    let user = "ENV ENGINE_ROOT=/evil";
    sandbox.engine(&["import", "-c", change, "-c", user, tar.to_str().expect("a path"), "evil"]).ok();
    let said =
        sandbox.engine(&["run", "--rm", "evil", "sh", "-c", "grep CapEff /proc/self/status; ls -d /host"]);
    assert_eq!(said.stdout, "CapEff:\t00000000a80425fb\n", "{said:?}");
    assert_eq!(sandbox.engine(&["run", "-d", "--name", "box", "evil", "sleep", "1000"]).code, 0);
    assert_eq!(inspected(&sandbox, "box", "{{json .HostConfig.Privileged}}"), "false");
}

#[test]
fn s44_messages_of_any_length_arrive_whole_or_are_refused() {
    let sandbox = Sandbox::new("s44");
    sandbox.busybox();
    for length in [65_534, 65_535, 65_536, 65_537, 131_000] {
        let value = "x".repeat(length);
        let ran = run(&sandbox, &["-e", &format!("LONG={value}")], "echo ${#LONG}");
        assert_eq!(ran.ok(), length.to_string());
    }
    // More than the kernel takes for one variable.
    let file = sandbox.dir().join("env");
    std::fs::write(&file, format!("LONG={}\n", "x".repeat(200_000))).expect("writes");
    let ran = run(&sandbox, &["--env-file", file.to_str().expect("a path")], "true");
    assert_ne!(ran.code, 0, "{ran:?}");
}
