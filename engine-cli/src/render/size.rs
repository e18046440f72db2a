//! Numbers of bytes for people, by docker's rules.

const DECIMAL: [&str; 9] = ["B", "kB", "MB", "GB", "TB", "PB", "EB", "ZB", "YB"];
const BINARY: [&str; 9] = ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB", "ZiB", "YiB"];

/// Powers of 1000 with three significant digits, as lists have it: `7.8MB`.
pub(crate) fn short(bytes: u64) -> String {
    scaled(bytes, 1000.0, 3, &DECIMAL)
}

/// Powers of 1000 with four significant digits, as totals have it: `1.982MB`.
pub(crate) fn long(bytes: u64) -> String {
    scaled(bytes, 1000.0, 4, &DECIMAL)
}

/// Powers of 1024 with four significant digits, as memory has it: `23.54GiB`.
pub(crate) fn binary(bytes: u64) -> String {
    scaled(bytes, 1024.0, 4, &BINARY)
}

fn scaled(bytes: u64, base: f64, digits: usize, units: &[&str]) -> String {
    #[expect(clippy::cast_precision_loss, reason = "four digits are shown, and sixteen kept")]
    let mut value = bytes as f64;
    let mut units = units.iter();
    let mut unit = units.next().copied().unwrap_or_default();
    while value >= base {
        let Some(next) = units.next() else { break };
        value /= base;
        unit = next;
    }
    format!("{}{unit}", significant(value, digits))
}

/// What Go's `%.{digits}g` gives, but never an exponent.
fn significant(value: f64, digits: usize) -> String {
    let before = match value {
        _ if value < 10.0 => 1,
        _ if value < 100.0 => 2,
        _ if value < 1000.0 => 3,
        _ => 4,
    };
    let text = format!("{value:.*}", digits.saturating_sub(before));
    match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.').to_owned(),
        false => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_docker_s() {
        for (bytes, in_lists, in_totals) in [
            (0, "0B", "0B"),
            (999, "999B", "999B"),
            (1000, "1kB", "1kB"),
            (1_982_464, "1.98MB", "1.982MB"),
            (7_797_760, "7.8MB", "7.798MB"),
            (1_093_484_544, "1.09GB", "1.093GB"),
            (187_654_321, "188MB", "187.7MB"),
            (999_999, "1000kB", "1000kB"),
            (u64::MAX, "18.4EB", "18.45EB"),
        ] {
            assert_eq!((short(bytes).as_str(), long(bytes).as_str()), (in_lists, in_totals));
        }
        assert_eq!(binary(25_277_775_872), "23.54GiB");
        assert_eq!(binary(1 << 20), "1MiB");
    }
}
