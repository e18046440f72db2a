//! An archive on its way from whoever writes it to whoever reads it: a few chunks, however large it is.

use std::io::{self, Read, Write};

use bytes::{Buf, Bytes};
use tokio::sync::mpsc::{self, Receiver, Sender};

use crate::error::{Error, Result};
use crate::image::tar::{Source, failed};

use super::info::PathStat;

/// The bytes of one chunk, and how many of them may wait.
const CHUNK: usize = 256 << 10;
const AHEAD: usize = 4;

enum Message {
    Chunk(Bytes),
    End,
    Failed(Error),
}

/// The end that is written to. Unless it is told how the archive ended, whoever reads it hears of a failure.
pub(in crate::container) struct Inlet {
    sender: Sender<Message>,
    chunk: Vec<u8>,
}

/// The end that is read from.
pub(in crate::container) struct Outlet {
    receiver: Receiver<Message>,
    chunk: Bytes,
    ended: bool,
    bytes: u64,
}

/// Both ends of a pipe. Dropping the outlet ends whoever writes.
pub(in crate::container) fn pipe() -> (Inlet, Outlet) {
    let (sender, receiver) = mpsc::channel(AHEAD);
    let inlet = Inlet { sender, chunk: Vec::with_capacity(CHUNK) };
    (inlet, Outlet { receiver, chunk: Bytes::new(), ended: false, bytes: 0 })
}

impl Inlet {
    /// Lets `write` write the archive, and tells how that ended. Blocks.
    pub(in crate::container) fn fill(mut self, write: impl FnOnce(&mut Inlet) -> Result<()>) {
        let end = match write(&mut self).and_then(|()| self.flush().map_err(failed)) {
            Ok(()) => Message::End,
            Err(error) => Message::Failed(error),
        };
        // Nobody may be listening any more.
        let _ = self.sender.blocking_send(end);
    }
}

impl Write for Inlet {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = bytes.len().min(CHUNK - self.chunk.len());
        self.chunk.extend_from_slice(&bytes[..count]);
        if self.chunk.len() == CHUNK {
            self.flush()?;
        }
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.chunk.is_empty() {
            return Ok(());
        }
        let chunk = std::mem::replace(&mut self.chunk, Vec::with_capacity(CHUNK));
        self.sender
            .blocking_send(Message::Chunk(chunk.into()))
            .map_err(|_| io::Error::new(io::ErrorKind::BrokenPipe, "nobody reads the archive any more"))
    }
}

impl Outlet {
    /// The bytes that came so far.
    pub(in crate::container) fn received_bytes(&self) -> u64 {
        self.bytes
    }

    fn received(&mut self, message: Option<Message>) -> Result<Option<Bytes>> {
        match message {
            Some(Message::Chunk(chunk)) => {
                self.bytes += chunk.len() as u64;
                Ok(Some(chunk))
            }
            Some(Message::End) => {
                self.ended = true;
                Ok(None)
            }
            Some(Message::Failed(error)) => {
                self.ended = true;
                Err(error)
            }
            None => {
                self.ended = true;
                Err(Error::internal("archive", "it was not written to its end"))
            }
        }
    }

    fn next_now(&mut self) -> Result<Option<Bytes>> {
        if self.ended {
            return Ok(None);
        }
        let message = self.receiver.blocking_recv();
        self.received(message)
    }
}

impl Source for Outlet {
    fn fill(&mut self) -> Result<&[u8]> {
        while self.chunk.is_empty() {
            match self.next_now()? {
                Some(chunk) => self.chunk = chunk,
                None => break,
            }
        }
        Ok(&self.chunk)
    }

    fn consume(&mut self, count: usize) {
        self.chunk.advance(count);
    }
}

impl Read for Outlet {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let bytes = self.fill().map_err(io::Error::other)?;
        let count = bytes.len().min(into.len());
        into[..count].copy_from_slice(&bytes[..count]);
        self.consume(count);
        Ok(count)
    }
}

/// A tar archive as it is being written. Dropping it ends the writing.
pub struct ArchiveStream {
    stat: Option<PathStat>,
    outlet: Outlet,
}

impl ArchiveStream {
    pub(super) fn new(stat: Option<PathStat>, outlet: Outlet) -> ArchiveStream {
        ArchiveStream { stat, outlet }
    }

    /// What was asked for; `None` where that is a whole container.
    pub fn stat(&self) -> Option<&PathStat> {
        self.stat.as_ref()
    }

    /// The next bytes; `None` at the end of the archive.
    ///
    /// # Errors
    /// Why it could not be written to its end. What came before is a beginning of it, and no archive.
    pub async fn next(&mut self) -> Result<Option<Bytes>> {
        if self.outlet.ended {
            return Ok(None);
        }
        let message = self.outlet.receiver.recv().await;
        self.outlet.received(message)
    }

    /// The archive as a reader that blocks: for a thread that may.
    pub fn into_reader(self) -> Box<dyn Read + Send> {
        Box::new(self.outlet)
    }
}

impl std::fmt::Debug for ArchiveStream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ArchiveStream").field("stat", &self.stat).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_and_a_failure_is_heard_of() {
        let (inlet, outlet) = pipe();
        let writer = std::thread::spawn(move || {
            inlet.fill(|inlet| inlet.write_all(&vec![7; CHUNK * 6 + 1]).map_err(failed));
        });
        let mut outlet = outlet;
        let mut bytes = Vec::new();
        outlet.read_to_end(&mut bytes).expect("is read");
        assert_eq!((bytes.len(), outlet.received_bytes()), (CHUNK * 6 + 1, (CHUNK * 6 + 1) as u64));
        writer.join().expect("ends");

        let (inlet, mut outlet) = pipe();
        std::thread::spawn(move || inlet.fill(|_| Err(Error::not_found("x")))).join().expect("ends");
        assert!(outlet.fill().is_err_and(|e| e.is(crate::ErrorKind::NotFound)));
        let (inlet, mut outlet) = pipe();
        drop(inlet);
        assert!(outlet.fill().is_err());
    }

    #[test]
    fn a_writer_ends_when_nobody_reads() {
        let (inlet, outlet) = pipe();
        drop(outlet);
        inlet.fill(|inlet| {
            let written = inlet.write_all(&vec![0; CHUNK * 100]);
            assert!(written.is_err());
            Ok(())
        });
    }
}
