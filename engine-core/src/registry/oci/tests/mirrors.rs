//! Mirrors before the registry, and the registry after all of them.

use super::scripted::{Reply, Scripted};
use super::{blob, client, hasty, manifest, noise, password, read, reference};
use crate::error::ErrorKind;
use crate::registry::driver::Registry;

#[tokio::test]
async fn a_mirror_that_has_the_image_is_all_that_is_asked() {
    let mirror = Scripted::start(|_, _| Reply::document(&manifest())).await;
    let server = Scripted::start(|_, _| Reply::new(500)).await;
    let config = hasty().mirror(&server.host, format!("http://{}/cache", mirror.host));
    let image = reference(format!("{}/app:1", server.host));
    let user = password("user", "secret");
    assert_eq!(client(config).manifest(&image, Some(&user)).await.expect("the mirror's"), manifest());
    assert_eq!(server.connections(), 0);
    let asked = &mirror.requests()[0];
    let ns = server.host.replace(':', "%3A");
    assert_eq!(asked.target, format!("/cache/v2/app/manifests/1?ns={ns}"));
    assert_eq!(asked.header("authorization"), None);
}

#[tokio::test]
async fn mirrors_that_fail_in_any_way_are_passed_over() {
    let content = noise(1000);
    let served = content.clone();
    let server = Scripted::start(move |request, _| match request.target.contains("/blobs/") {
        true => Reply::ok(served.to_vec()),
        false => Reply::document(&manifest()),
    })
    .await;
    let busy = Scripted::start(|_, _| Reply::new(503).header("Retry-After", "1")).await;
    let empty = Scripted::start(|_, _| Reply::new(404)).await;
    let locked = Scripted::start(|_, _| Reply::new(401).header("WWW-Authenticate", "Basic realm=x")).await;
    let lying = Scripted::start(|_, _| Reply::ok("<html>")).await;
    let mut config = hasty();
    for mirror in ["127.0.0.1:1", &busy.host, &empty.host, &locked.host, &lying.host] {
        config = config.mirror(&server.host, mirror);
    }
    let client = client(config);
    let image = reference(format!("{}/app:1", server.host));
    let user = password("user", "secret");
    assert_eq!(client.manifest(&image, Some(&user)).await.expect("the registry's"), manifest());
    let (_, bytes, failed) = read(client.blob(&image, &blob(&content), 0, Some(&user)).await).await;
    assert!(failed.is_none() && bytes == content);
    for mirror in [&busy, &empty, &locked, &lying] {
        assert!(!mirror.requests().is_empty());
        assert!(mirror.requests().iter().all(|r| r.header("authorization").is_none()));
    }
}

#[tokio::test]
async fn what_no_mirror_has_is_judged_by_the_registry() {
    let mirror = Scripted::start(|_, _| Reply::new(503)).await;
    let server = Scripted::start(|_, _| Reply::new(404)).await;
    let image = reference(format!("{}/app:1", server.host));
    let config = hasty().mirror(&server.host, &mirror.host);
    let error = client(config).manifest(&image, None).await.expect_err("is nowhere");
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert!(error.to_string().contains(&server.host), "{error}");
}

#[tokio::test]
async fn a_mirror_with_an_account_is_shown_its_own_credential() {
    // "me:mine" in base64.
    let mirror = Scripted::start(|request, _| match request.header("authorization") {
        Some("Basic bWU6bWluZQ==") => Reply::document(&manifest()),
        _ => Reply::new(401).header("WWW-Authenticate", "Basic realm=x"),
    })
    .await;
    let server = Scripted::start(|_, _| Reply::new(404)).await;
    let config =
        hasty().mirror(&server.host, &mirror.host).mirror_credential(&mirror.host, password("me", "mine"));
    let image = reference(format!("{}/app:1", server.host));
    client(config).manifest(&image, Some(&password("user", "secret"))).await.expect("the mirror's");
}

#[tokio::test]
async fn a_transfer_that_broke_at_a_mirror_goes_on_elsewhere() {
    let content = noise(100_000);
    let served = content.clone();
    let mirror = Scripted::start(move |_, _| Reply::ok(&served[..50_000]).length(100_000)).await;
    let served = content.clone();
    let server = Scripted::start(move |request, _| {
        assert_eq!(request.header("range"), Some("bytes=50000-"));
        Reply::new(206).header("Content-Range", "bytes 50000-99999/100000").body(&served[50_000..])
    })
    .await;
    let client = client(hasty().mirror(&server.host, &mirror.host));
    let image = reference(format!("{}/app", server.host));
    let (_, first, failed) = read(client.blob(&image, &blob(&content), 0, None).await).await;
    assert!(failed.is_some() && first.len() == 50_000);
    let (offset, rest, failed) = read(client.blob(&image, &blob(&content), 50_000, None).await).await;
    assert!(failed.is_none() && offset == 50_000 && rest == content[50_000..]);
}
