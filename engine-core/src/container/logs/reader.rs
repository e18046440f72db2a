//! The entries of a log, across its files.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::Deserialize;

use super::LogEntry;
use super::chain::{End, Place};
use crate::error::{Result, Subject};
use crate::spec::{LogsSpec, Timestamp};
use crate::sys::lines::Lines;

/// No line of a log is longer: a monitor cuts lines at 16 KiB, JSON makes at most six bytes of one, and there are the
/// attributes.
const MAX_LINE: usize = 512 << 10;
/// So many entries are read at once.
const BATCH: usize = 512;

/// An open log and the beginning of a line whose end is not written yet.
pub(super) struct LogReader {
    path: PathBuf,
    place: Place,
    lines: Lines,
    /// Who does not follow the log reads what was there when he began, however fast it grows.
    end: Option<End>,
    /// Where that is, if it is in the file that is being read.
    limit: u64,
}

impl LogReader {
    /// Opens the log at its beginning, or where its last lines begin. `None` if there is none yet.
    pub(super) fn open(path: PathBuf, spec: &LogsSpec) -> Result<Option<LogReader>> {
        let subject = || format!("log {}", path.display());
        let end = if spec.follow { None } else { End::of(&path).subject(subject)? };
        let place = match spec.tail {
            Some(lines) => tail(&path, lines).subject(subject)?,
            None => Place::oldest(&path).subject(subject)?,
        };
        let Some(mut place) = place else { return Ok(None) };
        // What ended before the time that is asked for need not be read.
        if let Some(since) = spec.since {
            while !place.is_current(&path).subject(subject)?
                && place.ended_before(since.seconds()).subject(subject)?
                && let Some(younger) = place.younger(&path).subject(subject)?
            {
                place = younger;
            }
        }
        let limit = limit(&place, end.as_ref()).subject(subject)?;
        Ok(Some(LogReader { path, place, lines: Lines::new(MAX_LINE), end, limit }))
    }

    /// The entries that follow, a good number of them; none at the end of what is written.
    pub(super) fn batch(&mut self) -> Result<Vec<LogEntry>> {
        let mut entries = Vec::new();
        while entries.len() < BATCH && self.place.offset < self.limit {
            let (part, limit) = self.lines.piece();
            let read = self.place.read_line(part, limit);
            let read = read.subject(|| format!("log {}", self.path.display()))?;
            // A line that a loss of power spoilt is no reason to withhold the others.
            let settled = self.lines.settle(|line| entries.extend(entry(line)));
            if !settled && read == 0 && !self.turn_over()? {
                break;
            }
        }
        Ok(entries)
    }

    /// At the end of a file: whether there is more of the log.
    fn turn_over(&mut self) -> Result<bool> {
        let subject = || format!("log {}", self.path.display());
        let before = self.place.offset;
        let place = &mut self.place;
        // In this order: what is not the current file any more gets no more.
        let current = place.is_current(&self.path).subject(subject)?;
        let more = place.has_more().subject(subject)?;
        if place.offset < before {
            self.lines.again();
        }
        if current || more {
            return Ok(more);
        }
        match place.younger(&self.path).subject(subject)? {
            Some(younger) => {
                self.limit = limit(&younger, self.end.as_ref()).subject(subject)?;
                self.place = younger;
                self.lines = Lines::new(MAX_LINE);
                Ok(true)
            }
            None => Ok(false),
        }
    }
}

/// Where reading ends, if it does in this file.
fn limit(place: &Place, end: Option<&End>) -> std::io::Result<u64> {
    end.map_or(Ok(None), |end| place.end_in(end)).map(|limit| limit.unwrap_or(u64::MAX))
}

/// Where the last `lines` lines of a log begin.
fn tail(path: &std::path::Path, lines: usize) -> std::io::Result<Option<Place>> {
    let Some(mut place) = Place::open(path, 0)? else { return Place::oldest(path) };
    let mut found = place.seek_last(lines)?;
    while found < lines
        && let Some(mut older) = place.older(path)?
    {
        found += older.seek_last(lines - found)?;
        place = older;
    }
    Ok(Some(place))
}

/// A line as the monitor writes it, and Docker's `json-file` driver.
#[derive(Deserialize)]
struct Line {
    log: String,
    stream: String,
    #[serde(default)]
    attrs: BTreeMap<String, String>,
    time: Timestamp,
}

fn entry(line: &[u8]) -> Option<LogEntry> {
    let line: Line = serde_json::from_slice(line).ok()?;
    let stderr = line.stream == "stderr";
    Some(LogEntry { time: line.time, stderr, line: line.log.into(), attributes: line.attrs })
}

#[cfg(test)]
mod tests;
