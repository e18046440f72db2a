//! One request and its answer: authentication when it is asked for, redirects, and attempts again.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use reqwest::header::{ACCEPT, ACCEPT_ENCODING, AUTHORIZATION, HeaderValue, LOCATION, RANGE};
use reqwest::{Client, Response, StatusCode, Url};

use super::address::{Address, Policy, Site};
use super::ask::Ask;
use super::config::RegistryConfig;
use super::errors::{Fault, failure, refusal};
use super::retry::{Attempts, is_passing, retry_after};
use super::server::{Server, Servers};
use super::transport::Transport;
use crate::error::{Error, ErrorKind, Result};
use crate::registry::driver::Credential;

const MAX_REDIRECTS: usize = 5;

/// All that requests share.
pub(super) struct Http {
    pub(super) config: Arc<RegistryConfig>,
    pub(super) servers: Servers,
    pub(super) transport: Transport,
}

/// A request that got no answer.
pub(super) struct Failed {
    pub(super) error: Error,
    /// Whether it makes sense to send it again.
    pub(super) passing: bool,
}

impl From<Error> for Failed {
    fn from(error: Error) -> Failed {
        Failed { error, passing: false }
    }
}

impl Http {
    pub(super) fn new(config: RegistryConfig) -> Result<Http> {
        let servers = Servers::new(Policy::new(&config)?);
        if HeaderValue::from_str(&config.user_agent).is_err() {
            return Err(Error::invalid(
                format!("user agent {:?}", config.user_agent),
                "it cannot stand in a header",
            ));
        }
        let config = Arc::new(config);
        Ok(Http { transport: Transport::new(config.clone()), config, servers })
    }

    /// The server at the site.
    pub(super) fn server(&self, site: &Site) -> Arc<Server> {
        self.servers.at(&site.address)
    }

    /// Asks the server at the site until it gives what was asked for, or says that it does not have a range.
    ///
    /// # Errors
    /// What the last answer, or the lack of one, amounts to.
    pub(super) async fn get(
        &self,
        site: &Site,
        ask: &Ask<'_>,
        credential: Option<&Credential>,
    ) -> Result<Response> {
        let server = self.server(site);
        let client = server.client(&self.transport).await?;
        let url = self.url(site, &server, &client, ask).await?;
        let mut attempts = if site.mirror { Attempts::once() } else { Attempts::new(&self.config) };
        let mut challenged = false;
        loop {
            let shown = self.authorization(&server, ask, credential, &mut attempts).await?;
            let (answer, at_home) = match self.send(&server, &client, &url, ask, shown.as_ref()).await {
                Ok(sent) => sent,
                Err(failed) if failed.passing && attempts.again(None).await => continue,
                Err(failed) => {
                    server.fell_silent();
                    return Err(failed.error);
                }
            };
            match answer.status() {
                StatusCode::OK | StatusCode::PARTIAL_CONTENT => return Ok(answer),
                StatusCode::RANGE_NOT_SATISFIABLE if ask.offset > 0 => return Ok(answer),
                // Only the registry itself is told who asks, whatever a server it sends us to wants to know.
                StatusCode::UNAUTHORIZED if at_home && !challenged => {
                    challenged = true;
                    if self.learn(&server, &answer, ask, credential, shown.as_ref()).await? {
                        continue;
                    }
                }
                status if is_passing(status) && attempts.again(retry_after(answer.headers())).await => {
                    continue;
                }
                _ => {}
            }
            return Err(refusal(ask, &server.address, answer, credential.is_some()).await);
        }
    }

    async fn url(&self, site: &Site, server: &Server, client: &Client, ask: &Ask<'_>) -> Result<Url> {
        if let Some(url) = &ask.url {
            return Ok(url.clone());
        }
        let scheme = match site.scheme {
            Some(scheme) => scheme,
            None => server.scheme(client).await,
        };
        let text = format!("{scheme}://{}{}/{}/{}", site.address, site.root, ask.repository, ask.path);
        let mut url: Url =
            text.parse().map_err(|_| Error::invalid(&ask.subject, "it has no valid address"))?;
        if site.mirror {
            // A mirror of many registries is told which one is meant (OCI distribution-spec, "Registry Proxying").
            url.query_pairs_mut().append_pair("ns", ask.registry);
        }
        Ok(url)
    }

    /// Sends the request, also to where the server sends it on; with the answer, whether it is the server's own.
    async fn send(
        &self,
        server: &Server,
        client: &Client,
        url: &Url,
        ask: &Ask<'_>,
        shown: Option<&HeaderValue>,
    ) -> std::result::Result<(Response, bool), Failed> {
        let (mut url, mut client, mut address) = (url.clone(), client.clone(), server.address.clone());
        let home = url.origin();
        let mut at_home = true;
        for _ in 0..=MAX_REDIRECTS {
            // What has once left the registry's own house is never shown the credentials again.
            at_home &= url.origin() == home;
            // Compressed on the way, the bytes would be others than those of the digest.
            let mut request =
                client.get(url.clone()).header(ACCEPT, ask.accept).header(ACCEPT_ENCODING, "identity");
            if ask.offset > 0 {
                request = request.header(RANGE, format!("bytes={}-", ask.offset));
            }
            if let Some(deadline) = ask.deadline {
                request = request.timeout(deadline);
            }
            if let Some(shown) = shown.filter(|_| at_home) {
                request = request.header(AUTHORIZATION, shown);
            }
            let answer = request.send().await.map_err(|e| {
                let passing = Fault::of(&e).is_passing();
                Failed { error: failure(&ask.subject, &address, e), passing }
            })?;
            if !is_redirect(answer.status()) {
                return Ok((answer, at_home));
            }
            let astray = |why: String| {
                Error::new(ErrorKind::Unavailable, &ask.subject)
                    .because(format!("{} redirects the request, but {why}", server.address))
            };
            let location = answer.headers().get(LOCATION).and_then(|l| l.to_str().ok());
            let location = location.ok_or_else(|| astray("does not say where to".to_owned()))?;
            url = self.servers.follow(&url, location).map_err(|why| {
                astray(why).with_remedy("if that server is meant, list it as an insecure registry")
            })?;
            address = Address::of(&url).ok_or_else(|| astray("it points to no host".to_owned()))?;
            client = self.servers.at(&address).client(&self.transport).await?;
        }
        Err(Error::new(ErrorKind::Unavailable, &ask.subject)
            .because(format!("{} redirects the request in circles", server.address))
            .into())
    }
}

fn is_redirect(status: StatusCode) -> bool {
    matches!(
        status,
        StatusCode::MOVED_PERMANENTLY
            | StatusCode::FOUND
            | StatusCode::SEE_OTHER
            | StatusCode::TEMPORARY_REDIRECT
            | StatusCode::PERMANENT_REDIRECT
    )
}

/// The answer's whole body, which has at most `limit` bytes.
///
/// # Errors
/// [`ErrorKind::LimitExceeded`] at the first byte beyond the limit; the connection is given up with it.
pub(super) async fn body(
    mut answer: Response,
    limit: usize,
    subject: &str,
    server: &Address,
) -> Result<Bytes> {
    let too_much = || {
        Error::new(ErrorKind::LimitExceeded, subject)
            .because(format!("{server} sends more than the {limit} bytes that such a document may have"))
    };
    if answer.content_length().is_some_and(|length| length > limit as u64) {
        return Err(too_much());
    }
    let mut body = BytesMut::new();
    while let Some(bytes) = answer.chunk().await.map_err(|e| failure(subject, server, e))? {
        if bytes.len() > limit - body.len() {
            return Err(too_much());
        }
        body.extend_from_slice(&bytes);
    }
    Ok(body.freeze())
}
