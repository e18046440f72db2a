//! Deleting trees: out of sight in one step, then piece by piece.
//!
//! A tree is renamed into the trash before it is deleted, so that it is gone as a whole for everybody, and what a
//! crash leaves over lies where the next sweep finds it. What is in a tree was made by a container or an image:
//! nothing in it is followed, nothing bounds its depth, and a file may have been made immutable.

use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{AtFlags, Dir, FileType, IFlags, Mode, OFlags};
use rustix::io::Errno;

use crate::error::{Error, Faults, Result, Subject};
use crate::id::random_hex;

/// How deep a tree is followed before the rest of it is moved up: bounds the descriptors and the stack.
const DEPTH: usize = 16;
/// How often a directory is read again because somebody else put something into it.
const PASSES: usize = 8;

/// The directory that trees are deleted in.
pub(super) struct Trash(OwnedFd);

impl Trash {
    /// `directory` must be on the same file system as what will be thrown away.
    pub(super) fn new(directory: OwnedFd) -> Trash {
        Trash(directory)
    }

    /// Takes `name` away from `parent` in one step. Whether it was there is the answer; it is not deleted yet.
    pub(super) fn take(&self, parent: BorrowedFd<'_>, name: &Path) -> Result<Option<Taken>> {
        let place = random_hex::<16>()?;
        match rustix::fs::renameat(parent, name, &self.0, place.as_str()) {
            Ok(()) => Ok(Some(Taken(place))),
            Err(Errno::NOENT) => Ok(None),
            Err(errno) => Err(errno).subject(|| format!("{} of the store", name.display())),
        }
    }

    /// Takes `name` away from `parent` and deletes it.
    pub(super) fn delete(&self, parent: BorrowedFd<'_>, name: &Path) -> Result<bool> {
        match self.take(parent, name)? {
            Some(taken) => self.destroy(&taken).map(|()| true),
            None => Ok(false),
        }
    }

    /// Deletes what was taken away.
    pub(super) fn destroy(&self, taken: &Taken) -> Result<()> {
        let name = CString::new(taken.0.as_str()).map_err(|e| Error::internal("trash", e.to_string()))?;
        self.destroy_all(vec![name])
    }

    /// Deletes all that lies in the trash; gives the number of trees.
    pub(super) fn empty(&self) -> Result<usize> {
        let names = names(self.0.as_fd()).subject(|| "trash of the store".into())?;
        let count = names.len();
        self.destroy_all(names)?;
        Ok(count)
    }

    /// Deletes these names of the trash, and with them what is moved up from below them.
    fn destroy_all(&self, mut names: Vec<CString>) -> Result<()> {
        let mut faults = Faults::new();
        while let Some(name) = names.pop() {
            let mut deletion = Deletion { trash: self.0.as_fd(), moved: &mut names };
            let result = deletion.remove(self.0.as_fd(), &name, FileType::Unknown, 0);
            faults.note(result.subject(|| format!("trash of the store, {}", name.to_string_lossy())));
        }
        faults.into_result()
    }
}

/// The name under which something lies in the trash.
pub(super) struct Taken(String);

/// Deletes the tree `name` in `parent`, where nobody else can be at it.
pub(super) fn delete_tree(parent: BorrowedFd<'_>, name: &Path) -> rustix::io::Result<()> {
    use std::os::unix::ffi::OsStrExt;
    let name = CString::new(name.as_os_str().as_bytes()).map_err(|_| Errno::INVAL)?;
    // What is too deep is moved next to the tree, under a name of its own.
    let mut names = vec![name];
    while let Some(name) = names.pop() {
        Deletion { trash: parent, moved: &mut names }.remove(parent, &name, FileType::Unknown, 0)?;
    }
    Ok(())
}

struct Deletion<'a> {
    /// Where what lies too deep is moved.
    trash: BorrowedFd<'a>,
    /// What was moved there.
    moved: &'a mut Vec<CString>,
}

impl Deletion<'_> {
    /// Removes `name` from `parent`, with all below it. What is gone already is fine.
    fn remove(
        &mut self,
        parent: BorrowedFd<'_>,
        name: &CStr,
        kind: FileType,
        depth: usize,
    ) -> rustix::io::Result<()> {
        if kind != FileType::Directory {
            let unlink = || absent_is_fine(rustix::fs::unlinkat(parent, name, AtFlags::empty()));
            let mut result = unlink();
            if result == Err(Errno::PERM) {
                make_mutable(parent, name);
                result = unlink();
            }
            if result != Err(Errno::ISDIR) {
                return result;
            }
        }
        for _ in 0..PASSES {
            match absent_is_fine(rustix::fs::unlinkat(parent, name, AtFlags::REMOVEDIR)) {
                Err(Errno::NOTEMPTY | Errno::EXIST) => {}
                Err(Errno::PERM) => make_mutable(parent, name),
                result => return result,
            }
            if depth >= DEPTH {
                return self.move_up(parent, name);
            }
            let Some(directory) = open(parent, name)? else { return Ok(()) };
            self.clear(directory, depth)?;
        }
        absent_is_fine(rustix::fs::unlinkat(parent, name, AtFlags::REMOVEDIR))
    }

    fn clear(&mut self, directory: OwnedFd, depth: usize) -> rustix::io::Result<()> {
        let mut entries = Dir::read_from(&directory)?;
        while let Some(entry) = entries.read() {
            let entry = entry?;
            let name = entry.file_name();
            if name != c"." && name != c".." {
                match self.remove(directory.as_fd(), name, entry.file_type(), depth + 1) {
                    // The directory itself may be what is immutable.
                    Err(Errno::PERM) => {
                        clear_flags(directory.as_fd());
                        self.remove(directory.as_fd(), name, entry.file_type(), depth + 1)?;
                    }
                    result => result?,
                }
            }
        }
        Ok(())
    }

    fn move_up(&mut self, parent: BorrowedFd<'_>, name: &CStr) -> rustix::io::Result<()> {
        let place = random_hex::<16>().ok().and_then(|place| CString::new(place).ok()).ok_or(Errno::AGAIN)?;
        match rustix::fs::renameat(parent, name, self.trash, &place) {
            Err(Errno::NOENT) => Ok(()),
            Err(errno) => Err(errno),
            Ok(()) => {
                self.moved.push(place);
                Ok(())
            }
        }
    }
}

/// The names in a directory.
fn names(directory: BorrowedFd<'_>) -> rustix::io::Result<Vec<CString>> {
    let mut names = Vec::new();
    for entry in Dir::read_from(directory)? {
        let entry = entry?;
        if entry.file_name() != c"." && entry.file_name() != c".." {
            names.push(entry.file_name().to_owned());
        }
    }
    Ok(names)
}

/// Opens a directory to be cleared; `None` if it is gone.
fn open(parent: BorrowedFd<'_>, name: &CStr) -> rustix::io::Result<Option<OwnedFd>> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mut result = rustix::fs::openat(parent, name, flags, Mode::empty());
    if result.as_ref().is_err_and(|e| *e == Errno::ACCESS) {
        // Without root's privileges, a directory without permissions must get some first.
        rustix::fs::chmodat(parent, name, Mode::RWXU, AtFlags::empty())?;
        result = rustix::fs::openat(parent, name, flags, Mode::empty());
    }
    match result {
        Ok(directory) => Ok(Some(directory)),
        Err(Errno::NOENT) => Ok(None),
        Err(errno) => Err(errno),
    }
}

fn absent_is_fine(result: rustix::io::Result<()>) -> rustix::io::Result<()> {
    match result {
        Err(Errno::NOENT) => Ok(()),
        result => result,
    }
}

/// Takes the flags off a file or directory that forbid to delete it. Only these are opened: to open a device or a
/// pipe can have effects.
fn make_mutable(parent: BorrowedFd<'_>, name: &CStr) {
    let Ok(stat) = rustix::fs::statat(parent, name, AtFlags::SYMLINK_NOFOLLOW) else { return };
    if !matches!(FileType::from_raw_mode(stat.st_mode), FileType::RegularFile | FileType::Directory) {
        return;
    }
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    if let Ok(file) = rustix::fs::openat(parent, name, flags, Mode::empty()) {
        clear_flags(file.as_fd());
    }
}

fn clear_flags(file: BorrowedFd<'_>) {
    let forbidding = IFlags::IMMUTABLE | IFlags::APPEND;
    if let Ok(flags) = rustix::fs::ioctl_getflags(file)
        && flags.intersects(forbidding)
    {
        // If it does not work, the deletion says so.
        let _ = rustix::fs::ioctl_setflags(file, flags - forbidding);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::beneath::{RootDir, make_directory};
    use std::os::unix::fs::symlink;

    fn trash() -> (tempfile::TempDir, Trash, OwnedFd) {
        let directory = tempfile::tempdir().expect("a directory");
        std::fs::create_dir(directory.path().join("trash")).expect("makes it");
        let open = |path: &Path| OwnedFd::from(std::fs::File::open(path).expect("opens"));
        let trash = Trash::new(open(&directory.path().join("trash")));
        let parent = open(directory.path());
        (directory, trash, parent)
    }

    #[test]
    fn a_tree_goes_and_what_its_links_lead_to_stays() {
        let (directory, trash, parent) = trash();
        let path = |name: &str| directory.path().join(name);
        std::fs::create_dir_all(path("tree/a/b")).expect("makes it");
        std::fs::create_dir(path("kept")).expect("makes it");
        std::fs::write(path("kept/file"), "x").expect("writes");
        symlink("../../kept", path("tree/a/link")).expect("links");
        symlink(path("kept"), path("tree/absolute")).expect("links");
        std::fs::write(path("tree/a/b/file"), "x").expect("writes");
        assert!(trash.delete(parent.as_fd(), "tree".as_ref()).expect("deletes"));
        assert!(!trash.delete(parent.as_fd(), "tree".as_ref()).expect("nothing to do"));
        assert!(path("kept/file").exists());
        assert_eq!(std::fs::read_dir(path("trash")).expect("reads").count(), 0);
    }

    #[test]
    fn a_tree_of_any_depth_goes() {
        let (directory, trash, parent) = trash();
        std::fs::create_dir(directory.path().join("tree")).expect("makes it");
        let top = RootDir::open(&directory.path().join("tree")).expect("opens");
        let mut at = top.resolve("".as_ref(), OFlags::RDONLY).expect("opens");
        for _ in 0..5000 {
            at = make_directory(at.as_fd(), "d".as_ref(), Mode::RWXU).expect("makes it");
        }
        assert!(trash.delete(parent.as_fd(), "tree".as_ref()).expect("deletes"));
        assert_eq!(trash.empty().expect("nothing to do"), 0);
    }

    #[test]
    fn an_immutable_file_goes() {
        let (directory, trash, parent) = trash();
        std::fs::create_dir_all(directory.path().join("tree/d")).expect("makes it");
        std::fs::write(directory.path().join("tree/d/file"), "x").expect("writes");
        let lock = |name: &str| {
            let file = std::fs::File::open(directory.path().join(name)).expect("opens");
            // Some file systems have no such flags; then there is nothing to test.
            let _ = rustix::fs::ioctl_setflags(&file, IFlags::IMMUTABLE);
        };
        lock("tree/d/file");
        lock("tree/d");
        assert!(trash.delete(parent.as_fd(), "tree".as_ref()).expect("deletes"));
        assert_eq!(trash.empty().expect("nothing to do"), 0);
    }
}
