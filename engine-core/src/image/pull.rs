//! Pull: from a reference to an image that can be run.
//!
//! Manifest, configuration, layers, record: in this order, each checked against the digest that the one before gives,
//! and the record last. Until then nothing of the image is to be seen; what was fetched is held, and what was fetched
//! of a pull that broke off is there for the next one.

use std::sync::Arc;

use super::blobs;
use super::config::ImageConfig;
use super::driver::{ImageLayer, ImageRecord, LayerStore};
use super::facts;
use super::hold::{Hold, quiet};
use super::info::PullSpec;
use super::layers::{self, Wanted};
use super::manifest::MAX_CONFIG;
use super::remote::{Remote, Resolved};
use crate::error::{Error, ErrorKind, Result};
use crate::event::{PullEvent, Reporter};
use crate::id::{Digest, ImageId};
use crate::parts::Parts;
use crate::reference::Reference;
use crate::spec::{Descriptor, Platform};
use crate::sys::fault;

/// Fetches and unpacks an image, and names it.
pub(crate) async fn pull(
    parts: Arc<Parts>,
    pull: PullSpec,
    reporter: Reporter<PullEvent>,
) -> Result<ImageRecord> {
    let store = &*parts.images;
    let subject = format!("image {}", pull.reference.familiar());
    let mut remote = Remote::of(&parts, &pull).await;
    let host = Platform::host();
    let found = remote.resolve(pull.platform.as_ref().unwrap_or(&host)).await?;
    fault::point("pull.manifest");
    let document = &found.manifest.config;
    let config = match blobs::get(store, &document.digest, MAX_CONFIG).await {
        Ok(bytes) => bytes,
        Err(_) => remote.small(document, MAX_CONFIG).await?,
    };
    let described = Described::parse(&subject, &config, pull.platform.as_ref())?;
    let stack = layers::pair(&subject, &found.manifest.layers, &described.diff_ids)?;
    reporter.tell(PullEvent::Resolved {
        digest: found.descriptor.digest.clone(),
        layers: stack.iter().map(|wanted| (wanted.blob.digest.clone(), wanted.blob.size)).collect(),
    });
    let equals = layers::equals(store, &stack).await?;
    let hold = Hold::take(&parts.root, content(&found.descriptor.digest, document, &stack, &equals)).await?;
    fault::point("pull.held");
    let layers = layers::ensure(store, Some(&remote), &stack, &equals, &reporter).await?;
    fault::point("pull.layers-done");
    blobs::put(store, &document.digest, &config).await?;
    blobs::put(store, &found.descriptor.digest, &found.bytes).await?;
    let Resolved { root, descriptor, manifest, .. } = found;
    let image = described
        .record(&parts, &descriptor.digest, manifest.media_type, &manifest.config.digest, layers)
        .await?;
    publish(&parts, &image, &names(&pull.reference, root)?, hold).await?;
    facts::tell_pull(&parts, &image, &pull.reference);
    Ok(image)
}

/// Records an image whose content is there and held. Nobody decides on its names meanwhile: a removal that saw the
/// last one of them must not take the new one with it.
pub(super) async fn publish(
    parts: &Parts,
    image: &ImageRecord,
    names: &[Reference],
    hold: Hold,
) -> Result<()> {
    let quiet = quiet(&parts.root).await?;
    parts.images.put(image, names).await?;
    drop((hold, quiet));
    Ok(())
}

/// The names that a pull gives: the tag, unless a digest was asked for, and the digest it resolved to.
fn names(asked: &Reference, root: Digest) -> Result<Vec<Reference>> {
    let by_digest = asked.at_digest(root);
    Ok(match (asked.tag(), asked.digest()) {
        (Some(tag), None) => vec![asked.at_tag(tag)?, by_digest],
        _ => vec![by_digest],
    })
}

/// All that an image consists of, by identifier, for a [`Hold`].
pub(super) fn content(
    manifest: &Digest,
    config: &Descriptor,
    stack: &[Wanted],
    equals: &layers::Equals,
) -> Vec<String> {
    let mut content = vec![manifest.to_string(), config.digest.to_string()];
    for wanted in stack {
        content.extend([wanted.blob.digest.to_string(), wanted.chain.to_string()]);
    }
    content.extend(equals.values().flatten().map(|layer| layer.blob.to_string()));
    content
}

/// What the configuration of an image says of it.
pub(super) struct Described {
    text: String,
    pub(super) diff_ids: Vec<Digest>,
    pub(super) platform: Platform,
    created: Option<crate::spec::Timestamp>,
}

impl Described {
    /// Reads the configuration, and refuses an image for another system than Linux or, if `wanted` is given, for
    /// another platform.
    pub(super) fn parse(subject: &str, bytes: &[u8], wanted: Option<&Platform>) -> Result<Described> {
        let corrupt = |reason: &str| Error::new(ErrorKind::Corrupt, subject).because(reason);
        let config = ImageConfig::parse(bytes).map_err(|e| match e.kind() {
            ErrorKind::InvalidInput => corrupt("its configuration cannot be read").caused_by(e),
            kind => Error::new(kind, subject).caused_by(e),
        })?;
        let text =
            std::str::from_utf8(bytes).map_err(|_| corrupt("its configuration is no text"))?.to_owned();
        // Old images do not say what they are for; docker takes them for the host's.
        let (mut platform, host) = (config.platform(), Platform::host());
        if platform.os.is_empty() {
            platform.os = host.os;
        }
        if platform.architecture.is_empty() {
            platform.architecture = host.architecture;
        }
        if platform.to_string().parse::<Platform>().is_err() {
            return Err(corrupt("its configuration names a platform that cannot be"));
        }
        if platform.os != "linux" {
            return Err(Error::new(ErrorKind::Unsupported, subject)
                .because(format!("it is for {platform}, and this engine runs images for linux")));
        }
        if let Some(wanted) = wanted.filter(|wanted| !platform.runs_on(wanted)) {
            return Err(Error::new(ErrorKind::NotFound, subject).because(format!(
                "it was found but does not match the specified platform: wanted {wanted}, actual: {platform}"
            )));
        }
        Ok(Described { text, diff_ids: config.rootfs.diff_ids, platform, created: config.created })
    }

    /// The record of the image, whose layers are all there.
    pub(super) async fn record(
        self,
        parts: &Parts,
        manifest: &Digest,
        media_type: String,
        id: &ImageId,
        layers: Vec<ImageLayer>,
    ) -> Result<ImageRecord> {
        let mut image = ImageRecord {
            id: id.clone(),
            manifest: manifest.clone(),
            media_type,
            platform: self.platform,
            layers,
            config: self.text,
            created: self.created,
            size: 0,
        };
        let chain = image.chain();
        let there = LayerStore::list(&*parts.images).await?;
        image.size = there.iter().filter(|layer| chain.contains(&layer.chain)).map(|layer| layer.size).sum();
        Ok(image)
    }
}
