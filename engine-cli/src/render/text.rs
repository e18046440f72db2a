//! Text for people: quoting, cutting, and keeping control characters away from terminals.

use std::borrow::Cow;
use std::fmt::Write as _;

/// Whether a character could make a terminal do something.
fn plays_with_terminals(c: char) -> bool {
    // Besides the control characters: those that turn the direction of writing, and so can hide what is written.
    c.is_control() || matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// The text with every control character written as an escape.
pub(crate) fn escape(text: &str) -> Cow<'_, str> {
    escape_but(text, |_| false)
}

/// The same, but for newlines and tabs, which are layout.
pub(crate) fn escape_block(text: &str) -> Cow<'_, str> {
    escape_but(text, |c| matches!(c, '\n' | '\t'))
}

fn escape_but(text: &str, spared: impl Fn(char) -> bool) -> Cow<'_, str> {
    let bad = |c: char| plays_with_terminals(c) && !spared(c);
    if !text.chars().any(bad) {
        return Cow::Borrowed(text);
    }
    let mut escaped = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        if bad(c) { push_escape(&mut escaped, c) } else { escaped.push(c) }
    }
    Cow::Owned(escaped)
}

/// As Go writes it.
fn push_escape(into: &mut String, c: char) {
    match c {
        '\u{7}' => into.push_str("\\a"),
        '\u{8}' => into.push_str("\\b"),
        '\u{c}' => into.push_str("\\f"),
        '\n' => into.push_str("\\n"),
        '\r' => into.push_str("\\r"),
        '\t' => into.push_str("\\t"),
        '\u{b}' => into.push_str("\\v"),
        // Writing to a String does not fail.
        c if u32::from(c) < 0x80 => drop(write!(into, "\\x{:02x}", u32::from(c))),
        c => drop(write!(into, "\\u{:04x}", u32::from(c))),
    }
}

/// In double quotes, as Go's `strconv.Quote` writes it.
pub(crate) fn quote(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => {
                quoted.push('\\');
                quoted.push(c);
            }
            c if plays_with_terminals(c) => push_escape(&mut quoted, c),
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

/// At most `width` characters; what is cut away is told by an ellipsis.
pub(crate) fn ellipsis(text: &str, width: usize) -> Cow<'_, str> {
    if text.chars().count() <= width {
        return Cow::Borrowed(text);
    }
    let mut cut: String = text.chars().take(width.saturating_sub(1)).collect();
    cut.push('…');
    Cow::Owned(cut)
}

/// An identifier as lists show it: twelve digits, without the digest's algorithm.
pub(crate) fn short_id(id: &str) -> &str {
    let digits = id.split_once(':').map_or(id, |(_, digits)| digits);
    digits.get(..12).unwrap_or(digits)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_are_shown_not_obeyed() {
        assert_eq!(escape("plain é"), "plain é");
        assert_eq!(escape("a\u{1b}]0;x\u{7}\n"), "a\\x1b]0;x\\a\\n");
        assert_eq!(escape("a\u{9b}b\u{202e}c"), "a\\u009bb\\u202ec");
        assert_eq!(escape_block("a\tb\nc\r"), "a\tb\nc\\r");
    }

    #[test]
    fn quoting_is_go_s() {
        assert_eq!(quote(r#"sh -c 'echo "hi'"#), r#""sh -c 'echo \"hi'""#);
        assert_eq!(quote("a\\b\t…"), "\"a\\\\b\\t…\"");
    }

    #[test]
    fn what_is_too_long_ends_in_an_ellipsis() {
        assert_eq!(ellipsis("sh -c 'very long command here'", 20), "sh -c 'very long co…");
        assert_eq!(ellipsis("twenty characters ok", 20), "twenty characters ok");
        assert_eq!(ellipsis("ab", 0), "…");
    }

    #[test]
    fn an_identifier_is_cut_to_twelve_digits() {
        assert_eq!(short_id("sha256:8c78b5ff00d05f0e"), "8c78b5ff00d0");
        assert_eq!(short_id("49e268a533713bf5"), "49e268a53371");
        assert_eq!(short_id("abc"), "abc");
    }
}
