//! Import: an image of one layer out of a root file system's tar archive.

use std::fs::File;
use std::io::{self, Read};
use std::sync::Arc;

use bytes::Bytes;
use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha256};

use super::archive::{Cancel, Watch, decoder, ingest, refuse_others, spool};
use super::hold::Hold;
use super::info::ImportSpec;
use super::manifest::{OCI_CONFIG, OCI_MANIFEST, compose, layer_type};
use super::pull::{Described, content, publish};
use super::{blobs, layers};
use super::{changes, facts};
use crate::error::{Error, ErrorKind, Result, Subject};
use crate::event::Reporter;
use crate::id::{DiffId, Digest, ImageId};
use crate::parts::Parts;
use crate::spec::{Compression, Descriptor, Platform, Timestamp};
use crate::store::blocking;

/// What is found of the archive in one pass.
struct Layer {
    file: File,
    blob: Descriptor,
    diff_id: DiffId,
}

/// Makes the image. Its layer's blob is the archive as it was given, compressed or not.
pub(super) async fn import(
    parts: &Parts,
    archive: Box<dyn Read + Send>,
    import: ImportSpec,
) -> Result<ImageId> {
    if import.reference.as_ref().is_some_and(|reference| reference.digest().is_some()) {
        return Err(Error::invalid("import", "an image cannot be given a name with a digest"));
    }
    // A bad change is told before gigabytes were read.
    let mut run = Map::new();
    import.changes.iter().try_for_each(|change| changes::apply(&mut run, change))?;
    let (cancel, watch) = Cancel::new();
    let (root, watched) = (parts.root.clone(), watch.clone());
    let layer = blocking(move || examine(&root, archive, &watched)).await?;
    let config = config(&import, run, &layer.diff_id)?;
    let document = Descriptor::new(OCI_CONFIG, Digest::of(&config), config.len() as u64);
    let manifest: Bytes = compose(&document, std::slice::from_ref(&layer.blob))?.into();
    let digest = Digest::of(&manifest);
    let described = Described::parse("image", &config, None)?;
    let stack = layers::pair("image", std::slice::from_ref(&layer.blob), &described.diff_ids)?;
    let store = &*parts.images;
    let equals = layers::equals(store, &stack).await?;
    let hold = Hold::take(&parts.root, content(&digest, &document, &stack, &equals)).await?;
    let images = Arc::clone(&parts.images);
    blocking(move || {
        let Layer { mut file, blob, .. } = layer;
        ingest(&*images, &blob.digest, blob.size, &mut file, &watch)
    })
    .await?;
    drop(cancel);
    let layers = layers::ensure(store, None, &stack, &equals, &Reporter::deaf()).await?;
    blobs::put(store, &document.digest, &config).await?;
    blobs::put(store, &digest, &manifest).await?;
    let image = described.record(parts, &digest, OCI_MANIFEST.to_owned(), &document.digest, layers).await?;
    publish(parts, &image, import.reference.as_slice(), hold).await?;
    facts::tell(parts, &image, "import");
    Ok(image.id)
}

/// Spools the archive, and finds both of its digests: as it is, and decompressed.
fn examine(root: &std::path::Path, mut archive: Box<dyn Read + Send>, watch: &Watch) -> Result<Layer> {
    let (mut file, digest, size) = spool(root, &mut archive, watch)?;
    if size == 0 {
        return Err(Error::invalid("archive", "it is empty"));
    }
    let mut head = Vec::with_capacity(6);
    file.by_ref().take(6).read_to_end(&mut head).subject(|| "archive".into())?;
    refuse_others("archive", &head)?;
    let compression = Compression::sniff(&head);
    io::Seek::rewind(&mut file).subject(|| "archive".into())?;
    let diff_id = match compression {
        Compression::None => digest.clone(),
        _ => {
            let copy = file.try_clone().subject(|| "archive".into())?;
            let diff_id = digest_of(decoder(compression, copy).subject(|| "archive".into())?, watch)?;
            io::Seek::rewind(&mut file).subject(|| "archive".into())?;
            diff_id
        }
    };
    Ok(Layer { file, blob: Descriptor::new(layer_type(compression), digest, size), diff_id })
}

fn digest_of(mut content: Box<dyn Read + Send>, watch: &Watch) -> Result<Digest> {
    let mut hash = Sha256::new();
    let mut chunk = vec![0; 256 << 10];
    loop {
        watch.check()?;
        match content.read(&mut chunk) {
            Ok(0) => return Ok(Digest::from_sha256(&hash.finalize())),
            Ok(n) => hash.update(&chunk[..n]),
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => {
                return Err(Error::new(ErrorKind::Corrupt, "archive")
                    .because("it cannot be decompressed")
                    .caused_by(e));
            }
        }
    }
}

fn config(import: &ImportSpec, run: Map<String, Value>, diff_id: &DiffId) -> Result<Bytes> {
    let platform = import.platform.clone().unwrap_or_else(Platform::host);
    let comment = import.message.clone().unwrap_or_else(|| "Imported from -".to_owned());
    let created = Timestamp::now();
    let mut config = json!({
        "architecture": platform.architecture,
        "os": platform.os,
        "created": created,
        "comment": comment,
        "config": run,
        "rootfs": {"type": "layers", "diff_ids": [diff_id]},
        "history": [{"created": created, "comment": comment}],
    });
    if let (Value::Object(config), Some(variant)) = (&mut config, platform.variant) {
        config.insert("variant".to_owned(), json!(variant));
    }
    serde_json::to_vec(&config)
        .map(Bytes::from)
        .map_err(|e| Error::internal("a configuration", "it has no text form").caused_by(e))
}
