//! Letting the program of a container begin.

use std::os::fd::AsRawFd;
use std::path::Path;

use engine_shim::control::{receive, send_all};
use engine_shim::plan::HooksPlan;
use engine_shim::wire::Kind;
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};

use super::{OciId, OciRuntime, Status, client, name, record};
use crate::error::{Error, ErrorKind, Result, Subject};
use crate::runtime::linux::client::Client;
use crate::runtime::linux::create::encode;
use crate::runtime::linux::plan::{State, hooks_plan};
use crate::spec::Signal;

/// The socket on which a container waits for its start; gone when it was started.
pub(super) const SOCKET: &str = "start";
/// "Begin", as the process that was built understands it.
const GO: &[u8] = b"G";
/// What the failure of the process begins with.
const FAILED: u8 = b'F';

impl OciRuntime {
    /// Lets the program of a container begin.
    ///
    /// # Errors
    /// [`ErrorKind::Conflict`] if it was started already; why the program cannot be executed, or the hook that failed,
    /// and the container has ended then.
    pub fn start(&self, id: &OciId) -> Result<()> {
        let record = self.record(id)?;
        let refused =
            |reason: &str| Err(Error::new(ErrorKind::Conflict, name(id)).because(reason.to_owned()));
        match self.status(id, &record)? {
            Status::Created => {}
            Status::Stopped => return refused("cannot start a container that has stopped"),
            Status::Running | Status::Paused => return refused("cannot start an already running container"),
        }
        let directory = self.directory(id);
        begin(&directory, id)?;
        std::fs::remove_file(directory.join(SOCKET)).subject(|| format!("the start of {}", name(id)))?;
        let spec = record::configuration(&directory)?;
        let hooks = hooks_plan(&spec, (id.as_str(), &record.bundle), State::Running(record.pid))?;
        match hooks.map_or(Ok(()), |hooks| self.run_hooks(id, &hooks)) {
            Ok(()) => Ok(()),
            Err(e) => {
                let _ = self.kill(id, Signal::KILL, true);
                Err(e)
            }
        }
    }

    /// Runs hooks in the namespaces of this process.
    pub(super) fn run_hooks(&self, id: &OciId, hooks: &HooksPlan) -> Result<()> {
        let (control, first) = self.host.shim.start(&format!("hooks of {id}"))?;
        let client = Client::named(control, name(id))?;
        client.send(Kind::PlanHooks, &encode(hooks)?, &[])?;
        drop(first);
        client.wait_for(None)?;
        client.expect(Kind::Done).map(drop)
    }
}

/// Says the word to the process that waits, and hears whether it has become the program.
fn begin(directory: &Path, id: &OciId) -> Result<()> {
    let subject = || format!("the start of {}", name(id));
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let parent = rustix::fs::open(directory, flags, Mode::empty()).subject(subject)?;
    let address = SocketAddrUnix::new(format!("/proc/self/fd/{}/{SOCKET}", parent.as_raw_fd()));
    let kind = (AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC);
    let socket = rustix::net::socket_with(kind.0, kind.1, kind.2, None).subject(subject)?;
    rustix::net::connect(&socket, &address.subject(subject)?).subject(subject)?;
    send_all(&socket, GO, &[]).subject(subject)?;
    let mut answer = [0; 4096];
    let length = match receive(&socket, &mut answer, &mut Vec::new()) {
        Err(Errno::CONNRESET) => 0,
        result => result.subject(subject)?,
    };
    match answer.get(..length) {
        Some([FAILED, failure @ ..]) => Err(client::explain(failure, &name(id))),
        // The connection ends when the program begins.
        _ => Ok(()),
    }
}
