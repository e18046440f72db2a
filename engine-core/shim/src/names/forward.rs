//! Questions that somebody else answers. Each goes to one server after the other until one of them answers, from a
//! socket of its own, so that nobody else's answer is taken for the server's.

use alloc::vec::Vec;
use core::net::{IpAddr, SocketAddr};

use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::io::Errno;
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketAddrAny, SocketFlags, SocketType};
use rustix::rand::GetRandomFlags;

use super::message::{self, Outcome, Question};
use super::{Answer, answer};
use crate::hub::monotonic;
use crate::plan::Names;

const PORT: u16 = 53;
/// So long a server may take, in nanoseconds.
const PATIENCE: i64 = 4_000_000_000;
/// Of so many servers, as resolvers have it.
const SERVERS: usize = 3;
/// So many questions are open at once.
const OPEN: usize = 256;
/// The longest message (RFC 1035, section 4.2.2).
const LONGEST: usize = 65_535;
/// A client that says nothing for so long is let go, in seconds.
const SILENCE: u64 = 10;

/// The questions that are open.
#[derive(Default)]
pub(super) struct Forwards(Vec<Forward>);

/// One of them.
pub(super) struct Forward {
    question: Question,
    message: Vec<u8>,
    client: SocketAddrAny,
    /// The number of the server that is being asked, and of the question there.
    server: usize,
    id: [u8; 2],
    socket: OwnedFd,
    deadline: i64,
}

impl Forwards {
    /// When the first of the servers has taken too long.
    pub(super) fn deadline(&self) -> Option<i64> {
        self.0.iter().map(|forward| forward.deadline).min()
    }

    /// Where answers come in.
    pub(super) fn sockets(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.0.iter().map(|forward| forward.socket.as_fd())
    }

    /// Asks the first server that can be asked. If there is none, what to tell the client.
    pub(super) fn begin(
        &mut self,
        question: Question,
        message: Vec<u8>,
        client: SocketAddrAny,
        servers: &[IpAddr],
        now: i64,
    ) -> Option<Vec<u8>> {
        let failed = question.bare(Outcome::Failed);
        if self.0.len() >= OPEN {
            return Some(failed);
        }
        match ask(&message, servers, 0) {
            Some((server, id, socket)) => {
                let deadline = now.saturating_add(PATIENCE);
                self.0.push(Forward { question, message, client, server, id, socket, deadline });
                None
            }
            None => Some(failed),
        }
    }

    /// Takes the answers that have come, one flag for each of [`Forwards::sockets`], and asks the next server where one
    /// would not answer. Gives what to tell to whom.
    pub(super) fn hear(
        &mut self,
        ready: &[bool],
        now: i64,
        servers: &[IpAddr],
    ) -> Vec<(Vec<u8>, SocketAddrAny)> {
        let mut told = Vec::new();
        let mut ready = ready.iter();
        self.0.retain_mut(|forward| {
            let came = ready.next() == Some(&true);
            let answer = match forward.answer(came, now) {
                Heard::Nothing => return true,
                Heard::Answer(answer) => answer,
                Heard::Refusal => match forward.next(servers, now) {
                    true => return true,
                    false => forward.question.bare(Outcome::Failed),
                },
            };
            told.push((answer, forward.client.clone()));
            false
        });
        told
    }
}

enum Heard {
    Nothing,
    Answer(Vec<u8>),
    Refusal,
}

impl Forward {
    fn answer(&self, came: bool, now: i64) -> Heard {
        if came {
            let mut buffer = alloc::vec![0; LONGEST];
            match rustix::net::recv(&self.socket, &mut buffer, RecvFlags::DONTWAIT) {
                Ok((length, _)) => {
                    buffer.truncate(length);
                    if message::is_misunderstanding(&buffer, self.id) {
                        return Heard::Refusal;
                    } else if !self.question.is_answered_by(&buffer, self.id) {
                        // Somebody guesses.
                    } else if message::is_refusal(&buffer) {
                        return Heard::Refusal;
                    } else {
                        return Heard::Answer(self.question.renumber(buffer));
                    }
                }
                Err(Errno::AGAIN | Errno::INTR) => {}
                // Nobody is there.
                Err(_) => return Heard::Refusal,
            }
        }
        if now >= self.deadline { Heard::Refusal } else { Heard::Nothing }
    }

    /// Asks the next server, if there is one.
    fn next(&mut self, servers: &[IpAddr], now: i64) -> bool {
        let Some((server, id, socket)) = ask(&self.message, servers, self.server + 1) else { return false };
        (self.server, self.id, self.socket) = (server, id, socket);
        self.deadline = now.saturating_add(PATIENCE);
        true
    }
}

/// Sends the message, under a number that nobody can guess, to the first of the servers from `first` on that takes it.
fn ask(message: &[u8], servers: &[IpAddr], first: usize) -> Option<(usize, [u8; 2], OwnedFd)> {
    servers.iter().enumerate().take(SERVERS).skip(first).find_map(|(server, address)| {
        let socket = socket(*address, SocketType::DGRAM)?;
        rustix::net::connect(&socket, &SocketAddr::new(*address, PORT)).ok()?;
        let (id, message) = numbered(message)?;
        rustix::net::send(&socket, &message, SendFlags::DONTWAIT | SendFlags::NOSIGNAL).ok()?;
        Some((server, id, socket))
    })
}

/// The message under a number at random.
fn numbered(message: &[u8]) -> Option<([u8; 2], Vec<u8>)> {
    let mut id = [0; 2];
    rustix::rand::getrandom(&mut id, GetRandomFlags::empty()).ok()?;
    let mut message = message.to_vec();
    message.get_mut(..2)?.copy_from_slice(&id);
    Some((id, message))
}

fn socket(address: IpAddr, kind: SocketType) -> Option<OwnedFd> {
    let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    rustix::net::socket_with(family, kind, SocketFlags::CLOEXEC, None).ok()
}

/// Answers the questions of a connection until its client has no more. Blocks, but for no longer than it has patience.
pub(super) fn converse(names: &Names, client: &OwnedFd) -> Option<()> {
    patience(client, SILENCE)?;
    loop {
        let message = receive(client)?;
        let said = match answer(names, &message, LONGEST) {
            Answer::Said(answer) => answer,
            Answer::None => return None,
            Answer::Elsewhere(question) => {
                let servers = names.servers.iter().take(SERVERS);
                let mut answers = servers.filter_map(|server| ask_over_tcp(&question, &message, *server));
                answers.next().unwrap_or_else(|| question.bare(Outcome::Failed))
            }
        };
        send(client, &said)?;
    }
}

fn ask_over_tcp(question: &Question, message: &[u8], server: IpAddr) -> Option<Vec<u8>> {
    let socket = socket(server, SocketType::STREAM)?;
    patience(&socket, PATIENCE.unsigned_abs() / 1_000_000_000)?;
    rustix::net::connect(&socket, &SocketAddr::new(server, PORT)).ok()?;
    let (id, message) = numbered(message)?;
    send(&socket, &message)?;
    let answer = receive(&socket)?;
    let good = question.is_answered_by(&answer, id) && !message::is_refusal(&answer);
    good.then(|| question.renumber(answer))
}

/// Lets nobody at the other end keep this process for longer, in seconds.
fn patience(socket: &OwnedFd, seconds: u64) -> Option<()> {
    let time = Some(core::time::Duration::from_secs(seconds));
    set_socket_timeout(socket, Timeout::Recv, time).ok()?;
    set_socket_timeout(socket, Timeout::Send, time).ok()
}

/// A message over TCP has its length before it.
fn send(socket: &OwnedFd, message: &[u8]) -> Option<()> {
    let length = u16::try_from(message.len()).ok()?;
    let whole = [&length.to_be_bytes()[..], message].concat();
    let mut rest = whole.as_slice();
    while !rest.is_empty() {
        let sent = rustix::net::send(socket, rest, SendFlags::NOSIGNAL).ok()?;
        rest = rest.get(sent..)?;
    }
    Some(())
}

fn receive(socket: &OwnedFd) -> Option<Vec<u8>> {
    let mut length = [0; 2];
    fill(socket, &mut length)?;
    let mut message = alloc::vec![0; usize::from(u16::from_be_bytes(length))];
    fill(socket, &mut message)?;
    Some(message)
}

/// Fills the buffer. A client that sends a byte now and then does not get more time by it.
fn fill(socket: &OwnedFd, buffer: &mut [u8]) -> Option<()> {
    let deadline = monotonic().saturating_add(SILENCE as i64 * 1_000_000_000);
    let mut at = 0;
    while at < buffer.len() {
        let (read, _) = rustix::net::recv(socket, buffer.get_mut(at..)?, RecvFlags::empty()).ok()?;
        if read == 0 || monotonic() > deadline {
            return None;
        }
        at += read;
    }
    Some(())
}
