//! What is known of a process that runs beside a container's program: a file in the container's run directory, of which
//! its first line says in the engine's words what the process is. Who looks after the process holds the file locked,
//! and adds a line when it has begun and one when it has ended. Without the lock and the last line it was lost.

#[cfg(feature = "program")]
pub(crate) use self::keeping::Record;

/// The directory of these files, in the run directory; a file is named after the process.
pub const DIRECTORY: &str = "execs";

/// What a file says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExecStatus<'a> {
    /// What the process is.
    pub description: &'a str,
    /// Its number; 0 if it has not begun.
    pub pid: u32,
    /// Its exit code, and when it ended, in nanoseconds since the epoch.
    pub end: Option<(i32, i64)>,
}

impl ExecStatus<'_> {
    /// What the content of a file says; `None` if it is none, or not yet. A line that is not whole is not there.
    pub fn from_text(text: &str) -> Option<ExecStatus<'_>> {
        let whole = text.rfind('\n').and_then(|end| text.get(..end))?;
        let mut lines = whole.split('\n');
        let mut status = ExecStatus { description: lines.next()?, pid: 0, end: None };
        for line in lines {
            let mut words = line.split(' ');
            match (words.next()?, words.next()?, words.next()) {
                ("began", pid, None) => status.pid = pid.parse().ok()?,
                ("ended", code, Some(time)) => status.end = Some((code.parse().ok()?, time.parse().ok()?)),
                _ => return None,
            }
        }
        Some(status)
    }
}

#[cfg(feature = "program")]
mod keeping {
    use rustix::fd::{AsFd, OwnedFd};
    use rustix::fs::{Mode, OFlags};

    use crate::plan::ExecRecord;
    use crate::sys;
    use crate::text::Text;

    /// The file of a process. What cannot be written is no reason not to run.
    pub(crate) struct Record(Option<OwnedFd>);

    impl Record {
        /// Opened and locked while the host's files are in reach.
        pub(crate) fn open(record: Option<&ExecRecord>) -> Record {
            let Some(record) = record else { return Record(None) };
            let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::APPEND | OFlags::CLOEXEC;
            let file = rustix::fs::open(record.path.as_str(), flags, Mode::from_raw_mode(0o600));
            let file = file.and_then(|file| sys::lock(file.as_fd(), true).map(|()| file));
            let opened = Record(file.ok());
            opened.add(Text::default().push(&record.description));
            opened
        }

        /// The process has begun.
        pub(crate) fn began(&self, pid: u32) {
            self.add(Text::default().push("began ").number(pid.into()));
        }

        /// The process has ended, or could not begin.
        pub(crate) fn ended(&self, code: i32, time: i64) {
            self.add(Text::default().push("ended ").number(code.into()).push(" ").number(time));
        }

        /// For a child, which has no business with it.
        pub(crate) fn close_in_child(&self) {
            sys::close_in_child(&self.0);
        }

        fn add(&self, line: &mut Text) {
            if let Some(file) = &self.0 {
                let _ = rustix::io::write(file, line.push("\n").as_str().as_bytes());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_grows_line_by_line() {
        let status =
            |text| ExecStatus::from_text(text).map(|status| (status.description, status.pid, status.end));
        assert_eq!(status("{\"a\":1}"), None);
        assert_eq!(status("{\"a\":1}\n"), Some(("{\"a\":1}", 0, None)));
        assert_eq!(status("x\nbegan 42\nended 1"), Some(("x", 42, None)));
        assert_eq!(status("x\nbegan 42\nended 137 5\n"), Some(("x", 42, Some((137, 5)))));
        assert_eq!(status("x\nended 127 5\n"), Some(("x", 0, Some((127, 5)))));
        for wrong in ["", "x\nbegan\n", "x\nbegan y\n", "x\nelse 1\n", "x\n\n"] {
            assert_eq!(status(wrong), None, "{wrong:?}");
        }
    }
}
