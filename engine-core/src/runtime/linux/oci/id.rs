//! The name of a container, which becomes that of a directory.

use std::fmt;
use std::str::FromStr;

use crate::error::{Error, Result};

/// The longest name of a file.
const MAX: usize = 255;

/// The name of a container: letters, digits and `_+-.`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct OciId(String);

impl OciId {
    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for OciId {
    type Err = Error;

    fn from_str(text: &str) -> Result<OciId> {
        let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'+' | b'-' | b'.');
        let sound = !matches!(text, "" | "." | "..") && text.len() <= MAX && text.bytes().all(plain);
        match sound {
            true => Ok(OciId(text.to_owned())),
            false => Err(Error::invalid(
                format!("container {text:?}"),
                "invalid container ID format: it has letters, digits and _+-. alone, at most 255 of them",
            )),
        }
    }
}

impl fmt::Display for OciId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_leads_to_no_other_directory() {
        for name in ["", ".", "..", "a/b", "a b", "ä", "a\0", &"x".repeat(256)] {
            assert!(name.parse::<OciId>().is_err(), "{name:?}");
        }
        for name in ["a", "...", "web_1+2-3.4"] {
            assert_eq!(name.parse::<OciId>().expect(name).as_str(), name);
        }
    }
}
