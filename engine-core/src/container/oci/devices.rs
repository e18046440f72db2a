//! Devices of the host that a container may use.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use oci_spec::runtime::{LinuxDevice, LinuxDeviceCgroup, LinuxDeviceType};

use crate::error::{Error, ErrorKind, Result, Subject};
use crate::spec::{ContainerSpec, DeviceSpec, Resources, SecuritySpec};

/// What every container may use: type, major, minor, access. Making a node gives no access to what it stands for.
const DEFAULT: [(LinuxDeviceType, Option<i64>, Option<i64>, &str); 11] = [
    (LinuxDeviceType::C, None, None, "m"),
    (LinuxDeviceType::B, None, None, "m"),
    (LinuxDeviceType::C, Some(1), Some(3), "rwm"), // null
    (LinuxDeviceType::C, Some(1), Some(5), "rwm"), // zero
    (LinuxDeviceType::C, Some(1), Some(7), "rwm"), // full
    (LinuxDeviceType::C, Some(1), Some(8), "rwm"), // random
    (LinuxDeviceType::C, Some(1), Some(9), "rwm"), // urandom
    (LinuxDeviceType::C, Some(5), Some(0), "rwm"), // tty
    (LinuxDeviceType::C, Some(5), Some(1), "rwm"), // console
    (LinuxDeviceType::C, Some(5), Some(2), "rwm"), // ptmx
    (LinuxDeviceType::C, Some(136), None, "rwm"),  // pts
];
/// What of `/dev` is not a device of the host, but made for each container.
const NOT_THE_HOST_S: [&str; 8] = ["console", "fd", "mqueue", "ptmx", "pts", "shm", ".lxc", ".udev"];
/// Devices of one wish (a large server has some thousand), and how deep directories are searched for them.
const LIMIT: usize = 10_000;
const DEPTH: usize = 16;

/// Devices of this host that a wish names, found there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct HostDevices {
    /// Those that the container gets.
    given: Vec<Device>,
    /// The numbers of the block devices that limits are about, by path.
    numbers: BTreeMap<PathBuf, (u32, u32)>,
}

/// A device that a container gets.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Device {
    path: String,
    block: bool,
    numbers: (u32, u32),
    mode: u32,
    owner: (u32, u32),
    access: String,
}

impl HostDevices {
    /// Finds them. Blocks; does nothing for a container that asks for none.
    ///
    /// # Errors
    /// The device that is not there, or is none.
    pub(crate) fn find(container: &ContainerSpec) -> Result<HostDevices> {
        let mut found = HostDevices::default();
        let security = &container.security;
        if security.privileged {
            let all = DeviceSpec { host: "/dev".into(), container: "/dev".into(), permissions: "rwm".into() };
            search(Path::new("/dev"), "/dev", &all, 0, &mut found.given)?;
        }
        for wanted in &security.devices {
            add(wanted, &mut found.given)?;
        }
        found.numbers = HostDevices::of_limits(&container.resources)?.numbers;
        Ok(found)
    }

    /// Finds those that limits are about, for limits that are changed later. Blocks.
    ///
    /// # Errors
    /// As [`HostDevices::find`].
    pub(crate) fn of_limits(resources: &Resources) -> Result<HostDevices> {
        let rates = [
            &resources.device_read_bps,
            &resources.device_write_bps,
            &resources.device_read_iops,
            &resources.device_write_iops,
        ];
        let weights = resources.blkio_weight_device.iter().map(|device| &device.path);
        let mut numbers = BTreeMap::new();
        for path in rates.into_iter().flatten().map(|device| &device.path).chain(weights) {
            numbers.insert(path.clone(), block_numbers(path)?);
        }
        Ok(HostDevices { given: Vec::new(), numbers })
    }

    /// The numbers of a block device that a limit is about.
    pub(super) fn numbers(&self, path: &Path) -> Result<(u32, u32)> {
        self.numbers.get(path).copied().ok_or_else(|| Error::not_found(format!("device {}", path.display())))
    }
}

/// The nodes to make, besides those that every container has.
pub(super) fn nodes(devices: &HostDevices) -> Vec<LinuxDevice> {
    let node = |device: &Device| {
        let mut node = LinuxDevice::default();
        node.set_path(device.path.clone().into())
            .set_typ(kind(device.block))
            .set_major(device.numbers.0.into())
            .set_minor(device.numbers.1.into())
            .set_file_mode(Some(device.mode))
            .set_uid(Some(device.owner.0))
            .set_gid(Some(device.owner.1));
        node
    };
    devices.given.iter().map(node).collect()
}

/// The rules for devices, in the order in which they apply.
pub(super) fn rules(security: &SecuritySpec, devices: &HostDevices) -> Result<Vec<LinuxDeviceCgroup>> {
    if security.privileged {
        return Ok(vec![rule(true, LinuxDeviceType::A, None, None, "rwm")]);
    }
    let mut rules = vec![rule(false, LinuxDeviceType::A, None, None, "rwm")];
    rules.extend(DEFAULT.map(|(kind, major, minor, access)| rule(true, kind, major, minor, access)));
    for device in &devices.given {
        let (major, minor) = device.numbers;
        rules.push(rule(true, kind(device.block), Some(major.into()), Some(minor.into()), &device.access));
    }
    for text in &security.device_rules {
        rules.push(parse_rule(text).ok_or_else(|| {
            Error::invalid(format!("device rule {text:?}"), "it must look like \"c 1:3 rwm\" or \"b 8:* r\"")
        })?);
    }
    Ok(rules)
}

fn kind(block: bool) -> LinuxDeviceType {
    if block { LinuxDeviceType::B } else { LinuxDeviceType::C }
}

fn rule(
    allow: bool,
    kind: LinuxDeviceType,
    major: Option<i64>,
    minor: Option<i64>,
    access: &str,
) -> LinuxDeviceCgroup {
    let mut rule = LinuxDeviceCgroup::default();
    rule.set_allow(allow)
        .set_typ(Some(kind))
        .set_major(major)
        .set_minor(minor)
        .set_access(Some(access.into()));
    rule
}

/// `c 1:3 mr`, `b 8:* rwm`, `a *:* rwm`.
fn parse_rule(text: &str) -> Option<LinuxDeviceCgroup> {
    let mut parts = text.split(' ');
    let (kind, numbers, access) = (parts.next()?, parts.next()?, parts.next()?);
    let kind = match kind {
        "a" => LinuxDeviceType::A,
        "b" => LinuxDeviceType::B,
        "c" => LinuxDeviceType::C,
        _ => return None,
    };
    let (major, minor) = numbers.split_once(':')?;
    let number = |text: &str| match text {
        "*" => Some(None),
        _ if text.bytes().all(|byte| byte.is_ascii_digit()) => {
            text.parse::<u32>().ok().map(|number| Some(number.into()))
        }
        _ => None,
    };
    let sound = parts.next().is_none() && is_access(access);
    sound.then_some(rule(true, kind, number(major)?, number(minor)?, access))
}

fn is_access(text: &str) -> bool {
    (1..=3).contains(&text.len()) && text.chars().all(|letter| "rwm".contains(letter))
}

/// Adds the device, or those below the directory.
fn add(wanted: &DeviceSpec, found: &mut Vec<Device>) -> Result<()> {
    let wrong = |reason: &str| Error::invalid(format!("device {:?}", wanted.host), reason);
    if !is_access(&wanted.permissions) {
        return Err(wrong("what is allowed is letters out of r, w and m"));
    }
    let inside = &wanted.container;
    let climbs = |path: &str| path.split('/').any(|part| part == "..") || path.contains('\0');
    if !inside.starts_with('/') || climbs(inside) || inside.trim_end_matches('/').is_empty() {
        return Err(wrong("its path in the container must be absolute, and without \"..\""));
    }
    if !wanted.host.starts_with('/') || wanted.host.contains('\0') {
        return Err(wrong("its path on the host must be absolute"));
    }
    // A link on the host, as in /dev/disk, stands for what it leads to.
    let host = fs::canonicalize(&wanted.host).subject(|| format!("device {}", wanted.host))?;
    let metadata = fs::metadata(&host).subject(|| format!("device {}", wanted.host))?;
    let inside = inside.trim_end_matches('/');
    if let Some(device) = device(&metadata, inside, &wanted.permissions) {
        return push(device, found);
    }
    if !metadata.is_dir() {
        return Err(wrong("it is neither a device nor a directory"));
    }
    let before = found.len();
    search(&host, inside, wanted, 0, found)?;
    match found.len() == before {
        true => Err(wrong("there is no device in the directory")),
        false => Ok(()),
    }
}

fn search(
    host: &Path,
    inside: &str,
    wanted: &DeviceSpec,
    depth: usize,
    found: &mut Vec<Device>,
) -> Result<()> {
    let entries = match fs::read_dir(host) {
        // It went while it was looked at: devices come and go.
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        entries => entries.subject(|| format!("device {}", host.display()))?,
    };
    let mut entries: Vec<_> = entries.flatten().collect();
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let name = entry.file_name();
        let Some(name) = name.to_str() else { continue };
        if host == Path::new("/dev") && NOT_THE_HOST_S.contains(&name) {
            continue;
        }
        // A link is not followed: what it leads to is found where it is.
        let Ok(metadata) = entry.metadata() else { continue };
        let inside = format!("{inside}/{name}");
        if let Some(device) = device(&metadata, &inside, &wanted.permissions) {
            push(device, found)?;
        } else if metadata.is_dir() && depth < DEPTH {
            search(&entry.path(), &inside, wanted, depth + 1, found)?;
        }
    }
    Ok(())
}

/// Adds a device; of two at one path the later one wins.
fn push(device: Device, found: &mut Vec<Device>) -> Result<()> {
    found.retain(|other| other.path != device.path);
    if found.len() >= LIMIT {
        return Err(Error::new(ErrorKind::LimitExceeded, "devices")
            .because(format!("there are more than {LIMIT}"))
            .with_remedy("name those that the container needs"));
    }
    found.push(device);
    Ok(())
}

fn device(metadata: &fs::Metadata, inside: &str, access: &str) -> Option<Device> {
    let (kind, number) = (metadata.file_type(), metadata.rdev());
    if !kind.is_block_device() && !kind.is_char_device() {
        return None;
    }
    Some(Device {
        path: inside.to_owned(),
        block: kind.is_block_device(),
        numbers: (rustix::fs::major(number), rustix::fs::minor(number)),
        mode: metadata.mode() & 0o777,
        owner: (metadata.uid(), metadata.gid()),
        access: access.to_owned(),
    })
}

fn block_numbers(path: &Path) -> Result<(u32, u32)> {
    let metadata = fs::metadata(path).subject(|| format!("device {}", path.display()))?;
    match device(&metadata, "", "") {
        Some(device) if device.block => Ok(device.numbers),
        _ => Err(Error::invalid(format!("device {}", path.display()), "it is no block device")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(host: &str, container: &str, permissions: &str) -> ContainerSpec {
        let mut wish = ContainerSpec::image("x");
        wish.security.devices = vec![DeviceSpec {
            host: host.into(),
            container: container.into(),
            permissions: permissions.into(),
        }];
        wish
    }

    #[test]
    fn a_device_is_found_with_its_numbers() {
        let wish = wanted("/dev/zero", "/dev/nought", "r");
        let found = HostDevices::find(&wish).expect("is there");
        let nodes = nodes(&found);
        assert_eq!(nodes.len(), 1);
        assert_eq!((nodes[0].major(), nodes[0].minor()), (1, 5));
        assert_eq!(nodes[0].path(), &PathBuf::from("/dev/nought"));
        let rules = rules(&wish.security, &found).expect("sound");
        let last = rules.last().expect("some");
        assert_eq!((last.allow(), last.major(), last.minor()), (true, Some(1), Some(5)));
        assert_eq!(last.access().as_deref(), Some("r"));
        assert_eq!(rules.len(), 13);
        assert!(!rules[0].allow());
    }

    #[test]
    fn a_directory_stands_for_its_devices_and_a_link_for_its_target() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().to_str().expect("text").to_owned();
        let node = |name: &str| {
            let (kind, mode) =
                (rustix::fs::FileType::CharacterDevice, rustix::fs::Mode::from_raw_mode(0o600));
            let number = rustix::fs::makedev(1, 3);
            rustix::fs::mknodat(rustix::fs::CWD, format!("{path}/{name}"), kind, mode, number)
        };
        fs::create_dir(format!("{path}/sub")).expect("makes it");
        if node("b").is_err() {
            return;
        }
        node("sub/a").expect("makes it");
        std::os::unix::fs::symlink("/dev/zero", format!("{path}/link")).expect("links");
        fs::write(format!("{path}/file"), "").expect("writes");
        let found = HostDevices::find(&wanted(&path, "/dev/x/", "rw")).expect("some");
        let paths: Vec<&str> = found.given.iter().map(|device| device.path.as_str()).collect();
        assert_eq!(paths, ["/dev/x/b", "/dev/x/sub/a"]);
        let found = HostDevices::find(&wanted(&format!("{path}/link"), "/dev/l", "rw")).expect("its target");
        assert_eq!(found.given[0].numbers, (1, 5));
    }

    #[test]
    fn what_is_no_device_is_refused() {
        for (host, container, permissions) in [
            ("/etc/passwd", "/dev/x", "rwm"),
            ("/proc/sys", "/dev/x", "rwm"),
            ("relative", "/dev/x", "rwm"),
            ("/dev/null", "relative", "rwm"),
            ("/dev/null", "/dev/../etc/passwd", "rwm"),
            ("/dev/null", "/", "rwm"),
            ("/dev/null", "/dev/x", "rwx"),
            ("/dev/null", "/dev/x", ""),
        ] {
            let error = HostDevices::find(&wanted(host, container, permissions)).expect_err(host);
            assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error}");
        }
        let error = HostDevices::find(&wanted("/dev/not-there", "/dev/x", "r")).expect_err("is not there");
        assert_eq!(error.kind(), ErrorKind::NotFound);
        let mut wish = ContainerSpec::image("x");
        wish.resources.device_read_bps = vec![crate::spec::DeviceRate { path: "/dev/null".into(), rate: 1 }];
        assert!(HostDevices::find(&wish).is_err());
    }

    #[test]
    fn a_privileged_container_gets_all_devices_but_its_own() {
        let mut wish = ContainerSpec::image("x");
        wish.security.privileged = true;
        let found = HostDevices::find(&wish).expect("some");
        let has = |path: &str| found.given.iter().any(|device| device.path == path);
        assert!(has("/dev/null"));
        assert!(!has("/dev/ptmx") && !has("/dev/console"));
        assert!(!found.given.iter().any(|device| device.path.starts_with("/dev/pts/")));
        let rules = rules(&wish.security, &found).expect("sound");
        assert_eq!((rules.len(), rules[0].allow()), (1, true));
    }

    #[test]
    fn rules_look_as_on_the_command_line() {
        for good in ["c 1:3 mr", "b 8:* rwm", "a *:* rwm", "c *:4294967295 r"] {
            assert!(parse_rule(good).is_some(), "{good}");
        }
        for bad in [
            "",
            "c",
            "c 1:3",
            "c 1:3 x",
            "d 1:3 r",
            "c 1:3 rwmr",
            "c 1 r",
            "c  1:3 r",
            "c -1:3 r",
            "c 1:3 r x",
            "c +1:3 r",
            "c 99999999999:1 r",
            "c : r",
        ] {
            assert!(parse_rule(bad).is_none(), "{bad:?}");
        }
    }
}
