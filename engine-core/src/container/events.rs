//! How a container is described in the journal of events by those who look after it: its monitor, and whoever finds
//! that that was lost.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::parts::Parts;
use crate::runtime::driver::EventSource;
use crate::spec::RootSource;
use crate::store::containers::ContainerRow;

/// Where its monitor tells what happens to it, and how it describes it: by its labels, its image and its name.
pub(super) fn source(parts: &Parts, row: &ContainerRow) -> EventSource {
    let spec = &row.record.spec;
    let image = match &spec.root {
        RootSource::Image(name) => name.clone(),
        RootSource::Directory { path, .. } => path.display().to_string(),
    };
    let mut attributes = spec.labels.clone();
    attributes.extend([("image".to_owned(), image), ("name".to_owned(), row.name.to_string())]);
    EventSource { journal: parts.run_root.join("events"), attributes: members(&attributes) }
}

/// As the members of a JSON object.
fn members(attributes: &BTreeMap<String, String>) -> String {
    let text = attributes
        .iter()
        .map(|(key, value)| format!("{}:{}", Value::from(key.as_str()), Value::from(value.as_str())));
    text.collect::<Vec<_>>().join(",")
}
