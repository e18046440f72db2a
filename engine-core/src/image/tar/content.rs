//! What of a file is written into an archive besides what stat(2) tells: its extended attributes and its holes.

use std::ffi::CStr;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

use rustix::fs::SeekFrom;
use rustix::io::Errno;

/// A file with more pieces is written as a whole.
const MAX_PIECES: usize = 1 << 15;
/// The longest list and value of extended attributes the kernel knows.
const LARGEST_XATTR: usize = 64 << 10;

/// The extended attributes that belong to the content: file capabilities, and those of users.
pub(super) fn xattrs(file: BorrowedFd<'_>) -> rustix::io::Result<Vec<(Vec<u8>, Vec<u8>)>> {
    // By this name the kernel takes a file that was opened for nothing, too.
    let path = format!("/proc/self/fd/{}", file.as_raw_fd());
    match rustix::fs::listxattr_query(&path) {
        Ok(0) | Err(Errno::OPNOTSUPP | Errno::NOSYS) => return Ok(Vec::new()),
        result => result?,
    };
    let mut names = vec![0; LARGEST_XATTR];
    let length = match rustix::fs::listxattr(&path, &mut names[..]) {
        Err(Errno::OPNOTSUPP) => return Ok(Vec::new()),
        length => length?,
    };
    let mut found = Vec::new();
    for name in names[..length].split_inclusive(|byte| *byte == 0) {
        let Ok(name) = CStr::from_bytes_with_nul(name) else { continue };
        if !is_content(name.to_bytes()) {
            continue;
        }
        let mut value = vec![0; LARGEST_XATTR];
        match rustix::fs::getxattr(&path, name, &mut value[..]) {
            Ok(length) => value.truncate(length),
            Err(Errno::NODATA | Errno::OPNOTSUPP) => continue,
            Err(errno) => return Err(errno),
        }
        found.push((name.to_bytes().to_vec(), value));
    }
    found.sort_unstable();
    Ok(found)
}

fn is_content(name: &[u8]) -> bool {
    name == b"security.capability" || name.starts_with(b"user.") && !name.starts_with(b"user.overlay.")
}

/// The pieces of data in a file; `None` if there are too many, or the file system does not tell. An empty piece at the
/// end is there for readers that take the last one for the file's end.
pub(super) fn data_of(file: &OwnedFd, size: u64) -> rustix::io::Result<Option<Vec<(u64, u64)>>> {
    let mut pieces = Vec::new();
    let mut at = 0;
    while at < size {
        let data = match rustix::fs::seek(file, SeekFrom::Data(at)) {
            Ok(data) if data < size => data,
            Ok(_) | Err(Errno::NXIO) => break,
            Err(Errno::INVAL | Errno::OPNOTSUPP) => return Ok(None),
            Err(errno) => return Err(errno),
        };
        let hole = match rustix::fs::seek(file, SeekFrom::Hole(data)) {
            // It was cut short meanwhile.
            Err(Errno::NXIO) => break,
            hole => hole?.min(size),
        };
        if hole <= data || pieces.len() >= MAX_PIECES {
            return Ok(None);
        }
        pieces.push((data, hole - data));
        at = hole;
    }
    if pieces.last().is_none_or(|(offset, length)| offset + length < size) {
        pieces.push((size, 0));
    }
    Ok(Some(pieces))
}
