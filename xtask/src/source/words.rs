//! The words of a source text, without comments and strings, and which of them are tests.

use std::ops::RangeInclusive;

/// A name, a number or a sign.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Word<'a> {
    pub(crate) text: &'a str,
    /// Counted from one.
    pub(crate) line: usize,
}

impl Word<'_> {
    pub(crate) fn is_name(&self) -> bool {
        self.text.starts_with(|c: char| c.is_alphabetic() || c == '_')
    }
}

/// The words of `text`. A string is one empty word; `::` is one word, other signs are words of one character.
pub(crate) fn words(text: &str) -> Vec<Word<'_>> {
    let bytes = text.as_bytes();
    let mut found = Vec::new();
    let (mut at, mut line) = (0, 1);
    while let Some(&byte) = bytes.get(at) {
        let rest = &text[at..];
        let (length, word) = match byte {
            b'/' if rest.starts_with("//") => (rest.find('\n').unwrap_or(rest.len()), None),
            b'/' if rest.starts_with("/*") => (block_comment(rest), None),
            b'"' => (string(rest), Some("")),
            b'r' | b'b' | b'c' if prefix(rest).is_some() => (prefix(rest).unwrap_or(1), Some("")),
            b'\'' => quote(rest),
            b':' if rest.starts_with("::") => (2, Some("::")),
            _ if byte.is_ascii_whitespace() => (1, None),
            _ => {
                let end = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
                // A sign, or the first of several: one character.
                let end = if end == 0 { rest.chars().next().map_or(1, char::len_utf8) } else { end };
                (end, Some(&rest[..end]))
            }
        };
        if let Some(text) = word {
            found.push(Word { text, line });
        }
        line += bytes[at..at + length].iter().filter(|byte| **byte == b'\n').count();
        at += length;
    }
    found
}

/// The length of a comment in signs, with those nested in it.
fn block_comment(rest: &str) -> usize {
    let (mut depth, mut at) = (0usize, 0);
    while at < rest.len() {
        if rest[at..].starts_with("/*") {
            depth += 1;
            at += 2;
        } else if rest[at..].starts_with("*/") {
            depth = depth.saturating_sub(1);
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            at += rest[at..].chars().next().map_or(1, char::len_utf8);
        }
    }
    rest.len()
}

/// The length of a string that begins with its quotation mark.
fn string(rest: &str) -> usize {
    let mut escaped = false;
    for (at, c) in rest.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return at + 1,
            _ => {}
        }
    }
    rest.len()
}

/// The length of a string with a prefix, `r#"…"#`, `b"…"`, `c"…"` or `b'…'`, if this is one.
fn prefix(rest: &str) -> Option<usize> {
    let letters = rest.find(|c| !matches!(c, 'r' | 'b' | 'c'))?;
    let (letters, rest) = rest.split_at(letters);
    if letters.len() > 2 {
        return None;
    }
    let hashes = rest.find(|c| c != '#')?;
    if letters.contains('r') {
        let body = rest[hashes..].strip_prefix('"')?;
        let close = format!("\"{}", "#".repeat(hashes));
        let end = body.find(&close).map_or(body.len(), |end| end + close.len());
        return Some(letters.len() + hashes + 1 + end);
    }
    match rest.bytes().next()? {
        b'"' => Some(letters.len() + string(rest)),
        b'\'' => Some(letters.len() + quote(rest).0),
        _ => None,
    }
}

/// A character is one empty word; the mark of a lifetime is nothing, and its name a word.
fn quote(rest: &str) -> (usize, Option<&'static str>) {
    let mut characters = rest.char_indices().skip(1);
    match (characters.next(), characters.next()) {
        (Some((_, '\\')), Some((at, escaped))) => {
            let after = at + escaped.len_utf8();
            (rest[after..].find('\'').map_or(rest.len(), |end| after + end + 1), Some(""))
        }
        (Some(_), Some((at, '\''))) => (at + 1, Some("")),
        _ => (1, None),
    }
}

/// The lines of the items that exist only in tests: `#[cfg(test)]` and `#[test]`, each with its attributes.
pub(crate) fn test_lines(words: &[Word<'_>]) -> Vec<RangeInclusive<usize>> {
    let mut found = Vec::new();
    let mut at = 0;
    while at < words.len() {
        match test_item(words, at) {
            Some(end) => {
                found.push(words[at].line..=words[end.min(words.len()) - 1].line);
                at = end;
            }
            None => at += 1,
        }
    }
    found
}

/// The words of what is no test.
pub(crate) fn without_tests<'a>(words: &[Word<'a>]) -> Vec<Word<'a>> {
    let mut kept = Vec::new();
    let mut at = 0;
    while at < words.len() {
        match test_item(words, at) {
            Some(end) => at = end,
            None => {
                kept.push(words[at]);
                at += 1;
            }
        }
    }
    kept
}

/// If an item that exists only in tests begins here, the index after it.
fn test_item(words: &[Word<'_>], at: usize) -> Option<usize> {
    let body = attribute(words, at)?;
    let names: Vec<&str> = words[at + 2..body - 1].iter().map(|word| word.text).collect();
    let is_test = match names.as_slice() {
        ["cfg", rest @ ..] => rest.contains(&"test") && !rest.contains(&"not"),
        ["test"] => true,
        _ => false,
    };
    if !is_test {
        return None;
    }
    let mut at = body;
    while let Some(next) = attribute(words, at) {
        at = next;
    }
    let mut depth = 0usize;
    while let Some(word) = words.get(at) {
        at += 1;
        match word.text {
            "{" | "(" | "[" => depth += 1,
            "}" | ")" | "]" => {
                depth = depth.saturating_sub(1);
                if depth == 0 && word.text == "}" {
                    break;
                }
            }
            ";" if depth == 0 => break,
            _ => {}
        }
    }
    Some(at)
}

/// If an outer attribute begins here, the index after it.
fn attribute(words: &[Word<'_>], at: usize) -> Option<usize> {
    if words.get(at)?.text != "#" || words.get(at + 1)?.text != "[" {
        return None;
    }
    let mut depth = 0usize;
    for (index, word) in words.iter().enumerate().skip(at + 1) {
        match word.text {
            "[" | "(" => depth += 1,
            "]" | ")" => {
                depth = depth.saturating_sub(1);
                if depth == 0 {
                    return Some(index + 1);
                }
            }
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(text: &str) -> Vec<&str> {
        words(text).into_iter().map(|word| word.text).collect()
    }

    #[test]
    fn comments_and_strings_say_nothing() {
        let text = "a // use crate::x\n/* b /* c */ d */ e \"crate::y \\\" z\" r#\"un\"safe\"# 'x' '\\'' b'\\n' &'life f";
        assert_eq!(texts(text), ["a", "e", "", "", "", "", "", "&", "life", "f"]);
        assert_eq!(texts("crate::a::{b, c}"), ["crate", "::", "a", "::", "{", "b", ",", "c", "}"]);
        assert_eq!(texts("brand b r crab c\"x\""), ["brand", "b", "r", "crab", ""]);
        assert_eq!(words("a\n\n\"x\ny\"\nb").last().map(|word| word.line), Some(5));
    }

    #[test]
    fn what_exists_only_in_tests_is_left_out() {
        let text = "fn a() {}\n#[cfg(test)]\nmod tests {\n fn x() { y(); }\n}\nfn b() {}\n#[cfg(test)]\nmod other;\n#[cfg(not(test))]\nfn c() {}\n#[cfg(any(test, feature = \"x\"))]\n#[inline]\nfn d(x: [u8; 3]) { }\nfn e() {}";
        let words = words(text);
        let names: Vec<&str> = without_tests(&words)
            .windows(2)
            .filter(|pair| pair[0].text == "fn")
            .map(|pair| pair[1].text)
            .collect();
        assert_eq!(names, ["a", "b", "c", "e"]);
        assert_eq!(test_lines(&words), [2..=5, 7..=8, 11..=13]);
    }

    #[test]
    fn text_that_is_no_rust_is_read_without_harm() {
        for text in ["", "'", "\"", "r#\"", "/*", "b'", "#[cfg(test)]", "#[cfg(test", "é'ü", "#[", "c"] {
            let words = words(text);
            let _ = (test_lines(&words), without_tests(&words));
        }
    }
}
