//! The options of docker's local driver: `type`, `device` and `o`, as mount(8) takes them.

use std::collections::BTreeMap;
use std::ffi::CString;
use std::net::{IpAddr, ToSocketAddrs};
use std::path::Path;

use rustix::mount::MountFlags;

use crate::error::{Error, ErrorKind, Result, Subject};
use crate::id::VolumeName;

/// The kernel reads one page of options.
const LONGEST_DATA: usize = 4000;

/// What an option of `o` sets or clears; everything else is for the file system.
const FLAGS: [(&str, MountFlags, bool); 19] = [
    ("async", MountFlags::SYNCHRONOUS, false),
    ("atime", MountFlags::NOATIME, false),
    ("defaults", MountFlags::empty(), true),
    ("dev", MountFlags::NODEV, false),
    ("diratime", MountFlags::NODIRATIME, false),
    ("dirsync", MountFlags::DIRSYNC, true),
    ("exec", MountFlags::NOEXEC, false),
    ("noatime", MountFlags::NOATIME, true),
    ("nodev", MountFlags::NODEV, true),
    ("nodiratime", MountFlags::NODIRATIME, true),
    ("noexec", MountFlags::NOEXEC, true),
    ("norelatime", MountFlags::RELATIME, false),
    ("nosuid", MountFlags::NOSUID, true),
    ("relatime", MountFlags::RELATIME, true),
    ("ro", MountFlags::RDONLY, true),
    ("rw", MountFlags::RDONLY, false),
    ("strictatime", MountFlags::STRICTATIME, true),
    ("suid", MountFlags::NOSUID, false),
    ("sync", MountFlags::SYNCHRONOUS, true),
];

/// Options that are no property of a file system, or would change another mount.
const REFUSED: [&str; 11] = [
    "remount",
    "move",
    "private",
    "rprivate",
    "shared",
    "rshared",
    "slave",
    "rslave",
    "unbindable",
    "runbindable",
    "loop",
];

/// A file system to mount where the volume's content is.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct MountPlan {
    device: String,
    kind: String,
    flags: MountFlags,
    /// A directory of the host; with the mounts below it, or without.
    bind: Option<Recursive>,
    data: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Recursive {
    Yes,
    No,
}

impl MountPlan {
    /// What the options ask for; `None` for an ordinary directory of the store.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`], naming the option that is unknown, missing or makes no sense;
    /// [`ErrorKind::Unsupported`] for a size.
    pub(super) fn parse(options: &BTreeMap<String, String>) -> Result<Option<MountPlan>> {
        for (key, value) in options {
            match key.as_str() {
                "type" | "device" | "o" if value.contains('\0') => {
                    return Err(Error::invalid(format!("option {key:?}"), "it cannot hold a zero byte"));
                }
                "type" | "device" | "o" => {}
                "size" => {
                    return Err(Error::new(ErrorKind::Unsupported, "option \"size\"")
                        .because("the driver local does not limit the size of a directory")
                        .with_remedy("use type=tmpfs,device=tmpfs,o=size=…, or the device of a file system of that size"));
                }
                _ => {
                    return Err(Error::invalid(
                        format!("option {key:?}"),
                        "the driver local has no such option",
                    )
                    .with_remedy("use one of: device, o, type"));
                }
            }
        }
        if options.is_empty() {
            return Ok(None);
        }
        let wanted = |key: &str| match options.get(key) {
            Some(value) if !value.is_empty() => Ok(value.clone()),
            _ => Err(Error::invalid(format!("option {key:?}"), "it is missing")
                .with_remedy("give both type and device, with o if there are mount options")),
        };
        let mut plan = MountPlan {
            device: wanted("device")?,
            kind: wanted("type")?,
            flags: MountFlags::empty(),
            bind: None,
            data: Vec::new(),
        };
        for word in options.get("o").map(String::as_str).unwrap_or_default().split(',') {
            plan.add(word.trim())?;
        }
        if plan.bind.is_some() && !plan.device.starts_with('/') {
            return Err(Error::invalid(format!("device {:?}", plan.device), "the path must be absolute"));
        }
        if plan.data.iter().map(|word| word.len() + 1).sum::<usize>() > LONGEST_DATA {
            return Err(Error::invalid("option \"o\"", "it is longer than the kernel takes"));
        }
        Ok(Some(plan))
    }

    fn add(&mut self, word: &str) -> Result<()> {
        if REFUSED.contains(&word) {
            return Err(Error::invalid(format!("mount option {word:?}"), "it makes no sense for a volume"));
        }
        match word {
            "" => {}
            "bind" => self.bind = Some(Recursive::No),
            "rbind" => self.bind = Some(Recursive::Yes),
            _ => match FLAGS.iter().find(|(name, ..)| *name == word) {
                Some((_, flag, set)) => self.flags.set(*flag, *set),
                None => self.data.push(word.to_owned()),
            },
        }
        Ok(())
    }

    /// Mounts it at `target`.
    ///
    /// # Errors
    /// What the kernel says, which for network file systems is what their server says. Options are not repeated:
    /// there may be passwords among them.
    pub(super) fn mount(&self, target: &Path, name: &VolumeName) -> Result<()> {
        let subject = || format!("volume {name}: mount of {} ({})", self.device, self.kind);
        if let Some(recursive) = self.bind {
            match recursive {
                Recursive::Yes => rustix::mount::mount_bind_recursive(&self.device, target),
                Recursive::No => rustix::mount::mount_bind(&self.device, target),
            }
            .subject(subject)?;
            if self.flags.is_empty() {
                return Ok(());
            }
            // The kernel takes the flags of a bind mount only in a second step.
            let flags = MountFlags::BIND | self.flags;
            return rustix::mount::mount_remount(target, flags, "").subject(subject).inspect_err(|_| {
                // Nobody may find it with other flags than asked for; the first failure is the one to tell.
                let _ = rustix::mount::unmount(target, rustix::mount::UnmountFlags::DETACH);
            });
        }
        let data = self.resolved(subject)?.join(",");
        let data =
            CString::new(data).map_err(|_| Error::invalid(subject(), "options cannot hold a zero byte"))?;
        rustix::mount::mount(&self.device, target, &self.kind, self.flags, data.as_c_str()).subject(subject)
    }

    /// The options for the file system. The kernel does not know names of hosts, mount.nfs and mount.cifs look them up.
    fn resolved(&self, subject: impl Fn() -> String) -> Result<Vec<String>> {
        let mut data = self.data.clone();
        match self.kind.as_str() {
            "nfs" | "nfs4" => {
                for word in &mut data {
                    if let Some(host) = word.strip_prefix("addr=") {
                        *word = format!("addr={}", address(host, &subject)?);
                    }
                }
            }
            "cifs" if !data.iter().any(|word| word.starts_with("addr=") || word.starts_with("ip=")) => {
                let host = self.device.trim_start_matches('/').split('/').next().unwrap_or_default();
                data.push(format!("addr={}", address(host, &subject)?));
            }
            _ => {}
        }
        Ok(data)
    }
}

fn address(host: &str, subject: impl Fn() -> String) -> Result<IpAddr> {
    if let Ok(address) = host.parse() {
        return Ok(address);
    }
    let found = (host, 0).to_socket_addrs().map_err(|e| {
        Error::new(ErrorKind::Unavailable, subject())
            .because(format!("the host {host:?} has no address"))
            .caused_by(e)
    })?;
    found.map(|socket| socket.ip()).next().ok_or_else(|| {
        Error::new(ErrorKind::Unavailable, subject()).because(format!("the host {host:?} has no address"))
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn options(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn docker_s_examples_are_understood() {
        let parse = |pairs: &[(&str, &str)]| MountPlan::parse(&options(pairs)).expect("is understood");
        assert_eq!(parse(&[]), None);
        let plan = parse(&[("type", "tmpfs"), ("device", "tmpfs"), ("o", "size=100m,uid=1000,nosuid")])
            .expect("a plan");
        assert_eq!((plan.kind.as_str(), plan.flags, plan.bind), ("tmpfs", MountFlags::NOSUID, None));
        assert_eq!(plan.data, ["size=100m", "uid=1000"]);
        let plan = parse(&[("type", "none"), ("device", "/srv"), ("o", "bind,ro")]).expect("a plan");
        assert_eq!((plan.bind, plan.flags), (Some(Recursive::No), MountFlags::RDONLY));
        let plan = parse(&[("type", "nfs"), ("device", ":/export"), ("o", "addr=127.0.0.1,rw,nfsvers=4")])
            .expect("a plan");
        assert_eq!(plan.resolved(String::new).expect("resolves"), ["addr=127.0.0.1", "nfsvers=4"]);
        let plan =
            parse(&[("type", "cifs"), ("device", "//127.0.0.1/share"), ("o", "username=a")]).expect("a plan");
        assert_eq!(plan.resolved(String::new).expect("resolves"), ["username=a", "addr=127.0.0.1"]);
    }

    #[test]
    fn options_that_cannot_be_are_refused_by_name() {
        for (pairs, named) in [
            (&[("sise", "1")][..], "sise"),
            (&[("type", "tmpfs")], "device"),
            (&[("device", "tmpfs")], "type"),
            (&[("o", "ro")], "device"),
            (&[("type", "none"), ("device", "srv"), ("o", "bind")], "srv"),
            (&[("type", "none"), ("device", "/srv"), ("o", "bind,rshared")], "rshared"),
            (&[("type", "tmpfs"), ("device", "tmpfs"), ("o", "remount")], "remount"),
            (&[("type", "a\0b"), ("device", "tmpfs")], "type"),
            (&[("size", "10G")], "size"),
        ] {
            let error = MountPlan::parse(&options(pairs)).expect_err(named);
            assert!(error.subject().contains(named), "{error}");
        }
    }

    proptest! {
        #[test]
        fn any_options_are_understood_or_refused(kind in ".{0,8}", device in ".{0,8}", o in "[a-z,=/\\PC]{0,40}") {
            let _ = MountPlan::parse(&options(&[("type", &kind), ("device", &device), ("o", &o)]));
        }
    }
}
