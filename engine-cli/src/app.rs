//! What every command has: the global flags, and the engine they lead to.

use std::path::PathBuf;

use engine_core::Engine;

use crate::args::global::Global;
use crate::attach::keys::DetachKeys;
use crate::config::{self, Config};
use crate::exit::Failure;

/// The program as it was called.
pub(crate) struct App {
    global: Global,
    /// The command as it was named, for messages: `engine container run`.
    pub(crate) path: String,
}

impl App {
    /// The program, called with these flags for the command `path`.
    pub(crate) fn new(global: Global, path: String) -> App {
        App { global, path }
    }

    /// Opens the engine. Only commands that need it do.
    ///
    /// # Errors
    /// What opening the store gave.
    pub(crate) async fn engine(&self) -> Result<Engine, Failure> {
        let mut builder = Engine::builder();
        if let Some(root) = &self.global.root {
            builder = builder.root(root);
        }
        if let Some(run_root) = &self.global.run_root {
            builder = builder.run_root(run_root);
        }
        if let Some(directory) = &self.global.config {
            builder = builder.docker_config(directory);
        }
        for registry in &self.global.insecure_registries {
            builder = builder.insecure_registry(registry);
        }
        if let Some(path) = std::env::var_os("PATH") {
            builder = builder.find_runtimes(path);
        }
        Ok(builder.open().await?)
    }

    /// The user's configuration. Only commands that look at it read it.
    pub(crate) fn config(&self) -> Config {
        let directory: PathBuf = self.global.config.clone().unwrap_or_else(config::default_directory);
        Config::read(&directory)
    }

    /// The keys that detach: those of the flag, or of the configuration, or docker's.
    ///
    /// # Errors
    /// Keys that cannot be typed.
    pub(crate) fn detach_keys(&self, flag: Option<&str>, config: &Config) -> Result<DetachKeys, Failure> {
        DetachKeys::parse(flag.or(config.detach_keys.as_deref()).unwrap_or_default()).map_err(Failure::new)
    }
}
