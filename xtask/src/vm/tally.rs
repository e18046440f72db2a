//! Counts tests by what libtest says about them.

use std::fmt;

/// How many tests went how.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Tally {
    /// Ended as libtest expects.
    ended_well: u32,
    /// Did not.
    pub(super) failed: u32,
    /// Were not run.
    ignored: u32,
    /// Found nothing to look at and said so; libtest takes them for passed.
    gave_up: u32,
}

impl Tally {
    /// Takes in a line of output.
    pub(super) fn note(&mut self, line: &str) {
        // "test result: ok. 3 passed; 0 failed; 0 ignored; 0 measured; 12 filtered out; finished in 0.05s"
        if let Some((_, counts)) = line.strip_prefix("test result: ").and_then(|rest| rest.split_once(". ")) {
            let count = |name: &str| {
                let part = counts.split(';').find_map(|part| part.trim().strip_suffix(name));
                part.and_then(|number| number.trim().parse::<u32>().ok()).unwrap_or(0)
            };
            self.ended_well += count("passed");
            self.failed += count("failed");
            self.ignored += count("ignored");
        } else if line.starts_with("skipped: ") {
            self.gave_up += 1;
        }
    }

    /// Those that ran and found what they expected.
    pub(super) fn passed(&self) -> u32 {
        self.ended_well.saturating_sub(self.gave_up)
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let skipped = self.gave_up + self.ignored;
        write!(f, "{} passed, {} failed, {skipped} skipped", self.passed(), self.failed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_add_up_and_those_that_gave_up_did_not_pass() {
        let mut tally = Tally::default();
        for line in [
            "test a ... ok",
            "test result: ok. 12 passed; 0 failed; 1 ignored; 0 measured; 400 filtered out; finished in 0.05s",
            "skipped: this host has version 1",
            "test result: FAILED. 3 passed; 2 failed; 0 ignored; 0 measured; 0 filtered out; finished in 1.50s",
            "test result: nonsense",
        ] {
            tally.note(line);
        }
        assert_eq!(tally.to_string(), "14 passed, 2 failed, 2 skipped");
    }
}
