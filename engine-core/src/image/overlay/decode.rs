//! From the compressed stream to the bytes of the archive, in a thread of its own.
//!
//! Decompression is the slowest part of unpacking, so it runs beside the rest: it hands over chunks, a few ahead,
//! and gets the empty ones back. Everything that bounds a decompression bomb is counted here, on this side of the
//! decoder; the digest is computed by the other thread, which has the time.

use std::io::{BufReader, Read};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TryRecvError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use sha2::{Digest as _, Sha256};

use super::limits::{UnpackLimits, exceeded};
use super::tar::{Source, failed};
use crate::error::{Error, ErrorKind, Result};
use crate::id::Digest;
use crate::spec::Compression;

/// The bytes of one chunk.
const CHUNK: usize = 256 << 10;
/// How many chunks may wait.
const AHEAD: usize = 4;
/// How long nothing is noticed of a cancellation while the stream is silent.
const LOOK_UP: Duration = Duration::from_millis(50);

struct Chunk {
    bytes: Box<[u8]>,
    length: usize,
}

enum Message {
    Chunk(Chunk),
    End,
    Failed(Error),
}

/// The decoded stream, with the digest of what was read of it.
pub(super) struct Decoded {
    messages: Receiver<Message>,
    spare: SyncSender<Chunk>,
    chunk: Option<Chunk>,
    at: usize,
    ended: bool,
    hash: Sha256,
    cancelled: Arc<AtomicBool>,
}

impl Decoded {
    /// Begins to decode `stream`. Reading from this fails as soon as `cancelled` is set.
    pub(super) fn start(
        stream: Box<dyn Read + Send>,
        compression: Compression,
        limits: &UnpackLimits,
        cancelled: Arc<AtomicBool>,
    ) -> Result<Decoded> {
        let (out, messages) = sync_channel(AHEAD);
        let (spare, returned) = sync_channel(AHEAD + 2);
        let limits = limits.clone();
        let decode = move || {
            let end = match decode(stream, compression, &limits, &out, &returned) {
                Ok(()) => Message::End,
                Err(error) => Message::Failed(error),
            };
            // Nobody listens any more if the other side has failed.
            let _ = out.send(end);
        };
        // It is not joined: after a failure it may be waiting for bytes of a slow sender, and ends when they come.
        std::thread::Builder::new()
            .name("engine-decode".into())
            .spawn(decode)
            .map_err(|e| Error::io("a thread to decompress a layer", e))?;
        Ok(Decoded { messages, spare, chunk: None, at: 0, ended: false, hash: Sha256::new(), cancelled })
    }

    /// Reads to the end of the stream; gives the digest of all of it.
    pub(super) fn finish(mut self) -> Result<Digest> {
        loop {
            let count = self.fill()?.len();
            if count == 0 {
                return Ok(Digest::from_sha256(&self.hash.finalize()));
            }
            self.consume(count);
        }
    }

    fn next_chunk(&mut self) -> Result<()> {
        if let Some(chunk) = self.chunk.take() {
            // The other side may have ended already.
            let _ = self.spare.try_send(chunk);
        }
        loop {
            if self.cancelled.load(Ordering::Relaxed) {
                return Err(Error::new(ErrorKind::Cancelled, "layer").because("nobody waits for it any more"));
            }
            // A sender that fell silent must not keep a cancelled unpacking.
            match self.messages.recv_timeout(LOOK_UP) {
                Ok(Message::Chunk(chunk)) => {
                    self.hash.update(&chunk.bytes[..chunk.length]);
                    self.chunk = Some(chunk);
                    self.at = 0;
                    return Ok(());
                }
                Ok(Message::End) => {
                    self.ended = true;
                    return Ok(());
                }
                Ok(Message::Failed(error)) => return Err(error),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => {
                    return Err(Error::internal("layer", "the thread that decompresses it ended early"));
                }
            }
        }
    }

    fn rest(&self) -> &[u8] {
        self.chunk.as_ref().map_or(&[], |chunk| &chunk.bytes[self.at..chunk.length])
    }
}

impl Source for Decoded {
    fn fill(&mut self) -> Result<&[u8]> {
        while self.rest().is_empty() && !self.ended {
            self.next_chunk()?;
        }
        Ok(self.rest())
    }

    fn consume(&mut self, count: usize) {
        self.at += count;
    }
}

/// The thread's work: decodes until the stream ends, a limit is exceeded or nobody listens any more.
fn decode(
    stream: Box<dyn Read + Send>,
    compression: Compression,
    limits: &UnpackLimits,
    out: &SyncSender<Message>,
    returned: &Receiver<Chunk>,
) -> Result<()> {
    let meter = Arc::new(Meter::default());
    let input = BufReader::with_capacity(CHUNK, Metered { stream, meter: Arc::clone(&meter) });
    let mut decoder: Box<dyn Read> = match compression {
        Compression::None => Box::new(input),
        Compression::Gzip => Box::new(flate2::bufread::MultiGzDecoder::new(input)),
        Compression::Zstd => {
            let mut decoder = zstd::stream::read::Decoder::with_buffer(input).map_err(failed)?;
            decoder.window_log_max(limits.zstd_window_log).map_err(failed)?;
            Box::new(decoder)
        }
    };
    let mut total = 0u64;
    loop {
        let mut chunk = match returned.try_recv() {
            Ok(chunk) => chunk,
            Err(TryRecvError::Empty) => Chunk { bytes: vec![0; CHUNK].into_boxed_slice(), length: 0 },
            Err(TryRecvError::Disconnected) => return Ok(()),
        };
        chunk.length = fill(&mut *decoder, &mut chunk.bytes).map_err(|e| meter.explain(e, limits))?;
        total += chunk.length as u64;
        if total > limits.layer_bytes {
            return Err(exceeded("stream", "it is too large unpacked", "layer_bytes", limits.layer_bytes));
        }
        let read = meter.bytes.load(Ordering::Relaxed);
        if compression != Compression::None
            && total > limits.ratio_after
            && total / limits.ratio.max(1) > read
        {
            let what = "it grows too much when it is unpacked, as decompression bombs do";
            return Err(exceeded("stream", what, "ratio", limits.ratio));
        }
        if chunk.length == 0 || out.send(Message::Chunk(chunk)).is_err() {
            return Ok(());
        }
    }
}

/// Reads until the buffer is full or the stream ends.
fn fill(reader: &mut dyn Read, buffer: &mut [u8]) -> std::io::Result<usize> {
    let mut have = 0;
    while have < buffer.len() {
        match reader.read(&mut buffer[have..]) {
            Ok(0) => break,
            Ok(count) => have += count,
            Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(have)
}

/// What is known about the compressed side.
#[derive(Default)]
struct Meter {
    bytes: AtomicU64,
    /// The failure of the stream itself, if that is what stopped the decoder.
    failure: Mutex<Option<Error>>,
}

impl Meter {
    fn explain(&self, error: std::io::Error, limits: &UnpackLimits) -> Error {
        if let Some(failure) = self.failure.lock().unwrap_or_else(PoisonError::into_inner).take() {
            return failure;
        }
        if error.to_string().contains("too much memory") {
            let what = "its zstd window is too large";
            return exceeded("stream", what, "zstd_window_log", u64::from(limits.zstd_window_log));
        }
        // The stream gave its bytes, so it is these that are wrong.
        Error::new(ErrorKind::Corrupt, "stream").because("it cannot be decompressed").caused_by(error)
    }
}

/// Counts what is read, and keeps the failure apart from what the decoder makes of it.
struct Metered {
    stream: Box<dyn Read + Send>,
    meter: Arc<Meter>,
}

impl Read for Metered {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        match self.stream.read(buffer) {
            Ok(count) => {
                self.meter.bytes.fetch_add(count as u64, Ordering::Relaxed);
                Ok(count)
            }
            Err(e) if e.kind() == std::io::ErrorKind::Interrupted => Err(e),
            Err(e) => {
                let kind = e.kind();
                let mut failure = self.meter.failure.lock().unwrap_or_else(PoisonError::into_inner);
                *failure = Some(failed(e));
                Err(kind.into())
            }
        }
    }
}
