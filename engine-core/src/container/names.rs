//! Names for containers that were given none: an adjective and somebody of the history of computing, as docker's
//! users know them. A table.

use crate::error::{Error, ErrorKind, Result};
use crate::id::ContainerName;

const ADJECTIVES: [&str; 64] = [
    "able", "agile", "amber", "ample", "apt", "bold", "brave", "bright", "brisk", "calm", "candid", "clever",
    "cosy", "crisp", "curious", "daring", "deft", "eager", "early", "earnest", "fair", "fancy", "fine",
    "fleet", "fond", "frank", "gentle", "glad", "golden", "grand", "happy", "hardy", "honest", "jolly",
    "keen", "kind", "lively", "loyal", "lucid", "merry", "mild", "modest", "neat", "nimble", "noble",
    "patient", "placid", "proud", "quick", "quiet", "rapid", "ready", "serene", "sharp", "sincere", "smart",
    "steady", "sunny", "swift", "tidy", "vivid", "warm", "wise", "witty",
];

const PEOPLE: [&str; 64] = [
    "aiken",
    "allen",
    "babbage",
    "backus",
    "bartik",
    "boole",
    "borg",
    "brooks",
    "cerf",
    "church",
    "codd",
    "conway",
    "cox",
    "curry",
    "dijkstra",
    "eckert",
    "engelbart",
    "euler",
    "feinler",
    "fermi",
    "floyd",
    "gauss",
    "goedel",
    "goldberg",
    "granville",
    "haibt",
    "hamilton",
    "hamming",
    "hoare",
    "holberton",
    "hollerith",
    "hopper",
    "iverson",
    "johnson",
    "kay",
    "keller",
    "kernighan",
    "knuth",
    "lamarr",
    "lamport",
    "leibniz",
    "liskov",
    "lovelace",
    "mauchly",
    "mccarthy",
    "milner",
    "minsky",
    "naur",
    "newell",
    "noether",
    "pascal",
    "perlis",
    "perlman",
    "postel",
    "ritchie",
    "shannon",
    "sammet",
    "spence",
    "stroustrup",
    "tarjan",
    "thompson",
    "turing",
    "wilkes",
    "wirth",
];

/// A name at random. One that is tried again gets a number, so that there is always one more.
pub(crate) fn random(attempt: u32) -> Result<ContainerName> {
    let mut bytes = [0u8; 4];
    getrandom::fill(&mut bytes).map_err(|e| {
        Error::new(ErrorKind::Unavailable, "the kernel's random numbers").because(e.to_string())
    })?;
    let [a, b, c, d] = bytes;
    let (adjective, person) =
        (ADJECTIVES[usize::from(a) % ADJECTIVES.len()], PEOPLE[usize::from(b) % PEOPLE.len()]);
    match attempt {
        0 => format!("{adjective}_{person}"),
        _ => format!("{adjective}_{person}_{}", u16::from_ne_bytes([c, d])),
    }
    .parse()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_that_can_be_made_up_is_a_name() {
        for word in ADJECTIVES.iter().chain(&PEOPLE) {
            assert!(word.bytes().all(|b| b.is_ascii_lowercase()), "{word}");
        }
        assert!(random(0).expect("a name").as_str().contains('_'));
        assert_eq!(random(1).expect("a name").as_str().split('_').count(), 3);
    }
}
