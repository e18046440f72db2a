//! The files of a log as one: the current one, and those that were put aside, `.1` the youngest, compressed or not.
//!
//! A monitor moves them one place on, the oldest first, while somebody reads. Three things are sure, and all that is
//! needed: a file's place only grows, nothing is written to one that was put aside, and between two neighbours there is
//! never more than one gap. An open file keeps its inode from being given to another one; that which was compressed
//! has the inode of what it was made from in its header, and its time.

use std::fs::{File, Metadata};
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use flate2::read::GzDecoder;

/// So many bytes are read at once.
pub(super) const BLOCK: usize = 64 << 10;
/// Somebody may move the files again and again; then one looks again, so often.
const ATTEMPTS: usize = 64;

/// A place in the files of a log.
pub(super) struct Place {
    /// Where the file was when it was last looked for; 0 is the current one.
    pub(super) index: u32,
    content: Content,
    /// The uncompressed bytes before what is read next.
    pub(super) offset: u64,
}

enum Content {
    Plain(BufReader<File>),
    Packed(Box<BufReader<GzDecoder<File>>>),
}

/// A point that a reader is not to read beyond: what was written when it began.
pub(super) struct End {
    /// Kept open, so that its inode is nobody else's.
    file: File,
    size: u64,
}

impl End {
    /// The end of what is written now. `None` if there is no current file.
    pub(super) fn of(log: &Path) -> io::Result<Option<End>> {
        let Some(file) = absent(File::open(log))? else { return Ok(None) };
        let size = file.metadata()?.len();
        Ok(Some(End { file, size }))
    }
}

impl Place {
    /// The file at `index`, at its beginning. `None` if there is none.
    pub(super) fn open(log: &Path, index: u32) -> io::Result<Option<Place>> {
        let place = |content| Some(Place { index, content, offset: 0 });
        if let Some(file) = absent(File::open(name(log, index)))? {
            return Ok(place(Content::Plain(BufReader::with_capacity(BLOCK, file))));
        }
        if index == 0 {
            return Ok(None);
        }
        let Some(file) = absent(File::open(packed(log, index)))? else { return Ok(None) };
        let decoder = BufReader::with_capacity(BLOCK, GzDecoder::new(file));
        Ok(place(Content::Packed(Box::new(decoder))))
    }

    /// The oldest file there is.
    pub(super) fn oldest(log: &Path) -> io::Result<Option<Place>> {
        for _ in 0..ATTEMPTS {
            let (mut oldest, mut index) = (0, 1);
            // A gap may be there, and beyond it is another one.
            while exists(log, index)? || exists(log, index + 1)? {
                oldest = index;
                index += 1;
            }
            if exists(log, oldest + 1)? {
                oldest += 1;
            }
            // It may have become a gap, or gone.
            if let Some(place) = Place::open(log, oldest)? {
                return Ok(Some(place));
            }
            if oldest == 0 {
                return Ok(None);
            }
        }
        Place::open(log, 0)
    }

    /// Goes to the beginning of the last `lines` lines of the file, or to its own. Gives how many there are.
    pub(super) fn seek_last(&mut self, lines: usize) -> io::Result<usize> {
        match &mut self.content {
            Content::Plain(reader) => {
                let (start, found) = tail_offset(reader.get_mut(), lines)?;
                reader.seek(SeekFrom::Start(start))?;
                self.offset = start;
                Ok(found)
            }
            Content::Packed(reader) => {
                let mut total = 0;
                while skip_line(&mut **reader)? > 0 {
                    total += 1;
                }
                let mut file = reader.get_ref().get_ref().try_clone()?;
                file.rewind()?;
                **reader = BufReader::with_capacity(BLOCK, GzDecoder::new(file));
                self.offset = 0;
                for _ in 0..total - total.min(lines) {
                    self.offset += skip_line(&mut **reader)?;
                }
                Ok(total.min(lines))
            }
        }
    }

    /// Appends the rest of the line to `line`, no more than `limit` bytes; gives how many were read.
    pub(super) fn read_line(&mut self, line: &mut Vec<u8>, limit: u64) -> io::Result<usize> {
        let read = match &mut self.content {
            Content::Plain(reader) => reader.take(limit).read_until(b'\n', line)?,
            Content::Packed(reader) => readable(reader.as_mut().take(limit).read_until(b'\n', line))?,
        };
        self.offset += read as u64;
        Ok(read)
    }

    /// What is known of the file that is open.
    fn metadata(&self) -> io::Result<Metadata> {
        match &self.content {
            Content::Plain(reader) => reader.get_ref().metadata(),
            Content::Packed(reader) => reader.get_ref().get_ref().metadata(),
        }
    }

    /// Whether all that the file has was written before `seconds` since the epoch. The kernel's clock for files is
    /// some milliseconds behind.
    pub(super) fn ended_before(&self, seconds: i64) -> io::Result<bool> {
        Ok(self.metadata()?.mtime() < seconds.saturating_sub(1))
    }

    /// Where `end` is in this file, if it is.
    pub(super) fn end_in(&self, end: &End) -> io::Result<Option<u64>> {
        let same = match &self.content {
            Content::Plain(reader) => same_file(&reader.get_ref().metadata()?, &end.file.metadata()?),
            Content::Packed(reader) => {
                let header = reader.get_ref().header().and_then(|header| header.extra());
                made_from(header, &self.metadata()?, &end.file.metadata()?)
            }
        };
        Ok(same.then_some(end.size))
    }

    /// At the end of the file: whether there is more of it, which was written or cut since.
    pub(super) fn has_more(&mut self) -> io::Result<bool> {
        let Content::Plain(reader) = &mut self.content else { return Ok(false) };
        let size = reader.get_ref().metadata()?.len();
        if size < self.offset {
            // Half an entry, which a full disk did not take, was taken away again.
            self.offset = reader.seek(SeekFrom::Start(size))?;
        }
        Ok(size > self.offset)
    }

    /// Whether the file is the current one still.
    pub(super) fn is_current(&mut self, log: &Path) -> io::Result<bool> {
        if self.index == 0 && self.is_at(log, 0)? {
            return Ok(true);
        }
        self.index = self.index.max(1);
        Ok(false)
    }

    /// The file that was begun when this one was put aside; the oldest, if this one is gone. `None` if it is not
    /// there yet.
    pub(super) fn younger(&mut self, log: &Path) -> io::Result<Option<Place>> {
        for _ in 0..ATTEMPTS {
            let Some(at) = self.find(log)? else { return Place::oldest(log) };
            if at == 0 {
                return Ok(None);
            }
            let mut next = Place::open(log, at - 1)?;
            if next.is_none() && at > 1 {
                next = Place::open(log, at - 2)?;
            }
            // If this one is where it was, so was what was opened.
            if self.is_at(log, at)? {
                return Ok(next);
            }
        }
        Ok(None)
    }

    /// The file that was put aside before this one was begun.
    pub(super) fn older(&mut self, log: &Path) -> io::Result<Option<Place>> {
        for _ in 0..ATTEMPTS {
            let Some(at) = self.find(log)? else { return Ok(None) };
            let mut next = Place::open(log, at + 1)?;
            if next.is_none() {
                next = Place::open(log, at + 2)?;
            }
            if self.is_at(log, at)? {
                return Ok(next);
            }
        }
        Ok(None)
    }

    /// Where the file is now. `None` if it is gone.
    fn find(&mut self, log: &Path) -> io::Result<Option<u32>> {
        let mut gaps = 0;
        for index in self.index.. {
            if self.is_at(log, index)? {
                self.index = index;
                return Ok(Some(index));
            }
            gaps = if exists(log, index)? { 0 } else { gaps + 1 };
            if gaps > 2 {
                break;
            }
        }
        Ok(None)
    }

    /// Whether the file is at `index`, itself or what was made from it.
    fn is_at(&self, log: &Path, index: u32) -> io::Result<bool> {
        let ours = self.metadata()?;
        if let Content::Plain(_) = &self.content {
            if let Some(there) = absent(std::fs::metadata(name(log, index)))? {
                return Ok(same_file(&there, &ours));
            }
            let Some(file) = absent(File::open(packed(log, index)))? else { return Ok(false) };
            let there = file.metadata()?;
            let decoder = GzDecoder::new(file);
            return Ok(made_from(decoder.header().and_then(|header| header.extra()), &there, &ours));
        }
        let there = absent(std::fs::metadata(packed(log, index)))?;
        Ok(there.is_some_and(|there| same_file(&there, &ours)))
    }
}

/// What there is, or `None`.
fn absent<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Ok(found) => Ok(Some(found)),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(e),
    }
}

fn name(log: &Path, index: u32) -> PathBuf {
    match index {
        0 => log.to_owned(),
        _ => numbered(log, &format!(".{index}")),
    }
}

fn packed(log: &Path, index: u32) -> PathBuf {
    numbered(log, &format!(".{index}.gz"))
}

fn numbered(log: &Path, suffix: &str) -> PathBuf {
    let mut name = log.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

fn exists(log: &Path, index: u32) -> io::Result<bool> {
    Ok(name(log, index).try_exists()? || (index > 0 && packed(log, index).try_exists()?))
}

fn same_file(one: &Metadata, other: &Metadata) -> bool {
    (one.dev(), one.ino()) == (other.dev(), other.ino())
}

/// Whether a compressed file, with `extra` in its header, was made from `plain`, which is written to no more.
fn made_from(extra: Option<&[u8]>, packed: &Metadata, plain: &Metadata) -> bool {
    let inode =
        extra.and_then(|extra| extra.strip_prefix(b"in\x08\0")).and_then(|inode| inode.try_into().ok());
    inode.map(u64::from_le_bytes) == Some(plain.ino())
        && (packed.mtime(), packed.mtime_nsec()) == (plain.mtime(), plain.mtime_nsec())
}

/// Reads to the end of the line; gives its length.
fn skip_line(reader: &mut impl BufRead) -> io::Result<u64> {
    readable(reader.skip_until(b'\n')).map(|read| read as u64)
}

/// An archive that was damaged ends where it was: that is no reason to withhold the other files.
fn readable(read: io::Result<usize>) -> io::Result<usize> {
    use io::ErrorKind::{InvalidData, InvalidInput, UnexpectedEof};
    match read {
        Err(e) if matches!(e.kind(), InvalidData | InvalidInput | UnexpectedEof) => Ok(0),
        read => read,
    }
}

/// Where the last `lines` lines of the file begin, and how many there are.
fn tail_offset(file: &mut File, lines: usize) -> io::Result<(u64, usize)> {
    let end = file.seek(SeekFrom::End(0))?;
    if lines == 0 || end == 0 {
        return Ok((end, 0));
    }
    let (mut at, mut found) = (end, 0);
    let mut block = vec![0; BLOCK];
    while at > 0 {
        let length = at.min(BLOCK as u64);
        at -= length;
        file.seek(SeekFrom::Start(at))?;
        let block = &mut block[..length as usize];
        file.read_exact(block)?;
        for (i, byte) in block.iter().enumerate().rev() {
            let position = at + i as u64 + 1;
            // The newline that ends the last line begins no other one.
            if *byte == b'\n' && position < end {
                found += 1;
                if found >= lines {
                    return Ok((position, found));
                }
            }
        }
    }
    Ok((0, found + 1))
}
