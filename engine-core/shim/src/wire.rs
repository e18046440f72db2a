//! What the engine and the shim say to each other: frames on a stream socket.
//!
//! A frame is eight bytes of header and a payload. The header is that of Docker's stream protocol: the kind, three
//! zero bytes, and the payload's length, big-endian. Kinds 0 to 2 carry the standard streams, so that a frame of
//! output can be handed on as it is. A plan travels as the payload of the first frame; all other payloads are a few
//! integers, big-endian, and only ever grow at their end: an engine talks to monitors that an earlier version left.

use alloc::vec::Vec;

/// The version of the plan's layout. Plans are only understood by a program of the same build, so this guards
/// against a program named by hand.
pub const VERSION: u32 = 4;

/// Bytes of a frame's header.
pub const HEADER: usize = 8;

/// No payload is longer. A plan may hold two megabytes of arguments and environment, as execve(2) allows.
pub const MAX_PAYLOAD: usize = 8 << 20;

/// The most of a stream that one frame carries.
pub const CHUNK: usize = 32 << 10;

/// What a frame is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// Bytes for standard input. To the shim.
    Stdin = 0,
    /// Bytes of standard output, or of the terminal.
    Stdout = 1,
    /// Bytes of standard error.
    Stderr = 2,

    /// [`VERSION`], then the plan of a container. To the shim, first on the control socket. Descriptors: those to
    /// hold.
    PlanContainer = 16,
    /// [`VERSION`], then the plan of a process in a running container. To the shim, first on the control socket.
    PlanExec = 17,
    /// Let the program begin. To the shim.
    Start = 18,
    /// Send this client the streams in the payload's first byte: 1 standard input, 2 output, 4 error.
    Attach = 19,
    /// No more standard input. To the shim.
    StdinEnd = 20,
    /// Rows and columns, two bytes each. To the shim.
    Resize = 21,
    /// A signal number, four bytes, for the first process; a fifth byte that is 1 says that it is not to be started
    /// again, which ends a container that waits for that. To the shim.
    Signal = 22,
    /// Send the network namespace. Answered by the same kind with a descriptor, or by [`Kind::Done`].
    Namespace = 23,
    /// Send the first process as a pidfd. Answered by the same kind with a descriptor.
    Process = 24,
    /// Start the program again by another policy from now on: a [`Policy`](crate::restart::Policy). To the shim.
    Policy = 25,
    /// The program has ended, a [`Record`](crate::record::Record), and will be started again.
    Restarting = 26,

    /// The container is built: the first process, four bytes, and its network namespace as a descriptor if it has
    /// one of its own.
    Created = 32,
    /// The program has begun; for a process in a running container: its number, four bytes.
    Started = 33,
    /// Building failed: a [`Failure`].
    Failed = 34,
    /// The program has ended: a [`Record`](crate::record::Record). The last frame.
    Exited = 35,
    /// The request was done: an errno, four bytes, 0 for success.
    Done = 36,

    /// [`VERSION`], then hooks to run. To the shim, first on the control socket. Answered by [`Kind::Done`] or
    /// [`Kind::Failed`].
    PlanHooks = 40,
}

impl Kind {
    /// From a header's first byte.
    pub fn from_byte(byte: u8) -> Option<Kind> {
        const ALL: [Kind; 20] = [
            Kind::Stdin,
            Kind::Stdout,
            Kind::Stderr,
            Kind::PlanContainer,
            Kind::PlanExec,
            Kind::Start,
            Kind::Attach,
            Kind::StdinEnd,
            Kind::Resize,
            Kind::Signal,
            Kind::Namespace,
            Kind::Process,
            Kind::Policy,
            Kind::Restarting,
            Kind::Created,
            Kind::Started,
            Kind::Failed,
            Kind::Exited,
            Kind::Done,
            Kind::PlanHooks,
        ];
        ALL.into_iter().find(|kind| *kind as u8 == byte)
    }
}

/// Streams a client can attach to, as [`Kind::Attach`] has them.
pub mod streams {
    /// Standard input.
    pub const STDIN: u8 = 1;
    /// Standard output.
    pub const STDOUT: u8 = 2;
    /// Standard error.
    pub const STDERR: u8 = 4;
}

/// The header of a frame.
pub fn header(kind: Kind, length: usize) -> [u8; HEADER] {
    // A payload is at most MAX_PAYLOAD long, which fits.
    let [a, b, c, d] = (length as u32).to_be_bytes();
    [kind as u8, 0, 0, 0, a, b, c, d]
}

/// Kind byte and payload length of a header; `None` if the length is beyond [`MAX_PAYLOAD`].
pub fn parse_header(header: [u8; HEADER]) -> Option<(u8, usize)> {
    let [kind, _, _, _, a, b, c, d] = header;
    let length = u32::from_be_bytes([a, b, c, d]) as usize;
    (length <= MAX_PAYLOAD).then_some((kind, length))
}

/// A whole frame.
pub fn frame(kind: Kind, payload: &[u8]) -> Vec<u8> {
    let mut frame = Vec::with_capacity(HEADER + payload.len());
    frame.extend_from_slice(&header(kind, payload.len()));
    frame.extend_from_slice(payload);
    frame
}

fn int<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..at.checked_add(N)?)?.try_into().ok()
}

/// Why building failed. The payload of [`Kind::Failed`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// What kind of failure it is.
    pub cause: Cause,
    /// The errno of the system call, or 0.
    pub errno: i32,
    /// What was being done, to what: `mount proc at /proc`.
    pub step: Vec<u8>,
}

/// The kinds of [`Failure`] that the engine tells apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Cause {
    /// A system call failed.
    Step = 0,
    /// The program is not there.
    CommandNotFound = 1,
    /// The program cannot be executed.
    CommandNotExecutable = 2,
    /// The container's files do not know the user or group.
    NoSuchUser = 3,
    /// Something in the container's files would lead out of it.
    Escape = 4,
    /// The plan was not understood.
    Plan = 5,
    /// A hook failed.
    Hook = 6,
    /// The program that builds the container failed: the step is its path, the command and its log, and the errno is
    /// its exit code.
    Program = 7,
}

impl Cause {
    /// From a payload's first byte.
    pub(crate) fn from_byte(byte: u8) -> Cause {
        match byte {
            1 => Cause::CommandNotFound,
            2 => Cause::CommandNotExecutable,
            3 => Cause::NoSuchUser,
            4 => Cause::Escape,
            5 => Cause::Plan,
            6 => Cause::Hook,
            7 => Cause::Program,
            _ => Cause::Step,
        }
    }
}

impl Failure {
    /// The payload.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(5 + self.step.len());
        bytes.push(self.cause as u8);
        bytes.extend_from_slice(&self.errno.to_be_bytes());
        bytes.extend_from_slice(&self.step);
        bytes
    }

    /// From the payload.
    pub fn decode(bytes: &[u8]) -> Option<Failure> {
        let cause = Cause::from_byte(*bytes.first()?);
        Some(Failure { cause, errno: i32::from_be_bytes(int(bytes, 1)?), step: bytes.get(5..)?.to_vec() })
    }
}

/// How a program ended. The beginning of the payload of [`Kind::Exited`] and [`Kind::Restarting`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exit {
    /// The exit code; 128 + n if signal n killed it.
    pub code: i32,
    /// Whether the kernel killed a process of the container for want of memory.
    pub oom_killed: bool,
    /// Nanoseconds since the epoch.
    pub finished: i64,
    /// Which run of the container it was.
    pub run: u64,
}

impl Exit {
    /// Bytes of the encoding.
    pub const SIZE: usize = 21;

    /// The payload.
    pub fn encode(&self) -> [u8; Exit::SIZE] {
        let mut bytes = [0; Exit::SIZE];
        bytes[..4].copy_from_slice(&self.code.to_be_bytes());
        bytes[4] = u8::from(self.oom_killed);
        bytes[5..13].copy_from_slice(&self.finished.to_be_bytes());
        bytes[13..].copy_from_slice(&self.run.to_be_bytes());
        bytes
    }

    /// From the payload.
    pub fn decode(bytes: &[u8]) -> Option<Exit> {
        Some(Exit {
            code: i32::from_be_bytes(int(bytes, 0)?),
            oom_killed: *bytes.get(4)? != 0,
            finished: i64::from_be_bytes(int(bytes, 5)?),
            run: u64::from_be_bytes(int(bytes, 13)?),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_carry_docker_s_header() {
        assert_eq!(frame(Kind::Stderr, b"hi"), [2, 0, 0, 0, 0, 0, 0, 2, b'h', b'i']);
        assert_eq!(parse_header([1, 0, 0, 0, 0, 0, 1, 0]), Some((1, 256)));
        assert_eq!(
            parse_header([1, 0, 0, 0, 0xff, 0xff, 0xff, 0xff]),
            None,
            "no four gigabytes are promised"
        );
        for byte in 0..=255 {
            if let Some(kind) = Kind::from_byte(byte) {
                assert_eq!(kind as u8, byte);
            }
        }
    }

    #[test]
    fn payloads_survive_their_encoding_and_short_ones_are_refused() {
        let exit = Exit { code: 137, oom_killed: true, finished: 1_700_000_000_000_000_000, run: 3 };
        assert_eq!(Exit::decode(&exit.encode()), Some(exit));
        assert_eq!(Exit::decode(&exit.encode()[..20]), None);
        let failure = Failure { cause: Cause::NoSuchUser, errno: 2, step: b"look up user x".to_vec() };
        assert_eq!(Failure::decode(&failure.encode()), Some(failure));
        assert_eq!(Failure::decode(&[0, 0]), None);
    }
}
