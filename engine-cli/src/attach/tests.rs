//! The attachment as a whole: this very program is started again on a terminal or pipes of the test's, and the test
//! plays the shim at the other end of the connection.

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal as Kill, kill_process};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{LocalModes, Winsize, tcgetattr, tcsetwinsize};

use super::*;

/// Names the socket, for the program under test.
const SOCKET: &str = "ENGINE_CLI_ATTACH_TEST";
/// Whether that program is to stand in for a terminal.
const TTY: &str = "ENGINE_CLI_ATTACH_TEST_TTY";
/// Whether that program is to make the process draw its screen anew.
const DRAWN: &str = "ENGINE_CLI_ATTACH_TEST_DRAWN";

const STDIN: u8 = 0;
const STDOUT: u8 = 1;
const STDERR: u8 = 2;
const STDIN_END: u8 = 20;
const RESIZE: u8 = 21;
const EXITED: u8 = 35;

/// Not a test of its own: the program that the tests below start.
#[test]
#[ignore = "started by the other tests"]
#[expect(
    clippy::disallowed_methods,
    clippy::exit,
    reason = "it is a program of its own, whose code the test looks at"
)]
fn program_under_test() {
    let Some(path) = std::env::var_os(SOCKET) else { return };
    let tty = std::env::var_os(TTY).is_some();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let ended = runtime.block_on(async {
        let screen = if std::env::var_os(DRAWN).is_some() { Screen::Drawn } else { Screen::Known };
        let how = How { tty, stdin: true, proxy: false, keys: DetachKeys::default(), screen };
        let attachment = Attachment::prepare(how).expect("prepared");
        let socket = tokio::net::UnixStream::connect(path).await.expect("connected");
        attach(Session::over(socket), None, attachment).await
    });
    std::process::exit(match ended {
        Ok(Ended::Exited(record)) => record.code,
        Ok(Ended::Detached) => 100,
        Ok(Ended::Lost) => 101,
        Ok(Ended::Interrupted(number)) => 128 + number,
        Err(failure) => i32::from(failure.code()),
    });
}

/// The program, and the connection to it. Ends it when dropped.
struct Program {
    child: Child,
    shim: UnixStream,
    socket: PathBuf,
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_file(&self.socket);
    }
}

impl Program {
    fn start(flags: &[&str], stdin: Stdio, stdout: Stdio, stderr: Stdio) -> Program {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name =
            format!("engine-cli-attach-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let socket = std::env::temp_dir().join(name);
        let listener = UnixListener::bind(&socket).expect("bound");
        let mut command = Command::new(std::env::current_exe().expect("this program"));
        command
            .args(["attach::tests::program_under_test", "--exact", "--ignored", "--nocapture", "--quiet"])
            .env(SOCKET, &socket)
            .envs(flags.iter().map(|flag| (flag, "1")))
            .stdin(stdin)
            .stdout(stdout)
            .stderr(stderr);
        let child = command.spawn().expect("started");
        let (shim, _) = listener.accept().expect("it connects");
        shim.set_read_timeout(Some(Duration::from_secs(20))).expect("set");
        Program { child, shim, socket }
    }

    fn say(&mut self, kind: u8, payload: &[u8]) {
        let length = u32::try_from(payload.len()).expect("short").to_be_bytes();
        let mut frame = vec![kind, 0, 0, 0];
        frame.extend(length);
        frame.extend(payload);
        self.shim.write_all(&frame).expect("sent");
    }

    /// The process ends with this code; the program's own code.
    fn end(&mut self, code: i32) -> i32 {
        let mut payload = code.to_be_bytes().to_vec();
        payload.extend([0; 17]);
        self.say(EXITED, &payload);
        self.code()
    }

    fn code(&mut self) -> i32 {
        self.child.wait().expect("it ends").code().expect("by itself")
    }

    fn hear(&mut self) -> (u8, Vec<u8>) {
        let mut header = [0; 8];
        self.shim.read_exact(&mut header).expect("a frame");
        let [kind, _, _, _, a, b, c, d] = header;
        let mut payload = vec![0; u32::from_be_bytes([a, b, c, d]) as usize];
        self.shim.read_exact(&mut payload).expect("its payload");
        (kind, payload)
    }

    /// What comes for standard input, put together until it is as long as expected.
    fn hear_input(&mut self, length: usize) -> Vec<u8> {
        let mut bytes = Vec::new();
        while bytes.len() < length {
            let (kind, payload) = self.hear();
            assert_eq!(kind, STDIN);
            bytes.extend(payload);
        }
        bytes
    }
}

/// A terminal of the test's own.
struct Terminal {
    master: File,
    slave: File,
}

impl Terminal {
    fn new() -> Terminal {
        let master: OwnedFd = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).expect("a pty");
        grantpt(&master).and_then(|()| unlockpt(&master)).expect("granted");
        let name = ptsname(&master, Vec::new()).expect("named").into_string().expect("UTF-8");
        let slave = OpenOptions::new().read(true).write(true).open(name).expect("opens");
        let terminal = Terminal { master: master.into(), slave };
        terminal.resize(24, 80);
        terminal
    }

    fn resize(&self, rows: u16, columns: u16) {
        let size = Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
        tcsetwinsize(self.master.as_fd(), size).expect("resized");
    }

    fn start(&self) -> Program {
        self.start_with(&[TTY])
    }

    fn start_with(&self, flags: &[&str]) -> Program {
        let stream = || Stdio::from(self.slave.try_clone().expect("cloned"));
        let program = Program::start(flags, stream(), stream(), stream());
        let deadline = Instant::now() + Duration::from_secs(20);
        while self.is_cooked() {
            assert!(Instant::now() < deadline, "the terminal does not become raw");
            std::thread::sleep(Duration::from_millis(2));
        }
        program
    }

    fn is_cooked(&self) -> bool {
        tcgetattr(&self.slave).expect("a terminal").local_modes.contains(LocalModes::ICANON)
    }

    fn type_in(&mut self, keys: &[u8]) {
        self.master.write_all(keys).expect("typed");
    }

    /// Reads what is shown until `text` is among it.
    fn shows(&mut self, text: &str) -> bool {
        let mut seen = Vec::new();
        let mut buffer = [0; 1024];
        while !String::from_utf8_lossy(&seen).contains(text) {
            match self.master.read(&mut buffer) {
                Ok(read @ 1..) => seen.extend(&buffer[..read]),
                _ => return false,
            }
        }
        true
    }
}

#[test]
fn a_terminal_is_raw_while_it_is_attached_and_as_before_afterwards() {
    let mut terminal = Terminal::new();
    let mut program = terminal.start();
    program.say(STDOUT, b"hello from inside\n");
    assert!(terminal.shows("hello from inside"));
    // In raw mode neither the carriage return nor the interrupt is for this side.
    terminal.type_in(b"ls\r\x03");
    assert_eq!(program.hear_input(4), b"ls\r\x03");
    assert_eq!(program.end(7), 7);
    assert!(terminal.is_cooked());
}

#[test]
fn a_window_that_changes_is_told() {
    let terminal = Terminal::new();
    let mut program = terminal.start();
    terminal.resize(50, 132);
    kill_process(Pid::from_child(&program.child), Kill::WINCH).expect("sent");
    assert_eq!(program.hear(), (RESIZE, vec![0, 50, 0, 132]));
    assert_eq!(program.end(0), 0);
}

#[test]
fn a_screen_that_was_drawn_elsewhere_is_drawn_anew() {
    let terminal = Terminal::new();
    let mut program = terminal.start_with(&[TTY, DRAWN]);
    assert_eq!(program.hear(), (RESIZE, vec![0, 25, 0, 81]));
    assert_eq!(program.hear(), (RESIZE, vec![0, 24, 0, 80]));
    assert_eq!(program.end(0), 0);
}

#[test]
fn the_detach_keys_leave_the_process_and_a_part_of_them_does_not() {
    let mut terminal = Terminal::new();
    let mut program = terminal.start();
    terminal.type_in(b"a\x10b");
    assert_eq!(program.hear_input(3), b"a\x10b");
    terminal.type_in(b"\x10\x11");
    assert_eq!(program.code(), 100);
    assert!(terminal.is_cooked());
}

#[test]
fn a_signal_that_ends_this_program_gives_the_terminal_back_first() {
    let terminal = Terminal::new();
    let mut program = terminal.start();
    kill_process(Pid::from_child(&program.child), Kill::TERM).expect("sent");
    assert_eq!(program.code(), 143);
    assert!(terminal.is_cooked());
}

#[test]
fn a_connection_that_breaks_gives_the_terminal_back_too() {
    let terminal = Terminal::new();
    let mut program = terminal.start();
    program.shim.shutdown(std::net::Shutdown::Both).expect("shut down");
    assert_eq!(program.code(), 101);
    assert!(terminal.is_cooked());
}

#[test]
fn streams_keep_apart_and_the_end_of_input_is_passed_on() {
    let mut program = Program::start(&[], Stdio::piped(), Stdio::piped(), Stdio::piped());
    let mut stdin = program.child.stdin.take().expect("piped");
    // Without a terminal, the detach keys are bytes like any other.
    stdin.write_all(b"in\x10\x11put").expect("written");
    assert_eq!(program.hear_input(7), b"in\x10\x11put");
    drop(stdin);
    assert_eq!(program.hear(), (STDIN_END, Vec::new()));
    program.say(STDOUT, b"to stdout");
    program.say(STDERR, b"to stderr");
    assert_eq!(program.end(3), 3);
    let (mut stdout, mut stderr) = (String::new(), String::new());
    program.child.stdout.take().expect("piped").read_to_string(&mut stdout).expect("read");
    program.child.stderr.take().expect("piped").read_to_string(&mut stderr).expect("read");
    // The test harness says a word of its own on standard output.
    assert!(stdout.ends_with("to stdout") && !stdout.contains("to stderr"), "{stdout:?}");
    assert_eq!(stderr, "to stderr");
}

#[test]
fn a_reader_that_stalls_does_not_keep_input_from_the_process() {
    let mut program = Program::start(&[], Stdio::piped(), Stdio::piped(), Stdio::null());
    // More than a pipe holds, read by nobody; the connection has to hold the rest of it.
    program.shim.set_write_timeout(Some(Duration::from_secs(20))).expect("set");
    for _ in 0..6 {
        program.say(STDOUT, &[b'x'; 16 << 10]);
    }
    let mut stdin = program.child.stdin.take().expect("piped");
    stdin.write_all(b"still here").expect("written");
    assert_eq!(program.hear_input(10), b"still here");
    let mut stdout = program.child.stdout.take().expect("piped");
    let reader = std::thread::spawn(move || {
        let mut bytes = Vec::new();
        stdout.read_to_end(&mut bytes).map(|_| bytes.iter().filter(|b| **b == b'x').count())
    });
    assert_eq!(program.end(0), 0);
    assert!(reader.join().expect("joined").expect("read") >= 6 * (16 << 10));
}

#[test]
fn a_reader_that_goes_away_ends_this_program_quietly() {
    let mut program = Program::start(&[], Stdio::null(), Stdio::piped(), Stdio::piped());
    drop(program.child.stdout.take());
    program.say(STDOUT, b"into the void");
    assert_eq!(program.code(), 141);
    let mut stderr = String::new();
    program.child.stderr.take().expect("piped").read_to_string(&mut stderr).expect("read");
    assert_eq!(stderr, "");
}
