//! A conversation with the kernel over a netlink socket. Blocks only as long as the kernel works.

use std::fmt;
use std::io;

use netlink_sys::Socket;
use netlink_sys::protocols::{NETLINK_NETFILTER, NETLINK_ROUTE};
use nix::errno::Errno;
use rustix::net::netdevice::name_to_index;

use super::netlink::{Batch, Message, attribute, messages, text, u32_at};
use crate::error::{Error, ErrorKind, Result};

const ERROR: u16 = 2;
const DONE: u16 = 3;
/// The error carries further attributes, and does not repeat the message it is about.
const ACK_TLVS: u16 = 0x200;
const TEXT: u16 = 1;

/// As long as any datagram of the kernel: it cuts dumps to the buffer of the reader, up to this.
const BUFFER: usize = 32 << 10;

/// What the kernel refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    /// Which message of the batch, counted from 0.
    pub(super) message: usize,
    /// Why.
    pub(super) errno: Errno,
    /// Why, in the kernel's own words, where it has some.
    pub(super) text: Option<String>,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.text {
            Some(text) => write!(f, "{} ({text})", self.errno.desc()),
            None => f.write_str(self.errno.desc()),
        }
    }
}

impl std::error::Error for Refusal {}

impl Refusal {
    /// The error about `subject`; the kind follows from the error number.
    pub(super) fn about(self, subject: impl Into<String>) -> Error {
        match self.errno {
            Errno::EPERM => Error::new(ErrorKind::PermissionDenied, subject)
                .because("the kernel refused to change the network")
                .with_remedy("run as root, or with CAP_NET_ADMIN in the user namespace that owns the network")
                .caused_by(self),
            Errno::EOPNOTSUPP | Errno::EPROTONOSUPPORT | Errno::EAFNOSUPPORT => {
                Error::new(ErrorKind::Unsupported, subject)
                    .because("the kernel cannot do this")
                    .with_remedy("enable bridge, veth and nf_tables with NAT in the kernel")
                    .caused_by(self)
            }
            Errno::ENODEV => Error::new(ErrorKind::NotFound, subject).caused_by(self),
            Errno::EEXIST | Errno::EBUSY => Error::new(ErrorKind::Conflict, subject).caused_by(self),
            errno => {
                let kind = Error::io("", errno.into()).kind();
                Error::new(kind, subject).caused_by(self)
            }
        }
    }
}

/// An open netlink socket. It stays in the network namespace it was opened in.
pub(super) struct Connection {
    socket: Socket,
    buffer: Vec<u8>,
}

impl Connection {
    /// For links, addresses and routes.
    pub(super) fn route() -> Result<Connection> {
        Connection::open(NETLINK_ROUTE)
    }

    /// For the packet filter and the table of connections.
    pub(super) fn netfilter() -> Result<Connection> {
        Connection::open(NETLINK_NETFILTER)
    }

    fn open(protocol: isize) -> Result<Connection> {
        let socket = Socket::new(protocol).map_err(|e| match e.raw_os_error() {
            Some(libc::EPROTONOSUPPORT | libc::EAFNOSUPPORT) => {
                Error::new(ErrorKind::Unsupported, "netlink").because("the kernel lacks it").caused_by(e)
            }
            _ => Error::io("netlink socket", e),
        })?;
        // Both only make refusals speak; a kernel without them is as good.
        let _ = (socket.set_ext_ack(true), socket.set_cap_ack(true));
        Ok(Connection { socket, buffer: Vec::with_capacity(BUFFER) })
    }

    /// The number of the link of that name, in the namespace of the connection.
    pub(super) fn index_of(&self, link: &str) -> Option<u32> {
        name_to_index(&self.socket, link).ok()
    }

    /// Sends the messages of the batch, which the kernel carries out one by one, whatever becomes of the others.
    ///
    /// # Errors
    /// The outer one when there was no conversation; the inner one is the first refusal.
    pub(super) fn send(&mut self, mut batch: Batch) -> Result<Result<(), Refusal>> {
        batch.acknowledge();
        let last = batch.len().saturating_sub(1);
        let mut first = None;
        self.converse(batch, last, |_, answer| {
            if let (Err(refusal), None) = (answer, &first) {
                first = Some(refusal);
            }
        })?;
        Ok(first.map_or(Ok(()), Err))
    }

    /// Sends a transaction of the packet filter, which begins and ends with a message that frames it. It is carried
    /// out wholly or not at all.
    ///
    /// # Errors
    /// As [`Connection::send`].
    pub(super) fn commit(&mut self, batch: Batch) -> Result<Result<(), Refusal>> {
        // The frame is not acknowledged; the message before its end is.
        let last = batch.len().saturating_sub(2);
        let mut first = None;
        self.converse(batch, last, |_, answer| {
            if let (Err(refusal), None) = (answer, &first) {
                first = Some(refusal);
            }
        })?;
        Ok(first.map_or(Ok(()), Err))
    }

    /// Asks the questions of the batch; gives for each what the kernel refused it with, if it did.
    pub(super) fn ask(
        &mut self,
        mut batch: Batch,
        mut visit: impl FnMut(usize, &Message<'_>),
    ) -> Result<Vec<Option<Refusal>>> {
        batch.acknowledge();
        let mut answers = vec![None; batch.len()];
        let last = batch.len().saturating_sub(1);
        self.converse(batch, last, |sequence, answer| match answer {
            Ok(message) => visit(sequence, message),
            Err(refusal) => {
                if let Some(answer) = answers.get_mut(sequence) {
                    *answer = Some(refusal);
                }
            }
        })?;
        Ok(answers)
    }

    /// Asks for a whole table: the batch is one message with the flags of a dump.
    pub(super) fn dump(
        &mut self,
        batch: Batch,
        mut visit: impl FnMut(&Message<'_>),
    ) -> Result<Result<(), Refusal>> {
        // Without it the kernel ignores the filter of a dump, and gives everything. Older kernels always do.
        let _ = self.socket.set_netlink_get_strict_chk(true);
        let mut refusal = None;
        self.converse(batch, 0, |_, answer| match answer {
            Ok(message) => visit(message),
            Err(found) => refusal = Some(found),
        })?;
        Ok(refusal.map_or(Ok(()), Err))
    }

    /// Sends the batch and hears the answers until message `last` is acknowledged or refused.
    fn converse(
        &mut self,
        batch: Batch,
        last: usize,
        mut hear: impl FnMut(usize, std::result::Result<&Message<'_>, Refusal>),
    ) -> Result<()> {
        let bytes = batch
            .finish()
            .ok_or_else(|| Error::internal("netlink message", "a part is longer than its length can say"))?;
        self.socket.send(&bytes, 0).map_err(|e| Error::io("netlink socket", e))?;
        let mut refused = false;
        loop {
            self.buffer.clear();
            // The kernel has answered before `send` returns, or makes the next part of a dump within this call, so
            // there is nothing to wait for, ever.
            match self.socket.recv(&mut self.buffer, libc::MSG_DONTWAIT) {
                Ok(_) => {}
                Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
                // A transaction that is refused as a whole is answered at its beginning only.
                Err(e) if e.kind() == io::ErrorKind::WouldBlock && refused => return Ok(()),
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {
                    return Err(Error::internal("netlink socket", "the kernel did not answer"));
                }
                Err(e) => return Err(Error::io("netlink socket", e)),
            }
            for message in messages(&self.buffer) {
                let sequence = message.sequence as usize;
                if message.kind != ERROR && message.kind != DONE {
                    hear(sequence, Ok(&message));
                    continue;
                }
                if let Some(refusal) = refusal(&message) {
                    refused = true;
                    hear(sequence, Err(refusal));
                }
                if sequence >= last {
                    return Ok(());
                }
            }
        }
    }
}

/// The refusal in an ERROR or DONE message; `None` if it says that all went well.
fn refusal(message: &Message<'_>) -> Option<Refusal> {
    let code = u32_at(message.body, 0)?.cast_signed();
    if code >= 0 {
        return None;
    }
    let extra = match (message.kind, message.flags & ACK_TLVS) {
        (_, 0) => None,
        (DONE, _) => message.body.get(4..),
        _ => message.body.get(4 + 16..),
    };
    let words = extra.and_then(|extra| attribute(extra, TEXT)).map(text);
    Some(Refusal {
        message: message.sequence as usize,
        errno: Errno::from_raw(code.saturating_neg()),
        text: words.map(|words| String::from_utf8_lossy(words).into_owned()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::network::linux::netlink::DUMP;

    const GET_LINK: u16 = 18;

    #[test]
    fn a_dump_of_links_has_the_loopback() {
        let mut found = 0;
        let mut batch = Batch::new();
        batch.message(GET_LINK, DUMP, &[0; 16], |_| ());
        let mut connection = Connection::route().expect("opens");
        connection.dump(batch, |_| found += 1).expect("a conversation").expect("no refusal");
        assert!(found >= 1);
    }

    #[test]
    fn a_refusal_names_its_message_and_the_others_are_answered() {
        let mut batch = Batch::new();
        batch.message(GET_LINK, 0, &[0; 16], |m| m.text(3, "no-such-link-1"));
        batch.message(GET_LINK, 0, &[0; 16], |m| m.text(3, "lo"));
        let mut connection = Connection::route().expect("opens");
        let mut heard = Vec::new();
        let answers = connection.ask(batch, |n, m| heard.push((n, m.kind))).expect("a conversation");
        assert_eq!(answers[0].as_ref().map(|r| r.errno), Some(Errno::ENODEV));
        assert_eq!(answers[1], None);
        assert_eq!(heard.len(), 1);
        assert_eq!(heard[0].0, 1);
    }
}
