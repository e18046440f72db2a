//! The keys that detach from a container: their notation, and finding them in what is typed.

/// A sequence of bytes that detaches; `ctrl-p,ctrl-q` unless the user says otherwise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct DetachKeys(Vec<u8>);

impl Default for DetachKeys {
    fn default() -> DetachKeys {
        DetachKeys(vec![0x10, 0x11])
    }
}

impl DetachKeys {
    /// Docker's notation: keys with commas between them, each a character or `ctrl-` and one of `a`–`z`, `@`, `[`,
    /// `\`, `]`, `^` and `_`. Nothing at all means the default.
    ///
    /// # Errors
    /// A key that is neither.
    pub(crate) fn parse(text: &str) -> Result<DetachKeys, String> {
        if text.is_empty() {
            return Ok(DetachKeys::default());
        }
        let key = |key: &str| match (key.as_bytes(), key.strip_prefix("ctrl-").map(str::as_bytes)) {
            ([byte], _) if byte.is_ascii_graphic() => Ok(*byte),
            (_, Some([byte @ (b'a'..=b'z' | b'@' | b'[' | b'\\' | b']' | b'^' | b'_')])) => Ok(byte & 0x1f),
            (b"DEL", _) => Ok(0x7f),
            _ => Err(format!(
                "invalid detach keys {text:?}: {key:?} is neither a character nor ctrl- and a letter"
            )),
        };
        text.split(',').map(key).collect::<Result<Vec<u8>, String>>().map(DetachKeys)
    }
}

/// Looks for the keys in a stream that arrives in pieces.
#[derive(Debug)]
pub(crate) struct Filter {
    keys: DetachKeys,
    /// How many bytes of the keys have been typed, and are held back.
    held: usize,
}

impl Filter {
    /// A filter that looks for these keys.
    pub(crate) fn new(keys: DetachKeys) -> Filter {
        Filter { keys, held: 0 }
    }

    /// What of the piece is for the container, and whether the keys were found. A beginning of the keys is held back
    /// until it is clear whether it goes on; if not, it is passed on after all.
    pub(crate) fn pass(&mut self, piece: &[u8]) -> (Vec<u8>, bool) {
        let keys = &self.keys.0;
        let mut through = Vec::with_capacity(piece.len() + self.held);
        for byte in piece {
            // What is held back and this byte: pass on from its front until the rest may again be a beginning.
            let mut pending: Vec<u8> = keys.iter().take(self.held).copied().collect();
            pending.push(*byte);
            let mut front = 0;
            while !pending.get(front..).is_some_and(|rest| keys.starts_with(rest)) {
                front += 1;
            }
            through.extend(pending.iter().take(front));
            self.held = pending.len() - front;
            if self.held == keys.len() {
                return (through, true);
            }
        }
        (through, false)
    }

    /// The beginning of the keys that is held back when nothing follows.
    pub(crate) fn rest(&self) -> Vec<u8> {
        self.keys.0.iter().take(self.held).copied().collect()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn filter(keys: &str) -> Filter {
        Filter::new(DetachKeys::parse(keys).expect("well formed"))
    }

    #[test]
    fn docker_s_notation_is_understood() {
        assert_eq!(DetachKeys::parse(""), Ok(DetachKeys(vec![16, 17])));
        assert_eq!(DetachKeys::parse("ctrl-p,ctrl-q"), Ok(DetachKeys::default()));
        assert_eq!(DetachKeys::parse("a,ctrl-@,ctrl-\\"), Ok(DetachKeys(vec![b'a', 0, 28])));
        for bad in [",", "ctrl-", "ctrl-1", "ab", "ctrl-A", "é", "a,,b"] {
            assert!(DetachKeys::parse(bad).is_err(), "{bad:?} was accepted");
        }
    }

    #[test]
    fn the_keys_detach_and_are_not_passed_on() {
        let mut filter = filter("ctrl-p,ctrl-q");
        assert_eq!(filter.pass(b"ls\n"), (b"ls\n".to_vec(), false));
        assert_eq!(filter.pass(b"x\x10"), (b"x".to_vec(), false));
        assert_eq!(filter.pass(b"\x11y"), (Vec::new(), true));
    }

    #[test]
    fn a_partial_sequence_is_passed_on() {
        let mut filter = filter("ctrl-p,ctrl-q");
        assert_eq!(filter.pass(b"\x10"), (Vec::new(), false));
        assert_eq!(filter.pass(b"x"), (b"\x10x".to_vec(), false));
        assert_eq!(filter.pass(b"\x10\x10\x11"), (b"\x10".to_vec(), true));
    }

    #[test]
    fn what_is_held_at_the_end_is_passed_on() {
        let mut filter = filter("a,a,b");
        assert_eq!(filter.pass(b"aaa"), (b"a".to_vec(), false));
        assert_eq!(filter.rest(), b"aa");
        assert_eq!(filter.pass(b"b"), (Vec::new(), true));
    }

    proptest! {
        #[test]
        fn parsing_never_panics(text in ".{0,20}") {
            let _ = DetachKeys::parse(&text);
        }

        #[test]
        fn nothing_is_lost_and_the_first_match_detaches(
            keys in "[ab](,[ab]){0,3}",
            pieces in proptest::collection::vec("[abc]{0,6}", 0..6),
        ) {
            let sequence = keys.replace(',', "");
            let typed: String = pieces.concat();
            let mut filter = filter(&keys);
            let mut passed = Vec::new();
            let mut found = false;
            for piece in &pieces {
                let (through, detached) = filter.pass(piece.as_bytes());
                passed.extend(through);
                if detached {
                    found = true;
                    break;
                }
            }
            match typed.find(&sequence) {
                Some(at) => prop_assert!(found && passed == typed.as_bytes()[..at]),
                None => {
                    passed.extend(filter.rest());
                    prop_assert!(!found && passed == typed.as_bytes());
                }
            }
        }
    }
}
