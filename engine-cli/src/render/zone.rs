//! The zone of this user's clock, from the files of the zone database (tzfile(5), RFC 8536), as Go's programs find it:
//! `TZ` names a zone, and `/etc/localtime` is the one of the host.

use engine_core::spec::Timestamp;

use super::time::rfc3339_fixed;

/// No file of the database is larger.
const MAX_FILE: u64 = 1 << 20;
const DAY: i64 = 86_400;

/// When which offset from UTC holds.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Zone {
    /// The offset before the first change.
    first: i64,
    /// From when on, in seconds since the epoch, which offset holds.
    changes: Vec<(i64, i64)>,
    /// What holds after the last change.
    rule: Option<Rule>,
}

/// Offsets that change twice every year, for ever.
#[derive(Debug, PartialEq, Eq)]
struct Rule {
    standard: i64,
    summer: i64,
    /// When summer begins and when it ends, by the clock that is in force then.
    begin: Moment,
    end: Moment,
}

/// The n-th such weekday of a month, the last one for 5, and seconds from its midnight.
#[derive(Debug, PartialEq, Eq)]
struct Moment {
    month: i64,
    week: i64,
    weekday: i64,
    seconds: i64,
}

impl Zone {
    /// The zone of this process. What cannot be read is UTC.
    pub(crate) fn local() -> Zone {
        let path = match std::env::var("TZ") {
            Err(_) => "/etc/localtime".to_owned(),
            Ok(name) => match name.strip_prefix(':').unwrap_or(&name) {
                "" | "UTC" => return Zone::default(),
                path if path.starts_with('/') => path.to_owned(),
                name if name.split('/').any(|part| part == "..") => return Zone::default(),
                name => format!("/usr/share/zoneinfo/{name}"),
            },
        };
        let read = std::fs::File::open(path).and_then(|file| {
            let mut bytes = Vec::new();
            std::io::Read::read_to_end(&mut std::io::Read::take(file, MAX_FILE), &mut bytes).map(|_| bytes)
        });
        read.ok().and_then(|bytes| parse(&bytes)).unwrap_or_default()
    }

    /// RFC 3339 by this clock, with nine decimals.
    pub(crate) fn rfc3339(&self, time: Timestamp) -> String {
        let offset = self.offset(time.seconds());
        if offset == 0 {
            return rfc3339_fixed(time);
        }
        let shifted =
            Timestamp::from_nanos(time.nanos().saturating_add(offset.saturating_mul(1_000_000_000)));
        let (sign, minutes) = (if offset < 0 { '-' } else { '+' }, offset.abs() / 60);
        let clock = rfc3339_fixed(shifted);
        format!("{}{sign}{:02}:{:02}", clock.trim_end_matches('Z'), minutes / 60, minutes % 60)
    }

    /// Seconds east of UTC at that time.
    fn offset(&self, seconds: i64) -> i64 {
        let after = self.changes.partition_point(|(from, _)| *from <= seconds);
        let at = after.checked_sub(1).and_then(|i| self.changes.get(i));
        match (&self.rule, at) {
            (Some(rule), _) if after == self.changes.len() => rule.offset(seconds),
            (_, Some((_, offset))) => *offset,
            (_, None) => self.first,
        }
    }
}

/// The file's second part, with 64-bit times, and the rule in its footer.
fn parse(bytes: &[u8]) -> Option<Zone> {
    let first = Header::parse(bytes)?;
    // The first part has 32-bit times, for old programs.
    let bytes = bytes.get(44 + first.length(4)..)?;
    let header = Header::parse(bytes)?;
    let (body, footer) = bytes.get(44..)?.split_at_checked(header.length(8))?;
    let (times, body) = body.split_at_checked(header.times * 8)?;
    let (kinds, body) = body.split_at_checked(header.times)?;
    let kind = |i: usize| int(body.get(i * 6..i * 6 + 4)?).filter(|_| i < header.types);
    let changes = times.chunks_exact(8).zip(kinds).map(|(time, i)| Some((int(time)?, kind((*i).into())?)));
    let rule = std::str::from_utf8(footer).ok()?.trim_matches('\n');
    Some(Zone { first: kind(0)?, changes: changes.collect::<Option<_>>()?, rule: Rule::parse(rule) })
}

/// The numbers in a header: how many there are of what.
struct Header {
    rest: usize,
    times: usize,
    types: usize,
    leaps: usize,
}

impl Header {
    fn parse(bytes: &[u8]) -> Option<Header> {
        bytes.strip_prefix(b"TZif").filter(|rest| rest.first().is_some_and(|version| *version >= b'2'))?;
        let count = |i: usize| usize::try_from(int(bytes.get(20 + 4 * i..24 + 4 * i)?)?).ok();
        let (utc, standard, leaps, times) = (count(0)?, count(1)?, count(2)?, count(3)?);
        let (types, letters) = (count(4)?, count(5)?);
        Some(Header { rest: utc + standard + letters, times, types, leaps })
    }

    /// Bytes after the header, where a time has `width`.
    fn length(&self, width: usize) -> usize {
        self.times * (width + 1) + self.types * 6 + self.leaps * (width + 4) + self.rest
    }
}

/// A big-endian number of four or eight bytes.
fn int(bytes: &[u8]) -> Option<i64> {
    match bytes.len() {
        4 => Some(i32::from_be_bytes(bytes.try_into().ok()?).into()),
        _ => Some(i64::from_be_bytes(bytes.try_into().ok()?)),
    }
}

impl Rule {
    /// `CET-1CEST,M3.5.0,M10.5.0/3`, or `UTC0` for a zone without summer (POSIX, "TZ"). The forms that count days of
    /// the year, which no zone of today has, are not known.
    fn parse(text: &str) -> Option<Rule> {
        let mut parts = text.split(',');
        let (standard, rest) = offset(name(parts.next()?)?)?;
        if rest.is_empty() {
            let never = || Moment { month: 1, week: 1, weekday: 0, seconds: 0 };
            return Some(Rule { standard, summer: standard, begin: never(), end: never() });
        }
        let rest = name(rest)?;
        let summer = if rest.is_empty() { standard + 3600 } else { offset(rest)?.0 };
        Some(Rule {
            standard,
            summer,
            begin: Moment::parse(parts.next()?)?,
            end: Moment::parse(parts.next()?)?,
        })
    }

    fn offset(&self, seconds: i64) -> i64 {
        let year = year(seconds + self.standard);
        let begin = self.begin.of_year(year) - self.standard;
        let end = self.end.of_year(year) - self.summer;
        // South of the equator summer is what lies outside.
        let summer = match begin < end {
            true => (begin..end).contains(&seconds),
            false => !(end..begin).contains(&seconds),
        };
        if summer { self.summer } else { self.standard }
    }
}

/// What follows a name: letters, or anything in angle brackets.
fn name(text: &str) -> Option<&str> {
    match text.strip_prefix('<') {
        Some(quoted) => quoted.split_once('>').map(|(_, rest)| rest),
        None => Some(text.trim_start_matches(|c: char| c.is_ascii_alphabetic()))
            .filter(|rest| rest.len() < text.len()),
    }
}

/// Hours, minutes and seconds west of UTC as seconds east, and what follows.
fn offset(text: &str) -> Option<(i64, &str)> {
    let end = text.find(|c: char| !c.is_ascii_digit() && !"+-:".contains(c)).unwrap_or(text.len());
    let (clock, rest) = text.split_at(end);
    Some((-clock_seconds(clock)?, rest))
}

/// `-5:30`.
fn clock_seconds(text: &str) -> Option<i64> {
    let (sign, text) = match text.strip_prefix('-') {
        Some(rest) => (-1, rest),
        None => (1, text.strip_prefix('+').unwrap_or(text)),
    };
    let mut total = 0;
    for (part, unit) in text.split(':').zip([3600, 60, 1]) {
        total += part.parse::<u16>().ok().map(i64::from)? * unit;
    }
    Some(sign * total)
}

impl Moment {
    /// `M3.5.0/2`.
    fn parse(text: &str) -> Option<Moment> {
        let (day, clock) = text.strip_prefix('M')?.split_once('/').unwrap_or((text.get(1..)?, "2"));
        let mut numbers = day.split('.').map(|number| number.parse::<u8>().ok().map(i64::from));
        let (month, week, weekday) = (numbers.next()??, numbers.next()??, numbers.next()??);
        let known = (1..=12).contains(&month) && (1..=5).contains(&week) && (0..=6).contains(&weekday);
        known.then_some(Moment { month, week, weekday, seconds: clock_seconds(clock)? })
    }

    /// Seconds since the epoch, by its own clock.
    fn of_year(&self, year: i64) -> i64 {
        let first = day(year, self.month);
        let next = if self.month == 12 { day(year + 1, 1) } else { day(year, self.month + 1) };
        // The epoch was a Thursday.
        let weekday = (first + 4).rem_euclid(7);
        let mut found = first + (self.weekday - weekday).rem_euclid(7) + 7 * (self.week - 1);
        if found >= next {
            found -= 7;
        }
        found * DAY + self.seconds
    }
}

/// Days from the epoch to the first day of a month.
fn day(year: i64, month: i64) -> i64 {
    let date = format!("{year:04}-{month:02}-01T00:00:00Z").parse::<Timestamp>();
    date.map_or(0, |time| time.seconds() / DAY)
}

fn year(seconds: i64) -> i64 {
    let text = Timestamp::from_nanos(seconds.saturating_mul(1_000_000_000)).to_string();
    text.split('-').next().and_then(|year| year.parse().ok()).unwrap_or(1970)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().expect("a time")
    }

    /// A file without changes, as slim as can be: all is said in its footer.
    fn slim(rule: &str) -> Vec<u8> {
        let mut file = Vec::new();
        for _ in 0..2 {
            file.extend(b"TZif2");
            file.extend([0; 15]);
            for count in [0u32, 0, 0, 0, 1, 4] {
                file.extend(count.to_be_bytes());
            }
            file.extend([0; 6]);
            file.extend(b"LMT\0");
        }
        file.extend(format!("\n{rule}\n").as_bytes());
        file
    }

    #[test]
    fn summer_comes_and_goes_by_the_rule() {
        let berlin = parse(&slim("CET-1CEST,M3.5.0,M10.5.0/3")).expect("is well formed");
        for (utc, local) in [
            ("2026-01-15T12:00:00Z", "2026-01-15T13:00:00.000000000+01:00"),
            ("2026-03-29T00:59:59Z", "2026-03-29T01:59:59.000000000+01:00"),
            ("2026-03-29T01:00:00Z", "2026-03-29T03:00:00.000000000+02:00"),
            ("2026-10-25T00:59:59Z", "2026-10-25T02:59:59.000000000+02:00"),
            ("2026-10-25T01:00:00Z", "2026-10-25T02:00:00.000000000+01:00"),
        ] {
            assert_eq!(berlin.rfc3339(at(utc)), local);
        }
        let sydney = parse(&slim("AEST-10AEDT,M10.1.0,M4.1.0/3")).expect("is well formed");
        assert!(sydney.rfc3339(at("2026-01-01T00:00:00Z")).ends_with("+11:00"));
        assert!(sydney.rfc3339(at("2026-07-01T00:00:00Z")).ends_with("+10:00"));
        let caracas = parse(&slim("<-0430>4:30")).expect("is well formed");
        assert_eq!(caracas.rfc3339(at("2026-01-01T00:00:00.5Z")), "2025-12-31T19:30:00.500000000-04:30");
        assert_eq!(Zone::default().rfc3339(at("2026-01-01T00:00:00Z")), "2026-01-01T00:00:00.000000000Z");
    }

    proptest! {
        #[test]
        fn whatever_the_file_is_it_is_read_or_not(
            noise in prop::collection::vec(any::<u8>(), 0..200),
            place in 0usize..120,
            rule in "[A-Z<>0-9,.:/M+-]{0,40}",
        ) {
            let mut file = slim(&rule);
            for (i, byte) in noise.iter().enumerate() {
                if let Some(target) = file.get_mut(place + i) {
                    *target = *byte;
                }
            }
            for bytes in [noise.as_slice(), file.as_slice(), slim(&rule).as_slice()] {
                if let Some(zone) = parse(bytes) {
                    let _ = zone.rfc3339(Timestamp::from_nanos(1_700_000_000_000_000_000));
                }
            }
        }
    }
}
