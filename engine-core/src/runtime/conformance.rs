//! What every [`Runtime`] has to keep to, as checks that panic where one does not.
//!
//! A check gets its bundles from the implementation's own test: each on a root directory that has a shell and the
//! usual small programs in `/bin` (busybox will do), `PATH=/bin`, `web` as user 33 in its `/etc/passwd`, and a place
//! that no other bundle has.

#![allow(clippy::expect_used, clippy::panic, reason = "a check says what is wrong by a panic")]

use std::time::Duration;

use super::driver::{Bundle, ExecBundle, ExecRecord, ExitRecord, Place, Runtime, State};
use super::session::{Frame, Session};
use crate::error::ErrorKind;
use crate::spec::{AttachSpec, Signal, TerminalSize};
use crate::sys::beneath::RootDir;

/// No check waits longer for a word.
const PATIENCE: Duration = Duration::from_secs(30);
/// More output than any check makes.
const LIMIT: usize = 4 << 20;

/// An implementation that is looked at, and a way to make bundles for it.
pub trait Candidate: Send + Sync {
    /// The runtime.
    fn runtime(&self) -> &dyn Runtime;

    /// A container that runs `command` without a terminal, in namespaces of its own.
    fn bundle(&self, command: &[&str]) -> Bundle;

    /// Another process for such a container.
    fn exec(&self, command: &[&str]) -> ExecBundle;
}

/// All checks, one after the other.
pub async fn all(candidate: &dyn Candidate) {
    exit_codes_reach_the_caller(candidate).await;
    outputs_are_kept_apart(candidate).await;
    input_ends_and_output_goes_on(candidate).await;
    nothing_runs_before_start(candidate).await;
    an_abandoned_container_leaves_nothing(candidate).await;
    the_end_is_told_to_all_who_wait(candidate).await;
    a_signal_reaches_the_program(candidate).await;
    what_cannot_run_is_told_apart(candidate).await;
    a_terminal_has_a_size(candidate).await;
    exec_runs_beside_the_program(candidate).await;
    exec_is_known_to_whoever_asks(candidate).await;
    exec_takes_input_to_its_end(candidate).await;
    exec_that_cannot_run_is_told_apart(candidate).await;
    a_paused_container_holds_still_and_goes_on(candidate).await;
    a_paused_container_can_be_ended(candidate).await;
    its_files_are_seen_from_outside(candidate).await;
    what_does_not_run_says_so(candidate).await;
    a_place_can_be_used_again(candidate).await;
}

async fn begin(candidate: &dyn Candidate, bundle: Bundle) -> Place {
    let place = bundle.place.clone();
    candidate.runtime().create(bundle).await.expect("creates");
    candidate.runtime().start(&place).await.expect("starts");
    place
}

/// Creates it, attaches to all its streams, and lets it begin.
async fn converse(candidate: &dyn Candidate, bundle: Bundle) -> (Place, Session) {
    let place = bundle.place.clone();
    candidate.runtime().create(bundle).await.expect("creates");
    let session = candidate.runtime().attach(&place, AttachSpec::ALL).await.expect("attaches");
    candidate.runtime().start(&place).await.expect("starts");
    (place, session)
}

async fn run(candidate: &dyn Candidate, bundle: Bundle) -> (String, String, ExitRecord) {
    let (place, session) = converse(candidate, bundle).await;
    let said = said(session).await;
    candidate.runtime().delete(&place).await.expect("deletes");
    said
}

async fn said(session: Session) -> (String, String, ExitRecord) {
    let (stdout, stderr, exit) = session.output(LIMIT).await.expect("talks to its end");
    let text = |bytes| String::from_utf8(bytes).expect("is text");
    (text(stdout), text(stderr), exit)
}

/// Reads until the process has said `wanted`, and gives all it said.
async fn hear(session: &mut Session, wanted: &str) -> String {
    let mut heard = String::new();
    while !heard.contains(wanted) {
        let next = tokio::time::timeout(PATIENCE, session.next()).await;
        match next.unwrap_or_else(|_| panic!("{wanted:?} did not come")).expect("talks") {
            Some(Frame::Stdout(bytes) | Frame::Stderr(bytes)) => {
                heard.push_str(&String::from_utf8_lossy(&bytes));
            }
            other => panic!("{other:?} came instead of {wanted:?}, after {heard:?}"),
        }
    }
    heard
}

fn state(candidate: &dyn Candidate, place: &Place) -> State {
    candidate.runtime().state(place).expect("has a state")
}

/// The exit code of the program, and 128 + n if signal n killed it.
pub async fn exit_codes_reach_the_caller(candidate: &dyn Candidate) {
    for (command, code) in [
        (["true"].as_slice(), 0),
        (&["false"], 1),
        (&["sh", "-c", "exit 7"], 7),
        (&["sh", "-c", "sh -c 'kill -TERM $$'; exit $?"], 143),
    ] {
        let mut bundle = candidate.bundle(command);
        bundle.run = 3;
        let (_, _, exit) = run(candidate, bundle).await;
        assert_eq!((exit.code, exit.run, exit.oom_killed), (code, 3, false), "{command:?}");
    }
}

/// What is written to one does not come out of the other, and nothing is lost.
pub async fn outputs_are_kept_apart(candidate: &dyn Candidate) {
    let script = "echo out; echo err >&2; dd if=/dev/zero bs=1000 count=300 2>/dev/null | tr '\\0' x";
    let (stdout, stderr, _) = run(candidate, candidate.bundle(&["sh", "-c", script])).await;
    assert_eq!(stderr, "err\n");
    assert_eq!((stdout.len(), stdout.get(..5)), (300_004, Some("out\nx")));
}

/// Half-close: the program reads end of file and still speaks.
pub async fn input_ends_and_output_goes_on(candidate: &dyn Candidate) {
    let mut bundle = candidate.bundle(&["sh", "-c", "cat; echo end"]);
    (bundle.streams.open_stdin, bundle.streams.stdin_once) = (true, true);
    let (place, mut session) = converse(candidate, bundle).await;
    session.input().write(b"one\n").await.expect("writes");
    assert_eq!(hear(&mut session, "one\n").await, "one\n");
    session.input().write(b"two\n").await.expect("writes");
    session.input().close().await.expect("closes");
    assert_eq!(said(session).await.0, "two\nend\n");
    candidate.runtime().delete(&place).await.expect("deletes");
}

/// A created container is built, and its program has not begun.
pub async fn nothing_runs_before_start(candidate: &dyn Candidate) {
    let bundle = candidate.bundle(&["echo", "begun"]);
    let place = bundle.place.clone();
    candidate.runtime().create(bundle).await.expect("creates");
    let mut session = candidate.runtime().attach(&place, AttachSpec::OUTPUT).await.expect("attaches");
    let silence = tokio::time::timeout(Duration::from_millis(200), session.next()).await;
    assert!(silence.is_err(), "it said something before it was started: {silence:?}");
    assert!(matches!(state(candidate, &place), State::Running { .. }));
    let error = candidate.runtime().exec(&place, candidate.exec(&["true"])).await.err();
    assert_eq!(error.map(|e| e.kind()), Some(ErrorKind::Conflict), "exec before start");
    candidate.runtime().start(&place).await.expect("starts");
    assert_eq!(said(session).await.0, "begun\n");
    candidate.runtime().delete(&place).await.expect("deletes");
}

/// Neither does it run, nor is there a record of it.
pub async fn an_abandoned_container_leaves_nothing(candidate: &dyn Candidate) {
    let bundle = candidate.bundle(&["true"]);
    let place = bundle.place.clone();
    candidate.runtime().create(bundle).await.expect("creates");
    candidate.runtime().abandon(&place).await.expect("abandons");
    candidate.runtime().abandon(&place).await.expect("may be called twice");
    assert_eq!(state(candidate, &place), State::Absent);
    assert_eq!(candidate.runtime().wait(&place).await.expect("waits"), None);
    candidate.runtime().start(&place).await.expect_err("it is not there any more");
}

/// Before the end and after it, to several.
pub async fn the_end_is_told_to_all_who_wait(candidate: &dyn Candidate) {
    let place = begin(candidate, candidate.bundle(&["sh", "-c", "sleep 0.3; exit 5"])).await;
    let runtime = candidate.runtime();
    let (a, b) = tokio::join!(runtime.wait(&place), runtime.wait(&place));
    let record = a.expect("waits").expect("ended with a record");
    assert_eq!(Some(&record), b.expect("waits").as_ref());
    assert_eq!(runtime.wait(&place).await.expect("waits").as_ref(), Some(&record), "after the end");
    assert_eq!(state(candidate, &place), State::Exited(record.clone()));
    runtime.delete(&place).await.expect("deletes");
    runtime.delete(&place).await.expect("may be called twice");
    assert_eq!(state(candidate, &place), State::Exited(record), "the record is not the runtime's to delete");
}

/// One that it handles, and the one that nothing can.
pub async fn a_signal_reaches_the_program(candidate: &dyn Candidate) {
    let script = "trap 'echo caught; exit 3' TERM; echo ready; while :; do sleep 0.05; done";
    let (place, mut session) = converse(candidate, candidate.bundle(&["sh", "-c", script])).await;
    hear(&mut session, "ready").await;
    candidate.runtime().kill(&place, Signal::TERM).await.expect("kills");
    let (stdout, _, exit) = said(session).await;
    assert_eq!((stdout.as_str(), exit.code), ("caught\n", 3));

    let place = begin(candidate, candidate.bundle(&["sleep", "1000"])).await;
    candidate.runtime().kill(&place, Signal::KILL).await.expect("kills");
    let record = candidate.runtime().wait(&place).await.expect("waits").expect("ended with a record");
    assert_eq!(record.code, 137);
    candidate.runtime().delete(&place).await.expect("deletes");
}

fn kinds() -> [(&'static [&'static str], ErrorKind); 4] {
    [
        (&["nothing-like-it"], ErrorKind::CommandNotFound),
        (&["/bin/nothing-like-it"], ErrorKind::CommandNotFound),
        (&["/etc/passwd"], ErrorKind::CommandNotExecutable),
        (&["/bin"], ErrorKind::CommandNotExecutable),
    ]
}

/// A command that is not there, one that cannot be executed, a user that nobody knows; and nothing is left of them.
pub async fn what_cannot_run_is_told_apart(candidate: &dyn Candidate) {
    let check = async |bundle: Bundle, kind: ErrorKind| {
        let (place, what) = (bundle.place.clone(), format!("{:?} {:?}", bundle.spec.process(), bundle.user));
        // Building goes on while `create` returns: whichever of the two hears of it first.
        let error = match candidate.runtime().create(bundle).await {
            Ok(_) => candidate.runtime().start(&place).await.expect_err("cannot start"),
            Err(e) => e,
        };
        assert_eq!(error.kind(), kind, "{what}: {error}");
        assert_eq!(state(candidate, &place), State::Absent, "{what}");
    };
    for (command, kind) in kinds() {
        check(candidate.bundle(command), kind).await;
    }
    for user in ["stranger", "web:strangers", "4294967296", "-1"] {
        let mut bundle = candidate.bundle(&["true"]);
        user.clone_into(&mut bundle.user.user);
        check(bundle, ErrorKind::InvalidInput).await;
    }
}

/// From the beginning, and whenever it changes.
pub async fn a_terminal_has_a_size(candidate: &dyn Candidate) {
    let script = "stty size; read line; trap 'stty size' WINCH; echo got $line; while :; do sleep 0.05; done";
    let mut bundle = candidate.bundle(&["sh", "-c", script]);
    bundle.spec.process_mut().as_mut().expect("a process").set_terminal(Some(true));
    bundle.streams.open_stdin = true;
    bundle.streams.terminal_size = Some(TerminalSize { rows: 30, columns: 90 });
    let (place, mut session) = converse(candidate, bundle).await;
    hear(&mut session, "30 90").await;
    session.input().write(b"word\n").await.expect("writes");
    hear(&mut session, "got word").await;
    candidate.runtime().resize(&place, TerminalSize { rows: 40, columns: 100 }).await.expect("resizes");
    hear(&mut session, "40 100").await;
    session.input().resize(TerminalSize { rows: 41, columns: 101 }).await.expect("resizes");
    hear(&mut session, "41 101").await;
    candidate.runtime().delete(&place).await.expect("deletes");

    let place = begin(candidate, candidate.bundle(&["sleep", "1000"])).await;
    let error = candidate.runtime().resize(&place, TerminalSize { rows: 1, columns: 1 }).await;
    assert!(error.is_err(), "there is no terminal");
    candidate.runtime().delete(&place).await.expect("deletes");
}

/// In the same namespaces, with its own streams, exit code, terminal and user.
pub async fn exec_runs_beside_the_program(candidate: &dyn Candidate) {
    let bundle = candidate.bundle(&["sh", "-c", "echo mark > /tmp/mark; sleep 1000"]);
    let (place, session) = converse(candidate, bundle).await;
    drop(session);
    let exec = async |bundle: ExecBundle| candidate.runtime().exec(&place, bundle).await.expect("executes");

    let script = "while [ ! -s /tmp/mark ]; do sleep 0.01; done; cat /tmp/mark; hostname >&2; exit 9";
    let (stdout, stderr, exit) = said(exec(candidate.exec(&["sh", "-c", script])).await).await;
    assert_eq!((stdout.as_str(), exit.code), ("mark\n", 9));
    assert!(!stderr.is_empty());

    let mut bundle = candidate.exec(&["sh", "-c", "id -u; echo $HOME"]);
    "web".clone_into(&mut bundle.user.user);
    assert_eq!(said(exec(bundle).await).await.0.lines().next(), Some("33"));

    let mut bundle = candidate.exec(&["sh", "-c", "tty > /dev/null && stty size; exit 4"]);
    bundle.process.set_terminal(Some(true));
    bundle.terminal_size = Some(TerminalSize { rows: 20, columns: 70 });
    let (stdout, _, exit) = said(exec(bundle).await).await;
    assert_eq!((stdout.trim_end(), exit.code), ("20 70", 4));

    assert!(matches!(state(candidate, &place), State::Running { .. }), "the program was not disturbed");
    candidate.runtime().delete(&place).await.expect("deletes");
}

/// By its record, while it runs and when it has ended, however that went.
pub async fn exec_is_known_to_whoever_asks(candidate: &dyn Candidate) {
    let place = begin(candidate, candidate.bundle(&["sleep", "1000"])).await;
    let exec = async |id: &str, command: &[&str]| {
        let record = ExecRecord { id: id.to_owned(), description: format!("this is {id}") };
        let bundle = ExecBundle { record: Some(record), ..candidate.exec(command) };
        candidate.runtime().exec(&place, bundle).await
    };
    let find = async |id: &str| {
        let known = candidate.runtime().execs(&place).await.expect("lists");
        known.into_iter().find(|state| state.record.id == id)
    };
    let session = exec("first", &["sh", "-c", "sleep 1; exit 5"]).await.expect("executes");
    let known = find("first").await.expect("is known");
    assert!(known.running && known.exit.is_none() && known.pid.is_some_and(|pid| pid > 1), "{known:?}");
    assert_eq!(known.record.description, "this is first");
    assert_eq!(said(session).await.2.code, 5);
    let known = find("first").await.expect("is known still");
    assert!(!known.running && known.exit.is_some_and(|(code, _)| code == 5), "{known:?}");
    exec("second", &["no-such-program"]).await.expect_err("is not there");
    let known = find("second").await.expect("is known");
    assert!(!known.running && known.pid.is_none(), "{known:?}");
    // 127 where the runtime finds out itself why.
    assert!(known.exit.is_some_and(|(code, _)| (126..=128).contains(&code)), "{known:?}");
    exec("../third", &["true"]).await.expect_err("is no name of a file");
    candidate.runtime().delete(&place).await.expect("deletes");
    assert_eq!(find("first").await, None, "it is forgotten with its container");
}

/// Standard input of another process, with half-close.
pub async fn exec_takes_input_to_its_end(candidate: &dyn Candidate) {
    let place = begin(candidate, candidate.bundle(&["sleep", "1000"])).await;
    let mut bundle = candidate.exec(&["sh", "-c", "wc -c; echo end"]);
    bundle.stdin = true;
    let mut session = candidate.runtime().exec(&place, bundle).await.expect("executes");
    session.input().write(&[b'x'; 300_000]).await.expect("writes");
    session.input().close().await.expect("closes");
    assert_eq!(said(session).await.0.trim(), "300000\nend");

    let session = candidate.runtime().exec(&place, candidate.exec(&["cat"])).await.expect("executes");
    assert_eq!(said(session).await.2.code, 0, "without input it reads end of file");
    candidate.runtime().delete(&place).await.expect("deletes");
}

/// As for a container, and the container goes on.
pub async fn exec_that_cannot_run_is_told_apart(candidate: &dyn Candidate) {
    let place = begin(candidate, candidate.bundle(&["sleep", "1000"])).await;
    for (command, kind) in kinds() {
        let error = candidate.runtime().exec(&place, candidate.exec(command)).await.expect_err("cannot run");
        assert_eq!(error.kind(), kind, "{command:?}: {error}");
    }
    let mut bundle = candidate.exec(&["true"]);
    "stranger".clone_into(&mut bundle.user.user);
    let error = candidate.runtime().exec(&place, bundle).await.expect_err("no such user");
    assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error}");
    assert!(matches!(state(candidate, &place), State::Running { .. }));
    candidate.runtime().delete(&place).await.expect("deletes");
}

fn is_paused(candidate: &dyn Candidate, place: &Place) -> bool {
    matches!(state(candidate, place), State::Running { paused: true, .. })
}

/// It does nothing while it is paused, neither do those that exec has run, and then does what it would have done.
pub async fn a_paused_container_holds_still_and_goes_on(candidate: &dyn Candidate) {
    let script = "trap 'echo caught' TERM; i=0; while :; do echo $i; i=$((i+1)); sleep 0.01; done";
    let (place, mut session) = converse(candidate, candidate.bundle(&["sh", "-c", script])).await;
    let beside = candidate.exec(&["sh", "-c", "while :; do echo beside; sleep 0.01; done"]);
    let mut beside = candidate.runtime().exec(&place, beside).await.expect("executes");
    hear(&mut session, "3").await;
    hear(&mut beside, "beside").await;
    assert!(!is_paused(candidate, &place));
    candidate.runtime().resume(&place).await.expect("one that is not paused is left as it is");
    for _ in 0..2 {
        candidate.runtime().pause(&place).await.expect("pauses");
        assert!(is_paused(candidate, &place));
        candidate.runtime().kill(&place, Signal::TERM).await.expect("is sent");
        for session in [&mut session, &mut beside] {
            // What was said before is on its way still.
            while let Ok(said) = tokio::time::timeout(Duration::from_millis(300), session.next()).await {
                let said = said.expect("talks");
                assert!(matches!(said, Some(Frame::Stdout(_))), "{said:?} from one that is paused");
            }
        }
        candidate.runtime().resume(&place).await.expect("goes on");
        assert!(!is_paused(candidate, &place));
        hear(&mut session, "caught").await;
        hear(&mut beside, "beside").await;
    }
    candidate.runtime().delete(&place).await.expect("deletes");
}

/// By a signal that means its end, and by being taken away; and what is built in its place is not paused.
pub async fn a_paused_container_can_be_ended(candidate: &dyn Candidate) {
    let first = candidate.bundle(&["sh", "-c", "trap 'exit 6' TERM; while :; do sleep 0.01; done"]);
    let mut second = candidate.bundle(&["sleep", "1000"]);
    second.place = first.place.clone();
    let place = begin(candidate, first).await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    candidate.runtime().pause(&place).await.expect("pauses");
    candidate.runtime().end(&place, Signal::TERM).await.expect("is sent");
    let ended = tokio::time::timeout(PATIENCE, candidate.runtime().wait(&place)).await;
    let record = ended.expect("it ends").expect("waits").expect("ended with a record");
    assert_eq!(record.code, 6);

    begin(candidate, second).await;
    candidate.runtime().pause(&place).await.expect("pauses");
    candidate.runtime().end(&place, Signal::KILL).await.expect("is sent");
    let ended = tokio::time::timeout(PATIENCE, candidate.runtime().wait(&place)).await;
    assert_eq!(ended.expect("it ends").expect("waits").map(|record| record.code), Some(137));

    candidate.runtime().delete(&place).await.expect("deletes");

    let (paused, mut third) = (candidate.bundle(&["sleep", "1000"]), candidate.bundle(&["true"]));
    third.place = paused.place.clone();
    let place = begin(candidate, paused).await;
    candidate.runtime().pause(&place).await.expect("pauses");
    tokio::time::timeout(PATIENCE, candidate.runtime().delete(&place)).await.expect("ends").expect("deletes");
    begin(candidate, third).await;
    assert!(!is_paused(candidate, &place));
    candidate.runtime().wait(&place).await.expect("waits");
    candidate.runtime().delete(&place).await.expect("deletes");
}

/// Its root is that of its processes, with what is mounted in it, and not the host's; not before it runs, nor after.
pub async fn its_files_are_seen_from_outside(candidate: &dyn Candidate) {
    let bundle = candidate.bundle(&["/bin/sh", "-c", "echo own > /seen; echo up; read line"]);
    let (place, mut session) = converse(candidate, bundle).await;
    hear(&mut session, "up").await;
    let root = RootDir::from(candidate.runtime().root(&place).await.expect("it runs"));
    let file = root.open_file("/seen".as_ref(), rustix::fs::OFlags::RDONLY).expect("is there");
    assert_eq!(std::io::read_to_string(file).expect("reads"), "own\n");
    assert!(!std::path::Path::new("/seen").exists(), "it is the host's root");
    candidate.runtime().kill(&place, Signal::KILL).await.expect("kills");
    candidate.runtime().wait(&place).await.expect("ends");
    assert!(candidate.runtime().root(&place).await.is_err_and(|e| e.is(ErrorKind::Conflict)));
    candidate.runtime().delete(&place).await.expect("deletes");
}

/// A container that never was, and one that has ended.
pub async fn what_does_not_run_says_so(candidate: &dyn Candidate) {
    let never = candidate.bundle(&["true"]).place;
    assert_eq!(state(candidate, &never), State::Absent);
    assert_eq!(candidate.runtime().wait(&never).await.expect("waits"), None);
    candidate.runtime().delete(&never).await.expect("deletes what never was");
    let ended = begin(candidate, candidate.bundle(&["true"])).await;
    candidate.runtime().wait(&ended).await.expect("waits");
    for place in [never, ended] {
        let kinds = [
            candidate.runtime().kill(&place, Signal::KILL).await.err(),
            candidate.runtime().attach(&place, AttachSpec::OUTPUT).await.err(),
            candidate.runtime().resize(&place, TerminalSize { rows: 1, columns: 1 }).await.err(),
            candidate.runtime().exec(&place, candidate.exec(&["true"])).await.err(),
            candidate.runtime().update(&place, &Default::default()).await.err(),
            candidate.runtime().pause(&place).await.err(),
            candidate.runtime().resume(&place).await.err(),
        ]
        .map(|error| error.map(|e| e.kind()));
        assert_eq!(kinds, [Some(ErrorKind::Conflict); 7]);
        candidate.runtime().delete(&place).await.expect("deletes");
    }
}

/// A container that ended is built again in the same place, and its record is that of the last run.
pub async fn a_place_can_be_used_again(candidate: &dyn Candidate) {
    let first = candidate.bundle(&["sh", "-c", "exit 1"]);
    let mut second = candidate.bundle(&["sh", "-c", "sleep 0.2; exit 2"]);
    second.place = first.place.clone();
    second.run = first.run + 1;
    let place = begin(candidate, first).await;
    let record = candidate.runtime().wait(&place).await.expect("waits").expect("ended with a record");
    let run = record.run;
    let twice = second.place.clone();
    begin(candidate, second).await;
    let mut third = candidate.bundle(&["true"]);
    third.place = twice;
    let error = candidate.runtime().create(third).await.expect_err("it runs");
    assert_eq!(error.kind(), ErrorKind::Conflict);
    let record = candidate.runtime().wait(&place).await.expect("waits").expect("ended with a record");
    assert_eq!((record.code, record.run), (2, run + 1));
    candidate.runtime().delete(&place).await.expect("deletes");
}
