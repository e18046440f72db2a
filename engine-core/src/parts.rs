//! What every service and handle holds: the records, the drivers as trait objects, and where the store lies.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use crate::error::{Error, ErrorKind, Result};
use crate::image::driver::ImageStore;
use crate::network::driver::NetworkDriver;
use crate::registry::driver::{Credential, Registry};
use crate::runtime::driver::Runtime;
use crate::store::Store;
use crate::volume::driver::VolumeDriver;

/// The parts of one engine.
pub(crate) struct Parts {
    /// The store directory.
    pub(crate) root: PathBuf,
    /// Sockets, locks and other things that a reboot may take.
    pub(crate) run_root: PathBuf,
    pub(crate) store: Store,
    pub(crate) images: Arc<dyn ImageStore>,
    pub(crate) registry: Arc<dyn Registry>,
    /// Credentials given by the program, by registry. They come before those of the user's configuration.
    pub(crate) credentials: BTreeMap<String, Credential>,
    pub(crate) runtime: Arc<dyn Runtime>,
    pub(crate) networks: BTreeMap<String, Arc<dyn NetworkDriver>>,
    pub(crate) volumes: BTreeMap<String, Arc<dyn VolumeDriver>>,
}

impl Parts {
    /// The network driver of that name.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] if the engine has none.
    pub(crate) fn network_driver(&self, name: &str) -> Result<&Arc<dyn NetworkDriver>> {
        self.networks.get(name).ok_or_else(|| unknown_driver("network", name, self.networks.keys()))
    }

    /// The volume driver of that name.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] if the engine has none.
    pub(crate) fn volume_driver(&self, name: &str) -> Result<&Arc<dyn VolumeDriver>> {
        self.volumes.get(name).ok_or_else(|| unknown_driver("volume", name, self.volumes.keys()))
    }
}

fn unknown_driver<'a>(noun: &str, name: &str, known: impl Iterator<Item = &'a String>) -> Error {
    let known: Vec<&str> = known.map(String::as_str).collect();
    Error::new(ErrorKind::NotFound, format!("{noun} driver {name:?}"))
        .because("the engine has no driver of that name")
        .with_remedy(format!("use one of: {}", known.join(", ")))
}
