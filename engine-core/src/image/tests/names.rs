//! Names: given, listed, taken away.

use std::slice::from_ref;

use serde_json::json;

use super::fake::Fake;
use super::{Bench, Layer, reference, tar};
use crate::error::ErrorKind;
use crate::id::ImageId;
use crate::image::ImageListSpec;
use crate::spec::{Compression, Filter};

fn layer(text: &str) -> Layer {
    Layer::new(tar(&[("file", text.as_bytes())]), Compression::Gzip)
}

fn filter(conditions: &[&str]) -> Filter {
    let mut filter = Filter::new();
    conditions.iter().for_each(|condition| filter.add_text(condition).expect("well formed"));
    filter
}

/// Two images on one base, `r.test/app:1` and `r.test/app:2`.
async fn two() -> (Bench, ImageId, ImageId) {
    let fake = Fake::new();
    let base = layer("base of both");
    let labels = json!({"created": "2026-02-02T00:00:00Z", "config": {"Labels": {"kind": "second"}}});
    let (one, _) = fake.image("1", &[base.clone(), layer("one")], json!({}));
    let (other, _) = fake.image("2", &[base, layer("other")], labels);
    let bench = Bench::new(fake);
    bench.pull("r.test/app:1").await.expect("pulls");
    bench.pull("r.test/app:2").await.expect("pulls");
    (bench, one, other)
}

#[tokio::test]
async fn lists_obey_their_filters_and_know_what_is_shared() {
    let (bench, one, other) = two().await;
    bench.container(&one, false).await;
    let list = async |conditions: &[&str]| {
        let wish = ImageListSpec { filter: filter(conditions) };
        let listed = bench.images.list(&wish).await.unwrap_or_else(|e| panic!("{conditions:?}: {e}"));
        listed.into_iter().map(|summary| summary.id).collect::<Vec<_>>()
    };
    assert_eq!(list(&[]).await, [other.clone(), one.clone()], "newest first");
    assert_eq!(list(&["label=kind=second"]).await, from_ref(&other));
    assert_eq!(list(&["label!=kind"]).await, from_ref(&one));
    assert_eq!(list(&["reference=r.test/*:1"]).await, from_ref(&one));
    assert_eq!(list(&["reference=r.test/app"]).await.len(), 2);
    assert_eq!(list(&["before=r.test/app:2"]).await, from_ref(&one));
    assert_eq!(list(&["since=r.test/app:1"]).await, from_ref(&other));
    assert_eq!(list(&["until=2026-01-15"]).await, from_ref(&one));
    assert!(list(&["dangling=true"]).await.is_empty());
    for bad in ["dangling=maybe", "colour=red", "before=nothing", "until=soon"] {
        assert!(bench.images.list(&ImageListSpec { filter: filter(&[bad]) }).await.is_err(), "{bad}");
    }
    let summaries = bench.images.list(&ImageListSpec::default()).await.expect("lists");
    let base = "base of both".len() as u64;
    assert_eq!((summaries[1].size, summaries[1].shared_size, summaries[1].containers), (base + 3, base, 1));
    assert_eq!(summaries[0].tags, [reference("r.test/app:2")]);
    bench.images.tag("r.test/app:1", &reference("r.test/app:2")).await.expect("tags");
    let dangling =
        bench.images.list(&ImageListSpec { filter: filter(&["dangling=true"]) }).await.expect("lists");
    assert_eq!(dangling.len(), 1, "its tag went to the other");
}

#[tokio::test]
async fn an_image_is_known_by_any_name_it_was_given() {
    let (bench, one, _) = two().await;
    bench.images.tag("r.test/app:1", &reference("mine")).await.expect("tags");
    let info = bench.images.inspect("mine").await.expect("is found");
    assert_eq!((info.id, info.repo_tags), (one.clone(), vec!["mine:latest".into(), "r.test/app:1".into()]));
    let digest = reference(&format!("mine@{one}"));
    assert_eq!(bench.images.tag("mine", &digest).await.expect_err("no tag").kind(), ErrorKind::InvalidInput);
    assert_eq!(
        bench.images.tag("none", &reference("x")).await.expect_err("none").kind(),
        ErrorKind::NotFound
    );
    let other =
        format!("r.test/other@{}", bench.images.inspect("mine").await.expect("is found").repo_digests[0]);
    assert!(bench.images.inspect(&other).await.is_err(), "a digest is of its repository");
    let all = bench.images.list(&ImageListSpec::default()).await.expect("lists");
    let common = (0..64).take_while(|n| all[0].id.encoded()[..*n] == all[1].id.encoded()[..*n]).count() - 1;
    if common > 0 {
        let ambiguous = bench.images.inspect(&all[0].id.encoded()[..common]).await.expect_err("is ambiguous");
        assert_eq!(ambiguous.kind(), ErrorKind::Conflict);
    }
}

#[tokio::test]
async fn inspect_has_what_docker_s_clients_look_for() {
    let (bench, _, other) = two().await;
    let info =
        serde_json::to_value(bench.images.inspect("r.test/app:2").await.expect("is found")).expect("json");
    assert_eq!(info["Id"], json!(other));
    assert_eq!(info["Created"], "2026-02-02T00:00:00Z");
    assert_eq!((&info["Os"], &info["Architecture"]), (&json!("linux"), &json!("amd64")));
    assert_eq!(info["Config"]["Labels"]["kind"], "second");
    assert_eq!(info["Config"]["Entrypoint"], json!(null));
    assert_eq!(info["RootFS"]["Layers"].as_array().map(Vec::len), Some(2));
    assert_eq!(info["GraphDriver"]["Name"], "overlay2");
    assert!(info["Metadata"]["LastTagTime"].as_str().is_some_and(|time| time > "2026"));
    for key in ["Author", "Comment", "DockerVersion", "Parent", "Variant"] {
        assert_eq!(info[key], "", "{key}");
    }
}

#[tokio::test]
async fn history_tells_the_steps_newest_first() {
    let fake = Fake::new();
    let history = json!({"history": [
        {"created_by": "ADD base", "created": "2026-01-01T00:00:00Z"},
        {"created_by": "ENV A=1", "empty_layer": true, "comment": "no files"},
        {"created_by": "RUN make"},
    ]});
    let (id, _) = fake.image("1", &[layer("four"), layer("fifteen")], history);
    let bench = Bench::new(fake);
    bench.pull("r.test/app:1").await.expect("pulls");
    let steps = bench.images.history("r.test/app:1").await.expect("is there");
    let told: Vec<(&str, u64)> = steps.iter().map(|step| (&*step.created_by, step.size)).collect();
    assert_eq!(told, [("RUN make", 7), ("ENV A=1", 0), ("ADD base", 4)]);
    assert_eq!((steps[0].id.clone(), steps[0].tags.len(), steps[1].id.clone()), (Some(id), 1, None));
}

#[tokio::test]
async fn a_name_is_taken_away_and_the_image_with_its_last_name() {
    let (bench, one, _) = two().await;
    bench.images.tag("r.test/app:1", &reference("mine:1")).await.expect("tags");
    let report = bench.images.remove("mine:1", false).await.expect("is removed");
    assert_eq!((report.untagged, report.deleted.len()), (vec![reference("mine:1")], 0));
    let report = bench.images.remove("r.test/app:1", false).await.expect("is removed");
    assert_eq!(report.untagged.len(), 2, "its digest with it");
    assert_eq!(report.deleted.len(), 2, "the image and the layer that is not shared");
    assert_eq!(report.deleted[0], one);
    assert_eq!(bench.content().await, (4, 2), "what the other image needs");
    assert_eq!(bench.images.remove("mine:1", true).await.expect_err("is gone").kind(), ErrorKind::NotFound);
    bench.images.remove("r.test/app:2", false).await.expect("is removed");
    assert_eq!(bench.content().await, (0, 0));
}

#[tokio::test]
async fn an_image_in_use_is_not_removed() {
    let (bench, one, other) = two().await;
    let stopped = bench.container(&one, false).await;
    let says = async |name: &str, force: bool, words: &str| {
        let error = bench.images.remove(name, force).await.expect_err("is in use");
        assert_eq!(error.kind(), ErrorKind::Conflict, "{name}");
        assert!(error.to_string().contains(words), "{error}");
        assert!(error.remedy().is_some());
    };
    says("r.test/app:1", false, &format!("(must force) - container {} is using", stopped.short())).await;
    says(one.short(), false, "(must be forced) - image is being used by stopped container").await;
    bench.container(&other, true).await;
    for force in [false, true] {
        says(other.short(), force, "(cannot be forced) - image is being used by running container").await;
    }
    says("r.test/app:2", true, "(cannot be forced)").await;
    assert!(bench.images.inspect("r.test/app:2").await.is_ok(), "not even its name");
    let report = bench.images.remove("r.test/app:1", true).await.expect("is forced");
    assert_eq!(report.deleted, [one], "the image, but no layer under the container");
    assert_eq!(bench.content().await.1, 3);
    bench.remove_container(&stopped);
    crate::image::gc::sweep(&bench.parts).await.expect("sweeps");
    assert_eq!(bench.content().await.1, 2);
}

#[tokio::test]
async fn by_identifier_all_names_go_if_they_are_of_one_repository() {
    let (bench, one, other) = two().await;
    bench.images.tag("r.test/app:1", &reference("mine:1")).await.expect("tags");
    let error = bench.images.remove(one.short(), false).await.expect_err("several repositories");
    assert!(
        error.to_string().contains("(must be forced) - image is referenced in multiple repositories"),
        "{error}"
    );
    let report = bench.images.remove(one.short(), true).await.expect("is forced");
    assert_eq!(report.untagged.len(), 3);
    let report = bench.images.remove(other.short(), false).await.expect("is removed");
    assert_eq!((report.untagged.len(), report.deleted.len()), (2, 3));
    assert_eq!(bench.content().await, (0, 0));
}

#[tokio::test]
async fn prune_takes_what_nobody_needs() {
    let (bench, one, other) = two().await;
    bench.images.tag("r.test/app:1", &reference("r.test/app:2")).await.expect("tags");
    let nothing = bench.images.prune(&filter(&["label=kind=first"])).await.expect("prunes");
    assert!(nothing.removed.deleted.is_empty());
    assert!(
        bench.images.prune(&filter(&["until=2026-01-15"])).await.expect("prunes").removed.deleted.is_empty()
    );
    let report = bench.images.prune(&Filter::new()).await.expect("prunes");
    assert_eq!(report.removed.deleted.first(), Some(&other));
    assert!(report.reclaimed > 5);
    let user = bench.container(&one, false).await;
    let all = filter(&["dangling=false"]);
    assert!(
        bench.images.prune(&all).await.expect("prunes").removed.deleted.is_empty(),
        "a container needs it"
    );
    bench.remove_container(&user);
    assert_eq!(bench.images.prune(&all).await.expect("prunes").removed.deleted.first(), Some(&one));
    assert_eq!(bench.content().await, (0, 0));
}
