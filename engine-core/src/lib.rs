//! An embeddable container engine for Linux: images, containers, volumes and networks, without a daemon.
//!
//! A program opens a store directory and runs containers from it; any number of programs may share one store.
//!
//! ```no_run
//! use engine_core::spec::AttachSpec;
//! use engine_core::{ContainerSpec, Engine};
//!
//! # async fn example() -> engine_core::Result<()> {
//! let engine = Engine::open("/var/lib/my-program").await?;
//! let spec = ContainerSpec::image("alpine:3.20").command(["echo", "hello"]).auto_remove();
//! let container = engine.containers().create(spec).await?;
//! let session = container.start_attached(AttachSpec::OUTPUT).await?;
//! let (stdout, _, exit) = session.output(1 << 20).await?;
//! container.wait().await?;
//! assert_eq!((stdout.as_slice(), exit.code), (b"hello\n".as_slice(), 0));
//! # Ok(()) }
//! ```
//!
//! # The nouns
//! - [`Engine`]: a store directory and the drivers that work on it. Cheap to clone; clones are the same engine.
//! - [`Container`]: a handle, which is a name and not an owner. Dropping it does nothing to the container.
//! - [`runtime::session::Session`]: a conversation with a process: its streams, and how it ended.
//! - [`Operation`]: long work that can be awaited, or watched; dropping it cancels it.
//! - [`spec`]: what a caller asks for. `Info` types are what inspecting gives, `Summary` types what lists give, `Report`
//!   types what was done.
//! - The driver traits: [`runtime::driver::Runtime`], [`image::driver::ImageStore`], [`registry::driver::Registry`],
//!   [`network::driver::NetworkDriver`], [`volume::driver::VolumeDriver`]. [`EngineBuilder`] takes others in place of
//!   the defaults; the feature `conformance` has the suites that each must pass.
//! - [`Error`]: a kind for programs, a subject and a remedy for people.

mod builder;
pub mod container;
mod engine;
mod error;
mod event;
mod id;
pub mod image;
mod journal;
pub mod network;
mod parts;
mod reference;
pub mod registry;
pub mod runtime;
pub mod spec;
mod store;
mod sys;
mod system;
pub mod volume;

pub use builder::EngineBuilder;
pub use container::{Container, Containers};
pub use engine::Engine;
pub use error::{Error, ErrorKind, Result};
pub use event::{EventKind, LoadEvent, Operation, PullEvent, SystemEvent};
pub use id::{
    ChainId, ContainerId, ContainerName, DiffId, Digest, ImageId, NetworkId, NetworkName, VolumeName,
};
pub use image::{Images, UnpackLimits};
pub use network::Networks;
pub use network::driver::NetworkDriver;
pub use reference::Reference;
pub use registry::driver::Credential;
pub use registry::oci::RegistryConfig;
pub use runtime::linux::{RuntimeProgram, ShimProgram, oci};
pub use spec::ContainerSpec;
pub use system::{
    DiskTotal, DiskUsage, EventStream, StartReport, SweepReport, System, SystemInfo, VolumeUsage,
};
pub use volume::Volumes;
