//! Load and save, without anybody else's tools.

use std::io::{Cursor, Read, Write};
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use super::fake::Fake;
use super::{Bench, Layer, app, config, gzip, reference, tar};
use crate::error::{ErrorKind, Result};
use crate::event::LoadEvent;
use crate::id::{Digest, ImageId};
use crate::image::SaveFormat;
use crate::image::manifest::{OCI_CONFIG, OCI_INDEX, OCI_MANIFEST};
use crate::spec::Compression;

/// Where an archive is written to.
#[derive(Clone, Default)]
pub(super) struct Sink(Arc<Mutex<Vec<u8>>>);

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().expect("no panic").extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

pub(super) async fn save(bench: &Bench, names: &[&str], format: SaveFormat) -> Vec<u8> {
    let sink = Sink::default();
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    bench.images.save(&names, format, Box::new(sink.clone())).await.expect("saves");
    std::mem::take(&mut sink.0.lock().expect("no panic"))
}

pub(super) async fn load(bench: &Bench, archive: &[u8]) -> Result<(Vec<ImageId>, Vec<String>)> {
    let archive: Box<dyn Read + Send> = Box::new(Cursor::new(archive.to_vec()));
    let mut load = bench.images.load(archive, None);
    let mut names = Vec::new();
    while let Some(LoadEvent::Loaded { name }) = load.next().await {
        names.push(name);
    }
    load.finish().await.map(|ids| (ids, names))
}

fn layers() -> Vec<Layer> {
    vec![
        Layer::new(tar(&[("one", b"1")]), Compression::Gzip),
        Layer::new(tar(&[("two", b"22")]), Compression::Zstd),
        Layer::new(tar(&[("three", b"333")]), Compression::None),
    ]
}

#[tokio::test]
async fn what_is_saved_is_loaded_with_names_and_manifests_as_they_were() {
    let bench = Bench::new(app(&layers()));
    let id = bench.pull("r.test/app:1").await.expect("pulls");
    bench.images.tag("r.test/app:1", &reference("mine")).await.expect("tags");
    let manifest = bench.parts.images.get(&id).await.expect("looks").expect("is there").image.manifest;
    for format in [SaveFormat::Docker, SaveFormat::Oci] {
        let archive = save(&bench, &["mine", "r.test/app:1", id.short()], format).await;
        assert_eq!(archive, save(&bench, &["mine", "r.test/app:1", id.short()], format).await);
        for archive in [archive.clone(), gzip(&archive), zstd::encode_all(&*archive, 1).expect("compresses")]
        {
            let other = Bench::new(Fake::new());
            let (ids, names) = load(&other, &archive).await.expect("loads");
            assert_eq!((ids, names), (vec![id.clone()], vec!["mine:latest".into(), "r.test/app:1".into()]));
            let loaded = other.parts.images.get(&id).await.expect("looks").expect("is there").image;
            assert_eq!(loaded.manifest, manifest);
            assert_eq!(other.content().await, (5, 3));
            load(&other, &archive).await.expect("loads again");
        }
    }
    let unnamed = save(&bench, &[id.as_str()], SaveFormat::Docker).await;
    let other = Bench::new(Fake::new());
    assert_eq!(load(&other, &unnamed).await.expect("loads").1, [id.to_string()]);
}

#[tokio::test]
async fn a_repository_alone_means_all_its_tags() {
    let fake = Fake::new();
    fake.image("1", &layers()[..1], json!({}));
    fake.image("2", &layers()[1..], json!({}));
    let bench = Bench::new(fake);
    for tag in ["1", "2"] {
        bench.pull(&format!("r.test/app:{tag}")).await.expect("pulls");
    }
    let archive = save(&bench, &["r.test/app"], SaveFormat::Docker).await;
    let other = Bench::new(Fake::new());
    let (ids, mut names) = load(&other, &archive).await.expect("loads");
    names.sort();
    assert_eq!((ids.len(), names), (2, vec!["r.test/app:1".to_owned(), "r.test/app:2".to_owned()]));
    let none = bench.images.save(&["none".to_owned()], SaveFormat::Docker, Box::new(Sink::default())).await;
    assert_eq!(none.expect_err("is not there").kind(), ErrorKind::NotFound);
}

/// An archive as `docker save` wrote it before version 25: a directory for each layer, with links between equal ones.
fn old_docker(layers: &[Layer], link: bool) -> (Vec<u8>, ImageId) {
    let config = config(layers, json!({}));
    let id = Digest::of(&config);
    let mut builder = tar::Builder::new(Vec::new());
    let mut file = |path: &str, content: &[u8]| {
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        builder.append_data(&mut header, path, content).expect("appends");
    };
    let mut paths = Vec::new();
    for (n, layer) in layers.iter().enumerate() {
        file(&format!("{n}{n}/VERSION"), b"1.0");
        file(&format!("{n}{n}/json"), b"{}");
        paths.push(format!("{n}{n}/layer.tar"));
        if n + 1 < layers.len() || !link {
            file(&format!("{n}{n}/layer.tar"), &layer.tar);
        }
    }
    let list = json!([{"Config": format!("{}.json", id.encoded()), "RepoTags": ["old:1"], "Layers": paths}]);
    file(&format!("{}.json", id.encoded()), &config);
    file("manifest.json", list.to_string().as_bytes());
    file("repositories", b"{}");
    if link {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(tar::EntryType::Symlink);
        header.set_size(0);
        let last = paths.last().expect("a layer").clone();
        builder.append_link(&mut header, last, "../00/layer.tar").expect("appends");
    }
    (builder.into_inner().expect("ends"), id)
}

#[tokio::test]
async fn archives_of_older_dockers_are_loaded() {
    let [one, two, _] = layers().try_into().ok().expect("three");
    for (layers, link) in [(vec![one.clone(), two], false), (vec![one.clone(), one], true)] {
        let (archive, id) = old_docker(&layers, link);
        let bench = Bench::new(Fake::new());
        let (ids, names) = load(&bench, &archive).await.expect("loads");
        assert_eq!((ids, names), (vec![id], vec!["old:1".to_owned()]));
        assert_eq!(bench.content().await.1, 2);
    }
}

#[tokio::test]
async fn an_archive_that_is_none_is_told_what_it_is() {
    let bench = Bench::new(Fake::new());
    let fails = async |files: &[(&str, &[u8])]| load(&bench, &tar(files)).await.expect_err("is refused");
    let root = fails(&[("bin/sh", b"x")]).await;
    assert!(root.remedy().is_some_and(|remedy| remedy.contains("import")), "a root file system");
    assert_eq!(fails(&[("repositories", b"{}")]).await.kind(), ErrorKind::Unsupported);
    assert_eq!(fails(&[("manifest.json", b"{")]).await.kind(), ErrorKind::Corrupt);
    let missing = json!([{"Config": "../../etc/passwd", "RepoTags": null, "Layers": []}]).to_string();
    assert_eq!(fails(&[("manifest.json", missing.as_bytes())]).await.kind(), ErrorKind::Corrupt);
    let loop_ = format!("blobs/sha256/{}", "0".repeat(64));
    assert_eq!(fails(&[(&loop_, b"not that"), ("index.json", b"{}")]).await.kind(), ErrorKind::Corrupt);
    assert!(load(&bench, b"").await.is_err());
    assert!(load(&bench, &[7; 5000]).await.is_err());
    assert_eq!(bench.content().await, (0, 0), "nothing of it is left");
}

/// An OCI layout with these blobs and this index.
fn layout(blobs: &[&[u8]], manifests: Value) -> Vec<u8> {
    let index = json!({"schemaVersion": 2, "manifests": manifests}).to_string();
    let named: Vec<(String, &[u8])> =
        blobs.iter().map(|blob| (format!("./blobs/sha256/{}", Digest::of(blob).encoded()), *blob)).collect();
    let mut files: Vec<(&str, &[u8])> = vec![("index.json", index.as_bytes())];
    files.extend(named.iter().map(|(path, blob)| (path.as_str(), *blob)));
    tar(&files)
}

fn manifest(layers: &[Layer], config: &[u8]) -> Vec<u8> {
    let layers: Vec<Value> = layers
        .iter()
        .map(|layer| json!({"mediaType": layer.media_type, "digest": layer.digest(), "size": layer.blob.len()}))
        .collect();
    json!({"schemaVersion": 2, "mediaType": OCI_MANIFEST, "layers": layers,
        "config": {"mediaType": OCI_CONFIG, "digest": Digest::of(config), "size": config.len()}})
    .to_string()
    .into_bytes()
}

#[tokio::test]
async fn of_a_layout_with_several_platforms_the_wanted_one_is_loaded() {
    let layers = layers();
    let (one, two) = (&layers[..1], &layers[1..2]);
    let configs = [config(one, json!({})), config(two, json!({"architecture": "arm64"}))];
    let manifests = [manifest(one, &configs[0]), manifest(two, &configs[1])];
    let entry = |at: usize, architecture: &str| {
        json!({"mediaType": OCI_MANIFEST, "digest": Digest::of(&manifests[at]), "size": manifests[at].len(),
            "platform": {"os": "linux", "architecture": architecture}})
    };
    let nested =
        json!({"mediaType": OCI_INDEX, "manifests": [entry(0, "amd64"), entry(1, "arm64")]}).to_string();
    let outer = json!([{"mediaType": OCI_INDEX, "digest": Digest::of(nested.as_bytes()), "size": nested.len(),
        "annotations": {"org.opencontainers.image.ref.name": "several:1"}}]);
    let blobs: [&[u8]; 7] = [
        &configs[0],
        &configs[1],
        &manifests[0],
        &manifests[1],
        &one[0].blob,
        &two[0].blob,
        nested.as_bytes(),
    ];
    let archive = layout(&blobs, outer);
    let arm = "linux/arm64".parse().expect("well formed");
    let bench = Bench::new(Fake::new());
    let ids = bench.images.load(Box::new(Cursor::new(archive.clone())), Some(arm)).await.expect("loads");
    assert_eq!(ids, [Digest::of(&configs[1])]);
    assert_eq!(bench.content().await, (3, 1), "what is for another platform is not kept");
    let s390x = "linux/s390x".parse().expect("well formed");
    let error =
        bench.images.load(Box::new(Cursor::new(archive)), Some(s390x)).await.expect_err("is not there");
    assert_eq!(error.kind(), ErrorKind::NotFound);
}

#[tokio::test]
async fn a_layout_that_lacks_something_or_has_no_end_is_refused() {
    let layers = layers();
    let config = config(&layers[..1], json!({}));
    let manifest = manifest(&layers[..1], &config);
    let entry = |bytes: &[u8], kind: &str| json!({"mediaType": kind, "digest": Digest::of(bytes), "size": 1});
    let bench = Bench::new(Fake::new());
    let whole: [&[u8]; 3] = [&config, &manifest, &layers[0].blob];
    for at in 0..3 {
        let blobs: Vec<&[u8]> =
            whole.iter().enumerate().filter(|(n, _)| *n != at).map(|(_, blob)| *blob).collect();
        let archive = layout(&blobs, json!([entry(&manifest, OCI_MANIFEST)]));
        assert!(load(&bench, &archive).await.is_err(), "without blob {at}");
    }
    // An index that names itself cannot be made, but one that nests without end is as bad.
    let mut inner = json!({"manifests": [entry(&manifest, OCI_MANIFEST)]}).to_string();
    let mut texts = vec![];
    for _ in 0..10 {
        texts.push(inner.clone());
        inner = json!({"manifests": [entry(inner.as_bytes(), OCI_INDEX)]}).to_string();
    }
    let blobs: Vec<&[u8]> = whole.into_iter().chain(texts.iter().map(|text| text.as_bytes())).collect();
    let last = texts.last().expect("one");
    let error = load(&bench, &layout(&blobs, json!([entry(last.as_bytes(), OCI_INDEX)]))).await;
    assert_eq!(error.expect_err("nests").kind(), ErrorKind::LimitExceeded);
    assert_eq!(bench.content().await, (0, 0));
}
