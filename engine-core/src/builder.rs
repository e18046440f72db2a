//! Putting an engine together. The one file that names the default drivers.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use crate::container::reconcile;
use crate::engine::Engine;
use crate::error::{Error, ErrorKind, Result, Subject};
use crate::id::Digest;
use crate::image::UnpackLimits;
use crate::image::driver::ImageStore;
use crate::image::overlay::OverlayStore;
use crate::network::driver::NetworkDriver;
use crate::network::linux::Bridge;
use crate::parts::Parts;
use crate::registry::driver::{Credential, Registry};
use crate::registry::oci::{OciRegistry, RegistryConfig};
use crate::runtime::choice::{Programs, Runtimes};
use crate::runtime::driver::Runtime;
use crate::runtime::linux::{LinuxRuntime, RuntimeProgram, ShimProgram};
use crate::store::{Store, blocking};
use crate::volume::driver::VolumeDriver;
use crate::volume::local::Local;

/// How to open an engine. Everything has a default.
///
/// ```no_run
/// # async fn example() -> engine_core::Result<()> {
/// let engine = engine_core::Engine::builder().root("/srv/ci").insecure_registry("registry.lan:5000").open().await?;
/// # Ok(()) }
/// ```
#[derive(Default)]
#[must_use = "a builder opens nothing until `open` is called"]
pub struct EngineBuilder {
    root: Option<PathBuf>,
    run_root: Option<PathBuf>,
    docker_config: Option<PathBuf>,
    registry_config: RegistryConfig,
    credentials: BTreeMap<String, Credential>,
    limits: UnpackLimits,
    shim: ShimProgram,
    images: Option<Arc<dyn ImageStore>>,
    registry: Option<Arc<dyn Registry>>,
    runtime: Option<Arc<dyn Runtime>>,
    runtimes: BTreeMap<String, Arc<dyn Runtime>>,
    programs: BTreeMap<String, RuntimeProgram>,
    runtime_search: Option<OsString>,
    networks: BTreeMap<String, Arc<dyn NetworkDriver>>,
    volumes: BTreeMap<String, Arc<dyn VolumeDriver>>,
}

impl EngineBuilder {
    /// The store directory. `$ENGINE_ROOT` unless given, else `/var/lib/engine` for root and
    /// `$XDG_DATA_HOME/engine` for others.
    pub fn root(mut self, root: impl Into<PathBuf>) -> EngineBuilder {
        self.root = Some(root.into());
        self
    }

    /// Where sockets and locks go, which a reboot may take. `$ENGINE_RUN_ROOT` unless given, else a directory in
    /// `/run/engine` for root and in `$XDG_RUNTIME_DIR/engine` for others, one for each store.
    pub fn run_root(mut self, run_root: impl Into<PathBuf>) -> EngineBuilder {
        self.run_root = Some(run_root.into());
        self
    }

    /// The folder with docker's `config.json`, which holds credentials. `$DOCKER_CONFIG` unless given, else
    /// `~/.docker`.
    pub fn docker_config(mut self, folder: impl Into<PathBuf>) -> EngineBuilder {
        self.docker_config = Some(folder.into());
        self
    }

    /// A registry, `host[:port]`, that is spoken to in plain HTTP. Those of the loopback always are.
    pub fn insecure_registry(mut self, registry: impl Into<String>) -> EngineBuilder {
        self.registry_config = self.registry_config.insecure(registry);
        self
    }

    /// How registries are spoken to.
    pub fn registry_config(mut self, config: RegistryConfig) -> EngineBuilder {
        self.registry_config = config;
        self
    }

    /// The credential for a registry, in place of that of the user's docker configuration.
    pub fn credential(mut self, registry: impl Into<String>, credential: Credential) -> EngineBuilder {
        self.credentials.insert(registry.into(), credential);
        self
    }

    /// What an image's layers may take up at most.
    pub fn unpack_limits(mut self, limits: UnpackLimits) -> EngineBuilder {
        self.limits = limits;
        self
    }

    /// Where the helper program comes from, for hosts that forbid executing what is only in memory.
    pub fn shim(mut self, shim: ShimProgram) -> EngineBuilder {
        self.shim = shim;
        self
    }

    /// Keeps images in another store.
    pub fn image_store(mut self, images: Arc<dyn ImageStore>) -> EngineBuilder {
        self.images = Some(images);
        self
    }

    /// Asks registries in another way.
    pub fn registry(mut self, registry: Arc<dyn Registry>) -> EngineBuilder {
        self.registry = Some(registry);
        self
    }

    /// Runs containers in another way.
    pub fn runtime(mut self, runtime: Arc<dyn Runtime>) -> EngineBuilder {
        self.runtime = Some(runtime);
        self
    }

    /// Adds a runtime that containers may ask for by this name; `engine` is the name of the one that runs the others.
    pub fn runtime_named(mut self, name: impl Into<String>, runtime: Arc<dyn Runtime>) -> EngineBuilder {
        self.runtimes.insert(name.into(), runtime);
        self
    }

    /// Adds a program with runc's command line as a runtime that containers may ask for by this name. It is not looked
    /// at before one does.
    pub fn runtime_program(mut self, name: impl Into<String>, program: RuntimeProgram) -> EngineBuilder {
        self.programs.insert(name.into(), program);
        self
    }

    /// Lets containers ask for any runtime program by its path, and for `crun`, `runc`, `runsc` and `youki` by name: they
    /// are looked for in these directories, which are written as in `PATH`.
    pub fn find_runtimes(mut self, directories: impl Into<OsString>) -> EngineBuilder {
        self.runtime_search = Some(directories.into());
        self
    }

    /// Adds a network driver, or replaces the default of that name.
    pub fn network_driver(
        mut self,
        name: impl Into<String>,
        driver: Arc<dyn NetworkDriver>,
    ) -> EngineBuilder {
        self.networks.insert(name.into(), driver);
        self
    }

    /// Adds a volume driver, or replaces the default of that name.
    pub fn volume_driver(mut self, name: impl Into<String>, driver: Arc<dyn VolumeDriver>) -> EngineBuilder {
        self.volumes.insert(name.into(), driver);
        self
    }

    /// Opens the engine, making its store if there is none, and records what ended while no engine looked.
    ///
    /// # Errors
    /// [`ErrorKind::Unsupported`] for a store of a later version or on a network file system,
    /// [`PermissionDenied`](ErrorKind::PermissionDenied) where the directories cannot be made.
    pub async fn open(self) -> Result<Engine> {
        let root = self.root.clone().map_or_else(default_root, Ok)?;
        let run_root = self.run_root.clone();
        let parts = blocking(move || self.assemble(root, run_root)).await?;
        reconcile::replay(&parts).await?;
        Ok(Engine::new(Arc::new(parts)))
    }

    fn assemble(mut self, root: PathBuf, run_root: Option<PathBuf>) -> Result<Parts> {
        make_directories(&root, 0o711, &["containers", "exits"])?;
        let root = root.canonicalize().subject(|| format!("store {}", root.display()))?;
        let run_root = run_root.map_or_else(|| default_run_root(&root), Ok)?;
        make_directories(&run_root, 0o700, &["containers", "locks"])?;
        let store = Store::open(&root)?;
        let images = match self.images.take() {
            Some(images) => images,
            None => Arc::new(OverlayStore::open(&root, store.clone(), self.limits)?),
        };
        let registry = match self.registry.take() {
            Some(registry) => registry,
            None => Arc::new(OciRegistry::new(self.registry_config)?),
        };
        let program_link = run_root.join("shim");
        let runtime = match self.runtime.take() {
            Some(runtime) => runtime,
            None => Arc::new(LinuxRuntime::new(self.shim.clone(), Some(program_link.clone()))?),
        };
        let programs = programs(self.programs, self.runtime_search, self.shim, program_link);
        let runtimes = Arc::new(Runtimes::new(runtime, self.runtimes, programs));
        let bridge = || Arc::new(Bridge::new(&root));
        self.networks.entry("bridge".to_owned()).or_insert_with(|| bridge());
        self.volumes.entry("local".to_owned()).or_insert_with(|| Arc::new(Local::new(&root)));
        Ok(Parts {
            root,
            run_root,
            store,
            images,
            registry,
            credentials: self.credentials,
            docker_config: self.docker_config,
            runtime: runtimes.clone(),
            runtimes,
            networks: self.networks,
            volumes: self.volumes,
            host: OnceLock::new(),
        })
    }
}

fn programs(
    programs: BTreeMap<String, RuntimeProgram>,
    search: Option<OsString>,
    shim: ShimProgram,
    program_link: PathBuf,
) -> Programs {
    let named = programs.iter().map(|(name, program)| (name.clone(), program.path().to_owned())).collect();
    Programs::new(named, search, move |name, path| {
        let given = programs.get(name).cloned();
        let program = given.unwrap_or_else(|| RuntimeProgram::new(path));
        Ok(Arc::new(LinuxRuntime::driving(program, shim.clone(), Some(program_link.clone()))?))
    })
}

/// What tells things of this store on the host from those of another one.
fn owner(root: &Path) -> String {
    use std::os::unix::ffi::OsStrExt;
    Digest::of(root.as_os_str().as_bytes()).encoded()[..8].to_owned()
}

fn make_directories(top: &Path, mode: u32, below: &[&str]) -> Result<()> {
    let mut builder = DirBuilder::new();
    builder.recursive(true).mode(mode);
    builder.create(top).subject(|| format!("directory {}", top.display()))?;
    for name in below {
        let path = top.join(name);
        builder.create(&path).subject(|| format!("directory {}", path.display()))?;
    }
    Ok(())
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

fn variable(name: &str) -> Option<PathBuf> {
    std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from)
}

fn default_root() -> Result<PathBuf> {
    if let Some(root) = variable("ENGINE_ROOT") {
        return Ok(root);
    }
    if is_root() {
        return Ok(PathBuf::from("/var/lib/engine"));
    }
    let data = variable("XDG_DATA_HOME").or_else(|| variable("HOME").map(|home| home.join(".local/share")));
    data.map(|data| data.join("engine")).ok_or_else(|| nowhere("the store directory", "ENGINE_ROOT"))
}

fn default_run_root(root: &Path) -> Result<PathBuf> {
    if let Some(run_root) = variable("ENGINE_RUN_ROOT") {
        return Ok(run_root);
    }
    let top = match is_root() {
        true => PathBuf::from("/run/engine"),
        false => variable("XDG_RUNTIME_DIR")
            .map(|run| run.join("engine"))
            .ok_or_else(|| nowhere("the directory for sockets", "ENGINE_RUN_ROOT"))?,
    };
    Ok(top.join(owner(root)))
}

fn nowhere(what: &str, variable: &str) -> Error {
    Error::new(ErrorKind::NotFound, what)
        .because("neither HOME nor the XDG directories are set")
        .with_remedy(format!("set {variable}"))
}
