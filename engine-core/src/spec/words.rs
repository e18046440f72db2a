//! Points in time as people give them on a command line.

use super::{Timestamp, parse_duration};
use crate::error::{Error, Result};

impl Timestamp {
    /// From a point in time or how long ago it was, as docker's `--since` and `until=` take it: RFC 3339, a date with
    /// or without a time (UTC), seconds since the epoch with or without decimals, or a length of time in Go's words
    /// like `1h30m`.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`](crate::ErrorKind::InvalidInput) when it is none of those.
    pub fn from_words(text: &str) -> Result<Timestamp> {
        if let Ok(ago) = parse_duration(text) {
            let ago = i64::try_from(ago.as_nanos()).unwrap_or(i64::MAX);
            return Ok(Timestamp::from_nanos(Timestamp::now().nanos().saturating_sub(ago)));
        }
        if let Some(nanos) = epoch(text) {
            return Ok(Timestamp::from_nanos(nanos));
        }
        let whole = match text.len() {
            10 => format!("{text}T00:00:00Z"),
            16 => format!("{text}:00Z"),
            _ if text.ends_with(['Z', 'z'])
                || text.get(19..).is_some_and(|rest| rest.contains(['+', '-'])) =>
            {
                text.to_owned()
            }
            _ => format!("{text}Z"),
        };
        whole.parse().map_err(|_| {
            Error::invalid(format!("time {text:?}"), "is neither a point in time nor a length of time")
                .with_remedy("write 2026-11-24T12:00:00Z, seconds since 1970, or a length of time like 1h30m")
        })
    }
}

/// Seconds since the epoch, with decimals or without, in nanoseconds.
fn epoch(text: &str) -> Option<i64> {
    let (seconds, decimals) = text.split_once('.').unwrap_or((text, ""));
    let digits = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
    if seconds.is_empty() || !digits(seconds) || !digits(decimals) || decimals.len() > 9 {
        return None;
    }
    let nanos: i64 = format!("{decimals:0<9}").parse().ok()?;
    seconds.parse::<i64>().ok()?.checked_mul(1_000_000_000)?.checked_add(nanos)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn points_in_time_are_understood_in_every_way_docker_knows() {
        let time = Timestamp::from_nanos(1_764_288_000_500_000_000);
        for text in
            ["2025-11-28T00:00:00.5Z", "2025-11-28T01:00:00.5+01:00", "2025-11-28T00:00:00.5", "1764288000.5"]
        {
            assert_eq!(Timestamp::from_words(text).expect("a time"), time, "{text}");
        }
        let midnight = Timestamp::from_nanos(1_764_288_000_000_000_000);
        for text in ["2025-11-28", "2025-11-28T00:00", "1764288000"] {
            assert_eq!(Timestamp::from_words(text).expect("a time"), midnight, "{text}");
        }
        let hour_ago = Timestamp::from_words("1h").expect("a length of time");
        let off = Timestamp::now().since(hour_ago).as_secs();
        assert!((3599..3700).contains(&off), "{off}");
        for bad in ["", "soon", "1x", "1h-", "2025-13-01"] {
            assert!(Timestamp::from_words(bad).is_err(), "{bad:?} was accepted");
        }
    }

    proptest! {
        #[test]
        fn parsing_never_panics(text in ".{0,40}") {
            let _ = Timestamp::from_words(&text);
        }
    }
}
