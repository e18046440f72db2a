//! One client of the streams: frames in, frames out, and neither waits.

use alloc::vec::Vec;

use rustix::fd::{AsFd, OwnedFd};
use rustix::io::Errno;
use rustix::net::{SendFlags, send};

use crate::wire::{self, CHUNK, HEADER, Kind};

/// A connection, with what came over it and what waits for it.
pub(crate) struct Client {
    /// Its number.
    pub(crate) id: u32,
    pub(crate) socket: OwnedFd,
    /// Which of the program's streams it is attached to.
    pub(crate) streams: u8,
    /// What came and is no whole frame yet.
    pub(crate) received: Vec<u8>,
    /// What its socket did not take yet.
    pub(crate) queue: Vec<u8>,
    /// It will not say more, but listens.
    pub(crate) silent: bool,
    /// It is to be forgotten.
    pub(crate) gone: bool,
}

impl Client {
    pub(crate) fn new(id: u32, socket: OwnedFd, streams: u8) -> Client {
        Client { id, socket, streams, received: Vec::new(), queue: Vec::new(), silent: false, gone: false }
    }

    /// The next whole frame that it sent.
    pub(crate) fn take_frame(&mut self) -> Option<(Kind, Vec<u8>)> {
        loop {
            let header = self.received.first_chunk::<HEADER>()?;
            let Some((kind, length)) = wire::parse_header(*header).filter(|(_, length)| *length <= 2 * CHUNK)
            else {
                self.gone = true;
                self.received.clear();
                return None;
            };
            let payload = self.received.get(HEADER..HEADER + length)?.to_vec();
            self.received.drain(..HEADER + length);
            self.received.shrink_to(CHUNK);
            if let Some(kind) = Kind::from_byte(kind) {
                return Some((kind, payload));
            }
        }
    }

    /// Sends `bytes` at once as far as the socket takes them, and keeps the rest.
    pub(crate) fn send(&mut self, mut bytes: &[u8]) {
        while self.queue.is_empty() && !self.gone && !bytes.is_empty() {
            match send(self.socket.as_fd(), bytes, SendFlags::NOSIGNAL | SendFlags::DONTWAIT) {
                Ok(sent) => bytes = bytes.get(sent..).unwrap_or_default(),
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => break,
                Err(_) => self.gone = true,
            }
        }
        if !self.gone {
            self.queue.extend_from_slice(bytes);
        }
    }

    /// Sends what waits for it, as far as the socket takes it.
    pub(crate) fn drain_queue(&mut self) {
        let queue = core::mem::take(&mut self.queue);
        self.send(&queue);
    }
}
