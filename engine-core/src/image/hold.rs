//! Who keeps content from being collected, and when collecting may go on.
//!
//! Content is garbage when no record reaches it, and anybody may delete garbage at any time. Two things must not
//! happen: that content is deleted *before* its record is made by whoever just fetched it, or found it there and did
//! not fetch it; and that it is deleted *while* a record is being made from an older one.
//!
//! The first is what a [`Hold`] is for: a file that lists content, kept locked by whoever needs it. It ends with its
//! owner, however that ends, because the kernel drops the lock. The second is a lock for the length of a transaction:
//! [`Quiet`] is shared by those who make records, [`Collecting`] is for one who deletes. Taking a hold is done in
//! quiet, so a collector either sees the hold or was there before: then the content is seen to be missing.

use std::collections::HashSet;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use crate::error::{Error, Result, Subject};
use crate::id::random_hex;
use crate::store::blocking;

const LOCK: &str = "gc.lock";
const HOLDS: &str = "holds";

/// While it lives nothing is collected. For the length of a transaction only.
#[derive(Debug)]
pub(crate) struct Quiet {
    _lock: File,
}

/// While it lives nobody makes records of content, or takes a hold.
#[derive(Debug)]
pub(crate) struct Collecting {
    _lock: File,
    root: PathBuf,
}

/// Keeps the content it lists from being collected.
#[derive(Debug)]
pub(crate) struct Hold {
    root: PathBuf,
    path: PathBuf,
    /// Locked for as long as it is open.
    file: File,
}

fn lock_file(root: &Path) -> Result<File> {
    let path = root.join(LOCK);
    OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .mode(0o600)
        .open(&path)
        .subject(|| format!("lock {}", path.display()))
}

/// Waits until nobody collects, and keeps it so.
pub(crate) async fn quiet(root: &Path) -> Result<Quiet> {
    let root = root.to_owned();
    blocking(move || quiet_now(&root)).await
}

/// As [`quiet`], for code that may block.
pub(crate) fn quiet_now(root: &Path) -> Result<Quiet> {
    let lock = lock_file(root)?;
    lock.lock_shared().subject(|| format!("lock {}", root.join(LOCK).display()))?;
    Ok(Quiet { _lock: lock })
}

/// Waits until it is the caller's turn to delete.
pub(crate) async fn collecting(root: &Path) -> Result<Collecting> {
    let root = root.to_owned();
    blocking(move || {
        let lock = lock_file(&root)?;
        lock.lock().subject(|| format!("lock {}", root.join(LOCK).display()))?;
        Ok(Collecting { _lock: lock, root })
    })
    .await
}

impl Hold {
    /// Holds the content with these identifiers, blobs and chains alike, which need not be there.
    pub(crate) async fn take(root: &Path, content: Vec<String>) -> Result<Hold> {
        let root = root.to_owned();
        blocking(move || Hold::take_now(&root, &content)).await
    }

    /// As [`Hold::take`], for code that may block.
    pub(crate) fn take_now(root: &Path, content: &[String]) -> Result<Hold> {
        let holds = root.join(HOLDS);
        let path = holds.join(random_hex::<16>()?);
        let subject = || format!("file {}", path.display());
        let quiet = quiet_now(root)?;
        fs::create_dir_all(&holds).subject(|| format!("directory {}", holds.display()))?;
        let file =
            OpenOptions::new().create_new(true).append(true).mode(0o600).open(&path).subject(subject)?;
        file.lock().subject(subject)?;
        let mut hold = Hold { root: root.to_owned(), path, file };
        hold.note(content)?;
        drop(quiet);
        Ok(hold)
    }

    /// Holds more content. Blocks.
    pub(crate) fn extend_now(&mut self, content: &[String]) -> Result<()> {
        let _quiet = quiet_now(&self.root)?;
        self.note(content)
    }

    fn note(&mut self, content: &[String]) -> Result<()> {
        let mut lines = content.join("\n");
        lines.push('\n');
        self.file.write_all(lines.as_bytes()).subject(|| format!("file {}", self.path.display()))
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        // Should this fail, the lock ends all the same and a collector takes the file away.
        let _ = fs::remove_file(&self.path);
    }
}

impl Collecting {
    /// What somebody holds. Blocks. Files whose owners are gone are taken away.
    pub(crate) fn held(&self) -> Result<HashSet<String>> {
        let holds = self.root.join(HOLDS);
        let mut held = HashSet::new();
        let entries = match fs::read_dir(&holds) {
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(held),
            entries => entries.subject(|| format!("directory {}", holds.display()))?,
        };
        for entry in entries {
            let path = entry.subject(|| format!("directory {}", holds.display()))?.path();
            let subject = || format!("file {}", path.display());
            let mut file = match File::open(&path) {
                // Its owner let go of it just now.
                Err(e) if e.kind() == std::io::ErrorKind::NotFound => continue,
                file => file.subject(subject)?,
            };
            match file.try_lock() {
                Ok(()) => fs::remove_file(&path).or_else(ignore_absent).subject(subject)?,
                Err(TryLockError::WouldBlock) => {
                    let mut text = String::new();
                    file.read_to_string(&mut text).subject(subject)?;
                    held.extend(text.lines().filter(|line| !line.is_empty()).map(str::to_owned));
                }
                Err(TryLockError::Error(e)) => return Err(Error::io(subject(), e)),
            }
        }
        Ok(held)
    }
}

fn ignore_absent(e: std::io::Error) -> std::io::Result<()> {
    if e.kind() == std::io::ErrorKind::NotFound { Ok(()) } else { Err(e) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_held_is_seen_and_a_dead_owner_s_hold_is_not() {
        let root = tempfile::tempdir().expect("a directory");
        let mut hold = Hold::take(root.path(), vec!["a".into(), "b".into()]).await.expect("held");
        hold.extend_now(&["c".into()]).expect("held");
        fs::write(root.path().join(HOLDS).join("dead"), "d\n").expect("written");
        let held = collecting(root.path()).await.expect("locked").held().expect("read");
        assert_eq!(held, ["a", "b", "c"].map(str::to_owned).into());
        assert!(!root.path().join(HOLDS).join("dead").exists());
        drop(hold);
        assert!(collecting(root.path()).await.expect("locked").held().expect("read").is_empty());
    }

    #[tokio::test]
    async fn a_collector_waits_for_quiet_to_end() {
        let root = tempfile::tempdir().expect("a directory");
        let first = quiet(root.path()).await.expect("locked");
        let second = quiet(root.path()).await.expect("shared");
        let path = root.path().to_owned();
        let collector = tokio::spawn(async move { collecting(&path).await.map(drop) });
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        assert!(!collector.is_finished());
        drop((first, second));
        collector.await.expect("no panic").expect("locked");
    }
}
