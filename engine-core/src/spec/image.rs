//! Descriptors and platforms, as the OCI image specification has them.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::id::Digest;

/// Some content by digest, size and type (OCI image-spec, descriptor.md).
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Descriptor {
    /// What the content is.
    pub media_type: String,
    /// The digest of the content as it is stored and sent.
    pub digest: Digest,
    /// Its length in bytes.
    pub size: u64,
    /// For a manifest in an index: the platform it is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub platform: Option<Platform>,
    /// Free-form annotations.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub annotations: Option<std::collections::BTreeMap<String, String>>,
}

impl Descriptor {
    /// Content of `media_type` with this digest and size.
    pub fn new(media_type: impl Into<String>, digest: Digest, size: u64) -> Descriptor {
        Descriptor { media_type: media_type.into(), digest, size, platform: None, annotations: None }
    }
}

/// How a layer's tar stream is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Compression {
    /// Not at all.
    None,
    /// gzip, of one member or of several.
    Gzip,
    /// Zstandard, of one frame or of several.
    Zstd,
}

impl Compression {
    /// How many bytes [`Compression::sniff`] needs to see.
    pub const SNIFF: usize = 4;

    /// By the first bytes of the content, for archives that do not say.
    pub fn sniff(head: &[u8]) -> Compression {
        match head {
            [0x1f, 0x8b, ..] => Compression::Gzip,
            [0x28, 0xb5, 0x2f, 0xfd, ..] => Compression::Zstd,
            _ => Compression::None,
        }
    }
}

/// An operating system and processor, in Go's words: `linux/amd64`, `linux/arm64/v8`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Platform {
    /// The processor architecture (GOARCH).
    pub architecture: String,
    /// The operating system (GOOS).
    pub os: String,
    /// The variant of the architecture.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variant: Option<String>,
}

impl Platform {
    /// The platform this program was built for.
    pub fn host() -> Platform {
        let (architecture, variant) = match std::env::consts::ARCH {
            "x86_64" => ("amd64", None),
            "x86" => ("386", None),
            "aarch64" => ("arm64", None),
            "arm" => ("arm", Some("v7")),
            "powerpc64" => ("ppc64le", None),
            other => (other, None),
        };
        Platform { architecture: architecture.into(), os: "linux".into(), variant: variant.map(Into::into) }
    }

    /// The variant, or the one that is meant where none is written.
    fn effective_variant(&self) -> Option<&str> {
        match (self.architecture.as_str(), self.variant.as_deref()) {
            ("arm64", None) => Some("v8"),
            ("arm", None) => Some("v7"),
            ("amd64", None) => Some("v1"),
            (_, variant) => variant,
        }
    }

    /// Whether an image for `self` runs where `wanted` is asked for: same system and architecture, and a variant
    /// that is not newer.
    pub fn runs_on(&self, wanted: &Platform) -> bool {
        if self.os != wanted.os || self.architecture != wanted.architecture {
            return false;
        }
        match (self.effective_variant(), wanted.effective_variant()) {
            (Some(mine), Some(theirs)) if self.architecture != "arm64" => mine <= theirs,
            (mine, theirs) => mine == theirs,
        }
    }

    /// How well an image for `self` suits `wanted`; higher is better. Only among those that run.
    pub fn rank(&self) -> String {
        self.effective_variant().unwrap_or_default().to_owned()
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.os, self.architecture)?;
        match &self.variant {
            Some(variant) => write!(f, "/{variant}"),
            None => Ok(()),
        }
    }
}

impl FromStr for Platform {
    type Err = Error;

    fn from_str(text: &str) -> Result<Platform> {
        let parts: Vec<&str> = text.split('/').collect();
        let word = |part: &&str| {
            !part.is_empty()
                && part.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.'))
        };
        let platform = |os: &str, architecture: &str, variant: Option<&str>| {
            let architecture = match architecture {
                "x86_64" | "x86-64" => "amd64",
                "aarch64" => "arm64",
                "i386" => "386",
                other => other,
            };
            Platform { architecture: architecture.into(), os: os.into(), variant: variant.map(Into::into) }
        };
        match parts.as_slice() {
            _ if !parts.iter().all(word) => {}
            [architecture] => return Ok(platform("linux", architecture, None)),
            [os, architecture] => return Ok(platform(os, architecture, None)),
            [os, architecture, variant] => return Ok(platform(os, architecture, Some(variant))),
            _ => {}
        }
        Err(Error::invalid(format!("platform {text:?}"), "must look like linux/amd64 or linux/arm64/v8"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn platform(text: &str) -> Platform {
        text.parse().expect("well formed")
    }

    #[test]
    fn an_image_runs_on_its_own_platform_and_on_newer_variants() {
        assert!(platform("linux/amd64").runs_on(&platform("linux/amd64")));
        assert!(platform("linux/arm64").runs_on(&platform("linux/arm64/v8")));
        assert!(platform("linux/arm/v6").runs_on(&platform("linux/arm/v7")));
        assert!(!platform("linux/arm/v7").runs_on(&platform("linux/arm/v6")));
        assert!(!platform("linux/amd64/v3").runs_on(&platform("linux/amd64")));
        assert!(!platform("windows/amd64").runs_on(&platform("linux/amd64")));
        assert_eq!(platform("x86_64"), platform("linux/amd64"));
        assert!("linux//x".parse::<Platform>().is_err());
    }

    #[test]
    fn compression_is_told_by_magic() {
        assert_eq!(Compression::sniff(&[0x1f, 0x8b, 8, 0]), Compression::Gzip);
        assert_eq!(Compression::sniff(&[0x28, 0xb5, 0x2f, 0xfd]), Compression::Zstd);
        assert_eq!(Compression::sniff(b"etc/"), Compression::None);
        assert_eq!(Compression::sniff(b""), Compression::None);
    }
}
