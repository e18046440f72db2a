//! Compressed streams: told by their first bytes, and decompressed.

use std::io::{self, BufReader, Cursor, Read};

use crate::error::{Error, ErrorKind, Result, Subject};
use crate::spec::Compression;

const BUFFER: usize = 128 << 10;
/// The most memory a frame of Zstandard may ask for: a window of 128 MiB, what `zstd --long` makes.
const WINDOW_LOG: u32 = 27;
/// How many first bytes tell any compression.
const HEAD: usize = 6;

/// The stream, decompressed if it is compressed.
pub(crate) fn open(subject: &str, mut from: Box<dyn Read + Send>) -> Result<Box<dyn Read + Send>> {
    let mut head = Vec::with_capacity(HEAD);
    from.by_ref().take(HEAD as u64).read_to_end(&mut head).subject(|| subject.to_owned())?;
    refuse_others(subject, &head)?;
    let compression = Compression::sniff(&head);
    decoder(compression, Cursor::new(head).chain(from)).subject(|| subject.to_owned())
}

/// A reader of what `from` holds compressed so.
pub(crate) fn decoder(
    compression: Compression,
    from: impl Read + Send + 'static,
) -> io::Result<Box<dyn Read + Send>> {
    let from = BufReader::with_capacity(BUFFER, from);
    Ok(match compression {
        Compression::None => Box::new(from),
        Compression::Gzip => Box::new(flate2::bufread::MultiGzDecoder::new(from)),
        Compression::Zstd => {
            let mut decoder = zstd::stream::read::Decoder::with_buffer(from)?;
            decoder.window_log_max(WINDOW_LOG)?;
            Box::new(decoder)
        }
    })
}

/// Refuses, by name, compressions that docker knows and this engine does not.
pub(crate) fn refuse_others(subject: &str, head: &[u8]) -> Result<()> {
    let (name, tool) = match head {
        [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => ("xz", "xz -dc"),
        [b'B', b'Z', b'h', ..] => ("bzip2", "bzip2 -dc"),
        _ => return Ok(()),
    };
    Err(Error::new(ErrorKind::Unsupported, subject)
        .because(format!("it is compressed with {name}"))
        .with_remedy(format!("decompress it first: {tool} FILE | …")))
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn every_compression_is_seen_and_undone() {
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gzip.write_all(b"content").expect("compresses");
        let gzip = gzip.finish().expect("compresses");
        let zstd = zstd::encode_all(&b"content"[..], 1).expect("compresses");
        for stream in [b"content".to_vec(), gzip.clone(), zstd] {
            let opened = open("archive", Box::new(Cursor::new(stream))).expect("opens");
            assert_eq!(io::read_to_string(opened).expect("reads"), "content");
        }
        let twice = [gzip.clone(), gzip].concat();
        let opened = open("archive", Box::new(Cursor::new(twice))).expect("opens");
        assert_eq!(io::read_to_string(opened).expect("reads"), "contentcontent", "of several members");
    }

    #[test]
    fn an_unknown_compression_is_named_with_a_way_out() {
        let error = open("archive", Box::new(&b"\xfd7zXZ\0..."[..])).err().expect("is refused");
        assert_eq!(error.kind(), ErrorKind::Unsupported);
        assert!(error.remedy().is_some_and(|remedy| remedy.contains("xz -dc")));
        assert!(open("archive", Box::new(&b""[..])).is_ok());
    }
}
