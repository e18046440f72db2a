//! What went wrong, in the user's words: a registry's refusal, and a connection that failed.

use std::error::Error as StdError;
use std::io;
use std::time::Duration;

use reqwest::{Response, StatusCode};
use serde::Deserialize;

use super::address::Address;
use super::ask::Ask;
use crate::error::{Error, ErrorKind};

/// A refusal is read up to here: enough for any that is meant for people.
const MAX_REFUSAL: usize = 64 << 10;
/// And for so long.
const PATIENCE: Duration = Duration::from_secs(5);
/// How much of a registry's own words is shown.
const MAX_WORDS: usize = 300;

/// The body of a refusal (OCI distribution-spec, "Error Codes").
#[derive(Deserialize)]
struct Envelope {
    errors: Vec<Item>,
}

#[derive(Deserialize)]
struct Item {
    #[serde(default)]
    code: String,
    #[serde(default)]
    message: String,
}

/// What a refusal says: the code, in upper case, and the words.
#[derive(Debug, Default, PartialEq, Eq)]
struct Said {
    code: String,
    words: String,
}

/// The error that the answer, which is no success, amounts to.
pub(super) async fn refusal(
    ask: &Ask<'_>,
    server: &Address,
    answer: Response,
    with_credential: bool,
) -> Error {
    let status = answer.status();
    let mut body = Vec::new();
    // Whoever refuses and then takes his time over the words is not listened to; what came counts.
    let _ = tokio::time::timeout(PATIENCE, head(answer, &mut body)).await;
    judge(ask, server, status, said(&body), with_credential)
}

/// The first bytes of a body. What cannot be read is not missed.
async fn head(mut answer: Response, body: &mut Vec<u8>) {
    while let Ok(Some(bytes)) = answer.chunk().await {
        let room = MAX_REFUSAL - body.len();
        body.extend_from_slice(&bytes[..bytes.len().min(room)]);
        if body.len() == MAX_REFUSAL {
            return;
        }
    }
}

fn said(body: &[u8]) -> Said {
    let envelope = serde_json::from_slice::<Envelope>(body).ok();
    match envelope.and_then(|envelope| envelope.errors.into_iter().next()) {
        Some(item) => Said { code: tidy(&item.code).to_ascii_uppercase(), words: tidy(&item.message) },
        None => Said::default(),
    }
}

fn judge(ask: &Ask<'_>, server: &Address, status: StatusCode, said: Said, with_credential: bool) -> Error {
    let kind = match (said.code.as_str(), status) {
        ("NAME_UNKNOWN" | "MANIFEST_UNKNOWN" | "BLOB_UNKNOWN", _) => ErrorKind::NotFound,
        (_, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) => ErrorKind::Unauthorized,
        ("UNAUTHORIZED" | "DENIED", _) => ErrorKind::Unauthorized,
        ("NAME_INVALID" | "TAG_INVALID" | "DIGEST_INVALID", _) => ErrorKind::InvalidInput,
        ("UNSUPPORTED", _) => ErrorKind::Unsupported,
        (_, StatusCode::NOT_FOUND | StatusCode::GONE) => ErrorKind::NotFound,
        (_, StatusCode::METHOD_NOT_ALLOWED | StatusCode::NOT_ACCEPTABLE) => ErrorKind::Unsupported,
        _ => ErrorKind::Unavailable,
    };
    let words = match (said.words.is_empty(), said.code.is_empty()) {
        (false, _) => said.words,
        (true, false) => said.code.to_ascii_lowercase().replace('_', " "),
        (true, true) => format!("it answered {status}"),
    };
    let registry = ask.registry;
    let error = match kind {
        ErrorKind::NotFound => {
            Error::new(kind, &ask.subject).because(format!("not found in {server}: {words}"))
        }
        ErrorKind::Unauthorized => Error::new(kind, &ask.subject)
            .because(format!("{server} denies access to {}: {words}", ask.repository)),
        ErrorKind::Unavailable if status == StatusCode::TOO_MANY_REQUESTS => {
            Error::new(kind, &ask.subject).because(format!("too many requests to {server}: {words}"))
        }
        _ => Error::new(kind, &ask.subject).because(format!("{server} refuses: {words}")),
    };
    match kind {
        ErrorKind::Unauthorized if with_credential => error.with_remedy(format!(
            "check the name, and that the credentials for {registry} are right and allow to read this repository"
        )),
        ErrorKind::Unauthorized => error.with_remedy(format!(
            "check the name, which is denied also when it does not exist, or log in to {registry}"
        )),
        ErrorKind::Unavailable if status == StatusCode::TOO_MANY_REQUESTS => {
            error.with_remedy(format!("try again later, log in to {registry} for a higher limit, or use a mirror"))
        }
        _ => error,
    }
}

/// Somebody else's words, made fit for a message: one line, no control characters, not too long.
pub(super) fn tidy(words: &str) -> String {
    let mut tidy = String::new();
    for c in words.trim().chars().take(MAX_WORDS) {
        tidy.push(if c.is_control() { ' ' } else { c });
    }
    tidy
}

/// Why a request got no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// Nothing came in time.
    Silence,
    /// Nobody listens there.
    Refused,
    /// What answers there does not speak TLS.
    NoTls,
    /// The certificate is not one to be trusted.
    Certificate,
    /// Another failure before there was a connection.
    Connect,
    /// The connection broke.
    Broken,
}

impl Fault {
    pub(super) fn of(error: &reqwest::Error) -> Fault {
        match (causes(error).find_map(Fault::at_the_root), error.is_timeout(), error.is_connect()) {
            (Some(fault), _, _) => fault,
            (None, true, _) => Fault::Silence,
            (None, _, true) => Fault::Connect,
            _ => Fault::Broken,
        }
    }

    fn at_the_root(cause: &(dyn StdError + 'static)) -> Option<Fault> {
        if let Some(io) = cause.downcast_ref::<io::Error>() {
            return match io.get_ref() {
                _ if io.kind() == io::ErrorKind::ConnectionRefused => Some(Fault::Refused),
                // An I/O error hides the error it was made from: its source is that one's source.
                Some(inner) => Fault::at_the_root(inner),
                None => None,
            };
        }
        match cause.downcast_ref()? {
            rustls::Error::InvalidMessage(_) => Some(Fault::NoTls),
            rustls::Error::InvalidCertificate(_) => Some(Fault::Certificate),
            _ => None,
        }
    }

    /// Whether the same request may be sent again at once: the server is there, the connection was at fault.
    pub(super) fn is_passing(self) -> bool {
        self == Fault::Broken
    }
}

fn causes(error: &reqwest::Error) -> impl Iterator<Item = &(dyn StdError + 'static)> {
    std::iter::successors(Some(error as &(dyn StdError + 'static)), |error| (*error).source())
}

/// The error of a request that got no answer from the server, or not a whole one.
pub(super) fn failure(subject: &str, server: &Address, error: reqwest::Error) -> Error {
    // An address may hold a signature that gives access.
    let error = error.without_url();
    let fault = Fault::of(&error);
    let root = causes(&error).last().map(ToString::to_string).unwrap_or_default();
    let new = |reason: String| {
        let kind = if fault == Fault::Silence { ErrorKind::TimedOut } else { ErrorKind::Unavailable };
        Error::new(kind, subject).because(reason)
    };
    match fault {
        Fault::Silence => new(format!("{server} did not answer in time")),
        Fault::Refused => new(format!("nothing answers at {server}: {root}"))
            .with_remedy("check the registry's name and port, and that it runs"),
        Fault::NoTls => new(format!("{server} does not speak TLS: {root}")).with_remedy(format!(
            "if {server} is meant to be reached without encryption, list it as an insecure registry"
        )),
        Fault::Certificate => new(format!("the certificate of {server} is not trusted: {root}")).with_remedy(
            format!("add the authority that signed it as a trusted one, for example in /etc/docker/certs.d/{server}"),
        ),
        Fault::Connect => new(format!("no connection to {server}: {root}")),
        Fault::Broken => new(format!("the connection to {server} broke: {root}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(status: u16, body: &str) -> Error {
        let reference = "reg.lan/app:1".parse().expect("a reference");
        let ask = Ask::manifest(&reference);
        let server = "reg.lan".parse().expect("an address");
        judge(&ask, &server, StatusCode::from_u16(status).expect("a status"), said(body.as_bytes()), false)
    }

    #[test]
    fn refusals_become_kinds() {
        let unknown =
            r#"{"errors":[{"code":"MANIFEST_UNKNOWN","message":"manifest unknown","detail":{"Tag":"1"}}]}"#;
        for (status, body, kind) in [
            (404, unknown, ErrorKind::NotFound),
            (404, "<html>", ErrorKind::NotFound),
            (401, r#"{"errors":[{"code":"NAME_UNKNOWN"}]}"#, ErrorKind::NotFound),
            (401, "", ErrorKind::Unauthorized),
            (403, r#"{"errors":[{"code":"DENIED"}]}"#, ErrorKind::Unauthorized),
            (400, r#"{"errors":[{"code":"denied"}]}"#, ErrorKind::Unauthorized),
            (400, r#"{"errors":[{"code":"NAME_INVALID"}]}"#, ErrorKind::InvalidInput),
            (429, "", ErrorKind::Unavailable),
            (503, "[]", ErrorKind::Unavailable),
            (418, r#"{"errors":[]}"#, ErrorKind::Unavailable),
            (405, "", ErrorKind::Unsupported),
        ] {
            assert_eq!(verdict(status, body).kind(), kind, "{status} {body}");
        }
    }

    #[test]
    fn a_refusal_names_the_image_the_registry_and_its_words() {
        let error = verdict(404, r#"{"errors":[{"code":"MANIFEST_UNKNOWN","message":"manifest unknown"}]}"#);
        assert_eq!(error.to_string(), "image reg.lan/app:1: not found in reg.lan: manifest unknown");
        let error = verdict(401, "");
        assert!(error.remedy().is_some_and(|r| r.contains("log in to reg.lan")), "{error:?}");
    }

    #[test]
    fn a_registry_s_words_cannot_write_to_the_terminal() {
        let error = verdict(404, r#"{"errors":[{"code":"X","message":"a\u001b[31mb\nc"}]}"#);
        assert!(error.to_string().ends_with("a [31mb c"), "{error}");
        assert!(tidy(&"x".repeat(10_000)).len() == MAX_WORDS);
    }
}
