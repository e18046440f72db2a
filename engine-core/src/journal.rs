//! The journal of events in the run directory: what happened, a line for each thing, told by every process of every
//! engine on the store. Owns the engine's side of writing it; `system::events` reads it.
//!
//! A monitor writes to the same file what happens while no engine looks: the end of a program, how well it is. Its
//! attributes come from here too, see [`members`], so that all lines of a container look alike.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use engine_shim::journal::{self, Entry};

use crate::event::SystemEvent;

/// No line is longer than twice this: what tells the least, the largest attributes, is left out.
const MAX_MEMBERS: usize = 64 << 10;
/// The most of an action that is told: a command line may be of any length.
const MAX_ACTION: usize = 4 << 10;

/// Where the journal is.
pub(crate) fn path(run_root: &Path) -> PathBuf {
    run_root.join("events")
}

/// Where it is put when it has grown.
pub(crate) fn older(journal: &Path) -> PathBuf {
    journal.to_str().map_or_else(|| journal.with_extension("1"), |path| journal::older(path).into())
}

/// Appends an event. What was done is done: that nobody can be told of it is no failure of it.
pub(crate) fn tell(run_root: &Path, event: &SystemEvent) {
    let entry = Entry {
        kind: event.kind.as_str(),
        action: &action(&event.action),
        id: &escaped(&event.id, MAX_ACTION),
        attributes: &members(&event.attributes),
        time: event.time.nanos(),
    };
    if let Some(path) = path(run_root).to_str() {
        let _ = journal::append(path, &entry);
    }
}

/// An action as the inside of a JSON string: for a monitor's plan.
pub(crate) fn action(text: &str) -> String {
    escaped(text, MAX_ACTION)
}

/// Attributes as the members of a JSON object, without its braces: for a monitor's plan.
pub(crate) fn members(attributes: &BTreeMap<String, String>) -> String {
    let mut text = String::new();
    for (key, value) in attributes {
        let member = format!("\"{}\":\"{}\"", escaped(key, usize::MAX), escaped(value, usize::MAX));
        if text.len() + member.len() < MAX_MEMBERS {
            if !text.is_empty() {
                text.push(',');
            }
            text.push_str(&member);
        }
    }
    text
}

/// Text as the inside of a JSON string; not much more than `limit` bytes of it.
fn escaped(text: &str, limit: usize) -> String {
    let text = &text[..text.floor_char_boundary(limit.min(text.len()))];
    if text.bytes().all(|byte| byte >= 0x20 && byte != b'"' && byte != b'\\') {
        return text.to_owned();
    }
    let quoted = serde_json::Value::from(text).to_string();
    quoted.get(1..quoted.len().saturating_sub(1)).unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::EventKind;

    #[test]
    fn whatever_the_attributes_are_a_line_can_be_read() {
        let run = tempfile::tempdir().expect("a directory");
        let nasty = "a \"b\" \\ \u{1b}[31m\n\u{e4}";
        let event = SystemEvent::now(EventKind::Container, format!("exec_create: {nasty}"), "abc")
            .with("label", nasty)
            .with("\"quoted\" = \"", "\"")
            .with("huge", "x".repeat(1 << 20));
        tell(run.path(), &event);
        let text = std::fs::read_to_string(path(run.path())).expect("is there");
        let read: SystemEvent = serde_json::from_str(&text).expect("is a line of JSON");
        let mut expected = event;
        expected.attributes.remove("huge");
        assert_eq!(read, expected);
        assert!(text.len() < 2 * MAX_MEMBERS);
    }

    #[test]
    fn a_journal_that_cannot_be_written_is_nobody_s_failure() {
        tell(Path::new("/nonexistent"), &SystemEvent::now(EventKind::Image, "pull", "x"));
    }
}
