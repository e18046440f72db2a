//! The exit record: what a monitor leaves for whoever opens the store next.

use alloc::string::String;
use alloc::vec::Vec;

use crate::status::{failure, push_failure};
use crate::text::Text;
use crate::wire::{Exit, Failure};

/// How a container's run ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// How its program ended the last time.
    pub exit: Exit,
    /// When that was started, in nanoseconds since the epoch; 0 if it is not known.
    pub started: i64,
    /// How often it was started again by itself.
    pub restarts: u32,
    /// Why it could not be started again, if that is how it ended.
    pub failure: Option<Failure>,
}

impl Record {
    /// The payload of [`Kind::Exited`](crate::wire::Kind::Exited) and
    /// [`Kind::Restarting`](crate::wire::Kind::Restarting): that of [`Exit`], when it was started and how often again.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = self.exit.encode().to_vec();
        bytes.extend_from_slice(&self.started.to_be_bytes());
        bytes.extend_from_slice(&self.restarts.to_be_bytes());
        bytes
    }

    /// From the payload. Of another process than a container's first no more is told than how it ended.
    pub fn decode(bytes: &[u8]) -> Option<Record> {
        let exit = Exit::decode(bytes)?;
        let rest = bytes.get(Exit::SIZE..).unwrap_or_default();
        let started = rest.first_chunk().map_or(0, |bytes| i64::from_be_bytes(*bytes));
        let restarts = rest.get(8..).and_then(<[u8]>::first_chunk);
        let restarts = restarts.map_or(0, |bytes| u32::from_be_bytes(*bytes));
        Some(Record { exit, started, restarts, failure: None })
    }

    /// The content of the file, one line: run, code, whether memory ran out, and the time it ended; when it was started
    /// and how often again; why that failed, to the end of the line.
    pub fn to_text(&self) -> String {
        let exit = &self.exit;
        let mut text = Text::default();
        text.number(exit.run as i64).push(" ").number(exit.code.into()).push(" ");
        text.number(exit.oom_killed.into()).push(" ").number(exit.finished).push(" ");
        text.number(self.started).push(" ").number(self.restarts.into());
        push_failure(&mut text, self.failure.as_ref());
        text.push("\n");
        text.into()
    }

    /// From the content of the file. Earlier versions wrote no more than how the program ended.
    pub fn from_text(text: &str) -> Option<Record> {
        let mut words = text.strip_suffix('\n')?.splitn(7, ' ');
        let run = words.next()?.parse().ok()?;
        let code = words.next()?.parse().ok()?;
        let oom_killed = words.next()? == "1";
        let exit = Exit { code, oom_killed, finished: words.next()?.parse().ok()?, run };
        let started = words.next().and_then(|word| word.parse().ok()).unwrap_or(0);
        let restarts = words.next().and_then(|word| word.parse().ok()).unwrap_or(0);
        Some(Record { exit, started, restarts, failure: words.next().and_then(failure) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::Cause;

    #[test]
    fn a_record_is_read_as_it_was_written_and_one_cut_short_is_none() {
        let exit = Exit { code: 137, oom_killed: true, finished: 1_700_000_000_000_000_000, run: 3 };
        let whole = Record { exit, started: 1_600_000_000_000_000_000, restarts: 2, failure: None };
        let failure = Failure { cause: Cause::Step, errno: 2, step: b"open bind source /a b".to_vec() };
        for record in [whole.clone(), Record { failure: Some(failure), ..whole.clone() }] {
            assert_eq!(Record::from_text(&record.to_text()), Some(record));
        }
        assert_eq!(Record::decode(&whole.encode()), Some(whole.clone()));
        assert_eq!(Record::decode(&exit.encode()).map(|record| record.exit), Some(exit));
        assert_eq!(Record::decode(&exit.encode()[..20]), None);
        assert_eq!(Record::from_text("3 137 1"), None);
        assert_eq!(Record::from_text("3 137 1 17"), None, "no end of the line");
    }

    #[test]
    fn records_of_earlier_versions_are_read() {
        let record = Record::from_text("3 137 0 17\n").expect("a record");
        assert_eq!(
            (record.exit.code, record.exit.finished, record.started, record.restarts),
            (137, 17, 0, 0)
        );
    }
}
