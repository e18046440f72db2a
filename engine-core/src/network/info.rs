//! What inspect and list tell of a network, in the words of Docker's API.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use serde::{Deserialize, Serialize};

use super::driver::{Endpoint, Pool};
use crate::id::{ContainerId, ContainerName, Digest, NetworkId};
use crate::spec::{Address, Timestamp};
use crate::store::networks::NetworkRecord;

/// A network.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
#[non_exhaustive]
pub struct NetworkInfo {
    /// Its name.
    pub name: String,
    /// Its identifier.
    pub id: NetworkId,
    /// When it was created.
    pub created: Timestamp,
    /// `local`: it is on this host only.
    pub scope: String,
    /// The driver that makes it.
    pub driver: String,
    /// Whether it has IPv4 addresses.
    #[serde(rename = "EnableIPv4")]
    pub enable_ipv4: bool,
    /// Whether it has IPv6 addresses.
    #[serde(rename = "EnableIPv6")]
    pub enable_ipv6: bool,
    /// Its addresses.
    #[serde(rename = "IPAM")]
    pub ipam: Ipam,
    /// Without a way out.
    pub internal: bool,
    /// Whether services of a swarm may use it like containers.
    pub attachable: bool,
    /// Whether it routes a swarm's published ports.
    pub ingress: bool,
    /// The network whose settings it takes.
    pub config_from: ConfigFrom,
    /// Whether it only holds settings for others.
    pub config_only: bool,
    /// The containers that are in it. A list leaves them out.
    pub containers: BTreeMap<ContainerId, Member>,
    /// Options of the driver.
    pub options: BTreeMap<String, String>,
    /// Labels.
    pub labels: BTreeMap<String, String>,
}

/// The addresses of a network.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
#[non_exhaustive]
pub struct Ipam {
    /// Who hands them out: `default`.
    pub driver: String,
    /// Options of that.
    pub options: Option<BTreeMap<String, String>>,
    /// The subnets.
    pub config: Vec<IpamConfig>,
}

/// A subnet of a network.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
#[non_exhaustive]
pub struct IpamConfig {
    /// Its addresses: `172.18.0.0/16`, `fd00:1::/64`.
    pub subnet: String,
    /// Addresses are handed out only from here.
    #[serde(rename = "IPRange", default, skip_serializing_if = "Option::is_none")]
    pub ip_range: Option<String>,
    /// The host's address in it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gateway: Option<IpAddr>,
}

impl IpamConfig {
    fn of<A: Address>(pool: Pool<A>) -> IpamConfig {
        IpamConfig {
            subnet: pool.subnet.to_string(),
            ip_range: pool.ip_range.map(|range| range.to_string()),
            gateway: pool.gateway.map(A::into),
        }
    }
}

/// The network whose settings are taken.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
#[non_exhaustive]
pub struct ConfigFrom {
    /// Its name; empty for none.
    pub network: String,
}

/// A container in a network.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
#[non_exhaustive]
pub struct Member {
    /// The container's name.
    pub name: String,
    /// The identifier of its place in the network.
    #[serde(rename = "EndpointID")]
    pub endpoint_id: String,
    /// Its hardware address.
    pub mac_address: String,
    /// Its address, with the prefix of the subnet.
    #[serde(rename = "IPv4Address")]
    pub ipv4_address: String,
    /// Its IPv6 address, likewise; empty if it has none.
    #[serde(rename = "IPv6Address")]
    pub ipv6_address: String,
}

impl NetworkInfo {
    /// Of a recorded network, with its members.
    pub(super) fn of(
        record: &NetworkRecord,
        members: impl IntoIterator<Item = (ContainerId, Option<ContainerName>, Endpoint)>,
    ) -> NetworkInfo {
        let plan = &record.plan;
        let config = plan.ipv4().map(IpamConfig::of).into_iter().chain(plan.ipv6.map(IpamConfig::of));
        let prefix = plan.subnet.map_or(Ipv4Addr::BITS as u8, |subnet| subnet.prefix());
        let prefix6 = plan.ipv6.map_or(Ipv6Addr::BITS as u8, |pool| pool.subnet.prefix());
        let member = |(id, name, endpoint): (ContainerId, Option<ContainerName>, Endpoint)| {
            let member = Member {
                name: name.map(String::from).unwrap_or_default(),
                mac_address: endpoint.mac_text(),
                ipv4_address: format!("{}/{prefix}", endpoint.address),
                ipv6_address: endpoint.ipv6.map(|address| format!("{address}/{prefix6}")).unwrap_or_default(),
                endpoint_id: endpoint.id,
            };
            (id, member)
        };
        NetworkInfo {
            name: plan.name.clone(),
            id: plan.id.clone(),
            created: record.created,
            scope: "local".into(),
            driver: record.driver.clone(),
            enable_ipv4: plan.subnet.is_some(),
            enable_ipv6: plan.ipv6.is_some(),
            ipam: Ipam { driver: "default".into(), options: None, config: config.collect() },
            internal: plan.internal,
            attachable: false,
            ingress: false,
            config_from: ConfigFrom::default(),
            config_only: false,
            containers: members.into_iter().map(member).collect(),
            options: record.options.clone(),
            labels: record.labels.clone(),
        }
    }

    /// One that is not made but always there: the host's own network, or none at all.
    pub(super) fn built_in(name: &str, driver: &str, created: Timestamp) -> Option<NetworkInfo> {
        Some(NetworkInfo {
            name: name.into(),
            // Always the same, in every store.
            id: Digest::of(format!("engine network {name}").as_bytes()).encoded().parse().ok()?,
            created,
            scope: "local".into(),
            driver: driver.into(),
            enable_ipv4: true,
            enable_ipv6: false,
            ipam: Ipam { driver: "default".into(), options: None, config: Vec::new() },
            internal: false,
            attachable: false,
            ingress: false,
            config_from: ConfigFrom::default(),
            config_only: false,
            containers: BTreeMap::new(),
            options: BTreeMap::new(),
            labels: BTreeMap::new(),
        })
    }
}
