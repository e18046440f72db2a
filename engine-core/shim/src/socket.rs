//! Unix sockets by their path.

use rustix::fd::OwnedFd;
use rustix::io::Result;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};

/// Connects to the socket at `path`. One that does not block finds out at once that there is no room for it.
pub(crate) fn connect(path: &str, kind: SocketType, flags: SocketFlags) -> Result<OwnedFd> {
    let (socket, address) = named(path, kind, flags)?;
    rustix::net::connect(&socket, &address)?;
    Ok(socket)
}

/// Listens at `path`.
pub(crate) fn listen(path: &str, flags: SocketFlags, backlog: i32) -> Result<OwnedFd> {
    let (socket, address) = named(path, SocketType::STREAM, flags)?;
    rustix::net::bind(&socket, &address)?;
    rustix::net::listen(&socket, backlog)?;
    Ok(socket)
}

fn named(path: &str, kind: SocketType, flags: SocketFlags) -> Result<(OwnedFd, SocketAddrUnix)> {
    let socket = rustix::net::socket_with(AddressFamily::UNIX, kind, flags | SocketFlags::CLOEXEC, None)?;
    Ok((socket, SocketAddrUnix::new(path)?))
}
