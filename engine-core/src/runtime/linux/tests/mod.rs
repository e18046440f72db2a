//! The default runtime, on this host. Needs root and busybox-static.

mod confinement;
mod conformance;
mod fixture;
mod hostile;
mod init;
mod lifetime;
mod lives;
mod mounts;
mod speed;
mod streams;
mod unified;
