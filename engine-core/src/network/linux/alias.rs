//! What is noted on a bridge: whose it is.

use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use crate::id::NetworkId;

const MARK: &[u8] = b"engine:";
/// The kernel's limit (`IFALIASZ`), less the zero at the end.
const LIMIT: usize = 255;

/// The note for a network of the store at `root`. A root that is too long is left out: such a bridge is only taken
/// away by those who know it by name.
pub(super) fn of(network: &NetworkId, root: &Path) -> Vec<u8> {
    let root = root.as_os_str().as_bytes();
    let mut alias = [MARK, network.as_str().as_bytes(), b":"].concat();
    if alias.len() + root.len() <= LIMIT {
        alias.extend_from_slice(root);
    }
    alias
}

/// The network and the store's root in a note.
pub(super) fn parse(alias: &[u8]) -> Option<(&str, &[u8])> {
    let rest = alias.strip_prefix(MARK)?;
    let colon = rest.iter().position(|byte| *byte == b':')?;
    Some((std::str::from_utf8(&rest[..colon]).ok()?, &rest[colon + 1..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_note_is_read_back_and_others_are_none() {
        let id: NetworkId = "0a".repeat(32).parse().expect("well formed");
        let note = of(&id, Path::new("/var/lib/engine"));
        assert_eq!(parse(&note), Some((id.as_str(), &b"/var/lib/engine"[..])));
        let long = of(&id, Path::new(&format!("/{}", "x".repeat(300))));
        assert_eq!(parse(&long), Some((id.as_str(), &b""[..])));
        for other in [&b""[..], b"engine:", b"uplink", b"engine:\xff:"] {
            assert_eq!(parse(other), None);
        }
    }
}
