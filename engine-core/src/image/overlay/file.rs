//! The regular files of a layer.

use std::ffi::OsStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use super::attributes::{set_attributes, timestamps};
use super::tar::{Archive, Entry, Source};
use super::tree::{Tree, failed};
use crate::error::{Error, Result};

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
    match &entry.sparse {
        None => copy(entry, archive, &file, 0, entry.size)?,
        Some(sparse) => {
            for (offset, length) in &sparse.pieces {
                copy(entry, archive, &file, *offset, *length)?;
            }
            rustix::fs::ftruncate(&file, sparse.size).map_err(|e| failed(entry, e))?;
        }
    }
    set_attributes(entry, file.as_fd())?;
    rustix::fs::futimens(&file, &timestamps(entry.mtime)).map_err(|e| failed(entry, e))
}

/// Copies `length` bytes of data to `offset`, straight from the buffer they were decompressed into.
fn copy<S: Source>(
    entry: &Entry,
    archive: &mut Archive<S>,
    file: &OwnedFd,
    mut offset: u64,
    length: u64,
) -> Result<()> {
    let end = offset + length;
    while offset < end {
        let data = archive.data()?;
        let count = usize::try_from(end - offset).map_or(data.len(), |left| left.min(data.len()));
        if count == 0 {
            return Err(Error::internal("archive", "it gives less data than an entry has"));
        }
        match rustix::io::pwrite(file, &data[..count], offset) {
            Ok(written) => {
                archive.consume(written);
                offset += written as u64;
            }
            Err(Errno::INTR) => {}
            Err(errno) => return Err(failed(entry, errno)),
        }
    }
    Ok(())
}
