//! Standard input, read on a thread of its own.
//!
//! A read of a terminal cannot be taken back, and making a descriptor that is shared with other programs
//! non-blocking would break them. So a thread blocks in read, and ends with the process.

use std::io;

use rustix::io::Errno;
use tokio::sync::mpsc;

use super::keys::Filter;

const CHUNK: usize = 32 << 10;
/// Pieces that wait for the container to read: more where each is a key stroke.
const WAITING_KEYS: usize = 256;
const WAITING_CHUNKS: usize = 4;

/// What came from standard input.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Input {
    /// Bytes for the container.
    Bytes(Vec<u8>),
    /// It has ended.
    End,
    /// The keys that detach were typed.
    Detach,
}

/// Begins to read; with a filter, looks for the keys that detach.
///
/// # Errors
/// No thread could be started.
pub(crate) fn read(filter: Option<Filter>) -> io::Result<mpsc::Receiver<Input>> {
    let (sender, receiver) = mpsc::channel(if filter.is_some() { WAITING_KEYS } else { WAITING_CHUNKS });
    std::thread::Builder::new().name("stdin".to_owned()).spawn(move || pump(filter, &sender))?;
    Ok(receiver)
}

fn pump(mut filter: Option<Filter>, to: &mpsc::Sender<Input>) {
    let mut buffer = vec![0; CHUNK];
    loop {
        let read = match rustix::io::read(rustix::stdio::stdin(), &mut buffer) {
            Err(Errno::INTR) => continue,
            // A terminal that hung up, or that a job in the background may not read, has nothing more to say.
            Err(_) => 0,
            Ok(read) => read,
        };
        let piece = buffer.get(..read).unwrap_or_default();
        let (bytes, detached) = match &mut filter {
            Some(filter) if read == 0 => (filter.rest(), false),
            Some(filter) => filter.pass(piece),
            None => (piece.to_vec(), false),
        };
        let bytes = (!bytes.is_empty()).then_some(Input::Bytes(bytes));
        let last = match (detached, read) {
            (true, _) => Some(Input::Detach),
            (_, 0) => Some(Input::End),
            _ => None,
        };
        let ends = last.is_some();
        for input in bytes.into_iter().chain(last) {
            if to.blocking_send(input).is_err() {
                return;
            }
        }
        if ends {
            return;
        }
    }
}
