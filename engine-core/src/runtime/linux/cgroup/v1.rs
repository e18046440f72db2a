//! Version 1: a hierarchy for each controller, so a container has a group in each.
//!
//! Every group costs the start of a container some time, so there is one only in the hierarchies of [`ALWAYS`]; in
//! those of [`ON_DEMAND`] it is made when a limit asks for it. Documentation: the kernel's admin-guide/cgroup-v1.

#[cfg(test)]
use std::collections::BTreeSet;
use std::fs::OpenOptions;
use std::io::{self, Write};
use std::path::Path;

use engine_shim::plan;
use oci_spec::runtime::{LinuxBlockIo, LinuxCpu, LinuxMemory, LinuxResources};

use super::detect::Hierarchy;
use super::devices::{self, Policy};
use super::freezer::Freezer;
use super::setting::{self, Setting};
use super::tree::{self, Made};
use crate::error::{Error, ErrorKind, Faults, Result, Subject};

/// The controllers that every container has a group of. The first one lists its processes.
const ALWAYS: [&str; 8] = ["freezer", "memory", "pids", "devices", "cpu", "cpuacct", "cpuset", "blkio"];
/// Those that few need.
const ON_DEMAND: [&str; 4] = ["hugetlb", "net_cls", "net_prio", "rdma"];
/// A host's systemd knows processes by the group in its own hierarchy, and one in a container wants its own there.
const SYSTEMD: &str = "name=systemd";

/// The hierarchies of this host that are of use.
pub(super) struct Hierarchies {
    /// Those with a group for every container.
    always: Vec<Hierarchy>,
    /// Those with a group for some.
    on_demand: Vec<Hierarchy>,
}

impl Hierarchies {
    /// Sorts what is mounted.
    pub(super) fn new(mounts: Vec<Hierarchy>) -> Hierarchies {
        let systemd = Path::new("/run/systemd/system").exists();
        Hierarchies::sorted(mounts, systemd)
    }

    fn sorted(mounts: Vec<Hierarchy>, systemd: bool) -> Hierarchies {
        let rank = |hierarchy: &Hierarchy| {
            let known = ALWAYS.iter().position(|name| hierarchy.has(name));
            known.or((systemd && hierarchy.has(SYSTEMD)).then_some(ALWAYS.len()))
        };
        let (mut always, rest): (Vec<_>, Vec<_>) = mounts.into_iter().partition(|h| rank(h).is_some());
        always.sort_by_key(rank);
        let on_demand =
            rest.into_iter().filter(|hierarchy| ON_DEMAND.iter().any(|name| hierarchy.has(name))).collect();
        Hierarchies { always, on_demand }
    }

    /// See [`super::Cgroups::create`].
    pub(super) fn create(&self, path: &str, resources: &LinuxResources) -> Result<plan::Cgroup> {
        let (settings, policy) = decide(resources)?;
        let mut made = Made::default();
        let wanted = |h: &&Hierarchy| settings.iter().any(|setting| h.has(setting.controller));
        for hierarchy in self.always.iter().chain(self.on_demand.iter().filter(wanted)) {
            let directory = [&hierarchy.mount, path].concat();
            make(hierarchy, path).subject(|| format!("cgroup {directory}"))?;
            made.note(directory);
        }
        self.restrict(path, policy.as_ref())?;
        self.apply(path, &settings)?;
        made.keep();
        Ok(self.find(path))
    }

    /// See [`super::Cgroups::find`].
    pub(super) fn find(&self, path: &str) -> plan::Cgroup {
        let dirs: Vec<String> = self.groups(path).collect();
        // The thread that moves itself does not take the lock that moving a process takes, which is the whole host's
        // and costs a grace period.
        let join = dirs.iter().map(|directory| [directory, "/tasks"].concat()).collect();
        let oom = self.directory(path, "memory").map(|directory| directory + "/memory.oom_control");
        plan::Cgroup { born: None, join, dirs, oom }
    }

    /// See [`super::Cgroups::update`].
    pub(super) fn update(&self, path: &str, resources: &LinuxResources) -> Result<()> {
        let (settings, policy) = decide(resources)?;
        self.restrict(path, policy.as_ref())?;
        self.apply(path, &settings)
    }

    /// See [`super::Cgroups::kill`].
    pub(super) fn kill(&self, path: &str) -> Result<()> {
        let directory = self.processes(path);
        let empty = || Ok(tree::pids(&directory)?.is_empty());
        if empty()? {
            return Ok(());
        }
        // A process that is frozen neither makes new ones nor ends, so that no number on the list can come to mean
        // another process; it dies of the signal once it is thawed. The kernel may take long to freeze one that waits
        // for a device, and then the number is most likely still right.
        let freezer = self.directory(path, "freezer");
        tree::wait_until(&directory, || {
            if let Some(freezer) = &freezer
                && tree::write(freezer, "freezer.state", "FROZEN").is_ok()
            {
                for _ in 0..100 {
                    if tree::read(freezer, "freezer.state").is_ok_and(|state| state.trim() == "FROZEN") {
                        break;
                    }
                    std::thread::sleep(std::time::Duration::from_micros(50));
                }
            }
            let killed = tree::kill_each(&directory);
            if let Some(freezer) = &freezer {
                let _ = tree::write(freezer, "freezer.state", "THAWED");
            }
            killed?;
            empty()
        })
    }

    /// The freezer of the group.
    pub(super) fn freezer(&self, path: &str) -> Result<Freezer> {
        self.directory(path, "freezer").map(Freezer::one).ok_or_else(|| {
            Error::new(ErrorKind::Unsupported, format!("freezer of cgroup {path}"))
                .because("this host has no control group controller that holds processes still")
                .with_remedy("enable the \"freezer\" controller in the host's kernel")
        })
    }

    /// See [`super::Cgroups::remove`].
    pub(super) fn remove(&self, path: &str) -> Result<()> {
        let mut faults = Faults::new();
        let mut attempts = 20;
        for hierarchy in self.always.iter().chain(&self.on_demand) {
            let result = tree::remove_within(&[&hierarchy.mount, path].concat(), attempts);
            // The processes are the same in all of them, so waiting once is enough.
            if result.is_err() {
                attempts = 0;
            }
            faults.note(result);
        }
        faults.into_result()
    }

    /// See [`super::Cgroups::list`].
    #[cfg(test)]
    pub(super) fn list(&self, parent: &str) -> Result<Vec<String>> {
        let mut names = BTreeSet::new();
        for hierarchy in self.always.iter().chain(&self.on_demand) {
            names.extend(tree::children(&[&hierarchy.mount, parent].concat())?);
        }
        Ok(names.into_iter().collect())
    }

    /// See [`super::Cgroups::mounts`].
    pub(super) fn mounts(&self) -> Vec<plan::CgroupMount> {
        let mount = |hierarchy: &Hierarchy| {
            let names =
                || hierarchy.controllers.iter().map(|name| name.strip_prefix("name=").unwrap_or(name));
            let parameter = |name: &String| match name.strip_prefix("name=") {
                Some(value) => ("name".to_owned(), Some(value.to_owned())),
                None => (name.clone(), None),
            };
            let directory = names().collect::<Vec<_>>().join(",");
            let links = names().filter(|name| **name != directory).map(str::to_owned).collect();
            plan::CgroupMount {
                directory,
                kind: "cgroup".into(),
                parameters: hierarchy.controllers.iter().map(parameter).collect(),
                links,
            }
        };
        self.always.iter().map(mount).collect()
    }

    /// The directory that lists the processes of the group.
    pub(super) fn processes(&self, path: &str) -> String {
        self.always.first().map(|hierarchy| [&hierarchy.mount, path].concat()).unwrap_or_default()
    }

    /// The directories of the group.
    fn groups(&self, path: &str) -> impl Iterator<Item = String> {
        let directory = move |hierarchy: &Hierarchy| [&hierarchy.mount, path].concat();
        let asked_for =
            self.on_demand.iter().map(directory).filter(|directory| Path::new(directory).exists());
        self.always.iter().map(directory).chain(asked_for)
    }

    /// The directory of the group in the hierarchy of a controller.
    pub(super) fn directory(&self, path: &str, controller: &str) -> Option<String> {
        let mut all = self.always.iter().chain(&self.on_demand);
        all.find(|hierarchy| hierarchy.has(controller)).map(|hierarchy| [&hierarchy.mount, path].concat())
    }

    fn apply(&self, path: &str, settings: &[Setting]) -> Result<()> {
        setting::apply(settings, |setting| self.directory(path, setting.controller).ok_or(None))
    }

    /// Puts the policy for devices in force.
    fn restrict(&self, path: &str, policy: Option<&Policy>) -> Result<()> {
        let Some(policy) = policy else { return Ok(()) };
        let subject = || format!("cgroup {path}: devices");
        let Some(directory) = self.directory(path, "devices") else {
            return Err(Error::new(ErrorKind::Unsupported, subject())
                .because("this host has no control group controller that keeps a container from its devices")
                .with_remedy("enable the \"devices\" controller in the host's kernel"));
        };
        let (general, exceptional) = match policy.allow {
            true => ("devices.allow", "devices.deny"),
            false => ("devices.deny", "devices.allow"),
        };
        tree::write(&directory, general, "a").subject(subject)?;
        if policy.exceptions.is_empty() {
            return Ok(());
        }
        let mut file =
            OpenOptions::new().write(true).open([&directory, "/", exceptional].concat()).subject(subject)?;
        for exception in &policy.exceptions {
            let line = exception.line();
            file.write_all(line.as_bytes()).subject(|| format!("device rule {line}"))?;
        }
        Ok(())
    }
}

impl Hierarchy {
    fn has(&self, controller: &str) -> bool {
        self.controllers.iter().any(|name| name == controller)
    }
}

/// Makes the group with its parents.
fn make(hierarchy: &Hierarchy, path: &str) -> io::Result<()> {
    let directory = [&hierarchy.mount, path].concat();
    match tree::make(&directory) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => {
            make_parent(hierarchy, parent(path))?;
            tree::make(&directory)?;
        }
        result => result?,
    }
    inherit_all(hierarchy, &directory)
}

/// Makes a group that others are made in. It may be there already: another engine may be as far.
fn make_parent(hierarchy: &Hierarchy, path: &str) -> io::Result<()> {
    let directory = [&hierarchy.mount, path].concat();
    let made = match tree::make_directory(&directory) {
        Err(e) if e.kind() == io::ErrorKind::NotFound && !path.is_empty() => {
            make_parent(hierarchy, parent(path))?;
            tree::make_directory(&directory)
        }
        result => result,
    };
    match made {
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {}
        result => result?,
    }
    inherit_all(hierarchy, &directory)?;
    if hierarchy.has("cpuset") {
        // Groups below begin with the same processors, which costs the kernel less than telling each of them.
        tree::write(&directory, "cgroup.clone_children", "1")?;
    }
    Ok(())
}

fn parent(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(parent, _)| parent)
}

fn inherit_all(hierarchy: &Hierarchy, directory: &str) -> io::Result<()> {
    if hierarchy.has("cpuset") {
        inherit(directory, "cpuset.cpus")?;
        inherit(directory, "cpuset.mems")?;
    }
    Ok(())
}

/// A new group of `cpuset` may have no processors or no memory, and then nothing can join it: gives it its parent's.
fn inherit(directory: &str, file: &str) -> io::Result<()> {
    if !tree::read(directory, file)?.trim().is_empty() {
        return Ok(());
    }
    let above = parent(directory);
    // Another engine may have made the group above a moment ago, and not be done with it. The topmost is never empty.
    inherit(above, file)?;
    tree::write(directory, file, tree::read(above, file)?.trim())
}

/// The settings, and the policy for devices.
fn decide(resources: &LinuxResources) -> Result<(Vec<Setting>, Option<Policy>)> {
    if resources.unified().as_ref().is_some_and(|unified| !unified.is_empty()) {
        return Err(Error::new(ErrorKind::Unsupported, "unified limits")
            .because("this host's control groups are of version 1, which has other files"));
    }
    let mut settings = Vec::new();
    if let Some(memory) = resources.memory() {
        memory_settings(memory, &mut settings);
    }
    if let Some(cpu) = resources.cpu() {
        cpu_settings(cpu, &mut settings);
    }
    if let Some(pids) = resources.pids() {
        let value = if pids.limit() < 0 { "max".to_owned() } else { pids.limit().to_string() };
        settings.push(Setting::may("pids", "pids.max", value));
    }
    if let Some(block) = resources.block_io() {
        block_settings(block, &mut settings);
    }
    for limit in resources.hugepage_limits().iter().flatten() {
        let size = setting::page_size(limit)?;
        settings.push(Setting::must("hugetlb", format!("hugetlb.{size}.limit_in_bytes"), limit.limit()));
        settings.push(Setting::may("hugetlb", format!("hugetlb.{size}.rsvd.limit_in_bytes"), limit.limit()));
    }
    if let Some(network) = resources.network() {
        if let Some(class) = network.class_id() {
            settings.push(Setting::must("net_cls", "net_cls.classid", class));
        }
        for priority in network.priorities().iter().flatten() {
            let line = format!("{} {}", priority.name(), priority.priority());
            settings.push(Setting::must("net_prio", "net_prio.ifpriomap", line));
        }
    }
    settings.extend(setting::rdma(resources));
    let policy = devices::decide(resources.devices().as_deref().unwrap_or_default())?;
    Ok((settings, policy))
}

fn memory_settings(memory: &LinuxMemory, settings: &mut Vec<Setting>) {
    // Zero is "not given" to Docker and to its runtimes.
    let given = |value: Option<i64>| value.filter(|value| *value != 0);
    let limit = given(memory.limit());
    // Without a limit of memory there is none of both together.
    let swap = given(memory.swap()).or(limit.filter(|limit| *limit == -1));
    if let Some(limit) = limit {
        settings.push(Setting::may("memory", "memory.limit_in_bytes", limit));
    }
    if let Some(swap) = swap {
        settings.push(Setting::may("memory", "memory.memsw.limit_in_bytes", swap));
    }
    if let Some(reservation) = given(memory.reservation()) {
        settings.push(Setting::may("memory", "memory.soft_limit_in_bytes", reservation));
    }
    if let Some(swappiness) = memory.swappiness() {
        settings.push(Setting::may("memory", "memory.swappiness", swappiness));
    }
    if let Some(disable) = memory.disable_oom_killer() {
        settings.push(Setting::may("memory", "memory.oom_control", i32::from(disable)));
    }
}

fn cpu_settings(cpu: &LinuxCpu, settings: &mut Vec<Setting>) {
    if let Some(shares) = cpu.shares().filter(|shares| *shares != 0) {
        settings.push(Setting::may("cpu", "cpu.shares", shares));
    }
    if let Some(period) = cpu.period().filter(|period| *period != 0) {
        settings.push(Setting::must("cpu", "cpu.cfs_period_us", period));
    }
    if let Some(quota) = cpu.quota().filter(|quota| *quota != 0) {
        settings.push(Setting::must("cpu", "cpu.cfs_quota_us", quota));
    }
    if let Some(burst) = cpu.burst() {
        settings.push(Setting::must("cpu", "cpu.cfs_burst_us", burst));
    }
    if let Some(period) = cpu.realtime_period().filter(|period| *period != 0) {
        settings.push(Setting::must("cpu", "cpu.rt_period_us", period));
    }
    if let Some(runtime) = cpu.realtime_runtime().filter(|runtime| *runtime != 0) {
        settings.push(Setting::must("cpu", "cpu.rt_runtime_us", runtime));
    }
    if let Some(idle) = cpu.idle() {
        settings.push(Setting::must("cpu", "cpu.idle", idle));
    }
    for (file, list) in [("cpuset.cpus", cpu.cpus()), ("cpuset.mems", cpu.mems())] {
        if let Some(list) = list.as_deref().filter(|list| !list.is_empty()) {
            settings.push(Setting::may("cpuset", file, list));
        }
    }
}

fn block_settings(block: &LinuxBlockIo, settings: &mut Vec<Setting>) {
    if let Some(weight) = block.weight().filter(|weight| *weight != 0) {
        settings.push(Setting::may("blkio", "blkio.weight", weight).or("blkio.bfq.weight", weight));
    }
    if let Some(weight) = block.leaf_weight().filter(|weight| *weight != 0) {
        settings.push(Setting::may("blkio", "blkio.leaf_weight", weight));
    }
    for device in block.weight_device().iter().flatten() {
        if let Some(weight) = device.weight() {
            let line = format!("{}:{} {weight}", device.major(), device.minor());
            let setting = Setting::may("blkio", "blkio.weight_device", &line);
            settings.push(setting.or("blkio.bfq.weight_device", line));
        }
    }
    for (file, _, devices) in setting::rates(block) {
        for device in devices {
            let line = format!("{}:{} {}", device.major(), device.minor(), device.rate());
            settings.push(Setting::may("blkio", file, line));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hierarchy(controllers: &[&str]) -> Hierarchy {
        let controllers: Vec<String> = controllers.iter().map(|name| (*name).to_owned()).collect();
        Hierarchy { mount: format!("/cg/{}", controllers.join(",")), controllers }
    }

    fn values(settings: &[Setting]) -> Vec<(&str, &str)> {
        settings.iter().map(|s| (s.choices[0].0.as_str(), s.choices[0].1.as_str())).collect()
    }

    #[test]
    fn a_container_has_a_group_where_it_needs_one() {
        let mounts = ["pids", "hugetlb", "perf_event", "freezer"].map(|name| hierarchy(&[name]));
        let mounts = mounts.into_iter().chain([hierarchy(&["cpu", "cpuacct"]), hierarchy(&[SYSTEMD])]);
        let found = Hierarchies::sorted(mounts.clone().collect(), false).find("/engine/a");
        assert_eq!(found.dirs, ["/cg/freezer/engine/a", "/cg/pids/engine/a", "/cg/cpu,cpuacct/engine/a"]);
        assert_eq!(found.join[0], "/cg/freezer/engine/a/tasks");
        assert_eq!(found.oom, None);
        let with_systemd = Hierarchies::sorted(mounts.collect(), true);
        assert_eq!(with_systemd.find("/e").dirs.last().map(String::as_str), Some("/cg/name=systemd/e"));
        let mounts = with_systemd.mounts();
        assert_eq!(mounts[2].directory, "cpu,cpuacct");
        assert_eq!(mounts[2].links, ["cpu", "cpuacct"]);
        assert_eq!(mounts[2].parameters, [("cpu".to_owned(), None), ("cpuacct".to_owned(), None)]);
        assert_eq!(mounts[3].directory, "systemd");
        assert_eq!(mounts[3].parameters, [("name".to_owned(), Some("systemd".to_owned()))]);
        assert!(mounts[3].links.is_empty());
    }

    #[test]
    fn limits_become_files() {
        let mut memory = LinuxMemory::default();
        memory.set_limit(Some(64 << 20)).set_swap(Some(128 << 20)).set_disable_oom_killer(Some(true));
        let mut cpu = LinuxCpu::default();
        cpu.set_shares(Some(512))
            .set_quota(Some(50_000))
            .set_period(Some(100_000))
            .set_cpus(Some("0-1".into()));
        let mut resources = LinuxResources::default();
        resources.set_memory(Some(memory)).set_cpu(Some(cpu));
        let (settings, policy) = decide(&resources).expect("sound");
        assert_eq!(policy, None);
        assert_eq!(
            values(&settings),
            [
                ("memory.limit_in_bytes", "67108864"),
                ("memory.memsw.limit_in_bytes", "134217728"),
                ("memory.oom_control", "1"),
                ("cpu.shares", "512"),
                ("cpu.cfs_period_us", "100000"),
                ("cpu.cfs_quota_us", "50000"),
                ("cpuset.cpus", "0-1"),
            ]
        );
    }

    #[test]
    fn limits_of_version_2_are_refused() {
        let mut resources = LinuxResources::default();
        resources.set_unified(Some([("memory.high".to_owned(), "1".to_owned())].into()));
        assert_eq!(decide(&resources).expect_err("is refused").kind(), ErrorKind::Unsupported);
    }
}
