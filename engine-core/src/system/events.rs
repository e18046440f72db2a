//! Watching what happens to the things of a store: reads the journal that every process on the store writes to.
//!
//! The journal is put aside when it has grown, and one older file is kept. A reader that is at a file which was put
//! aside finds all of it there, as nobody appends to it from then on; then it goes on with the file that followed.

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Seek, SeekFrom};
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use tokio::io::unix::AsyncFd;

use crate::error::{Error, Result, Subject};
use crate::event::{self, SystemEvent};
use crate::journal;
use crate::parts::Parts;
use crate::spec::{EventsSpec, Timestamp};
use crate::store::blocking;
use crate::sys::lines::Lines;
use crate::sys::watched;

/// No line that an engine or a monitor writes is longer; what is longer is skipped.
const MAX_LINE: usize = 512 << 10;
/// So many events are read at once.
const BATCH: usize = 256;

/// The events of a store, in the order in which they were told.
pub struct EventStream {
    reader: Option<Reader>,
    events: std::vec::IntoIter<SystemEvent>,
    spec: EventsSpec,
    /// Wakes when the journal changes; `None` once what is there is all that is wanted.
    changes: Option<AsyncFd<OwnedFd>>,
}

pub(super) async fn events(parts: &Parts, spec: EventsSpec) -> Result<EventStream> {
    event::check(&spec.filter)?;
    if let (Some(since), Some(until)) = (spec.since, spec.until)
        && until < since
    {
        return Err(Error::invalid("events", "`since` time cannot be after `until` time"));
    }
    let path = journal::path(&parts.run_root);
    let past_only = spec.until.is_some_and(|until| until < Timestamp::now());
    // Watched before the first read, so that nothing written in between goes unseen.
    let folder = &parts.run_root;
    let watch = || watched::folder(folder).subject(|| format!("directory {}", folder.display()));
    let changes = if past_only { None } else { Some(watch()?) };
    // As in docker, a time to end at asks for what there was before it.
    let backlog = spec.since.is_some() || spec.until.is_some();
    let reader = blocking(move || Reader::open(path, backlog)).await?;
    Ok(EventStream { reader: Some(reader), events: Vec::new().into_iter(), spec, changes })
}

impl EventStream {
    /// The next event that the filter chooses; `None` at the time it was to end at.
    ///
    /// # Errors
    /// Failures of reading the journal.
    pub async fn next(&mut self) -> Result<Option<SystemEvent>> {
        loop {
            for event in self.events.by_ref() {
                let in_time = self.spec.since.is_none_or(|since| event.time >= since)
                    && self.spec.until.is_none_or(|until| event.time <= until);
                if in_time && event::selects(&self.spec.filter, &event) {
                    return Ok(Some(event));
                }
            }
            if !self.read_more().await? {
                return Ok(None);
            }
        }
    }

    /// Reads the next events, waiting for them if it has to. `false` at the end.
    async fn read_more(&mut self) -> Result<bool> {
        loop {
            let Some(mut reader) = self.reader.take() else { return Ok(false) };
            let (reader, events) = blocking(move || {
                let events = reader.batch()?;
                Ok((reader, events))
            })
            .await?;
            self.reader = Some(reader);
            if !events.is_empty() {
                self.events = events.into_iter();
                return Ok(true);
            }
            let Some(changes) = &self.changes else { return Ok(false) };
            let end = async {
                match self.spec.until {
                    Some(until) => tokio::time::sleep(until.since(Timestamp::now())).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                changed = watched::changed(changes) => changed.subject(|| "the journal of events".to_owned())?,
                // What is in the journal by then is read once more.
                () = end => self.changes = None,
            }
        }
    }
}

/// A place in the journal.
struct Reader {
    path: PathBuf,
    file: Option<BufReader<File>>,
    lines: Lines,
}

impl Reader {
    /// At the beginning of what is kept, or at the end of what is written.
    fn open(path: PathBuf, backlog: bool) -> Result<Reader> {
        let file = if backlog { first(&path)? } else { end(&path)? };
        Ok(Reader { path, file: file.map(BufReader::new), lines: Lines::new(MAX_LINE) })
    }

    /// The events that follow, a good number of them; none at the end of what is written.
    fn batch(&mut self) -> Result<Vec<SystemEvent>> {
        let mut events = Vec::new();
        while events.len() < BATCH {
            let Some(file) = &mut self.file else {
                // The first event of a store has yet to happen.
                match open(&self.path)? {
                    Some(file) => self.file = Some(BufReader::new(file)),
                    None => break,
                }
                continue;
            };
            let (part, limit) = self.lines.piece();
            let read = file.take(limit).read_until(b'\n', part).subject(|| subject(&self.path))?;
            // A line of a later version, or one that a power failure cut, is not for us.
            let settled =
                self.lines.settle(|line| events.extend(serde_json::from_slice::<SystemEvent>(line)));
            if !settled && read == 0 && !self.turn_over()? {
                break;
            }
        }
        Ok(events)
    }

    /// At the end of a file: whether there is one that followed it, which is read from now on.
    fn turn_over(&mut self) -> Result<bool> {
        let Some(file) = &self.file else { return Ok(false) };
        let ours = identity(file.get_ref()).subject(|| subject(&self.path))?;
        let Some(current) = open(&self.path)? else { return Ok(false) };
        if identity(&current).subject(|| subject(&self.path))? == ours {
            return Ok(false);
        }
        // Between the end of the file and now, somebody may have written its last line and put it aside.
        let unread = file.get_ref().metadata().subject(|| subject(&self.path))?.len();
        let mut file = file.get_ref();
        if file.stream_position().subject(|| subject(&self.path))? < unread {
            return Ok(true);
        }
        let older = open(&journal::older(&self.path))?;
        let older = match older {
            // What was put aside since is what follows, if it is not what was just read.
            Some(older) if identity(&older).subject(|| subject(&self.path))? != ours => Some(older),
            _ => None,
        };
        self.lines = Lines::new(MAX_LINE);
        self.file = Some(BufReader::new(older.unwrap_or(current)));
        Ok(true)
    }
}

fn subject(path: &Path) -> String {
    format!("journal {}", path.display())
}

fn open(path: &Path) -> Result<Option<File>> {
    match File::open(path) {
        Ok(file) => Ok(Some(file)),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(Error::io(subject(path), e)),
    }
}

/// The oldest file there is.
fn first(path: &Path) -> Result<Option<File>> {
    match open(&journal::older(path))? {
        Some(older) => Ok(Some(older)),
        None => open(path),
    }
}

/// The current file, at its end.
fn end(path: &Path) -> Result<Option<File>> {
    let Some(mut file) = open(path)? else { return Ok(None) };
    file.seek(SeekFrom::End(0)).subject(|| subject(path))?;
    Ok(Some(file))
}

fn identity(file: &File) -> std::io::Result<(u64, u64)> {
    file.metadata().map(|metadata| (metadata.dev(), metadata.ino()))
}

#[cfg(test)]
mod tests;
