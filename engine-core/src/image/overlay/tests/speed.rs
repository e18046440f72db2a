//! How long a layer takes, for whoever changes the way it goes: not run with the others.
//!
//! `ENGINE_TEST_LAYER=layer.tar.gz cargo test --release -p engine-core --lib speed -- --ignored --nocapture`

use std::fs::File;
use std::io::Read;
use std::time::Instant;

use super::{Fixture, block_on};
use crate::id::Digest;
use crate::image::driver::{BlobStore, LayerSource, LayerStore};
use crate::spec::Compression;

#[test]
#[ignore = "needs a layer, and an optimised build to say anything"]
fn speed() {
    use sha2::Digest as _;
    let path = std::env::var("ENGINE_TEST_LAYER").expect("ENGINE_TEST_LAYER names a layer");
    let mut head = [0; Compression::SNIFF];
    File::open(&path).expect("opens").read_exact(&mut head).expect("reads");
    let compression = Compression::sniff(&head);
    let open = || std::io::BufReader::new(File::open(&path).expect("opens"));
    let mut plain: Box<dyn Read> = match compression {
        Compression::Gzip => Box::new(flate2::bufread::MultiGzDecoder::new(open())),
        Compression::Zstd => Box::new(zstd::stream::read::Decoder::new(open()).expect("opens")),
        _ => Box::new(open()),
    };
    let mut hash = sha2::Sha256::new();
    let mut buffer = vec![0; 1 << 20];
    let mut size = 0;
    let begun = Instant::now();
    loop {
        match plain.read(&mut buffer).expect("reads") {
            0 => break,
            count => {
                hash.update(&buffer[..count]);
                size += count;
            }
        }
    }
    let diff_id = Digest::from_sha256(&hash.finalize());
    println!("decompression and digest alone, one thread: {:?} for {} MB", begun.elapsed(), size / 1_000_000);
    let compressed = std::fs::read(&path).expect("reads");
    let blob = Digest::of(&compressed);
    for _ in 0..3 {
        let fixture = Fixture::new();
        let begun = Instant::now();
        let mut writer = block_on(fixture.store.begin(&blob, compressed.len() as u64)).expect("begins");
        compressed.chunks(64 << 10).for_each(|chunk| writer.write(chunk).expect("writes"));
        writer.finish().expect("is right");
        let stored = begun.elapsed();
        let begun = Instant::now();
        block_on(async {
            let stream = fixture.store.read(&blob, 0).await.expect("opens");
            let layer = LayerSource { parent: None, diff_id: diff_id.clone(), compression, stream };
            fixture.store.apply(layer).await.expect("unpacks")
        });
        println!("blob stored in {stored:?}, layer unpacked in {:?}", begun.elapsed());
        let status = std::fs::read_to_string("/proc/self/status").expect("reads");
        let peak = status.lines().find(|line| line.starts_with("VmHWM")).unwrap_or_default();
        println!("{peak}, {} MB of it the test's own", compressed.len() / 1_000_000);
    }
}
