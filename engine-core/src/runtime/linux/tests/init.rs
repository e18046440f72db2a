//! The small init.

use super::fixture::{Fixture, LIMIT, text};
use crate::runtime::driver::Runtime;
use crate::spec::{AttachSpec, Signal};

#[tokio::test(flavor = "multi_thread")]
async fn init_reaps_orphans() {
    let fixture = Fixture::new();
    // Two forks: the parent of the sleep is gone when it ends.
    let script = "sh -c 'sh -c \"sleep 0.05\" & exit'; sleep 0.4; ps -o pid,stat,args; exit 12";
    for init in [false, true] {
        let mut bundle = fixture.bundle(&["sh", "-c", script]);
        bundle.init = init;
        let said = fixture.run(bundle).await;
        assert_eq!(said.exit.code, 12);
        let zombies = said.stdout.lines().filter(|line| line.contains(" Z")).count();
        let first = said.stdout.lines().find(|line| line.trim_start().starts_with("1 ")).expect("number 1");
        assert_eq!(first.contains("engine-shim"), init, "{}", said.stdout);
        assert!(!init || zombies == 0, "{}", said.stdout);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn init_hands_on_signals_and_the_exit_code() {
    let fixture = Fixture::new();
    for (script, signal, code) in [
        ("trap 'echo caught; exit 3' TERM; echo ready; while :; do sleep 0.05; done", "TERM", 3),
        // Process 1 itself would not take this signal, but the program does.
        ("echo ready; exec sleep 1000", "TERM", 143),
        ("echo ready; exec sleep 1000", "USR1", 138),
    ] {
        let mut bundle = fixture.bundle(&["sh", "-c", script]);
        bundle.init = true;
        let place = bundle.place.clone();
        fixture.runtime.create(bundle).await.expect("creates");
        let mut session = fixture.runtime.attach(&place, AttachSpec::OUTPUT).await.expect("attaches");
        fixture.runtime.start(&place).await.expect("starts");
        session.next().await.expect("talks").expect("is ready");
        let signal: Signal = signal.parse().expect("a signal");
        fixture.runtime.kill(&place, signal).await.expect("kills");
        assert_eq!(session.output(LIMIT).await.expect("talks").2.code, code, "{script}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn init_takes_nothing_from_the_program() {
    let fixture = Fixture::new();
    let mut bundle = fixture.bundle_with(
        &["sh", "-c", "grep -E 'Cap|Sig' /proc/1/status; ls /proc/1/fd; tty"],
        |config| {
            config["process"]["terminal"] = true.into();
        },
    );
    bundle.init = true;
    let said = fixture.run(bundle).await;
    // It has no more than the program has, and keeps no descriptor but its streams and the one for signals.
    assert!(said.stdout.contains("CapEff:\t00000000a80425fb"), "{}", said.stdout);
    assert!(said.stdout.contains("/dev/pts/0"), "{}", said.stdout);

    let mut bundle = fixture.bundle(&["nothing-like-it"]);
    bundle.init = true;
    let error = fixture.refusal(bundle).await;
    assert_eq!(error.kind(), crate::ErrorKind::CommandNotFound, "{error}");

    let mut bundle = fixture.bundle(&["sh", "-c", "id -u; cat"]);
    bundle.init = true;
    bundle.streams.open_stdin = true;
    bundle.streams.stdin_once = true;
    "web".clone_into(&mut bundle.user.user);
    let place = bundle.place.clone();
    fixture.runtime.create(bundle).await.expect("creates");
    let mut session = fixture.runtime.attach(&place, AttachSpec::ALL).await.expect("attaches");
    fixture.runtime.start(&place).await.expect("starts");
    session.input().write(b"word\n").await.expect("writes");
    session.input().close().await.expect("closes");
    assert_eq!(text(session.output(LIMIT).await.expect("talks").0), "33\nword\n");
}
