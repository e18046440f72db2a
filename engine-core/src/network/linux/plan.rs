//! Decides what a bridge network will be: its interface, its addresses, its options. Pure; what it needs to know of
//! the host comes as a value.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::link::is_name;
use crate::error::{Error, ErrorKind, Result};
use crate::id::NetworkId;
use crate::network::driver::{NetworkPlan, Pool};
use crate::network::ipam;
use crate::spec::{Address, NetworkSpec, PoolSpec, Subnet};

const NAME: &str = "com.docker.network.bridge.name";
const MASQUERADE: &str = "com.docker.network.bridge.enable_ip_masquerade";
const INTER_CONTAINER: &str = "com.docker.network.bridge.enable_icc";
const HOST_BINDING: &str = "com.docker.network.bridge.host_binding_ipv4";
const MTU: &str = "com.docker.network.driver.mtu";

/// The interface of the default network; another name than Docker's, which may be on the same host.
const DEFAULT_INTERFACE: &str = "engine0";
const DEFAULT_MTU: u32 = 1500;
/// The least that IPv4 works with, and the most that a link can have.
const MTU_RANGE: std::ops::RangeInclusive<u32> = 68..=65_535;
/// The least that IPv6 works with: below, the kernel takes it off the link.
const LEAST_WITH_IPV6: u32 = 1280;

/// What is on the host already.
#[derive(Clone, Debug, Default)]
pub(super) struct Host {
    /// Its interfaces.
    pub(super) interfaces: Vec<String>,
    /// Where its routes and addresses lead.
    pub(super) routes: Vec<Subnet>,
    /// The same of IPv6, for a network that shall have such addresses.
    pub(super) routes6: Vec<Subnet<Ipv6Addr>>,
    /// What tells it from others, and this store from others on it.
    pub(super) seed: Vec<u8>,
}

/// Decides.
pub(super) fn decide(
    id: NetworkId,
    spec: &NetworkSpec,
    others: &[NetworkPlan],
    host: &Host,
) -> Result<NetworkPlan> {
    let wish = PoolSpec { subnet: spec.subnet, gateway: spec.gateway, ip_range: spec.ip_range };
    let taken: Vec<Subnet> = others.iter().filter_map(|other| other.subnet).collect();
    let ipv4 = pool(spec, &wish, &taken, || {
        ipam::free_subnet(&[taken.as_slice(), host.routes.as_slice()].concat())
    })?;
    let ipv6 = match spec.enable_ipv6 {
        true => {
            let taken: Vec<_> = others.iter().filter_map(|other| Some(other.ipv6?.subnet)).collect();
            Some(pool(spec, &spec.ipv6, &taken, || {
                ipam::free_local_subnet(&host.seed, &[taken.as_slice(), host.routes6.as_slice()].concat())
            })?)
        }
        false if spec.ipv6.is_empty() => None,
        false => {
            return Err(Error::invalid(subject(spec), "it is given IPv6 addresses, but IPv6 is not enabled")
                .with_remedy("enable it, with --ipv6, or give it IPv4 addresses only"));
        }
    };
    Ok(NetworkPlan {
        interface: Some(interface(&id, spec, host)?),
        id,
        name: spec.name.to_string(),
        subnet: Some(ipv4.subnet),
        gateway: ipv4.gateway,
        ip_range: ipv4.ip_range,
        ipv6,
        internal: spec.internal,
        mtu: mtu(spec)?,
        inter_container: flag(spec, INTER_CONTAINER, true)?,
        masquerade: flag(spec, MASQUERADE, true)?,
        host_binding: host_binding(spec)?,
    })
}

fn subject(spec: &NetworkSpec) -> String {
    format!("network {}", spec.name)
}

/// The addresses of one family. `free` chooses a subnet where none is asked for.
fn pool<A: Address>(
    spec: &NetworkSpec,
    wish: &PoolSpec<A>,
    taken: &[Subnet<A>],
    free: impl FnOnce() -> std::result::Result<Subnet<A>, &'static str>,
) -> Result<Pool<A>> {
    let subnet = match wish.subnet {
        Some(subnet) => given(spec, subnet, taken)?,
        None => free().map_err(|reason| {
            Error::new(ErrorKind::Conflict, subject(spec))
                .because(reason)
                .with_remedy("remove networks that are not used, or give the network a subnet")
        })?,
    };
    let gateway = wish.gateway.unwrap_or(subnet.ends().0);
    if !subnet.has_host(gateway) {
        let reason = format!("the gateway {gateway} is no host address of {subnet}");
        return Err(Error::invalid(subject(spec), reason));
    }
    if let Some(range) = wish.ip_range.filter(|range| !subnet.covers(*range)) {
        return Err(Error::invalid(subject(spec), format!("the range {range} is not within {subnet}")));
    }
    Ok(Pool { subnet, gateway: Some(gateway), ip_range: wish.ip_range })
}

fn given<A: Address>(spec: &NetworkSpec, subnet: Subnet<A>, taken: &[Subnet<A>]) -> Result<Subnet<A>> {
    if A::BITS - subnet.prefix() < 2 {
        let reason = format!("{subnet} has no room for a gateway and a container");
        return Err(Error::invalid(subject(spec), reason));
    }
    if !subnet.network().is_for_hosts() {
        return Err(Error::invalid(subject(spec), format!("{subnet} has no addresses that hosts can have")));
    }
    match taken.iter().find(|taken| taken.overlaps(subnet)) {
        Some(taken) => Err(Error::new(ErrorKind::Conflict, subject(spec))
            .because(format!("its subnet {subnet} overlaps {taken} of another network"))
            .with_remedy("give it another subnet, or none: a free one is chosen then")),
        None => Ok(subnet),
    }
}

fn interface(id: &NetworkId, spec: &NetworkSpec, host: &Host) -> Result<String> {
    match spec.options.get(NAME) {
        Some(name) if is_name(name) => Ok(name.clone()),
        Some(name) => Err(Error::invalid(
            format!("option {NAME}={name:?}"),
            "an interface name has 1 to 15 characters, without spaces, '/', ':' and '%'",
        )),
        // Another store of this host may have its default network there.
        None if spec.name.as_str() == "bridge" && !host.interfaces.iter().any(|i| i == DEFAULT_INTERFACE) => {
            Ok(DEFAULT_INTERFACE.into())
        }
        None => Ok(format!("br-{}", id.short())),
    }
}

fn mtu(spec: &NetworkSpec) -> Result<u32> {
    let range = if spec.enable_ipv6 { LEAST_WITH_IPV6..=*MTU_RANGE.end() } else { MTU_RANGE };
    match spec.options.get(MTU) {
        None => Ok(DEFAULT_MTU),
        Some(text) => match text.parse() {
            Ok(mtu) if range.contains(&mtu) => Ok(mtu),
            _ => Err(Error::invalid(
                format!("option {MTU}={text:?}"),
                format!("must be a number from {} to {}", range.start(), range.end()),
            )),
        },
    }
}

/// A truth as Docker's options have it.
fn flag(spec: &NetworkSpec, option: &str, default: bool) -> Result<bool> {
    match spec.options.get(option).map(String::as_str) {
        None => Ok(default),
        Some("1" | "t" | "T" | "true" | "TRUE" | "True") => Ok(true),
        Some("0" | "f" | "F" | "false" | "FALSE" | "False") => Ok(false),
        Some(text) => Err(Error::invalid(format!("option {option}={text:?}"), "must be true or false")),
    }
}

fn host_binding(spec: &NetworkSpec) -> Result<IpAddr> {
    match spec.options.get(HOST_BINDING) {
        None => Ok(Ipv4Addr::UNSPECIFIED.into()),
        Some(text) => text.parse::<Ipv4Addr>().map(IpAddr::V4).map_err(|_| {
            Error::invalid(format!("option {HOST_BINDING}={text:?}"), "must be an IPv4 address")
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn subnet<A: Address>(text: &str) -> Subnet<A> {
        text.parse().expect("well formed")
    }

    /// A network that is there, with this subnet.
    fn other(text: &str) -> NetworkPlan {
        let mut spec = spec("other");
        spec.subnet = Some(subnet(text));
        plan(&spec, &[], &Host::default()).expect("decided")
    }

    fn id() -> NetworkId {
        "ab".repeat(32).parse().expect("well formed")
    }

    fn spec(name: &str) -> NetworkSpec {
        NetworkSpec::new(name.parse().expect("a name"))
    }

    fn plan(spec: &NetworkSpec, others: &[NetworkPlan], host: &Host) -> Result<NetworkPlan> {
        decide(id(), spec, others, host)
    }

    #[test]
    fn the_defaults_are_docker_s() {
        let plan = plan(&spec("bridge"), &[], &Host::default()).expect("decided");
        assert_eq!(plan.subnet, Some(subnet("172.17.0.0/16")));
        assert_eq!(plan.gateway, Some([172, 17, 0, 1].into()));
        assert_eq!(plan.interface.as_deref(), Some("engine0"));
        assert!(plan.masquerade && plan.inter_container && !plan.internal);
        assert_eq!((plan.mtu, plan.host_binding), (1500, Ipv4Addr::UNSPECIFIED.into()));
    }

    #[test]
    fn what_the_host_has_is_left_alone() {
        let host = Host {
            interfaces: vec!["engine0".into()],
            routes: vec![subnet("172.17.0.0/16"), subnet("172.18.3.0/24")],
            ..Host::default()
        };
        let plan = plan(&spec("bridge"), &[other("172.19.0.0/16")], &host).expect("decided");
        assert_eq!(plan.subnet, Some(subnet("172.20.0.0/16")));
        assert_eq!(plan.interface.as_deref(), Some("br-abababababab"));
    }

    #[test]
    fn addresses_that_cannot_be_are_refused() {
        let refused = |change: fn(&mut NetworkSpec)| {
            let mut spec = spec("net");
            spec.subnet = Some(subnet("10.9.0.0/24"));
            change(&mut spec);
            plan(&spec, &[other("10.8.0.0/16")], &Host::default()).expect_err("refused").kind()
        };
        use ErrorKind::{Conflict, InvalidInput};
        assert_eq!(refused(|s| s.subnet = Some(subnet("10.8.1.0/24"))), Conflict);
        assert_eq!(refused(|s| s.subnet = Some(subnet("10.9.0.0/31"))), InvalidInput);
        assert_eq!(refused(|s| s.subnet = Some(subnet("127.0.0.0/24"))), InvalidInput);
        assert_eq!(refused(|s| s.gateway = Some([10, 9, 1, 1].into())), InvalidInput);
        assert_eq!(refused(|s| s.gateway = Some([10, 9, 0, 255].into())), InvalidInput);
        assert_eq!(refused(|s| s.ip_range = Some(subnet("10.9.1.0/28"))), InvalidInput);
        assert_eq!(refused(|s| s.ip_range = Some(subnet("10.0.0.0/8"))), InvalidInput);
    }

    #[test]
    fn a_network_has_ipv6_addresses_if_they_are_asked_for() {
        let host = Host { seed: b"host".into(), ..Host::default() };
        let mut spec = spec("six");
        assert_eq!(plan(&spec, &[], &host).expect("decided").ipv6, None);
        spec.enable_ipv6 = true;
        let chosen = plan(&spec, &[], &host).expect("decided");
        let pool = chosen.ipv6.expect("has IPv6");
        assert_eq!(pool.gateway, pool.subnet.hosts().next());
        let second = plan(&spec, &[chosen], &host).expect("decided").ipv6.expect("has IPv6");
        assert!(!second.subnet.overlaps(pool.subnet));
        let routed = Host { routes6: vec![pool.subnet, second.subnet], ..host.clone() };
        let third = plan(&spec, &[], &routed).expect("decided").ipv6.expect("has IPv6");
        assert!(!routed.routes6.contains(&third.subnet));

        spec.ipv6 = PoolSpec {
            subnet: Some(subnet("2001:db8:7::/64")),
            gateway: Some("2001:db8:7::ffff".parse().expect("an address")),
            ip_range: Some(subnet("2001:db8:7:0:1::/80")),
        };
        let given = plan(&spec, &[], &host).expect("decided");
        assert_eq!(given.ipv6.map(|pool| pool.gateway), Some(spec.ipv6.gateway));

        let refused = |change: fn(&mut NetworkSpec)| {
            let mut spec = spec.clone();
            change(&mut spec);
            plan(&spec, std::slice::from_ref(&given), &host).expect_err("refused").kind()
        };
        use ErrorKind::{Conflict, InvalidInput};
        assert_eq!(refused(|_| ()), Conflict);
        assert_eq!(refused(|s| s.enable_ipv6 = false), InvalidInput);
        assert_eq!(refused(|s| s.ipv6.subnet = Some(subnet("2001:db8:8::/64"))), InvalidInput);
        for bad in ["fe80::/64", "ff02::/64", "::/8", "2001:db8:8::/127"] {
            let mut spec = spec.clone();
            spec.ipv6 = PoolSpec { subnet: Some(subnet(bad)), ..PoolSpec::default() };
            assert_eq!(plan(&spec, &[], &host).expect_err("refused").kind(), InvalidInput, "{bad}");
        }
        let small = |s: &mut NetworkSpec| {
            s.ipv6 = PoolSpec::default();
            s.options.insert(MTU.into(), "1279".into());
        };
        assert_eq!(refused(small), InvalidInput);
    }

    #[test]
    fn options_are_understood_or_refused_and_unknown_ones_are_left_alone() {
        let with = |option: &str, value: &str| {
            let mut spec = spec("net");
            spec.options.insert(option.into(), value.into());
            plan(&spec, &[], &Host::default())
        };
        assert_eq!(with(NAME, "lan0").expect("decided").interface.as_deref(), Some("lan0"));
        assert!(!with(MASQUERADE, "false").expect("decided").masquerade);
        assert!(!with(INTER_CONTAINER, "0").expect("decided").inter_container);
        assert_eq!(with(MTU, "9000").expect("decided").mtu, 9000);
        assert_eq!(with(HOST_BINDING, "127.0.0.1").expect("decided").host_binding, Ipv4Addr::LOCALHOST);
        for (option, value) in
            [(NAME, "a/b"), (NAME, ""), (MASQUERADE, "maybe"), (MTU, "10"), (MTU, "x"), (HOST_BINDING, "::1")]
        {
            assert_eq!(with(option, value).expect_err("refused").kind(), ErrorKind::InvalidInput, "{value}");
        }
        with("com.example.anything", "goes").expect("decided");
    }
}
