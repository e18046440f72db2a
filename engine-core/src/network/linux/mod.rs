//! The default drivers, on Linux: netlink and nf_tables, nothing else. Whatever touches a link, an address, a route or
//! the packet filter is in here.

mod alias;
mod announce;
mod bridge;
mod connection;
mod conntrack;
mod family;
mod hold;
mod link;
mod netlink;
mod netns;
mod nft;
mod plan;
mod route;
mod sweep;
mod sysctl;
#[cfg(test)]
pub(super) mod tests;
mod wire;

pub(crate) use self::bridge::Bridge;
