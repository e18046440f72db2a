//! A stack of directories seen as one, through a descriptor: nothing of it appears in the host's mounts.

use std::ffi::CString;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::Path;

use nix::sched::CloneFlags;
use rustix::fs::{CWD, Mode, OFlags};
use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MountFlags, MountPropagationFlags, OpenTreeFlags,
};

use crate::error::{Error, ErrorKind, Result, Subject};

/// What one parameter of fsconfig(2) holds at most, without its end.
const PARAMETER: usize = 255;
/// What mount(2) takes as data, with its end.
const PAGE: usize = 4096;

/// A read-only view of the directories `lower`, topmost first: a detached overlay, which ends with the descriptor.
/// One directory alone is opened as it is.
///
/// # Errors
/// [`ErrorKind::Unsupported`] where the kernel takes no more layers than these.
pub(crate) fn overlay_view(lower: &[&Path]) -> Result<OwnedFd> {
    let subject = || format!("a view of {} layers", lower.len());
    let mut open = Vec::with_capacity(lower.len());
    for path in lower {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        open.push(
            rustix::fs::openat(CWD, *path, flags, Mode::empty())
                .subject(|| format!("layer {}", path.display()))?,
        );
    }
    if open.len() < 2 {
        return open.pop().ok_or_else(|| Error::internal("a view of layers", "it has no layer"));
    }
    let names: Vec<String> = open.iter().map(name).collect();
    match mount(&names, by_layer) {
        // Before Linux 6.7 there is no parameter for one layer.
        Err(Errno::INVAL) => {}
        result => return result.subject(subject),
    }
    if names.join(":").len() <= PARAMETER {
        let by_list = |context: &OwnedFd, names: &[String]| {
            rustix::mount::fsconfig_set_string(context, "lowerdir", names.join(":"))
        };
        return mount(&names, by_list).subject(subject);
    }
    drop(open);
    match mount_aside(lower) {
        Err(Errno::TOOBIG) => Err(Error::new(ErrorKind::Unsupported, subject())
            .because("this kernel takes them only in one parameter, where they do not fit")
            .with_remedy("use Linux 6.7 or later")),
        result => result.subject(subject),
    }
}

/// The tree that a container writes to, put together without the container: `upper` and `work` on top of `lower`, topmost
/// first. Detached: it ends with the descriptor, or with whatever it was attached to. Nobody else may have it mounted.
///
/// # Errors
/// [`ErrorKind::Unsupported`] where the kernel takes no more layers than these.
pub(crate) fn overlay_tree(lower: &[&Path], upper: &Path, work: &Path) -> Result<OwnedFd> {
    let subject = || format!("a tree of {} layers", lower.len());
    let open = |path: &Path| {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        rustix::fs::openat(CWD, path, flags, Mode::empty())
            .subject(|| format!("directory {}", path.display()))
    };
    let layers = lower.iter().map(|path| open(path)).collect::<Result<Vec<OwnedFd>>>()?;
    let (upper, work) = (open(upper)?, open(work)?);
    let names: Vec<String> = layers.iter().map(name).collect();
    let by_list = |context: &OwnedFd, names: &[String]| {
        rustix::mount::fsconfig_set_string(context.as_fd(), "lowerdir", names.join(":"))
    };
    let tree = |layers: &dyn Fn(&OwnedFd, &[String]) -> rustix::io::Result<()>| {
        let context = rustix::mount::fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC)?;
        layers(&context, &names)?;
        rustix::mount::fsconfig_set_string(context.as_fd(), "upperdir", name(&upper))?;
        rustix::mount::fsconfig_set_string(context.as_fd(), "workdir", name(&work))?;
        rustix::mount::fsconfig_create(context.as_fd())?;
        let attributes = MountAttrFlags::MOUNT_ATTR_NODEV | MountAttrFlags::MOUNT_ATTR_NOSUID;
        rustix::mount::fsmount(context.as_fd(), FsMountFlags::FSMOUNT_CLOEXEC, attributes)
    };
    match tree(&by_layer) {
        // Before Linux 6.7 there is no parameter for one layer.
        Err(Errno::INVAL) if names.join(":").len() <= PARAMETER => tree(&by_list).subject(subject),
        Err(Errno::INVAL) => Err(Error::new(ErrorKind::Unsupported, subject())
            .because("this kernel takes them only in one parameter, where they do not fit")
            .with_remedy("start the container, and try again while it runs; or use Linux 6.7 or later")),
        result => result.subject(subject),
    }
}

/// With all layers in the data of mount(2), which are a page: some two hundred and fifty. That call needs a place in the
/// tree of mounts, so a thread of its own makes itself a copy of the tree, takes the view out of it, and ends with it.
fn mount_aside(lower: &[&Path]) -> rustix::io::Result<OwnedFd> {
    let work = || {
        nix::sched::unshare(CloneFlags::CLONE_NEWNS)
            .map_err(|errno| Errno::from_raw_os_error(errno as i32))?;
        let private = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
        rustix::mount::mount_change("/", private)?;
        // Only now: layers have to be of the same tree as the view.
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let open = (lower.iter())
            .map(|path| rustix::fs::openat(CWD, *path, flags, Mode::empty()))
            .collect::<rustix::io::Result<Vec<OwnedFd>>>()?;
        let names: Vec<String> = open.iter().map(name).collect();
        let data = CString::new(format!("lowerdir={}", names.join(":"))).map_err(|_| Errno::INVAL)?;
        if data.as_bytes_with_nul().len() > PAGE {
            return Err(Errno::TOOBIG);
        }
        let at = *lower.first().ok_or(Errno::INVAL)?;
        rustix::mount::mount(
            "overlay",
            at,
            "overlay",
            MountFlags::RDONLY | MountFlags::NODEV,
            data.as_c_str(),
        )?;
        rustix::mount::open_tree(CWD, at, OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC)
    };
    std::thread::scope(|scope| scope.spawn(work).join().unwrap_or(Err(Errno::IO)))
}

/// By descriptor: whatever a path looks like, this needs no quoting and is short.
fn name(fd: &OwnedFd) -> String {
    format!("/proc/self/fd/{}", fd.as_raw_fd())
}

fn by_layer(context: &OwnedFd, names: &[String]) -> rustix::io::Result<()> {
    names
        .iter()
        .try_for_each(|name| rustix::mount::fsconfig_set_string(context.as_fd(), "lowerdir+", name.as_str()))
}

fn mount(
    names: &[String],
    layers: impl FnOnce(&OwnedFd, &[String]) -> rustix::io::Result<()>,
) -> rustix::io::Result<OwnedFd> {
    let context = rustix::mount::fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC)?;
    layers(&context, names)?;
    rustix::mount::fsconfig_create(context.as_fd())?;
    rustix::mount::fsmount(
        context.as_fd(),
        FsMountFlags::FSMOUNT_CLOEXEC,
        MountAttrFlags::MOUNT_ATTR_RDONLY | MountAttrFlags::MOUNT_ATTR_NODEV,
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::beneath::RootDir;
    use rustix::fs::FileType;

    #[test]
    fn a_view_shows_the_upper_layers_first_and_hides_what_they_hide() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = |name: &str| directory.path().join(name);
        std::fs::create_dir_all(path("base/d")).expect("makes it");
        std::fs::create_dir_all(path("top/d")).expect("makes it");
        std::fs::write(path("base/d/old"), "x").expect("writes");
        std::fs::write(path("base/kept"), "x").expect("writes");
        std::fs::write(path("top/d/new"), "x").expect("writes");
        let top = RootDir::open(&path("top")).expect("opens");
        rustix::fs::mknodat(&top, "d/old", FileType::CharacterDevice, Mode::empty(), 0).expect("makes it");
        let view = RootDir::from(overlay_view(&[&path("top"), &path("base")]).expect("mounts"));
        assert!(view.stat("kept".as_ref()).is_ok());
        assert!(view.stat("d/new".as_ref()).is_ok());
        assert_eq!(view.stat("d/old".as_ref()).err(), Some(Errno::NOENT));
        assert!(rustix::fs::mkdirat(&view, "kept2", Mode::RUSR).is_err());
        let mounts = std::fs::read_to_string("/proc/self/mountinfo").expect("reads");
        assert!(!mounts.contains(&*directory.path().to_string_lossy()));
    }

    /// Directories with a file each, and their view.
    fn view(count: usize, mount: fn(&[&Path]) -> Result<OwnedFd>) -> Result<()> {
        let directory = tempfile::tempdir().expect("a directory");
        let layers: Vec<_> = (0..count).map(|n| directory.path().join(n.to_string())).collect();
        for (n, layer) in layers.iter().enumerate() {
            std::fs::create_dir(layer).expect("makes it");
            std::fs::write(layer.join(format!("file{n}")), "x").expect("writes");
        }
        let paths: Vec<&Path> = layers.iter().map(AsRef::as_ref).collect();
        let view = RootDir::from(mount(&paths)?);
        assert!(view.stat("file0".as_ref()).is_ok());
        assert!(view.stat(format!("file{}", count - 1).as_ref()).is_ok());
        assert!(rustix::fs::mkdirat(&view, "new", Mode::RUSR).is_err());
        let mounts = std::fs::read_to_string("/proc/self/mountinfo").expect("reads");
        assert!(!mounts.contains(&*directory.path().to_string_lossy()));
        Ok(())
    }

    #[test]
    fn three_hundred_layers_are_seen_as_one() {
        // Before Linux 6.7.
        if let Err(e) = view(300, overlay_view) {
            assert_eq!(e.kind(), ErrorKind::Unsupported, "{e}");
        }
        view(200, overlay_view).expect("mounts");
        // As on a kernel with nothing newer.
        view(200, |lower| mount_aside(lower).subject(String::new)).expect("mounts aside");
    }
}
