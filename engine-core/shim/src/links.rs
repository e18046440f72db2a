//! Links of the host that a container is given: each is moved to its network namespace, with its addresses, which the
//! kernel takes from a link that is moved.

use alloc::string::String;
use alloc::vec::Vec;

use rustix::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType};

use crate::failure::{Result, Step};
use crate::sys;
use crate::text::Text;

const NETWORK: u32 = libc::CLONE_NEWNET as u32;

// Numbers of linux/netlink.h, linux/rtnetlink.h, linux/if_link.h and linux/if_addr.h.
const ERROR: u16 = 2;
const DONE: u16 = 3;
const SETLINK: u16 = 19;
const NEWADDR: u16 = 20;
const GETADDR: u16 = 22;
const REQUEST: u16 = 0x01;
const ACK: u16 = 0x04;
const DUMP: u16 = 0x300;
const CREATE_NEW: u16 = 0x600;
const IFLA_IFNAME: u16 = 3;
const IFLA_NET_NS_FD: u16 = 28;
const IFA_ADDRESS: u16 = 1;
const IFA_LOCAL: u16 = 2;
const IFA_BROADCAST: u16 = 4;
const HEADER: usize = 16;
/// As long as any datagram of the kernel.
const BUFFER: usize = 32 << 10;

/// Moves links, each with its name there, to the network namespace of the process `pid`.
pub(crate) fn hand_over(links: &[(String, String)], pid: u32) -> Result<()> {
    if links.is_empty() {
        return Ok(());
    }
    let mut path = Text::default();
    path.push("/proc/").number(pid.into()).push("/ns/net");
    let (theirs, own) = (open(path.as_str())?, open("/proc/self/ns/net")?);
    let here = socket()?;
    sys::setns(theirs.as_fd(), NETWORK).step("enter", "the container's network namespace")?;
    // A socket stays where it was made.
    let there = socket();
    sys::setns(own.as_fd(), NETWORK).step("return from", "the container's network namespace")?;
    let there = there?;
    for (host, name) in links {
        let index = index(&here, host).step("find network device", host)?;
        let addresses = addresses(&here, index).step("read the addresses of network device", host)?;
        let step = || [host.as_str(), " to the container as ", name].concat();
        move_link(&here, index, theirs.as_fd(), name).step("move network device", step())?;
        settle(&there, name, &addresses).step("set up network device", step())?;
    }
    Ok(())
}

fn open(path: &str) -> Result<OwnedFd> {
    rustix::fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).step("open", path)
}

fn socket() -> Result<OwnedFd> {
    rustix::net::socket_with(AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, None)
        .step("open", "a netlink socket")
}

fn index(socket: &OwnedFd, name: &str) -> rustix::io::Result<u32> {
    rustix::net::netdevice::name_to_index(socket, name)
}

/// An address, as it is put to a link of another number again.
struct Address {
    /// Family, length of the prefix, flags and scope of `struct ifaddrmsg`.
    head: [u8; 4],
    /// Attributes.
    rest: Vec<u8>,
}

/// The addresses of the link but those that the kernel gives by itself.
fn addresses(socket: &OwnedFd, link: u32) -> rustix::io::Result<Vec<Address>> {
    const SCOPE: usize = 3;
    let mut found = Vec::new();
    converse(socket, message(GETADDR, DUMP, &[0; 8]), |body| {
        let (Some(head), Some(index)) = (body.first_chunk::<4>(), number(body, 4)) else { return };
        if index == link && head[SCOPE] == 0 {
            let mut rest = Vec::new();
            for (kind, value) in attributes(body.get(8..).unwrap_or_default()) {
                if matches!(kind, IFA_ADDRESS | IFA_LOCAL | IFA_BROADCAST) {
                    attribute(&mut rest, kind, value);
                }
            }
            found.push(Address { head: [head[0], head[1], 0, 0], rest });
        }
    })?;
    Ok(found)
}

fn move_link(socket: &OwnedFd, link: u32, to: BorrowedFd<'_>, name: &str) -> rustix::io::Result<()> {
    let mut request = message(SETLINK, ACK, &link_header(link, 0));
    attribute(&mut request, IFLA_NET_NS_FD, &to.as_raw_fd().to_ne_bytes());
    attribute(&mut request, IFLA_IFNAME, &[name.as_bytes(), b"\0"].concat());
    converse(socket, request, |_| {})
}

fn settle(socket: &OwnedFd, name: &str, addresses: &[Address]) -> rustix::io::Result<()> {
    let link = index(socket, name)?;
    for Address { head, rest } in addresses {
        let mut request = message(NEWADDR, ACK | CREATE_NEW, head);
        request.extend_from_slice(&link.to_ne_bytes());
        request.extend_from_slice(rest);
        converse(socket, request, |_| {})?;
    }
    converse(socket, message(SETLINK, ACK, &link_header(link, libc::IFF_UP as u32)), |_| {})
}

/// `struct ifinfomsg`, with flags to set.
fn link_header(link: u32, up: u32) -> [u8; 16] {
    let mut header = [0; 16];
    header[4..8].copy_from_slice(&link.to_ne_bytes());
    header[8..12].copy_from_slice(&up.to_ne_bytes());
    header[12..16].copy_from_slice(&up.to_ne_bytes());
    header
}

/// A message, but for its length.
fn message(kind: u16, flags: u16, header: &[u8]) -> Vec<u8> {
    let mut message = alloc::vec![0; HEADER];
    message[4..6].copy_from_slice(&kind.to_ne_bytes());
    message[6..8].copy_from_slice(&(flags | REQUEST).to_ne_bytes());
    message.extend_from_slice(header);
    message
}

fn attribute(message: &mut Vec<u8>, kind: u16, value: &[u8]) {
    // All that are written are a few bytes long.
    message.extend_from_slice(&(value.len() as u16 + 4).to_ne_bytes());
    message.extend_from_slice(&kind.to_ne_bytes());
    message.extend_from_slice(value);
    message.resize(message.len().next_multiple_of(4), 0);
}

/// Sends a request and hears the answers up to their end.
fn converse(socket: &OwnedFd, mut request: Vec<u8>, mut hear: impl FnMut(&[u8])) -> rustix::io::Result<()> {
    let length = request.len() as u32;
    request[..4].copy_from_slice(&length.to_ne_bytes());
    rustix::net::send(socket, &request, SendFlags::empty())?;
    let mut buffer = alloc::vec![0; BUFFER];
    loop {
        let (length, _) = rustix::net::recv(socket, buffer.as_mut_slice(), RecvFlags::empty())?;
        let mut rest = buffer.get(..length).unwrap_or_default();
        while let Some(length) = number(rest, 0) {
            let Some(answer) = rest.get(..length as usize).filter(|answer| answer.len() >= HEADER) else {
                return Err(Errno::PROTO);
            };
            match u16::from_ne_bytes([answer[4], answer[5]]) {
                DONE => return Ok(()),
                ERROR => {
                    return match number(answer, HEADER).map(|code| code as i32) {
                        Some(0) => Ok(()),
                        Some(code) => Err(Errno::from_raw_os_error(code.wrapping_neg())),
                        None => Err(Errno::PROTO),
                    };
                }
                _ => hear(&answer[HEADER..]),
            }
            rest = rest.get((length as usize).next_multiple_of(4)..).unwrap_or_default();
        }
    }
}

fn number(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk::<4>().map(|bytes| u32::from_ne_bytes(*bytes))
}

/// Kinds and values, up to one whose length does not fit.
fn attributes(mut bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    core::iter::from_fn(move || {
        let length = usize::from(u16::from_ne_bytes(*bytes.first_chunk::<2>()?));
        let kind = u16::from_ne_bytes(*bytes.get(2..)?.first_chunk::<2>()?);
        let value = bytes.get(4..length)?;
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some((kind, value))
    })
}
