//! What is told: long work tells on the way how far it is, and a store tells what happened to its things.

mod system;

use std::fmt;
use std::future::{Future, IntoFuture, poll_fn};
use std::pin::Pin;
use std::task::Poll;

use tokio::sync::mpsc;

pub use self::system::{EventKind, SystemEvent};
pub(crate) use self::system::{check, selects};
use crate::error::{Error, Result};
use crate::id::Digest;

type Work<T> = Pin<Box<dyn Future<Output = Result<T>> + Send>>;

/// A long piece of work. Await it for its result, or watch its events first:
///
/// ```ignore
/// # async fn example(engine: engine_core::Engine) -> engine_core::Result<()> {
/// let image = engine.images().pull("alpine:3.20".parse()?).await?;
///
/// let mut pull = engine.images().pull("alpine:3.20".parse()?);
/// while let Some(event) = pull.next().await {
///     println!("{event:?}");
/// }
/// let image = pull.finish().await?;
/// # Ok(()) }
/// ```
///
/// It runs only while it is polled. Dropping it cancels the work; nothing is left half made.
#[must_use = "an operation does nothing until it is awaited or watched"]
pub struct Operation<E, T> {
    work: Option<Work<T>>,
    events: mpsc::UnboundedReceiver<E>,
    result: Option<Result<T>>,
}

/// Where the work of an [`Operation`] reports its events.
pub(crate) struct Reporter<E>(mpsc::UnboundedSender<E>);

impl<E> Clone for Reporter<E> {
    fn clone(&self) -> Reporter<E> {
        Reporter(self.0.clone())
    }
}

impl<E> Reporter<E> {
    /// One that nobody listens to.
    pub(crate) fn deaf() -> Reporter<E> {
        Reporter(mpsc::unbounded_channel().0)
    }

    /// Tells an event. Nobody has to listen.
    pub(crate) fn tell(&self, event: E) {
        let _ = self.0.send(event);
    }
}

impl<E, T> Operation<E, T> {
    /// The work that `start` describes, which reports through the reporter it is given.
    pub(crate) fn new<F, W>(start: F) -> Operation<E, T>
    where
        F: FnOnce(Reporter<E>) -> W,
        W: Future<Output = Result<T>> + Send + 'static,
    {
        let (sender, events) = mpsc::unbounded_channel();
        Operation { work: Some(Box::pin(start(Reporter(sender)))), events, result: None }
    }

    /// The next event; `None` when the work has ended, well or not.
    pub async fn next(&mut self) -> Option<E> {
        poll_fn(|cx| {
            if let Some(work) = &mut self.work
                && let Poll::Ready(result) = work.as_mut().poll(cx)
            {
                self.result = Some(result);
                self.work = None;
            }
            match self.events.poll_recv(cx) {
                Poll::Pending if self.work.is_none() => Poll::Ready(None),
                event => event,
            }
        })
        .await
    }

    /// Runs the work to its end and gives its result, skipping the events not yet read.
    ///
    /// # Errors
    /// Whatever the work failed with.
    pub async fn finish(mut self) -> Result<T> {
        // Nobody reads any more: from here on a report is dropped where it is made, not queued.
        self.events.close();
        match (self.result.take(), self.work.take()) {
            (Some(result), _) => result,
            (None, Some(work)) => work.await,
            (None, None) => Err(Error::internal("operation", "it has neither work nor a result")),
        }
    }
}

impl<E: Send + 'static, T: Send + 'static> IntoFuture for Operation<E, T> {
    type Output = Result<T>;
    type IntoFuture = Work<T>;

    fn into_future(self) -> Work<T> {
        Box::pin(self.finish())
    }
}

impl<E, T> fmt::Debug for Operation<E, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Operation").field("ended", &self.work.is_none()).finish_non_exhaustive()
    }
}

/// What a pull tells while it runs. Sizes are in bytes, of the content as the registry sends it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PullEvent {
    /// The manifest was found: these are the layers, base first, with the size of each.
    Resolved {
        /// The digest of the manifest chosen for the platform.
        digest: Digest,
        /// The layers' blobs and sizes.
        layers: Vec<(Digest, u64)>,
    },
    /// The layer is in the store already; nothing is fetched.
    Exists {
        /// The layer's blob.
        layer: Digest,
    },
    /// So much of the layer has arrived. Layers are unpacked while they arrive.
    Progress {
        /// The layer's blob.
        layer: Digest,
        /// Bytes so far, those of an interrupted earlier pull included.
        current: u64,
        /// Bytes in all.
        total: u64,
    },
    /// The transfer broke or the registry was busy; it is tried again after a pause.
    Retrying {
        /// The layer's blob.
        layer: Digest,
        /// Which attempt failed, counted from one.
        attempt: u32,
        /// Why.
        reason: String,
    },
    /// The layer was verified, unpacked and is in the store.
    Complete {
        /// The layer's blob.
        layer: Digest,
    },
}

/// What a load tells while it runs.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum LoadEvent {
    /// An image of the archive is in the store, under this name or identifier.
    Loaded {
        /// Its reference, or its identifier where the archive gives it no name.
        name: String,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn events_come_in_order_and_the_result_last() {
        let mut operation = Operation::new(|reporter: Reporter<u32>| async move {
            reporter.tell(1);
            tokio::task::yield_now().await;
            reporter.tell(2);
            Ok("done")
        });
        assert_eq!(operation.next().await, Some(1));
        assert_eq!(operation.next().await, Some(2));
        assert_eq!(operation.next().await, None);
        assert_eq!(operation.finish().await.expect("it succeeds"), "done");
    }

    #[tokio::test]
    async fn an_operation_that_is_dropped_stops() {
        let (alive, mut dropped) = tokio::sync::oneshot::channel::<()>();
        let mut operation = Operation::new(|reporter: Reporter<u32>| async move {
            let _alive = alive;
            reporter.tell(1);
            std::future::pending::<Result<()>>().await
        });
        assert_eq!(operation.next().await, Some(1));
        assert!(dropped.try_recv().is_err(), "still running");
        drop(operation);
        assert!(matches!(dropped.try_recv(), Err(tokio::sync::oneshot::error::TryRecvError::Closed)));
    }
}
