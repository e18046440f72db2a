//! Tar archives as streams, read and written. What is read is every dialect that layers, build contexts and saved images
//! come in.
//!
//! POSIX ustar and pax, GNU (long names, base-256 numbers, sparse files in all four forms), the star and the v7
//! forms. Where the dialects leave room, Go's `archive/tar` is followed, as it is what Docker, containerd and most
//! tools that make layers read and write with: an entry that is read differently here would be another file.
//!
//! The archive is hostile: nothing is believed before it is checked, and no number in it decides how much memory
//! is taken. Paths and link targets are handed out as they are; whoever uses them resolves them beneath a
//! directory (`sys::beneath`).
//!
//! What is written (`writer`, and `pack` for whole trees) is what all of them read: ustar, with a pax header where
//! that is too small.

mod content;
mod extract;
mod header;
mod pack;
mod pax;
mod reader;
pub(crate) mod source;
mod sparse;
mod writer;

pub(crate) use extract::timestamps;
pub(crate) use pack::{Packer, Plain, Rules, Verdict};
pub(crate) use reader::Archive;
pub(crate) use source::Source;
pub(crate) use source::failed;
pub(crate) use sparse::Sparse;
pub(crate) use writer::Writer;

use std::borrow::Cow;

use crate::error::{Error, ErrorKind};

/// What an entry of an archive is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    File,
    HardLink,
    SymbolicLink,
    CharacterDevice,
    BlockDevice,
    Directory,
    Fifo,
    /// Something that is not a file: to be passed over.
    Other,
}

/// One entry of an archive. Its data follows in the archive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    /// Its path as it is written.
    pub(crate) path: Vec<u8>,
    /// Where a link leads, as it is written.
    pub(crate) link: Vec<u8>,
    pub(crate) kind: Kind,
    /// Permissions with set-user-ID, set-group-ID and sticky bits.
    pub(crate) mode: u32,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    /// Seconds and nanoseconds since 1970.
    pub(crate) mtime: (i64, u32),
    /// The bytes of data that follow.
    pub(crate) size: u64,
    /// Major and minor number of a device.
    pub(crate) device: (u32, u32),
    /// Extended attributes: name and value.
    pub(crate) xattrs: Vec<(Vec<u8>, Vec<u8>)>,
    /// Where the data belongs, for a file with holes.
    pub(crate) sparse: Option<Sparse>,
}

/// The name of an entry for an error: harmless to print, and not too long.
pub(crate) fn entry_name(path: &[u8]) -> String {
    const SHOWN: usize = 200;
    let (text, more): (Cow<'_, str>, _) = match path.get(..SHOWN) {
        Some(head) if path.len() > SHOWN => (String::from_utf8_lossy(head), "…"),
        _ => (String::from_utf8_lossy(path), ""),
    };
    format!("entry {text:?}{more}")
}

/// The error of an archive that is none.
fn malformed(reason: impl Into<String>) -> Error {
    Error::new(ErrorKind::Corrupt, "archive").because(reason)
}
