//! How a container is checked: what was asked for, on top of what its image says, on top of docker's defaults; and what
//! came of it.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::info::HealthState;
use crate::error::{Error, Result, Subject};
use crate::id::ContainerId;
use crate::image::config::{Healthcheck, RunConfig};
use crate::parts::Parts;
use crate::runtime::driver::HealthCheck;
use crate::spec::{HealthSpec, HealthStatus, HealthTest};

/// Docker's, where neither the wish nor the image says more.
const INTERVAL: Duration = Duration::from_secs(30);
const TIMEOUT: Duration = Duration::from_secs(30);
const START_INTERVAL: Duration = Duration::from_secs(5);
const RETRIES: u32 = 3;
/// No time is shorter.
const SHORTEST: Duration = Duration::from_millis(1);
const SHELL: [&str; 2] = ["/bin/sh", "-c"];
/// No results are longer: five times four kilobytes, escaped.
const MAX_RESULTS: u64 = 256 << 10;

/// The check of a container in docker's form: that of the wish, completed by the image's. `None` if nobody has one.
pub(super) fn merged(wish: &HealthSpec, image: Option<&RunConfig>) -> Option<Healthcheck> {
    let image = image.and_then(|image| image.healthcheck.as_ref());
    if *wish == HealthSpec::default() {
        return image.cloned();
    }
    let time = |own: Option<Duration>, of_image: fn(&Healthcheck) -> i64| match own.map(nanos) {
        None | Some(0) => image.map_or(0, of_image),
        Some(own) => own,
    };
    let words = |kind: &str, words: &[String]| [&[kind.to_owned()], words].concat();
    Some(Healthcheck {
        test: match &wish.test {
            Some(HealthTest::None) => words("NONE", &[]),
            Some(HealthTest::Command(command)) => words("CMD", command),
            Some(HealthTest::Shell(line)) => words("CMD-SHELL", std::slice::from_ref(line)),
            None => image.map(|image| image.test.clone()).unwrap_or_default(),
        },
        interval: time(wish.interval, |image| image.interval),
        timeout: time(wish.timeout, |image| image.timeout),
        start_period: time(wish.start_period, |image| image.start_period),
        start_interval: time(wish.start_interval, |image| image.start_interval),
        retries: match wish.retries {
            None | Some(0) => image.map_or(0, |image| image.retries),
            Some(own) => own.into(),
        },
    })
}

fn nanos(time: Duration) -> i64 {
    i64::try_from(time.as_nanos()).unwrap_or(i64::MAX)
}

/// Refuses a wish that cannot be.
///
/// # Errors
/// [`ErrorKind::InvalidInput`](crate::ErrorKind::InvalidInput), in docker's words.
pub(super) fn check(wish: &HealthSpec) -> Result<()> {
    for (name, time) in [
        ("Interval", wish.interval),
        ("Timeout", wish.timeout),
        ("StartPeriod", wish.start_period),
        ("StartInterval", wish.start_interval),
    ] {
        if time.is_some_and(|time| !time.is_zero() && time < SHORTEST) {
            let reason = format!("{name} in Healthcheck cannot be less than 1ms");
            return Err(Error::invalid("the health check", reason));
        }
    }
    Ok(())
}

/// What is run to check the container, and when. `None` if nothing is. An image's nonsense is nothing, as in docker.
pub(super) fn plan(
    wish: &HealthSpec,
    image: Option<&RunConfig>,
    results: impl FnOnce() -> PathBuf,
) -> Option<HealthCheck> {
    let check = merged(wish, image)?;
    let (kind, words) = check.test.split_first()?;
    let args: Vec<String> = match (kind.as_str(), words) {
        (_, []) => return None,
        ("CMD", words) => words.to_vec(),
        ("CMD-SHELL", words) => {
            let shell = image.map(|image| image.shell.clone()).filter(|shell| !shell.is_empty());
            let shell = shell.unwrap_or_else(|| SHELL.map(str::to_owned).to_vec());
            shell.into_iter().chain(words.iter().cloned()).collect()
        }
        _ => return None,
    };
    let time = |nanos: i64, otherwise: Duration| match u64::try_from(nanos) {
        Ok(0) | Err(_) => otherwise,
        Ok(nanos) => Duration::from_nanos(nanos).max(SHORTEST),
    };
    Some(HealthCheck {
        args,
        interval: time(check.interval, INTERVAL),
        timeout: time(check.timeout, TIMEOUT),
        start_period: time(check.start_period, Duration::ZERO),
        start_interval: time(check.start_interval, START_INTERVAL),
        retries: u32::try_from(check.retries).ok().filter(|retries| *retries > 0).unwrap_or(RETRIES),
        results: results(),
    })
}

/// Whether anything is run to check the container.
pub(super) fn is_checked(wish: &HealthSpec, image: Option<&RunConfig>) -> bool {
    plan(wish, image, PathBuf::new).is_some()
}

/// Of a container that is checked and does not run: unhealthy, as docker has it.
pub(super) fn ended() -> HealthState {
    HealthState { status: HealthStatus::Unhealthy, failing_streak: 0, log: Vec::new() }
}

/// Where a monitor writes what its checks gave.
pub(super) fn results(parts: &Parts, id: &ContainerId) -> PathBuf {
    parts.container_dir(id).join("health")
}

/// The results of an earlier run are not this one's. Blocks.
pub(super) fn forget(results: &Path) -> Result<()> {
    match std::fs::remove_file(results) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
            Err(e).subject(|| format!("health results {}", results.display()))
        }
        _ => Ok(()),
    }
}

/// Docker's, as far as it is read: the status is told by the monitor.
#[derive(Default, Deserialize, Serialize)]
#[serde(rename_all = "PascalCase", default)]
struct Results {
    failing_streak: u32,
    log: Vec<Value>,
}

/// What came of the last checks. That nothing did yet is no failure.
pub(super) fn state(parts: &Parts, id: &ContainerId, status: HealthStatus) -> HealthState {
    use std::io::Read;
    let mut text = Vec::new();
    let read = std::fs::File::open(results(parts, id))
        .and_then(|file| file.take(MAX_RESULTS).read_to_end(&mut text));
    let results: Results = match read {
        Ok(_) => serde_json::from_slice(&text).unwrap_or_default(),
        Err(_) => Results::default(),
    };
    HealthState { status, failing_streak: results.failing_streak, log: results.log }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image(test: &[&str]) -> RunConfig {
        let test = test.iter().map(|word| (*word).to_owned()).collect();
        let healthcheck = Healthcheck { test, interval: 7_000_000_000, retries: 9, ..Healthcheck::default() };
        RunConfig { healthcheck: Some(healthcheck), ..RunConfig::default() }
    }

    fn planned(wish: &HealthSpec, image: Option<&RunConfig>) -> Option<HealthCheck> {
        plan(wish, image, || "/results".into())
    }

    #[test]
    fn the_wish_comes_before_the_image_and_both_before_the_defaults() {
        let none = HealthSpec::default();
        assert_eq!(planned(&none, None), None);
        let of_image = planned(&none, Some(&image(&["CMD", "check", "it"]))).expect("the image has one");
        assert_eq!(of_image.args, ["check", "it"]);
        assert_eq!((of_image.interval, of_image.timeout), (Duration::from_secs(7), TIMEOUT));
        assert_eq!((of_image.retries, of_image.start_period), (9, Duration::ZERO));
        let mut wish = HealthSpec { interval: Some(Duration::from_secs(2)), ..HealthSpec::default() };
        let both = planned(&wish, Some(&image(&["CMD-SHELL", "check it"]))).expect("the image has one");
        assert_eq!(both.args, ["/bin/sh", "-c", "check it"]);
        assert_eq!((both.interval, both.retries), (Duration::from_secs(2), 9));
        assert_eq!(planned(&wish, None), None, "times alone check nothing");
        wish.test = Some(HealthTest::Shell("true".into()));
        wish.retries = Some(0);
        let own = planned(&wish, Some(&image(&["CMD", "x"]))).expect("a check");
        assert_eq!((own.args.last().map(String::as_str), own.retries), (Some("true"), 9));
        let other = RunConfig { shell: vec!["/bin/ash".into(), "-ec".into()], ..RunConfig::default() };
        assert_eq!(planned(&wish, Some(&other)).expect("a check").args, ["/bin/ash", "-ec", "true"]);
    }

    #[test]
    fn a_check_can_be_taken_away_and_nonsense_of_an_image_is_none() {
        let off = HealthSpec { test: Some(HealthTest::None), ..HealthSpec::default() };
        assert_eq!(planned(&off, Some(&image(&["CMD", "x"]))), None);
        for nonsense in [&["NONE"][..], &[], &["CMD"], &["CMD-SHELL"], &["RUN", "x"]] {
            assert_eq!(planned(&HealthSpec::default(), Some(&image(nonsense))), None, "{nonsense:?}");
        }
        let mut hasty = image(&["CMD", "x"]);
        if let Some(check) = &mut hasty.healthcheck {
            (check.interval, check.timeout, check.retries) = (1, -5, -1);
        }
        let check = planned(&HealthSpec::default(), Some(&hasty)).expect("a check");
        assert_eq!((check.interval, check.timeout, check.retries), (SHORTEST, TIMEOUT, RETRIES));
    }

    #[test]
    fn times_below_a_millisecond_are_refused() {
        let wish = HealthSpec { timeout: Some(Duration::from_micros(10)), ..HealthSpec::default() };
        let text = check(&wish).expect_err("too short").to_string();
        assert!(text.contains("Timeout in Healthcheck cannot be less than 1ms"), "{text}");
        check(&HealthSpec { timeout: Some(Duration::ZERO), ..HealthSpec::default() }).expect("zero is none");
    }
}
