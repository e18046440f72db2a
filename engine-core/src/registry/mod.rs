//! Registries: where images come from.

#[cfg(any(test, feature = "conformance"))]
pub mod conformance;
pub(crate) mod credentials;
pub mod driver;
pub(crate) mod oci;
