//! The contract of a network driver.
//!
//! **Life of a network.** [`NetworkDriver::plan`] turns a wish into a plan: pure, so that everything can be refused
//! before anything is touched. [`NetworkDriver::create`] makes what the plan says on this host; it is called before
//! every first connection after a boot, so it must find things made already and mend them. [`NetworkDriver::remove`]
//! unmakes it by the plan alone; it may be called twice.
//!
//! **Life of an endpoint.** The service leases the address. [`NetworkDriver::reserve`] takes hold of the host's ports,
//! so that a port in use is found before a process exists; what it returns is kept open by the container's monitor,
//! and the messages it returns are sent to the kernel by the monitor when the container ends, so that nothing is left
//! on the host even if no engine is there. [`NetworkDriver::connect`] then wires the container's network namespace.
//! [`NetworkDriver::disconnect`] unwires it by names alone, may be called twice, also for a namespace that is gone,
//! and goes on past failures.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::{BorrowedFd, OwnedFd};

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::id::NetworkId;
use crate::spec::{Address, NetworkSpec, PortSpec, Protocol, Subnet};

/// Where a member asks for names, at port 53; see [`NetworkDriver::redirect_names`].
pub const NAME_SERVER: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 11));

/// The addresses of a network, of one family.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(bound = "A: Address")]
pub struct Pool<A> {
    /// All of them.
    pub subnet: Subnet<A>,
    /// The host's address.
    pub gateway: Option<A>,
    /// Addresses are leased only from here.
    pub ip_range: Option<Subnet<A>>,
}

/// A network as it was decided: what the store records, and all a driver needs to make or unmake it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetworkPlan {
    /// Its identifier.
    pub id: NetworkId,
    /// Its name, for messages.
    pub name: String,
    /// The host's interface that stands for it, if it has one.
    pub interface: Option<String>,
    /// Its IPv4 addresses; `None` for a network that has none of its own.
    pub subnet: Option<Subnet>,
    /// The host's address in it.
    pub gateway: Option<Ipv4Addr>,
    /// Addresses are leased only from here.
    pub ip_range: Option<Subnet>,
    /// Its IPv6 addresses, if it has any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ipv6: Option<Pool<Ipv6Addr>>,
    /// Without a way out.
    pub internal: bool,
    /// Largest packet, in bytes.
    pub mtu: u32,
    /// Members reach each other.
    pub inter_container: bool,
    /// What members send out carries the host's address.
    pub masquerade: bool,
    /// The address of the host that ports are published on where none is asked for.
    pub host_binding: IpAddr,
}

impl NetworkPlan {
    /// Its IPv4 addresses.
    pub fn ipv4(&self) -> Option<Pool<Ipv4Addr>> {
        let (gateway, ip_range) = (self.gateway, self.ip_range);
        self.subnet.map(|subnet| Pool { subnet, gateway, ip_range })
    }
}

/// A container's place in a network.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Endpoint {
    /// Its identifier: 64 hexadecimal digits. Names on the host are made from it.
    pub id: String,
    /// The interface's name inside: `eth0`.
    pub interface: String,
    /// Its leased address.
    pub address: Ipv4Addr,
    /// Its leased IPv6 address, if the network has such.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ipv6: Option<Ipv6Addr>,
    /// Further addresses, of the link alone.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub link_local: Vec<IpAddr>,
    /// Its hardware address.
    pub mac: [u8; 6],
    /// Its published ports, resolved: one host port each.
    pub ports: Vec<PublishedPort>,
}

impl Endpoint {
    /// Its addresses, of both families.
    pub fn addresses(&self) -> impl Iterator<Item = IpAddr> {
        [IpAddr::V4(self.address)].into_iter().chain(self.ipv6.map(IpAddr::V6))
    }

    /// Its hardware address as it is written: `02:42:ac:11:00:02`.
    pub fn mac_text(&self) -> String {
        let [a, b, c, d, e, f] = self.mac;
        format!("{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{f:02x}")
    }
}

/// A published port as it was resolved.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct PublishedPort {
    /// The port inside the container.
    pub container: u16,
    /// The protocol.
    pub protocol: Protocol,
    /// The address of the host; unspecified means all.
    pub host_address: IpAddr,
    /// The port of the host.
    pub host: u16,
}

/// What [`NetworkDriver::reserve`] took hold of.
#[derive(Debug, Default)]
pub struct Reservation {
    /// The ports, each with its host port decided.
    pub ports: Vec<PublishedPort>,
    /// Sockets that keep the host's ports from everybody else for as long as they are open.
    pub held: Vec<OwnedFd>,
}

/// Makes networks and connects containers to them.
#[async_trait]
pub trait NetworkDriver: Send + Sync {
    /// Decides what the network will be. `others` are the networks that there are.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`](crate::ErrorKind::InvalidInput) for options and addresses that cannot be,
    /// [`ErrorKind::Conflict`](crate::ErrorKind::Conflict) for a subnet that overlaps another one.
    async fn plan(&self, id: NetworkId, spec: &NetworkSpec, others: &[NetworkPlan]) -> Result<NetworkPlan>;

    /// Makes it on this host, or finds it made and mends what is missing.
    async fn create(&self, plan: &NetworkPlan) -> Result<()>;

    /// Takes hold of ports of the host.
    ///
    /// # Errors
    /// [`ErrorKind::InUse`](crate::ErrorKind::InUse), naming the port; then none is held.
    async fn reserve(&self, plan: &NetworkPlan, ports: &[PortSpec]) -> Result<Reservation>;

    /// Netlink messages, for a `NETLINK_NETFILTER` socket, that undo on the host what `connect` does for this
    /// endpoint. Each is a batch that may fail without harm.
    fn teardown(&self, plan: &NetworkPlan, endpoint: &Endpoint) -> Vec<Vec<u8>>;

    /// A batch for a `NETLINK_NETFILTER` socket in the network namespace of a member, which leads its questions for
    /// names, to [`NAME_SERVER`], port 53, to `port` there. `None` for a driver whose members have no server of names.
    fn redirect_names(&self, port: u16) -> Option<Vec<u8>> {
        let _ = port;
        None
    }

    /// Wires the endpoint into the network namespace `netns`.
    async fn connect(&self, plan: &NetworkPlan, endpoint: &Endpoint, netns: BorrowedFd<'_>) -> Result<()>;

    /// Unwires it.
    async fn disconnect(&self, plan: &NetworkPlan, endpoint: &Endpoint) -> Result<()>;

    /// Unmakes the network on this host. That it is not there is no error.
    async fn remove(&self, plan: &NetworkPlan) -> Result<()>;

    /// What this driver has on the host that belongs to none of `plans` and `endpoints`: unmakes it, and gives a
    /// line for each thing unmade.
    async fn sweep(
        &self,
        plans: &[NetworkPlan],
        endpoints: &BTreeMap<NetworkId, Vec<Endpoint>>,
    ) -> Result<Vec<String>>;
}
