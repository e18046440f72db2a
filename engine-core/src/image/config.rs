//! The configuration of an image: what it says about how to run it, and what its layers are.
//!
//! Both formats are read, OCI's (image-spec, config.md) and Docker's, which has a few members more. The document comes
//! from a registry and is hostile until it is read; where Docker is lenient (a member that is `null`, a command that
//! is a single string) so is this, because such images exist. Members that nobody knows are passed over.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::error::{Error, ErrorKind, Result};
use crate::id::DiffId;
use crate::spec::{Platform, Timestamp};

/// No configuration is longer; the largest that are known have a few hundred kilobytes.
const LIMIT: usize = 8 << 20;
/// Layers of an image, and steps of its history.
const LIMIT_LAYERS: usize = 1024;

/// The configuration of an image.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageConfig {
    /// The processor architecture (GOARCH).
    #[serde(default, deserialize_with = "lenient")]
    pub architecture: String,
    /// The operating system (GOOS).
    #[serde(default, deserialize_with = "lenient")]
    pub os: String,
    /// The variant of the architecture.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variant: Option<String>,
    /// When it was built, by its own account.
    #[serde(default, deserialize_with = "lenient_time", skip_serializing_if = "Option::is_none")]
    pub created: Option<Timestamp>,
    /// Who built it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub author: Option<String>,
    /// How to run it.
    #[serde(default, deserialize_with = "lenient")]
    pub config: RunConfig,
    /// Its layers.
    #[serde(default, deserialize_with = "lenient")]
    pub rootfs: Layers,
    /// How it was built.
    #[serde(default, deserialize_with = "lenient", skip_serializing_if = "Vec::is_empty")]
    pub history: Vec<HistoryStep>,
}

/// How to run an image, where the container does not say otherwise.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct RunConfig {
    /// `user[:group]`, by name or number.
    #[serde(default, deserialize_with = "lenient", skip_serializing_if = "String::is_empty")]
    pub user: String,
    /// Ports that it listens on: `80/tcp`.
    #[serde(default, with = "keys", skip_serializing_if = "BTreeSet::is_empty")]
    pub exposed_ports: BTreeSet<String>,
    /// The environment, `KEY=value`.
    #[serde(default, deserialize_with = "lenient", skip_serializing_if = "Vec::is_empty")]
    pub env: Vec<String>,
    /// The program, which the command is given to.
    #[serde(default, deserialize_with = "words", skip_serializing_if = "Vec::is_empty")]
    pub entrypoint: Vec<String>,
    /// The command.
    #[serde(default, deserialize_with = "words", skip_serializing_if = "Vec::is_empty")]
    pub cmd: Vec<String>,
    /// Directories that get an anonymous volume each.
    #[serde(default, with = "keys", skip_serializing_if = "BTreeSet::is_empty")]
    pub volumes: BTreeSet<String>,
    /// Where the command runs.
    #[serde(default, deserialize_with = "lenient", skip_serializing_if = "String::is_empty")]
    pub working_dir: String,
    /// Labels.
    #[serde(default, deserialize_with = "labels", skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// What stop sends first, by name or number; empty for the default.
    #[serde(default, deserialize_with = "lenient", skip_serializing_if = "String::is_empty")]
    pub stop_signal: String,
    /// The command is quoted already. Windows only; kept as it is.
    #[serde(default, deserialize_with = "lenient", skip_serializing_if = "is_false")]
    pub args_escaped: bool,
    /// How to tell whether it is well. Docker only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub healthcheck: Option<Healthcheck>,
    /// The shell for commands of a Dockerfile. Docker only.
    #[serde(default, deserialize_with = "words", skip_serializing_if = "Vec::is_empty")]
    pub shell: Vec<String>,
    /// Instructions of a Dockerfile to run in images that are built from this one. Docker only.
    #[serde(default, deserialize_with = "lenient", skip_serializing_if = "Vec::is_empty")]
    pub on_build: Vec<String>,
}

/// How to tell whether a container is well. Times are in nanoseconds; 0 leaves the default.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Healthcheck {
    /// `NONE`, or `CMD` or `CMD-SHELL` and the command. Empty leaves what the image below has.
    #[serde(default, deserialize_with = "words", skip_serializing_if = "Vec::is_empty")]
    pub test: Vec<String>,
    /// Between two checks.
    #[serde(default, deserialize_with = "lenient", skip_serializing_if = "is_zero")]
    pub interval: i64,
    /// How long a check may take.
    #[serde(default, deserialize_with = "lenient", skip_serializing_if = "is_zero")]
    pub timeout: i64,
    /// How long the container may take to start before failures count.
    #[serde(default, deserialize_with = "lenient", skip_serializing_if = "is_zero")]
    pub start_period: i64,
    /// Between two checks while it starts.
    #[serde(default, deserialize_with = "lenient", skip_serializing_if = "is_zero")]
    pub start_interval: i64,
    /// So many failures in a row make it unhealthy.
    #[serde(default, deserialize_with = "lenient", skip_serializing_if = "is_zero")]
    pub retries: i64,
}

/// The layers of an image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Layers {
    /// `layers`; nothing else is known.
    #[serde(rename = "type", default, deserialize_with = "lenient")]
    pub kind: String,
    /// The digests of the uncompressed layers, base first.
    #[serde(default, deserialize_with = "lenient")]
    pub diff_ids: Vec<DiffId>,
}

impl Default for Layers {
    fn default() -> Layers {
        Layers { kind: "layers".into(), diff_ids: Vec::new() }
    }
}

/// A step of how an image was built.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HistoryStep {
    /// When.
    #[serde(default, deserialize_with = "lenient_time", skip_serializing_if = "Option::is_none")]
    pub created: Option<Timestamp>,
    /// By what instruction.
    #[serde(default, deserialize_with = "lenient", skip_serializing_if = "String::is_empty")]
    pub created_by: String,
    /// By whom.
    #[serde(default, deserialize_with = "lenient", skip_serializing_if = "String::is_empty")]
    pub author: String,
    /// A remark.
    #[serde(default, deserialize_with = "lenient", skip_serializing_if = "String::is_empty")]
    pub comment: String,
    /// It made no layer.
    #[serde(default, deserialize_with = "lenient", skip_serializing_if = "is_false")]
    pub empty_layer: bool,
}

impl ImageConfig {
    /// Reads the document.
    ///
    /// # Errors
    /// [`ErrorKind::LimitExceeded`] if it is too long, [`ErrorKind::InvalidInput`] if it is no configuration of an
    /// image that could be run here.
    pub fn parse(json: &[u8]) -> Result<ImageConfig> {
        let subject = "image configuration";
        if json.len() > LIMIT {
            return Err(Error::new(ErrorKind::LimitExceeded, subject)
                .because(format!("it is longer than {LIMIT} bytes")));
        }
        if json.iter().find(|byte| !byte.is_ascii_whitespace()) != Some(&b'{') {
            return Err(Error::invalid(subject, "it is no JSON object"));
        }
        let config: ImageConfig = serde_json::from_slice(json)
            .map_err(|e| Error::new(ErrorKind::InvalidInput, subject).caused_by(e))?;
        if config.rootfs.kind != "layers" {
            let kind = &config.rootfs.kind;
            return Err(Error::invalid(subject, format!("its root file system is {kind:?}, not \"layers\"")));
        }
        if config.rootfs.diff_ids.len() > LIMIT_LAYERS || config.history.len() > 16 * LIMIT_LAYERS {
            return Err(Error::new(ErrorKind::LimitExceeded, subject)
                .because(format!("it has more than {LIMIT_LAYERS} layers, or too long a history")));
        }
        Ok(config)
    }

    /// The directories that get an anonymous volume each.
    pub fn volumes(&self) -> impl Iterator<Item = &str> {
        self.config.volumes.iter().map(String::as_str)
    }

    /// The platform it is for.
    pub fn platform(&self) -> Platform {
        Platform {
            architecture: self.architecture.clone(),
            os: self.os.clone(),
            variant: self.variant.clone().filter(|variant| !variant.is_empty()),
        }
    }
}

/// A value, or the default for `null`.
fn lenient<'de, D, T>(deserializer: D) -> std::result::Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de> + Default,
{
    Option::deserialize(deserializer).map(Option::unwrap_or_default)
}

/// A time, or none if it is none: Go's "no time" is the year 1, which no file system and no clock has.
fn lenient_time<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> std::result::Result<Option<Timestamp>, D::Error> {
    let text: Option<String> = Option::deserialize(deserializer)?;
    Ok(text.and_then(|text| text.parse().ok()).filter(|time: &Timestamp| time.seconds() > -62_000_000_000))
}

/// A list of words, or a single one.
fn words<'de, D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Vec<String>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Words {
        Many(Vec<String>),
        One(String),
    }
    Ok(match Option::deserialize(deserializer)? {
        None => Vec::new(),
        Some(Words::Many(words)) => words,
        Some(Words::One(word)) => vec![word],
    })
}

fn labels<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> std::result::Result<BTreeMap<String, String>, D::Error> {
    let map: Option<BTreeMap<String, Option<String>>> = Option::deserialize(deserializer)?;
    Ok(map.unwrap_or_default().into_iter().map(|(key, value)| (key, value.unwrap_or_default())).collect())
}

/// A set, written as an object whose values say nothing: `{"80/tcp": {}}`.
mod keys {
    use super::*;

    pub(super) fn deserialize<'de, D>(deserializer: D) -> std::result::Result<BTreeSet<String>, D::Error>
    where
        D: Deserializer<'de>,
    {
        let map: Option<BTreeMap<String, serde::de::IgnoredAny>> = Option::deserialize(deserializer)?;
        Ok(map.unwrap_or_default().into_keys().collect())
    }

    pub(super) fn serialize<S>(keys: &BTreeSet<String>, serializer: S) -> std::result::Result<S::Ok, S::Error>
    where
        S: Serializer,
    {
        #[derive(Serialize)]
        struct Nothing {}
        serializer.collect_map(keys.iter().map(|key| (key, Nothing {})))
    }
}

fn is_false(value: &bool) -> bool {
    !value
}

fn is_zero(value: &i64) -> bool {
    *value == 0
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const DIFF: &str = "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

    fn parse(json: &str) -> ImageConfig {
        ImageConfig::parse(json.as_bytes()).expect("well formed")
    }

    #[test]
    fn an_image_of_docker_is_read() {
        let config = parse(&format!(
            r#"{{
                "architecture": "arm64", "os": "linux", "variant": "v8",
                "created": "2023-11-14T22:13:20.123Z", "container": "x", "docker_version": "20",
                "config": {{
                    "Hostname": "", "AttachStdin": false, "Tty": false, "User": "www:data",
                    "ExposedPorts": {{"80/tcp": {{}}, "53/udp": null}},
                    "Env": ["PATH=/bin", "A=b=c"], "Entrypoint": ["/run", "it"], "Cmd": ["now"],
                    "Volumes": {{"/data": {{}}}}, "WorkingDir": "/srv", "Labels": {{"a": "b", "c": null}},
                    "StopSignal": "SIGQUIT", "OnBuild": null, "ArgsEscaped": true,
                    "Healthcheck": {{"Test": ["CMD", "true"], "Interval": 30000000000, "Retries": 3}}
                }},
                "rootfs": {{"type": "layers", "diff_ids": ["{DIFF}"]}},
                "history": [{{"created": "0001-01-01T00:00:00Z", "created_by": "/bin/sh", "empty_layer": true}}]
            }}"#
        ));
        assert_eq!(config.platform().to_string(), "linux/arm64/v8");
        assert_eq!(config.created.map(|time| time.seconds()), Some(1_700_000_000));
        let run = &config.config;
        assert_eq!(run.exposed_ports.iter().collect::<Vec<_>>(), ["53/udp", "80/tcp"]);
        assert_eq!((run.entrypoint.len(), run.cmd.len(), run.env.len()), (2, 1, 2));
        assert_eq!(run.labels["c"], "");
        assert_eq!(run.healthcheck.as_ref().map(|check| check.interval), Some(30_000_000_000));
        assert_eq!(config.rootfs.diff_ids.len(), 1);
        assert_eq!(config.history[0].created, None);
        assert!(config.history[0].empty_layer);
        let again = serde_json::to_vec(&config).expect("has a text form");
        assert_eq!(ImageConfig::parse(&again).expect("reads its own"), config);
    }

    #[test]
    fn what_is_null_or_not_there_is_empty() {
        for json in [
            "{}",
            r#"{"config": null, "rootfs": null, "history": null, "created": null, "author": null}"#,
            r#"{"config": {}, "rootfs": {"type": "layers", "diff_ids": null}}"#,
            r#"{"config": {"Env": null, "Cmd": null, "Labels": null, "Volumes": null, "ExposedPorts": null,
                "Healthcheck": null, "User": null, "ArgsEscaped": null, "WorkingDir": null}}"#,
        ] {
            assert_eq!(parse(json), ImageConfig::default(), "{json}");
        }
        assert_eq!(parse(r#"{"config": {"Cmd": "top"}}"#).config.cmd, ["top"]);
        assert_eq!(parse(r#"{"created": "yesterday"}"#).created, None);
    }

    #[test]
    fn what_is_no_configuration_is_refused() {
        for json in [
            "",
            "[]",
            "{",
            "null",
            r#"{"rootfs": {"type": "squashfs"}}"#,
            r#"{"rootfs": {"type": "layers", "diff_ids": ["sha256:../../etc"]}}"#,
            r#"{"config": {"Env": {"A": "b"}}}"#,
            r#"{"config": {"Cmd": [1]}}"#,
        ] {
            let error = ImageConfig::parse(json.as_bytes()).expect_err(json);
            assert_eq!(error.kind(), ErrorKind::InvalidInput, "{json}");
        }
        let deep = format!("{}{}", "{\"config\":".repeat(100_000), "}".repeat(100_000));
        assert!(ImageConfig::parse(deep.as_bytes()).is_err());
        let long = vec![b' '; LIMIT + 1];
        assert_eq!(ImageConfig::parse(&long).expect_err("too long").kind(), ErrorKind::LimitExceeded);
    }

    proptest! {
        #[test]
        fn reading_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..200), text in "\\PC{0,200}") {
            let _ = ImageConfig::parse(&bytes);
            let _ = ImageConfig::parse(text.as_bytes());
            let _ = ImageConfig::parse(format!(r#"{{"config": {{"Cmd": {text}}}}}"#).as_bytes());
        }
    }
}
