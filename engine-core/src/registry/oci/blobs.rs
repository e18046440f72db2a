//! Blobs: from an offset on, never more bytes than announced.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::stream;
use reqwest::header::CONTENT_RANGE;
use reqwest::{Response, StatusCode};

use super::address::Site;
use super::ask::Ask;
use super::errors::failure;
use super::http::Http;
use super::server::Server;
use crate::error::{Error, ErrorKind, Result};
use crate::reference::Reference;
use crate::registry::driver::{BlobStream, Credential};
use crate::spec::Descriptor;

/// Begins to fetch the blob from the site.
pub(super) async fn open(
    http: &Http,
    site: &Site,
    reference: &Reference,
    blob: &Descriptor,
    offset: u64,
    credential: Option<&Credential>,
) -> Result<BlobStream> {
    let mut ask = Ask::blob(reference, blob, offset);
    if offset > blob.size {
        return Err(Error::internal(&ask.subject, "it was asked for beyond its end"));
    }
    if offset == blob.size && offset > 0 {
        return Ok(BlobStream { offset, bytes: Box::pin(stream::empty()) });
    }
    let mut answer = http.get(site, &ask, credential).await?;
    if answer.status() == StatusCode::RANGE_NOT_SATISFIABLE {
        // Some servers know no ranges and say so in this way.
        ask.offset = 0;
        answer = http.get(site, &ask, credential).await?;
    }
    let range = match answer.status() {
        StatusCode::PARTIAL_CONTENT => {
            Some(answer.headers().get(CONTENT_RANGE).and_then(|r| r.to_str().ok()))
        }
        _ => None,
    };
    let from = begin(range, ask.offset, blob.size, answer.content_length()).map_err(|(kind, reason)| {
        Error::new(kind, &ask.subject).because(format!("{} {reason}", site.address))
    })?;
    let server = http.server(site);
    let transfer = Transfer { answer, server, subject: ask.subject, left: blob.size - from };
    Ok(BlobStream { offset: from, bytes: Box::pin(stream::unfold(Some(transfer), Transfer::next)) })
}

/// Where the answer's first byte stands in the blob, of which `offset` on was asked for. `range` is there if the
/// server says that it sends a part, and says which one; `length` is that of the body, where the server tells it.
fn begin(
    range: Option<Option<&str>>,
    offset: u64,
    size: u64,
    length: Option<u64>,
) -> std::result::Result<u64, (ErrorKind, String)> {
    let Some(range) = range else {
        return match length {
            Some(length) if length != size => {
                Err((ErrorKind::Corrupt, format!("offers {length} bytes where the manifest says {size}")))
            }
            _ => Ok(0),
        };
    };
    let Some((first, last, total)) = range.and_then(content_range) else {
        return Err((ErrorKind::Unavailable, "sends a part without saying which one".to_owned()));
    };
    if total.is_some_and(|total| total != size) || last >= size {
        return Err((ErrorKind::Corrupt, format!("has another blob than the {size} bytes of the manifest")));
    }
    if first != offset || length.is_some_and(|length| length != last - first + 1) {
        return Err((
            ErrorKind::Unavailable,
            format!("sends bytes {first} to {last} where {offset} on was asked for"),
        ));
    }
    Ok(first)
}

/// `bytes 0-499/1234`, the size being `*` where it is not known (RFC 9110, section 14.4).
fn content_range(text: &str) -> Option<(u64, u64, Option<u64>)> {
    let (range, total) = text.trim().strip_prefix("bytes ")?.split_once('/')?;
    let (first, last) = range.trim().split_once('-')?;
    let (first, last) = (first.parse().ok()?, last.parse().ok()?);
    let total = match total.trim() {
        "*" => None,
        total => Some(total.parse().ok()?),
    };
    (first <= last).then_some((first, last, total))
}

/// A blob on its way.
struct Transfer {
    answer: Response,
    /// Who was asked.
    server: Arc<Server>,
    subject: String,
    /// The bytes that may still come.
    left: u64,
}

impl Transfer {
    /// The next bytes. After a failure the connection is given up.
    async fn next(transfer: Option<Transfer>) -> Option<(Result<Bytes>, Option<Transfer>)> {
        let mut transfer = transfer?;
        match transfer.answer.chunk().await {
            Ok(None) => None,
            Ok(Some(bytes)) => match transfer.left.checked_sub(bytes.len() as u64) {
                Some(left) => {
                    transfer.left = left;
                    Some((Ok(bytes), Some(transfer)))
                }
                None => {
                    let reason =
                        format!("{} sends more bytes than the manifest says", transfer.server.address);
                    Some((Err(Error::new(ErrorKind::Corrupt, transfer.subject).because(reason)), None))
                }
            },
            Err(e) => {
                // Whoever takes the transfer up again is better off with another mirror.
                transfer.server.fell_silent();
                Some((Err(failure(&transfer.subject, &transfer.server.address, e)), None))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_part_begins_where_it_was_asked_for() {
        assert_eq!(begin(Some(Some("bytes 40-99/100")), 40, 100, Some(60)), Ok(40));
        assert_eq!(begin(Some(Some("bytes 40-99/*")), 40, 100, None), Ok(40));
        // A part of the part is fine: the caller sees that there is more to fetch.
        assert_eq!(begin(Some(Some("bytes 40-49/100")), 40, 100, Some(10)), Ok(40));
    }

    #[test]
    fn the_whole_in_place_of_a_part_begins_at_zero() {
        assert_eq!(begin(None, 40, 100, Some(100)), Ok(0));
        assert_eq!(begin(None, 0, 0, Some(0)), Ok(0));
        assert_eq!(begin(None, 0, 100, None), Ok(0));
    }

    #[test]
    fn an_answer_that_is_not_this_blob_is_corrupt() {
        let kind = |range, length| begin(range, 40, 100, length).expect_err("is refused").0;
        assert_eq!(kind(None, Some(99)), ErrorKind::Corrupt);
        assert_eq!(kind(None, Some(u64::MAX)), ErrorKind::Corrupt);
        assert_eq!(kind(Some(Some("bytes 40-98/99")), None), ErrorKind::Corrupt);
        assert_eq!(kind(Some(Some("bytes 40-100/*")), None), ErrorKind::Corrupt);
        for range in
            [None, Some("bytes"), Some("bytes 0-99/100"), Some("bytes 99-40/100"), Some("bytes 41-99/100")]
        {
            assert_eq!(kind(Some(range), None), ErrorKind::Unavailable, "{range:?}");
        }
        assert_eq!(kind(Some(Some("bytes 40-99/100")), Some(61)), ErrorKind::Unavailable);
    }

    proptest! {
        #[test]
        fn ranges_never_panic(text in "[ -~]{0,40}", offset in any::<u64>(), size in any::<u64>()) {
            let _ = begin(Some(Some(&text)), offset, size, None);
        }

        #[test]
        fn a_range_is_read(first in any::<u64>(), last in any::<u64>(), total in any::<u64>()) {
            let read = content_range(&format!("bytes {first}-{last}/{total}"));
            prop_assert_eq!(read, (first <= last).then_some((first, last, Some(total))));
            let _ = begin(Some(Some(&format!("bytes {first}-{last}/{total}"))), first, total, Some(1));
        }
    }
}
