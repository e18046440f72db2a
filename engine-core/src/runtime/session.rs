//! A conversation with a process: its standard streams, and how it ended.

use bytes::{Bytes, BytesMut};
use engine_shim::record::Record;
use engine_shim::wire::{self, Kind};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};

use super::driver::ExitRecord;
use crate::error::{Error, ErrorKind, Result, Subject};
use crate::spec::{Signal, TerminalSize, Timestamp};

/// What a process said.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Frame {
    /// Bytes of its standard output, or of its terminal.
    Stdout(Bytes),
    /// Bytes of its standard error.
    Stderr(Bytes),
    /// It ended so. The last frame.
    Exited(ExitRecord),
}

/// A conversation with a process in a container. Dropping it leaves the process as it is.
#[derive(Debug)]
pub struct Session {
    input: SessionInput,
    output: SessionOutput,
}

/// The half that talks to the process.
#[derive(Debug)]
pub struct SessionInput {
    socket: OwnedWriteHalf,
}

/// The half that listens to the process.
#[derive(Debug)]
pub struct SessionOutput {
    socket: OwnedReadHalf,
    buffer: BytesMut,
}

impl Session {
    /// A session over a connection to a shim that has been told what to do.
    pub(crate) fn new(socket: UnixStream) -> Session {
        let (read, write) = socket.into_split();
        Session {
            input: SessionInput { socket: write },
            output: SessionOutput { socket: read, buffer: BytesMut::new() },
        }
    }

    /// A session over a connection that a test of a frontend answers in place of the shim.
    #[cfg(feature = "conformance")]
    pub fn over(socket: UnixStream) -> Session {
        Session::new(socket)
    }

    /// The next thing the process said; `None` when the connection ended without telling how the process did.
    ///
    /// # Errors
    /// [`ErrorKind::Unavailable`] when the connection broke.
    pub async fn next(&mut self) -> Result<Option<Frame>> {
        self.output.next().await
    }

    /// Reads to the end, throwing away what the process says, and gives how it ended.
    ///
    /// # Errors
    /// [`ErrorKind::Unavailable`] when the connection ended before the process did.
    pub async fn wait(mut self) -> Result<ExitRecord> {
        loop {
            match self.next().await? {
                Some(Frame::Exited(exit)) => return Ok(exit),
                Some(_) => {}
                None => return Err(broken()),
            }
        }
    }

    /// Reads to the end and gives all that the process said on standard output and standard error, and how it ended.
    ///
    /// # Errors
    /// [`ErrorKind::Unavailable`] when the connection ended before the process did;
    /// [`ErrorKind::LimitExceeded`] when there are more than `limit` bytes of either.
    pub async fn output(mut self, limit: usize) -> Result<(Vec<u8>, Vec<u8>, ExitRecord)> {
        let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
        loop {
            let (into, bytes) = match self.next().await? {
                Some(Frame::Stdout(bytes)) => (&mut stdout, bytes),
                Some(Frame::Stderr(bytes)) => (&mut stderr, bytes),
                Some(Frame::Exited(exit)) => return Ok((stdout, stderr, exit)),
                None => return Err(broken()),
            };
            if into.len() + bytes.len() > limit {
                return Err(Error::new(ErrorKind::LimitExceeded, "the output of the process")
                    .because(format!("it is longer than {limit} bytes"))
                    .with_remedy("read it piece by piece"));
            }
            into.extend_from_slice(&bytes);
        }
    }

    /// The half that talks, for use beside the half that listens.
    pub fn input(&mut self) -> &mut SessionInput {
        &mut self.input
    }

    /// Both halves.
    pub fn split(self) -> (SessionInput, SessionOutput) {
        (self.input, self.output)
    }
}

fn broken() -> Error {
    Error::new(ErrorKind::Unavailable, "the connection to the process")
        .because("it ended before the process did; its monitor may have been killed")
}

impl SessionInput {
    /// Writes to standard input. Waits while the process does not read.
    ///
    /// # Errors
    /// [`ErrorKind::Unavailable`] when the connection broke.
    pub async fn write(&mut self, bytes: &[u8]) -> Result<()> {
        for chunk in bytes.chunks(wire::CHUNK) {
            self.send(Kind::Stdin, chunk).await?;
        }
        Ok(())
    }

    /// Ends standard input: the process reads end of file.
    ///
    /// # Errors
    /// [`ErrorKind::Unavailable`] when the connection broke.
    pub async fn close(&mut self) -> Result<()> {
        self.send(Kind::StdinEnd, &[]).await
    }

    /// Changes the size of the terminal.
    ///
    /// # Errors
    /// [`ErrorKind::Unavailable`] when the connection broke.
    pub async fn resize(&mut self, size: TerminalSize) -> Result<()> {
        let ([a, b], [c, d]) = (size.rows.to_be_bytes(), size.columns.to_be_bytes());
        self.send(Kind::Resize, &[a, b, c, d]).await
    }

    /// Sends a signal to the process.
    ///
    /// # Errors
    /// [`ErrorKind::Unavailable`] when the connection broke.
    pub async fn signal(&mut self, signal: Signal) -> Result<()> {
        self.send(Kind::Signal, &signal.number().to_be_bytes()).await
    }

    pub(crate) async fn send(&mut self, kind: Kind, payload: &[u8]) -> Result<()> {
        self.socket
            .write_all(&wire::frame(kind, payload))
            .await
            .subject(|| "the connection to the process".to_owned())
    }
}

impl SessionOutput {
    /// The next thing the process said; `None` when the connection ended without telling how the process did.
    ///
    /// # Errors
    /// [`ErrorKind::Unavailable`] when the connection broke.
    pub async fn next(&mut self) -> Result<Option<Frame>> {
        while let Some((kind, payload)) = self.frame().await? {
            match kind {
                Kind::Stdout => return Ok(Some(Frame::Stdout(payload))),
                Kind::Stderr => return Ok(Some(Frame::Stderr(payload))),
                Kind::Exited => return exit(&payload).map(|record| Some(Frame::Exited(record))),
                Kind::Restarting => return restarting(&payload).map(|record| Some(Frame::Exited(record))),
                _ => {}
            }
        }
        Ok(None)
    }

    /// The next frame of a known kind; `None` at the end of the connection.
    pub(crate) async fn frame(&mut self) -> Result<Option<(Kind, Bytes)>> {
        loop {
            if let Some((header, _)) = self.buffer.split_first_chunk::<{ wire::HEADER }>() {
                let (kind, length) = wire::parse_header(*header)
                    .ok_or_else(|| Error::internal("the connection to the process", "a frame is too long"))?;
                if self.buffer.len() >= wire::HEADER + length {
                    let mut frame = self.buffer.split_to(wire::HEADER + length);
                    let payload = frame.split_off(wire::HEADER).freeze();
                    match Kind::from_byte(kind) {
                        Some(kind) => return Ok(Some((kind, payload))),
                        None => continue,
                    }
                }
            }
            self.buffer.reserve(64 << 10);
            let read = self.socket.read_buf(&mut self.buffer).await;
            match read {
                Ok(0) => return Ok(None),
                Ok(_) => {}
                Err(e) if e.kind() == std::io::ErrorKind::ConnectionReset => return Ok(None),
                Err(e) => return Err(Error::io("the connection to the process", e)),
            }
        }
    }
}

/// The record in the payload of an exit frame.
pub(crate) fn exit(payload: &[u8]) -> Result<ExitRecord> {
    let record = Record::decode(payload)
        .ok_or_else(|| Error::internal("the connection to the process", "its last frame is too short"))?;
    Ok(record.into())
}

/// The record in the payload of a frame that tells of a program that will be started again.
pub(crate) fn restarting(payload: &[u8]) -> Result<ExitRecord> {
    exit(payload).map(|record| ExitRecord { again: true, ..record })
}

impl From<Record> for ExitRecord {
    /// Without the failure, which needs words.
    fn from(record: Record) -> ExitRecord {
        let started = (record.started > 0).then(|| Timestamp::from_nanos(record.started));
        ExitRecord { started, restarts: record.restarts, ..record.exit.into() }
    }
}

impl From<wire::Exit> for ExitRecord {
    fn from(exit: wire::Exit) -> ExitRecord {
        let oom_killed = exit.oom_killed;
        let record = ExitRecord::new(exit.run, exit.code, Timestamp::from_nanos(exit.finished));
        ExitRecord { oom_killed, ..record }
    }
}
