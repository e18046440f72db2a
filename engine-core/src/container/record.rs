//! What is recorded of a container: the wish, and what was decided when it was created.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::id::{ChainId, ImageId};
use crate::spec::ContainerSpec;

/// What is recorded of a container.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct ContainerRecord {
    /// What was asked for. Its mounts are complete: those the image asks for are among them, and every volume has its
    /// name.
    pub(crate) spec: ContainerSpec,
    /// The image it was made from.
    pub(crate) image: Option<ImageId>,
    /// The layers under its own.
    #[serde(default)]
    pub(crate) chain: Vec<ChainId>,
    /// The labels that the image had, which its own are on top of: events tell them also when the image is gone.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) image_labels: BTreeMap<String, String>,
}
