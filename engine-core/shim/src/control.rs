//! Frames on a stream socket, with descriptors along them. Both the engine and the program speak through this.

use alloc::vec::Vec;
use core::mem::MaybeUninit;

use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::io::{Errno, IoSlice, IoSliceMut, Result};
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags,
};

use crate::wire::{self, HEADER, Kind};

/// The most descriptors that the kernel passes with one message (SCM_MAX_FD).
const MAX_DESCRIPTORS: usize = 253;

/// Sends all of `bytes`, with descriptors along the first of them. Waits for a socket that does not block.
///
/// # Errors
/// The errno of sendmsg(2), or `EINVAL` for descriptors without enough bytes to go with.
pub fn send_all(socket: impl AsFd, mut bytes: &[u8], mut descriptors: &[BorrowedFd<'_>]) -> Result<()> {
    while !bytes.is_empty() {
        // A message carries only so many descriptors, and needs a byte to carry them.
        let (batch, more) = descriptors.split_at(descriptors.len().min(MAX_DESCRIPTORS));
        let part = if more.is_empty() { bytes } else { &bytes[..1] };
        let sent = send_some(&socket, part, batch)?;
        bytes = bytes.get(sent..).unwrap_or_default();
        descriptors = more;
    }
    if descriptors.is_empty() { Ok(()) } else { Err(Errno::INVAL) }
}

/// Sends some of `bytes` with `descriptors`, at most [`MAX_DESCRIPTORS`]; gives how many bytes.
fn send_some(socket: &impl AsFd, bytes: &[u8], descriptors: &[BorrowedFd<'_>]) -> Result<usize> {
    let mut space = Vec::new();
    let mut control = SendAncillaryBuffer::default();
    if !descriptors.is_empty() {
        let message = SendAncillaryMessage::ScmRights(descriptors);
        space.resize(message.size(), MaybeUninit::uninit());
        control = SendAncillaryBuffer::new(&mut space);
        control.push(message);
    }
    loop {
        match rustix::net::sendmsg(socket, &[IoSlice::new(bytes)], &mut control, SendFlags::NOSIGNAL) {
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) => wait_writable(socket)?,
            result => return result,
        }
    }
}

fn wait_writable(socket: &impl AsFd) -> Result<()> {
    use rustix::event::{PollFd, PollFlags, poll};
    match poll(&mut [PollFd::new(socket, PollFlags::OUT)], None) {
        Ok(_) | Err(Errno::INTR) => Ok(()),
        Err(errno) => Err(errno),
    }
}

/// Sends a frame, with descriptors along it.
///
/// # Errors
/// The errno of sendmsg(2).
pub fn send_frame(
    socket: impl AsFd,
    kind: Kind,
    payload: &[u8],
    descriptors: &[BorrowedFd<'_>],
) -> Result<()> {
    send_all(socket, &wire::frame(kind, payload), descriptors)
}

/// Receives up to `buffer.len()` bytes and whatever descriptors come with them. 0 bytes is the end.
///
/// # Errors
/// The errno of recvmsg(2).
pub fn receive(socket: impl AsFd, buffer: &mut [u8], descriptors: &mut Vec<OwnedFd>) -> Result<usize> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_DESCRIPTORS))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    loop {
        let received = rustix::net::recvmsg(
            &socket,
            &mut [IoSliceMut::new(buffer)],
            &mut control,
            RecvFlags::CMSG_CLOEXEC,
        );
        match received {
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno),
            Ok(message) => {
                for ancillary in control.drain() {
                    if let RecvAncillaryMessage::ScmRights(passed) = ancillary {
                        descriptors.extend(passed);
                    }
                }
                return Ok(message.bytes);
            }
        }
    }
}

/// A frame as it came.
pub struct Received {
    /// Its kind, a [`Kind`] if this version knows it.
    pub kind: u8,
    /// Its payload.
    pub payload: Vec<u8>,
    /// The descriptors that came along.
    pub descriptors: Vec<OwnedFd>,
}

/// Receives a whole frame, blocking. `None` at the end of the connection.
///
/// # Errors
/// The errno of recvmsg(2), or `EMSGSIZE` for a frame that is longer than any may be.
pub fn receive_frame(socket: impl AsFd) -> Result<Option<Received>> {
    let mut descriptors = Vec::new();
    let mut header = [0; HEADER];
    if !fill(&socket, &mut header, &mut descriptors)? {
        return Ok(None);
    }
    let (kind, length) = wire::parse_header(header).ok_or(Errno::MSGSIZE)?;
    let mut payload = alloc::vec![0; length];
    if !fill(&socket, &mut payload, &mut descriptors)? {
        return Ok(None);
    }
    Ok(Some(Received { kind, payload, descriptors }))
}

fn fill(socket: &impl AsFd, mut buffer: &mut [u8], descriptors: &mut Vec<OwnedFd>) -> Result<bool> {
    while !buffer.is_empty() {
        let read = receive(socket, buffer, descriptors)?;
        if read == 0 {
            return Ok(false);
        }
        buffer = buffer.get_mut(read..).unwrap_or_default();
    }
    Ok(true)
}
