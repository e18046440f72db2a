//! An archive that the kernel unpacks as its first files: cpio in its "newc" form, see the kernel's
//! driver-api/early-userspace/buffer-format.rst.

use std::path::Path;

/// A file or a directory.
pub(super) struct Entry {
    name: String,
    mode: u32,
    content: Vec<u8>,
}

impl Entry {
    /// An empty directory.
    pub(super) fn directory(name: &str) -> Entry {
        Entry { name: name.to_owned(), mode: 0o040_755, content: Vec::new() }
    }

    /// An executable file.
    pub(super) fn file(name: &str, content: impl Into<Vec<u8>>) -> Entry {
        Entry { name: name.to_owned(), mode: 0o100_755, content: content.into() }
    }
}

/// Writes them all to the file.
pub(super) fn write(path: &Path, entries: &[Entry]) -> Result<(), String> {
    std::fs::write(path, archive(entries)).map_err(|e| format!("{}: {e}", path.display()))
}

fn archive(entries: &[Entry]) -> Vec<u8> {
    let mut archive = Vec::new();
    let end = Entry { name: "TRAILER!!!".to_owned(), mode: 0, content: Vec::new() };
    for (number, entry) in entries.iter().chain([&end]).enumerate() {
        let (name, size) = (entry.name.len() + 1, entry.content.len());
        // Inode, mode, user, group, links, time, size, four device numbers, length of the name, no checksum.
        let fields = [number, entry.mode as usize, 0, 0, 1, 0, size, 0, 0, 0, 0, name, 0];
        archive.extend_from_slice(b"070701");
        for field in fields {
            archive.extend_from_slice(format!("{field:08X}").as_bytes());
        }
        archive.extend_from_slice(entry.name.as_bytes());
        archive.push(0);
        pad(&mut archive);
        archive.extend_from_slice(&entry.content);
        pad(&mut archive);
    }
    archive
}

/// Everything begins at a multiple of four.
fn pad(archive: &mut Vec<u8>) {
    archive.resize(archive.len().next_multiple_of(4), 0);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_archive_has_aligned_parts_and_an_end() {
        let bytes = archive(&[Entry::directory("a"), Entry::file("a/b", "hello")]);
        let text = String::from_utf8(bytes).expect("is text here");
        assert_eq!(text.len() % 4, 0);
        let heads: Vec<usize> = text.match_indices("070701").map(|(at, _)| at).collect();
        assert_eq!(heads.len(), 3);
        assert!(heads.iter().all(|at| at % 4 == 0), "{heads:?}");
        assert!(text.contains("hello\0\0\x00070701") && text.contains("TRAILER!!!\0"));
    }
}
