//! HTTP clients: whom they trust, how long they wait. Nothing here authenticates or follows a redirect.
//!
//! A client is made when the first request needs it: reading the host's certificates costs milliseconds, and most
//! processes of an engine run an image that is there already.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use reqwest::{Client, redirect};
use rustls::client::danger::ServerCertVerifier;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};
use tokio::sync::Mutex;

use super::address::Address;
use super::config::RegistryConfig;
use super::verify::{NoVerification, Verification};
use crate::error::{Error, ErrorKind, Result, Subject};
use crate::store::blocking;

/// Where distributions keep the certificate authorities they trust, one file with all of them.
const HOST_BUNDLES: [&str; 6] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/ssl/cert.pem",
    "/etc/pki/tls/cacert.pem",
];

/// Certificates and keys are small; a file beyond this is something else.
const MAX_PEM: u64 = 16 << 20;

/// Whom a client trusts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Trust {
    /// The authorities of the host and the configuration, and those for the one server.
    Verified,
    /// Whoever answers: only for servers that were configured so.
    Anyone,
}

/// Makes clients, and keeps those that many servers can share.
pub(super) struct Transport {
    config: Arc<RegistryConfig>,
    shared: Mutex<HashMap<Kind, Client>>,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Kind {
    trust: Trust,
    /// Past the proxies that the environment names.
    direct: bool,
}

/// What `certs.d` has for one server.
#[derive(Default)]
struct OwnCertificates {
    authorities: Vec<PathBuf>,
    identity: Option<(PathBuf, PathBuf)>,
}

impl Transport {
    pub(super) fn new(config: Arc<RegistryConfig>) -> Transport {
        Transport { config, shared: Mutex::new(HashMap::new()) }
    }

    /// The client for the server at `address`.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`] for certificates that cannot be read.
    pub(super) async fn client(&self, address: &Address, trust: Trust) -> Result<Client> {
        let kind = Kind { trust, direct: address.is_loopback() };
        let directory = address.is_file_name().then(|| self.config.certificates.join(address.to_string()));
        let own = match directory {
            Some(directory) => blocking(move || own_certificates(&directory)).await?,
            None => OwnCertificates::default(),
        };
        if !own.authorities.is_empty() || own.identity.is_some() {
            let config = self.config.clone();
            return blocking(move || client(&config, kind, &own)).await;
        }
        // Held while the client is made, so that layers fetched side by side do not make one each.
        let mut shared = self.shared.lock().await;
        if let Some(client) = shared.get(&kind) {
            return Ok(client.clone());
        }
        let config = self.config.clone();
        let made = blocking(move || client(&config, kind, &OwnCertificates::default())).await?;
        shared.insert(kind, made.clone());
        Ok(made)
    }
}

fn client(config: &RegistryConfig, kind: Kind, own: &OwnCertificates) -> Result<Client> {
    let builder = Client::builder()
        .tls_backend_preconfigured(tls(config, kind.trust, own)?)
        .user_agent(config.user_agent.as_str())
        // Redirects are followed by hand: credentials and the choice of the scheme depend on where they lead.
        .redirect(redirect::Policy::none())
        .referer(false)
        .connect_timeout(config.connect_timeout)
        .read_timeout(config.idle_timeout)
        .pool_idle_timeout(Duration::from_secs(30))
        .pool_max_idle_per_host(8);
    let builder = if kind.direct { builder.no_proxy() } else { builder };
    builder.build().map_err(|e| Error::invalid("registry client", "it cannot be made").caused_by(e))
}

fn tls(config: &RegistryConfig, trust: Trust, own: &OwnCertificates) -> Result<ClientConfig> {
    let unusable = |e: rustls::Error| Error::internal("registry client", "TLS is not usable").caused_by(e);
    // Given explicitly: the process-wide provider belongs to the host program.
    let provider = Arc::new(ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(unusable)?;
    let verifier: Arc<dyn ServerCertVerifier> = match trust {
        Trust::Anyone => Arc::new(NoVerification(provider)),
        Trust::Verified => {
            let (roots, named) = authorities(config, own)?;
            Arc::new(Verification::new(roots, named, provider)?)
        }
    };
    let builder = builder.dangerous().with_custom_certificate_verifier(verifier);
    let mut tls = match &own.identity {
        None => builder.with_no_client_auth(),
        Some((certificate, key)) => {
            let subject = || format!("key {}", key.display());
            let bytes = read_pem(key)?;
            let parsed = PrivateKeyDer::from_pem_slice(&bytes)
                .map_err(|_| Error::invalid(subject(), "it has no private key in PEM form"))?;
            builder
                .with_client_auth_cert(certificates(certificate)?, parsed)
                .map_err(|e| Error::invalid(subject(), "it does not fit its certificate").caused_by(e))?
        }
    };
    tls.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(tls)
}

/// All authorities, and those of them that the user named one by one.
fn authorities(
    config: &RegistryConfig,
    own: &OwnCertificates,
) -> Result<(RootCertStore, Vec<CertificateDer<'static>>)> {
    let mut roots = RootCertStore::empty();
    if let Some(bundle) = HOST_BUNDLES.iter().map(Path::new).find(|path| path.exists()) {
        // A bundle has an odd certificate now and then; the others are good.
        roots.add_parsable_certificates(certificates(bundle)?);
    }
    let mut named = Vec::new();
    for file in config.ca.iter().chain(&own.authorities) {
        for certificate in certificates(file)? {
            roots.add(certificate.clone()).map_err(|e| {
                Error::invalid(format!("certificates {}", file.display()), "not usable as an authority")
                    .caused_by(e)
            })?;
            named.push(certificate);
        }
    }
    if roots.is_empty() {
        return Err(Error::new(ErrorKind::Unavailable, "certificate authorities")
            .because("this host has none, so no registry can be verified")
            .with_remedy(
                "install the package ca-certificates, or name a file with them in the configuration",
            ));
    }
    Ok((roots, named))
}

/// The certificates in a PEM file: at least one.
fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>> {
    let bytes = read_pem(path)?;
    let found: std::result::Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&bytes).collect();
    match found {
        Ok(found) if !found.is_empty() => Ok(found),
        _ => Err(Error::invalid(
            format!("certificates {}", path.display()),
            "the file has no certificates in PEM form",
        )),
    }
}

fn read_pem(path: &Path) -> Result<Vec<u8>> {
    let subject = || format!("certificates {}", path.display());
    let size = fs::metadata(path).subject(subject)?.len();
    if size > MAX_PEM {
        return Err(Error::invalid(subject(), "the file is too large to be certificates"));
    }
    fs::read(path).subject(subject)
}

/// Looks into the server's directory below `certs.d`, which need not be there.
fn own_certificates(directory: &Path) -> Result<OwnCertificates> {
    let subject = || format!("certificates {}", directory.display());
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(e) if matches!(e.raw_os_error(), Some(libc::ENOENT | libc::ENOTDIR)) => {
            return Ok(OwnCertificates::default());
        }
        Err(e) => return Err(Error::io(subject(), e)),
    };
    let mut files: Vec<PathBuf> =
        entries.map(|entry| entry.map(|e| e.path())).collect::<std::io::Result<_>>().subject(subject)?;
    files.sort();
    let mut own = OwnCertificates::default();
    for file in files {
        match file.extension().and_then(|e| e.to_str()) {
            Some("crt") => own.authorities.push(file),
            Some("cert") => {
                let key = file.with_extension("key");
                if !key.exists() {
                    return Err(lonely(&file, &key));
                }
                own.identity.get_or_insert((file, key));
            }
            Some("key") if !file.with_extension("cert").exists() => {
                return Err(lonely(&file, &file.with_extension("cert")));
            }
            _ => {}
        }
    }
    Ok(own)
}

fn lonely(file: &Path, missing: &Path) -> Error {
    Error::invalid(
        format!("certificates {}", file.display()),
        format!("{} is missing, which belongs to it", missing.display()),
    )
}
