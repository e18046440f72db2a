//! sd_notify(3) from within a container: it has a socket of its own, at a path of its own, and what it says of its
//! readiness goes on to the one of whoever started it. Anything else that it says stays here.

use std::ffi::OsStr;
use std::os::fd::AsRawFd;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::path::{Path, PathBuf};
use std::time::Duration;

use oci_spec::runtime::{MountBuilder, Spec};
use rustix::fs::{Mode, OFlags};

use super::{OciId, OciRuntime};
use crate::error::{Error, Result, Subject};

/// The directory of the socket, in that of the container.
const DIRECTORY: &str = "notify";
/// The socket in it.
const SOCKET: &str = "notify.sock";
/// The directory as the container sees it.
const INSIDE: &str = "/run/notify";
/// What is passed on.
const READY: &[u8] = b"READY=";
/// No message is longer (sd_notify's own limit is that of a datagram; systemd reads a page).
const MAX: usize = 4096;
/// How long one may wait for a message before looking whether the container is there still.
const TURN: Duration = Duration::from_millis(100);

/// Gives a container the variable and the directory of the socket. The directory `container` is the container's.
pub(super) fn add(spec: &mut Spec, container: &Path) -> Result<()> {
    let options = ["bind", "nosuid", "noexec", "nodev", "ro"].map(str::to_owned).to_vec();
    let mount = MountBuilder::default()
        .destination(INSIDE)
        .typ("bind")
        .source(container.join(DIRECTORY))
        .options(options)
        .build()
        .map_err(|e| Error::internal("the mount of the notify socket", "it is not complete").caused_by(e))?;
    spec.mounts_mut().get_or_insert_default().push(mount);
    if let Some(process) = spec.process_mut() {
        process.env_mut().get_or_insert_default().push(format!("NOTIFY_SOCKET={INSIDE}/{SOCKET}"));
    }
    Ok(())
}

/// Makes the directory of the socket.
pub(super) fn make_directory(container: &Path) -> Result<()> {
    let directory = container.join(DIRECTORY);
    std::fs::create_dir(&directory).subject(|| format!("directory {}", directory.display()))
}

/// The socket of a container, on which it may tell that it is ready.
#[derive(Debug)]
pub struct Notify {
    inside: UnixDatagram,
    outside: UnixDatagram,
    to: SocketAddr,
}

impl OciRuntime {
    /// Opens the socket of a container that was [made with one](super::Creation::notify), before its start; `None` if
    /// it was not. `to` is the value of `NOTIFY_SOCKET` for this process.
    ///
    /// # Errors
    /// There is no such socket.
    pub fn notify(&self, id: &OciId, to: &OsStr) -> Result<Option<Notify>> {
        let directory = self.directory(id).join(DIRECTORY);
        if !directory.exists() {
            return Ok(None);
        }
        let subject = || format!("the notify socket of {}", super::name(id));
        let path = directory.join(SOCKET);
        let _ = std::fs::remove_file(&path);
        let inside = bind(&directory).subject(subject)?;
        // Whatever user the program is.
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o777)).subject(subject)?;
        inside.set_read_timeout(Some(TURN)).subject(subject)?;
        let outside = UnixDatagram::unbound().subject(subject)?;
        let to = address(to).subject(|| format!("NOTIFY_SOCKET {}", PathBuf::from(to).display()))?;
        Ok(Some(Notify { inside, outside, to }))
    }

    /// Waits until the container says that it is ready, or has ended, and passes that on with its first process as
    /// the main one.
    ///
    /// # Errors
    /// What the container says cannot be heard.
    pub fn pass_readiness(&self, id: &OciId, notify: &Notify) -> Result<()> {
        let mut message = [0; MAX];
        loop {
            let length = match notify.inside.recv(&mut message) {
                Err(e)
                    if matches!(
                        e.kind(),
                        std::io::ErrorKind::WouldBlock
                            | std::io::ErrorKind::TimedOut
                            | std::io::ErrorKind::Interrupted
                    ) =>
                {
                    0
                }
                result => result.subject(|| format!("the notify socket of {}", super::name(id)))?,
            };
            if let Some(line) = readiness(message.get(..length).unwrap_or_default()) {
                let main = format!("\nMAINPID={}", self.record(id)?.pid);
                // That nobody listens any more is no failure of the container's.
                let _ = notify.outside.send_to_addr(&[line, main.as_bytes()].concat(), &notify.to);
                return Ok(());
            }
            if length == 0 && self.has_ended(id, Duration::ZERO)? {
                return Ok(());
            }
        }
    }
}

/// Through a descriptor: the path may be too long for an address.
fn bind(directory: &Path) -> std::io::Result<UnixDatagram> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let parent = rustix::fs::open(directory, flags, Mode::empty())?;
    UnixDatagram::bind(format!("/proc/self/fd/{}/{SOCKET}", parent.as_raw_fd()))
}

/// A path, or with `@` before it a name that is in no file system.
fn address(text: &OsStr) -> std::io::Result<SocketAddr> {
    match text.as_bytes() {
        [b'@', name @ ..] => SocketAddr::from_abstract_name(name),
        _ => SocketAddr::from_pathname(text),
    }
}

/// The line of a message that tells of readiness.
fn readiness(message: &[u8]) -> Option<&[u8]> {
    message.split(|byte| *byte == b'\n').find(|line| line.starts_with(READY))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn readiness_alone_is_passed_on() {
        assert_eq!(readiness(b"STATUS=fine\nREADY=1\nMAINPID=1"), Some(b"READY=1".as_slice()));
        assert_eq!(readiness(b"MAINPID=1\nSTATUS=READY=1\n"), None);
        assert_eq!(readiness(b""), None);
    }

    #[test]
    fn a_socket_has_a_path_or_a_name() {
        assert_eq!(address(OsStr::new("/run/x")).expect("is one").as_pathname(), Some(Path::new("/run/x")));
        assert_eq!(address(OsStr::new("@x")).expect("is one").as_abstract_name(), Some(b"x".as_slice()));
        assert!(address(OsStr::new(&"x".repeat(200))).is_err());
    }
}
