//! A repository of a registry as a pull sees it: with its credential, and with patience where the network has none.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;

use super::info::PullSpec;
use super::manifest::{self, Manifest, Parsed};
use super::select;
use crate::error::{Error, ErrorKind, Result};
use crate::id::Digest;
use crate::parts::Parts;
use crate::reference::Reference;
use crate::registry::credentials;
use crate::registry::driver::{BlobStream, Credential, Document, Registry};
use crate::spec::{Descriptor, Platform};

/// How often a transfer is begun before it is given up. One that got on meanwhile begins to count anew.
const ATTEMPTS: u32 = 5;
/// How far a transfer must have got to count anew.
const PROGRESS: u64 = 1 << 20;
/// The pause before the second attempt; it doubles from attempt to attempt.
const PAUSE: Duration = Duration::from_millis(if cfg!(test) { 10 } else { 300 });
/// How long nothing may arrive before a transfer counts as broken.
const STALL: Duration = Duration::from_secs(if cfg!(test) { 1 } else { 60 });
/// How deep indexes may nest.
const DEPTH: usize = 4;

/// A repository, and who asks.
pub(super) struct Remote {
    registry: Arc<dyn Registry>,
    pub(super) reference: Reference,
    credential: Option<Credential>,
    /// Why the user's configuration gave no credential.
    trouble: Option<Error>,
}

/// What a reference led to.
pub(super) struct Resolved {
    /// The digest of what it named itself: of the index, if it is one.
    pub(super) root: Digest,
    /// The manifest's digest and size, and what it says.
    pub(super) descriptor: Descriptor,
    pub(super) manifest: Manifest,
    /// The manifest byte for byte.
    pub(super) bytes: Bytes,
}

impl Remote {
    /// The repository of the wish. Of the credentials the one of the wish comes first, then the program's, then
    /// that of the user's configuration; without any the request is anonymous.
    pub(super) async fn of(parts: &Parts, pull: &PullSpec) -> Remote {
        let registry = pull.reference.registry();
        let config = parts.docker_config.as_ref().map(|folder| folder.join("config.json"));
        let (credential, trouble) = match pull.credential.as_ref().or_else(|| parts.credentials.get(registry))
        {
            Some(credential) => (Some(credential.clone()), None),
            None => match credentials::find(config.as_deref(), registry).await {
                Ok(credential) => (credential, None),
                // Most images need none; if this one does, it is told.
                Err(trouble) => (None, Some(trouble)),
            },
        };
        Remote {
            registry: Arc::clone(&parts.registry),
            reference: pull.reference.clone(),
            credential,
            trouble,
        }
    }

    fn subject(&self) -> String {
        format!("image {}", self.reference.familiar())
    }

    /// The manifest for the platform, through as many indexes as it takes.
    pub(super) async fn resolve(&mut self, wanted: &Platform) -> Result<Resolved> {
        let subject = self.subject();
        let mut document = match self.document(&self.reference).await {
            Ok(document) => document,
            Err(error) => return Err(self.explained(error)),
        };
        let root = document.descriptor.digest.clone();
        for _ in 0..DEPTH {
            let declared = document.descriptor.media_type.as_str();
            match manifest::parse(&subject, Some(declared), &document.bytes)? {
                Parsed::Manifest(manifest) => {
                    let Document { descriptor, bytes } = document;
                    return Ok(Resolved { root, descriptor, manifest, bytes });
                }
                Parsed::Index(index) => {
                    let entry = select::choose(&subject, &index, wanted)?;
                    document = self.document(&self.reference.at_digest(entry.digest.clone())).await?;
                    if document.descriptor.digest != entry.digest {
                        return Err(Error::new(ErrorKind::Corrupt, subject)
                            .because("the registry sent another manifest than the index names"));
                    }
                }
            }
        }
        Err(Error::new(ErrorKind::LimitExceeded, subject)
            .because(format!("its index nests more than {DEPTH} levels deep")))
    }

    /// The tags of the repository.
    pub(super) async fn tags(mut self) -> Result<Vec<String>> {
        let tags = self.registry.tags(&self.reference, self.credential.as_ref()).await;
        tags.map_err(|error| self.explained(error))
    }

    /// A refusal, with the reason why there was no credential to show, if that is known.
    fn explained(&mut self, error: Error) -> Error {
        match self.trouble.take() {
            Some(trouble) if error.is(ErrorKind::Unauthorized) => {
                Error::new(ErrorKind::Unauthorized, self.subject())
                    .because(format!("{error}; no credential could be had"))
                    .caused_by(trouble)
            }
            _ => error,
        }
    }

    /// The client tries again by itself where that may help; nothing is lost when it gives up.
    async fn document(&self, reference: &Reference) -> Result<Document> {
        self.registry.manifest(reference, self.credential.as_ref()).await
    }

    /// A small blob, whole and verified.
    pub(super) async fn small(&self, blob: &Descriptor, limit: u64) -> Result<Bytes> {
        if blob.size > limit {
            return Err(Error::new(ErrorKind::LimitExceeded, self.subject())
                .because(format!("{} has {} bytes; the limit is {limit}", blob.digest, blob.size)));
        }
        let mut whole = BytesMut::new();
        let take = |bytes: Bytes| {
            whole.extend_from_slice(&bytes);
            std::future::ready(Ok(()))
        };
        self.fetch(blob, 0, take, |_, _| {}).await?;
        let bytes = whole.freeze();
        if Digest::of(&bytes) != blob.digest {
            return Err(Error::new(ErrorKind::Corrupt, self.subject())
                .because(format!("the registry sent something else than {}", blob.digest)));
        }
        Ok(bytes)
    }

    /// The content of the blob from `offset` on.
    async fn part(&self, blob: &Descriptor, offset: u64) -> Result<Part> {
        let BlobStream { offset: from, bytes } =
            self.registry.blob(&self.reference, blob, offset, self.credential.as_ref()).await?;
        // A registry that cannot send parts begins at 0: what is there already is skipped, not unpacked again.
        let skip = offset.checked_sub(from).ok_or_else(|| {
            Error::new(ErrorKind::Unavailable, format!("layer {}", blob.digest))
                .because(format!("the registry sent it from byte {from} instead of {offset}"))
        })?;
        Ok(Part { bytes, skip })
    }

    /// Hands the content of the blob from `offset` on to `take`, in order, through as many transfers as it takes;
    /// `broke` hears of those that broke.
    pub(super) async fn fetch<F>(
        &self,
        blob: &Descriptor,
        offset: u64,
        mut take: impl FnMut(Bytes) -> F,
        broke: impl FnMut(u32, &Error),
    ) -> Result<()>
    where
        F: Future<Output = Result<()>>,
    {
        let mut have = offset;
        let mut patience = Patience::new(broke);
        while have < blob.size {
            let before = have;
            let transfer = async {
                let mut content = self.part(blob, have).await?;
                while let Some(chunk) = content.next().await? {
                    if have + chunk.len() as u64 > blob.size {
                        return Err(Error::new(ErrorKind::Corrupt, format!("layer {}", blob.digest))
                            .because(format!("the registry sent more than the {} bytes it has", blob.size)));
                    }
                    have += chunk.len() as u64;
                    take(chunk).await?;
                }
                if have < blob.size { Err(ended_early(blob, have)) } else { Ok(()) }
            };
            if let Err(error) = transfer.await {
                if have - before >= PROGRESS {
                    patience.attempt = 1;
                }
                patience.pause(error).await?;
            }
        }
        Ok(())
    }
}

/// The rest of a blob as it arrives.
struct Part {
    bytes: std::pin::Pin<Box<dyn futures_util::Stream<Item = Result<Bytes>> + Send>>,
    skip: u64,
}

impl Part {
    async fn next(&mut self) -> Result<Option<Bytes>> {
        loop {
            let next = tokio::time::timeout(STALL, self.bytes.next()).await.map_err(|_| {
                Error::new(ErrorKind::TimedOut, "transfer")
                    .because(format!("nothing arrived for {} seconds", STALL.as_secs()))
            })?;
            let Some(mut chunk) = next.transpose()? else { return Ok(None) };
            let skipped = usize::try_from(self.skip).unwrap_or(usize::MAX).min(chunk.len());
            self.skip -= skipped as u64;
            bytes::Buf::advance(&mut chunk, skipped);
            if !chunk.is_empty() {
                return Ok(Some(chunk));
            }
        }
    }
}

fn ended_early(blob: &Descriptor, have: u64) -> Error {
    Error::new(ErrorKind::Unavailable, format!("layer {}", blob.digest))
        .because(format!("the transfer ended after {have} of {} bytes", blob.size))
}

/// Whether another attempt may end better: as the contract of the client has it.
fn may_pass(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::Unavailable | ErrorKind::TimedOut)
}

struct Patience<B> {
    attempt: u32,
    broke: B,
}

impl<B: FnMut(u32, &Error)> Patience<B> {
    fn new(broke: B) -> Patience<B> {
        Patience { attempt: 1, broke }
    }

    /// Waits before the next attempt, or gives the error back if there is none.
    async fn pause(&mut self, error: Error) -> Result<()> {
        if self.attempt >= ATTEMPTS || !may_pass(&error) {
            return Err(error);
        }
        (self.broke)(self.attempt, &error);
        tokio::time::sleep(PAUSE * 2u32.pow(self.attempt - 1)).await;
        self.attempt += 1;
        Ok(())
    }
}
