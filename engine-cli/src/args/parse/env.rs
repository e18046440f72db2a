//! Variables and labels: single ones, and files of them.

use super::Parsed;

/// A flag's `KEY=value`. `KEY` alone is looked up with `host`; one that the host does not have stays alone, which
/// takes it away from what the image sets.
pub(crate) fn variable(text: &str, host: impl Fn(&str) -> Option<String>) -> Parsed<String> {
    match text.split_once('=') {
        Some(("", _)) => Err("the variable has no name".to_owned()),
        Some(_) => Ok(text.to_owned()),
        None if text.is_empty() => Err("the variable has no name".to_owned()),
        None => Ok(match host(text) {
            Some(value) => format!("{text}={value}"),
            None => text.to_owned(),
        }),
    }
}

/// A flag's `key=value`; the value may be missing.
pub(crate) fn pair(text: &str) -> Parsed<(String, String)> {
    let (key, value) = text.split_once('=').unwrap_or((text, ""));
    match key {
        "" => Err("the key is missing".to_owned()),
        _ => Ok((key.to_owned(), value.to_owned())),
    }
}

/// A line of a file: a key, and a value unless the key stands alone.
type Line<'a> = (&'a str, Option<&'a str>);

/// The lines of a file of `KEY=value`. Lines that begin with `#` are comments; nothing is quoted.
fn lines(bytes: &[u8]) -> Parsed<Vec<Line<'_>>> {
    let text = std::str::from_utf8(bytes).map_err(|e| {
        let before = bytes.get(..e.valid_up_to()).unwrap_or_default();
        format!("line {} is not valid UTF-8", before.iter().filter(|b| **b == b'\n').count() + 1)
    })?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut found = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let line = line.trim_start();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let (key, value) = match line.split_once('=') {
            Some((key, value)) => (key, Some(value)),
            None => (line.trim_end(), None),
        };
        if key.is_empty() {
            return Err(format!("line {}: there is no name before the equals sign", number + 1));
        }
        if key.contains(char::is_whitespace) {
            return Err(format!("line {}: the name {key:?} has spaces in it", number + 1));
        }
        found.push((key, value));
    }
    Ok(found)
}

/// The variables of an `--env-file`. A name alone is looked up with `host`, and left out if the host does not have it.
pub(crate) fn variables(bytes: &[u8], host: impl Fn(&str) -> Option<String>) -> Parsed<Vec<String>> {
    let variable = |(key, value): Line<'_>| match value {
        Some(value) => Some(format!("{key}={value}")),
        None => host(key).map(|value| format!("{key}={value}")),
    };
    Ok(lines(bytes)?.into_iter().filter_map(variable).collect())
}

/// The labels of a `--label-file`.
pub(crate) fn labels(bytes: &[u8]) -> Parsed<Vec<(String, String)>> {
    let label = |(key, value): Line<'_>| (key.to_owned(), value.unwrap_or_default().to_owned());
    Ok(lines(bytes)?.into_iter().map(label).collect())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn host(name: &str) -> Option<String> {
        (name == "HOME").then(|| "/root".to_owned())
    }

    #[test]
    fn a_bare_name_takes_the_host_s_value() {
        assert_eq!(variable("A=b=c", host), Ok("A=b=c".into()));
        assert_eq!(variable("A=", host), Ok("A=".into()));
        assert_eq!(variable("HOME", host), Ok("HOME=/root".into()));
        assert_eq!(variable("NOPE", host), Ok("NOPE".into()));
        assert!(variable("=x", host).is_err());
        assert!(variable("", host).is_err());
    }

    #[test]
    fn files_have_comments_and_no_quotes() {
        let file = b"\xef\xbb\xbf# comment\n\n  A=1\nB=\"x y\" \nHOME\nNOPE\nC=\r\n";
        assert_eq!(
            variables(file, host),
            Ok(vec!["A=1".into(), "B=\"x y\" ".into(), "HOME=/root".into(), "C=".into()])
        );
        assert_eq!(labels(b"k\nl=v"), Ok(vec![("k".into(), String::new()), ("l".into(), "v".into())]));
        assert_eq!(variables(b"A=1\nB \xff=2", host), Err("line 2 is not valid UTF-8".into()));
        assert!(variables(b"a b=1", host).is_err());
        assert!(variables(b"=1", host).is_err());
    }

    proptest! {
        #[test]
        fn never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
            let _ = (variables(&bytes, host), labels(&bytes));
        }
    }
}
