//! Numbers with rules of their own.

use super::Parsed;

/// Processors in billionths, from a decimal number: `1.5`.
pub(crate) fn cpus(text: &str) -> Parsed<u64> {
    let bad = || format!("{text:?} is not a decimal number");
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let digits = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
    if whole.is_empty() && fraction.is_empty() || !digits(whole) || !digits(fraction) {
        return Err(bad());
    }
    if fraction.trim_end_matches('0').len() > 9 {
        return Err("value is too precise: nine decimals at most".to_owned());
    }
    let nanos: u64 = format!("{:0<9.9}", fraction).parse().map_err(|_| bad())?;
    let whole: u64 = if whole.is_empty() { 0 } else { whole.parse().map_err(|_| bad())? };
    whole.checked_mul(1_000_000_000).and_then(|n| n.checked_add(nanos)).ok_or_else(bad)
}

/// How many lines of a log: `all` or a number; as with docker, a negative number is all of them.
pub(crate) fn tail(text: &str) -> Parsed<Option<usize>> {
    match text.parse::<i64>() {
        _ if text == "all" => Ok(None),
        Ok(lines) => Ok(usize::try_from(lines).ok()),
        Err(_) => Err("must be a number of lines, or all".to_owned()),
    }
}

/// A number in the range that the kernel takes, which the message names.
fn ranged(text: &str, low: i64, high: i64) -> Parsed<i64> {
    match text.parse::<i64>() {
        Ok(value) if (low..=high).contains(&value) => Ok(value),
        _ => Err(format!("must be a number between {low} and {high}")),
    }
}

/// `--oom-score-adj`.
pub(crate) fn oom_score(text: &str) -> Parsed<i32> {
    ranged(text, -1000, 1000).and_then(|n| i32::try_from(n).map_err(|e| e.to_string()))
}

/// `--memory-swappiness`: 0 to 100, or -1, docker's default, which leaves it to the kernel.
pub(crate) fn swappiness(text: &str) -> Parsed<Option<u64>> {
    ranged(text, -1, 100).map(|n| u64::try_from(n).ok())
}

/// `--blkio-weight`: 10 to 1000, or 0, which leaves it to the kernel.
pub(crate) fn weight(text: &str) -> Parsed<Option<u16>> {
    match ranged(text, 0, 1000)? {
        0 => Ok(None),
        n @ 1..10 => Err(format!("must be between 10 and 1000, not {n}")),
        n => Ok(u16::try_from(n).ok()),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn processors_are_counted_in_billionths() {
        for (text, nanos) in
            [("1", 1_000_000_000), ("0.5", 500_000_000), (".25", 250_000_000), ("1.50", 1_500_000_000)]
        {
            assert_eq!(cpus(text), Ok(nanos), "{text}");
        }
        for bad in ["", ".", "x", "-1", "1,5", "0.0000000001", "99999999999999", "1e3"] {
            assert!(cpus(bad).is_err(), "{bad:?} was accepted");
        }
    }

    #[test]
    fn tail_is_a_number_or_all() {
        assert_eq!(tail("all"), Ok(None));
        assert_eq!(tail("0"), Ok(Some(0)));
        assert_eq!(tail("-1"), Ok(None));
        assert!(tail("ten").is_err());
    }

    #[test]
    fn ranges_are_those_of_docker() {
        assert_eq!(oom_score("-1000"), Ok(-1000));
        assert!(oom_score("1001").is_err());
        assert_eq!(swappiness("-1"), Ok(None));
        assert_eq!(weight("0"), Ok(None));
        assert!(weight("9").is_err());
        assert_eq!(weight("10"), Ok(Some(10)));
    }

    proptest! {
        #[test]
        fn never_panics(text in ".{0,40}") {
            let _ = (cpus(&text), tail(&text), weight(&text));
        }

        #[test]
        fn decimals_never_panic(text in "[0-9]{0,25}\\.?[0-9]{0,25}") {
            let _ = cpus(&text);
        }
    }
}
