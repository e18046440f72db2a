//! Shell patterns for names, as Go's `path.Match` has them, because docker's filters do: `*` and `?` stop at a slash,
//! `[a-z]` and `[^a-z]` are classes, a backslash takes the meaning away.

/// Whether the whole of `text` matches. A malformed pattern matches nothing.
///
/// The last `*` that was passed is the only one that is ever taken up again, so the time is bounded by the product of
/// the lengths.
pub(super) fn matches(pattern: &str, text: &str) -> bool {
    let (pattern, text): (Vec<char>, Vec<char>) = (pattern.chars().collect(), text.chars().collect());
    let (mut p, mut t) = (0, 0);
    let mut again: Option<(usize, usize)> = None;
    loop {
        if pattern.get(p) == Some(&'*') {
            again = Some((p + 1, t));
            p += 1;
            continue;
        }
        if p == pattern.len() && t == text.len() {
            return true;
        }
        if let Some(next) = text.get(t).and_then(|c| one(&pattern[p..], *c)) {
            p += next;
            t += 1;
            continue;
        }
        match again {
            Some((after, at)) if text.get(at).is_some_and(|c| *c != '/') => {
                again = Some((after, at + 1));
                (p, t) = (after, at + 1);
            }
            _ => return false,
        }
    }
}

/// Whether the pattern's first element matches `c`: its length then.
fn one(pattern: &[char], c: char) -> Option<usize> {
    match pattern.first()? {
        '?' => (c != '/').then_some(1),
        '\\' => (*pattern.get(1)? == c).then_some(2),
        '[' => class(pattern, c),
        literal => (*literal == c).then_some(1),
    }
}

fn class(pattern: &[char], c: char) -> Option<usize> {
    let negated = pattern.get(1) == Some(&'^');
    let mut at = 1 + usize::from(negated);
    let first = at;
    let mut found = false;
    loop {
        if pattern.get(at) == Some(&']') && at > first {
            return (found != negated).then_some(at + 1);
        }
        let low = member(pattern, &mut at)?;
        let high = if pattern.get(at) == Some(&'-') {
            at += 1;
            member(pattern, &mut at)?
        } else {
            low
        };
        found |= (low..=high).contains(&c);
    }
}

fn member(pattern: &[char], at: &mut usize) -> Option<char> {
    if pattern.get(*at) == Some(&'\\') {
        *at += 1;
    } else if matches!(pattern.get(*at), Some('-' | ']')) {
        return None;
    }
    let member = *pattern.get(*at)?;
    *at += 1;
    Some(member)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::matches;

    #[test]
    fn patterns_match_as_in_go() {
        for (pattern, text) in [
            ("alpine", "alpine"),
            ("alp*", "alpine:3.20"),
            ("*:3*", "alpine:3.20"),
            ("*/*", "user/app"),
            ("a?p[h-m]ne", "alpkne"),
            ("[^b]*", "alpine"),
            ("a\\*", "a*"),
            ("**", "abc"),
            ("*a*a*b", "aaaab"),
            ("", ""),
        ] {
            assert!(matches(pattern, text), "{pattern} did not match {text}");
        }
        for (pattern, text) in [
            ("alp", "alpine"),
            ("*", "user/app"),
            ("user?app", "user/app"),
            ("[^a]*", "alpine"),
            ("[", "["),
            ("[]a]", "]"),
            ("a\\", "a\\"),
            ("a*b", "a/b"),
        ] {
            assert!(!matches(pattern, text), "{pattern} matched {text}");
        }
    }

    proptest! {
        #[test]
        fn matching_ends_and_never_panics(pattern in "[a*?\\[\\]\\\\^-]{0,30}", text in "[a/]{0,60}") {
            let _ = matches(&pattern, &text);
        }

        #[test]
        fn a_name_matches_itself(text in "[a-z0-9/:.]{0,40}") {
            prop_assert!(matches(&text, &text));
        }
    }
}
