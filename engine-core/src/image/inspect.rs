//! All that is known of an image, in the shape of docker's inspect.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::config::ImageConfig;
use super::driver::NamedImage;
use super::info::ImageInfo;
use super::resolve::{no_such_image, resolve};
use crate::error::{Error, Result};
use crate::parts::Parts;
use crate::reference::Reference;

/// What docker writes where there is no time.
const NO_TIME: &str = "0001-01-01T00:00:00Z";

pub(super) async fn inspect(parts: &Parts, name: &str) -> Result<ImageInfo> {
    let image = resolve(parts, name).await?;
    let named = parts.images.get(&image.id).await?.ok_or_else(|| no_such_image(name))?;
    describe(named)
}

/// The labels of the configuration.
pub(super) fn labels(config: ImageConfig) -> BTreeMap<String, String> {
    config.config.labels
}

fn describe(named: NamedImage) -> Result<ImageInfo> {
    let NamedImage { image, tags, digests, tagged } = named;
    let raw: Map<String, Value> = serde_json::from_str(&image.config).map_err(|e| {
        Error::internal(format!("image {}", image.id.short()), "its configuration").caused_by(e)
    })?;
    let text = |key: &str| raw.get(key).and_then(Value::as_str).unwrap_or_default();
    let diffs: Vec<&str> = image.layers.iter().map(|layer| layer.diff_id.as_str()).collect();
    let comment = match text("comment") {
        // Where it is not said of the image it may be said of its last step.
        "" => raw
            .get("history")
            .and_then(Value::as_array)
            .and_then(|steps| steps.last()?.get("comment")?.as_str())
            .unwrap_or_default(),
        comment => comment,
    };
    let details = [
        ("Parent", json!("")),
        ("Comment", json!(comment)),
        ("DockerVersion", json!(text("docker_version"))),
        ("Author", json!(text("author"))),
        ("Config", run_config(raw.get("config"))),
        ("Variant", json!(image.platform.variant.clone().unwrap_or_default())),
        ("OsVersion", json!(text("os.version"))),
        ("VirtualSize", json!(image.size)),
        ("GraphDriver", json!({"Name": "overlay2", "Data": {}})),
        ("RootFS", json!({"Type": "layers", "Layers": diffs})),
        ("Metadata", json!({"LastTagTime": tagged.map_or(NO_TIME.to_owned(), |time| time.to_string())})),
        ("Descriptor", json!({"mediaType": image.media_type, "digest": image.manifest})),
    ];
    let familiar = |names: &[Reference]| names.iter().map(Reference::familiar).collect();
    Ok(ImageInfo {
        repo_tags: familiar(&tags),
        repo_digests: familiar(&digests),
        created: image.created,
        architecture: image.platform.architecture,
        os: image.platform.os,
        size: image.size,
        id: image.id,
        details: details.into_iter().map(|(key, value)| (key.to_owned(), value)).collect(),
    })
}

/// The run part of the configuration, with the fields that docker's clients expect to be there, and whatever else the
/// image has.
fn run_config(config: Option<&Value>) -> Value {
    let mut filled = json!({
        "Hostname": "", "Domainname": "", "User": "", "AttachStdin": false, "AttachStdout": false,
        "AttachStderr": false, "Tty": false, "OpenStdin": false, "StdinOnce": false, "Env": null, "Cmd": null,
        "Image": "", "Volumes": null, "WorkingDir": "", "Entrypoint": null, "OnBuild": null, "Labels": null,
    });
    if let (Value::Object(filled), Some(Value::Object(config))) = (&mut filled, config) {
        filled.extend(config.clone());
    }
    filled
}
