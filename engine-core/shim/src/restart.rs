//! Whether and when a container is started again by itself: docker's policies, and its pauses between attempts.

use serde::{Deserialize, Serialize};

const SECOND: i64 = 1_000_000_000;
/// The first pause; each is twice as long as the one before it.
const FIRST: i64 = SECOND / 10;
/// No pause is longer.
const LONGEST: i64 = 60 * SECOND;
/// A run that lasted so long was a good one: the next pause is the first again.
const GOOD: i64 = 10 * SECOND;

/// When a container is started again. What docker calls `unless-stopped` is [`Policy::Always`] to a monitor: it differs
/// only where no monitor lives, when the host has started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Policy {
    /// Never.
    #[default]
    No,
    /// When its program ends with another code than 0, at most so often; 0 is any number of times.
    OnFailure(u32),
    /// Whenever its program ends.
    Always,
}

impl Policy {
    /// Bytes of the encoding.
    pub const SIZE: usize = 5;

    /// The payload of [`Kind::Policy`](crate::wire::Kind::Policy).
    pub fn encode(self) -> [u8; Policy::SIZE] {
        let (kind, retries) = match self {
            Policy::No => (0, 0),
            Policy::OnFailure(retries) => (1, retries),
            Policy::Always => (2, 0u32),
        };
        let [a, b, c, d] = retries.to_be_bytes();
        [kind, a, b, c, d]
    }

    /// From the payload.
    pub fn decode(bytes: &[u8]) -> Option<Policy> {
        let (kind, rest) = bytes.split_first()?;
        let retries = u32::from_be_bytes(*rest.first_chunk()?);
        match kind {
            0 => Some(Policy::No),
            1 => Some(Policy::OnFailure(retries)),
            2 => Some(Policy::Always),
            _ => None,
        }
    }
}

/// The policy of one container, and what has come of it so far.
#[derive(Debug)]
pub struct Restart {
    /// The policy, which may be changed while the container lives.
    pub policy: Policy,
    /// How often it was started again.
    pub count: u32,
    /// The last pause; 0 before the first.
    pause: i64,
}

impl Restart {
    /// Nothing has come of it yet.
    pub fn new(policy: Policy) -> Restart {
        Restart { policy, count: 0, pause: 0 }
    }

    /// The program has ended with `code` after `lasted` nanoseconds: how many nanoseconds to wait before it is started
    /// again, or `None` if it is not. Counts the attempt.
    pub fn next(&mut self, code: i32, lasted: i64) -> Option<i64> {
        let again = match self.policy {
            Policy::No => false,
            Policy::OnFailure(most) => code != 0 && (most == 0 || self.count < most),
            Policy::Always => true,
        };
        if !again {
            return None;
        }
        if lasted >= GOOD {
            self.pause = 0;
        }
        self.pause = if self.pause == 0 { FIRST } else { (self.pause * 2).min(LONGEST) };
        self.count = self.count.saturating_add(1);
        Some(self.pause)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_a_minute_and_begin_anew_after_a_good_run() {
        let mut restart = Restart::new(Policy::Always);
        let pauses: std::vec::Vec<_> =
            (0..12).filter_map(|_| restart.next(0, 0)).map(|p| p / 1_000_000).collect();
        assert_eq!(pauses, [100, 200, 400, 800, 1600, 3200, 6400, 12800, 25600, 51200, 60000, 60000]);
        assert_eq!(restart.next(0, GOOD - 1), Some(LONGEST));
        assert_eq!(restart.next(0, GOOD), Some(FIRST));
        assert_eq!(restart.next(0, 0), Some(2 * FIRST));
        assert_eq!(restart.count, 15);
    }

    #[test]
    fn policies_decide_by_the_code_and_the_number_of_attempts() {
        assert_eq!(Restart::new(Policy::No).next(1, 0), None);
        let mut twice = Restart::new(Policy::OnFailure(2));
        assert_eq!(twice.next(0, 0), None);
        assert!(twice.next(1, 0).is_some() && twice.next(1, 20 * SECOND).is_some());
        assert_eq!((twice.next(1, 0), twice.count), (None, 2));
        twice.policy = Policy::Always;
        assert!(twice.next(0, 0).is_some(), "a policy may be changed");
        let mut ever = Restart::new(Policy::OnFailure(0));
        assert!((0..100).all(|_| ever.next(255, 0).is_some()));
    }

    #[test]
    fn a_policy_survives_its_encoding() {
        for policy in [Policy::No, Policy::OnFailure(0), Policy::OnFailure(7), Policy::Always] {
            assert_eq!(Policy::decode(&policy.encode()), Some(policy));
        }
        assert_eq!(Policy::decode(&[]), None);
        assert_eq!(Policy::decode(&[1, 0, 0]), None);
        assert_eq!(Policy::decode(&[9, 0, 0, 0, 0]), None);
    }
}
