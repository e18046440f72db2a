//! Blobs of the store as the service uses them: documents whole, layers as streams.

use std::io::{Cursor, Read};

use bytes::Bytes;

use super::driver::ImageStore;
use crate::error::{Error, ErrorKind, Result, Subject};
use crate::id::Digest;
use crate::spec::Compression;
use crate::store::blocking;

/// Puts a document into the store, whose digest is `digest`. That it is there already is fine.
pub(super) async fn put(store: &dyn ImageStore, digest: &Digest, bytes: &Bytes) -> Result<()> {
    if store.stat(digest).await?.is_some() {
        return Ok(());
    }
    let mut writer = store.begin(digest, bytes.len() as u64).await?;
    if store.stat(digest).await?.is_some() {
        return Ok(());
    }
    let bytes = bytes.clone();
    blocking(move || {
        if writer.offset() > 0 {
            writer.restart()?;
        }
        writer.write(&bytes)?;
        writer.finish()
    })
    .await
}

/// A document of the store.
///
/// # Errors
/// [`ErrorKind::NotFound`], [`ErrorKind::LimitExceeded`] if it is larger than `limit`, [`ErrorKind::Corrupt`] if it
/// is not what its digest says.
pub(super) async fn get(store: &dyn ImageStore, digest: &Digest, limit: u64) -> Result<Bytes> {
    let reader = store.read(digest, 0).await?;
    let digest = digest.clone();
    blocking(move || {
        let mut bytes = Vec::new();
        reader.take(limit + 1).read_to_end(&mut bytes).subject(|| format!("blob {digest}"))?;
        if bytes.len() as u64 > limit {
            return Err(Error::new(ErrorKind::LimitExceeded, format!("blob {digest}"))
                .because(format!("a document has at most {limit} bytes")));
        }
        if Digest::of(&bytes) != digest {
            return Err(Error::new(ErrorKind::Corrupt, format!("blob {digest}"))
                .because("its content is not what its digest says"));
        }
        Ok(Bytes::from(bytes))
    })
    .await
}

/// A layer's blob as a stream, and how its first bytes say it is compressed.
pub(super) async fn open(
    store: &dyn ImageStore,
    digest: &Digest,
) -> Result<(Compression, Box<dyn Read + Send>)> {
    let mut content = store.read(digest, 0).await?;
    let digest = digest.clone();
    blocking(move || {
        let mut head = Vec::with_capacity(Compression::SNIFF);
        content
            .by_ref()
            .take(Compression::SNIFF as u64)
            .read_to_end(&mut head)
            .subject(|| format!("blob {digest}"))?;
        let compression = Compression::sniff(&head);
        Ok((compression, Box::new(Cursor::new(head).chain(content)) as Box<dyn Read + Send>))
    })
    .await
}
