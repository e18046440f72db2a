//! What every service and handle holds: the records, the drivers as trait objects, and where the store lies.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use crate::container::oci::HostFacts;
use crate::error::{Error, ErrorKind, Result};
use crate::event::{EventKind, SystemEvent};
use crate::id::ContainerId;
use crate::image::driver::ImageStore;
use crate::journal;
use crate::network::driver::NetworkDriver;
use crate::registry::driver::{Credential, Registry};
use crate::runtime::choice::Runtimes;
use crate::runtime::driver::{Place, Runtime};
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
    /// The folder with docker's `config.json`; the user's own unless given.
    pub(crate) docker_config: Option<PathBuf>,
    /// Hands every container to the runtime that it is to be run by.
    pub(crate) runtime: Arc<dyn Runtime>,
    /// The same, for whoever asks which runtimes there are.
    pub(crate) runtimes: Arc<Runtimes>,
    pub(crate) networks: BTreeMap<String, Arc<dyn NetworkDriver>>,
    pub(crate) volumes: BTreeMap<String, Arc<dyn VolumeDriver>>,
    /// Facts about this host, once somebody needed them.
    pub(crate) host: OnceLock<HostFacts>,
}

impl Parts {
    /// Facts about this host. Blocks the first time.
    pub(crate) fn host(&self) -> Result<&HostFacts> {
        if let Some(host) = self.host.get() {
            return Ok(host);
        }
        let host = HostFacts::gather()?;
        Ok(self.host.get_or_init(|| host))
    }

    /// Tells of something that happened, when it has: a few microseconds, and never a failure.
    pub(crate) fn tell(&self, event: &SystemEvent) {
        journal::tell(&self.run_root, event);
    }

    /// Tells that what nobody needs of a kind was removed.
    pub(crate) fn tell_prune(&self, kind: EventKind, reclaimed: u64) {
        self.tell(&SystemEvent::now(kind, "prune", "").with("reclaimed", reclaimed.to_string()));
    }

    /// The directory of a container's own files.
    pub(crate) fn container_dir(&self, id: &ContainerId) -> PathBuf {
        self.root.join("containers").join(id.as_str())
    }

    /// Where the exit records of all containers appear: what is in there has not been replayed yet.
    pub(crate) fn exits_dir(&self) -> PathBuf {
        self.root.join("exits")
    }

    /// The lock of a container.
    pub(crate) fn lock_file(&self, id: &ContainerId) -> PathBuf {
        self.run_root.join("locks").join(id.as_str())
    }

    /// Where the runtime finds a container whose group is made in the group `parent`.
    pub(crate) fn place(&self, id: &ContainerId, parent: Option<&str>) -> Place {
        Place {
            id: id.clone(),
            run_dir: self.run_root.join("containers").join(id.as_str()),
            exit_record: self.exits_dir().join(id.as_str()),
            cgroup: format!("{}/{id}", parent.unwrap_or("/engine").trim_end_matches('/')),
            runtime: None,
        }
    }

    /// The volume driver of that name.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] if the engine has none.
    pub(crate) fn volume_driver(&self, name: &str) -> Result<&Arc<dyn VolumeDriver>> {
        driver("volume", &self.volumes, name)
    }
}

/// The driver of that name among `drivers` of one noun.
///
/// # Errors
/// [`ErrorKind::NotFound`], naming those there are.
pub(crate) fn driver<'a, T: ?Sized>(
    noun: &str,
    drivers: &'a BTreeMap<String, Arc<T>>,
    name: &str,
) -> Result<&'a Arc<T>> {
    drivers.get(name).ok_or_else(|| {
        let known: Vec<&str> = drivers.keys().map(String::as_str).collect();
        Error::new(ErrorKind::NotFound, format!("{noun} driver {name:?}"))
            .because("the engine has no driver of that name")
            .with_remedy(format!("use one of: {}", known.join(", ")))
    })
}
