//! The writable trees of containers.
//!
//! A tree is a pair of directories, `upper` and `work`, in the directory of its container. `work` is made last: where
//! it is missing, `upper` was not finished.

use std::collections::HashSet;
use std::ffi::{CString, OsStr};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use rustix::fs::{AtFlags, CWD, Dir, FileType, Gid, Mode, OFlags, Uid};
use rustix::io::Errno;

use super::trash::delete_tree;
use super::{OverlayStore, bad_key, open_directory};
use crate::error::{Error, ErrorKind, Faults, Result, Subject};
use crate::spec::RootMount;
use crate::sys::beneath::{RootDir, make_directory};

pub(super) const UPPER: &str = "upper";
pub(super) const WORK: &str = "work";
/// Where overlayfs, in its part of `work`, notes that a tree was mounted volatile: it refuses to mount it again.
const VOLATILE_MARK: &str = "incompat";
/// What statfs(2) says of an overlay.
const OVERLAYFS: i64 = 0x794c_7630;

impl OverlayStore {
    /// The tree of `key` on top of `lower`, made if it is not there.
    pub(super) fn writable(&self, key: &str, lower: Vec<PathBuf>, volatile: bool) -> Result<Vec<RootMount>> {
        check_key(key)?;
        let subject = || subject(key);
        let home = match rustix::fs::mkdirat(&self.0.containers, key, Mode::RWXU) {
            Ok(()) | Err(Errno::EXIST) => {
                open_directory(&self.0.containers, Path::new(key)).subject(subject)?
            }
            Err(errno) => return Err(errno).subject(subject),
        };
        match rustix::fs::statat(&home, WORK, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(_) => {
                let work = open_directory(&home, Path::new(WORK)).subject(subject)?;
                // The mark is about a crash of the host, after which nobody asks for a volatile tree again.
                RootDir::from(work).open_dir(Path::new("work")).map_or(Ok(()), |work| {
                    delete_tree(work.as_fd(), Path::new(VOLATILE_MARK)).subject(subject)
                })?;
            }
            Err(Errno::NOENT) => {
                let top =
                    lower.first().ok_or_else(|| Error::internal(subject(), "it is on top of nothing"))?;
                self.make_writable(key, &home, top)?;
            }
            Err(errno) => return Err(errno).subject(subject),
        }
        let path = self.0.root.join("containers").join(key);
        let upper = Some((path.join(UPPER), path.join(WORK)));
        Ok(vec![RootMount::Overlay { lower, upper, volatile }])
    }

    /// Makes the directories. The root of a container looks like the root of what is below it.
    fn make_writable(&self, key: &str, home: &OwnedFd, top: &Path) -> Result<()> {
        let subject = || subject(key);
        if rustix::fs::fstatfs(home).subject(subject)?.f_type == OVERLAYFS {
            return Err(Error::new(ErrorKind::Unsupported, format!("store {}", self.0.root.display()))
                .because("it is on an overlay file system itself, which cannot hold what a container writes")
                .with_remedy("put the store on a volume, or on a tmpfs"));
        }
        let model = rustix::fs::statat(CWD, top, AtFlags::empty())
            .subject(|| format!("directory {}", top.display()))?;
        if FileType::from_raw_mode(model.st_mode) != FileType::Directory {
            return Err(Error::invalid(
                format!("root file system {}", top.display()),
                "it is not a directory",
            ));
        }
        let upper = match make_directory(home.as_fd(), OsStr::new(UPPER), Mode::RWXU) {
            Err(Errno::EXIST) => open_directory(home, Path::new(UPPER)),
            result => result,
        }
        .subject(subject)?;
        let (uid, gid) = (Uid::from_raw(model.st_uid), Gid::from_raw(model.st_gid));
        rustix::fs::fchown(&upper, Some(uid), Some(gid)).subject(subject)?;
        rustix::fs::fchmod(&upper, Mode::from_raw_mode(model.st_mode)).subject(subject)?;
        match rustix::fs::mkdirat(home, WORK, Mode::RWXU) {
            Ok(()) | Err(Errno::EXIST) => Ok(()),
            Err(errno) => Err(errno).subject(subject),
        }
    }

    /// Throws the tree away. The container's directory stays if others have something in it.
    pub(super) fn discard_writable(&self, key: &str) -> Result<()> {
        check_key(key)?;
        let home = match open_directory(&self.0.containers, Path::new(key)) {
            Ok(home) => home,
            Err(Errno::NOENT) => return Ok(()),
            Err(errno) => return Err(errno).subject(|| subject(key)),
        };
        let mut faults = Faults::new();
        let mut taken = Vec::new();
        // `work` goes first, as it tells that the tree is whole; and both are out of sight before either is deleted.
        for name in [WORK, UPPER] {
            match self.0.trash.take(home.as_fd(), Path::new(name)) {
                Ok(found) => taken.extend(found),
                Err(error) => faults.note::<()>(Err(error)),
            }
        }
        match rustix::fs::unlinkat(&self.0.containers, key, AtFlags::REMOVEDIR) {
            Ok(()) | Err(Errno::NOENT | Errno::NOTEMPTY | Errno::EXIST) => {}
            Err(errno) => faults.note(Err::<(), _>(errno).subject(|| subject(key))),
        }
        for tree in &taken {
            faults.note(self.0.trash.destroy(tree));
        }
        faults.into_result()
    }

    /// The directory of the container `key`; `None` if it has none.
    pub(super) fn home(&self, key: &str) -> Result<Option<OwnedFd>> {
        check_key(key)?;
        self.open_container(key, Path::new(key))
    }

    /// What the container `key` has written; `None` if it never could.
    pub(super) fn upper(&self, key: &str) -> Result<Option<OwnedFd>> {
        check_key(key)?;
        self.open_container(key, &Path::new(key).join(UPPER))
    }

    fn open_container(&self, key: &str, path: &Path) -> Result<Option<OwnedFd>> {
        match open_directory(&self.0.containers, path) {
            Ok(directory) => Ok(Some(directory)),
            Err(Errno::NOENT) => Ok(None),
            Err(errno) => Err(errno).subject(|| subject(key)),
        }
    }

    /// The bytes of the files in the tree, each file once, as Docker counts them. The container may be running and
    /// change it meanwhile. What lies deeper than the longest path is not counted.
    pub(super) fn written_bytes(&self, key: &str) -> Result<u64> {
        let Some(upper) = self.upper(key)?.map(RootDir::from) else { return Ok(0) };
        let mut bytes = 0;
        let mut linked = HashSet::new();
        // Only names are kept, not paths: a hostile tree is deep and wide.
        let mut to_do: Vec<(Rc<Path>, CString)> = vec![(Path::new("").into(), CString::default())];
        while let Some((parent, name)) = to_do.pop() {
            let path: Rc<Path> = parent.join(OsStr::from_bytes(name.as_bytes())).into();
            let directory = match upper.resolve_exact(&path, OFlags::RDONLY | OFlags::DIRECTORY) {
                Ok(directory) => directory,
                Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::NAMETOOLONG) => continue,
                Err(errno) => return Err(errno).subject(|| subject(key)),
            };
            for entry in Dir::new(directory.try_clone().subject(|| subject(key))?).subject(|| subject(key))? {
                let entry = entry.subject(|| subject(key))?;
                let name = entry.file_name();
                match entry.file_type() {
                    _ if name == c"." || name == c".." => {}
                    FileType::Directory => to_do.push((Rc::clone(&path), name.to_owned())),
                    FileType::RegularFile | FileType::Symlink | FileType::Unknown => {
                        let Ok(stat) = rustix::fs::statat(&directory, name, AtFlags::SYMLINK_NOFOLLOW) else {
                            continue;
                        };
                        if stat.st_nlink < 2 || linked.insert(stat.st_ino) {
                            bytes += stat.st_size.cast_unsigned();
                        }
                    }
                    _ => {}
                }
            }
        }
        Ok(bytes)
    }
}

/// A key becomes the name of a directory.
fn check_key(key: &str) -> Result<()> {
    let word = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-');
    let begins_well = key.bytes().next().is_some_and(|b| b.is_ascii_alphanumeric());
    if begins_well && key.len() <= 255 && key.bytes().all(word) { Ok(()) } else { Err(bad_key(key)) }
}

fn subject(key: &str) -> String {
    format!("file system of container {key}")
}
