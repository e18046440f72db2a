//! The log of a container, in the format of Docker's `json-file` driver: a line of JSON for each line of output.
//!
//! `{"log":"hello\n","stream":"stdout","time":"2026-11-24T12:00:00.123456789Z"}`
//!
//! A line longer than [`MAX_LINE`] is written in pieces, all but the last without the newline; readers join them by
//! simply putting them together. Bytes that are no UTF-8 become U+FFFD, as JSON cannot hold them.

mod compress;
mod deflate;
pub(crate) mod entry;
mod files;
mod journald;
#[cfg(test)]
mod tests;

use alloc::string::String;
use alloc::vec::Vec;

use rustix::fd::BorrowedFd;

use self::entry::{entry, newline, tail};
use self::files::Files;
use self::journald::Journald;
use crate::clock::{MAX_TEXT, rfc3339};
use crate::failure::Result;
use crate::plan::Logging;

/// A line is cut after so many bytes.
const MAX_LINE: usize = 16 << 10;
/// Entries are written when there are so many bytes of them.
const FULL: usize = 64 << 10;

/// Which output a line came from.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stream {
    Stdout,
    Stderr,
}

/// An open log.
pub(crate) struct Log {
    files: Files,
    journald: Option<Journald>,
    /// What every entry says besides.
    attributes: String,
    /// The beginning of the line that has no end yet, for each stream.
    unfinished: [Vec<u8>; 2],
    /// Entries that are not in the file yet.
    pending: Vec<u8>,
    /// What follows the line in the entries of this moment.
    tail: Vec<u8>,
}

impl Log {
    /// Opens the log at `path` to append to it.
    pub(crate) fn open(path: &String, logging: &Logging, now: i64) -> Result<Log> {
        Ok(Log {
            files: Files::open(path, logging)?,
            journald: logging.journal.as_ref().map(|journal| Journald::new(journal, now)),
            attributes: logging.attributes.clone(),
            unfinished: [Vec::new(), Vec::new()],
            pending: Vec::new(),
            tail: Vec::new(),
        })
    }

    /// Adds output that arrived `now` (nanoseconds since the epoch), and writes the lines that it completes.
    pub(crate) fn write(&mut self, stream: Stream, bytes: &[u8], now: i64) {
        self.begin(stream, now);
        let mut rest = bytes;
        while let Some(end) = newline(rest) {
            let (line, after) = rest.split_at(end + 1);
            rest = after;
            if self.unfinished[stream as usize].is_empty() && line.len() <= MAX_LINE {
                self.add(stream, line, now);
            } else {
                self.lengthen(stream, line, now);
                let whole = core::mem::take(&mut self.unfinished[stream as usize]);
                self.add(stream, &whole, now);
            }
        }
        if !rest.is_empty() {
            self.lengthen(stream, rest, now);
        }
        self.flush();
    }

    /// Writes what is left of lines that never ended.
    pub(crate) fn finish(&mut self, now: i64) {
        for stream in [Stream::Stdout, Stream::Stderr] {
            let rest = core::mem::take(&mut self.unfinished[stream as usize]);
            if !rest.is_empty() {
                self.begin(stream, now);
                self.add(stream, &rest, now);
            }
        }
        self.flush();
        self.files.give_up();
    }

    /// The child that compresses, if there is one; see [`Log::compressed`].
    pub(crate) fn compressor(&self) -> Option<BorrowedFd<'_>> {
        self.files.compressor()
    }

    /// The child that compresses has ended.
    pub(crate) fn compressed(&mut self) {
        self.files.compressed();
    }

    /// From here on, entries are of this stream and moment.
    fn begin(&mut self, stream: Stream, now: i64) {
        let mut time = [0; MAX_TEXT];
        let length = rfc3339(now, &mut time);
        let stream: &[u8] = match stream {
            Stream::Stdout => b"stdout",
            Stream::Stderr => b"stderr",
        };
        tail(&mut self.tail, stream, self.attributes.as_bytes(), time.get(..length).unwrap_or_default());
    }

    /// Adds to the line that has no end yet, and logs the pieces of it that are long enough.
    fn lengthen(&mut self, stream: Stream, bytes: &[u8], now: i64) {
        let mut line = core::mem::take(&mut self.unfinished[stream as usize]);
        line.extend_from_slice(bytes);
        while line.len() > MAX_LINE {
            let rest = line.split_off(boundary(&line, MAX_LINE));
            self.add(stream, &line, now);
            line = rest;
        }
        self.unfinished[stream as usize] = line;
    }

    fn add(&mut self, stream: Stream, line: &[u8], now: i64) {
        if let Some(journald) = &mut self.journald {
            journald.tell(stream, line, now);
        }
        entry(&mut self.pending, line, &self.tail);
        let pending = self.pending.len();
        if pending >= FULL || pending as u64 >= self.files.room() {
            self.flush();
        }
    }

    fn flush(&mut self) {
        if !self.pending.is_empty() {
            self.files.write(&self.pending);
            self.pending.clear();
            // Do not keep what one burst of output needed.
            self.pending.shrink_to(2 * FULL);
        }
    }
}

/// The last place at or before `at` that does not cut a character in two.
fn boundary(bytes: &[u8], at: usize) -> usize {
    let continues = |i: usize| bytes.get(i).is_some_and(|byte| byte & 0xc0 == 0x80);
    (at.saturating_sub(3)..=at).rev().find(|i| !continues(*i)).unwrap_or(at)
}
