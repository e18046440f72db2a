//! Running processes in confinement: the contract ([`driver`]) and its default on Linux ([`linux`]).

pub(crate) mod choice;
#[cfg(any(test, feature = "conformance"))]
pub mod conformance;
pub mod driver;
pub mod linux;
pub mod session;
pub mod usage;
