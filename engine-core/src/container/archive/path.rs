//! Paths in containers, as docker takes them.

use std::ffi::{CString, OsStr};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use rustix::fs::{AtFlags, FileType, OFlags, Stat};
use rustix::io::Errno;

use super::info::PathStat;
use crate::error::{Error, Result, Subject};
use crate::spec::Timestamp;
use crate::sys::beneath::RootDir;

/// Something in a container: what it is called in which directory, which is open.
pub(in crate::container) struct Found {
    pub(in crate::container) parent: OwnedFd,
    /// `.` if the directory itself was asked for.
    pub(in crate::container) name: CString,
    /// What an archive calls it: the last component of the path, `.`, or `/`.
    pub(in crate::container) base: Vec<u8>,
    stat: Stat,
    path: PathBuf,
}

/// The path from the root, without detours: `..` goes up by name, as in docker.
pub(super) fn absolute(path: &str) -> Result<PathBuf> {
    if path.is_empty() {
        return Err(Error::invalid("path in a container", "it cannot be empty"));
    }
    directory(path)
}

/// As [`absolute`], where nothing is the root.
pub(super) fn directory(path: &str) -> Result<PathBuf> {
    if path.contains('\0') {
        return Err(Error::invalid("path in a container", "it cannot hold a zero byte"));
    }
    let mut clean = PathBuf::from("/");
    for component in Path::new(path).components() {
        match component {
            Component::Normal(name) => clean.push(name),
            Component::ParentDir => drop(clean.pop()),
            Component::CurDir | Component::RootDir | Component::Prefix(_) => {}
        }
    }
    Ok(clean)
}

/// Whether a path asks for the content of a directory: `/.` at its end.
pub(in crate::container) fn is_content(path: &str) -> bool {
    path == "." || path.ends_with("/.")
}

/// Whether a path says that it is a directory.
pub(in crate::container) fn says_directory(path: &str) -> bool {
    path.ends_with('/') || is_content(path)
}

/// What messages call a path in a container.
pub(super) fn shown(path: &Path, container: &str) -> String {
    format!("{container}:{}", path.display())
}

/// Docker's words for what is not there.
pub(super) fn not_found(path: &Path, container: &str) -> Error {
    let subject = format!("Could not find the file {} in container {container}", path.display());
    Error::new(crate::error::ErrorKind::NotFound, subject)
}

pub(super) fn is_directory(stat: &Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::Directory
}

impl Found {
    /// Finds what is at `path` of the container; links on the way are followed inside it, one at the end is not, unless
    /// the path says that a directory is meant.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`](crate::ErrorKind::NotFound) in docker's words.
    pub(in crate::container) fn find(root: &RootDir, path: &str, container: &str) -> Result<Found> {
        let clean = absolute(path)?;
        let failed = |errno| match errno {
            Errno::NOENT => not_found(&clean, container),
            Errno::NOTDIR => Error::invalid(shown(&clean, container), "not a directory"),
            errno => Error::io(shown(&clean, container), std::io::Error::from(errno)),
        };
        let name = clean.file_name().map(OsStr::as_bytes);
        let base = match name {
            _ if is_content(path) => b".",
            None => &b"/"[..],
            Some(name) => name,
        };
        let (parent, name) = match name {
            Some(name) if !says_directory(path) => {
                let flags = OFlags::PATH | OFlags::DIRECTORY;
                let parent = clean.parent().unwrap_or(Path::new("/"));
                (root.resolve(parent, flags).map_err(failed)?, name)
            }
            _ => (root.resolve(&clean, OFlags::PATH | OFlags::DIRECTORY).map_err(failed)?, &b"."[..]),
        };
        let base = base.to_vec();
        let name = CString::new(name).map_err(|e| Error::invalid("path in a container", e.to_string()))?;
        let stat = rustix::fs::statat(&parent, &name, AtFlags::SYMLINK_NOFOLLOW).map_err(failed)?;
        Ok(Found { parent, name, base, stat, path: clean })
    }

    /// What it is.
    pub(in crate::container) fn describe(&self, root: &RootDir) -> Result<PathStat> {
        let target = match FileType::from_raw_mode(self.stat.st_mode) {
            FileType::Symlink => self.target(root)?,
            _ => String::new(),
        };
        let nanos = i128::from(self.stat.st_mtime) * 1_000_000_000 + i128::from(self.stat.st_mtime_nsec);
        let last = self.path.file_name().unwrap_or(OsStr::new("/"));
        Ok(PathStat {
            name: if self.base == b"." { ".".to_owned() } else { last.to_string_lossy().into_owned() },
            size: self.stat.st_size.cast_unsigned(),
            mode: PathStat::go_mode(self.stat.st_mode),
            mtime: Timestamp::from_nanos(i64::try_from(nanos).unwrap_or(i64::MAX)),
            link_target: target,
        })
    }

    /// Where the link leads in the end, inside the container. One that leads to nothing is taken by its words.
    fn target(&self, root: &RootDir) -> Result<String> {
        let subject = || format!("link {}", self.path.display());
        let text = match root.resolve(&self.path, OFlags::PATH) {
            Ok(opened) => {
                // As the kernel tells it, the root of the container's mounts is the root.
                let path = format!("/proc/self/fd/{}", opened.as_raw_fd());
                rustix::fs::readlink(path, Vec::new()).subject(subject)?.into_bytes()
            }
            Err(_) => {
                let text = rustix::fs::readlinkat(&self.parent, &self.name, Vec::new()).subject(subject)?;
                let text = Path::new(OsStr::from_bytes(text.to_bytes()));
                let joined = self.path.parent().unwrap_or(Path::new("/")).join(text);
                return Ok(directory(&joined.to_string_lossy())?.to_string_lossy().into_owned());
            }
        };
        Ok(String::from_utf8_lossy(&text).into_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_begins_at_the_root_and_stays_there() {
        for (path, clean) in [
            ("etc/passwd", "/etc/passwd"),
            ("/etc//./passwd/", "/etc/passwd"),
            ("../../x", "/x"),
            ("/a/../b/.", "/b"),
            ("/", "/"),
        ] {
            assert_eq!(absolute(path).expect("a path"), Path::new(clean));
        }
        assert!(absolute("").is_err() && absolute("a\0b").is_err());
    }

    #[test]
    fn a_path_tells_what_an_archive_calls_it() {
        let directory = tempfile::tempdir().expect("a directory");
        std::fs::create_dir(directory.path().join("d")).expect("makes it");
        std::fs::write(directory.path().join("d/f"), "x").expect("writes");
        std::os::unix::fs::symlink("/d", directory.path().join("link")).expect("links");
        let root = RootDir::open(directory.path()).expect("opens");
        let base = |path: &str| Found::find(&root, path, "c").map(|found| found.base);
        for (path, expected) in [
            ("/d", &b"d"[..]),
            ("d/", b"d"),
            ("/d/.", b"."),
            ("/", b"/"),
            ("/.", b"."),
            ("/d/f", b"f"),
            ("/link", b"link"),
            ("/link/", b"link"),
            ("/../../d", b"d"),
        ] {
            assert_eq!(base(path).expect(path), expected, "{path}");
        }
        for (path, words) in
            [("/nope", "Could not find the file /nope in container c"), ("/d/f/", "not a directory")]
        {
            assert!(base(path).expect_err(path).to_string().contains(words), "{path}");
        }
        let link = |path: &str| Found::find(&root, path, "c").and_then(|found| found.describe(&root));
        assert!(link("/link").expect("is there").is_symbolic_link());
        assert!(link("/link/").expect("is there").is_directory());
    }
}
