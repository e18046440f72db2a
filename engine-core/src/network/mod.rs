//! Networks.
pub mod driver;
