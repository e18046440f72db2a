//! Promises to a user of the command line, each with its name. They need root, and run it for real: registries,
//! images of Debian, docker and skopeo as peers.

#![expect(clippy::expect_used, reason = "a test fails loudly")]

#[path = "../support/mod.rs"]
mod support;

mod attacks;
mod control;
mod crash;
mod df;
mod events;
mod execs;
mod fields;
mod files;
mod flags;
mod health;
mod images;
mod input;
mod life;
mod logging;
mod many;
mod names;
mod network;
mod network6;
mod oci;
mod oci_docker;
mod oci_podman;
mod program;
mod restart;
mod run;
mod seccomp_notify;
mod spaces;
mod stats;
mod surface;
mod volumes;
