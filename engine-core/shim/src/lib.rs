//! The helper of engine-core.
#![cfg_attr(not(test), no_std)]
extern crate alloc;
pub mod wire;
