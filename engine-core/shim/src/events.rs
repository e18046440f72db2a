//! What a monitor tells of its container in the journal. A journal that cannot be written does not stop a container.

use alloc::string::String;

use crate::journal::{self, Entry};
use crate::plan::Events;
use crate::text::Text;
use crate::wire::Exit;

/// Tells that `action` happened at `time`, with `more` members of a JSON object about it.
pub(crate) fn tell(events: Option<&Events>, action: &str, more: &str, time: i64) {
    let Some(Events { journal, id, attributes }) = events else { return };
    let between = if attributes.is_empty() || more.is_empty() { "" } else { "," };
    let attributes: String = [attributes, between, more].concat();
    let _ = journal::append(journal, &Entry { kind: "container", action, id, attributes: &attributes, time });
}

/// Tells how the program ended, after `lasted` nanoseconds.
pub(crate) fn tell_end(events: Option<&Events>, exit: &Exit, lasted: i64) {
    if exit.oom_killed {
        tell(events, "oom", "", exit.finished);
    }
    let mut more = Text::default();
    more.push("\"execDuration\":\"").number(lasted / 1_000_000_000);
    more.push("\",\"exitCode\":\"").number(exit.code.into()).push("\"");
    tell(events, "die", more.as_str(), exit.finished);
}
