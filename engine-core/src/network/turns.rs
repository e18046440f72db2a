//! Who records and who sweeps take turns.
//!
//! A sweep removes what belongs to no record. One that read the records a moment ago must not remove what was recorded
//! and made since: whoever records keeps sweepers away for the length of a transaction, and a sweeper everybody else
//! for the length of the sweep. A lock is an flock(2), so it ends with its holder.

use std::fs::File;
use std::path::Path;

use crate::error::{Result, Subject};

const LOCK: &str = "networks.lock";

/// The right to record, or to sweep; given back when dropped.
#[derive(Debug)]
pub(super) struct Turn {
    _file: File,
}

impl Turn {
    /// To record in the store directory `root`. Blocks while somebody sweeps.
    pub(super) fn to_record(root: &Path) -> Result<Turn> {
        let file = open(root)?;
        file.lock_shared().subject(|| subject(root))?;
        Ok(Turn { _file: file })
    }

    /// To sweep. Blocks while somebody records.
    pub(super) fn to_sweep(root: &Path) -> Result<Turn> {
        let file = open(root)?;
        file.lock().subject(|| subject(root))?;
        Ok(Turn { _file: file })
    }
}

fn open(root: &Path) -> Result<File> {
    let path = root.join(LOCK);
    File::options().create(true).truncate(false).write(true).open(&path).subject(|| subject(root))
}

fn subject(root: &Path) -> String {
    format!("lock {}", root.join(LOCK).display())
}
