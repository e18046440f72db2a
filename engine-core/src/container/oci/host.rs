//! What has to be known of this host to decide on a container. Looked up once per engine.

use std::fs;

use super::cpus::Cpus;
use crate::error::{Error, Result, Subject};

/// Facts about this host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct HostFacts {
    /// The kernel's version: major and minor.
    pub(crate) kernel: (u32, u32),
    /// The capabilities that this process can give away, a bit each.
    pub(crate) capabilities: u64,
    /// The processors that are online.
    pub(crate) cpus: Cpus,
    /// The memory nodes that are online.
    pub(crate) memory_nodes: Cpus,
    /// Directories that tell how the processors throttle, which tells what the neighbours do.
    pub(crate) throttles: Vec<String>,
    /// Whether control groups are of version 2.
    pub(crate) cgroup_v2: bool,
    /// Whether the control groups divide real time too.
    pub(crate) realtime: bool,
    /// Whether AppArmor confines programs.
    pub(crate) apparmor: bool,
    /// Whether SELinux does.
    pub(crate) selinux: bool,
}

impl HostFacts {
    /// Looks them up. Blocks.
    pub(crate) fn gather() -> Result<HostFacts> {
        let read = |path: &str| fs::read_to_string(path).subject(|| path.to_owned());
        let release = read("/proc/sys/kernel/osrelease")?;
        let status = read("/proc/self/status")?;
        let bounding = status.lines().find_map(|line| line.strip_prefix("CapBnd:"));
        let capabilities = bounding
            .and_then(|digits| u64::from_str_radix(digits.trim(), 16).ok())
            .ok_or_else(|| Error::internal("/proc/self/status", "it does not tell the capabilities"))?;
        // A kernel without the file has one of each.
        let online = |path: &str| read(path).unwrap_or_else(|_| "0".to_owned()).trim().parse();
        Ok(HostFacts {
            kernel: version(&release),
            capabilities,
            cpus: online("/sys/devices/system/cpu/online")?,
            memory_nodes: online("/sys/devices/system/node/online")?,
            throttles: throttles(),
            cgroup_v2: cgroup_v2(),
            apparmor: read("/sys/module/apparmor/parameters/enabled").is_ok_and(|text| text.starts_with('Y')),
            selinux: fs::exists("/sys/fs/selinux/enforce").unwrap_or(false),
            realtime: fs::exists("/sys/fs/cgroup/cpu/cpu.rt_runtime_us").unwrap_or(false),
        })
    }
}

/// `6.1.0-13-amd64` is 6.1; what cannot be read is 0.0, the oldest there is.
pub(super) fn version(release: &str) -> (u32, u32) {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(|digits| digits.parse().unwrap_or(0));
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0))
}

/// Where both versions are mounted the controllers are in hierarchies of version 1, below a tmpfs.
fn cgroup_v2() -> bool {
    const CGROUP2_SUPER_MAGIC: i64 = 0x6367_7270;
    rustix::fs::statfs("/sys/fs/cgroup").is_ok_and(|stat| stat.f_type == CGROUP2_SUPER_MAGIC)
}

/// In the order of the processors' numbers, like all that is compared.
fn throttles() -> Vec<String> {
    const CPUS: &str = "/sys/devices/system/cpu";
    let entries = fs::read_dir(CPUS).into_iter().flatten().flatten();
    let mut numbers: Vec<u32> = entries
        .filter_map(|entry| entry.file_name().to_str()?.strip_prefix("cpu")?.parse().ok())
        .filter(|number| fs::exists(format!("{CPUS}/cpu{number}/thermal_throttle")).unwrap_or(false))
        .collect();
    numbers.sort_unstable();
    numbers.into_iter().map(|number| format!("{CPUS}/cpu{number}/thermal_throttle")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kernel_s_release_has_a_version() {
        assert_eq!(version("6.18.44-fc-v595\n"), (6, 18));
        assert_eq!(version("4.8"), (4, 8));
        assert_eq!(version("odd"), (0, 0));
        assert_eq!(version(""), (0, 0));
        assert_eq!(version("99999999999.1"), (0, 1));
    }

    #[test]
    fn this_host_has_facts() {
        let facts = HostFacts::gather().expect("looks them up");
        assert!(facts.kernel >= (5, 2));
        assert_ne!(facts.capabilities, 0);
        assert!(facts.cpus.count() >= 1);
    }
}
