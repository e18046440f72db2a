//! The engine as a whole: what it is, what it takes up, and clearing away what nothing needs.

mod disk;
mod events;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;

use serde::Serialize;
use serde_json::{Value, json};

pub use self::disk::{DiskTotal, DiskUsage, VolumeUsage};
pub use self::events::EventStream;
use crate::container::{Containers, ListSpec, logs, restart};
use crate::error::{Error, Faults, Result, Subject};
use crate::id::{ContainerId, ContainerName};
use crate::parts::Parts;
use crate::runtime::choice::DEFAULT;
use crate::spec::EventsSpec;
use crate::store::{blocking, containers};
use crate::{image, network, volume};

/// The engine as a whole.
#[derive(Clone)]
pub struct System {
    parts: Arc<Parts>,
}

/// What this engine and this host are. Serialises with the names of Docker's `info`.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
#[non_exhaustive]
pub struct SystemInfo {
    /// The engine's version.
    pub server_version: String,
    /// How many containers there are.
    pub containers: usize,
    /// How many run.
    pub containers_running: usize,
    /// How many do not.
    pub containers_stopped: usize,
    /// How many images there are.
    pub images: usize,
    /// The store directory.
    pub docker_root_dir: String,
    /// The rest: `Driver`, `CgroupVersion`, `KernelVersion`, `OperatingSystem`, `NCPU`, `MemTotal`, `Plugins`, …
    #[serde(flatten)]
    pub details: BTreeMap<String, Value>,
}

/// What a sweep took away: a line for each thing.
#[derive(Clone, Debug, Default)]
pub struct SweepReport {
    /// The things, in words.
    pub removed: Vec<String>,
    /// The bytes freed.
    pub reclaimed: u64,
}

/// Which containers were started.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct StartReport {
    /// Those that run now.
    pub started: Vec<ContainerName>,
    /// Those that could not be started, and why.
    pub failed: Vec<(ContainerName, Error)>,
}

impl System {
    pub(crate) fn new(parts: Arc<Parts>) -> System {
        System { parts }
    }

    /// What this engine and this host are.
    ///
    /// # Errors
    /// Failures of reading the store or the host's own figures.
    pub async fn info(&self) -> Result<SystemInfo> {
        let all = ListSpec { all: true, ..ListSpec::default() };
        let containers = Containers::new(self.parts.clone()).list(&all).await?;
        let running = containers.iter().filter(|container| container.state.running).count();
        let images = self.parts.images.images().await?.len();
        let networks: Vec<String> = self.parts.networks.keys().cloned().collect();
        let volumes: Vec<String> = self.parts.volumes.keys().cloned().collect();
        let mut details = blocking(host).await?;
        details.insert("Driver".into(), json!("overlayfs"));
        details.insert("LoggingDriver".into(), json!("json-file"));
        let mut network_drivers = networks;
        network_drivers.extend(["host".to_owned(), "none".to_owned()]);
        details.insert(
            "Plugins".into(),
            json!({ "Volume": volumes, "Network": network_drivers, "Log": logs::driver::names() }),
        );
        let runtimes = self.parts.runtimes.names().into_iter().map(|(name, path)| {
            let path = path.unwrap_or_else(|| PathBuf::from(&name));
            (name, json!({ "path": path }))
        });
        details.insert("Runtimes".into(), runtimes.collect::<serde_json::Map<_, _>>().into());
        details.insert("DefaultRuntime".into(), json!(DEFAULT));
        Ok(SystemInfo {
            server_version: env!("CARGO_PKG_VERSION").to_owned(),
            containers: containers.len(),
            containers_running: running,
            containers_stopped: containers.len() - running,
            images,
            docker_root_dir: self.parts.root.display().to_string(),
            details,
        })
    }

    /// What the store takes up on disk. Looks at every file of containers and volumes, so it takes its time.
    ///
    /// # Errors
    /// Failures of reading the store.
    pub async fn disk_usage(&self) -> Result<DiskUsage> {
        disk::usage(&self.parts).await
    }

    /// Starts the containers whose restart policy says so and that do not run: when the host has started, or a monitor
    /// was lost. `always` in any case, `unless-stopped` unless a user stopped it, `on-failure` if its last end was
    /// none that its program or a user wanted. Those that were never started are left alone.
    ///
    /// # Errors
    /// Failures of reading the store. That a container could not be started is in the report.
    pub async fn start_all(&self) -> Result<StartReport> {
        let mut report = StartReport::default();
        for (name, result) in restart::start_all(&self.parts).await? {
            match result {
                Ok(()) => report.started.push(name),
                Err(e) => report.failed.push((name, e)),
            }
        }
        Ok(report)
    }

    /// What happens to containers, images, networks and volumes, whichever process does it.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`](crate::ErrorKind::InvalidInput) for a filter that is not known, and for a time to
    /// end at before the time to begin with.
    pub async fn events(&self, events: EventsSpec) -> Result<EventStream> {
        events::events(&self.parts, events).await
    }

    /// Takes away what interrupted work left on the host and in the store: half layers, partial blobs, cgroups,
    /// links, packet filter elements, directories of containers that are gone. Nothing that a user made is touched.
    /// Safe at any time, in any process.
    ///
    /// # Errors
    /// The first thing that could not be taken away; the others are.
    pub async fn sweep(&self) -> Result<SweepReport> {
        let parts = &self.parts;
        let mut report = SweepReport::default();
        let mut faults = Faults::new();
        // Looking at a container records its end, which clears what its last run left.
        let all = ListSpec { all: true, ..ListSpec::default() };
        faults.note(Containers::new(parts.clone()).list(&all).await);
        faults.note(containers_without_record(parts, &mut report).await);
        match network::endpoint::sweep(parts).await {
            Ok(lines) => report.removed.extend(lines),
            Err(e) => faults.note::<()>(Err(e)),
        }
        match volume::life::sweep(&**parts).await {
            Ok(lines) => report.removed.extend(lines),
            Err(e) => faults.note::<()>(Err(e)),
        }
        match image::gc::sweep(parts).await {
            Ok(freed) => {
                report.removed.extend(freed.layers.iter().map(|layer| format!("layer {layer}")));
                report.removed.extend(freed.blobs.iter().map(|blob| format!("blob {blob}")));
                report.reclaimed += freed.bytes;
            }
            Err(e) => faults.note::<()>(Err(e)),
        }
        faults.into_result().map(|()| report)
    }
}

/// Takes away what is left of containers that have no record any more, or never got one.
async fn containers_without_record(parts: &Parts, report: &mut SweepReport) -> Result<()> {
    let known: BTreeSet<ContainerId> =
        parts.store.read(containers::list).await?.into_iter().map(|row| row.id).collect();
    let folders = [parts.run_root.join("containers"), parts.root.join("containers"), parts.exits_dir()];
    let found = blocking(move || {
        let mut found = BTreeSet::new();
        for folder in &folders {
            let entries = std::fs::read_dir(folder).subject(|| format!("directory {}", folder.display()))?;
            let names = entries.flatten().filter_map(|entry| entry.file_name().into_string().ok());
            found.extend(names.filter_map(|name| name.parse::<ContainerId>().ok()));
        }
        Ok(found)
    })
    .await?;
    let mut faults = Faults::new();
    for id in found.difference(&known) {
        // A record that was made a moment ago is not in the list.
        let id = id.clone();
        let again = id.clone();
        if parts.store.read(move |tx| containers::get(tx, &again)).await?.is_some() {
            continue;
        }
        let place = parts.place(&id, None);
        faults.note(parts.runtime.delete(&place).await);
        faults.note(parts.images.discard(id.as_str()).await);
        let (directory, exit, lock) = (parts.container_dir(&id), place.exit_record, parts.lock_file(&id));
        faults.note(
            blocking(move || {
                // Whichever of them is there.
                let _ = std::fs::remove_file(&exit);
                let _ = std::fs::remove_file(&lock);
                match std::fs::remove_dir_all(&directory) {
                    Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
                        Err(e).subject(|| format!("directory {}", directory.display()))
                    }
                    _ => Ok(()),
                }
            })
            .await,
        );
        report.removed.push(format!("container {}", id.short()));
    }
    faults.into_result()
}

/// What the host says of itself.
fn host() -> Result<BTreeMap<String, Value>> {
    let uname = rustix::system::uname();
    let text = |text: &std::ffi::CStr| text.to_string_lossy().into_owned();
    let unified = std::path::Path::new("/sys/fs/cgroup/cgroup.controllers").exists();
    let cpus = std::thread::available_parallelism().map_or(1, usize::from);
    let total = rustix::system::sysinfo();
    let memory = total.totalram.saturating_mul(u64::from(total.mem_unit));
    Ok(BTreeMap::from([
        ("Name".into(), json!(text(uname.nodename()))),
        ("KernelVersion".into(), json!(text(uname.release()))),
        ("Architecture".into(), json!(text(uname.machine()))),
        ("OSType".into(), json!("linux")),
        ("OperatingSystem".into(), json!(operating_system())),
        ("NCPU".into(), json!(cpus)),
        ("MemTotal".into(), json!(memory)),
        ("CgroupDriver".into(), json!("cgroupfs")),
        ("CgroupVersion".into(), json!(if unified { "2" } else { "1" })),
        ("SecurityOptions".into(), json!(["name=seccomp,profile=builtin"])),
    ]))
}

/// The host's distribution, by os-release(5).
fn operating_system() -> String {
    let release = std::fs::read_to_string("/etc/os-release").unwrap_or_default();
    let name = release.lines().find_map(|line| line.strip_prefix("PRETTY_NAME="));
    name.map_or_else(|| "Linux".to_owned(), |name| name.trim_matches('"').to_owned())
}
