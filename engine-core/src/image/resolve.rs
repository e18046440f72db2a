//! From what a user calls an image to the image: by name, by identifier, by the beginning of one; and, where the
//! policy says so, from a registry.

use std::sync::Arc;

use super::driver::{ImageRecord, ImageStore};
use super::info::PullSpec;
use super::pull::pull;
use crate::error::{Error, ErrorKind, Result};
use crate::event::{PullEvent, Reporter};
use crate::id::Digest;
use crate::parts::Parts;
use crate::reference::Reference;
use crate::spec::{Platform, PullPolicy};

/// How the user's words named an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Named {
    /// By this name.
    Reference(Reference),
    /// By its identifier or the beginning of it.
    Identifier,
}

/// The image of that name, identifier, or beginning of an identifier. As in docker a whole identifier comes first,
/// then a name, then a beginning: an image that is called `cafe` hides the one whose identifier begins so.
///
/// # Errors
/// [`ErrorKind::NotFound`]; [`ErrorKind::Conflict`] if several identifiers begin so.
pub(crate) async fn resolve(parts: &Parts, name: &str) -> Result<ImageRecord> {
    find(&*parts.images, name).await.map(|(image, _)| image)
}

/// As [`resolve`], and which of the ways led there.
pub(crate) async fn find(store: &dyn ImageStore, name: &str) -> Result<(ImageRecord, Named)> {
    let digits = name.strip_prefix("sha256:").unwrap_or(name);
    let hexadecimal = !digits.is_empty() && digits.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    if hexadecimal && digits.len() == 64 {
        let id: Digest = format!("sha256:{digits}").parse()?;
        let found = store.get(&id).await?.ok_or_else(|| no_such_image(name))?;
        return Ok((found.image, Named::Identifier));
    }
    let reference = name.parse::<Reference>();
    if let Ok(reference) = &reference {
        let lookup = lookup(reference);
        if let Some(image) = store.resolve(&lookup).await? {
            return Ok((image, Named::Reference(lookup)));
        }
    }
    if hexadecimal && digits.len() < 64 {
        let mut found = store.by_prefix(digits).await?;
        if found.len() > 1 {
            return Err(Error::new(ErrorKind::Conflict, format!("image {name}"))
                .because("several images have an identifier that begins so")
                .with_remedy("give more digits"));
        }
        if let Some(image) = found.pop() {
            return Ok((image, Named::Identifier));
        }
    }
    // A name that cannot be one is worth saying; one that nobody has is just not there.
    match reference {
        Err(error) if !hexadecimal => Err(error),
        _ => Err(no_such_image(name)),
    }
}

/// What a reference is looked up by: its digest, within its repository, where it has one. Its tag says nothing then;
/// an image of another repository with that digest is not meant.
fn lookup(reference: &Reference) -> Reference {
    match reference.digest() {
        Some(digest) => reference.at_digest(digest.clone()),
        None => reference.clone(),
    }
}

pub(crate) fn no_such_image(name: &str) -> Error {
    Error::new(ErrorKind::NotFound, format!("No such image: {name}"))
        .with_remedy("pull it, or look at the list of images for its name")
}

/// The image to make a container from, pulled first as the policy says.
pub(crate) async fn ensure(
    parts: &Arc<Parts>,
    name: &str,
    policy: PullPolicy,
    platform: Option<Platform>,
    reporter: &Reporter<PullEvent>,
) -> Result<ImageRecord> {
    let local = match find(&*parts.images, name).await {
        Ok((image, named)) => {
            let fits = platform.as_ref().is_none_or(|wanted| image.platform.runs_on(wanted));
            match (policy, named) {
                // An identifier is no place to pull from.
                (_, Named::Identifier) | (PullPolicy::Missing | PullPolicy::Never, _) if fits => {
                    return Ok(image);
                }
                (PullPolicy::Never, _) | (_, Named::Identifier) => {
                    let wanted = platform.map(|wanted| wanted.to_string()).unwrap_or_default();
                    return Err(no_such_image(name).because(format!(
                        "it does not match the specified platform: wanted {wanted}, actual: {}",
                        image.platform
                    )));
                }
                _ => None,
            }
        }
        Err(error) if error.is(ErrorKind::NotFound) => Some(error),
        Err(error) => return Err(error),
    };
    match (policy, name.parse::<Reference>(), local) {
        (PullPolicy::Missing | PullPolicy::Always, Ok(reference), _) => {
            let mut wish = PullSpec::new(reference);
            wish.platform = platform;
            pull(Arc::clone(parts), wish, reporter.clone()).await
        }
        (_, _, Some(error)) => Err(error),
        (_, Err(error), None) => Err(error),
        (PullPolicy::Never, Ok(_), None) => Err(no_such_image(name)),
    }
}
