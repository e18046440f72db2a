//! The files of a log: the current one, and those that were put aside, `.1` the youngest.
//!
//! A reader who is at the end of a file finds out whether it was put aside, by its inode, and goes on with the next
//! younger one. So nothing is written to a file any more once it has been put aside, and none but the oldest vanishes.
//!
//! What is put aside may be compressed, by a child, which writes to a file of another name; only when that is complete
//! does it take the place of what it was made from. Whoever is killed on the way leaves both or the old one.

use alloc::string::String;

use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{AtFlags, CWD, Mode, OFlags};
use rustix::io::Errno;

use super::compress::{self, Compressor};
use crate::failure::{Result, Step};
use crate::plan::Logging;
use crate::text::Text;

/// The longest entry, and more: what a half one at the end of a file is looked for in.
const MAX_ENTRY: u64 = 256 << 10;

/// The files of a log, open to append to.
pub(super) struct Files {
    path: String,
    file: OwnedFd,
    /// Bytes of the current file.
    size: u64,
    /// It is put aside when it has so many.
    max_size: u64,
    max_files: u32,
    compress: bool,
    compressor: Option<Compressor>,
}

impl Files {
    pub(super) fn open(path: &String, logging: &Logging) -> Result<Files> {
        let file = append_to(path).step("open log", path)?;
        let size = rustix::fs::fstat(&file).step("look at log", path)?.st_size as u64;
        let max_size = if logging.max_size == 0 { u64::MAX } else { logging.max_size };
        let mut files = Files {
            path: path.clone(),
            file,
            size,
            max_size,
            max_files: logging.max_files.max(1),
            compress: logging.compress,
            compressor: None,
        };
        files.mend();
        if files.compress {
            // What a monitor that was killed left of its work.
            let _ = rustix::fs::unlinkat(CWD, compress::unfinished(path), AtFlags::empty());
            files.compress_next();
        }
        Ok(files)
    }

    /// Takes away half an entry at the end, which a monitor left that was killed: it would spoil the next one.
    fn mend(&mut self) {
        if self.size == 0 {
            return;
        }
        // The file is open for writing alone.
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let Ok(file) = rustix::fs::open(self.path.as_str(), flags, Mode::empty()) else { return };
        let mut last = [0; 1];
        if rustix::io::pread(&file, &mut last, self.size - 1) == Ok(1) && last == *b"\n" {
            return;
        }
        let mut tail = alloc::vec![0; self.size.min(MAX_ENTRY) as usize];
        let begin = self.size - tail.len() as u64;
        let read = rustix::io::pread(&file, &mut tail, begin).unwrap_or(0);
        let whole = tail.get(..read).and_then(|tail| tail.iter().rposition(|byte| *byte == b'\n'));
        let keep = begin + whole.map_or(0, |at| at as u64 + 1);
        if rustix::fs::ftruncate(&self.file, keep).is_ok() {
            self.size = keep;
        }
    }

    /// How many bytes the current file takes before it is put aside.
    pub(super) fn room(&self) -> u64 {
        // One that is full already is put aside by the next write.
        self.max_size.checked_sub(self.size).filter(|room| *room > 0).unwrap_or(self.max_size)
    }

    /// Writes whole entries. A log that cannot be written must not stop the container: what does not fit on the disk
    /// is lost, and no half entry stays.
    pub(super) fn write(&mut self, entries: &[u8]) {
        if self.size >= self.max_size {
            self.put_aside();
        }
        let mut rest = entries;
        while !rest.is_empty() {
            match rustix::io::write(&self.file, rest) {
                Ok(written) => rest = rest.get(written..).unwrap_or_default(),
                Err(Errno::INTR) => {}
                Err(_) => break,
            }
        }
        let written = entries.len() - rest.len();
        self.size += written as u64;
        if !rest.is_empty() && written > 0 {
            let lines = entries.get(..written).unwrap_or_default();
            let whole = lines.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
            let keep = self.size - (written - whole) as u64;
            if rustix::fs::ftruncate(&self.file, keep).is_ok() {
                self.size = keep;
            }
        }
    }

    /// Puts the current file aside, and begins another one. If that cannot be, it goes on growing.
    fn put_aside(&mut self) {
        let first = numbered(&self.path, 1);
        if self.max_files == 1 {
            // Who reads it reads it to its end.
            let _ = rustix::fs::unlinkat(CWD, self.path.as_str(), AtFlags::empty());
        } else {
            self.make_room();
            if rustix::fs::renameat(CWD, self.path.as_str(), CWD, first.as_str()).is_err() {
                return;
            }
        }
        match append_to(&self.path) {
            Ok(file) => (self.file, self.size) = (file, 0),
            Err(_) if self.max_files > 1 => {
                let _ = rustix::fs::renameat(CWD, first.as_str(), CWD, self.path.as_str());
            }
            Err(_) => {}
        }
        if self.compress {
            self.compress_next();
        }
    }

    /// Moves those that were put aside one place on, the oldest first, so that there is never more than one gap.
    fn make_room(&mut self) {
        let last = self.max_files - 1;
        for plain in [true, false] {
            let _ = rustix::fs::unlinkat(CWD, self.name(last, plain), AtFlags::empty());
        }
        for index in (1..last).rev() {
            for plain in [true, false] {
                let (from, to) = (self.name(index, plain), self.name(index + 1, plain));
                let _ = rustix::fs::renameat(CWD, from.as_str(), CWD, to.as_str());
            }
        }
        if let Some(compressor) = &mut self.compressor {
            compressor.index += 1;
        }
        if self.compressor.as_ref().is_some_and(|compressor| compressor.index > last) {
            self.give_up();
        }
    }

    fn name(&self, index: u32, plain: bool) -> String {
        let name = numbered(&self.path, index);
        if plain { name } else { [&name, compress::SUFFIX].concat() }
    }

    /// The child that compresses, if there is one: it is ready when it has ended.
    pub(super) fn compressor(&self) -> Option<BorrowedFd<'_>> {
        self.compressor.as_ref().map(|compressor| compressor.process.as_fd())
    }

    /// The child that compresses has ended: what it made takes the place of what it was made from.
    pub(super) fn compressed(&mut self) {
        let Some(compressor) = self.compressor.take() else { return };
        let index = compressor.index;
        let unfinished = compress::unfinished(&self.path);
        if !compressor.succeeded() {
            // For want of space or memory. The next one gets its chance when the next file is put aside.
            let _ = rustix::fs::unlinkat(CWD, unfinished, AtFlags::empty());
            return;
        }
        if rustix::fs::renameat(CWD, unfinished, CWD, self.name(index, false)).is_ok() {
            let _ = rustix::fs::unlinkat(CWD, self.name(index, true), AtFlags::empty());
        }
        self.compress_next();
    }

    /// Compresses the oldest file that is not yet, unless another one is being compressed.
    fn compress_next(&mut self) {
        if self.compressor.is_some() {
            return;
        }
        let open = |index: &u32| {
            let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
            let plain = rustix::fs::open(self.name(*index, true), flags, Mode::empty()).ok()?;
            Some((*index, plain))
        };
        // There is no gap, but where one was taken away by hand.
        let oldest =
            (1..self.max_files).take_while(|index| open(index).is_some() || self.is_compressed(*index));
        if let Some((index, plain)) = oldest.filter_map(|index| open(&index)).last() {
            self.compressor = Compressor::start(index, plain, &compress::unfinished(&self.path));
        }
    }

    fn is_compressed(&self, index: u32) -> bool {
        rustix::fs::stat(self.name(index, false)).is_ok()
    }

    /// Ends the child that compresses; what it was to compress stays as it is.
    pub(super) fn give_up(&mut self) {
        if let Some(compressor) = self.compressor.take() {
            compressor.kill();
            let _ = rustix::fs::unlinkat(CWD, compress::unfinished(&self.path), AtFlags::empty());
        }
    }
}

fn append_to(path: &str) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::APPEND | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    rustix::fs::open(path, flags, Mode::from_raw_mode(0o640))
}

fn numbered(path: &str, index: u32) -> String {
    let mut name = Text::default();
    name.push(path).push(".").number(index.into());
    name.into()
}
