//! Running processes in confinement: the contract ([`driver`]) and its default on Linux ([`linux`]).

pub mod driver;
pub mod linux;
pub mod session;
