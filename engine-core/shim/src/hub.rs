//! The streams of one program and the clients that are attached to them: bytes in, bytes out, and nobody waits for
//! anybody who does not have to be waited for.
//!
//! A client that reads slowly stops the program, as a slow reader of a pipe does, once [`QUEUE`] bytes wait for it;
//! the log never does. A program that does not read its input stops the client that writes it.

use alloc::vec::Vec;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::{BorrowedFd, OwnedFd};
use rustix::io::Errno;

use crate::client::Client;
use crate::console;
use crate::control::receive;
use crate::log::{Log, Stream};
use crate::wire::{self, CHUNK, HEADER, Kind, streams};

/// More is not kept for a client that does not read, nor for a program that does not.
const QUEUE: usize = 256 << 10;
/// So much is read at once of those who say little: memory that was used once is the monitor's for as long as it lives.
const LITTLE: usize = 4 << 10;
/// The most that a pipe holds without privilege (`/proc/sys/fs/pipe-max-size`).
const MAX_PIPE: usize = 1 << 20;
/// What a pipe holds unless it is made larger; one that comes full is.
const PIPE: usize = 64 << 10;
const LARGE_PIPE: usize = 256 << 10;
/// So much is read at once of a program that writes much.
const LARGE_READ: usize = 128 << 10;
/// How long a client may leave its socket full when all is over.
const PATIENCE: Timespec = Timespec { tv_sec: 30, tv_nsec: 0 };

/// Something for the role to deal with.
pub(crate) enum Event {
    /// A client asks for something that is not about streams.
    Request(u32, Kind, Vec<u8>),
    /// A client is gone.
    Gone(u32),
    /// One of the role's own descriptors is ready: its place in the list.
    Ready(usize),
}

/// The streams and their clients.
#[derive(Default)]
pub(crate) struct Hub {
    /// Standard output and error; a terminal's master is the first.
    outputs: [Option<OwnedFd>; 2],
    /// The terminal's slave, kept open so that the master does not end when the program closes it for a while.
    slave: Option<OwnedFd>,
    stdin: Option<OwnedFd>,
    /// Close standard input when the first client that was attached to it goes.
    stdin_once: bool,
    input: Vec<u8>,
    /// Standard input ends when `input` is written.
    ending: bool,
    clients: Vec<Client>,
    log: Option<Log>,
    buffer: Vec<u8>,
    /// How much is read at once, if it is more than a little.
    reading: usize,
    /// Which outputs' pipes were made larger.
    large: [bool; 2],
    next: u32,
}

/// What a descriptor in the list of poll(2) is.
enum Source {
    Output(usize),
    Stdin,
    Client(usize),
    Compressor,
    Other(usize),
}

impl Hub {
    /// Where the output is logged, that of a program that is started again included.
    pub(crate) fn set_log(&mut self, log: Log) {
        self.log = Some(log);
    }

    /// A program's standard input. What was meant for one before it is forgotten.
    pub(crate) fn set_input(&mut self, stdin: Option<OwnedFd>, stdin_once: bool) {
        (self.stdin, self.stdin_once, self.ending) = (stdin, stdin_once, false);
        self.input.clear();
    }

    /// The program's outputs are pipes.
    pub(crate) fn set_outputs(&mut self, stdout: OwnedFd, stderr: OwnedFd) {
        self.outputs = [Some(stdout), Some(stderr)];
    }

    /// The program has a terminal; these are its ends.
    pub(crate) fn set_terminal(&mut self, master: OwnedFd, slave: OwnedFd, takes_input: bool) {
        let _ = rustix::io::ioctl_fionbio(&master, true);
        self.stdin = if takes_input { rustix::io::fcntl_dupfd_cloexec(&master, 3).ok() } else { None };
        self.outputs = [Some(master), None];
        self.slave = Some(slave);
    }

    /// A new client, attached to `streams`; gives its number.
    pub(crate) fn add_client(&mut self, socket: OwnedFd, streams: u8) -> u32 {
        let _ = rustix::io::ioctl_fionbio(&socket, true);
        self.next += 1;
        let id = self.next;
        self.clients.push(Client::new(id, socket, streams));
        id
    }

    /// Sends a frame to one client, with a descriptor if there is one. Small: it is not subject to the queue's limit.
    pub(crate) fn reply(&mut self, id: u32, kind: Kind, payload: &[u8], descriptor: Option<BorrowedFd<'_>>) {
        let Some(client) = self.clients.iter_mut().find(|client| client.id == id) else { return };
        let frame = wire::frame(kind, payload);
        match descriptor {
            Some(descriptor) => {
                client.drain_queue();
                let sent = crate::control::send_all(&client.socket, &frame, &[descriptor]);
                client.gone |= sent.is_err();
            }
            None => client.send(&frame),
        }
    }

    /// Answers a client's request with how it went.
    pub(crate) fn done(&mut self, id: u32, result: rustix::io::Result<()>) {
        let errno = result.err().map_or(0, Errno::raw_os_error);
        self.reply(id, Kind::Done, &errno.to_be_bytes(), None);
    }

    /// Sends a frame to all clients.
    pub(crate) fn tell_all(&mut self, kind: Kind, payload: &[u8]) {
        let frame = wire::frame(kind, payload);
        for client in &mut self.clients {
            client.send(&frame);
        }
    }

    /// Nobody is attached any more: what they were attached to has ended, and what follows is not for them.
    pub(crate) fn detach_all(&mut self) {
        self.clients.iter_mut().for_each(|client| client.streams = 0);
    }

    /// Waits for something to happen, at most for `timeout`, and deals with all that is about streams.
    pub(crate) fn turn(
        &mut self,
        others: &[BorrowedFd<'_>],
        timeout: Option<&Timespec>,
    ) -> rustix::io::Result<Vec<Event>> {
        let (ready, sources) = {
            let mut sources = Vec::with_capacity(8);
            let mut fds = Vec::with_capacity(8);
            let crowded = self.clients.iter().any(|client| client.streams != 0 && client.queue.len() > QUEUE);
            for (i, output) in self.outputs.iter().enumerate() {
                if let Some(output) = output
                    && !crowded
                {
                    fds.push(PollFd::new(output, PollFlags::IN));
                    sources.push(Source::Output(i));
                }
            }
            if let Some(stdin) = &self.stdin
                && !self.input.is_empty()
            {
                fds.push(PollFd::new(stdin, PollFlags::OUT));
                sources.push(Source::Stdin);
            }
            for (i, client) in self.clients.iter().enumerate() {
                let mut flags = PollFlags::empty();
                let may_write = self.input.len() <= QUEUE || client.streams & streams::STDIN == 0;
                if may_write && !client.silent {
                    flags |= PollFlags::IN;
                }
                if !client.queue.is_empty() {
                    flags |= PollFlags::OUT;
                }
                fds.push(PollFd::new(&client.socket, flags));
                sources.push(Source::Client(i));
            }
            if let Some(compressor) = self.log.as_ref().and_then(Log::compressor) {
                fds.push(PollFd::from_borrowed_fd(compressor, PollFlags::IN));
                sources.push(Source::Compressor);
            }
            for (i, other) in others.iter().enumerate() {
                fds.push(PollFd::from_borrowed_fd(*other, PollFlags::IN));
                sources.push(Source::Other(i));
            }
            match poll(&mut fds, timeout) {
                Ok(_) => {}
                Err(Errno::INTR) => return Ok(Vec::new()),
                Err(errno) => return Err(errno),
            }
            (fds.iter().map(|fd| fd.revents()).collect::<Vec<_>>(), sources)
        };
        let mut events = Vec::new();
        for (flags, source) in ready.into_iter().zip(sources) {
            if flags.is_empty() {
                continue;
            }
            match source {
                Source::Output(i) => {
                    self.read_output(i);
                }
                Source::Stdin => self.write_input(),
                Source::Client(i) => self.serve(i, flags, &mut events),
                Source::Compressor => self.log.iter_mut().for_each(Log::compressed),
                Source::Other(i) => events.push(Event::Ready(i)),
            }
        }
        self.forget_gone(&mut events);
        Ok(events)
    }

    /// Reads once from an output; whether there may be more now is the answer.
    fn read_output(&mut self, i: usize) -> bool {
        let Some(output) = self.outputs.get(i).and_then(Option::as_ref) else { return false };
        self.buffer.resize(HEADER + self.reading.max(LITTLE), 0);
        let Some(space) = self.buffer.get_mut(HEADER..) else { return false };
        let length = match rustix::io::read(output, &mut *space) {
            Ok(0) => {
                self.outputs[i] = None;
                return false;
            }
            Ok(length) => length,
            Err(Errno::INTR) => return true,
            Err(Errno::AGAIN) => return false,
            // A terminal whose last user is gone says EIO.
            Err(_) => {
                self.outputs[i] = None;
                return false;
            }
        };
        let (kind, stream, wanted) = match i {
            0 => (Kind::Stdout, Stream::Stdout, streams::STDOUT),
            _ => (Kind::Stderr, Stream::Stderr, streams::STDERR),
        };
        if let Some(log) = &mut self.log {
            log.write(stream, space.get(..length).unwrap_or_default(), now());
        }
        if self.clients.iter().any(|client| client.streams & wanted != 0) {
            self.hand_on(kind, wanted, length);
        }
        self.adapt(i, length);
        true
    }

    /// Sends what was read to the clients that are attached to it, in frames. The header of a frame takes the place of
    /// what was sent before it.
    fn hand_on(&mut self, kind: Kind, wanted: u8, length: usize) {
        let mut at = 0;
        while at < length {
            let part = (length - at).min(CHUNK);
            let Some(frame) = self.buffer.get_mut(at..at + HEADER + part) else { return };
            if let Some(header) = frame.first_chunk_mut::<HEADER>() {
                *header = wire::header(kind, part);
            }
            for client in self.clients.iter_mut().filter(|client| client.streams & wanted != 0) {
                client.send(frame);
            }
            at += part;
        }
    }

    /// A program that fills its pipe gets a larger one, so that the two of us take turns less often. What a burst of
    /// output needed is not kept.
    fn adapt(&mut self, i: usize, length: usize) {
        if length >= PIPE
            && let (Some(large @ false), Some(Some(output))) = (self.large.get_mut(i), self.outputs.get(i))
        {
            *large = true;
            // A terminal is none, and a user may have too many.
            let _ = rustix::pipe::fcntl_setpipe_size(output, LARGE_PIPE);
        }
        let wanted = self.reading.max(LITTLE);
        if length >= wanted {
            self.reading = if wanted < CHUNK { CHUNK } else { LARGE_READ };
        } else if length <= LITTLE {
            self.reading = 0;
            self.buffer.truncate(HEADER + LITTLE);
            self.buffer.shrink_to(HEADER + LITTLE);
        }
    }

    fn write_input(&mut self) {
        let Some(stdin) = &self.stdin else {
            self.input.clear();
            return;
        };
        match rustix::io::write(stdin, &self.input) {
            Ok(written) => {
                self.input.drain(..written.min(self.input.len()));
            }
            Err(Errno::INTR | Errno::AGAIN) => {}
            // Nobody reads any more.
            Err(_) => {
                self.input.clear();
                self.stdin = None;
            }
        }
        if self.input.is_empty() {
            self.input.shrink_to(CHUNK);
            if self.ending {
                self.stdin = None;
            }
        }
    }

    /// Standard input ends once all that came is written. A terminal has no end of input of its own.
    fn end_input(&mut self) {
        if self.slave.is_some() {
            return;
        }
        self.ending = true;
        if self.input.is_empty() {
            self.stdin = None;
        }
    }

    fn serve(&mut self, i: usize, flags: PollFlags, events: &mut Vec<Event>) {
        if flags.contains(PollFlags::OUT)
            && let Some(client) = self.clients.get_mut(i)
        {
            client.drain_queue();
        }
        if flags.intersects(PollFlags::IN | PollFlags::HUP | PollFlags::ERR) {
            let Some(client) = self.clients.get_mut(i) else { return };
            // A request is short; input may be long.
            let chunk = if client.streams & streams::STDIN != 0 { CHUNK } else { LITTLE };
            self.buffer.resize(chunk, 0);
            // Nobody but the engine that started the role passes descriptors, and that only with the plan.
            match receive(&client.socket, &mut self.buffer, &mut Vec::new()) {
                Ok(0) if flags.intersects(PollFlags::HUP | PollFlags::ERR) => client.gone = true,
                // Only its own side is shut.
                Ok(0) => {
                    client.silent = true;
                    if client.streams & streams::STDIN != 0 && self.stdin_once {
                        self.end_input();
                    }
                    return;
                }
                Ok(length) => {
                    client.received.extend_from_slice(self.buffer.get(..length).unwrap_or_default())
                }
                Err(Errno::AGAIN) => {}
                Err(_) => client.gone = true,
            }
            while let Some((kind, payload)) = self.clients.get_mut(i).and_then(Client::take_frame) {
                self.handle(i, kind, payload, events);
            }
        }
    }

    fn handle(&mut self, i: usize, kind: Kind, payload: Vec<u8>, events: &mut Vec<Event>) {
        let Some(client) = self.clients.get_mut(i) else { return };
        match kind {
            Kind::Stdin if self.ending || self.stdin.is_none() => {}
            Kind::Stdin if client.streams & streams::STDIN != 0 => {
                self.input.extend_from_slice(&payload);
                self.write_input();
            }
            Kind::StdinEnd if client.streams & streams::STDIN != 0 => {
                if self.stdin_once {
                    self.end_input();
                }
            }
            Kind::Attach => {
                client.streams = payload.first().copied().unwrap_or(0);
                client.send(&wire::frame(Kind::Done, &0i32.to_be_bytes()));
            }
            Kind::Resize => {
                let id = client.id;
                let master = self.outputs[0].as_ref().filter(|_| self.slave.is_some());
                let result = match (payload.as_slice(), master) {
                    ([a, b, c, d], Some(master)) => {
                        console::resize(master, u16::from_be_bytes([*a, *b]), u16::from_be_bytes([*c, *d]));
                        Ok(())
                    }
                    (_, None) => Err(Errno::NOTTY),
                    _ => Err(Errno::INVAL),
                };
                self.done(id, result);
            }
            kind => events.push(Event::Request(client.id, kind, payload)),
        }
    }

    fn forget_gone(&mut self, events: &mut Vec<Event>) {
        let mut input_ended = false;
        self.clients.retain(|client| {
            if client.gone {
                events.push(Event::Gone(client.id));
                input_ended |= client.streams & streams::STDIN != 0;
            }
            !client.gone
        });
        if input_ended && self.stdin_once {
            self.end_input();
        }
    }

    /// The program has ended: reads what it left in its outputs, and finishes the log.
    pub(crate) fn drain_outputs(&mut self) {
        for i in 0..self.outputs.len() {
            // Those who could write are dead, but for what a descriptor was passed to: a pipe's worth is all there is.
            for _ in 0..MAX_PIPE / CHUNK + 1 {
                if !self.read_output(i) {
                    break;
                }
            }
            self.outputs[i] = None;
        }
        (self.stdin, self.slave) = (None, None);
        if let Some(log) = &mut self.log {
            log.finish(now());
        }
    }

    /// Sends all that waits for clients. One that does not read is not waited for longer than [`PATIENCE`] for each
    /// sign of life of any.
    pub(crate) fn farewell(&mut self) {
        loop {
            self.clients.retain(|client| !client.gone && !client.queue.is_empty());
            let mut fds: Vec<PollFd<'_>> =
                self.clients.iter().map(|client| PollFd::new(&client.socket, PollFlags::OUT)).collect();
            if fds.is_empty() {
                return;
            }
            match poll(&mut fds, Some(&PATIENCE)) {
                Ok(0) => return,
                Ok(_) | Err(Errno::INTR) => {}
                Err(_) => return,
            }
            self.clients.iter_mut().for_each(Client::drain_queue);
        }
    }
}

/// Nanoseconds since the epoch.
pub(crate) fn now() -> i64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Realtime);
    time.tv_sec * 1_000_000_000 + time.tv_nsec
}

/// Nanoseconds of a clock that nobody sets.
pub(crate) fn monotonic() -> i64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    time.tv_sec * 1_000_000_000 + time.tv_nsec
}

/// A length of time in nanoseconds, not below none.
pub(crate) fn timespec(nanos: i64) -> Timespec {
    let nanos = nanos.max(0);
    Timespec { tv_sec: nanos / 1_000_000_000, tv_nsec: nanos % 1_000_000_000 }
}
