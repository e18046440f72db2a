//! Whole directory trees with content that nobody vouches for: removed, and measured.
//!
//! A tree may be deeper than any path is long. No symbolic link is followed and no mount is entered, and a handful of
//! descriptors is enough for any tree.

use std::collections::{BTreeSet, VecDeque};
use std::ffi::{CStr, CString, OsStr};
use std::fmt::Write as _;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;

use rustix::fs::{AtFlags, FileType, Mode, OFlags, RawDir, RenameFlags, ResolveFlags, SeekFrom};
use rustix::io::Errno;

use crate::error::{Error, Faults, Result, Subject};
use crate::id::random_hex;

/// What one read of a directory holds at most.
const ENTRIES: usize = 32 * 1024;
/// As long as a path may be for the kernel, without its end.
const LONGEST_PATH: usize = 4095;

/// Opens the directory `name` of `parent`, unless it is a symbolic link or something is mounted on it.
///
/// # Errors
/// `EXDEV` at a mount, `ENOTDIR` or `ELOOP` at what is no directory.
pub(crate) fn open_directory(parent: BorrowedFd<'_>, name: &CStr) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_XDEV | ResolveFlags::NO_SYMLINKS;
    loop {
        match rustix::fs::openat2(parent, name, flags, Mode::empty(), resolve) {
            Err(Errno::AGAIN | Errno::INTR) => {}
            result => return result,
        }
    }
}

/// Calls `each` with the name and type of every entry of the directory, from its beginning.
///
/// # Errors
/// The first failure, of the reading or of `each`.
pub(crate) fn each_entry<E: From<Errno>>(
    directory: BorrowedFd<'_>,
    mut each: impl FnMut(&CStr, FileType) -> Result<(), E>,
) -> Result<(), E> {
    rustix::fs::seek(directory, SeekFrom::Start(0))?;
    let mut buffer = Vec::with_capacity(ENTRIES);
    let mut entries = RawDir::new(directory, buffer.spare_capacity_mut());
    while let Some(entry) = entries.next() {
        let entry = entry?;
        let name = entry.file_name();
        if !matches!(name.to_bytes(), b"." | b"..") {
            each(name, entry.file_type())?;
        }
    }
    Ok(())
}

/// Removes the file or the whole tree `name` of the directory `parent`. That it is not there is no error, and several
/// may remove the same one at the same time.
///
/// # Errors
/// What could not be removed; everything else is gone then. What is mounted within the tree is left alone.
pub(crate) fn remove_tree(parent: BorrowedFd<'_>, name: &OsStr) -> Result<()> {
    let shown = || format!("tree {}", name.display());
    let name =
        CString::new(name.as_bytes()).map_err(|_| Error::invalid(shown(), "a name holds no zero byte"))?;
    let root = match open_directory(parent, &name) {
        Ok(root) => root,
        Err(Errno::NOENT) => return Ok(()),
        Err(Errno::NOTDIR | Errno::LOOP) => {
            return absent_is_fine(rustix::fs::unlinkat(parent, &name, AtFlags::empty())).subject(shown);
        }
        Err(Errno::XDEV) => return Err(mounted(shown())),
        Err(errno) => return Err(errno).subject(shown),
    };
    let mut removal =
        Removal { root, prefix: random_hex::<8>()?, serial: 0, progress: 0, faults: Faults::new() };
    loop {
        removal.pass()?;
        match rustix::fs::unlinkat(parent, &name, AtFlags::REMOVEDIR) {
            Ok(()) | Err(Errno::NOENT) => return Ok(()),
            Err(Errno::NOTEMPTY | Errno::EXIST) if removal.progress > 0 => {}
            Err(errno) => {
                removal.faults.note(Err::<(), Errno>(errno).subject(shown));
                return removal.faults.into_result();
            }
        }
    }
}

/// A removal flattens: a directory within a directory of the root is moved up into the root, so that there are never
/// more than two levels to look at, however deep the tree is.
struct Removal {
    root: OwnedFd,
    /// New names in the root begin so: whoever made the tree cannot have taken them.
    prefix: String,
    serial: u64,
    /// How much this pass has removed or moved.
    progress: u64,
    faults: Faults,
}

impl Removal {
    /// Removes what is in the root now. What it moves up is for this pass, or for the next.
    fn pass(&mut self) -> Result<()> {
        self.progress = 0;
        self.faults = Faults::new();
        // The same directory once more, so that it can be read while the removal is changed.
        let read = rustix::fs::openat(&self.root, c".", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty());
        let read = read.and_then(|list| {
            each_entry(list.as_fd(), |name, kind| {
                let result = match self.unlink(list.as_fd(), name, kind) {
                    Err(Errno::ISDIR) => self.clear(name),
                    result => result,
                };
                self.note(name, result);
                Ok::<(), Errno>(())
            })
        });
        absent_is_fine(read).subject(|| "a tree that is being removed".to_owned())
    }

    /// Removes anything but a directory.
    fn unlink(&mut self, parent: BorrowedFd<'_>, name: &CStr, kind: FileType) -> rustix::io::Result<()> {
        if kind == FileType::Directory {
            return Err(Errno::ISDIR);
        }
        rustix::fs::unlinkat(parent, name, AtFlags::empty())?;
        self.progress += 1;
        Ok(())
    }

    /// Removes a directory of the root; the full directories in it are moved up.
    fn clear(&mut self, name: &CStr) -> rustix::io::Result<()> {
        let directory = open_directory(self.root.as_fd(), name)?;
        each_entry(directory.as_fd(), |inner, kind| {
            let result = match self.unlink(directory.as_fd(), inner, kind) {
                Err(Errno::ISDIR) => self.lift(directory.as_fd(), inner),
                result => result,
            };
            self.note(inner, result);
            Ok::<(), Errno>(())
        })?;
        rustix::fs::unlinkat(&self.root, name, AtFlags::REMOVEDIR)?;
        self.progress += 1;
        Ok(())
    }

    fn lift(&mut self, parent: BorrowedFd<'_>, name: &CStr) -> rustix::io::Result<()> {
        match rustix::fs::unlinkat(parent, name, AtFlags::REMOVEDIR) {
            Err(Errno::NOTEMPTY | Errno::EXIST) => {}
            result => {
                self.progress += u64::from(result.is_ok());
                return result;
            }
        }
        let mut up = self.prefix.clone();
        // Writing to a string does not fail.
        let _ = write!(up, "{:x}", self.serial);
        self.serial += 1;
        rustix::fs::renameat_with(parent, name, &self.root, up.as_str(), RenameFlags::NOREPLACE)?;
        self.progress += 1;
        Ok(())
    }

    fn note(&mut self, name: &CStr, result: rustix::io::Result<()>) {
        let shown = || name.to_string_lossy().into_owned();
        match result {
            // A directory that is not empty yet is met again in the next pass.
            Ok(()) | Err(Errno::NOENT | Errno::NOTEMPTY | Errno::EXIST) => {}
            Err(Errno::XDEV | Errno::BUSY) => self.faults.note(Err::<(), Error>(mounted(shown()))),
            Err(errno) => self.faults.note(Err::<(), Errno>(errno).subject(shown)),
        }
    }
}

fn absent_is_fine(result: rustix::io::Result<()>) -> rustix::io::Result<()> {
    match result {
        Err(Errno::NOENT) => Ok(()),
        result => result,
    }
}

fn mounted(what: String) -> Error {
    Error::new(crate::error::ErrorKind::InUse, what)
        .because("something is mounted there, which is not for this engine to remove")
        .with_remedy("unmount it, then run `engine system check --repair`")
}

/// The bytes that the tree below `directory` takes up; a file with several names counts once. What lies deeper than a
/// path can reach is left out, and so is what vanishes meanwhile.
///
/// # Errors
/// The directory itself cannot be read.
pub(crate) fn tree_size(directory: BorrowedFd<'_>) -> rustix::io::Result<u64> {
    let mut seen = BTreeSet::new();
    let mut size = 0u64;
    let mut waiting = VecDeque::from([CString::from(c".")]);
    while let Some(path) = waiting.pop_back() {
        let opened = match open_directory(directory, &path) {
            Ok(opened) => opened,
            Err(errno) if path.as_bytes() == b"." => return Err(errno),
            Err(_) => continue,
        };
        let read = each_entry(opened.as_fd(), |name, _| {
            let Ok(stat) = rustix::fs::statat(&opened, name, AtFlags::SYMLINK_NOFOLLOW) else {
                return Ok(());
            };
            let is_directory = FileType::from_raw_mode(stat.st_mode) == FileType::Directory;
            if is_directory || stat.st_nlink < 2 || seen.insert((stat.st_dev, stat.st_ino)) {
                size = size.saturating_add(u64::try_from(stat.st_blocks).unwrap_or(0).saturating_mul(512));
            }
            if is_directory {
                waiting.extend(below(&path, name));
            }
            Ok::<(), Errno>(())
        });
        if path.as_bytes() == b"." {
            read?;
        }
    }
    Ok(size)
}

/// The path `path/name`, if the kernel takes one as long.
pub(crate) fn below(path: &CStr, name: &CStr) -> Option<CString> {
    let joined = [path.to_bytes(), b"/", name.to_bytes()].concat();
    if joined.len() > LONGEST_PATH { None } else { CString::new(joined).ok() }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;
    use std::path::Path;

    use rustix::fs::CWD;

    use super::*;

    fn open(path: &Path) -> OwnedFd {
        rustix::fs::open(path, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
            .expect("opens")
    }

    /// A chain of `depth` directories with a file at its end, made without a path as long.
    fn chain(parent: OwnedFd, depth: usize) {
        let mut at = parent;
        for _ in 0..depth {
            rustix::fs::mkdirat(&at, "d", Mode::RWXU).expect("makes it");
            at = rustix::fs::openat(&at, "d", OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty())
                .expect("opens");
            drop(
                rustix::fs::openat(&at, "f", OFlags::CREATE | OFlags::WRONLY, Mode::RUSR).expect("makes it"),
            );
        }
    }

    #[test]
    fn a_tree_deeper_than_any_path_goes_and_nothing_behind_its_links_does() {
        let outer = tempfile::tempdir().expect("a directory");
        let tree = outer.path().join("tree");
        fs::create_dir_all(tree.join("a/b/c")).expect("makes it");
        fs::create_dir(outer.path().join("kept")).expect("makes it");
        fs::write(outer.path().join("kept/file"), "x").expect("writes");
        symlink(outer.path().join("kept"), tree.join("a/link")).expect("links");
        symlink("../kept", tree.join("link")).expect("links");
        chain(open(&tree.join("a")), 2100);
        let parent = open(outer.path());
        remove_tree(parent.as_fd(), "tree".as_ref()).expect("removes");
        assert!(!tree.exists());
        assert!(outer.path().join("kept/file").exists());
        remove_tree(parent.as_fd(), "tree".as_ref()).expect("that it is gone is fine");
        symlink("kept", &tree).expect("links");
        remove_tree(parent.as_fd(), "tree".as_ref()).expect("removes the link");
        assert!(fs::symlink_metadata(&tree).is_err());
        assert!(outer.path().join("kept/file").exists());
    }

    #[test]
    fn two_who_remove_the_same_tree_both_succeed() {
        let outer = tempfile::tempdir().expect("a directory");
        for n in 0..200 {
            fs::create_dir_all(outer.path().join(format!("tree/{}/{n}/x/y", n % 7))).expect("makes it");
        }
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    remove_tree(open(outer.path()).as_fd(), "tree".as_ref()).expect("removes");
                });
            }
        });
        assert!(!outer.path().join("tree").exists());
    }

    #[test]
    fn what_is_mounted_in_a_tree_is_left_alone() {
        struct Mounted<'a>(&'a Path);
        impl Drop for Mounted<'_> {
            fn drop(&mut self) {
                let _ = rustix::mount::unmount(self.0, rustix::mount::UnmountFlags::DETACH);
            }
        }
        let outer = tempfile::tempdir().expect("a directory");
        let at = outer.path().join("tree/a/b/m");
        fs::create_dir_all(&at).expect("makes it");
        fs::write(outer.path().join("tree/a/file"), "x").expect("writes");
        rustix::mount::mount("none", &at, "tmpfs", rustix::mount::MountFlags::empty(), None).expect("mounts");
        fs::write(at.join("precious"), "x").expect("writes");
        let moved = {
            let error = remove_tree(open(outer.path()).as_fd(), "tree".as_ref()).expect_err("it is mounted");
            assert!(error.is(crate::ErrorKind::InUse), "{error:?}");
            assert!(!outer.path().join("tree/a/file").exists());
            let mounts = fs::read_to_string("/proc/self/mountinfo").expect("reads");
            let outer = outer.path().to_string_lossy().into_owned();
            let line =
                mounts.lines().find(|line| line.contains(&outer)).expect("is still mounted").to_owned();
            line.split(' ').nth(4).expect("a path").to_owned()
        };
        let mounted = Mounted(Path::new(&moved));
        assert!(mounted.0.join("precious").exists());
        drop(mounted);
        remove_tree(open(outer.path()).as_fd(), "tree".as_ref()).expect("removes");
    }

    #[test]
    fn a_file_with_two_names_is_measured_once() {
        let outer = tempfile::tempdir().expect("a directory");
        fs::create_dir(outer.path().join("d")).expect("makes it");
        fs::write(outer.path().join("d/f"), vec![1; 1 << 20]).expect("writes");
        let once = tree_size(open(outer.path()).as_fd()).expect("measures");
        fs::hard_link(outer.path().join("d/f"), outer.path().join("g")).expect("links");
        assert_eq!(tree_size(open(outer.path()).as_fd()).expect("measures"), once);
        assert!(once >= 1 << 20);
        assert!(rustix::fs::statat(CWD, outer.path(), AtFlags::empty()).is_ok());
    }
}
