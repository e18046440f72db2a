//! Several runtimes as one: each container is handed to the one that its [`Place`] names. Owns the choice alone.

use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use async_trait::async_trait;
use oci_spec::runtime::LinuxResources;

use super::driver::{
    Bundle, Created, ExecBundle, ExecState, ExitRecord, NamespaceKind, Place, Runtime, State,
};
use super::session::Session;
use super::usage::{CpuSample, Usage};
use crate::error::{Error, Result};
use crate::spec::{AttachSpec, RestartPolicy, Signal, TerminalSize};

/// What the engine's own runtime is called.
pub(crate) const DEFAULT: &str = "engine";

/// The runtimes of an engine, by name.
pub(crate) struct Runtimes {
    by_name: BTreeMap<String, Arc<dyn Runtime>>,
}

impl Runtimes {
    /// The engine's own and, by their names, others.
    pub(crate) fn new(own: Arc<dyn Runtime>, mut others: BTreeMap<String, Arc<dyn Runtime>>) -> Runtimes {
        others.insert(DEFAULT.to_owned(), own);
        Runtimes { by_name: others }
    }

    /// The names, in order.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.by_name.keys().map(String::as_str)
    }

    /// The runtime of that name; the engine's own if there is none.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`](crate::ErrorKind::InvalidInput) in docker's words, naming those there are.
    pub(crate) fn get(&self, name: Option<&str>) -> Result<&dyn Runtime> {
        let name = name.unwrap_or(DEFAULT);
        self.by_name.get(name).map(Arc::as_ref).ok_or_else(|| {
            let known: Vec<&str> = self.names().collect();
            Error::invalid("unknown or invalid runtime name", name)
                .with_remedy(format!("use one of: {}", known.join(", ")))
        })
    }

    fn of(&self, place: &Place) -> Result<&dyn Runtime> {
        self.get(place.runtime.as_deref())
    }

    /// That of places with the same one.
    fn of_all(&self, places: &[Place]) -> Result<&dyn Runtime> {
        self.get(places.first().and_then(|place| place.runtime.as_deref()))
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
