//! Starting the shim: from memory, without a file on the host, and without a child that stays.
//!
//! The host program may have any number of threads, so nothing of ours runs between its fork and exec: the control
//! socket becomes the shim's standard input, and the rest travels over it. The shim's first process ends as soon as it
//! has a child of its own, so the host keeps none.
//!
//! Most of what a monitor costs is the program itself, so all of them share one copy in memory, whichever process
//! started them: a link in the run directory leads to the program of one that runs, through `/proc`. What is found there
//! is taken only if nobody can change it and it is the very program of this library; otherwise a copy is made, and the
//! next monitor is told to put the link in order.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};

use rustix::fs::{MemfdFlags, SealFlags};
use rustix::io::Errno;

use crate::error::{Error, ErrorKind, Result, Subject};

/// The helper program, for a host on which [`ShimProgram::Path`] has to be used: the content of that file.
pub const SHIM_PROGRAM: &[u8] = engine_shim::PROGRAM;

/// Nobody can change or undo what has these.
const SEALS: SealFlags =
    SealFlags::SEAL.union(SealFlags::SHRINK).union(SealFlags::GROW).union(SealFlags::WRITE);

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
    /// Where the copy in memory is found that others run from.
    link: Option<PathBuf>,
    /// The program in memory, sealed, once it was needed.
    memory: Mutex<Option<Arc<OwnedFd>>>,
}

/// The first process of a helper program, which ends at once: to drop it is to wait for that.
pub(super) struct First(Child);

impl Shim {
    /// Starts `program`. With `link`, a path for a link of the engine's, processes that know it run from one copy.
    pub(super) fn new(program: ShimProgram, link: Option<PathBuf>) -> Shim {
        let link = link.filter(|_| program == ShimProgram::Embedded);
        Shim { program, link, memory: Mutex::new(None) }
    }

    /// The link, if it leads nowhere, or not to what this process starts: a monitor that is started now is to let it lead
    /// to its own program.
    pub(super) fn link_to_make(&self) -> Option<&Path> {
        let link = self.link.as_deref()?;
        let memory = self.memory.lock().unwrap_or_else(PoisonError::into_inner);
        let same = |memory: &OwnedFd| {
            let (ours, theirs) = (rustix::fs::fstat(memory), rustix::fs::stat(link));
            ours.is_ok_and(|ours| {
                theirs.is_ok_and(|theirs| (ours.st_dev, ours.st_ino) == (theirs.st_dev, theirs.st_ino))
            })
        };
        (!memory.as_deref().is_some_and(same)).then_some(link)
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
        let program = match self.link.as_deref().and_then(|link| shared(link, SHIM_PROGRAM)) {
            Some(program) => program,
            None => sealed(SHIM_PROGRAM).map_err(|e| self.cannot_execute(e))?,
        };
        Ok(memory.insert(Arc::new(program)).clone())
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
    let mut file = File::from(memory);
    file.write_all(program)?;
    rustix::fs::fcntl_add_seals(&file, SEALS)?;
    Ok(file.into())
}

/// `program` in memory as another process made it, if `link` leads there. The link may lead anywhere, as the process it
/// led to may be gone and its number be another's; only what is sealed in the same way, with the same content, is taken.
fn shared(link: &Path, program: &[u8]) -> Option<OwnedFd> {
    let mut file = File::open(link).ok()?;
    let sealed = rustix::fs::fcntl_get_seals(&file).is_ok_and(|seals| seals.contains(SEALS));
    if !sealed || file.metadata().ok()?.len() != program.len() as u64 {
        return None;
    }
    let mut part = [0; 32 << 10];
    for wanted in program.chunks(part.len()) {
        let part = part.get_mut(..wanted.len())?;
        file.read_exact(part).ok()?;
        if part != wanted {
            return None;
        }
    }
    Some(file.into())
}

impl Drop for First {
    fn drop(&mut self) {
        // That it was reaped already, by a host that takes in all its children, is as good. How it ended does not
        // matter: a program that could not go on says nothing on its socket.
        let _ = self.0.wait();
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn only_a_sealed_copy_of_the_very_program_is_shared() {
        let directory = tempfile::tempdir().expect("a directory");
        let link = directory.path().join("shim");
        assert!(shared(&link, b"program").is_none(), "there is none");
        let leads_to = |memory: &OwnedFd| {
            let _ = std::fs::remove_file(&link);
            symlink(format!("/proc/{}/fd/{}", std::process::id(), memory.as_raw_fd()), &link)
                .expect("a link");
        };
        let good = sealed(b"program").expect("memory");
        leads_to(&good);
        let found = shared(&link, b"program").expect("it is the same");
        let inode = |fd: &OwnedFd| rustix::fs::fstat(fd).expect("is open").st_ino;
        assert_eq!(inode(&found), inode(&good));
        assert!(shared(&link, b"Program").is_none(), "other content");
        assert!(shared(&link, b"program and more").is_none(), "another length");
        let open = rustix::fs::memfd_create("open", MemfdFlags::ALLOW_SEALING).expect("memory");
        rustix::io::write(&open, b"program").expect("writes");
        leads_to(&open);
        assert!(shared(&link, b"program").is_none(), "anybody can change it");
        let file = directory.path().join("file");
        std::fs::write(&file, b"program").expect("writes");
        std::fs::remove_file(&link).expect("is there");
        symlink(&file, &link).expect("a link");
        assert!(shared(&link, b"program").is_none(), "a file can be changed");
    }

    #[test]
    fn a_link_is_made_until_it_leads_to_the_program_of_this_process() {
        let directory = tempfile::tempdir().expect("a directory");
        let link = directory.path().join("shim");
        let shim = Shim::new(ShimProgram::Embedded, Some(link.clone()));
        let memory = shim.memory().expect("memory");
        assert_eq!(shim.link_to_make(), Some(link.as_path()));
        symlink(format!("/proc/self/fd/{}", memory.as_raw_fd()), &link).expect("a link");
        assert_eq!(shim.link_to_make(), None);
        let second = Shim::new(ShimProgram::Embedded, Some(link));
        second.memory().expect("the same memory");
        assert_eq!(second.link_to_make(), None);
        let file = ShimProgram::Path("/bin/true".into());
        assert_eq!(Shim::new(file, Some("/nowhere".into())).link_to_make(), None);
    }
}
