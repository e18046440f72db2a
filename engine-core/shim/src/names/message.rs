//! Questions and answers of the domain name system (RFC 1035): bytes to values and back, without I/O. Whatever a
//! container sends is hostile; a question is parsed once, and what cannot be one is dropped or refused.

use alloc::string::String;
use alloc::vec::Vec;
use core::net::IpAddr;

/// Bytes of a header (RFC 1035, section 4.1.1).
const HEADER: usize = 12;
/// The longest answer over UDP (section 4.2.1): who wants more asks again over TCP.
pub(super) const DATAGRAM: usize = 512;

/// Types (section 3.2.2, RFC 3596).
const A: u16 = 1;
const PTR: u16 = 12;
const AAAA: u16 = 28;
const INTERNET: u16 = 1;

/// Answers last so long, as Docker's do, in seconds.
const LIFETIME: u32 = 600;

const RESPONSE: u8 = 0x80;
const OPCODE: u8 = 0x78;
const TRUNCATED: u8 = 0x02;
const RECURSION_DESIRED: u8 = 0x01;
const RECURSION_AVAILABLE: u8 = 0x80;

/// What became of a question (section 4.1.1, RCODE).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    Answered = 0,
    Malformed = 1,
    Failed = 2,
    Unsupported = 4,
}

/// One question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Question {
    id: [u8; 2],
    recursion: bool,
    /// The bytes of the question, to be said again.
    text: Vec<u8>,
    /// What is asked for, in lower case and without the last dot; `None` if it has bytes that no name of ours has.
    pub(super) name: Option<String>,
    kind: u16,
}

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wanted {
    /// The addresses that go with the name, of one family.
    Addresses { six: bool },
    /// The name that goes with an address, which is the question's name: `4.3.2.1.in-addr.arpa`.
    Name,
    /// Something else.
    Other,
}

/// The question in `message`. Otherwise what to answer, if anything.
pub(super) fn question(message: &[u8]) -> Result<Question, Option<Vec<u8>>> {
    let (Some(header), Some(rest)) = (message.first_chunk::<HEADER>(), message.get(HEADER..)) else {
        return Err(None);
    };
    let [a, b, flags, _, questions @ .., _, _, _, _, _, _] = *header;
    if flags & RESPONSE != 0 {
        return Err(None);
    }
    let mut asked = Question {
        id: [a, b],
        recursion: flags & RECURSION_DESIRED != 0,
        text: Vec::new(),
        name: None,
        kind: 0,
    };
    if flags & OPCODE != 0 {
        return Err(Some(asked.bare(Outcome::Unsupported)));
    }
    let Some((name, length)) = (questions == [0, 1]).then(|| labels(rest)).flatten() else {
        return Err(Some(asked.bare(Outcome::Malformed)));
    };
    let Some([k1, k2, c1, c2]) = rest.get(length..length + 4) else {
        return Err(Some(asked.bare(Outcome::Malformed)));
    };
    asked.text = rest.get(..length + 4).unwrap_or_default().to_vec();
    asked.kind = u16::from_be_bytes([*k1, *k2]);
    asked.name = name.filter(|_| u16::from_be_bytes([*c1, *c2]) == INTERNET);
    Ok(asked)
}

/// The name at the beginning of `bytes` and its length there; the name itself only if it is plain.
fn labels(bytes: &[u8]) -> Option<(Option<String>, usize)> {
    const LONGEST: usize = 255;
    let (mut name, mut plain, mut at) = (String::new(), true, 0);
    loop {
        let length = usize::from(*bytes.get(at)?);
        at += 1;
        if length == 0 {
            return Some((Some(name).filter(|_| plain), at));
        }
        // Longer ones are pointers, and there is nothing yet to point to.
        let label = bytes.get(at..at + length).filter(|_| length < 64)?;
        at += length;
        if at >= LONGEST {
            return None;
        }
        if !name.is_empty() {
            name.push('.');
        }
        plain &= label.iter().all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'.' | b'/'));
        name.extend(label.iter().map(|byte| char::from(byte.to_ascii_lowercase())));
    }
}

impl Question {
    pub(super) fn wanted(&self) -> Wanted {
        match self.kind {
            A => Wanted::Addresses { six: false },
            AAAA => Wanted::Addresses { six: true },
            PTR => Wanted::Name,
            _ => Wanted::Other,
        }
    }

    /// Whether `answer` is one to this question as it was asked with the number `id`.
    pub(super) fn is_answered_by(&self, answer: &[u8], id: [u8; 2]) -> bool {
        let text = answer.get(HEADER..).and_then(|rest| rest.get(..self.text.len()));
        answer.starts_with(&id)
            && answer.get(2).is_some_and(|flags| flags & RESPONSE != 0)
            && text.is_some_and(|text| text.eq_ignore_ascii_case(&self.text))
    }

    /// `message`, which has at least a number, with the number of this question.
    pub(super) fn renumber(&self, mut message: Vec<u8>) -> Vec<u8> {
        message.iter_mut().zip(self.id).for_each(|(byte, id)| *byte = id);
        message
    }

    /// The answer with these addresses, or with as many as fit in `limit` bytes.
    pub(super) fn addresses(&self, addresses: &[IpAddr], limit: usize) -> Vec<u8> {
        let records = addresses.iter().map(|address| match address {
            IpAddr::V4(address) => (A, address.octets().to_vec()),
            IpAddr::V6(address) => (AAAA, address.octets().to_vec()),
        });
        self.answer(records, limit)
    }

    /// The answer with this name.
    pub(super) fn pointer(&self, name: &str, limit: usize) -> Vec<u8> {
        let mut data = Vec::new();
        for label in name.split('.').filter(|label| !label.is_empty()) {
            let label = label.as_bytes().get(..label.len().min(63)).unwrap_or_default();
            data.push(label.len() as u8);
            data.extend_from_slice(label);
        }
        data.push(0);
        self.answer(core::iter::once((PTR, data)), limit)
    }

    fn answer(&self, records: impl Iterator<Item = (u16, Vec<u8>)>, limit: usize) -> Vec<u8> {
        let mut answer = self.bare(Outcome::Answered);
        let mut count: u16 = 0;
        for (kind, data) in records {
            const FIXED: usize = 12;
            if answer.len() + FIXED + data.len() > limit {
                // Who wants the rest asks again over TCP; not everybody does.
                answer.iter_mut().skip(2).take(1).for_each(|flags| *flags |= TRUNCATED);
                break;
            }
            count += 1;
            // The name is that of the question, which is behind the header.
            answer.extend_from_slice(&[0xc0, HEADER as u8]);
            answer.extend_from_slice(&kind.to_be_bytes());
            answer.extend_from_slice(&INTERNET.to_be_bytes());
            answer.extend_from_slice(&LIFETIME.to_be_bytes());
            answer.extend_from_slice(&(data.len() as u16).to_be_bytes());
            answer.extend_from_slice(&data);
        }
        answer.iter_mut().skip(6).zip(count.to_be_bytes()).for_each(|(byte, count)| *byte = count);
        answer
    }

    /// The answer that says nothing but this.
    pub(super) fn bare(&self, outcome: Outcome) -> Vec<u8> {
        let [a, b] = self.id;
        let questions = u8::from(!self.text.is_empty());
        let recursion = if self.recursion { RECURSION_DESIRED } else { 0 };
        let flags = [RESPONSE | recursion, RECURSION_AVAILABLE | outcome as u8];
        let mut head = [a, b, flags[0], flags[1], 0, questions, 0, 0, 0, 0, 0, 0].to_vec();
        head.extend_from_slice(&self.text);
        head
    }
}

/// Whether `answer`, to the question with the number `id`, says nothing but that the server does not understand it.
pub(super) fn is_misunderstanding(answer: &[u8], id: [u8; 2]) -> bool {
    let Some([a, b, flags, code, questions @ ..]) = answer.first_chunk::<6>() else { return false };
    [*a, *b] == id && flags & RESPONSE != 0 && code & 0x0f != 0 && *questions == [0, 0]
}

/// Whether the server that sent `answer` could not or would not answer: another one may.
pub(super) fn is_refusal(answer: &[u8]) -> bool {
    const FAILED: u8 = 2;
    const REFUSED: u8 = 5;
    answer.get(3).is_some_and(|flags| matches!(flags & 0x0f, FAILED | REFUSED))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asking(name: &str, kind: u16) -> Vec<u8> {
        let mut message = std::vec![0xab, 0xcd, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
        for label in name.split('.').filter(|label| !label.is_empty()) {
            message.push(label.len() as u8);
            message.extend_from_slice(label.as_bytes());
        }
        message.push(0);
        message.extend_from_slice(&[(kind >> 8) as u8, kind as u8, 0, 1]);
        message
    }

    #[test]
    fn a_question_is_read_in_whatever_case() {
        let asked = question(&asking("Web.Net", A)).expect("a question");
        assert_eq!(asked.name.as_deref(), Some("web.net"));
        assert_eq!(asked.wanted(), Wanted::Addresses { six: false });
        let six = question(&asking("web", AAAA)).expect("a question");
        assert_eq!(six.wanted(), Wanted::Addresses { six: true });
        assert_eq!(
            question(&asking("4.3.2.1.in-addr.arpa", PTR)).expect("a question").wanted(),
            Wanted::Name
        );
        assert_eq!(question(&asking("web", 15)).expect("a question").wanted(), Wanted::Other);
        assert_eq!(question(&asking("", A)).expect("that of the root").name.as_deref(), Some(""));
    }

    #[test]
    fn an_answer_says_the_question_again_and_gives_the_addresses() {
        let message = asking("web", A);
        let answer =
            question(&message).expect("a question").addresses(&[IpAddr::from([10, 0, 0, 2])], DATAGRAM);
        assert_eq!(answer.get(..12), Some(&[0xab, 0xcd, 0x81, 0x80, 0, 1, 0, 1, 0, 0, 0, 0][..]));
        assert_eq!(answer.get(12..message.len()), message.get(12..));
        let record = [0xc0, 12, 0, 1, 0, 1, 0, 0, 2, 88, 0, 4, 10, 0, 0, 2];
        assert_eq!(answer.get(message.len()..), Some(&record[..]));
    }

    #[test]
    fn what_fits_is_said_and_the_rest_is_to_be_asked_for_again_over_tcp() {
        let asked = question(&asking("web", A)).expect("a question");
        let many: Vec<IpAddr> = (0..64).map(|last| IpAddr::from([10, 0, 0, last])).collect();
        let short = asked.addresses(&many, DATAGRAM);
        assert_eq!((short.get(2), short.get(7), short.len()), (Some(&0x83), Some(&30), 21 + 30 * 16));
        assert_eq!(asked.addresses(&many, 65_535).get(7), Some(&64));
    }

    #[test]
    fn what_is_no_question_is_refused_or_ignored() {
        let mut answer = asking("web", A);
        answer[2] |= RESPONSE;
        assert_eq!(question(&answer), Err(None), "an answer to an answer would go on for ever");
        assert_eq!(question(&[0; 11]), Err(None));
        let code = |message: &[u8]| match question(message) {
            Err(Some(answer)) => answer[3] & 15,
            other => panic!("{other:?}"),
        };
        let mut update = asking("web", A);
        update[2] = 5 << 3;
        assert_eq!(code(&update), Outcome::Unsupported as u8);
        let mut none = asking("web", A);
        none[5] = 0;
        assert_eq!(code(&none), Outcome::Malformed as u8);
        let whole = asking("web", A);
        assert_eq!(code(&whole[..whole.len() - 1]), Outcome::Malformed as u8);
        let mut pointer = asking("web", A);
        pointer[12] = 0xc0;
        assert_eq!(code(&pointer), Outcome::Malformed as u8);
        let long = ["a"; 130].join(".");
        assert_eq!(code(&asking(&long, A)), Outcome::Malformed as u8);
    }

    #[test]
    fn only_the_answer_to_the_question_is_one() {
        let asked = question(&asking("example.org", A)).expect("a question");
        let mut answer = asking("EXAMPLE.org", A);
        answer[2] |= RESPONSE;
        assert!(asked.is_answered_by(&answer, [0xab, 0xcd]));
        assert!(!asked.is_answered_by(&answer, [0xab, 0xce]), "another number");
        assert!(!asked.is_answered_by(&asking("example.org", A), [0xab, 0xcd]), "a question");
        let mut other = asking("example.net", A);
        other[2] |= RESPONSE;
        assert!(!asked.is_answered_by(&other, [0xab, 0xcd]));
        assert_eq!(asked.renumber(std::vec![0, 0, 7]), [0xab, 0xcd, 7]);
        answer[3] = 5;
        assert!(is_refusal(&answer) && !is_refusal(&answer[..3]));
        assert!(!is_misunderstanding(&answer, [0xab, 0xcd]), "it has the question");
        let bare = [0xab, 0xcd, RESPONSE, 1, 0, 0, 0, 0, 0, 0, 0, 0];
        assert!(is_misunderstanding(&bare, [0xab, 0xcd]) && !is_misunderstanding(&bare, [0, 0]));
    }

    #[test]
    fn no_bytes_make_it_panic() {
        // Every length of a good question, with every byte of it changed.
        let good = asking("a.bc.def.in-addr.arpa", PTR);
        for length in 0..=good.len() {
            for at in 0..length {
                for byte in [0, 1, 63, 64, 192, 255] {
                    let mut message = good.get(..length).unwrap_or_default().to_vec();
                    message[at] = byte;
                    if let Ok(asked) = question(&message) {
                        let _ = (
                            asked.wanted(),
                            asked.pointer("a..b", DATAGRAM),
                            asked.is_answered_by(&message, [0; 2]),
                        );
                    }
                }
            }
        }
    }
}
