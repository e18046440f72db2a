//! What a caller asks for: plain data, one noun a file, serde in and out.
//!
//! A spec is a wish; nothing in this folder looks at the host. Fields that are left at their default mean what
//! `docker run` means without the flag.

mod archive;
mod capability;
mod commit;
mod container;
mod events;
mod exec;
mod filter;
mod health;
mod image;
mod logs;
mod mount;
mod namespace;
mod network;
mod port;
mod resources;
mod restart;
mod rootfs;
mod security;
mod signal;
mod stop;
mod subnet;
mod time;
mod update;
mod wait;
mod words;

pub use archive::{ArchiveSpec, CopySpec};
pub(crate) use capability::CAPABILITIES;
pub use commit::CommitSpec;
pub use container::{ContainerSpec, Lifetime, LogSpec, PullPolicy, RootSource};
pub use events::EventsSpec;
pub use exec::{AttachSpec, ExecSpec, TerminalSize};
pub use filter::Filter;
pub use health::{HealthSpec, HealthStatus, HealthTest};
pub use image::{Compression, Descriptor, Platform};
pub use logs::LogsSpec;
pub use mount::{BindSpec, MountKind, MountSpec, Propagation, TmpfsSpec, VolumeMountSpec};
pub use namespace::{IpcMode, NamespaceMode};
pub use network::{DnsSpec, EndpointSpec, ExtraHost, LinkSpec, NetworkMode, NetworkSpec, PoolSpec};
pub use port::{PortSpec, Protocol};
pub use resources::{DeviceRate, DeviceWeight, Resources, Rlimit};
pub use restart::RestartPolicy;
pub use rootfs::RootMount;
pub use security::{DeviceSpec, Seccomp, SecuritySpec};
pub use signal::Signal;
pub use stop::{RemoveSpec, StopSpec};
pub use subnet::{Address, Subnet};
pub use time::{Timestamp, go_duration, human_duration, parse_duration};
pub use update::UpdateSpec;
pub use wait::WaitCondition;
