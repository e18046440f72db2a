//! Layers that were made to do harm.

use std::io::Write;

use super::{Fixture, TestTar};
use crate::error::{Error, ErrorKind};
use crate::id::Digest;
use crate::image::overlay::UnpackLimits;
use crate::spec::Compression;

/// Unpacks what must be refused: nothing outside is touched, and nothing is left.
fn refused(name: &str, fixture: &Fixture, compression: Compression, stream: &[u8], diff_id: Digest) -> Error {
    let before = fixture.everything();
    let error = match fixture.apply_compressed(None, compression, stream, diff_id) {
        Ok(_) => panic!("{name}: was unpacked"),
        Err(error) => error,
    };
    assert_eq!(fixture.everything(), before, "{name}");
    error
}

fn refused_tar(name: &str, tar: TestTar) -> Error {
    let tar = tar.end();
    refused(name, &Fixture::new(), Compression::None, &tar, Digest::of(&tar))
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).expect("writes");
    encoder.finish().expect("writes")
}

#[test]
fn entries_that_leave_the_layer_are_refused() {
    let cases: Vec<(&str, TestTar)> = vec![
        ("parent", TestTar::new().file("../outside/file", "x")),
        ("parent in the middle", TestTar::new().file("a/../../outside/file", "x")),
        ("parent at the end", TestTar::new().dir("a/..", 0o700)),
        ("directory", TestTar::new().dir("../outside", 0o700)),
        ("symbolic link", TestTar::new().symlink("../outside/link", "x")),
        ("hard link here", TestTar::new().file("a", "x").link("../outside/link", "a")),
        ("hard link there", TestTar::new().link("a", "../outside/file")),
        ("hard link to an absolute path", TestTar::new().link("a", "/etc/passwd")),
        ("hard link through a link", TestTar::new().symlink("l", "../..").link("a", "l/outside/file")),
        ("hard link to nothing", TestTar::new().link("a", "b")),
        ("hard link to a directory", TestTar::new().dir("d", 0o755).link("a", "d")),
        ("hard link to the root", TestTar::new().link("a", "/")),
        ("whiteout", TestTar::new().file("../outside/.wh.file", "")),
        ("whiteout of the parent", TestTar::new().file(".wh...", "")),
        ("whiteout of the directory", TestTar::new().file("d/.wh..", "")),
        ("whiteout of nothing", TestTar::new().file("d/.wh.", "")),
        ("whiteout that is a directory", TestTar::new().dir(".wh.x", 0o755)),
        ("opaque marker that is a directory", TestTar::new().dir(".wh..wh..opq", 0o755)),
        ("file in a whiteout", TestTar::new().file(".wh.x/y", "")),
        ("the root as a file", TestTar::new().file("./", "x")),
        ("the root as a link", TestTar::new().symlink("/", "/etc")),
        ("file below a file", TestTar::new().file("a", "x").file("a/b", "x")),
        ("file through a loop", TestTar::new().symlink("a", "b").symlink("b", "a").file("a/x", "x")),
        ("pax path", TestTar::new().pax(&[("path", b"../outside/file")]).file("a", "x")),
        ("pax link", TestTar::new().pax(&[("linkpath", b"../outside/file")]).link("a", "b")),
        ("zero byte in a path", TestTar::new().pax(&[("path", b"a\0b")]).file("a", "x")),
        (
            "user that the kernel leaves as it is",
            TestTar::new().pax(&[("uid", b"4294967295")]).file("a", "x"),
        ),
        ("device out of range", TestTar::new().device("a", 4096, 0)),
    ];
    for (name, tar) in cases {
        let error = refused_tar(name, tar);
        assert!(error.is(ErrorKind::Corrupt), "{name}: {error:?}");
    }
}

#[test]
fn what_leads_out_only_by_its_links_stays_inside() {
    let fixture = Fixture::new();
    let outside = fixture.directory.path().join("outside");
    let absolute = outside.to_str().expect("text").to_owned();
    let tar = TestTar::new()
        .file("/absolute", "x")
        .symlink("up", "../../../../outside")
        .file("up/file", "x")
        .symlink("abs", &absolute)
        .file("abs/file", "x")
        .dir("abs/", 0o700)
        .symlink("target", &format!("{absolute}/file"))
        .file("target", "replaces the link")
        .symlink("dir", &absolute)
        .dir("dir", 0o777)
        .end();
    let chain = fixture.apply(None, &tar).expect("unpacks").chain;
    let tree = fixture.tree(&chain);
    assert!(tree.join("absolute").exists());
    assert!(tree.join("outside/file").exists(), "a link of the layer leads to the layer's own root");
    assert!(tree.join("dir").symlink_metadata().expect("is there").is_dir());
    assert_eq!(std::fs::read_to_string(outside.join("file")).expect("reads"), "untouched");
    assert_eq!(std::fs::read_dir(&outside).expect("reads").count(), 1);
}

#[test]
fn a_stream_that_is_not_the_announced_one_is_refused() {
    let tar = TestTar::new().file("a", &"x".repeat(100_000)).end();
    let digest = Digest::of(&tar);
    let packed = gzip(&tar);
    let zstd = zstd::stream::encode_all(&tar[..], 3).expect("packs");
    let fixture = Fixture::new();
    let mut garbage = packed.clone();
    garbage.extend_from_slice(b"garbage after the end");
    let mut zstd_garbage = zstd.clone();
    zstd_garbage.extend_from_slice(b"garbage after the end");
    let mut flipped = packed.clone();
    let checksum = flipped.len() - 6;
    flipped[checksum] ^= 0x10;
    let cases: Vec<(&str, Compression, &[u8], Digest)> = vec![
        ("another digest", Compression::None, &tar, Digest::of(b"")),
        ("truncated", Compression::None, &tar[..60_000], digest.clone()),
        ("truncated, with its own digest", Compression::None, &tar[..60_000], Digest::of(&tar[..60_000])),
        ("truncated gzip", Compression::Gzip, &packed[..packed.len() - 20], digest.clone()),
        ("gzip without its end", Compression::Gzip, &packed[..packed.len() - 1], digest.clone()),
        ("gzip with garbage", Compression::Gzip, &garbage, digest.clone()),
        ("gzip with another checksum", Compression::Gzip, &flipped, digest.clone()),
        ("nothing as gzip", Compression::Gzip, b"", digest.clone()),
        ("tar as gzip", Compression::Gzip, &tar, digest.clone()),
        ("gzip as tar", Compression::None, &packed, Digest::of(&packed)),
        ("truncated zstd", Compression::Zstd, &zstd[..zstd.len() - 5], digest.clone()),
        ("zstd with garbage", Compression::Zstd, &zstd_garbage, digest.clone()),
        ("no archive", Compression::None, &[0x55; 4096], Digest::of(&[0x55; 4096])),
    ];
    for (name, compression, stream, diff_id) in cases {
        let error = refused(name, &fixture, compression, stream, diff_id);
        assert!(error.is(ErrorKind::Corrupt), "{name}: {error:?}");
    }
    // The same layer, as it should be, in each form.
    let mut members = gzip(&tar[..70_000]);
    members.extend(gzip(&tar[70_000..]));
    for (compression, stream) in
        [(Compression::Gzip, packed), (Compression::Gzip, members), (Compression::Zstd, zstd)]
    {
        Fixture::new().apply_compressed(None, compression, &stream, digest.clone()).expect("unpacks");
    }
}

#[test]
fn limits_are_kept_and_named() {
    let small = || UnpackLimits { entries: 100, ratio: 20, ratio_after: 1 << 20, ..UnpackLimits::default() };
    let limited = |limits: UnpackLimits, compression, stream: &[u8]| {
        let fixture = Fixture::with(limits);
        let error = refused("too much", &fixture, compression, stream, Digest::of(b""));
        assert!(error.is(ErrorKind::LimitExceeded), "{error:?}");
        format!("{error} {}", error.remedy().expect("says what to do"))
    };
    let bomb = TestTar::new().raw(b'0', b"zeros", b"", 0o644, 8 << 20, &vec![0; 8 << 20]).end();
    assert!(limited(small(), Compression::Gzip, &gzip(&bomb)).contains("`ratio`"));
    let zstd = zstd::stream::encode_all(&bomb[..], 3).expect("packs");
    assert!(limited(small(), Compression::Zstd, &zstd).contains("`ratio`"));
    let few = UnpackLimits { layer_bytes: 1 << 20, ..UnpackLimits::default() };
    assert!(limited(few, Compression::None, &bomb).contains("`layer_bytes`"));
    let many = (0..101).fold(TestTar::new(), |tar, n| tar.file(&n.to_string(), "")).end();
    assert!(limited(small(), Compression::None, &many).contains("`entries`"));
    let sparse = TestTar::new()
        .pax(&[
            ("GNU.sparse.major", b"0"),
            ("GNU.sparse.minor", b"1"),
            ("GNU.sparse.size", b"9223372036854775807"),
            ("GNU.sparse.map", b"0,1"),
        ])
        .file("huge", "x")
        .end();
    assert!(limited(UnpackLimits::default(), Compression::None, &sparse).contains("`layer_bytes`"));
    let header = TestTar::new().raw(b'x', b"pax", b"", 0, 1 << 30, b"").end();
    assert!(limited(UnpackLimits::default(), Compression::None, &header).contains("`header_bytes`"));
    let long = "d/".repeat(3000);
    let deep = TestTar::new().pax(&[("path", long.as_bytes())]).file("a", "").end();
    assert!(limited(UnpackLimits::default(), Compression::None, &deep).contains("`path_bytes`"));
    let name = "n".repeat(1 << 19);
    let name = TestTar::new().pax(&[("path", name.as_bytes())]).file("a", "").end();
    assert!(limited(UnpackLimits::default(), Compression::None, &name).contains("`path_bytes`"));
    let few = UnpackLimits { directory_bytes: 1000, ..UnpackLimits::default() };
    let wide = (0..50).fold(TestTar::new(), |tar, n| tar.dir(&format!("d{n}"), 0o755)).end();
    assert!(limited(few, Compression::None, &wide).contains("`directory_bytes`"));
    // Endless headers without an entry are bytes like any others.
    let empty = (0..5000).fold(TestTar::new(), |tar, _| tar.raw(b'g', b"g", b"", 0, 0, b"")).end();
    let few = UnpackLimits { layer_bytes: 1 << 20, ..UnpackLimits::default() };
    assert!(limited(few, Compression::None, &empty).contains("`layer_bytes`"));
}

/// The stream of a file that is never held in memory.
struct Flood {
    entries: u32,
    block: Vec<u8>,
    at: usize,
}

impl std::io::Read for Flood {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        if self.at == self.block.len() {
            self.entries += 1;
            self.block = TestTar::new().file(&format!("{:x}", self.entries), "").0;
            self.at = 0;
        }
        let count = buffer.len().min(self.block.len() - self.at);
        buffer[..count].copy_from_slice(&self.block[self.at..self.at + count]);
        self.at += count;
        Ok(count)
    }
}

#[test]
fn an_endless_layer_ends_at_the_limit() {
    use crate::image::driver::{LayerSource, LayerStore};
    let fixture = Fixture::with(UnpackLimits { entries: 2000, ..UnpackLimits::default() });
    let before = fixture.everything();
    let stream = Box::new(Flood { entries: 0, block: Vec::new(), at: 0 });
    let diff_id = Digest::of(b"");
    let layer = LayerSource { parent: None, diff_id, compression: Compression::None, stream };
    let error = super::block_on(fixture.store.apply(layer)).expect_err("it is endless");
    assert!(error.is(ErrorKind::LimitExceeded), "{error:?}");
    assert_eq!(fixture.everything(), before);
}

/// A small file system that goes when this is dropped.
struct SmallDisk(tempfile::TempDir);

impl SmallDisk {
    fn new() -> SmallDisk {
        use rustix::mount::{MountFlags, mount};
        let directory = tempfile::tempdir().expect("a directory");
        let options = c"size=4m,nr_inodes=1000";
        mount("tmpfs", directory.path(), "tmpfs", MountFlags::empty(), options).expect("mounts");
        SmallDisk(directory)
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = rustix::mount::unmount(self.0.path(), rustix::mount::UnmountFlags::DETACH);
    }
}

#[test]
fn a_full_disk_is_told_and_nothing_is_left() {
    use super::super::OverlayStore;
    use crate::image::driver::{BlobStore, LayerSource, LayerStore};
    let disk = SmallDisk::new();
    let records = tempfile::tempdir().expect("a directory");
    let store = crate::store::Store::open(records.path()).expect("opens");
    let store = OverlayStore::open(disk.0.path(), store, UnpackLimits::default()).expect("opens");
    let before = super::listing(disk.0.path());
    let noise: Vec<u8> = (0..8u32 << 20).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    let big = TestTar::new().dir("d/", 0o755).raw(b'0', b"d/big", b"", 0o644, 8 << 20, &noise).end();
    let many = (0..2000).fold(TestTar::new(), |tar, n| tar.file(&format!("d/{n}"), "")).end();
    for tar in [big, many] {
        let diff_id = Digest::of(&tar);
        let stream = Box::new(std::io::Cursor::new(tar));
        let layer = LayerSource { parent: None, diff_id, compression: Compression::None, stream };
        let error = super::block_on(store.apply(layer)).expect_err("it does not fit");
        assert!(error.is(ErrorKind::OutOfSpace), "{error:?}");
        assert!(error.remedy().is_some());
        assert_eq!(super::listing(disk.0.path()), before);
    }
    let digest = Digest::of(&noise);
    let mut writer = super::block_on(store.begin(&digest, noise.len() as u64)).expect("begins");
    let error = writer.write(&noise).expect_err("it does not fit");
    assert!(error.is(ErrorKind::OutOfSpace), "{error:?}");
    drop(writer);
    assert!(super::block_on(BlobStore::sweep(&store)).expect("sweeps") > 0);
    assert_eq!(super::listing(disk.0.path()), before);
}
