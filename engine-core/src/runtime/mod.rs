//! Running processes in confinement: the contract ([`driver`]) and its default on Linux ([`linux`]).

#[cfg(any(test, feature = "conformance"))]
pub mod conformance;
pub mod driver;
pub mod linux;
pub mod session;
