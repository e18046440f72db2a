//! Images: what the engine knows how to run.
pub mod driver;
