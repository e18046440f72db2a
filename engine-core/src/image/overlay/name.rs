//! The paths in a layer: what is taken, and what is refused before anything is touched.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use super::limits::{UnpackLimits, exceeded};
use super::tar::entry_name;
use crate::error::{Error, ErrorKind, Result};

/// The longest name in a directory.
const NAME_MAX: usize = 255;

/// A path beneath the root of a layer: its components joined by single slashes, none of them `.` or `..`. Empty for
/// the root itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct LayerPath(Vec<u8>);

impl LayerPath {
    /// Checks a path of an archive. A leading slash means the root of the layer, as Docker takes it; a `..` is
    /// refused wherever it leads.
    pub(super) fn parse(raw: &[u8], limits: &UnpackLimits) -> Result<LayerPath> {
        let bad = |reason: &str| Err(Error::new(ErrorKind::Corrupt, entry_name(raw)).because(reason));
        if raw.len() > limits.path_bytes {
            let limit = limits.path_bytes as u64;
            return Err(exceeded(entry_name(raw), "its path is too long", "path_bytes", limit));
        }
        if raw.is_empty() {
            return bad("it has no name");
        }
        let mut path = Vec::with_capacity(raw.len());
        for component in raw.split(|b| *b == b'/') {
            match component {
                b"" | b"." => continue,
                b".." => return bad("its path holds \"..\", which may lead out of the layer"),
                _ if component.contains(&0) => return bad("its path holds a zero byte"),
                _ if component.len() > NAME_MAX => {
                    let what = "a name in its path is too long for any file system";
                    return Err(Error::new(ErrorKind::LimitExceeded, entry_name(raw)).because(what));
                }
                _ => {}
            }
            if !path.is_empty() {
                path.push(b'/');
            }
            path.extend_from_slice(component);
        }
        Ok(LayerPath(path))
    }

    pub(super) fn is_root(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The directory part and the last component. The root has neither.
    pub(super) fn split(&self) -> (&[u8], &OsStr) {
        match self.0.iter().rposition(|b| *b == b'/') {
            Some(at) => (&self.0[..at], OsStr::from_bytes(&self.0[at + 1..])),
            None => (b"", OsStr::from_bytes(&self.0)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(raw: &[u8]) -> Result<LayerPath> {
        LayerPath::parse(raw, &UnpackLimits::default())
    }

    #[test]
    fn a_path_is_made_relative_and_plain() {
        for (raw, path) in [
            (&b"./usr//bin/"[..], &b"usr/bin"[..]),
            (b"/etc/passwd", b"etc/passwd"),
            (b"./", b""),
            (b"/", b""),
            (b"a/./b", b"a/b"),
            (b"na\xefve", b"na\xefve"),
            (b"...", b"..."),
        ] {
            assert_eq!(parse(raw).expect("a path").as_bytes(), path);
        }
        assert_eq!(parse(b"a/b/c").expect("a path").split(), (&b"a/b"[..], OsStr::new("c")));
    }

    #[test]
    fn a_path_that_may_lead_out_or_cannot_be_is_refused() {
        for raw in [&b"../x"[..], b"a/../../x", b"a/..", b"..", b"a\0b", b""] {
            assert!(parse(raw).is_err_and(|e| e.is(ErrorKind::Corrupt)), "{raw:?}");
        }
        for raw in ["x".repeat(256), "x/".repeat(2048)] {
            assert!(parse(raw.as_bytes()).is_err_and(|e| e.is(ErrorKind::LimitExceeded)));
        }
    }
}
