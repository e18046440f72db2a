//! What is known about one server: learnt as it is talked to, forgotten with the process.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use reqwest::{Client, Url};
use tokio::sync::OnceCell;

use super::address::{Address, Policy, Scheme};
use super::auth::{Method, Tokens};
use super::errors::Fault;
use super::transport::{Transport, Trust};
use crate::error::Result;

/// More servers than this are not remembered at a time: in a long life, names that come from outside add up.
const MAX_SERVERS: usize = 256;
/// How long a mirror that did not answer is passed over.
const SULK: Duration = Duration::from_secs(60);
/// How long a server that may be one without TLS has to answer in TLS.
const PROBE: Duration = Duration::from_secs(5);

/// One server.
pub(super) struct Server {
    pub(super) address: Address,
    pub(super) insecure: bool,
    client: OnceCell<Client>,
    scheme: OnceCell<Scheme>,
    method: Mutex<Option<Arc<Method>>>,
    pub(super) tokens: Tokens,
    silent_until: Mutex<Option<Instant>>,
}

impl Server {
    /// The client for it.
    pub(super) async fn client(&self, transport: &Transport) -> Result<Client> {
        let trust = if self.insecure { Trust::Anyone } else { Trust::Verified };
        self.client.get_or_try_init(|| transport.client(&self.address, trust)).await.cloned()
    }

    /// How it is spoken to. Only a server that was configured to be insecure has a choice; it is asked once.
    pub(super) async fn scheme(&self, client: &Client) -> Scheme {
        if !self.insecure {
            return Scheme::Https;
        }
        let probe = || async {
            let asked = client.get(format!("https://{}/v2/", self.address)).timeout(PROBE).send().await;
            match asked {
                Ok(_) => Ok(Scheme::Https),
                // Nobody is there: that is no knowledge to keep. The request itself will say so.
                Err(e) if Fault::of(&e) == Fault::Refused && self.address.has_port() => Err(()),
                Err(_) => Ok(Scheme::Http),
            }
        };
        self.scheme.get_or_try_init(probe).await.copied().unwrap_or(Scheme::Http)
    }

    /// How it wants to be shown who asks, once it said so.
    pub(super) fn method(&self) -> Option<Arc<Method>> {
        lock(&self.method).clone()
    }

    pub(super) fn set_method(&self, method: Method) {
        *lock(&self.method) = Some(Arc::new(method));
    }

    /// Notes that it did not answer.
    pub(super) fn fell_silent(&self) {
        *lock(&self.silent_until) = Some(Instant::now() + SULK);
    }

    /// Whether it did not answer a short while ago.
    pub(super) fn is_silent(&self) -> bool {
        lock(&self.silent_until).is_some_and(|until| Instant::now() < until)
    }
}

/// The servers that were talked to.
pub(super) struct Servers {
    policy: Policy,
    known: Mutex<HashMap<Address, Arc<Server>>>,
}

impl Servers {
    pub(super) fn new(policy: Policy) -> Servers {
        Servers { policy, known: Mutex::new(HashMap::new()) }
    }

    pub(super) fn policy(&self) -> &Policy {
        &self.policy
    }

    /// The server at `address`.
    pub(super) fn at(&self, address: &Address) -> Arc<Server> {
        let mut known = lock(&self.known);
        if let Some(server) = known.get(address) {
            return server.clone();
        }
        if known.len() >= MAX_SERVERS {
            known.clear();
        }
        let server = Arc::new(Server {
            address: address.clone(),
            insecure: self.policy.is_insecure(address),
            client: OnceCell::new(),
            scheme: OnceCell::new(),
            method: Mutex::new(None),
            tokens: Tokens::default(),
            silent_until: Mutex::new(None),
        });
        known.insert(address.clone(), server.clone());
        server
    }

    /// Where `from`'s server may send a request of ours: `to`, relative to `from`, if that is no worse than where it
    /// comes from.
    ///
    /// # Errors
    /// Why it may not.
    pub(super) fn follow(&self, from: &Url, to: &str) -> std::result::Result<Url, String> {
        let mut url = from.join(to).map_err(|e| format!("it points to no valid address: {e}"))?;
        // A name and password in the address would be sent along.
        let _ = url.set_username("");
        let _ = url.set_password(None);
        url.set_fragment(None);
        let target = Address::of(&url).ok_or("it points to no host")?;
        match url.scheme() {
            "https" => {}
            "http" if self.policy.is_insecure(&target) => {}
            "http" => return Err(format!("it points to plain HTTP at {target}, which is not allowed")),
            _ => return Err("it points to something other than HTTP".to_owned()),
        }
        let origin = Address::of(from).ok_or("it comes from no host")?;
        if target.is_private_to_the_host() && !origin.is_private_to_the_host() {
            return Err(format!("it points to {target}, which is this machine's own affair"));
        }
        Ok(url)
    }
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::super::config::RegistryConfig;
    use super::*;

    #[test]
    fn nobody_is_led_to_plain_http_or_into_this_machine() {
        let policy = Policy::new(&RegistryConfig::new().insecure("plain.lan")).expect("a policy");
        let servers = Servers::new(policy);
        let from: Url = "https://reg.lan/v2/a/blobs/b".parse().expect("a URL");
        for good in [
            "https://cdn.example.com/x?sig=1",
            "/v2/elsewhere",
            "http://plain.lan/x",
            "https://reg.lan:8443/",
        ] {
            assert!(servers.follow(&from, good).is_ok(), "{good}");
        }
        for bad in [
            "http://cdn.example.com/x",
            "http://reg.lan/x",
            "http://127.0.0.1:8080/x",
            "https://localhost/x",
            "https://[::1]/",
            "https://[::ffff:127.0.0.1]/",
            "https://169.254.169.254/latest",
            "https://0.0.0.0/",
            "file:///etc/passwd",
            "https://",
            "data:,x",
        ] {
            assert!(servers.follow(&from, bad).is_err(), "{bad} was followed");
        }
        let local: Url = "http://localhost:5000/v2/".parse().expect("a URL");
        assert!(servers.follow(&local, "http://127.0.0.1:9000/x").is_ok());
    }

    #[test]
    fn a_name_in_an_address_is_not_sent_along() {
        let servers = Servers::new(Policy::new(&RegistryConfig::new()).expect("a policy"));
        let from: Url = "https://reg.lan/".parse().expect("a URL");
        let url = servers.follow(&from, "https://user:secret@cdn.lan/x#y").expect("is followed");
        assert_eq!(url.as_str(), "https://cdn.lan/x");
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let servers = Servers::new(Policy::new(&RegistryConfig::new()).expect("a policy"));
        for n in 0..10 * MAX_SERVERS {
            servers.at(&format!("host-{n}").parse().expect("an address"));
        }
        assert!(lock(&servers.known).len() <= MAX_SERVERS);
    }
}
