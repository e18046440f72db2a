use std::io::{Cursor, Read};

use serde_json::json;

use super::fake::Fake;
use super::{Bench, gzip, reference, tar};
use crate::error::ErrorKind;
use crate::id::Digest;
use crate::image::ImportSpec;
use crate::image::resolve::resolve;

fn boxed(bytes: &[u8]) -> Box<dyn Read + Send> {
    Box::new(Cursor::new(bytes.to_vec()))
}

fn named(name: &str) -> ImportSpec {
    ImportSpec { reference: Some(reference(name)), ..ImportSpec::default() }
}

#[tokio::test]
async fn an_archive_becomes_an_image_of_one_layer_however_it_is_compressed() {
    let bench = Bench::new(Fake::new());
    let plain = tar(&[("bin/sh", b"#!")]);
    let zstd = zstd::encode_all(&*plain, 1).expect("compresses");
    for (tag, archive) in [("plain", plain.clone()), ("gzip", gzip(&plain)), ("zstd", zstd)] {
        let id = bench.images.import(boxed(&archive), named(&format!("made:{tag}"))).await.expect("imports");
        let image = resolve(&bench.parts, &format!("made:{tag}")).await.expect("is there");
        assert_eq!((image.id.clone(), image.layers.len(), image.size), (id, 1, 2), "{tag}");
        assert_eq!(image.layers[0].diff_id, Digest::of(&plain));
    }
    assert_eq!(bench.content().await.1, 1, "it is one layer, three times");
    let unnamed = bench.images.import(boxed(&plain), ImportSpec::default()).await.expect("imports");
    assert!(bench.images.inspect(unnamed.as_str()).await.expect("is there").repo_tags.is_empty());
}

#[tokio::test]
async fn changes_message_and_platform_are_in_the_configuration() {
    let bench = Bench::new(Fake::new());
    let wish = ImportSpec {
        reference: Some(reference("made:1")),
        changes: ["CMD [\"/bin/sh\"]", "ENV A=b", "EXPOSE 80"].map(str::to_owned).into(),
        message: Some("by hand".to_owned()),
        platform: Some("linux/arm64/v8".parse().expect("well formed")),
    };
    bench.images.import(boxed(&tar(&[("a", b"b")])), wish).await.expect("imports");
    let info = serde_json::to_value(bench.images.inspect("made:1").await.expect("is there")).expect("json");
    assert_eq!(info["Config"]["Cmd"], json!(["/bin/sh"]));
    assert_eq!(info["Config"]["Env"], json!(["A=b"]));
    assert_eq!(info["Config"]["ExposedPorts"], json!({"80/tcp": {}}));
    assert_eq!((&info["Comment"], &info["Variant"]), (&json!("by hand"), &json!("v8")));
    let steps = bench.images.history("made:1").await.expect("is there");
    assert_eq!((steps.len(), &*steps[0].comment), (1, "by hand"));
}

#[tokio::test]
async fn what_cannot_be_imported_leaves_nothing() {
    let bench = Bench::new(Fake::new());
    let import = async |bytes: &[u8], wish: ImportSpec| {
        bench.images.import(boxed(bytes), wish).await.expect_err("is refused").kind()
    };
    let good = tar(&[("a", b"b")]);
    let bad_change = ImportSpec { changes: vec!["RUN make".to_owned()], ..ImportSpec::default() };
    assert_eq!(import(&good, bad_change).await, ErrorKind::InvalidInput);
    assert_eq!(import(&good, named(&format!("a@{}", Digest::of(b"")))).await, ErrorKind::InvalidInput);
    assert_eq!(import(b"", ImportSpec::default()).await, ErrorKind::InvalidInput);
    assert_eq!(import(b"\xfd7zXZ\0 and so on", ImportSpec::default()).await, ErrorKind::Unsupported);
    assert_eq!(import(&gzip(&good)[..20], ImportSpec::default()).await, ErrorKind::Corrupt);
    assert_eq!(import(&[b'x'; 2000], ImportSpec::default()).await, ErrorKind::Corrupt);
    crate::image::gc::sweep(&bench.parts).await.expect("sweeps");
    assert_eq!(bench.content().await, (0, 0));
}
