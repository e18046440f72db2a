//! The journal of events: a file that every process of every engine on a store appends to, monitors included, a line
//! of JSON for each event in the form of Docker's event stream.
//!
//! `{"Type":"container","Action":"die","Actor":{"ID":"…","Attributes":{…}},"scope":"local","time":…,"timeNano":…}`
//!
//! Appending takes a shared lock, and putting the file aside when it has grown an exclusive one, so that no line goes
//! to a file that readers have done with. One older file is kept.

use alloc::string::String;

use rustix::fd::OwnedFd;
use rustix::fs::{CWD, FlockOperation, Mode, OFlags};
use rustix::io::Errno;

use crate::text::Text;

/// The journal is put aside when it has so many bytes.
pub const MAX_SIZE: u64 = 4 << 20;

/// What happened.
pub struct Entry<'a> {
    /// What kind of thing it happened to: `container`.
    pub kind: &'a str,
    /// What happened: `start`, or `health_status: healthy`. No quotes, backslashes or control characters.
    pub action: &'a str,
    /// The thing's identifier. Likewise.
    pub id: &'a str,
    /// Members of a JSON object that describe the thing: `"name":"web"`. May be empty.
    pub attributes: &'a str,
    /// Nanoseconds since the epoch.
    pub time: i64,
}

impl Entry<'_> {
    /// The line, with its newline.
    pub fn line(&self) -> String {
        let mut text = Text::default();
        text.push("{\"Type\":\"").push(self.kind).push("\",\"Action\":\"").push(self.action);
        text.push("\",\"Actor\":{\"ID\":\"").push(self.id).push("\",\"Attributes\":{").push(self.attributes);
        text.push("}},\"scope\":\"local\",\"time\":").number(self.time.div_euclid(1_000_000_000));
        text.push(",\"timeNano\":").number(self.time).push("}\n");
        text.into()
    }
}

/// Appends `entry` to the journal at `path`, which may not be there yet.
///
/// # Errors
/// The errno of the call that failed; nothing was appended then.
pub fn append(path: &str, entry: &Entry<'_>) -> rustix::io::Result<()> {
    let line = entry.line();
    loop {
        let file = open(path)?;
        rustix::fs::flock(&file, FlockOperation::LockShared)?;
        if !is_current(&file, path)? {
            continue;
        }
        if rustix::fs::fstat(&file)?.st_size as u64 >= MAX_SIZE {
            drop(file);
            put_aside(path)?;
            continue;
        }
        // One write is one line, whoever else appends.
        return match rustix::io::write(&file, line.as_bytes())? {
            written if written == line.len() => Ok(()),
            _ => Err(Errno::NOSPC),
        };
    }
}

/// Opens the journal for a process that will not see its path any more.
///
/// # Errors
/// The errno of the call that failed.
pub fn open_now(path: &str) -> rustix::io::Result<OwnedFd> {
    open(path)
}

/// Appends `entry` to a journal that was opened before; it may have been put aside since.
///
/// # Errors
/// The errno of the call that failed.
pub fn append_to(file: &OwnedFd, entry: &Entry<'_>) -> rustix::io::Result<()> {
    rustix::fs::flock(file, FlockOperation::LockShared)?;
    let line = entry.line();
    let written = rustix::io::write(file, line.as_bytes());
    // The descriptor stays open, and with it the lock would.
    rustix::fs::flock(file, FlockOperation::Unlock)?;
    written.map(drop)
}

/// The file that the current one becomes when it is put aside.
pub fn older(path: &str) -> String {
    [path, ".1"].concat()
}

fn open(path: &str) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::APPEND | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    rustix::fs::open(path, flags, Mode::from_raw_mode(0o600))
}

/// Whether the file was not put aside between opening and locking it.
fn is_current(file: &OwnedFd, path: &str) -> rustix::io::Result<bool> {
    let ours = rustix::fs::fstat(file)?;
    match rustix::fs::stat(path) {
        Ok(there) => Ok((there.st_ino, there.st_dev) == (ours.st_ino, ours.st_dev)),
        Err(Errno::NOENT) => Ok(false),
        Err(errno) => Err(errno),
    }
}

fn put_aside(path: &str) -> rustix::io::Result<()> {
    let file = open(path)?;
    rustix::fs::flock(&file, FlockOperation::LockExclusive)?;
    // Somebody else may have been faster.
    if is_current(&file, path)? && rustix::fs::fstat(&file)?.st_size as u64 >= MAX_SIZE {
        rustix::fs::renameat(CWD, path, CWD, older(path).as_str())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::string::ToString;

    use super::*;

    fn entry(action: &str) -> Entry<'_> {
        let attributes = "\"name\":\"web\"";
        Entry { kind: "container", action, id: "abc", attributes, time: 1_700_000_000_000_000_007 }
    }

    #[test]
    fn a_line_is_docker_s_message() {
        assert_eq!(
            entry("die").line(),
            "{\"Type\":\"container\",\"Action\":\"die\",\"Actor\":{\"ID\":\"abc\",\"Attributes\":\
             {\"name\":\"web\"}},\"scope\":\"local\",\"time\":1700000000,\"timeNano\":1700000000000000007}\n"
        );
    }

    #[test]
    fn a_journal_that_has_grown_is_put_aside_and_no_line_is_lost() {
        let directory = std::env::temp_dir().join(std::format!("engine-journal-{}", std::process::id()));
        std::fs::create_dir_all(&directory).expect("a directory");
        let path = directory.join("events").to_str().expect("a path").to_string();
        std::fs::write(&path, std::vec![b'\n'; MAX_SIZE as usize - 1]).expect("writes");
        let threads: std::vec::Vec<_> = (0..4)
            .map(|_| {
                let path = path.clone();
                std::thread::spawn(move || {
                    (0..100).for_each(|_| append(&path, &entry("die")).expect("appends"))
                })
            })
            .collect();
        threads.into_iter().for_each(|thread| thread.join().expect("ends"));
        let lines = |path: &str| std::fs::read_to_string(path).expect("text").matches("die").count();
        assert_eq!(lines(&path) + lines(&older(&path)), 400);
        assert!(lines(&path) >= 396, "it was put aside once, by the first who found it too long");
        std::fs::remove_dir_all(&directory).expect("is there");
    }
}
