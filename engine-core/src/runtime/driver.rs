//! The contract of a container runtime.
//!
//! **Life of a container**, in the words of the OCI runtime specification: [`Runtime::create`] begins to build it and
//! returns as soon as its network namespace is there, so that the caller can wire that while the file systems are
//! still being put together; [`Runtime::start`] waits until all is built and lets the program run; it ends by itself
//! or by [`Runtime::kill`]; [`Runtime::delete`] takes away what is left.
//!
//! A container is found by its [`Place`] alone, from any process: a runtime keeps no list. Whoever called `create`
//! and goes away before `start` leaves nothing behind. After `start` the container goes on without its caller
//! ([`Lifetime::Detached`]) or ends with it ([`Lifetime::WithEngine`]).
//!
//! A container with a policy is started again by its monitor, without its caller: [`Runtime::wait`] waits for its real
//! end, [`Runtime::wait_next`] for that of its program. Only [`Runtime::end`] overrules the policy.
//!
//! **State is derived**, never stored: see [`Runtime::state`]. When the program has ended, and its output has been
//! read to the end and logged, the exit record is written at [`Place::exit_record`]; only then do waiters hear of it.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::time::Duration;

use async_trait::async_trait;
use oci_spec::runtime::{LinuxResources, Process, Spec};
use serde::{Deserialize, Serialize};

use super::session::Session;
use super::usage::{CpuSample, Usage};
use crate::error::{Error, ErrorKind, Result};
use crate::id::ContainerId;
use crate::spec::{
    AttachSpec, HealthStatus, Lifetime, RestartPolicy, RootMount, Signal, TerminalSize, Timestamp,
};

/// Where a container is found on this host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    /// Its identifier.
    pub id: ContainerId,
    /// The directory of its sockets and locks. It may vanish at a reboot.
    pub run_dir: PathBuf,
    /// Where its exit record appears.
    pub exit_record: PathBuf,
    /// Its group in the cgroup tree, from the tree's root: `/engine/<id>`.
    pub cgroup: String,
    /// The name of the runtime that runs it; the engine's own unless given.
    #[serde(default)]
    pub runtime: Option<String>,
}

/// All that is needed to build a container: an OCI bundle, and what the specification leaves to the caller.
#[derive(Debug)]
pub struct Bundle {
    /// Where it will be found.
    pub place: Place,
    /// What to call it in the list of processes.
    pub title: String,
    /// How many times it was started before, so that an exit record tells which run it belongs to.
    pub run: u64,
    /// The OCI runtime configuration. Its `root.path` is not looked at, `root` below takes its place; the numeric
    /// user in `process` is not looked at either, `user` takes its place.
    pub spec: Spec,
    /// The mounts that make the root file system.
    pub root: Vec<RootMount>,
    /// Who runs the program. Names are looked up in the container's own files, and only the runtime sees those put
    /// together.
    pub user: UserSpec,
    /// What to do with its streams.
    pub streams: Streams,
    /// Run a small init as process 1.
    pub init: bool,
    /// What the end of the caller means for the container.
    pub lifetime: Lifetime,
    /// Make the exit record durable before telling of it; needless for a container that removes itself.
    pub durable: bool,
    /// Descriptors to keep open for as long as the container lives: the host's ports, and what the configuration names
    /// as `/proc/<this process>/fd/<number>`: namespaces to join, and sources of mounts.
    pub held: Vec<OwnedFd>,
    /// Netlink messages to send when it has ended; see [`NetworkDriver::teardown`](crate::NetworkDriver::teardown).
    pub teardown: Vec<Vec<u8>>,
    /// When to start it again by itself. What it has in the network stays then.
    pub restart: RestartPolicy,
    /// How to tell whether it is well.
    pub health: Option<HealthCheck>,
    /// Where to tell what happens to it by itself; nowhere if nobody wants to know.
    pub events: Option<EventSource>,
    /// The mount namespace of a container whose `/dev/shm` is this one's too.
    pub shm: Option<OwnedFd>,
    /// The server of names that it has in its network namespace.
    pub names: Option<NameService>,
}

/// A server of names for one container, at 127.0.0.11, port 53: it knows the members of the container's networks, and
/// asks others for everything else.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NameService {
    /// The networks: what each is called, and the directory of its names.
    pub networks: Vec<(String, PathBuf)>,
    /// What the container's own entries in these directories are called, which are removed when it has ended.
    pub member: String,
    /// The port that the server listens on.
    pub port: u16,
    /// Leads questions there; see [`NetworkDriver::redirect_names`](crate::NetworkDriver::redirect_names).
    pub redirect: Vec<u8>,
    /// The servers that are asked for everything else, one after the other.
    pub servers: Vec<IpAddr>,
    /// They are asked from the container's network namespace, and else from the host's.
    pub inside: bool,
}

/// A command that is run in a container again and again, as its program is, and tells by its exit code whether the
/// container is well.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HealthCheck {
    /// The command and its arguments.
    pub args: Vec<String>,
    /// Between two checks.
    pub interval: Duration,
    /// How long a check may take.
    pub timeout: Duration,
    /// For so long after the start a failure does not count.
    pub start_period: Duration,
    /// Between two checks in that time, until one has said that all is well.
    pub start_interval: Duration,
    /// So many failures in a row make it unhealthy.
    pub retries: u32,
    /// The file that the last results are written to, in docker's form.
    pub results: PathBuf,
}

/// The journal of events, and how it describes a container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventSource {
    /// The journal; see `engine_shim::journal`.
    pub journal: PathBuf,
    /// Members of a JSON object: `"name":"web"`.
    pub attributes: String,
}

/// Who runs a program.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct UserSpec {
    /// `user[:group]`, by name or number; empty means root.
    pub user: String,
    /// Further groups, by name or number.
    pub additional_groups: Vec<String>,
}

/// What becomes of the streams of a container's program.
#[derive(Clone, Debug, Default)]
pub struct Streams {
    /// The first size of its terminal, if it has one.
    pub terminal_size: Option<TerminalSize>,
    /// Keep standard input open.
    pub open_stdin: bool,
    /// Close standard input when the first client that was attached to it goes.
    pub stdin_once: bool,
    /// The file its output is logged to, in Docker's `json-file` format.
    pub log: Option<PathBuf>,
    /// How it is logged.
    pub logging: Logging,
}

/// How output is logged.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Logging {
    /// The file is put aside when it has so many bytes: it becomes `.1`, that `.2`, and so on.
    pub max_size: Option<u64>,
    /// So many files are kept, the current one included; the oldest go. Zero is one.
    pub max_files: u32,
    /// Compress what was put aside: it becomes `.1.gz`.
    pub compress: bool,
    /// What every entry says besides: a member of a JSON object with a comma after it, `"attrs":{"tag":"x"},`.
    pub attributes: String,
    /// The host's journal, which is told every line too.
    pub journal: Option<HostJournal>,
}

/// The journal of the host, which speaks the native protocol of systemd's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostJournal {
    /// Its socket.
    pub socket: PathBuf,
    /// Fields of every entry, each in a line of its own: `CONTAINER_NAME=web`.
    pub fields: String,
}

/// What [`Runtime::create`] made.
#[derive(Debug)]
pub struct Created {
    /// The first process, in the host's numbers.
    pub pid: u32,
    /// Its network namespace, if it has one of its own.
    pub netns: Option<OwnedFd>,
}

/// What a container is doing.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum State {
    /// Its monitor lives: its program runs, or will again in a moment.
    Running {
        /// The first process, in the host's numbers, if there is one and it is known.
        pid: Option<u32>,
        /// What the monitor tells of it, once it does.
        status: Option<Status>,
        /// Its processes are held still.
        paused: bool,
    },
    /// It ended, and the record says how.
    Exited(ExitRecord),
    /// There is neither a monitor nor a record: it never ran here, or its monitor was killed, or the host restarted.
    Absent,
}

/// What a monitor tells of a container while it lives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// The program has ended and is started again in a moment.
    pub restarting: bool,
    /// When the program was started last.
    pub started: Timestamp,
    /// How often it was started again by itself.
    pub restarts: u32,
    /// Whether it is well, if somebody checks.
    pub health: Option<HealthStatus>,
    /// How the program ended last, if it was started again since or will be.
    pub last: Option<ExitRecord>,
}

/// How a container's program ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExitRecord {
    /// Which run it was.
    pub run: u64,
    /// The program's exit code; 128 + n if signal n killed it.
    pub code: i32,
    /// Whether the kernel killed a process of it for want of memory.
    pub oom_killed: bool,
    /// When.
    pub finished: Timestamp,
    /// When the program was started, if that is known.
    #[serde(default)]
    pub started: Option<Timestamp>,
    /// How often it was started again by itself.
    #[serde(default)]
    pub restarts: u32,
    /// The program will be started again in a moment.
    #[serde(default)]
    pub again: bool,
    /// Why it could not be started again, if that is how it ended.
    #[serde(default)]
    pub failure: Option<String>,
}

impl ExitRecord {
    /// Of a program that ended so, and of which no more is known.
    pub fn new(run: u64, code: i32, finished: Timestamp) -> ExitRecord {
        ExitRecord {
            run,
            code,
            oom_killed: false,
            finished,
            started: None,
            restarts: 0,
            again: false,
            failure: None,
        }
    }
}

/// The kinds of namespaces that containers share.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NamespaceKind {
    /// Control groups.
    Cgroup,
    /// System V IPC and POSIX message queues.
    Ipc,
    /// Mounts.
    Mount,
    /// The network.
    Network,
    /// Processes.
    Pid,
    /// The host name.
    Uts,
}

/// Another process for a running container.
#[derive(Clone, Debug)]
pub struct ExecBundle {
    /// The process. As in [`Bundle`], its numeric user is not looked at.
    pub process: Process,
    /// Who runs it.
    pub user: UserSpec,
    /// The system calls it may make, as the container's; `None` for all.
    pub seccomp: Option<oci_spec::runtime::LinuxSeccomp>,
    /// Annotations of the container, for whoever is asked about system calls.
    pub annotations: BTreeMap<String, String>,
    /// Whether somebody writes to its standard input.
    pub stdin: bool,
    /// The first size of its terminal.
    pub terminal_size: Option<TerminalSize>,
    /// Nobody reads its output; it runs on when the caller goes.
    pub detach: bool,
    /// Where its begin and its end are told.
    pub events: Option<ExecEvents>,
    /// What [`Runtime::execs`] is to tell of it; nothing unless given.
    pub record: Option<ExecRecord>,
}

/// What is kept of a process in a container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExecRecord {
    /// Its identifier: a name of a file.
    pub id: String,
    /// What it is, in the caller's words and in one line.
    pub description: String,
}

/// A process in a container, as it was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExecState {
    /// What was kept of it.
    pub record: ExecRecord,
    /// The process, in the host's numbers, if it has begun.
    pub pid: Option<u32>,
    /// Somebody looks after it still.
    pub running: bool,
    /// How it ended, and when; `None` also for one whose keeper was killed.
    pub exit: Option<(i32, Timestamp)>,
}

/// What the events of a process in a container say.
#[derive(Clone, Debug)]
pub struct ExecEvents {
    /// The journal that they are appended to; see [`System::events`](crate::System::events).
    pub journal: PathBuf,
    /// What its begin is called, `exec_start: sh`, as the inside of a JSON string.
    pub start: String,
    /// What they say of the process and its container, as the members of a JSON object.
    pub attributes: String,
}

/// Runs containers.
#[async_trait]
pub trait Runtime: Send + Sync {
    /// Begins to build the container; returns when its namespaces are there. Building goes on, up to the point where
    /// its program would begin.
    ///
    /// # Errors
    /// The step that failed. Nothing is left of the container then.
    async fn create(&self, bundle: Bundle) -> Result<Created>;

    /// Waits until a container that *this* runtime object created is built, and lets its program begin.
    ///
    /// # Errors
    /// [`ErrorKind::CommandNotFound`] and
    /// [`CommandNotExecutable`](crate::ErrorKind::CommandNotExecutable) for the program,
    /// [`InvalidInput`](crate::ErrorKind::InvalidInput) for a user the files do not know; the step that failed
    /// otherwise. Nothing is left of the container then.
    async fn start(&self, place: &Place) -> Result<()>;

    /// Gives up a container that this runtime object created and did not start. May be called twice.
    async fn abandon(&self, place: &Place) -> Result<()>;

    /// What the container is doing, found from the kernel and the exit record.
    fn state(&self, place: &Place) -> Result<State>;

    /// Attaches to the streams of a container that was created or runs.
    async fn attach(&self, place: &Place, streams: AttachSpec) -> Result<Session>;

    /// Sends a signal to the first process.
    ///
    /// # Errors
    /// [`ErrorKind::Conflict`] if it does not run.
    async fn kill(&self, place: &Place, signal: Signal) -> Result<()>;

    /// As [`Runtime::kill`]; and whatever its policy says, the container is not started again. That works too while it
    /// waits to be, and while it is paused: it goes on, to hear the signal.
    async fn end(&self, place: &Place, signal: Signal) -> Result<()> {
        self.kill(place, signal).await
    }

    /// Holds all processes of the container still, those of exec with it, until [`Runtime::resume`] or [`Runtime::end`].
    /// A signal is heard when it goes on.
    ///
    /// # Errors
    /// [`ErrorKind::Conflict`] if it does not run;
    /// [`TimedOut`](crate::ErrorKind::TimedOut) if a process cannot be held, and then all of them go on;
    /// [`Unsupported`](crate::ErrorKind::Unsupported) by a runtime that cannot.
    async fn pause(&self, place: &Place) -> Result<()> {
        Err(Error::new(ErrorKind::Unsupported, format!("pausing container {}", place.id.short()))
            .because("its runtime cannot hold processes still"))
    }

    /// Lets a paused container go on. One that is not paused is left as it is.
    ///
    /// # Errors
    /// [`ErrorKind::Conflict`] if it does not run.
    async fn resume(&self, place: &Place) -> Result<()> {
        let _ = place;
        Ok(())
    }

    /// Waits until the container has ended for good, and gives its record. Returns at once if it has; `None` if its
    /// monitor ended without a record.
    async fn wait(&self, place: &Place) -> Result<Option<ExitRecord>>;

    /// Waits until its program ends, or the container does; see [`ExitRecord::again`].
    async fn wait_next(&self, place: &Place) -> Result<Option<ExitRecord>> {
        self.wait(place).await
    }

    /// Changes when a container, which lives, is started again by itself. What was decided already stays so.
    ///
    /// # Errors
    /// [`ErrorKind::Conflict`] if it does not run, and
    /// [`Unsupported`](crate::ErrorKind::Unsupported) by a runtime that starts nothing by itself.
    async fn set_restart(&self, place: &Place, policy: RestartPolicy) -> Result<()> {
        Err(Error::new(
            ErrorKind::Unsupported,
            format!("restart policy {policy} of container {}", place.id.short()),
        )
        .because("its runtime does not start containers again by itself"))
    }

    /// Changes the size of the container's terminal.
    async fn resize(&self, place: &Place, size: TerminalSize) -> Result<()>;

    /// Runs another process in the container.
    ///
    /// # Errors
    /// As [`Runtime::create`], and [`ErrorKind::Conflict`] if the container does not
    /// run.
    async fn exec(&self, place: &Place, exec: ExecBundle) -> Result<Session>;

    /// The processes that were started by [`Runtime::exec`] with a record and run, or ended a while ago.
    async fn execs(&self, place: &Place) -> Result<Vec<ExecState>> {
        let _ = place;
        Ok(Vec::new())
    }

    /// The root directory of a running container as its processes see it: names resolved beneath it (and only so: its
    /// processes rename things meanwhile) cross into its mounts.
    ///
    /// # Errors
    /// [`ErrorKind::Conflict`] if it does not run.
    async fn root(&self, place: &Place) -> Result<OwnedFd>;

    /// Namespaces of a running container, one for each of `kinds` and in their order.
    ///
    /// # Errors
    /// [`ErrorKind::Conflict`] if the container does not run.
    async fn namespaces(&self, place: &Place, kinds: &[NamespaceKind]) -> Result<Vec<OwnedFd>>;

    /// What a running container uses right now.
    ///
    /// # Errors
    /// [`ErrorKind::Conflict`] if it does not run.
    async fn usage(&self, place: &Place) -> Result<Usage>;

    /// The same of many containers, in their order; `None` for one that does not run.
    async fn usages(&self, places: &[Place]) -> Result<Vec<Option<Usage>>> {
        let mut usages = Vec::with_capacity(places.len());
        for place in places {
            usages.push(match self.usage(place).await {
                Ok(usage) => Some(usage),
                Err(e) if e.is(ErrorKind::Conflict) => None,
                Err(e) => return Err(e),
            });
        }
        Ok(usages)
    }

    /// Of that the processor time.
    async fn cpu_samples(&self, places: &[Place]) -> Result<Vec<Option<CpuSample>>> {
        let usages = self.usages(places).await?;
        Ok(usages.into_iter().map(|usage| usage.map(|usage| usage.cpu)).collect())
    }

    /// Changes the limits of a running container.
    async fn update(&self, place: &Place, resources: &LinuxResources) -> Result<()>;

    /// All processes of a running container, in the host's numbers.
    ///
    /// # Errors
    /// [`ErrorKind::Conflict`] if it does not run;
    /// [`Unsupported`](crate::ErrorKind::Unsupported) by a runtime that does not know them.
    async fn processes(&self, place: &Place) -> Result<Vec<u32>> {
        Err(Error::new(ErrorKind::Unsupported, format!("the processes of container {}", place.id.short()))
            .because("its runtime does not tell them"))
    }

    /// Kills what is left of the container and takes away all that the runtime made for it, the exit record
    /// excepted. May be called twice, and for a container that never was.
    async fn delete(&self, place: &Place) -> Result<()>;
}
