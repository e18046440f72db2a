//! Who is told what: credentials and tokens.

use std::sync::atomic::{AtomicUsize, Ordering};

use super::scripted::{Reply, Request, Scripted};
use super::{blob, client, hasty, manifest, noise, password, read, reference};
use crate::error::ErrorKind;
use crate::registry::driver::{Credential, Registry};

/// "user:secret" in base64.
const BASIC: &str = "Basic dXNlcjpzZWNyZXQ=";

fn challenge(value: &str) -> Reply {
    Reply::new(401).header("WWW-Authenticate", value)
}

/// A registry that wants tokens from the service at `realm`, and takes those that `good` takes.
async fn registry(realm: String, good: impl Fn(&str) -> bool + Send + Sync + 'static) -> Scripted {
    Scripted::start(move |request, _| match request.header("authorization") {
        Some(shown) if good(shown) => Reply::document(&manifest()),
        _ => challenge(&format!(
            r#"Bearer realm="{realm}",service="the registry",scope="repository:app:pull""#
        )),
    })
    .await
}

/// A token service that hands out `token-0`, `token-1` and so on.
async fn tokens() -> Scripted {
    Scripted::start(|_, before| Reply::ok(format!(r#"{{"token":"token-{before}","expires_in":300}}"#))).await
}

fn leaks(requests: &[Request]) -> bool {
    requests.iter().any(|r| r.header("authorization").is_some() || format!("{r:?}").contains("secret"))
}

#[tokio::test]
async fn a_redirect_to_another_host_carries_no_credentials() {
    let content = noise(100_000);
    let served = content.clone();
    let storage = Scripted::start(move |_, _| Reply::ok(served.to_vec())).await;
    let location = format!("http://user:secret@{}/object?signature=1", storage.host);
    let server = Scripted::start(move |request, _| match request.header("authorization") {
        Some(BASIC) => Reply::new(307).header("Location", &location),
        _ => challenge("Basic realm=x"),
    })
    .await;
    let image = reference(format!("{}/app", server.host));
    let user = password("user", "secret");
    let (_, bytes, failed) = read(client(hasty()).blob(&image, &blob(&content), 0, Some(&user)).await).await;
    assert!(failed.is_none() && bytes == content);
    assert_eq!(storage.requests().len(), 1);
    assert!(!leaks(&storage.requests()), "{:?}", storage.requests());
}

#[tokio::test]
async fn another_host_that_asks_for_credentials_gets_none() {
    let content = noise(10);
    for scheme in ["Basic realm=x".to_owned(), r#"Bearer realm="/token",service="x""#.to_owned()] {
        let storage = Scripted::start(move |_, _| challenge(&scheme)).await;
        let location = format!("http://{}/object", storage.host);
        let server = Scripted::start(move |_, _| Reply::new(302).header("Location", &location)).await;
        let image = reference(format!("{}/app", server.host));
        let user = password("user", "secret");
        let refused = client(hasty()).blob(&image, &blob(&content), 0, Some(&user)).await.err();
        assert_eq!(refused.expect("is refused").kind(), ErrorKind::Unauthorized);
        assert_eq!(storage.requests().len(), 1);
        assert!(!leaks(&storage.requests()));
    }
}

#[tokio::test]
async fn a_way_back_from_another_host_is_not_shown_the_credentials_again() {
    let server =
        Scripted::start(|request, _| match (request.header("authorization"), request.target.as_str()) {
            (Some(BASIC), "/v2/app/manifests/1") => {
                Reply::new(307).header("Location", "http://localhost:1/x")
            }
            (shown, "/v2/admin") => {
                assert!(shown.is_none());
                Reply::new(404)
            }
            _ => challenge("Basic realm=x"),
        })
        .await;
    // The other host sends us back to a place of its own choice.
    let back = format!("http://{}/v2/admin", server.host);
    let other = Scripted::start(move |_, _| Reply::new(307).header("Location", &back)).await;
    let location = format!("http://{}/x", other.host);
    let first = Scripted::start(move |request, _| match request.header("authorization") {
        Some(BASIC) => Reply::new(307).header("Location", &location),
        _ => challenge("Basic realm=x"),
    })
    .await;
    let image = reference(format!("{}/app:1", first.host));
    let error = client(hasty()).manifest(&image, Some(&password("user", "secret"))).await;
    assert_eq!(error.expect_err("leads nowhere").kind(), ErrorKind::NotFound);
    assert!(!leaks(&server.requests()) && !leaks(&other.requests()));
}

#[tokio::test]
async fn a_token_is_fetched_once_and_shown_to_the_registry_alone() {
    let service = tokens().await;
    let server =
        registry(format!("http://{}/token?x=y", service.host), |shown| shown == "Bearer token-0").await;
    let client = client(hasty());
    let image = reference(format!("{}/app:1", server.host));
    let user = password("user", "secret");
    let fetch = || client.manifest(&image, Some(&user));
    fetch().await.expect("the first");
    let (a, b, c) = tokio::join!(fetch(), fetch(), fetch());
    assert!(a.is_ok() && b.is_ok() && c.is_ok());
    let asked = service.requests();
    assert_eq!(asked.len(), 1);
    assert_eq!(asked[0].header("authorization"), Some(BASIC));
    assert_eq!(asked[0].target, "/token?x=y&service=the+registry&scope=repository%3Aapp%3Apull&account=user");
    assert!(
        server.requests().iter().all(|r| r.header("authorization").is_none_or(|a| a.starts_with("Bearer ")))
    );
    // 401 once, four good answers.
    assert_eq!(server.requests().len(), 5);
}

#[tokio::test]
async fn tokens_of_different_users_do_not_mix() {
    let service = Scripted::start(|request, _| match request.header("authorization") {
        Some(BASIC) => Reply::ok(r#"{"token":"good"}"#),
        _ => Reply::ok(r#"{"token":"bad"}"#),
    })
    .await;
    let server = registry(format!("http://{}/", service.host), |shown| shown == "Bearer good").await;
    let client = client(hasty());
    let image = reference(format!("{}/app:1", server.host));
    client.manifest(&image, Some(&password("user", "secret"))).await.expect("is let in");
    let stranger = client.manifest(&image, None).await.expect_err("is not let in");
    assert_eq!(stranger.kind(), ErrorKind::Unauthorized);
    assert!(stranger.remedy().is_some_and(|r| r.contains("log in")), "{stranger:?}");
}

#[tokio::test]
async fn a_token_that_went_bad_is_replaced() {
    static UNTIL: AtomicUsize = AtomicUsize::new(0);
    let service = tokens().await;
    let server = registry(format!("http://{}/", service.host), |shown| {
        shown == format!("Bearer token-{}", UNTIL.load(Ordering::SeqCst))
    })
    .await;
    let client = client(hasty());
    let image = reference(format!("{}/app:1", server.host));
    client.manifest(&image, None).await.expect("with the first token");
    UNTIL.store(1, Ordering::SeqCst);
    client.manifest(&image, None).await.expect("with the second token");
    assert_eq!(service.requests().len(), 2);
    UNTIL.store(7, Ordering::SeqCst);
    let error = client.manifest(&image, None).await.expect_err("no token is good");
    assert_eq!(error.kind(), ErrorKind::Unauthorized);
    assert_eq!(service.requests().len(), 3);
}

#[tokio::test]
async fn an_identity_token_is_exchanged_in_a_body() {
    let service = Scripted::start(|_, _| Reply::ok(r#"{"access_token":"fresh","expires_in":60}"#)).await;
    let server = registry(format!("http://{}/token", service.host), |shown| shown == "Bearer fresh").await;
    let image = reference(format!("{}/app:1", server.host));
    let identity = Credential::Identity { token: "se&cret".into() };
    client(hasty()).manifest(&image, Some(&identity)).await.expect("is let in");
    let asked = &service.requests()[0];
    assert_eq!((asked.method.as_str(), asked.target.as_str()), ("POST", "/token"));
    assert_eq!(
        asked.body,
        "grant_type=refresh_token&refresh_token=se%26cret&client_id=engine&scope=repository%3Aapp%3Apull\
         &service=the+registry"
    );
    assert!(server.requests().iter().all(|r| !format!("{r:?}").contains("se&cret")));
}

#[tokio::test]
async fn a_token_service_without_tls_that_is_not_listed_gets_nothing() {
    let service = tokens().await;
    let server = registry(format!("http://{}/token", service.host), |_| false).await;
    let config = hasty().verify_loopback().insecure(&server.host);
    let image = reference(format!("{}/app:1", server.host));
    let error =
        client(config).manifest(&image, Some(&password("user", "secret"))).await.expect_err("is refused");
    assert_eq!(error.kind(), ErrorKind::Unauthorized);
    assert!(error.to_string().contains(&service.host), "{error:?}");
    assert_eq!(service.connections(), 0);
}

#[tokio::test]
async fn a_token_service_that_refuses_means_a_login() {
    let service = Scripted::start(|_, _| {
        Reply::new(401)
            .body(r#"{"errors":[{"code":"UNAUTHORIZED","message":"incorrect username or password"}]}"#)
    })
    .await;
    let server = registry(format!("http://{}/token", service.host), |_| false).await;
    let image = reference(format!("{}/app:1", server.host));
    let error =
        client(hasty()).manifest(&image, Some(&password("user", "secret"))).await.expect_err("is refused");
    assert!(
        error.is(ErrorKind::Unauthorized) && error.to_string().contains("incorrect username"),
        "{error:?}"
    );
    assert!(!format!("{error:?}").contains("secret"));
}

#[tokio::test]
async fn a_busy_token_service_is_asked_again() {
    let service = Scripted::start(|_, before| match before {
        0 => Reply::new(503),
        _ => Reply::ok(r#"{"token":"good"}"#),
    })
    .await;
    let server = registry(format!("http://{}/token", service.host), |shown| shown == "Bearer good").await;
    let image = reference(format!("{}/app:1", server.host));
    client(hasty()).manifest(&image, None).await.expect("the second answer");
}

#[tokio::test]
async fn a_password_that_was_refused_is_not_sent_again() {
    let server = Scripted::start(|_, _| challenge("Basic realm=x")).await;
    let image = reference(format!("{}/app:1", server.host));
    let client = client(hasty());
    for expected in [2, 3] {
        let error = client.manifest(&image, Some(&password("user", "secret"))).await;
        assert_eq!(error.expect_err("is refused").kind(), ErrorKind::Unauthorized);
        assert_eq!(server.requests().len(), expected);
    }
}
