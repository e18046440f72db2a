//! Whiteouts: how a layer says that something of the layers below is gone.
//!
//! In an archive they are names (OCI image-spec, layer.md, "Whiteouts"): an empty file `.wh.NAME` hides `NAME`, and
//! `.wh..wh..opq` hides all that the layers below have in its directory. Both are about the layers *below*, wherever
//! they stand in the archive: what the same layer brings is never hidden by them. In an overlay they are a device
//! with the number 0:0 under the hidden name, and an attribute of the directory (Linux, filesystems/overlayfs.rst).

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use rustix::fs::{FileType, Stat};

use super::name::LayerPath;
use super::tar::{Entry, Kind, entry_name};
use crate::error::{Error, ErrorKind, Result};

/// The attribute of a directory that hides what is below it.
pub(super) const OPAQUE: &str = "trusted.overlay.opaque";

const PREFIX: &[u8] = b".wh.";
/// Names that the old AUFS driver kept its own records under.
const META: &[u8] = b".wh..wh.";
const OPAQUE_MARKER: &[u8] = b".wh..wh..opq";

/// What an entry's name means.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Meaning<'a> {
    /// A file of the layer.
    Content,
    /// `name` in the entry's directory is hidden.
    Whiteout(&'a OsStr),
    /// All in the entry's directory that the layers below have is hidden.
    Opaque,
    /// Something to pass over.
    Nothing,
}

/// What the entry at `path` means.
///
/// # Errors
/// [`ErrorKind::Corrupt`] for a whiteout of nothing, of `.` or `..`, one that is a directory, and one that holds
/// something.
pub(super) fn meaning<'a>(entry: &Entry, path: &'a LayerPath) -> Result<Meaning<'a>> {
    let bad = |reason: &str| Err(Error::new(ErrorKind::Corrupt, entry_name(&entry.path)).because(reason));
    let (directory, name) = path.split();
    for component in directory.split(|b| *b == b'/') {
        if component.starts_with(META) {
            return Ok(Meaning::Nothing);
        }
        if component.starts_with(PREFIX) {
            return bad("it lies in a whiteout");
        }
    }
    let Some(hidden) = name.as_bytes().strip_prefix(PREFIX) else { return Ok(Meaning::Content) };
    if name.as_bytes().starts_with(META) && name.as_bytes() != OPAQUE_MARKER {
        return Ok(Meaning::Nothing);
    }
    match hidden {
        b"" | b"." | b".." => bad("it is a whiteout of no name"),
        _ if !matches!(entry.kind, Kind::File | Kind::HardLink) => bad("it is a whiteout, but not a file"),
        _ if name.as_bytes() == OPAQUE_MARKER => Ok(Meaning::Opaque),
        _ => Ok(Meaning::Whiteout(OsStr::from_bytes(hidden))),
    }
}

/// Whether this is how an overlay says that a name is hidden.
pub(super) fn is_whiteout(stat: &Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::CharacterDevice && stat.st_rdev == 0
}
