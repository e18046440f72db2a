//! What is asked for and what is known of images.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;

use crate::id::{Digest, ImageId};
use crate::reference::Reference;
use crate::registry::driver::Credential;
use crate::spec::{Filter, Platform, Timestamp};

/// An image to fetch.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct PullSpec {
    /// What it is called.
    pub reference: Reference,
    /// The platform; this host's unless given.
    pub platform: Option<Platform>,
    /// The credential for its registry, in place of the engine's or that of the user's configuration.
    pub credential: Option<Credential>,
}

impl PullSpec {
    /// That image, for this host.
    pub fn new(reference: Reference) -> PullSpec {
        PullSpec { reference, platform: None, credential: None }
    }

    /// With this credential for the registry.
    #[must_use]
    pub fn credential(mut self, credential: Credential) -> PullSpec {
        self.credential = Some(credential);
        self
    }

    /// For that platform.
    #[must_use]
    pub fn platform(mut self, platform: Platform) -> PullSpec {
        self.platform = Some(platform);
        self
    }
}

impl From<Reference> for PullSpec {
    fn from(reference: Reference) -> PullSpec {
        PullSpec::new(reference)
    }
}

/// Which images to list.
#[derive(Clone, Debug, Default)]
pub struct ImageListSpec {
    /// docker's filters: `dangling`, `label`, `before`, `since`, `until`, `reference`.
    pub filter: Filter,
}

/// An image in a list.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ImageSummary {
    /// Its identifier.
    pub id: ImageId,
    /// Its tags.
    pub tags: Vec<Reference>,
    /// The digests it was pulled by.
    pub digests: Vec<Reference>,
    /// When it was built, by its own account.
    pub created: Option<Timestamp>,
    /// The bytes of its files, those shared with other images included.
    pub size: u64,
    /// The bytes that it shares with other images.
    pub shared_size: u64,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// How many containers there are of it.
    pub containers: u64,
}

/// All that is known of an image. Serialises as Docker's inspect does.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
#[non_exhaustive]
pub struct ImageInfo {
    /// Its identifier.
    pub id: ImageId,
    /// Its tags, as people write them.
    pub repo_tags: Vec<String>,
    /// The digests it was pulled by.
    pub repo_digests: Vec<String>,
    /// When it was built, by its own account.
    pub created: Option<Timestamp>,
    /// The processor architecture.
    pub architecture: String,
    /// The operating system.
    pub os: String,
    /// The bytes of its files.
    pub size: u64,
    /// The rest, as Docker's inspect has it: `Config`, `RootFS`, `Author`, `Comment`, `GraphDriver`, `Metadata`.
    #[serde(flatten)]
    pub details: BTreeMap<String, Value>,
}

/// A step in the making of an image.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct HistoryEntry {
    /// The image that the step made, if it is known.
    pub id: Option<ImageId>,
    /// When.
    pub created: Option<Timestamp>,
    /// How.
    pub created_by: String,
    /// The bytes it added.
    pub size: u64,
    /// What was said of it.
    pub comment: String,
    /// The tags of the image that the step made.
    pub tags: Vec<Reference>,
}

/// What removing an image did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ImageRemoveReport {
    /// Names taken away.
    pub untagged: Vec<Reference>,
    /// Images and layers deleted.
    pub deleted: Vec<Digest>,
}

/// What a prune of images did.
#[derive(Clone, Debug, Default)]
pub struct ImagePruneReport {
    /// What was removed.
    pub removed: ImageRemoveReport,
    /// The bytes freed.
    pub reclaimed: u64,
}

/// The form of an archive of images.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SaveFormat {
    /// docker-archive that is an OCI layout too, as `docker save` writes it since version 25.
    #[default]
    Docker,
    /// OCI layout alone.
    Oci,
}

/// How to make an image from a root file system.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct ImportSpec {
    /// What to call it.
    pub reference: Option<Reference>,
    /// Instructions of a Dockerfile to apply to its configuration: `CMD ["sh"]`.
    pub changes: Vec<String>,
    /// What to say of it.
    pub message: Option<String>,
    /// The platform; this host's unless given.
    pub platform: Option<Platform>,
}
