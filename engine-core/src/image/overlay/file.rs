//! The regular files of a layer.

use std::ffi::OsStr;
use std::os::fd::{AsFd, BorrowedFd};

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use super::attributes::set_attributes;
use super::tar::{Archive, Entry, Source, timestamps};
use super::tree::{Tree, failed};
use crate::error::Result;

/// Makes the file `name` in `parent` with the data that `archive` gives.
pub(super) fn write<S: Source>(
    tree: &mut Tree<'_>,
    entry: &Entry,
    archive: &mut Archive<S>,
    parent: BorrowedFd<'_>,
    name: &OsStr,
) -> Result<()> {
    tree.count(entry.sparse.as_ref().map_or(entry.size, |sparse| sparse.size), entry.size)?;
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let create = || rustix::fs::openat(parent, name, flags, Mode::from_raw_mode(0o600));
    let mut created = create();
    if matches!(created, Err(Errno::EXIST)) {
        tree.make_room(parent, name).map_err(|e| failed(entry, e))?;
        created = create();
    }
    let file = created.map_err(|e| failed(entry, e))?;
    archive.extract(entry, &file, failed)?;
    set_attributes(entry, file.as_fd())?;
    rustix::fs::futimens(&file, &timestamps(entry.mtime)).map_err(|e| failed(entry, e))
}
