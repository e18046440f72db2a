use super::*;
use crate::volume::conformance;

/// A store directory; what a failed test leaves mounted there goes with it.
struct Root(tempfile::TempDir);

impl Root {
    fn new() -> Root {
        Root(tempfile::tempdir().expect("a directory"))
    }

    fn local(&self) -> Local {
        Local::new(self.0.path())
    }
}

impl Drop for Root {
    fn drop(&mut self) {
        for home in std::fs::read_dir(self.0.path().join("volumes")).into_iter().flatten().flatten() {
            let _ = detach(&home.path().join(DATA));
        }
    }
}

fn name(text: &str) -> VolumeName {
    text.parse().expect("a name")
}

fn options(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

fn tmpfs() -> BTreeMap<String, String> {
    options(&[("type", "tmpfs"), ("device", "tmpfs"), ("o", "size=1m,mode=0750")])
}

#[tokio::test]
async fn the_driver_does_what_the_contract_says() {
    let root = Root::new();
    conformance::volume_driver(&root.local()).await.expect("nothing fails");
}

#[test]
fn a_volume_is_root_s_and_open_to_all_whatever_the_program_s_mask() {
    let root = Root::new();
    let local = root.local();
    std::thread::spawn(move || {
        // The mask is the process's, unless a thread has one of its own.
        nix::sched::unshare(nix::sched::CloneFlags::CLONE_FS).expect("leaves the others");
        nix::sys::stat::umask(nix::sys::stat::Mode::from_bits_truncate(0o077));
        local.create_now(&name("data"), false).expect("makes it");
    })
    .join()
    .expect("no panic");
    let mode = |path: PathBuf| path.metadata().expect("is there").permissions().mode() & 0o7777;
    assert_eq!(mode(root.local().path(&name("data"))), 0o755);
    assert_eq!(mode(root.0.path().join("volumes/data")), 0o701);
}

#[test]
fn a_volume_whose_directory_vanished_is_not_taken_for_an_empty_one() {
    let root = Root::new();
    let error = root.local().mount_now(&name("data"), &options(&[]), "one").expect_err("there is nothing");
    assert!(error.is(ErrorKind::Corrupt));
    assert!(error.remedy().is_some());
}

#[test]
fn a_file_system_is_mounted_while_somebody_has_it() {
    let root = Root::new();
    let (local, volume) = (root.local(), name("memory"));
    local.create_now(&volume, false).expect("makes it");
    let path = local.mount_now(&volume, &tmpfs(), "one").expect("mounts");
    assert!(is_mounted(&path).expect("asks"));
    assert_eq!(path.metadata().expect("is there").permissions().mode() & 0o777, 0o750);
    std::fs::write(path.join("file"), "x").expect("writes");
    // Another process: it has another value, but the same files.
    let other = root.local();
    assert_eq!(other.mount_now(&volume, &tmpfs(), "two").expect("mounts"), path);
    assert!(path.join("file").exists(), "it was not mounted a second time");
    local.unmount_now(&volume, "one").expect("unmounts");
    local.unmount_now(&volume, "one").expect("may be called twice");
    assert!(path.join("file").exists(), "two still has it");
    other.unmount_now(&volume, "two").expect("unmounts");
    assert!(!is_mounted(&path).expect("asks"));
    assert!(!path.join("file").exists());
}

#[test]
fn after_a_reboot_the_next_owner_mounts_it_again() {
    let root = Root::new();
    let (local, volume) = (root.local(), name("memory"));
    local.create_now(&volume, false).expect("makes it");
    let path = local.mount_now(&volume, &tmpfs(), "dead").expect("mounts");
    detach(&path).expect("as a reboot does");
    local.mount_now(&volume, &tmpfs(), "alive").expect("mounts");
    assert!(is_mounted(&path).expect("asks"));
    local.unmount_now(&volume, "dead").expect("the service calls it for the dead too");
    assert!(is_mounted(&path).expect("asks"));
    local.unmount_now(&volume, "alive").expect("unmounts");
    assert!(!is_mounted(&path).expect("asks"));
}

#[test]
fn removing_a_bound_directory_leaves_what_is_in_it() {
    let root = Root::new();
    let host = tempfile::tempdir().expect("a directory");
    std::fs::write(host.path().join("precious"), "x").expect("writes");
    let (local, volume) = (root.local(), name("bound"));
    let device = host.path().to_string_lossy();
    let bind = options(&[("type", "none"), ("device", &device), ("o", "bind,ro")]);
    local.create_now(&volume, false).expect("makes it");
    let path = local.mount_now(&volume, &bind, "one").expect("mounts");
    assert!(path.join("precious").exists());
    assert!(std::fs::write(path.join("new"), "x").is_err(), "it is read-only");
    local.remove_now(&volume).expect("removes");
    assert!(host.path().join("precious").exists());
    assert!(!root.0.path().join("volumes/bound").exists());
}

#[test]
fn a_file_system_that_cannot_be_mounted_leaves_nobody_as_its_owner() {
    let root = Root::new();
    let (local, volume) = (root.local(), name("absent"));
    let bind = options(&[("type", "none"), ("device", "/no/such/directory"), ("o", "bind")]);
    local.create_now(&volume, false).expect("makes it");
    let error = local.mount_now(&volume, &bind, "one").expect_err("there is no such device");
    assert!(error.to_string().contains("/no/such/directory"), "{error}");
    assert_eq!(std::fs::read_dir(root.0.path().join("volumes/absent/owners")).expect("reads").count(), 0);
}

#[test]
fn what_an_interrupted_removal_left_is_swept() {
    let root = Root::new();
    let local = root.local();
    local.create_now(&name("data"), false).expect("makes it");
    let trash = root.0.path().join("volumes/.trash-0123");
    std::fs::create_dir_all(trash.join("_data/a/b")).expect("makes it");
    assert_eq!(local.sweep_now().expect("sweeps").len(), 1);
    assert!(!trash.exists());
    assert!(local.path(&name("data")).exists());
}

#[test]
fn what_an_interrupted_creation_left_is_finished_by_the_next() {
    let root = Root::new();
    let local = root.local();
    let home = root.0.path().join("volumes/data");
    std::fs::create_dir_all(home.join(UNFINISHED)).expect("makes it");
    std::fs::set_permissions(home.join(UNFINISHED), Permissions::from_mode(0o700)).expect("changes it");
    assert_eq!(local.strays_now(&BTreeSet::new()).expect("looks"), [name("data")]);
    local.create_now(&name("data"), false).expect("makes it");
    assert_eq!(local.path(&name("data")).metadata().expect("is there").permissions().mode() & 0o777, 0o755);
}

#[test]
fn an_owner_that_could_leave_its_directory_is_refused() {
    for bad in ["", ".", "..", "a/b", "a\0b", &"x".repeat(256)] {
        assert!(owner_file(bad).is_err(), "{bad:?} was accepted");
    }
}
