//! The data of an entry on its way into a file.

use std::os::fd::AsFd;

use rustix::fs::{Timespec, Timestamps};
use rustix::io::Errno;

use super::{Archive, Entry, Source, entry_name};
use crate::error::{Error, ErrorKind, Result};

impl<S: Source> Archive<S> {
    /// Writes the data of the present entry into the new file made for it, each piece where it belongs, straight from
    /// the buffer it came in.
    ///
    /// # Errors
    /// What `failed` makes of the file's errno, and failures of the archive.
    pub(crate) fn extract(
        &mut self,
        entry: &Entry,
        file: impl AsFd,
        failed: impl Fn(&Entry, Errno) -> Error,
    ) -> Result<()> {
        let Some(sparse) = &entry.sparse else {
            return self.extract_piece(entry, &file, (0, entry.size), &failed);
        };
        for piece in &sparse.pieces {
            self.extract_piece(entry, &file, *piece, &failed)?;
        }
        rustix::fs::ftruncate(&file, sparse.size).map_err(|e| failed(entry, e))
    }

    fn extract_piece(
        &mut self,
        entry: &Entry,
        file: &impl AsFd,
        (mut offset, length): (u64, u64),
        failed: &impl Fn(&Entry, Errno) -> Error,
    ) -> Result<()> {
        let end = offset.checked_add(length).ok_or_else(|| {
            Error::new(ErrorKind::InvalidInput, entry_name(&entry.path)).because("it is too long")
        })?;
        while offset < end {
            let data = self.data()?;
            let count = usize::try_from(end - offset).map_or(data.len(), |left| left.min(data.len()));
            if count == 0 {
                return Err(Error::internal("archive", "it gives less data than an entry has"));
            }
            match rustix::io::pwrite(file, &data[..count], offset) {
                Ok(written) => {
                    self.consume(written);
                    offset += written as u64;
                }
                Err(Errno::INTR) => {}
                Err(errno) => return Err(failed(entry, errno)),
            }
        }
        Ok(())
    }
}

/// The time of an entry, for a file: read and changed then.
pub(crate) fn timestamps((tv_sec, nanos): (i64, u32)) -> Timestamps {
    let time = Timespec { tv_sec, tv_nsec: nanos.into() };
    Timestamps { last_access: time, last_modification: time }
}
