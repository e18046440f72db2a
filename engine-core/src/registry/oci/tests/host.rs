//! The host program and its environment: what is used of them, and what is left alone.

use std::process::Command;

use super::scripted::{Reply, Scripted};
use super::{client, hasty, manifest, reference};
use crate::error::ErrorKind;
use crate::registry::driver::Registry;

#[tokio::test]
async fn making_a_client_touches_no_file() {
    let config = hasty().verify_loopback().ca("/nonexistent/ca.pem");
    let client = client(config);
    let error =
        client.manifest(&reference("127.0.0.1:1/app:1"), None).await.expect_err("the file is missing");
    assert!(error.is(ErrorKind::NotFound) && error.to_string().contains("/nonexistent/ca.pem"), "{error:?}");
}

#[tokio::test]
async fn the_process_wide_tls_provider_is_left_to_the_host_program() {
    let server = Scripted::start(|_, _| Reply::document(&manifest())).await;
    let image = reference(format!("{}/app:1", server.host));
    client(hasty()).manifest(&image, None).await.expect("works");
    assert!(rustls::crypto::CryptoProvider::get_default().is_none());
}

/// The environment belongs to the whole process, so the test runs itself once more in one of its own.
#[tokio::test]
async fn the_environment_s_proxy_is_used_but_not_for_this_machine() {
    const ROLE: &str = "ENGINE_TEST_BEHIND_A_PROXY";
    if let Ok(local) = std::env::var(ROLE) {
        let client = client(hasty().insecure("reg.invalid:5000").insecure("direct.invalid"));
        client.manifest(&reference("reg.invalid:5000/app:1"), None).await.expect("through the proxy");
        client.manifest(&reference(format!("{local}/app:1")), None).await.expect("past the proxy");
        client.manifest(&reference("direct.invalid/app:1"), None).await.expect_err("past the proxy");
        return;
    }
    let proxy = Scripted::start(|_, _| Reply::document(&manifest())).await;
    let local = Scripted::start(|_, _| Reply::document(&manifest())).await;
    let mut again = Command::new(std::env::current_exe().expect("a path"));
    again
        .args([
            "--exact",
            "registry::oci::tests::host::the_environment_s_proxy_is_used_but_not_for_this_machine",
        ])
        .env(ROLE, &local.host)
        .env("HTTP_PROXY", format!("http://{}", proxy.host))
        .env("http_proxy", format!("http://{}", proxy.host))
        .env("NO_PROXY", "direct.invalid")
        .env("no_proxy", "direct.invalid")
        .env_remove("HTTPS_PROXY")
        .env_remove("https_proxy")
        .env_remove("ALL_PROXY")
        .env_remove("all_proxy");
    let output = tokio::task::spawn_blocking(move || again.output()).await.expect("runs").expect("starts");
    let told = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && told.contains("1 passed"), "{told}");
    let asked: Vec<String> = proxy.requests().into_iter().map(|r| r.target).collect();
    assert_eq!(asked, ["http://reg.invalid:5000/v2/app/manifests/1"]);
    assert_eq!(local.requests().len(), 1);
}
