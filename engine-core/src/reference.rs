//! Image references: `[registry/]repository[:tag][@digest]`, by Docker's grammar.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::id::Digest;

/// The registry that a reference without one means.
pub(crate) const DEFAULT_REGISTRY: &str = "docker.io";
const DEFAULT_TAG: &str = "latest";
const MAX_NAME: usize = 255;
const MAX_TAG: usize = 128;

/// A parsed image reference, normalised: `alpine` is `docker.io/library/alpine:latest`.
///
/// It has a tag, a digest, or both; where it has both, the digest decides what is fetched.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Reference {
    registry: String,
    repository: String,
    tag: Option<String>,
    digest: Option<Digest>,
}

impl Reference {
    /// The registry's host, with its port if it has one: `docker.io`, `localhost:5000`.
    pub fn registry(&self) -> &str {
        &self.registry
    }

    /// The repository's path in the registry: `library/alpine`.
    pub fn repository(&self) -> &str {
        &self.repository
    }

    /// The tag. A reference that was written with neither tag nor digest has the tag `latest`.
    pub fn tag(&self) -> Option<&str> {
        self.tag.as_deref()
    }

    /// The digest of the manifest, if the reference pins one.
    pub fn digest(&self) -> Option<&Digest> {
        self.digest.as_ref()
    }

    /// The same repository at `digest`, without a tag.
    #[must_use]
    pub fn at_digest(&self, digest: Digest) -> Reference {
        Reference { tag: None, digest: Some(digest), ..self.clone() }
    }

    /// The same repository with `tag`, without a digest.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`](crate::ErrorKind::InvalidInput) when the tag is malformed.
    pub fn at_tag(&self, tag: &str) -> Result<Reference> {
        check_tag(tag, tag)?;
        Ok(Reference { tag: Some(tag.to_owned()), digest: None, ..self.clone() })
    }

    /// The name of the repository as people write it: without `docker.io/` and `library/`.
    pub fn familiar_name(&self) -> String {
        if self.registry != DEFAULT_REGISTRY {
            return format!("{}/{}", self.registry, self.repository);
        }
        let short = match self.repository.strip_prefix("library/") {
            Some(rest) if !rest.contains('/') => rest,
            _ => &self.repository,
        };
        match short.split_once('/') {
            Some((first, _)) if is_registry(first) => format!("{}/{short}", self.registry),
            _ => short.to_owned(),
        }
    }

    /// The whole reference as people write it: `alpine:3.20`.
    pub fn familiar(&self) -> String {
        self.with_suffix(self.familiar_name())
    }

    fn with_suffix(&self, mut name: String) -> String {
        if let Some(tag) = &self.tag {
            name.push(':');
            name.push_str(tag);
        }
        if let Some(digest) = &self.digest {
            name.push('@');
            name.push_str(digest.as_str());
        }
        name
    }
}

impl FromStr for Reference {
    type Err = Error;

    fn from_str(text: &str) -> Result<Reference> {
        let bad = |reason: &str| Err(Error::invalid(format!("image reference {text:?}"), reason));
        let (rest, digest) = match text.split_once('@') {
            Some((rest, digest)) => (rest, Some(digest.parse::<Digest>()?)),
            None => (text, None),
        };
        // A colon after the last slash begins a tag; one before it belongs to the registry's port.
        let after_slash = rest.rfind('/').map_or(0, |slash| slash + 1);
        let (name, tag) = match rest[after_slash..].find(':') {
            Some(colon) => (&rest[..after_slash + colon], Some(&rest[after_slash + colon + 1..])),
            None => (rest, None),
        };
        if name.is_empty() {
            return bad("the repository is missing");
        }
        if name.len() == 64 && name.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')) {
            return bad("64 hexadecimal digits are an identifier, not a repository");
        }
        let (registry, path) = match name.split_once('/') {
            Some((first, path)) if is_registry(first) => (first, path),
            _ => (DEFAULT_REGISTRY, name),
        };
        let registry = if registry == "index.docker.io" { DEFAULT_REGISTRY } else { registry };
        check_registry(text, registry)?;
        let repository = if registry == DEFAULT_REGISTRY && !path.contains('/') {
            format!("library/{path}")
        } else {
            path.to_owned()
        };
        check_repository(text, &repository)?;
        if registry.len() + 1 + repository.len() > MAX_NAME {
            return bad("registry and repository must not be longer than 255 characters");
        }
        if let Some(tag) = tag {
            check_tag(text, tag)?;
        }
        let tag = match (tag, &digest) {
            (Some(tag), _) => Some(tag.to_owned()),
            (None, None) => Some(DEFAULT_TAG.to_owned()),
            (None, Some(_)) => None,
        };
        Ok(Reference { registry: registry.to_owned(), repository, tag, digest })
    }
}

/// Docker's rule: the first component is a registry if it cannot be part of a Docker Hub name.
fn is_registry(first: &str) -> bool {
    first.contains(['.', ':']) || first == "localhost" || first.bytes().any(|b| b.is_ascii_uppercase())
}

fn check_registry(text: &str, registry: &str) -> Result<()> {
    let bad = |reason: &str| Err(Error::invalid(format!("image reference {text:?}"), reason));
    let (host, port) = match registry.strip_prefix('[') {
        Some(rest) => match rest.split_once(']') {
            Some((address, port)) if address.parse::<std::net::Ipv6Addr>().is_ok() => {
                (None, port.strip_prefix(':'))
            }
            _ => return bad("the registry is not a valid IPv6 address in brackets"),
        },
        None => match registry.split_once(':') {
            Some((host, port)) => (Some(host), Some(port)),
            None => (Some(registry), None),
        },
    };
    if let Some(host) = host {
        let label = |label: &str| {
            !label.is_empty()
                && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
                && !label.starts_with('-')
                && !label.ends_with('-')
        };
        if !host.split('.').all(label) {
            return bad("the registry is not a valid host name");
        }
    }
    match port {
        Some(port) if port.parse::<u16>().is_err() || !port.bytes().all(|b| b.is_ascii_digit()) => {
            bad("the registry's port is not a number below 65536")
        }
        _ => Ok(()),
    }
}

/// `component(/component)*`, a component being runs of `[a-z0-9]` joined by `.`, `_`, `__` or dashes.
fn check_repository(text: &str, repository: &str) -> Result<()> {
    let bad = |reason: &str| Err(Error::invalid(format!("image reference {text:?}"), reason));
    if repository.bytes().any(|b| b.is_ascii_uppercase()) {
        return bad("the repository must be lowercase");
    }
    for component in repository.split('/') {
        if component.is_empty() {
            return bad("the repository has an empty component");
        }
        let alphanumeric = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
        let mut separator = 0;
        for (i, b) in component.bytes().enumerate() {
            if alphanumeric(b) {
                let run = &component[i - separator..i];
                if !matches!(run, "" | "." | "_" | "__") && !run.bytes().all(|b| b == b'-') {
                    return bad("separators in the repository are '.', '_', '__' or dashes");
                }
                separator = 0;
            } else if matches!(b, b'.' | b'_' | b'-') && i > 0 {
                separator += 1;
            } else {
                return bad(
                    "a component of the repository begins with a letter or a digit and has no other \
                            characters than letters, digits, '.', '_' and '-'",
                );
            }
        }
        if separator > 0 {
            return bad("a component of the repository must end with a letter or a digit");
        }
    }
    Ok(())
}

fn check_tag(text: &str, tag: &str) -> Result<()> {
    let word = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    let first = tag.bytes().next();
    let fine = first.is_some_and(word)
        && tag.len() <= MAX_TAG
        && tag.bytes().all(|b| word(b) || b == b'.' || b == b'-');
    if fine {
        return Ok(());
    }
    Err(Error::invalid(
        format!("image reference {text:?}"),
        "a tag has 1 to 128 letters, digits, '_', '.' or '-', and begins with neither '.' nor '-'",
    ))
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.with_suffix(format!("{}/{}", self.registry, self.repository)))
    }
}

impl fmt::Debug for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl From<Reference> for String {
    fn from(reference: Reference) -> String {
        reference.to_string()
    }
}

impl TryFrom<String> for Reference {
    type Error = Error;

    fn try_from(text: String) -> Result<Reference> {
        text.parse()
    }
}

impl TryFrom<&str> for Reference {
    type Error = Error;

    fn try_from(text: &str) -> Result<Reference> {
        text.parse()
    }
}

impl TryFrom<&Reference> for Reference {
    type Error = Error;

    fn try_from(reference: &Reference) -> Result<Reference> {
        Ok(reference.clone())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parse(text: &str) -> Reference {
        text.parse().unwrap_or_else(|e| panic!("{text:?}: {e}"))
    }

    #[test]
    fn short_names_mean_docker_hub() {
        assert_eq!(parse("alpine").to_string(), "docker.io/library/alpine:latest");
        assert_eq!(parse("user/app:1").to_string(), "docker.io/user/app:1");
        assert_eq!(parse("index.docker.io/alpine").to_string(), "docker.io/library/alpine:latest");
        assert_eq!(parse("alpine:3.20").familiar(), "alpine:3.20");
        assert_eq!(parse("docker.io/user/app").familiar(), "user/app:latest");
        assert_eq!(parse("docker.io/a.b/c").familiar(), "docker.io/a.b/c:latest");
        assert_eq!(parse("library/a/b").familiar(), "library/a/b:latest");
    }

    #[test]
    fn a_port_is_no_tag() {
        let reference = parse("localhost:5000/debian");
        assert_eq!((reference.registry(), reference.tag()), ("localhost:5000", Some("latest")));
        assert_eq!(parse("127.0.0.1:5000/a/b:t").familiar(), "127.0.0.1:5000/a/b:t");
        assert_eq!(parse("[::1]:5000/a").registry(), "[::1]:5000");
    }

    #[test]
    fn a_first_component_in_upper_case_is_a_host() {
        assert_eq!(parse("UPPER/x").registry(), "UPPER");
    }

    #[test]
    fn a_digest_pins_and_needs_no_tag() {
        let digest = format!("sha256:{}", "ab".repeat(32));
        let reference = parse(&format!("alpine@{digest}"));
        assert_eq!(reference.tag(), None);
        assert_eq!(reference.digest().map(Digest::as_str), Some(digest.as_str()));
        let both = parse(&format!("alpine:3@{digest}"));
        assert_eq!(both.tag(), Some("3"));
    }

    #[test]
    fn malformed_references_are_refused() {
        let long = "a".repeat(256);
        let hex = "a".repeat(64);
        for bad in [
            "",
            ":tag",
            "a:",
            "Alpine",
            "a//b",
            "/a",
            "a/",
            "a b",
            "a:ta g",
            "a@sha256:xyz",
            "a..b",
            "a___b",
            "-a",
            "a-",
            "host:99999/a",
            "ex_ample.com/a",
            "../a",
            "a/../b",
            "[::g]/a",
            &long,
            &hex,
        ] {
            assert!(bad.parse::<Reference>().is_err(), "{bad:?} was accepted");
        }
    }

    proptest! {
        #[test]
        fn parsing_never_panics(text in ".{0,80}") {
            let _ = text.parse::<Reference>();
        }

        #[test]
        fn what_parses_prints_and_parses_again(text in "[a-zA-Z0-9./:@_-]{1,60}") {
            if let Ok(reference) = text.parse::<Reference>() {
                prop_assert_eq!(parse(&reference.to_string()), reference.clone());
                prop_assert_eq!(parse(&reference.familiar()), reference);
            }
        }
    }
}
