//! Against Debian's docker-registry, started by the test on loopback.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use tempfile::TempDir;

use super::scripted::{Reply, Scripted};
use super::{MANIFEST, blob, client, hasty, noise, password, read, reference};
use crate::error::ErrorKind;
use crate::id::Digest;
use crate::registry::conformance::{self, Peer};
use crate::registry::driver::{Credential, Document, Registry};
use crate::spec::{Descriptor, Timestamp};

/// A user `user` with the password `secret`, as htpasswd writes it.
const HTPASSWD: &str = "user:$2y$05$abcdefghijklmnopqrstuuOQiyCxlgf/oeuTqixKmWdcYUh4Hjl0a\n";

/// A running registry; it ends with its guard.
struct Running {
    host: String,
    child: Child,
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Running {
    /// Serves what is below `root`. `http` and `more` are lines for its configuration.
    fn start(root: &Path, http: &str, more: &str) -> Running {
        for _ in 0..5 {
            // Between this and the registry's own call, somebody else may take the port; then another one is tried.
            let port = std::net::TcpListener::bind("127.0.0.1:0")
                .and_then(|l| l.local_addr())
                .expect("a port")
                .port();
            let host = format!("127.0.0.1:{port}");
            let config = root.join(format!("config-{port}.yml"));
            let data = root.join("data");
            let text = format!(
                "version: 0.1\nlog:\n  level: error\n  accesslog:\n    disabled: true\nstorage:\n  filesystem:\n    \
                 rootdirectory: {}\nhttp:\n  addr: {host}\n{http}{more}",
                data.display()
            );
            fs::write(&config, text).expect("writes");
            let log = fs::File::create(root.join("log")).expect("a log");
            let child = Command::new("docker-registry")
                .arg("serve")
                .arg(&config)
                .stdout(Stdio::null())
                .stderr(log)
                .spawn()
                .expect("docker-registry is installed");
            let mut running = Running { host, child };
            let deadline = Instant::now() + Duration::from_secs(20);
            while running.child.try_wait().expect("waits").is_none() && Instant::now() < deadline {
                if std::net::TcpStream::connect(&running.host).is_ok() {
                    return running;
                }
                std::thread::sleep(Duration::from_millis(20));
            }
        }
        panic!(
            "docker-registry does not start: {}",
            fs::read_to_string(root.join("log")).unwrap_or_default()
        );
    }

    fn reference(&self, rest: &str) -> crate::Reference {
        reference(format!("{}/{rest}", self.host))
    }
}

/// An image in the registry's storage: pushed through a registry that asks nobody for a password.
struct Image {
    root: TempDir,
    manifest: Document,
    blob: (Descriptor, Bytes),
}

impl Image {
    async fn push() -> Image {
        let root = tempfile::tempdir().expect("a directory");
        let open = Running::start(root.path(), "", "");
        let content = noise(1_500_000);
        let config = Bytes::from_static(b"{\"architecture\":\"amd64\",\"os\":\"linux\"}");
        let layer =
            Descriptor { media_type: "application/vnd.oci.image.layer.v1.tar".into(), ..blob(&content) };
        let described =
            Descriptor { media_type: "application/vnd.oci.image.config.v1+json".into(), ..blob(&config) };
        let text = serde_json::json!({
            "schemaVersion": 2, "mediaType": MANIFEST, "config": described, "layers": [layer]
        });
        let bytes = Bytes::from(serde_json::to_vec_pretty(&text).expect("serialises"));
        let http = plain_http();
        let repository = format!("http://{}/v2/team/app", open.host);
        for content in [&content, &config] {
            let begun = http.post(format!("{repository}/blobs/uploads/")).send().await.expect("begins");
            let location = begun.headers()["location"].to_str().expect("text").to_owned();
            let done = http.put(format!("{location}&digest={}", Digest::of(content))).body(content.clone());
            assert_eq!(done.send().await.expect("uploads").status(), 201);
        }
        let put = http.put(format!("{repository}/manifests/1.0")).header("content-type", MANIFEST);
        assert_eq!(put.body(bytes.clone()).send().await.expect("puts").status(), 201);
        let descriptor = Descriptor::new(MANIFEST, Digest::of(&bytes), bytes.len() as u64);
        Image { root, manifest: Document { descriptor, bytes }, blob: (layer, content) }
    }

    fn peer(&self, server: &Running, credential: Option<Credential>) -> Peer {
        Peer {
            reference: server.reference("team/app:1.0"),
            manifest: self.manifest.clone(),
            blob: self.blob.clone(),
            credential,
        }
    }
}

/// A client for the test's own requests. It speaks no TLS, but wants to be given some.
fn plain_http() -> reqwest::Client {
    let tls = rustls::ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_root_certificates(rustls::RootCertStore::empty())
        .with_no_client_auth();
    reqwest::Client::builder().tls_backend_preconfigured(tls).no_proxy().build().expect("a client")
}

fn openssl(directory: &Path, args: &[&str]) -> Vec<u8> {
    let output =
        Command::new("openssl").current_dir(directory).args(args).output().expect("openssl is installed");
    assert!(output.status.success(), "openssl {args:?}: {}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

/// A certificate that signs itself, as Docker's manual has it made: `domain.crt` and `domain.key`.
fn self_signed(directory: &Path) -> (PathBuf, PathBuf) {
    let key =
        ["req", "-newkey", "rsa:2048", "-nodes", "-sha256", "-keyout", "domain.key", "-x509", "-days", "2"];
    let names = ["-subj", "/CN=registry", "-addext", "subjectAltName=IP:127.0.0.1", "-out", "domain.crt"];
    openssl(directory, &[&key[..], &names[..]].concat());
    (directory.join("domain.crt"), directory.join("domain.key"))
}

#[tokio::test]
async fn an_open_registry_conforms() {
    let image = Image::push().await;
    let server = Running::start(image.root.path(), "", "");
    conformance::check(Arc::new(client(hasty())), &image.peer(&server, None)).await;
}

#[tokio::test]
async fn a_registry_with_passwords_conforms() {
    let image = Image::push().await;
    let users = image.root.path().join("htpasswd");
    fs::write(&users, HTPASSWD).expect("writes");
    let auth = format!("auth:\n  htpasswd:\n    realm: test\n    path: {}\n", users.display());
    let server = Running::start(image.root.path(), "", &auth);
    let peer = image.peer(&server, Some(password("user", "secret")));
    conformance::check(Arc::new(client(hasty())), &peer).await;
}

/// Signs a token as docker-registry checks it: RS256, the certificate in the header.
fn sign(directory: &Path, certificate: &str, access: &str) -> String {
    let now = Timestamp::now().seconds();
    let header = format!(r#"{{"typ":"JWT","alg":"RS256","x5c":["{certificate}"]}}"#);
    let claims = format!(
        r#"{{"iss":"test-issuer","sub":"user","aud":"test-service","exp":{},"nbf":{},"iat":{now},"jti":"1","access":{access}}}"#,
        now + 300,
        now - 60
    );
    let signed = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims));
    let input = tempfile::NamedTempFile::new_in(directory).expect("a file");
    fs::write(input.path(), &signed).expect("writes");
    let path = input.path().to_str().expect("text");
    let signature = openssl(directory, &["dgst", "-sha256", "-sign", "domain.key", path]);
    format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
}

#[tokio::test]
async fn a_registry_with_tokens_conforms() {
    let image = Image::push().await;
    let keys = tempfile::tempdir().expect("a directory");
    let (certificate, _) = self_signed(keys.path());
    let directory = keys.path().to_owned();
    let pem = fs::read_to_string(&certificate).expect("reads");
    let der: String = pem.lines().filter(|line| !line.starts_with("-----")).collect();
    // Strangers get a token too, one that allows nothing: this is what the token specification asks for.
    let service = Scripted::start(move |request, _| {
        let known = request.header("authorization") == Some("Basic dXNlcjpzZWNyZXQ=");
        let name = request.target.contains("scope=repository%3Ateam%2Fapp%3Apull");
        assert!(request.target.contains("service=test-service"), "{}", request.target);
        let access = match known && name {
            true => r#"[{"type":"repository","name":"team/app","actions":["pull"]}]"#,
            false => "[]",
        };
        Reply::ok(format!(r#"{{"token":"{}"}}"#, sign(&directory, &der, access)))
    })
    .await;
    let auth = format!(
        "auth:\n  token:\n    realm: http://{}/token\n    service: test-service\n    issuer: test-issuer\n    \
         rootcertbundle: {}\n",
        service.host,
        certificate.display()
    );
    let server = Running::start(image.root.path(), "", &auth);
    let peer = image.peer(&server, Some(password("user", "secret")));
    conformance::check(Arc::new(client(hasty())), &peer).await;
}

#[tokio::test]
async fn a_certificate_nobody_vouches_for_is_refused_until_the_user_does() {
    let image = Image::push().await;
    let keys = tempfile::tempdir().expect("a directory");
    let (certificate, key) = self_signed(keys.path());
    let tls = format!("  tls:\n    certificate: {}\n    key: {}\n", certificate.display(), key.display());
    let server = Running::start(image.root.path(), &tls, "");
    let peer = image.peer(&server, None);
    let refused =
        client(hasty().verify_loopback()).manifest(&peer.reference, None).await.expect_err("is refused");
    assert_eq!(refused.kind(), ErrorKind::Unavailable);
    assert!(refused.to_string().contains("not trusted") && refused.remedy().is_some(), "{refused:?}");

    let trusting = hasty().verify_loopback().ca(&certificate);
    conformance::check(Arc::new(client(trusting)), &peer).await;

    // As Docker has it: a directory per registry.
    let certs = tempfile::tempdir().expect("a directory");
    let own = certs.path().join(&server.host);
    fs::create_dir(&own).expect("makes it");
    fs::copy(&certificate, own.join("ca.crt")).expect("copies");
    let docker = client(hasty().verify_loopback().certificates(certs.path()));
    docker.manifest(&peer.reference, None).await.expect("is trusted");
    // The name still has to be the certificate's.
    let other =
        reference(format!("localhost:{}/team/app:1.0", server.host.rsplit(':').next().expect("a port")));
    let wrong = client(hasty().verify_loopback().ca(&certificate)).manifest(&other, None).await;
    assert_eq!(wrong.expect_err("another name").kind(), ErrorKind::Unavailable);

    // On loopback, and where it is listed, nobody has to vouch; but TLS is used all the same.
    client(hasty()).manifest(&peer.reference, None).await.expect("loopback");

    fs::write(own.join("client.cert"), "").expect("writes");
    let lonely = client(hasty().verify_loopback().certificates(certs.path()));
    let error = lonely.manifest(&peer.reference, None).await.expect_err("the key is missing");
    assert!(error.is(ErrorKind::InvalidInput) && error.to_string().contains("client.key"), "{error:?}");
}

#[tokio::test]
async fn a_certificate_signed_by_the_user_s_authority_is_trusted() {
    let image = Image::push().await;
    let keys = tempfile::tempdir().expect("a directory");
    let (authority, _) = self_signed(keys.path());
    fs::write(keys.path().join("names"), "subjectAltName=IP:127.0.0.1\nbasicConstraints=CA:FALSE\n")
        .expect("writes");
    openssl(
        keys.path(),
        &[
            "req", "-newkey", "rsa:2048", "-nodes", "-keyout", "own.key", "-subj", "/CN=own", "-out",
            "own.csr",
        ],
    );
    let signing =
        ["x509", "-req", "-in", "own.csr", "-CA", "domain.crt", "-CAkey", "domain.key", "-days", "2"];
    openssl(
        keys.path(),
        &[&signing[..], &["-CAcreateserial", "-extfile", "names", "-out", "own.crt"]].concat(),
    );
    let tls = format!(
        "  tls:\n    certificate: {0}/own.crt\n    key: {0}/own.key\n    clientcas:\n      - {0}/domain.crt\n",
        keys.path().display()
    );
    let server = Running::start(image.root.path(), &tls, "");
    // The registry wants to see a certificate too, which `certs.d` has.
    let certs = tempfile::tempdir().expect("a directory");
    let own = certs.path().join(&server.host);
    fs::create_dir(&own).expect("makes it");
    fs::copy(authority, own.join("ca.crt")).expect("copies");
    fs::copy(keys.path().join("own.crt"), own.join("client.cert")).expect("copies");
    let config = || hasty().verify_loopback().certificates(certs.path());
    let without = client(config()).manifest(&server.reference("team/app:1.0"), None).await;
    assert_eq!(without.expect_err("the key is missing").kind(), ErrorKind::InvalidInput);
    fs::copy(keys.path().join("own.key"), own.join("client.key")).expect("copies");
    let known = client(config());
    let found = known.manifest(&server.reference("team/app:1.0"), None).await.expect("is let in");
    assert_eq!(found, image.manifest);
    let (_, bytes, failed) =
        read(known.blob(&server.reference("team/app"), &image.blob.0, 7, None).await).await;
    assert!(failed.is_none() && bytes == image.blob.1[7..]);
}

#[tokio::test]
async fn a_mirror_that_is_a_registry_serves_in_place_of_another() {
    let image = Image::push().await;
    let mirror = Running::start(image.root.path(), "", "");
    let config = hasty().mirror("upstream.invalid", &mirror.host);
    let found = client(config).manifest(&reference("upstream.invalid/team/app:1.0"), None).await;
    assert_eq!(found.expect("the mirror has it"), image.manifest);
}
