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
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MountFlags, MoveMountFlags, OpenTreeFlags, UnmountFlags,
};

use crate::failure::{Result, Step, failure};
use crate::plan::{CgroupMount, Mount, MountSource, Root, RootSource};
use crate::sys;
use crate::wire::Cause;

const MS_PRIVATE: u32 = 1 << 18;
const MS_SLAVE: u32 = 1 << 19;
const PROC_SUPER_MAGIC: i64 = 0x9fa0;
/// A chain of symbolic links to a file that is not there is followed so far.
const MAX_LINKS: usize = 8;

/// The root of the container, while it is being put together.
pub(crate) struct Rootfs {
    root: OwnedFd,
    /// The container's own procfs, for settings: never opened by a path that the container could have changed.
    proc: Option<OwnedFd>,
    /// An empty read-only directory, made when the first directory is hidden.
    empty: Option<OwnedFd>,
}

impl Rootfs {
    /// Mounts the root file system of `plan` at the directory `at` of this process's own mount namespace.
    pub(crate) fn mount(plan: &Root, at: &str) -> Result<Rootfs> {
        // Nothing that is mounted or unmounted here may travel to the host.
        let host_root = open_path("/").step("open", "/")?;
        sys::mount_setattr(host_root.as_fd(), true, 0, 0, MS_SLAVE).step("make mounts private below", "/")?;
        let root = match &plan.source {
            RootSource::Directory(path) => {
                let flags = OpenTreeFlags::OPEN_TREE_CLONE
                    | OpenTreeFlags::OPEN_TREE_CLOEXEC
                    | OpenTreeFlags::AT_RECURSIVE;
                let tree = rustix::mount::open_tree(CWD, path.as_str(), flags).step("open", path)?;
                sys::mount_setattr(tree.as_fd(), true, 0, 0, MS_PRIVATE)
                    .step("make mounts private below", path)?;
                attach(tree.as_fd(), CWD, at)?;
                tree
            }
            RootSource::Overlay { lower, upper, volatile } => overlay(lower, upper.as_ref(), *volatile, at)?,
        };
        Ok(Rootfs { root, proc: None, empty: None })
    }

    /// The root directory.
    pub(crate) fn root(&self) -> BorrowedFd<'_> {
        self.root.as_fd()
    }

    /// The container's procfs.
    pub(crate) fn proc(&self) -> Option<BorrowedFd<'_>> {
        self.proc.as_ref().map(AsFd::as_fd)
    }

    /// Mounts one thing.
    pub(crate) fn add(&mut self, mount: &Mount) -> Result<()> {
        match &mount.source {
            MountSource::Filesystem { kind, source, parameters } => {
                let tree = filesystem(kind, source, parameters, mount.set, &mount.target)?;
                let target = self.directory(&mount.target, mount.system)?;
                refuse_procfs(target.as_fd(), mount)?;
                move_to(tree.as_fd(), target.as_fd(), &mount.target)?;
                if kind == "proc" && mount.target == "/proc" {
                    self.proc = Some(tree);
                }
            }
            MountSource::Bind { path, recursive } => {
                let mut flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
                if *recursive {
                    flags |= OpenTreeFlags::AT_RECURSIVE;
                }
                let tree =
                    rustix::mount::open_tree(CWD, path.as_str(), flags).step("open bind source", path)?;
                sys::mount_setattr(tree.as_fd(), mount.recursive, mount.set, mount.clear, mount.propagation)
                    .step("set the attributes of the mount at", &mount.target)?;
                let is_directory = file_type(tree.as_fd()).step("examine", path)? == FileType::Directory;
                let target = if is_directory {
                    self.directory(&mount.target, mount.system)?
                } else {
                    self.file(&mount.target)?
                };
                refuse_procfs(target.as_fd(), mount)?;
                move_to(tree.as_fd(), target.as_fd(), &mount.target)?;
            }
            MountSource::Cgroups(hierarchies) => self.cgroups(mount, hierarchies)?,
        }
        Ok(())
    }

    /// The container's part of the cgroup tree. Its namespace begins at the container's group, so a mount of a
    /// hierarchy shows that and nothing above it.
    fn cgroups(&self, mount: &Mount, hierarchies: &[CgroupMount]) -> Result<()> {
        let target = self.directory(&mount.target, mount.system)?;
        if let [only] = hierarchies
            && only.directory.is_empty()
        {
            let tree = filesystem(&only.kind, "cgroup", &only.parameters, mount.set, &mount.target)?;
            return move_to(tree.as_fd(), target.as_fd(), &mount.target);
        }
        let mode = [(String::from("mode"), Some(String::from("755")))];
        let top = filesystem("tmpfs", "cgroup", &mode, mount.set & !RDONLY, &mount.target)?;
        move_to(top.as_fd(), target.as_fd(), &mount.target)?;
        for hierarchy in hierarchies {
            let name = hierarchy.directory.as_str();
            rustix::fs::mkdirat(&top, name, Mode::from_raw_mode(0o755))
                .step("make cgroup directory", name)?;
            let tree = filesystem(&hierarchy.kind, "cgroup", &hierarchy.parameters, mount.set, name)?;
            let place = rustix::fs::openat(&top, name, PATH | OFlags::DIRECTORY, Mode::empty())
                .step("open cgroup directory", name)?;
            move_to(tree.as_fd(), place.as_fd(), name)?;
            for link in &hierarchy.links {
                rustix::fs::symlinkat(name, &top, link.as_str()).step("link cgroup directory", link)?;
            }
        }
        sys::mount_setattr(top.as_fd(), false, mount.set, 0, 0).step("set the attributes of", &mount.target)
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
        let stat = rustix::fs::fstat(&null).step("examine", "/dev/null")?;
        let is_null = FileType::from_raw_mode(stat.st_mode) == FileType::CharacterDevice
            && (rustix::fs::major(stat.st_rdev), rustix::fs::minor(stat.st_rdev)) == (1, 3);
        if !is_null {
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
                Ok(link) => {
                    let link = link.to_str().map_err(|_| Errno::ILSEQ).step("follow", &path)?;
                    path = match link.strip_prefix('/') {
                        Some(absolute) => String::from(absolute),
                        None => [parent, link].join("/"),
                    };
                }
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

const RDONLY: u64 = libc::MOUNT_ATTR_RDONLY;
const PATH: OFlags = OFlags::PATH.union(OFlags::CLOEXEC);

fn open_path(path: &str) -> rustix::io::Result<OwnedFd> {
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

/// The directory `path` beneath `root`, made with its parents if it is not there. With `strict`, no link may be on the
/// way: where the engine mounts procfs, an image's link is an attempt (CVE-2023-28642).
pub(crate) fn directory(root: BorrowedFd<'_>, path: &str, strict: bool) -> Result<OwnedFd> {
    let more = if strict { ResolveFlags::NO_SYMLINKS } else { ResolveFlags::empty() };
    let flags = PATH | OFlags::DIRECTORY;
    match resolve_in(root, path, flags, more) {
        Err(Errno::NOENT) => {}
        result => return result.step("open directory", path),
    }
    let mut parent = resolve_in(root, "/", flags, more).step("open", "/")?;
    let mut sofar = String::new();
    for name in path.split('/').filter(|name| !name.is_empty() && *name != ".") {
        sofar.push('/');
        sofar.push_str(name);
        parent = match resolve_in(root, &sofar, flags, more) {
            Err(Errno::NOENT) => {
                match rustix::fs::mkdirat(&parent, name, Mode::from_raw_mode(0o755)) {
                    Ok(()) | Err(Errno::EXIST) => {}
                    Err(errno) => return Err(errno).step("make directory", &sofar),
                }
                resolve_in(root, &sofar, flags, more).step("open directory", &sofar)?
            }
            result => result.step("open directory", &sofar)?,
        };
    }
    Ok(parent)
}

/// A new detached mount of a file system.
fn filesystem(
    kind: &str,
    source: &str,
    parameters: &[(String, Option<String>)],
    attributes: u64,
    target: &str,
) -> Result<OwnedFd> {
    let context = rustix::mount::fsopen(kind, FsOpenFlags::FSOPEN_CLOEXEC).step("open file system", kind)?;
    // cgroup v1 and some others refuse a source; it only shows in lists of mounts.
    let _ = rustix::mount::fsconfig_set_string(context.as_fd(), "source", source);
    for (key, value) in parameters {
        match value {
            Some(value) => rustix::mount::fsconfig_set_string(context.as_fd(), key.as_str(), value.as_str()),
            None => rustix::mount::fsconfig_set_flag(context.as_fd(), key.as_str()),
        }
        .step("set a parameter of the file system at", [target, ": ", key].concat())?;
    }
    rustix::mount::fsconfig_create(context.as_fd()).step("create the file system at", target)?;
    // The bits of MOUNT_ATTR_* fit 32, as fsmount(2) takes them.
    let attributes = MountAttrFlags::from_bits_retain(attributes as u32);
    rustix::mount::fsmount(context.as_fd(), FsMountFlags::FSMOUNT_CLOEXEC, attributes).step("mount", target)
}

/// An overlay, attached at `at`.
fn overlay(lower: &[String], upper: Option<&(String, String)>, volatile: bool, at: &str) -> Result<OwnedFd> {
    // By descriptor: whatever a path looks like, `/proc/self/fd/N` needs no quoting and is short.
    let mut open = Vec::with_capacity(lower.len() + 2);
    for path in lower {
        open.push(open_path(path).step("open layer", path)?);
    }
    let layers = open.len();
    if let Some((upper, work)) = upper {
        open.push(open_path(upper).step("open", upper)?);
        open.push(open_path(work).step("open", work)?);
    }
    let names: Vec<String> = open.iter().map(descriptor_path).collect();
    let (lower, writable) = names.split_at(layers);
    let mut options: Vec<(&str, Option<&str>)> = Vec::new();
    if let [upper, work] = writable {
        options.push(("upperdir", Some(upper)));
        options.push(("workdir", Some(work)));
        if volatile {
            options.push(("volatile", None));
        }
    }
    match overlay_by_parts(lower, &options) {
        Ok(tree) => {
            attach(tree.as_fd(), CWD, at)?;
            Ok(tree)
        }
        Err(Errno::INVAL) => overlay_by_string(lower, &options, at).step("mount overlay at", at),
        Err(errno) => Err(errno).step("mount overlay at", at),
    }
}

/// One parameter per layer, without a limit: Linux 6.7 and later.
fn overlay_by_parts(lower: &[String], options: &[(&str, Option<&str>)]) -> rustix::io::Result<OwnedFd> {
    let context = rustix::mount::fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC)?;
    rustix::mount::fsconfig_set_string(context.as_fd(), "source", "overlay")?;
    for layer in lower {
        rustix::mount::fsconfig_set_string(context.as_fd(), "lowerdir+", layer.as_str())?;
    }
    for (key, value) in options {
        match value {
            Some(value) => rustix::mount::fsconfig_set_string(context.as_fd(), *key, *value)?,
            None => rustix::mount::fsconfig_set_flag(context.as_fd(), *key)?,
        }
    }
    rustix::mount::fsconfig_create(context.as_fd())?;
    rustix::mount::fsmount(context.as_fd(), FsMountFlags::FSMOUNT_CLOEXEC, MountAttrFlags::empty())
}

/// All in one string of at most a page, as mount(2) takes it: some two hundred layers.
fn overlay_by_string(
    lower: &[String],
    options: &[(&str, Option<&str>)],
    at: &str,
) -> rustix::io::Result<OwnedFd> {
    let mut data = [String::from("lowerdir="), lower.join(":")].concat();
    for (key, value) in options {
        data.push(',');
        data.push_str(key);
        if let Some(value) = value {
            data.push('=');
            data.push_str(value);
        }
    }
    let data = alloc::ffi::CString::new(data).map_err(|_| Errno::INVAL)?;
    rustix::mount::mount("overlay", at, "overlay", MountFlags::empty(), data.as_c_str())?;
    open_path(at)
}

fn descriptor_path(fd: &OwnedFd) -> String {
    use rustix::fd::AsRawFd;
    let mut digits = [0u8; 10];
    let mut at = digits.len();
    let mut rest = fd.as_raw_fd();
    loop {
        at -= 1;
        digits[at] = b'0' + (rest % 10) as u8;
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    let mut path = String::from("/proc/self/fd/");
    path.extend(digits[at..].iter().map(|digit| char::from(*digit)));
    path
}

/// A detached copy of what `fd` stands for.
fn clone_of(fd: BorrowedFd<'_>, recursive: bool) -> rustix::io::Result<OwnedFd> {
    let mut flags =
        OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_EMPTY_PATH;
    if recursive {
        flags |= OpenTreeFlags::AT_RECURSIVE;
    }
    rustix::mount::open_tree(fd, "", flags)
}

fn attach(tree: BorrowedFd<'_>, directory: BorrowedFd<'_>, at: &str) -> Result<()> {
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
