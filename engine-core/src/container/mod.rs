//! Containers: created from a wish, found by name, and handled through names.
//!
//! A [`Container`] is a name, not an owner: dropping it does nothing to the container, and it may be gone when the
//! next call is made.

mod archive;
mod commit;
mod copy;
mod create;
mod diff;
mod exec;
mod execs;
mod facts;
mod files;
mod health;
pub(crate) mod info;
mod inspect;
mod links;
mod list;
mod lock;
pub(crate) mod logs;
mod names;
mod naming;
pub(crate) mod oci;
mod pause;
mod plan;
mod prune;
pub(crate) mod reconcile;
pub(crate) mod record;
mod remove;
mod rename;
pub(crate) mod restart;
mod sharing;
mod start;
mod state;
mod stats;
mod stop;
mod top;
mod update;
mod view;
mod wait;

use std::io::Read;
use std::sync::Arc;

use lock::ContainerLock;

pub use archive::{ArchiveStream, CopyReport, PathStat};
pub use execs::ExecInfo;
pub use info::{ContainerInfo, ContainerState, ContainerStatus, ContainerSummary, HealthState};
pub use list::ListSpec;
pub use logs::{LogEntry, LogStream};
pub use prune::ContainerPruneReport;
pub use stats::{ContainerStats, StatsStream};
pub use top::Processes;

use crate::error::{Error, ErrorKind, Result};
use crate::event::{EventKind, Operation, PullEvent};
use crate::id::{ContainerId, ContainerName, ImageId};
use crate::image::driver::Change;
use crate::parts::Parts;
use crate::runtime::driver::ExitRecord;
use crate::runtime::session::Session;
use crate::spec::{
    ArchiveSpec, AttachSpec, CommitSpec, ContainerSpec, CopySpec, ExecSpec, Filter, LogsSpec, RemoveSpec,
    RestartPolicy, Signal, StopSpec, TerminalSize, UpdateSpec, WaitCondition,
};
use crate::store::containers::{self, ContainerRow};

/// The containers of an engine.
#[derive(Clone)]
pub struct Containers {
    parts: Arc<Parts>,
}

/// A container, by name.
#[derive(Clone)]
pub struct Container {
    parts: Arc<Parts>,
    id: ContainerId,
    name: ContainerName,
}

impl Containers {
    pub(crate) fn new(parts: Arc<Parts>) -> Containers {
        Containers { parts }
    }

    /// Creates a container. Its image is pulled first, as the policy of the spec says; the events are those of the
    /// pull.
    ///
    /// # Errors
    /// [`ErrorKind::Conflict`] if the name is taken,
    /// [`NotFound`](crate::ErrorKind::NotFound) if there is no such image,
    /// [`InvalidInput`](crate::ErrorKind::InvalidInput) for a wish that contradicts itself.
    pub fn create(&self, spec: ContainerSpec) -> Operation<PullEvent, Container> {
        let parts = self.parts.clone();
        Operation::new(|reporter| create::create(parts, spec, reporter))
    }

    /// The container of that name, identifier, or unambiguous beginning of an identifier.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`]; [`Conflict`](crate::ErrorKind::Conflict) if several
    /// identifiers begin so.
    pub async fn get(&self, name: &str) -> Result<Container> {
        let row = find(&self.parts, name).await?;
        Ok(Container { parts: self.parts.clone(), id: row.id, name: row.name })
    }

    /// The containers that the wish selects, newest first.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`] for a filter that is not known.
    pub async fn list(&self, list: &ListSpec) -> Result<Vec<ContainerSummary>> {
        list::list(&self.parts, list).await
    }

    /// A look at what all containers use, again and again; only those that run, unless `all`.
    pub fn stats(&self, all: bool) -> StatsStream {
        stats::of_all(&self.parts, all)
    }

    /// A look at what these containers use, again and again.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] if one is gone.
    pub async fn stats_of(&self, containers: &[Container]) -> Result<StatsStream> {
        stats::of_these(&self.parts, containers).await
    }

    /// Removes the stopped containers that the filter (`until`, `label`, `label!`) selects.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`] for a filter that is not known.
    pub async fn prune(&self, filter: &Filter) -> Result<ContainerPruneReport> {
        let report = prune::prune(&self.parts, filter).await?;
        self.parts.tell_prune(EventKind::Container, report.reclaimed);
        Ok(report)
    }
}

impl Container {
    /// Its identifier.
    pub fn id(&self) -> &ContainerId {
        &self.id
    }

    /// Its name when this handle was made.
    pub fn name(&self) -> &ContainerName {
        &self.name
    }

    /// Starts it.
    pub async fn start(&self) -> Result<()> {
        start::start(self, None).await.map(drop)
    }

    /// Starts it, attached to its streams from the first byte on.
    pub async fn start_attached(&self, streams: AttachSpec) -> Result<Session> {
        start::start(self, Some(streams))
            .await?
            .ok_or_else(|| Error::internal(self.subject(), "it was started without being attached to"))
    }

    /// Attaches to the streams of its program, which runs.
    pub async fn attach(&self, streams: AttachSpec) -> Result<Session> {
        let row = self.row().await?;
        reconcile::require_moving(self, &row, "attach").await?;
        let session = self.parts.runtime.attach(&reconcile::place(&self.parts, &row), streams).await?;
        facts::tell(&self.parts, &row, "attach", &[]);
        Ok(session)
    }

    /// Tells in the store's events that somebody who was attached has left the program to itself.
    pub async fn detached(&self) -> Result<()> {
        facts::tell(&self.parts, &self.row().await?, "detach", &[]);
        Ok(())
    }

    /// Runs another process in it.
    pub async fn exec(&self, exec: ExecSpec) -> Result<Session> {
        exec::exec(self, exec).await
    }

    /// Asks its program to end, and kills it when the time is up. One that does not run is left as it is.
    pub async fn stop(&self, stop: StopSpec) -> Result<()> {
        stop::stop(self, stop).await
    }

    /// Sends a signal to its program.
    pub async fn kill(&self, signal: Signal) -> Result<()> {
        stop::kill(self, signal).await
    }

    /// Stops it, if it runs, and starts it.
    pub async fn restart(&self, stop: StopSpec) -> Result<()> {
        stop::stop(self, stop).await?;
        self.start().await?;
        facts::tell(&self.parts, &self.row().await?, "restart", &[]);
        Ok(())
    }

    /// Holds all its processes still.
    ///
    /// # Errors
    /// [`ErrorKind::Conflict`] if it does not run or is paused already; [`TimedOut`](crate::ErrorKind::TimedOut) if a
    /// process of it cannot be held, and then all of them go on.
    pub async fn pause(&self) -> Result<()> {
        pause::pause(self).await
    }

    /// Lets it go on when it was paused.
    ///
    /// # Errors
    /// [`ErrorKind::Conflict`] if it is not paused.
    pub async fn unpause(&self) -> Result<()> {
        pause::unpause(self).await
    }

    /// Waits until its program ends, and gives how it did; at once if it does not run. Unless it is started again
    /// ([`ExitRecord::again`]), the end is on record when this returns, and the container is gone if it was to remove
    /// itself.
    pub async fn wait(&self) -> Result<ExitRecord> {
        stop::wait(self).await
    }

    /// Waits until the condition holds, and gives how its program ended; see [`Container::wait`].
    pub async fn wait_until(&self, condition: WaitCondition) -> Result<ExitRecord> {
        wait::wait(self, condition).await
    }

    /// Changes its limits and its policy: at once if it runs, from its next start on in any case.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`] for limits that contradict each other or the host;
    /// [`InUse`](crate::ErrorKind::InUse) if it uses more already. What was not refused before may be in force then.
    pub async fn update(&self, update: &UpdateSpec) -> Result<()> {
        update::update(self, update).await
    }

    /// The processes that were started by [`Container::exec`] and run, or ended in the last five minutes, whoever
    /// started them. Those of a container that has ended are forgotten.
    pub async fn execs(&self) -> Result<Vec<ExecInfo>> {
        execs::list(self).await
    }

    /// The one of those with that identifier.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] if there is none, or none any more.
    pub async fn inspect_exec(&self, id: &str) -> Result<ExecInfo> {
        execs::get(self, id).await
    }

    /// Its processes, in the host's numbers, as ps(1) shows them with these arguments; `-ef` without any. The host's
    /// own program is asked only for what goes beyond `-e`, `-f` and the usual columns of `-o`.
    ///
    /// # Errors
    /// [`ErrorKind::Conflict`] if it does not run; [`InvalidInput`](crate::ErrorKind::InvalidInput) for arguments that
    /// do not show the numbers of the processes.
    pub async fn top(&self, arguments: &[String]) -> Result<Processes> {
        top::top(self, arguments).await
    }

    /// Changes when it is started again by itself.
    pub async fn set_restart(&self, policy: RestartPolicy) -> Result<()> {
        restart::set_policy(self, policy).await
    }

    /// Changes the size of its terminal.
    pub async fn resize(&self, size: TerminalSize) -> Result<()> {
        let row = self.row().await?;
        self.parts.runtime.resize(&reconcile::place(&self.parts, &row), size).await?;
        let (height, width) = (size.rows.to_string(), size.columns.to_string());
        facts::tell(&self.parts, &row, "resize", &[("height", &height), ("width", &width)]);
        Ok(())
    }

    /// Gives it another name.
    pub async fn rename(&self, name: ContainerName) -> Result<()> {
        rename::rename(self, name).await
    }

    /// A look at what it uses, again and again.
    pub async fn stats(&self) -> Result<StatsStream> {
        stats::of_these(&self.parts, std::slice::from_ref(self)).await
    }

    /// Removes it, with the files it has written.
    pub async fn remove(&self, remove: RemoveSpec) -> Result<()> {
        remove::remove(self, remove).await
    }

    /// All there is to know of it.
    pub async fn inspect(&self) -> Result<ContainerInfo> {
        inspect::inspect(self).await
    }

    /// What it has written to its log, and what it goes on to write.
    pub async fn logs(&self, logs: LogsSpec) -> Result<LogStream> {
        logs::logs(self, logs).await
    }

    /// What is at a path in it, running or not. A symbolic link is told as one.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] if nothing is.
    pub async fn stat_path(&self, path: &str) -> Result<PathStat> {
        archive::stat_path(self, path).await
    }

    /// The file or directory at a path in it, as a tar archive. The topmost entry is called as the last component of the
    /// path; `.` with `/.` at its end.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] if nothing is there.
    pub async fn copy_out(&self, path: &str) -> Result<ArchiveStream> {
        archive::copy_out(self, path).await
    }

    /// Unpacks a tar archive, compressed or not, into a directory in it. What is read from `archive` blocks a thread of
    /// its own.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] if there is no such directory;
    /// [`PermissionDenied`](ErrorKind::PermissionDenied) if it is mounted read-only. What was unpacked before a failure
    /// stays.
    pub async fn copy_in(&self, path: &str, archive: Box<dyn Read + Send>, spec: ArchiveSpec) -> Result<()> {
        archive::copy_in(self, path, archive, spec).await
    }

    /// Copies files from this host into it, as `docker cp` does.
    pub async fn copy_to(&self, copy: CopySpec) -> Result<CopyReport> {
        copy::copy_to(self, copy).await
    }

    /// Copies files from it to this host, as `docker cp` does.
    pub async fn copy_from(&self, copy: CopySpec) -> Result<CopyReport> {
        copy::copy_from(self, copy).await
    }

    /// All its files as a tar archive, without those that are mounted in it.
    pub async fn export(&self) -> Result<ArchiveStream> {
        archive::export(self).await
    }

    /// What it has changed of its image, sorted by path.
    pub async fn diff(&self) -> Result<Vec<Change>> {
        diff::diff(self).await
    }

    /// Makes an image of it.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`] for a change that cannot be;
    /// [`Unsupported`](ErrorKind::Unsupported) for a container that was not made from an image.
    pub async fn commit(&self, commit: CommitSpec) -> Result<ImageId> {
        commit::commit(self, commit).await
    }
}

impl Container {
    /// What it is called in messages.
    fn subject(&self) -> String {
        format!("container {}", self.name)
    }

    fn gone(&self) -> Error {
        Error::not_found(self.subject()).because("it was removed")
    }

    /// Its record, as it stands.
    async fn row(&self) -> Result<ContainerRow> {
        reconcile::row(&self.parts, &self.id).await?.ok_or_else(|| self.gone())
    }

    /// Its record once its end, if it has ended, is in it. Waits for whoever is at that already. `None` if it is gone.
    async fn settled(&self) -> Result<Option<ContainerRow>> {
        let lock = ContainerLock::take(&self.parts, &self.id).await?;
        Ok(reconcile::settle_locked(&self.parts, &self.id, lock).await?.map(|(row, _)| row))
    }
}

/// The container of that name, identifier, or beginning of an identifier; a name comes first, as in docker.
async fn find(parts: &Parts, name: &str) -> Result<ContainerRow> {
    let wanted = name.strip_prefix('/').unwrap_or(name).to_owned();
    parts
        .store
        .read(move |tx| {
            let subject = || format!("container {wanted}");
            if wanted.is_empty() {
                return Err(Error::invalid("container", "its name is empty"));
            }
            if let Some(row) = containers::by_name(tx, &wanted)? {
                return Ok(row);
            }
            match containers::by_prefix(tx, &wanted)?.as_slice() {
                [] => Err(Error::not_found(subject())
                    .because("no such container")
                    .with_remedy("`ps --all` lists those there are")),
                [id] => containers::get(tx, id)?.ok_or_else(|| Error::not_found(subject())),
                _ => Err(Error::new(ErrorKind::Conflict, subject())
                    .because("several identifiers begin so")
                    .with_remedy("write more digits of the identifier")),
            }
        })
        .await
}

impl std::fmt::Debug for Container {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Container").field("id", &self.id).field("name", &self.name).finish_non_exhaustive()
    }
}
