//! How a root file system is put together.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// One mount of a root file system, made in the container's own mount namespace: the host never sees it, and it
/// ends with the container.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum RootMount {
    /// An overlay of directories of the host.
    Overlay {
        /// The read-only directories, topmost first. At least one.
        lower: Vec<PathBuf>,
        /// The writable directory and its work directory, on one file system; without it the overlay is
        /// read-only.
        upper: Option<(PathBuf, PathBuf)>,
        /// Whether what is written may be lost in a crash of the host, which makes unmounting cheap
        /// (overlayfs "volatile"). Right where the upper directory is thrown away afterwards.
        volatile: bool,
    },
    /// A directory of the host as it is.
    Directory {
        /// The directory.
        path: PathBuf,
    },
}
