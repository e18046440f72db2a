//! Sizes in bytes, by docker's rules: units are powers of 1024, whatever they are called.

use super::Parsed;

const UNITS: &[u8] = b"kmgtp";

/// `512`, `64m`, `1.5 GiB`, `10kb`.
pub(crate) fn size(text: &str) -> Parsed<u64> {
    let end = text.rfind(|c: char| c.is_ascii_digit() || c == '.').map_or(0, |last| last + 1);
    let (number, suffix) = text.split_at(end);
    let suffix = suffix.strip_prefix(' ').unwrap_or(suffix);
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let digits = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
    if whole.is_empty() && fraction.is_empty() || !digits(whole) || !digits(fraction) {
        return Err(format!("invalid size: {text:?}; must look like 512m or 2g"));
    }
    let factor = factor(suffix).ok_or_else(|| format!("invalid suffix: {suffix:?}; use b, k, m, g or t"))?;
    let too_large = || format!("{text:?} is too large");
    let whole = if whole.is_empty() { Ok(0) } else { whole.parse::<u64>().map_err(|_| too_large()) }?;
    let bytes = whole.checked_mul(factor).ok_or_else(too_large)?;
    bytes.checked_add(part_of(fraction, factor)).filter(|n| i64::try_from(*n).is_ok()).ok_or_else(too_large)
}

/// `0.fraction` of `factor`, rounded down. Decimals past the twelfth cannot make a byte that anybody misses.
fn part_of(fraction: &str, factor: u64) -> u64 {
    let digits = fraction.get(..fraction.len().min(12)).unwrap_or_default();
    let (Ok(value), Ok(length)) = (format!("0{digits}").parse::<u128>(), u32::try_from(digits.len())) else {
        return 0;
    };
    u64::try_from(value * u128::from(factor) / 10u128.pow(length)).unwrap_or(0)
}

fn factor(suffix: &str) -> Option<u64> {
    let suffix = suffix.to_ascii_lowercase();
    let (unit, rest) = match suffix.as_bytes() {
        [] | [b'b'] => return Some(1),
        [unit, rest @ ..] => (unit, rest),
    };
    let power = UNITS.iter().position(|known| known == unit)?;
    matches!(rest, b"" | b"b" | b"ib").then(|| 1024u64.pow(u32::try_from(power + 1).unwrap_or(0)))
}

/// A size, or -1 for no limit.
pub(crate) fn size_or_unlimited(text: &str) -> Parsed<i64> {
    match text {
        "-1" => Ok(-1),
        _ => size(text).map(|bytes| i64::try_from(bytes).unwrap_or(i64::MAX)),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn docker_s_units_are_powers_of_1024() {
        for (text, bytes) in [
            ("0", 0),
            ("512", 512),
            ("512b", 512),
            ("1k", 1 << 10),
            ("1KB", 1 << 10),
            ("64m", 64 << 20),
            ("64MiB", 64 << 20),
            ("1.5g", 3 << 29),
            ("1.5 GiB", 3 << 29),
            (".5k", 512),
            ("2t", 2 << 40),
        ] {
            assert_eq!(size(text), Ok(bytes), "{text}");
        }
    }

    #[test]
    fn what_is_no_size_is_refused() {
        for bad in
            ["", "m", "-1", "1x", "1.2.3", "1 2", "1mbb", "1mi", "1bb", "99999999p", "1e3", "0x10", "1  m"]
        {
            assert!(size(bad).is_err(), "{bad:?} was accepted");
        }
        assert_eq!(size("1x").expect_err("no unit"), "invalid suffix: \"x\"; use b, k, m, g or t");
        assert_eq!(size_or_unlimited("-1"), Ok(-1));
        assert!(size_or_unlimited("-2").is_err());
    }

    proptest! {
        #[test]
        fn never_panics(text in ".{0,40}") {
            let _ = size(&text);
        }

        #[test]
        fn long_numbers_never_panic(text in "[0-9]{0,40}\\.?[0-9]{0,40}[kmgtp]?i?b?") {
            let _ = size(&text);
        }
    }
}
