//! The flags of runc's command line.

use std::path::PathBuf;

use clap::{Args, Parser};

/// Create and run containers from OCI bundles, with the command line of runc
#[derive(Debug, Default, Parser)]
pub(super) struct Global {
    /// Directory of the containers' state (default "/run/engine-oci")
    #[arg(long)]
    pub(super) root: Option<PathBuf>,
    /// File to which failures are written besides
    #[arg(long)]
    pub(super) log: Option<PathBuf>,
    /// Format of that file: text or json
    #[arg(long, default_value = "text")]
    pub(super) log_format: String,
    /// Tell more
    #[arg(long)]
    pub(super) debug: bool,
    /// A cgroupsPath has the form "slice:prefix:name"; the group is made where systemd has it
    #[arg(long)]
    pub(super) systemd_cgroup: bool,
    /// Ignore that groups cannot be changed: true, false or auto
    #[arg(long, default_value = "auto")]
    pub(super) rootless: String,
    /// Accepted for runc's sake
    #[arg(long, hide = true)]
    pub(super) criu: Option<String>,
    /// Print version information and quit
    #[arg(short, long)]
    pub(super) version: bool,
    /// The command and all that is its own.
    #[arg(trailing_var_arg = true, value_name = "COMMAND")]
    pub(super) words: Vec<String>,
}

impl Global {
    /// Where the state of containers is.
    pub(super) fn directory(&self) -> PathBuf {
        let usual = || match (rustix::process::geteuid().is_root(), std::env::var_os("XDG_RUNTIME_DIR")) {
            (false, Some(directory)) => PathBuf::from(directory).join("engine-oci"),
            _ => PathBuf::from("/run/engine-oci"),
        };
        self.root.clone().unwrap_or_else(usual)
    }
}

/// What `create` and `run` share.
#[derive(Debug, Args)]
pub(super) struct Making {
    /// Directory of the bundle (default: the working directory)
    #[arg(short, long)]
    pub(super) bundle: Option<PathBuf>,
    /// Unix socket that takes the master of the terminal
    #[arg(long)]
    pub(super) console_socket: Option<PathBuf>,
    /// Unix socket that takes the pidfd of the first process
    #[arg(long)]
    pub(super) pidfd_socket: Option<PathBuf>,
    /// File to which the number of the first process is written
    #[arg(long)]
    pub(super) pid_file: Option<PathBuf>,
    /// Accepted for runc's sake: pivot_root is used all the same
    #[arg(long)]
    pub(super) no_pivot: bool,
    /// Keep the session keyring of the caller
    #[arg(long)]
    pub(super) no_new_keyring: bool,
    /// Hand on so many descriptors from number 3 on
    #[arg(long, default_value_t = 0)]
    pub(super) preserve_fds: u32,
}

/// Create a container
#[derive(Debug, Parser)]
pub(super) struct Create {
    #[command(flatten)]
    pub(super) making: Making,
    /// Its name
    #[arg(value_name = "CONTAINER-ID")]
    pub(super) id: String,
}

/// Create and start a container
#[derive(Debug, Parser)]
pub(super) struct Run {
    #[command(flatten)]
    pub(super) making: Making,
    /// Do not wait for its end
    #[arg(short, long)]
    pub(super) detach: bool,
    /// Do not delete it when it has ended
    #[arg(long)]
    pub(super) keep: bool,
    /// Accepted for runc's sake: orphans are taken in all the same
    #[arg(long)]
    pub(super) no_subreaper: bool,
    /// Its name
    #[arg(value_name = "CONTAINER-ID")]
    pub(super) id: String,
}

/// Run the program of a created container
#[derive(Debug, Parser)]
pub(super) struct Start {
    /// Its name
    #[arg(value_name = "CONTAINER-ID")]
    pub(super) id: String,
}

/// Print the state of a container
#[derive(Debug, Parser)]
pub(super) struct State {
    /// Its name
    #[arg(value_name = "CONTAINER-ID")]
    pub(super) id: String,
}

/// Send a signal to the first process of a container
#[derive(Debug, Parser)]
pub(super) struct Kill {
    /// To all processes of the container
    #[arg(short, long)]
    pub(super) all: bool,
    /// Its name
    #[arg(value_name = "CONTAINER-ID")]
    pub(super) id: String,
    /// The signal
    #[arg(default_value = "SIGTERM")]
    pub(super) signal: String,
}

/// Delete a container that has ended or was not started
#[derive(Debug, Parser)]
pub(super) struct Delete {
    /// End it if it runs
    #[arg(short, long)]
    pub(super) force: bool,
    /// Its name
    #[arg(value_name = "CONTAINER-ID")]
    pub(super) id: String,
}

/// Run another process in a container
#[derive(Debug, Parser)]
pub(super) struct Exec {
    /// File with the process as JSON
    #[arg(short, long)]
    pub(super) process: Option<PathBuf>,
    /// Unix socket that takes the master of the terminal
    #[arg(long)]
    pub(super) console_socket: Option<PathBuf>,
    /// Unix socket that takes the pidfd of the process
    #[arg(long)]
    pub(super) pidfd_socket: Option<PathBuf>,
    /// Working directory
    #[arg(long)]
    pub(super) cwd: Option<PathBuf>,
    /// Set a variable
    #[arg(short, long)]
    pub(super) env: Vec<String>,
    /// Give it a terminal
    #[arg(short, long)]
    pub(super) tty: bool,
    /// User, and group, by number
    #[arg(short, long, value_name = "UID[:GID]")]
    pub(super) user: Option<String>,
    /// Further group, by number
    #[arg(short = 'g', long)]
    pub(super) additional_gids: Vec<u32>,
    /// Do not wait for its end
    #[arg(short, long)]
    pub(super) detach: bool,
    /// File to which its number is written
    #[arg(long)]
    pub(super) pid_file: Option<PathBuf>,
    /// SELinux label
    #[arg(long)]
    pub(super) process_label: Option<String>,
    /// AppArmor profile
    #[arg(long)]
    pub(super) apparmor: Option<String>,
    /// It may not gain privileges
    #[arg(long)]
    pub(super) no_new_privs: bool,
    /// Add a capability
    #[arg(short, long)]
    pub(super) cap: Vec<String>,
    /// Hand on so many descriptors from number 3 on
    #[arg(long, default_value_t = 0)]
    pub(super) preserve_fds: u32,
    /// Group within the container's
    #[arg(long)]
    pub(super) cgroup: Option<String>,
    /// Also in a paused container
    #[arg(long)]
    pub(super) ignore_paused: bool,
    /// Its name, the command and its arguments
    #[arg(trailing_var_arg = true, required = true, value_name = "CONTAINER-ID [COMMAND] [ARG...]")]
    pub(super) words: Vec<String>,
}

/// Tell what a container uses, and when the kernel kills a process for want of memory
#[derive(Debug, Parser)]
pub(super) struct Events {
    /// How long from one telling to the next
    #[arg(long, default_value = "5s")]
    pub(super) interval: String,
    /// Tell it once
    #[arg(long)]
    pub(super) stats: bool,
    /// Its name
    #[arg(value_name = "CONTAINER-ID")]
    pub(super) id: String,
}

/// List the processes of a container
#[derive(Debug, Parser)]
pub(super) struct Ps {
    /// table or json
    #[arg(short, long, default_value = "table")]
    pub(super) format: String,
    /// Its name, and options of ps
    #[arg(trailing_var_arg = true, required = true, value_name = "CONTAINER-ID [PS OPTIONS]")]
    pub(super) words: Vec<String>,
}

/// List containers
#[derive(Debug, Parser)]
pub(super) struct List {
    /// table or json
    #[arg(short, long, default_value = "table")]
    pub(super) format: String,
    /// Names alone
    #[arg(short, long)]
    pub(super) quiet: bool,
}

/// Freeze the processes of a container
#[derive(Debug, Parser)]
pub(super) struct Pause {
    /// Its name
    #[arg(value_name = "CONTAINER-ID")]
    pub(super) id: String,
}

/// Let the processes of a container go on
#[derive(Debug, Parser)]
pub(super) struct Resume {
    /// Its name
    #[arg(value_name = "CONTAINER-ID")]
    pub(super) id: String,
}

/// Change the limits of a container
#[derive(Debug, Parser)]
pub(super) struct Update {
    /// File with the limits as JSON, or - for standard input
    #[arg(short, long)]
    pub(super) resources: Option<PathBuf>,
    /// Weight of its input and output
    #[arg(long)]
    pub(super) blkio_weight: Option<u16>,
    /// Length of a period in microseconds
    #[arg(long)]
    pub(super) cpu_period: Option<u64>,
    /// Microseconds in a period
    #[arg(long)]
    pub(super) cpu_quota: Option<i64>,
    /// Microseconds that may be saved up
    #[arg(long)]
    pub(super) cpu_burst: Option<u64>,
    /// Share of the processors
    #[arg(long)]
    pub(super) cpu_share: Option<u64>,
    /// Length of a realtime period in microseconds
    #[arg(long)]
    pub(super) cpu_rt_period: Option<u64>,
    /// Microseconds in a realtime period
    #[arg(long)]
    pub(super) cpu_rt_runtime: Option<i64>,
    /// Processors it may use
    #[arg(long)]
    pub(super) cpuset_cpus: Option<String>,
    /// Nodes of memory it may use
    #[arg(long)]
    pub(super) cpuset_mems: Option<String>,
    /// Run only when nobody else wants to
    #[arg(long)]
    pub(super) cpu_idle: Option<i64>,
    /// Bytes of memory; -1 without end
    #[arg(long)]
    pub(super) memory: Option<String>,
    /// Bytes of memory that are kept for it
    #[arg(long)]
    pub(super) memory_reservation: Option<String>,
    /// Bytes of memory and swap; -1 without end
    #[arg(long)]
    pub(super) memory_swap: Option<String>,
    /// Accepted and ignored, as in runc
    #[arg(long, hide = true)]
    pub(super) kernel_memory: Option<String>,
    /// Accepted and ignored, as in runc
    #[arg(long, hide = true)]
    pub(super) kernel_memory_tcp: Option<String>,
    /// Processes; -1 without end
    #[arg(long)]
    pub(super) pids_limit: Option<i64>,
    /// Its name
    #[arg(value_name = "CONTAINER-ID")]
    pub(super) id: String,
}

/// Print what this runtime offers
#[derive(Debug, Parser)]
pub(super) struct Features {}

/// Write a config.json to start from
#[derive(Debug, Parser)]
pub(super) struct Spec {
    /// Directory of the bundle (default: the working directory)
    #[arg(short, long)]
    pub(super) bundle: Option<PathBuf>,
    /// One for a user without privileges
    #[arg(long)]
    pub(super) rootless: bool,
}
