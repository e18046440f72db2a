//! Copying files into containers and out of them.

use std::path::PathBuf;

/// How to unpack an archive in a container.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ArchiveSpec {
    /// Refuse to replace a directory by something else, and something else by a directory.
    pub no_overwrite_dir_non_dir: bool,
    /// Give everything to the user that the container's program runs as, where that is not root. Otherwise the owners
    /// are those of the archive.
    pub copy_uid_gid: bool,
}

impl ArchiveSpec {
    /// Refuses to replace a directory by something else, and something else by a directory.
    #[must_use]
    pub fn keep_directories(mut self) -> ArchiveSpec {
        self.no_overwrite_dir_non_dir = true;
        self
    }

    /// Gives everything to the user that the container's program runs as.
    #[must_use]
    pub fn owned_by_user(mut self) -> ArchiveSpec {
        self.copy_uid_gid = true;
        self
    }
}

/// Files to copy between this host and a container, as `docker cp` does it. What a path means depends on what is there:
/// a directory is copied into a directory that exists, or becomes one that does not; with `/.` at its end its content is
/// copied, and not itself.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct CopySpec {
    /// A path of this host.
    pub host: PathBuf,
    /// A path in the container.
    pub container: String,
    /// Where the source is a symbolic link, copy what it leads to.
    pub follow_link: bool,
    /// Into a container: as [`ArchiveSpec::copy_uid_gid`]. Out of one: keep the owners, which otherwise is whoever copies.
    pub archive: bool,
}

impl CopySpec {
    /// The path `host` of this host and the path `container` in a container; which is the source says the call.
    pub fn new(host: impl Into<PathBuf>, container: impl Into<String>) -> CopySpec {
        CopySpec { host: host.into(), container: container.into(), follow_link: false, archive: false }
    }

    /// Copies what a symbolic link leads to.
    #[must_use]
    pub fn follow_link(mut self) -> CopySpec {
        self.follow_link = true;
        self
    }

    /// Keeps the owners.
    #[must_use]
    pub fn archive(mut self) -> CopySpec {
        self.archive = true;
        self
    }
}
