//! The form of netlink messages: writes batches of them, reads answers.
//!
//! Two families speak through this file, rtnetlink in the host's byte order and nf_tables in network byte order, so
//! that a number's order is part of the name of what writes it. What is read came from the kernel, but is read as if
//! it had not: a length that does not fit ends the reading, and nothing panics.

/// The message asks for an answer.
const REQUEST: u16 = 0x01;
/// The message asks to be told that it was carried out. A failure is always told.
const ACK: u16 = 0x04;
/// Everything, not one thing.
pub(super) const DUMP: u16 = 0x300;
/// What exists is replaced.
pub(super) const REPLACE: u16 = 0x100;
/// What exists is a failure.
pub(super) const EXCL: u16 = 0x200;
/// What does not exist is made.
pub(super) const CREATE: u16 = 0x400;
/// Behind what is there.
pub(super) const APPEND: u16 = 0x800;

/// The attribute holds attributes.
const NESTED: u16 = 1 << 15;
const HEADER: usize = 16;

/// Messages to send in one go. They are carried out in order.
#[derive(Clone, Debug, Default)]
pub(super) struct Batch {
    bytes: Vec<u8>,
    messages: u32,
    /// Where the message written last begins.
    latest: usize,
    too_long: bool,
}

impl Batch {
    /// None so far.
    pub(super) fn new() -> Batch {
        Batch { bytes: Vec::with_capacity(512), messages: 0, latest: 0, too_long: false }
    }

    /// Adds a message: `header` is what its family puts before the attributes, which `body` writes.
    pub(super) fn message(&mut self, kind: u16, flags: u16, header: &[u8], body: impl FnOnce(&mut Batch)) {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(&[0; 4]);
        self.bytes.extend_from_slice(&kind.to_ne_bytes());
        self.bytes.extend_from_slice(&(flags | REQUEST).to_ne_bytes());
        self.bytes.extend_from_slice(&self.messages.to_ne_bytes());
        self.bytes.extend_from_slice(&[0; 4]);
        self.bytes.extend_from_slice(header);
        self.pad();
        body(self);
        self.messages += 1;
        self.latest = start;
        match u32::try_from(self.bytes.len() - start) {
            Ok(length) => self.bytes[start..start + 4].copy_from_slice(&length.to_ne_bytes()),
            Err(_) => self.too_long = true,
        }
    }

    /// Adds an attribute.
    pub(super) fn bytes(&mut self, kind: u16, value: &[u8]) {
        self.nest_as(kind, |batch| batch.bytes.extend_from_slice(value));
    }

    /// Adds text with the zero that ends it.
    pub(super) fn text(&mut self, kind: u16, value: &str) {
        self.nest_as(kind, |batch| {
            batch.bytes.extend_from_slice(value.as_bytes());
            batch.bytes.push(0);
        });
    }

    /// Adds a number in the host's byte order.
    pub(super) fn native(&mut self, kind: u16, value: u32) {
        self.bytes(kind, &value.to_ne_bytes());
    }

    /// Adds a number in network byte order.
    pub(super) fn network(&mut self, kind: u16, value: u32) {
        self.bytes(kind, &value.to_be_bytes());
    }

    /// Adds an attribute of attributes, which `body` writes.
    pub(super) fn nest(&mut self, kind: u16, body: impl FnOnce(&mut Batch)) {
        self.nest_as(kind | NESTED, body);
    }

    fn nest_as(&mut self, kind: u16, body: impl FnOnce(&mut Batch)) {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(&[0; 2]);
        self.bytes.extend_from_slice(&kind.to_ne_bytes());
        body(self);
        // An attribute's length has sixteen bits; one that does not fit must not be cut to another meaning.
        match u16::try_from(self.bytes.len() - start) {
            Ok(length) => self.bytes[start..start + 2].copy_from_slice(&length.to_ne_bytes()),
            Err(_) => self.too_long = true,
        }
        self.pad();
    }

    /// Adds bytes that are no attribute: the fixed header of a family within an attribute.
    pub(super) fn raw(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    fn pad(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }

    /// The kernel shall tell when the message written last was carried out.
    pub(super) fn acknowledge(&mut self) {
        if let Some(flags) = self.bytes.get_mut(self.latest + 6..self.latest + 8) {
            let asked = u16::from_ne_bytes([flags[0], flags[1]]) | ACK;
            flags.copy_from_slice(&asked.to_ne_bytes());
        }
    }

    /// How many messages there are.
    pub(super) fn len(&self) -> usize {
        self.messages as usize
    }

    /// The bytes to send; `None` if a length did not fit its field.
    pub(super) fn finish(self) -> Option<Vec<u8>> {
        (!self.too_long).then_some(self.bytes)
    }
}

/// A message that was received.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Message<'a> {
    /// What it is.
    pub(super) kind: u16,
    /// Its flags.
    pub(super) flags: u16,
    /// The number of the message it answers.
    pub(super) sequence: u32,
    /// What follows its header.
    pub(super) body: &'a [u8],
}

/// The messages of a datagram.
pub(super) fn messages(mut bytes: &[u8]) -> impl Iterator<Item = Message<'_>> {
    std::iter::from_fn(move || {
        let length = u32_at(bytes, 0)? as usize;
        let message = bytes.get(..length).filter(|message| message.len() >= HEADER)?;
        let next = length.next_multiple_of(4).min(bytes.len());
        bytes = &bytes[next..];
        Some(Message {
            kind: u16_at(message, 4)?,
            flags: u16_at(message, 6)?,
            sequence: u32_at(message, 8)?,
            body: &message[HEADER..],
        })
    })
}

/// The attributes in `bytes`, with their kinds.
pub(super) fn attributes(mut bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let length = usize::from(u16_at(bytes, 0)?);
        let kind = u16_at(bytes, 2)?;
        let value = bytes.get(4..length)?;
        bytes = &bytes[length.next_multiple_of(4).min(bytes.len())..];
        // The two upper bits say "nested" and "network byte order".
        Some((kind & 0x3fff, value))
    })
}

/// The first attribute of that kind.
pub(super) fn attribute(bytes: &[u8], kind: u16) -> Option<&[u8]> {
    attributes(bytes).find(|(found, _)| *found == kind).map(|(_, value)| value)
}

/// The attribute at the end of a path of attributes.
pub(super) fn descend<'a>(bytes: &'a [u8], path: &[u16]) -> Option<&'a [u8]> {
    path.iter().try_fold(bytes, |bytes, kind| attribute(bytes, *kind))
}

/// A number of sixteen bits in the host's byte order.
pub(super) fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_ne_bytes(bytes.get(at..)?.first_chunk().copied()?))
}

/// A number of thirty-two bits in the host's byte order.
pub(super) fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(bytes.get(at..)?.first_chunk().copied()?))
}

/// A number of thirty-two bits in network byte order.
pub(super) fn network_u32(bytes: &[u8]) -> Option<u32> {
    Some(u32::from_be_bytes(bytes.first_chunk().copied()?))
}

/// Text up to the zero that ends it.
pub(super) fn text(bytes: &[u8]) -> &[u8] {
    bytes.split(|byte| *byte == 0).next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_is_written_is_read_back() {
        let mut batch = Batch::new();
        batch.message(16, CREATE, &[7; 3], |m| {
            m.text(3, "eth0");
            m.nest(18, |m| m.network(1, 0x0102_0304));
        });
        batch.message(17, 0, &[], |m| m.native(4, 9));
        batch.acknowledge();
        assert_eq!(batch.len(), 2);
        let bytes = batch.finish().expect("it fits");
        let found: Vec<_> = messages(&bytes).collect();
        assert_eq!((found[0].kind, found[0].flags, found[0].sequence), (16, CREATE | REQUEST, 0));
        assert_eq!(attribute(&found[0].body[4..], 3), Some(&b"eth0\0"[..]));
        assert_eq!(descend(&found[0].body[4..], &[18, 1]).and_then(network_u32), Some(0x0102_0304));
        assert_eq!(found[1].flags, ACK | REQUEST);
        assert_eq!((found[1].sequence, u32_at(found[1].body, 4)), (1, Some(9)));
    }

    #[test]
    fn a_length_that_does_not_fit_is_refused_not_cut() {
        for (length, fits) in [(65_531, true), (65_532, false), (65_536, false), (70_000, false)] {
            let mut batch = Batch::new();
            batch.message(16, 0, &[], |m| m.bytes(1, &vec![0; length]));
            assert_eq!(batch.finish().is_some(), fits, "{length} bytes");
        }
    }

    proptest! {
        #[test]
        fn reading_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            for message in messages(&bytes) {
                for (_, value) in attributes(message.body) {
                    let _ = (attributes(value).count(), text(value), network_u32(value));
                }
            }
            let _ = attributes(&bytes).count();
        }

        #[test]
        fn every_attribute_survives(values in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..40), 0..8)) {
            let mut batch = Batch::new();
            batch.message(20, 0, &[1; 8], |m| {
                for (kind, value) in (1u16..).zip(&values) {
                    m.bytes(kind, value);
                }
            });
            let bytes = batch.finish().expect("it fits");
            let message = messages(&bytes).next().expect("one message");
            let found: Vec<_> = attributes(&message.body[8..]).collect();
            let wanted: Vec<_> = (1u16..).zip(values.iter().map(Vec::as_slice)).collect();
            prop_assert_eq!(found, wanted);
        }
    }
}
