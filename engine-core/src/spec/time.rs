//! Points in time: nanoseconds since the epoch inside, RFC 3339 outside.

use std::fmt;
use std::str::FromStr;
use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

const NANOS: i64 = 1_000_000_000;

/// A point in time, to the nanosecond, UTC. Prints and parses RFC 3339, as Docker's API writes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Timestamp(i64);

impl Timestamp {
    /// Now, by the host's wall clock.
    pub fn now() -> Timestamp {
        let nanos = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_nanos());
        Timestamp(i64::try_from(nanos).unwrap_or(i64::MAX))
    }

    /// From nanoseconds since the epoch.
    pub fn from_nanos(nanos: i64) -> Timestamp {
        Timestamp(nanos)
    }

    /// Nanoseconds since the epoch.
    pub fn nanos(self) -> i64 {
        self.0
    }

    /// Whole seconds since the epoch.
    pub fn seconds(self) -> i64 {
        self.0.div_euclid(NANOS)
    }

    /// How much later this is than `earlier`; zero if it is not later.
    pub fn since(self, earlier: Timestamp) -> std::time::Duration {
        std::time::Duration::from_nanos(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }
}

/// A length of time as docker's lists have it: `Less than a second`, `About a minute`, `3 weeks`.
pub fn human_duration(length: std::time::Duration) -> String {
    let seconds = length.as_secs();
    let (minutes, hours) = (seconds / 60, (seconds + 1800) / 3600);
    match (seconds, minutes, hours) {
        (0, ..) => "Less than a second".to_owned(),
        (1, ..) => "1 second".to_owned(),
        (..60, ..) => format!("{seconds} seconds"),
        (_, 1, _) => "About a minute".to_owned(),
        (_, ..60, _) => format!("{minutes} minutes"),
        (.., 1) => "About an hour".to_owned(),
        (.., ..48) => format!("{hours} hours"),
        (.., ..336) => format!("{} days", hours / 24),
        (.., ..1440) => format!("{} weeks", hours / 24 / 7),
        (.., ..17520) => format!("{} months", hours / 24 / 30),
        _ => format!("{} years", hours / 24 / 365),
    }
}

/// A length of time as Go writes it, and docker with it: `1h0m0s`, `1.5s`, `300ms`.
pub fn go_duration(length: std::time::Duration) -> String {
    let nanos = length.as_nanos();
    let decimal = |unit: u128, name: &str| {
        let text = format!("{}.{:09}", nanos / unit, nanos % unit * (1_000_000_000 / unit));
        format!("{}{name}", text.trim_end_matches('0').trim_end_matches('.'))
    };
    if nanos == 0 {
        return "0s".to_owned();
    }
    match nanos {
        ..1_000 => format!("{nanos}ns"),
        1_000..1_000_000 => decimal(1_000, "µs"),
        1_000_000..1_000_000_000 => decimal(1_000_000, "ms"),
        _ => {
            let (seconds, part) = (length.as_secs(), length.subsec_nanos());
            let rest = format!("{}.{part:09}", seconds % 60);
            let rest = rest.trim_end_matches('0').trim_end_matches('.');
            match (seconds / 3600, seconds / 60 % 60) {
                (0, 0) => format!("{rest}s"),
                (0, minutes) => format!("{minutes}m{rest}s"),
                (hours, minutes) => format!("{hours}h{minutes}m{rest}s"),
            }
        }
    }
}

/// A length of time in Go's notation, as docker takes it: decimal numbers with units, `1h30m`, `1.5h`, `300ms`; `0`
/// needs none.
///
/// # Errors
/// [`ErrorKind::InvalidInput`](crate::ErrorKind::InvalidInput) for anything else, negative ones included.
pub fn parse_duration(text: &str) -> Result<std::time::Duration> {
    let seconds = if text == "0" { Some(0.0) } else { sum_of_units(text) };
    seconds
        .and_then(|seconds| std::time::Duration::try_from_secs_f64(seconds).ok())
        .ok_or_else(|| Error::invalid(format!("duration {text:?}"), "must look like 90s, 1h30m or 300ms"))
}

fn sum_of_units(text: &str) -> Option<f64> {
    const UNITS: [(&str, f64); 7] =
        [("ns", 1e-9), ("us", 1e-6), ("µs", 1e-6), ("ms", 1e-3), ("s", 1.0), ("m", 60.0), ("h", 3600.0)];
    let number = |c: char| c.is_ascii_digit() || c == '.';
    let (mut rest, mut total) = (text, 0.0);
    while !rest.is_empty() {
        let (digits, after) = rest.split_at(rest.find(|c| !number(c))?);
        let (name, after) = after.split_at(after.find(number).unwrap_or(after.len()));
        let (_, unit) = UNITS.iter().find(|(unit, _)| *unit == name)?;
        total += digits.parse::<f64>().ok()? * unit;
        rest = after;
    }
    (!text.is_empty()).then_some(total)
}

/// Days since the epoch of a date of the proleptic Gregorian calendar, and back.
/// The algorithm is Howard Hinnant's `days_from_civil`: years begin in March, so the leap day comes last.
fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

fn civil_from_days(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.seconds();
        let (year, month, day) = civil_from_days(seconds.div_euclid(86_400));
        let second_of_day = seconds.rem_euclid(86_400);
        let (hour, minute, second) = (second_of_day / 3600, second_of_day / 60 % 60, second_of_day % 60);
        write!(f, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}")?;
        let nanos = self.0.rem_euclid(NANOS);
        if nanos > 0 {
            write!(f, ".{}", format!("{nanos:09}").trim_end_matches('0'))?;
        }
        f.write_str("Z")
    }
}

impl FromStr for Timestamp {
    type Err = Error;

    /// RFC 3339, section 5.6: a date, `T`, a time with any number of decimals, and `Z` or an offset.
    fn from_str(text: &str) -> Result<Timestamp> {
        parse(text).ok_or_else(|| {
            Error::invalid(format!("time {text:?}"), "must look like 2026-11-24T12:00:00Z (RFC 3339)")
        })
    }
}

fn number(text: &str, min: i64, max: i64) -> Option<i64> {
    let all_digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let value = if all_digits { text.parse().ok()? } else { return None };
    (min..=max).contains(&value).then_some(value)
}

fn parse(text: &str) -> Option<Timestamp> {
    let (date, rest) = (text.get(..10)?, text.get(10..)?);
    let mut date = date.split('-');
    let (year, month, day) =
        (number(date.next()?, 0, 9999)?, number(date.next()?, 1, 12)?, number(date.next()?, 1, 31)?);
    let days = days_from_civil(year, month, day);
    if date.next().is_some() || civil_from_days(days) != (year, month, day) {
        return None;
    }
    let rest = rest.strip_prefix(['T', 't', ' '])?;
    let (clock, rest) = (rest.get(..8)?, rest.get(8..)?);
    let mut clock = clock.split(':');
    let (hour, minute, second) =
        (number(clock.next()?, 0, 23)?, number(clock.next()?, 0, 59)?, number(clock.next()?, 0, 60)?);
    let (nanos, rest) = match rest.strip_prefix('.') {
        None => (0, rest),
        Some(rest) => {
            let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
            let digits = rest.get(..end.min(9))?;
            number(digits, 0, NANOS)?;
            (format!("{digits:0<9}").parse().ok()?, &rest[end..])
        }
    };
    let offset = match rest {
        "Z" | "z" => 0,
        _ => {
            let sign = match rest.get(..1)? {
                "+" => 1,
                "-" => -1,
                _ => return None,
            };
            let (hours, minutes) = rest.get(1..)?.split_once(':')?;
            sign * (number(hours, 0, 23)? * 3600 + number(minutes, 0, 59)? * 60)
        }
    };
    let seconds = days * 86_400 + hour * 3600 + minute * 60 + second - offset;
    seconds.checked_mul(NANOS)?.checked_add(nanos).map(Timestamp)
}

impl From<Timestamp> for String {
    fn from(time: Timestamp) -> String {
        time.to_string()
    }
}

impl TryFrom<String> for Timestamp {
    type Error = Error;

    fn try_from(text: String) -> Result<Timestamp> {
        text.parse()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn lengths_of_time_are_written_as_go_does() {
        use std::time::Duration;
        for (nanos, text) in [
            (0, "0s"),
            (1, "1ns"),
            (1_500, "1.5µs"),
            (300_000_000, "300ms"),
            (1_000_000_000, "1s"),
            (1_050_000_000, "1.05s"),
            (60_000_000_000, "1m0s"),
            (5_430_000_000_000, "1h30m30s"),
            (3_600_000_000_000, "1h0m0s"),
        ] {
            assert_eq!(go_duration(Duration::from_nanos(nanos)), text);
        }
    }

    #[test]
    fn prints_and_parses_rfc_3339() {
        let time = Timestamp::from_nanos(1_700_000_000_123_000_000);
        assert_eq!(time.to_string(), "2023-11-14T22:13:20.123Z");
        for same in
            ["2023-11-14T22:13:20.123Z", "2023-11-14T23:13:20.123+01:00", "2023-11-14t22:13:20.123000z"]
        {
            assert_eq!(same.parse::<Timestamp>().expect("well formed"), time, "{same}");
        }
        assert_eq!(Timestamp::from_nanos(0).to_string(), "1970-01-01T00:00:00Z");
    }

    #[test]
    fn durations_are_read_as_go_writes_them() {
        for (text, millis) in
            [("0", 0), ("300ms", 300), ("1h30m", 5_400_000), ("1.5h", 5_400_000), ("2m3s", 123_000)]
        {
            assert_eq!(parse_duration(text).expect("well formed").as_millis(), millis, "{text}");
        }
        for bad in ["", "1", "s", "1x", "-1s", "1s2", "1..2s", "99999999999999999999h"] {
            assert!(parse_duration(bad).is_err(), "{bad:?} was accepted");
        }
    }

    #[test]
    fn refuses_what_is_no_time() {
        for bad in [
            "",
            "yesterday",
            "2023-02-30T00:00:00Z",
            "2023-11-14T22:13:20",
            "2023-11-14T25:00:00Z",
            "2023-11-14T22:13:20.Z",
        ] {
            assert!(bad.parse::<Timestamp>().is_err(), "{bad:?} was accepted");
        }
    }

    proptest! {
        #[test]
        fn parsing_never_panics(text in ".{0,40}") {
            let _ = text.parse::<Timestamp>();
        }

        #[test]
        fn every_time_survives_its_own_text(nanos in 0..4_000_000_000_000_000_000i64) {
            let time = Timestamp::from_nanos(nanos);
            prop_assert_eq!(time.to_string().parse::<Timestamp>().expect("own text"), time);
        }
    }
}
