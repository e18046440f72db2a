use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::id::Digest;

fn digest(n: u8) -> String {
    Digest::of(&[n]).to_string()
}

fn descriptor(media_type: &str, n: u8) -> serde_json::Value {
    json!({"mediaType": media_type, "digest": digest(n), "size": 10})
}

fn image(layers: serde_json::Value) -> serde_json::Value {
    json!({"schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": descriptor(OCI_CONFIG, 0), "layers": layers})
}

fn read(declared: Option<&str>, document: &serde_json::Value) -> Result<Parsed> {
    parse("image x", declared, document.to_string().as_bytes())
}

fn kind(declared: Option<&str>, document: &serde_json::Value) -> ErrorKind {
    read(declared, document).expect_err("is refused").kind()
}

#[test]
fn both_families_of_manifests_are_read() {
    for (own, config, layer) in [
        (OCI_MANIFEST, OCI_CONFIG, LAYERS[1]),
        (OCI_MANIFEST, OCI_CONFIG, LAYERS[2]),
        (DOCKER_MANIFEST, DOCKER_CONFIG, LAYERS[4]),
    ] {
        let document = json!({"schemaVersion": 2, "mediaType": own, "config": descriptor(config, 0),
            "layers": [descriptor(layer, 1), descriptor(layer, 1)], "annotations": {"a": "b"}, "later": [1]});
        match read(Some(own), &document).expect("is read") {
            Parsed::Manifest(manifest) => {
                assert_eq!((manifest.layers.len(), &*manifest.media_type), (2, own))
            }
            Parsed::Index(_) => panic!("it is no index"),
        }
        assert!(read(Some("text/plain; charset=utf-8"), &document).is_ok(), "what a server does not know");
        assert!(read(None, &document).is_ok());
    }
}

#[test]
fn an_index_keeps_what_can_be_fetched_and_verified() {
    let mut unverifiable = descriptor(OCI_MANIFEST, 1);
    unverifiable["digest"] = json!(format!("sha512:{}", "0".repeat(128)));
    let mut painted = descriptor(OCI_MANIFEST, 4);
    painted["platform"] = json!({"os": "linux", "architecture": "\u{1b}[31mamd64"});
    let mut silent = descriptor(OCI_INDEX, 2);
    silent["platform"] = json!({"os": "", "architecture": ""});
    let document = json!({"schemaVersion": 2, "manifests": [
        descriptor(DOCKER_MANIFEST, 1), silent, descriptor("application/x", 3), unverifiable, painted,
    ]});
    match read(Some(OCI_INDEX), &document).expect("is read") {
        Parsed::Index(index) => assert_eq!(index.entries.len(), 2),
        Parsed::Manifest(_) => panic!("it is an index"),
    }
}

#[test]
fn documents_that_contradict_themselves_are_corrupt() {
    let mut both = image(json!([]));
    both["manifests"] = json!([]);
    assert_eq!(kind(None, &both), ErrorKind::Corrupt);
    assert_eq!(kind(Some(DOCKER_MANIFEST), &image(json!([]))), ErrorKind::Corrupt);
    assert_eq!(kind(Some(OCI_MANIFEST), &json!({"schemaVersion": 2, "manifests": []})), ErrorKind::Corrupt);
    assert_eq!(kind(Some(OCI_INDEX), &json!({"config": descriptor(OCI_CONFIG, 0)})), ErrorKind::Corrupt);
    assert_eq!(kind(None, &json!({"schemaVersion": 2})), ErrorKind::Corrupt);
    assert_eq!(kind(None, &json!([])), ErrorKind::Corrupt);
    let twice = format!("{{\"manifests\": [], \"manifests\": [], \"x\": {}}}", 1);
    assert!(parse("image x", None, twice.as_bytes()).is_err(), "a field that is there twice");
    let mut bad = image(json!([descriptor(LAYERS[0], 1)]));
    bad["layers"][0]["digest"] = json!("sha256:../../etc/passwd");
    assert_eq!(kind(None, &bad), ErrorKind::Corrupt);
    bad["layers"][0]["size"] = json!(-1);
    assert_eq!(kind(None, &bad), ErrorKind::Corrupt);
}

#[test]
fn what_is_no_image_that_can_run_is_unsupported_and_says_what_it_is() {
    let says = |document: &serde_json::Value, word: &str| {
        let error = read(None, document).expect_err("is refused");
        assert_eq!(error.kind(), ErrorKind::Unsupported);
        assert!(error.to_string().contains(word), "{error}");
    };
    says(&json!({"schemaVersion": 1, "fsLayers": [], "signatures": []}), "schema 1");
    says(
        &image(json!([descriptor("application/vnd.oci.image.layer.v1.tar+gzip+encrypted", 1)])),
        "encrypted",
    );
    says(
        &image(json!([descriptor("application/vnd.docker.image.rootfs.foreign.diff.tar.gzip", 1)])),
        "foreign",
    );
    says(&image(json!([descriptor("application/x-squashfs", 1)])), "x-squashfs");
    let mut chart = image(json!([]));
    chart["config"]["mediaType"] = json!("application/vnd.cncf.helm.config.v1+json");
    says(&chart, "helm");
    let error = read(Some(SCHEMA_1[1]), &json!({})).expect_err("is refused");
    assert!(error.remedy().is_some());
}

#[test]
fn too_much_of_anything_is_refused_and_the_limit_is_named() {
    let layers: Vec<_> = (0..=MAX_LAYERS).map(|_| descriptor(LAYERS[1], 1)).collect();
    let entries: Vec<_> = (0..=MAX_ENTRIES).map(|_| descriptor(OCI_MANIFEST, 1)).collect();
    let mut config = image(json!([]));
    config["config"]["size"] = json!(u64::MAX);
    for (document, limit) in [
        (image(json!(layers)), MAX_LAYERS as u64),
        (json!({"manifests": entries}), MAX_ENTRIES as u64),
        (config, MAX_CONFIG),
    ] {
        let error = read(None, &document).expect_err("is refused");
        assert_eq!(error.kind(), ErrorKind::LimitExceeded);
        assert!(error.to_string().contains(&limit.to_string()), "{error}");
    }
    let big = vec![b' '; usize::try_from(MAX_DOCUMENT).expect("fits") + 1];
    assert_eq!(parse("image x", None, &big).expect_err("is refused").kind(), ErrorKind::LimitExceeded);
    let deep = "[".repeat(100_000);
    assert!(parse("image x", None, format!("{{\"x\":{deep}").as_bytes()).is_err());
}

#[test]
fn a_composed_manifest_is_one_that_is_read() {
    let config = Descriptor::new(OCI_CONFIG, Digest::of(b"config"), 6);
    let layers = [Descriptor::new(LAYERS[0], Digest::of(b"layer"), 5)];
    let bytes = compose(&config, &layers).expect("is composed");
    match parse("image x", Some(OCI_MANIFEST), &bytes).expect("is read") {
        Parsed::Manifest(manifest) => {
            assert_eq!((manifest.config, manifest.layers), (config, layers.to_vec()))
        }
        Parsed::Index(_) => panic!("it is no index"),
    }
}

proptest! {
    #[test]
    fn parsing_never_panics(text in "[\\[\\]{}\",:a-zA-Z0-9./+]{0,300}") {
        let _ = parse("image x", None, text.as_bytes());
    }
}
