//! The client against a real registry, and against servers that misbehave.

mod faults;
mod host;
mod login;
mod mirrors;
mod real;
mod scripted;

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;

use super::{OciRegistry, RegistryConfig};
use crate::error::{Error, Result};
use crate::id::Digest;
use crate::reference::Reference;
use crate::registry::driver::{BlobStream, Credential, Document};
use crate::spec::Descriptor;

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

/// A client that does not wait long.
fn hasty() -> RegistryConfig {
    RegistryConfig {
        first_pause: Duration::from_millis(5),
        longest_pause: Duration::from_secs(2),
        ..RegistryConfig::new()
    }
}

fn client(config: RegistryConfig) -> OciRegistry {
    OciRegistry::new(config).expect("a client")
}

fn reference(text: impl AsRef<str>) -> Reference {
    text.as_ref().parse().expect("a reference")
}

fn password(user: &str, password: &str) -> Credential {
    Credential::Password { user: user.into(), password: password.into() }
}

/// Bytes without a pattern, so that a piece in the wrong place is noticed.
fn noise(length: usize) -> Bytes {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        state.to_be_bytes()[0]
    };
    (0..length).map(|_| next()).collect()
}

/// The blob with this content.
fn blob(content: &[u8]) -> Descriptor {
    Descriptor::new("application/octet-stream", Digest::of(content), content.len() as u64)
}

/// A manifest without layers, as a registry sends it.
fn manifest() -> Document {
    let bytes = Bytes::from(format!(r#"{{"schemaVersion":2,"mediaType":"{MANIFEST}","layers":[]}}"#));
    Document { descriptor: Descriptor::new(MANIFEST, Digest::of(&bytes), bytes.len() as u64), bytes }
}

/// All bytes, and what the stream ended with.
async fn read(stream: Result<BlobStream>) -> (u64, Bytes, Option<Error>) {
    let mut stream = stream.expect("the blob opens");
    let mut content = BytesMut::new();
    while let Some(next) = stream.bytes.next().await {
        match next {
            Ok(bytes) => content.extend_from_slice(&bytes),
            Err(e) => return (stream.offset, content.freeze(), Some(e)),
        }
    }
    (stream.offset, content.freeze(), None)
}
