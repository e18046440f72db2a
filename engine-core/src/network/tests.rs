//! The service with the bridge driver, on a host of its own.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use super::conformance::Namespace;
use super::driver::NetworkDriver;
use super::endpoint::{Ground, Wiring};
use super::linux::Bridge;
use super::linux::tests::{on_a_host, shell};
use crate::container::record::ContainerRecord;
use crate::error::ErrorKind;
use crate::id::{ContainerId, NetworkName};
use crate::spec::{ContainerSpec, EndpointSpec, Filter, NetworkSpec, PortSpec, Timestamp};
use crate::store::{Durability, Store, containers, endpoints, networks};

/// A store with the default driver, as one process has it.
struct Process {
    store: Store,
    drivers: BTreeMap<String, Arc<dyn NetworkDriver>>,
}

impl Process {
    fn new(root: &Path) -> Process {
        let bridge: Arc<dyn NetworkDriver> = Arc::new(Bridge::new(root));
        Process {
            store: Store::open(root).expect("opens"),
            drivers: BTreeMap::from([("bridge".into(), bridge)]),
        }
    }

    fn ground(&self) -> Ground<'_> {
        Ground { store: &self.store, drivers: &self.drivers, listener: None }
    }

    /// A container that exists, and no more.
    fn container(&self, name: &str) -> ContainerId {
        let id = ContainerId::random().expect("random");
        let record = ContainerRecord {
            spec: ContainerSpec::directory("/"),
            image: None,
            chain: Vec::new(),
            image_labels: Default::default(),
        };
        let name = name.parse().expect("a name");
        let inserted = self.store.write_now(Durability::Relaxed, |tx| {
            containers::insert(tx, &id, &name, Timestamp::now(), &record)
        });
        assert!(inserted.expect("writes"));
        id
    }

    async fn reserve(
        &self,
        container: &ContainerId,
        network: &str,
        ports: &[PortSpec],
    ) -> crate::Result<Wiring> {
        let endpoint = Default::default();
        let wish = super::endpoint::Wish { ports, endpoint: &endpoint, names: &[], without_ipv6: false };
        self.ground().reserve(container, &name(network), wish).await
    }
}

fn name(text: &str) -> NetworkName {
    text.parse().expect("a name")
}

fn filter(conditions: &[&str]) -> Filter {
    let mut filter = Filter::new();
    conditions.iter().for_each(|condition| filter.add_text(condition).expect("well formed"));
    filter
}

fn on_a_host_with_a_store<F: Future<Output = ()>>(test: impl FnOnce(std::path::PathBuf) -> F + Send) {
    let root = tempfile::tempdir().expect("a directory");
    on_a_host(|| test(root.path().to_owned()));
}

#[test]
fn a_container_is_wired_listed_and_released() {
    on_a_host_with_a_store(|root| async move {
        let process = Process::new(&root);
        let (ground, web) = (process.ground(), process.container("web"));
        let wiring = process.reserve(&web, "bridge", &[PortSpec::tcp(8080, 80)]).await.expect("reserved");
        assert_eq!((wiring.held.len(), wiring.teardown.len()), (1, 1));
        let netns = Namespace::new();
        let driver = ground.driver("bridge").expect("is there");
        driver.connect(&wiring.network.plan, &wiring.endpoint, netns.fd()).await.expect("connects");
        let server = netns.serve(80, 1);
        Namespace::current().ask(([127, 0, 0, 1], 8080)).expect("it is published");
        server.join().expect("ends");

        let info = ground.get("bridge").await.expect("found");
        let member = &info.containers[&web];
        assert_eq!((member.name.as_str(), member.ipv4_address.as_str()), ("web", "172.17.0.2/16"));
        assert_eq!(member.mac_address, "02:42:ac:11:00:02");
        let json = serde_json::to_value(&info).expect("has a text form");
        assert_eq!(json["IPAM"]["Config"][0]["Subnet"], "172.17.0.0/16");
        assert_eq!(json["Containers"][web.as_str()]["IPv4Address"], "172.17.0.2/16");
        assert_eq!(json["EnableIPv6"], false);

        for _ in 0..2 {
            ground.release(&web).await.expect("released");
        }
        assert!(ground.get("bridge").await.expect("found").containers.is_empty());
        assert!(!shell("nft list map ip engine published_any").contains("8080"));
        super::conformance::eventually("the pair is gone", || !shell("ip -o link").contains("veth"));
    });
}

#[test]
fn a_lease_of_an_earlier_run_is_replaced_and_a_failed_reservation_takes_none() {
    on_a_host_with_a_store(|root| async move {
        let process = Process::new(&root);
        let (one, two) = (process.container("one"), process.container("two"));
        let first = process.reserve(&one, "bridge", &[PortSpec::tcp(8080, 80)]).await.expect("reserved");
        let error = process.reserve(&two, "bridge", &[PortSpec::tcp(8080, 80)]).await.err().expect("in use");
        assert_eq!(error.kind(), ErrorKind::InUse);
        // The process is killed here; the container is started again.
        drop(first);
        let again = process.reserve(&one, "bridge", &[PortSpec::tcp(8080, 80)]).await.expect("reserved");
        assert_eq!(again.endpoint.address.octets(), [172, 17, 0, 2]);
        let places = process.store.read_now(endpoints::list).expect("reads");
        assert_eq!(places.len(), 1);
        let error = process.reserve(&two, "nowhere", &[]).await.err().expect("no such network");
        assert_eq!(error.kind(), ErrorKind::NotFound);
    });
}

#[test]
fn no_address_is_leased_twice_and_the_default_network_is_one_for_all_processes() {
    const EACH: usize = 12;
    on_a_host_with_a_store(|root| async move {
        let here = Namespace::current();
        let threads: Vec<_> = (0..4)
            .map(|thread| {
                let root = root.clone();
                let reserve = move || {
                    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
                    let process = Process::new(&root);
                    runtime.block_on(async {
                        let mut leases = Vec::new();
                        for n in 0..EACH {
                            let container = process.container(&format!("c{thread}-{n}"));
                            let wiring = process.reserve(&container, "bridge", &[]).await.expect("reserved");
                            leases.push((wiring.network.plan.id, wiring.endpoint.address));
                        }
                        leases
                    })
                };
                // A new thread is in the namespace of its maker.
                std::thread::spawn(reserve)
            })
            .collect();
        let leases: Vec<_> = threads.into_iter().flat_map(|t| t.join().expect("no panic")).collect();
        drop(here);
        let networks: BTreeSet<_> = leases.iter().map(|(network, _)| network).collect();
        let addresses: BTreeSet<_> = leases.iter().map(|(_, address)| address.octets()[3]).collect();
        assert_eq!(networks.len(), 1);
        assert_eq!(addresses, (2..2 + 4 * EACH as u8).collect(), "the lowest ones, each once");
    });
}

#[test]
fn a_full_network_says_so() {
    on_a_host_with_a_store(|root| async move {
        let process = Process::new(&root);
        let mut spec = NetworkSpec::new(name("tiny"));
        spec.subnet = Some("10.77.0.0/30".parse().expect("well formed"));
        process.ground().create(spec).await.expect("created");
        let (one, two) = (process.container("one"), process.container("two"));
        process.reserve(&one, "tiny", &[]).await.expect("reserved");
        let error = process.reserve(&two, "tiny", &[]).await.err().expect("it is full");
        assert_eq!(error.kind(), ErrorKind::LimitExceeded);
        process.ground().release(&one).await.expect("released");
        process.reserve(&two, "tiny", &[]).await.expect("there is room again");
    });
}

#[test]
fn networks_are_created_found_and_removed() {
    on_a_host_with_a_store(|root| async move {
        let process = Process::new(&root);
        let ground = process.ground();
        let mut spec = NetworkSpec::new(name("app_default"));
        spec.labels.insert("com.docker.compose.project".into(), "app".into());
        let app = ground.create(spec.clone()).await.expect("created");
        assert!(shell("ip -o link").contains(&format!("br-{}", app.id.short())));
        assert_eq!(ground.create(spec).await.expect_err("the name is taken").kind(), ErrorKind::Conflict);
        for wanted in ["app_default", app.id.as_str(), &app.id.as_str()[..20]] {
            assert_eq!(ground.get(wanted).await.expect("found"), app, "{wanted}");
        }
        assert_eq!(ground.get("nothing").await.expect_err("not there").kind(), ErrorKind::NotFound);

        let names = |filter: Filter| async move {
            let found = ground.list(&filter).await.expect("lists");
            found.into_iter().map(|info| info.name).collect::<Vec<_>>()
        };
        assert_eq!(names(Filter::new()).await, ["app_default", "bridge", "host", "none"]);
        assert_eq!(names(filter(&["type=builtin"])).await, ["bridge", "host", "none"]);
        assert_eq!(names(filter(&["driver=null", "driver=host"])).await, ["host", "none"]);
        assert_eq!(names(filter(&["label=com.docker.compose.project=app"])).await, ["app_default"]);
        assert_eq!(names(filter(&["name=app", "dangling=true"])).await, ["app_default"]);
        assert_eq!(names(filter(&["dangling=false"])).await, ["bridge", "host", "none"]);
        ground.list(&filter(&["color=red"])).await.expect_err("no such filter");
        ground.list(&filter(&["type=red"])).await.expect_err("no such value");

        let web = process.container("web");
        let wiring = process.reserve(&web, "app_default", &[]).await.expect("reserved");
        let error = ground.remove("app_default").await.expect_err("web is in it");
        assert_eq!(error.kind(), ErrorKind::InUse);
        assert!(error.to_string().contains("web"), "{error}");
        assert!(ground.prune(&Filter::new()).await.expect("prunes").is_empty());
        drop(wiring);
        ground.release(&web).await.expect("released");
        process.reserve(&web, &app.id.as_str()[..12], &[]).await.expect("reserved by identifier");
        ground.release(&web).await.expect("released");
        assert_eq!(ground.remove("app_default").await.expect("removed").name, "app_default");
        assert!(!shell("ip -o link; nft list ruleset").contains(app.id.short()));
        let free = ground.create(NetworkSpec::new(name("free"))).await.expect("created");
        assert_eq!(ground.prune(&Filter::new()).await.expect("prunes"), [name(&free.name)]);
    });
}

#[test]
fn what_is_always_there_stays_there() {
    on_a_host_with_a_store(|root| async move {
        let process = Process::new(&root);
        let ground = process.ground();
        for predefined in ["bridge", "host", "none"] {
            let error = ground.remove(predefined).await.expect_err("stays");
            assert_eq!(error.kind(), ErrorKind::PermissionDenied);
            let spec = NetworkSpec::new(name(predefined));
            assert_eq!(ground.create(spec).await.expect_err("is there").kind(), ErrorKind::PermissionDenied);
        }
        for (driver, kind) in [("host", ErrorKind::PermissionDenied), ("exotic", ErrorKind::NotFound)] {
            let mut spec = NetworkSpec::new(name("mine"));
            spec.driver = Some(driver.into());
            assert_eq!(ground.create(spec).await.expect_err("refused").kind(), kind);
        }
    });
}

#[test]
fn two_networks_do_not_share_addresses_and_a_failed_one_leaves_nothing() {
    on_a_host_with_a_store(|root| async move {
        let process = Process::new(&root);
        let ground = process.ground();
        let subnet = |text: &str| {
            let mut spec = NetworkSpec::new(name("second"));
            spec.subnet = Some(text.parse().expect("well formed"));
            spec
        };
        let error = ground.create(subnet("172.17.5.0/24")).await.expect_err("it is bridge's");
        assert_eq!(error.kind(), ErrorKind::Conflict);
        shell("ip link add other type bridge; ip addr add 10.66.0.9/24 dev other");
        let error = ground.create(subnet("10.66.0.0/24")).await.expect_err("it is the host's");
        assert_eq!(error.kind(), ErrorKind::Conflict);
        assert_eq!(process.store.read_now(networks::list).expect("reads").len(), 1);
        ground.create(subnet("10.67.0.0/24")).await.expect("created");
    });
}

#[test]
fn the_default_network_makes_way_for_what_the_host_has_got_since() {
    on_a_host_with_a_store(|root| async move {
        let process = Process::new(&root);
        let before = process.ground().default_network().await.expect("recorded");
        // A reboot later, something else is faster.
        shell("ip link add engine0 type bridge; ip addr add 172.17.0.1/16 dev engine0");
        let web = process.container("web");
        let wiring = process.reserve(&web, "bridge", &[]).await.expect("reserved");
        assert_ne!(wiring.network.plan.subnet, before.plan.subnet);
        assert_ne!(wiring.network.plan.interface, before.plan.interface);
        assert!(shell("ip addr show engine0").contains("172.17.0.1/16"), "it is left alone");
    });
}

#[test]
fn a_deleted_store_makes_room_for_the_next_one() {
    on_a_host_with_a_store(|root| async move {
        let gone = tempfile::tempdir().expect("a directory");
        let first = Process::new(gone.path());
        first.reserve(&first.container("one"), "bridge", &[]).await.expect("reserved");
        let second = Process::new(&root);
        let wiring = second.reserve(&second.container("one"), "bridge", &[]).await.expect("reserved");
        assert_ne!(wiring.network.plan.interface.as_deref(), Some("engine0"), "it is in use");
        drop((first, gone));
        let next = tempfile::tempdir().expect("a directory");
        let third = Process::new(next.path());
        let wiring = third.reserve(&third.container("one"), "bridge", &[]).await.expect("reserved");
        assert_eq!(wiring.network.plan.interface.as_deref(), Some("engine0"));
    });
}

#[test]
fn ipv6_addresses_are_leased_beside_the_others_and_told_with_them() {
    on_a_host_with_a_store(|root| async move {
        let process = Process::new(&root);
        let ground = process.ground();
        let mut spec = NetworkSpec::new(name("six"));
        spec.enable_ipv6 = true;
        spec.ipv6.subnet = Some("2001:db8:9::/64".parse().expect("well formed"));
        spec.ipv6.ip_range = Some("2001:db8:9::100/120".parse().expect("well formed"));
        ground.create(spec.clone()).await.expect("created");
        let containers = ["one", "two", "three"].map(|name| process.container(name));
        let wanted = |text: &str| {
            let address = text.parse().expect("an address");
            EndpointSpec { ipv6: Some(address), ..EndpointSpec::default() }
        };
        let reserve = async |at: usize, endpoint: &EndpointSpec| {
            let wish = super::endpoint::Wish {
                ports: &[PortSpec::tcp(8080 + at as u16, 80)],
                endpoint,
                names: &[],
                without_ipv6: false,
            };
            let reserved = ground.reserve(&containers[at], &name("six"), wish).await;
            reserved.map(|wiring| (wiring.endpoint.ipv6.expect("has one").to_string(), wiring.held.len()))
        };
        let free = EndpointSpec::default();
        assert_eq!(reserve(0, &free).await.expect("reserved"), ("2001:db8:9::100".into(), 2));
        assert_eq!(reserve(1, &wanted("2001:db8:9::9")).await.expect("reserved").0, "2001:db8:9::9");
        assert_eq!(reserve(2, &free).await.expect("reserved").0, "2001:db8:9::101");
        // It has its own again, or another one in its place.
        assert_eq!(reserve(2, &free).await.expect("reserved").0, "2001:db8:9::101");
        for (text, kind) in [
            ("2001:db8:9::9", ErrorKind::InUse),
            ("2001:db8:9::1", ErrorKind::InUse),
            ("2001:db8:9::", ErrorKind::InvalidInput),
            ("2001:db8:a::9", ErrorKind::InvalidInput),
        ] {
            let error = reserve(2, &wanted(text)).await.expect_err("cannot be had");
            assert_eq!(error.kind(), kind, "{text}: {error}");
            assert!(error.to_string().contains(text), "{error}");
        }
        let info = ground.get("six").await.expect("found");
        let json = serde_json::to_value(&info).expect("has a text form");
        assert_eq!(json["EnableIPv6"], true);
        assert_eq!(json["IPAM"]["Config"][0]["Subnet"], "172.18.0.0/16");
        assert_eq!(
            json["IPAM"]["Config"][1],
            serde_json::json!({
                "Subnet": "2001:db8:9::/64", "IPRange": "2001:db8:9::100/120", "Gateway": "2001:db8:9::1",
            })
        );
        let member = &json["Containers"][containers[1].as_str()];
        assert_eq!(member["IPv6Address"], "2001:db8:9::9/64");

        spec.name = name("second");
        assert_eq!(ground.create(spec).await.expect_err("overlaps").kind(), ErrorKind::Conflict);
        let plain = process.container("plain");
        let endpoint = wanted("2001:db8:9::77");
        let wish = super::endpoint::Wish { ports: &[], endpoint: &endpoint, names: &[], without_ipv6: false };
        for network in ["bridge", "none-such-v6"] {
            if network != "bridge" {
                ground.create(NetworkSpec::new(name(network))).await.expect("created");
            }
            let error = ground.reserve(&plain, &name(network), wish).await.err().expect("has no IPv6");
            assert_eq!(error.kind(), ErrorKind::InvalidInput);
        }
        let link_local = vec!["10.0.0.1".parse().expect("an address")];
        let endpoint = EndpointSpec { link_local, ..EndpointSpec::default() };
        let wish = super::endpoint::Wish { ports: &[], endpoint: &endpoint, names: &[], without_ipv6: false };
        let error = ground.reserve(&plain, &name("six"), wish).await.err().expect("not of the link");
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
    });
}
