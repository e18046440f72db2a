//! A place for a file tree and what is mounted in it, apart from the host's mounts.
//!
//! A thread of its own makes itself a namespace of mounts, attaches the tree and the mounts in it, lets go of the host's
//! mounts and ends. What stays is held by two descriptors: the tree's root and the namespace, which goes with them. No
//! other thread of the program ever enters it.
#![expect(unsafe_code, reason = "mount_setattr(2) has no typed form elsewhere; the call has its safety note")]

use std::fs::File;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};

use nix::sched::CloneFlags;
use rustix::fs::{CWD, FileType, Mode, OFlags};
use rustix::io::Errno;
use rustix::mount::{MountPropagationFlags, MoveMountFlags, OpenTreeFlags, UnmountFlags};

use super::beneath::RootDir;
use crate::error::{Error, ErrorKind, Result, Subject};

/// Something of the host to be seen in the tree.
#[derive(Clone, Debug)]
pub(crate) struct Placed {
    /// An absolute path of the host.
    pub(crate) source: PathBuf,
    /// A path in the tree. It is made where it is missing.
    pub(crate) target: String,
    pub(crate) read_only: bool,
    /// Whether the mounts below the source come along.
    pub(crate) recursive: bool,
}

/// A file tree with what is mounted in it.
#[derive(Debug)]
pub(crate) struct Room {
    root: OwnedFd,
    /// Mounts that nobody holds are taken apart, from the tree too.
    _namespace: Option<OwnedFd>,
}

impl Room {
    /// A tree that is where it is: that of a process, or one with nothing mounted in it.
    pub(crate) fn of(root: OwnedFd) -> Room {
        Room { root, _namespace: None }
    }

    /// Its root, to resolve names beneath.
    pub(crate) fn root(&self) -> Result<RootDir> {
        self.root.try_clone().map(RootDir::from).subject(|| "the root of a container's files".to_owned())
    }

    /// A directory of the host as a detached mount, with what is mounted below it.
    pub(crate) fn directory(path: &Path) -> Result<OwnedFd> {
        let flags =
            OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_RECURSIVE;
        rustix::mount::open_tree(CWD, path, flags).subject(|| format!("directory {}", path.display()))
    }

    /// Puts the detached mount `tree` into a place of its own, with `placed` in it, in their order. With `read_only` the
    /// tree itself cannot be written, what is placed in it can.
    pub(crate) fn furnish(tree: OwnedFd, placed: Vec<Placed>, read_only: bool) -> Result<Room> {
        let work = move || {
            let subject = || "a place to look into a container".to_owned();
            nix::sched::unshare(CloneFlags::CLONE_NEWNS).subject(subject)?;
            // Nothing of what follows may be seen by the host, nor the host's doing here.
            let private = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
            rustix::mount::mount_change("/", private).subject(subject)?;
            let sources = placed.iter().map(open_source).collect::<Result<Vec<OwnedFd>>>()?;
            let namespace = File::open("/proc/thread-self/ns/mnt").subject(subject)?;
            enter(&tree).subject(subject)?;
            // The tree may be one of the host's own, and share what is mounted in it.
            rustix::mount::mount_change("/", private).subject(subject)?;
            let root = RootDir::from(tree.try_clone().subject(subject)?);
            for (placed, source) in placed.iter().zip(&sources) {
                attach(&root, placed, source)?;
            }
            if read_only {
                make_read_only(&tree, false).subject(subject)?;
            }
            Ok(Room { root: tree, _namespace: Some(namespace.into()) })
        };
        std::thread::scope(|scope| scope.spawn(work).join()).unwrap_or_else(|_| {
            Err(Error::internal("a place to look into a container", "its thread panicked"))
        })
    }
}

fn open_source(placed: &Placed) -> Result<OwnedFd> {
    let mut flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    if placed.recursive {
        flags |= OpenTreeFlags::AT_RECURSIVE;
    }
    let subject = || format!("mount source {}", placed.source.display());
    let source = rustix::mount::open_tree(CWD, &placed.source, flags).subject(subject)?;
    if placed.read_only {
        make_read_only(&source, placed.recursive).subject(subject)?;
    }
    Ok(source)
}

/// Makes `tree` the root of this thread's mounts, and detaches all others.
fn enter(tree: &OwnedFd) -> rustix::io::Result<()> {
    rustix::mount::move_mount(tree, "", CWD, "/", MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)?;
    rustix::process::fchdir(tree)?;
    rustix::process::pivot_root(".", ".")?;
    // The old root lies on top of the new one now.
    rustix::mount::unmount(".", UnmountFlags::DETACH)
}

/// Mounts `source` at its target, which is made where it is missing, as at the start of a container.
fn attach(root: &RootDir, placed: &Placed, source: &OwnedFd) -> Result<()> {
    let target = Path::new(&placed.target);
    let subject = || format!("mount {}", placed.target);
    let kind = FileType::from_raw_mode(rustix::fs::fstat(source).subject(subject)?.st_mode);
    let at = match root.resolve(target, OFlags::PATH) {
        Err(Errno::NOENT) if kind == FileType::Directory => {
            root.mkdir_all(target, Mode::from_raw_mode(0o755))
        }
        Err(Errno::NOENT) => make_file(root, target),
        result => result,
    };
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    at.and_then(|at| rustix::mount::move_mount(source, "", at, "", flags)).map_err(|errno| match errno {
        Errno::NOTDIR | Errno::LOOP => Error::new(ErrorKind::Conflict, subject())
            .because("what is there in the container's files cannot be mounted on"),
        errno => Error::io(subject(), errno.into()),
    })
}

fn make_file(root: &RootDir, path: &Path) -> rustix::io::Result<OwnedFd> {
    let (parent, name) = super::beneath::split(path).ok_or(Errno::INVAL)?;
    let parent = root.mkdir_all(parent, Mode::from_raw_mode(0o755))?;
    let flags = OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::WRONLY;
    rustix::fs::openat(parent, name, flags, Mode::from_raw_mode(0o644))
}

/// `struct mount_attr` of mount_setattr(2).
#[repr(C)]
struct MountAttributes {
    set: u64,
    clear: u64,
    propagation: u64,
    userns_fd: u64,
}

fn make_read_only(tree: &OwnedFd, recursive: bool) -> rustix::io::Result<()> {
    let attributes = MountAttributes { set: libc::MOUNT_ATTR_RDONLY, clear: 0, propagation: 0, userns_fd: 0 };
    let flags = libc::AT_EMPTY_PATH | if recursive { libc::AT_RECURSIVE } else { 0 };
    // SAFETY: the path is a string with its end, and the attributes are read for as many bytes as are told; both live
    // until the call returns.
    let result = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            tree.as_raw_fd(),
            c"".as_ptr(),
            flags,
            &raw const attributes,
            size_of::<MountAttributes>(),
        )
    };
    if result < 0 {
        return Err(Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::INVAL));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::overlay_tree;

    fn text(room: &Room, path: &str) -> Option<String> {
        let root = room.root().expect("a copy");
        let file = root.open_file(path.as_ref(), OFlags::RDONLY).ok()?;
        std::io::read_to_string(file).ok()
    }

    #[test]
    fn what_is_placed_is_seen_and_the_host_sees_nothing() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = |name: &str| directory.path().join(name);
        for name in ["lower/etc", "upper", "work", "outer", "inner"] {
            std::fs::create_dir_all(path(name)).expect("makes it");
        }
        std::fs::write(path("lower/etc/name"), "lower").expect("writes");
        std::fs::write(path("outer/file"), "outer").expect("writes");
        std::fs::write(path("inner/file"), "inner").expect("writes");
        std::os::unix::fs::symlink("/../../deep", path("lower/link")).expect("links");
        let tree = overlay_tree(&[&path("lower")], &path("upper"), &path("work")).expect("is put together");
        let placed = |source: &str, target: &str, read_only: bool| Placed {
            source: path(source),
            target: target.to_owned(),
            read_only,
            recursive: true,
        };
        let all = vec![
            placed("outer", "/link/a", false),
            placed("inner", "/deep/a/sub", true),
            placed("inner/file", "/etc/new", false),
        ];
        let room = Room::furnish(tree, all, false).expect("is furnished");
        for (at, wanted) in [
            ("/etc/name", Some("lower")),
            ("/deep/a/file", Some("outer")),
            ("/link/a/sub/file", Some("inner")),
            ("/etc/new", Some("inner")),
            ("/../../../etc/shadow", None),
        ] {
            assert_eq!(text(&room, at).as_deref(), wanted, "{at}");
        }
        let root = room.root().expect("a copy");
        let make = |path: &str| root.mkdir_all(path.as_ref(), Mode::RWXU).map(drop);
        assert_eq!(make("/deep/a/sub/x"), Err(Errno::ROFS));
        make("/deep/a/x").expect("is writable");
        make("/made").expect("is writable");
        assert!(path("outer/x").is_dir() && path("upper/made").is_dir());
        let mounts = std::fs::read_to_string("/proc/self/mountinfo").expect("reads");
        assert!(!mounts.contains(&*directory.path().to_string_lossy()), "the host sees it");
        assert!(!path("outer/sub/file").exists(), "a mount travelled to the host");
    }
}
