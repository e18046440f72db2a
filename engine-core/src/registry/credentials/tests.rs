use std::fs;
use std::process::Command;

use proptest::prelude::*;

use super::*;
use crate::ErrorKind;

fn password(user: &str, password: &str) -> Credential {
    Credential::Password { user: user.into(), password: password.into() }
}

fn found(config: &str, registry: &str) -> Result<Option<Credential>> {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("config.json");
    fs::write(&path, config).expect("writes");
    find_now(Some(path), registry, helper::get)
}

#[test]
fn an_entry_is_found_by_whatever_docker_calls_the_registry() {
    // "user:pass:word" in base64, with and without padding.
    let config = r#"{"auths":{
        "https://index.docker.io/v1/":{"auth":"dXNlcjpwYXNzOndvcmQ="},
        "https://reg.lan:5000/v1/":{"auth":"dXNlcjpwYXNzOndvcmQ"},
        "plain.lan":{"username":"a","password":"b"},
        "token.lan":{"auth":"PHRva2VuPjo=","identitytoken":"t"},
        "helper.lan":{}
    },"HttpHeaders":{"X":"y"}}"#;
    for registry in ["docker.io", "reg.lan:5000"] {
        assert_eq!(
            found(config, registry).expect("reads"),
            Some(password("user", "pass:word")),
            "{registry}"
        );
    }
    assert_eq!(found(config, "plain.lan").expect("reads"), Some(password("a", "b")));
    assert_eq!(found(config, "token.lan").expect("reads"), Some(Credential::Identity { token: "t".into() }));
    for registry in ["helper.lan", "reg.lan", "other.lan", "index.docker.io.evil.lan"] {
        assert_eq!(found(config, registry).expect("reads"), None, "{registry}");
    }
}

#[test]
fn an_empty_file_and_none_at_all_hold_nothing() {
    assert_eq!(found(" \n", "reg.lan").expect("reads"), None);
    assert_eq!(found("{}", "reg.lan").expect("reads"), None);
    let missing =
        find_now(Some("/nonexistent/config.json".into()), "reg.lan", helper::get).expect_err("was named");
    assert_eq!(missing.kind(), ErrorKind::NotFound);
}

#[test]
fn a_malformed_file_is_named_and_its_secrets_are_not() {
    for config in [
        r#"{"auths":{"reg.lan":"hunter2"}}"#,
        r#"{"auths":{"reg.lan":{"auth":"hunter2!"}}}"#,
        r#"{"auths":{"reg.lan":{"auth":"aHVudGVyMg=="}}}"#,
        r#"{"auths":["hunter2"]}"#,
        "hunter2",
    ] {
        let error = found(config, "reg.lan").expect_err("is refused");
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        let text = format!("{error:?}");
        assert!(text.contains("config.json") && !text.contains("hunter2"), "{text}");
    }
}

#[test]
fn a_helper_that_is_missing_matters_only_where_it_is_needed() {
    let config = r#"{"credsStore":"does-not-exist","auths":{"reg.lan":{"username":"a","password":"b"},"empty.lan":{}}}"#;
    assert_eq!(found(config, "reg.lan").expect("reads"), Some(password("a", "b")));
    let error = found(config, "empty.lan").expect_err("the helper is missing");
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert!(error.to_string().contains("docker-credential-does-not-exist"), "{error}");
    let error = found(r#"{"credHelpers":{"reg.lan":"../../bin/sh"}}"#, "reg.lan").expect_err("no program");
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
}

#[test]
fn a_helper_is_asked_for_the_server_by_docker_s_name() {
    let directory = tempfile::tempdir().expect("a directory");
    let asked = |config: &str, registry: &str| {
        let path = directory.path().join("config.json");
        fs::write(&path, config).expect("writes");
        find_now(Some(path), registry, |name, server| Ok(Some(password(name, server)))).expect("finds")
    };
    let all = r#"{"credsStore":"all","credHelpers":{"reg.lan:5000":"one"}}"#;
    assert_eq!(asked(all, "docker.io"), Some(password("all", "https://index.docker.io/v1/")));
    assert_eq!(asked(all, "reg.lan:5000"), Some(password("one", "reg.lan:5000")));
    assert_eq!(asked(r#"{"credHelpers":{"reg.lan":"one"}}"#, "docker.io"), None);
}

/// What a helper with this script answers. A shell runs it, as writing a program while other tests start some is a
/// race that the kernel answers with "text file busy".
fn answers(script: &str) -> Result<Option<Credential>> {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("get");
    fs::write(&path, script).expect("writes");
    helper::run(Command::new("sh").arg(&path), "reg.lan", &|| "credential helper test".to_owned())
}

#[test]
fn a_helper_s_answers_are_understood() {
    let echo =
        answers(r#"read server; printf '{"Username":"me","Secret":"%s"}' "$server""#).expect("answers");
    assert_eq!(echo, Some(password("me", "reg.lan")));
    let token = answers(r#"echo '{"Username":"<token>","Secret":"t"}'"#).expect("answers");
    assert_eq!(token, Some(Credential::Identity { token: "t".into() }));
    assert_eq!(answers("echo 'credentials not found in native keychain'; exit 1").expect("answers"), None);
    let locked = answers("echo 'the keychain is locked'; exit 1").expect_err("fails");
    assert!(
        locked.is(ErrorKind::Unavailable) && locked.to_string().contains("the keychain is locked"),
        "{locked}"
    );
    let odd = answers("echo hunter2").expect_err("is no answer");
    assert!(odd.is(ErrorKind::Unavailable) && !odd.to_string().contains("hunter2"), "{odd}");
    let endless = answers("exec yes").expect_err("has no end");
    assert_eq!(endless.kind(), ErrorKind::LimitExceeded);
}

proptest! {
    #[test]
    fn reading_never_panics(config in prop::collection::vec(any::<u8>(), 0..200), key in ".{0,40}") {
        let _ = serde_json::from_slice::<Config>(&config);
        let _ = host(&key);
    }
}
