//! What a monitor tells of its container while it lives: a file in the run directory, replaced as a whole whenever
//! something changes. Together with the monitor's lock it is the container's state; without the lock it says nothing.

use alloc::string::String;

use crate::text::Text;
use crate::wire::{Exit, Failure};

/// The file's name.
pub const FILE: &str = "status";

/// What the container is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Its program runs, or is about to.
    Running,
    /// Its program has ended and is started again in a moment.
    Restarting,
}

/// Whether the container is well.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Health {
    /// Nobody checks.
    None,
    /// No check has said so yet.
    Starting,
    /// The last check said so.
    Healthy,
    /// Too many checks in a row failed.
    Unhealthy,
}

impl Health {
    const ALL: [Health; 4] = [Health::None, Health::Starting, Health::Healthy, Health::Unhealthy];

    /// In docker's word.
    pub fn as_str(self) -> &'static str {
        match self {
            Health::None => "none",
            Health::Starting => "starting",
            Health::Healthy => "healthy",
            Health::Unhealthy => "unhealthy",
        }
    }
}

/// What a monitor tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// Which run of the container it is. A monitor's whole life is one run.
    pub run: u64,
    /// What the container is doing.
    pub phase: Phase,
    /// The first process; 0 if there is none.
    pub pid: u32,
    /// When the program was started last, in nanoseconds since the epoch.
    pub started: i64,
    /// How often it was started again.
    pub restarts: u32,
    /// Whether it is well.
    pub health: Health,
    /// How the program ended last, if it has.
    pub last: Option<Exit>,
    /// Why it could not be started again the last time.
    pub failure: Option<Failure>,
}

impl Status {
    /// The content of the file: one line. Later versions may add words at its end.
    pub fn to_text(&self) -> String {
        let mut text = Text::default();
        text.number(self.run as i64).push(" ");
        text.push(match self.phase {
            Phase::Running => "running ",
            Phase::Restarting => "restarting ",
        });
        text.number(self.pid.into()).push(" ").number(self.started).push(" ").number(self.restarts.into());
        text.push(" ").push(self.health.as_str());
        match &self.last {
            Some(exit) => {
                text.push(" ").number(exit.code.into()).push(" ").number(exit.oom_killed.into());
                text.push(" ").number(exit.finished);
            }
            None => {
                text.push(" - 0 0");
            }
        }
        push_failure(&mut text, self.failure.as_ref());
        text.push("\n");
        text.into()
    }

    /// From the content of the file.
    pub fn from_text(text: &str) -> Option<Status> {
        let mut words = text.strip_suffix('\n')?.splitn(10, ' ');
        let run = words.next()?.parse().ok()?;
        let phase = match words.next()? {
            "running" => Phase::Running,
            "restarting" => Phase::Restarting,
            _ => return None,
        };
        let (pid, started) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
        let restarts = words.next()?.parse().ok()?;
        let health = words.next()?;
        let health = Health::ALL.into_iter().find(|known| known.as_str() == health)?;
        let (code, oom_killed, finished) = (words.next()?, words.next()? == "1", words.next()?);
        let finished = finished.parse().ok()?;
        let last = match code {
            "-" => None,
            code => Some(Exit { code: code.parse().ok()?, oom_killed, finished, run }),
        };
        let failure = words.next().and_then(failure);
        Some(Status { run, phase, pid, started, restarts, health, last, failure })
    }
}

/// Appends a failure to a line: kind, errno, and the step to the end of the line.
pub(crate) fn push_failure(text: &mut Text, failure: Option<&Failure>) {
    let Some(failure) = failure else { return };
    text.push(" ").number(failure.cause as i64).push(" ").number(failure.errno.into()).push(" ");
    for chunk in failure.step.utf8_chunks() {
        for line in chunk.valid().split(|c: char| c.is_control()) {
            text.push(line).push(" ");
        }
    }
}

/// The failure that [`push_failure`] wrote.
pub(crate) fn failure(text: &str) -> Option<Failure> {
    let mut words = text.splitn(3, ' ');
    let cause = words.next()?.parse().ok()?;
    let errno = words.next()?.parse().ok()?;
    Some(Failure {
        cause: crate::wire::Cause::from_byte(cause),
        errno,
        step: words.next()?.trim_end().into(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::Cause;

    fn status() -> Status {
        Status {
            run: 3,
            phase: Phase::Running,
            pid: 4711,
            started: 1_700_000_000_000_000_000,
            restarts: 0,
            health: Health::None,
            last: None,
            failure: None,
        }
    }

    #[test]
    fn what_a_monitor_tells_is_read_as_it_was_written() {
        let fresh = status();
        assert_eq!(fresh.to_text(), "3 running 4711 1700000000000000000 0 none - 0 0\n");
        let exit = Exit { code: 137, oom_killed: true, finished: 5, run: 3 };
        let failure = Failure { cause: Cause::Step, errno: 2, step: b"open bind source /a b".to_vec() };
        for status in [
            fresh.clone(),
            Status { health: Health::Unhealthy, last: Some(exit), ..fresh.clone() },
            Status {
                phase: Phase::Restarting,
                pid: 0,
                restarts: 9,
                last: Some(exit),
                failure: Some(failure),
                ..fresh
            },
        ] {
            assert_eq!(Status::from_text(&status.to_text()), Some(status));
        }
    }

    #[test]
    fn a_failure_is_one_line_whatever_the_container_is_called() {
        let failure =
            Failure { cause: Cause::NoSuchUser, errno: 2, step: b"user x\ny\xff not known".to_vec() };
        let text = Status { failure: Some(failure), ..status() }.to_text();
        assert_eq!(text.matches('\n').count(), 1);
        let read = Status::from_text(&text).and_then(|status| status.failure).expect("a failure");
        assert_eq!(
            (read.cause, read.step.as_slice()),
            (Cause::NoSuchUser, b"user x y  not known".as_slice())
        );
    }

    #[test]
    fn what_is_cut_short_or_made_up_is_nothing() {
        let text = status().to_text();
        for end in 0..text.len() {
            assert_eq!(Status::from_text(&text[..end]), None, "{end}");
        }
        for text in ["\n", "x\n", "1 dancing 1 1 0 none - 0 0\n", "1 running -1 1 0 none - 0 0\n"] {
            assert_eq!(Status::from_text(text), None, "{text}");
        }
    }
}
