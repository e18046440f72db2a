//! Reading a container's log: from the beginning or the last lines, and on while the container runs.

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Seek, SeekFrom};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use rustix::fs::inotify::{self, CreateFlags, WatchFlags};
use serde::Deserialize;
use tokio::io::unix::AsyncFd;

use super::{Container, files, reconcile};
use crate::error::{Error, ErrorKind, Result, Subject};
use crate::spec::{LogsSpec, Timestamp};
use crate::store::blocking;
use crate::sys::watched;

/// No line of a log is longer: a monitor cuts lines at 16 KiB, and JSON makes at most six bytes of one.
const MAX_LINE: u64 = 256 << 10;
/// So many bytes are read at once from the end, to find its last lines.
const BLOCK: u64 = 64 << 10;
/// So many entries are read at once.
const BATCH: usize = 512;

/// A piece of a container's output as it was logged: a line with its newline, or part of a very long one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogEntry {
    /// When it was written.
    pub time: Timestamp,
    /// Whether it was written to standard error.
    pub stderr: bool,
    /// What was written.
    pub line: Bytes,
}

/// The entries of a log, oldest first.
pub struct LogStream {
    reader: Option<LogReader>,
    entries: std::vec::IntoIter<LogEntry>,
    spec: LogsSpec,
    follow: Option<Follow>,
}

/// What it takes to wait for more.
struct Follow {
    container: Container,
    changes: AsyncFd<OwnedFd>,
    /// The container has ended, and what it wrote last is to be read.
    ended: bool,
}

/// An open log and the beginning of a line whose end is not written yet.
struct LogReader {
    path: PathBuf,
    file: BufReader<File>,
    line: Vec<u8>,
}

pub(super) async fn logs(container: &Container, spec: LogsSpec) -> Result<LogStream> {
    let row = container.row().await?;
    if row.record.spec.log.driver == "none" {
        return Err(Error::new(ErrorKind::Unsupported, container.subject())
            .because("its output is not kept: its log driver is \"none\"")
            .with_remedy("create it with the log driver json-file"));
    }
    let path = files::log(&container.parts, &row.id);
    let follow = match spec.follow {
        // Watched before the first read, so that nothing written in between goes unseen.
        true => Some(Follow { container: container.clone(), changes: watch(&path)?, ended: false }),
        false => None,
    };
    let reader = blocking(move || LogReader::open(path, spec.tail)).await?;
    Ok(LogStream { reader, entries: Vec::new().into_iter(), spec, follow })
}

fn watch(log: &Path) -> Result<AsyncFd<OwnedFd>> {
    let subject = || format!("log {}", log.display());
    let changes = inotify::init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC).subject(subject)?;
    // The folder too: a container that was never started has no log yet.
    let folder = log.parent().unwrap_or(log);
    inotify::add_watch(&changes, folder, WatchFlags::CREATE | WatchFlags::MODIFY).subject(subject)?;
    watched::readable(changes).subject(subject)
}

impl LogStream {
    /// The next entry; `None` at the end.
    ///
    /// # Errors
    /// [`ErrorKind::Corrupt`] for a log that is none, and failures of reading it.
    pub async fn next(&mut self) -> Result<Option<LogEntry>> {
        loop {
            for entry in self.entries.by_ref() {
                if self.spec.until.is_some_and(|until| entry.time > until) {
                    self.follow = None;
                    self.reader = None;
                    self.entries = Vec::new().into_iter();
                    return Ok(None);
                }
                let wanted = if entry.stderr { self.spec.stderr } else { self.spec.stdout };
                if wanted && self.spec.since.is_none_or(|since| entry.time >= since) {
                    return Ok(Some(entry));
                }
            }
            if !self.read_more().await? {
                return Ok(None);
            }
        }
    }

    /// Reads the next entries, waiting for them if the log is followed. `false` at the end.
    async fn read_more(&mut self) -> Result<bool> {
        loop {
            if let Some(mut reader) = self.reader.take() {
                let (reader, entries) = blocking(move || {
                    let entries = reader.batch()?;
                    Ok((reader, entries))
                })
                .await?;
                self.reader = Some(reader);
                if !entries.is_empty() {
                    self.entries = entries.into_iter();
                    return Ok(true);
                }
            }
            let Some(follow) = &mut self.follow else { return Ok(false) };
            if follow.ended {
                return Ok(false);
            }
            follow.wait().await?;
            if self.reader.is_none() {
                let path = files::log(&follow.container.parts, &follow.container.id);
                self.reader = blocking(move || LogReader::open(path, None)).await?;
            }
        }
    }
}

impl Follow {
    /// Waits until the log has changed, or the container has ended.
    async fn wait(&mut self) -> Result<()> {
        let parts = &self.container.parts;
        // Before it is started the first time there is only a log to wait for.
        let row = match self.container.row().await {
            Err(e) if e.is(ErrorKind::NotFound) => None,
            row => Some(row?),
        };
        let ended = async {
            match &row {
                Some(row) if row.started.is_none() => std::future::pending().await,
                Some(row) if reconcile::may_run(row) => {
                    parts.runtime.wait(&reconcile::place(parts, row)).await.map(drop)
                }
                _ => Ok(()),
            }
        };
        tokio::select! {
            changed = self.changes.readable() => {
                let mut ready = changed.subject(|| "the log".to_owned())?;
                // What changed does not matter: one reads to the end anyway.
                let mut events = [0; 4096];
                while rustix::io::read(self.changes.get_ref(), &mut events).is_ok_and(|length| length > 0) {}
                ready.clear_ready();
            }
            ended = ended => {
                ended?;
                self.ended = true;
            }
        }
        Ok(())
    }
}

impl LogReader {
    /// Opens the log at its beginning, or where its last `tail` lines begin. `None` if there is none yet.
    fn open(path: PathBuf, tail: Option<usize>) -> Result<Option<LogReader>> {
        let subject = || format!("log {}", path.display());
        let mut file = match File::open(&path) {
            Ok(file) => file,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(Error::io(subject(), e)),
        };
        if let Some(lines) = tail {
            let start = tail_offset(&mut file, lines).subject(subject)?;
            file.seek(SeekFrom::Start(start)).subject(subject)?;
        }
        Ok(Some(LogReader { path, file: BufReader::with_capacity(BLOCK as usize, file), line: Vec::new() }))
    }

    /// The entries that follow, a good number of them; none at the end of what is written.
    fn batch(&mut self) -> Result<Vec<LogEntry>> {
        let mut entries = Vec::new();
        while entries.len() < BATCH {
            let limit = MAX_LINE.saturating_sub(self.line.len() as u64);
            let read = self.file.by_ref().take(limit).read_until(b'\n', &mut self.line);
            read.subject(|| format!("log {}", self.path.display()))?;
            if !self.line.ends_with(b"\n") {
                if self.line.len() as u64 >= MAX_LINE {
                    return Err(self.corrupt("a line is too long"));
                }
                break;
            }
            entries.push(entry(&self.line).ok_or_else(|| self.corrupt("a line is no entry of a log"))?);
            self.line.clear();
        }
        Ok(entries)
    }

    fn corrupt(&self, reason: &str) -> Error {
        Error::new(ErrorKind::Corrupt, format!("log {}", self.path.display())).because(reason)
    }
}

/// A line as the monitor writes it, and Docker's `json-file` driver.
#[derive(Deserialize)]
struct Line {
    log: String,
    stream: String,
    time: Timestamp,
}

fn entry(line: &[u8]) -> Option<LogEntry> {
    let line: Line = serde_json::from_slice(line).ok()?;
    Some(LogEntry { time: line.time, stderr: line.stream == "stderr", line: line.log.into() })
}

/// Where the last `lines` lines of the file begin.
fn tail_offset(file: &mut File, lines: usize) -> std::io::Result<u64> {
    let end = file.seek(SeekFrom::End(0))?;
    let (mut at, mut found) = (end, 0);
    let mut block = vec![0; BLOCK as usize];
    while at > 0 {
        let length = at.min(BLOCK);
        at -= length;
        file.seek(SeekFrom::Start(at))?;
        let block = &mut block[..length as usize];
        file.read_exact(block)?;
        for (i, byte) in block.iter().enumerate().rev() {
            let position = at + i as u64 + 1;
            // The newline that ends the last line begins no other one.
            if *byte == b'\n' && position < end {
                found += 1;
                if found >= lines {
                    return Ok(if lines == 0 { end } else { position });
                }
            }
        }
    }
    Ok(if lines == 0 { end } else { 0 })
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn log(lines: &[&str]) -> tempfile::NamedTempFile {
        let mut file = tempfile::NamedTempFile::new().expect("a file");
        for line in lines {
            writeln!(file, r#"{{"log":"{line}\n","stream":"stdout","time":"2026-11-28T00:00:00Z"}}"#)
                .expect("writes");
        }
        file
    }

    fn read(file: &tempfile::NamedTempFile, tail: Option<usize>) -> Vec<String> {
        let mut reader = LogReader::open(file.path().to_owned(), tail).expect("opens").expect("is there");
        let entries = reader.batch().expect("reads");
        entries.iter().map(|e| String::from_utf8_lossy(&e.line).trim_end().to_owned()).collect()
    }

    #[test]
    fn the_last_lines_are_the_last_lines() {
        let file = log(&["one", "two", "three"]);
        assert_eq!(read(&file, None), ["one", "two", "three"]);
        assert_eq!(read(&file, Some(2)), ["two", "three"]);
        assert_eq!(read(&file, Some(3)), ["one", "two", "three"]);
        assert_eq!(read(&file, Some(9)), ["one", "two", "three"]);
        assert_eq!(read(&file, Some(0)), Vec::<String>::new());
    }

    #[test]
    fn the_last_lines_are_found_across_blocks() {
        let long = "x".repeat(40 << 10);
        let file = log(&[&long, &long, &long, "end"]);
        assert_eq!(read(&file, Some(1)), ["end"]);
        assert_eq!(read(&file, Some(3)), [long.as_str(), &long, "end"]);
    }

    #[test]
    fn a_line_that_is_not_written_to_its_end_is_read_when_it_is() {
        let mut file = log(&["one"]);
        write!(file, r#"{{"log":"two\n","#).expect("writes");
        let mut reader = LogReader::open(file.path().to_owned(), None).expect("opens").expect("is there");
        assert_eq!(reader.batch().expect("reads").len(), 1);
        writeln!(file, r#""stream":"stderr","time":"2026-11-28T00:00:00Z"}}"#).expect("writes");
        let entries = reader.batch().expect("reads");
        assert!(entries[0].stderr);
        assert_eq!(entries[0].line, "two\n");
    }

    #[test]
    fn what_is_no_log_is_refused() {
        let mut file = tempfile::NamedTempFile::new().expect("a file");
        writeln!(file, "not json").expect("writes");
        let mut reader = LogReader::open(file.path().to_owned(), None).expect("opens").expect("is there");
        assert_eq!(reader.batch().expect_err("is refused").kind(), ErrorKind::Corrupt);
    }
}
