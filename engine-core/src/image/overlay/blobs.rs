//! Blobs: files named by their digest.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::os::fd::{AsFd, BorrowedFd};

use async_trait::async_trait;
use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags};
use rustix::io::Errno;

use super::blob_writer::{PartialBlob, PresentBlob};
use super::{OverlayStore, claim};
use crate::error::{Error, Faults, Result, Subject};
use crate::id::Digest;
use crate::image::driver::{BlobStore, BlobWriter};
use crate::store::blocking;

#[async_trait]
impl BlobStore for OverlayStore {
    async fn stat(&self, digest: &Digest) -> Result<Option<u64>> {
        let (store, digest) = (self.clone(), digest.clone());
        blocking(move || store.blob_size(&digest)).await
    }

    async fn read(&self, digest: &Digest, offset: u64) -> Result<Box<dyn Read + Send>> {
        let (store, digest) = (self.clone(), digest.clone());
        blocking(move || {
            let mut file = store.open_blob(&digest)?.ok_or_else(|| Error::not_found(subject(&digest)))?;
            file.seek(SeekFrom::Start(offset)).subject(|| subject(&digest))?;
            Ok(Box::new(file) as Box<dyn Read + Send>)
        })
        .await
    }

    async fn begin(&self, digest: &Digest, size: u64) -> Result<Box<dyn BlobWriter>> {
        let (store, digest) = (self.clone(), digest.clone());
        claim::wait_for(move || store.try_begin(&digest, size)).await
    }

    async fn delete(&self, digest: &Digest) -> Result<()> {
        let (store, digest) = (self.clone(), digest.clone());
        blocking(move || match rustix::fs::unlinkat(&store.0.blobs, digest.encoded(), AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(errno) => Err(errno).subject(|| subject(&digest)),
        })
        .await
    }

    async fn list(&self) -> Result<Vec<(Digest, u64)>> {
        let store = self.clone();
        blocking(move || {
            let mut blobs = Vec::new();
            each_file(store.0.blobs.as_fd(), |name| {
                if let Ok(digest) = format!("sha256:{}", name.to_string_lossy()).parse::<Digest>()
                    && let Some(size) = store.blob_size(&digest)?
                {
                    blobs.push((digest, size));
                }
                Ok(())
            })?;
            Ok(blobs)
        })
        .await
    }

    async fn sweep(&self) -> Result<u64> {
        let store = self.clone();
        blocking(move || store.sweep_blobs()).await
    }
}

impl OverlayStore {
    fn open_blob(&self, digest: &Digest) -> Result<Option<File>> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        match rustix::fs::openat(&self.0.blobs, digest.encoded(), flags, Mode::empty()) {
            Ok(file) => Ok(Some(File::from(file))),
            Err(Errno::NOENT) => Ok(None),
            Err(errno) => Err(errno).subject(|| subject(digest)),
        }
    }

    fn blob_size(&self, digest: &Digest) -> Result<Option<u64>> {
        match rustix::fs::statat(&self.0.blobs, digest.encoded(), AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => Ok(Some(stat.st_size.cast_unsigned())),
            Err(Errno::NOENT) => Ok(None),
            Err(errno) => Err(errno).subject(|| subject(digest)),
        }
    }

    /// A writer, or `None` while somebody else is at the blob.
    fn try_begin(&self, digest: &Digest, size: u64) -> Result<Option<Box<dyn BlobWriter>>> {
        // Who waited for another writer finds the blob there: then there is nothing left to write.
        if let Some(file) = self.open_blob(digest)? {
            return Ok(Some(Box::new(PresentBlob::new(file, digest, size)?)));
        }
        let name = OsStr::new(digest.encoded());
        let Some(file) = claim::file(self.0.ingest.as_fd(), name).subject(|| subject(digest))? else {
            return Ok(None);
        };
        // It may have been finished between the look and the lock.
        if let Some(present) = self.open_blob(digest)? {
            let _ = rustix::fs::unlinkat(&self.0.ingest, name, AtFlags::empty());
            return Ok(Some(Box::new(PresentBlob::new(present, digest, size)?)));
        }
        Ok(Some(Box::new(PartialBlob::resume(self.clone(), file, digest, size)?)))
    }

    /// Makes the file that was written, and synced, the blob.
    pub(super) fn publish_blob(&self, digest: &Digest) -> Result<()> {
        let name = digest.encoded();
        rustix::fs::renameat(&self.0.ingest, name, &self.0.blobs, name).subject(|| subject(digest))?;
        rustix::fs::fsync(&self.0.blobs).subject(|| subject(digest))
    }

    /// Throws the file away that turned out not to be the blob.
    pub(super) fn drop_partial(&self, digest: &Digest) {
        // What stays here is no blob, and the next writer or sweep finds it.
        let _ = rustix::fs::unlinkat(&self.0.ingest, digest.encoded(), AtFlags::empty());
    }

    fn sweep_blobs(&self) -> Result<u64> {
        let mut freed = 0;
        let mut faults = Faults::new();
        let ingest = self.0.ingest.as_fd();
        each_file(ingest, |name| {
            let swept = (|| {
                let Some(abandoned) = claim::existing(ingest, name, OFlags::empty())? else { return Ok(0) };
                let size = rustix::fs::fstat(&abandoned)?.st_size.cast_unsigned();
                rustix::fs::unlinkat(ingest, name, AtFlags::empty())?;
                rustix::io::Result::Ok(size)
            })();
            match swept.subject(|| format!("partial blob {}", name.display())) {
                Ok(size) => freed += size,
                Err(error) => faults.note::<()>(Err(error)),
            }
            Ok(())
        })?;
        faults.into_result()?;
        Ok(freed)
    }
}

/// Calls `visit` with the name of every regular file in the directory.
fn each_file(directory: BorrowedFd<'_>, mut visit: impl FnMut(&OsStr) -> Result<()>) -> Result<()> {
    use std::os::unix::ffi::OsStrExt;
    let subject = || "blobs of the store".to_owned();
    for entry in Dir::read_from(directory).subject(subject)? {
        let entry = entry.subject(subject)?;
        if matches!(entry.file_type(), FileType::RegularFile | FileType::Unknown) {
            visit(OsStr::from_bytes(entry.file_name().to_bytes()))?;
        }
    }
    Ok(())
}

pub(super) fn subject(digest: &Digest) -> String {
    format!("blob {digest}")
}
