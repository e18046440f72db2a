//! A registry in memory that can be told to misbehave.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use serde_json::{Value, json};

use super::{Layer, config};
use crate::error::{Error, ErrorKind, Result};
use crate::id::{Digest, ImageId};
use crate::image::manifest::{OCI_CONFIG, OCI_INDEX, OCI_MANIFEST};
use crate::reference::Reference;
use crate::registry::driver::{BlobStream, Credential, Document, Registry};
use crate::spec::Descriptor;

/// What goes wrong with one transfer of a blob.
#[derive(Clone, Copy)]
pub(super) enum Fault {
    /// It breaks after so many bytes.
    Cut(usize),
    /// It ends after so many bytes as if that were all.
    Short(usize),
    /// Its last byte is another one.
    Wrong,
    /// Nothing more arrives after so many bytes.
    Hang(usize),
    /// It begins at 0, whatever was asked for.
    Whole,
}

#[derive(Default)]
struct Content {
    documents: HashMap<String, Document>,
    blobs: HashMap<Digest, Bytes>,
    faults: HashMap<Digest, VecDeque<Fault>>,
    asked: Vec<(Digest, u64)>,
}

pub(super) struct Fake(Mutex<Content>);

impl Fake {
    pub(super) fn new() -> Arc<Fake> {
        Arc::new(Fake(Mutex::default()))
    }

    fn content(&self) -> std::sync::MutexGuard<'_, Content> {
        self.0.lock().expect("no panic")
    }

    /// Serves an image as `tag`; gives its identifier and the digest of its manifest.
    pub(super) fn image(&self, tag: &str, layers: &[Layer], more: Value) -> (ImageId, Digest) {
        let config = config(layers, more);
        let listed: Vec<Value> = layers
            .iter()
            .map(|layer| {
                self.blob(&layer.blob);
                json!({"mediaType": layer.media_type, "digest": layer.digest(), "size": layer.blob.len()})
            })
            .collect();
        let id = self.blob(&config);
        let manifest = json!({"schemaVersion": 2, "mediaType": OCI_MANIFEST, "layers": listed,
            "config": {"mediaType": OCI_CONFIG, "digest": id, "size": config.len()}});
        (id, self.document(tag, OCI_MANIFEST, manifest.to_string()))
    }

    /// Serves an index as `tag`: of manifests by platform.
    pub(super) fn index(&self, tag: &str, entries: &[(&str, Digest)]) -> Digest {
        let entries: Vec<Value> = entries
            .iter()
            .map(|(platform, digest)| {
                let (os, architecture) = platform.split_once('/').expect("a platform");
                json!({"mediaType": OCI_MANIFEST, "digest": digest, "size": 1,
                    "platform": {"os": os, "architecture": architecture}})
            })
            .collect();
        let index = json!({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": entries});
        self.document(tag, OCI_INDEX, index.to_string())
    }

    pub(super) fn document(&self, tag: &str, media_type: &str, text: String) -> Digest {
        let bytes = Bytes::from(text);
        let digest = Digest::of(&bytes);
        let descriptor = Descriptor::new(media_type, digest.clone(), bytes.len() as u64);
        let document = Document { descriptor, bytes };
        let mut content = self.content();
        content.documents.insert(tag.to_owned(), document.clone());
        content.documents.insert(digest.to_string(), document);
        digest
    }

    pub(super) fn blob(&self, bytes: &[u8]) -> Digest {
        let digest = Digest::of(bytes);
        self.content().blobs.insert(digest.clone(), Bytes::copy_from_slice(bytes));
        digest
    }

    /// The next transfers of the blob go wrong so, one after another.
    pub(super) fn fail(&self, blob: &Digest, faults: &[Fault]) {
        self.content().faults.entry(blob.clone()).or_default().extend(faults);
    }

    /// From which offsets the blob was asked for.
    pub(super) fn asked(&self, blob: &Digest) -> Vec<u64> {
        self.content().asked.iter().filter(|(asked, _)| asked == blob).map(|(_, offset)| *offset).collect()
    }
}

#[async_trait]
impl Registry for Fake {
    async fn manifest(&self, reference: &Reference, _: Option<&Credential>) -> Result<Document> {
        let key = match (reference.digest(), reference.tag()) {
            (Some(digest), _) => digest.to_string(),
            (None, tag) => tag.unwrap_or_default().to_owned(),
        };
        let found = self.content().documents.get(&key).cloned();
        found.ok_or_else(|| Error::not_found(format!("manifest {reference}")))
    }

    async fn blob(
        &self,
        _: &Reference,
        blob: &Descriptor,
        offset: u64,
        _: Option<&Credential>,
    ) -> Result<BlobStream> {
        let (bytes, fault) = {
            let mut content = self.content();
            content.asked.push((blob.digest.clone(), offset));
            let fault = content.faults.get_mut(&blob.digest).and_then(VecDeque::pop_front);
            let found = content.blobs.get(&blob.digest).cloned();
            (found.ok_or_else(|| Error::not_found(format!("blob {}", blob.digest)))?, fault)
        };
        let offset = if matches!(fault, Some(Fault::Whole)) { 0 } else { offset };
        let mut rest = bytes.slice(usize::try_from(offset).expect("small")..);
        if let Some(Fault::Cut(n) | Fault::Short(n) | Fault::Hang(n)) = fault {
            rest.truncate(n);
        }
        if let Some(Fault::Wrong) = fault {
            let mut wrong = rest.to_vec();
            *wrong.last_mut().expect("not empty") ^= 1;
            rest = wrong.into();
        }
        let pieces: Vec<Result<Bytes>> =
            rest.chunks(10_000).map(|piece| Ok(Bytes::copy_from_slice(piece))).collect();
        let end = match fault {
            Some(Fault::Cut(_)) => {
                let cut = Error::new(ErrorKind::Unavailable, "transfer").because("the connection broke");
                stream::iter([Err(cut)]).boxed()
            }
            Some(Fault::Hang(_)) => stream::pending().boxed(),
            _ => stream::empty().boxed(),
        };
        Ok(BlobStream { offset, bytes: stream::iter(pieces).chain(end).boxed() })
    }

    async fn tags(&self, _: &Reference, _: Option<&Credential>) -> Result<Vec<String>> {
        Ok(self.content().documents.keys().cloned().collect())
    }
}
