//! Writes one blob: the digest is computed on the way, so that nothing is read twice.

use std::fs::File;
use std::io::Read;
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;

use sha2::{Digest as _, Sha256};

use super::OverlayStore;
use super::blobs::subject;
use crate::error::{Error, ErrorKind, Result, Subject};
use crate::id::Digest;
use crate::image::driver::BlobWriter;
use crate::sys::fault;

/// The buffer with which the bytes of an interrupted writer are read again.
const BUFFER: usize = 256 << 10;

/// What a blob must turn out to be, and what was seen of it.
struct Expected {
    digest: Digest,
    size: u64,
    seen: u64,
    hash: Sha256,
}

impl Expected {
    fn see(&mut self, bytes: &[u8]) -> Result<()> {
        let seen = self.seen + bytes.len() as u64;
        if seen > self.size {
            return Err(Error::new(ErrorKind::Corrupt, subject(&self.digest))
                .because(format!("it has more than the {} bytes that were announced", self.size)));
        }
        self.hash.update(bytes);
        self.seen = seen;
        Ok(())
    }

    fn restart(&mut self) {
        self.seen = 0;
        self.hash = Sha256::new();
    }

    fn check(self) -> Result<()> {
        let corrupt =
            |reason: String| Err(Error::new(ErrorKind::Corrupt, subject(&self.digest)).because(reason));
        if self.seen != self.size {
            return corrupt(format!("it has {} bytes, {} were announced", self.seen, self.size));
        }
        let digest = Digest::from_sha256(&self.hash.finalize());
        if digest != self.digest {
            return corrupt(format!("its content has the digest {digest}"));
        }
        Ok(())
    }
}

/// A blob that is being written. The lock on its file ends with it.
pub(super) struct PartialBlob {
    store: OverlayStore,
    file: File,
    expected: Expected,
}

impl PartialBlob {
    /// Goes on with what is in `file`, which is locked.
    pub(super) fn resume(store: OverlayStore, file: File, digest: &Digest, size: u64) -> Result<PartialBlob> {
        let expected = Expected { digest: digest.clone(), size, seen: 0, hash: Sha256::new() };
        let mut blob = PartialBlob { store, file, expected };
        let length = blob.file.metadata().subject(|| subject(digest))?.len();
        if length > size {
            blob.restart()?;
        } else if length > 0 {
            let mut buffer = vec![0; BUFFER];
            let mut existing = Range { file: blob.clone_file()?, at: 0, end: length };
            loop {
                match existing.read(&mut buffer).subject(|| subject(digest))? {
                    0 => break,
                    count => blob.expected.see(&buffer[..count])?,
                }
            }
        }
        Ok(blob)
    }

    fn clone_file(&self) -> Result<File> {
        self.file.try_clone().subject(|| subject(&self.expected.digest))
    }
}

impl BlobWriter for PartialBlob {
    fn offset(&self) -> u64 {
        self.expected.seen
    }

    fn existing(&self) -> Result<Box<dyn Read + Send>> {
        Ok(Box::new(Range { file: self.clone_file()?, at: 0, end: self.expected.seen }))
    }

    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        let at = self.expected.seen;
        self.expected.see(bytes)?;
        self.file.write_all_at(bytes, at).subject(|| subject(&self.expected.digest))
    }

    fn restart(&mut self) -> Result<()> {
        self.expected.restart();
        self.file.set_len(0).subject(|| subject(&self.expected.digest))
    }

    fn finish(self: Box<Self>) -> Result<()> {
        let PartialBlob { store, file, expected } = *self;
        let digest = expected.digest.clone();
        if let Err(error) = expected.check() {
            store.drop_partial(&digest);
            return Err(error);
        }
        rustix::fs::fdatasync(file.as_fd()).subject(|| subject(&digest))?;
        fault::point("blob.written");
        store.publish_blob(&digest)
    }
}

/// A blob that is there already: what is written again is checked, and stored no second time.
pub(super) struct PresentBlob {
    file: File,
    expected: Expected,
    /// Whether it was asked to begin again, so that the bytes are seen after all.
    restarted: bool,
}

impl PresentBlob {
    pub(super) fn new(file: File, digest: &Digest, size: u64) -> Result<PresentBlob> {
        let length = file.metadata().subject(|| subject(digest))?.len();
        if length != size {
            return Err(Error::new(ErrorKind::Corrupt, subject(digest))
                .because(format!("it has {length} bytes, {size} were announced")));
        }
        let expected = Expected { digest: digest.clone(), size, seen: size, hash: Sha256::new() };
        Ok(PresentBlob { file, expected, restarted: false })
    }
}

impl BlobWriter for PresentBlob {
    fn offset(&self) -> u64 {
        self.expected.seen
    }

    fn existing(&self) -> Result<Box<dyn Read + Send>> {
        let file = self.file.try_clone().subject(|| subject(&self.expected.digest))?;
        Ok(Box::new(Range { file, at: 0, end: self.expected.seen }))
    }

    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.expected.see(bytes)
    }

    fn restart(&mut self) -> Result<()> {
        self.restarted = true;
        self.expected.restart();
        Ok(())
    }

    fn finish(self: Box<Self>) -> Result<()> {
        if self.restarted { self.expected.check() } else { Ok(()) }
    }
}

/// The bytes of a file from `at` to `end`, whatever the position of its descriptor is.
struct Range {
    file: File,
    at: u64,
    end: u64,
}

impl Read for Range {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let left = usize::try_from(self.end - self.at).unwrap_or(usize::MAX).min(buffer.len());
        let count = self.file.read_at(&mut buffer[..left], self.at)?;
        self.at += count as u64;
        Ok(count)
    }
}
