//! A program and what it may do.

use std::path::Path;

use oci_spec::runtime::{LinuxSeccomp, PosixRlimit, PosixRlimitType, Process};

use engine_shim::plan;

use super::{text, traits};
use crate::error::{Error, Result};
use crate::runtime::driver::UserSpec;
use crate::runtime::linux::{caps, seccomp};
use crate::spec::TerminalSize;

/// Who runs a program.
pub(super) enum Who<'a> {
    /// This takes the place of the numbers in the configuration.
    Named(&'a UserSpec),
    /// As the configuration has it.
    Numbered,
}

/// The process as the shim takes it.
pub(super) fn process(
    process: &Process,
    who: &Who<'_>,
    filter: Option<&LinuxSeccomp>,
) -> Result<plan::Process> {
    let args = process.args().clone().unwrap_or_default();
    if args.first().is_none_or(String::is_empty) {
        return Err(Error::invalid("the command", "no command was given"));
    }
    let env = process.env().clone().unwrap_or_default();
    let cwd = text(process.cwd(), "the working directory")?;
    if !Path::new(&cwd).is_absolute() {
        return Err(Error::invalid(format!("working directory {cwd:?}"), "it is not an absolute path"));
    }
    if args.iter().chain(&env).chain([&cwd]).any(|text| text.contains('\0')) {
        return Err(Error::invalid("the command", "an argument, variable or path holds a zero byte"));
    }
    let (user, additional_groups, ids) = match who {
        Who::Named(user) => (user.user.clone(), user.additional_groups.clone(), None),
        Who::Numbered => {
            let user = process.user();
            let groups = user.additional_gids().clone().unwrap_or_default();
            (String::new(), Vec::new(), Some((user.uid(), user.gid(), groups)))
        }
    };
    Ok(plan::Process {
        args,
        env,
        cwd,
        user,
        additional_groups,
        terminal: process.terminal().unwrap_or(false),
        capabilities: caps::sets(process.capabilities().as_ref()),
        no_new_privileges: process.no_new_privileges().unwrap_or(false),
        seccomp: filter.map(seccomp::compile).transpose()?,
        rlimits: rlimits(process.rlimits().as_deref().unwrap_or_default())?,
        oom_score_adj: oom_score_adj(process)?,
        umask: process.user().umask(),
        ids,
        traits: traits::traits(process)?,
        agent: None,
    })
}

/// The first size of the terminal: the one given, or that of the configuration.
pub(super) fn terminal_size(given: Option<TerminalSize>, process: &Process) -> Option<(u16, u16)> {
    let configured = || {
        let size = process.console_size()?;
        Some((u16::try_from(size.height()).ok()?, u16::try_from(size.width()).ok()?))
    };
    given.map(|size| (size.rows, size.columns)).or_else(configured)
}

fn oom_score_adj(process: &Process) -> Result<Option<i32>> {
    let adjustment = process.oom_score_adj();
    if adjustment.is_some_and(|adjustment| !(-1000..=1000).contains(&adjustment)) {
        return Err(Error::invalid("oom_score_adj", "it is not between -1000 and 1000"));
    }
    Ok(adjustment)
}

fn rlimits(limits: &[PosixRlimit]) -> Result<Vec<(u32, u64, u64)>> {
    let mut seen: Vec<(u32, u64, u64)> = Vec::with_capacity(limits.len());
    for limit in limits {
        let (resource, name) = (resource(limit.typ()), limit.typ());
        if seen.iter().any(|(other, ..)| *other == resource) {
            return Err(Error::invalid(format!("limit {name}"), "it is given twice"));
        }
        if limit.soft() > limit.hard() {
            return Err(Error::invalid(format!("limit {name}"), "the soft limit is above the hard one"));
        }
        seen.push((resource, limit.soft(), limit.hard()));
    }
    Ok(seen)
}

fn resource(name: PosixRlimitType) -> u32 {
    use PosixRlimitType as T;
    match name {
        T::RlimitCpu => libc::RLIMIT_CPU,
        T::RlimitFsize => libc::RLIMIT_FSIZE,
        T::RlimitData => libc::RLIMIT_DATA,
        T::RlimitStack => libc::RLIMIT_STACK,
        T::RlimitCore => libc::RLIMIT_CORE,
        T::RlimitRss => libc::RLIMIT_RSS,
        T::RlimitNproc => libc::RLIMIT_NPROC,
        T::RlimitNofile => libc::RLIMIT_NOFILE,
        T::RlimitMemlock => libc::RLIMIT_MEMLOCK,
        T::RlimitAs => libc::RLIMIT_AS,
        T::RlimitLocks => libc::RLIMIT_LOCKS,
        T::RlimitSigpending => libc::RLIMIT_SIGPENDING,
        T::RlimitMsgqueue => libc::RLIMIT_MSGQUEUE,
        T::RlimitNice => libc::RLIMIT_NICE,
        T::RlimitRtprio => libc::RLIMIT_RTPRIO,
        T::RlimitRttime => libc::RLIMIT_RTTIME,
    }
}
