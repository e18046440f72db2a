//! When a request is sent again: pauses that double, with some chance in them, or as long as the server asks for.

use std::time::Duration;

use reqwest::StatusCode;
use reqwest::header::{HeaderMap, RETRY_AFTER};

use super::config::RegistryConfig;
use crate::spec::Timestamp;

/// The attempts at one request.
pub(super) struct Attempts {
    left: u32,
    pause: Duration,
    longest: Duration,
}

impl Attempts {
    /// As many as the configuration allows.
    pub(super) fn new(config: &RegistryConfig) -> Attempts {
        Attempts {
            left: config.attempts.saturating_sub(1),
            pause: config.first_pause,
            longest: config.longest_pause,
        }
    }

    /// A single one: somebody else can be asked instead.
    pub(super) fn once() -> Attempts {
        Attempts { left: 0, pause: Duration::ZERO, longest: Duration::ZERO }
    }

    /// Waits until it is time for the next attempt; `false`, at once, if there is to be none. `wish` is how long the
    /// server asked to be left alone.
    pub(super) async fn again(&mut self, wish: Option<Duration>) -> bool {
        if self.left == 0 || wish.is_some_and(|wish| wish > self.longest) {
            return false;
        }
        self.left -= 1;
        // Half of the pause is left to chance: clients that were turned away together do not come back together.
        let pause = self.pause.min(self.longest);
        let pause = pause / 2 + (pause / 2).mul_f64(chance());
        self.pause = self.pause.saturating_mul(2);
        tokio::time::sleep(pause.max(wish.unwrap_or_default())).await;
        true
    }
}

/// A number from 0 to 1.
fn chance() -> f64 {
    let mut bytes = [0; 4];
    // Without randomness the pauses are the same for all, which is no reason to fail.
    let _ = getrandom::fill(&mut bytes);
    f64::from(u32::from_ne_bytes(bytes)) / f64::from(u32::MAX)
}

/// Whether the same request may be answered better later.
pub(super) fn is_passing(status: StatusCode) -> bool {
    matches!(
        status,
        StatusCode::REQUEST_TIMEOUT
            | StatusCode::TOO_MANY_REQUESTS
            | StatusCode::INTERNAL_SERVER_ERROR
            | StatusCode::BAD_GATEWAY
            | StatusCode::SERVICE_UNAVAILABLE
            | StatusCode::GATEWAY_TIMEOUT
    )
}

/// How long the server asks to be left alone (RFC 9110, section 10.2.3): seconds, or a date.
pub(super) fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let value = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    match value.parse::<u64>() {
        Ok(seconds) => Some(Duration::from_secs(seconds)),
        Err(_) => http_date(value).map(|at| at.since(Timestamp::now())),
    }
}

/// `Sun, 06 Nov 1994 08:49:37 GMT`.
fn http_date(text: &str) -> Option<Timestamp> {
    const MONTHS: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let mut words = text.split_once(", ")?.1.split(' ');
    let (day, month, year, time) = (words.next()?, words.next()?, words.next()?, words.next()?);
    let month = MONTHS.iter().position(|name| *name == month)? + 1;
    (words.next() == Some("GMT")).then(|| format!("{year}-{month:02}-{day}T{time}Z").parse().ok())?
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    fn headers(value: &str) -> HeaderMap {
        HeaderMap::from_iter([(RETRY_AFTER, value.parse().expect("a value"))])
    }

    #[test]
    fn a_server_asks_for_seconds_or_until_a_date() {
        assert_eq!(retry_after(&headers("120")), Some(Duration::from_secs(120)));
        assert_eq!(retry_after(&headers("Sun, 06 Nov 1994 08:49:37 GMT")), Some(Duration::ZERO));
        let far = retry_after(&headers("Fri, 31 Dec 2100 23:59:59 GMT")).expect("a date");
        assert!(far > Duration::from_secs(1 << 20));
        for bad in ["", "soon", "-1", "Sun, 06 Nov", "Sun, 99 Nov 1994 08:49:37 GMT", "1e9"] {
            assert_eq!(retry_after(&headers(bad)), None, "{bad:?}");
        }
        assert_eq!(http_date("Sun, 06 Nov 1994 08:49:37 GMT").map(Timestamp::seconds), Some(784_111_777));
    }

    #[tokio::test]
    async fn pauses_double_and_attempts_end() {
        let first_pause = Duration::from_millis(20);
        let mut attempts =
            Attempts::new(&RegistryConfig { attempts: 4, first_pause, ..RegistryConfig::new() });
        for factor in [1, 2, 4] {
            let before = Instant::now();
            assert!(attempts.again(None).await);
            assert!(before.elapsed() >= first_pause * factor / 2);
        }
        assert!(!attempts.again(None).await);
    }

    #[tokio::test]
    async fn a_wish_is_granted_up_to_the_longest_pause() {
        let config = RegistryConfig { first_pause: Duration::ZERO, ..RegistryConfig::new() };
        let mut attempts = Attempts::new(&config);
        let before = Instant::now();
        assert!(attempts.again(Some(Duration::from_millis(50))).await);
        assert!(before.elapsed() >= Duration::from_millis(50));
        assert!(!attempts.again(Some(Duration::from_secs(3600))).await);
        assert!(!Attempts::once().again(None).await);
    }
}
