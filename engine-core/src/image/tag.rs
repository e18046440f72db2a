//! Tag: another name for an image.

use super::facts;
use super::hold::quiet;
use super::resolve::resolve;
use crate::error::{Error, Result};
use crate::parts::Parts;
use crate::reference::Reference;

/// Points `tag` at the image; it may have pointed elsewhere.
pub(super) async fn tag(parts: &Parts, name: &str, tag: &Reference) -> Result<()> {
    if tag.digest().is_some() {
        return Err(Error::invalid(
            format!("tag {}", tag.familiar()),
            "refusing to create a tag with a digest reference",
        ));
    }
    let quiet = quiet(&parts.root).await?;
    let image = resolve(parts, name).await?;
    parts.images.put(&image, std::slice::from_ref(tag)).await?;
    drop(quiet);
    facts::tell_tag(parts, &image, tag);
    Ok(())
}
