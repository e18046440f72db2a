//! Roots that were made to lead out of the container.

use std::os::unix::fs::symlink;

use serde_json::json;

use super::fixture::{Fixture, LIMIT, exec_bundle, text};
use crate::ErrorKind;
use crate::runtime::driver::Runtime;

#[tokio::test(flavor = "multi_thread")]
async fn a_root_whose_system_directories_are_links_is_refused() {
    for name in ["proc", "sys", "dev"] {
        let fixture = Fixture::new();
        let trap = fixture.path("trap");
        std::fs::create_dir(&trap).expect("makes directory");
        std::fs::remove_dir(fixture.root().join(name)).expect("removes");
        symlink(&trap, fixture.root().join(name)).expect("links");
        let bundle = fixture.bundle(&["true"]);
        let place = bundle.place.clone();
        let error = fixture.refusal(bundle).await;
        assert!(error.to_string().contains(name), "{error}");
        assert_eq!(std::fs::read_dir(&trap).expect("reads").count(), 0, "something was made outside");
        assert_eq!(fixture.left(&place), Vec::<String>::new());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mount_s_target_stays_inside_whatever_links_say() {
    let fixture = Fixture::new();
    let outside = fixture.path("outside");
    std::fs::create_dir(&outside).expect("makes directory");
    for (link, target) in [("absolute", outside.clone()), ("relative", "../../../../../../outside".into())] {
        symlink(target, fixture.root().join(link)).expect("links");
    }
    symlink(outside.join("file"), fixture.root().join("file-link")).expect("links");
    std::fs::write(fixture.path("given"), "given\n").expect("writes");
    let said = fixture
        .run(fixture.bundle_with(&["sh", "-c", "cat /file-link; ls /absolute/deep /relative/deep"], |config| {
            let mounts = config["mounts"].as_array_mut().expect("a list");
            mounts.push(json!({ "destination": "/absolute/deep", "type": "tmpfs" }));
            mounts.push(json!({ "destination": "/relative/deep", "type": "tmpfs" }));
            mounts.push(json!({ "destination": "/file-link", "source": fixture.path("given"), "options": ["bind"] }));
        }))
        .await;
    assert!(said.stdout.starts_with("given\n"), "{said:?}");
    assert_eq!(std::fs::read_dir(&outside).expect("reads").count(), 0, "something was made outside");
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_mounted_over_procfs() {
    let fixture = Fixture::new();
    symlink("/proc/self/attr", fixture.root().join("innocent")).expect("links");
    for target in ["/proc", "/proc/self/attr", "/proc/1/fd", "/innocent"] {
        let error = fixture
            .refusal(fixture.bundle_with(&["true"], |config| {
                let mounts = config["mounts"].as_array_mut().expect("a list");
                mounts.push(json!({ "destination": target, "source": "/tmp", "options": ["bind"] }));
            }))
            .await;
        assert_eq!(error.kind(), ErrorKind::PermissionDenied, "{target}: {error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_working_directory_leads_out() {
    let fixture = Fixture::new();
    let outside = fixture.path("outside");
    std::fs::create_dir(&outside).expect("makes directory");
    symlink(&outside, fixture.root().join("away")).expect("links");
    for cwd in (3..40).map(|number| format!("/proc/self/fd/{number}")) {
        let error = fixture
            .refusal(fixture.bundle_with(&["true"], |config| config["process"]["cwd"] = cwd.clone().into()))
            .await;
        assert!(error.to_string().contains(&cwd), "{error}");
    }
    // The link's target is made inside.
    let bundle = fixture.bundle_with(&["pwd"], |config| config["process"]["cwd"] = "/away".into());
    let place = bundle.place.clone();
    if fixture.runtime.create(bundle).await.is_ok() {
        let _ = fixture.runtime.start(&place).await;
    }
    assert_eq!(std::fs::read_dir(&outside).expect("reads").count(), 0);

    let place = fixture.begin(fixture.bundle(&["sleep", "1000"])).await;
    for number in 0..20 {
        let mut bundle = exec_bundle(&["pwd"]);
        bundle.process.set_cwd(format!("/proc/self/fd/{number}").into());
        // One of them may be the container's own root.
        if let Ok(session) = fixture.runtime.exec(&place, bundle).await {
            assert_eq!(text(session.output(LIMIT).await.expect("talks").0), "/\n");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_user_files_are_those_of_the_container() {
    let fixture = Fixture::new();
    let outside = fixture.path("outside");
    std::fs::write(&outside, "mallory:x:0:0::/:\n").expect("writes");
    std::fs::remove_file(fixture.root().join("etc/passwd")).expect("removes");
    symlink(&outside, fixture.root().join("etc/passwd")).expect("links");
    let mut bundle = fixture.bundle(&["true"]);
    "mallory".clone_into(&mut bundle.user.user);
    assert_eq!(fixture.refusal(bundle).await.kind(), ErrorKind::InvalidInput);
    // A pipe in its place is not waited for.
    std::fs::remove_file(fixture.root().join("etc/passwd")).expect("removes");
    let fifo = nix::sys::stat::Mode::from_bits_truncate(0o644);
    nix::unistd::mkfifo(&fixture.root().join("etc/passwd"), fifo).expect("makes a pipe");
    assert_eq!(fixture.shell("echo ok").await, "ok\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_helper_program_cannot_be_changed_from_inside() {
    let fixture = Fixture::new();
    let mut bundle = fixture.bundle(&[
        "sh",
        "-c",
        "(echo x > /proc/1/exe) 2>/dev/null && echo wrote; readlink /proc/1/exe; echo end",
    ]);
    bundle.init = true;
    let said = fixture.run(bundle).await.stdout;
    assert!(!said.contains("wrote") && said.ends_with("end\n"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_of_the_image_is_not_taken_for_another() {
    let fixture = Fixture::new();
    // Without a directory of devices of its own the image's is used.
    symlink("/etc/passwd", fixture.root().join("dev/null")).expect("links");
    let error = fixture
        .refusal(fixture.bundle_with(&["true"], |config| {
            config["mounts"] = json!([{ "destination": "/proc", "type": "proc" }]);
        }))
        .await;
    assert_eq!(error.kind(), ErrorKind::PermissionDenied, "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_host_s_devices_stay_as_they_are() {
    let fixture = Fixture::new();
    let dev = fixture.path("host-dev");
    std::fs::create_dir(&dev).expect("makes directory");
    std::fs::write(dev.join("console"), "the host's").expect("writes");
    std::fs::create_dir(dev.join("pts")).expect("makes directory");
    let mut bundle = fixture.bundle_with(&["sh", "-c", "test -t 1 && echo terminal"], |config| {
        config["process"]["terminal"] = true.into();
        let mounts = config["mounts"].as_array_mut().expect("a list");
        mounts.retain(|mount| !mount["destination"].as_str().expect("text").starts_with("/dev"));
        mounts.push(json!({ "destination": "/dev", "source": dev, "options": ["rbind"] }));
        mounts.push(json!({ "destination": "/dev/pts", "type": "devpts", "options": ["ptmxmode=0666"] }));
    });
    bundle.streams.open_stdin = true;
    let place = bundle.place.clone();
    fixture.runtime.create(bundle).await.expect("creates");
    let session = fixture.runtime.attach(&place, crate::spec::AttachSpec::OUTPUT).await.expect("attaches");
    fixture.runtime.start(&place).await.expect("starts");
    assert_eq!(text(session.output(LIMIT).await.expect("talks").0), "terminal\r\n");
    let mut names: Vec<_> =
        std::fs::read_dir(&dev).expect("reads").map(|e| e.expect("reads").file_name()).collect();
    names.sort();
    assert_eq!(names, ["console", "pts"]);
    assert_eq!(std::fs::read_to_string(dev.join("console")).expect("reads"), "the host's");
}
