//! System calls that somebody outside of the container is asked about (SCMP_ACT_NOTIFY): an agent that the test is
//! itself, told of the processes of bundles by the engine and by Debian's runc, and of containers of `engine run`.

use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::ioctl::{Updater, opcode};
use serde_json::{Value, json};

use crate::support::oci::{self, Bundle, Oci};
use crate::support::{Sandbox, eventually, receive};

/// The error of a call that would make a directory. No kernel has it for one.
const EDOM: i32 = 33;

/// An agent: no directory is made, and a change of a mode is said to be done.
struct Agent {
    path: PathBuf,
    told: Receiver<(Value, UnixStream)>,
    /// The connection ends with what is told, as the specification wants it. runc keeps it for as long as it runs.
    ends: bool,
}

impl Agent {
    /// One that listens in the directory of the runtime.
    fn of(oci: &Oci) -> Agent {
        Agent { ends: oci.is_engine(), ..Agent::listen(oci.dir()) }
    }

    /// One that listens in the directory.
    fn listen(directory: &Path) -> Agent {
        let path = directory.join("agent");
        let listener = UnixListener::bind(&path).expect("listens");
        let (tell, told) = channel();
        // It ends with the test program, or when a test has ended and nobody listens any more.
        std::thread::spawn(move || {
            while let Ok((connection, _)) = listener.accept() {
                let tell = tell.clone();
                std::thread::spawn(move || serve(connection, &tell));
            }
        });
        Agent { path, told, ends: true }
    }

    /// What it was told of the next process.
    #[track_caller]
    fn told(&self) -> Value {
        let told = self.told.recv_timeout(Duration::from_secs(20));
        let (state, connection) = told.expect("the agent is told of a process");
        if self.ends {
            connection.set_read_timeout(Some(Duration::from_secs(10))).expect("sets");
            assert_eq!(receive(&connection, &mut [0; 1]).0, 0, "the connection ends");
        }
        state
    }

    /// Nobody told it anything more.
    #[track_caller]
    fn is_left_alone(&self) {
        if let Ok((state, _)) = self.told.try_recv() {
            panic!("the agent was told of {state}");
        }
    }

    /// A profile that asks this agent.
    fn profile(&self) -> Value {
        let rule = json!({
            "names": ["mkdir", "mkdirat", "chmod", "fchmodat", "fchmodat2"], "action": "SCMP_ACT_NOTIFY",
        });
        json!({
            "defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_X86_64"],
            "listenerPath": self.path, "listenerMetadata": "a \"word\"", "syscalls": [rule],
        })
    }
}

/// Takes what is told over one connection, and answers for the process from then on.
fn serve(connection: UnixStream, tell: &Sender<(Value, UnixStream)>) {
    let mut text = vec![0; 65536];
    let (length, listener) = receive(&connection, &mut text);
    let state: Value = serde_json::from_slice(&text[..length]).expect("one message is the whole state");
    let listener = listener.expect("the listener comes along");
    let _ = tell.send((state, connection));
    loop {
        let mut fds = [PollFd::new(&listener, PollFlags::IN)];
        poll(&mut fds, Some(&Timespec { tv_sec: 60, tv_nsec: 0 })).expect("polls");
        if !fds[0].revents().contains(PollFlags::IN) {
            return;
        }
        answer(&listener);
    }
}

/// `struct seccomp_notif`.
#[repr(C)]
#[derive(Default)]
struct Notification {
    id: u64,
    pid: u32,
    flags: u32,
    number: i32,
    architecture: u32,
    instruction: u64,
    arguments: [u64; 6],
}

/// `struct seccomp_notif_resp`.
#[repr(C)]
struct Response {
    id: u64,
    value: i64,
    error: i32,
    flags: u32,
}

/// Answers one call.
#[expect(unsafe_code, reason = "the requests of a listener are not in the library")]
fn answer(listener: &OwnedFd) {
    const RECEIVE: u32 = opcode::read_write::<Notification>(b'!', 0);
    const SEND: u32 = opcode::read_write::<Response>(b'!', 1);
    let mut call = Notification::default();
    // SAFETY: the request fills a `struct seccomp_notif`, which is what it is given.
    if unsafe { rustix::ioctl::ioctl(listener, Updater::<RECEIVE, _>::new(&mut call)) }.is_err() {
        // Who asked is gone.
        return;
    }
    // mkdir and mkdirat of x86-64.
    let error = if matches!(call.number, 83 | 258) { -EDOM } else { 0 };
    let mut response = Response { id: call.id, value: 0, error, flags: 0 };
    // SAFETY: the request reads a `struct seccomp_notif_resp`, which is what it is given.
    let _ = unsafe { rustix::ioctl::ioctl(listener, Updater::<SEND, _>::new(&mut response)) };
}

/// Makes a directory, and changes a mode: what the agent says comes to pass.
const SCRIPT: &str = "mkdir /made 2>&1; ls -d /made 2>&1; chmod 700 /tmp && stat -c %a /tmp";
const SAID: &str = "mkdir: can't create directory '/made': Numerical argument out of domain
ls: /made: No such file or directory
1777";

fn asking(oci: &Oci, agent: &Agent, script: &str) -> Bundle {
    oci.bundle(script).with(|config| config["linux"]["seccomp"] = agent.profile())
}

/// What the agent is to be told.
fn state(of: &Value, pid: u64, status: &str, bundle: &Bundle) -> Value {
    json!({
        "ociVersion": of["ociVersion"], "fds": ["seccompFd"], "pid": pid, "metadata": "a \"word\"",
        "state": {
            "ociVersion": of["state"]["ociVersion"], "id": of["state"]["id"], "status": status,
            "pid": of["state"]["pid"], "bundle": bundle.path(), "annotations": { "org.example.key": "value" },
        },
    })
}

#[test]
fn an_agent_decides_about_the_calls_of_a_bundle() {
    oci::with_both("notify", |oci| {
        let agent = Agent::of(oci);
        for privileges in [false, true] {
            let bundle = asking(oci, &agent, &format!("{SCRIPT}; exec sleep 60"))
                .with(|config| config["process"]["noNewPrivileges"] = json!(privileges))
                .with(|config| {
                    // Debian's runc does not know this one.
                    let killable = "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV";
                    let flags = if oci.is_engine() { json!([killable]) } else { json!([]) };
                    config["linux"]["seccomp"]["flags"] = flags;
                });
            let id = oci.id(&format!("notify-{privileges}"));
            let (created, said) = oci.run_command(oci.command(&["create", "-b", bundle.path(), &id]));
            created.ok();
            // The agent knows of the container when it was created.
            let told = agent.told();
            let pid = oci.state(&id)["pid"].as_u64().expect("has a number");
            assert_eq!(told, state(&told, pid, "creating", &bundle));
            assert_eq!((&told["state"]["id"], told["state"]["pid"].as_u64()), (&json!(id), Some(pid)));
            oci.run(&["start", &id]).ok();
            let read = || std::fs::read_to_string(&said).expect("reads");
            eventually(10, "it has asked", || read().lines().count() == 3);
            assert_eq!(read().trim_end(), SAID);

            // Another process has a filter of its own.
            let pid_file = oci.dir().join(format!("exec-{privileges}"));
            let words = ["exec", "--pid-file", pid_file.to_str().expect("a path"), &id, "sh", "-c", SCRIPT];
            assert_eq!(oci.run(&words).ok(), SAID);
            let told = agent.told();
            let number = std::fs::read_to_string(&pid_file).expect("reads").parse().expect("a number");
            assert_eq!(told, state(&told, number, "running", &bundle));
            assert_eq!(told["state"]["pid"].as_u64(), Some(pid));

            // Also of one that is handed descriptors, which take the numbers that they had.
            let command = oci.command(&[
                "exec",
                "--preserve-fds",
                "6",
                &id,
                "sh",
                "-c",
                "cat <&8; mkdir /made 2>&1; true",
            ]);
            let mut shell = oci.sandbox().command("sh");
            let null = "3</dev/null 4<&3 5<&3 6<&3 7<&3";
            shell.args(["-c", &format!("exec \"$@\" {null} 8<<-END\n\thanded on\n\tEND\n"), "sh"]);
            shell.arg(command.get_program()).args(command.get_args());
            let said = oci.run_command(shell).0;
            assert!(said.ok().starts_with("handed on\nmkdir:"), "{said:?}");
            agent.told();
            oci.run(&["delete", "--force", &id]).ok();
        }
        agent.is_left_alone();
    });
}

#[test]
fn a_profile_without_its_agent_is_refused_and_an_agent_that_nobody_asks_is_left_alone() {
    oci::with_both("notify-none", |oci| {
        let agent = Agent::of(oci);
        let refused = |bundle: &Bundle| {
            let ran = oci.run_bundle(bundle);
            assert_eq!(ran.code, 1, "it ran: {}", ran.stdout);
            ran.stderr
        };
        let bundle = asking(oci, &agent, SCRIPT);
        let seccomp = |change: fn(&mut Value)| {
            let bundle = asking(oci, &agent, SCRIPT);
            bundle.with(|config| change(&mut config["linux"]["seccomp"]))
        };
        let without =
            seccomp(|seccomp| drop(seccomp.as_object_mut().expect("is one").remove("listenerPath")));
        let said = refused(&without);
        assert!(said.contains("listenerPath is not set"), "{said}");
        // The call by which the listener is handed over is asked about by none of the two.
        let silent = seccomp(|seccomp| seccomp["syscalls"][0]["names"] = json!(["sendmsg", "write"]));
        let said = refused(&silent);
        assert!(said.contains(if oci.is_engine() { "sendmsg" } else { "write" }), "{said}");
        agent.is_left_alone();

        let plain = seccomp(|seccomp| seccomp["syscalls"][0]["action"] = json!("SCMP_ACT_LOG"));
        assert_eq!(oci.run_bundle(&plain).ok(), "/made\n700");
        agent.is_left_alone();

        // There is nobody at the socket.
        std::fs::remove_file(&agent.path).expect("removes");
        let said = refused(&bundle);
        assert!(said.contains(agent.path.to_str().expect("a path")), "{said}");
    });
}

/// A container that is created waits under its filter, and its hooks run under it.
#[test]
fn what_is_used_until_the_start_has_to_be_allowed() {
    let oci = Oci::engine("notify-start");
    let agent = Agent::of(&oci);
    let hook = json!({ "path": "/bin/sh", "args": ["sh", "-c", "echo hook >/hooked"] });
    let bundle = asking(&oci, &agent, "cat /hooked").with(|config| {
        config["hooks"] = json!({ "startContainer": [hook] });
        let names = ["clone3"];
        let rule = json!({ "names": names, "action": "SCMP_ACT_ERRNO", "errnoRet": 38 });
        config["linux"]["seccomp"]["syscalls"].as_array_mut().expect("a list").push(rule);
    });
    assert_eq!(oci.run_bundle(&bundle).ok(), "hook");
    agent.told();
    let bundle = bundle.with(|config| {
        let rule = json!({ "names": ["accept4"], "action": "SCMP_ACT_ERRNO" });
        config["linux"]["seccomp"]["syscalls"].as_array_mut().expect("a list").push(rule);
    });
    oci.run_bundle(&bundle).fails(1, ["the call accept4"]);
    let bundle = bundle.with(|config| config["linux"]["seccomp"]["listenerPath"] = json!("agent"));
    oci.run_bundle(&bundle).fails(1, ["listenerPath agent", "not an absolute path"]);
    agent.is_left_alone();
}

#[test]
fn an_agent_is_told_of_a_process_with_users_of_its_own() {
    let oci = Oci::engine("notify-users");
    let agent = Agent::of(&oci);
    let bundle = asking(&oci, &agent, &format!("cut -d' ' -f1 /proc/self/stat; {SCRIPT}")).with(|config| {
        let mapping = json!([{ "containerID": 0, "hostID": 100_000, "size": 65536 }]);
        config["linux"]["uidMappings"] = mapping.clone();
        config["linux"]["gidMappings"] = mapping;
        let namespaces = config["linux"]["namespaces"].as_array_mut().expect("a list");
        namespaces.push(json!({ "type": "user" }));
    });
    crate::support::run(
        std::process::Command::new("chown").args(["-R", "100000:100000"]).arg(bundle.rootfs()),
    );
    let said = oci.run_bundle(&bundle);
    assert!(said.ok().ends_with(SAID), "{}", said.stdout);
    assert!(agent.told()["pid"].as_u64().is_some_and(|pid| pid > 10), "it is the host's number");
}

#[test]
fn an_agent_decides_for_containers_of_a_profile_in_a_file() {
    let sandbox = Sandbox::new("notify-run");
    sandbox.busybox();
    let agent = Agent::listen(sandbox.dir());
    let profile = sandbox.dir().join("profile.json");
    std::fs::write(&profile, agent.profile().to_string()).expect("writes");
    let profile = format!("seccomp={}", profile.display());
    let options = ["--security-opt", &profile, "--annotation", "a.b=c", "--network", "none"];

    let run = [&["run", "--rm"], options.as_slice(), &["busybox", "sh", "-c", SCRIPT]].concat();
    assert_eq!(sandbox.engine(&run).ok(), SAID);
    let told = agent.told();
    assert_eq!((&told["fds"], &told["metadata"]), (&json!(["seccompFd"]), &json!("a \"word\"")));
    assert_eq!((&told["pid"], &told["state"]["status"]), (&told["state"]["pid"], &json!("creating")));
    assert_eq!(told["state"]["annotations"], json!({ "a.b": "c" }));

    let health = ["--health-cmd", "mkdir /made", "--health-interval", "1s", "--name", "web"];
    let run = [&["run", "-d", "--init"], health.as_slice(), &options, &["busybox", "sleep", "60"]].concat();
    let id = sandbox.engine(&run).ok().to_owned();
    let container = agent.told();
    assert_eq!(container["state"]["id"], json!(id));
    assert_eq!(sandbox.engine(&["exec", "web", "sh", "-c", SCRIPT]).ok(), SAID);
    let log = ["inspect", "--format", "{{range .State.Health.Log}}{{.Output}}{{end}}", "web"];
    eventually(20, "a check has asked", || sandbox.engine(&log).ok().contains("argument out of domain"));
    for _ in 0..2 {
        let told = agent.told();
        assert_eq!(told["state"]["status"], json!("running"));
        assert_ne!(told["pid"], told["state"]["pid"]);
        assert_eq!(told["state"]["pid"], container["pid"]);
        assert_eq!(told["state"]["annotations"], json!({ "a.b": "c" }));
    }

    // It is told of every life.
    let policy = ["--restart", "on-failure:1", "--name", "again"];
    let run = [&["run", "-d"], policy.as_slice(), &options, &["busybox", "sh", "-c", "exit 3"]].concat();
    sandbox.engine(&run).ok();
    let lives = [(); 2]
        .map(|()| std::iter::repeat_with(|| agent.told()).find(|told| told["state"]["status"] == "creating"));
    assert_ne!(lives[0], lives[1]);
    sandbox.engine(&["rm", "-f", "again"]).ok();

    // Without its agent nothing of it begins.
    std::fs::remove_file(&agent.path).expect("removes");
    sandbox.engine(&["exec", "web", "true"]).fails(1, ["the seccomp agent at"]);
    sandbox.engine(&["rm", "-f", "web"]).ok();
    let run = [&["run", "--rm"], options.as_slice(), &["busybox", "true"]].concat();
    sandbox.engine(&run).fails(125, ["the seccomp agent at"]);
}
