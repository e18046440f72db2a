//! Making an image of a container.

use crate::reference::Reference;

/// How to make an image of a container.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct CommitSpec {
    /// What to call it.
    pub reference: Option<Reference>,
    /// Who made it.
    pub author: Option<String>,
    /// What to say of it.
    pub comment: Option<String>,
    /// Instructions of a Dockerfile to apply to its configuration: `CMD ["sh"]`.
    pub changes: Vec<String>,
    /// Stop the container's processes while its files are copied, so that they are of one moment.
    pub pause: bool,
}

impl Default for CommitSpec {
    fn default() -> CommitSpec {
        CommitSpec { reference: None, author: None, comment: None, changes: Vec::new(), pause: true }
    }
}

impl CommitSpec {
    /// An image without a name.
    pub fn new() -> CommitSpec {
        CommitSpec::default()
    }

    /// An image of that name.
    pub fn named(reference: Reference) -> CommitSpec {
        CommitSpec { reference: Some(reference), ..CommitSpec::default() }
    }

    /// Applies an instruction of a Dockerfile to its configuration.
    #[must_use]
    pub fn change(mut self, instruction: impl Into<String>) -> CommitSpec {
        self.changes.push(instruction.into());
        self
    }
}
