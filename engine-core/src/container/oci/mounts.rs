//! What is mounted over a container's root: the kernel's file systems, the engine's files, the user's volumes.

use std::path::{Path, PathBuf};

use oci_spec::runtime::Mount;

use super::SpecInput;
use crate::error::{Error, Result};
use crate::spec::{BindSpec, IpcMode, MountSpec, Propagation, TmpfsSpec};

/// What every container gets: target, type, source, options.
const DEFAULT: [(&str, &str, &str, &[&str]); 7] = [
    ("/proc", "proc", "proc", &["nosuid", "noexec", "nodev"]),
    ("/dev", "tmpfs", "tmpfs", &["nosuid", "strictatime", "mode=755", "size=65536k"]),
    (
        "/dev/pts",
        "devpts",
        "devpts",
        &["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"],
    ),
    ("/sys", "sysfs", "sysfs", &["nosuid", "noexec", "nodev", "ro"]),
    ("/sys/fs/cgroup", "cgroup", "cgroup", &["ro", "nosuid", "noexec", "nodev"]),
    ("/dev/mqueue", "mqueue", "mqueue", &["nosuid", "noexec", "nodev"]),
    ("/dev/shm", "tmpfs", "shm", &["nosuid", "noexec", "nodev", "mode=1777"]),
];
/// Bytes of `/dev/shm` unless the wish says otherwise.
const SHM_SIZE: u64 = 64 << 20;
/// What stays writable when the root file system is not: programs cannot do without.
const WRITABLE: [&str; 5] = ["/proc", "/dev", "/dev/pts", "/dev/shm", "/dev/mqueue"];

/// A mount of the wish whose source was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ResolvedMount {
    /// Where it appears: an absolute path in the container.
    target: String,
    /// A path of the host; none for a file system in memory.
    source: Option<PathBuf>,
    /// As mount(8) takes them.
    options: Vec<String>,
    propagation: Propagation,
}

impl ResolvedMount {
    /// The host's `source`, which is there, as `bind` asks for it.
    pub(crate) fn bind(mount: &MountSpec, bind: &BindSpec, source: impl Into<PathBuf>) -> ResolvedMount {
        let mut options = vec![if bind.recursive { "rbind" } else { "bind" }.to_owned()];
        if mount.read_only {
            // With the mounts below: what is read-only is so all the way down, unless told otherwise.
            let below = bind.recursive && !bind.writable_below;
            options.push(if below { "rro" } else { "ro" }.to_owned());
        }
        options.push(propagation_option(bind.propagation, bind.recursive).to_owned());
        ResolvedMount {
            target: mount.target.clone(),
            source: Some(source.into()),
            options,
            propagation: bind.propagation,
        }
    }

    /// The directory `source` of a volume.
    pub(crate) fn volume(mount: &MountSpec, source: impl Into<PathBuf>) -> ResolvedMount {
        ResolvedMount::bind(mount, &BindSpec::new(""), source)
    }

    /// A file system in memory.
    pub(crate) fn tmpfs(mount: &MountSpec, tmpfs: &TmpfsSpec) -> ResolvedMount {
        let mut options = vec!["nosuid".to_owned(), "nodev".into()];
        options.push(if tmpfs.exec { "exec" } else { "noexec" }.into());
        if mount.read_only {
            options.push("ro".into());
        }
        options.extend(tmpfs.size.map(|size| format!("size={size}")));
        options.push(format!("mode={:o}", tmpfs.mode.unwrap_or(0o1777)));
        options.extend(tmpfs.uid.map(|uid| format!("uid={uid}")));
        options.extend(tmpfs.gid.map(|gid| format!("gid={gid}")));
        ResolvedMount {
            target: mount.target.clone(),
            source: None,
            options,
            propagation: Propagation::Private,
        }
    }
}

fn propagation_option(propagation: Propagation, recursive: bool) -> &'static str {
    match (propagation, recursive) {
        (Propagation::Private, true) => "rprivate",
        (Propagation::Private, false) => "private",
        (Propagation::Slave, true) => "rslave",
        (Propagation::Slave, false) => "slave",
        (Propagation::Shared, true) => "rshared",
        (Propagation::Shared, false) => "shared",
    }
}

/// The propagation of the container's root, which what is mounted beneath it needs; `None` for none.
pub(super) fn root_propagation(mounts: &[ResolvedMount]) -> Option<String> {
    let any = |wanted| mounts.iter().any(|mount| mount.propagation == wanted);
    match (any(Propagation::Shared), any(Propagation::Slave)) {
        (true, _) => Some("shared".into()),
        (false, true) => Some("slave".into()),
        (false, false) => None,
    }
}

/// All mounts, in the order in which they are made.
pub(super) fn mounts(input: &SpecInput<'_>) -> Result<Vec<Mount>> {
    let targets = targets(input.mounts)?;
    let users = |path: &str| targets.iter().any(|target| target == path);
    let container = input.container;
    let privileged = container.security.privileged;
    let mut mounts = Vec::with_capacity(DEFAULT.len() + 3 + targets.len());
    for (target, kind, source, options) in DEFAULT {
        // An IPC namespace that is another's comes with that one's memory, or with none.
        match (target, &container.ipc) {
            ("/dev/shm", IpcMode::None | IpcMode::Container(_)) => continue,
            ("/dev/shm", IpcMode::Host) if !users(target) && !users("/dev") => {
                mounts.push(mount(
                    target,
                    "bind",
                    Path::new(target),
                    vec!["rbind".into(), "rprivate".into()],
                ));
                continue;
            }
            _ => {}
        }
        // What is the user's own is the user's, and so is what lies below it.
        if users(target) || target.starts_with("/dev/") && users("/dev") {
            continue;
        }
        let mut options: Vec<String> = options.iter().map(|option| (*option).to_owned()).collect();
        match target {
            "/dev/shm" => options.push(format!("size={}", container.shm_size.unwrap_or(SHM_SIZE))),
            "/sys/fs/cgroup" if container.security.writable_cgroups => {
                options.retain(|option| option != "ro")
            }
            "/sys" | "/sys/fs/cgroup" if privileged => options.retain(|option| option != "ro"),
            _ => {}
        }
        mounts.push(mount(target, kind, Path::new(source), options));
    }
    for (target, source) in files(input) {
        if users(target) {
            continue;
        }
        let mut options = vec!["rbind".to_owned(), "rprivate".into()];
        if container.read_only && !WRITABLE.contains(&target) {
            options.push("ro".into());
        }
        mounts.push(mount(target, "bind", source, options));
    }
    // What is nearer the root first, so that nothing hides what was mounted before.
    let mut own: Vec<_> = input.mounts.iter().zip(&targets).collect();
    own.sort_by_key(|(_, target)| target.matches('/').count());
    for (resolved, target) in own {
        mounts.push(match &resolved.source {
            Some(source) => mount(target, "bind", source, resolved.options.clone()),
            None => mount(target, "tmpfs", Path::new("tmpfs"), resolved.options.clone()),
        });
    }
    Ok(mounts)
}

/// The engine's files and what they are mounted over.
fn files<'a>(input: &SpecInput<'a>) -> impl Iterator<Item = (&'static str, &'a Path)> {
    input.files.into_iter().flat_map(|files| {
        [
            ("/etc/resolv.conf", files.resolv_conf),
            ("/etc/hostname", files.hostname),
            ("/etc/hosts", files.hosts),
        ]
    })
}

/// The targets without detours, so that they can be compared.
fn targets(mounts: &[ResolvedMount]) -> Result<Vec<String>> {
    let mut targets: Vec<String> = Vec::with_capacity(mounts.len());
    for mount in mounts {
        let wrong = |reason: &str| Error::invalid(format!("mount {:?}", mount.target), reason);
        let parts: Vec<&str> =
            mount.target.split('/').filter(|part| !part.is_empty() && *part != ".").collect();
        if !mount.target.starts_with('/') || parts.contains(&"..") || mount.target.contains('\0') {
            return Err(wrong("the target must be an absolute path without \"..\""));
        }
        if parts.is_empty() {
            return Err(wrong("nothing can be mounted over the whole container"));
        }
        let target = format!("/{}", parts.join("/"));
        if targets.contains(&target) {
            return Err(wrong("something else is mounted there too")
                .with_remedy("give one of the two another target"));
        }
        targets.push(target);
    }
    Ok(targets)
}

fn mount(target: &str, kind: &str, source: &Path, options: Vec<String>) -> Mount {
    let mut mount = Mount::default();
    mount
        .set_destination(target.into())
        .set_typ(Some(kind.into()))
        .set_source(Some(source.to_owned()))
        .set_options(Some(options));
    mount
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::container::oci::tests::{Wish, input};

    fn lines(wish: &Wish) -> Vec<String> {
        let mounts = mounts(&input(wish)).expect("well formed");
        let line = |mount: &Mount| {
            let options = mount.options().as_ref().map(|options| options.join(",")).unwrap_or_default();
            let source = mount.source().as_deref().unwrap_or(Path::new("")).display().to_string();
            let kind = mount.typ().clone().unwrap_or_default();
            format!("{} {kind} {source} {options}", mount.destination().display())
        };
        mounts.iter().map(line).collect()
    }

    #[test]
    fn the_defaults_are_docker_s() {
        assert_eq!(
            lines(&Wish::default()),
            [
                "/proc proc proc nosuid,noexec,nodev",
                "/dev tmpfs tmpfs nosuid,strictatime,mode=755,size=65536k",
                "/dev/pts devpts devpts nosuid,noexec,newinstance,ptmxmode=0666,mode=0620,gid=5",
                "/sys sysfs sysfs nosuid,noexec,nodev,ro",
                "/sys/fs/cgroup cgroup cgroup ro,nosuid,noexec,nodev",
                "/dev/mqueue mqueue mqueue nosuid,noexec,nodev",
                "/dev/shm tmpfs shm nosuid,noexec,nodev,mode=1777,size=67108864",
                "/etc/resolv.conf bind /files/resolv.conf rbind,rprivate",
                "/etc/hostname bind /files/hostname rbind,rprivate",
                "/etc/hosts bind /files/hosts rbind,rprivate",
            ]
        );
    }

    #[test]
    fn a_user_s_mount_takes_the_place_of_the_engine_s() {
        let mut wish = Wish::default();
        let shm = MountSpec::tmpfs("/dev/shm/");
        let hosts = MountSpec::bind("/h", "/etc//hosts").read_only();
        let deep = MountSpec::bind("/d", "/a/b/c");
        let top = MountSpec::bind("/t", "/a");
        wish.mounts = vec![
            ResolvedMount::bind(&deep, &BindSpec::new("/d"), "/d"),
            ResolvedMount::tmpfs(
                &shm,
                &TmpfsSpec { size: Some(1024), mode: Some(0o700), ..Default::default() },
            ),
            ResolvedMount::bind(&hosts, &BindSpec::new("/h"), "/h"),
            ResolvedMount::volume(&top, "/t"),
        ];
        let lines = lines(&wish);
        assert_eq!(lines.len(), 12);
        assert_eq!(
            lines[8..],
            [
                "/a bind /t rbind,rprivate",
                "/dev/shm tmpfs tmpfs nosuid,nodev,noexec,size=1024,mode=700",
                "/etc/hosts bind /h rbind,rro,rprivate",
                "/a/b/c bind /d rbind,rprivate",
            ]
        );
        let dev = MountSpec::bind("/dev", "/dev");
        wish.mounts = vec![ResolvedMount::volume(&dev, "/dev")];
        assert!(!self::lines(&wish).iter().any(|line| line.starts_with("/dev/")));
    }

    #[test]
    fn a_read_only_root_leaves_programs_what_they_need() {
        let mut wish = Wish::default();
        wish.container.read_only = true;
        wish.container.shm_size = Some(4096);
        let lines = lines(&wish);
        assert!(lines.iter().any(|line| line.starts_with("/etc/hosts") && line.ends_with(",ro")));
        assert!(lines.iter().any(|line| line.starts_with("/dev/shm") && line.ends_with("size=4096")));
        assert!(lines.iter().any(|line| line.starts_with("/proc") && !line.contains("ro,")));
    }

    #[test]
    fn a_privileged_container_may_write_where_others_may_not() {
        let mut wish = Wish::default();
        wish.container.security.privileged = true;
        let lines = lines(&wish);
        assert!(lines.contains(&"/sys sysfs sysfs nosuid,noexec,nodev".to_owned()));
        assert!(lines.contains(&"/sys/fs/cgroup cgroup cgroup nosuid,noexec,nodev".to_owned()));
    }

    #[test]
    fn mounts_that_travel_need_a_root_that_lets_them() {
        let mut bind = BindSpec::new("/a");
        assert_eq!(root_propagation(&[]), None);
        let mut of = |propagation| {
            bind.propagation = propagation;
            ResolvedMount::bind(&MountSpec::bind("/a", "/b"), &bind, "/a")
        };
        let (slave, shared) = (of(Propagation::Slave), of(Propagation::Shared));
        assert_eq!(root_propagation(std::slice::from_ref(&slave)).as_deref(), Some("slave"));
        assert_eq!(root_propagation(&[slave.clone(), shared]).as_deref(), Some("shared"));
        assert_eq!(slave.options, ["rbind", "rslave"]);
    }

    #[test]
    fn targets_that_lead_elsewhere_are_refused() {
        for bad in ["", "relative", "/", "//", "/.", "/a/../..", "/a\0b"] {
            let mounted = ResolvedMount::volume(&MountSpec::bind("/x", bad), "/x");
            let wish = Wish { mounts: vec![mounted], ..Wish::default() };
            assert!(mounts(&input(&wish)).is_err(), "{bad:?}");
        }
        let twice = |target: &str| ResolvedMount::volume(&MountSpec::bind("/x", target), "/x");
        let wish = Wish { mounts: vec![twice("/a/b"), twice("/a//b/")], ..Wish::default() };
        assert!(mounts(&input(&wish)).is_err());
    }
}
