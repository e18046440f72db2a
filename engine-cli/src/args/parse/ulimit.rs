//! `--ulimit name=soft[:hard]`.

use engine_core::spec::Rlimit;

use super::Parsed;

const NAMES: [&str; 15] = [
    "core",
    "cpu",
    "data",
    "fsize",
    "locks",
    "memlock",
    "msgqueue",
    "nice",
    "nofile",
    "nproc",
    "rss",
    "rtprio",
    "rttime",
    "sigpending",
    "stack",
];

/// A limit of each process; -1 is none, and a hard limit that is not given is the soft one.
pub(crate) fn ulimit(text: &str) -> Parsed<Rlimit> {
    let (name, limits) = text.split_once('=').ok_or("must look like nofile=1024:2048")?;
    if !NAMES.contains(&name) {
        return Err(format!("there is no limit {name:?}; use one of: {}", NAMES.join(", ")));
    }
    let limit = |text: &str| match text {
        "-1" => Ok(u64::MAX),
        _ if text.starts_with('+') => Err(format!("{text:?} is not a number")),
        _ => text.parse::<u64>().map_err(|_| format!("{text:?} is not a number")),
    };
    let (soft, hard) = match limits.split_once(':') {
        Some((soft, hard)) => (limit(soft)?, limit(hard)?),
        None => (limit(limits)?, limit(limits)?),
    };
    if soft > hard {
        return Err("the soft limit must not be above the hard limit".to_owned());
    }
    Ok(Rlimit { name: name.to_owned(), soft, hard })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_missing_hard_limit_is_the_soft_one() {
        let both = |text: &str| ulimit(text).map(|limit| (limit.soft, limit.hard));
        assert_eq!(both("nofile=1024:2048"), Ok((1024, 2048)));
        assert_eq!(both("nofile=1024"), Ok((1024, 1024)));
        assert_eq!(both("core=-1"), Ok((u64::MAX, u64::MAX)));
        assert_eq!(both("core=0:-1"), Ok((0, u64::MAX)));
        for bad in ["nofile", "nofile=", "files=1", "nofile=2:1", "nofile=-1:1", "nofile=1:2:3", "nofile=x"] {
            assert!(ulimit(bad).is_err(), "{bad:?} was accepted");
        }
    }

    proptest! {
        #[test]
        fn never_panics(text in "(nofile=)?.{0,30}") {
            let _ = ulimit(&text);
        }
    }
}
