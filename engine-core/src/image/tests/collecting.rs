//! Collecting garbage while others make something of it.

use std::time::Duration;

use serde_json::json;

use super::fake::{Fake, Fault};
use super::{Bench, Layer, noise, tar};
use crate::image::driver::{BlobStore, LayerStore};
use crate::image::{gc, resolve};
use crate::spec::Compression;

#[tokio::test]
async fn what_a_pull_found_there_stays_though_its_image_is_removed_meanwhile() {
    let fake = Fake::new();
    let shared = Layer::new(tar(&[("shared", b"by both")]), Compression::Gzip);
    let large = Layer::new(tar(&[("large", &noise(50_000, 3))]), Compression::Gzip);
    fake.image("1", std::slice::from_ref(&shared), json!({}));
    fake.image("2", &[shared.clone(), large.clone()], json!({"author": "another"}));
    fake.fail(&large.digest(), &[Fault::Hang(10_000)]);
    let bench = Bench::new(fake.clone());
    bench.pull("r.test/app:1").await.expect("pulls");
    let mut pull = Box::pin(bench.pull("r.test/app:2"));
    // It stalls at its second layer, and takes that up again after a second.
    assert!(tokio::time::timeout(Duration::from_millis(300), &mut pull).await.is_err());
    let other = Bench::at(bench.root(), fake.clone());
    let report = other.images.remove("r.test/app:1", false).await.expect("is removed");
    assert_eq!(report.deleted.len(), 1, "the image, but not its layer");
    gc::sweep(&other.parts).await.expect("sweeps");
    pull.await.expect("pulls");
    let image = resolve::resolve(&bench.parts, "r.test/app:2").await.expect("is there");
    for chain in image.chain() {
        assert!(bench.parts.images.has(&chain).await.expect("looks"));
    }
    assert_eq!(fake.asked(&shared.digest()), [0]);
    let freed = gc::sweep(&bench.parts).await.expect("sweeps");
    assert_eq!(freed, gc::Freed::default(), "nothing of what is left is garbage");
}

#[tokio::test]
async fn a_sweep_takes_what_nothing_reaches_and_nothing_else() {
    let fake = Fake::new();
    let layers: Vec<Layer> = ["a", "bb", "ccc"]
        .map(|text| Layer::new(tar(&[("file", text.as_bytes())]), Compression::Gzip))
        .into();
    let (id, _) = fake.image("1", &layers, json!({}));
    let bench = Bench::new(fake);
    bench.pull("r.test/app:1").await.expect("pulls");
    assert_eq!(gc::sweep(&bench.parts).await.expect("sweeps"), gc::Freed::default());
    let chain = resolve::resolve(&bench.parts, id.as_str()).await.expect("is there").chain();
    bench.parts.images.forget(&id).await.expect("forgets");
    let freed = gc::sweep(&bench.parts).await.expect("sweeps");
    assert_eq!(freed.layers, chain.into_iter().rev().collect::<Vec<_>>(), "topmost first");
    assert_eq!(freed.blobs.len(), 5);
    assert!(freed.bytes > 6);
    assert!(BlobStore::list(&*bench.parts.images).await.expect("lists").is_empty());
    assert!(LayerStore::list(&*bench.parts.images).await.expect("lists").is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pulling_and_removing_at_the_same_time_never_leaves_an_image_with_gaps() {
    let layers: Vec<Layer> =
        (0..3).map(|n| Layer::new(tar(&[("data", &noise(20_000, n))]), Compression::Gzip)).collect();
    let fake = Fake::new();
    fake.image("1", &layers, json!({}));
    fake.image("2", &layers[..2], json!({"author": "another"}));
    let first = Bench::new(fake.clone());
    let second = Bench::at(first.root(), fake.clone());
    let work = async |bench: &Bench, name: &str| {
        for _ in 0..10 {
            bench.pull(name).await.expect("pulls");
            let image = resolve::resolve(&bench.parts, name).await.expect("is there");
            for layer in &image.layers {
                assert!(bench.parts.images.stat(&layer.blob).await.expect("looks").is_some());
            }
            for chain in image.chain() {
                assert!(bench.parts.images.has(&chain).await.expect("looks"));
            }
            bench.images.remove(name, false).await.expect("is removed");
        }
    };
    tokio::join!(work(&first, "r.test/app:1"), work(&second, "r.test/app:2"));
    assert_eq!(first.content().await, (0, 0));
}
