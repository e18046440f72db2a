//! Blobs under interruption and between processes.

use std::io::Read;
use std::process::Command;
use std::time::Duration;

use super::{Fixture, block_on};
use crate::error::ErrorKind;
use crate::id::Digest;
use crate::image::driver::BlobStore;
use crate::image::overlay::{OverlayStore, UnpackLimits};
use crate::store::Store;

fn content(length: usize) -> Vec<u8> {
    (0..length as u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect()
}

#[test]
fn an_interrupted_blob_goes_on_where_it_stopped() {
    let fixture = Fixture::new();
    let bytes = content(1 << 20);
    let digest = Digest::of(&bytes);
    let begin = || block_on(fixture.store.begin(&digest, bytes.len() as u64)).expect("begins");
    let mut writer = begin();
    writer.write(&bytes[..700_000]).expect("writes");
    drop(writer);
    assert_eq!(block_on(fixture.store.stat(&digest)).expect("stats"), None);
    let mut writer = begin();
    assert_eq!(writer.offset(), 700_000);
    let mut existing = Vec::new();
    writer.existing().expect("opens").read_to_end(&mut existing).expect("reads");
    assert_eq!(existing, bytes[..700_000]);
    writer.write(&bytes[700_000..]).expect("writes");
    writer.finish().expect("is right");
    assert_eq!(block_on(fixture.store.stat(&digest)).expect("stats"), Some(bytes.len() as u64));
    // Who comes later has nothing to write.
    let writer = begin();
    assert_eq!(writer.offset(), bytes.len() as u64);
    writer.finish().expect("is right");
    let mut tail = Vec::new();
    block_on(fixture.store.read(&digest, 1_000_000)).expect("opens").read_to_end(&mut tail).expect("reads");
    assert_eq!(tail, bytes[1_000_000..]);
}

#[test]
fn a_sweep_takes_what_is_abandoned_and_leaves_what_is_being_written() {
    let fixture = Fixture::new();
    let (bytes, other) = (content(1000), content(2000));
    let mut writer = block_on(fixture.store.begin(&Digest::of(&bytes), 1000)).expect("begins");
    writer.write(&bytes).expect("writes");
    let mut abandoned = block_on(fixture.store.begin(&Digest::of(&other), 2000)).expect("begins");
    abandoned.write(&other[..500]).expect("writes");
    drop(abandoned);
    assert_eq!(block_on(BlobStore::sweep(&fixture.store)).expect("sweeps"), 500);
    writer.finish().expect("is right");
    assert_eq!(block_on(BlobStore::sweep(&fixture.store)).expect("sweeps"), 0);
    assert_eq!(block_on(BlobStore::list(&fixture.store)).expect("lists"), [(Digest::of(&bytes), 1000)]);
}

#[test]
fn a_second_writer_waits_and_can_give_up_waiting() {
    let fixture = Fixture::new();
    let bytes = content(1000);
    let digest = Digest::of(&bytes);
    block_on(async {
        let mut writer = fixture.store.begin(&digest, 1000).await.expect("begins");
        let second = fixture.store.begin(&digest, 1000);
        assert!(tokio::time::timeout(Duration::from_millis(50), second).await.is_err());
        writer.write(&bytes).expect("writes");
        let store = fixture.store.clone();
        let waiting = tokio::spawn({
            let digest = digest.clone();
            async move { store.begin(&digest, 1000).await.map(|writer| writer.offset()) }
        });
        tokio::time::sleep(Duration::from_millis(20)).await;
        writer.finish().expect("is right");
        assert_eq!(waiting.await.expect("runs").expect("begins"), 1000);
    });
}

#[test]
fn content_that_is_not_the_announced_one_is_thrown_away() {
    let fixture = Fixture::new();
    let bytes = content(1000);
    let digest = Digest::of(&bytes);
    let mut writer = block_on(fixture.store.begin(&digest, 1000)).expect("begins");
    writer.write(&bytes[..999]).expect("writes");
    assert!(writer.finish().is_err_and(|e| e.is(ErrorKind::Corrupt)), "it is too short");
    let mut writer = block_on(fixture.store.begin(&digest, 1000)).expect("begins");
    assert_eq!(writer.offset(), 0, "nothing of it was kept");
    writer.write(&bytes[1..]).expect("writes");
    writer.write(&bytes[..1]).expect("writes");
    assert!(writer.write(b"x").is_err_and(|e| e.is(ErrorKind::Corrupt)), "it is too long");
    assert!(writer.finish().is_err_and(|e| e.is(ErrorKind::Corrupt)), "it is another one");
    assert_eq!(block_on(fixture.store.stat(&digest)).expect("stats"), None);
    let mut writer = block_on(fixture.store.begin(&digest, 1000)).expect("begins");
    writer.write(&bytes[1..]).expect("writes");
    writer.restart().expect("restarts");
    writer.write(&bytes).expect("writes");
    writer.finish().expect("is right");
}

#[test]
fn the_store_is_an_oci_layout() {
    let fixture = Fixture::new();
    let layout = std::fs::read_to_string(fixture.root().join("oci-layout")).expect("is there");
    let layout: serde_json::Value = serde_json::from_str(&layout).expect("is JSON");
    assert_eq!(layout["imageLayoutVersion"], "1.0.0");
    let index = std::fs::read_to_string(fixture.root().join("index.json")).expect("is there");
    let index: serde_json::Value = serde_json::from_str(&index).expect("is JSON");
    assert_eq!(index["schemaVersion"], 2);
}

const WORKER: &str = "ENGINE_TEST_BLOB_WORKER";

/// One of the processes of the test below: writes the blob, piece by piece, and is killed on the way or finishes.
#[test]
fn worker_of_many_processes() {
    let Ok(root) = std::env::var(WORKER) else { return };
    let root = std::path::PathBuf::from(root);
    let store = Store::open(&root).expect("opens");
    let store = OverlayStore::open(&root, store, UnpackLimits::default()).expect("opens");
    let bytes = content(4 << 20);
    let mut writer = block_on(store.begin(&Digest::of(&bytes), bytes.len() as u64)).expect("begins");
    while writer.offset() < bytes.len() as u64 {
        let at = writer.offset() as usize;
        writer.write(&bytes[at..(at + 100_000).min(bytes.len())]).expect("writes");
        std::thread::sleep(Duration::from_millis(1));
    }
    writer.finish().expect("is right");
}

#[test]
fn many_processes_that_are_killed_leave_one_whole_blob() {
    let fixture = Fixture::new();
    let bytes = content(4 << 20);
    let digest = Digest::of(&bytes);
    let spawn = || {
        Command::new(std::env::current_exe().expect("this program"))
            .args(["--exact", "image::overlay::tests::blobs::worker_of_many_processes"])
            .env(WORKER, fixture.root())
            .stdout(std::process::Stdio::null())
            .spawn()
            .expect("starts")
    };
    let mut workers: Vec<_> = (0..6).map(|_| spawn()).collect();
    for (n, mut victim) in workers.drain(..3).enumerate() {
        std::thread::sleep(Duration::from_millis(15 * (n as u64 + 1)));
        victim.kill().expect("kills");
        victim.wait().expect("waits");
        if let Some(size) = block_on(fixture.store.stat(&digest)).expect("stats") {
            assert_eq!(size, bytes.len() as u64, "a part of the blob was visible");
        }
    }
    for mut worker in workers {
        assert!(worker.wait().expect("waits").success());
    }
    let mut read = Vec::new();
    block_on(fixture.store.read(&digest, 0)).expect("opens").read_to_end(&mut read).expect("reads");
    assert!(read == bytes);
    assert_eq!(block_on(BlobStore::sweep(&fixture.store)).expect("sweeps"), 0);
}
