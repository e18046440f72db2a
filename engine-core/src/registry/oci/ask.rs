//! Requests, before it is known which server they go to.

use std::time::Duration;

use reqwest::Url;

use crate::reference::Reference;
use crate::spec::Descriptor;

/// A whole document must be here within this time. A blob may take as long as bytes keep coming.
pub(super) const DEADLINE: Duration = Duration::from_secs(120);

/// All manifests and indexes that are understood (OCI image-spec, media-types.md, "Compatibility Matrix").
const MANIFESTS: &str = "application/vnd.oci.image.index.v1+json, \
     application/vnd.docker.distribution.manifest.list.v2+json, \
     application/vnd.oci.image.manifest.v1+json, \
     application/vnd.docker.distribution.manifest.v2+json";

/// What is asked of a registry.
pub(super) struct Ask<'a> {
    /// The registry, as references name it.
    pub(super) registry: &'a str,
    pub(super) repository: &'a str,
    /// What it is about, in the user's words.
    pub(super) subject: String,
    /// Below the repository.
    pub(super) path: String,
    /// In place of all that, where the server itself said what to ask next.
    pub(super) url: Option<Url>,
    pub(super) accept: &'static str,
    /// The first byte that is wanted.
    pub(super) offset: u64,
    pub(super) deadline: Option<Duration>,
}

impl<'a> Ask<'a> {
    fn new(reference: &'a Reference, subject: String, path: String) -> Ask<'a> {
        Ask {
            registry: reference.registry(),
            repository: reference.repository(),
            subject,
            path,
            url: None,
            accept: "*/*",
            offset: 0,
            deadline: Some(DEADLINE),
        }
    }

    /// For the manifest or index that the reference names: by digest if it has one.
    pub(super) fn manifest(reference: &'a Reference) -> Ask<'a> {
        let name = match (reference.digest(), reference.tag()) {
            (Some(digest), _) => digest.as_str(),
            (None, tag) => tag.unwrap_or("latest"),
        };
        let ask = Ask::new(reference, format!("image {}", reference.familiar()), format!("manifests/{name}"));
        Ask { accept: MANIFESTS, ..ask }
    }

    /// For the blob from `offset` on.
    pub(super) fn blob(reference: &'a Reference, blob: &Descriptor, offset: u64) -> Ask<'a> {
        let subject = format!("blob {} of {}", blob.digest.short(), reference.familiar_name());
        let ask = Ask::new(reference, subject, format!("blobs/{}", blob.digest));
        Ask { offset, deadline: None, ..ask }
    }

    /// For the first `count` tags.
    pub(super) fn tags(reference: &'a Reference, count: u32) -> Ask<'a> {
        let subject = format!("tags of {}", reference.familiar_name());
        Ask::new(reference, subject, format!("tags/list?n={count}"))
    }

    /// What a token has to allow.
    pub(super) fn scope(&self) -> String {
        format!("repository:{}:pull", self.repository)
    }
}
