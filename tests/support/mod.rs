//! What whole-system tests stand on: a store of their own in a network namespace of their own, the command line as a
//! user has it, real registries and real images. Everything goes away with its guard, also when a test fails.

#![allow(dead_code, unreachable_pub, reason = "each test program uses a part of it")]

pub mod fixture;
pub mod leaks;
pub mod oci;

use std::fmt::Write as _;
use std::io::{IoSliceMut, Write as _};
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags};

/// The command line under test.
pub const ENGINE: &str = env!("CARGO_BIN_EXE_engine");

/// A store and a network namespace of a test's own.
pub struct Sandbox {
    dir: PathBuf,
    netns: String,
}

/// How a command ended and what it said.
#[derive(Debug)]
pub struct Ran {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

impl Sandbox {
    /// A fresh one. `name` shows in paths and in the namespace, for whoever looks while it runs.
    pub fn new(name: &str) -> Sandbox {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let n = COUNT.fetch_add(1, Ordering::Relaxed);
        let id = format!("et-{}-{n}", std::process::id());
        let dir = PathBuf::from(format!("/var/tmp/engine-test-{name}-{id}"));
        std::fs::create_dir_all(&dir).expect("a directory");
        run(Command::new("ip").args(["netns", "add", &id]));
        let sandbox = Sandbox { dir, netns: id };
        sandbox.host(&["ip", "link", "set", "lo", "up"]).ok();
        sandbox
    }

    pub fn dir(&self) -> &Path {
        &self.dir
    }

    pub fn root(&self) -> PathBuf {
        self.dir.join("store")
    }

    pub fn run_root(&self) -> PathBuf {
        self.dir.join("run")
    }

    pub fn netns(&self) -> &str {
        &self.netns
    }

    /// A program of the host, in the test's network.
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new("nsenter");
        command.arg(format!("--net=/run/netns/{}", self.netns)).arg("--");
        // Who runs the tests in the background has it ignored, and that is handed down.
        command.args(["env", "--default-signal=INT", program]);
        command
            .env("ENGINE_ROOT", self.root())
            .env("ENGINE_RUN_ROOT", self.run_root())
            .env("DOCKER_CONFIG", self.dir.join("docker-config"))
            .env_remove("ENGINE_FAULT")
            .stdin(Stdio::null());
        command
    }

    /// `engine …`, not yet run.
    pub fn engine_command<S: AsRef<str>>(&self, args: &[S]) -> Command {
        let mut command = self.command(ENGINE);
        command.args(args.iter().map(AsRef::as_ref));
        command
    }

    /// `engine …`, run to its end.
    pub fn engine<S: AsRef<str>>(&self, args: &[S]) -> Ran {
        ran(self.engine_command(args).output().expect("runs"))
    }

    /// `engine …` with something on its standard input.
    pub fn engine_with_input<S: AsRef<str>>(&self, args: &[S], input: &[u8]) -> Ran {
        with_input(&mut self.engine_command(args), input)
    }

    /// `engine …` that dies, as by kill -9, at the named point.
    pub fn engine_dies_at<S: AsRef<str>>(&self, fault: &str, args: &[S]) {
        let output = self.engine_command(args).env("ENGINE_FAULT", fault).output().expect("runs");
        use std::os::unix::process::ExitStatusExt;
        assert_eq!(
            output.status.signal(),
            Some(9),
            "it was to die at {fault} and did not: {}",
            String::from_utf8_lossy(&output.stderr)
        );
    }

    /// `engine …` in the background; killed with its guard.
    pub fn engine_in_background<S: AsRef<str>>(&self, args: &[S]) -> Background {
        let child = self
            .engine_command(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("starts");
        Background(child)
    }

    /// A program of the host, run to its end in the test's network.
    pub fn host<S: AsRef<str>>(&self, words: &[S]) -> Ran {
        let (program, args) = words.split_first().expect("a program");
        ran(self.command(program.as_ref()).args(args.iter().map(AsRef::as_ref)).output().expect("runs"))
    }

    /// The image `busybox`, of one layer, imported.
    pub fn busybox(&self) {
        let tar = fixture::busybox_tar();
        let path = tar.to_str().expect("a path");
        self.engine(&["import", path, "busybox"]).ok();
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        let ids = self.engine(&["ps", "-aq", "--no-trunc"]).stdout;
        let ids: Vec<&str> = ids.lines().collect();
        if !ids.is_empty() {
            self.engine(&[&["rm", "-f", "-v"], ids.as_slice()].concat());
        }
        self.engine(&["volume", "prune", "--all", "--force"]);
        self.engine(&["system", "prune", "--all", "--volumes", "--force"]);
        let left = if std::thread::panicking() { Vec::new() } else { leaks::of(self) };
        let _ = Command::new("ip").args(["netns", "del", &self.netns]).output();
        let _ = std::fs::remove_dir_all(&self.dir);
        if !left.is_empty() {
            let mut text = String::new();
            left.iter().for_each(|line| writeln!(text, "  {line}").expect("a string"));
            panic!("the test left behind:\n{text}");
        }
    }
}

impl Ran {
    /// It went well: gives standard output without the newline at its end.
    #[track_caller]
    pub fn ok(&self) -> &str {
        assert_eq!(self.code, 0, "it failed:\n{}\n{}", self.stdout, self.stderr);
        self.stdout.trim_end_matches('\n')
    }

    /// It ended with `code` and a message that has each of `words` in it.
    #[track_caller]
    pub fn fails<const N: usize>(&self, code: i32, words: [&str; N]) {
        assert_eq!(self.code, code, "{}\n{}", self.stdout, self.stderr);
        for word in words {
            assert!(self.stderr.contains(word), "{word:?} is not in the message:\n{}", self.stderr);
        }
    }
}

/// A program that runs while the test goes on, and ends with it.
pub struct Background(pub Child);

impl Background {
    /// Waits for its end.
    pub fn wait(mut self) -> Ran {
        use std::io::Read;
        let read = |stream: Option<&mut dyn Read>| {
            let mut text = Vec::new();
            if let Some(stream) = stream {
                stream.read_to_end(&mut text).expect("reads");
            }
            String::from_utf8_lossy(&text).into_owned()
        };
        drop(self.0.stdin.take());
        let stdout = read(self.0.stdout.as_mut().map(|s| s as &mut dyn Read));
        let stderr = read(self.0.stderr.as_mut().map(|s| s as &mut dyn Read));
        let status = self.0.wait().expect("ends");
        Ran { code: code(status), stdout, stderr }
    }

    /// kill -9.
    pub fn kill(&mut self) {
        self.0.kill().expect("kills");
        self.0.wait().expect("ends");
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: &str) {
        run(Command::new("kill").args([&format!("-{signal}"), &self.0.id().to_string()]));
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn code(status: std::process::ExitStatus) -> i32 {
    use std::os::unix::process::ExitStatusExt;
    status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or(0))
}

fn ran(output: Output) -> Ran {
    Ran {
        code: code(output.status),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

/// Runs a command that has to go well.
#[track_caller]
pub fn run(command: &mut Command) -> String {
    let output = command.stdin(Stdio::null()).output().expect("runs");
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Runs a command with something on its standard input.
pub fn with_input(command: &mut Command, input: &[u8]) -> Ran {
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("starts");
    let mut stdin = child.stdin.take().expect("a pipe");
    let input = input.to_vec();
    let writer = std::thread::spawn(move || {
        // A program that does not read to the end is within its rights.
        let _ = stdin.write_all(&input);
    });
    let output = child.wait_with_output().expect("ends");
    writer.join().expect("no panic");
    ran(output)
}

/// Receives a message, and the descriptor that comes with it.
pub fn receive(connection: &UnixStream, buffer: &mut [u8]) -> (usize, Option<OwnedFd>) {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(4))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let message = rustix::net::recvmsg(
        connection,
        &mut [IoSliceMut::new(buffer)],
        &mut control,
        RecvFlags::CMSG_CLOEXEC,
    )
    .expect("receives");
    let mut passed = control.drain().filter_map(|ancillary| match ancillary {
        RecvAncillaryMessage::ScmRights(descriptors) => Some(descriptors),
        _ => None,
    });
    (message.bytes, passed.next().and_then(|mut descriptors| descriptors.next()))
}

/// Waits until something holds; the test fails if it does not within `seconds`.
#[track_caller]
pub fn eventually(seconds: u64, what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(seconds);
    while !holds() {
        assert!(Instant::now() < deadline, "it did not come to this within {seconds} s: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}
