//! Version 2: one tree, in which a container has one group.
//!
//! A controller works in a group only if every group above hands it down (`cgroup.subtree_control`), which the kernel
//! refuses to a group that has processes of its own. Nothing is moved to make room: whoever runs the engine in such a
//! group decides where its processes belong. Documentation: the kernel's admin-guide/cgroup-v2.rst.

use std::io;

use engine_shim::plan;
use oci_spec::runtime::{LinuxBlockIo, LinuxCpu, LinuxMemory, LinuxResources};
use rustix::io::Errno;

use super::devices::{self, Policy};
use super::filter;
use super::setting::{self, Setting};
use super::tree::{self, Made};
use crate::error::{Error, ErrorKind, Result, Subject};

/// The controllers that every container's group gets, if the host has them.
const ALWAYS: [&str; 5] = ["cpu", "cpuset", "io", "memory", "pids"];

/// The mounted tree.
pub(super) struct Tree {
    mount: String,
    /// What the group at the mount point may hand down.
    controllers: Vec<String>,
}

/// A controller that a group above does not hand down, and why.
struct Withheld {
    controller: String,
    above: String,
    error: io::Error,
}

impl Tree {
    /// The tree mounted at `mount`.
    pub(super) fn new(mount: String) -> Result<Tree> {
        let text = tree::read(&mount, "cgroup.controllers").subject(|| format!("cgroup {mount}"))?;
        Ok(Tree { mount, controllers: text.split_whitespace().map(str::to_owned).collect() })
    }

    /// The directory of the group.
    pub(super) fn directory(&self, path: &str) -> String {
        [&self.mount, path].concat()
    }

    /// See [`super::Cgroups::create`].
    pub(super) fn create(&self, path: &str, resources: &LinuxResources) -> Result<plan::Cgroup> {
        let settings = decide(resources)?;
        let policy = devices::decide(resources.devices().as_deref().unwrap_or_default())?;
        let withheld = self.hand_down(path, &settings)?;
        let directory = self.directory(path);
        tree::make(&directory).subject(|| format!("cgroup {directory}"))?;
        let mut made = Made::default();
        made.note(directory.clone());
        self.apply(&directory, &settings, &withheld)?;
        restrict(&directory, policy.as_ref())?;
        made.keep();
        Ok(self.find(path))
    }

    /// See [`super::Cgroups::find`].
    pub(super) fn find(&self, path: &str) -> plan::Cgroup {
        let directory = self.directory(path);
        plan::Cgroup {
            born: Some(directory.clone()),
            join: Vec::new(),
            oom: Some([&directory, "/memory.events"].concat()),
            dirs: vec![directory],
        }
    }

    /// See [`super::Cgroups::find_beside`].
    pub(super) fn find_beside(&self, path: &str, first: impl FnOnce() -> Option<u32>) -> plan::Cgroup {
        let mut cgroup = self.find(path);
        // A group that hands controllers down takes no processes.
        let divided = tree::read(&self.directory(path), "cgroup.subtree_control")
            .is_ok_and(|controllers| !controllers.trim().is_empty());
        if divided
            && let Some(group) = first().and_then(group_of)
            && group.strip_prefix(path).is_some_and(|below| below.starts_with('/'))
        {
            cgroup.born = Some(self.directory(&group));
        }
        cgroup
    }

    /// See [`super::Cgroups::update`].
    pub(super) fn update(&self, path: &str, resources: &LinuxResources) -> Result<()> {
        let directory = self.directory(path);
        let mut settings = decide(resources)?;
        keep_quota(&directory, resources, &mut settings);
        let policy = devices::decide(resources.devices().as_deref().unwrap_or_default())?;
        refuse_less_than_used(&directory, resources)?;
        self.apply(&directory, &settings, &[])?;
        restrict(&directory, policy.as_ref())
    }

    /// See [`super::Cgroups::kill`].
    pub(super) fn kill(&self, path: &str) -> Result<()> {
        let directory = self.directory(path);
        match tree::write(&directory, "cgroup.kill", "1") {
            Ok(()) => tree::wait_until(&directory, || Ok(!populated(&directory))),
            // Before Linux 5.14, or no group at all.
            Err(_) => {
                let _ = tree::write(&directory, "cgroup.freeze", "1");
                let result = tree::wait_until(&directory, || {
                    tree::kill_each(&directory)?;
                    Ok(!populated(&directory))
                });
                let _ = tree::write(&directory, "cgroup.freeze", "0");
                result
            }
        }
    }

    /// See [`super::Cgroups::remove`].
    pub(super) fn remove(&self, path: &str) -> Result<()> {
        tree::remove(&self.directory(path))
    }

    /// See [`super::Cgroups::mounts`].
    pub(super) fn mounts(&self) -> Vec<plan::CgroupMount> {
        vec![plan::CgroupMount {
            directory: String::new(),
            kind: "cgroup2".into(),
            parameters: Vec::new(),
            links: Vec::new(),
        }]
    }

    /// Makes the groups above `path` and has each hand down the controllers; gives those that one of them withholds.
    fn hand_down(&self, path: &str, settings: &[Setting]) -> Result<Vec<Withheld>> {
        let asked = settings.iter().map(|setting| setting.controller);
        let wanted: Vec<&str> = (ALWAYS.into_iter().chain(asked))
            .filter(|name| self.controllers.iter().any(|known| known == name))
            .collect();
        let (above, _) = path.rsplit_once('/').unwrap_or_default();
        // All there already, as for every container but the first?
        let active = tree::read(&self.directory(above), "cgroup.subtree_control");
        if active.is_ok_and(|active| missing(&wanted, &active).is_empty()) {
            return Ok(Vec::new());
        }
        let mut withheld: Vec<Withheld> = Vec::new();
        let mut directory = self.mount.clone();
        for part in above.split('/') {
            if !part.is_empty() {
                directory = [&directory, "/", part].concat();
                match tree::make_directory(&directory) {
                    Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {}
                    result => result.subject(|| format!("cgroup {directory}"))?,
                }
            }
            let active =
                tree::read(&directory, "cgroup.subtree_control").subject(|| format!("cgroup {directory}"))?;
            let known = |name: &&str| !withheld.iter().any(|known| known.controller == *name);
            let missing: Vec<&str> = missing(&wanted, &active).into_iter().filter(known).collect();
            withheld.extend(enable(&directory, &missing));
        }
        Ok(withheld)
    }

    fn apply(&self, directory: &str, settings: &[Setting], withheld: &[Withheld]) -> Result<()> {
        setting::apply(settings, |setting| {
            match withheld.iter().find(|known| known.controller == setting.controller) {
                Some(known) => Err(Some(known.explain())),
                None if self.controllers.iter().any(|known| known == setting.controller) => {
                    Ok(directory.into())
                }
                // Files of the groups themselves: `cgroup.*`.
                None if setting.controller == "cgroup" => Ok(directory.into()),
                None => Err(None),
            }
        })
    }
}

impl Withheld {
    fn explain(&self) -> Error {
        let error = Error::new(ErrorKind::Unsupported, format!("cgroup controller {}", self.controller));
        match tree::errno(&self.error) {
            Some(Errno::BUSY) => error
                .because(format!(
                    "{} has processes of its own, so it cannot hand the controller down",
                    self.above
                ))
                .with_remedy("move those processes into a group below it, or choose another parent group"),
            Some(Errno::OPNOTSUPP) => error
                .because(format!("{} is a threaded group, which cannot hand the controller down", self.above))
                .with_remedy("choose another parent group"),
            Some(Errno::ACCESS | Errno::PERM | Errno::ROFS) => error
                .because(format!("{} may not be changed by this user", self.above))
                .with_remedy("have the controller delegated: systemd's Delegate=yes"),
            _ => error.because(format!("{} does not hand it down: {}", self.above, self.error)),
        }
    }
}

/// The group of a process, from the root of the tree.
fn group_of(pid: u32) -> Option<String> {
    let groups = tree::read(&format!("/proc/{pid}"), "cgroup").ok()?;
    groups.lines().find_map(|line| line.strip_prefix("0::")).map(str::to_owned)
}

/// Has the group hand the controllers down; gives those that it does not.
fn enable(directory: &str, controllers: &[&str]) -> Vec<Withheld> {
    let withhold = |controller: &str, error: io::Error| Withheld {
        controller: controller.to_owned(),
        above: directory.to_owned(),
        error,
    };
    if controllers.is_empty() {
        return Vec::new();
    }
    // A group with processes would take some controllers and not others, and with those alone it becomes a threaded
    // one, whose groups below no process can join: better none. The root of the whole tree is free of that rule.
    let error = match tree::read(directory, "cgroup.type").and_then(|_| tree::read(directory, "cgroup.procs"))
    {
        Ok(processes) if processes.is_empty() => None,
        Ok(_) => Some(Errno::BUSY),
        Err(e) if e.kind() == io::ErrorKind::NotFound => None,
        Err(e) => Some(tree::errno(&e).unwrap_or(Errno::IO)),
    };
    let none = |errno: Errno| controllers.iter().map(|name| withhold(name, errno.into())).collect();
    if let Some(errno) = error {
        return none(errno);
    }
    let all: Vec<String> = controllers.iter().map(|controller| format!("+{controller}")).collect();
    match tree::write(directory, "cgroup.subtree_control", &all.join(" ")).map_err(|e| tree::errno(&e)) {
        Ok(()) => return Vec::new(),
        // A process has come meanwhile.
        Err(Some(errno @ (Errno::BUSY | Errno::OPNOTSUPP))) => return none(errno),
        // One of them is not to be had, and takes the others with it.
        Err(_) => {}
    }
    let each = controllers.iter().zip(&all).filter_map(|(controller, word)| {
        let error = tree::write(directory, "cgroup.subtree_control", word).err()?;
        Some(withhold(controller, error))
    });
    each.collect()
}

/// What of `wanted` is not in the list `active`.
fn missing<'a>(wanted: &[&'a str], active: &str) -> Vec<&'a str> {
    wanted.iter().copied().filter(|name| !active.split_whitespace().any(|known| known == *name)).collect()
}

/// Whether there are processes in the group or below it. A group that is gone has none.
fn populated(directory: &str) -> bool {
    tree::read(directory, "cgroup.events")
        .is_ok_and(|events| events.lines().any(|line| line == "populated 1"))
}

fn restrict(directory: &str, policy: Option<&Policy>) -> Result<()> {
    match policy {
        Some(policy) => filter::put_in_force(directory, policy),
        None => Ok(()),
    }
}

/// The kernel would rather kill processes than refuse a limit that is below what is in use; some ask to have it refused.
fn refuse_less_than_used(directory: &str, resources: &LinuxResources) -> Result<()> {
    let Some(memory) = resources.memory() else { return Ok(()) };
    let limit = memory.limit().and_then(|limit| u64::try_from(limit).ok()).filter(|limit| *limit > 0);
    let (Some(limit), Some(true)) = (limit, memory.check_before_update()) else { return Ok(()) };
    let used = tree::read(directory, "memory.current").ok().and_then(|text| text.trim().parse::<u64>().ok());
    match used {
        Some(used) if used > limit => Err(Error::new(ErrorKind::InUse, format!("memory limit {limit}"))
            .because(format!("the container uses {used} bytes already"))),
        _ => Ok(()),
    }
}

/// A period comes with a quota in one file; who names only the period does not mean to lift the quota.
fn keep_quota(directory: &str, resources: &LinuxResources, settings: &mut [Setting]) {
    let Some(cpu) = resources.cpu() else { return };
    let (None | Some(0), Some(period)) = (cpu.quota(), cpu.period()) else { return };
    let Ok(current) = tree::read(directory, "cpu.max") else { return };
    let quota = current.split_whitespace().next().unwrap_or("max");
    // What a caller says about the file itself comes after it.
    let mut choices = settings.iter_mut().flat_map(|setting| &mut setting.choices);
    if let Some((_, value)) = choices.find(|(file, _)| file == "cpu.max") {
        *value = format!("{quota} {period}");
    }
}

/// The settings.
fn decide(resources: &LinuxResources) -> Result<Vec<Setting>> {
    let mut settings = Vec::new();
    if let Some(memory) = resources.memory() {
        memory_settings(memory, &mut settings)?;
    }
    if let Some(cpu) = resources.cpu() {
        cpu_settings(cpu, &mut settings)?;
    }
    if let Some(pids) = resources.pids() {
        settings.push(Setting::may("pids", "pids.max", maximum(pids.limit())));
    }
    if let Some(block) = resources.block_io() {
        block_settings(block, &mut settings);
    }
    for limit in resources.hugepage_limits().iter().flatten() {
        let size = setting::page_size(limit)?;
        settings.push(Setting::must("hugetlb", format!("hugetlb.{size}.max"), maximum(limit.limit())));
        settings.push(Setting::may("hugetlb", format!("hugetlb.{size}.rsvd.max"), maximum(limit.limit())));
    }
    if let Some(network) = resources.network()
        && (network.class_id().is_some() || network.priorities().iter().flatten().next().is_some())
    {
        return Err(Error::new(ErrorKind::Unsupported, "network class and priorities")
            .because("control groups of version 2 have none"));
    }
    settings.extend(setting::rdma(resources));
    unified_settings(resources, &mut settings)?;
    Ok(settings)
}

/// The caller's own words, after all the rest.
fn unified_settings(resources: &LinuxResources, settings: &mut Vec<Setting>) -> Result<()> {
    const KNOWN: [&str; 8] = ["cgroup", "cpu", "cpuset", "io", "memory", "pids", "hugetlb", "rdma"];
    let mut files: Vec<_> = resources.unified().iter().flatten().collect();
    files.sort();
    for (file, value) in files {
        let controller = file.split('.').next().unwrap_or_default();
        let known = KNOWN.into_iter().find(|known| *known == controller && file.len() > known.len());
        let (Some(controller), false) = (known, file.contains(['/', '\0'])) else {
            return Err(Error::invalid(
                format!("unified limit {file:?}"),
                "it is no file of a control group",
            ));
        };
        // A value of several lines is several messages: `io.max` of two devices.
        for line in value.lines() {
            settings.push(Setting::must(controller, file.as_str(), line));
        }
    }
    Ok(())
}

fn maximum(value: i64) -> String {
    if value < 0 { "max".into() } else { value.to_string() }
}

fn memory_settings(memory: &LinuxMemory, settings: &mut Vec<Setting>) -> Result<()> {
    let given = |value: Option<i64>| value.filter(|value| *value != 0);
    let limit = given(memory.limit());
    // Here swap has a limit of its own; the specification's is of memory and swap together.
    let swap = match (given(memory.swap()), limit) {
        (None, Some(-1)) => Some(-1),
        (None, _) => None,
        (Some(-1), _) => Some(-1),
        (Some(both), Some(limit)) if limit >= 0 && both >= limit => Some(both - limit),
        (Some(both), Some(limit)) if limit >= 0 => {
            return Err(Error::invalid(
                format!("memory and swap limit {both}"),
                format!("it is less than the memory limit, {limit}"),
            ));
        }
        (Some(both), _) => {
            return Err(Error::invalid(
                format!("memory and swap limit {both}"),
                "without a memory limit there is nothing to take it from",
            ));
        }
    };
    if let Some(swap) = swap {
        settings.push(Setting::may("memory", "memory.swap.max", maximum(swap)));
    }
    if let Some(limit) = limit {
        settings.push(Setting::may("memory", "memory.max", maximum(limit)));
    }
    if let Some(reservation) = given(memory.reservation()) {
        settings.push(Setting::may("memory", "memory.low", maximum(reservation)));
    }
    Ok(())
}

fn cpu_settings(cpu: &LinuxCpu, settings: &mut Vec<Setting>) -> Result<()> {
    if let Some(shares) = cpu.shares().filter(|shares| *shares != 0) {
        settings.push(Setting::may("cpu", "cpu.weight", weight_of_shares(shares)));
    }
    let (quota, period) = (cpu.quota().filter(|n| *n != 0), cpu.period().filter(|n| *n != 0));
    if quota.is_some() || period.is_some() {
        let quota = maximum(quota.unwrap_or(-1));
        // Without a period the one in force stays.
        let period = period.map(|period| format!(" {period}")).unwrap_or_default();
        settings.push(Setting::must("cpu", "cpu.max", quota + &period));
    }
    if let Some(burst) = cpu.burst() {
        settings.push(Setting::must("cpu", "cpu.max.burst", burst));
    }
    if let Some(idle) = cpu.idle() {
        settings.push(Setting::must("cpu", "cpu.idle", idle));
    }
    if cpu.realtime_period().is_some_and(|n| n != 0) || cpu.realtime_runtime().is_some_and(|n| n != 0) {
        return Err(Error::new(ErrorKind::Unsupported, "real-time processor limits")
            .because("control groups of version 2 have none"));
    }
    for (file, list) in [("cpuset.cpus", cpu.cpus()), ("cpuset.mems", cpu.mems())] {
        if let Some(list) = list.as_deref().filter(|list| !list.is_empty()) {
            settings.push(Setting::may("cpuset", file, list));
        }
    }
    Ok(())
}

/// The weight (1 to 10000, 100 is the norm) that stands for so many shares (2 to 262144, 1024 is the norm).
///
/// The curve goes through the ends and through the norm, as in runc and crun; a straight line, which older runtimes
/// took, made a container with the normal number of shares weigh less than half of everything else.
fn weight_of_shares(shares: u64) -> u64 {
    match shares {
        0..=2 => 1,
        262_144.. => 10_000,
        _ => {
            let log = (shares as f64).log2();
            let exponent = (log * log + 125.0 * log) / 612.0 - 7.0 / 34.0;
            10f64.powf(exponent).ceil() as u64
        }
    }
}

fn block_settings(block: &LinuxBlockIo, settings: &mut Vec<Setting>) {
    // The BFQ scheduler counts as version 1 did, 1 to 1000; the cost model from 1 to 10000.
    let scaled = |weight: u16| 1 + (u32::from(weight).max(10) - 10) * 9999 / 990;
    if let Some(weight) = block.weight().filter(|weight| *weight != 0) {
        settings.push(Setting::may("io", "io.bfq.weight", weight).or("io.weight", scaled(weight)));
    }
    for device in block.weight_device().iter().flatten() {
        if let Some(weight) = device.weight() {
            let (major, minor) = (device.major(), device.minor());
            let setting = Setting::may("io", "io.bfq.weight", format!("{major}:{minor} {weight}"));
            settings.push(setting.or("io.weight", format!("{major}:{minor} {}", scaled(weight))));
        }
    }
    for (_, rate, devices) in setting::rates(block) {
        for device in devices {
            // No rate is no limit, as in version 1.
            let value = if device.rate() == 0 { "max".to_owned() } else { device.rate().to_string() };
            let line = format!("{}:{} {rate}={value}", device.major(), device.minor());
            settings.push(Setting::may("io", "io.max", line));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(resources: &LinuxResources) -> Vec<(String, String)> {
        decide(resources).expect("sound").into_iter().map(|s| s.choices[0].clone()).collect()
    }

    fn with_memory(limit: i64, swap: Option<i64>) -> LinuxResources {
        let mut memory = LinuxMemory::default();
        memory.set_limit(Some(limit)).set_swap(swap);
        let mut resources = LinuxResources::default();
        resources.set_memory(Some(memory));
        resources
    }

    fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        pairs.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect()
    }

    #[test]
    fn swap_is_what_is_left_of_both_together() {
        let both = |limit, swap| values(&with_memory(limit, swap));
        assert_eq!(both(100, Some(250)), pairs(&[("memory.swap.max", "150"), ("memory.max", "100")]));
        assert_eq!(both(100, Some(100)), pairs(&[("memory.swap.max", "0"), ("memory.max", "100")]));
        assert_eq!(both(100, Some(-1)), pairs(&[("memory.swap.max", "max"), ("memory.max", "100")]));
        assert_eq!(both(100, None), pairs(&[("memory.max", "100")]));
        assert_eq!(both(-1, None), pairs(&[("memory.swap.max", "max"), ("memory.max", "max")]));
        assert!(decide(&with_memory(100, Some(50))).is_err());
        assert!(decide(&with_memory(0, Some(50))).is_err());
    }

    #[test]
    fn shares_become_weights_on_the_curve_of_runc() {
        for (shares, weight) in [
            (0, 1),
            (1, 1),
            (2, 1),
            (1024, 100),
            (262_144, 10_000),
            (u64::MAX, 10_000),
            (512, 59),
            (2048, 174),
        ] {
            assert_eq!(weight_of_shares(shares), weight, "{shares}");
        }
        assert!((2..=262_144u64).step_by(97).map(weight_of_shares).is_sorted());
    }

    #[test]
    fn a_quota_and_its_period_are_one_value() {
        let value = |quota, period| {
            let mut cpu = LinuxCpu::default();
            cpu.set_quota(quota).set_period(period);
            let mut resources = LinuxResources::default();
            resources.set_cpu(Some(cpu));
            values(&resources)
        };
        assert_eq!(value(Some(50_000), None), pairs(&[("cpu.max", "50000")]));
        assert_eq!(value(Some(-1), Some(20_000)), pairs(&[("cpu.max", "max 20000")]));
        assert_eq!(value(Some(0), Some(0)), []);
    }

    #[test]
    fn unified_limits_are_taken_word_for_word() {
        let decide_one = |file: &str, value: &str| {
            let mut resources = LinuxResources::default();
            resources.set_unified(Some([(file.to_owned(), value.to_owned())].into()));
            decide(&resources)
        };
        let lines = decide_one("io.max", "8:0 rbps=1\n8:1 rbps=2").expect("sound");
        assert_eq!(lines.len(), 2);
        for bad in ["../cgroup.procs", "memory/high", "nonsense.max", "memory", ""] {
            assert!(decide_one(bad, "1").is_err(), "{bad}");
        }
    }
}
