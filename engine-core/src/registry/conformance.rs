//! What any [`Registry`] must do, checked against a registry that is really there. A failed check panics and says
//! what was promised.

#![expect(clippy::expect_used, reason = "a suite fails by panicking, as tests do")]

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;

use super::driver::{BlobStream, Credential, Document, Registry};
use crate::error::{Error, ErrorKind, Result};
use crate::id::Digest;
use crate::reference::Reference;
use crate::spec::Descriptor;

/// What the registry under test has.
#[derive(Clone, Debug)]
pub struct Peer {
    /// An image, by tag, in a repository with no other tags.
    pub reference: Reference,
    /// Its manifest or index.
    pub manifest: Document,
    /// A blob of the same repository, of at least 64 KiB, with its content.
    pub blob: (Descriptor, Bytes),
    /// What the registry wants to see, if it wants to see something.
    pub credential: Option<Credential>,
}

/// Runs all checks.
pub async fn check(registry: Arc<dyn Registry>, peer: &Peer) {
    manifests_come_whole_and_by_their_digest(&*registry, peer).await;
    what_is_not_there_is_not_found(&*registry, peer).await;
    blobs_come_from_any_offset(&*registry, peer).await;
    no_blob_is_longer_than_announced(&*registry, peer).await;
    blobs_come_side_by_side(registry.clone(), peer).await;
    tags_are_listed(&*registry, peer).await;
    strangers_are_told_to_log_in(&*registry, peer).await;
    a_registry_that_is_not_there_is_unavailable(&*registry, peer).await;
}

/// All bytes of the blob, up to the first failure.
async fn read(mut stream: BlobStream) -> (Bytes, Option<Error>) {
    let mut content = BytesMut::new();
    while let Some(next) = stream.bytes.next().await {
        match next {
            Ok(bytes) => content.extend_from_slice(&bytes),
            Err(e) => return (content.freeze(), Some(e)),
        }
    }
    (content.freeze(), None)
}

fn value<T>(promise: &str, result: Result<T>) -> T {
    match result {
        Ok(value) => value,
        Err(e) => panic!("{promise}: {e:?}"),
    }
}

fn kind<T>(promise: &str, result: Result<T>) -> ErrorKind {
    match result {
        Ok(_) => panic!("{promise}: it did not fail"),
        Err(e) => e.kind(),
    }
}

fn nothing() -> Digest {
    Digest::of(b"nothing has this content")
}

async fn manifests_come_whole_and_by_their_digest(registry: &dyn Registry, peer: &Peer) {
    let credential = peer.credential.as_ref();
    let by_tag = value("a tag gives its manifest", registry.manifest(&peer.reference, credential).await);
    assert_eq!(by_tag, peer.manifest, "a manifest comes byte for byte, with its type, digest and size");
    let pinned = peer.reference.at_digest(by_tag.descriptor.digest.clone());
    let by_digest = value("a digest gives its manifest", registry.manifest(&pinned, credential).await);
    assert_eq!(by_digest, peer.manifest, "by tag and by digest, a manifest is the same");
}

async fn what_is_not_there_is_not_found(registry: &dyn Registry, peer: &Peer) {
    let credential = peer.credential.as_ref();
    let tag = value("a tag", peer.reference.at_tag("no-such-tag"));
    let missing = registry.manifest(&tag, credential).await.expect_err("a missing tag is an error");
    assert_eq!(missing.kind(), ErrorKind::NotFound, "a missing tag is not found: {missing:?}");
    assert!(missing.to_string().contains("no-such-tag"), "the error names the image: {missing}");
    let pinned = peer.reference.at_digest(nothing());
    let found = kind("a missing manifest", registry.manifest(&pinned, credential).await);
    assert_eq!(found, ErrorKind::NotFound, "a missing manifest is not found");
    let blob = Descriptor::new("application/octet-stream", nothing(), 7);
    let found = kind("a missing blob", registry.blob(&peer.reference, &blob, 0, credential).await);
    assert_eq!(found, ErrorKind::NotFound, "a missing blob is not found");
    let elsewhere = format!("{}/no/such-repository:1", peer.reference.registry());
    let elsewhere: Reference = value("a reference", elsewhere.parse());
    let found = kind("a missing repository", registry.manifest(&elsewhere, credential).await);
    // A registry with accounts does not tell strangers what it has.
    assert!(
        matches!(found, ErrorKind::NotFound | ErrorKind::Unauthorized),
        "a missing repository is not found, or denied: {found:?}"
    );
}

async fn blobs_come_from_any_offset(registry: &dyn Registry, peer: &Peer) {
    let (descriptor, content) = &peer.blob;
    for offset in [0, 1, descriptor.size / 2, descriptor.size - 1, descriptor.size] {
        let opened = registry.blob(&peer.reference, descriptor, offset, peer.credential.as_ref()).await;
        let stream = value("a blob opens at any offset", opened);
        let from = stream.offset;
        assert!(from == offset || from == 0, "a blob begins where it was asked for, or at its beginning");
        let (bytes, failed) = read(stream).await;
        assert!(failed.is_none(), "a blob comes whole: {failed:?}");
        assert!(content[usize::try_from(from).expect("fits")..] == bytes, "a blob's bytes are its own");
    }
}

async fn no_blob_is_longer_than_announced(registry: &dyn Registry, peer: &Peer) {
    let short = Descriptor { size: peer.blob.0.size - 10, ..peer.blob.0.clone() };
    let failed = match registry.blob(&peer.reference, &short, 0, peer.credential.as_ref()).await {
        Err(e) => e,
        Ok(stream) => {
            let (bytes, failed) = read(stream).await;
            assert!(bytes.len() as u64 <= short.size, "no more bytes come than announced");
            failed.expect("a blob that is longer than announced is an error")
        }
    };
    assert_eq!(failed.kind(), ErrorKind::Corrupt, "a blob that is longer than announced is corrupt");
}

async fn blobs_come_side_by_side(registry: Arc<dyn Registry>, peer: &Peer) {
    let tasks: Vec<_> = (0..8)
        .map(|_| {
            let (registry, peer) = (registry.clone(), peer.clone());
            tokio::spawn(async move {
                let blob = registry.blob(&peer.reference, &peer.blob.0, 0, peer.credential.as_ref()).await;
                let (bytes, failed) = read(value("blobs are fetched side by side", blob)).await;
                assert!(failed.is_none() && bytes == peer.blob.1, "blobs side by side do not mix");
            })
        })
        .collect();
    for task in tasks {
        task.await.expect("blobs are fetched side by side");
    }
}

async fn tags_are_listed(registry: &dyn Registry, peer: &Peer) {
    let tags = value("tags are listed", registry.tags(&peer.reference, peer.credential.as_ref()).await);
    assert_eq!(tags, [peer.reference.tag().unwrap_or_default()], "the tags are those there are");
}

async fn strangers_are_told_to_log_in(registry: &dyn Registry, peer: &Peer) {
    if peer.credential.is_none() {
        return;
    }
    let wrong = Credential::Password { user: "nobody".into(), password: "wrong".into() };
    for credential in [None, Some(&wrong)] {
        let blob = registry.blob(&peer.reference, &peer.blob.0, 0, credential).await;
        assert_eq!(kind("a stranger gets no blob", blob), ErrorKind::Unauthorized);
        let refused =
            registry.manifest(&peer.reference, credential).await.expect_err("strangers get nothing");
        assert_eq!(refused.kind(), ErrorKind::Unauthorized, "a stranger is unauthorized: {refused:?}");
        assert!(refused.remedy().is_some(), "a stranger is told what to do");
        assert!(!format!("{refused:?}").contains("wrong"), "a password is never part of an error");
    }
    // A stranger's attempt does not spoil anything for who is known.
    value("the known are let in", registry.manifest(&peer.reference, peer.credential.as_ref()).await);
}

async fn a_registry_that_is_not_there_is_unavailable(registry: &dyn Registry, peer: &Peer) {
    // A port that was just free; nobody else has a reason to take it now.
    let port =
        std::net::TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).expect("a port").port();
    let reference: Reference = value("a reference", format!("127.0.0.1:{port}/app:1").parse());
    let error = registry.manifest(&reference, peer.credential.as_ref()).await.expect_err("nobody is there");
    assert_eq!(
        error.kind(),
        ErrorKind::Unavailable,
        "a registry that is not there is unavailable: {error:?}"
    );
    assert!(error.to_string().contains(&format!("127.0.0.1:{port}")), "the error names the host: {error}");
}
