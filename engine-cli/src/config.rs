//! The user's docker configuration: read for what the command line needs of it, and never written.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::render::tell;

/// More than that is no configuration.
const LIMIT: u64 = 1 << 20;

/// What the command line takes from `config.json`.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct Config {
    /// The keys that detach, in place of ctrl-p and ctrl-q.
    pub(crate) detach_keys: Option<String>,
    /// How to print `ps`.
    pub(crate) ps_format: Option<String>,
    /// How to print `images`.
    pub(crate) images_format: Option<String>,
    /// How to print `network ls`.
    pub(crate) networks_format: Option<String>,
    /// How to print `volume ls`.
    pub(crate) volumes_format: Option<String>,
    /// The format of `stats`.
    pub(crate) stats_format: Option<String>,
    /// Proxies for the programs in containers, by engine; `default` is for this one.
    proxies: BTreeMap<String, Proxies>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Proxies {
    http_proxy: Option<String>,
    https_proxy: Option<String>,
    ftp_proxy: Option<String>,
    no_proxy: Option<String>,
    all_proxy: Option<String>,
}

impl Config {
    /// Reads the configuration in the directory; there need not be one. One that is broken is told of and left alone.
    pub(crate) fn read(directory: &Path) -> Config {
        let path = directory.join("config.json");
        let text = match std::fs::metadata(&path) {
            Ok(found) if found.len() <= LIMIT => std::fs::read_to_string(&path).unwrap_or_default(),
            _ => return Config::default(),
        };
        if text.trim().is_empty() {
            return Config::default();
        }
        serde_json::from_str(&text).unwrap_or_else(|e| {
            tell(&format!("WARNING: {} is not read: {e}\n", path.display()));
            Config::default()
        })
    }

    /// The variables that tell programs of the proxies, in the two spellings that programs look for.
    pub(crate) fn proxy_variables(&self) -> Vec<String> {
        let Some(proxies) = self.proxies.get("default") else { return Vec::new() };
        let named = [
            ("http_proxy", &proxies.http_proxy),
            ("https_proxy", &proxies.https_proxy),
            ("ftp_proxy", &proxies.ftp_proxy),
            ("no_proxy", &proxies.no_proxy),
            ("all_proxy", &proxies.all_proxy),
        ];
        let spellings = |(name, value): (&str, &Option<String>)| {
            let value = value.clone().filter(|value| !value.is_empty())?;
            Some([format!("{}={value}", name.to_uppercase()), format!("{name}={value}")])
        };
        named.into_iter().filter_map(spellings).flatten().collect()
    }
}

/// Where the configuration is unless it is said: `~/.docker`.
pub(crate) fn default_directory() -> PathBuf {
    std::env::var_os("HOME").map_or_else(|| PathBuf::from("/"), PathBuf::from).join(".docker")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn docker_s_keys_are_read_and_others_left_alone() {
        let text = r#"{"auths": {"x": {}}, "detachKeys": "ctrl-a", "psFormat": "{{.ID}}",
                       "proxies": {"default": {"httpProxy": "http://p", "noProxy": ""}, "tcp://x": {}}}"#;
        let config: Config = serde_json::from_str(text).expect("it is JSON");
        assert_eq!(config.detach_keys.as_deref(), Some("ctrl-a"));
        assert_eq!(config.ps_format.as_deref(), Some("{{.ID}}"));
        assert_eq!(config.proxy_variables(), ["HTTP_PROXY=http://p", "http_proxy=http://p"]);
        assert!(Config::default().proxy_variables().is_empty());
    }

    #[test]
    fn no_configuration_is_fine() {
        assert!(Config::read(Path::new("/nonexistent")).detach_keys.is_none());
    }
}
