//! Lines of a file that others write, read piece by piece: one that is not whole yet waits for its end, and one that is
//! too long is read over without being kept.

/// The part of a line that was read so far.
pub(crate) struct Lines {
    part: Vec<u8>,
    /// The line is too long, and read only to find its end.
    skipping: bool,
    longest: usize,
}

impl Lines {
    /// At the beginning of a line. What is longer than `longest` bytes is no line.
    pub(crate) fn new(longest: usize) -> Lines {
        Lines { part: Vec::new(), skipping: false, longest }
    }

    /// Where the next piece is read to, and how many bytes of it at most.
    pub(crate) fn piece(&mut self) -> (&mut Vec<u8>, u64) {
        let room = self.longest.saturating_sub(self.part.len());
        (&mut self.part, room as u64)
    }

    /// Hands a line that has become whole to `take`. Whether the last piece made room for another one is the answer:
    /// `false` means that the line still waits for its end.
    pub(crate) fn settle(&mut self, take: impl FnOnce(&[u8])) -> bool {
        if self.part.ends_with(b"\n") {
            if !std::mem::take(&mut self.skipping) {
                take(&self.part);
            }
        } else if self.part.len() >= self.longest {
            self.skipping = true;
        } else {
            return false;
        }
        self.part.clear();
        true
    }

    /// The part of the line is read again, from its beginning.
    pub(crate) fn again(&mut self) {
        self.part.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_waits_for_its_end_and_one_that_is_too_long_is_read_over() {
        let mut lines = Lines::new(4);
        let mut found = Vec::new();
        for (piece, more) in
            [("ab", false), ("\n", true), ("long", true), ("er", false), ("\n", true), ("c\n", true)]
        {
            let (part, room) = lines.piece();
            assert!(piece.len() as u64 <= room, "{piece:?}");
            part.extend_from_slice(piece.as_bytes());
            assert_eq!(lines.settle(|line| found.push(line.to_vec())), more, "{piece:?}");
        }
        assert_eq!(found, [b"ab\n".as_slice(), b"c\n"]);
        lines.piece().0.extend_from_slice(b"x");
        lines.again();
        assert_eq!(lines.piece(), (&mut Vec::new(), 4));
    }
}
