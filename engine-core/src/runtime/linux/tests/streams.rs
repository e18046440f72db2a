//! Output, input and the log.

use std::time::Duration;

use super::fixture::{Fixture, LIMIT, exec_bundle, text};
use crate::runtime::driver::Runtime;
use crate::runtime::session::Frame;
use crate::spec::{AttachSpec, TerminalSize};

/// The lines of a log: stream and text.
fn lines(log: &str) -> Vec<(String, String)> {
    let line = |line: &str| {
        let entry: serde_json::Value = serde_json::from_str(line).expect("a line of JSON");
        let word = |key: &str| entry[key].as_str().expect("text").to_owned();
        word("time").parse::<crate::spec::Timestamp>().expect("a time");
        (word("stream"), word("log"))
    };
    log.lines().map(line).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_has_all_output_even_if_nobody_is_attached() {
    let fixture = Fixture::new();
    let script = "echo err >&2; sleep 0.05; seq 20000; printf unfinished";
    let mut bundle = fixture.bundle(&["sh", "-c", script]);
    let log = fixture.path("log");
    bundle.streams.log = Some(log.clone());
    let place = fixture.begin(bundle).await;
    fixture.runtime.wait(&place).await.expect("waits");
    // The end is told when the log is complete.
    let lines = lines(&std::fs::read_to_string(log).expect("reads"));
    assert_eq!(lines.first(), Some(&("stderr".to_owned(), "err\n".to_owned())));
    assert_eq!(lines.last(), Some(&("stdout".to_owned(), "unfinished".to_owned())));
    let logged: String = lines.into_iter().skip(1).map(|(_, line)| line).collect();
    let expected: String = (1..=20000).map(|n| format!("{n}\n")).chain(["unfinished".to_owned()]).collect();
    assert!(expected.len() > 100_000);
    assert_eq!(logged, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_goes_on_where_an_earlier_run_ended() {
    let fixture = Fixture::new();
    let log = fixture.path("log");
    for _ in 0..2 {
        let mut bundle = fixture.bundle(&["echo", "hello"]);
        bundle.streams.log = Some(log.clone());
        let place = fixture.begin(bundle).await;
        fixture.runtime.wait(&place).await.expect("waits");
    }
    assert_eq!(lines(&std::fs::read_to_string(log).expect("reads")).len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn all_who_are_attached_hear_the_same() {
    let fixture = Fixture::new();
    let bundle = fixture.bundle(&["seq", "50000"]);
    let place = bundle.place.clone();
    fixture.runtime.create(bundle).await.expect("creates");
    let a = fixture.runtime.attach(&place, AttachSpec::OUTPUT).await.expect("attaches");
    let b = fixture.runtime.attach(&place, AttachSpec::OUTPUT).await.expect("attaches");
    let only_errors = AttachSpec::new(false, false, true);
    let c = fixture.runtime.attach(&place, only_errors).await.expect("attaches");
    fixture.runtime.start(&place).await.expect("starts");
    let (a, b, c) = tokio::join!(a.output(LIMIT), b.output(LIMIT), c.output(LIMIT));
    let (a, b, c) = (a.expect("talks"), b.expect("talks"), c.expect("talks"));
    assert!(a.0.ends_with(b"\n50000\n"));
    assert_eq!(a, b);
    assert_eq!((c.0.len(), c.2), (0, a.2));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_says_no_more_still_hears() {
    let fixture = Fixture::new();
    let mut bundle = fixture.bundle(&["sh", "-c", "cat; echo end"]);
    (bundle.streams.open_stdin, bundle.streams.stdin_once) = (true, true);
    let place = bundle.place.clone();
    fixture.runtime.create(bundle).await.expect("creates");
    let session = fixture.runtime.attach(&place, AttachSpec::ALL).await.expect("attaches");
    fixture.runtime.start(&place).await.expect("starts");
    let (mut input, mut output) = session.split();
    input.write(b"word\n").await.expect("writes");
    drop(input);
    let mut said = Vec::new();
    loop {
        match output.next().await.expect("talks") {
            Some(Frame::Stdout(bytes)) => said.extend_from_slice(&bytes),
            Some(Frame::Exited(exit)) => break assert_eq!(exit.code, 0),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(text(said), "word\nend\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn input_stays_open_for_the_next_client_unless_told_otherwise() {
    let fixture = Fixture::new();
    let mut bundle = fixture.bundle(&["cat"]);
    bundle.streams.open_stdin = true;
    let place = fixture.begin(bundle).await;
    for word in ["one\n", "two\n"] {
        let mut session = fixture.runtime.attach(&place, AttachSpec::ALL).await.expect("attaches");
        session.input().write(word.as_bytes()).await.expect("writes");
        let said = session.next().await.expect("talks").expect("speaks");
        assert_eq!(said, Frame::Stdout(word.as_bytes().to_vec().into()));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_does_not_read_does_not_keep_the_end_from_being_told() {
    let fixture = Fixture::new();
    let bundle = fixture.bundle(&["sh", "-c", "seq 30000; exit 4"]);
    let place = bundle.place.clone();
    fixture.runtime.create(bundle).await.expect("creates");
    let wedged = fixture.runtime.attach(&place, AttachSpec::OUTPUT).await.expect("attaches");
    fixture.runtime.start(&place).await.expect("starts");
    let waited = tokio::time::timeout(Duration::from_secs(10), fixture.runtime.wait(&place)).await;
    assert_eq!(waited.expect("in time").expect("waits").expect("has a record").code, 4);
    fixture.runtime.delete(&place).await.expect("deletes");
    let (stdout, ..) = wedged.output(LIMIT).await.expect("what was said is not lost");
    assert_eq!(stdout.len(), 168_894);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_terminal_merges_output_and_may_be_closed_for_a_while() {
    let fixture = Fixture::new();
    let script = "test -t 0 && test -t 2 && tty; echo err >&2; \
                  exec 3<&- 0<&- 1>&- 2>&-; sleep 0.2; exec >/dev/console; echo again";
    let mut bundle = fixture.bundle_with(&["sh", "-c", script], |config| {
        config["process"]["terminal"] = true.into();
    });
    bundle.streams.terminal_size = Some(TerminalSize { rows: 24, columns: 80 });
    let said = fixture.run(bundle).await;
    let name = "/dev/pts/0\r\n";
    assert_eq!((said.stdout, said.stderr.as_str()), (format!("{name}err\r\nagain\r\n"), ""));
}

#[tokio::test(flavor = "multi_thread")]
async fn much_output_of_exec_arrives_whole() {
    let fixture = Fixture::new();
    let place = fixture.begin(fixture.bundle(&["sleep", "1000"])).await;
    let session = fixture.runtime.exec(&place, exec_bundle(&["seq", "200000"])).await.expect("executes");
    let (stdout, _, exit) = session.output(LIMIT).await.expect("talks");
    assert_eq!((stdout.len(), exit.code), (1_288_895, 0));
    // A background process keeps the output open; that is no reason to wait for it.
    let command = ["sh", "-c", "sleep 1000 & echo done"];
    let session = fixture.runtime.exec(&place, exec_bundle(&command)).await.expect("executes");
    let ended = tokio::time::timeout(Duration::from_secs(10), session.output(LIMIT)).await;
    assert_eq!(text(ended.expect("in time").expect("talks").0), "done\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_detached_exec_outlives_its_caller() {
    let fixture = Fixture::new();
    let place = fixture.begin(fixture.bundle(&["sleep", "1000"])).await;
    let mut bundle = exec_bundle(&["sh", "-c", "sleep 0.2; seq 100000; echo ended > /tmp/ended"]);
    bundle.detach = true;
    drop(fixture.runtime.exec(&place, bundle).await.expect("executes"));
    let mark = fixture.root().join("tmp/ended");
    super::fixture::eventually("the end of the process", || {
        std::fs::read_to_string(&mark).is_ok_and(|text| text == "ended\n")
    })
    .await;
}
