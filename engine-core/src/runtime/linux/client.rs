//! Speaking with a monitor: the socket `control` in the run directory of its container. All calls block.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use engine_shim::control::{Received, receive_frame, send_frame};
use engine_shim::wire::{Cause, Failure, Kind};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use super::{plan, program};
use crate::error::{Error, ErrorKind, Result, Subject};
use crate::runtime::driver::Place;
use crate::spec::{AttachSpec, RestartPolicy, Signal, TerminalSize};
use crate::sys::process_root;

/// A monitor that is alive answers at once; a host in dire straits may take its time.
const PATIENCE: Duration = Duration::from_secs(60);

/// A connection to the monitor of a container, or to the helper program that builds it.
pub(super) struct Client {
    socket: UnixStream,
    /// The container, for messages.
    name: String,
}

/// What messages call a container.
pub(super) fn name(place: &Place) -> String {
    format!("container {}", place.id.short())
}

pub(super) fn not_running(place: &Place) -> Error {
    Error::new(ErrorKind::Conflict, name(place)).because("it is not running").with_remedy("start it first")
}

impl Client {
    /// Connects to the monitor; `None` if there is none.
    pub(super) fn connect(place: &Place) -> Result<Option<Client>> {
        match connect(&place.run_dir) {
            Ok(socket) => Ok(Some(Client::over(socket, place)?)),
            Err(e) if is_absent(&e) => Ok(None),
            Err(e) => Err(Error::io(format!("the monitor of {}", name(place)), e)),
        }
    }

    /// Over a socket that is connected already.
    pub(super) fn over(socket: UnixStream, place: &Place) -> Result<Client> {
        Client::named(socket, name(place))
    }

    /// The same for a container that messages call `name`.
    pub(super) fn named(socket: UnixStream, name: String) -> Result<Client> {
        let client = Client { socket, name };
        client.wait_for(Some(PATIENCE))?;
        Ok(client)
    }

    /// Says how long [`Client::receive`] waits; without end if `None`.
    pub(super) fn wait_for(&self, patience: Option<Duration>) -> Result<()> {
        self.socket.set_read_timeout(patience).subject(|| self.subject())
    }

    pub(super) fn into_socket(self) -> UnixStream {
        self.socket
    }

    fn subject(&self) -> String {
        format!("the monitor of {}", self.name)
    }

    fn broken(&self) -> Error {
        Error::new(ErrorKind::Unavailable, self.subject()).because("it ended without an answer")
    }

    /// Sends a frame. That the other side is gone is no failure: what it said before that is still to be read.
    pub(super) fn send(&self, kind: Kind, payload: &[u8], descriptors: &[BorrowedFd<'_>]) -> Result<()> {
        match send_frame(&self.socket, kind, payload, descriptors) {
            Ok(()) | Err(Errno::PIPE | Errno::CONNRESET) => Ok(()),
            Err(errno) => Err(Error::io(self.subject(), errno.into())),
        }
    }

    /// The next frame; `None` when the monitor is gone.
    pub(super) fn receive(&self) -> Result<Option<(Option<Kind>, Received)>> {
        match receive_frame(&self.socket) {
            Ok(Some(frame)) => Ok(Some((Kind::from_byte(frame.kind), frame))),
            Ok(None) | Err(Errno::CONNRESET) => Ok(None),
            Err(Errno::AGAIN) => Err(Error::new(ErrorKind::TimedOut, self.subject())
                .because(format!("it did not answer within {} seconds", PATIENCE.as_secs()))),
            Err(errno) => Err(Error::io(self.subject(), errno.into())),
        }
    }

    /// Waits for a frame of the kind `wanted`, passing over what does not matter.
    ///
    /// # Errors
    /// Why building failed, or the request; [`ErrorKind::Unavailable`] if the monitor ended before.
    pub(super) fn expect(&self, wanted: Kind) -> Result<Received> {
        while let Some((kind, frame)) = self.receive()? {
            match kind {
                Some(Kind::Failed) => return Err(explain(&frame.payload, &self.name)),
                Some(Kind::Done) if wanted != Kind::Done => {
                    errno(&frame.payload).subject(|| self.name.clone())?;
                }
                Some(kind) if kind == wanted => return Ok(frame),
                _ => {}
            }
        }
        Err(self.broken())
    }

    /// Makes a request; gives the answer's errno.
    pub(super) fn request(&self, kind: Kind, payload: &[u8]) -> Result<rustix::io::Result<()>> {
        self.send(kind, payload, &[])?;
        self.expect(Kind::Done).map(|frame| errno(&frame.payload))
    }

    /// Reads until the container has ended, or the other side is gone. `false` if that takes longer than `patience`.
    pub(super) fn outlive(&self, patience: Duration) -> Result<bool> {
        self.wait_for(Some(patience))?;
        loop {
            match self.receive() {
                Ok(Some((Some(Kind::Exited | Kind::Failed), _))) => return Ok(true),
                Ok(Some(_)) => {}
                Ok(None) => return Ok(true),
                Err(e) if e.is(ErrorKind::TimedOut) => return Ok(false),
                Err(e) if e.is(ErrorKind::Unavailable) => return Ok(true),
                Err(e) => return Err(e),
            }
        }
    }
}

/// The number of a process in the payload of a frame.
pub(super) fn number(frame: &Received) -> Option<u32> {
    <[u8; 4]>::try_from(frame.payload.as_slice()).ok().map(u32::from_be_bytes)
}

/// Why building failed, or beginning, in the engine's words.
pub(super) fn explain(payload: &[u8], name: &str) -> Error {
    match Failure::decode(payload) {
        Some(failure) => failed(name, failure),
        None => Error::internal(name, "it failed without saying why"),
    }
}

/// Why building the container called `name` failed, in the engine's words.
pub(super) fn failed(name: &str, Failure { cause, errno, step }: Failure) -> Error {
    let step = String::from_utf8_lossy(&step).into_owned();
    let kind = match cause {
        Cause::CommandNotFound => ErrorKind::CommandNotFound,
        Cause::CommandNotExecutable => ErrorKind::CommandNotExecutable,
        Cause::NoSuchUser => ErrorKind::InvalidInput,
        Cause::Escape => ErrorKind::PermissionDenied,
        Cause::Plan => ErrorKind::Internal,
        Cause::Hook => ErrorKind::Unavailable,
        Cause::Program => return program::explain(name, errno, &step),
        Cause::Step => {
            let error = Error::io(name, std::io::Error::from_raw_os_error(errno));
            return error.because(step.trim_end().to_owned());
        }
    };
    Error::new(kind, name).because(step)
}

fn errno(payload: &[u8]) -> rustix::io::Result<()> {
    match <[u8; 4]>::try_from(payload).map(i32::from_be_bytes) {
        Ok(0) => Ok(()),
        Ok(errno) => Err(Errno::from_raw_os_error(errno)),
        Err(_) => Err(Errno::PROTO),
    }
}

/// Connects to `control` in the directory. Through a descriptor: the path may be too long for an address.
fn connect(run_dir: &Path) -> std::io::Result<UnixStream> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let directory = rustix::fs::open(run_dir, flags, Mode::empty())?;
    UnixStream::connect(format!("/proc/self/fd/{}/control", directory.as_raw_fd()))
}

/// Whether connecting failed because nobody is there (any more).
pub(super) fn is_absent(error: &std::io::Error) -> bool {
    use std::io::ErrorKind as Io;
    matches!(error.kind(), Io::NotFound | Io::ConnectionRefused | Io::ConnectionReset | Io::NotADirectory)
}

/// Attaches to the streams of a container; the socket is then the conversation.
pub(super) fn attach(place: &Place, streams: AttachSpec) -> Result<UnixStream> {
    use engine_shim::wire::streams as bits;
    let client = Client::connect(place)?.ok_or_else(|| not_running(place))?;
    let wanted =
        [(streams.stdin, bits::STDIN), (streams.stdout, bits::STDOUT), (streams.stderr, bits::STDERR)];
    let wanted = wanted.into_iter().filter(|(wanted, _)| *wanted).fold(0, |all, (_, bit)| all | bit);
    client
        .request(Kind::Attach, &[wanted])
        .map_err(|e| if e.is(ErrorKind::Unavailable) { not_running(place) } else { e })?
        .subject(|| name(place))?;
    client.wait_for(None)?;
    Ok(client.into_socket())
}

/// What a signal means for a container that is started again by itself.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Meaning {
    /// Nothing.
    Signal,
    /// It is not started again.
    End,
}

/// The payload of a frame that sends a signal.
pub(super) fn signal(signal: Signal, meaning: Meaning) -> [u8; 5] {
    let [a, b, c, d] = signal.number().to_be_bytes();
    [a, b, c, d, u8::from(meaning == Meaning::End)]
}

/// Changes when the container is started again.
pub(super) fn set_restart(place: &Place, policy: RestartPolicy) -> Result<()> {
    let client = Client::connect(place)?.ok_or_else(|| not_running(place))?;
    match client.request(Kind::Policy, &plan::policy(policy).encode()) {
        Ok(result) => result.subject(|| format!("the restart policy of {}", name(place))),
        Err(e) if e.is(ErrorKind::Unavailable) => Err(not_running(place)),
        Err(e) => Err(e),
    }
}

/// Sends a signal to the first process.
pub(super) fn kill(place: &Place, signal: Signal, meaning: Meaning) -> Result<()> {
    let client = Client::connect(place)?.ok_or_else(|| not_running(place))?;
    match client.request(Kind::Signal, &self::signal(signal, meaning)) {
        Ok(Err(Errno::SRCH)) => Err(not_running(place)),
        Ok(result) => result.subject(|| format!("{signal} for {}", name(place))),
        // It ended while it was asked.
        Err(e) if e.is(ErrorKind::Unavailable) => Err(not_running(place)),
        Err(e) => Err(e),
    }
}

/// Changes the size of the terminal.
pub(super) fn resize(place: &Place, size: TerminalSize) -> Result<()> {
    let client = Client::connect(place)?.ok_or_else(|| not_running(place))?;
    let ([a, b], [c, d]) = (size.rows.to_be_bytes(), size.columns.to_be_bytes());
    match client.request(Kind::Resize, &[a, b, c, d]) {
        Ok(Err(Errno::NOTTY)) => {
            Err(Error::new(ErrorKind::Conflict, name(place)).because("it has no terminal"))
        }
        Ok(result) => result.subject(|| format!("the terminal of {}", name(place))),
        Err(e) if e.is(ErrorKind::Unavailable) => Err(not_running(place)),
        Err(e) => Err(e),
    }
}

/// The first process of a running container, as a pidfd.
pub(super) fn process(place: &Place) -> Result<OwnedFd> {
    let client = Client::connect(place)?.ok_or_else(|| not_running(place))?;
    client.send(Kind::Process, &[], &[])?;
    let answer = client.expect(Kind::Process).map_err(|_| not_running(place))?;
    answer.descriptors.into_iter().next().ok_or_else(|| not_running(place))
}

/// The root directory of a running container.
pub(super) fn root(place: &Place) -> Result<OwnedFd> {
    root_of(place, &process(place)?)
}

/// That of the container whose first process is `process`.
pub(super) fn root_of(place: &Place, process: &OwnedFd) -> Result<OwnedFd> {
    match process_root(process.as_fd()) {
        Err(Errno::SRCH) => Err(not_running(place)),
        root => root.subject(|| format!("the files of {}", name(place))),
    }
}
