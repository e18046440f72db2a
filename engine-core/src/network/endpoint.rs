//! The places of containers in networks: leases an address, takes the ports, has the driver wire the rest, and undoes
//! all of it.
//!
//! The order is what a crash at any point can be recovered from. Ports are held before anything is recorded; the lease
//! is recorded before anything is wired; and it is given back after all is unwired.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::Arc;

use super::directory::Directory;
use super::driver::{Endpoint, NetworkDriver, NetworkPlan, PublishedPort};
use super::turns::Turn;
use super::{ipam, lease, list};
use crate::error::{Error, ErrorKind, Faults, Result};
use crate::event::{EventKind, SystemEvent};
use crate::id::{ContainerId, NetworkId, NetworkName, random_hex};
use crate::parts::Parts;
use crate::spec::{EndpointSpec, NetworkSpec, PortSpec, Timestamp};
use crate::store::networks::NetworkRecord;
use crate::store::{Durability, Store, Tx, blocking, endpoints, networks};

/// The network that every engine has, and the driver that makes it.
pub(super) const DEFAULT: &str = "bridge";
/// Something else may take the same addresses or the same interface at the same moment; then decide again, so often.
const ATTEMPTS: usize = 4;

/// A container's place in a network, before its namespace is there.
pub(crate) struct Wiring {
    /// The network.
    pub(crate) network: NetworkRecord,
    /// The place.
    pub(crate) endpoint: Endpoint,
    /// Descriptors that hold the published ports, for the container's monitor to keep open.
    pub(crate) held: Vec<OwnedFd>,
    /// What the monitor sends when the container has ended; see [`NetworkDriver::teardown`].
    pub(crate) teardown: Vec<Vec<u8>>,
    /// How the container's questions for names come to its server, if the network has names.
    pub(crate) redirect: Option<Redirect>,
    /// What the container is called in the network.
    names: Vec<String>,
}

/// See [`NetworkDriver::redirect_names`].
#[derive(Clone, Debug)]
pub(crate) struct Redirect {
    pub(crate) port: u16,
    pub(crate) batch: Vec<u8>,
}

impl Wiring {
    /// Wires the container's network namespace.
    pub(crate) async fn connect(
        &self,
        parts: &Parts,
        container: &ContainerId,
        netns: BorrowedFd<'_>,
    ) -> Result<()> {
        Ground::of(parts).connect(self, netns).await?;
        if self.redirect.is_some() {
            let directory = Directory::of(&parts.run_root, &self.network.plan.id);
            enter(directory, self.endpoint.clone(), self.names.clone()).await?;
        }
        parts.tell(&event("connect", &self.network).with("container", container.as_str()));
        Ok(())
    }
}

/// What a container asks of its place.
#[derive(Clone, Copy)]
pub(crate) struct Wish<'a> {
    /// Ports to publish.
    pub(crate) ports: &'a [PortSpec],
    /// Addresses.
    pub(crate) endpoint: &'a EndpointSpec,
    /// What it is to be called there, in networks that have names.
    pub(crate) names: &'a [String],
    /// It has IPv6 turned off: to it the network is one without.
    pub(crate) without_ipv6: bool,
}

async fn enter(directory: Directory, endpoint: Endpoint, names: Vec<String>) -> Result<()> {
    let addresses: Vec<IpAddr> = endpoint.addresses().collect();
    blocking(move || directory.enter(&endpoint.id, &names, &addresses)).await
}

async fn leave(directory: Directory, member: String) -> Result<()> {
    blocking(move || {
        directory.leave(&member);
        Ok(())
    })
    .await
}

/// Has the container be called otherwise in the networks that it is in; without names nobody finds it there.
pub(crate) async fn rename(parts: &Parts, container: &ContainerId, names: Vec<String>) -> Result<()> {
    let id = container.clone();
    for (network, endpoint) in parts.store.read(move |tx| endpoints::of_container(tx, &id)).await? {
        let directory = Directory::of(&parts.run_root, &network);
        // Where it has no names it gets none.
        if directory.path().exists() {
            leave(directory.clone(), endpoint.id.clone()).await?;
            enter(directory, endpoint, names.clone()).await?;
        }
    }
    Ok(())
}

/// Makes sure that the network is on this host, takes the ports, and leases an address. What the container had there
/// from an earlier run is replaced.
///
/// # Errors
/// [`ErrorKind::NotFound`] for a network that is not there, [`ErrorKind::InUse`] for a port, and
/// [`ErrorKind::LimitExceeded`] when all addresses are leased.
pub(crate) async fn reserve(
    parts: &Parts,
    container: &ContainerId,
    network: &NetworkName,
    wish: Wish<'_>,
) -> Result<Wiring> {
    Ground::of(parts).reserve(container, network, wish).await
}

/// Unwires the container everywhere and gives its addresses back. May be called twice, and goes on past failures.
pub(crate) async fn release(parts: &Parts, container: &ContainerId) -> Result<()> {
    Ground::of(parts).release(container).await
}

/// Tells that the container has left these networks.
pub(crate) fn tell_left(parts: &Parts, networks: &[NetworkRecord], container: &ContainerId) {
    for network in networks {
        parts.tell(&event("disconnect", network).with("container", container.as_str()));
    }
}

/// Something happened to a network.
pub(super) fn event(action: &str, network: &NetworkRecord) -> SystemEvent {
    SystemEvent::now(EventKind::Network, action, network.plan.id.as_str())
        .with("name", network.plan.name.as_str())
        .with("type", network.driver.as_str())
}

/// Unmakes what is on the host and belongs to no record; gives a line for each thing.
pub(crate) async fn sweep(parts: &Parts) -> Result<Vec<String>> {
    Ground::of(parts).sweep().await
}

/// What the networks stand on: the records and the drivers.
#[derive(Clone, Copy)]
pub(super) struct Ground<'a> {
    pub(super) store: &'a Store,
    pub(super) drivers: &'a BTreeMap<String, Arc<dyn NetworkDriver>>,
    /// Who is told of what happens.
    pub(super) listener: Option<&'a Parts>,
}

impl<'a> Ground<'a> {
    pub(super) fn of(parts: &'a Parts) -> Ground<'a> {
        Ground { store: &parts.store, drivers: &parts.networks, listener: Some(parts) }
    }

    pub(super) fn tell(&self, event: &SystemEvent) {
        if let Some(parts) = self.listener {
            parts.tell(event);
        }
    }

    /// The driver of that name.
    pub(super) fn driver(&self, name: &str) -> Result<&'a dyn NetworkDriver> {
        self.drivers.get(name).map(Arc::as_ref).ok_or_else(|| {
            let known: Vec<&str> = self.drivers.keys().map(String::as_str).collect();
            Error::new(ErrorKind::NotFound, format!("network driver {name:?}"))
                .because("the engine has no driver of that name")
                .with_remedy(format!("use one of: {}", known.join(", ")))
        })
    }

    async fn connect(&self, wiring: &Wiring, netns: BorrowedFd<'_>) -> Result<()> {
        let driver = self.driver(&wiring.network.driver)?;
        driver.connect(&wiring.network.plan, &wiring.endpoint, netns).await
    }

    pub(super) async fn reserve(
        &self,
        container: &ContainerId,
        network: &NetworkName,
        wish: Wish<'_>,
    ) -> Result<Wiring> {
        if network.as_str() == DEFAULT && (wish.endpoint.address.is_some() || wish.endpoint.ipv6.is_some()) {
            return Err(Error::invalid(
                format!("network {network}"),
                "user specified IP address is supported on user defined networks only",
            )
            .with_remedy("create a network, and put the container into that"));
        }
        for _ in 1..ATTEMPTS {
            match self.try_reserve(container, network, wish).await {
                // Another process found that it has to be decided anew.
                Err(e) if e.is(ErrorKind::NotFound) && network.as_str() == DEFAULT => {}
                reserved => return reserved,
            }
        }
        self.try_reserve(container, network, wish).await
    }

    async fn try_reserve(
        &self,
        container: &ContainerId,
        network: &NetworkName,
        wish: Wish<'_>,
    ) -> Result<Wiring> {
        let mut network = self.made(network).await?;
        if wish.without_ipv6 {
            network.plan.ipv6 = None;
        }
        let driver = self.driver(&network.driver)?;
        let reservation = driver.reserve(&network.plan, wish.ports).await?;
        let endpoint = self.lease(container, &network, wish.endpoint, reservation.ports).await?;
        let teardown = driver.teardown(&network.plan, &endpoint);
        let port = names_port(&endpoint);
        let redirect = driver.redirect_names(port).filter(|_| network.plan.name != DEFAULT);
        let redirect = redirect.map(|batch| Redirect { port, batch });
        let names = wish.names.to_vec();
        Ok(Wiring { network, endpoint, held: reservation.held, teardown, redirect, names })
    }

    /// The network of that name, made on this host.
    async fn made(&self, name: &NetworkName) -> Result<NetworkRecord> {
        let mut attempts = ATTEMPTS;
        loop {
            let network = self.network(name).await?;
            attempts -= 1;
            match self.driver(&network.driver)?.create(&network.plan).await {
                // The default network was decided when the host was another one: nobody chose its addresses, so it
                // may have others.
                Err(e) if e.is(ErrorKind::Conflict) && name.as_str() == DEFAULT && attempts > 0 => {
                    self.forget_default(&network).await.map_err(|_| e)?;
                }
                made => return made.map(|()| network),
            }
        }
    }

    async fn network(&self, name: &NetworkName) -> Result<NetworkRecord> {
        if name.as_str() == DEFAULT {
            return self.default_network().await;
        }
        // A caller may have an identifier, or the beginning of one, for a name.
        let wanted = name.clone();
        self.store.read(move |tx| list::record(tx, wanted.as_str())).await
    }

    /// The default network, which is recorded when it is first asked for.
    pub(super) async fn default_network(&self) -> Result<NetworkRecord> {
        let name: NetworkName = DEFAULT.parse()?;
        let wanted = name.clone();
        if let Some(network) = self.store.read(move |tx| networks::by_name(tx, &wanted)).await? {
            return Ok(network);
        }
        // Stores that were deleted may have left their networks; what fails here is told when it matters.
        let _ = self.sweep().await;
        self.record(&NetworkSpec::new(name.clone()), DEFAULT, Durability::Relaxed).await?;
        let recorded = self.store.read(move |tx| networks::by_name(tx, &name)).await?;
        recorded.ok_or_else(|| Error::internal("network bridge", "it vanished when it was just recorded"))
    }

    /// Decides a network and records it, unless its name is taken: `None` then.
    pub(super) async fn record(
        &self,
        spec: &NetworkSpec,
        driver: &str,
        durability: Durability,
    ) -> Result<Option<NetworkRecord>> {
        for _ in 0..ATTEMPTS {
            let others = self.store.read(plans).await?;
            let plan = self.driver(driver)?.plan(NetworkId::random()?, spec, &others).await?;
            let record = NetworkRecord {
                plan,
                driver: driver.into(),
                created: Timestamp::now(),
                options: spec.options.clone(),
                labels: spec.labels.clone(),
            };
            let store = self.store.clone();
            let outcome = blocking(move || {
                let _turn = Turn::to_record(store.root())?;
                store.write_now(durability, |tx| insert(tx, record))
            })
            .await?;
            match outcome {
                Outcome::Recorded(record) => return Ok(Some(*record)),
                Outcome::NameTaken => return Ok(None),
                Outcome::Overlaps => {}
            }
        }
        Err(Error::new(ErrorKind::Unavailable, format!("network {}", spec.name))
            .because("other processes create networks all the time")
            .with_remedy("try again"))
    }

    /// Takes the record of the default network away if nobody is in it.
    async fn forget_default(&self, network: &NetworkRecord) -> Result<()> {
        let id = network.plan.id.clone();
        self.store
            .write(Durability::Relaxed, move |tx| {
                if endpoints::of_network(tx, &id)?.is_empty() {
                    networks::delete(tx, &id)
                } else {
                    Err(Error::new(ErrorKind::InUse, "network bridge"))
                }
            })
            .await?;
        self.driver(&network.driver)?.remove(&network.plan).await
    }

    /// Leases the address that is wanted, or else the lowest that is free, in one transaction.
    async fn lease(
        &self,
        container: &ContainerId,
        network: &NetworkRecord,
        wanted: &EndpointSpec,
        ports: Vec<PublishedPort>,
    ) -> Result<Endpoint> {
        let (container, plan, wanted) = (container.clone(), network.plan.clone(), wanted.clone());
        let store = self.store.clone();
        blocking(move || {
            let _turn = Turn::to_record(store.root())?;
            store.write_now(Durability::Relaxed, |tx| {
                let name = format!("network {}", plan.name);
                if networks::get(tx, &plan.id)?.is_none() {
                    return Err(Error::not_found(name));
                }
                endpoints::leave(tx, &container, &plan.id)?;
                let others = endpoints::of_container(tx, &container)?.len();
                let address = lease::ipv4(tx, &plan, wanted.address)?;
                let ipv6 = lease::ipv6(tx, &plan, wanted.ipv6)?;
                let mac = wanted.mac.unwrap_or_else(|| ipam::mac(address));
                let endpoint = Endpoint {
                    id: random_hex::<32>()?,
                    interface: format!("eth{others}"),
                    address,
                    ipv6,
                    link_local: lease::link_local(&wanted.link_local)?,
                    mac,
                    ports,
                };
                match endpoints::insert(tx, &container, &plan.id, &endpoint)? {
                    true => Ok(endpoint),
                    false => Err(Error::internal(name, "an address is leased, but was free")),
                }
            })
        })
        .await
    }

    pub(super) async fn release(&self, container: &ContainerId) -> Result<()> {
        let id = container.clone();
        let places = self
            .store
            .read(move |tx| {
                let places = endpoints::of_container(tx, &id)?.into_iter();
                places
                    .map(|(network, endpoint)| Ok((networks::get(tx, &network)?, endpoint)))
                    .collect::<Result<Vec<_>>>()
            })
            .await?;
        if places.is_empty() {
            return Ok(());
        }
        let mut faults = Faults::new();
        let (mut undone, mut left) = (Vec::with_capacity(places.len()), Vec::new());
        for (network, endpoint) in places {
            if let Some(network) = network {
                match self.driver(&network.driver) {
                    Ok(driver) => faults.note(driver.disconnect(&network.plan, &endpoint).await),
                    Err(e) => faults.note::<()>(Err(e)),
                }
                if let Some(parts) = self.listener {
                    let directory = Directory::of(&parts.run_root, &network.plan.id);
                    faults.note(leave(directory, endpoint.id.clone()).await);
                }
                left.push(event("disconnect", &network).with("container", container.as_str()));
            }
            undone.push(endpoint.id);
        }
        let id = container.clone();
        let give_back = move |tx: &Tx<'_>| {
            // Not what it has got since.
            for (network, endpoint) in endpoints::of_container(tx, &id)? {
                if undone.contains(&endpoint.id) {
                    endpoints::leave(tx, &id, &network)?;
                }
            }
            Ok(())
        };
        faults.note(self.store.write(Durability::Relaxed, give_back).await);
        left.iter().for_each(|event| self.tell(event));
        faults.into_result()
    }

    pub(super) async fn sweep(&self) -> Result<Vec<String>> {
        let root = self.store.root().to_owned();
        let _turn = blocking(move || Turn::to_sweep(&root)).await?;
        let (recorded, places) =
            self.store.read(|tx| Ok((networks::list(tx)?, endpoints::list(tx)?))).await?;
        let mut of_network: BTreeMap<NetworkId, Vec<Endpoint>> = BTreeMap::new();
        for (_, network, endpoint) in places {
            of_network.entry(network).or_default().push(endpoint);
        }
        let mut lines = Vec::new();
        let mut faults = Faults::new();
        for (name, driver) in self.drivers {
            let plans: Vec<NetworkPlan> =
                recorded.iter().filter(|network| network.driver == *name).map(|n| n.plan.clone()).collect();
            match driver.sweep(&plans, &of_network).await {
                Ok(more) => lines.extend(more),
                Err(e) => faults.note::<()>(Err(e)),
            }
        }
        faults.into_result().map(|()| lines)
    }
}

/// A port of those that programs leave to the kernel, of a container that has no program yet.
fn names_port(endpoint: &Endpoint) -> u16 {
    const FIRST: u16 = 32_768;
    const COUNT: u16 = 28_232;
    let random = endpoint.id.get(..4).and_then(|digits| u16::from_str_radix(digits, 16).ok()).unwrap_or(0);
    FIRST + random % COUNT
}

enum Outcome {
    Recorded(Box<NetworkRecord>),
    NameTaken,
    /// Another process recorded a network with some of its addresses meanwhile.
    Overlaps,
}

fn insert(tx: &Tx<'_>, record: NetworkRecord) -> Result<Outcome> {
    let name: NetworkName = record.plan.name.parse()?;
    if networks::by_name(tx, &name)?.is_some() {
        return Ok(Outcome::NameTaken);
    }
    let plan = &record.plan;
    let clash = |other: &NetworkPlan| {
        plan.subnet.zip(other.subnet).is_some_and(|(one, two)| one.overlaps(two))
            || plan.ipv6.zip(other.ipv6).is_some_and(|(one, two)| one.subnet.overlaps(two.subnet))
    };
    if plans(tx)?.iter().any(clash) {
        return Ok(Outcome::Overlaps);
    }
    networks::insert(tx, &record)?;
    Ok(Outcome::Recorded(Box::new(record)))
}

/// The recorded networks, as they were decided.
fn plans(tx: &Tx<'_>) -> Result<Vec<NetworkPlan>> {
    Ok(networks::list(tx)?.into_iter().map(|network| network.plan).collect())
}
