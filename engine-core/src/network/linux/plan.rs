//! Decides what a bridge network will be: its interface, its addresses, its options. Pure; what it needs to know of
//! the host comes as a value.

use std::net::{IpAddr, Ipv4Addr};

use super::link::is_name;
use crate::error::{Error, ErrorKind, Result};
use crate::id::NetworkId;
use crate::network::driver::NetworkPlan;
use crate::network::ipam;
use crate::spec::{NetworkSpec, Subnet};

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

/// What is on the host already.
#[derive(Clone, Debug, Default)]
pub(super) struct Host {
    /// Its interfaces.
    pub(super) interfaces: Vec<String>,
    /// Where its routes and addresses lead.
    pub(super) routes: Vec<Subnet>,
}

/// Decides.
pub(super) fn decide(
    id: NetworkId,
    spec: &NetworkSpec,
    taken: &[Subnet],
    host: &Host,
) -> Result<NetworkPlan> {
    let subject = || format!("network {}", spec.name);
    let subnet = match spec.subnet {
        Some(subnet) => given(subnet, taken, subject)?,
        None => ipam::free_subnet(taken.iter().chain(&host.routes)).map_err(|reason| {
            Error::new(ErrorKind::Conflict, subject())
                .because(reason)
                .with_remedy("remove networks that are not used, or give the network a subnet")
        })?,
    };
    let within = |what: &str, address: Ipv4Addr| {
        let edge = subnet.prefix() < 31 && (address == subnet.network() || address == subnet.broadcast());
        if subnet.contains(address) && !edge {
            Ok(address)
        } else {
            Err(Error::invalid(subject(), format!("the {what} {address} is no host address of {subnet}")))
        }
    };
    let gateway = match spec.gateway {
        Some(gateway) => within("gateway", gateway)?,
        None => subnet.hosts().next().ok_or_else(|| Error::internal(subject(), "its subnet is empty"))?,
    };
    if let Some(range) = spec.ip_range
        && !(range.prefix() >= subnet.prefix() && subnet.contains(range.network()))
    {
        return Err(Error::invalid(subject(), format!("the range {range} is not within {subnet}")));
    }
    Ok(NetworkPlan {
        interface: Some(interface(&id, spec, host)?),
        id,
        name: spec.name.to_string(),
        subnet: Some(subnet),
        gateway: Some(gateway),
        ip_range: spec.ip_range,
        internal: spec.internal,
        mtu: mtu(spec)?,
        inter_container: flag(spec, INTER_CONTAINER, true)?,
        masquerade: flag(spec, MASQUERADE, true)?,
        host_binding: host_binding(spec)?,
    })
}

fn given(subnet: Subnet, taken: &[Subnet], subject: impl Fn() -> String) -> Result<Subnet> {
    if subnet.prefix() > 30 {
        return Err(Error::invalid(subject(), format!("{subnet} has no room for a gateway and a container")));
    }
    let first = subnet.network();
    if first.is_loopback() || first.is_multicast() || first.octets()[0] == 0 || first.octets()[0] >= 240 {
        return Err(Error::invalid(subject(), format!("{subnet} has no addresses that hosts can have")));
    }
    match taken.iter().find(|taken| taken.overlaps(subnet)) {
        Some(taken) => Err(Error::new(ErrorKind::Conflict, subject())
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
    match spec.options.get(MTU) {
        None => Ok(DEFAULT_MTU),
        Some(text) => match text.parse() {
            Ok(mtu) if MTU_RANGE.contains(&mtu) => Ok(mtu),
            _ => Err(Error::invalid(
                format!("option {MTU}={text:?}"),
                format!("must be a number from {} to {}", MTU_RANGE.start(), MTU_RANGE.end()),
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

    fn subnet(text: &str) -> Subnet {
        text.parse().expect("well formed")
    }

    fn id() -> NetworkId {
        "ab".repeat(32).parse().expect("well formed")
    }

    fn spec(name: &str) -> NetworkSpec {
        NetworkSpec::new(name.parse().expect("a name"))
    }

    fn plan(spec: &NetworkSpec, taken: &[Subnet], host: &Host) -> Result<NetworkPlan> {
        decide(id(), spec, taken, host)
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
        };
        let plan = plan(&spec("bridge"), &[subnet("172.19.0.0/16")], &host).expect("decided");
        assert_eq!(plan.subnet, Some(subnet("172.20.0.0/16")));
        assert_eq!(plan.interface.as_deref(), Some("br-abababababab"));
    }

    #[test]
    fn addresses_that_cannot_be_are_refused() {
        let refused = |change: fn(&mut NetworkSpec)| {
            let mut spec = spec("net");
            spec.subnet = Some(subnet("10.9.0.0/24"));
            change(&mut spec);
            plan(&spec, &[subnet("10.8.0.0/16")], &Host::default()).expect_err("refused").kind()
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
