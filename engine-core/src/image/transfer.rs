//! A layer on its way from a registry into the store: one pipeline.
//!
//! Bytes arrive (here), are appended to the blob and digested (on a thread), and are decompressed, digested again and
//! unpacked (on the layer store's thread), all at the same time and within a budget of memory. A transfer that breaks
//! is taken up where it broke; the unpacker just waits.
//!
//! The unpacker is told of the end of its stream only after the blob's digest was found right, so no tree appears that
//! came out of a wrong blob. (It would do no harm: what makes a tree appear is that its own digest, from a verified
//! configuration, was right.)

use std::io::Read;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::future::{Either, select, try_join};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use super::driver::{BlobWriter, ImageStore};
use super::feed::{Budget, CHUNK, Chunk, Feed, feed};
use super::layers::{Wanted, source};
use super::remote::Remote;
use crate::error::{Error, ErrorKind, Result, Subject};
use crate::event::{PullEvent, Reporter};
use crate::spec::{Compression, Descriptor};
use crate::store::blocking;

/// How often progress is told.
const TELL: Duration = Duration::from_millis(100);

/// A blob to fetch, and the tree that is unpacked out of it on the way.
#[derive(Clone, Copy)]
pub(super) struct Transfer<'a> {
    pub(super) store: &'a dyn ImageStore,
    pub(super) remote: &'a Remote,
    pub(super) blob: &'a Descriptor,
    pub(super) tree: Option<&'a Wanted>,
    pub(super) reporter: &'a Reporter<PullEvent>,
}

/// What the thread that keeps the blob is told.
enum Order {
    Append(Chunk),
    /// All has arrived.
    Finish,
    /// The content is wrong: keep nothing of it.
    Discard,
}

impl Transfer<'_> {
    /// Fetches the blob; whether the tree was unpacked is the answer. It is not if another process had fetched the
    /// blob meanwhile.
    pub(super) async fn run(self) -> Result<bool> {
        let Transfer { store, blob, tree, .. } = self;
        let mut anew = false;
        loop {
            let mut writer = store.begin(&blob.digest, blob.size).await?;
            if store.stat(&blob.digest).await?.is_some() {
                return Ok(false);
            }
            if anew {
                writer = blocking(move || writer.restart().map(|()| writer)).await?;
            }
            let resumed = writer.offset() > 0;
            match self.through(writer).await {
                // What an interrupted pull left may be no beginning of this blob: a loss of power can do that. Once
                // more, from the start.
                Err(e) if e.is(ErrorKind::Corrupt) && resumed => anew = true,
                result => return result.map(|()| tree.is_some()),
            }
        }
    }

    /// Runs the pipeline to its end.
    async fn through(self, writer: Box<dyn BlobWriter>) -> Result<()> {
        let budget = Budget::new();
        let offset = writer.offset();
        let (orders, received) = unbounded_channel();
        let discard = orders.clone();
        let (outlet, mut intake, cut) = feed();
        let outlet = self.tree.is_some().then_some(outlet);
        let keeper = keep(writer, received, outlet, budget.clone());
        let arrive = async move {
            self.arrive(offset, &budget, &orders).await?;
            let _ = orders.send(Order::Finish);
            Ok(())
        };
        let keep = std::pin::pin!(async { try_join(arrive, keeper).await.map(drop) });
        let Some(tree) = self.tree else { return keep.await };
        let unpack = std::pin::pin!(async {
            let compression = Compression::sniff(&intake.peek(Compression::SNIFF).await);
            self.store.apply(source(tree, compression, Box::new(intake))).await.map(drop)
        });
        match select(keep, unpack).await {
            Either::Left((Ok(()), unpack)) => unpack.await,
            Either::Left((Err(error), unpack)) => {
                // The unpacker sees its stream cut; when it has returned, nothing of the layer is left.
                drop(discard);
                let _ = unpack.await;
                Err(error)
            }
            // It was there already, or what follows has no meaning for it; the blob is wanted all the same.
            Either::Right((Ok(()), keep)) => {
                drop(discard);
                keep.await
            }
            // Its stream was cut: why is what the other side knows.
            Either::Right((Err(error), keep)) if cut.load(Ordering::Acquire) => {
                drop(discard);
                keep.await.and(Err(error))
            }
            Either::Right((Err(error), _)) => {
                if error.is(ErrorKind::Corrupt) {
                    let _ = discard.send(Order::Discard);
                }
                Err(error)
            }
        }
    }

    /// Lets the rest of the blob arrive.
    async fn arrive(self, offset: u64, budget: &Budget, orders: &UnboundedSender<Order>) -> Result<()> {
        let Transfer { remote, blob, reporter, .. } = self;
        let (mut current, mut told) = (offset, Instant::now());
        let take = |mut bytes: Bytes| {
            current += bytes.len() as u64;
            if told.elapsed() >= TELL || current == blob.size {
                told = Instant::now();
                reporter.tell(PullEvent::Progress { layer: blob.digest.clone(), current, total: blob.size });
            }
            async move {
                while !bytes.is_empty() {
                    let chunk = budget.chunk(bytes.split_to(bytes.len().min(CHUNK))).await?;
                    if orders.send(Order::Append(chunk)).is_err() {
                        // The keeper went away: it failed, and says why.
                        return std::future::pending().await;
                    }
                }
                Ok(())
            }
        };
        let broke = |attempt: u32, error: &Error| {
            let reason = error.to_string();
            reporter.tell(PullEvent::Retrying { layer: blob.digest.clone(), attempt, reason });
        };
        remote.fetch(blob, offset, take, broke).await
    }
}

/// Appends to the blob what arrives, on a thread of its own, and hands it on to the unpacker.
async fn keep(
    mut writer: Box<dyn BlobWriter>,
    mut orders: UnboundedReceiver<Order>,
    outlet: Option<Feed>,
    budget: Budget,
) -> Result<()> {
    let runtime = tokio::runtime::Handle::current();
    blocking(move || {
        if let Some(outlet) = &outlet
            && writer.offset() > 0
        {
            let mut existing = writer.existing()?;
            loop {
                let mut piece = Vec::with_capacity(CHUNK);
                existing
                    .by_ref()
                    .take(CHUNK as u64)
                    .read_to_end(&mut piece)
                    .subject(|| "a partial blob".into())?;
                if piece.is_empty() {
                    break;
                }
                outlet.send(runtime.block_on(budget.chunk(piece.into()))?);
            }
        }
        loop {
            match orders.blocking_recv() {
                Some(Order::Append(chunk)) => {
                    writer.write(&chunk.bytes)?;
                    if let Some(outlet) = &outlet {
                        outlet.send(chunk);
                    }
                }
                Some(Order::Finish) => {
                    writer.finish()?;
                    if let Some(outlet) = outlet {
                        outlet.end();
                    }
                    return Ok(());
                }
                Some(Order::Discard) => return writer.restart(),
                // Nobody goes on: what has arrived is kept for the next pull.
                None => {
                    return Err(Error::new(ErrorKind::Cancelled, "transfer").because("it was given up"));
                }
            }
        }
    })
    .await
}
