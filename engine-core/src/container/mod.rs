//! Containers.
pub(crate) mod record;
