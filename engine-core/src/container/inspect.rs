//! All there is to know of a container, in the shape of Docker's inspect.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::{Map, Value, json};

use super::info::ContainerInfo;
use super::{Container, files, health, naming, oci, plan, reconcile, state};
use crate::error::Result;
use crate::id::{ContainerName, NetworkId};
use crate::image::config::RunConfig;
use crate::network::driver::{Endpoint, NetworkPlan, PublishedPort};
use crate::parts::Parts;
use crate::runtime::choice::DEFAULT as DEFAULT_RUNTIME;
use crate::spec::{
    ContainerSpec, EndpointSpec, MountKind, MountSpec, NamespaceMode, NetworkMode, PortSpec, Propagation,
    Resources, Seccomp,
};
use crate::store::containers::ContainerRow;
use crate::store::{endpoints, networks, volumes};

pub(super) async fn inspect(container: &Container) -> Result<ContainerInfo> {
    let parts = &container.parts;
    let row = container.row().await?;
    let row = reconcile::settle(parts, row).await?.ok_or_else(|| container.gone())?;
    let config = plan::image_config(parts, &row.record).await?;
    let id = row.id.clone();
    let (places, members, volume_rows) = parts
        .store
        .read(move |tx| {
            let places = endpoints::of_container(tx, &id)?;
            let plans = networks::list(tx)?;
            Ok((places, plans, volumes::of_container(tx, &id)?))
        })
        .await?;
    let spec = &row.record.spec;
    let mut state = state::of(parts, &row)?;
    let run = config.as_ref().map(|config| &config.config);
    if health::is_checked(&spec.health, run) {
        let status = state.health.take().unwrap_or_else(health::ended).status;
        state.health = Some(health::state(parts, &row.id, status));
    }
    let command = oci::command(spec, run);
    let (path, args) =
        command.split_first().map_or((String::new(), Vec::new()), |(p, a)| (p.clone(), a.to_vec()));
    let etc = files::EtcFiles::of(parts, &row.id);
    let execs = match state.running {
        true => running_execs(parts, &row).await?,
        false => None,
    };
    let mounts: Vec<Value> = spec
        .mounts
        .iter()
        .map(|mount| {
            let driver = match &mount.kind {
                MountKind::Volume(volume) => volume_rows
                    .iter()
                    .find(|row| Some(&row.name) == volume.name.as_ref())
                    .map(|row| row.driver.as_str()),
                _ => None,
            };
            self::mount(parts, mount, driver)
        })
        .collect();
    let show = |path: &Path| json!(path.display().to_string());
    // Docker shows only the file that is a driver's own form.
    let log = match (spec.log.driver.as_str(), files::log(parts, &row.id, &spec.log)) {
        ("json-file", Some(path)) => show(&path),
        _ => json!(""),
    };
    let details: BTreeMap<String, Value> = [
        ("ResolvConfPath", show(&etc.resolv_conf)),
        ("HostnamePath", show(&etc.hostname)),
        ("HostsPath", show(&etc.hosts)),
        ("LogPath", log),
        ("RestartCount", json!(state.restarts)),
        ("Driver", json!("overlayfs")),
        ("Platform", json!("linux")),
        ("MountLabel", json!("")),
        ("ProcessLabel", json!("")),
        ("AppArmorProfile", json!("")),
        ("ExecIDs", execs.map_or(Value::Null, |ids| json!(ids))),
        ("GraphDriver", json!({ "Name": "overlayfs", "Data": { "UpperDir": parts.container_dir(&row.id).join("upper").display().to_string() } })),
        ("Mounts", json!(mounts)),
        ("Config", config_of(&row, run)),
        ("HostConfig", host_config(spec, &row.name)),
        ("NetworkSettings", network_settings(&row, &places, &members, state.running)),
    ]
    .into_iter()
    .map(|(key, value)| (key.to_owned(), value))
    .collect();
    Ok(ContainerInfo {
        id: row.id.clone(),
        created: row.created,
        path,
        args,
        state,
        image: row.record.image.as_ref().map(ToString::to_string).unwrap_or_default(),
        name: format!("/{}", row.name),
        details,
    })
}

/// The identifiers of processes that run beside the program; `None` without any.
async fn running_execs(parts: &Parts, row: &ContainerRow) -> Result<Option<Vec<String>>> {
    let execs = parts.runtime.execs(&reconcile::place(parts, row)).await?;
    let running = execs.into_iter().filter(|exec| exec.running);
    Ok(Some(running.map(|exec| exec.record.id).collect()).filter(|ids: &Vec<String>| !ids.is_empty()))
}

fn mount(parts: &Parts, mount: &MountSpec, driver: Option<&str>) -> Value {
    let writable = !mount.read_only;
    match &mount.kind {
        MountKind::Volume(volume) => {
            let name = volume.name.as_ref();
            let driver = driver.unwrap_or("local");
            let source = match (name, parts.volume_driver(driver)) {
                (Some(name), Ok(driver)) => driver.path(name).display().to_string(),
                _ => String::new(),
            };
            json!({
                "Type": "volume", "Name": name, "Source": source, "Destination": mount.target, "Driver": driver,
                "Mode": if writable { "" } else { "ro" }, "RW": writable, "Propagation": "",
            })
        }
        MountKind::Bind(bind) => {
            let propagation = match bind.propagation {
                Propagation::Private => "rprivate",
                Propagation::Slave => "rslave",
                Propagation::Shared => "rshared",
            };
            json!({
                "Type": "bind", "Source": bind.source.display().to_string(), "Destination": mount.target,
                "Mode": if writable { "" } else { "ro" }, "RW": writable, "Propagation": propagation,
            })
        }
        MountKind::Tmpfs(_) => json!({
            "Type": "tmpfs", "Source": "", "Destination": mount.target, "Mode": "", "RW": writable,
            "Propagation": "",
        }),
    }
}

/// What runs in it: `Config`.
pub(super) fn config_of(row: &ContainerRow, image: Option<&RunConfig>) -> Value {
    let spec = &row.record.spec;
    let mut labels = image.map(|image| image.labels.clone()).unwrap_or_default();
    labels.extend(spec.labels.clone());
    let exposed: Map<String, Value> = image
        .map(|image| image.exposed_ports.clone())
        .unwrap_or_default()
        .into_iter()
        .chain(spec.ports.iter().map(|port| format!("{}/{}", port.container, port.protocol)))
        .map(|port| (port, json!({})))
        .collect();
    let volumes: Map<String, Value> = image
        .map(|image| image.volumes.clone())
        .unwrap_or_default()
        .into_iter()
        .map(|path| (path, json!({})))
        .collect();
    let mut config = json!({
        "Hostname": files::hostname(row),
        "Domainname": spec.domainname.clone().unwrap_or_default(),
        "User": spec.user.clone().or_else(|| image.map(|image| image.user.clone())).unwrap_or_default(),
        "AttachStdin": spec.stdin_once, "AttachStdout": false, "AttachStderr": false,
        "ExposedPorts": exposed,
        "Tty": spec.terminal, "OpenStdin": spec.open_stdin, "StdinOnce": spec.stdin_once,
        "Env": environment(spec, image),
        "Cmd": cmd(spec, image),
        "Image": match &spec.root { crate::spec::RootSource::Image(name) => name.clone(), _ => String::new() },
        "Volumes": volumes,
        "WorkingDir": spec.working_dir.clone().or_else(|| image.map(|image| image.working_dir.clone())).unwrap_or_default(),
        "Entrypoint": entrypoint(spec, image),
        "OnBuild": null,
        "Labels": labels,
    });
    let of_image = || image.map(|image| image.stop_signal.clone()).filter(|signal| !signal.is_empty());
    let signal = spec.stop_signal.map(|signal| signal.to_string()).or_else(of_image);
    if let (Value::Object(config), Some(signal)) = (&mut config, signal) {
        config.insert("StopSignal".into(), json!(signal));
    }
    if let (Value::Object(config), Some(check)) = (&mut config, health::merged(&spec.health, image)) {
        config.insert("Healthcheck".into(), json!(check));
    }
    if let (Value::Object(config), Some(timeout)) = (&mut config, spec.stop_timeout) {
        config.insert("StopTimeout".into(), json!(timeout.as_secs()));
    }
    config
}

/// What was asked for on top of what the image has, without what the engine adds.
fn environment(spec: &ContainerSpec, image: Option<&RunConfig>) -> Value {
    let key = |variable: &String| variable.split('=').next().unwrap_or_default().to_owned();
    let mut variables = spec.env.clone();
    let of_image = image.map(|image| image.env.clone()).unwrap_or_default();
    let missing =
        of_image.into_iter().filter(|variable| !spec.env.iter().any(|own| key(own) == key(variable)));
    variables.extend(missing.collect::<Vec<_>>());
    json!(variables)
}

fn cmd(spec: &ContainerSpec, image: Option<&RunConfig>) -> Value {
    match (spec.command.is_empty(), &spec.entrypoint, image) {
        (false, ..) => json!(spec.command),
        (true, None, Some(image)) => list(&image.cmd),
        _ => Value::Null,
    }
}

fn entrypoint(spec: &ContainerSpec, image: Option<&RunConfig>) -> Value {
    match (&spec.entrypoint, image) {
        (Some(words), _) => list(words),
        (None, Some(image)) => list(&image.entrypoint),
        (None, None) => Value::Null,
    }
}

/// Docker writes nothing for namespaces of its own.
fn shown(mode: &NamespaceMode) -> String {
    if *mode == NamespaceMode::Private { String::new() } else { mode.to_string() }
}

/// What it may use and do on this host: `HostConfig`.
fn host_config(spec: &ContainerSpec, name: &ContainerName) -> Value {
    let mut host = json!({
        "Binds": binds(spec),
        "ContainerIDFile": "",
        "LogConfig": { "Type": spec.log.driver, "Config": spec.log.options },
        "NetworkMode": spec.network.to_string(),
        "PortBindings": bindings(&spec.ports),
        "PublishAllPorts": spec.publish_all,
        "RestartPolicy": { "Name": spec.restart.name(), "MaximumRetryCount": spec.restart.retries() },
        "AutoRemove": spec.auto_remove,
        "VolumeDriver": "", "VolumesFrom": list(&spec.volumes_from),
        "CapAdd": list(&spec.security.cap_add), "CapDrop": list(&spec.security.cap_drop),
        "CgroupnsMode": spec.cgroupns.to_string(),
        "Dns": spec.dns.servers, "DnsOptions": spec.dns.options, "DnsSearch": spec.dns.search,
        "ExtraHosts": spec.extra_hosts.iter().map(|host| {
            let address = host.address.map_or_else(|| "host-gateway".to_owned(), |address| address.to_string());
            format!("{}:{address}", host.name)
        }).collect::<Vec<_>>(),
        "GroupAdd": list(&spec.group_add),
        "IpcMode": spec.ipc.to_string(), "Cgroup": "",
        "Links": list(&spec.links.iter().map(|link| format!("/{}:/{name}/{}", link.container, link.alias)).collect::<Vec<_>>()),
        "OomScoreAdj": spec.oom_score_adj.unwrap_or(0),
        "PidMode": shown(&spec.pid), "Privileged": spec.security.privileged, "ReadonlyRootfs": spec.read_only,
        "SecurityOpt": security_options(spec),
        "Sysctls": spec.sysctls,
        "UTSMode": shown(&spec.uts), "UsernsMode": "",
        "ShmSize": spec.shm_size.unwrap_or(64 << 20),
        "Runtime": spec.runtime.as_deref().unwrap_or(DEFAULT_RUNTIME), "Isolation": "", "ConsoleSize": [0, 0],
        "Init": spec.init,
        "CgroupParent": spec.cgroup_parent.clone().unwrap_or_default(),
    });
    if let (Value::Object(host), Value::Object(limits)) = (&mut host, limits(&spec.resources)) {
        host.extend(limits);
        let devices = spec.security.devices.iter().map(|device| {
            json!({ "PathOnHost": device.host, "PathInContainer": device.container, "CgroupPermissions": device.permissions })
        });
        host.insert("Devices".into(), devices.collect());
        let (masked, read_only) = oci::system_paths(&spec.security);
        host.insert("MaskedPaths".into(), masked);
        host.insert("ReadonlyPaths".into(), read_only);
        if !spec.annotations.is_empty() {
            host.insert("Annotations".into(), json!(spec.annotations));
        }
        host.insert("DeviceCgroupRules".into(), list(&spec.security.device_rules));
        let tmpfs: Map<String, Value> = spec
            .mounts
            .iter()
            .filter(|mount| matches!(mount.kind, MountKind::Tmpfs(_)))
            .map(|mount| (mount.target.clone(), json!("")))
            .collect();
        if !tmpfs.is_empty() {
            host.insert("Tmpfs".into(), Value::Object(tmpfs));
        }
    }
    host
}

fn limits(resources: &Resources) -> Value {
    let weights: Vec<Value> = resources
        .blkio_weight_device
        .iter()
        .map(|device| json!({ "Path": device.path.display().to_string(), "Weight": device.weight }))
        .collect();
    let rates = |rates: &[crate::spec::DeviceRate]| -> Value {
        rates
            .iter()
            .map(|rate| json!({ "Path": rate.path.display().to_string(), "Rate": rate.rate }))
            .collect()
    };
    // Docker writes -1 for no limit of a process.
    let process = |limit: u64| i64::try_from(limit).unwrap_or(-1);
    json!({
        "Memory": resources.memory.unwrap_or(0),
        "MemorySwap": resources.memory_swap.unwrap_or(0),
        "MemoryReservation": resources.memory_reservation.unwrap_or(0),
        "MemorySwappiness": resources.memory_swappiness,
        "OomKillDisable": resources.oom_kill_disable,
        "CpuShares": resources.cpu_shares.unwrap_or(0),
        "CpuQuota": resources.cpu_quota.unwrap_or(0),
        "CpuPeriod": resources.cpu_period.unwrap_or(0),
        "CpuRealtimePeriod": resources.cpu_rt_period.unwrap_or(0),
        "CpuRealtimeRuntime": resources.cpu_rt_runtime.unwrap_or(0),
        "NanoCpus": resources.nano_cpus.unwrap_or(0),
        "CpusetCpus": resources.cpuset_cpus.clone().unwrap_or_default(),
        "CpusetMems": resources.cpuset_mems.clone().unwrap_or_default(),
        "PidsLimit": resources.pids_limit,
        "BlkioWeight": resources.blkio_weight.unwrap_or(0),
        "BlkioWeightDevice": weights,
        "BlkioDeviceReadBps": rates(&resources.device_read_bps),
        "BlkioDeviceWriteBps": rates(&resources.device_write_bps),
        "BlkioDeviceReadIOps": rates(&resources.device_read_iops),
        "BlkioDeviceWriteIOps": rates(&resources.device_write_iops),
        "Ulimits": resources.rlimits.iter().map(|limit| {
            json!({ "Name": limit.name, "Soft": process(limit.soft), "Hard": process(limit.hard) })
        }).collect::<Vec<_>>(),
    })
}

/// Docker writes null for a list that was not given.
fn list(texts: &[String]) -> Value {
    if texts.is_empty() { Value::Null } else { json!(texts) }
}

fn binds(spec: &ContainerSpec) -> Value {
    let texts: Vec<String> = spec
        .mounts
        .iter()
        .filter_map(|mount| {
            let source = match &mount.kind {
                MountKind::Bind(bind) => bind.source.display().to_string(),
                MountKind::Volume(volume) => volume.name.as_ref()?.to_string(),
                MountKind::Tmpfs(_) => return None,
            };
            Some(format!("{source}:{}{}", mount.target, if mount.read_only { ":ro" } else { "" }))
        })
        .collect();
    list(&texts)
}

fn security_options(spec: &ContainerSpec) -> Value {
    let security = &spec.security;
    let mut options = Vec::new();
    match &security.seccomp {
        Seccomp::Default => {}
        Seccomp::Unconfined => options.push("seccomp=unconfined".to_owned()),
        Seccomp::Profile(profile) => options.push(format!("seccomp={profile}")),
    }
    if security.no_new_privileges {
        options.push("no-new-privileges".to_owned());
    }
    options.extend(security.apparmor.iter().map(|profile| format!("apparmor={profile}")));
    options.extend(security.labels.iter().map(|label| format!("label={label}")));
    if security.writable_cgroups {
        options.push("writable-cgroups=true".to_owned());
    }
    list(&options)
}

fn bindings(ports: &[PortSpec]) -> Value {
    let mut bindings: Map<String, Value> = Map::new();
    for port in ports {
        let binding = json!({
            "HostIp": port.host_address.map(|address| address.to_string()).unwrap_or_default(),
            "HostPort": match port.host {
                None => String::new(),
                Some((low, high)) if low == high => low.to_string(),
                Some((low, high)) => format!("{low}-{high}"),
            },
        });
        push(&mut bindings, format!("{}/{}", port.container, port.protocol), binding);
    }
    Value::Object(bindings)
}

fn push(map: &mut Map<String, Value>, key: String, value: Value) {
    if let Value::Array(values) = map.entry(key).or_insert_with(|| json!([])) {
        values.push(value);
    }
}

/// Where it stands in the network: `NetworkSettings`.
fn network_settings(
    row: &ContainerRow,
    places: &[(NetworkId, Endpoint)],
    records: &[networks::NetworkRecord],
    running: bool,
) -> Value {
    let spec = &row.record.spec;
    let place = places.first().filter(|_| running);
    let endpoint = place.map(|(_, endpoint)| endpoint);
    let mut ports: Map<String, Value> = Map::new();
    for PublishedPort { container, protocol, host_address, host } in
        endpoint.map(|endpoint| endpoint.ports.as_slice()).unwrap_or_default()
    {
        let binding = json!({ "HostIp": host_address.to_string(), "HostPort": host.to_string() });
        push(&mut ports, format!("{container}/{protocol}"), binding);
    }
    let name = spec.network.to_string();
    let shared = matches!(spec.network, NetworkMode::Container(_));
    let record = records.iter().find(|record| record.plan.name == name);
    let plan = record.map(|record| &record.plan);
    let id = plan.map(|plan| plan.id.to_string()).unwrap_or_default();
    let aliases = Some(&spec.endpoint.aliases).filter(|aliases| !aliases.is_empty());
    let names = endpoint.filter(|_| spec.network.is_user_defined()).map(|_| naming::names(row));
    let mut network = json!({
        "IPAMConfig": ipam_config(&spec.endpoint),
        "Links": null, "Aliases": aliases, "DriverOpts": null, "NetworkID": id, "DNSNames": names,
    });
    let place = place_of(plan, endpoint);
    let on_bridge = spec.network == NetworkMode::default();
    let legacy = if on_bridge { place.clone() } else { place_of(None, None) };
    if let Some(network) = network.as_object_mut() {
        network.extend(place);
    }
    let mut settings = json!({
        "Bridge": "", "SandboxID": "", "SandboxKey": "", "Ports": ports,
        "HairpinMode": false, "LinkLocalIPv6Address": "", "LinkLocalIPv6PrefixLen": 0,
        "SecondaryIPAddresses": null, "SecondaryIPv6Addresses": null,
        // In another one's network it has no place of its own.
        "Networks": if shared { json!({}) } else { json!({ name: network }) },
    });
    if let Some(settings) = settings.as_object_mut() {
        settings.extend(legacy);
    }
    settings
}

/// What was asked of its place: nothing, or an object of what was.
fn ipam_config(wanted: &EndpointSpec) -> Option<Value> {
    let mut config = Map::new();
    config.extend(wanted.address.map(|address| ("IPv4Address".to_owned(), json!(address))));
    config.extend(wanted.ipv6.map(|address| ("IPv6Address".to_owned(), json!(address))));
    if !wanted.link_local.is_empty() {
        config.insert("LinkLocalIPs".into(), json!(wanted.link_local));
    }
    (!config.is_empty()).then_some(Value::Object(config))
}

/// Its addresses and the host's in a network; empty while it has none.
fn place_of(plan: Option<&NetworkPlan>, endpoint: Option<&Endpoint>) -> Map<String, Value> {
    let plan = plan.filter(|_| endpoint.is_some());
    let (four, six) = (plan.and_then(NetworkPlan::ipv4), plan.and_then(|plan| plan.ipv6));
    let six = six.filter(|_| endpoint.is_some_and(|endpoint| endpoint.ipv6.is_some()));
    let fields = [
        ("MacAddress", text_or_empty(endpoint.map(Endpoint::mac_text))),
        ("EndpointID", text_or_empty(endpoint.map(|endpoint| &endpoint.id))),
        ("Gateway", text_or_empty(four.and_then(|pool| pool.gateway))),
        ("IPAddress", text_or_empty(endpoint.map(|endpoint| endpoint.address))),
        ("IPPrefixLen", json!(four.map_or(0, |pool| pool.subnet.prefix()))),
        ("IPv6Gateway", text_or_empty(six.and_then(|pool| pool.gateway))),
        ("GlobalIPv6Address", text_or_empty(endpoint.and_then(|endpoint| endpoint.ipv6))),
        ("GlobalIPv6PrefixLen", json!(six.map_or(0, |pool| pool.subnet.prefix()))),
    ];
    fields.map(|(name, value)| (name.to_owned(), value)).into_iter().collect()
}

fn text_or_empty(value: Option<impl ToString>) -> Value {
    Value::String(value.map(|value| value.to_string()).unwrap_or_default())
}
