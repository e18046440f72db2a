//! The images of an archive that was read: found from its documents, whichever form it has.

use std::collections::HashSet;

use bytes::Bytes;

use super::scan::Scan;
use super::{CONTAINERD_NAME, DockerImage, REF_NAME};
use crate::error::{Error, ErrorKind, Result};
use crate::id::Digest;
use crate::image::blobs;
use crate::image::driver::ImageStore;
use crate::image::manifest::{
    self, Index, MAX_CONFIG, MAX_DOCUMENT, Manifest, OCI_CONFIG, Parsed, layer_type,
};
use crate::image::select::{self, is_image};
use crate::reference::Reference;
use crate::spec::{Descriptor, Platform};

/// How deep indexes may nest.
const DEPTH: usize = 4;
const SUBJECT: &str = "archive";

/// An image of an archive.
pub(super) struct Found {
    pub(super) names: Vec<Reference>,
    /// The configuration, byte for byte.
    pub(super) config: Bytes,
    pub(super) manifest: Manifest,
    /// The manifest, byte for byte; made for an image that came without one.
    pub(super) document: Bytes,
}

/// The images of the archive: those of its OCI layout, then those that only its `manifest.json` knows. Of an image for
/// several platforms the one for `platform`, or for this host.
pub(super) async fn images(
    store: &dyn ImageStore,
    scan: &Scan,
    platform: Option<&Platform>,
) -> Result<Vec<Found>> {
    let mut found = match scan.document("index.json") {
        Some(bytes) => from_layout(store, bytes, platform).await?,
        None => Vec::new(),
    };
    match scan.document("manifest.json") {
        Some(bytes) => from_docker(store, scan, bytes, &mut found).await?,
        None if scan.document("index.json").is_some() => {}
        None if scan.document("repositories").is_some() => {
            return Err(Error::new(ErrorKind::Unsupported, SUBJECT)
                .because("it has the form of Docker before 1.10, without a manifest.json")
                .with_remedy("load it into a current Docker and save it again"));
        }
        None => {
            return Err(Error::invalid(SUBJECT, "it has neither a manifest.json nor an index.json")
                .with_remedy("to make an image of a root file system, import it"));
        }
    }
    Ok(found)
}

async fn from_layout(
    store: &dyn ImageStore,
    bytes: &Bytes,
    platform: Option<&Platform>,
) -> Result<Vec<Found>> {
    let index = match manifest::parse("archive's index.json", None, bytes)? {
        Parsed::Index(index) => index,
        Parsed::Manifest(_) => return Err(corrupt("its index.json is no index")),
    };
    let host = Platform::host();
    let wanted = platform.unwrap_or(&host);
    let fits = |entry: &&Descriptor| entry.platform.as_ref().is_none_or(|platform| platform.runs_on(wanted));
    let all: Vec<&Descriptor> = index.entries.iter().filter(|entry| is_image(entry)).collect();
    let mut chosen: Vec<&Descriptor> = all.iter().copied().filter(fits).collect();
    if chosen.is_empty() && platform.is_some() && !all.is_empty() {
        // Says which platforms there are.
        select::choose(SUBJECT, &index, wanted)?;
    }
    if chosen.is_empty() {
        chosen = all;
    }
    let mut found: Vec<Found> = Vec::new();
    for entry in chosen {
        let names = names(entry);
        let (document, manifest) = descend(store, entry, platform).await?;
        match found.iter_mut().find(|other| other.document == document) {
            Some(same) => same.names.extend(names),
            None => {
                let config = blobs::get(store, &manifest.config.digest, MAX_CONFIG).await.map_err(absent)?;
                found.push(Found { names, config, manifest, document });
            }
        }
    }
    Ok(found)
}

/// The names that the annotations give: a whole one, or none, as a tag alone names nothing.
fn names(entry: &Descriptor) -> Vec<Reference> {
    let note = |key: &str| entry.annotations.as_ref().and_then(|notes| notes.get(key));
    let whole = note(CONTAINERD_NAME).or_else(|| note(REF_NAME).filter(|name| name.contains([':', '/'])));
    whole
        .and_then(|name| name.parse::<Reference>().ok())
        .filter(|name| name.digest().is_none())
        .into_iter()
        .collect()
}

async fn descend(
    store: &dyn ImageStore,
    entry: &Descriptor,
    platform: Option<&Platform>,
) -> Result<(Bytes, Manifest)> {
    let mut entry = entry.clone();
    for _ in 0..DEPTH {
        let bytes = blobs::get(store, &entry.digest, MAX_DOCUMENT).await.map_err(absent)?;
        match manifest::parse(SUBJECT, Some(&entry.media_type), &bytes)? {
            Parsed::Manifest(manifest) => return Ok((bytes, manifest)),
            Parsed::Index(index) => entry = pick(&index, platform)?.clone(),
        }
    }
    Err(Error::new(ErrorKind::LimitExceeded, SUBJECT)
        .because(format!("its index nests more than {DEPTH} levels deep")))
}

/// As asked for; without a wish, what runs here, or else the first that there is: an archive is not a registry, and
/// who made it for another platform knew that.
fn pick<'a>(index: &'a Index, platform: Option<&Platform>) -> Result<&'a Descriptor> {
    match platform {
        Some(wanted) => select::choose(SUBJECT, index, wanted),
        None => select::choose(SUBJECT, index, &Platform::host())
            .or_else(|e| index.entries.iter().find(|entry| is_image(entry)).ok_or(e)),
    }
}

async fn from_docker(
    store: &dyn ImageStore,
    scan: &Scan,
    bytes: &Bytes,
    found: &mut Vec<Found>,
) -> Result<()> {
    let listed: Vec<DockerImage> = serde_json::from_slice(bytes)
        .map_err(|e| corrupt("its manifest.json cannot be read").caused_by(e))?;
    for image in listed {
        let mut names: Vec<Reference> =
            image.repo_tags.unwrap_or_default().iter().map(|name| name.parse()).collect::<Result<_>>()?;
        let config = match (scan.document(&image.config), scan.blob(&image.config)) {
            (Some(bytes), _) => bytes.clone(),
            (None, Some((digest, _))) => blobs::get(store, digest, MAX_CONFIG).await?,
            (None, None) => return Err(corrupt(&format!("its configuration {:?} is missing", image.config))),
        };
        if let Some(same) = found.iter_mut().find(|other| other.config == config) {
            let known: HashSet<Reference> = same.names.iter().cloned().collect();
            names.retain(|name| !known.contains(name));
            same.names.extend(names);
            continue;
        }
        let mut layers = Vec::new();
        for path in image.layers.unwrap_or_default() {
            let (digest, size) =
                scan.blob(&path).ok_or_else(|| corrupt(&format!("its layer {path:?} is missing")))?;
            let (compression, _) = blobs::open(store, digest).await?;
            layers.push(Descriptor::new(layer_type(compression), digest.clone(), *size));
        }
        let document = Descriptor::new(OCI_CONFIG, Digest::of(&config), config.len() as u64);
        // Through the parser like any other: the limits are the same.
        let composed = manifest::compose(&document, &layers)?;
        match manifest::parse(SUBJECT, None, &composed)? {
            Parsed::Manifest(manifest) => {
                found.push(Found { names, config, manifest, document: composed.into() });
            }
            Parsed::Index(_) => return Err(Error::internal(SUBJECT, "a composed manifest is an index")),
        }
    }
    Ok(())
}

fn corrupt(reason: &str) -> Error {
    Error::new(ErrorKind::Corrupt, SUBJECT).because(reason)
}

/// A blob that should have been in the archive.
fn absent(error: Error) -> Error {
    match error.kind() {
        ErrorKind::NotFound => corrupt(&format!("it lacks {}", error.subject())),
        _ => error,
    }
}
