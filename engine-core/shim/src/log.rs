//! The log of a container, in the format of Docker's `json-file` driver: a line of JSON for each line of output.
//!
//! `{"log":"hello\n","stream":"stdout","time":"2026-11-24T12:00:00.123456789Z"}`
//!
//! A line longer than [`MAX_LINE`] is written in pieces, all but the last without the newline; readers join them by
//! simply putting them together. Bytes that are no UTF-8 become U+FFFD, as JSON cannot hold them.

use alloc::string::String;
use alloc::vec::Vec;

use rustix::fd::OwnedFd;
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use crate::clock::{MAX_TEXT, rfc3339};
use crate::failure::{Result, Step};

/// A line is cut after so many bytes.
const MAX_LINE: usize = 16 << 10;

/// Which output a line came from.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stream {
    Stdout,
    Stderr,
}

/// An open log.
pub(crate) struct Log {
    file: OwnedFd,
    /// The beginning of the line that has no end yet, for each stream.
    unfinished: [Vec<u8>; 2],
    /// Entries that are not in the file yet.
    pending: Vec<u8>,
}

impl Log {
    /// Opens the log at `path` to append to it.
    pub(crate) fn open(path: &String) -> Result<Log> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::APPEND | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let file =
            rustix::fs::open(path.as_str(), flags, Mode::from_raw_mode(0o640)).step("open log", path)?;
        Ok(Log { file, unfinished: [Vec::new(), Vec::new()], pending: Vec::new() })
    }

    /// Adds output that arrived `now` (nanoseconds since the epoch), and writes the lines that it completes.
    pub(crate) fn write(&mut self, stream: Stream, bytes: &[u8], now: i64) {
        let mut time = [0; MAX_TEXT];
        let length = rfc3339(now, &mut time);
        let time = time.get(..length).unwrap_or_default();
        let unfinished = &mut self.unfinished[stream as usize];
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            if unfinished.is_empty() && piece.len() <= MAX_LINE && piece.ends_with(b"\n") {
                entry(&mut self.pending, piece, stream, time);
                continue;
            }
            unfinished.extend_from_slice(piece);
            while unfinished.len() > MAX_LINE {
                let rest = unfinished.split_off(boundary(unfinished, MAX_LINE));
                entry(&mut self.pending, unfinished, stream, time);
                *unfinished = rest;
            }
            if unfinished.ends_with(b"\n") {
                entry(&mut self.pending, unfinished, stream, time);
                unfinished.clear();
            }
        }
        self.flush();
    }

    /// Writes what is left of lines that never ended.
    pub(crate) fn finish(&mut self, now: i64) {
        let mut time = [0; MAX_TEXT];
        let length = rfc3339(now, &mut time);
        for stream in [Stream::Stdout, Stream::Stderr] {
            let rest = core::mem::take(&mut self.unfinished[stream as usize]);
            if !rest.is_empty() {
                entry(&mut self.pending, &rest, stream, time.get(..length).unwrap_or_default());
            }
        }
        self.flush();
    }

    /// A log that cannot be written must not stop the container: what does not fit on the disk is lost.
    fn flush(&mut self) {
        let mut rest = self.pending.as_slice();
        while !rest.is_empty() {
            match rustix::io::write(&self.file, rest) {
                Ok(written) => rest = rest.get(written..).unwrap_or_default(),
                Err(Errno::INTR) => {}
                Err(_) => break,
            }
        }
        self.pending.clear();
        // Do not keep what one burst of output needed.
        self.pending.shrink_to(64 << 10);
    }
}

/// The last place at or before `at` that does not cut a character in two.
fn boundary(bytes: &[u8], at: usize) -> usize {
    let continues = |i: usize| bytes.get(i).is_some_and(|byte| byte & 0xc0 == 0x80);
    (at.saturating_sub(3)..=at).rev().find(|i| !continues(*i)).unwrap_or(at)
}

fn entry(out: &mut Vec<u8>, line: &[u8], stream: Stream, time: &[u8]) {
    out.extend_from_slice(b"{\"log\":\"");
    escape(out, line);
    out.extend_from_slice(match stream {
        Stream::Stdout => b"\",\"stream\":\"stdout\",\"time\":\"",
        Stream::Stderr => b"\",\"stream\":\"stderr\",\"time\":\"",
    });
    out.extend_from_slice(time);
    out.extend_from_slice(b"\"}\n");
}

/// Appends `line` as the inside of a JSON string.
pub(crate) fn escape(out: &mut Vec<u8>, line: &[u8]) {
    for chunk in line.utf8_chunks() {
        let valid = chunk.valid().as_bytes();
        let mut plain = 0;
        for (i, byte) in valid.iter().enumerate() {
            if *byte >= 0x20 && *byte != b'"' && *byte != b'\\' {
                continue;
            }
            out.extend_from_slice(valid.get(plain..i).unwrap_or_default());
            plain = i + 1;
            match byte {
                b'\n' => out.extend_from_slice(b"\\n"),
                b'\r' => out.extend_from_slice(b"\\r"),
                b'\t' => out.extend_from_slice(b"\\t"),
                b'"' => out.extend_from_slice(b"\\\""),
                b'\\' => out.extend_from_slice(b"\\\\"),
                control => {
                    const DIGITS: &[u8; 16] = b"0123456789abcdef";
                    let (high, low) = (usize::from(control >> 4), usize::from(control & 15));
                    out.extend_from_slice(&[b'\\', b'u', b'0', b'0', DIGITS[high], DIGITS[low]]);
                }
            }
        }
        out.extend_from_slice(valid.get(plain..).unwrap_or_default());
        if !chunk.invalid().is_empty() {
            out.extend_from_slice("\u{fffd}".as_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The log of some writes to standard output, at time 0.
    fn logged(writes: &[&[u8]]) -> std::string::String {
        static COUNT: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
        let n = COUNT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let path = std::env::temp_dir().join(std::format!("engine-log-test-{}-{n}", std::process::id()));
        let path = path.to_str().expect("a path").to_owned();
        let mut log = Log::open(&path).expect("opens");
        for bytes in writes {
            log.write(Stream::Stdout, bytes, 0);
        }
        log.finish(0);
        let text = std::fs::read_to_string(&path).expect("is UTF-8");
        std::fs::remove_file(&path).expect("is there");
        text
    }

    fn line(log: &str) -> std::string::String {
        std::format!("{{\"log\":\"{log}\",\"stream\":\"stdout\",\"time\":\"1970-01-01T00:00:00Z\"}}\n")
    }

    #[test]
    fn a_line_is_logged_when_it_is_complete_or_the_output_ends() {
        assert_eq!(logged(&[b"one\ntw", b"o\nthree"]), line("one\\n") + &line("two\\n") + &line("three"));
        assert_eq!(logged(&[b"\n\n"]), line("\\n") + &line("\\n"));
        assert_eq!(logged(&[]), "");
    }

    #[test]
    fn what_json_cannot_hold_is_escaped_or_replaced() {
        assert_eq!(logged(&[b"\"\\\t\x00\xff\xc3\xa4\n"]), line("\\\"\\\\\\t\\u0000\u{fffd}ä\\n"));
    }

    #[test]
    fn a_long_line_is_cut_between_characters() {
        let mut long = alloc::vec![b'x'; MAX_LINE - 1];
        long.extend_from_slice("ä".as_bytes());
        long.push(b'\n');
        let head = "x".repeat(MAX_LINE - 1);
        assert_eq!(logged(&[&long]), line(&head) + &line("ä\\n"));
    }
}
