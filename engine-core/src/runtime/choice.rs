//! Several runtimes as one: each container is handed to the one that its [`Place`] names. Owns the choice alone.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use oci_spec::runtime::LinuxResources;
use rustix::fs::Access;

use super::driver::{
    Bundle, Created, ExecBundle, ExecState, ExitRecord, NamespaceKind, Place, Runtime, State,
};
use super::session::Session;
use super::usage::{CpuSample, Usage};
use crate::error::{Error, Result};
use crate::spec::{AttachSpec, RestartPolicy, Signal, TerminalSize};

/// What the engine's own runtime is called.
pub(crate) const DEFAULT: &str = "engine";

/// Runtime programs that are found by their names.
const PROGRAMS: [&str; 4] = ["crun", "runc", "runsc", "youki"];

/// Makes the runtime that drives the program of a name, at a path.
type Drive = Box<dyn Fn(&str, &Path) -> Result<Arc<dyn Runtime>> + Send + Sync>;
/// Those that were made.
type Made = BTreeMap<(String, PathBuf), Arc<dyn Runtime>>;

/// The runtimes of an engine, by name.
pub(crate) struct Runtimes {
    by_name: BTreeMap<String, Arc<dyn Runtime>>,
    programs: Programs,
}

/// Runtime programs. Nothing is looked for, and no runtime made, before a container wants it.
pub(crate) struct Programs {
    /// Those with a name that was given to them.
    named: BTreeMap<String, PathBuf>,
    /// The directories that others are looked for in, as in `PATH`; without, only those above are offered.
    search: Option<OsString>,
    /// Makes a runtime of one.
    drive: Drive,
    made: Mutex<Made>,
}

impl Programs {
    /// Those of `named`, those that are found in `search`, and `drive` to make a runtime of one.
    pub(crate) fn new(
        named: BTreeMap<String, PathBuf>,
        search: Option<OsString>,
        drive: impl Fn(&str, &Path) -> Result<Arc<dyn Runtime>> + Send + Sync + 'static,
    ) -> Programs {
        Programs { named, search, drive: Box::new(drive), made: Mutex::default() }
    }

    /// The path of the program that containers know by `name`, which may be its path. What was not offered is nowhere.
    fn find(&self, name: &str) -> Option<PathBuf> {
        if let Some(path) = self.named.get(name) {
            return Some(path.clone());
        }
        let search = self.search.as_ref()?;
        let is_program = |path: &PathBuf| path.is_file() && rustix::fs::access(path, Access::EXEC_OK).is_ok();
        match name.starts_with('/') {
            true => Some(PathBuf::from(name)).filter(is_program),
            false if PROGRAMS.contains(&name) => {
                std::env::split_paths(search).map(|directory| directory.join(name)).find(is_program)
            }
            false => None,
        }
    }

    fn runtime(&self, name: &str, path: PathBuf) -> Result<Arc<dyn Runtime>> {
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        let program = (name.to_owned(), path);
        if let Some(runtime) = made.get(&program) {
            return Ok(runtime.clone());
        }
        let runtime = (self.drive)(name, &program.1)?;
        made.insert(program, runtime.clone());
        Ok(runtime)
    }
}

impl Runtimes {
    /// The engine's own and, by their names, others.
    pub(crate) fn new(
        own: Arc<dyn Runtime>,
        mut others: BTreeMap<String, Arc<dyn Runtime>>,
        programs: Programs,
    ) -> Runtimes {
        others.insert(DEFAULT.to_owned(), own);
        Runtimes { by_name: others, programs }
    }

    /// The names, in order, with the paths of those that are programs.
    pub(crate) fn names(&self) -> BTreeMap<String, Option<PathBuf>> {
        let mut names: BTreeMap<_, _> = self.by_name.keys().map(|name| (name.clone(), None)).collect();
        let programs = self.programs.named.keys().map(String::as_str).chain(PROGRAMS);
        for name in programs {
            if let Some(path) = self.programs.find(name) {
                names.entry(name.to_owned()).or_insert(Some(path));
            }
        }
        names
    }

    /// The runtime of that name; the engine's own if there is none.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`](crate::ErrorKind::InvalidInput) in docker's words, naming those there are.
    pub(crate) fn get(&self, name: Option<&str>) -> Result<Arc<dyn Runtime>> {
        let name = name.unwrap_or(DEFAULT);
        if let Some(runtime) = self.by_name.get(name) {
            return Ok(runtime.clone());
        }
        match self.programs.find(name) {
            Some(path) => self.programs.runtime(name, path),
            None => {
                let known: Vec<String> = self.names().into_keys().collect();
                Err(Error::invalid("unknown or invalid runtime name", name)
                    .with_remedy(format!("use one of: {}", known.join(", "))))
            }
        }
    }

    /// The runtime of a container that is there. Its program may be gone, or not be offered by this engine: what the
    /// monitor does is none of the program's business.
    fn of(&self, place: &Place) -> Result<Arc<dyn Runtime>> {
        let name = place.runtime.as_deref();
        match name.filter(|name| name.starts_with('/') || PROGRAMS.contains(name)) {
            Some(name) if !self.by_name.contains_key(name) && self.programs.find(name).is_none() => {
                self.programs.runtime(name, PathBuf::from(name))
            }
            _ => self.get(name),
        }
    }

    /// That of places with the same one.
    fn of_all(&self, places: &[Place]) -> Result<Arc<dyn Runtime>> {
        places.first().map_or_else(|| self.get(None), |place| self.of(place))
    }
}

/// Whether two containers have the same runtime.
fn is_same(one: &Place, other: &Place) -> bool {
    one.runtime == other.runtime
}

// What has a default in the contract has to be handed on as well.
#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl Runtime for Runtimes {
    async fn create(&self, bundle: Bundle) -> Result<Created> {
        self.of(&bundle.place)?.create(bundle).await
    }

    async fn start(&self, place: &Place) -> Result<()> {
        self.of(place)?.start(place).await
    }

    async fn abandon(&self, place: &Place) -> Result<()> {
        self.of(place)?.abandon(place).await
    }

    fn state(&self, place: &Place) -> Result<State> {
        self.of(place)?.state(place)
    }

    async fn attach(&self, place: &Place, streams: AttachSpec) -> Result<Session> {
        self.of(place)?.attach(place, streams).await
    }

    async fn kill(&self, place: &Place, signal: Signal) -> Result<()> {
        self.of(place)?.kill(place, signal).await
    }

    async fn end(&self, place: &Place, signal: Signal) -> Result<()> {
        self.of(place)?.end(place, signal).await
    }

    async fn wait(&self, place: &Place) -> Result<Option<ExitRecord>> {
        self.of(place)?.wait(place).await
    }

    async fn wait_next(&self, place: &Place) -> Result<Option<ExitRecord>> {
        self.of(place)?.wait_next(place).await
    }

    async fn set_restart(&self, place: &Place, policy: RestartPolicy) -> Result<()> {
        self.of(place)?.set_restart(place, policy).await
    }

    async fn resize(&self, place: &Place, size: TerminalSize) -> Result<()> {
        self.of(place)?.resize(place, size).await
    }

    async fn exec(&self, place: &Place, exec: ExecBundle) -> Result<Session> {
        self.of(place)?.exec(place, exec).await
    }

    async fn execs(&self, place: &Place) -> Result<Vec<ExecState>> {
        self.of(place)?.execs(place).await
    }

    async fn root(&self, place: &Place) -> Result<OwnedFd> {
        self.of(place)?.root(place).await
    }

    async fn namespaces(&self, place: &Place, kinds: &[NamespaceKind]) -> Result<Vec<OwnedFd>> {
        self.of(place)?.namespaces(place, kinds).await
    }

    async fn usage(&self, place: &Place) -> Result<Usage> {
        self.of(place)?.usage(place).await
    }

    async fn usages(&self, places: &[Place]) -> Result<Vec<Option<Usage>>> {
        let mut usages = Vec::with_capacity(places.len());
        for places in places.chunk_by(is_same) {
            usages.extend(self.of_all(places)?.usages(places).await?);
        }
        Ok(usages)
    }

    async fn cpu_samples(&self, places: &[Place]) -> Result<Vec<Option<CpuSample>>> {
        let mut samples = Vec::with_capacity(places.len());
        for places in places.chunk_by(is_same) {
            samples.extend(self.of_all(places)?.cpu_samples(places).await?);
        }
        Ok(samples)
    }

    async fn pause(&self, place: &Place) -> Result<()> {
        self.of(place)?.pause(place).await
    }

    async fn resume(&self, place: &Place) -> Result<()> {
        self.of(place)?.resume(place).await
    }

    async fn update(&self, place: &Place, resources: &LinuxResources) -> Result<()> {
        self.of(place)?.update(place, resources).await
    }

    async fn processes(&self, place: &Place) -> Result<Vec<u32>> {
        self.of(place)?.processes(place).await
    }

    async fn delete(&self, place: &Place) -> Result<()> {
        self.of(place)?.delete(place).await
    }
}
