//! A small compressor for logs: deflate (RFC 1951) with its fixed codes, in a gzip frame (RFC 1952).
//!
//! Lines of a log repeat what the lines before them said, so finding that is most of what there is to win. Codes of
//! their own for every block would win some more, and make every monitor larger that never compresses anything.

use alloc::vec::Vec;

/// How far back a match may be.
const WINDOW: usize = 32 << 10;
const SHORTEST: usize = 4;
const LONGEST: usize = 258;
const HASH_BITS: u32 = 15;

/// What is compressed so far.
pub(super) struct Packer {
    /// Compressed bytes, for the caller to take.
    pub(super) out: Vec<u8>,
    /// Bits that are no whole byte yet, the first one lowest.
    bits: u64,
    count: u32,
    /// Where four bytes were last seen, by their hash: one more than the place, counted from the very beginning.
    seen: Vec<usize>,
    /// What matches may be found in, and what is to be compressed after it.
    window: Vec<u8>,
    /// The place of the window's first byte.
    base: usize,
    checksum: u32,
    table: Vec<u32>,
}

impl Packer {
    /// Begins a file with `header`, that of gzip.
    pub(super) fn new(header: &[u8]) -> Packer {
        let mut packer = Packer {
            out: header.to_vec(),
            bits: 0,
            count: 0,
            seen: alloc::vec![0; 1 << HASH_BITS],
            window: Vec::new(),
            base: 0,
            checksum: u32::MAX,
            table: (0..256).map(remainder).collect(),
        };
        // One block is all, the last one, with the fixed codes.
        packer.put(0b011, 3);
        packer
    }

    /// Compresses `bytes`.
    pub(super) fn add(&mut self, bytes: &[u8]) {
        for byte in bytes {
            let index = (self.checksum as u8) ^ byte;
            let entry = self.table.get(usize::from(index)).copied().unwrap_or(0);
            self.checksum = entry ^ (self.checksum >> 8);
        }
        let old = self.window.len().saturating_sub(WINDOW);
        self.window.drain(..old);
        self.base += old;
        let mut at = self.window.len();
        self.window.extend_from_slice(bytes);
        while at < self.window.len() {
            match self.find(at) {
                Some((length, distance)) => {
                    self.repeat(length, distance);
                    // So that what begins in the middle of it is found as well.
                    for within in at + 1..at + length {
                        let _ = self.note(within);
                    }
                    at += length;
                }
                None => {
                    let byte = self.window.get(at).copied().unwrap_or(0);
                    self.symbol(byte.into());
                    at += 1;
                }
            }
        }
    }

    /// Ends the file.
    pub(super) fn finish(&mut self) {
        self.symbol(256);
        self.put(0, 7);
        self.out.extend_from_slice(&(!self.checksum).to_le_bytes());
        let length = (self.base + self.window.len()) as u32;
        self.out.extend_from_slice(&length.to_le_bytes());
    }

    /// Remembers the four bytes at this place of the window; gives where they, or others like them, were before.
    fn note(&mut self, at: usize) -> Option<usize> {
        let word = self.window.get(at..)?.first_chunk::<SHORTEST>()?;
        let hash = u32::from_le_bytes(*word).wrapping_mul(0x9e37_79b1) >> (32 - HASH_BITS);
        let seen = core::mem::replace(self.seen.get_mut(hash as usize)?, self.base + at + 1);
        seen.checked_sub(self.base + 1)
    }

    /// What was said before of what is at this place: how much of it, and how far back.
    fn find(&mut self, at: usize) -> Option<(usize, usize)> {
        let before = self.note(at)?;
        let distance = at.checked_sub(before).filter(|distance| (1..=WINDOW).contains(distance))?;
        let (old, new) = (self.window.get(before..)?, self.window.get(at..)?);
        let length = new.iter().zip(old).take(LONGEST).take_while(|(new, old)| new == old).count();
        (length >= SHORTEST).then_some((length, distance))
    }

    /// RFC 1951, section 3.2.5.
    fn repeat(&mut self, length: usize, distance: usize) {
        let (length, distance) = (length as u32 - 3, distance as u32 - 1);
        match length {
            0..8 => self.symbol(257 + length),
            // The longest has a symbol of its own.
            255 => self.symbol(285),
            _ => {
                let extra = length.ilog2() - 2;
                self.symbol(257 + 4 * extra + (length >> extra));
                self.put(length & ((1 << extra) - 1), extra);
            }
        }
        match distance {
            0..4 => self.code(distance, 5),
            _ => {
                let extra = distance.ilog2() - 1;
                self.code(2 * extra + 2 + ((distance >> extra) & 1), 5);
                self.put(distance & ((1 << extra) - 1), extra);
            }
        }
    }

    /// RFC 1951, section 3.2.6.
    fn symbol(&mut self, symbol: u32) {
        match symbol {
            0..144 => self.code(0x30 + symbol, 8),
            144..256 => self.code(0x190 + symbol - 144, 9),
            256..280 => self.code(symbol - 256, 7),
            _ => self.code(0xc0 + symbol - 280, 8),
        }
    }

    /// A code has its first bit highest.
    fn code(&mut self, code: u32, length: u32) {
        self.put(code.reverse_bits() >> (32 - length), length);
    }

    fn put(&mut self, bits: u32, length: u32) {
        self.bits |= u64::from(bits) << self.count;
        self.count += length;
        while self.count >= 8 {
            self.out.push(self.bits as u8);
            self.bits >>= 8;
            self.count -= 8;
        }
    }
}

/// The entry of CRC-32's table for a byte.
fn remainder(byte: u32) -> u32 {
    (0..8).fold(byte, |rest, _| if rest & 1 == 1 { 0xedb8_8320 ^ (rest >> 1) } else { rest >> 1 })
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn unpacked(packed: &[u8]) -> Vec<u8> {
        let mut gzip = std::process::Command::new("gzip")
            .arg("-dc")
            .stdin(std::process::Stdio::piped())
            .stdout(std::process::Stdio::piped())
            .spawn()
            .expect("gzip is installed");
        let (mut stdin, packed) = (gzip.stdin.take().expect("a pipe"), packed.to_vec());
        let writer = std::thread::spawn(move || stdin.write_all(&packed));
        let output = gzip.wait_with_output().expect("ends");
        writer.join().expect("ends").expect("writes");
        assert!(output.status.success(), "it is no archive");
        output.stdout
    }

    fn packed(parts: &[&[u8]]) -> Vec<u8> {
        let mut packer = Packer::new(&[0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3]);
        parts.iter().for_each(|part| packer.add(part));
        packer.finish();
        packer.out
    }

    #[test]
    fn whatever_is_packed_is_unpacked_by_gzip() {
        let mut state = 1u32;
        let mut random = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            state >> 8
        };
        // From what is all alike to what never repeats, across windows.
        for (kinds, length) in
            [(1, 0), (1, 1), (1, 3), (1, 200_000), (2, 100_000), (7, 100_000), (256, 200_000)]
        {
            let bytes: Vec<u8> = (0..length).map(|_| (random() % kinds) as u8).collect();
            let parts: Vec<&[u8]> = bytes.chunks(50_000).collect();
            assert!(unpacked(&packed(&parts)) == bytes, "{length} of {kinds} kinds");
        }
    }

    #[test]
    fn a_log_is_a_fraction_of_its_size() {
        let text: std::string::String = (0..20_000)
            .map(|n| std::format!("{{\"log\":\"GET /{} 200\\n\",\"stream\":\"stdout\",\"time\":\"2026-11-28T04:{n:09}Z\"}}\n", n % 97))
            .collect();
        let packed = packed(&[text.as_bytes()]);
        assert!(packed.len() * 5 < text.len(), "{} of {}", packed.len(), text.len());
        assert!(unpacked(&packed) == text.as_bytes());
    }
}
