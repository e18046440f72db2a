//! The columns of ps(1) that are shown without it.

use std::collections::BTreeMap;

use super::process::{Process, read};
use crate::spec::Timestamp;
use crate::sys;

/// A database of users is not longer.
const MAX_NAMES: u64 = 4 << 20;
/// A column of ps is so wide.
const NAME: usize = 8;
const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// A column: its names in `-o`, its title, and what it shows.
pub(super) struct Column {
    names: &'static [&'static str],
    pub(super) title: &'static str,
    pub(super) show: fn(&Process, &Host) -> String,
}

const COLUMNS: &[Column] = &[
    Column { names: &["pid", "tgid"], title: "PID", show: |p, _| p.pid.to_string() },
    Column { names: &["ppid"], title: "PPID", show: |p, _| p.parent.to_string() },
    Column { names: &["pgid", "pgrp"], title: "PGID", show: |p, _| p.group.to_string() },
    Column { names: &["sid"], title: "SID", show: |p, _| p.session.to_string() },
    Column { names: &["sess", "session"], title: "SESS", show: |p, _| p.session.to_string() },
    Column { names: &["user", "euser"], title: "USER", show: |p, host| host.user(p.user) },
    Column { names: &["uid", "euid"], title: "UID", show: |p, _| p.user.to_string() },
    Column { names: &["group", "egroup"], title: "GROUP", show: |p, host| host.group(p.user_group) },
    Column { names: &["gid", "egid"], title: "GID", show: |p, _| p.user_group.to_string() },
    Column { names: &["comm", "ucmd", "ucomm"], title: "COMMAND", show: |p, _| p.name.clone() },
    Column { names: &["args", "command"], title: "COMMAND", show: |p, _| command(p) },
    Column { names: &["cmd"], title: "CMD", show: |p, _| command(p) },
    Column { names: &["tty", "tt"], title: "TT", show: |p, _| terminal(p.terminal) },
    Column { names: &["tname"], title: "TTY", show: |p, _| terminal(p.terminal) },
    Column { names: &["s", "state"], title: "S", show: |p, _| p.state.clone() },
    Column { names: &["time", "cputime"], title: "TIME", show: |p, host| clock(p.used / host.ticks) },
    Column { names: &["etime"], title: "ELAPSED", show: |p, host| elapsed(host.age(p)) },
    Column { names: &["etimes"], title: "ELAPSED", show: |p, host| host.age(p).to_string() },
    Column { names: &["stime"], title: "STIME", show: |p, host| host.begun(p) },
    Column { names: &["c"], title: "C", show: |p, host| host.share(p).to_string() },
    Column {
        names: &["rss", "rssize"],
        title: "RSS",
        show: |p, host| (p.resident * host.page / 1024).to_string(),
    },
    Column { names: &["vsz", "vsize"], title: "VSZ", show: |p, _| (p.size / 1024).to_string() },
    Column { names: &["ni", "nice"], title: "NI", show: |p, _| p.nice.to_string() },
    Column { names: &["nlwp", "thcount"], title: "NLWP", show: |p, _| p.threads.to_string() },
];

/// Those of `-f`. Its UID is a name.
const FULL: [&str; 8] = ["user", "pid", "ppid", "c", "stime", "tname", "time", "cmd"];

/// The column of that name.
pub(super) fn named(name: &str) -> Option<&'static Column> {
    COLUMNS.iter().find(|column| column.names.contains(&name))
}

/// The columns of `-f`, with their titles.
pub(super) fn full() -> Vec<(&'static str, &'static Column)> {
    let title = |column: &'static Column| if column.title == "USER" { "UID" } else { column.title };
    FULL.into_iter().filter_map(named).map(|column| (title(column), column)).collect()
}

/// What is known of the host.
pub(super) struct Host {
    users: BTreeMap<u32, String>,
    groups: BTreeMap<u32, String>,
    /// In a second.
    ticks: u64,
    /// In bytes.
    page: u64,
    /// Seconds since it began.
    up: u64,
    now: i64,
}

impl Host {
    /// Looks. Blocks.
    pub(super) fn look() -> Host {
        let up = read("/proc/uptime", 128).unwrap_or_default();
        Host {
            users: names("/etc/passwd"),
            groups: names("/etc/group"),
            ticks: rustix::param::clock_ticks_per_second().max(1),
            page: rustix::param::page_size() as u64,
            up: up.split('.').next().and_then(|seconds| seconds.parse().ok()).unwrap_or(0),
            now: Timestamp::now().seconds(),
        }
    }

    fn user(&self, id: u32) -> String {
        self.users.get(&id).map_or_else(|| id.to_string(), |name| cut(name))
    }

    fn group(&self, id: u32) -> String {
        self.groups.get(&id).map_or_else(|| id.to_string(), |name| cut(name))
    }

    /// How many seconds ago it began.
    fn age(&self, process: &Process) -> u64 {
        self.up.saturating_sub(process.begun / self.ticks)
    }

    /// Percent of a processor that it has used while it lived.
    fn share(&self, process: &Process) -> u64 {
        process
            .used
            .saturating_mul(100)
            .checked_div(self.age(process).saturating_mul(self.ticks))
            .unwrap_or(0)
            .min(99)
    }

    /// When it began: the time of today, the day of this year, or the year.
    fn begun(&self, process: &Process) -> String {
        let seconds = self.now.saturating_sub(i64::try_from(self.age(process)).unwrap_or(i64::MAX));
        let (Some([year, month, day, hour, minute]), Some(now)) =
            (sys::local_time(seconds), sys::local_time(self.now))
        else {
            return "-".to_owned();
        };
        let month_name = usize::try_from(month - 1).ok().and_then(|month| MONTHS.get(month)).unwrap_or(&"");
        match now {
            [this_year, this_month, today, ..] if [this_year, this_month, today] == [year, month, day] => {
                format!("{hour:02}:{minute:02}")
            }
            [this_year, ..] if this_year == year => format!("{month_name}{day:02}"),
            _ => year.to_string(),
        }
    }
}

/// The names in a database of users or groups, by number: `name:x:number:…`.
fn names(path: &str) -> BTreeMap<u32, String> {
    let text = read(path, MAX_NAMES).unwrap_or_default();
    let pair = |line: &str| {
        let mut fields = line.split(':');
        let name = fields.next()?.to_owned();
        Some((fields.nth(1)?.parse().ok()?, name))
    };
    // The first that has a number is its name.
    text.lines().rev().filter_map(pair).collect()
}

/// A name that does not fit its column is cut, as in ps.
fn cut(name: &str) -> String {
    match name.chars().count() > NAME {
        true => name.chars().take(NAME - 1).chain(['+']).collect(),
        false => name.to_owned(),
    }
}

fn command(process: &Process) -> String {
    match process.command.is_empty() {
        true => format!("[{}]", process.name),
        false => process.command.clone(),
    }
}

fn terminal(device: i64) -> String {
    let (major, minor) = ((device >> 8) & 0xfff, (device & 0xff) | ((device >> 12) & 0xfff00));
    match major {
        4 if minor < 64 => format!("tty{minor}"),
        136..=143 => format!("pts/{}", (major - 136) * 256 + minor),
        _ => "?".to_owned(),
    }
}

/// `[days-]hours:minutes:seconds`.
fn clock(seconds: u64) -> String {
    let time = format!("{:02}:{:02}:{:02}", seconds / 3600 % 24, seconds / 60 % 60, seconds % 60);
    match seconds / 86_400 {
        0 => time,
        days => format!("{days}-{time}"),
    }
}

/// `[[days-]hours:]minutes:seconds`.
fn elapsed(seconds: u64) -> String {
    match seconds {
        0..3600 => format!("{:02}:{:02}", seconds / 60, seconds % 60),
        _ => clock(seconds),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_of_time_are_written_as_ps_does() {
        assert_eq!(
            (clock(59), clock(3_661), clock(90_061)),
            ("00:00:59".into(), "01:01:01".into(), "1-01:01:01".into())
        );
        assert_eq!((elapsed(5), elapsed(3_661)), ("00:05".into(), "01:01:01".into()));
    }

    #[test]
    fn terminals_have_their_names() {
        let names = [0, 0x8800, 0x8805, 0x0401, 0x0440].map(terminal);
        assert_eq!(names, ["?", "pts/0", "pts/5", "tty1", "?"]);
    }

    #[test]
    fn long_names_are_cut() {
        assert_eq!((cut("root"), cut("systemd-network")), ("root".into(), "systemd+".into()));
        assert_eq!(Host::look().user(0), "root");
    }
}
