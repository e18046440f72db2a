//! Writes an archive, entry by entry.

use std::io::Write;

use super::header::BLOCK;
use super::{Entry, Kind, Sparse, failed};
use crate::error::{Error, Result};

/// The longest name and prefix of a ustar header.
const NAME: usize = 100;
const PREFIX: usize = 155;

/// An archive that is being written.
pub(crate) struct Writer<W> {
    out: W,
    /// The bytes of data that the present entry still lacks.
    left: u64,
    padding: usize,
}

impl<W: Write> Writer<W> {
    /// An archive that is written to `out`.
    pub(crate) fn new(out: W) -> Writer<W> {
        Writer { out, left: 0, padding: 0 }
    }

    /// Begins an entry. Its `size` bytes of data come next; for a file with holes these are the bytes of its pieces.
    /// Times have whole seconds, as Docker writes them.
    pub(crate) fn entry(&mut self, entry: &Entry) -> Result<()> {
        let map = entry.sparse.as_ref().map(map).unwrap_or_default();
        let size = entry.size + map.len() as u64;
        let mut records = Vec::new();
        let mut header = [0; BLOCK];
        let (name, prefix) = match &entry.sparse {
            None => fields(&entry.path),
            // Readers that do not know of holes shall not take the map for the file.
            Some(sparse) => {
                record(&mut records, b"GNU.sparse.major", b"1");
                record(&mut records, b"GNU.sparse.minor", b"0");
                record(&mut records, b"GNU.sparse.name", &entry.path);
                record(&mut records, b"GNU.sparse.realsize", sparse.size.to_string().as_bytes());
                let name = entry.path.rsplit(|b| *b == b'/').next().unwrap_or_default();
                let name = [b"GNUSparseFile.0/", &name[..name.len().min(NAME - 16)]].concat();
                Some((name, Vec::new()))
            }
        }
        .unwrap_or_else(|| {
            record(&mut records, b"path", &entry.path);
            (entry.path[..NAME].to_vec(), Vec::new())
        });
        put(&mut header, 0, &name);
        put(&mut header, 345, &prefix);
        if entry.link.len() > NAME {
            record(&mut records, b"linkpath", &entry.link);
        }
        put(&mut header, 157, &entry.link[..entry.link.len().min(NAME)]);
        octal(&mut header, 100, 8, entry.mode.into());
        for (at, length, key, value) in [
            (108, 8, &b"uid"[..], u64::from(entry.uid)),
            (116, 8, b"gid", entry.gid.into()),
            (124, 12, b"size", size),
        ] {
            if !octal(&mut header, at, length, value) {
                record(&mut records, key, value.to_string().as_bytes());
            }
        }
        let mtime = entry.mtime.0;
        if !u64::try_from(mtime).is_ok_and(|mtime| octal(&mut header, 136, 12, mtime)) {
            record(&mut records, b"mtime", mtime.to_string().as_bytes());
        }
        octal(&mut header, 329, 8, entry.device.0.into());
        octal(&mut header, 337, 8, entry.device.1.into());
        for (name, value) in &entry.xattrs {
            record(&mut records, &[b"SCHILY.xattr.", name.as_slice()].concat(), value);
        }
        if !records.is_empty() {
            self.records(&records)?;
        }
        seal(&mut header, flag(entry.kind));
        self.write(&header)?;
        self.write(&map)?;
        self.left = entry.size;
        self.padding = padding(size);
        if self.left == 0 { self.pad() } else { Ok(()) }
    }

    /// The next bytes of the present entry's data.
    pub(crate) fn data(&mut self, bytes: &[u8]) -> Result<()> {
        self.left = self
            .left
            .checked_sub(bytes.len() as u64)
            .ok_or_else(|| Error::internal("archive", "an entry got more data than it has"))?;
        self.write(bytes)?;
        if self.left == 0 { self.pad() } else { Ok(()) }
    }

    /// Ends the archive, and gives what it was written to.
    pub(crate) fn finish(mut self) -> Result<W> {
        self.write(&[0; 2 * BLOCK])?;
        self.out.flush().map_err(failed)?;
        Ok(self.out)
    }

    /// What the next entry's header has no room for.
    fn records(&mut self, records: &[u8]) -> Result<()> {
        let mut header = [0; BLOCK];
        put(&mut header, 0, b"PaxHeaders.0/entry");
        octal(&mut header, 100, 8, 0o644);
        octal(&mut header, 108, 8, 0);
        octal(&mut header, 116, 8, 0);
        octal(&mut header, 124, 12, records.len() as u64);
        octal(&mut header, 136, 12, 0);
        seal(&mut header, b'x');
        self.write(&header)?;
        self.write(records)?;
        self.write(&[0; BLOCK][..padding(records.len() as u64)])
    }

    fn pad(&mut self) -> Result<()> {
        let padding = std::mem::take(&mut self.padding);
        self.write(&[0; BLOCK][..padding])
    }

    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.out.write_all(bytes).map_err(failed)
    }
}

fn padding(size: u64) -> usize {
    (size.wrapping_neg() % BLOCK as u64) as usize
}

/// The path as name and prefix, if it fits.
fn fields(path: &[u8]) -> Option<(Vec<u8>, Vec<u8>)> {
    if path.len() <= NAME {
        return Some((path.to_vec(), Vec::new()));
    }
    // The prefix is joined by a slash, which is in neither. What follows must not be empty.
    let least = path.len().checked_sub(NAME + 1)?;
    let at = (least..path.len().min(PREFIX + 1)).find(|at| path[*at] == b'/' && *at > 0)?;
    let (prefix, name) = (&path[..at], &path[at + 1..]);
    (!name.is_empty()).then(|| (name.to_vec(), prefix.to_vec()))
}

fn put(header: &mut [u8; BLOCK], at: usize, bytes: &[u8]) {
    header[at..at + bytes.len()].copy_from_slice(bytes);
}

/// Writes a number with a zero byte at its end; whether it has room is the answer.
fn octal(header: &mut [u8; BLOCK], at: usize, length: usize, value: u64) -> bool {
    let text = format!("{value:0width$o}", width = length - 1);
    let fits = text.len() < length;
    put(header, at, if fits { text.as_bytes() } else { &[b'0'; 11][..length - 1] });
    fits
}

fn flag(kind: Kind) -> u8 {
    match kind {
        Kind::File | Kind::Other => b'0',
        Kind::HardLink => b'1',
        Kind::SymbolicLink => b'2',
        Kind::CharacterDevice => b'3',
        Kind::BlockDevice => b'4',
        Kind::Directory => b'5',
        Kind::Fifo => b'6',
    }
}

fn seal(header: &mut [u8; BLOCK], flag: u8) {
    header[156] = flag;
    put(header, 257, b"ustar\x0000");
    put(header, 148, &[b' '; 8]);
    let sum: u64 = header.iter().map(|byte| u64::from(*byte)).sum();
    put(header, 148, format!("{sum:06o}\0 ").as_bytes());
}

/// `LENGTH KEY=VALUE\n`, where the length counts its own digits.
fn record(records: &mut Vec<u8>, key: &[u8], value: &[u8]) {
    let rest = key.len() + value.len() + 3;
    let mut length = rest + 1;
    while length != rest + length.to_string().len() {
        length = rest + length.to_string().len();
    }
    records.extend_from_slice(length.to_string().as_bytes());
    records.push(b' ');
    records.extend_from_slice(key);
    records.push(b'=');
    records.extend_from_slice(value);
    records.push(b'\n');
}

/// Where the pieces of a file with holes belong: GNU's version 1.0, which precedes the data.
fn map(sparse: &Sparse) -> Vec<u8> {
    let mut text = format!("{}\n", sparse.pieces.len());
    for (offset, length) in &sparse.pieces {
        text.push_str(&format!("{offset}\n{length}\n"));
    }
    let mut map = text.into_bytes();
    map.resize(map.len() + padding(map.len() as u64), 0);
    map
}

#[cfg(test)]
mod tests {
    use super::super::source::Buffered;
    use super::super::{Archive, Entry, Kind, Sparse};
    use super::*;

    fn entry(path: &[u8]) -> Entry {
        Entry {
            path: path.to_vec(),
            link: Vec::new(),
            kind: Kind::File,
            mode: 0o4755,
            uid: 7,
            gid: 8,
            mtime: (1_600_000_000, 0),
            size: 0,
            device: (0, 0),
            xattrs: Vec::new(),
            sparse: None,
        }
    }

    fn entries() -> Vec<(Entry, Vec<u8>)> {
        let deep = [&b"d/".repeat(70)[..], b"name"].concat();
        let mut all = vec![(entry(b"plain"), b"content".to_vec()), (entry(&deep), Vec::new())];
        let long = Entry { link: [b'y'; 300].to_vec(), kind: Kind::SymbolicLink, ..entry(&[b'x'; 300]) };
        all.push((long, Vec::new()));
        all.push((Entry { kind: Kind::Directory, ..entry(&[&[b'z'; 100][..], b"/"].concat()) }, Vec::new()));
        let device = Entry { kind: Kind::CharacterDevice, device: (4, 70_000), ..entry(b"device") };
        all.push((device, Vec::new()));
        let large = Entry { uid: 3_000_000_000, gid: 4_000_000_000, mtime: (-5, 0), ..entry(b"na\xefve") };
        all.push((large, Vec::new()));
        let xattrs =
            vec![(b"user.a".to_vec(), b"v=\n\0".to_vec()), (b"security.capability".to_vec(), vec![1; 20])];
        all.push((Entry { xattrs, ..entry(b"attributes") }, vec![7; 1024]));
        let sparse = Sparse { size: 1 << 40, pieces: vec![(0, 3), (1 << 30, 4), (1 << 40, 0)] };
        all.push((Entry { sparse: Some(sparse), ..entry(b"some/holes") }, b"abcdefg".to_vec()));
        for (entry, data) in &mut all {
            entry.size = data.len() as u64;
        }
        all
    }

    #[test]
    fn what_is_written_is_read_again() {
        let mut writer = Writer::new(Vec::new());
        for (entry, data) in entries() {
            writer.entry(&entry).expect("is written");
            data.chunks(5).for_each(|chunk| writer.data(chunk).expect("is written"));
            assert_eq!(writer.left, 0);
        }
        assert!(writer.data(b"x").is_err(), "more than there is");
        let archive = writer.finish().expect("ends");
        assert_eq!(archive.len() % BLOCK, 0);
        let mut read = Archive::new(Buffered(&archive[..]), 1 << 20);
        for (entry, data) in entries() {
            assert_eq!(read.next_entry().expect("is read").expect("is there"), entry);
            let mut found = Vec::new();
            while let Ok(part @ [_, ..]) = read.data() {
                found.extend_from_slice(part);
                let count = part.len();
                read.consume(count);
            }
            assert_eq!(found, data);
        }
        assert_eq!(read.next_entry().expect("ends"), None);
    }

    #[test]
    fn others_read_it_too() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("a.tar");
        let mut writer = Writer::new(std::fs::File::create(&path).expect("makes it"));
        for (entry, data) in entries().into_iter().filter(|(entry, _)| entry.path != b"na\xefve") {
            writer.entry(&entry).expect("is written");
            writer.data(&data).expect("is written");
        }
        writer.finish().expect("ends");
        let script =
            "import sys,tarfile\nfor m in tarfile.open(sys.argv[1]): print(m.name[:12], m.size, m.uid)";
        let listed = std::process::Command::new("python3").args(["-c", script]).arg(&path).output();
        let listed = listed.expect("python is installed");
        assert!(listed.status.success(), "{}", String::from_utf8_lossy(&listed.stderr));
        let text = String::from_utf8_lossy(&listed.stdout).into_owned();
        assert_eq!(text.lines().next(), Some("plain 7 7"));
        assert_eq!(text.lines().last(), Some(format!("some/holes {} 7", 1u64 << 40).as_str()));
        let listed = std::process::Command::new("tar").arg("tvf").arg(&path).output().expect("runs");
        assert!(listed.status.success(), "{}", String::from_utf8_lossy(&listed.stderr));
    }
}
