//! The 512 bytes that precede every entry.

use super::{Kind, malformed};
use crate::error::Result;

/// The unit of an archive.
pub(super) const BLOCK: usize = 512;

/// Which dialect a header is written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Dialect {
    V7,
    /// POSIX: ustar and pax.
    Ustar,
    Star,
    Gnu,
}

/// One header block whose checksum is right.
pub(super) struct Header<'a> {
    block: &'a [u8; BLOCK],
    pub(super) dialect: Dialect,
}

// Offset and length of the fields (POSIX pax(1), "ustar Interchange Format"; GNU tar's tar.h).
const NAME: (usize, usize) = (0, 100);
const MODE: (usize, usize) = (100, 8);
const UID: (usize, usize) = (108, 8);
const GID: (usize, usize) = (116, 8);
const SIZE: (usize, usize) = (124, 12);
const MTIME: (usize, usize) = (136, 12);
const CHECKSUM: (usize, usize) = (148, 8);
const KIND: usize = 156;
const LINK: (usize, usize) = (157, 100);
const MAGIC: (usize, usize) = (257, 8);
const MAJOR: (usize, usize) = (329, 8);
const MINOR: (usize, usize) = (337, 8);
const PREFIX: (usize, usize) = (345, 155);
const STAR_PREFIX: (usize, usize) = (345, 131);
const STAR_TRAILER: (usize, usize) = (508, 4);
const GNU_SPARSE: (usize, usize) = (386, 96);
const GNU_EXTENDED: usize = 482;
const GNU_REAL_SIZE: (usize, usize) = (483, 12);

impl<'a> Header<'a> {
    /// Reads `block`; `None` if it is all zero.
    pub(super) fn parse(block: &'a [u8; BLOCK]) -> Result<Option<Header<'a>>> {
        if block.iter().all(|b| *b == 0) {
            return Ok(None);
        }
        let header = Header { block, dialect: dialect(block) };
        let written = header.number(CHECKSUM)?;
        // The sum counts its own field as spaces. Some old programs summed signed bytes.
        let spaces = i64::from(b' ') * 8;
        let own = CHECKSUM.0..CHECKSUM.0 + CHECKSUM.1;
        let others = || block.iter().enumerate().filter(|(at, _)| !own.contains(at)).map(|(_, b)| *b);
        let unsigned: i64 = spaces + others().map(i64::from).sum::<i64>();
        if written != unsigned {
            let signed: i64 = spaces + others().map(|b| i64::from(b.cast_signed())).sum::<i64>();
            if written != signed {
                return Err(malformed("the checksum of a header is wrong"));
            }
        }
        Ok(Some(header))
    }

    fn field(&self, (at, length): (usize, usize)) -> &'a [u8] {
        &self.block[at..at + length]
    }

    /// The field up to its first zero byte.
    fn text(&self, field: (usize, usize)) -> &'a [u8] {
        let bytes = self.field(field);
        bytes.split(|b| *b == 0).next().unwrap_or(bytes)
    }

    fn number(&self, field: (usize, usize)) -> Result<i64> {
        number(self.field(field))
    }

    /// The type flag.
    pub(super) fn flag(&self) -> u8 {
        self.block[KIND]
    }

    /// What the entry is, for the flags that stand for an entry of their own.
    pub(super) fn kind(&self, path: &[u8]) -> Kind {
        match self.flag() {
            b'0' | b'7' | b'S' => Kind::File,
            // Before there was a flag, a directory was told by its name.
            0 if path.ends_with(b"/") => Kind::Directory,
            0 => Kind::File,
            b'1' => Kind::HardLink,
            b'2' => Kind::SymbolicLink,
            b'3' => Kind::CharacterDevice,
            b'4' => Kind::BlockDevice,
            b'5' => Kind::Directory,
            b'6' => Kind::Fifo,
            _ => Kind::Other,
        }
    }

    /// The path, with the prefix that the dialect has.
    pub(super) fn path(&self) -> Vec<u8> {
        let prefix = match self.dialect {
            Dialect::Ustar => self.text(PREFIX),
            Dialect::Star => self.text(STAR_PREFIX),
            Dialect::V7 | Dialect::Gnu => b"",
        };
        let name = self.text(NAME);
        if prefix.is_empty() { name.to_vec() } else { [prefix, b"/", name].concat() }
    }

    pub(super) fn link(&self) -> Vec<u8> {
        self.text(LINK).to_vec()
    }

    pub(super) fn mode(&self) -> Result<u32> {
        // The type is in the flag; some writers repeat it here.
        Ok((self.number(MODE)? & 0o7777) as u32)
    }

    pub(super) fn uid(&self) -> Result<u32> {
        identity(self.number(UID)?)
    }

    pub(super) fn gid(&self) -> Result<u32> {
        identity(self.number(GID)?)
    }

    pub(super) fn size(&self) -> Result<u64> {
        size(self.number(SIZE)?)
    }

    pub(super) fn mtime(&self) -> Result<i64> {
        self.number(MTIME)
    }

    /// Major and minor number; only dialects after v7 have them.
    pub(super) fn device(&self) -> Result<(u32, u32)> {
        if self.dialect == Dialect::V7 {
            return Ok((0, 0));
        }
        let part = |field| {
            u32::try_from(self.number(field)?).map_err(|_| malformed("a device number is out of range"))
        };
        Ok((part(MAJOR)?, part(MINOR)?))
    }

    /// GNU's old sparse form: the pairs in the header, whether blocks of more follow, and the file's real size.
    pub(super) fn gnu_sparse(&self) -> Result<(&'a [u8], bool, u64)> {
        Ok((self.field(GNU_SPARSE), self.block[GNU_EXTENDED] != 0, size(self.number(GNU_REAL_SIZE)?)?))
    }
}

fn dialect(block: &[u8; BLOCK]) -> Dialect {
    let magic = &block[MAGIC.0..MAGIC.0 + MAGIC.1];
    let trailer = &block[STAR_TRAILER.0..STAR_TRAILER.0 + STAR_TRAILER.1];
    match magic {
        b"ustar  \0" => Dialect::Gnu,
        [b'u', b's', b't', b'a', b'r', 0, ..] if trailer == b"tar\0" => Dialect::Star,
        [b'u', b's', b't', b'a', b'r', 0, ..] => Dialect::Ustar,
        _ => Dialect::V7,
    }
}

/// A number field: octal digits, or a base-256 number with the first bit set (GNU).
pub(super) fn number(field: &[u8]) -> Result<i64> {
    let Some(first) = field.first() else { return Ok(0) };
    if first & 0x80 != 0 {
        // Two's complement over the whole field but its first bit.
        let negative = first & 0x40 != 0;
        let mut value: i128 = if negative { -1 } else { 0 };
        for (at, byte) in field.iter().enumerate() {
            let byte = if at == 0 && !negative { byte & 0x7f } else { *byte };
            value = (value << 8) | i128::from(byte);
            if i64::try_from(value).is_err() {
                break;
            }
        }
        return i64::try_from(value).map_err(|_| malformed("a number in a header is out of range"));
    }
    let text = field.trim_ascii();
    let text = text.split(|b| *b == 0).next().unwrap_or(text).trim_ascii();
    let mut value: i64 = 0;
    for digit in text {
        if !matches!(digit, b'0'..=b'7') {
            return Err(malformed("a number in a header has a digit that is none"));
        }
        value = value
            .checked_mul(8)
            .and_then(|value| value.checked_add(i64::from(digit - b'0')))
            .ok_or_else(|| malformed("a number in a header is out of range"))?;
    }
    Ok(value)
}

/// A user or group. The highest number is not one: to the kernel it means "leave it as it is".
pub(super) fn identity(value: i64) -> Result<u32> {
    match u32::try_from(value) {
        Ok(id) if id != u32::MAX => Ok(id),
        _ => Err(malformed(format!("{value} is no user or group"))),
    }
}

/// A length.
pub(super) fn size(value: i64) -> Result<u64> {
    u64::try_from(value).map_err(|_| malformed("a size is negative"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_octal_or_base_256() {
        let mut large = [0; 12];
        large[0] = 0x80;
        large[4..].copy_from_slice(&(9u64 << 30).to_be_bytes());
        let cases: [(&[u8], i64); 8] = [
            (b"0000644\0", 0o644),
            (b" 644 \0\0\0", 0o644),
            (b"77777777", 0o77_777_777),
            (b"\0\0\0\0\0\0\0\0", 0),
            (b"", 0),
            (&large, 9 << 30),
            (&[0xff; 12], -1),
            (&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xfe], -2),
        ];
        for (field, value) in cases {
            assert_eq!(number(field).expect("a number"), value, "{field:?}");
        }
        let mut huge = [0xff; 12];
        huge[0] = 0x80;
        for field in [&b"0000648\0"[..], b"-1\0\0\0\0\0\0", b"0x10\0\0\0\0", &huge] {
            assert!(number(field).is_err(), "{field:?}");
        }
    }
}
