//! Starting the shim: from memory, without a file on the host, and without a child that stays.
//!
//! The host program may have any number of threads, so nothing of ours runs between its fork and exec: the control
//! socket becomes the shim's standard input, and the rest travels over it. The shim's first process ends as soon as it
//! has a child of its own, so the host keeps none.

use std::io::Write;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};

use rustix::fs::{MemfdFlags, SealFlags};
use rustix::io::Errno;

use crate::error::{Error, ErrorKind, Result, Subject};

/// The helper program, for a host on which [`ShimProgram::Path`] has to be used: the content of that file.
pub const SHIM_PROGRAM: &[u8] = engine_shim::PROGRAM;

/// Where the helper program is that looks after containers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum ShimProgram {
    /// In this library; it is started from memory.
    #[default]
    Embedded,
    /// In a file, with the content of [`SHIM_PROGRAM`]: for hosts that forbid to execute memory.
    Path(PathBuf),
}

/// Starts helper programs.
pub(super) struct Shim {
    program: ShimProgram,
    /// The program in memory, sealed, once it was needed.
    memory: Mutex<Option<Arc<OwnedFd>>>,
}

/// The first process of a helper program, which ends at once: to drop it is to wait for that.
pub(super) struct First(Child);

impl Shim {
    pub(super) fn new(program: ShimProgram) -> Shim {
        Shim { program, memory: Mutex::new(None) }
    }

    /// Starts one, which the list of processes shows under `title`; gives its control socket. It comes up while its
    /// first process is not waited for.
    pub(super) fn start(&self, title: &str) -> Result<(UnixStream, First)> {
        let memory;
        let path = match &self.program {
            ShimProgram::Embedded => {
                memory = self.memory()?;
                // The number is the same in the process that becomes the program: all descriptors are copied to it.
                PathBuf::from(format!("/proc/self/fd/{}", memory.as_raw_fd()))
            }
            ShimProgram::Path(path) => path.clone(),
        };
        let (control, theirs) = UnixStream::pair().subject(|| "the control socket".to_owned())?;
        let title: String = title.chars().filter(|c| !c.is_control()).collect();
        let first = Command::new(&path)
            .arg0(format!("engine-shim: {title}"))
            .env_clear()
            .stdin(Stdio::from(OwnedFd::from(theirs)))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|e| self.cannot_execute(e))?;
        Ok((control, First(first)))
    }

    fn memory(&self) -> Result<Arc<OwnedFd>> {
        let mut memory = self.memory.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(program) = &*memory {
            return Ok(program.clone());
        }
        let program = Arc::new(sealed(SHIM_PROGRAM).map_err(|e| self.cannot_execute(e))?);
        Ok(memory.insert(program).clone())
    }

    fn cannot_execute(&self, error: std::io::Error) -> Error {
        let failure = Error::io("the helper program", error);
        match &self.program {
            ShimProgram::Embedded => Error::new(ErrorKind::Unsupported, "the helper program")
                .because("it could not be started from memory, which this host may forbid")
                .with_remedy("write SHIM_PROGRAM to a file, and name it with ShimProgram::Path")
                .caused_by(failure),
            ShimProgram::Path(path) => {
                Error::new(failure.kind(), format!("the helper program {}", path.display()))
                    .with_remedy("name an executable file with the content of SHIM_PROGRAM")
                    .caused_by(failure)
            }
        }
    }
}

/// `program` in memory that can be executed and not be changed any more, by nobody: a container that got hold of it
/// through `/proc` could not (CVE-2019-5736).
fn sealed(program: &[u8]) -> std::io::Result<OwnedFd> {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    let memory = match rustix::fs::memfd_create("engine-shim", flags | MemfdFlags::EXEC) {
        // Before Linux 6.3 memory is executable without being asked to.
        Err(Errno::INVAL) => rustix::fs::memfd_create("engine-shim", flags)?,
        result => result?,
    };
    let mut file = std::fs::File::from(memory);
    file.write_all(program)?;
    let seals = SealFlags::SEAL | SealFlags::SHRINK | SealFlags::GROW | SealFlags::WRITE;
    rustix::fs::fcntl_add_seals(&file, seals)?;
    Ok(file.into())
}

impl Drop for First {
    fn drop(&mut self) {
        // That it was reaped already, by a host that takes in all its children, is as good. How it ended does not
        // matter: a program that could not go on says nothing on its socket.
        let _ = self.0.wait();
    }
}
