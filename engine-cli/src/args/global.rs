//! The flags before the command's name.

use std::path::PathBuf;

use clap::Parser;

/// An embeddable container engine
#[derive(Clone, Debug, Parser)]
pub(crate) struct Global {
    /// Directory of the store (default "/var/lib/engine")
    #[arg(long, env = "ENGINE_ROOT")]
    pub(crate) root: Option<PathBuf>,
    /// Directory of sockets and locks, which a reboot may empty (default "/run/engine")
    #[arg(long, env = "ENGINE_RUN_ROOT")]
    pub(crate) run_root: Option<PathBuf>,
    /// Location of docker's client configuration files (default "~/.docker")
    #[arg(long, env = "DOCKER_CONFIG")]
    pub(crate) config: Option<PathBuf>,
    /// Tell more of what went wrong
    #[arg(short = 'D', long)]
    pub(crate) debug: bool,
    /// Accepted for docker's sake
    #[arg(short = 'l', long, hide = true)]
    pub(crate) log_level: Option<String>,
    /// A registry, host[:port], that is spoken to in plain HTTP
    #[arg(long = "insecure-registry", env = "ENGINE_INSECURE_REGISTRIES", value_delimiter = ',')]
    pub(crate) insecure_registries: Vec<String>,
    /// Print version information and quit
    #[arg(short = 'v', long)]
    pub(crate) version: bool,
    /// The command and all that is its own.
    #[arg(trailing_var_arg = true, value_name = "COMMAND")]
    pub(crate) words: Vec<String>,
}
