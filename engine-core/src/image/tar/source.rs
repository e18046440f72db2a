//! Where an archive's bytes come from.

use std::io::{BufRead, ErrorKind as Io};

use crate::error::{Error, ErrorKind, Result};

/// A stream of bytes that lends its buffer, so that data goes from there to the file without being copied.
pub(crate) trait Source {
    /// The next bytes; none at the end of the stream. The same ones again until they are consumed.
    fn fill(&mut self) -> Result<&[u8]>;

    /// The first `count` bytes of what `fill` gave are done with.
    fn consume(&mut self, count: usize);
}

/// A buffered reader as a source.
pub(crate) struct Buffered<R>(pub(crate) R);

impl<R: BufRead> Source for Buffered<R> {
    fn fill(&mut self) -> Result<&[u8]> {
        // The loop ends with an answer that is asked for once more outside it: a borrow cannot leave a loop.
        loop {
            match self.0.fill_buf() {
                Ok(_) => break,
                Err(e) if e.kind() == Io::Interrupted => {}
                Err(e) => return Err(failed(e)),
            }
        }
        self.0.fill_buf().map_err(failed)
    }

    fn consume(&mut self, count: usize) {
        self.0.consume(count);
    }
}

/// A failure of a reader: the engine's own error where it carries one, else by what it says.
pub(crate) fn failed(error: std::io::Error) -> Error {
    if error.get_ref().is_some_and(|inner| inner.is::<Error>()) {
        let kind = error.kind();
        return match error.into_inner().map(|inner| inner.downcast::<Error>()) {
            Some(Ok(own)) => *own,
            Some(Err(other)) => Error::io("stream", std::io::Error::new(kind, other)),
            None => Error::io("stream", kind.into()),
        };
    }
    match error.kind() {
        Io::InvalidData | Io::InvalidInput | Io::UnexpectedEof => {
            Error::new(ErrorKind::Corrupt, "stream").caused_by(error)
        }
        _ => Error::io("stream", error),
    }
}
