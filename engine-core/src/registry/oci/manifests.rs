//! Manifests and indexes: fetched whole, their digest computed here, never believed.

use serde::Deserialize;

use super::address::Site;
use super::ask::Ask;
use super::errors::tidy;
use super::http::{Http, body};
use crate::error::{Error, ErrorKind, Result};
use crate::id::Digest;
use crate::reference::Reference;
use crate::registry::driver::{Credential, Document};
use crate::spec::Descriptor;

/// What every registry must be able to take (OCI distribution-spec, "Pushing Manifests"), so nothing larger is used.
const MAX_MANIFEST: usize = 4 << 20;

/// Types that say nothing about the document.
const VAGUE: [&str; 4] = ["", "application/json", "application/octet-stream", "text/plain"];

/// How the types of Docker's first format begin.
const FIRST_FORMAT: &str = "application/vnd.docker.distribution.manifest.v1+";

/// What a document says about itself.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Itself {
    #[serde(default)]
    schema_version: Option<u64>,
    #[serde(default)]
    media_type: Option<String>,
}

/// The manifest or index at the site.
pub(super) async fn fetch(
    http: &Http,
    site: &Site,
    reference: &Reference,
    credential: Option<&Credential>,
) -> Result<Document> {
    let ask = Ask::manifest(reference);
    let answer = http.get(site, &ask, credential).await?;
    let declared = answer.headers().get(reqwest::header::CONTENT_TYPE).and_then(|t| t.to_str().ok());
    let declared = essence(declared.unwrap_or_default());
    let bytes = body(answer, MAX_MANIFEST, &ask.subject, &site.address).await?;
    let digest = Digest::of(&bytes);
    if let Some(wanted) = reference.digest().filter(|wanted| **wanted != digest) {
        return Err(Error::new(ErrorKind::Corrupt, &ask.subject)
            .because(format!("{} sent content with the digest {digest} for {wanted}", site.address)));
    }
    let media_type = media_type(&ask.subject, declared, &bytes)?;
    Ok(Document { descriptor: Descriptor::new(media_type, digest, bytes.len() as u64), bytes })
}

/// The media type without its parameters, in lower case.
fn essence(declared: &str) -> String {
    declared.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

/// The type of the document, on which the server and the document itself must agree: two readers of one document
/// must not take it for two different things.
fn media_type(subject: &str, declared: String, bytes: &[u8]) -> Result<String> {
    let corrupt = |reason: String| Error::new(ErrorKind::Corrupt, subject).because(reason);
    // A struct may be read from an array too.
    if !bytes.trim_ascii_start().starts_with(b"{") {
        return Err(corrupt("what the registry sent is no manifest".to_owned()));
    }
    let itself: Itself = serde_json::from_slice(bytes).map_err(|e| {
        corrupt(format!(
            "what the registry sent is no manifest: malformed at line {}, column {}",
            e.line(),
            e.column()
        ))
    })?;
    if itself.schema_version == Some(1) || declared.starts_with(FIRST_FORMAT) {
        return Err(Error::new(ErrorKind::Unsupported, subject)
            .because("the image is in Docker's first format (schema 1), whose layers cannot be verified")
            .with_remedy("build or push the image again with a current tool"));
    }
    match itself.media_type {
        Some(own) if VAGUE.contains(&declared.as_str()) || own == declared => Ok(own),
        Some(own) => Err(corrupt(format!(
            "the registry says it is {}, the document that it is {}",
            tidy(&declared),
            tidy(&own)
        ))),
        None => Ok(declared),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const INDEX: &str = "application/vnd.oci.image.index.v1+json";

    fn judged(declared: &str, document: &str) -> Result<String> {
        media_type("image x", essence(declared), document.as_bytes())
    }

    #[test]
    fn the_server_and_the_document_agree_on_what_it_is() {
        let own = format!(r#"{{"schemaVersion":2,"mediaType":"{INDEX}"}}"#);
        for declared in
            [INDEX, "Application/vnd.oci.image.index.v1+JSON; charset=utf-8", "application/json", ""]
        {
            assert_eq!(judged(declared, &own).expect("is taken"), INDEX, "{declared}");
        }
        assert_eq!(judged(INDEX, r#"{"schemaVersion":2}"#).expect("is taken"), INDEX);
        let other = judged("application/vnd.oci.image.manifest.v1+json", &own).expect_err("is refused");
        assert_eq!(other.kind(), ErrorKind::Corrupt);
    }

    #[test]
    fn the_first_format_is_refused_by_name() {
        for (declared, document) in [
            ("application/vnd.docker.distribution.manifest.v1+prettyjws", r#"{"schemaVersion":1}"#),
            ("application/vnd.docker.distribution.manifest.v1+json", "{}"),
            ("application/json", r#"{"schemaVersion":1,"name":"x"}"#),
        ] {
            let error = judged(declared, document).expect_err("is refused");
            assert_eq!(error.kind(), ErrorKind::Unsupported);
            assert!(error.to_string().contains("schema 1"), "{error}");
        }
    }

    #[test]
    fn what_is_not_a_manifest_is_corrupt() {
        for document in ["", "<html>", "[]", "{", &"[".repeat(100_000)] {
            assert_eq!(judged(INDEX, document).expect_err("is refused").kind(), ErrorKind::Corrupt);
        }
    }

    proptest! {
        #[test]
        fn judging_never_panics(declared in ".{0,60}", document in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = media_type("image x", essence(&declared), &document);
        }
    }
}
