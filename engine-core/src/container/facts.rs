//! What a container's events say of it: one call for each thing that happened, when it has.

use std::collections::BTreeMap;

use super::record::ContainerRecord;
use crate::event::{EventKind, SystemEvent};
use crate::id::{ContainerId, ContainerName};
use crate::journal;
use crate::parts::Parts;
use crate::runtime::driver::EventSource;
use crate::spec::{MountKind, RootSource};
use crate::store::containers::ContainerRow;

/// Tells that `action` happened to the container; `more` are attributes that belong to the action.
pub(super) fn tell(parts: &Parts, row: &ContainerRow, action: &str, more: &[(&str, &str)]) {
    tell_of(parts, (&row.id, &row.name, &row.record), action, more);
}

/// The same for one whose row is not at hand.
pub(super) fn tell_of(
    parts: &Parts,
    (id, name, record): (&ContainerId, &ContainerName, &ContainerRecord),
    action: &str,
    more: &[(&str, &str)],
) {
    let mut event = SystemEvent::now(EventKind::Container, action, id.as_str());
    event.attributes = attributes(record, name);
    parts.tell(&more.iter().fold(event, |event, (key, value)| event.with(key, *value)));
}

/// Tells that the container's volumes are used from now on, or no longer.
pub(super) fn tell_volumes(parts: &Parts, row: &ContainerRow, action: &str) {
    for mount in &row.record.spec.mounts {
        let MountKind::Volume(volume) = &mount.kind else { continue };
        let Some(name) = &volume.name else { continue };
        let driver = volume.driver.as_deref().filter(|driver| !driver.is_empty()).unwrap_or("local");
        let mut event = SystemEvent::now(EventKind::Volume, action, name.as_str())
            .with("container", row.id.as_str())
            .with("driver", driver);
        if action == "mount" {
            event = event
                .with("destination", mount.target.as_str())
                .with("read/write", (!mount.read_only).to_string())
                .with("propagation", "");
        }
        parts.tell(&event);
    }
}

/// Where its monitor tells what happens to it, and how it describes it.
pub(super) fn source(parts: &Parts, row: &ContainerRow) -> EventSource {
    let attributes = journal::members(&attributes(&row.record, &row.name));
    EventSource { journal: journal::path(&parts.run_root), attributes }
}

/// What every event of a container says of it, as docker's do: its labels, its image and its name.
pub(super) fn attributes(record: &ContainerRecord, name: &ContainerName) -> BTreeMap<String, String> {
    let mut attributes = labels(record);
    attributes.insert("image".to_owned(), image(record));
    attributes.insert("name".to_owned(), name.to_string());
    attributes
}

/// The labels of its image, and its own on top of them.
pub(super) fn labels(record: &ContainerRecord) -> BTreeMap<String, String> {
    let mut labels = record.image_labels.clone();
    labels.extend(record.spec.labels.clone());
    labels
}

/// Where its files come from, as it was asked for.
pub(super) fn image(record: &ContainerRecord) -> String {
    match &record.spec.root {
        RootSource::Image(name) => name.clone(),
        RootSource::Directory { path, .. } => path.display().to_string(),
    }
}
