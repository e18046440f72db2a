//! The default registry client: the OCI distribution protocol over HTTPS.
//!
//! `address` decides who may be spoken to and how, `transport` makes the HTTP clients (`verify`: whom they trust), `http` gets one answer to one
//! request with the help of `auth` (who asks), `challenge` (what the server wants to be shown) and `retry`; `server`
//! remembers what was learnt. `manifests`, `blobs` and `tags` are the three things to ask for; `errors` finds the
//! words when they are not given.

mod address;
mod ask;
mod auth;
mod blobs;
mod challenge;
mod config;
mod errors;
mod http;
mod manifests;
mod retry;
mod server;
mod tags;
#[cfg(test)]
mod tests;
mod transport;
mod verify;

use async_trait::async_trait;

pub use config::RegistryConfig;

use self::address::Site;
use self::http::Http;
use super::driver::{BlobStream, Credential, Document, Registry};
use crate::error::Result;
use crate::reference::Reference;
use crate::spec::Descriptor;

/// A client for all registries.
pub(crate) struct OciRegistry {
    http: Http,
}

impl OciRegistry {
    /// A client. Touches neither file nor network: that is left to the first request.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`](crate::ErrorKind::InvalidInput) for a malformed host, range of addresses, mirror or
    /// user agent.
    pub(crate) fn new(config: RegistryConfig) -> Result<OciRegistry> {
        Http::new(config).map(|http| OciRegistry { http })
    }

    /// The mirrors of the registry that are worth asking now.
    fn mirrors(&self, registry: &str) -> impl Iterator<Item = &Site> {
        let mirrors = self.http.servers.policy().mirrors(registry).iter();
        mirrors.filter(|site| !self.http.server(site).is_silent())
    }
}

// A mirror that fails, in whatever way, is passed over: what counts is what the registry itself says in the end.
#[async_trait]
impl Registry for OciRegistry {
    async fn manifest(&self, reference: &Reference, credential: Option<&Credential>) -> Result<Document> {
        for mirror in self.mirrors(reference.registry()) {
            if let Ok(found) = manifests::fetch(&self.http, mirror, reference, mirror.credential()).await {
                return Ok(found);
            }
        }
        let site = Site::of_registry(reference.registry())?;
        manifests::fetch(&self.http, &site, reference, credential).await
    }

    async fn blob(
        &self,
        reference: &Reference,
        blob: &Descriptor,
        offset: u64,
        credential: Option<&Credential>,
    ) -> Result<BlobStream> {
        for mirror in self.mirrors(reference.registry()) {
            let found = blobs::open(&self.http, mirror, reference, blob, offset, mirror.credential()).await;
            if found.is_ok() {
                return found;
            }
        }
        let site = Site::of_registry(reference.registry())?;
        blobs::open(&self.http, &site, reference, blob, offset, credential).await
    }

    /// Mirrors are not asked: they know the tags that were pulled through them.
    async fn tags(&self, reference: &Reference, credential: Option<&Credential>) -> Result<Vec<String>> {
        let site = Site::of_registry(reference.registry())?;
        tags::list(&self.http, &site, reference, credential).await
    }
}
