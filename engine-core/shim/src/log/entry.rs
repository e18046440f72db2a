//! One entry of a log as text. All that a container writes comes by here, so bytes are looked at eight at a time.

use alloc::vec::Vec;

/// What an entry begins with.
const HEAD: &[u8; 8] = b"{\"log\":\"";

/// Appends the entry for `line`; `tail` is what follows it, see [`tail`].
pub(super) fn entry(out: &mut Vec<u8>, line: &[u8], tail: &[u8]) {
    out.reserve(HEAD.len() + line.len() + 2 + tail.len());
    out.extend_from_slice(HEAD);
    escape(out, line);
    out.extend_from_slice(tail);
}

/// What follows the line in every entry of one moment: the stream, the attributes and the time.
pub(super) fn tail(out: &mut Vec<u8>, stream: &[u8], attributes: &[u8], time: &[u8]) {
    out.clear();
    for part in [b"\",\"stream\":\"", stream, b"\",", attributes, b"\"time\":\"", time, b"\"}\n"] {
        out.extend_from_slice(part);
    }
}

/// Appends `line` as the inside of a JSON string.
pub(crate) fn escape(out: &mut Vec<u8>, line: &[u8]) {
    let mut rest = line;
    loop {
        let (plain, special) = rest.split_at(plain_length(rest));
        out.extend_from_slice(plain);
        let Some((first, after)) = special.split_first() else { return };
        rest = after;
        match first {
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            b'"' => out.extend_from_slice(b"\\\""),
            b'\\' => out.extend_from_slice(b"\\\\"),
            control @ ..0x20 => {
                const DIGITS: &[u8; 16] = b"0123456789abcdef";
                let (high, low) = (usize::from(control >> 4), usize::from(control & 15));
                out.extend_from_slice(&[b'\\', b'u', b'0', b'0', DIGITS[high], DIGITS[low]]);
            }
            _ => {
                // Characters beyond ASCII have no byte of it, so they end before the next one of those.
                let end = special.iter().position(u8::is_ascii).unwrap_or(special.len());
                let (beyond, after) = special.split_at(end);
                rest = after;
                for chunk in beyond.utf8_chunks() {
                    out.extend_from_slice(chunk.valid().as_bytes());
                    if !chunk.invalid().is_empty() {
                        out.extend_from_slice("\u{fffd}".as_bytes());
                    }
                }
            }
        }
    }
}

const ONES: u64 = u64::from_ne_bytes([1; 8]);
const HIGH: u64 = ONES << 7;

/// How many bytes at the beginning stand for themselves in a JSON string, and are ASCII.
fn plain_length(bytes: &[u8]) -> usize {
    let special = |byte: &u8| !(0x20..0x80).contains(byte) || *byte == b'"' || *byte == b'\\';
    scan(
        bytes,
        |word| below(word, 0x20) | below(word ^ (ONES * 0x22), 1) | below(word ^ (ONES * 0x5c), 1) | word,
        special,
    )
}

/// Where the first newline is.
pub(super) fn newline(bytes: &[u8]) -> Option<usize> {
    let found = scan(bytes, |word| below(word ^ (ONES * 0x0a), 1), |byte| *byte == b'\n');
    (found < bytes.len()).then_some(found)
}

/// The high bit of every byte of `word` that is less than `bound`, as far as the lowest one; what is above that may be
/// wrong, as a borrow goes upwards. See "Bit Twiddling Hacks", "Determine if a word has a byte less than n".
fn below(word: u64, bound: u64) -> u64 {
    word.wrapping_sub(ONES * bound) & !word
}

/// The place of the first byte that `test` finds; `mask` has the high bit of the same bytes of a word.
fn scan(bytes: &[u8], mask: impl Fn(u64) -> u64, test: impl Fn(&u8) -> bool) -> usize {
    let (words, rest) = bytes.as_chunks::<8>();
    for (i, word) in words.iter().enumerate() {
        let found = mask(u64::from_le_bytes(*word)) & HIGH;
        if found != 0 {
            return i * 8 + found.trailing_zeros() as usize / 8;
        }
    }
    let scanned = words.len() * 8;
    rest.iter().position(test).map_or(bytes.len(), |at| scanned + at)
}

#[cfg(test)]
mod tests {
    use std::string::String;

    use super::*;

    fn escaped(line: &[u8]) -> String {
        let mut out = Vec::new();
        escape(&mut out, line);
        String::from_utf8(out).expect("is UTF-8")
    }

    #[test]
    fn what_json_cannot_hold_is_escaped_or_replaced() {
        assert_eq!(
            escaped(b"\"\\\t\x00\x1f\x7f\xff\xc3\xa4x\xc3\n"),
            "\\\"\\\\\\t\\u0000\\u001f\x7f\u{fffd}\u{e4}x\u{fffd}\\n"
        );
    }

    #[test]
    fn every_byte_is_found_at_every_place() {
        for at in 0..40 {
            for byte in 0..=255u8 {
                let mut line = std::vec![b'x'; 40];
                line[at] = byte;
                let special = !(0x20..0x80).contains(&byte) || byte == b'"' || byte == b'\\';
                assert_eq!(plain_length(&line), if special { at } else { 40 }, "{byte} at {at}");
                assert_eq!(newline(&line), (byte == b'\n').then_some(at), "{byte} at {at}");
                // A second one after it changes nothing.
                line[39] = b'\n';
                let expected = if special { at } else { 39 };
                assert_eq!(plain_length(&line), expected, "{byte} at {at}");
            }
        }
    }

    #[test]
    fn text_is_what_a_lossy_reading_of_it_gives() {
        let mut state = 1u32;
        for _ in 0..2000 {
            let line: Vec<u8> = (0..30)
                .map(|_| {
                    state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                    // Much of what is beyond ASCII, and of what becomes characters with it.
                    [b'a', 0xc3, 0xa4, 0xe2, 0x82, 0xac, 0xf0, 0x9f][(state >> 24) as usize % 8]
                })
                .collect();
            assert_eq!(escaped(&line), String::from_utf8_lossy(&line));
        }
    }
}
