//! How well a container is: when to check, and what the checks mean, by docker's rules.

use alloc::vec::Vec;

use rustix::fd::BorrowedFd;

use crate::clock::{MAX_TEXT, rfc3339};
use crate::hub::monotonic;
use crate::life::Life;
use crate::log::entry::escape;
use crate::plan::{Cgroup, ContainerPlan, HealthPlan};
use crate::probe::{Outcome, Probe};
use crate::status;
use crate::text::Text;
use crate::{rundir, teardown};

/// So many results are kept.
const KEPT: usize = 5;
/// How long a container may take to end after a check of it was killed.
const DOUBT: i64 = 1_000_000_000;

/// The checks of a container.
pub(crate) struct Health {
    verdict: Verdict,
    results: Vec<Outcome>,
    /// When the next check is due.
    next: i64,
    probe: Option<Probe>,
    /// The check that runs may say more.
    listening: bool,
    /// A check that somebody killed: the end of the container, if that comes now, and no sign of illness.
    doubtful: Option<Outcome>,
}

/// What the checks of one life have come to.
struct Verdict {
    status: status::Health,
    /// Failures in a row.
    streak: u32,
    /// When the life began, by the clock that nobody sets.
    since: i64,
}

impl Health {
    /// Of a container that begins to live.
    pub(crate) fn begin(plan: &HealthPlan) -> Health {
        let verdict = Verdict { status: status::Health::Starting, streak: 0, since: monotonic() };
        let next = verdict.since.saturating_add(verdict.pause(plan, verdict.since));
        Health { verdict, results: Vec::new(), next, probe: None, listening: false, doubtful: None }
    }

    /// It lives again. Earlier results are kept, as docker does.
    pub(crate) fn begin_again(&mut self, plan: &HealthPlan) {
        let results = core::mem::take(&mut self.results);
        *self = Health { results, ..Health::begin(plan) };
    }

    /// Its life is over.
    pub(crate) fn stop(&mut self) {
        if let Some(probe) = self.probe.take() {
            probe.abandon();
        }
        self.doubtful = None;
        self.verdict.status = status::Health::Unhealthy;
    }

    pub(crate) fn status(&self) -> status::Health {
        self.verdict.status
    }

    /// When something is to be done if nothing happens.
    pub(crate) fn deadline(&self) -> i64 {
        self.probe.as_ref().map_or(self.next, |probe| probe.deadline)
    }

    /// What to watch: the end of the check that runs, and what it says.
    pub(crate) fn watched(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        let count = if self.listening { 2 } else { 1 };
        self.probe.iter().flat_map(Probe::watched).take(count)
    }

    /// Something was said.
    pub(crate) fn hear(&mut self) {
        if let Some(probe) = &mut self.probe {
            self.listening = probe.read();
        }
    }

    /// Starts a check that is due, and ends one that takes too long. Whether the verdict has changed is the answer.
    pub(crate) fn turn(&mut self, plan: &ContainerPlan, check: &HealthPlan, life: &Life) -> bool {
        let now = monotonic();
        if now < self.deadline() {
            return false;
        }
        if let Some(probe) = &mut self.probe {
            match is_frozen(&plan.cgroup) {
                // It has not had its time.
                true => probe.deadline = now.saturating_add(check.timeout),
                false => probe.time_out(),
            }
            return false;
        }
        if let Some(outcome) = self.doubtful.take() {
            return self.conclude(check, outcome);
        }
        if is_frozen(&plan.cgroup) {
            self.next = now.saturating_add(self.verdict.pause(check, now));
            return false;
        }
        match Probe::start(plan, check, life.init(), life.pid) {
            Ok(probe) => {
                (self.probe, self.listening) = (Some(probe), true);
                false
            }
            Err(failure) => self.conclude(check, Outcome::failed(&failure)),
        }
    }

    /// The check has ended. Whether the verdict has changed is the answer.
    pub(crate) fn end(&mut self, check: &HealthPlan) -> bool {
        let Some(probe) = self.probe.take() else { return false };
        let (outcome, killed) = probe.end(check);
        if killed {
            self.doubtful = Some(outcome);
            self.next = monotonic().saturating_add(DOUBT);
            return false;
        }
        self.conclude(check, outcome)
    }

    fn conclude(&mut self, check: &HealthPlan, outcome: Outcome) -> bool {
        let before = self.verdict.status;
        let now = monotonic();
        let began = now.saturating_sub(outcome.ended.saturating_sub(outcome.started));
        self.verdict.judge(check, outcome.code == 0, began);
        if self.results.len() >= KEPT {
            self.results.remove(0);
        }
        self.results.push(outcome);
        self.next = now.saturating_add(self.verdict.pause(check, now));
        // Where it cannot be written, the verdict is told all the same.
        let _ = rundir::replace(&check.file, &self.document(), false);
        self.verdict.status != before
    }

    /// The results as docker tells them.
    fn document(&self) -> Vec<u8> {
        let mut text = Text::default();
        text.push("{\"Status\":\"").push(self.verdict.status.as_str());
        text.push("\",\"FailingStreak\":").number(self.verdict.streak.into()).push(",\"Log\":[");
        let mut document = Vec::from(text.as_str());
        for (i, result) in self.results.iter().enumerate() {
            document.extend_from_slice(if i == 0 { b"{\"Start\":\"" } else { b",{\"Start\":\"" });
            push_time(&mut document, result.started);
            document.extend_from_slice(b"\",\"End\":\"");
            push_time(&mut document, result.ended);
            let mut code = Text::default();
            code.push("\",\"ExitCode\":").number(result.code.into()).push(",\"Output\":\"");
            document.extend_from_slice(code.as_str().as_bytes());
            escape(&mut document, &result.output);
            document.extend_from_slice(b"\"}");
        }
        document.extend_from_slice(b"]}\n");
        document
    }
}

impl Verdict {
    /// A check that began at `began` has said that all is well, or not.
    fn judge(&mut self, check: &HealthPlan, well: bool, began: i64) {
        if well {
            (self.status, self.streak) = (status::Health::Healthy, 0);
            return;
        }
        let may_fail = self.status == status::Health::Starting && self.is_early(check, began);
        if !may_fail {
            self.streak = self.streak.saturating_add(1);
            if self.streak >= check.retries {
                self.status = status::Health::Unhealthy;
            }
        }
    }

    fn is_early(&self, check: &HealthPlan, now: i64) -> bool {
        now.saturating_sub(self.since) < check.start_period
    }

    /// How long to wait before the next check.
    fn pause(&self, check: &HealthPlan, now: i64) -> i64 {
        match self.status == status::Health::Starting && self.is_early(check, now) {
            true => check.start_interval,
            false => check.interval,
        }
    }
}

fn push_time(document: &mut Vec<u8>, nanos: i64) {
    let mut time = [0; MAX_TEXT];
    let length = rfc3339(nanos, &mut time);
    document.extend_from_slice(time.get(..length).unwrap_or_default());
}

/// Whether the container is paused: a check would be too, and count as failed.
fn is_frozen(cgroup: &Cgroup) -> bool {
    let says = |directory: &str, file: &str| teardown::read(&[directory, "/", file].concat());
    cgroup.dirs.iter().any(|directory| {
        says(directory, "freezer.state").is_some_and(|state| !state.starts_with(b"THAWED"))
            || says(directory, "cgroup.freeze").is_some_and(|state| state.starts_with(b"1"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: i64 = 1_000_000_000;

    fn check() -> HealthPlan {
        HealthPlan {
            args: Vec::new(),
            namespaces: 0,
            interval: 30 * SECOND,
            timeout: SECOND,
            start_period: 10 * SECOND,
            start_interval: 2 * SECOND,
            retries: 2,
            timed_out: std::string::String::new(),
            // Nowhere: these tests look at what would be written.
            file: "/dev/null/results".into(),
        }
    }

    fn verdict() -> Verdict {
        Verdict { status: status::Health::Starting, streak: 0, since: 0 }
    }

    #[test]
    fn failures_in_a_row_make_it_unhealthy_and_one_success_healthy() {
        let (check, mut verdict) = (check(), verdict());
        let mut after = |well| {
            verdict.judge(&check, well, 20 * SECOND);
            (verdict.status.as_str(), verdict.streak)
        };
        assert_eq!(after(false), ("starting", 1));
        assert_eq!(after(false), ("unhealthy", 2));
        assert_eq!(after(false), ("unhealthy", 3));
        assert_eq!(after(true), ("healthy", 0));
        assert_eq!(after(false), ("healthy", 1));
        assert_eq!(after(true), ("healthy", 0));
    }

    #[test]
    fn while_it_starts_failures_do_not_count_and_checks_are_closer() {
        let (check, mut verdict) = (check(), verdict());
        verdict.judge(&check, false, 9 * SECOND);
        assert_eq!((verdict.status.as_str(), verdict.streak), ("starting", 0));
        assert_eq!(verdict.pause(&check, 9 * SECOND), 2 * SECOND);
        assert_eq!(verdict.pause(&check, 10 * SECOND), 30 * SECOND);
        verdict.judge(&check, true, 5 * SECOND);
        assert_eq!(verdict.pause(&check, 6 * SECOND), 30 * SECOND, "it has started");
        verdict.judge(&check, false, 7 * SECOND);
        assert_eq!(verdict.streak, 1, "one that was well has no excuse");
    }

    #[test]
    fn results_are_told_as_docker_tells_them() {
        let mut health = Health::begin(&check());
        for code in 0..7 {
            let output = Vec::from("a \"b\"\n");
            health.conclude(&check(), Outcome { started: 0, ended: SECOND, code, output });
        }
        let text = std::string::String::from_utf8(health.document()).expect("is text");
        assert!(
            text.starts_with("{\"Status\":\"unhealthy\",\"FailingStreak\":6,\"Log\":[{\"Start\":"),
            "{text}"
        );
        let last = "{\"Start\":\"1970-01-01T00:00:00Z\",\"End\":\"1970-01-01T00:00:01Z\",\"ExitCode\":6,\
                    \"Output\":\"a \\\"b\\\"\\n\"}]}\n";
        assert!(text.ends_with(last), "{text}");
        assert_eq!(text.matches("ExitCode").count(), KEPT);
    }
}
