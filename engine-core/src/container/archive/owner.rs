//! Who the container's program runs as, in numbers: looked up in the container's own files.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use rustix::fs::{FileType, OFlags};

use super::entry::Owner;
use crate::error::{Error, Result};
use crate::sys::beneath::RootDir;

/// So much of a file of users or groups is read.
const LIMIT: u64 = 1 << 20;

/// The owner that `user`, as in `user[:group]`, is; that of the archive for root or nobody in particular.
///
/// # Errors
/// [`ErrorKind::InvalidInput`](crate::ErrorKind::InvalidInput) for one that the container's files do not know.
pub(super) fn of(root: &RootDir, user: &str) -> Result<Owner> {
    if user.is_empty() {
        return Ok(Owner::OfArchive);
    }
    let (name, group) = user.split_once(':').map_or((user, None), |(name, group)| (name, Some(group)));
    let unknown = |what: &str| {
        Err(Error::invalid(format!("user {user:?}"), format!("the container has no such {what}")))
    };
    let passwd = text(root, "/etc/passwd");
    let entry =
        passwd.lines().map(fields).find(|entry| entry.first() == Some(&name) || entry.get(2) == Some(&name));
    let uid = name.parse().ok().or_else(|| entry.as_ref()?.get(2)?.parse().ok());
    let Some(uid) = uid else { return unknown("user") };
    let gid = match group.filter(|group| !group.is_empty()) {
        None => entry.and_then(|entry| entry.get(3)?.parse().ok()).or(Some(0)),
        Some(group) => group.parse().ok().or_else(|| {
            let groups = text(root, "/etc/group");
            groups.lines().map(fields).find(|entry| entry.first() == Some(&group))?.get(2)?.parse().ok()
        }),
    };
    match gid {
        Some(gid) => Ok(Owner::Fixed(uid, gid)),
        None => unknown("group"),
    }
}

fn fields(line: &str) -> Vec<&str> {
    line.split(':').collect()
}

/// The beginning of a file; nothing if there is none, or something else than a file.
fn text(root: &RootDir, path: &str) -> String {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY;
    let mut text = Vec::new();
    // Opened only once it is known to be a file: to open a device can have effects.
    let is_file = root
        .resolve(Path::new(path), OFlags::PATH)
        .and_then(rustix::fs::fstat)
        .is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile);
    if is_file && let Ok(file) = root.resolve(Path::new(path), flags) {
        // What could not be read is not known.
        let _ = File::from(file).take(LIMIT).read_to_end(&mut text);
    }
    String::from_utf8_lossy(&text).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_are_those_of_the_container() {
        let directory = tempfile::tempdir().expect("a directory");
        let root = RootDir::open(directory.path()).expect("opens");
        assert_eq!(of(&root, "7").expect("a number"), Owner::Fixed(7, 0));
        std::fs::create_dir(directory.path().join("etc")).expect("makes it");
        std::fs::write(directory.path().join("etc/passwd"), "root:x:0:0::/:\nweb:x:33:34:web\nbad\n")
            .expect("writes");
        std::fs::write(directory.path().join("etc/group"), "staff:x:50:\n").expect("writes");
        for (user, owner) in [
            ("", Owner::OfArchive),
            ("web", Owner::Fixed(33, 34)),
            ("33", Owner::Fixed(33, 34)),
            ("web:staff", Owner::Fixed(33, 50)),
            ("web:7", Owner::Fixed(33, 7)),
            ("1000:1001", Owner::Fixed(1000, 1001)),
        ] {
            assert_eq!(of(&root, user).expect(user), owner, "{user}");
        }
        for user in ["nobody", "web:nobody", "bad"] {
            assert!(of(&root, user).is_err(), "{user}");
        }
    }
}
