//! Identifiers: parsed once at the door, never plain strings again.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::error::{Error, ErrorKind, Result};

/// Writes `bytes` as lower-case hexadecimal.
pub(crate) fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    bytes
        .iter()
        .flat_map(|b| [DIGITS[usize::from(b >> 4)], DIGITS[usize::from(b & 15)]])
        .map(char::from)
        .collect()
}

fn is_lower_hex(text: &str) -> bool {
    text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

/// `N` random bytes from the kernel, as hexadecimal.
///
/// # Errors
/// [`ErrorKind::Unavailable`] when the kernel has no randomness to give, which happens only in early boot.
pub(crate) fn random_hex<const N: usize>() -> Result<String> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(|e| {
        Error::new(ErrorKind::Unavailable, "the kernel's random numbers").because(e.to_string())
    })?;
    Ok(hex(&bytes))
}

macro_rules! id_type {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// The whole identifier.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> String {
                id.0
            }
        }

        impl TryFrom<String> for $name {
            type Error = Error;

            fn try_from(text: String) -> Result<$name> {
                text.parse()
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }
    };
}

macro_rules! object_id {
    ($(#[$doc:meta])* $name:ident, $noun:literal) => {
        id_type!($(#[$doc])* $name);

        impl $name {
            /// A new random identifier.
            ///
            /// # Errors
            /// [`ErrorKind::Unavailable`] when the kernel has no randomness to give.
            pub fn random() -> Result<$name> {
                random_hex::<32>().map($name)
            }

            /// The first twelve digits, as lists show it.
            pub fn short(&self) -> &str {
                &self.0[..12]
            }
        }

        impl FromStr for $name {
            type Err = Error;

            fn from_str(text: &str) -> Result<$name> {
                if text.len() == 64 && is_lower_hex(text) {
                    Ok($name(text.to_owned()))
                } else {
                    let subject = format!(concat!($noun, " identifier {:?}"), text);
                    Err(Error::invalid(subject, "must be 64 hexadecimal digits in lower case"))
                }
            }
        }
    };
}

object_id!(
    /// A container: 64 hexadecimal digits, chosen at random when it is created.
    ContainerId,
    "container"
);
object_id!(
    /// A network: 64 hexadecimal digits, chosen at random when it is created.
    NetworkId,
    "network"
);

id_type!(
    /// The digest of some content, `algorithm:encoded` (OCI image-spec, descriptor.md, "Digests").
    ///
    /// Only `sha256` is accepted: content that cannot be verified is not accepted at all.
    Digest
);

impl Digest {
    /// The digest of `bytes`.
    pub fn of(bytes: &[u8]) -> Digest {
        use sha2::Digest as _;
        Digest::from_sha256(&sha2::Sha256::digest(bytes))
    }

    /// From the 32 bytes a SHA-256 computation gave.
    pub fn from_sha256(hash: &[u8]) -> Digest {
        Digest(format!("sha256:{}", hex(hash)))
    }

    /// The part after the colon: 64 hexadecimal digits, safe as a file name.
    pub fn encoded(&self) -> &str {
        &self.0["sha256:".len()..]
    }

    /// The first twelve digits of the encoded part, as lists show it.
    pub fn short(&self) -> &str {
        &self.encoded()[..12]
    }
}

impl FromStr for Digest {
    type Err = Error;

    fn from_str(text: &str) -> Result<Digest> {
        let bad = |reason: &str| Err(Error::invalid(format!("digest {text:?}"), reason));
        match text.strip_prefix("sha256:") {
            Some(encoded) if encoded.len() == 64 && is_lower_hex(encoded) => Ok(Digest(text.to_owned())),
            Some(_) => bad("must be 64 hexadecimal digits in lower case after the colon"),
            None if text.contains(':') => bad("only sha256 is supported"),
            None => bad("must have the form sha256:<64 hexadecimal digits>"),
        }
    }
}

/// The identifier of an image: the digest of its configuration, byte for byte as it was received.
pub type ImageId = Digest;

/// The identifier of an uncompressed layer: the digest of its tar stream.
pub type DiffId = Digest;

id_type!(
    /// The identifier of a layer *on top of its parents* (OCI image-spec, config.md, "Layer ChainID").
    ChainId
);

impl ChainId {
    /// The chain of a layer on top of `parent`.
    pub fn extend(parent: Option<&ChainId>, diff: &DiffId) -> ChainId {
        match parent {
            None => ChainId(diff.as_str().to_owned()),
            Some(parent) => ChainId(Digest::of(format!("{parent} {diff}").as_bytes()).into()),
        }
    }

    /// The chains of a stack of layers, base first: the last one names the whole stack.
    pub fn chain(diffs: &[DiffId]) -> Vec<ChainId> {
        let mut chains: Vec<ChainId> = Vec::with_capacity(diffs.len());
        for diff in diffs {
            chains.push(ChainId::extend(chains.last(), diff));
        }
        chains
    }

    /// The part after the colon: 64 hexadecimal digits, safe as a file name.
    pub fn encoded(&self) -> &str {
        &self.0["sha256:".len()..]
    }
}

impl FromStr for ChainId {
    type Err = Error;

    fn from_str(text: &str) -> Result<ChainId> {
        text.parse::<Digest>().map(|digest| ChainId(digest.into()))
    }
}

/// Checks `text` against Docker's grammar for the names of containers, networks and volumes:
/// `[a-zA-Z0-9][a-zA-Z0-9_.-]+`, at most 255 bytes so that it can be a file name.
fn check_name(noun: &str, text: &str) -> Result<()> {
    let bad = |reason: &str| Err(Error::invalid(format!("{noun} name {text:?}"), reason));
    let mut bytes = text.bytes();
    match bytes.next() {
        None => return bad("must not be empty"),
        Some(b) if !b.is_ascii_alphanumeric() => return bad("must begin with a letter or a digit"),
        Some(_) => {}
    }
    if text.len() < 2 {
        return bad("must have at least two characters");
    }
    if text.len() > 255 {
        return bad("must have at most 255 characters");
    }
    if !bytes.all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-')) {
        return bad("only letters, digits, '_', '.' and '-' are allowed");
    }
    Ok(())
}

macro_rules! name_type {
    ($(#[$doc:meta])* $name:ident, $noun:literal) => {
        id_type!($(#[$doc])* $name);

        impl FromStr for $name {
            type Err = Error;

            fn from_str(text: &str) -> Result<$name> {
                check_name($noun, text).map(|()| $name(text.to_owned()))
            }
        }
    };
}

name_type!(
    /// The name of a container, unique in a store.
    ContainerName,
    "container"
);
name_type!(
    /// The name of a network, unique in a store.
    NetworkName,
    "network"
);
name_type!(
    /// The name of a volume, unique in a store.
    VolumeName,
    "volume"
);

impl VolumeName {
    /// The name of an anonymous volume: 64 random hexadecimal digits.
    ///
    /// # Errors
    /// [`ErrorKind::Unavailable`] when the kernel has no randomness to give.
    pub fn anonymous() -> Result<VolumeName> {
        random_hex::<32>().map(VolumeName)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_is_sha256_in_lower_case_or_refused() {
        let good = format!("sha256:{}", "0a".repeat(32));
        assert_eq!(good.parse::<Digest>().expect("well formed").encoded(), "0a".repeat(32));
        for bad in [
            "",
            "sha256:",
            "sha256:../../../etc/passwd",
            "sha512:00",
            &format!("sha256:{}", "0A".repeat(32)),
            &format!("sha256:{}", "00".repeat(33)),
            &"00".repeat(32),
        ] {
            assert!(bad.parse::<Digest>().is_err(), "{bad:?} was accepted");
        }
    }

    #[test]
    fn a_chain_id_is_computed_as_the_image_specification_says() {
        // Worked example of the specification's recipe: sha256("<parent> <diff>").
        let base: DiffId = format!("sha256:{}", "11".repeat(32)).parse().expect("well formed");
        let next: DiffId = format!("sha256:{}", "22".repeat(32)).parse().expect("well formed");
        let chain = ChainId::chain(&[base.clone(), next.clone()]);
        assert_eq!(chain[0].as_str(), base.as_str());
        assert_eq!(chain[1].as_str(), Digest::of(format!("{base} {next}").as_bytes()).as_str());
    }

    #[test]
    fn names_that_could_leave_a_directory_are_refused() {
        for bad in ["", "a", "..", ".hidden", "-x", "a/b", "a\0b", "a b", "naïve", &"x".repeat(256)] {
            assert!(bad.parse::<VolumeName>().is_err(), "{bad:?} was accepted");
        }
        assert!("data-1_x.y".parse::<VolumeName>().is_ok());
    }

    #[test]
    fn an_identifier_survives_json_and_a_bad_one_does_not() {
        let id = ContainerId::random().expect("random");
        let json = serde_json::to_string(&id).expect("serialises");
        assert_eq!(serde_json::from_str::<ContainerId>(&json).expect("parses"), id);
        assert!(serde_json::from_str::<ContainerId>("\"../x\"").is_err());
    }
}
