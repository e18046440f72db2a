//! The names of networks: a server at 127.0.0.11, port 53, of a container. It answers for the members of the container's
//! networks, and asks others for everything else.
//!
//! It is a process of its own, as what a container sends is hostile: it has its sockets open and nothing else, and no
//! rights. It is there for as long as the monitor is. It listens on another port, so that the program may have port 53
//! of all its addresses for itself; the packet filter of the container's network leads questions there.

mod directory;
mod forward;
mod message;

use alloc::vec::Vec;
use core::net::{Ipv4Addr, SocketAddr, SocketAddrV4};

use rustix::event::{PollFd, PollFlags};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType};
use rustix::process::{WaitId, WaitIdOptions};

use self::forward::Forwards;
use self::message::{DATAGRAM, Question, Wanted};
use crate::failure::{Result, Step};
use crate::hub::{monotonic, timespec};
use crate::plan::Names;
use crate::sys::{self, Forked};
use crate::{init, namespaces, teardown};

const ADDRESS: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 11);
/// The longest question that is taken over UDP.
const LONGEST: usize = 4096;
/// So many are taken before somebody else has a turn.
const TURN: usize = 64;
/// So many connections are served at once.
const CONNECTIONS: usize = 16;

/// One that ends sooner than this, in nanoseconds, would end again.
const SOON: i64 = 1_000_000_000;

/// The process that answers, and the sockets that it answers on, for the next one.
pub(crate) struct Server {
    process: OwnedFd,
    /// When it was started.
    since: i64,
    sockets: Sockets,
}

struct Sockets {
    udp: OwnedFd,
    tcp: OwnedFd,
}

impl Server {
    /// Starts it, for the network namespace `net`.
    pub(crate) fn begin(names: &Names, net: BorrowedFd<'_>) -> Result<Server> {
        Server::start(names, net, namespaces::within(net, || listen(names))?)
    }

    fn start(names: &Names, net: BorrowedFd<'_>, sockets: Sockets) -> Result<Server> {
        let start = || child(|| serve(names, net, &sockets)).step("start", "the server of names");
        let process = namespaces::out_of_sight(start)?;
        Ok(Server { process, since: monotonic(), sockets })
    }

    /// Readable when it has ended, which it does only if it is killed, for want of memory say.
    pub(crate) fn process(&self) -> BorrowedFd<'_> {
        self.process.as_fd()
    }

    /// It has ended: starts another one, unless that would be for ever. A container without one goes on.
    pub(crate) fn again(self, names: &Names, net: BorrowedFd<'_>) -> Option<Server> {
        let lasted = monotonic().saturating_sub(self.since);
        let sockets = self.stop();
        if lasted < SOON { None } else { Server::start(names, net, sockets).ok() }
    }

    /// Ends it.
    pub(crate) fn end(self) {
        drop(self.stop());
    }

    fn stop(self) -> Sockets {
        let _ = sys::pidfd_send_signal(self.process.as_fd(), libc::SIGKILL);
        let _ = rustix::process::waitid(WaitId::PidFd(self.process.as_fd()), WaitIdOptions::EXITED);
        self.sockets
    }
}

/// Takes the container's names out of its networks.
pub(crate) fn leave(names: &Names) {
    for (_, directory) in &names.networks {
        directory::leave(directory, &names.member);
    }
}

fn listen(names: &Names) -> Result<Sockets> {
    let address = SocketAddr::V4(SocketAddrV4::new(ADDRESS, names.port));
    let bound = |kind| {
        let socket = rustix::net::socket_with(AddressFamily::INET, kind, SocketFlags::CLOEXEC, None)?;
        rustix::net::bind(&socket, &address)?;
        Ok(socket)
    };
    // It may be up already. A socket that is bound before has no address of its own to answer from.
    namespaces::raise_loopback()?;
    let open = || {
        let (udp, tcp) = (bound(SocketType::DGRAM)?, bound(SocketType::STREAM)?);
        rustix::net::listen(&tcp, CONNECTIONS as i32)?;
        Ok(Sockets { udp, tcp })
    };
    let sockets = open().step("listen on", "127.0.0.11 for questions for names")?;
    teardown::send(core::slice::from_ref(&names.redirect));
    Ok(sockets)
}

/// The process. It has copies of all that the monitor has open, and keeps none of it.
fn serve(names: &Names, net: BorrowedFd<'_>, Sockets { udp, tcp }: &Sockets) -> Option<()> {
    if names.inside {
        // Servers that were asked for are asked from where the container is.
        sys::setns(net, namespaces::NET).ok()?;
    }
    sys::close_all_but(&[udp.as_fd(), tcp.as_fd()]).ok()?;
    sys::capset(0, 0, 0).ok()?;
    rustix::thread::set_no_new_privs(true).ok()?;
    let mut forwards = Forwards::default();
    let mut connections: Vec<OwnedFd> = Vec::new();
    let mut buffer = alloc::vec![0; LONGEST];
    loop {
        let deadline = forwards.deadline();
        let waited = {
            let ours = [udp.as_fd(), tcp.as_fd()].into_iter();
            let fds = ours.chain(connections.iter().map(AsFd::as_fd)).chain(forwards.sockets());
            let mut polled: Vec<PollFd<'_>> =
                fds.map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN)).collect();
            let timeout = deadline.map(|deadline| timespec(deadline.saturating_sub(monotonic())));
            match rustix::event::poll(&mut polled, timeout.as_ref()) {
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(_) => return None,
            }
            polled.iter().map(|fd| !fd.revents().is_empty()).collect::<Vec<bool>>()
        };
        let (ours, rest) = waited.split_at_checked(2)?;
        let (ended, answered) = rest.split_at_checked(connections.len())?;
        for (answer, client) in forwards.hear(answered, monotonic(), &names.servers) {
            let _ = rustix::net::sendto(udp, &answer, SendFlags::DONTWAIT, &client);
        }
        let mut ended = ended.iter();
        connections.retain(|process| match ended.next() {
            Some(true) => {
                rustix::process::waitid(WaitId::PidFd(process.as_fd()), WaitIdOptions::EXITED).is_err()
            }
            _ => true,
        });
        if ours.first() == Some(&true) {
            receive(names, udp, &mut forwards, &mut buffer);
        }
        if ours.get(1) == Some(&true) {
            accept(names, tcp, &mut connections);
        }
    }
}

/// Takes what came over UDP.
fn receive(names: &Names, udp: &OwnedFd, forwards: &mut Forwards, buffer: &mut [u8]) {
    for _ in 0..TURN {
        let received = rustix::net::recvfrom(udp, &mut *buffer, RecvFlags::DONTWAIT);
        let Ok((length, _, Some(client))) = received else { return };
        let message = buffer.get(..length).unwrap_or_default();
        let answer = match answer(names, message, DATAGRAM) {
            Answer::Said(answer) => answer,
            Answer::None => continue,
            Answer::Elsewhere(question) => {
                match forwards.begin(question, message.to_vec(), client.clone(), &names.servers, monotonic())
                {
                    None => continue,
                    Some(refused) => refused,
                }
            }
        };
        let _ = rustix::net::sendto(udp, &answer, SendFlags::DONTWAIT, &client);
    }
}

/// A connection is served by a process of its own, which may wait.
fn accept(names: &Names, tcp: &OwnedFd, connections: &mut Vec<OwnedFd>) {
    let Ok(client) = rustix::net::accept_with(tcp, SocketFlags::CLOEXEC) else { return };
    if connections.len() >= CONNECTIONS {
        return;
    }
    connections.extend(child(|| forward::converse(names, &client)));
}

/// A child that does `work` and ends with this process.
fn child(work: impl FnOnce() -> Option<()>) -> rustix::io::Result<OwnedFd> {
    let parent = Some(rustix::process::getpid());
    match sys::clone(0, None)? {
        Forked::Parent(process, _) => Ok(process),
        Forked::Child => {
            // Or the parent ended before it was asked to be told of that.
            let done = init::guard().is_ok() && rustix::process::getppid() == parent && work().is_some();
            sys::exit(i32::from(!done))
        }
    }
}

/// What is known of a question here.
enum Answer {
    Said(Vec<u8>),
    /// It was no question.
    None,
    /// Somebody else knows, or nobody.
    Elsewhere(Question),
}

fn answer(names: &Names, message: &[u8], limit: usize) -> Answer {
    let question = match message::question(message) {
        Ok(question) => question,
        Err(answer) => return answer.map_or(Answer::None, Answer::Said),
    };
    let Some(name) = &question.name else { return Answer::Elsewhere(question) };
    if question.wanted() == Wanted::Name {
        return match directory::name_of(&names.networks, name) {
            Some(name) => Answer::Said(question.pointer(&name, limit)),
            None => Answer::Elsewhere(question),
        };
    }
    let Some(mut addresses) = directory::addresses(&names.networks, name) else {
        return Answer::Elsewhere(question);
    };
    // A name of ours that has no address of the family has none: nobody else is asked.
    match question.wanted() {
        Wanted::Addresses { six } => addresses.retain(|address| address.is_ipv6() == six),
        Wanted::Name | Wanted::Other => addresses.clear(),
    }
    // Who is called the same takes turns in being the first.
    if !addresses.is_empty() {
        let turn = usize::try_from(monotonic() >> 10).unwrap_or(0) % addresses.len();
        addresses.rotate_left(turn);
    }
    Answer::Said(question.addresses(&addresses, limit))
}
