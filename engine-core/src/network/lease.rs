//! Leases: which of a network's addresses a container gets. Whoever asks is in the transaction that records it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::driver::{NetworkPlan, Pool};
use super::ipam;
use crate::error::{Error, ErrorKind, Result};
use crate::spec::Address;
use crate::store::{Tx, endpoints};

/// The IPv4 address that is wanted, or else the lowest that is free.
pub(super) fn ipv4(tx: &Tx<'_>, plan: &NetworkPlan, wanted: Option<Ipv4Addr>) -> Result<Ipv4Addr> {
    let pool = plan.ipv4().ok_or_else(|| none_of::<Ipv4Addr>(plan))?;
    lease(plan, &pool, &endpoints::addresses(tx, &plan.id)?, wanted)
}

/// The IPv6 address that is wanted, or else the lowest that is free; `None` in a network that has no such addresses.
pub(super) fn ipv6(tx: &Tx<'_>, plan: &NetworkPlan, wanted: Option<Ipv6Addr>) -> Result<Option<Ipv6Addr>> {
    match plan.ipv6 {
        Some(pool) => lease(plan, &pool, &endpoints::ipv6_addresses(tx, &plan.id)?, wanted).map(Some),
        None if wanted.is_some() => Err(none_of::<Ipv6Addr>(plan)
            .with_remedy("leave the address away, or create the network with IPv6: `network create --ipv6`")),
        None => Ok(None),
    }
}

/// The further addresses that are wanted, if each is one that a link has for itself. Nobody leases them.
pub(super) fn link_local(wanted: &[IpAddr]) -> Result<Vec<IpAddr>> {
    let is_link_local = |address: &&IpAddr| match address {
        IpAddr::V4(address) => address.is_link_local(),
        IpAddr::V6(address) => address.is_unicast_link_local(),
    };
    match wanted.iter().find(|address| !is_link_local(address)) {
        None => Ok(wanted.to_vec()),
        Some(address) => {
            Err(Error::invalid(format!("address {address}"), "it is no address of the link alone")
                .with_remedy("choose one of 169.254.0.0/16 or fe80::/10"))
        }
    }
}

fn none_of<A: Address>(plan: &NetworkPlan) -> Error {
    Error::invalid(format!("network {}", plan.name), format!("it has no {} addresses", A::FAMILY))
}

fn lease<A: Address>(plan: &NetworkPlan, pool: &Pool<A>, leased: &[A], wanted: Option<A>) -> Result<A> {
    let Some(address) = wanted else {
        return ipam::free_address(pool, leased).map_err(|reason| {
            Error::new(ErrorKind::LimitExceeded, format!("network {}", plan.name))
                .because(reason)
                .with_remedy("stop a container that is in it, or create a network with a larger subnet")
        });
    };
    let subject = || format!("address {address} in network {}", plan.name);
    if !pool.subnet.has_host(address) {
        let reason = format!("it is no address of the network's subnet {}", pool.subnet);
        return Err(Error::invalid(subject(), reason));
    }
    if pool.gateway == Some(address) || leased.contains(&address) {
        return Err(Error::new(ErrorKind::InUse, subject())
            .because("Address already in use")
            .with_remedy("choose another one, or leave the choice to the engine"));
    }
    Ok(address)
}
