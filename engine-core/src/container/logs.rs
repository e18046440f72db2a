//! A container's log: what becomes of its output, and reading it, from the beginning or the last lines, and on while
//! the container runs.

mod chain;
pub(crate) mod driver;
mod reader;

use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use tokio::io::unix::AsyncFd;

use self::reader::LogReader;
use super::{Container, files, reconcile};
use crate::error::{Error, ErrorKind, Result, Subject};
use crate::spec::{LogsSpec, Timestamp};
use crate::store::blocking;
use crate::sys::watched;

/// A piece of a container's output as it was logged: a line with its newline, or part of a very long one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogEntry {
    /// When it was written.
    pub time: Timestamp,
    /// Whether it was written to standard error.
    pub stderr: bool,
    /// What was written.
    pub line: Bytes,
    /// What the log driver was told to add: labels, variables, a tag.
    pub attributes: BTreeMap<String, String>,
}

/// The entries of a log, oldest first.
pub struct LogStream {
    path: PathBuf,
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

pub(super) async fn logs(container: &Container, spec: LogsSpec) -> Result<LogStream> {
    let row = container.row().await?;
    let Some(path) = files::log(&container.parts, &row.id, &row.record.spec.log) else {
        return Err(Error::new(ErrorKind::Unsupported, container.subject())
            .because("configured logging driver does not support reading")
            .with_remedy("its output is not kept; create it with the log driver json-file or local"));
    };
    let follow = match spec.follow {
        // Watched before the first read, so that nothing written in between goes unseen.
        true => Some(Follow { container: container.clone(), changes: watch(&path)?, ended: false }),
        false => None,
    };
    let log = path.clone();
    let reader = blocking(move || LogReader::open(log, &spec)).await?;
    Ok(LogStream { path, reader, entries: Vec::new().into_iter(), spec, follow })
}

fn watch(log: &Path) -> Result<AsyncFd<OwnedFd>> {
    // The folder too: a container that was never started has no log yet, and a log begins anew when it has grown.
    let folder = log.parent().unwrap_or(log);
    if !folder.exists() {
        files::make_directory(folder)?;
    }
    watched::folder(folder).subject(|| format!("log {}", log.display()))
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
                let (path, spec) = (self.path.clone(), LogsSpec { tail: None, ..self.spec });
                self.reader = blocking(move || LogReader::open(path, &spec)).await?;
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
            changed = watched::changed(&self.changes) => changed.subject(|| "the log".to_owned())?,
            ended = ended => {
                ended?;
                self.ended = true;
            }
        }
        Ok(())
    }
}
