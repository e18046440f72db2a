//! The host's journal: a datagram for each line, in the native protocol of systemd's journal
//! (<https://systemd.io/JOURNAL_NATIVE_PROTOCOL>).

use alloc::vec::Vec;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::OwnedFd;
use rustix::io::Errno;
use rustix::net::{SendFlags, SocketFlags, SocketType};

use super::Stream;
use crate::plan::HostJournal;
use crate::socket;

/// So long is a journal waited for that takes nothing; then it gets nothing more until it takes something again.
const PATIENCE: Timespec = Timespec { tv_sec: 1, tv_nsec: 0 };
/// How long a journal that is gone is left alone, in nanoseconds.
const RETRY: i64 = 1_000_000_000;

/// A connection to the journal.
pub(super) struct Journald {
    plan: HostJournal,
    socket: Option<OwnedFd>,
    /// When the last attempt to connect was made.
    tried: i64,
    /// It did not take the last line in time.
    stuck: bool,
    datagram: Vec<u8>,
}

impl Journald {
    pub(super) fn new(plan: &HostJournal, now: i64) -> Journald {
        let socket = connect(&plan.socket);
        Journald { plan: plan.clone(), socket, tried: now, stuck: false, datagram: Vec::new() }
    }

    /// Tells the journal a line, or a part of one. What it does not take is lost: `logs` has a copy of its own.
    pub(super) fn tell(&mut self, stream: Stream, line: &[u8], now: i64) {
        if self.socket.is_none() {
            if now - self.tried < RETRY {
                return;
            }
            (self.socket, self.tried) = (connect(&self.plan.socket), now);
        }
        let mut datagram = core::mem::take(&mut self.datagram);
        render(&mut datagram, &self.plan.fields, stream, line);
        self.send(&datagram);
        self.datagram = datagram;
    }

    fn send(&mut self, datagram: &[u8]) {
        let Some(socket) = &self.socket else { return };
        loop {
            match rustix::net::send(socket, datagram, SendFlags::NOSIGNAL | SendFlags::DONTWAIT) {
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) if !self.stuck => {
                    let mut ready = [PollFd::new(socket, PollFlags::OUT)];
                    self.stuck = poll(&mut ready, Some(&PATIENCE)) == Ok(0);
                    if self.stuck {
                        return;
                    }
                }
                Err(Errno::AGAIN) => return,
                Ok(_) => {
                    self.stuck = false;
                    return;
                }
                // Larger than it takes, which no line is; or it was restarted.
                Err(_) => {
                    self.socket = None;
                    return;
                }
            }
        }
    }
}

fn connect(path: &str) -> Option<OwnedFd> {
    socket::connect(path, SocketType::DGRAM, SocketFlags::empty()).ok()
}

/// The entry: the fields that every one has, the priority (3 is an error, 6 a notice), and the line with its length, as
/// it may have any bytes in it.
fn render(out: &mut Vec<u8>, fields: &str, stream: Stream, line: &[u8]) {
    out.clear();
    out.extend_from_slice(fields.as_bytes());
    out.extend_from_slice(match stream {
        Stream::Stdout => b"PRIORITY=6\n",
        Stream::Stderr => b"PRIORITY=3\n",
    });
    let (line, whole) = line.strip_suffix(b"\n").map_or((line, false), |line| (line, true));
    if !whole {
        out.extend_from_slice(b"CONTAINER_PARTIAL_MESSAGE=true\n");
    }
    out.extend_from_slice(b"MESSAGE\n");
    out.extend_from_slice(&(line.len() as u64).to_le_bytes());
    out.extend_from_slice(line);
    out.push(b'\n');
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixDatagram;
    use std::string::ToString;

    use super::*;

    #[test]
    fn a_line_is_a_datagram_and_a_journal_that_goes_is_found_again() {
        let path = std::env::temp_dir().join(std::format!("engine-journald-{}", std::process::id()));
        let _ = std::fs::remove_file(&path);
        let text = path.to_str().expect("a path").to_string();
        let bind = || {
            let _ = std::fs::remove_file(&path);
            let socket = UnixDatagram::bind(&path).expect("binds");
            socket.set_read_timeout(Some(std::time::Duration::from_secs(5))).expect("sets");
            socket
        };
        let receive = |socket: &UnixDatagram| {
            let mut buffer = [0; 4096];
            let length = socket.recv(&mut buffer).expect("receives");
            buffer[..length].to_vec()
        };
        let first = bind();
        let plan = HostJournal { socket: text, fields: "CONTAINER_NAME=web\n".to_string() };
        let mut journald = Journald::new(&plan, 0);
        journald.tell(Stream::Stderr, b"two\nlines\n", 0);
        let expected = b"CONTAINER_NAME=web\nPRIORITY=3\nMESSAGE\n\x09\0\0\0\0\0\0\0two\nlines\n";
        assert_eq!(receive(&first), expected);
        journald.tell(Stream::Stdout, b"part", 0);
        let expected =
            b"CONTAINER_NAME=web\nPRIORITY=6\nCONTAINER_PARTIAL_MESSAGE=true\nMESSAGE\n\x04\0\0\0\0\0\0\0part\n";
        assert_eq!(receive(&first), expected);
        drop(first);
        journald.tell(Stream::Stdout, b"lost\n", 1);
        let second = bind();
        journald.tell(Stream::Stdout, b"too soon\n", 2);
        journald.tell(Stream::Stdout, b"again\n", 2 * RETRY);
        assert!(receive(&second).ends_with(b"again\n"));
        std::fs::remove_file(&path).expect("is there");
    }

    #[test]
    fn a_journal_that_takes_nothing_is_not_waited_for_twice() {
        let path = std::env::temp_dir().join(std::format!("engine-journald-full-{}", std::process::id()));
        let _ = std::fs::remove_file(&path);
        let _socket = UnixDatagram::bind(&path).expect("binds");
        let plan = HostJournal {
            socket: path.to_str().expect("a path").to_string(),
            fields: std::string::String::new(),
        };
        let mut journald = Journald::new(&plan, 0);
        let begin = std::time::Instant::now();
        for _ in 0..10_000 {
            journald.tell(Stream::Stdout, b"line\n", 0);
        }
        assert!(begin.elapsed() < std::time::Duration::from_secs(4), "{:?}", begin.elapsed());
        std::fs::remove_file(&path).expect("is there");
    }
}
