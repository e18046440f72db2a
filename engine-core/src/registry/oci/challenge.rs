//! The `WWW-Authenticate` header: what a registry wants to see (RFC 9110, section 11.6.1).

/// One way to authenticate that a server offers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Challenge {
    /// In lower case: `bearer`, `basic`.
    pub(super) scheme: String,
    /// The parameters in their order, their names in lower case.
    params: Vec<(String, String)>,
}

impl Challenge {
    /// The parameter's value; the first one where it is repeated.
    pub(super) fn param(&self, name: &str) -> Option<&str> {
        self.params.iter().find(|(found, _)| found == name).map(|(_, value)| value.as_str())
    }
}

/// The challenges of one header. What cannot be understood ends it; what was understood before counts.
pub(super) fn parse(header: &str) -> Vec<Challenge> {
    let mut rest = Rest(header);
    let mut challenges: Vec<Challenge> = Vec::new();
    loop {
        rest.skip(|c| c == ',' || is_space(c));
        let Some(word) = rest.token() else { return challenges };
        // The list separates challenges and parameters by the same comma: a word with a value is a parameter of
        // the challenge before it, a word without one begins the next challenge.
        let mut ahead = rest.clone();
        match (ahead.value(), challenges.last_mut()) {
            (Some(value), Some(challenge)) => {
                challenge.params.push((word.to_ascii_lowercase(), value));
                rest = ahead;
            }
            _ => {
                challenges.push(Challenge { scheme: word.to_ascii_lowercase(), params: Vec::new() });
                rest.skip(is_space);
                rest.skip_token68();
            }
        }
    }
}

fn is_space(c: char) -> bool {
    c == ' ' || c == '\t'
}

fn is_token(c: char) -> bool {
    c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c)
}

#[derive(Clone)]
struct Rest<'a>(&'a str);

impl<'a> Rest<'a> {
    fn skip(&mut self, what: impl Fn(char) -> bool) {
        self.0 = self.0.trim_start_matches(what);
    }

    fn token(&mut self) -> Option<&'a str> {
        let end = self.0.find(|c| !is_token(c)).unwrap_or(self.0.len());
        let (token, rest) = self.0.split_at(end);
        self.0 = rest;
        (!token.is_empty()).then_some(token)
    }

    /// `= value`, the value being a token or a quoted string.
    fn value(&mut self) -> Option<String> {
        self.skip(is_space);
        self.0 = self.0.strip_prefix('=')?;
        self.skip(is_space);
        match self.0.strip_prefix('"') {
            Some(quoted) => {
                self.0 = quoted;
                self.quoted()
            }
            None => self.token().map(str::to_owned),
        }
    }

    fn quoted(&mut self) -> Option<String> {
        let mut value = String::new();
        let mut chars = self.0.char_indices();
        while let Some((at, c)) = chars.next() {
            match c {
                '"' => {
                    self.0 = &self.0[at + 1..];
                    return Some(value);
                }
                '\\' => value.push(chars.next()?.1),
                c => value.push(c),
            }
        }
        None
    }

    /// The opaque word that some schemes have in place of parameters: nothing that we use.
    fn skip_token68(&mut self) {
        let end = self.0.find(|c: char| !c.is_ascii_alphanumeric() && !"-._~+/".contains(c));
        let (word, rest) = self.0.split_at(end.unwrap_or(self.0.len()));
        let after = rest.trim_start_matches('=').trim_start_matches(is_space);
        if !word.is_empty() && (after.is_empty() || after.starts_with(',')) {
            self.0 = after;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_registry_s_challenge_is_read() {
        let header =
            r#"Bearer realm="https://auth.example.com/token",service="reg",scope="repository:a/b:pull,push""#;
        let challenges = parse(header);
        assert_eq!(challenges.len(), 1);
        assert_eq!(challenges[0].scheme, "bearer");
        assert_eq!(challenges[0].param("realm"), Some("https://auth.example.com/token"));
        assert_eq!(challenges[0].param("scope"), Some("repository:a/b:pull,push"));
        assert_eq!(challenges[0].param("error"), None);
    }

    #[test]
    fn several_challenges_in_one_header_are_told_apart() {
        let challenges =
            parse(r#", Negotiate YWJj==, BASIC Realm = "a \"b\", c" , Digest, Bearer realm=x,Service="y""#);
        let schemes: Vec<&str> = challenges.iter().map(|c| c.scheme.as_str()).collect();
        assert_eq!(schemes, ["negotiate", "basic", "digest", "bearer"]);
        assert_eq!(challenges[1].param("realm"), Some(r#"a "b", c"#));
        assert_eq!((challenges[3].param("realm"), challenges[3].param("service")), (Some("x"), Some("y")));
    }

    #[test]
    fn a_scheme_alone_is_a_challenge() {
        assert_eq!(parse("Basic").len(), 1);
        assert_eq!(parse("Negotiate, Basic realm=x").len(), 2);
    }

    #[test]
    fn a_broken_header_gives_what_came_before() {
        assert!(parse("").is_empty());
        assert!(parse("=\"x\"").is_empty());
        let challenges = parse(r#"Bearer realm="https://a/","#);
        assert_eq!(challenges[0].param("realm"), Some("https://a/"));
        assert_eq!(parse(r#"Bearer realm="unclosed"#)[0].param("realm"), None);
    }

    proptest! {
        #[test]
        fn reading_never_panics_and_ends(header in ".{0,200}") {
            let _ = parse(&header);
        }

        #[test]
        fn what_is_written_is_read(
            realm in "[ -~]{0,40}",
            scope in "[a-z:/,]{1,40}",
            scheme in "[A-Za-z]{1,10}",
        ) {
            let quoted: String = realm.chars().flat_map(|c| match c {
                '"' | '\\' => vec!['\\', c],
                c => vec![c],
            }).collect();
            let header = format!("Basic, {scheme} REALM=\"{quoted}\", scope=\"{scope}\"");
            let challenges = parse(&header);
            prop_assert_eq!(challenges.len(), 2);
            prop_assert_eq!(&challenges[1].scheme, &scheme.to_ascii_lowercase());
            prop_assert_eq!(challenges[1].param("realm"), Some(realm.as_str()));
            prop_assert_eq!(challenges[1].param("scope"), Some(scope.as_str()));
        }
    }
}
