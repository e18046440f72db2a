//! What a program may say about how registries are reached.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use crate::registry::driver::Credential;

/// How registries are reached. The default suits most programs: HTTPS, verified against the host's certificates,
/// for every registry but those on this machine.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct RegistryConfig {
    /// Registries that may be reached without verified TLS: `host`, which means any of its ports, `host:port`, or a
    /// range of addresses (`10.0.0.0/8`) for registries that are named by their address. A listed registry is tried
    /// with TLS first, whoever its certificate is from, and then with plain HTTP.
    pub insecure: Vec<String>,
    /// Whether registries at loopback addresses are verified like all others. Otherwise they count as listed in
    /// `insecure`, as with Docker.
    pub verify_loopback: bool,
    /// For a registry, the mirrors that are asked before it, in order: `host[:port]`, or a URL with a scheme and,
    /// where the mirror serves below one, a path. A scheme of `http` allows plain HTTP for that mirror.
    pub mirrors: BTreeMap<String, Vec<String>>,
    /// Credentials for mirrors, by `host[:port]`. The credential of a registry is never shown to its mirrors.
    pub mirror_credentials: BTreeMap<String, Credential>,
    /// Files with certificate authorities (PEM) that are trusted in addition to those of the host.
    pub ca: Vec<PathBuf>,
    /// The directory with more certificates per registry, laid out as Docker has it: `<host[:port]>/*.crt` are
    /// authorities for that registry alone, a pair of `*.cert` and `*.key` is shown to it.
    pub certificates: PathBuf,
    /// How the client calls itself.
    pub user_agent: String,
    /// How long a connection may take to come about, TLS included.
    pub connect_timeout: Duration,
    /// How long a registry may be silent before a transfer counts as broken.
    pub idle_timeout: Duration,
    /// How often a request is sent at most while the registry answers that it is busy or cannot just now.
    pub attempts: u32,
    /// The pause after the first such answer; it doubles with each further one.
    pub first_pause: Duration,
    /// The longest pause: a registry that asks for a longer one is not waited for.
    pub longest_pause: Duration,
}

impl Default for RegistryConfig {
    fn default() -> RegistryConfig {
        RegistryConfig {
            insecure: Vec::new(),
            verify_loopback: false,
            mirrors: BTreeMap::new(),
            mirror_credentials: BTreeMap::new(),
            ca: Vec::new(),
            certificates: PathBuf::from("/etc/docker/certs.d"),
            user_agent: concat!("engine/", env!("CARGO_PKG_VERSION")).to_owned(),
            connect_timeout: Duration::from_secs(15),
            idle_timeout: Duration::from_secs(60),
            attempts: 5,
            first_pause: Duration::from_millis(500),
            longest_pause: Duration::from_secs(60),
        }
    }
}

impl RegistryConfig {
    /// The default configuration.
    pub fn new() -> RegistryConfig {
        RegistryConfig::default()
    }

    /// Allows the registry, or range of addresses, to be reached without verified TLS.
    #[must_use]
    pub fn insecure(mut self, registry: impl Into<String>) -> RegistryConfig {
        self.insecure.push(registry.into());
        self
    }

    /// Asks `mirror` before `registry`, after the mirrors added so far.
    #[must_use]
    pub fn mirror(mut self, registry: impl Into<String>, mirror: impl Into<String>) -> RegistryConfig {
        self.mirrors.entry(registry.into()).or_default().push(mirror.into());
        self
    }

    /// Shows `credential` to the mirror at `host[:port]`.
    #[must_use]
    pub fn mirror_credential(mut self, mirror: impl Into<String>, credential: Credential) -> RegistryConfig {
        self.mirror_credentials.insert(mirror.into(), credential);
        self
    }

    /// Trusts the certificate authorities in the file.
    #[must_use]
    pub fn ca(mut self, file: impl Into<PathBuf>) -> RegistryConfig {
        self.ca.push(file.into());
        self
    }

    /// Looks for certificates per registry in this directory.
    #[must_use]
    pub fn certificates(mut self, directory: impl Into<PathBuf>) -> RegistryConfig {
        self.certificates = directory.into();
        self
    }

    /// Verifies registries at loopback addresses too.
    #[must_use]
    pub fn verify_loopback(mut self) -> RegistryConfig {
        self.verify_loopback = true;
        self
    }

    /// Calls the client so.
    #[must_use]
    pub fn user_agent(mut self, name: impl Into<String>) -> RegistryConfig {
        self.user_agent = name.into();
        self
    }
}
