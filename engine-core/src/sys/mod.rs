//! Typed system calls. The only place of the library that is unsafe; what `nix` and `rustix` offer is used directly.

pub(crate) mod beneath;
pub(crate) mod bpf;
pub(crate) mod copy_tree;
pub(crate) mod descriptors;
pub(crate) mod fault;
pub(crate) mod lines;
mod local_time;
pub(crate) mod lock;
mod overlay_view;
mod process_root;
pub(crate) mod room;
pub(crate) mod tree;
pub(crate) mod watched;

pub(crate) use local_time::local_time;
pub(crate) use overlay_view::{overlay_tree, overlay_view};
pub(crate) use process_root::process_root;
