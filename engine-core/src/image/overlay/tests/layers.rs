//! What an unpacked layer is like, and what containers get on top of it.

use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use super::{Fixture, TestTar, block_on};
use crate::error::ErrorKind;
use crate::id::{ChainId, Digest};
use crate::image::driver::{LayerSource, LayerStore};
use crate::spec::{Compression, RootMount};
use crate::sys::beneath::RootDir;
use crate::sys::overlay_view;

fn lower(mounts: &[RootMount]) -> Vec<PathBuf> {
    match mounts {
        [RootMount::Overlay { lower, .. }] => lower.clone(),
        other => panic!("not one overlay: {other:?}"),
    }
}

fn merged(fixture: &Fixture, chain: &[ChainId]) -> RootDir {
    let lower = lower(&block_on(fixture.store.view(chain)).expect("a view"));
    let lower: Vec<&Path> = lower.iter().map(PathBuf::as_path).collect();
    RootDir::from(overlay_view(&lower).expect("mounts"))
}

fn is_there(view: &RootDir, path: &str) -> bool {
    view.stat(path.as_ref()).is_ok()
}

#[test]
fn whiteouts_hide_the_layers_below_and_nothing_of_their_own() {
    let fixture = Fixture::new();
    let base = TestTar::new()
        .dir("d/", 0o755)
        .file("d/old", "x")
        .file("d/kept", "x")
        .dir("o/", 0o755)
        .file("o/old", "x")
        .dir("again/", 0o755)
        .file("again/old", "x")
        .dir("late/", 0o755)
        .file("late/old", "x")
        .file("file", "x")
        .end();
    let base = fixture.apply(None, &base).expect("unpacks").chain;
    let top = TestTar::new()
        .file("d/.wh.old", "")
        .file("o/before", "x")
        .file("o/.wh..wh..opq", "")
        .file("o/after", "x")
        .file(".wh.again", "")
        .dir("again/", 0o700)
        .file("again/new", "x")
        .dir("late/", 0o700)
        .file("late/new", "x")
        .file(".wh.late", "")
        .file(".wh.file", "")
        .file("file/below", "x")
        .end();
    let top = fixture.apply(Some(&base), &top).expect("unpacks").chain;
    let view = merged(&fixture, &[base, top]);
    for there in ["d/kept", "o/before", "o/after", "again/new", "late/new", "file/below"] {
        assert!(is_there(&view, there), "{there} is gone");
    }
    for hidden in ["d/old", "o/old", "again/old", "late/old"] {
        assert!(!is_there(&view, hidden), "{hidden} is there");
    }
}

#[test]
fn a_layer_without_one_below_holds_no_whiteouts() {
    let fixture = Fixture::new();
    let tar = TestTar::new().file("d/.wh.x", "").file("d/.wh..wh..opq", "").file("d/y", "").device("z", 0, 0);
    let chain = fixture.apply(None, &tar.end()).expect("unpacks").chain;
    let names: Vec<_> = super::listing(&fixture.tree(&chain)).into_iter().collect();
    assert_eq!(names, ["d 40755 0:0", "d/y 100644 0:0"]);
}

#[test]
fn a_device_with_the_number_of_a_whiteout_is_one() {
    let fixture = Fixture::new();
    let base = fixture.apply(None, &TestTar::new().file("x", "").end()).expect("unpacks").chain;
    let tar = TestTar::new().device("x", 0, 0).device("null", 1, 3).end();
    let top = fixture.apply(Some(&base), &tar).expect("unpacks").chain;
    let null = fixture.tree(&top).join("null").symlink_metadata().expect("made");
    assert!(null.file_type().is_char_device());
    assert_eq!((null.rdev(), null.mode() & 0o7777), (rustix::fs::makedev(1, 3), 0o666));
    assert!(!is_there(&merged(&fixture, &[base, top]), "x"));
}

#[test]
fn a_directory_that_is_only_implied_looks_like_the_one_below() {
    for parallel in [false, true] {
        let fixture = Fixture::new();
        let base = TestTar::new().dir("./", 0o711).dir("tmp/", 0o1777).dir("tmp/a", 0o700).end();
        let middle = TestTar::new().file("tmp/a/y", "y").end();
        let top = TestTar::new().file("tmp/a/x", "x").file("new/x", "x").end();
        let chain = ChainId::chain(&[Digest::of(&base), Digest::of(&middle), Digest::of(&top)]);
        // In either order, the layers come out the same.
        if parallel {
            fixture.apply(Some(&chain[1]), &top).expect("unpacks");
            fixture.apply(Some(&chain[0]), &middle).expect("unpacks");
            fixture.apply(None, &base).expect("unpacks");
        } else {
            fixture.apply(None, &base).expect("unpacks");
            fixture.apply(Some(&chain[0]), &middle).expect("unpacks");
            fixture.apply(Some(&chain[1]), &top).expect("unpacks");
        }
        let mounts = block_on(fixture.store.prepare("container", &chain, true)).expect("prepares");
        assert_eq!(lower(&mounts)[0], fixture.tree(&chain[2]));
        let mode = |path: PathBuf| path.metadata().expect("is there").mode() & 0o7777;
        assert_eq!(mode(fixture.tree(&chain[2])), 0o711);
        assert_eq!(mode(fixture.tree(&chain[2]).join("tmp")), 0o1777);
        assert_eq!(mode(fixture.tree(&chain[2]).join("tmp/a")), 0o700);
        assert_eq!(mode(fixture.tree(&chain[2]).join("new")), 0o755);
        assert_eq!(mode(fixture.root().join("containers/container/upper")), 0o711);
        let mtime = fixture.tree(&chain[2]).join("tmp").metadata().expect("is there").mtime();
        assert_eq!(mtime, 0o14000000000);
        assert!(!fixture.root().join("layers").join(chain[2].encoded()).join("implied").exists());
    }
}

#[test]
fn a_directory_that_was_implied_and_then_described_is_as_described() {
    let fixture = Fixture::new();
    let base = fixture.apply(None, &TestTar::new().dir("d/", 0o700).end()).expect("unpacks").chain;
    let tar = TestTar::new().file("d/x", "x").dir("d/", 0o751).end();
    let top = fixture.apply(Some(&base), &tar).expect("unpacks").chain;
    assert_eq!(fixture.tree(&top).join("d").metadata().expect("is there").mode() & 0o7777, 0o751);
}

#[test]
fn a_later_entry_replaces_an_earlier_one() {
    let fixture = Fixture::new();
    let tar = TestTar::new()
        .file("a", "old")
        .file("a", "new")
        .dir("d/", 0o755)
        .file("d/x", "x")
        .file("d", "a file now")
        .file("e", "x")
        .dir("e/", 0o755)
        .file("e/x", "x")
        .symlink("l", "e")
        .file("l/through", "x")
        .symlink("l", "elsewhere")
        .file("l/made", "x")
        .link("a", "a")
        .link("hard", "a")
        .dir("e/", 0o700)
        .end();
    let chain = fixture.apply(None, &tar).expect("unpacks").chain;
    let tree = fixture.tree(&chain);
    let read = |name: &str| std::fs::read_to_string(tree.join(name)).expect("reads");
    assert_eq!(read("a"), "new");
    assert_eq!(read("d"), "a file now");
    assert_eq!(read("e/through"), "x");
    assert_eq!(read("e/x"), "x");
    assert_eq!(read("elsewhere/made"), "x");
    assert_eq!(tree.join("a").metadata().expect("is there").nlink(), 2);
    assert_eq!(tree.join("e").metadata().expect("is there").permissions().mode() & 0o7777, 0o700);
}

#[test]
fn attributes_of_the_content_are_kept_and_those_of_the_overlay_are_not() {
    let capability: &[u8] = &[1, 0, 0, 2, 0, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let fixture = Fixture::new();
    let long = format!("{}/file", "n".repeat(200));
    let tar = TestTar::new()
        .pax(&[
            ("path", long.as_bytes()),
            ("uid", b"70000"),
            ("gid", b"80000"),
            ("mtime", b"1700000000.123456789"),
            ("SCHILY.xattr.security.capability", capability),
            ("SCHILY.xattr.user.note", b"two\nlines=1"),
            ("SCHILY.xattr.trusted.overlay.opaque", b"y"),
            ("SCHILY.xattr.user.overlay.redirect", b"/etc"),
        ])
        .raw(b'0', b"short", b"", 0o4755, 1, b"x")
        .pax(&[("SCHILY.xattr.trusted.overlay.opaque", b"y"), ("mtime", b"-1.5")])
        .dir("d/", 0o2755)
        .end();
    let chain = fixture.apply(None, &tar).expect("unpacks").chain;
    let file = fixture.tree(&chain).join(long);
    let stat = file.metadata().expect("is there");
    assert_eq!((stat.uid(), stat.gid(), stat.mode() & 0o7777), (70000, 80000, 0o4755));
    assert_eq!((stat.mtime(), stat.mtime_nsec()), (1_700_000_000, 123_456_789));
    let xattr = |path: &Path, name: &str| {
        let mut value = [0; 256];
        let length = rustix::fs::getxattr(path, name, &mut value[..]).ok()?;
        Some(value[..length].to_vec())
    };
    assert_eq!(xattr(&file, "security.capability").as_deref(), Some(capability));
    assert_eq!(xattr(&file, "user.note").as_deref(), Some(&b"two\nlines=1"[..]));
    assert_eq!(xattr(&file, "trusted.overlay.opaque"), None);
    assert_eq!(xattr(&file, "user.overlay.redirect"), None);
    let directory = fixture.tree(&chain).join("d");
    assert_eq!(xattr(&directory, "trusted.overlay.opaque"), None);
    let stat = directory.metadata().expect("is there");
    assert_eq!((stat.mode() & 0o7777, stat.mtime(), stat.mtime_nsec()), (0o2755, -2, 500_000_000));
}

#[test]
fn a_layer_that_is_wanted_twice_at_once_is_unpacked_once() {
    let fixture = Fixture::new();
    let tar = TestTar::new().file("a", "x").end();
    let source = |stream| LayerSource {
        parent: None,
        diff_id: Digest::of(&tar),
        compression: Compression::None,
        stream,
    };
    let (first, second) = block_on(async {
        let (mut writer, reader) = std::io::pipe().map(|(r, w)| (w, r)).expect("a pipe");
        let first = tokio::spawn({
            let (store, layer) = (fixture.store.clone(), source(Box::new(reader)));
            async move { store.apply(layer).await }
        });
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        // The second one's stream would fail; it is not read, as the first one brings the layer.
        let second = tokio::spawn({
            let (store, layer) = (fixture.store.clone(), source(Box::new(std::io::empty())));
            async move { store.apply(layer).await }
        });
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        assert_eq!(LayerStore::sweep(&fixture.store).await.expect("sweeps"), 0, "work in progress was swept");
        std::io::Write::write_all(&mut writer, &tar).expect("writes");
        drop(writer);
        (first.await.expect("runs"), second.await.expect("runs"))
    });
    assert_eq!(first.expect("unpacks"), second.expect("finds it"));
}

#[test]
fn an_unpacking_that_nobody_waits_for_any_more_ends_and_leaves_nothing() {
    let fixture = Fixture::new();
    let before = fixture.everything();
    let (reader, mut writer) = std::io::pipe().expect("a pipe");
    block_on(async {
        let stream = Box::new(reader);
        let diff_id = Digest::of(b"");
        let layer = LayerSource { parent: None, diff_id, compression: Compression::None, stream };
        let work = fixture.store.apply(layer);
        let waited = tokio::time::timeout(std::time::Duration::from_millis(50), work).await;
        assert!(waited.is_err(), "it ended without its stream");
    });
    // The stream goes on for a while, as a download would.
    let _ = std::io::Write::write_all(&mut writer, &vec![0; 2 << 20]);
    drop(writer);
    for _ in 0..100 {
        if fixture.everything() == before {
            return;
        }
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    assert_eq!(fixture.everything(), before);
}

#[test]
fn what_a_killed_unpacking_left_is_swept_and_a_lost_row_is_found_again() {
    let fixture = Fixture::new();
    let tar = TestTar::new().file("a", "x").end();
    let record = fixture.apply(None, &tar).expect("unpacks");
    let layers = fixture.root().join("layers");
    std::fs::create_dir_all(layers.join(format!("tmp-{}/fs/a/b", "0".repeat(64)))).expect("makes it");
    std::fs::create_dir_all(fixture.root().join("trash/something/deep")).expect("makes it");
    let chain = record.chain.clone();
    fixture
        .store
        .0
        .store
        .write_now(crate::store::Durability::Full, |tx| crate::store::layers::delete(tx, &chain))
        .expect("deletes");
    assert_eq!(block_on(LayerStore::sweep(&fixture.store)).expect("sweeps"), 2);
    assert_eq!(block_on(LayerStore::list(&fixture.store)).expect("lists"), std::slice::from_ref(&record));
    assert_eq!(block_on(LayerStore::sweep(&fixture.store)).expect("sweeps"), 0);
    block_on(LayerStore::delete(&fixture.store, &record.chain)).expect("deletes");
    assert_eq!(block_on(LayerStore::list(&fixture.store)).expect("lists"), []);
    assert!(!layers.join(record.chain.encoded()).exists());
}

#[test]
fn a_container_s_tree_keeps_its_content_and_goes_as_a_whole() {
    let fixture = Fixture::new();
    let chain = [fixture.apply(None, &TestTar::new().file("a", "x").end()).expect("unpacks").chain];
    let prepare = || block_on(fixture.store.prepare("box", &chain, true)).expect("prepares");
    let mounts = prepare();
    let upper = fixture.root().join("containers/box/upper");
    std::fs::create_dir_all(upper.join("d/e")).expect("makes it");
    std::fs::write(upper.join("d/e/f"), "12345").expect("writes");
    std::fs::hard_link(upper.join("d/e/f"), upper.join("g")).expect("links");
    // What overlayfs leaves in the work directory of a volatile mount that was not unmounted properly.
    let work = fixture.root().join("containers/box/work/work");
    std::fs::create_dir_all(work.join("incompat/volatile")).expect("makes it");
    std::fs::set_permissions(&work, std::fs::Permissions::from_mode(0o000)).expect("sets it");
    assert_eq!(prepare(), mounts);
    assert!(!work.join("incompat").exists());
    assert_eq!(block_on(fixture.store.written("box")).expect("counts"), 5);
    std::fs::write(fixture.root().join("containers/box/log"), "kept").expect("writes");
    block_on(fixture.store.discard("box")).expect("discards");
    assert!(fixture.root().join("containers/box/log").exists());
    assert!(!upper.exists() && !fixture.root().join("containers/box/work").exists());
    assert_eq!(block_on(fixture.store.written("box")).expect("counts"), 0);
    for key in ["", "../x", "a/b", ".x", &"x".repeat(256)] {
        assert!(block_on(fixture.store.discard(key)).is_err_and(|e| e.is(ErrorKind::InvalidInput)));
    }
}

#[test]
fn an_image_without_layers_and_one_layer_alone_can_be_viewed_and_written_on() {
    let fixture = Fixture::new();
    assert!(!is_there(&merged(&fixture, &[]), "a"));
    let chain = [fixture.apply(None, &TestTar::new().file("a", "x").end()).expect("unpacks").chain];
    let view = merged(&fixture, &chain);
    assert!(is_there(&view, "a"));
    assert!(rustix::fs::mkdirat(&view, "b", rustix::fs::Mode::RWXU).is_err(), "a view is read-only");
    assert_eq!(lower(&block_on(fixture.store.prepare("scratch", &[], false)).expect("prepares")).len(), 1);
    let missing = [ChainId::extend(None, &Digest::of(b"missing"))];
    let error = block_on(fixture.store.prepare("x", &missing, false)).expect_err("there is no such layer");
    assert!(error.is(ErrorKind::NotFound));
    let on = fixture.directory.path().join("outside");
    let mounts = block_on(fixture.store.prepare_on("x", on.clone(), false)).expect("prepares");
    assert_eq!(lower(&mounts), [on]);
}

#[test]
fn a_layer_whose_root_is_opaque_hides_all_below() {
    let fixture = Fixture::new();
    let base = fixture.apply(None, &TestTar::new().dir("./", 0o711).file("a", "").file("d/x", "").end());
    let base = base.expect("unpacks").chain;
    let middle = TestTar::new().file("b", "").file("d/y", "").file(".wh..wh..opq", "").end();
    let middle = fixture.apply(Some(&base), &middle).expect("unpacks").chain;
    let top = fixture.apply(Some(&middle), &TestTar::new().file("c", "").end()).expect("unpacks").chain;
    let view = merged(&fixture, &[base.clone(), middle.clone()]);
    assert!(is_there(&view, "b") && is_there(&view, "d/y"));
    assert!(!is_there(&view, "a") && !is_there(&view, "d/x"));
    let view = merged(&fixture, &[base, middle, top]);
    assert!(is_there(&view, "b") && is_there(&view, "c") && !is_there(&view, "a"));
    assert_eq!(view.stat("".as_ref()).expect("is there").st_mode & 0o7777, 0o711);
}

#[test]
fn a_layer_goes_in_where_a_killed_unpacking_left_something() {
    let fixture = Fixture::new();
    let tar = TestTar::new().file("a", "x").end();
    let chain = ChainId::extend(None, &Digest::of(&tar));
    let left = fixture.root().join("layers").join(format!("tmp-{}", chain.encoded()));
    std::fs::create_dir_all(left.join("fs/old")).expect("makes it");
    std::fs::write(left.join("record"), "half").expect("writes");
    std::fs::write(left.join("implied"), "old").expect("writes");
    fixture.apply(None, &tar).expect("unpacks");
    assert_eq!(super::listing(&fixture.tree(&chain)), ["a 100644 0:0"]);
    assert!(!left.exists());
}
