//! Registries: where images come from.
pub mod driver;
