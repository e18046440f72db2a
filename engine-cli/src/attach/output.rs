//! Standard output and error, written without ever blocking the rest of the program.
//!
//! A reader that has stopped reading, such as a pager, must not keep signals and key strokes from the container. The
//! descriptors are shared with other programs, so they are not made non-blocking; instead each is asked whether it
//! takes something before it is written to, no more than a pipe takes whole.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::FileType;
use rustix::io::Errno;

/// PIPE_BUF: a pipe that is ready takes that much without blocking (pipe(7)).
const PIECE: usize = 4096;

/// A standard stream to write to.
#[derive(Debug)]
pub(crate) struct Output {
    stream: BorrowedFd<'static>,
    /// A file is always ready.
    is_file: bool,
}

impl Output {
    /// Standard output.
    pub(crate) fn stdout() -> Output {
        Output::new(rustix::stdio::stdout())
    }

    /// Standard error.
    pub(crate) fn stderr() -> Output {
        Output::new(rustix::stdio::stderr())
    }

    fn new(stream: BorrowedFd<'static>) -> Output {
        let kind = rustix::fs::fstat(stream).map(|stat| FileType::from_raw_mode(stat.st_mode));
        Output { stream, is_file: matches!(kind, Ok(FileType::RegularFile)) }
    }

    /// Writes all of it, waiting where that is needed.
    ///
    /// # Errors
    /// What writing gave; a closed pipe too.
    pub(crate) async fn write(&self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let piece = if self.is_file { bytes } else { bytes.get(..PIECE).unwrap_or(bytes) };
            if !self.is_file && !self.is_ready(Some(&Timespec { tv_sec: 0, tv_nsec: 0 }))? {
                self.ready().await?;
            }
            match rustix::io::write(self.stream, piece) {
                Ok(written) => bytes = bytes.get(written..).unwrap_or_default(),
                Err(Errno::INTR) => {}
                // Somebody else made it non-blocking, and another writer was quicker.
                Err(Errno::AGAIN) => self.ready().await?,
                Err(e) => return Err(e.into()),
            }
        }
        Ok(())
    }

    /// Whether it takes something, or has failed, which writing will tell.
    fn is_ready(&self, timeout: Option<&Timespec>) -> io::Result<bool> {
        is_ready(self.stream, timeout)
    }

    async fn ready(&self) -> io::Result<()> {
        let stream = self.stream;
        let waited = tokio::task::spawn_blocking(move || is_ready(stream, None)).await;
        waited.map_err(io::Error::other)?.map(drop)
    }
}

fn is_ready(stream: BorrowedFd<'_>, timeout: Option<&Timespec>) -> io::Result<bool> {
    let stream = stream.as_fd();
    let mut polled = [PollFd::new(&stream, PollFlags::OUT)];
    match poll(&mut polled, timeout) {
        Ok(ready) => Ok(ready > 0),
        Err(Errno::INTR) => Ok(false),
        Err(e) => Err(e.into()),
    }
}
