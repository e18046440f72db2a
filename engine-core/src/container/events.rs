//! What is told of a container in the journal by those who look after it: its monitor, and whoever finds that that was
//! lost.

use std::collections::BTreeMap;

use engine_shim::journal::{self, Entry};
use serde_json::Value;

use crate::parts::Parts;
use crate::runtime::driver::{EventSource, ExitRecord};
use crate::spec::{RootSource, Timestamp};
use crate::store::containers::ContainerRow;

/// Where its monitor tells what happens to it, and how it describes it.
pub(super) fn source(parts: &Parts, row: &ContainerRow) -> EventSource {
    EventSource { journal: parts.run_root.join("events"), attributes: members(&attributes(row)) }
}

/// Tells of an end that no monitor told.
pub(super) fn tell_lost(parts: &Parts, row: &ContainerRow, exit: &ExitRecord) {
    let EventSource { journal, .. } = source(parts, row);
    let lasted = exit.finished.since(row.started.unwrap_or(exit.finished));
    let mut attributes = attributes(row);
    attributes.insert("exitCode".into(), exit.code.to_string());
    attributes.insert("execDuration".into(), lasted.as_secs().to_string());
    let entry = Entry {
        kind: "container",
        action: "die",
        id: row.id.as_str(),
        attributes: &members(&attributes),
        time: Timestamp::now().nanos(),
    };
    // That nobody hears of it is no reason not to record the end.
    if let Some(journal) = journal.to_str() {
        let _ = journal::append(journal, &entry);
    }
}

/// What every event says of a container: its labels, its image and its name.
fn attributes(row: &ContainerRow) -> BTreeMap<String, String> {
    let spec = &row.record.spec;
    let image = match &spec.root {
        RootSource::Image(name) => name.clone(),
        RootSource::Directory { path, .. } => path.display().to_string(),
    };
    let mut attributes = spec.labels.clone();
    attributes.extend([("image".to_owned(), image), ("name".to_owned(), row.name.to_string())]);
    attributes
}

/// As the members of a JSON object.
fn members(attributes: &BTreeMap<String, String>) -> String {
    let text = attributes
        .iter()
        .map(|(key, value)| format!("{}:{}", Value::from(key.as_str()), Value::from(value.as_str())));
    text.collect::<Vec<_>>().join(",")
}
