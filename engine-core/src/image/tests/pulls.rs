use std::time::Duration;

use serde_json::json;

use super::fake::{Fake, Fault};
use super::{Bench, Layer, app, config, noise, reference, tar};
use crate::error::ErrorKind;
use crate::event::PullEvent;
use crate::event::Reporter;
use crate::id::{ChainId, Digest};
use crate::image::PullSpec;
use crate::image::driver::{BlobStore, LayerStore};
use crate::image::manifest::{MAX_LAYERS, OCI_CONFIG, OCI_MANIFEST};
use crate::image::resolve::{ensure, resolve};
use crate::spec::{Compression, PullPolicy};

/// Layers of all three kinds.
fn three() -> [Layer; 3] {
    [
        Layer::new(tar(&[("etc/one", b"1")]), Compression::Gzip),
        Layer::new(tar(&[("etc/two", b"22")]), Compression::Zstd),
        Layer::new(tar(&[("etc/three", b"333")]), Compression::None),
    ]
}

/// A layer of so many bytes, in several chunks.
fn large(length: usize) -> Layer {
    Layer::new(tar(&[("data", &noise(length, 1))]), Compression::Gzip)
}

#[tokio::test]
async fn an_image_is_pulled_whole_and_found_by_its_names() {
    let layers = three();
    let fake = Fake::new();
    let (id, manifest) = fake.image("1", &layers, json!({}));
    let bench = Bench::new(fake);
    let mut pull = bench.images.pull(reference("r.test/app:1").into());
    let mut events = Vec::new();
    while let Some(event) = pull.next().await {
        events.push(event);
    }
    assert_eq!(pull.finish().await.expect("pulls"), id);
    assert!(
        matches!(&events[0], PullEvent::Resolved { digest, layers } if *digest == manifest && layers.len() == 3)
    );
    let done = events.iter().filter(|event| matches!(event, PullEvent::Complete { .. })).count();
    assert_eq!(done, 3, "{events:?}");
    let by_digest = format!("r.test/app@{manifest}");
    for name in ["r.test/app:1", &by_digest, id.as_str(), id.encoded(), id.short(), &id.as_str()[..12]] {
        assert_eq!(resolve(&bench.parts, name).await.unwrap_or_else(|e| panic!("{name}: {e}")).id, id);
    }
    let image = resolve(&bench.parts, "r.test/app:1").await.expect("is found");
    assert_eq!((image.size, image.manifest.clone()), (6, manifest));
    for chain in image.chain() {
        assert!(bench.parts.images.has(&chain).await.expect("looks"));
    }
    assert_eq!(bench.content().await, (5, 3), "three layers, configuration, manifest");
}

#[tokio::test]
async fn what_is_there_is_not_fetched_again_however_it_is_compressed() {
    let [one, two, three] = three();
    let fake = app(&[one.clone(), two.clone()]);
    let again = Layer::new(two.tar.clone(), Compression::Gzip);
    fake.image("2", &[one.clone(), again.clone(), three.clone()], json!({"author": "another"}));
    let bench = Bench::new(fake.clone());
    bench.pull("r.test/app:1").await.expect("pulls");
    bench.pull("r.test/app:1").await.expect("pulls again");
    bench.pull("r.test/app:2").await.expect("pulls the other");
    assert_eq!(fake.asked(&one.digest()), [0]);
    assert_eq!(fake.asked(&two.digest()), [0]);
    assert!(fake.asked(&again.digest()).is_empty(), "its content is there, compressed otherwise");
    assert_eq!(fake.asked(&three.digest()), [0]);
    let image = resolve(&bench.parts, "r.test/app:2").await.expect("is found");
    assert_eq!(image.layers[1].blob, two.digest());
}

#[tokio::test]
async fn a_layer_that_is_gone_is_unpacked_from_its_blob_and_a_blob_that_is_gone_is_fetched() {
    let layers = three();
    let fake = app(&layers);
    let bench = Bench::new(fake.clone());
    bench.pull("r.test/app:1").await.expect("pulls");
    let chain = resolve(&bench.parts, "r.test/app:1").await.expect("is found").chain();
    LayerStore::delete(&*bench.parts.images, &chain[2]).await.expect("deletes");
    BlobStore::delete(&*bench.parts.images, &layers[0].digest()).await.expect("deletes");
    bench.pull("r.test/app:1").await.expect("pulls");
    assert_eq!(fake.asked(&layers[2].digest()), [0]);
    assert_eq!(fake.asked(&layers[0].digest()), [0, 0]);
    assert!(bench.parts.images.has(&chain[2]).await.expect("looks"));
}

#[tokio::test]
async fn a_broken_transfer_goes_on_where_it_broke() {
    let layer = large(100_000);
    let fake = app(std::slice::from_ref(&layer));
    let digest = layer.digest();
    fake.fail(&digest, &[Fault::Cut(25_000), Fault::Short(30_000), Fault::Whole]);
    let bench = Bench::new(fake.clone());
    let mut pull = bench.images.pull(reference("r.test/app:1").into());
    let mut retries = Vec::new();
    while let Some(event) = pull.next().await {
        if let PullEvent::Retrying { attempt, .. } = event {
            retries.push(attempt);
        }
    }
    pull.finish().await.expect("pulls");
    assert_eq!(retries, [1, 2]);
    assert_eq!(fake.asked(&digest), [0, 25_000, 55_000]);
}

#[tokio::test]
async fn what_an_interrupted_pull_got_is_kept_for_the_next_one() {
    let layer = large(100_000);
    let fake = app(std::slice::from_ref(&layer));
    let digest = layer.digest();
    fake.fail(&digest, &[Fault::Cut(10_000); 5]);
    let bench = Bench::new(fake.clone());
    let error = bench.pull("r.test/app:1").await.expect_err("five times cut");
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert_eq!(bench.content().await, (0, 0));
    bench.pull("r.test/app:1").await.expect("pulls");
    assert_eq!(fake.asked(&digest), [0, 10_000, 20_000, 30_000, 40_000, 50_000]);
}

#[tokio::test]
async fn a_partial_blob_that_is_no_beginning_of_it_is_begun_anew() {
    let layer = large(100_000);
    let fake = app(std::slice::from_ref(&layer));
    let bench = Bench::new(fake.clone());
    let mut writer =
        bench.parts.images.begin(&layer.digest(), layer.blob.len() as u64).await.expect("begins");
    writer.write(&[7; 5000]).expect("writes");
    drop(writer);
    bench.pull("r.test/app:1").await.expect("pulls");
    assert_eq!(fake.asked(&layer.digest()), [5000, 0]);
}

#[tokio::test]
async fn nothing_is_kept_of_content_that_is_not_what_its_digest_says() {
    let layer = large(100_000);
    let fake = app(std::slice::from_ref(&layer));
    fake.fail(&layer.digest(), &[Fault::Wrong]);
    let bench = Bench::new(fake.clone());
    let error = bench.pull("r.test/app:1").await.expect_err("is refused");
    assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
    assert_eq!(bench.content().await, (0, 0));
    bench.pull("r.test/app:1").await.expect("pulls");
    assert_eq!(fake.asked(&layer.digest()), [0, 0], "not even the good part of it");
}

#[tokio::test]
async fn a_layer_that_is_not_the_one_of_the_configuration_is_refused() {
    let [one, two, _] = three();
    let fake = Fake::new();
    let mixed = Layer { tar: two.tar, ..one };
    fake.image("1", &[mixed], json!({}));
    let bench = Bench::new(fake);
    assert_eq!(bench.pull("r.test/app:1").await.expect_err("is refused").kind(), ErrorKind::Corrupt);
    assert_eq!(bench.content().await.1, 0);
    assert!(bench.parts.images.images().await.expect("lists").is_empty());
}

#[tokio::test]
async fn the_same_layer_twice_is_fetched_once() {
    let [one, two, _] = three();
    let fake = app(&[one.clone(), two.clone(), one.clone(), one.clone()]);
    let bench = Bench::new(fake.clone());
    bench.pull("r.test/app:1").await.expect("pulls");
    assert_eq!(fake.asked(&one.digest()), [0]);
    assert_eq!(bench.content().await, (4, 4));
}

#[tokio::test]
async fn an_image_without_layers_is_an_image() {
    let bench = Bench::new(app(&[]));
    bench.pull("r.test/app:1").await.expect("pulls");
}

#[tokio::test]
async fn what_is_without_bounds_is_refused_before_it_is_fetched() {
    let [one, ..] = three();
    let fake = Fake::new();
    let descriptor = json!({"mediaType": one.media_type, "digest": one.digest(), "size": one.blob.len()});
    let layers: Vec<_> = (0..=MAX_LAYERS).map(|_| descriptor.clone()).collect();
    let id = fake.blob(&config(&[], json!({})));
    let small = json!({"mediaType": OCI_CONFIG, "digest": id, "size": 10});
    let huge = json!({"mediaType": OCI_CONFIG, "digest": id, "size": 1u64 << 30});
    let many = json!({"config": small, "layers": layers}).to_string();
    let padded = format!("{}{}", many, " ".repeat(5 << 20));
    let config = json!({"config": huge, "layers": []}).to_string();
    for (tag, text) in [("many", many), ("padded", padded), ("config", config)] {
        fake.document(tag, OCI_MANIFEST, text);
    }
    let bench = Bench::new(fake.clone());
    for tag in ["many", "padded", "config"] {
        let error = bench.pull(&format!("r.test/app:{tag}")).await.expect_err("is refused");
        assert_eq!(error.kind(), ErrorKind::LimitExceeded, "{tag}: {error}");
    }
    assert!(fake.asked(&id).is_empty());
}

#[tokio::test]
async fn a_configuration_that_lies_about_its_size_or_layers_is_refused() {
    let [one, two, _] = three();
    let fake = Fake::new();
    let config = config(std::slice::from_ref(&one), json!({}));
    let id = fake.blob(&config);
    let layer = |layer: &Layer| {
        fake.blob(&layer.blob);
        json!({"mediaType": layer.media_type, "digest": layer.digest(), "size": layer.blob.len()})
    };
    let with = |size: usize, layers: serde_json::Value| {
        json!({"config": {"mediaType": OCI_CONFIG, "digest": id, "size": size}, "layers": layers}).to_string()
    };
    fake.document("short", OCI_MANIFEST, with(config.len() - 1, json!([layer(&one)])));
    fake.document("more", OCI_MANIFEST, with(config.len(), json!([layer(&one), layer(&two)])));
    let bench = Bench::new(fake);
    for tag in ["short", "more"] {
        let error = bench.pull(&format!("r.test/app:{tag}")).await.expect_err("is refused");
        assert_eq!(error.kind(), ErrorKind::Corrupt, "{tag}: {error}");
    }
    assert_eq!(bench.content().await, (0, 0));
}

#[tokio::test]
async fn of_an_index_the_wanted_platform_is_pulled() {
    let [one, two, _] = three();
    let fake = Fake::new();
    let (amd, amd_manifest) = fake.image("a", &[one], json!({}));
    let (arm, arm_manifest) = fake.image("b", &[two], json!({"architecture": "arm64"}));
    let index = fake.index("1", &[("linux/arm64", arm_manifest), ("linux/amd64", amd_manifest)]);
    let bench = Bench::new(fake);
    if crate::spec::Platform::host().architecture == "amd64" {
        assert_eq!(bench.pull("r.test/app:1").await.expect("pulls"), amd);
    }
    let wanted =
        PullSpec::new(reference("r.test/app:1")).platform("linux/arm64".parse().expect("well formed"));
    assert_eq!(bench.images.pull(wanted).await.expect("pulls"), arm);
    let info = bench.images.inspect("r.test/app:1").await.expect("is found");
    assert_eq!(info.repo_digests, [format!("r.test/app@{index}")], "as docker notes it: the index");
    let absent =
        PullSpec::new(reference("r.test/app:1")).platform("linux/s390x".parse().expect("well formed"));
    let error = bench.images.pull(absent).await.expect_err("is not there");
    assert!(error.remedy().is_some_and(|remedy| remedy.contains("linux/amd64, linux/arm64")));
    let other =
        PullSpec::new(reference("r.test/app:a")).platform("linux/arm64".parse().expect("well formed"));
    assert_eq!(bench.images.pull(other).await.expect_err("is for amd64").kind(), ErrorKind::NotFound);
}

#[tokio::test]
async fn a_pull_that_is_dropped_leaves_nothing_half_and_the_next_one_goes_on() {
    let layer = large(100_000);
    let fake = app(std::slice::from_ref(&layer));
    fake.fail(&layer.digest(), &[Fault::Hang(50_000)]);
    let bench = Bench::new(fake.clone());
    let pull = bench.pull("r.test/app:1");
    assert!(tokio::time::timeout(Duration::from_millis(400), pull).await.is_err(), "it hangs");
    assert_eq!(bench.content().await, (0, 0));
    bench.pull("r.test/app:1").await.expect("pulls");
    assert_eq!(fake.asked(&layer.digest()), [0, 50_000]);
    let unfinished = LayerStore::sweep(&*bench.parts.images).await.expect("sweeps");
    assert_eq!(unfinished, 0);
}

#[tokio::test]
async fn a_transfer_that_stalls_is_taken_up_again() {
    let layer = large(100_000);
    let fake = app(std::slice::from_ref(&layer));
    fake.fail(&layer.digest(), &[Fault::Hang(50_000)]);
    let bench = Bench::new(fake.clone());
    bench.pull("r.test/app:1").await.expect("pulls");
    assert_eq!(fake.asked(&layer.digest()), [0, 50_000]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pulls_of_the_same_image_at_the_same_time_do_the_work_once() {
    let layers: Vec<Layer> =
        (0..4).map(|n| Layer::new(tar(&[("data", &noise(300_000, n))]), Compression::Gzip)).collect();
    let fake = app(&layers);
    let first = Bench::new(fake.clone());
    let others: Vec<Bench> = (0..3).map(|_| Bench::at(first.root(), fake.clone())).collect();
    let pulls = others.iter().map(|bench| bench.pull("r.test/app:1"));
    for id in futures_util::future::join_all(pulls).await {
        id.expect("pulls");
    }
    for layer in &layers {
        assert_eq!(fake.asked(&layer.digest()), [0]);
    }
    assert_eq!(first.content().await, (6, 4));
}

#[tokio::test]
async fn an_image_for_another_system_is_refused() {
    let fake = Fake::new();
    fake.image("1", &[], json!({"os": "windows"}));
    let error = Bench::new(fake).pull("r.test/app:1").await.expect_err("is refused");
    assert_eq!(error.kind(), ErrorKind::Unsupported);
}

#[tokio::test]
async fn the_policy_decides_whether_a_registry_is_asked() {
    let layers = three();
    let fake = app(&layers);
    let bench = Bench::new(fake.clone());
    let get = async |name: &str, policy| ensure(&bench.parts, name, policy, None, &Reporter::deaf()).await;
    let error = get("r.test/app:1", PullPolicy::Never).await.expect_err("is not there");
    assert_eq!(
        (error.kind(), error.to_string()),
        (ErrorKind::NotFound, "No such image: r.test/app:1".into())
    );
    assert!(error.remedy().is_some());
    let id = get("r.test/app:1", PullPolicy::Missing).await.expect("pulls").id;
    assert_eq!(get("r.test/app:1", PullPolicy::Never).await.expect("is there").id, id);
    let (newer, _) = fake.image("1", &layers, json!({"author": "newer"}));
    assert_eq!(get("r.test/app:1", PullPolicy::Missing).await.expect("is there").id, id);
    assert_eq!(get("r.test/app:1", PullPolicy::Always).await.expect("pulls").id, newer);
    assert_eq!(get(id.short(), PullPolicy::Always).await.expect("an identifier is no place").id, id);
    assert!(get("Not A Name", PullPolicy::Missing).await.is_err());
    let s390x = Some("linux/s390x".parse().expect("well formed"));
    let error = ensure(&bench.parts, "r.test/app:1", PullPolicy::Never, s390x, &Reporter::deaf()).await;
    assert_eq!(error.expect_err("is for another platform").kind(), ErrorKind::NotFound);
}

#[test]
fn layers_are_paired_with_what_the_configuration_calls_them() {
    use crate::spec::Descriptor;
    let blobs: Vec<Descriptor> = (0..2).map(|n: u8| Descriptor::new("x", Digest::of(&[n]), 1)).collect();
    let diffs: Vec<Digest> = (2..4).map(|n: u8| Digest::of(&[n])).collect();
    let pairs = crate::image::layers::pair("image", &blobs, &diffs).expect("equally many");
    let chain = ChainId::chain(&diffs);
    assert_eq!((pairs[0].parent.clone(), pairs[1].parent.clone()), (None, Some(chain[0].clone())));
    assert_eq!(pairs[1].chain, chain[1]);
    assert!(crate::image::layers::pair("image", &blobs, &diffs[..1]).is_err());
}
