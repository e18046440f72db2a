//! Points in time as RFC 3339 has them, without an allocation or a format string: a log has one on every line.

/// Days since the epoch of a date of the proleptic Gregorian calendar.
///
/// Howard Hinnant's `days_from_civil`: years begin in March, so that the leap day comes last.
pub fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

/// Year, month and day of a number of days since the epoch: the inverse of [`days_from_civil`].
pub fn civil_from_days(days: i64) -> (i64, i64, i64) {
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

/// The longest text of [`rfc3339`].
pub const MAX_TEXT: usize = 32;

/// Writes `nanos` since the epoch as UTC, `2026-11-24T12:00:00.123456789Z`, the decimals without trailing zeros;
/// gives the number of bytes written.
pub fn rfc3339(nanos: i64, text: &mut [u8; MAX_TEXT]) -> usize {
    const SECOND: i64 = 1_000_000_000;
    let seconds = nanos.div_euclid(SECOND);
    let (year, month, day) = civil_from_days(seconds.div_euclid(86_400));
    let of_day = seconds.rem_euclid(86_400);
    let mut at = 0;
    let mut put = |byte: u8| {
        text[at] = byte;
        at += 1;
    };
    let fields = [
        (year, 4, b'-'),
        (month, 2, b'-'),
        (day, 2, b'T'),
        (of_day / 3600, 2, b':'),
        (of_day / 60 % 60, 2, b':'),
        (of_day % 60, 2, b'.'),
        (nanos.rem_euclid(SECOND), 9, b'Z'),
    ];
    for (value, width, after) in fields {
        for place in (0..width).rev() {
            let digit = value / 10i64.pow(place) % 10;
            put(b'0' + digit as u8);
        }
        put(after);
    }
    // Nine decimals and the Z were written; take back the zeros that say nothing, and the point with the last one.
    let mut end = at - 1;
    while text[end - 1] == b'0' {
        end -= 1;
    }
    if text[end - 1] == b'.' {
        end -= 1;
    }
    text[end] = b'Z';
    end + 1
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(nanos: i64) -> std::string::String {
        let mut text = [0; MAX_TEXT];
        let length = rfc3339(nanos, &mut text);
        core::str::from_utf8(&text[..length]).expect("digits").into()
    }

    #[test]
    fn decimals_lose_their_trailing_zeros_as_in_docker_s_logs() {
        assert_eq!(text(0), "1970-01-01T00:00:00Z");
        assert_eq!(text(1_700_000_000_123_000_000), "2023-11-14T22:13:20.123Z");
        assert_eq!(text(1_700_000_000_000_000_001), "2023-11-14T22:13:20.000000001Z");
        assert_eq!(text(951_782_400_100_000_000), "2000-02-29T00:00:00.1Z");
    }

    #[test]
    fn days_and_dates_are_inverse() {
        for day in -800_000..800_000 {
            let (y, m, d) = civil_from_days(day);
            assert_eq!(days_from_civil(y, m, d), day);
        }
    }
}
