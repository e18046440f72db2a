//! The default runtime: Linux's own means, through a helper program, the shim, that builds a container and looks after
//! it (`engine-core/shim`).
//!
//! A container is decided as a value (`plan`), built by a shim that `spawn` starts (`create`), spoken with over
//! its socket (`client`), and found again by its place alone (`state`).

mod caps;
pub(crate) mod cgroup;
mod client;
mod create;
mod delete;
mod document;
mod exec;
mod execs;
mod namespaces;
pub mod oci;
mod pause;
mod plan;
pub mod program;
pub(crate) mod seccomp;
mod spawn;
mod state;
#[cfg(test)]
mod tests;
mod usage;
mod wait;

use std::collections::HashMap;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use oci_spec::runtime::LinuxResources;

use self::cgroup::Cgroups;
use self::client::{Client, Meaning};
pub use self::program::RuntimeProgram;
use self::spawn::Shim;
pub use self::spawn::{SHIM_PROGRAM, ShimProgram};
use self::wait::Until;
use super::driver::{
    Bundle, Created, ExecBundle, ExecState, ExitRecord, NamespaceKind, Place, Runtime, State,
};
use super::session::Session;
use super::usage::{CpuSample, Usage};
use crate::error::{Error, ErrorKind, Result, Subject};
use crate::spec::{AttachSpec, Lifetime, RestartPolicy, Signal, TerminalSize};
use crate::store::blocking;

/// Looks at one place, with the processor time of the whole host at that moment. It may block.
type Look<T> = fn(&Host, &Place, u64) -> Result<T>;
/// So many are looked at by one thread.
const FEW: usize = 16;

/// Runs containers on this host.
pub struct LinuxRuntime {
    host: Arc<Host>,
    /// The containers that depend on this object, by their run directories: those that were created and not started,
    /// and those that end with their engine.
    held: Mutex<HashMap<PathBuf, Held>>,
}

/// What all operations need.
struct Host {
    shim: Shim,
    cgroups: Cgroups,
    /// The program that builds the containers, if the helper program does not do it itself.
    program: Option<RuntimeProgram>,
}

/// A container that ends when the connection is dropped.
struct Held {
    client: Client,
    lifetime: Lifetime,
}

impl LinuxRuntime {
    /// A runtime whose helper program is `shim`. Of all runtimes that have the same `shared`, in whatever process, the
    /// helper programs run from one copy in memory: it is the path of a link that the runtime makes and replaces, in a
    /// directory of its user's own.
    ///
    /// # Errors
    /// [`ErrorKind::Unsupported`] on a host without control groups.
    pub fn new(shim: ShimProgram, shared: Option<PathBuf>) -> Result<LinuxRuntime> {
        LinuxRuntime::open(Shim::new(shim, shared), None)
    }

    /// The same, whose helper program looks after containers that `program` builds.
    ///
    /// # Errors
    /// [`ErrorKind::Unsupported`] on a host without control groups.
    pub fn driving(
        program: RuntimeProgram,
        shim: ShimProgram,
        shared: Option<PathBuf>,
    ) -> Result<LinuxRuntime> {
        LinuxRuntime::open(Shim::new(shim, shared), Some(program))
    }

    fn open(shim: Shim, program: Option<RuntimeProgram>) -> Result<LinuxRuntime> {
        let host = Host { shim, cgroups: Cgroups::detect()?, program };
        Ok(LinuxRuntime { host: Arc::new(host), held: Mutex::default() })
    }

    fn held(&self) -> MutexGuard<'_, HashMap<PathBuf, Held>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn release(&self, run_dir: &Path) -> Option<Held> {
        self.held().remove(run_dir)
    }

    /// Looks at many places where that may block; `None` for those at which nothing runs. To change threads for each
    /// would take longer than the look, so there are two that share them.
    async fn at_each<T: Send + 'static>(&self, places: &[Place], look: Look<T>) -> Result<Vec<Option<T>>> {
        let some = |places: &[Place]| {
            let (host, places) = (self.host.clone(), places.to_vec());
            blocking(move || look_at(&host, &places, look))
        };
        let (first, second) = places.split_at(places.len().div_ceil(2).max(places.len().min(FEW)));
        if second.is_empty() {
            return some(first).await;
        }
        let (mut found, rest) = tokio::try_join!(some(first), some(second))?;
        found.extend(rest);
        Ok(found)
    }

    /// Runs `work` where it may block.
    async fn at<T, F>(&self, place: &Place, work: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnOnce(&Host, &Place) -> Result<T> + Send + 'static,
    {
        let (host, place) = (self.host.clone(), place.clone());
        blocking(move || work(&host, &place)).await
    }
}

/// What `look` finds of each place, one after the other.
fn look_at<T>(host: &Host, places: &[Place], look: Look<T>) -> Result<Vec<Option<T>>> {
    let system = usage::system_time()?;
    let found = places.iter().map(|place| match look(host, place, system) {
        Ok(found) => Ok(Some(found)),
        Err(e) if e.is(ErrorKind::Conflict) => Ok(None),
        Err(e) => Err(e),
    });
    found.collect()
}

/// A conversation over a connection that was made by blocking calls.
fn conversation(socket: UnixStream) -> Result<Session> {
    let socket = socket
        .set_nonblocking(true)
        .and_then(|()| tokio::net::UnixStream::from_std(socket))
        .subject(|| "the connection to the process".to_owned())?;
    Ok(Session::new(socket))
}

#[async_trait]
impl Runtime for LinuxRuntime {
    async fn create(&self, bundle: Bundle) -> Result<Created> {
        let (run_dir, lifetime) = (bundle.place.run_dir.clone(), bundle.lifetime);
        let host = self.host.clone();
        // If nobody waits for this any more, the connection is dropped, and the container with it.
        let (created, client) = blocking(move || create::create(&host, &bundle)).await?;
        self.held().insert(run_dir, Held { client, lifetime });
        Ok(created)
    }

    async fn start(&self, place: &Place) -> Result<()> {
        let Some(Held { client, lifetime }) = self.release(&place.run_dir) else {
            return Err(Error::new(ErrorKind::Conflict, client::name(place))
                .because("it was not created by this engine, or was started already"));
        };
        let client = self.at(place, |host, place| create::start(host, place, client)).await?;
        if lifetime == Lifetime::WithEngine {
            self.held().insert(place.run_dir.clone(), Held { client, lifetime });
        }
        Ok(())
    }

    async fn abandon(&self, place: &Place) -> Result<()> {
        match self.release(&place.run_dir) {
            Some(held) => self.at(place, |host, place| create::abandon(host, place, held.client)).await,
            None => Ok(()),
        }
    }

    fn state(&self, place: &Place) -> Result<State> {
        state::of(&self.host, place)
    }

    async fn attach(&self, place: &Place, streams: AttachSpec) -> Result<Session> {
        conversation(self.at(place, move |_, place| client::attach(place, streams)).await?)
    }

    async fn kill(&self, place: &Place, signal: Signal) -> Result<()> {
        self.at(place, move |_, place| client::kill(place, signal, Meaning::Signal)).await
    }

    async fn end(&self, place: &Place, signal: Signal) -> Result<()> {
        self.at(place, move |host, place| {
            client::kill(place, signal, Meaning::End)?;
            pause::lift(host, place)
        })
        .await
    }

    async fn pause(&self, place: &Place) -> Result<()> {
        self.at(place, pause::pause).await
    }

    async fn resume(&self, place: &Place) -> Result<()> {
        self.at(place, pause::resume).await
    }

    async fn wait(&self, place: &Place) -> Result<Option<ExitRecord>> {
        let record = wait::wait(&self.host, place, Until::End).await?;
        self.release(&place.run_dir);
        Ok(record)
    }

    async fn wait_next(&self, place: &Place) -> Result<Option<ExitRecord>> {
        let record = wait::wait(&self.host, place, Until::Exit).await?;
        if record.as_ref().is_none_or(|record| !record.again) {
            self.release(&place.run_dir);
        }
        Ok(record)
    }

    async fn set_restart(&self, place: &Place, policy: RestartPolicy) -> Result<()> {
        self.at(place, move |_, place| client::set_restart(place, policy)).await
    }

    async fn resize(&self, place: &Place, size: TerminalSize) -> Result<()> {
        self.at(place, move |_, place| client::resize(place, size)).await
    }

    async fn exec(&self, place: &Place, exec: ExecBundle) -> Result<Session> {
        conversation(self.at(place, move |host, place| exec::exec(host, place, &exec)).await?)
    }

    async fn execs(&self, place: &Place) -> Result<Vec<ExecState>> {
        self.at(place, |_, place| execs::list(place)).await
    }

    async fn root(&self, place: &Place) -> Result<OwnedFd> {
        self.at(place, |_, place| client::root(place)).await
    }

    async fn namespaces(&self, place: &Place, kinds: &[NamespaceKind]) -> Result<Vec<OwnedFd>> {
        let kinds = kinds.to_vec();
        self.at(place, move |_, place| namespaces::of(place, &kinds)).await
    }

    async fn usage(&self, place: &Place) -> Result<Usage> {
        self.at(place, |host, place| usage::of(host, place, usage::system_time()?)).await
    }

    async fn usages(&self, places: &[Place]) -> Result<Vec<Option<Usage>>> {
        self.at_each(places, usage::of).await
    }

    async fn cpu_samples(&self, places: &[Place]) -> Result<Vec<Option<CpuSample>>> {
        self.at_each(places, usage::cpu).await
    }

    async fn update(&self, place: &Place, resources: &LinuxResources) -> Result<()> {
        let resources = resources.clone();
        self.at(place, move |host, place| {
            if !state::is_looked_after(place)? {
                return Err(client::not_running(place));
            }
            match &host.program {
                Some(program) => program::update(host, program, place, &resources),
                None => host.cgroups.update(&place.cgroup, &resources),
            }
        })
        .await
    }

    async fn processes(&self, place: &Place) -> Result<Vec<u32>> {
        self.at(place, |host, place| {
            if !state::is_looked_after(place)? {
                return Err(client::not_running(place));
            }
            host.cgroups.pids(&place.cgroup)
        })
        .await
    }

    async fn delete(&self, place: &Place) -> Result<()> {
        let result = self.at(place, delete::delete).await;
        self.release(&place.run_dir);
        result
    }
}
