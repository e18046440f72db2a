use std::fs::{self, File, Permissions};
use std::os::unix::fs::{FileExt, FileTypeExt, MetadataExt, PermissionsExt, lchown, symlink};
use std::path::PathBuf;

use rustix::fs::{CWD, FileType, XattrFlags};

use super::*;

struct Place {
    root: tempfile::TempDir,
}

impl Place {
    /// An image with a directory `/data`, and an empty volume.
    fn new() -> Place {
        let root = tempfile::tempdir().expect("a directory");
        fs::create_dir_all(root.path().join("image/data")).expect("makes it");
        fs::create_dir_all(root.path().join("home/_data")).expect("makes it");
        Place { root }
    }

    fn image(&self) -> PathBuf {
        self.root.path().join("image")
    }

    fn home(&self) -> PathBuf {
        self.root.path().join("home")
    }

    fn volume(&self) -> PathBuf {
        self.home().join("_data")
    }

    fn copy(&self, target: &str) -> Result<()> {
        let view = open(&self.image())?;
        copy_up(view.as_fd(), target, &self.volume(), &self.home())
    }

    fn names(&self) -> Vec<String> {
        let mut names: Vec<String> = fs::read_dir(self.volume())
            .expect("reads")
            .map(|entry| entry.expect("an entry").file_name().into_string().expect("text"))
            .collect();
        names.sort();
        names
    }
}

#[test]
fn everything_that_belongs_to_a_file_is_copied() {
    let place = Place::new();
    let data = place.image().join("data");
    fs::create_dir_all(data.join("d/e")).expect("makes it");
    fs::write(data.join("d/e/file"), "content").expect("writes");
    fs::set_permissions(data.join("d/e/file"), Permissions::from_mode(0o4711)).expect("changes it");
    fs::hard_link(data.join("d/e/file"), data.join("other")).expect("links");
    symlink("/etc/passwd", data.join("link")).expect("links");
    lchown(data.join("link"), Some(7), Some(8)).expect("changes it");
    rustix::fs::mknodat(CWD, data.join("null"), FileType::CharacterDevice, Mode::from_raw_mode(0o666), 0x103)
        .expect("makes it");
    rustix::fs::mknodat(CWD, data.join("pipe"), FileType::Fifo, Mode::RUSR, 0).expect("makes it");
    let sparse = File::create(data.join("sparse")).expect("makes it");
    sparse.write_all_at(b"end", 64 << 20).expect("writes");
    sparse.set_len(128 << 20).expect("grows");
    rustix::fs::setxattr(data.join("d"), "user.note", b"x", XattrFlags::empty()).expect("sets it");
    let capability = [1, 0, 0, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    rustix::fs::setxattr(data.join("d/e/file"), "security.capability", &capability, XattrFlags::empty())
        .expect("sets");
    lchown(data.join("d"), Some(1000), Some(1001)).expect("changes it");
    fs::set_permissions(data.join("d"), Permissions::from_mode(0o2750)).expect("changes it");
    lchown(&data, Some(70), Some(71)).expect("changes it");
    fs::set_permissions(&data, Permissions::from_mode(0o1777)).expect("changes it");
    let old = std::time::UNIX_EPOCH + std::time::Duration::new(1_000_000_000, 123_456_789);
    for path in ["d/e/file", "d/e", "d", "."] {
        File::open(data.join(path)).and_then(|file| file.set_modified(old)).expect("changes it");
    }
    place.copy("/data").expect("copies");
    let volume = place.volume();
    assert_eq!(fs::read_to_string(volume.join("d/e/file")).expect("reads"), "content");
    for path in ["d/e/file", "d/e", "d", "link", "null", "pipe", "sparse", "other"] {
        let before = fs::symlink_metadata(data.join(path)).expect("is there");
        let after = fs::symlink_metadata(volume.join(path)).expect("is there");
        let facts =
            |m: &fs::Metadata| (m.mode(), m.uid(), m.gid(), m.mtime(), m.mtime_nsec(), m.size(), m.rdev());
        assert_eq!(facts(&before), facts(&after), "{path}");
    }
    let top = volume.metadata().expect("is there");
    assert_eq!((top.mode() & 0o7777, top.uid(), top.gid(), top.mtime()), (0o1777, 70, 71, 1_000_000_000));
    let inode = |path: &str| fs::metadata(volume.join(path)).expect("is there").ino();
    assert_eq!(inode("d/e/file"), inode("other"));
    assert_eq!(fs::read_link(volume.join("link")).expect("a link"), PathBuf::from("/etc/passwd"));
    assert!(fs::symlink_metadata(volume.join("null")).expect("is there").file_type().is_char_device());
    assert!(fs::metadata(volume.join("sparse")).expect("is there").blocks() < 1000, "holes stay holes");
    let xattr = |path: &str, name: &str| {
        let mut value = [0; 64];
        let length = rustix::fs::getxattr(volume.join(path), name, &mut value[..]).expect("is there");
        value[..length].to_vec()
    };
    assert_eq!(xattr("d", "user.note"), b"x");
    assert_eq!(xattr("other", "security.capability"), capability);
    assert_eq!(fs::read_dir(place.home()).expect("reads").count(), 1, "nothing else is left");
}

#[test]
fn a_volume_that_holds_something_is_left_alone() {
    let place = Place::new();
    fs::write(place.image().join("data/file"), "x").expect("writes");
    fs::write(place.volume().join("mine"), "x").expect("writes");
    place.copy("/data").expect("does nothing");
    assert_eq!(place.names(), ["mine"]);
}

#[test]
fn an_image_without_a_directory_there_gives_nothing() {
    let place = Place::new();
    fs::write(place.image().join("file"), "x").expect("writes");
    symlink("loop", place.image().join("loop")).expect("links");
    for target in ["/absent", "/file", "/file/x", "/loop", &format!("/{}", "x/".repeat(4000))] {
        place.copy(target).expect("does nothing");
    }
    assert!(place.names().is_empty());
    assert_eq!(place.volume().metadata().expect("is there").mode() & 0o777, 0o755);
}

#[test]
fn an_empty_directory_of_the_image_gives_its_owner_and_permissions() {
    let place = Place::new();
    lchown(place.image().join("data"), Some(999), Some(998)).expect("changes it");
    fs::set_permissions(place.image().join("data"), Permissions::from_mode(0o2770)).expect("changes it");
    place.copy("/data").expect("copies");
    let top = place.volume().metadata().expect("is there");
    assert_eq!((top.mode() & 0o7777, top.uid(), top.gid()), (0o2770, 999, 998));
}

#[test]
fn no_link_of_the_image_leads_out_of_it() {
    let place = Place::new();
    fs::create_dir(place.root.path().join("secret")).expect("makes it");
    fs::write(place.root.path().join("secret/key"), "x").expect("writes");
    symlink("../secret", place.image().join("up")).expect("links");
    symlink(place.root.path().join("secret"), place.image().join("absolute")).expect("links");
    for target in ["/up", "/absolute", "/../secret", "../secret", "/data/../../secret"] {
        place.copy(target).expect("does nothing");
        assert!(place.names().is_empty(), "{target}");
    }
    symlink("/data", place.image().join("inside")).expect("links");
    fs::write(place.image().join("data/file"), "x").expect("writes");
    place.copy("inside").expect("copies");
    assert_eq!(place.names(), ["file"]);
}

#[test]
fn a_copy_that_was_interrupted_is_begun_again() {
    let place = Place::new();
    fs::write(place.image().join("data/file"), "x").expect("writes");
    let partial = place.home().join(".engine-copy-partial");
    fs::create_dir(&partial).expect("makes it");
    fs::write(partial.join("half"), "x").expect("writes");
    assert!(is_unsettled(&place.home()));
    place.copy("/data").expect("copies");
    assert_eq!(place.names(), ["file"]);
    assert!(!is_unsettled(&place.home()));
}

#[test]
fn a_copy_that_was_whole_when_it_was_interrupted_is_finished() {
    let place = Place::new();
    let whole = place.home().join(".engine-copy-whole");
    fs::create_dir(&whole).expect("makes it");
    fs::write(place.volume().join("first"), "moved already").expect("writes");
    fs::write(whole.join("second"), "x").expect("writes");
    fs::set_permissions(&whole, Permissions::from_mode(0o711)).expect("changes it");
    settle(&place.volume(), &place.home()).expect("finishes");
    assert_eq!(place.names(), ["first", "second"]);
    assert_eq!(place.volume().metadata().expect("is there").mode() & 0o777, 0o711);
    assert!(!is_unsettled(&place.home()));
}

#[test]
fn a_container_that_has_the_volume_already_sees_the_content_too() {
    let place = Place::new();
    fs::write(place.image().join("data/file"), "x").expect("writes");
    let seen = open(&place.volume()).expect("opens");
    place.copy("/data").expect("copies");
    assert!(rustix::fs::statat(&seen, "file", AtFlags::empty()).is_ok());
}

#[test]
fn content_is_prepared_in_a_volume_that_has_no_other_place_for_it() {
    let place = Place::new();
    fs::create_dir_all(place.image().join("data/d/e")).expect("makes it");
    fs::create_dir_all(place.image().join("data/.engine-copy-whole/x")).expect("makes it");
    let view = open(&place.image()).expect("opens");
    copy_up(view.as_fd(), "/data", &place.volume(), &place.volume()).expect("copies");
    assert_eq!(place.names(), ["d"]);
}

#[test]
fn an_image_that_is_an_overlay_is_copied_from_a_detached_mount() {
    use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags};
    let place = Place::new();
    let upper = place.root.path().join("upper");
    fs::create_dir_all(upper.join("data")).expect("makes it");
    fs::write(upper.join("data/new"), "x").expect("writes");
    fs::write(place.image().join("data/old"), "x").expect("writes");
    fs::hard_link(place.image().join("data/old"), place.image().join("data/too")).expect("links");
    rustix::mount::fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC)
        .and_then(|context| {
            let lower = format!("{}:{}", upper.display(), place.image().display());
            rustix::mount::fsconfig_set_string(context.as_fd(), "lowerdir", lower)?;
            rustix::mount::fsconfig_create(context.as_fd())?;
            let read_only = MountAttrFlags::MOUNT_ATTR_RDONLY;
            rustix::mount::fsmount(context.as_fd(), FsMountFlags::FSMOUNT_CLOEXEC, read_only)
        })
        .subject(|| "an overlay".to_owned())
        .and_then(|view| copy_up(view.as_fd(), "/data", &place.volume(), &place.home()))
        .expect("copies");
    assert_eq!(place.names(), ["new", "old", "too"]);
    let inode = |name: &str| place.volume().join(name).metadata().expect("is there").ino();
    assert_eq!(inode("old"), inode("too"));
}

#[test]
fn a_container_that_swaps_directories_for_links_meanwhile_changes_nothing_outside() {
    use std::sync::atomic::{AtomicBool, Ordering};
    let place = Place::new();
    let outside = place.root.path().join("outside");
    fs::create_dir(&outside).expect("makes it");
    fs::set_permissions(&outside, Permissions::from_mode(0o700)).expect("changes it");
    for n in 0..40 {
        fs::create_dir_all(place.image().join(format!("data/d{n}/e"))).expect("makes it");
        fs::write(place.image().join(format!("data/d{n}/e/file")), "x").expect("writes");
    }
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            // The worst place: the copy is prepared where the container can reach it.
            let partial = place.volume().join(".engine-copy-partial");
            while !done.load(Ordering::Relaxed) {
                for n in 0..40 {
                    let top = partial.join(format!("d{n}"));
                    // Not through a link of its own making: a container could not follow it out either.
                    if fs::symlink_metadata(&top).is_ok_and(|found| found.is_dir()) {
                        let _ = fs::rename(top.join("e"), place.volume().join(format!("stolen{n}")));
                        let _ = symlink(&outside, top.join("e"));
                    }
                    let _ = fs::rename(&top, place.volume().join(format!("taken{n}")));
                    let _ = symlink(&outside, &top);
                }
            }
        });
        let view = open(&place.image()).expect("opens");
        for _ in 0..20 {
            // It may fail, or copy what the container left of it.
            let _ = copy_up(view.as_fd(), "/data", &place.volume(), &place.volume());
            for entry in fs::read_dir(place.volume()).expect("reads").flatten() {
                let volume = open(&place.volume()).expect("opens");
                let _ = tree::remove_tree(volume.as_fd(), &entry.file_name());
            }
        }
        done.store(true, Ordering::Relaxed);
    });
    assert_eq!(fs::read_dir(&outside).expect("reads").count(), 0);
    assert_eq!(outside.metadata().expect("is there").mode() & 0o7777, 0o700);
}
