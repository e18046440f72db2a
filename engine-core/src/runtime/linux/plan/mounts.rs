//! Mounts: from fstab's words to what the kernel's calls take.

use std::path::Path;

use oci_spec::runtime;

use engine_shim::plan::{Attributes, CgroupMount, Mount, MountSource};

use super::{spaces, text};
use crate::error::{Error, Result};

/// Options that change an attribute of the mount: name, bits, and whether they are set. With `r` before the name the
/// mounts below change too.
const ATTRIBUTES: [(&str, u64, bool); 12] = [
    ("ro", libc::MOUNT_ATTR_RDONLY, true),
    ("rw", libc::MOUNT_ATTR_RDONLY, false),
    ("nosuid", libc::MOUNT_ATTR_NOSUID, true),
    ("suid", libc::MOUNT_ATTR_NOSUID, false),
    ("nodev", libc::MOUNT_ATTR_NODEV, true),
    ("dev", libc::MOUNT_ATTR_NODEV, false),
    ("noexec", libc::MOUNT_ATTR_NOEXEC, true),
    ("exec", libc::MOUNT_ATTR_NOEXEC, false),
    ("nodiratime", libc::MOUNT_ATTR_NODIRATIME, true),
    ("diratime", libc::MOUNT_ATTR_NODIRATIME, false),
    ("nosymfollow", libc::MOUNT_ATTR_NOSYMFOLLOW, true),
    ("symfollow", libc::MOUNT_ATTR_NOSYMFOLLOW, false),
];
/// Options that say when reading changes the time of access: one field, not a bit each (mount_setattr(2)).
const ACCESS_TIMES: [(&str, u64); 6] = [
    ("relatime", libc::MOUNT_ATTR_RELATIME),
    ("norelatime", libc::MOUNT_ATTR_RELATIME),
    ("atime", libc::MOUNT_ATTR_RELATIME),
    ("nostrictatime", libc::MOUNT_ATTR_RELATIME),
    ("strictatime", libc::MOUNT_ATTR_STRICTATIME),
    ("noatime", libc::MOUNT_ATTR_NOATIME),
];
/// Options that say how mounts travel; with `r` before the name those below too.
const PROPAGATION: [(&str, u64); 4] = [
    ("private", libc::MS_PRIVATE),
    ("slave", libc::MS_SLAVE),
    ("shared", libc::MS_SHARED),
    ("unbindable", libc::MS_UNBINDABLE),
];
/// Options of the file system itself that any kind has. On a bind mount they mean nothing.
const GENERIC: [&str; 7] = ["async", "dirsync", "lazytime", "mand", "nolazytime", "nomand", "sync"];
/// Options that mean nothing.
const IGNORED: [&str; 5] = ["defaults", "iversion", "loud", "noiversion", "silent"];
/// The option of a tmpfs that has at first what lies at its target.
const COPY_UP: &str = "tmpcopyup";
/// Kinds of file systems through which the container sees the kernel: nothing of an image may be on the way to where
/// they are mounted.
const SYSTEM: [&str; 6] = ["cgroup", "cgroup2", "devpts", "mqueue", "proc", "sysfs"];

/// Kinds of file systems whose files have no label of the mount: one for all who mount them, or the kernel's own.
const UNLABELLED: [&str; 3] = ["mqueue", "proc", "sysfs"];

/// Mounts, with every option understood or refused. `cgroups` are those that show the container's part of the tree,
/// `linux` says how users are mapped and what SELinux calls files of new file systems.
pub(super) fn mounts(
    mounts: &[runtime::Mount],
    cgroups: &[CgroupMount],
    linux: &runtime::Linux,
) -> Result<Vec<Mount>> {
    let mut planned = Vec::with_capacity(mounts.len());
    for mount in mounts {
        let mount = plan(mount, &mut planned, cgroups, linux)?;
        planned.push(mount);
    }
    let label = linux.mount_label().as_deref().unwrap_or_default();
    if !label.is_empty() {
        for mount in &mut planned {
            match &mut mount.source {
                MountSource::Filesystem { kind, parameters, .. } if !UNLABELLED.contains(&kind.as_str()) => {
                    parameters.push(("context".to_owned(), Some(label.to_owned())));
                }
                _ => {}
            }
        }
    }
    Ok(planned)
}

/// The plan of a mount after those that were `planned` already.
fn plan(
    mount: &runtime::Mount,
    planned: &mut [Mount],
    cgroups: &[CgroupMount],
    linux: &runtime::Linux,
) -> Result<Mount> {
    let target = target(mount.destination())?;
    let wrong = |reason: String| Error::invalid(format!("mount {target}"), reason);
    let mut options = Options::default();
    for option in mount.options().iter().flatten() {
        options.add(option).map_err(&wrong)?;
    }
    let kind = mount.typ().as_deref().unwrap_or("none");
    let source = match (options.bind, kind) {
        _ if options.remount => {
            let there =
                |earlier: &&mut Mount| earlier.target == target && earlier.source != MountSource::Earlier;
            let earlier = planned.iter_mut().rev().find(there);
            let earlier = earlier.ok_or_else(|| wrong("there is no earlier mount to remount".to_owned()))?;
            options.change(earlier);
            MountSource::Earlier
        }
        (Some(recursive), _) => bind(mount, recursive).map_err(&wrong)?,
        (None, "bind" | "rbind") => bind(mount, kind == "rbind").map_err(&wrong)?,
        (None, "none") => return Err(wrong("it has no type, and is no bind mount".to_owned())),
        (None, "cgroup" | "cgroup2") => MountSource::Cgroups(cgroups.to_vec()),
        (None, kind) => MountSource::Filesystem {
            kind: kind.to_owned(),
            source: mount
                .source()
                .as_deref()
                .map_or(Ok(kind.to_owned()), |source| text(source, "a source"))?,
            parameters: std::mem::take(&mut options.parameters),
        },
    };
    if let Some((name, _)) = options.parameters.iter().find(|(name, _)| !GENERIC.contains(&name.as_str())) {
        return Err(wrong(format!("unknown option {name:?}")));
    }
    if options.copy_up && (options.remount || options.bind.is_some() || kind != "tmpfs") {
        return Err(wrong(format!("option {COPY_UP:?} is for a tmpfs alone")));
    }
    // Their targets are the engine's own choice, as is that of the directory of devices.
    let system = options.bind.is_none() && (SYSTEM.contains(&kind) || (kind, &*target) == ("tmpfs", "/dev"));
    let idmap = spaces::of_mount(mount, options.idmap, linux).map_err(&wrong)?;
    if idmap.is_some() && !matches!(source, MountSource::Bind { .. }) {
        return Err(wrong("owners are mapped on bind mounts only".to_owned()));
    }
    Ok(Mount {
        target,
        source,
        attributes: options.attributes,
        attributes_below: options.attributes_below,
        propagation: options.propagation,
        system,
        copy_up: options.copy_up,
        idmap,
    })
}

fn bind(mount: &runtime::Mount, recursive: bool) -> Result<MountSource, String> {
    let source = mount.source().as_deref().ok_or("it has no source")?;
    if !source.is_absolute() {
        return Err(format!("its source {} is not an absolute path", source.display()));
    }
    let path = source.to_str().filter(|path| !path.contains('\0')).ok_or("its source is no text")?;
    Ok(MountSource::Bind { path: path.to_owned(), recursive })
}

/// An absolute path without detours, so that it can be compared.
fn target(path: &Path) -> Result<String> {
    let path = text(path, "the target of a mount")?;
    let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty() && *part != ".").collect();
    if parts.is_empty() || parts.contains(&"..") {
        return Err(Error::invalid(format!("mount {path:?}"), "its target is not an absolute path below /"));
    }
    Ok(format!("/{}", parts.join("/")))
}

/// The options that are understood, sorted.
pub(in crate::runtime::linux) fn options() -> Vec<String> {
    let mut names: Vec<String> = ["bind", "idmap", "rbind", "remount", "ridmap", COPY_UP]
        .into_iter()
        .chain(GENERIC)
        .chain(IGNORED)
        .map(str::to_owned)
        .collect();
    let attributes =
        ATTRIBUTES.iter().map(|(name, ..)| *name).chain(ACCESS_TIMES.iter().map(|(name, _)| *name));
    for name in attributes.chain(PROPAGATION.iter().map(|(name, _)| *name)) {
        names.push(name.to_owned());
        names.push(format!("r{name}"));
    }
    names.sort();
    names
}

#[derive(Default)]
struct Options {
    attributes: Attributes,
    attributes_below: Attributes,
    propagation: u32,
    /// It is a bind mount; with the mounts below the source.
    bind: Option<bool>,
    parameters: Vec<(String, Option<String>)>,
    copy_up: bool,
    /// It changes an earlier mount.
    remount: bool,
    /// Its owners are mapped; with the mounts below the source.
    idmap: Option<bool>,
}

impl Options {
    fn add(&mut self, option: &str) -> Result<(), String> {
        match option {
            "bind" => self.bind = Some(self.bind.unwrap_or(false)),
            "rbind" => self.bind = Some(true),
            COPY_UP => self.copy_up = true,
            "idmap" => self.idmap = Some(self.idmap.unwrap_or(false)),
            "ridmap" => self.idmap = Some(true),
            "remount" => self.remount = true,
            _ if option.is_empty() || option.contains('\0') => {
                return Err(format!("unknown option {option:?}"));
            }
            _ if IGNORED.contains(&option) => {}
            _ if self.known(option) => {}
            _ => {
                let (name, value) = match option.split_once('=') {
                    Some((name, value)) => (name, Some(value.to_owned())),
                    None => (option, None),
                };
                self.parameters.push((name.to_owned(), value));
            }
        }
        Ok(())
    }

    /// Gives the file system of an earlier mount, if it is a new one, its parameters at once; what is mounted in between
    /// is not about them. A file system of the host is none to be changed.
    fn change(&mut self, earlier: &mut Mount) {
        if let MountSource::Filesystem { parameters, .. } = &mut earlier.source {
            parameters.append(&mut self.parameters);
        }
    }

    /// Takes an option that is about the mount and not about its file system. Names that begin with an `r` by
    /// themselves come first.
    fn known(&mut self, option: &str) -> bool {
        if let Some(change) = attribute(option) {
            change.apply(&mut self.attributes);
        } else if let Some(propagation) = propagation(option) {
            self.propagation = propagation;
        } else if let Some(change) = option.strip_prefix('r').and_then(attribute) {
            change.apply(&mut self.attributes_below);
        } else if let Some(propagation) = option.strip_prefix('r').and_then(propagation) {
            self.propagation = propagation | libc::MS_REC as u32;
        } else {
            return false;
        }
        true
    }
}

/// What an option does: the bits of a field, and the value that the field gets.
struct Change {
    field: u64,
    value: u64,
}

impl Change {
    /// The later of two options about the same field wins.
    fn apply(&self, attributes: &mut Attributes) {
        attributes.set = attributes.set & !self.field | self.value;
        // The field of access times is cleared before it is set; a bit is either set or cleared.
        let clear = if self.field == libc::MOUNT_ATTR__ATIME { self.field } else { self.field & !self.value };
        attributes.clear = attributes.clear & !self.field | clear;
    }
}

fn attribute(option: &str) -> Option<Change> {
    let bits = ATTRIBUTES.iter().find(|(name, ..)| *name == option);
    let time = ACCESS_TIMES.iter().find(|(name, _)| *name == option);
    match (bits, time) {
        (Some((_, bits, set)), _) => Some(Change { field: *bits, value: if *set { *bits } else { 0 } }),
        (None, Some((_, value))) => Some(Change { field: libc::MOUNT_ATTR__ATIME, value: *value }),
        (None, None) => None,
    }
}

fn propagation(option: &str) -> Option<u32> {
    PROPAGATION.iter().find(|(name, _)| *name == option).map(|(_, flag)| *flag as u32)
}

/// How mounts travel at the root of a container, by the configuration's word; private unless given.
pub(super) fn root_propagation(word: Option<&str>) -> Result<u32> {
    let word = word.filter(|word| !word.is_empty()).unwrap_or("private");
    propagation(word)
        .or_else(|| word.strip_prefix('r').and_then(propagation))
        .ok_or_else(|| Error::invalid(format!("root propagation {word:?}"), "there is no such propagation"))
}
