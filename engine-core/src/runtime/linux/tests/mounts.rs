//! Roots and what is mounted over them.

use serde_json::{Value, json};

use super::fixture::Fixture;
use crate::runtime::driver::{Bundle, Runtime};
use crate::spec::RootMount;

fn with_mount(fixture: &Fixture, command: &[&str], mount: Value) -> Bundle {
    fixture.bundle_with(command, |config| config["mounts"].as_array_mut().expect("a list").push(mount))
}

#[tokio::test(flavor = "multi_thread")]
async fn an_overlay_keeps_its_lower_directories_as_they_are() {
    let fixture = Fixture::new();
    for name in ["top", "upper", "work"] {
        std::fs::create_dir(fixture.path(name)).expect("makes directory");
    }
    std::fs::write(fixture.path("top").join("from-top"), "top").expect("writes");
    let overlay = |upper| RootMount::Overlay {
        lower: vec![fixture.path("top"), fixture.root()],
        upper,
        volatile: true,
    };
    let script = "cat /from-top; echo new > /etc/passwd; echo x > /file; cat /etc/passwd";
    let mut bundle = fixture.bundle(&["sh", "-c", script]);
    bundle.root = vec![overlay(Some((fixture.path("upper"), fixture.path("work"))))];
    let place = bundle.place.clone();
    let said = fixture.run(bundle).await;
    assert_eq!((said.stdout.as_str(), said.stderr.as_str()), ("topnew\n", ""));
    assert!(fixture.path("upper").join("file").exists());
    let passwd = std::fs::read_to_string(fixture.root().join("etc/passwd")).expect("reads");
    assert!(passwd.starts_with("root:"), "{passwd}");
    assert_eq!(fixture.left(&place), Vec::<String>::new());

    let mut bundle = fixture.bundle(&["sh", "-c", "cat /from-top; touch /x 2>/dev/null || echo no"]);
    bundle.root = vec![overlay(None)];
    assert_eq!(fixture.run(bundle).await.stdout, "topno\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_single_layer_is_read_only() {
    let fixture = Fixture::new();
    let mut bundle = fixture.bundle(&["sh", "-c", "touch /x 2>/dev/null || echo no"]);
    bundle.root = vec![RootMount::Overlay { lower: vec![fixture.root()], upper: None, volatile: false }];
    assert_eq!(fixture.run(bundle).await.stdout, "no\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn directories_and_files_of_the_host_are_bound() {
    let fixture = Fixture::new();
    std::fs::create_dir(fixture.path("data")).expect("makes directory");
    std::fs::write(fixture.path("data/file"), "content\n").expect("writes");
    let script = "cat /mnt/deep/data/file; echo more > /mnt/deep/data/new";
    let source = fixture.path("data");
    let mount =
        json!({ "destination": "/mnt/deep/data", "source": source, "options": ["rbind", "rprivate"] });
    let said = fixture.run(with_mount(&fixture, &["sh", "-c", script], mount)).await;
    assert_eq!(said.stdout, "content\n", "{said:?}");
    assert_eq!(std::fs::read_to_string(fixture.path("data/new")).expect("was written"), "more\n");

    let script =
        "cat /etc/given; (echo x > /etc/given) 2>/dev/null || echo no; grep /etc/given /proc/self/mountinfo";
    let mount = json!({
        "destination": "/etc/given", "type": "bind", "source": fixture.path("data/file"),
        "options": ["bind", "ro", "nosuid", "nodev", "noexec", "noatime"],
    });
    let said = fixture.run(with_mount(&fixture, &["sh", "-c", script], mount)).await.stdout;
    assert!(said.starts_with("content\nno\n"), "{said}");
    assert!(said.contains("ro,nosuid,nodev,noexec,noatime"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn read_only_can_mean_the_mounts_below_too() {
    let fixture = Fixture::new();
    // /dev/shm of this host is a mount below /dev.
    for (options, written) in [(["rbind", "ro"], true), (["rbind", "rro"], false)] {
        let mount = json!({ "destination": "/mnt", "source": "/dev", "options": options });
        let script = "touch /mnt/x 2>/dev/null && echo wrote above
            touch /mnt/shm/engine-test && rm /mnt/shm/engine-test && echo wrote below";
        let said = fixture.run(with_mount(&fixture, &["sh", "-c", script], mount)).await;
        assert_eq!(said.stdout == "wrote below\n", written, "{options:?} {said:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tmpfs_has_its_options() {
    let fixture = Fixture::new();
    let mount = json!({
        "destination": "/scratch", "type": "tmpfs", "source": "tmpfs",
        "options": ["nosuid", "noexec", "size=1m", "mode=1770", "uid=33"],
    });
    let script =
        "stat -c '%a %u' /scratch; dd if=/dev/zero of=/scratch/x bs=1M count=2 2>/dev/null || echo full";
    let said = fixture.run(with_mount(&fixture, &["sh", "-c", script], mount)).await;
    assert_eq!(said.stdout, "1770 33\nfull\n", "{said:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_option_is_named() {
    let fixture = Fixture::new();
    for (mount, word) in [
        (json!({ "destination": "/x", "type": "tmpfs", "options": ["nonsense=1"] }), "nonsense"),
        (json!({ "destination": "/x", "source": "/tmp", "options": ["bind", "nonsense"] }), "nonsense"),
        (json!({ "destination": "/x", "type": "nonsense" }), "nonsense"),
        (json!({ "destination": "/x", "source": "tmp", "options": ["bind"] }), "absolute"),
        (json!({ "destination": "/x", "type": "proc", "options": ["tmpcopyup"] }), "tmpcopyup"),
    ] {
        let error = fixture.refusal(with_mount(&fixture, &["true"], mount)).await;
        assert!(error.to_string().contains(word), "{error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn cgroups_are_shown_and_not_those_of_the_host() {
    let fixture = Fixture::new();
    let script = "ls /sys/fs/cgroup/memory /sys/fs/cgroup 2>/dev/null
        mkdir /sys/fs/cgroup/x 2>/dev/null && echo wrote; echo end";
    let said = fixture.shell(script).await;
    assert!(said.contains("cgroup.procs"), "{said}");
    assert!(!said.contains("engine-test") && !said.contains("wrote"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_host_sees_no_mount_of_a_running_container() {
    let fixture = Fixture::new();
    let place = fixture.begin(fixture.bundle(&["sleep", "1000"])).await;
    let left = fixture.left(&place);
    assert!(left.iter().all(|line| !line.contains(" - ")), "{left:?}");
    fixture.runtime.delete(&place).await.expect("deletes");
}
