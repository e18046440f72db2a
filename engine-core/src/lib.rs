//! An embeddable container engine for Linux.

#![expect(dead_code, reason = "the walls stand before the rooms are furnished")]

mod container;
mod error;
mod event;
mod id;
pub mod image;
pub mod network;
mod parts;
mod reference;
pub mod registry;
pub mod runtime;
pub mod spec;
mod store;
mod sys;
pub mod volume;

pub use error::{Error, ErrorKind, Result};
pub use event::{LoadEvent, Operation, PullEvent};
pub use id::{
    ChainId, ContainerId, ContainerName, DiffId, Digest, ImageId, NetworkId, NetworkName, VolumeName,
};
pub use network::driver::NetworkDriver;
pub use reference::Reference;
pub use spec::ContainerSpec;
