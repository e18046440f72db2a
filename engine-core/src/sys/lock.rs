//! Locks between processes on parts of a file (fcntl(2), "Open file description locks"). They end with their holder,
//! however that ends, and leave nothing to clean up.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, fcntl};

use crate::error::{Error, ErrorKind, Result, Subject};

/// One byte of a file, which has not to be there, as a lock. It is given back when dropped.
#[derive(Debug)]
pub(crate) struct ByteLock {
    file: File,
    at: i64,
}

/// How much of a lock somebody has.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Strength {
    /// Others may have it too.
    Shared,
    /// Nobody else has it.
    Exclusive,
}

impl ByteLock {
    /// Byte `at` of the file `path`, which is made if it is not there. Nothing is locked yet.
    ///
    /// # Errors
    /// The file cannot be opened.
    pub(crate) fn open(path: &Path, at: i64) -> Result<ByteLock> {
        let mut make = OpenOptions::new();
        make.read(true).write(true).create(true).truncate(false).mode(0o600);
        let file = make.open(path).subject(|| format!("lock {}", path.display()))?;
        Ok(ByteLock { file, at })
    }

    /// Takes it, or changes how much of it is taken, with no moment between the two. `false` if somebody has it.
    ///
    /// # Errors
    /// The kernel has no memory for the lock, or the file system no locks.
    pub(crate) fn try_take(&self, strength: Strength) -> Result<bool> {
        let kind = match strength {
            Strength::Shared => libc::F_RDLCK,
            Strength::Exclusive => libc::F_WRLCK,
        };
        let range = libc::flock {
            l_type: kind as libc::c_short,
            l_whence: libc::SEEK_SET as libc::c_short,
            l_start: self.at,
            l_len: 1,
            l_pid: 0,
        };
        loop {
            match fcntl(&self.file, FcntlArg::F_OFD_SETLK(&range)) {
                Ok(_) => return Ok(true),
                Err(Errno::EAGAIN | Errno::EACCES) => return Ok(false),
                Err(Errno::EINTR) => {}
                Err(errno) => return Err(errno).subject(|| "a lock of the store".to_owned()),
            }
        }
    }
}

/// Asks for a lock again and again, ever more slowly, until the answer is yes. The kernel could wait by itself, but
/// for ever. Blocks.
///
/// # Errors
/// [`ErrorKind::TimedOut`] when the deadline has passed; what `ask` fails with.
pub(crate) fn until(
    deadline: Instant,
    subject: impl Fn() -> String,
    mut ask: impl FnMut() -> Result<bool>,
) -> Result<()> {
    let mut pause = Duration::from_micros(100);
    while !ask()? {
        if Instant::now() > deadline {
            return Err(Error::new(ErrorKind::TimedOut, subject())
                .because("another process keeps it locked")
                .with_remedy("end that process and try again"));
        }
        std::thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(20));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_byte_is_shared_or_exclusive_and_others_do_not_matter() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("locks");
        let open = |at| ByteLock::open(&path, at).expect("opens");
        let take = |lock: &ByteLock, strength| lock.try_take(strength).expect("asks");
        let (one, two, three) = (open(i64::MAX >> 1), open(i64::MAX >> 1), open(0));
        assert!(take(&one, Strength::Shared) && take(&two, Strength::Shared));
        assert!(!take(&one, Strength::Exclusive), "two has it too");
        assert!(take(&three, Strength::Exclusive));
        drop(two);
        assert!(take(&one, Strength::Exclusive));
        assert!(!take(&open(i64::MAX >> 1), Strength::Shared));
        assert!(take(&one, Strength::Shared), "less of it is to be had at any time");
        assert!(take(&open(i64::MAX >> 1), Strength::Shared));
    }

    #[test]
    fn waiting_ends_with_the_deadline() {
        let mut asked = 0;
        let error = until(
            Instant::now() + Duration::from_millis(5),
            || "a lock".to_owned(),
            || {
                asked += 1;
                Ok(false)
            },
        )
        .expect_err("it is never free");
        assert!(error.is(ErrorKind::TimedOut));
        assert!(asked > 1);
    }
}
