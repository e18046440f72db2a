//! The container's file systems: its root, and what is mounted over it.
//!
//! Every mount is made detached, given its attributes, and only then attached to a descriptor of its target. A target
//! is resolved beneath the root by the kernel (openat2, `RESOLVE_IN_ROOT`): no symbolic link of an image, and no race
//! with another container on a shared volume, leads out of it (CVE-2021-30465).

use alloc::string::String;
use alloc::vec::Vec;

use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;
use rustix::mount::{MoveMountFlags, OpenTreeFlags, UnmountFlags};

use crate::failure::{Result, Step, failure};
use crate::filesystem::{covering, filesystem, overlay};
use crate::held;
use crate::mapping;
use crate::plan::{Attributes, CgroupMount, Mount, MountSource, Root, RootSource};
use crate::sys;
use crate::wire::Cause;

const MS_PRIVATE: u32 = 1 << 18;
pub(crate) const MS_SLAVE: u32 = 1 << 19;
const MS_SHARED: u32 = 1 << 20;
/// As in mount(2), in a propagation: for the mounts below too.
const MS_REC: u32 = 1 << 14;
pub(crate) const PROC_SUPER_MAGIC: i64 = 0x9fa0;
/// A chain of symbolic links to a file that is not there is followed so far.
const MAX_LINKS: usize = 8;

/// The root of the container, while it is being put together.
pub(crate) struct Rootfs {
    root: OwnedFd,
    /// The container's own procfs, for settings: never opened by a path that the container could have changed.
    proc: Option<OwnedFd>,
    /// An empty read-only directory, made when the first directory is hidden.
    empty: Option<OwnedFd>,
    /// The sources of mounts that had to be opened before the others, each with its place in the plan.
    shared: Vec<(usize, OwnedFd)>,
    /// Copies of the container's groups, where it has no cgroup namespace that hides the others.
    groups: Vec<OwnedFd>,
}

impl Rootfs {
    /// Mounts the root file system of `plan` at the directory `at` of this process's own mount namespace. `mounts`
    /// are those that will be [added](Rootfs::add). `groups` are the directories of the container's groups, if it has
    /// no cgroup namespace. `early` are the sources that were [opened](open_early) before this process was.
    pub(crate) fn mount(
        plan: &Root,
        mounts: &[Mount],
        at: &str,
        groups: &[String],
        early: Vec<(usize, OwnedFd)>,
    ) -> Result<Rootfs> {
        let shared = if early.is_empty() { open_shared(mounts)? } else { early };
        let shows_groups = mounts.iter().any(|mount| matches!(mount.source, MountSource::Cgroups(_)));
        let groups = match shows_groups {
            true => groups.iter().map(|path| open_source(path, false)).collect::<Result<_>>()?,
            false => Vec::new(),
        };
        // Nothing else that is mounted or unmounted here may travel to the host.
        let host_root = open_path("/").step("open", "/")?;
        sys::mount_setattr(host_root.as_fd(), true, 0, 0, MS_SLAVE).step("make mounts private below", "/")?;
        let root = mount_root(&plan.source, at)?;
        Ok(Rootfs { root, proc: None, empty: None, shared, groups })
    }

    /// A directory that other things are mounted in, which is nobody's root.
    pub(crate) fn over(directory: OwnedFd) -> Rootfs {
        Rootfs { root: directory, proc: None, empty: None, shared: Vec::new(), groups: Vec::new() }
    }

    /// The root directory.
    pub(crate) fn root(&self) -> BorrowedFd<'_> {
        self.root.as_fd()
    }

    /// The container's procfs.
    pub(crate) fn proc(&self) -> Option<BorrowedFd<'_>> {
        self.proc.as_ref().map(AsFd::as_fd)
    }

    /// Mounts one thing, the one at `place` in the plan.
    pub(crate) fn add(&mut self, place: usize, mount: &Mount) -> Result<()> {
        let attributes = mount.attributes.set | mount.attributes_below.set;
        match &mount.source {
            MountSource::Filesystem { kind, source, parameters } => {
                let tree = match self.covered(kind, parameters, mount)? {
                    Some(covered) => covering(covered, source, parameters, attributes, mount)?,
                    None => filesystem(kind, source, parameters, attributes, &mount.target)?,
                };
                let propagation = mount.propagation & !MS_REC;
                set_attributes(tree.as_fd(), false, Attributes::default(), propagation, &mount.target)?;
                let target = self.directory(&mount.target, mount.system)?;
                refuse_procfs(target.as_fd(), mount)?;
                move_to(tree.as_fd(), target.as_fd(), &mount.target)?;
                if kind == "proc" && mount.target == "/proc" {
                    self.proc = Some(tree);
                }
            }
            MountSource::Bind { path, recursive } => {
                let tree = match self.shared.iter().position(|(of, _)| *of == place) {
                    Some(at) => self.shared.swap_remove(at).1,
                    None => open_source(path, *recursive)?,
                };
                change(tree.as_fd(), mount)?;
                let is_directory = file_type(tree.as_fd()).step("examine", path)? == FileType::Directory;
                let target = if is_directory {
                    self.directory(&mount.target, mount.system)?
                } else {
                    self.file(&mount.target)?
                };
                refuse_procfs(target.as_fd(), mount)?;
                move_to(tree.as_fd(), target.as_fd(), &mount.target)?;
            }
            MountSource::Cgroups(hierarchies) => self.cgroups(mount, attributes, hierarchies)?,
            MountSource::Earlier => {
                let there = self.resolve(&mount.target, PATH, ResolveFlags::empty());
                change(there.step("open", &mount.target)?.as_fd(), mount)?;
            }
            MountSource::Theirs { namespace, path } => {
                let tree = crate::theirs::copy(namespace, path)?;
                let target = self.directory(&mount.target, mount.system)?;
                move_to(tree.as_fd(), target.as_fd(), &mount.target)?;
            }
        }
        Ok(())
    }

    /// The container's part of the cgroup tree. Its namespace begins at the container's group, so a mount of a
    /// hierarchy shows that and nothing above it.
    fn cgroups(&self, mount: &Mount, attributes: u64, hierarchies: &[CgroupMount]) -> Result<()> {
        let target = self.directory(&mount.target, mount.system)?;
        if let [only] = hierarchies
            && only.directory.is_empty()
        {
            let tree = self.hierarchy(0, only, attributes, &mount.target)?;
            return move_to(tree.as_fd(), target.as_fd(), &mount.target);
        }
        let mode = [(String::from("mode"), Some(String::from("755")))];
        let top = filesystem("tmpfs", "cgroup", &mode, attributes & !RDONLY, &mount.target)?;
        move_to(top.as_fd(), target.as_fd(), &mount.target)?;
        for (place, hierarchy) in hierarchies.iter().enumerate() {
            let name = hierarchy.directory.as_str();
            rustix::fs::mkdirat(&top, name, Mode::from_raw_mode(0o755))
                .step("make cgroup directory", name)?;
            let tree = self.hierarchy(place, hierarchy, attributes, name)?;
            let place = rustix::fs::openat(&top, name, PATH | OFlags::DIRECTORY, Mode::empty())
                .step("open cgroup directory", name)?;
            move_to(tree.as_fd(), place.as_fd(), name)?;
            for link in &hierarchy.links {
                rustix::fs::symlinkat(name, &top, link.as_str()).step("link cgroup directory", link)?;
            }
        }
        let read_only = Attributes { set: attributes & RDONLY, clear: 0 };
        set_attributes(top.as_fd(), false, read_only, 0, &mount.target)
    }

    /// One hierarchy: as its namespace shows it, or the copy of the container's group in it. Groups are in the order
    /// of the hierarchies.
    fn hierarchy(
        &self,
        place: usize,
        hierarchy: &CgroupMount,
        attributes: u64,
        name: &str,
    ) -> Result<OwnedFd> {
        let Some(group) = self.groups.get(place) else {
            return filesystem(&hierarchy.kind, "cgroup", &hierarchy.parameters, attributes, name);
        };
        let tree = clone_of(group.as_fd(), false).step("open", name)?;
        set_attributes(tree.as_fd(), false, Attributes { set: attributes, clear: 0 }, 0, name)?;
        Ok(tree)
    }

    /// The directory that a new file system in memory will cover, if what that is like depends on it.
    fn covered(
        &self,
        kind: &str,
        parameters: &[(String, Option<String>)],
        mount: &Mount,
    ) -> Result<Option<OwnedFd>> {
        let has_mode = parameters.iter().any(|(name, _)| name == "mode");
        if kind != "tmpfs" || has_mode && !mount.copy_up {
            return Ok(None);
        }
        match self.resolve(&mount.target, PATH | OFlags::DIRECTORY, ResolveFlags::empty()) {
            Ok(directory) => Ok(Some(directory)),
            // Whoever makes the directory says what is wrong with the path.
            Err(_) => Ok(None),
        }
    }

    /// Hides `path`, if it is there.
    pub(crate) fn mask(&mut self, path: &str) -> Result<()> {
        let Some(target) = self.existing(path)? else { return Ok(()) };
        if file_type(target.as_fd()).step("examine", path)? == FileType::Directory {
            let tree = match &self.empty {
                Some(empty) => clone_of(empty.as_fd(), false).step("mask", path)?,
                None => {
                    let parameters = [(String::from("mode"), Some(String::from("755")))];
                    filesystem("tmpfs", "tmpfs", &parameters, RDONLY, path)?
                }
            };
            move_to(tree.as_fd(), target.as_fd(), path)?;
            self.empty.get_or_insert(tree);
            return Ok(());
        }
        // The host's null device, and verified to be that: an image's may be a link to anything (CVE-2025-31133).
        let null = open_path("/dev/null").step("open", "/dev/null")?;
        if !crate::devices::is_null(null.as_fd()) {
            return Err(failure(
                Cause::Escape,
                Errno::NODEV,
                "the host's /dev/null is not the null device",
                "",
            ));
        }
        let tree = clone_of(null.as_fd(), false).step("mask", path)?;
        move_to(tree.as_fd(), target.as_fd(), path)
    }

    /// Makes `path` read-only with all below it, if it is there.
    pub(crate) fn make_readonly(&self, path: &str) -> Result<()> {
        let Some(target) = self.existing(path)? else { return Ok(()) };
        let tree = clone_of(target.as_fd(), true).step("open", path)?;
        sys::mount_setattr(tree.as_fd(), true, RDONLY, 0, 0).step("make read-only", path)?;
        move_to(tree.as_fd(), target.as_fd(), path)
    }

    /// Makes the directory `path` if it is not there, as far as that can be.
    pub(crate) fn make_directory(&self, path: &str) -> Result<()> {
        match self.resolve(path, PATH | OFlags::DIRECTORY, ResolveFlags::empty()) {
            Err(Errno::NOENT) => self.directory(path, false).map(drop),
            // Whoever enters it will find out what it is.
            _ => Ok(()),
        }
    }

    /// Makes this the root of the process, out of which nothing leads, and the working directory.
    pub(crate) fn enter(self, readonly: bool, propagation: u32) -> Result<()> {
        if readonly {
            sys::mount_setattr(self.root.as_fd(), false, RDONLY, 0, 0).step("make read-only", "/")?;
        }
        rustix::process::fchdir(&self.root).step("enter", "the root file system")?;
        sys::pivot_root().step("change the root to", "the root file system")?;
        // The old root lies on top of the new one now, at ".".
        rustix::mount::unmount(".", UnmountFlags::DETACH).step("detach", "the host's root")?;
        rustix::process::chdir("/").step("enter", "/")?;
        sys::mount_setattr(self.root.as_fd(), false, 0, 0, propagation).step("set the propagation of", "/")
    }

    /// What is at `path`, or `None` if nothing is.
    fn existing(&self, path: &str) -> Result<Option<OwnedFd>> {
        match self.resolve(path, PATH, ResolveFlags::NO_SYMLINKS) {
            Ok(fd) => Ok(Some(fd)),
            Err(Errno::NOENT | Errno::NOTDIR) => Ok(None),
            Err(errno) => Err(errno).step("open", path),
        }
    }

    fn resolve(&self, path: &str, flags: OFlags, more: ResolveFlags) -> rustix::io::Result<OwnedFd> {
        resolve_in(self.root.as_fd(), path, flags, more)
    }

    /// The directory `path`, made with its parents if it is not there.
    fn directory(&self, path: &str, system: bool) -> Result<OwnedFd> {
        directory(self.root.as_fd(), path, system)
    }

    /// The file `path`, made empty with its parents if it is not there.
    fn file(&self, path: &str) -> Result<OwnedFd> {
        let mut path = String::from(path);
        for _ in 0..MAX_LINKS {
            match self.resolve(&path, PATH, ResolveFlags::empty()) {
                Err(Errno::NOENT) => {}
                result => return result.step("open", &path),
            }
            let (parent, name) = path.rsplit_once('/').unwrap_or(("", &path));
            let directory = self.directory(parent, false)?;
            match rustix::fs::readlinkat(&directory, name, Vec::new()) {
                // A link to what is not there: that is what has to be made.
                Ok(link) => path = link_target(parent, link.to_bytes(), &path)?,
                Err(_) => {
                    let flags = OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::WRONLY;
                    rustix::fs::openat(&directory, name, flags, Mode::from_raw_mode(0o644))
                        .step("make", &path)?;
                }
            }
        }
        Err(failure(Cause::Escape, Errno::LOOP, "too many symbolic links at mount target", path))
    }
}

/// Mounts a root file system at the directory `at`.
pub(crate) fn mount_root(source: &RootSource, at: &str) -> Result<OwnedFd> {
    match source {
        RootSource::Directory(path) => {
            let flags = OpenTreeFlags::OPEN_TREE_CLONE
                | OpenTreeFlags::OPEN_TREE_CLOEXEC
                | OpenTreeFlags::AT_RECURSIVE;
            let tree = rustix::mount::open_tree(CWD, path.as_str(), flags).step("open", path)?;
            sys::mount_setattr(tree.as_fd(), true, 0, 0, MS_PRIVATE)
                .step("make mounts private below", path)?;
            attach(tree.as_fd(), CWD, at)?;
            Ok(tree)
        }
        RootSource::Overlay { lower, upper, volatile } => overlay(lower, upper.as_ref(), *volatile, at),
    }
}

pub(crate) const RDONLY: u64 = libc::MOUNT_ATTR_RDONLY;
const PATH: OFlags = OFlags::PATH.union(OFlags::CLOEXEC);

pub(crate) fn open_path(path: &str) -> rustix::io::Result<OwnedFd> {
    rustix::fs::open(path, PATH, Mode::empty())
}

fn file_type(fd: BorrowedFd<'_>) -> rustix::io::Result<FileType> {
    rustix::fs::fstat(fd).map(|stat| FileType::from_raw_mode(stat.st_mode))
}

/// Opens `path` beneath `root`, whatever links are on the way.
pub(crate) fn resolve_in(
    root: BorrowedFd<'_>,
    path: &str,
    flags: OFlags,
    more: ResolveFlags,
) -> rustix::io::Result<OwnedFd> {
    let path = if path.is_empty() { "/" } else { path };
    loop {
        let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS | more;
        match rustix::fs::openat2(root, path, flags | OFlags::CLOEXEC, Mode::empty(), resolve) {
            // A rename elsewhere in the tree made the kernel unsure whether ".." was safe: it asks to be asked again.
            Err(Errno::AGAIN) => {}
            result => return result,
        }
    }
}

/// A copy of what is mounted at `path` of the host, as it is.
fn open_source(path: &str, recursive: bool) -> Result<OwnedFd> {
    if path.starts_with(held::DESCRIPTORS) {
        let here = held::in_this_namespace(path)?;
        return clone_of(here.as_fd(), recursive).step("open bind source", path);
    }
    let mut flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    if recursive {
        flags |= OpenTreeFlags::AT_RECURSIVE;
    }
    rustix::mount::open_tree(CWD, path, flags).step("open bind source", path)
}

/// The sources of the mounts that are to be shared with the host. Copied while the mounts here are still those of the
/// host: a copy belongs to the peers of what it was copied from.
fn open_shared(mounts: &[Mount]) -> Result<Vec<(usize, OwnedFd)>> {
    let mut shared = Vec::new();
    for (place, mount) in mounts.iter().enumerate() {
        if let MountSource::Bind { path, recursive } = &mount.source
            && mount.propagation & MS_SHARED != 0
        {
            shared.push((place, open_source(path, *recursive)?));
        }
    }
    Ok(shared)
}

/// The sources of the mounts of a container whose users are others than the host's, or that has mounts with owners of
/// their own: only the host's root may open the ones and map the others. Nothing if there are none. `joined` is the user
/// namespace that it joins.
pub(crate) fn open_early(
    mounts: &[Mount],
    users: bool,
    joined: Option<BorrowedFd<'_>>,
) -> Result<Vec<(usize, OwnedFd)>> {
    let mut sources = Vec::new();
    if !users && mounts.iter().all(|mount| mount.idmap.is_none()) {
        return Ok(sources);
    }
    for (place, mount) in mounts.iter().enumerate() {
        let MountSource::Bind { path, recursive } = &mount.source else { continue };
        let tree = open_source(path, *recursive)?;
        if mount.propagation & MS_SHARED == 0 {
            // As it is for those that are opened when nothing travels to the host any more.
            sys::mount_setattr(tree.as_fd(), true, 0, 0, MS_SLAVE)
                .step("set the propagation of the mount at", &mount.target)?;
        }
        if let Some(idmap) = &mount.idmap {
            mapping::apply(tree.as_fd(), idmap, joined, &mount.target)?;
        }
        sources.push((place, tree));
    }
    Ok(sources)
}

/// How mounts travel at a mount and below it, and at the mount alone.
fn propagations(propagation: u32) -> (u32, u32) {
    match propagation & MS_REC {
        0 => (0, propagation),
        _ => (propagation & !MS_REC, 0),
    }
}

/// Gives the mount `tree`, and those below it, the attributes of `mount`.
fn change(tree: BorrowedFd<'_>, mount: &Mount) -> Result<()> {
    let (below, here) = propagations(mount.propagation);
    set_attributes(tree, true, mount.attributes_below, below, &mount.target)?;
    set_attributes(tree, false, mount.attributes, here, &mount.target)
}

/// Changes attributes of the mount `tree` and how mounts travel there, with `recursive` below it too.
fn set_attributes(
    tree: BorrowedFd<'_>,
    recursive: bool,
    attributes: Attributes,
    propagation: u32,
    target: &str,
) -> Result<()> {
    if propagation == 0 && attributes == Attributes::default() {
        return Ok(());
    }
    sys::mount_setattr(tree, recursive, attributes.set, attributes.clear, propagation)
        .step("set the attributes of the mount at", target)
}

/// The directory `path` beneath `root`, made with its parents if it is not there. With `strict`, no link may be on the
/// way: where the engine mounts procfs, an image's link is an attempt (CVE-2023-28642).
pub(crate) fn directory(root: BorrowedFd<'_>, path: &str, strict: bool) -> Result<OwnedFd> {
    let more = if strict { ResolveFlags::NO_SYMLINKS } else { ResolveFlags::empty() };
    let flags = PATH | OFlags::DIRECTORY;
    match resolve_in(root, path, flags, more) {
        Err(Errno::NOENT) => {}
        result => return result.step("open directory", path),
    }
    make_directories(root, path, more, MAX_LINKS)
}

/// The same for one that is not there. A symbolic link to what is not there is followed `links` times: its target is
/// what has to be made, beneath the root as well.
fn make_directories(root: BorrowedFd<'_>, path: &str, more: ResolveFlags, links: usize) -> Result<OwnedFd> {
    let flags = PATH | OFlags::DIRECTORY;
    let mut parent = resolve_in(root, "/", flags, more).step("open", "/")?;
    let mut sofar = String::new();
    for name in path.split('/').filter(|name| !name.is_empty() && *name != ".") {
        let above = sofar.len();
        sofar.push('/');
        sofar.push_str(name);
        parent = match resolve_in(root, &sofar, flags, more) {
            Err(Errno::NOENT) => match rustix::fs::mkdirat(&parent, name, Mode::from_raw_mode(0o755)) {
                Ok(()) => resolve_in(root, &sofar, flags, more).step("open directory", &sofar)?,
                Err(Errno::EXIST) if links > 0 => match rustix::fs::readlinkat(&parent, name, Vec::new()) {
                    Ok(link) => {
                        let target =
                            link_target(sofar.get(..above).unwrap_or_default(), link.to_bytes(), &sofar)?;
                        make_directories(root, &target, more, links - 1)?
                    }
                    // Somebody else has made it meanwhile.
                    Err(_) => resolve_in(root, &sofar, flags, more).step("open directory", &sofar)?,
                },
                Err(errno) => return Err(errno).step("make directory", &sofar),
            },
            result => result.step("open directory", &sofar)?,
        };
    }
    Ok(parent)
}

/// What the symbolic link `name` in the directory `parent` stands for, as a path of the container.
fn link_target(parent: &str, link: &[u8], name: &str) -> Result<String> {
    let link = core::str::from_utf8(link).map_err(|_| Errno::ILSEQ).step("follow", name)?;
    Ok(if link.starts_with('/') { String::from(link) } else { [parent, "/", link].concat() })
}

/// A detached copy of what `fd` stands for.
pub(crate) fn clone_of(fd: BorrowedFd<'_>, recursive: bool) -> rustix::io::Result<OwnedFd> {
    let mut flags =
        OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_EMPTY_PATH;
    if recursive {
        flags |= OpenTreeFlags::AT_RECURSIVE;
    }
    rustix::mount::open_tree(fd, "", flags)
}

pub(crate) fn attach(tree: BorrowedFd<'_>, directory: BorrowedFd<'_>, at: &str) -> Result<()> {
    rustix::mount::move_mount(tree, "", directory, at, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)
        .step("mount at", at)
}

fn move_to(tree: BorrowedFd<'_>, target: BorrowedFd<'_>, name: &str) -> Result<()> {
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    rustix::mount::move_mount(tree, "", target, "", flags).step("mount at", name)
}

/// Mounts what `source` stands for over `target`.
pub(crate) fn bind(source: BorrowedFd<'_>, target: BorrowedFd<'_>, name: &str) -> Result<()> {
    let tree = clone_of(source, false).step("open", name)?;
    move_to(tree.as_fd(), target, name)
}

/// A volume over procfs could fake what the engine and programs trust there (CVE-2019-16884). A few files that tools
/// replace by a container's own figures are allowed.
fn refuse_procfs(target: BorrowedFd<'_>, mount: &Mount) -> Result<()> {
    const HARMLESS: [&str; 9] = [
        "/proc/cpuinfo",
        "/proc/diskstats",
        "/proc/loadavg",
        "/proc/meminfo",
        "/proc/net/dev",
        "/proc/slabinfo",
        "/proc/stat",
        "/proc/swaps",
        "/proc/uptime",
    ];
    if mount.system || HARMLESS.contains(&mount.target.as_str()) {
        return Ok(());
    }
    let stat = rustix::fs::fstatfs(target).step("examine", &mount.target)?;
    if stat.f_type as i64 == PROC_SUPER_MAGIC {
        return Err(failure(Cause::Escape, Errno::PERM, "refused to mount over procfs at", &mount.target));
    }
    Ok(())
}

/// Makes sure that nothing is at `name`, so that what is made there is new.
pub(crate) fn clear(directory: BorrowedFd<'_>, name: &str) -> rustix::io::Result<()> {
    match rustix::fs::unlinkat(directory, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(errno) => Err(errno),
    }
}
