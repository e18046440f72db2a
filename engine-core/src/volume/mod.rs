//! Volumes.
pub mod driver;
