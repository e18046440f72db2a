//! What the kernel tells of a process: proc(5).

use std::fs::File;
use std::io::Read;

/// No more of a command line is shown.
const MAX_COMMAND: u64 = 64 << 10;
/// The other files are shorter.
const MAX_FILE: u64 = 16 << 10;

/// A process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Process {
    pub(super) pid: u32,
    pub(super) parent: i64,
    pub(super) group: i64,
    pub(super) session: i64,
    /// Its terminal's device number; 0 without one.
    pub(super) terminal: i64,
    pub(super) state: String,
    /// The name of its program.
    pub(super) name: String,
    /// Its program with its arguments; empty for one that has given them up.
    pub(super) command: String,
    pub(super) user: u32,
    pub(super) user_group: u32,
    /// Processor time it has used, in ticks.
    pub(super) used: u64,
    /// When it began, in ticks since the host did.
    pub(super) begun: u64,
    pub(super) nice: i64,
    pub(super) threads: i64,
    /// In bytes.
    pub(super) size: u64,
    /// In pages.
    pub(super) resident: u64,
}

impl Process {
    /// Looks at it; `None` if it has gone meanwhile.
    pub(super) fn look(pid: u32) -> Option<Process> {
        let read = |name: &str, most| read(&format!("/proc/{pid}/{name}"), most);
        let command = read("cmdline", MAX_COMMAND)?;
        Process::parse(pid, &read("stat", MAX_FILE)?, &read("status", MAX_FILE)?, &command)
    }

    fn parse(pid: u32, stat: &str, status: &str, command: &str) -> Option<Process> {
        // A name may have parentheses of its own.
        let (before, after) = stat.rsplit_once(')')?;
        let (_, name) = before.split_once('(')?;
        let fields: Vec<&str> = after.split_whitespace().collect();
        let signed = |at: usize| fields.get(at)?.parse::<i64>().ok();
        let unsigned = |at: usize| fields.get(at)?.parse::<u64>().ok();
        // Real, effective, saved, and that of files.
        let effective = |key: &str| -> Option<u32> {
            let line = status.lines().find_map(|line| line.strip_prefix(key))?;
            line.split_whitespace().nth(1)?.parse().ok()
        };
        Some(Process {
            pid,
            state: (*fields.first()?).to_owned(),
            parent: signed(1)?,
            group: signed(2)?,
            session: signed(3)?,
            terminal: signed(4)?,
            used: unsigned(11)?.saturating_add(unsigned(12)?),
            nice: signed(16)?,
            threads: signed(17)?,
            begun: unsigned(19)?,
            size: unsigned(20)?,
            resident: unsigned(21)?,
            name: printable(name),
            command: printable(command.trim_end_matches('\0').replace('\0', " ").trim_end()),
            user: effective("Uid:")?,
            user_group: effective("Gid:")?,
        })
    }
}

/// A container chooses what its processes are called; what would move the cursor is a question mark, as in ps(1).
fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '?' } else { c }).collect()
}

/// The beginning of a file.
pub(super) fn read(path: &str, most: u64) -> Option<String> {
    let mut bytes = Vec::new();
    File::open(path).ok()?.take(most).read_to_end(&mut bytes).ok()?;
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_read_whatever_it_is_called() {
        let stat = "17 (a) (b\n) S 1 17 17 34816 17 4194560 1 2 3 4 150 50 0 0 20 -5 3 0 1234 4096 7 rest";
        let status = "Name:\tx\nUid:\t1000\t1001\t1002\t1003\nGid:\t1\t2\t3\t4\n";
        let process = Process::parse(17, stat, status, "sh\0-c\0a\x1b[2J\nb\0").expect("well formed");
        assert_eq!((process.name.as_str(), process.command.as_str()), ("a) (b?", "sh -c a?[2J?b"));
        assert_eq!((process.user, process.user_group, process.parent), (1001, 2, 1));
        assert_eq!((process.used, process.begun, process.nice, process.threads), (200, 1234, -5, 3));
        for bad in ["", "17", "17 (x", "17 (x) S", ")(", "17 (x) S 1 2 3 4 5"] {
            assert_eq!(Process::parse(17, bad, status, ""), None, "{bad:?}");
        }
        assert_eq!(Process::look(std::process::id()).expect("lives").pid, std::process::id());
        assert_eq!(Process::look(u32::MAX), None);
    }
}
