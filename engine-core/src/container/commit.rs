//! An image out of a container.

use serde_json::{Map, Value, json};

use super::{Container, facts, inspect, pause, plan, view};
use crate::error::{Error, ErrorKind, Result};
use crate::id::ImageId;
use crate::image::commit::Commit;
use crate::image::config::RunConfig;
use crate::image::driver::CaptureSpec;
use crate::image::hold::Hold;
use crate::image::{self, changes};
use crate::spec::CommitSpec;
use crate::store::containers::ContainerRow;

/// Makes the image.
pub(super) async fn commit(container: &Container, commit: CommitSpec) -> Result<ImageId> {
    let parts = &container.parts;
    let row = container.row().await?;
    let Some(id) = &row.record.image else {
        return Err(Error::new(ErrorKind::Unsupported, container.subject())
            .because("it was not made from an image, so there is nothing that its changes could be on top of")
            .with_remedy("export its files, and import them as an image"));
    };
    let base = parts.images.get(id).await?.ok_or_else(|| container.gone())?.image;
    // What it is made on has to stay, if the container should be removed meanwhile.
    let blobs = base.layers.iter().map(|layer| layer.blob.to_string());
    let held = row.record.chain.iter().map(ToString::to_string).chain(blobs).collect();
    let _hold = Hold::take(&parts.root, held).await?;
    // Looked up once more: only now it is certain that nothing of it goes.
    let config = plan::image_config(parts, &row.record).await?;
    // A bad change is told before gigabytes are copied.
    let run = run_config(&row, config.as_ref().map(|config| &config.config), &commit.changes)?;
    let held = commit.pause && pause::hold(container).await?;
    let layer = parts
        .images
        .capture(
            row.id.as_str(),
            CaptureSpec { chain: row.record.chain.clone(), take: false, mount_points: view::mount_points() },
        )
        .await;
    if held {
        pause::release(container).await?;
    }
    let layer = layer?;
    let CommitSpec { reference, author, comment, .. } = commit;
    let created_by = row.record.spec.command.join(" ");
    let created_by = match (created_by.is_empty(), &config) {
        (true, Some(config)) => config.config.cmd.join(" "),
        _ => created_by,
    };
    let told = (comment.clone().unwrap_or_default(), reference.as_ref().map(ToString::to_string));
    let image =
        image::commit::commit(parts, Commit { base, layer, run, created_by, author, comment, reference })
            .await?;
    let (comment, reference) = (told.0.as_str(), told.1.unwrap_or_default());
    let id = image.to_string();
    facts::tell(parts, &row, "commit", &[("comment", comment), ("imageID", &id), ("imageRef", &reference)]);
    Ok(image)
}

/// How to run the image: as the container is run, and with the instructions applied.
fn run_config(
    row: &ContainerRow,
    image: Option<&RunConfig>,
    instructions: &[String],
) -> Result<Map<String, Value>> {
    let Value::Object(mut shown) = inspect::config_of(row, image) else {
        return Err(Error::internal("a container's configuration", "it is no object"));
    };
    let mut run = Map::new();
    for key in [
        "User",
        "ExposedPorts",
        "Env",
        "Entrypoint",
        "Cmd",
        "Volumes",
        "WorkingDir",
        "Labels",
        "StopSignal",
        "Healthcheck",
    ] {
        let value = shown.remove(key).unwrap_or_default();
        // A variable that is only named was taken away, and what is empty need not be said.
        let value = match value {
            Value::Array(words) if key == "Env" => words
                .into_iter()
                .filter(|word| word.as_str().is_some_and(|word| word.contains('=')))
                .collect(),
            Value::Array(words) if words == [""] => Value::Null,
            value => value,
        };
        let empty = match &value {
            Value::Null => true,
            Value::String(text) => text.is_empty(),
            Value::Array(list) => list.is_empty(),
            Value::Object(map) => map.is_empty(),
            Value::Bool(_) | Value::Number(_) => false,
        };
        if !empty {
            run.insert(key.to_owned(), value);
        }
    }
    for (key, words) in
        image.into_iter().flat_map(|image| [("Shell", &image.shell), ("OnBuild", &image.on_build)])
    {
        if !words.is_empty() {
            run.insert(key.to_owned(), json!(words));
        }
    }
    instructions.iter().try_for_each(|instruction| changes::apply(&mut run, instruction))?;
    Ok(run)
}
