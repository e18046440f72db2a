//! Addresses: which subnet a network gets, and which address a container gets in it. Pure; the leases themselves are
//! rows of the store, so they survive whoever took them.

use std::net::{Ipv4Addr, Ipv6Addr};

use sha2::{Digest as _, Sha256};

use super::driver::Pool;
use crate::spec::{Address, Subnet};

/// The pools of subnets for networks that ask for none, in the order they are tried: a range of networks, and the
/// prefix of each subnet of it. Docker's, so that a host that is ready for Docker is ready for the engine.
const POOLS: [(Ipv4Addr, Ipv4Addr, u8); 2] = [
    (Ipv4Addr::new(172, 17, 0, 0), Ipv4Addr::new(172, 31, 0, 0), 16),
    (Ipv4Addr::new(192, 168, 0, 0), Ipv4Addr::new(192, 168, 240, 0), 20),
];

/// The first subnet of the pools that overlaps none of `taken`.
///
/// # Errors
/// The reason, when there is none.
pub(super) fn free_subnet(taken: &[Subnet]) -> Result<Subnet, &'static str> {
    let pools = POOLS.iter().flat_map(|&(first, last, prefix)| subnets(first, last, prefix));
    first_free(pools, taken)
}

/// The first /64 of the addresses that only this host has (RFC 4193) that overlaps none of `taken`. The host is known
/// by `seed`: the same always, and another one on every host, so that hosts that are joined one day do not clash.
///
/// # Errors
/// The reason, when there is none.
pub(super) fn free_local_subnet(
    seed: &[u8],
    taken: &[Subnet<Ipv6Addr>],
) -> Result<Subnet<Ipv6Addr>, &'static str> {
    let digest = Sha256::digest(seed);
    let mut octets = [0; 16];
    octets[0] = 0xfd;
    octets[1..6].iter_mut().zip(digest).for_each(|(octet, digit)| *octet = digit);
    let host = Subnet::of(Ipv6Addr::from(octets), 48);
    first_free(subnets(host.network(), host.last(), 64), taken)
}

/// The subnets of that prefix from one address to another.
fn subnets<A: Address>(first: A, last: A, prefix: u8) -> impl Iterator<Item = Subnet<A>> {
    let size = Subnet::of(first, prefix).last().number() - first.number() + 1;
    (0..=(last.number() - first.number()) / size)
        .map(move |at| Subnet::of(A::of_number(first.number() + at * size), prefix))
}

fn first_free<A: Address>(
    mut pool: impl Iterator<Item = Subnet<A>>,
    taken: &[Subnet<A>],
) -> Result<Subnet<A>, &'static str> {
    pool.find(|subnet| !taken.iter().any(|taken| taken.overlaps(*subnet)))
        .ok_or("all subnets of the default pools are in use, by networks or by routes of the host")
}

/// The lowest address of the pool that is free. `leased` are the addresses that are not, in order.
///
/// # Errors
/// The reason, when there is none.
pub(super) fn free_address<A: Address>(pool: &Pool<A>, leased: &[A]) -> Result<A, &'static str> {
    let range = pool.ip_range.unwrap_or(pool.subnet);
    // The edges of a range within the subnet are addresses as good as any; those of the subnet are not.
    let (first, last) = pool.subnet.ends();
    let (low, high) = (range.network().max(first), range.last().min(last));
    let mut leased = leased.iter().skip_while(|address| **address < low).peekable();
    for candidate in (low.number()..=high.number()).map(A::of_number) {
        if leased.next_if_eq(&&candidate).is_none() && pool.gateway != Some(candidate) {
            return Ok(candidate);
        }
    }
    Err("all its addresses are leased")
}

/// The hardware address that goes with an address, as Docker made them: locally administered, and the same whenever
/// the address is, so that no neighbour remembers a wrong one.
pub(super) fn mac(address: Ipv4Addr) -> [u8; 6] {
    let [a, b, c, d] = address.octets();
    [0x02, 0x42, a, b, c, d]
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn subnet<A: Address>(text: &str) -> Subnet<A> {
        text.parse().expect("well formed")
    }

    fn pool<A: Address>(subnet_text: &str, range: Option<&str>) -> Pool<A> {
        let subnet: Subnet<A> = subnet(subnet_text);
        Pool {
            subnet,
            gateway: subnet.hosts().next(),
            ip_range: range.map(|range| range.parse().expect("well formed")),
        }
    }

    #[test]
    fn pools_are_docker_s_and_end() {
        let mut taken = Vec::new();
        while let Ok(next) = free_subnet(&taken) {
            taken.push(next);
        }
        assert_eq!(taken.len(), 15 + 16);
        assert_eq!(taken[0], subnet("172.17.0.0/16"));
        assert_eq!(taken[14], subnet("172.31.0.0/16"));
        assert_eq!(taken[15], subnet("192.168.0.0/20"));
        assert_eq!(taken[30], subnet("192.168.240.0/20"));
    }

    #[test]
    fn a_freed_address_is_the_next_to_be_given() {
        let pool = pool("10.0.0.0/29", None);
        let leased = |last: &[u8]| last.iter().map(|d| Ipv4Addr::new(10, 0, 0, *d)).collect::<Vec<_>>();
        assert_eq!(free_address(&pool, &leased(&[])), Ok([10, 0, 0, 2].into()));
        assert_eq!(free_address(&pool, &leased(&[2, 4])), Ok([10, 0, 0, 3].into()));
        assert!(free_address(&pool, &leased(&[2, 3, 4, 5, 6])).is_err());
    }

    #[test]
    fn a_range_is_kept_and_its_edges_are_used() {
        let pool = pool("10.0.0.0/24", Some("10.0.0.128/30"));
        let mut leased: Vec<Ipv4Addr> = Vec::new();
        while let Ok(address) = free_address(&pool, &leased) {
            leased.push(address);
        }
        let given: Vec<u8> = leased.iter().map(|a| a.octets()[3]).collect();
        assert_eq!(given, [128, 129, 130, 131]);
    }

    #[test]
    fn the_largest_subnet_does_not_take_long() {
        assert_eq!(free_address::<Ipv4Addr>(&pool("10.0.0.0/8", None), &[]), Ok([10, 0, 0, 2].into()));
        let six = pool::<Ipv6Addr>("fd00::/8", None);
        assert_eq!(free_address(&six, &[]).map(|a| a.to_string()), Ok("fd00::2".into()));
    }

    #[test]
    fn a_host_has_subnets_of_its_own_which_are_always_the_same() {
        let first = free_local_subnet(b"host", &[]).expect("there are many");
        assert_eq!(first, free_local_subnet(b"host", &[]).expect("there are many"));
        assert_eq!((first.network().octets()[0], first.prefix()), (0xfd, 64));
        let host = Subnet::of(first.network(), 48);
        let second = free_local_subnet(b"host", &[first]).expect("there are many");
        assert!(host.covers(second) && !second.overlaps(first), "{first} and {second}");
        let other = free_local_subnet(b"another host", &[]).expect("there are many");
        assert!(!host.covers(other));
        free_local_subnet(b"host", &[host]).expect_err("all of them are taken");
    }

    proptest! {
        #[test]
        fn an_address_is_free_and_the_lowest(
            leased in proptest::collection::btree_set(0u8..64, 0..64),
            prefix in 26u8..=30,
        ) {
            let pool = pool(&format!("10.0.0.0/{prefix}"), None);
            let leased: BTreeSet<Ipv4Addr> = leased.into_iter().map(|d| [10, 0, 0, d].into()).collect();
            let sorted: Vec<_> = leased.iter().copied().collect();
            let wanted =
                pool.subnet.hosts().find(|address| !leased.contains(address) && Some(*address) != pool.gateway);
            prop_assert_eq!(free_address(&pool, &sorted).ok(), wanted);
        }
    }
}
