//! The helper program of engine-core, and what the engine needs to speak with it.
//!
//! The program is small and lives as long as a container does, so it is built without the standard library, static,
//! by this crate's build script; the library embeds its bytes (feature `embedded`) and has the types that go over the
//! wire. `program` is the entry, which becomes one of its roles: `monitor` builds a container and looks after it,
//! `exec` runs one process in a container that runs already, `builder` makes a container for a caller that looks after
//! it by itself, and `hooks` run programs beside it.

#![cfg_attr(not(test), no_std)]

extern crate alloc;

pub mod clock;
pub mod control;
pub mod execs;
pub mod journal;
pub mod plan;
pub mod record;
pub mod restart;
pub mod status;
mod text;
pub mod users;
pub mod wire;

#[cfg(feature = "program")]
pub mod program;

#[cfg(feature = "program")]
mod agent;
#[cfg(feature = "program")]
mod builder;
#[cfg(feature = "program")]
mod client;
#[cfg(feature = "program")]
mod command;
#[cfg(feature = "program")]
mod console;
#[cfg(feature = "program")]
mod copy_up;
#[cfg(feature = "program")]
mod devices;
#[cfg(feature = "program")]
mod events;
#[cfg(feature = "program")]
mod exec;
#[cfg(feature = "program")]
mod failure;
#[cfg(feature = "program")]
mod filesystem;
#[cfg(feature = "program")]
mod foreign;
#[cfg(feature = "program")]
mod health;
#[cfg(feature = "program")]
mod held;
#[cfg(feature = "program")]
mod hooks;
#[cfg(feature = "program")]
mod hub;
#[cfg(feature = "program")]
mod identity;
#[cfg(feature = "program")]
mod init;
#[cfg(feature = "program")]
mod life;
#[cfg(feature = "program")]
mod links;
#[cfg(feature = "program")]
mod log;
#[cfg(feature = "program")]
mod mapping;
#[cfg(feature = "program")]
mod monitor;
#[cfg(feature = "program")]
mod names;
#[cfg(feature = "program")]
mod namespaces;
#[cfg(feature = "program")]
mod probe;
#[cfg(feature = "program")]
mod reaper;
#[cfg(feature = "program")]
mod rootfs;
#[cfg(feature = "program")]
mod rundir;
#[cfg(feature = "program")]
mod socket;
#[cfg(feature = "program")]
mod sync;
#[cfg(feature = "program")]
mod sys;
#[cfg(feature = "program")]
mod teardown;
#[cfg(feature = "program")]
mod theirs;
#[cfg(feature = "program")]
mod traits;

/// The helper program, static, for this architecture.
#[cfg(feature = "embedded")]
pub const PROGRAM: &[u8] = include_bytes!(env!("ENGINE_SHIM_PROGRAM"));
