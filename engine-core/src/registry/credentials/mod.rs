//! Credentials that the user has stored: in docker's configuration file, or with a helper program that it names.
//!
//! A convenience for programs that have no credentials of their own to give. Reads only; logging in is the
//! frontend's business. What a file or a helper holds is never part of an error.

mod helper;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{ErrorKind as Io, Read};
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use serde::Deserialize;

use super::driver::Credential;
use crate::error::{Error, Result, Subject};
use crate::reference::DEFAULT_REGISTRY;
use crate::store::blocking;

/// A configuration file beyond this size is something else.
const MAX_CONFIG: u64 = 1 << 20;
/// What docker calls Docker Hub, for reasons of its first protocol.
const DEFAULT_KEY: &str = "https://index.docker.io/v1/";
/// The user name that says: the secret is an identity token.
const TOKEN_USER: &str = "<token>";

/// Some tools leave the padding out.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// The parts of docker's `config.json` that are about credentials.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Config {
    auths: BTreeMap<String, Entry>,
    cred_helpers: BTreeMap<String, String>,
    creds_store: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Entry {
    auth: Option<String>,
    username: Option<String>,
    password: Option<String>,
    identitytoken: Option<String>,
}

/// The user's credential for the registry, as image references name it. `config` is docker's configuration file; it
/// is looked for where docker has it if none is given: `$DOCKER_CONFIG/config.json` or `~/.docker/config.json`.
///
/// The helper program for the registry is asked first, then the one for all registries, then the file itself. That
/// nothing is found is no error, nor is it that there is no file.
///
/// # Errors
/// [`ErrorKind::InvalidInput`](crate::ErrorKind::InvalidInput) for a malformed file,
/// [`NotFound`](crate::ErrorKind::NotFound) if `config` is not there or the helper is not installed,
/// [`Unavailable`](crate::ErrorKind::Unavailable) or [`TimedOut`](crate::ErrorKind::TimedOut) if the helper fails.
/// A caller whose request needs no credential may go on without one.
pub(crate) async fn find(config: Option<&Path>, registry: &str) -> Result<Option<Credential>> {
    let (config, registry) = (config.map(Path::to_owned), registry.to_owned());
    blocking(move || find_now(config, &registry, helper::get)).await
}

/// Asks the helper program of that name for the credential of a server.
type AskHelper = fn(name: &str, server: &str) -> Result<Option<Credential>>;

fn find_now(config: Option<PathBuf>, registry: &str, ask: AskHelper) -> Result<Option<Credential>> {
    let must_exist = config.is_some();
    let Some(path) = config.or_else(default_path) else { return Ok(None) };
    let subject = || format!("docker configuration {}", path.display());
    let file = match File::open(&path) {
        Ok(file) => file,
        Err(e) if !must_exist && matches!(e.kind(), Io::NotFound | Io::NotADirectory) => return Ok(None),
        Err(e) => return Err(Error::io(subject(), e)),
    };
    let mut bytes = Vec::new();
    file.take(MAX_CONFIG + 1).read_to_end(&mut bytes).subject(subject)?;
    if bytes.len() as u64 > MAX_CONFIG {
        return Err(Error::invalid(subject(), "the file is larger than a configuration can be"));
    }
    if bytes.iter().all(u8::is_ascii_whitespace) {
        return Ok(None);
    }
    // The parser's own message may quote the file, and with it a secret.
    let config: Config = serde_json::from_slice(&bytes).map_err(|e| {
        Error::invalid(subject(), format!("malformed at line {}, column {}", e.line(), e.column()))
            .with_remedy("mend the file, or remove it and log in again")
    })?;
    let named = lookup(&config.cred_helpers, registry).map(|(_, name)| name);
    for name in named.into_iter().chain(&config.creds_store).filter(|name| !name.is_empty()) {
        let found = ask(name, server(registry)).map_err(|e| {
            Error::new(e.kind(), subject()).because("it names a credential helper").caused_by(e)
        });
        // A broken helper does not matter where the file has the answer.
        match (found, lookup(&config.auths, registry).map(|(_, entry)| entry.is_empty())) {
            (Ok(Some(credential)), _) => return Ok(Some(credential)),
            (Ok(None) | Err(_), Some(false)) => break,
            (Ok(None), _) => {}
            (Err(e), _) => return Err(e),
        }
    }
    match lookup(&config.auths, registry) {
        Some((key, entry)) => entry
            .credential()
            .map_err(|reason| Error::invalid(subject(), format!("the entry {key:?} {reason}"))),
        None => Ok(None),
    }
}

/// Where docker has its configuration.
fn default_path() -> Option<PathBuf> {
    let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let directory = set("DOCKER_CONFIG").or_else(|| set("HOME").map(|home| home.join(".docker")))?;
    Some(directory.join("config.json"))
}

/// What docker calls the registry.
fn server(registry: &str) -> &str {
    if registry == DEFAULT_REGISTRY { DEFAULT_KEY } else { registry }
}

/// The entry for the registry: under its own name, or under an address with its host.
fn lookup<'a, T>(entries: &'a BTreeMap<String, T>, registry: &str) -> Option<(&'a str, &'a T)> {
    let exact = entries.get_key_value(server(registry));
    let found = exact.or_else(|| entries.iter().find(|(key, _)| host(key) == registry));
    found.map(|(key, entry)| (key.as_str(), entry))
}

/// The registry that a key means.
fn host(key: &str) -> &str {
    let rest = key.strip_prefix("https://").or_else(|| key.strip_prefix("http://")).unwrap_or(key);
    match rest.split('/').next().unwrap_or_default() {
        "index.docker.io" | "registry-1.docker.io" => DEFAULT_REGISTRY,
        host => host,
    }
}

impl Entry {
    /// Docker writes an empty entry for a registry whose credential a helper has.
    fn is_empty(&self) -> bool {
        let empty = |field: &Option<String>| field.as_deref().unwrap_or_default().is_empty();
        empty(&self.auth) && empty(&self.username) && empty(&self.password) && empty(&self.identitytoken)
    }

    fn credential(&self) -> std::result::Result<Option<Credential>, &'static str> {
        if let Some(token) = self.identitytoken.as_ref().filter(|token| !token.is_empty()) {
            return Ok(Some(Credential::Identity { token: token.clone() }));
        }
        let (user, password) = match self.auth.as_deref().filter(|auth| !auth.is_empty()) {
            Some(auth) => {
                let bytes = BASE64.decode(auth.trim()).map_err(|_| "has an `auth` that is not base64")?;
                let text = String::from_utf8(bytes).map_err(|_| "has an `auth` that is not text")?;
                let (user, password) = text.split_once(':').ok_or("has an `auth` without a colon in it")?;
                (user.to_owned(), password.trim_end_matches('\0').to_owned())
            }
            None => (self.username.clone().unwrap_or_default(), self.password.clone().unwrap_or_default()),
        };
        Ok(credential(user, password))
    }
}

/// A user and a secret as docker keeps them.
fn credential(user: String, secret: String) -> Option<Credential> {
    match (user.as_str(), secret.is_empty()) {
        ("", _) => None,
        (TOKEN_USER, false) => Some(Credential::Identity { token: secret }),
        _ => Some(Credential::Password { user, password: secret }),
    }
}

#[cfg(test)]
mod tests;
