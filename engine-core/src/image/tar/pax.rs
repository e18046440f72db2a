//! Extended headers: what does not fit into the fields of a header (POSIX pax(1), "pax Extended Header").

use super::header::{identity, size};
use super::malformed;
use crate::error::Result;

/// What the extended header of an entry says. An empty value takes back what an earlier one said.
#[derive(Default)]
pub(super) struct Pax {
    pub(super) path: Option<Vec<u8>>,
    pub(super) link: Option<Vec<u8>>,
    pub(super) size: Option<u64>,
    pub(super) uid: Option<u32>,
    pub(super) gid: Option<u32>,
    pub(super) mtime: Option<(i64, u32)>,
    pub(super) xattrs: Vec<(Vec<u8>, Vec<u8>)>,
    pub(super) sparse: PaxSparse,
}

/// What GNU tar writes about the holes of a file.
#[derive(Default)]
pub(super) struct PaxSparse {
    pub(super) major: u64,
    pub(super) minor: u64,
    pub(super) name: Option<Vec<u8>>,
    pub(super) real_size: Option<u64>,
    /// Versions 0.0 and 0.1: offsets and lengths, in turn.
    pub(super) map: Option<Vec<u64>>,
}

const XATTR: &[u8] = b"SCHILY.xattr.";

impl Pax {
    /// Reads the records of an extended header: `LENGTH KEY=VALUE\n`, where the length counts all of it. Values
    /// may hold any byte, line ends included.
    pub(super) fn parse(&mut self, mut records: &[u8]) -> Result<()> {
        while !records.is_empty() {
            let space = records.iter().take(20).position(|b| *b == b' ').ok_or_else(bad)?;
            let length = decimal(&records[..space]).ok_or_else(bad)?;
            let length = usize::try_from(length).map_err(|_| bad())?;
            let record = records.get(space + 1..length).ok_or_else(bad)?;
            let Some((b'\n', record)) = record.split_last() else { return Err(bad()) };
            let equals = record.iter().position(|b| *b == b'=').ok_or_else(bad)?;
            self.record(&record[..equals], &record[equals + 1..])?;
            records = &records[length..];
        }
        Ok(())
    }

    fn record(&mut self, key: &[u8], value: &[u8]) -> Result<()> {
        if key.is_empty() || key.contains(&0) {
            return Err(bad());
        }
        let number = || decimal(value).ok_or_else(bad);
        let signed = |value| i64::try_from(value).map_err(|_| bad());
        let set = !value.is_empty();
        match key {
            b"path" => self.path = text(value)?,
            b"linkpath" => self.link = text(value)?,
            b"size" => self.size = if set { Some(size(signed(number()?)?)?) } else { None },
            b"uid" => self.uid = if set { Some(identity(signed(number()?)?)?) } else { None },
            b"gid" => self.gid = if set { Some(identity(signed(number()?)?)?) } else { None },
            b"mtime" => self.mtime = if set { Some(time(value).ok_or_else(bad)?) } else { None },
            b"GNU.sparse.major" => self.sparse.major = number()?,
            b"GNU.sparse.minor" => self.sparse.minor = number()?,
            b"GNU.sparse.name" => self.sparse.name = text(value)?,
            b"GNU.sparse.size" | b"GNU.sparse.realsize" => self.sparse.real_size = Some(number()?),
            b"GNU.sparse.map" => {
                let numbers = value.split(|b| *b == b',').filter(|n| !n.is_empty());
                let numbers: Option<Vec<u64>> = numbers.map(decimal).collect();
                self.sparse.map = Some(numbers.ok_or_else(bad)?);
            }
            b"GNU.sparse.offset" | b"GNU.sparse.numbytes" => {
                self.sparse.map.get_or_insert_default().push(number()?);
            }
            _ => {
                if let Some(name) = key.strip_prefix(XATTR)
                    && !name.is_empty()
                {
                    self.xattrs.retain(|(other, _)| other != name);
                    self.xattrs.push((name.to_vec(), value.to_vec()));
                }
            }
        }
        Ok(())
    }
}

fn bad() -> crate::error::Error {
    malformed("an extended header is malformed")
}

fn text(value: &[u8]) -> Result<Option<Vec<u8>>> {
    if value.contains(&0) {
        return Err(malformed("a path in an extended header holds a zero byte"));
    }
    Ok(if value.is_empty() { None } else { Some(value.to_vec()) })
}

/// A number in decimal digits.
pub(super) fn decimal(text: &[u8]) -> Option<u64> {
    if text.is_empty() {
        return None;
    }
    text.iter().try_fold(0u64, |value, digit| match digit {
        b'0'..=b'9' => value.checked_mul(10)?.checked_add(u64::from(digit - b'0')),
        _ => None,
    })
}

/// A time in decimal seconds with an optional fraction, of which nanoseconds are kept.
fn time(text: &[u8]) -> Option<(i64, u32)> {
    let (negative, digits) = match text.strip_prefix(b"-") {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let mut parts = digits.splitn(2, |b| *b == b'.');
    let seconds = i64::try_from(decimal(parts.next()?)?).ok()?;
    let mut nanos = 0u32;
    if let Some(fraction) = parts.next() {
        if !fraction.iter().all(u8::is_ascii_digit) {
            return None;
        }
        let digits = fraction.iter().copied().chain(std::iter::repeat(b'0')).take(9);
        nanos = digits.fold(0, |value, digit| value * 10 + u32::from(digit - b'0'));
    }
    match (negative, nanos) {
        (false, _) => Some((seconds, nanos)),
        (true, 0) => Some((-seconds, 0)),
        (true, _) => Some((-seconds - 1, 1_000_000_000 - nanos)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(records: &[u8]) -> Result<Pax> {
        let mut pax = Pax::default();
        pax.parse(records).map(|()| pax)
    }

    #[test]
    fn values_hold_any_byte_and_later_ones_win() {
        let pax = parse(b"12 path=a=b\n30 SCHILY.xattr.user.x=\n\n=\0ab\n8 path=\n11 path=c\n\n")
            .expect("is proper");
        assert_eq!(pax.path.as_deref(), Some(&b"c\n"[..]));
        assert_eq!(pax.xattrs, [(b"user.x".to_vec(), b"\n\n=\0ab".to_vec())]);
    }

    #[test]
    fn times_have_fractions_and_signs() {
        let cases = [
            (&b"1"[..], Some((1, 0))),
            (b"1.5", Some((1, 500_000_000))),
            (b"1.0000000019", Some((1, 1))),
            (b"-1", Some((-1, 0))),
            (b"-1.25", Some((-2, 750_000_000))),
            (b"1.x", None),
            (b"--1", None),
            (b"99999999999999999999", None),
        ];
        for (text, expected) in cases {
            assert_eq!(time(text), expected, "{text:?}");
        }
    }

    #[test]
    fn malformed_records_are_refused() {
        let long =
            [b"99999999999999999999 path=a\n".as_slice(), b"4 =a\n", b"6 path\n", b"100 path=a\n", b"x"];
        let values =
            [b"9 uid=-1\n".as_slice(), b"18 uid=4294967295\n", b"12 path=a\0b\n", b"10 size=x\n", b"0 a=b\n"];
        for records in long.iter().chain(&values) {
            assert!(parse(records).is_err(), "{}", records.escape_ascii());
        }
    }
}
