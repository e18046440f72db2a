//! What the default store promises beyond the conformance suite.

mod blobs;
mod hostile;
mod layers;
mod peers;
mod random;
mod speed;

use std::io::{Cursor, Read};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::{OverlayStore, UnpackLimits};
use crate::error::Result;
use crate::id::{ChainId, Digest};
use crate::image::driver::{LayerRecord, LayerSource, LayerStore};
use crate::spec::Compression;
use crate::store::Store;

/// A store in a directory of its own, and a directory beside it that nothing may touch.
pub(super) struct Fixture {
    directory: tempfile::TempDir,
    pub(super) store: OverlayStore,
}

impl Fixture {
    pub(super) fn new() -> Fixture {
        Fixture::with(UnpackLimits::default())
    }

    pub(super) fn with(limits: UnpackLimits) -> Fixture {
        let directory = tempfile::tempdir().expect("a directory");
        let root = directory.path().join("store");
        std::fs::create_dir(&root).expect("makes it");
        std::fs::create_dir(directory.path().join("outside")).expect("makes it");
        std::fs::write(directory.path().join("outside/file"), "untouched").expect("writes");
        let records = Store::open(&root).expect("opens");
        let store = OverlayStore::open(&root, records, limits).expect("opens");
        Fixture { directory, store }
    }

    pub(super) fn root(&self) -> PathBuf {
        self.directory.path().join("store")
    }

    /// The tree of a layer.
    pub(super) fn tree(&self, chain: &ChainId) -> PathBuf {
        self.root().join("layers").join(chain.encoded()).join("fs")
    }

    /// Everything beneath the fixture but the database, with types and modes: to be compared.
    pub(super) fn everything(&self) -> Vec<String> {
        let all = listing(self.directory.path());
        all.into_iter().filter(|line| !line.contains("engine.db")).collect()
    }

    /// Unpacks a tar stream on top of `parent`.
    pub(super) fn apply(&self, parent: Option<&ChainId>, tar: &[u8]) -> Result<LayerRecord> {
        self.apply_compressed(parent, Compression::None, tar, Digest::of(tar))
    }

    pub(super) fn apply_compressed(
        &self,
        parent: Option<&ChainId>,
        compression: Compression,
        stream: &[u8],
        diff_id: Digest,
    ) -> Result<LayerRecord> {
        let stream: Box<dyn Read + Send> = Box::new(Cursor::new(stream.to_vec()));
        let layer = LayerSource { parent: parent.cloned(), diff_id, compression, stream };
        block_on(self.store.apply(layer))
    }
}

pub(super) fn block_on<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime").block_on(work)
}

/// The paths beneath `top` with what stat tells of each.
pub(super) fn listing(top: &Path) -> Vec<String> {
    use std::os::unix::fs::MetadataExt;
    fn walk(top: &Path, at: &Path, lines: &mut Vec<String>) {
        for entry in std::fs::read_dir(at).expect("reads") {
            let path = entry.expect("reads").path();
            let stat = path.symlink_metadata().expect("stats");
            let name =
                path.strip_prefix(top).expect("beneath").as_os_str().as_bytes().escape_ascii().to_string();
            lines.push(format!("{name} {:o} {}:{}", stat.mode(), stat.uid(), stat.gid()));
            if stat.is_dir() {
                walk(top, &path, lines);
            }
        }
    }
    let mut lines = Vec::new();
    walk(top, top, &mut lines);
    lines.sort();
    lines
}

/// Writes archives, proper ones and others.
#[derive(Default)]
pub(super) struct TestTar(pub(super) Vec<u8>);

impl TestTar {
    pub(super) fn new() -> TestTar {
        TestTar::default()
    }

    /// A header with the data that follows it.
    pub(super) fn raw(
        mut self,
        flag: u8,
        name: &[u8],
        link: &[u8],
        mode: u32,
        size: u64,
        data: &[u8],
    ) -> TestTar {
        self.0.extend_from_slice(&header(flag, name, link, mode, size, (0, 0)));
        self.data(data)
    }

    /// Data, padded to whole blocks.
    pub(super) fn data(mut self, data: &[u8]) -> TestTar {
        self.0.extend_from_slice(data);
        self.0.resize(self.0.len().next_multiple_of(512), 0);
        self
    }

    pub(super) fn file(self, name: &str, data: &str) -> TestTar {
        self.raw(b'0', name.as_bytes(), b"", 0o644, data.len() as u64, data.as_bytes())
    }

    pub(super) fn dir(self, name: &str, mode: u32) -> TestTar {
        self.raw(b'5', name.as_bytes(), b"", mode, 0, b"")
    }

    pub(super) fn symlink(self, name: &str, target: &str) -> TestTar {
        self.raw(b'2', name.as_bytes(), target.as_bytes(), 0o777, 0, b"")
    }

    pub(super) fn link(self, name: &str, target: &str) -> TestTar {
        self.raw(b'1', name.as_bytes(), target.as_bytes(), 0o644, 0, b"")
    }

    pub(super) fn device(mut self, name: &str, major: u32, minor: u32) -> TestTar {
        self.0.extend_from_slice(&header(b'3', name.as_bytes(), b"", 0o666, 0, (major, minor)));
        self
    }

    /// An extended header for the next entry.
    pub(super) fn pax(self, records: &[(&str, &[u8])]) -> TestTar {
        let mut text = Vec::new();
        for (key, value) in records {
            let rest = key.len() + value.len() + 3;
            let mut length = rest + 1;
            while length != rest + length.to_string().len() {
                length = rest + length.to_string().len();
            }
            text.extend_from_slice(format!("{length} {key}=").as_bytes());
            text.extend_from_slice(value);
            text.push(b'\n');
        }
        self.raw(b'x', b"pax", b"", 0o644, text.len() as u64, &text)
    }

    /// The archive with its end.
    pub(super) fn end(mut self) -> Vec<u8> {
        self.0.extend_from_slice(&[0; 1024]);
        self.0
    }
}

fn header(flag: u8, name: &[u8], link: &[u8], mode: u32, size: u64, device: (u32, u32)) -> [u8; 512] {
    let mut block = [0u8; 512];
    let mut put = |at: usize, bytes: &[u8]| block[at..at + bytes.len()].copy_from_slice(bytes);
    put(0, &name[..name.len().min(100)]);
    put(100, format!("{mode:07o}\0").as_bytes());
    put(108, b"0000000\0");
    put(116, b"0000000\0");
    if size < 1 << 33 {
        put(124, format!("{size:011o}\0").as_bytes());
    } else {
        put(124, &[0x80, 0, 0, 0]);
        put(128, &size.to_be_bytes());
    }
    put(136, b"14000000000\0");
    put(156, &[flag]);
    put(157, &link[..link.len().min(100)]);
    put(257, b"ustar\x0000");
    put(329, format!("{:07o}\0{:07o}\0", device.0, device.1).as_bytes());
    put(148, b"        ");
    let sum: u32 = block.iter().map(|b| u32::from(*b)).sum();
    block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    block
}
