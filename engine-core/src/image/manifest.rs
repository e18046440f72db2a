//! Manifests and indexes: bytes in, checked values out. No I/O.
//!
//! A document comes from a registry or an archive and is hostile until it went through [`parse`]: its size, its lists
//! and its nesting are bounded, its type is what it was declared to be, and it describes an image that this engine can
//! unpack. What has no meaning for an engine (annotations, subjects, fields of later versions) is ignored.

use serde::Deserialize;
use serde::de::IgnoredAny;

use crate::error::{Error, ErrorKind, Result};
use crate::spec::{Descriptor, Platform};

/// The largest manifest or index that is read, as registries have it.
pub(crate) const MAX_DOCUMENT: u64 = 4 << 20;
/// The largest configuration of an image that is read.
pub(crate) const MAX_CONFIG: u64 = 8 << 20;
/// The most layers of an image: the kernel's overlay file system stacks no more (`OVL_MAX_STACK`).
pub(crate) const MAX_LAYERS: usize = 500;
/// The most entries of an index.
const MAX_ENTRIES: usize = 1000;

pub(crate) const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
pub(crate) const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
pub(crate) const OCI_CONFIG: &str = "application/vnd.oci.image.config.v1+json";
pub(crate) const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
pub(crate) const DOCKER_INDEX: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
const DOCKER_CONFIG: &str = "application/vnd.docker.container.image.v1+json";
const DOCKER_PLUGIN: &str = "application/vnd.docker.plugin.v1+json";
const SCHEMA_1: [&str; 2] = [
    "application/vnd.docker.distribution.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.v1+prettyjws",
];

/// The layers that can be unpacked, in either family's words. How they are compressed is seen from their first bytes,
/// as every engine does it, because types have been wrong often enough.
const LAYERS: [&str; 6] = [
    "application/vnd.oci.image.layer.v1.tar",
    "application/vnd.oci.image.layer.v1.tar+gzip",
    "application/vnd.oci.image.layer.v1.tar+zstd",
    "application/vnd.docker.image.rootfs.diff.tar",
    "application/vnd.docker.image.rootfs.diff.tar.gzip",
    "application/vnd.docker.image.rootfs.diff.tar.zstd",
];

/// What a manifest reference can lead to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Parsed {
    /// One image.
    Manifest(Manifest),
    /// The same image for several platforms.
    Index(Index),
}

/// The manifest of an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Manifest {
    /// Its own media type.
    pub(crate) media_type: String,
    /// The configuration.
    pub(crate) config: Descriptor,
    /// The layers, base first, all of types that can be unpacked.
    pub(crate) layers: Vec<Descriptor>,
}

/// An index: manifests, or further indexes, for platforms.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Index {
    /// The entries that are manifests or indexes. Other things, and entries with digests that cannot be verified, are
    /// left out.
    pub(crate) entries: Vec<Descriptor>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawDocument {
    schema_version: Option<u64>,
    media_type: Option<String>,
    config: Option<RawDescriptor>,
    layers: Option<Vec<RawDescriptor>>,
    manifests: Option<Vec<RawDescriptor>>,
    fs_layers: Option<IgnoredAny>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawDescriptor {
    #[serde(default)]
    media_type: String,
    digest: String,
    size: u64,
    platform: Option<RawPlatform>,
    annotations: Option<std::collections::BTreeMap<String, String>>,
}

#[derive(Deserialize)]
struct RawPlatform {
    architecture: Option<String>,
    os: Option<String>,
    variant: Option<String>,
}

impl RawPlatform {
    /// The platform; `None` if it says nothing. Its words are checked: they end up before people's eyes.
    fn platform(self) -> Result<Option<Platform>> {
        let (os, architecture) = (self.os.unwrap_or_default(), self.architecture.unwrap_or_default());
        let text = match self.variant.filter(|variant| !variant.is_empty()) {
            _ if os.is_empty() && architecture.is_empty() => return Ok(None),
            Some(variant) => format!("{os}/{architecture}/{variant}"),
            None => format!("{os}/{architecture}"),
        };
        text.parse().map(Some)
    }
}

impl RawDescriptor {
    fn descriptor(self) -> Result<Descriptor> {
        Ok(Descriptor {
            media_type: self.media_type,
            digest: self.digest.parse()?,
            size: self.size,
            platform: self.platform.map(RawPlatform::platform).transpose()?.flatten(),
            annotations: self.annotations,
        })
    }
}

fn is_manifest(media_type: &str) -> bool {
    matches!(media_type, OCI_MANIFEST | DOCKER_MANIFEST)
}

/// Whether content of this type is an index.
pub(crate) fn is_index(media_type: &str) -> bool {
    matches!(media_type, OCI_INDEX | DOCKER_INDEX)
}

/// Reads a manifest or index. `subject` is what the user asked for; `declared` is the type that whoever sent it gave
/// to it, if anybody did.
///
/// # Errors
/// [`ErrorKind::Unsupported`] for what is no image or cannot be unpacked, [`ErrorKind::LimitExceeded`] for too much
/// of anything, [`ErrorKind::Corrupt`] for what contradicts itself or is no manifest at all.
pub(crate) fn parse(subject: &str, declared: Option<&str>, bytes: &[u8]) -> Result<Parsed> {
    if bytes.len() as u64 > MAX_DOCUMENT {
        return Err(too_much(subject, "the manifest", bytes.len(), MAX_DOCUMENT, "bytes"));
    }
    // A content type may come with parameters; what is in no table says nothing: some servers send text/plain.
    let declared = declared.map(|text| text.split(';').next().unwrap_or_default().trim());
    if declared.is_some_and(|declared| SCHEMA_1.contains(&declared)) {
        return Err(schema_1(subject));
    }
    let raw: RawDocument = serde_json::from_slice(bytes)
        .map_err(|e| corrupt(subject, "its manifest cannot be read").caused_by(e))?;
    if raw.schema_version == Some(1) || raw.fs_layers.is_some() {
        return Err(schema_1(subject));
    }
    let known = |text: &&str| is_manifest(text) || is_index(text);
    let (declared, own) = (declared.filter(known), raw.media_type.as_deref().filter(|text| !text.is_empty()));
    match (declared, own) {
        (_, Some(own)) if !known(&own) => {
            return Err(unsupported(subject, format!("its manifest is of the unknown type {own:?}")));
        }
        (Some(declared), Some(own)) if declared != own => {
            return Err(corrupt(
                subject,
                format!("its manifest was sent as {declared} but says it is {own}"),
            ));
        }
        _ => {}
    }
    let media_type = own.or(declared).map(str::to_owned);
    match (raw.manifests, raw.config, raw.layers) {
        // Two readers that disagree on what a document is would accept different content under one digest.
        (Some(_), Some(_), _) | (Some(_), _, Some(_)) => {
            Err(corrupt(subject, "its manifest is an image and an index at once"))
        }
        (Some(_), None, None) if media_type.as_deref().is_some_and(is_manifest) => {
            Err(corrupt(subject, "it was declared to be an image but is an index"))
        }
        (Some(entries), None, None) => index(subject, entries).map(Parsed::Index),
        (None, Some(config), layers) => {
            if media_type.as_deref().is_some_and(is_index) {
                return Err(corrupt(subject, "it was declared to be an index but is an image"));
            }
            let media_type = media_type.unwrap_or_else(|| OCI_MANIFEST.to_owned());
            manifest(subject, media_type, config, layers.unwrap_or_default()).map(Parsed::Manifest)
        }
        (None, None, _) => Err(corrupt(subject, "its manifest has neither a configuration nor manifests")),
    }
}

fn index(subject: &str, entries: Vec<RawDescriptor>) -> Result<Index> {
    if entries.len() > MAX_ENTRIES {
        return Err(too_much(subject, "its index", entries.len(), MAX_ENTRIES as u64, "entries"));
    }
    let entries = entries
        .into_iter()
        .filter_map(|raw| raw.descriptor().ok())
        .filter(|entry| is_manifest(&entry.media_type) || is_index(&entry.media_type))
        .collect();
    Ok(Index { entries })
}

fn manifest(
    subject: &str,
    media_type: String,
    config: RawDescriptor,
    layers: Vec<RawDescriptor>,
) -> Result<Manifest> {
    if layers.len() > MAX_LAYERS {
        return Err(too_much(subject, "its manifest", layers.len(), MAX_LAYERS as u64, "layers"));
    }
    let descriptor = |raw: RawDescriptor| {
        raw.descriptor().map_err(|e| corrupt(subject, "its manifest holds a bad digest").caused_by(e))
    };
    let config = descriptor(config)?;
    match config.media_type.as_str() {
        // The last two are what registries made of configurations before types were settled.
        OCI_CONFIG | DOCKER_CONFIG | "application/octet-stream" | "" => {}
        DOCKER_PLUGIN => return Err(unsupported(subject, "it is a plugin for docker, not an image")),
        other => return Err(unsupported(subject, format!("it is no container image but {other:?}"))),
    }
    if config.size > MAX_CONFIG {
        return Err(too_much(subject, "its configuration", config.size, MAX_CONFIG, "bytes"));
    }
    let layers: Vec<Descriptor> = layers.into_iter().map(descriptor).collect::<Result<_>>()?;
    for layer in &layers {
        check_layer_type(subject, &layer.media_type)?;
    }
    Ok(Manifest { media_type, config, layers })
}

fn check_layer_type(subject: &str, media_type: &str) -> Result<()> {
    if LAYERS.contains(&media_type) {
        return Ok(());
    }
    let why = if media_type.ends_with("+encrypted") {
        "one of its layers is encrypted, and this engine has no keys".to_owned()
    } else if media_type.contains("nondistributable") || media_type.contains(".foreign.") {
        "one of its layers may not be distributed by registries (a foreign layer)".to_owned()
    } else {
        format!("one of its layers is of the unknown type {media_type:?}")
    };
    Err(unsupported(subject, why))
}

/// The media type, in OCI's words, of a layer that is compressed so.
pub(crate) fn layer_type(compression: crate::spec::Compression) -> &'static str {
    use crate::spec::Compression;
    match compression {
        Compression::None => LAYERS[0],
        Compression::Gzip => LAYERS[1],
        Compression::Zstd => LAYERS[2],
    }
}

/// A manifest in OCI's form for an image that came without one. The same image always gets the same bytes.
pub(crate) fn compose(config: &Descriptor, layers: &[Descriptor]) -> Result<Vec<u8>> {
    #[derive(serde::Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Composed<'a> {
        schema_version: u8,
        media_type: &'static str,
        config: &'a Descriptor,
        layers: &'a [Descriptor],
    }
    serde_json::to_vec(&Composed { schema_version: 2, media_type: OCI_MANIFEST, config, layers })
        .map_err(|e| Error::internal("a manifest", "it has no text form").caused_by(e))
}

fn schema_1(subject: &str) -> Error {
    unsupported(subject, "its manifest has Docker's schema 1, which was given up in 2017")
        .with_remedy("push the image again with a current tool")
}

fn unsupported(subject: &str, reason: impl Into<String>) -> Error {
    Error::new(ErrorKind::Unsupported, subject).because(reason)
}

fn corrupt(subject: &str, reason: impl Into<String>) -> Error {
    Error::new(ErrorKind::Corrupt, subject).because(reason)
}

fn too_much(subject: &str, what: &str, found: impl std::fmt::Display, limit: u64, unit: &str) -> Error {
    Error::new(ErrorKind::LimitExceeded, subject)
        .because(format!("{what} has {found} {unit}; the limit is {limit}"))
}

#[cfg(test)]
mod tests;
