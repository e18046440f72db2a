//! Unpacks one layer: decompression in one thread, digest, archive and files in the other.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use super::decode::Decoded;
use super::limits::{UnpackLimits, exceeded};
use super::tar::Archive;
use super::tree::{Tree, Written};
use crate::error::{Error, ErrorKind, Result};
use crate::image::driver::LayerSource;
use crate::sys::beneath::RootDir;

/// Unpacks `layer` into the empty directory `root`, and verifies it. Blocks. What is there after a failure is for
/// the caller to remove.
pub(super) fn unpack(
    layer: LayerSource,
    root: RootDir,
    limits: &UnpackLimits,
    cancelled: Arc<AtomicBool>,
) -> Result<Written> {
    let subject = format!("layer {}", layer.diff_id);
    let LayerSource { parent, diff_id, compression, stream } = layer;
    let work = || {
        let stream = Decoded::start(stream, compression, limits, cancelled)?;
        let mut tree = Tree::new(root, parent.is_none(), limits);
        let mut archive = Archive::new(stream, limits.header_bytes);
        let mut entries = 0;
        while let Some(entry) = archive.next_entry()? {
            entries += 1;
            if entries > limits.entries {
                return Err(exceeded("layer", "it has too many entries", "entries", limits.entries));
            }
            tree.add(&entry, &mut archive)?;
        }
        // What follows the end of the archive belongs to the digest.
        let digest = archive.into_source().finish()?;
        if digest != diff_id {
            return Err(Error::new(ErrorKind::Corrupt, "stream")
                .because(format!("its digest is {digest}, so it is not the layer that was announced")));
        }
        tree.finish()
    };
    work().map_err(|e| {
        // Whatever failed, it is the layer that could not be unpacked.
        let error = Error::new(e.kind(), subject);
        let error = match e.remedy() {
            Some(remedy) => error.with_remedy(remedy.to_owned()),
            None => error,
        };
        error.caused_by(e)
    })
}
