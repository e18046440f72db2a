//! What the shim is told to do: decided, checked and ordered by the engine. The shim decides nothing and parses
//! nothing of it; text from an image is data here.
//!
//! Paths of the host are absolute and the engine's own, or the user's as given. Paths of the container are resolved
//! beneath its root, never joined to one of the host.

use alloc::string::String;
use alloc::vec::Vec;
use core::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::restart::Policy;

/// A path that begins so stands for one of the descriptors that came with the plan, whose place among them follows.
pub const HELD: &str = "held:";

/// What a container finds the helper program under that another program builds and that is to have a small init: under
/// this name it is one, for the program in its arguments.
pub const INIT: &str = "/sbin/docker-init";

/// A container to build and to look after.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContainerPlan {
    /// The directory for the lock, the socket and the status.
    pub run_dir: String,
    /// The file the exit record is renamed to.
    pub exit_record: String,
    /// Sync the exit record.
    pub durable: bool,
    /// Which run of the container it is.
    pub run: u64,
    /// Kill the container when the control socket closes.
    pub with_engine: bool,
    /// Batches for a `NETLINK_NETFILTER` socket to send when the container has ended.
    pub teardown: Vec<Vec<u8>>,
    /// The container's group.
    pub cgroup: Cgroup,
    /// Namespaces.
    pub namespaces: Namespaces,
    /// The root file system.
    pub root: Root,
    /// How mounts travel between the container and the host: `MS_PRIVATE`, `MS_SLAVE` or `MS_SHARED`.
    pub propagation: u32,
    /// What is mounted over it, in order.
    pub mounts: Vec<Mount>,
    /// Device nodes to make.
    pub devices: Vec<Device>,
    /// Paths to hide.
    pub masked: Vec<String>,
    /// Paths to make read-only.
    pub readonly: Vec<String>,
    /// Settings below `/proc/sys`, by path: `net/ipv4/ip_forward`.
    pub sysctls: Vec<(String, String)>,
    /// The host name, if the UTS namespace is its own.
    pub hostname: Option<String>,
    /// The NIS domain name, likewise.
    pub domainname: Option<String>,
    /// The program.
    pub process: Process,
    /// What becomes of its streams.
    pub streams: Streams,
    /// Run a small init as process 1, and the program as its child.
    pub init: bool,
    /// When to start the program again.
    pub restart: Policy,
    /// How to tell whether the container is well.
    pub health: Option<HealthPlan>,
    /// Where to tell what happens to it.
    pub events: Option<Events>,
    /// Its server of names.
    pub names: Option<Names>,
    /// A link that is to lead to the program of its monitor, for others that are started from the same memory.
    pub program_link: Option<String>,
    /// Programs that run beside the container's at points of its life.
    pub hooks: Hooks,
    /// Its caller looks after the container by itself.
    pub direct: Option<Direct>,
    /// Another program builds the container. What it is given is made of the root, the namespaces to join and the
    /// mounts here, whose targets are below its bundle then; all else is in its own configuration.
    pub program: Option<Program>,
    /// What its namespaces of users, of clocks and of the network have.
    pub spaces: Spaces,
}

/// A server of names for a container, at 127.0.0.11, port 53.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Names {
    /// Its networks: what each is called, and the directory of its names.
    pub networks: Vec<(String, String)>,
    /// What the container's own links in these directories are called.
    pub member: String,
    /// The port that the server listens on.
    pub port: u16,
    /// A batch for a `NETLINK_NETFILTER` socket that leads questions for port 53 there.
    pub redirect: Vec<u8>,
    /// The servers that are asked for what no member is called.
    pub servers: Vec<IpAddr>,
    /// They are asked from the container's network namespace, and else from the host's.
    pub inside: bool,
}

/// A program that builds containers, with the command line of runc.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Program {
    /// Its path.
    pub path: String,
    /// All that is in its environment: `PATH`.
    pub env: Vec<String>,
    /// Its name and what it is given before every command. Its log is `log` in the bundle.
    pub args: Vec<String>,
    /// What it calls the container.
    pub id: String,
    /// The directory over which its bundle is put together, in a mount namespace of its own.
    pub bundle: String,
    /// The configuration of the container, or of a process in it, before the value of the user and after it: names are
    /// looked up in the container's own files.
    pub config: (String, String),
    /// The file with limits that were changed since, if it is there.
    pub resources: String,
    /// The call that ends what is left of the container, and has the program forget it.
    pub delete: Option<Hook>,
    /// The directory of what it remembers, which is empty then.
    pub state: String,
}

/// What a container has in its namespaces of users, of clocks and of the network.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Spaces {
    /// Users and groups, as `/proc/PID/uid_map` and `gid_map` take them; empty without a user namespace of its own.
    pub users: Mapping,
    /// How far its clocks are ahead, as `/proc/self/timens_offsets` takes it.
    pub clocks: String,
    /// Links of the host that it is given, each with its name there.
    pub links: Vec<(String, String)>,
}

/// A mapping of users and groups, in lines of `/proc/PID/uid_map`; for a mount it may be empty, which stands for that of
/// the user namespace that the container joins.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mapping {
    /// Users.
    pub uids: String,
    /// Groups.
    pub gids: String,
    /// The host's numbers of the container's root: user and group.
    pub root: (u32, u32),
}

/// A process whose caller looks after it by itself. Descriptors come with the plan: the three streams, those to
/// preserve, and for a terminal the connection that its master goes to. Before them, for a container, the socket on
/// which the first process waits for its start; for a process in a running container, that container's first process.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Direct {
    /// How many descriptors the program gets from number 3 on.
    pub preserved: u32,
    /// Leave the session keyring as it is.
    pub keyring: bool,
}

/// Programs that run beside the container's at points of its life (OCI runtime-spec, config.md, "POSIX-platform
/// Hooks").
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hooks {
    /// The container's state as JSON, without its number and status and the closing brace.
    pub state: String,
    /// In the runtime's namespaces, before the root is changed.
    pub create_runtime: Vec<Hook>,
    /// In the container's namespaces, before the root is changed.
    pub create_container: Vec<Hook>,
    /// In the container, before the program begins.
    pub start_container: Vec<Hook>,
    /// In the runtime's namespaces, when the program has begun.
    pub poststart: Vec<Hook>,
    /// In the runtime's namespaces, when the container is gone.
    pub poststop: Vec<Hook>,
}

/// A program that runs beside the container's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hook {
    /// What messages call it: `prestart hook 0`.
    pub name: String,
    /// Its path.
    pub path: String,
    /// Its arguments, beginning with its name.
    pub args: Vec<String>,
    /// `KEY=value`, all of its environment.
    pub env: Vec<String>,
    /// It is killed after so many seconds.
    pub timeout: Option<u32>,
}

/// Hooks to run one after the other, in the namespaces that the shim was started in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HooksPlan {
    /// The hooks.
    pub hooks: Vec<Hook>,
    /// The container's state as JSON, which they are given.
    pub state: String,
    /// Run the others when one fails.
    pub go_on: bool,
}

/// A check that is run in the container again and again. It runs as the container's program does, with other
/// arguments. Times are in nanoseconds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HealthPlan {
    /// The check and its arguments.
    pub args: Vec<String>,
    /// The namespaces to enter, as `CLONE_NEW*` flags.
    pub namespaces: u32,
    /// Between two checks.
    pub interval: i64,
    /// How long a check may take.
    pub timeout: i64,
    /// For so long after the start a failure does not count.
    pub start_period: i64,
    /// Between two checks in that time, until one has said that all is well.
    pub start_interval: i64,
    /// So many failures in a row make it unhealthy.
    pub retries: u32,
    /// What is told of a check that took too long.
    pub timed_out: String,
    /// The file with the last results.
    pub file: String,
}

/// The journal of events, and what it calls the container.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Events {
    /// The journal.
    pub journal: String,
    /// The container's identifier.
    pub id: String,
    /// Members of a JSON object that describe it: `"name":"web"`.
    pub attributes: String,
}

/// A process to run in a running container. The container's first process comes as a pidfd with the plan.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExecPlan {
    /// The namespaces to enter, as `CLONE_NEW*` flags.
    pub namespaces: u32,
    /// The container's group.
    pub cgroup: Cgroup,
    /// The program.
    pub process: Process,
    /// Whether somebody writes to standard input.
    pub stdin: bool,
    /// The first size of the terminal: rows and columns.
    pub terminal_size: Option<(u16, u16)>,
    /// Nobody reads the output, and the process outlives the control socket.
    pub detach: bool,
    /// The journal to tell of its begin and its end.
    pub events: Option<ExecEvents>,
    /// Its caller looks after the process by itself.
    pub direct: Option<Direct>,
    /// What is kept of it for whoever asks.
    pub record: Option<ExecRecord>,
    /// Another program runs it. The container's root directory comes with the plan as well then.
    pub program: Option<Program>,
}

/// What is kept of a process in a container; see [`execs`](crate::execs).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExecRecord {
    /// The file.
    pub path: String,
    /// What the process is, in one line.
    pub description: String,
}

/// What the events of a process in a container say; see [`journal`](crate::journal).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExecEvents {
    /// The journal.
    pub journal: String,
    /// The container.
    pub container: String,
    /// What its begin is called: `exec_start: sh`.
    pub start: String,
    /// Members of a JSON object.
    pub attributes: String,
}

/// A group in the cgroup tree.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cgroup {
    /// The directory, of version 2, in which a process is born. To move there later takes a lock of the whole host.
    pub born: Option<String>,
    /// Files, of version 1, that a process of one thread writes `0` to in order to join.
    pub join: Vec<String>,
    /// Directories, those to join, to remove when the container has ended.
    pub dirs: Vec<String>,
    /// The file with a line `oom_kill N`.
    pub oom: Option<String>,
}

/// Namespaces of a container.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Namespaces {
    /// Those of its own, as `CLONE_NEW*` flags.
    pub new: u32,
    /// Those to join: flag and file.
    pub join: Vec<(u32, String)>,
}

impl Namespaces {
    /// Whether the container's users are others than the host's: its user namespace is its own, or joined.
    pub fn has_users(&self) -> bool {
        const USER: u32 = 0x1000_0000;
        self.new & USER != 0 || self.join.iter().any(|(kind, _)| *kind == USER)
    }
}

/// A root file system.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Root {
    /// Where it comes from.
    pub source: RootSource,
    /// It is read-only.
    pub readonly: bool,
}

/// Where a root file system comes from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum RootSource {
    /// An overlay.
    Overlay {
        /// Read-only directories, topmost first.
        lower: Vec<String>,
        /// The writable directory and its work directory.
        upper: Option<(String, String)>,
        /// What is written may be lost in a crash of the host.
        volatile: bool,
    },
    /// A directory, mounts below it included.
    Directory(String),
}

/// Something mounted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mount {
    /// Where, beneath the container's root.
    pub target: String,
    /// What.
    pub source: MountSource,
    /// Attributes of the mount itself.
    pub attributes: Attributes,
    /// Attributes of it and of all mounts below it.
    pub attributes_below: Attributes,
    /// How mounts travel, as `MS_*`; with `MS_REC` for the mounts below it too; 0 leaves it as it is.
    pub propagation: u32,
    /// The engine itself asked for it, so that nothing on the way to the target may be a symbolic link.
    pub system: bool,
    /// What lies at the target is copied into it: a new file system in memory.
    pub copy_up: bool,
    /// Its files belong to whom this mapping says, those of the mounts below it too if so said.
    pub idmap: Option<(Mapping, bool)>,
}

/// Changes to the attributes of a mount, as `MOUNT_ATTR_*`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attributes {
    /// To set.
    pub set: u64,
    /// To clear.
    pub clear: u64,
}

/// What is mounted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum MountSource {
    /// A new file system of this type with these parameters; one without a value is a flag.
    Filesystem {
        /// As in `/proc/filesystems`.
        kind: String,
        /// What shows as the source.
        source: String,
        /// Parameters of the file system.
        parameters: Vec<(String, Option<String>)>,
    },
    /// A file or directory of the host.
    Bind {
        /// Its path.
        path: String,
        /// With the mounts below it.
        recursive: bool,
    },
    /// The container's own part of the cgroup tree: the mounts of the hierarchies, each with the names it is
    /// mounted by (empty for the only one) and its file system type and parameters.
    Cgroups(Vec<CgroupMount>),
    /// Nothing: the mount that is there has other attributes from here on.
    Earlier,
    /// What another mount namespace has at a path: a file system in memory that the two share.
    Theirs {
        /// The namespace.
        namespace: String,
        /// The path in it.
        path: String,
    },
}

/// The mount of one cgroup hierarchy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CgroupMount {
    /// The directory below the mount's target; empty for the target itself.
    pub directory: String,
    /// `cgroup` or `cgroup2`.
    pub kind: String,
    /// Parameters: the controllers.
    pub parameters: Vec<(String, Option<String>)>,
    /// Other names of the directory.
    pub links: Vec<String>,
}

/// A device node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Device {
    /// Its path in the container.
    pub path: String,
    /// `S_IFCHR`, `S_IFBLK` or `S_IFIFO`, and the permissions.
    pub mode: u32,
    /// Major number.
    pub major: u32,
    /// Minor number.
    pub minor: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
}

/// A program and what it may do.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Process {
    /// The program and its arguments.
    pub args: Vec<String>,
    /// `KEY=value`.
    pub env: Vec<String>,
    /// An absolute path of the container; made if it is not there.
    pub cwd: String,
    /// `user[:group]`, by name or number; empty means root.
    pub user: String,
    /// Further groups, by name or number.
    pub additional_groups: Vec<String>,
    /// It has a terminal.
    pub terminal: bool,
    /// Capabilities, a bit each.
    pub capabilities: Capabilities,
    /// No new privileges through execve.
    pub no_new_privileges: bool,
    /// The seccomp filter, an array of `struct sock_filter`, and the flags to load it with.
    pub seccomp: Option<(Vec<u8>, u32)>,
    /// `RLIMIT_*`, soft and hard limit.
    pub rlimits: Vec<(u32, u64, u64)>,
    /// For `/proc/self/oom_score_adj`.
    pub oom_score_adj: Option<i32>,
    /// The file mode creation mask.
    pub umask: Option<u32>,
    /// The user, the group and further groups by number alone. The names above are not looked at then.
    pub ids: Option<(u32, u32, Vec<u32>)>,
    /// What few programs ask for.
    pub traits: Option<Traits>,
    /// Who decides about the calls that the filter asks about.
    pub agent: Option<Agent>,
}

/// Who decides about the system calls that a filter asks about (OCI runtime-spec, config-linux.md, "Seccomp").
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Agent {
    /// Its socket.
    pub path: String,
    /// What it is told, as JSON: all up to the status of the container, which is told last.
    pub state: String,
    /// The container's first process, or 0 for one that is this itself.
    pub container: u32,
}

/// What the kernel knows of a program that few ask for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Traits {
    /// For sched_setattr(2).
    pub scheduler: Option<Scheduler>,
    /// For ioprio_set(2).
    pub io_priority: Option<u16>,
    /// For personality(2).
    pub personality: Option<u32>,
    /// For set_mempolicy(2): mode and flags, and the nodes as bits.
    pub memory_policy: Option<(u32, Vec<u64>)>,
    /// The processors as bits on which a process is that joins the container, before it is in its group.
    pub first_processors: Vec<u64>,
    /// Likewise when it is.
    pub processors: Vec<u64>,
    /// The profile of AppArmor.
    pub apparmor: String,
    /// The label of SELinux.
    pub selinux: String,
}

/// How a program shares the processors, as sched_setattr(2) takes it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Scheduler {
    /// `SCHED_*`.
    pub policy: u32,
    /// `SCHED_FLAG_*`.
    pub flags: u64,
    /// Of those that share fairly.
    pub nice: i32,
    /// Of those of real time.
    pub priority: u32,
    /// Of those with deadlines, in nanoseconds: run time, deadline, period.
    pub deadline: [u64; 3],
}

/// Capability sets, a bit each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Capabilities {
    /// What may ever be had.
    pub bounding: u64,
    /// What is in force.
    pub effective: u64,
    /// What may be put in force.
    pub permitted: u64,
    /// What is kept over execve, where the file says so.
    pub inheritable: u64,
    /// What is kept over execve of any file.
    pub ambient: u64,
}

/// What becomes of the streams of a container's program.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Streams {
    /// The first size of its terminal: rows and columns.
    pub terminal_size: Option<(u16, u16)>,
    /// Keep standard input open.
    pub open_stdin: bool,
    /// Close standard input when the first client that was attached to it goes.
    pub stdin_once: bool,
    /// The file its output is logged to.
    pub log: Option<String>,
    /// How it is logged.
    pub logging: Logging,
}

/// How output is logged.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Logging {
    /// The file is put aside when it has so many bytes; 0 lets it grow for ever.
    pub max_size: u64,
    /// So many files are kept, the current one included; the oldest go.
    pub max_files: u32,
    /// Compress what was put aside.
    pub compress: bool,
    /// What every entry says besides, a member of a JSON object with its comma: `"attrs":{"tag":"x"},`. May be empty.
    pub attributes: String,
    /// The host's journal, which is told every line too.
    pub journal: Option<HostJournal>,
}

/// The journal of the host, in the native protocol of systemd's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostJournal {
    /// Its socket.
    pub socket: String,
    /// Fields of every entry, each in a line of its own: `CONTAINER_NAME=web`.
    pub fields: String,
}
