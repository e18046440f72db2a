//! Where the hierarchies are mounted: reads `/proc/self/mountinfo` and `/proc/self/cgroup`, see proc(5).

use std::collections::BTreeMap;
use std::io::Read;

use crate::error::{Error, ErrorKind, Result, Subject};

/// Every mount there is, for this process.
const MOUNTS: &str = "/proc/self/mountinfo";
/// More than this is no list of mounts.
const LIMIT: u64 = 64 << 20;

/// What a mount of version 1 may say about itself besides its controllers.
const CONTROLLERS: [&str; 14] = [
    "blkio",
    "cpu",
    "cpuacct",
    "cpuset",
    "devices",
    "freezer",
    "hugetlb",
    "memory",
    "misc",
    "net_cls",
    "net_prio",
    "perf_event",
    "pids",
    "rdma",
];

/// Which version rules, and its mounts.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Layout {
    /// Version 1: a hierarchy for each controller, or for a few together.
    One(Vec<Hierarchy>),
    /// Version 2, mounted here.
    Two(String),
}

/// A mounted hierarchy of version 1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Hierarchy {
    /// Where it is mounted.
    pub(super) mount: String,
    /// Its controllers; or `name=...` for one that has none and only sorts processes.
    pub(super) controllers: Vec<String>,
}

/// One cgroup mount, as mountinfo has it.
struct Mount {
    /// Which group of the hierarchy is at the mount point.
    root: String,
    point: String,
    two: bool,
    controllers: Vec<String>,
}

/// How this host's control groups are laid out.
pub(super) fn layout() -> Result<Layout> {
    decide(&read(MOUNTS)?, &read("/proc/self/cgroup")?)
}

/// Where any hierarchy is mounted, those that the engine does not use included.
pub(super) fn points() -> Result<Vec<String>> {
    let mounts = read(MOUNTS)?;
    Ok(mounts.lines().filter_map(parse).filter_map(|(point, mount)| mount.map(|_| point)).collect())
}

fn read(path: &str) -> Result<String> {
    let mut text = Vec::new();
    let file = std::fs::File::open(path).subject(|| path.to_owned())?;
    file.take(LIMIT).read_to_end(&mut text).subject(|| path.to_owned())?;
    Ok(String::from_utf8_lossy(&text).into_owned())
}

/// The layout by these two files.
fn decide(mountinfo: &str, own: &str) -> Result<Layout> {
    let own = own_groups(own);
    // A later mount hides an earlier one at the same point.
    let mut visible: BTreeMap<String, Option<Mount>> = BTreeMap::new();
    for (point, mount) in mountinfo.lines().filter_map(parse) {
        visible.insert(point, mount);
    }
    let mut hierarchies: BTreeMap<Vec<String>, Mount> = BTreeMap::new();
    let mut two: Option<Mount> = None;
    for mount in visible.into_values().flatten() {
        if mount.two {
            let better = two.as_ref().is_none_or(|other| rank(&mount, &own) < rank(other, &own));
            two = if better { Some(mount) } else { two };
        } else if !mount.controllers.is_empty() {
            let other = hierarchies.get(&mount.controllers);
            if other.is_none_or(|other| rank(&mount, &own) < rank(other, &own)) {
                hierarchies.insert(mount.controllers.clone(), mount);
            }
        }
    }
    // A named hierarchy controls nothing, and one of perf_event alone may stand beside a tree of version 2.
    let controls = |mount: &Mount| {
        let rule = ["cpu", "devices", "freezer", "memory", "pids"];
        mount.controllers.iter().any(|name| rule.contains(&name.as_str()))
    };
    if hierarchies.values().any(controls) {
        let found = hierarchies.into_values();
        return Ok(Layout::One(
            found.map(|mount| Hierarchy { mount: mount.point, controllers: mount.controllers }).collect(),
        ));
    }
    match two {
        Some(mount) => Ok(Layout::Two(mount.point)),
        None => Err(Error::new(ErrorKind::Unsupported, "control groups")
            .because("no cgroup file system is mounted")
            .with_remedy("mount one: mount -t cgroup2 cgroup2 /sys/fs/cgroup")),
    }
}

/// Of several mounts of a hierarchy the one is right that shows this process's own group (an engine in a container
/// may see a mount of the host besides), and of those the one that shows most.
fn rank(mount: &Mount, own: &BTreeMap<String, String>) -> (bool, usize) {
    let key = mount.controllers.first().map_or("", String::as_str);
    let shows_own = own.get(key).is_some_and(|group| {
        let root = mount.root.trim_end_matches('/');
        group.strip_prefix(root).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    });
    (!shows_own, mount.root.len())
}

/// This process's group by controller; that of version 2 by the empty name.
fn own_groups(text: &str) -> BTreeMap<String, String> {
    let mut groups = BTreeMap::new();
    for line in text.lines() {
        let mut fields = line.splitn(3, ':').skip(1);
        if let (Some(controllers), Some(path)) = (fields.next(), fields.next()) {
            for controller in controllers.split(',') {
                groups.insert(controller.to_owned(), path.to_owned());
            }
        }
    }
    groups
}

/// A line of mountinfo: the mount point, and the mount if it is one of control groups.
fn parse(line: &str) -> Option<(String, Option<Mount>)> {
    let (left, right) = line.split_once(" - ")?;
    let mut left = left.split(' ').skip(3);
    let (root, point) = (unescape(left.next()?), unescape(left.next()?));
    let mut right = right.split(' ');
    let kind = right.next()?;
    if kind != "cgroup" && kind != "cgroup2" {
        return Some((point, None));
    }
    let options = right.nth(1).unwrap_or_default().split(',');
    let mut controllers: Vec<String> = options
        .filter(|option| CONTROLLERS.contains(option) || option.starts_with("name="))
        .map(str::to_owned)
        .collect();
    controllers.sort_unstable();
    Some((point.clone(), Some(Mount { root, point, two: kind == "cgroup2", controllers })))
}

/// Undoes the octal escapes of mountinfo: `\040` is a space.
fn unescape(field: &str) -> String {
    if !field.contains('\\') {
        return field.to_owned();
    }
    let bytes = field.as_bytes();
    let mut plain = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        let octal = bytes.get(at + 1..at + 4).and_then(|digits| std::str::from_utf8(digits).ok());
        match octal.and_then(|digits| u8::from_str_radix(digits, 8).ok()) {
            Some(value) if byte == b'\\' => {
                plain.push(value);
                at += 4;
            }
            _ => {
                plain.push(byte);
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&plain).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    const HYBRID: &str = "\
31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755
32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw,relatime shared:9 - cgroup cgroup rw,cpu,cpuacct
35 31 0:32 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory
40 31 0:37 / /sys/fs/cgroup/systemd rw,relatime - cgroup cgroup rw,xattr,name=systemd
41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw,nsdelegate
";

    fn hierarchy(mount: &str, controllers: &[&str]) -> Hierarchy {
        let controllers = controllers.iter().map(|name| (*name).to_owned()).collect();
        Hierarchy { mount: mount.into(), controllers }
    }

    #[test]
    fn controllers_of_version_1_win_over_a_tree_beside_them() {
        let Layout::One(found) = decide(HYBRID, "4:memory:/\n0::/\n").expect("a layout") else {
            panic!("it is version 1");
        };
        assert!(found.contains(&hierarchy("/sys/fs/cgroup/cpu,cpuacct", &["cpu", "cpuacct"])));
        assert!(found.contains(&hierarchy("/sys/fs/cgroup/memory", &["memory"])));
        assert!(found.contains(&hierarchy("/sys/fs/cgroup/systemd", &["name=systemd"])));
        assert_eq!(found.len(), 3);
    }

    #[test]
    fn a_named_hierarchy_does_not_make_it_version_1() {
        let text = "30 23 0:1 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n\
                    31 23 0:2 / /run/systemd/cg rw - cgroup cgroup rw,name=systemd\n";
        assert_eq!(decide(text, "0::/\n").expect("a layout"), Layout::Two("/sys/fs/cgroup".into()));
    }

    #[test]
    fn an_engine_in_a_container_finds_the_mount_of_its_own_group() {
        let text = "30 23 0:1 / /host/cg rw - cgroup cgroup rw,memory\n\
                    31 23 0:1 /docker/abc /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n\
                    32 23 0:1 /docker/def /elsewhere rw - cgroup cgroup rw,memory\n";
        let mount = |own: &str| match decide(text, own).expect("a layout") {
            Layout::One(found) => found[0].mount.clone(),
            Layout::Two(_) => panic!("it is version 1"),
        };
        assert_eq!(mount("4:memory:/docker/abc\n"), "/host/cg");
        let text = text.replace("30 23 0:1 / /host/cg", "30 23 0:1 /docker/ab /host/cg");
        let Layout::One(found) = decide(&text, "4:memory:/docker/abc\n").expect("a layout") else {
            panic!("it is version 1");
        };
        assert_eq!(found[0].mount, "/sys/fs/cgroup/memory");
    }

    #[test]
    fn a_hidden_mount_and_one_with_a_space_are_read_right() {
        let text = "30 23 0:1 / /a\\040b rw - cgroup2 cgroup2 rw\n\
                    31 23 0:2 / /hidden rw - cgroup cgroup rw,memory\n\
                    32 23 0:3 / /hidden rw - tmpfs tmpfs rw\n";
        assert_eq!(decide(text, "").expect("a layout"), Layout::Two("/a b".into()));
    }

    #[test]
    fn nothing_mounted_is_said() {
        let error =
            decide("1 1 0:1 / / rw - ext4 /dev/a rw\nrubbish\n - \n", "x\n:\n").expect_err("is refused");
        assert_eq!(error.kind(), ErrorKind::Unsupported);
        assert!(error.remedy().is_some());
    }
}
