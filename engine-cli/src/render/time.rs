//! Points in time for people, as docker's lists have them.

use engine_core::spec::{Timestamp, human_duration};

/// `3 weeks ago`.
pub(crate) fn ago(time: Timestamp, now: Timestamp) -> String {
    format!("{} ago", human_duration(now.since(time)))
}

/// `2026-11-28 00:47:35 +0000 UTC`, to the second.
pub(crate) fn full(time: Timestamp) -> String {
    let text = Timestamp::from_nanos(time.seconds().saturating_mul(1_000_000_000)).to_string();
    format!("{} +0000 UTC", text.trim_end_matches('Z').replace('T', " "))
}

/// The same with the decimals of the second.
pub(crate) fn full_with_fraction(time: Timestamp) -> String {
    format!("{} +0000 UTC", time.to_string().trim_end_matches('Z').replace('T', " "))
}

/// RFC 3339 to the second.
pub(crate) fn rfc3339(time: Timestamp) -> String {
    Timestamp::from_nanos(time.seconds().saturating_mul(1_000_000_000)).to_string()
}

/// RFC 3339 with always nine decimals, so that the lines of a log stand in columns.
pub(crate) fn rfc3339_fixed(time: Timestamp) -> String {
    let text = time.to_string();
    let text = text.trim_end_matches('Z');
    let (seconds, fraction) = text.split_once('.').unwrap_or((text, ""));
    format!("{seconds}.{fraction:0<9}Z")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_as_go_writes_them() {
        let time = Timestamp::from_nanos(1_700_000_000_120_000_000);
        assert_eq!(full(time), "2023-11-14 22:13:20 +0000 UTC");
        assert_eq!(full_with_fraction(time), "2023-11-14 22:13:20.12 +0000 UTC");
        assert_eq!(rfc3339(time), "2023-11-14T22:13:20Z");
        assert_eq!(rfc3339_fixed(time), "2023-11-14T22:13:20.120000000Z");
        assert_eq!(rfc3339_fixed(Timestamp::from_nanos(0)), "1970-01-01T00:00:00.000000000Z");
        assert_eq!(ago(time, Timestamp::from_nanos(1_700_000_090_000_000_000)), "About a minute ago");
    }
}
