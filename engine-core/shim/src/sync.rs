//! What the process that is being built and its monitor tell each other, a message each.

use alloc::vec::Vec;

use rustix::fd::{AsFd, OwnedFd};
use rustix::io::Result;
use rustix::net::{AddressFamily, SocketFlags, SocketType};

use crate::control::{receive, send_all};

/// A message.
pub(crate) enum Message {
    /// From the process: the master and the slave of its terminal.
    Console(OwnedFd, OwnedFd),
    /// From the process: it is time for the hooks of the runtime's side. Answered by [`Message::Go`].
    Hooks,
    /// From a process that stands between: the process that it has begun, and the number of that.
    Born(OwnedFd, u32),
    /// From the process: all is built.
    Ready,
    /// From the process: a [`Failure`](crate::wire::Failure), encoded.
    Failed(Vec<u8>),
    /// To the process: become the program.
    Go,
}

/// A pair of sockets for [`Message`]s.
pub(crate) fn pair() -> Result<(OwnedFd, OwnedFd)> {
    rustix::net::socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)
}

/// Sends a message.
pub(crate) fn tell(socket: impl AsFd, message: &Message) -> Result<()> {
    match message {
        Message::Console(master, slave) => send_all(socket, b"C", &[master.as_fd(), slave.as_fd()]),
        Message::Born(process, pid) => {
            let [a, b, c, d] = pid.to_be_bytes();
            send_all(socket, &[b'B', a, b, c, d], &[process.as_fd()])
        }
        Message::Hooks => send_all(socket, b"H", &[]),
        Message::Ready => send_all(socket, b"R", &[]),
        Message::Failed(failure) => {
            let mut bytes = Vec::with_capacity(1 + failure.len());
            bytes.push(b'F');
            bytes.extend_from_slice(failure);
            send_all(socket, &bytes, &[])
        }
        Message::Go => send_all(socket, b"G", &[]),
    }
}

/// Receives a message; `None` when the other side is gone, or has become the program.
pub(crate) fn hear(socket: impl AsFd) -> Result<Option<Message>> {
    let mut buffer = [0; 4096];
    let mut descriptors = Vec::new();
    let length = receive(socket, &mut buffer, &mut descriptors)?;
    let message = buffer.get(..length).unwrap_or_default();
    let mut descriptors = descriptors.into_iter();
    Ok(match (message.first(), descriptors.next(), descriptors.next()) {
        (None, ..) => None,
        (Some(b'C'), Some(master), Some(slave)) => Some(Message::Console(master, slave)),
        (Some(b'B'), Some(process), _) => {
            let number = message.get(1..).and_then(<[u8]>::first_chunk);
            Some(Message::Born(process, number.map_or(0, |number| u32::from_be_bytes(*number))))
        }
        (Some(b'H'), ..) => Some(Message::Hooks),
        (Some(b'R'), ..) => Some(Message::Ready),
        (Some(b'G'), ..) => Some(Message::Go),
        _ => Some(Message::Failed(message.get(1..).unwrap_or_default().to_vec())),
    })
}
