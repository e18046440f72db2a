//! Names that came from outside, resolved beneath a directory and nowhere else.
//!
//! A name from an image, an archive or a container is never joined to a path: it is given to the kernel together
//! with the descriptor of the directory it belongs to (openat2(2), `RESOLVE_IN_ROOT`), so that neither `..`, nor an
//! absolute name, nor a symbolic link, nor a race with whoever renames things below leads out of it. The last
//! component of a name is never followed by what makes or removes something.

use std::ffi::{OsStr, OsString};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Component, Path};

use rustix::fs::{AtFlags, CWD, Mode, OFlags, ResolveFlags, Stat};
use rustix::io::{Errno, Result};

/// How many symbolic links a name may lead through, as in the kernel.
const MAX_LINKS: usize = 40;
/// How often the kernel is asked again when somebody renamed a directory above while it resolved a `..`.
const MAX_RACES: usize = 64;

/// A directory that names are resolved beneath, as if it were the root of the file system.
#[derive(Debug)]
pub(crate) struct RootDir(OwnedFd);

impl AsFd for RootDir {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl From<OwnedFd> for RootDir {
    /// `directory` must be the descriptor of a directory.
    fn from(directory: OwnedFd) -> RootDir {
        RootDir(directory)
    }
}

/// The directory part and the last component of `path`; `None` for the root itself and for a path whose last
/// component is not a name.
pub(crate) fn split(path: &Path) -> Option<(&Path, &OsStr)> {
    Some((path.parent()?, path.file_name()?))
}

impl RootDir {
    /// The directory `path` of this process, which is trusted.
    pub(crate) fn open(path: &Path) -> Result<RootDir> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        rustix::fs::openat(CWD, path, flags, Mode::empty()).map(RootDir)
    }

    /// Opens `path`, following symbolic links as a process would whose root this directory is. The empty path is
    /// the directory itself.
    pub(crate) fn resolve(&self, path: &Path, flags: OFlags) -> Result<OwnedFd> {
        self.openat2(path, flags, Mode::empty(), ResolveFlags::IN_ROOT)
    }

    /// Opens `path` if no component of it, the last one included, is a symbolic link.
    pub(crate) fn resolve_exact(&self, path: &Path, flags: OFlags) -> Result<OwnedFd> {
        self.openat2(path, flags, Mode::empty(), ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS)
    }

    fn openat2(&self, path: &Path, flags: OFlags, mode: Mode, resolve: ResolveFlags) -> Result<OwnedFd> {
        let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
        let resolve = resolve | ResolveFlags::NO_MAGICLINKS;
        for _ in 0..MAX_RACES {
            match rustix::fs::openat2(&self.0, path, flags | OFlags::CLOEXEC, mode, resolve) {
                Err(Errno::AGAIN | Errno::INTR) => {}
                result => return result,
            }
        }
        Err(Errno::AGAIN)
    }

    /// The directory `path`, as a new root.
    pub(crate) fn open_dir(&self, path: &Path) -> Result<RootDir> {
        self.resolve(path, OFlags::PATH | OFlags::DIRECTORY).map(RootDir)
    }

    /// The directory that holds the last component of `path`, and that component.
    ///
    /// # Errors
    /// `EINVAL` if the last component is not a name.
    pub(crate) fn parent<'p>(&self, path: &'p Path) -> Result<(OwnedFd, &'p OsStr)> {
        let (parent, name) = split(path).ok_or(Errno::INVAL)?;
        Ok((self.resolve(parent, OFlags::PATH | OFlags::DIRECTORY)?, name))
    }

    /// Opens the file at `path`. Symbolic links are followed, the last one too; a terminal does not become the
    /// caller's, and a pipe does not block.
    #[cfg(any(test, feature = "conformance"))]
    pub(crate) fn open_file(&self, path: &Path, flags: OFlags) -> Result<std::fs::File> {
        self.resolve(path, flags | OFlags::NOCTTY | OFlags::NONBLOCK).map(Into::into)
    }

    /// The directory `path`, made together with its parents where they are not there. A symbolic link that leads
    /// to nothing has its target made.
    pub(crate) fn mkdir_all(&self, path: &Path, mode: Mode) -> Result<OwnedFd> {
        self.mkdir_all_with(path, &mut |parent, name, _| make_directory(parent, name, mode).map(drop))
    }

    /// As [`RootDir::mkdir_all`], with each missing directory made by `make`: it is given the directory to make it
    /// in, its name, and its real path beneath the root.
    pub(crate) fn mkdir_all_with(
        &self,
        path: &Path,
        make: &mut dyn FnMut(BorrowedFd<'_>, &OsStr, &Path) -> Result<()>,
    ) -> Result<OwnedFd> {
        let flags = OFlags::PATH | OFlags::DIRECTORY;
        match self.resolve(path, flags) {
            Err(Errno::NOENT) => {}
            result => return result,
        }
        // One component at a time, without following links: each is looked at by its descriptor. The walk begins at
        // the deepest directory that is there, unless a link leads to it.
        let plain = path.components().all(|component| matches!(component, Component::Normal(_)));
        let there = path.ancestors().skip(1).find_map(|ancestor| match self.resolve_exact(ancestor, flags) {
            Err(Errno::NOENT) => None,
            result => Some(result.map(|directory| (ancestor, directory))),
        });
        let (start, mut directory) = match there {
            Some(Ok(found)) if plain => found,
            _ => (Path::new(""), self.resolve(Path::new(""), flags)?),
        };
        let mut to_do: Vec<OsString> = Vec::new();
        push_components(&mut to_do, path.strip_prefix(start).unwrap_or(path));
        let mut at = start.to_owned();
        let mut links = 0;
        while let Some(name) = to_do.pop() {
            if name == ".." {
                at.pop();
                directory = self.resolve_exact(&at, flags)?;
                continue;
            }
            let exact = flags | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            match rustix::fs::openat(&directory, &name, exact, Mode::empty()) {
                Ok(next) => {
                    directory = next;
                    at.push(&name);
                }
                Err(Errno::NOENT) => {
                    match make(directory.as_fd(), &name, &at.join(&name)) {
                        Ok(()) | Err(Errno::EXIST) => {}
                        Err(errno) => return Err(errno),
                    }
                    to_do.push(name);
                    links += 1;
                }
                Err(Errno::NOTDIR | Errno::LOOP) => {
                    let target = match rustix::fs::readlinkat(&directory, &name, Vec::new()) {
                        Ok(target) => OsString::from_vec(target.into_bytes()),
                        Err(Errno::INVAL) => return Err(Errno::NOTDIR),
                        Err(errno) => return Err(errno),
                    };
                    links += 1;
                    if target.as_bytes().starts_with(b"/") {
                        at.clear();
                        directory = self.resolve(Path::new(""), flags)?;
                    }
                    push_components(&mut to_do, Path::new(&target));
                }
                Err(errno) => return Err(errno),
            }
            // What is made counts too, so that nobody who removes it again keeps this going.
            if links > MAX_LINKS + path.as_os_str().len() {
                return Err(Errno::LOOP);
            }
        }
        Ok(directory)
    }

    /// What is at `path`; a symbolic link there is not followed.
    pub(crate) fn stat(&self, path: &Path) -> Result<Stat> {
        match self.parent(path) {
            Ok((parent, name)) => rustix::fs::statat(parent, name, AtFlags::SYMLINK_NOFOLLOW),
            Err(Errno::INVAL) => rustix::fs::fstat(self.resolve(path, OFlags::PATH)?),
            Err(errno) => Err(errno),
        }
    }
}

/// Makes a directory with exactly this mode, whatever the process's umask is, and opens it. The mode is set by its
/// descriptor: a name could lead elsewhere by then.
pub(crate) fn make_directory(parent: BorrowedFd<'_>, name: &OsStr, mode: Mode) -> Result<OwnedFd> {
    rustix::fs::mkdirat(parent, name, mode)?;
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let made = rustix::fs::openat(parent, name, flags, Mode::empty())?;
    rustix::fs::fchmod(&made, mode)?;
    Ok(made)
}

/// Puts the components of `path` on the stack, the first one on top.
fn push_components(stack: &mut Vec<OsString>, path: &Path) {
    for component in path.components().rev() {
        match component {
            Component::Normal(name) => stack.push(name.to_owned()),
            Component::ParentDir => stack.push("..".into()),
            Component::CurDir | Component::RootDir | Component::Prefix(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATH: OFlags = OFlags::PATH;

    fn root() -> (tempfile::TempDir, RootDir) {
        let directory = tempfile::tempdir().expect("a directory");
        std::fs::create_dir(directory.path().join("root")).expect("makes it");
        let root = RootDir::open(&directory.path().join("root")).expect("opens");
        (directory, root)
    }

    #[test]
    fn no_name_leads_out() {
        let (outer, root) = root();
        std::fs::write(outer.path().join("secret"), "x").expect("writes");
        rustix::fs::symlinkat("../secret", &root, "link").expect("links");
        rustix::fs::symlinkat("/", &root, "top").expect("links");
        for name in ["../secret", "/../secret", "link", "top/../../secret", "top/etc/passwd"] {
            assert_eq!(root.resolve(name.as_ref(), PATH).err(), Some(Errno::NOENT), "{name}");
        }
        assert!(root.resolve_exact("link".as_ref(), PATH).is_err());
        assert!(root.resolve_exact("../secret".as_ref(), PATH).is_err());
    }

    #[test]
    fn what_is_made_through_a_link_is_made_inside() {
        let (outer, root) = root();
        rustix::fs::symlinkat("/../../usr/lib", &root, "lib").expect("links");
        let mut made = Vec::new();
        let mode = Mode::from_raw_mode(0o700);
        root.mkdir_all_with("lib/a".as_ref(), &mut |parent, name, path| {
            made.push(path.to_owned());
            rustix::fs::mkdirat(parent, name, mode)
        })
        .expect("makes it");
        assert_eq!(made, [Path::new("usr"), Path::new("usr/lib"), Path::new("usr/lib/a")]);
        assert!(outer.path().join("root/usr/lib/a").is_dir());
    }

    #[test]
    fn a_loop_and_a_file_in_the_way_are_errors() {
        let (_outer, root) = root();
        let mode = Mode::from_raw_mode(0o700);
        rustix::fs::symlinkat("b", &root, "a").expect("links");
        rustix::fs::symlinkat("a", &root, "b").expect("links");
        assert_eq!(root.mkdir_all("a/x".as_ref(), mode).err(), Some(Errno::LOOP));
        rustix::fs::mknodat(&root, "file", rustix::fs::FileType::RegularFile, mode, 0).expect("makes it");
        assert_eq!(root.mkdir_all("file/x".as_ref(), mode).err(), Some(Errno::NOTDIR));
    }
}
