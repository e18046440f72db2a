//! Groups as directories: made, listed, emptied and removed. Both versions share it.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::DirBuilderExt;
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::process::{Pid, Signal};

use crate::error::{Error, ErrorKind, Result, Subject};

/// How long a group may take to get rid of its killed processes.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);
/// What one file of a group holds at most: a list of four million processes.
const LIMIT: u64 = 32 << 20;
/// Groups within a container's group are followed so deep.
const DEPTH: usize = 32;

/// Writes one value, in one go, to a file that is there: the kernel takes each write for a whole message.
pub(super) fn write(directory: &str, file: &str, value: &str) -> io::Result<()> {
    // Without O_CREAT, or a file that is not there would be "permission denied".
    OpenOptions::new().write(true).open([directory, "/", file].concat())?.write_all(value.as_bytes())
}

/// Reads a whole file of a group.
pub(super) fn read(directory: &str, file: &str) -> io::Result<String> {
    // Large enough for most to be read at once.
    let mut text = String::with_capacity(4096);
    fs::File::open([directory, "/", file].concat())?.take(LIMIT).read_to_string(&mut text)?;
    Ok(text)
}

/// Makes a directory that only its owner changes, whatever the mask of the host program.
pub(super) fn make_directory(directory: &str) -> io::Result<()> {
    DirBuilder::new().mode(0o755).create(directory)
}

/// Makes the directory of a new group whose parent is there. What an earlier group of that name left is removed.
pub(super) fn make(directory: &str) -> io::Result<()> {
    match make_directory(directory) {
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {
            remove_now(directory, 0)?;
            make_directory(directory)
        }
        result => result,
    }
}

/// The groups directly below; none if the group is not there.
pub(super) fn children(directory: &str) -> Result<Vec<String>> {
    let entries = match fs::read_dir(directory) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.subject(|| format!("cgroup {directory}"))?,
    };
    let mut names = Vec::new();
    for entry in entries {
        let entry = entry.subject(|| format!("cgroup {directory}"))?;
        if entry.file_type().is_ok_and(|kind| kind.is_dir())
            && let Ok(name) = entry.file_name().into_string()
        {
            names.push(name);
        }
    }
    Ok(names)
}

/// The processes of the group and of those below it.
pub(super) fn pids(directory: &str) -> Result<Vec<u32>> {
    let mut found = Vec::new();
    gather(directory, 0, &mut found)?;
    Ok(found)
}

fn gather(directory: &str, depth: usize, found: &mut Vec<u32>) -> Result<()> {
    match read(directory, "cgroup.procs") {
        // A process of another PID namespace shows as 0, which kill(2) takes for something else.
        Ok(text) => {
            found.extend(text.lines().filter_map(|line| line.parse().ok()).filter(|pid: &u32| *pid != 0))
        }
        // A threaded group of version 2 lists its processes at its domain; one that vanished has none.
        Err(e) if matches!(errno(&e), Some(Errno::OPNOTSUPP | Errno::NODEV | Errno::NOENT)) => {}
        Err(e) => return Err(Error::io(format!("cgroup {directory}"), e)),
    }
    if depth < DEPTH {
        for child in children(directory)? {
            gather(&[directory, "/", &child].concat(), depth + 1, found)?;
        }
    }
    Ok(())
}

/// Sends SIGKILL to every process of the group and of those below it.
pub(super) fn kill_each(directory: &str) -> Result<()> {
    for pid in pids(directory)? {
        if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
            let _ = rustix::process::kill_process(pid, Signal::KILL);
        }
    }
    Ok(())
}

/// Waits until `done` says so, looking again ever less often.
///
/// # Errors
/// [`ErrorKind::TimedOut`] after [`PATIENCE`].
pub(super) fn wait_until(directory: &str, mut done: impl FnMut() -> Result<bool>) -> Result<()> {
    let deadline = Instant::now() + PATIENCE;
    let mut pause = Duration::from_micros(100);
    while !done()? {
        if Instant::now() >= deadline {
            return Err(Error::new(ErrorKind::TimedOut, format!("cgroup {directory}"))
                .because("a killed process of it does not end; the kernel waits for a device or a server")
                .with_remedy("look for a hung disk or network file system, and try again"));
        }
        std::thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(10));
    }
    Ok(())
}

/// Removes the group and those below it. The kernel counts a dying process for a moment longer, so it tries again.
pub(super) fn remove(directory: &str) -> Result<()> {
    remove_within(directory, 20)
}

/// As [`remove`], trying again at most so often.
pub(super) fn remove_within(directory: &str, attempts: u32) -> Result<()> {
    let mut pause = Duration::from_micros(200);
    for _ in 0..attempts {
        match remove_now(directory, 0) {
            Err(e) if errno(&e) == Some(Errno::BUSY) => {}
            result => return result.subject(|| format!("cgroup {directory}")),
        }
        std::thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(20));
    }
    remove_now(directory, 0).subject(|| format!("cgroup {directory}"))
}

fn remove_now(directory: &str, depth: usize) -> io::Result<()> {
    match fs::remove_dir(directory) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(e) if errno(&e) == Some(Errno::BUSY) && depth < DEPTH => {
            // Either it has processes, or groups of its own: a container may make some where it is allowed to.
            let below = children(directory).map_err(io::Error::other)?;
            if below.is_empty() {
                return Err(e);
            }
            for child in below {
                remove_now(&[directory, "/", &child].concat(), depth + 1)?;
            }
            match fs::remove_dir(directory) {
                Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
                result => result,
            }
        }
        result => result,
    }
}

/// The kernel's own word for the failure.
pub(super) fn errno(error: &io::Error) -> Option<Errno> {
    Errno::from_io_error(error)
}

/// Directories that were made, removed again unless they are kept.
#[derive(Default)]
pub(super) struct Made(Vec<String>);

impl Made {
    /// Notes a directory.
    pub(super) fn note(&mut self, directory: String) {
        self.0.push(directory);
    }

    /// All went well.
    pub(super) fn keep(mut self) -> Vec<String> {
        std::mem::take(&mut self.0)
    }
}

impl Drop for Made {
    fn drop(&mut self) {
        for directory in self.0.iter().rev() {
            let _ = remove(directory);
        }
    }
}
