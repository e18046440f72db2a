//! Walks through an archive, entry by entry.

use super::header::{BLOCK, Dialect, Header};
use super::pax::Pax;
use super::source::Source;
use super::sparse::{Map, Sparse, TextMap};
use super::{Entry, Kind, entry_name, malformed};
use crate::error::{ErrorKind, Result};
use crate::image::limits;

/// An archive that is being read.
pub(crate) struct Archive<S> {
    source: S,
    /// The bytes of data of the present entry that were not consumed.
    data: u64,
    /// The bytes after them up to the next header.
    padding: u64,
    header_bytes: u64,
}

/// What precedes an entry and is about it.
#[derive(Default)]
struct Extensions {
    pax: Pax,
    gnu_path: Option<Vec<u8>>,
    gnu_link: Option<Vec<u8>>,
    bytes: u64,
}

impl<S: Source> Archive<S> {
    /// The archive in `source`. What precedes one entry may be `header_bytes` long.
    pub(crate) fn new(source: S, header_bytes: u64) -> Archive<S> {
        Archive { source, data: 0, padding: 0, header_bytes }
    }

    /// The stream, where it stands.
    pub(crate) fn into_source(self) -> S {
        self.source
    }

    /// The next entry, or `None` at the end of the archive. What is left of the present one is passed over.
    pub(crate) fn next_entry(&mut self) -> Result<Option<Entry>> {
        let mut extensions = Extensions::default();
        loop {
            self.skip_data()?;
            let mut block = [0; BLOCK];
            if !self.read_block(&mut block)? {
                return Ok(None);
            }
            let Some(header) = Header::parse(&block)? else {
                // Two blocks of zeros end an archive.
                if !self.read_block(&mut block)? || block.iter().all(|b| *b == 0) {
                    return Ok(None);
                }
                return Err(malformed("a block of zeros is followed by something else"));
            };
            match header.flag() {
                b'x' => {
                    let records = self.extension(&header, &mut extensions.bytes)?;
                    extensions.pax.parse(&records)?;
                }
                b'L' => {
                    let path = self.extension(&header, &mut extensions.bytes)?;
                    extensions.gnu_path = Some(until_zero(path));
                }
                b'K' => {
                    let link = self.extension(&header, &mut extensions.bytes)?;
                    extensions.gnu_link = Some(until_zero(link));
                }
                // What is said about all entries: comments, in practice. Go ignores it, so it is ignored here.
                b'g' => self.begin_data(header.size()?),
                _ => return self.entry(&header, extensions).map(Some),
            }
        }
    }

    /// The next bytes of the present entry's data; none when all are consumed.
    pub(crate) fn data(&mut self) -> Result<&[u8]> {
        if self.data == 0 {
            return Ok(&[]);
        }
        let bytes = self.source.fill()?;
        if bytes.is_empty() {
            return Err(truncated());
        }
        let count = usize::try_from(self.data).map_or(bytes.len(), |left| left.min(bytes.len()));
        Ok(&bytes[..count])
    }

    /// The first `count` bytes of what `data` gave are done with.
    pub(crate) fn consume(&mut self, count: usize) {
        self.source.consume(count);
        self.data -= count as u64;
    }

    fn begin_data(&mut self, size: u64) {
        self.data = size;
        self.padding = size.wrapping_neg() % BLOCK as u64;
    }

    fn skip_data(&mut self) -> Result<()> {
        // The padding may be missing at the very end.
        while self.data > 0 {
            let count = self.data()?.len();
            self.consume(count);
        }
        while self.padding > 0 {
            let available = self.source.fill()?.len();
            if available == 0 {
                break;
            }
            let count = available.min(self.padding as usize);
            self.source.consume(count);
            self.padding -= count as u64;
        }
        Ok(())
    }

    /// Fills `block`; `false` if the stream ends before it.
    fn read_block(&mut self, block: &mut [u8; BLOCK]) -> Result<bool> {
        let mut have = 0;
        while have < BLOCK {
            let bytes = self.source.fill()?;
            if bytes.is_empty() {
                return if have == 0 { Ok(false) } else { Err(truncated()) };
            }
            let count = bytes.len().min(BLOCK - have);
            block[have..have + count].copy_from_slice(&bytes[..count]);
            self.source.consume(count);
            have += count;
        }
        Ok(true)
    }

    /// The data of a header that is about another one.
    fn extension(&mut self, header: &Header<'_>, bytes: &mut u64) -> Result<Vec<u8>> {
        let size = header.size()?;
        *bytes = bytes.saturating_add(size);
        if *bytes > self.header_bytes {
            let what = "names and attributes of an entry are too long";
            return Err(limits::exceeded("archive", what, "header_bytes", self.header_bytes));
        }
        self.begin_data(size);
        let mut content = Vec::with_capacity(size as usize);
        loop {
            let part = self.data()?;
            if part.is_empty() {
                return Ok(content);
            }
            content.extend_from_slice(part);
            let count = part.len();
            self.consume(count);
        }
    }

    /// The entry that `header` stands for, with what was said about it before.
    fn entry(&mut self, header: &Header<'_>, extensions: Extensions) -> Result<Entry> {
        let Extensions { pax, gnu_path, gnu_link, .. } = extensions;
        let path = gnu_path.or(pax.sparse.name).or(pax.path).unwrap_or_else(|| header.path());
        let kind = header.kind(&path);
        let subject = |e: crate::error::Error| match e.kind() {
            ErrorKind::Corrupt => {
                malformed(format!("{}: {}", entry_name(&path), e.reason().unwrap_or_default()))
            }
            _ => e,
        };
        let size = match kind {
            Kind::File | Kind::Other => match pax.size {
                Some(size) => size,
                None => header.size().map_err(subject)?,
            },
            // Such an entry has no data, whatever its header says.
            _ => 0,
        };
        self.begin_data(size);
        let pax_sparse = match (pax.sparse.major, pax.sparse.minor) {
            (1, 0) if kind == Kind::File => true,
            (0, 0 | 1) => false,
            _ => return Err(subject(malformed("it is a sparse file of an unknown version"))),
        };
        let sparse = if header.flag() == b'S' {
            Some(self.gnu_sparse(header, size).map_err(subject)?)
        } else if pax_sparse {
            let real_size = pax.sparse.real_size.unwrap_or(size);
            Some(self.text_sparse(real_size, size).map_err(subject)?)
        } else if let (Some(map), Kind::File) = (pax.sparse.map, kind) {
            let mut pieces = Map::default();
            map.into_iter().try_for_each(|number| pieces.push(number))?;
            let real_size = pax.sparse.real_size.unwrap_or(size);
            Some(Sparse::new(real_size, pieces.finish()?, size).map_err(subject)?)
        } else {
            None
        };
        let device = match kind {
            Kind::CharacterDevice | Kind::BlockDevice => header.device().map_err(subject)?,
            _ => (0, 0),
        };
        let uid = pax.uid.map_or_else(|| header.uid(), Ok).map_err(subject)?;
        let gid = pax.gid.map_or_else(|| header.gid(), Ok).map_err(subject)?;
        let mtime = match pax.mtime {
            Some(mtime) => mtime,
            None => (header.mtime().map_err(subject)?, 0),
        };
        let mode = header.mode().map_err(subject)?;
        let link = gnu_link.or(pax.link).unwrap_or_else(|| header.link());
        Ok(Entry {
            path,
            link,
            kind,
            mode,
            uid,
            gid,
            mtime,
            size: self.data,
            device,
            xattrs: pax.xattrs,
            sparse,
        })
    }

    /// The map of GNU's old form: a part in the header, the rest in blocks after it, which the size does not count.
    fn gnu_sparse(&mut self, header: &Header<'_>, stored: u64) -> Result<Sparse> {
        if header.dialect != Dialect::Gnu {
            return Err(malformed("it is a sparse file of an unknown kind"));
        }
        let (pairs, mut extended, size) = header.gnu_sparse()?;
        let mut map = Map::default();
        map.push_gnu(pairs)?;
        while extended {
            let mut block = [0; BLOCK];
            if !self.read_block(&mut block)? {
                return Err(truncated());
            }
            let (pairs, rest) = block.split_at(21 * 24);
            map.push_gnu(pairs)?;
            extended = rest[0] != 0;
        }
        Sparse::new(size, map.finish()?, stored)
    }

    /// The map at the beginning of the data, which is read here.
    fn text_sparse(&mut self, size: u64, stored: u64) -> Result<Sparse> {
        let mut map = TextMap::default();
        let mut left = stored;
        loop {
            left = left.checked_sub(BLOCK as u64).ok_or_else(truncated)?;
            let mut block = [0; BLOCK];
            if !self.read_block(&mut block)? {
                return Err(truncated());
            }
            self.data = left;
            if map.push_block(&block)? {
                return Sparse::new(size, map.finish()?, left);
            }
        }
    }
}

fn until_zero(mut text: Vec<u8>) -> Vec<u8> {
    if let Some(end) = text.iter().position(|b| *b == 0) {
        text.truncate(end);
    }
    text
}

fn truncated() -> crate::error::Error {
    malformed("it ends in the middle of an entry")
}
