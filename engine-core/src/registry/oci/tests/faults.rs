//! Connections that break, registries that are busy, that lie, or that never end.

use std::time::{Duration, Instant};

use super::scripted::{Reply, Scripted, Then};
use super::{blob, client, hasty, manifest, noise, read, reference};
use crate::error::ErrorKind;
use crate::registry::driver::Registry;
use crate::registry::oci::RegistryConfig;

/// Answers a request for a range of the content as a good server does.
fn part(content: &[u8], range: &str) -> Reply {
    let from: usize = range.trim_start_matches("bytes=").trim_end_matches('-').parse().expect("a range");
    let size = content.len();
    Reply::new(206)
        .header("Content-Range", &format!("bytes {from}-{}/{size}", size - 1))
        .body(&content[from..])
}

#[tokio::test]
async fn a_blob_that_breaks_in_the_middle_is_resumed_from_there() {
    let content = noise(300_000);
    let served = content.clone();
    let server = Scripted::start(move |request, _| match request.header("range") {
        None => Reply::ok(&served[..100_000]).length(served.len() as u64),
        Some(range) => part(&served, range),
    })
    .await;
    let (client, image) = (client(hasty()), reference(format!("{}/app", server.host)));
    let (offset, first, failed) = read(client.blob(&image, &blob(&content), 0, None).await).await;
    assert_eq!((offset, &first[..]), (0, &content[..100_000]));
    let failed = failed.expect("the connection broke");
    assert!(failed.is(ErrorKind::Unavailable) && failed.to_string().contains(&server.host), "{failed:?}");
    let rest = client.blob(&image, &blob(&content), first.len() as u64, None).await;
    let (offset, rest, failed) = read(rest).await;
    assert!(failed.is_none(), "{failed:?}");
    assert_eq!((offset, &rest[..]), (100_000, &content[100_000..]));
}

#[tokio::test]
async fn a_registry_without_ranges_begins_at_zero() {
    let content = noise(1000);
    for refuses in [false, true] {
        let served = content.clone();
        let server = Scripted::start(move |request, _| match request.header("range") {
            Some(_) if refuses => Reply::new(416),
            _ => Reply::ok(served.to_vec()),
        })
        .await;
        let image = reference(format!("{}/app", server.host));
        let (offset, bytes, failed) =
            read(client(hasty()).blob(&image, &blob(&content), 500, None).await).await;
        assert!(failed.is_none() && offset == 0 && bytes == content, "refuses: {refuses}");
    }
}

#[tokio::test]
async fn a_busy_registry_is_asked_again_when_it_wishes() {
    let document = manifest();
    let answer = document.clone();
    let server = Scripted::start(move |_, before| match before {
        0 => Reply::new(429).header("Retry-After", "1"),
        1 => Reply::new(503),
        _ => Reply::document(&answer),
    })
    .await;
    let before = Instant::now();
    let image = reference(format!("{}/app:1", server.host));
    assert_eq!(client(hasty()).manifest(&image, None).await.expect("the third answer"), document);
    assert!(before.elapsed() >= Duration::from_secs(1));
    assert_eq!(server.requests().len(), 3);
}

#[tokio::test]
async fn patience_with_a_busy_registry_ends() {
    let body = r#"{"errors":[{"code":"TOOMANYREQUESTS","message":"pull rate limit"}]}"#;
    let server = Scripted::start(move |_, _| Reply::new(429).body(body)).await;
    let image = reference(format!("{}/app:1", server.host));
    let error = client(hasty()).manifest(&image, None).await.expect_err("it stays busy");
    assert!(error.is(ErrorKind::Unavailable) && error.to_string().contains("pull rate limit"), "{error:?}");
    assert!(error.remedy().is_some());
    assert_eq!(server.requests().len(), 5);

    let tomorrow = Scripted::start(|_, _| Reply::new(429).header("Retry-After", "86400")).await;
    let image = reference(format!("{}/app:1", tomorrow.host));
    client(hasty()).manifest(&image, None).await.expect_err("nobody waits until tomorrow");
    assert_eq!(tomorrow.requests().len(), 1);
}

#[tokio::test]
async fn a_connection_that_breaks_before_the_answer_is_made_again() {
    let document = manifest();
    let answer = document.clone();
    let server = Scripted::start(move |_, before| match before {
        0 => Reply::hang_up(),
        _ => Reply::document(&answer),
    })
    .await;
    let image = reference(format!("{}/app:1", server.host));
    assert_eq!(client(hasty()).manifest(&image, None).await.expect("the second answer"), document);
}

#[tokio::test]
async fn a_length_that_is_not_the_blob_s_is_corrupt_at_once() {
    let content = noise(1000);
    for length in [999, 1001, u64::MAX / 2] {
        let served = content.clone();
        let server = Scripted::start(move |_, _| Reply::ok(served.to_vec()).length(length)).await;
        let image = reference(format!("{}/app", server.host));
        let error = client(hasty()).blob(&image, &blob(&content), 0, None).await.err().expect("is refused");
        assert_eq!(error.kind(), ErrorKind::Corrupt, "{length}");
    }
}

#[tokio::test]
async fn a_blob_without_end_is_cut_at_its_size() {
    let content = noise(100_000);
    let served = content.clone();
    let server =
        Scripted::start(move |_, _| Reply::ok(served.to_vec()).length(None).then(Then::Endless)).await;
    let image = reference(format!("{}/app", server.host));
    let (_, bytes, failed) = read(client(hasty()).blob(&image, &blob(&content), 0, None).await).await;
    assert_eq!(failed.expect("more bytes came").kind(), ErrorKind::Corrupt);
    assert!(bytes.len() <= content.len() && bytes == content[..bytes.len()]);
    settles(&server, 32 << 20).await;
}

/// Waits until the server can send no more: the client has hung up, and not late.
async fn settles(server: &Scripted, most: u64) {
    let mut sent = server.sent();
    loop {
        assert!(sent < most, "the client still listens after {sent} bytes");
        tokio::time::sleep(Duration::from_millis(100)).await;
        let now = server.sent();
        if now == sent {
            return;
        }
        sent = now;
    }
}

#[tokio::test]
async fn a_manifest_of_a_gigabyte_is_not_read() {
    for length in [Some(1 << 30), None] {
        let server = Scripted::start(move |_, _| {
            Reply::ok("{").header("Content-Type", super::MANIFEST).length(length).then(Then::Endless)
        })
        .await;
        let image = reference(format!("{}/app:1", server.host));
        let error = client(hasty()).manifest(&image, None).await.expect_err("is too large");
        assert_eq!(error.kind(), ErrorKind::LimitExceeded, "{error:?}");
        settles(&server, 32 << 20).await;
    }
}

#[tokio::test]
async fn a_manifest_with_another_digest_is_corrupt() {
    let document = manifest();
    let digest = document.descriptor.digest.to_string();
    let server = Scripted::start(move |_, _| {
        // The server's own word for the digest counts for nothing.
        Reply::ok(r#"{"schemaVersion":2}"#)
            .header("Content-Type", super::MANIFEST)
            .header("Docker-Content-Digest", &digest)
    })
    .await;
    let image = reference(format!("{}/app:1", server.host)).at_digest(document.descriptor.digest);
    let error = client(hasty()).manifest(&image, None).await.expect_err("is refused");
    assert_eq!(error.kind(), ErrorKind::Corrupt);
}

#[tokio::test]
async fn a_transfer_that_stalls_ends_in_time() {
    let content = noise(1000);
    let served = content.clone();
    let server = Scripted::start(move |_, _| Reply::ok(&served[..10]).length(1000).then(Then::Hang)).await;
    let config = RegistryConfig { idle_timeout: Duration::from_millis(200), ..hasty() };
    let image = reference(format!("{}/app", server.host));
    let (_, bytes, failed) = read(client(config).blob(&image, &blob(&content), 0, None).await).await;
    assert_eq!(bytes.len(), 10);
    assert_eq!(failed.expect("it stalled").kind(), ErrorKind::TimedOut);
}

#[tokio::test]
async fn a_registry_that_is_not_listed_is_never_spoken_to_without_tls() {
    let server = Scripted::start(|_, _| Reply::document(&manifest())).await;
    let image = reference(format!("{}/app:1", server.host));
    let strict = client(RegistryConfig { attempts: 2, ..hasty() }.verify_loopback());
    let error = strict.manifest(&image, Some(&super::password("user", "secret"))).await.expect_err("no TLS");
    assert!(server.connections() > 0 && server.requests().is_empty(), "{:?}", server.requests());
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    let listed = client(hasty().verify_loopback().insecure(&server.host));
    listed.manifest(&image, None).await.expect("it is listed");
}

#[tokio::test]
async fn plain_http_where_tls_was_expected_says_what_to_list() {
    // What a server without TLS answers to a handshake.
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let host = listener.local_addr().expect("an address").to_string();
    let server = tokio::spawn(async move {
        use tokio::io::AsyncWriteExt;
        while let Ok((mut stream, _)) = listener.accept().await {
            let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n").await;
        }
    });
    let strict = client(hasty().verify_loopback());
    let error = strict.manifest(&reference(format!("{host}/app:1")), None).await.expect_err("no TLS");
    server.abort();
    assert!(error.to_string().contains("does not speak TLS"), "{error:?}");
    assert!(error.remedy().is_some_and(|r| r.contains(&host) && r.contains("insecure")), "{error:?}");
}

#[tokio::test]
async fn tags_come_page_by_page_and_only_from_the_same_server() {
    let server = Scripted::start(|request, _| match request.target.contains("last=b") {
        true => Reply::ok(r#"{"name":"app","tags":["c","not a tag\u001b[0m"]}"#),
        false => Reply::ok(r#"{"name":"app","tags":["a","b"]}"#)
            .header("Link", "</v2/app/tags/list?n=2&last=b>; rel=\"next\""),
    })
    .await;
    let tags = client(hasty()).tags(&reference(format!("{}/app", server.host)), None).await.expect("lists");
    assert_eq!(tags, ["a", "b", "c"]);

    let other = Scripted::start(|_, _| Reply::ok(r#"{"tags":["evil"]}"#)).await;
    let next = format!("<http://{}/v2/app/tags/list>; rel=\"next\"", other.host);
    let server = Scripted::start(move |_, _| Reply::ok(r#"{"tags":null}"#).header("Link", &next)).await;
    let error = client(hasty()).tags(&reference(format!("{}/app", server.host)), None).await;
    assert_eq!(error.expect_err("is refused").kind(), ErrorKind::Unavailable);
    assert!(other.requests().is_empty());
}

#[tokio::test]
async fn a_list_of_tags_without_end_is_given_up() {
    let server = Scripted::start(|_, before| {
        let tags: Vec<String> = (0..1000).map(|n| format!("\"t{before}-{n}\"")).collect();
        Reply::ok(format!(r#"{{"tags":[{}]}}"#, tags.join(","))).header("Link", "<?next>; rel=\"next\"")
    })
    .await;
    let error = client(hasty()).tags(&reference(format!("{}/app", server.host)), None).await;
    assert_eq!(error.expect_err("has no end").kind(), ErrorKind::LimitExceeded);
}

#[tokio::test]
async fn a_refusal_that_never_ends_is_a_refusal() {
    let words = r#"{"errors":[{"code":"DENIED","message":"no"}]}"#;
    for then in [Then::Endless, Then::Hang] {
        let server = Scripted::start(move |_, _| Reply::new(403).body(words).length(None).then(then)).await;
        let content = noise(10);
        let image = reference(format!("{}/app", server.host));
        let error = client(hasty()).blob(&image, &blob(&content), 0, None).await.err().expect("is refused");
        assert_eq!(error.kind(), ErrorKind::Unauthorized, "{then:?}");
    }
}

#[tokio::test]
async fn a_redirect_in_circles_is_given_up() {
    let server = Scripted::start(|_, _| Reply::new(307).header("Location", "/v2/app/manifests/1")).await;
    let error = client(hasty()).manifest(&reference(format!("{}/app:1", server.host)), None).await;
    assert_eq!(error.expect_err("goes in circles").kind(), ErrorKind::Unavailable);
    assert!(server.requests().len() < 10);
}
