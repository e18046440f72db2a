//! What is told of files in containers.

use serde::{Deserialize, Serialize};

use crate::spec::Timestamp;

/// What is at a path in a container.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct PathStat {
    /// The last component of the path.
    pub name: String,
    /// Its size in bytes.
    pub size: u64,
    /// Its kind and permissions, in the bits of Go's `os.FileMode`.
    pub mode: u32,
    /// When its content was changed.
    pub mtime: Timestamp,
    /// Where it leads in the end, as an absolute path in the container; empty unless it is a symbolic link.
    #[serde(rename = "linkTarget")]
    pub link_target: String,
}

impl PathStat {
    const DIRECTORY: u32 = 1 << 31;
    const SYMBOLIC_LINK: u32 = 1 << 27;
    const DEVICE: u32 = 1 << 26;
    const FIFO: u32 = 1 << 25;
    const SOCKET: u32 = 1 << 24;
    const SET_USER_ID: u32 = 1 << 23;
    const SET_GROUP_ID: u32 = 1 << 22;
    const CHARACTER_DEVICE: u32 = 1 << 21;
    const STICKY: u32 = 1 << 20;

    /// Whether it is a directory.
    pub fn is_directory(&self) -> bool {
        self.mode & PathStat::DIRECTORY != 0
    }

    /// Whether it is a symbolic link.
    pub fn is_symbolic_link(&self) -> bool {
        self.mode & PathStat::SYMBOLIC_LINK != 0
    }

    /// What is neither a file, a directory nor a link, in a word; `None` for those.
    pub fn special(&self) -> Option<&'static str> {
        [(PathStat::DEVICE, "device"), (PathStat::FIFO, "named pipe"), (PathStat::SOCKET, "socket")]
            .into_iter()
            .find_map(|(bit, word)| (self.mode & bit != 0).then_some(word))
    }

    /// The bits of Go's `os.FileMode` for a mode of stat(2).
    pub(super) fn go_mode(mode: u32) -> u32 {
        let kind = match mode & 0o170_000 {
            0o040_000 => PathStat::DIRECTORY,
            0o120_000 => PathStat::SYMBOLIC_LINK,
            0o060_000 => PathStat::DEVICE,
            0o020_000 => PathStat::DEVICE | PathStat::CHARACTER_DEVICE,
            0o010_000 => PathStat::FIFO,
            0o140_000 => PathStat::SOCKET,
            _ => 0,
        };
        let bits =
            [(0o4000, PathStat::SET_USER_ID), (0o2000, PathStat::SET_GROUP_ID), (0o1000, PathStat::STICKY)];
        bits.iter().filter(|(bit, _)| mode & bit != 0).fold(kind | mode & 0o777, |all, (_, go)| all | go)
    }
}

/// What a copy did.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct CopyReport {
    /// The bytes that went from one side to the other, as an archive.
    pub bytes: u64,
    /// Where it went: a path of the host, or in the container.
    pub target: String,
}

impl CopyReport {
    pub(in crate::container) fn new(bytes: u64, target: String) -> CopyReport {
        CopyReport { bytes, target }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes_are_go_s() {
        for (mode, go) in [
            (0o100_644, 0o644),
            (0o040_755, 0x8000_01ed),
            (0o041_777, 0x8010_01ff),
            (0o104_755, 0x0080_01ed),
            (0o120_777, 0x0800_01ff),
            (0o020_666, 0x0420_01b6),
            (0o060_660, 0x0400_01b0),
            (0o010_600, 0x0200_0180),
            (0o140_600, 0x0100_0180),
            (0o102_644, 0x0040_01a4),
        ] {
            assert_eq!(PathStat::go_mode(mode), go, "{mode:o}");
        }
    }
}
