//! Points in time, as `--since` and `--until` take them, and lengths of time, as Go writes them.

use std::time::Duration;

use engine_core::spec::Timestamp;

use super::Parsed;

const NANOS: u128 = 1_000_000_000;

/// `42m` ago, RFC 3339 with or without its zone, a date, or seconds since the epoch. A time without a zone is UTC.
pub(crate) fn moment(text: &str, now: Timestamp) -> Parsed<Timestamp> {
    if let Some(ago) = duration(text) {
        let ago = i64::try_from(ago.as_nanos()).unwrap_or(i64::MAX);
        return Ok(Timestamp::from_nanos(now.nanos().saturating_sub(ago)));
    }
    if let Some(time) = epoch(text) {
        return Ok(time);
    }
    // Docker's shorter forms: a date, a date and hours, a date, hours and minutes; then the whole thing without a zone.
    let completed = match text.len() {
        10 => format!("{text}T00:00:00Z"),
        13 => format!("{text}:00:00Z"),
        16 => format!("{text}:00Z"),
        _ => format!("{text}Z"),
    };
    text.parse().or_else(|_| completed.parse()).map_err(|_| {
        "must be a time such as 2026-01-02T13:23:37Z, or a length of time such as 42m before now".to_owned()
    })
}

/// Seconds since the epoch, with up to nine decimals.
fn epoch(text: &str) -> Option<Timestamp> {
    let (seconds, fraction) = text.split_once('.').unwrap_or((text, ""));
    let digits = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
    if seconds.is_empty() || !digits(seconds) || !digits(fraction) || fraction.len() > 9 {
        return None;
    }
    let nanos: i64 = format!("{fraction:0<9}").parse().ok()?;
    seconds.parse::<i64>().ok()?.checked_mul(1_000_000_000)?.checked_add(nanos).map(Timestamp::from_nanos)
}

/// A length of time in Go's way: numbers with units, `1h30m`, `1.5s`, `100ms`.
pub(crate) fn duration(text: &str) -> Option<Duration> {
    let mut rest = text;
    let mut total: u128 = 0;
    while !rest.is_empty() {
        let number = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (digits, after) = rest.split_at(number);
        let unit = after.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(after.len());
        let (unit, next) = after.split_at(unit);
        total = total.checked_add(nanos(digits, unit)?)?;
        rest = next;
    }
    let whole = u64::try_from(total / NANOS).ok()?;
    let part = u32::try_from(total % NANOS).ok()?;
    (!text.is_empty()).then(|| Duration::new(whole, part))
}

fn nanos(number: &str, unit: &str) -> Option<u128> {
    let factor: u128 = match unit {
        "ns" => 1,
        "us" | "µs" | "μs" => 1000,
        "ms" => 1_000_000,
        "s" => NANOS,
        "m" => 60 * NANOS,
        "h" => 3600 * NANOS,
        _ => return None,
    };
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if fraction.contains('.') || whole.is_empty() && fraction.is_empty() {
        return None;
    }
    let fraction = fraction.get(..fraction.len().min(12)).unwrap_or_default();
    let part = format!("0{fraction}").parse::<u128>().ok()? * factor
        / 10u128.checked_pow(u32::try_from(fraction.len()).ok()?)?;
    format!("0{whole}").parse::<u128>().ok()?.checked_mul(factor)?.checked_add(part)
}

/// A length of time that may be negative: what that means is for the command to say.
pub(crate) type Span = Result<Duration, Negative>;

/// A length of time below zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Negative;

/// A length of time in Go's way, negative ones too.
pub(crate) fn span(text: &str) -> Parsed<Span> {
    let wrong = || format!("time: invalid duration {text:?}");
    let plain = |text: &str| match text {
        "0" => Some(Duration::ZERO),
        text => duration(text),
    };
    match text.strip_prefix('-') {
        Some(text) => match plain(text).ok_or_else(wrong)? {
            Duration::ZERO => Ok(Ok(Duration::ZERO)),
            _ => Ok(Err(Negative)),
        },
        None => plain(text.strip_prefix('+').unwrap_or(text)).map(Ok).ok_or_else(wrong),
    }
}

/// Whole seconds to wait before a kill; a negative number is for ever.
pub(crate) fn patience(text: &str) -> Parsed<Duration> {
    match text.parse::<i64>() {
        Ok(seconds) => Ok(u64::try_from(seconds).map_or(Duration::MAX, Duration::from_secs)),
        Err(_) => Err("must be a number of seconds".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NOW: i64 = 1_700_000_000_000_000_000;

    fn at(text: &str) -> String {
        moment(text, Timestamp::from_nanos(NOW)).unwrap_or_else(|e| panic!("{text}: {e}")).to_string()
    }

    #[test]
    fn all_of_docker_s_ways_to_tell_a_time() {
        assert_eq!(at("42m"), "2023-11-14T21:31:20Z");
        assert_eq!(at("1h30m"), "2023-11-14T20:43:20Z");
        assert_eq!(at("2023-11-14T22:13:20Z"), "2023-11-14T22:13:20Z");
        assert_eq!(at("2023-11-14T22:13:20.5"), "2023-11-14T22:13:20.5Z");
        assert_eq!(at("2023-11-14T22:13"), "2023-11-14T22:13:00Z");
        assert_eq!(at("2023-11-14T22"), "2023-11-14T22:00:00Z");
        assert_eq!(at("2023-11-14"), "2023-11-14T00:00:00Z");
        assert_eq!(at("1700000000.25"), "2023-11-14T22:13:20.25Z");
        for bad in ["", "yesterday", "-1", "1x", "2023", "2023-13-01"] {
            let moment = moment(bad, Timestamp::from_nanos(NOW));
            // A bare number is a time: 2023 seconds after the epoch.
            assert_eq!(moment.is_err(), bad != "2023", "{bad:?}");
        }
    }

    #[test]
    fn lengths_of_time_are_go_s() {
        assert_eq!(duration("1.5s"), Some(Duration::from_millis(1500)));
        assert_eq!(duration("100ms"), Some(Duration::from_millis(100)));
        assert_eq!(duration("1h1m1s"), Some(Duration::from_secs(3661)));
        for bad in ["", "1", "s", "1d", ".s", "1..5s", "1h1", "-1s"] {
            assert_eq!(duration(bad), None, "{bad:?}");
        }
        assert_eq!(patience("-1"), Ok(Duration::MAX));
        assert!(patience("1s").is_err());
    }

    proptest! {
        #[test]
        fn never_panics(text in ".{0,40}") {
            let _ = (moment(&text, Timestamp::from_nanos(0)), duration(&text), patience(&text));
        }

        #[test]
        fn long_numbers_never_panic(text in "[0-9.]{0,60}(h|m|s)?[0-9.]{0,60}(h|m|s)?") {
            let _ = (moment(&text, Timestamp::from_nanos(0)), duration(&text));
        }
    }
}
