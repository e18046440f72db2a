//! Typed system calls. The only place of the library that is unsafe; what `nix` and `rustix` offer is used directly.

pub(crate) mod beneath;
pub(crate) mod bpf;
pub(crate) mod descriptors;
pub(crate) mod fault;
pub(crate) mod lock;
mod overlay_view;
pub(crate) mod tree;
pub(crate) mod watched;

pub(crate) use overlay_view::overlay_view;
