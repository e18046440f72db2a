//! How much a layer may hold.

use crate::error::{Error, ErrorKind};

/// How much one layer may hold when it is unpacked: a bound for hostile content, far above honest content.
///
/// What exceeds a limit fails with [`ErrorKind::LimitExceeded`], and the error names the limit.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct UnpackLimits {
    /// The bytes of the decompressed archive, and the bytes its files claim to have. Default: 128 GiB.
    pub layer_bytes: u64,
    /// The entries of the archive. Default: a million.
    pub entries: u64,
    /// How many times its compressed size the archive may have. Default: 200.
    pub ratio: u64,
    /// The bytes of the decompressed archive that are not measured by `ratio`: something small that compresses
    /// well does no harm. Default: 512 MiB.
    pub ratio_after: u64,
    /// The bytes of a path in the archive; the kernel takes no more than 4095, which is the default.
    pub path_bytes: usize,
    /// The bytes of names and attributes that precede one entry. Default: 1 MiB.
    pub header_bytes: u64,
    /// The bytes that the paths of all directories may take in memory. Default: 64 MiB.
    pub directory_bytes: usize,
    /// The memory that a zstd stream may ask for, as a power of two. Default: 27, which is 128 MiB.
    pub zstd_window_log: u32,
}

impl Default for UnpackLimits {
    fn default() -> UnpackLimits {
        UnpackLimits {
            layer_bytes: 128 << 30,
            entries: 1_000_000,
            ratio: 200,
            ratio_after: 512 << 20,
            path_bytes: 4095,
            header_bytes: 1 << 20,
            directory_bytes: 64 << 20,
            zstd_window_log: 27,
        }
    }
}

/// The error of a layer that exceeds `limit`, a field of [`UnpackLimits`]; `what` says what is too large.
pub(crate) fn exceeded(subject: impl Into<String>, what: &str, limit: &str, value: u64) -> Error {
    Error::new(ErrorKind::LimitExceeded, subject)
        .because(format!("{what}; the limit `{limit}` is {value}"))
        .with_remedy(format!(
            "if the content is to be trusted, open the engine with a higher `UnpackLimits::{limit}`"
        ))
}
