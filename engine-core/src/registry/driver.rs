//! The contract of a registry client.
//!
//! A client asks registries for manifests and blobs. It never stores anything and decides nothing: which platform,
//! which layers and how often to try again after a broken transfer is the service's business. What it must do by
//! itself: use verified TLS, whatever answers, with every host that its configuration does not exempt by name,
//! authenticate when it is challenged, keep credentials from every host but the one they are for, wait and try again
//! when a registry asks it to slow down, and never hand out more bytes than a document's limit.

use std::pin::Pin;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::Stream;

use crate::error::Result;
use crate::reference::Reference;
use crate::spec::Descriptor;

/// A manifest, an index, or another document that a registry sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Document {
    /// Its type as the registry declared it, its digest and its size.
    pub descriptor: Descriptor,
    /// Its bytes, whose digest was checked if the reference had one.
    pub bytes: Bytes,
}

/// The bytes of a blob as they arrive.
pub struct BlobStream {
    /// Where the first byte stands in the blob: the offset asked for, or 0 if the registry cannot send parts.
    pub offset: u64,
    /// The bytes. An item that is an error ends the stream. If it is [`Unavailable`](crate::ErrorKind::Unavailable) or
    /// [`TimedOut`](crate::ErrorKind::TimedOut), the transfer may be taken up again where it broke; with any other
    /// kind there is no use in that.
    pub bytes: Pin<Box<dyn Stream<Item = Result<Bytes>> + Send>>,
}

/// A user name and password, or an identity token, for one registry.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Credential {
    /// A user name and a password.
    Password {
        /// The user.
        user: String,
        /// The password.
        password: String,
    },
    /// A refresh token, exchanged for access tokens.
    Identity {
        /// The token.
        token: String,
    },
}

impl std::fmt::Debug for Credential {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Credential::Password { user, .. } => write!(f, "Password {{ user: {user:?}, .. }}"),
            Credential::Identity { .. } => f.write_str("Identity { .. }"),
        }
    }
}

/// A registry client.
#[async_trait]
pub trait Registry: Send + Sync {
    /// The manifest or index that `reference` names, by digest if it has one, else by tag. Its size is at most 4 MiB.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`](crate::ErrorKind::NotFound), [`Unauthorized`](crate::ErrorKind::Unauthorized),
    /// [`Unavailable`](crate::ErrorKind::Unavailable), [`LimitExceeded`](crate::ErrorKind::LimitExceeded),
    /// [`Corrupt`](crate::ErrorKind::Corrupt) if the digest does not match.
    async fn manifest(&self, reference: &Reference, credential: Option<&Credential>) -> Result<Document>;

    /// The blob's bytes from `offset` on. The stream ends with an error if more bytes come than the descriptor
    /// says; that it ends early is for the caller to see.
    async fn blob(
        &self,
        reference: &Reference,
        blob: &Descriptor,
        offset: u64,
        credential: Option<&Credential>,
    ) -> Result<BlobStream>;

    /// The tags of the repository, in the registry's order.
    async fn tags(&self, reference: &Reference, credential: Option<&Credential>) -> Result<Vec<String>>;
}
