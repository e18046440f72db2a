//! Bytes on their way to an unpacker: a reader for blocking code whose other end is fed while content arrives.
//!
//! A chunk travels with its share of a budget of memory, which is free again when the chunk was read. The end has to
//! be told: a feed whose sender went away without that is *cut*, and a cut stream is an error, never a short layer.

use std::io::{self, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::{Buf, Bytes};
use tokio::sync::mpsc::{self, UnboundedReceiver, UnboundedSender};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::error::{Error, Result};

/// The memory that the chunks on their way may take, of one layer.
const BUDGET: u32 = 4 << 20;
/// The largest chunk.
pub(super) const CHUNK: usize = 256 << 10;
/// What the smallest chunk costs: a registry that sends byte by byte must not get around the budget.
const SMALLEST: u32 = 1 << 10;

/// A piece of content that holds its share of the budget.
pub(super) struct Chunk {
    pub(super) bytes: Bytes,
    share: OwnedSemaphorePermit,
}

/// The budget of one layer.
#[derive(Clone)]
pub(super) struct Budget(Arc<Semaphore>);

impl Budget {
    pub(super) fn new() -> Budget {
        Budget(Arc::new(Semaphore::new(BUDGET as usize)))
    }

    /// Waits until there is room for the bytes, which are no more than [`CHUNK`].
    pub(super) async fn chunk(&self, bytes: Bytes) -> Result<Chunk> {
        let length = u32::try_from(bytes.len()).unwrap_or(BUDGET).clamp(SMALLEST, BUDGET);
        let share = Arc::clone(&self.0)
            .acquire_many_owned(length)
            .await
            .map_err(|_| Error::internal("a layer's budget of memory", "it was closed"))?;
        Ok(Chunk { bytes, share })
    }
}

enum Message {
    Chunk(Chunk),
    End,
}

/// The end that is fed.
pub(super) struct Feed(UnboundedSender<Message>);

impl Feed {
    /// Hands a chunk on. That nobody reads any more is fine: a layer that is there already is not read to its end.
    pub(super) fn send(&self, chunk: Chunk) {
        let _ = self.0.send(Message::Chunk(chunk));
    }

    /// The content was whole, and what it was said to be.
    pub(super) fn end(self) {
        let _ = self.0.send(Message::End);
    }
}

/// The end that is read.
pub(super) struct Intake {
    messages: UnboundedReceiver<Message>,
    current: Option<Chunk>,
    ended: bool,
    cut: Arc<AtomicBool>,
}

/// A feed; and whether it was cut, for whoever has to tell that from a bad layer.
pub(super) fn feed() -> (Feed, Intake, Arc<AtomicBool>) {
    let (sender, messages) = mpsc::unbounded_channel();
    let cut = Arc::new(AtomicBool::new(false));
    (Feed(sender), Intake { messages, current: None, ended: false, cut: Arc::clone(&cut) }, cut)
}

impl Intake {
    /// The first bytes, `wanted` of them unless the content is shorter; they will be read again.
    pub(super) async fn peek(&mut self, wanted: usize) -> Vec<u8> {
        let mut head: Vec<Chunk> = Vec::new();
        while head.iter().map(|chunk| chunk.bytes.len()).sum::<usize>() < wanted {
            match self.messages.recv().await {
                Some(Message::Chunk(chunk)) => head.push(chunk),
                Some(Message::End) => {
                    self.ended = true;
                    break;
                }
                None => break,
            }
        }
        let joined: Vec<u8> = head.iter().flat_map(|chunk| chunk.bytes.iter().copied()).collect();
        let seen = joined[..joined.len().min(wanted)].to_vec();
        // Almost always this is one chunk, and stays what it is.
        self.current = match head.pop() {
            Some(only) if head.is_empty() => Some(only),
            Some(last) => Some(Chunk { bytes: joined.into(), share: last.share }),
            None => None,
        };
        seen
    }
}

impl Read for Intake {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        loop {
            if let Some(chunk) = &mut self.current {
                if chunk.bytes.has_remaining() {
                    let length = chunk.bytes.remaining().min(into.len());
                    chunk.bytes.copy_to_slice(&mut into[..length]);
                    return Ok(length);
                }
                self.current = None;
            }
            if self.ended {
                return Ok(0);
            }
            match self.messages.blocking_recv() {
                Some(Message::Chunk(chunk)) => self.current = Some(chunk),
                Some(Message::End) => self.ended = true,
                None => {
                    self.cut.store(true, Ordering::Release);
                    return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the transfer was given up"));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_fed_is_read_and_the_head_is_not_lost() {
        let (feed, mut intake, cut) = feed();
        let budget = Budget::new();
        for part in ["a", "bc", "", "defgh"] {
            feed.send(budget.chunk(Bytes::from_static(part.as_bytes())).await.expect("there is room"));
        }
        feed.end();
        assert_eq!(intake.peek(4).await, b"abcd");
        let text = tokio::task::spawn_blocking(move || io::read_to_string(intake)).await.expect("no panic");
        assert_eq!(text.expect("is read"), "abcdefgh");
        assert!(!cut.load(Ordering::Acquire));
    }

    #[tokio::test]
    async fn a_feed_without_its_end_is_an_error() {
        let (feed, mut intake, cut) = feed();
        feed.send(Budget::new().chunk(Bytes::from_static(b"abc")).await.expect("there is room"));
        drop(feed);
        assert_eq!(intake.peek(4).await, b"abc");
        let text = tokio::task::spawn_blocking(move || io::read_to_string(intake)).await.expect("no panic");
        assert!(text.is_err());
        assert!(cut.load(Ordering::Acquire));
    }

    #[tokio::test]
    async fn no_more_is_on_its_way_than_the_budget_allows() {
        let (feed, mut intake, _) = feed();
        let budget = Budget::new();
        let full = BUDGET as usize / CHUNK;
        for _ in 0..full {
            feed.send(budget.chunk(vec![0; CHUNK].into()).await.expect("there is room"));
        }
        let mut further = std::pin::pin!(budget.chunk(vec![0; CHUNK].into()));
        assert!(futures_util::poll!(further.as_mut()).is_pending());
        tokio::task::spawn_blocking(move || intake.read_exact(&mut vec![0; CHUNK + 1]).map(|()| intake))
            .await
            .expect("no panic")
            .expect("is read");
        further.await.expect("there is room again");
    }
}
