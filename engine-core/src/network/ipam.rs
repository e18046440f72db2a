//! Addresses: which subnet a network gets, and which address a container gets in it. Pure; the leases themselves are
//! rows of the store, so they survive whoever took them.

use std::net::Ipv4Addr;

use super::driver::NetworkPlan;
use crate::spec::Subnet;

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
pub(super) fn free_subnet<'a>(
    taken: impl Iterator<Item = &'a Subnet> + Clone,
) -> Result<Subnet, &'static str> {
    POOLS
        .iter()
        .flat_map(|&(first, last, prefix)| {
            (first.to_bits()..=last.to_bits())
                .step_by(1 << (32 - prefix))
                .map(move |network| Subnet::of(Ipv4Addr::from_bits(network), prefix))
        })
        .find(|subnet| !taken.clone().any(|taken| taken.overlaps(*subnet)))
        .ok_or("all subnets of the default pools are in use, by networks or by routes of the host")
}

/// The lowest address of the network that is free. `leased` are the addresses that are not, in order.
///
/// # Errors
/// The reason, when there is none.
pub(super) fn free_address(plan: &NetworkPlan, leased: &[Ipv4Addr]) -> Result<Ipv4Addr, &'static str> {
    let subnet = plan.subnet.ok_or("it has no addresses of its own")?;
    let range = plan.ip_range.unwrap_or(subnet);
    // The edges of a range within the subnet are addresses as good as any; those of the subnet are not.
    let (low, high) = (range.network().to_bits(), range.broadcast().to_bits());
    let low = low.max(subnet.network().to_bits() + u32::from(subnet.prefix() < 31));
    let high = high.min(subnet.broadcast().to_bits() - u32::from(subnet.prefix() < 31));
    let mut leased =
        leased.iter().map(|address| address.to_bits()).skip_while(|address| *address < low).peekable();
    let gateway = plan.gateway.map(Ipv4Addr::to_bits);
    for candidate in low..=high {
        if leased.next_if_eq(&candidate).is_none() && gateway != Some(candidate) {
            return Ok(Ipv4Addr::from_bits(candidate));
        }
    }
    Err("all its addresses are leased")
}

/// Whether a host of the subnet can have the address.
pub(super) fn is_host(subnet: Subnet, address: Ipv4Addr) -> bool {
    let edge = subnet.prefix() < 31 && (address == subnet.network() || address == subnet.broadcast());
    subnet.contains(address) && !edge
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

    fn subnet(text: &str) -> Subnet {
        text.parse().expect("well formed")
    }

    fn plan(subnet_text: &str, range: Option<&str>) -> NetworkPlan {
        let subnet = subnet(subnet_text);
        NetworkPlan {
            id: "00".repeat(32).parse().expect("well formed"),
            name: "net".into(),
            interface: None,
            subnet: Some(subnet),
            gateway: subnet.hosts().next(),
            ip_range: range.map(|range| range.parse().expect("well formed")),
            internal: false,
            mtu: 1500,
            inter_container: true,
            masquerade: true,
            host_binding: Ipv4Addr::UNSPECIFIED.into(),
        }
    }

    #[test]
    fn pools_are_docker_s_and_end() {
        let mut taken = Vec::new();
        while let Ok(next) = free_subnet(taken.iter()) {
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
        let plan = plan("10.0.0.0/29", None);
        let leased = |last: &[u8]| last.iter().map(|d| Ipv4Addr::new(10, 0, 0, *d)).collect::<Vec<_>>();
        assert_eq!(free_address(&plan, &leased(&[])), Ok([10, 0, 0, 2].into()));
        assert_eq!(free_address(&plan, &leased(&[2, 4])), Ok([10, 0, 0, 3].into()));
        assert!(free_address(&plan, &leased(&[2, 3, 4, 5, 6])).is_err());
    }

    #[test]
    fn a_range_is_kept_and_its_edges_are_used() {
        let plan = plan("10.0.0.0/24", Some("10.0.0.128/30"));
        let mut leased = Vec::new();
        while let Ok(address) = free_address(&plan, &leased) {
            leased.push(address);
        }
        let given: Vec<u8> = leased.iter().map(|a| a.octets()[3]).collect();
        assert_eq!(given, [128, 129, 130, 131]);
    }

    #[test]
    fn the_largest_subnet_does_not_take_long() {
        let plan = plan("10.0.0.0/8", None);
        assert_eq!(free_address(&plan, &[]), Ok([10, 0, 0, 2].into()));
    }

    #[test]
    fn the_edges_of_a_subnet_are_no_host_s() {
        let hosts = |text: &str| {
            let around = (0..8).map(|last| Ipv4Addr::new(10, 0, 0, last));
            around.filter(|address| is_host(subnet(text), *address)).count()
        };
        assert_eq!((hosts("10.0.0.0/30"), hosts("10.0.0.0/31"), hosts("10.0.0.4/32")), (2, 2, 1));
    }

    proptest! {
        #[test]
        fn an_address_is_free_and_the_lowest(
            leased in proptest::collection::btree_set(0u8..64, 0..64),
            prefix in 26u8..=30,
        ) {
            let plan = plan(&format!("10.0.0.0/{prefix}"), None);
            let leased: BTreeSet<Ipv4Addr> = leased.into_iter().map(|d| [10, 0, 0, d].into()).collect();
            let sorted: Vec<_> = leased.iter().copied().collect();
            let wanted = plan
                .subnet
                .expect("has one")
                .hosts()
                .find(|address| !leased.contains(address) && Some(*address) != plan.gateway);
            prop_assert_eq!(free_address(&plan, &sorted).ok(), wanted);
        }
    }
}
