//! Files with holes: where the data of an entry belongs in its file.

use super::header::number;
use super::malformed;
use super::pax::decimal;
use crate::error::Result;

/// How many pieces of data a file may have between its holes.
const MAX_PIECES: usize = 1 << 18;

/// A file with holes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Sparse {
    /// The length of the file.
    pub(crate) size: u64,
    /// Offset and length of each piece of data, in order and apart.
    pub(crate) pieces: Vec<(u64, u64)>,
}

impl Sparse {
    /// A file of `size` bytes with these pieces, whose data is `stored` bytes together.
    ///
    /// # Errors
    /// [`ErrorKind::Corrupt`](crate::ErrorKind::Corrupt) if they overlap, go beyond the file's end, or do not add
    /// up.
    pub(super) fn new(size: u64, pieces: Vec<(u64, u64)>, stored: u64) -> Result<Sparse> {
        let mut end = 0u64;
        let mut sum = 0u64;
        for (offset, length) in &pieces {
            let next = offset.checked_add(*length).ok_or_else(bad)?;
            if *offset < end || next > size {
                return Err(bad());
            }
            end = next;
            sum += length;
        }
        if sum != stored {
            return Err(bad());
        }
        Ok(Sparse { size, pieces })
    }
}

fn bad() -> crate::error::Error {
    malformed("the map of a sparse file is malformed")
}

/// Collects the pieces of a file while its map is read.
#[derive(Default)]
pub(super) struct Map {
    pieces: Vec<(u64, u64)>,
    offset: Option<u64>,
}

impl Map {
    /// Offset and length in turn.
    pub(super) fn push(&mut self, number: u64) -> Result<()> {
        match self.offset.take() {
            None => self.offset = Some(number),
            Some(_) if self.pieces.len() >= MAX_PIECES => {
                return Err(malformed(format!("a sparse file has more than {MAX_PIECES} pieces")));
            }
            Some(offset) => self.pieces.push((offset, number)),
        }
        Ok(())
    }

    /// The pairs of a GNU header or of a block that continues one. An empty pair ends the map.
    pub(super) fn push_gnu(&mut self, pairs: &[u8]) -> Result<()> {
        for pair in pairs.chunks_exact(24) {
            let (offset, length) = pair.split_at(12);
            if offset.first().is_none_or(|b| *b == 0) || length.first().is_none_or(|b| *b == 0) {
                break;
            }
            for field in [offset, length] {
                self.push(u64::try_from(number(field)?).map_err(|_| bad())?)?;
            }
        }
        Ok(())
    }

    pub(super) fn finish(self) -> Result<Vec<(u64, u64)>> {
        match self.offset {
            None => Ok(self.pieces),
            Some(_) => Err(bad()),
        }
    }
}

/// The map at the beginning of an entry's data (GNU sparse version 1.0): the number of pieces, then offset and
/// length of each, one decimal number a line.
#[derive(Default)]
pub(super) struct TextMap {
    map: Map,
    digits: Vec<u8>,
    /// The numbers that are to come; unknown before the first.
    left: Option<usize>,
}

impl TextMap {
    /// Takes a block of the map; whether that was the last one is the answer.
    pub(super) fn push_block(&mut self, block: &[u8]) -> Result<bool> {
        for byte in block {
            if self.left == Some(0) {
                break;
            }
            if *byte != b'\n' {
                if self.digits.len() >= 20 {
                    return Err(bad());
                }
                self.digits.push(*byte);
                continue;
            }
            let number = decimal(&self.digits).ok_or_else(bad)?;
            self.digits.clear();
            self.left = Some(match self.left {
                None if number > MAX_PIECES as u64 => {
                    return Err(malformed(format!("a sparse file has more than {MAX_PIECES} pieces")));
                }
                None => usize::try_from(number).map_err(|_| bad())? * 2,
                Some(left) => {
                    self.map.push(number)?;
                    left - 1
                }
            });
        }
        Ok(self.left == Some(0))
    }

    pub(super) fn finish(self) -> Result<Vec<(u64, u64)>> {
        self.map.finish()
    }
}
