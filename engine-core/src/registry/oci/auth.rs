//! Showing a registry who asks: the challenge it answers with, tokens, and who is told what.
//!
//! A credential goes to the registry it is for, and to the token service that this registry itself names, over
//! verified TLS unless the configuration says otherwise for that very host. A token goes to the registry alone.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue, WWW_AUTHENTICATE};
use reqwest::{Client, RequestBuilder, Response, Url};
use serde::Deserialize;

use super::address::Address;
use super::ask::{Ask, DEADLINE};
use super::challenge;
use super::errors::{Fault, failure, refusal};
use super::http::{Http, body};
use super::retry::{Attempts, is_passing, retry_after};
use super::server::{Server, lock};
use crate::error::{Error, ErrorKind, Result};
use crate::id::Digest;
use crate::registry::driver::Credential;

/// Tokens are a few kilobytes at most.
const MAX_ANSWER: usize = 256 << 10;
/// More tokens than this are not kept for one server.
const MAX_TOKENS: usize = 256;
/// How long a token lasts whose answer does not say (distribution's token specification).
const DEFAULT_LIFE: u64 = 60;
/// A scope longer than this is none.
const MAX_SCOPE: usize = 512;
/// How the client calls itself to token services.
const CLIENT: &str = "engine";
const LONGEST_LIFE: u64 = 24 * 60 * 60;

/// How a server wants to be shown who asks.
#[derive(Debug)]
pub(super) enum Method {
    /// By name and password with each request.
    Basic,
    /// By a token from this service.
    Bearer { realm: Url, service: Option<String> },
}

/// The tokens for one server: by repository, and by whose they are.
#[derive(Default)]
pub(super) struct Tokens(Mutex<HashMap<Whose, Arc<Slot>>>);

/// For a repository, by credential.
type Whose = (String, Option<Digest>);

/// Held while a token is fetched, so that layers fetched side by side ask for one only.
type Slot = tokio::sync::Mutex<Held>;

#[derive(Default)]
struct Held {
    /// What to ask for, where the registry said it.
    scope: Option<String>,
    token: Option<Token>,
}

struct Token {
    header: HeaderValue,
    expires: Instant,
}

/// A token service's answer.
#[derive(Deserialize)]
struct Granted {
    token: Option<String>,
    access_token: Option<String>,
    expires_in: Option<u64>,
}

impl Tokens {
    fn slot(&self, repository: &str, credential: Option<&Credential>) -> Arc<Slot> {
        let mut slots = lock(&self.0);
        if slots.len() >= MAX_TOKENS {
            slots.clear();
        }
        slots.entry((repository.to_owned(), credential.map(fingerprint))).or_default().clone()
    }
}

/// Tells credentials apart without keeping them.
fn fingerprint(credential: &Credential) -> Digest {
    Digest::of(
        match credential {
            Credential::Password { user, password } => format!("password\0{user}\0{password}"),
            Credential::Identity { token } => format!("identity\0{token}"),
        }
        .as_bytes(),
    )
}

impl Http {
    /// What to show the server with the request, as far as it said already what it wants.
    pub(super) async fn authorization(
        &self,
        server: &Server,
        ask: &Ask<'_>,
        credential: Option<&Credential>,
        attempts: &mut Attempts,
    ) -> Result<Option<HeaderValue>> {
        let Some(method) = server.method() else { return Ok(None) };
        let (realm, service) = match (&*method, credential) {
            (Method::Basic, Some(Credential::Password { user, password })) => {
                return Ok(basic(user, password));
            }
            (Method::Basic, _) => return Ok(None),
            (Method::Bearer { realm, service }, _) => (realm, service.as_deref()),
        };
        let slot = server.tokens.slot(ask.repository, credential);
        let mut held = slot.lock().await;
        if let Some(token) = held.token.as_ref().filter(|token| Instant::now() < token.expires) {
            return Ok(Some(token.header.clone()));
        }
        let scope = held.scope.clone().unwrap_or_else(|| ask.scope());
        let wish = Wish { realm, service, scope: &scope, credential };
        let token = self.token(&wish, ask, attempts).await?;
        let header = token.header.clone();
        held.token = Some(token);
        Ok(Some(header))
    }

    /// Takes in what the server, which refused `shown`, wants to be shown; whether there is something to show.
    ///
    /// # Errors
    /// [`ErrorKind::Unauthorized`] if it wants what must not, or cannot, be shown.
    pub(super) async fn learn(
        &self,
        server: &Server,
        answer: &Response,
        ask: &Ask<'_>,
        credential: Option<&Credential>,
        shown: Option<&HeaderValue>,
    ) -> Result<bool> {
        let headers = answer.headers().get_all(WWW_AUTHENTICATE).iter().filter_map(|h| h.to_str().ok());
        let challenges: Vec<_> = headers.flat_map(challenge::parse).collect();
        let refuse = |why: String| Error::new(ErrorKind::Unauthorized, &ask.subject).because(why);
        if let Some(bearer) = challenges.iter().find(|c| c.scheme == "bearer") {
            let realm = bearer.param("realm").unwrap_or_default();
            let realm = self.servers.follow(answer.url(), realm).map_err(|why| {
                refuse(format!("{} names a token service, but {why}", server.address))
                    .with_remedy("if that service is meant, list it as an insecure registry")
            })?;
            let service = bearer.param("service").map(str::to_owned);
            server.set_method(Method::Bearer { realm, service });
            // The registry knows best what it calls the repository, but never gets a token for more than reading.
            let scope = bearer.param("scope").filter(|scope| is_reading(scope)).map(str::to_owned);
            let slot = server.tokens.slot(ask.repository, credential);
            let mut held = slot.lock().await;
            // Another request may have got a new token meanwhile.
            if held.token.as_ref().is_some_and(|token| Some(&token.header) == shown) {
                held.token = None;
            }
            held.scope = scope.or(held.scope.take());
            return Ok(true);
        }
        if !challenges.iter().any(|c| c.scheme == "basic") {
            return Ok(false);
        }
        server.set_method(Method::Basic);
        match credential {
            Some(Credential::Identity { .. }) => Err(refuse(format!(
                "{} wants a user name and a password, but the credential is an identity token",
                server.address
            ))
            .with_remedy(format!("log in to {} with a password", ask.registry))),
            // What was just refused is not sent again.
            Some(Credential::Password { .. }) => Ok(shown.is_none()),
            None => Ok(false),
        }
    }

    async fn token(&self, wish: &Wish<'_>, ask: &Ask<'_>, attempts: &mut Attempts) -> Result<Token> {
        let address = Address::of(wish.realm)
            .ok_or_else(|| Error::internal(&ask.subject, "the token service has no address"))?;
        let client = self.servers.at(&address).client(&self.transport).await?;
        let answer = loop {
            let (error, pause) = match wish.request(&client).send().await {
                Ok(answer) if answer.status().is_success() => break answer,
                Ok(answer) => {
                    let (status, pause) = (answer.status(), retry_after(answer.headers()));
                    let error = refusal(ask, &address, answer, wish.credential.is_some()).await;
                    if !is_passing(status) {
                        return Err(error);
                    }
                    (error, pause)
                }
                Err(e) if Fault::of(&e).is_passing() => (failure(&ask.subject, &address, e), None),
                Err(e) => return Err(failure(&ask.subject, &address, e)),
            };
            if !attempts.again(pause).await {
                return Err(error);
            }
        };
        let body = body(answer, MAX_ANSWER, &ask.subject, &address).await?;
        granted(&body).ok_or_else(|| {
            Error::new(ErrorKind::Unavailable, &ask.subject)
                .because(format!("the token service at {address} gives no usable token"))
        })
    }
}

/// A token that is asked for.
struct Wish<'a> {
    realm: &'a Url,
    service: Option<&'a str>,
    scope: &'a str,
    credential: Option<&'a Credential>,
}

impl Wish<'_> {
    /// An identity token is exchanged in the body, as OAuth 2 has it; a password goes into a header. Neither is ever
    /// part of an address, which ends up in logs. A redirect is not followed: the registry named this service.
    fn request(&self, client: &Client) -> RequestBuilder {
        let mut url = self.realm.clone();
        let request = match self.credential {
            Some(Credential::Identity { token }) => {
                let mut form = vec![("grant_type", "refresh_token"), ("refresh_token", token)];
                form.extend([("client_id", CLIENT), ("scope", self.scope)]);
                form.extend(self.service.map(|service| ("service", service)));
                client
                    .post(url)
                    .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
                    .body(urlencoded(&form))
            }
            other => {
                let mut query = url.query_pairs_mut();
                query.extend_pairs(self.service.map(|service| ("service", service)));
                query.append_pair("scope", self.scope);
                if let Some(Credential::Password { user, .. }) = other {
                    query.append_pair("account", user);
                }
                drop(query);
                match other {
                    Some(Credential::Password { user, password }) => match basic(user, password) {
                        Some(shown) => client.get(url).header(AUTHORIZATION, shown),
                        None => client.get(url),
                    },
                    _ => client.get(url),
                }
            }
        };
        request.timeout(DEADLINE)
    }
}

/// `pairs` as the body of a form.
fn urlencoded(pairs: &[(&str, &str)]) -> String {
    // The query of an address is written the same way.
    let Ok(mut url) = Url::parse("http://form/") else { return String::new() };
    url.query_pairs_mut().extend_pairs(pairs);
    url.query().unwrap_or_default().to_owned()
}

fn basic(user: &str, password: &str) -> Option<HeaderValue> {
    secret(&format!("Basic {}", STANDARD.encode(format!("{user}:{password}"))))
}

fn secret(text: &str) -> Option<HeaderValue> {
    let mut header = HeaderValue::from_str(text).ok()?;
    header.set_sensitive(true);
    Some(header)
}

/// Whether a token for the scope allows to read one repository and nothing else.
fn is_reading(scope: &str) -> bool {
    scope.len() <= MAX_SCOPE
        && scope.starts_with("repository:")
        && scope.ends_with(":pull")
        && !scope.contains([' ', ','])
}

fn granted(body: &[u8]) -> Option<Token> {
    let granted: Granted = serde_json::from_slice(body).ok()?;
    let token = granted.token.or(granted.access_token).filter(|token| !token.is_empty())?;
    let life = granted.expires_in.unwrap_or(DEFAULT_LIFE).min(LONGEST_LIFE);
    // Not shown in its last moments: it has to arrive while it is good.
    let life = Duration::from_secs(life - (life / 4).min(10));
    Some(Token { header: secret(&format!("Bearer {token}"))?, expires: Instant::now() + life })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_comes_under_either_name_and_ends() {
        assert!(granted(br#"{"token":"a"}"#).is_some_and(|t| t.header == "Bearer a"));
        assert!(granted(br#"{"access_token":"b","expires_in":300}"#).is_some_and(|t| t.header == "Bearer b"));
        let forever = granted(br#"{"token":"a","expires_in":18446744073709551615}"#).expect("a token");
        assert!(forever.expires < Instant::now() + Duration::from_secs(2 * LONGEST_LIFE));
        for bad in [r#"{}"#, r#"{"token":""}"#, r#"{"token":"a\r\nX: y"}"#, r#"{"token":7}"#, "[", ""] {
            assert!(granted(bad.as_bytes()).is_none(), "{bad}");
        }
    }

    #[test]
    fn a_registry_gets_no_token_for_more_than_reading() {
        assert!(is_reading("repository:a/b:pull"));
        for more in
            ["repository:a/b:pull,push", "repository:a:push repository:b:pull", "registry:catalog:*", ""]
        {
            assert!(!is_reading(more), "{more}");
        }
    }

    #[test]
    fn secrets_do_not_print_and_are_told_apart() {
        let header = basic("user", "secret").expect("a header");
        assert_eq!(header, "Basic dXNlcjpzZWNyZXQ=");
        assert!(!format!("{header:?}").contains("dXNl"));
        let password = |user: &str, password: &str| Credential::Password {
            user: user.into(),
            password: password.into(),
        };
        assert_ne!(fingerprint(&password("a", "b")), fingerprint(&password("ab", "")));
        assert_ne!(
            fingerprint(&password("a", "b")),
            fingerprint(&Credential::Identity { token: "a\0b".into() })
        );
    }

    #[test]
    fn a_form_is_encoded() {
        assert_eq!(urlencoded(&[("a", "x y&z"), ("b", "ü")]), "a=x+y%26z&b=%C3%BC");
    }
}
