//! Lists of processors and of memory nodes, as the kernel and users write them: `0-3,5`.

use std::fmt;
use std::str::FromStr;

use crate::error::{Error, Result};

/// Numbers of processors or memory nodes, as ranges: `0-3,5`. However wide a range is, it takes no more room.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Cpus(Vec<(u32, u32)>);

impl Cpus {
    /// How many there are.
    pub(crate) fn count(&self) -> u64 {
        self.0.iter().map(|(first, last)| u64::from(last - first) + 1).sum()
    }

    /// Whether all of them are in `other`.
    pub(super) fn is_within(&self, other: &Cpus) -> bool {
        self.0.iter().all(|(first, last)| other.0.iter().any(|(low, high)| low <= first && last <= high))
    }
}

impl FromStr for Cpus {
    type Err = Error;

    fn from_str(text: &str) -> Result<Cpus> {
        let wrong = || Error::invalid(format!("list {text:?}"), "it must look like 0-3,5");
        let number = |digits: &str| -> Result<u32> {
            let digits = digits.trim();
            let sound = !digits.is_empty() && digits.len() <= 6 && digits.bytes().all(|b| b.is_ascii_digit());
            if sound { digits.parse().map_err(|_| wrong()) } else { Err(wrong()) }
        };
        if text.len() > 4096 {
            return Err(Error::invalid("a list of CPUs or memory nodes", "it is longer than 4096 bytes"));
        }
        let mut ranges = Vec::new();
        for part in text.split(',') {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            let (first, last) = (number(first)?, number(last)?);
            if last < first {
                return Err(wrong());
            }
            ranges.push((first, last));
        }
        ranges.sort_unstable();
        // Ranges that touch are one, so that what spans them is within.
        let mut joined: Vec<(u32, u32)> = Vec::with_capacity(ranges.len());
        for (first, last) in ranges {
            match joined.last_mut() {
                Some((_, end)) if first <= *end + 1 => *end = last.max(*end),
                _ => joined.push((first, last)),
            }
        }
        Ok(Cpus(joined))
    }
}

impl fmt::Display for Cpus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (first, last)) in self.0.iter().enumerate() {
            let comma = if index == 0 { "" } else { "," };
            match first == last {
                true => write!(f, "{comma}{first}")?,
                false => write!(f, "{comma}{first}-{last}")?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_list_never_panics_and_survives_its_own_text(text in "[0-9,\\- ]{0,20}") {
            if let Ok(cpus) = text.parse::<Cpus>() {
                prop_assert_eq!(cpus.to_string().parse::<Cpus>().expect("own text"), cpus);
            }
        }
    }
}
