//! What is told in the journal of events of a container whose monitor cannot tell it any more.

use engine_shim::journal::{self, Entry};

use super::driver::{EventSource, ExitRecord, Place};
use crate::spec::Timestamp;

impl EventSource {
    /// Tells of an end that the monitor did not tell of: as it would have. That nobody hears of it is no reason not to
    /// go on.
    pub(crate) fn tell_end(&self, place: &Place, exit: &ExitRecord) {
        let lasted = exit.finished.since(exit.started.unwrap_or(exit.finished)).as_secs();
        let between = if self.attributes.is_empty() { "" } else { "," };
        let attributes = format!(
            "{}{between}\"execDuration\":\"{lasted}\",\"exitCode\":\"{}\"",
            self.attributes, exit.code
        );
        let (id, time) = (place.id.as_str(), Timestamp::now().nanos());
        let entry = Entry { kind: "container", action: "die", id, attributes: &attributes, time };
        if let Some(journal) = self.journal.to_str() {
            let _ = journal::append(journal, &entry);
        }
    }
}
