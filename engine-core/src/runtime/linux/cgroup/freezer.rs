//! Holding all processes of a group still, and letting them go on: a file that takes a word, and one that tells when
//! all have heard it.

use std::io;
use std::time::{Duration, Instant};

use super::tree::{read, write};
use crate::error::{Error, ErrorKind, Result, Subject};

/// How long a group may take to come to a stop.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);
/// The longest pause between two looks.
const MAX_PAUSE: Duration = Duration::from_millis(10);
/// Looks after which a group of version 1 is let go for a moment: a process that waits for another one, which is held
/// already, could never stop.
const STUCK: u32 = 32;

/// The freezer of one group.
pub(super) struct Freezer {
    directory: String,
    /// The file that takes a word.
    control: &'static str,
    /// The words that hold and let go.
    words: [&'static str; 2],
    /// The file that tells whether all are held, and the line that says so.
    told: (&'static str, &'static str),
}

impl Freezer {
    /// Of version 1.
    pub(super) fn one(directory: String) -> Freezer {
        let control = "freezer.state";
        Freezer { directory, control, words: ["FROZEN", "THAWED"], told: (control, "FROZEN") }
    }

    /// Of version 2.
    pub(super) fn two(directory: String) -> Freezer {
        let told = ("cgroup.events", "frozen 1");
        Freezer { directory, control: "cgroup.freeze", words: ["1", "0"], told }
    }

    /// Holds the group still. One that does not come to a stop within `patience` is let go again.
    pub(super) fn hold(&self, patience: Duration) -> Result<()> {
        match self.stop(patience) {
            Ok(true) => return Ok(()),
            Ok(false) => {}
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Err(self.absent()),
            Err(e) => {
                let _ = self.release();
                return Err(e).subject(|| self.subject());
            }
        }
        self.release()?;
        Err(Error::new(ErrorKind::TimedOut, self.subject())
            .because(format!("not all of its processes stopped within {} seconds", patience.as_secs()))
            .with_remedy("look for a process that waits for a broken disk or network file system"))
    }

    /// Whether the group has come to a stop.
    fn stop(&self, patience: Duration) -> io::Result<bool> {
        let [hold, release] = self.words;
        let deadline = Instant::now() + patience;
        let mut pause = Duration::from_micros(50);
        let mut looks = 0_u32;
        loop {
            // Said again, version 1 looks for processes that it has missed.
            write(&self.directory, self.control, hold)?;
            if self.is_stopped()? {
                return Ok(true);
            }
            if Instant::now() >= deadline {
                return Ok(false);
            }
            looks += 1;
            if looks.is_multiple_of(STUCK) {
                write(&self.directory, self.control, release)?;
            }
            std::thread::sleep(pause);
            pause = (pause * 2).min(MAX_PAUSE);
        }
    }

    fn is_stopped(&self) -> io::Result<bool> {
        let (file, wanted) = self.told;
        Ok(read(&self.directory, file)?.lines().any(|line| line == wanted))
    }

    /// Lets the group go on. One that is not there needs nothing.
    pub(super) fn release(&self) -> Result<()> {
        let [_, release] = self.words;
        match write(&self.directory, self.control, release) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
            result => result.subject(|| self.subject()),
        }
    }

    /// Whether the group was told to stop.
    pub(super) fn is_held(&self) -> Result<bool> {
        let [_, release] = self.words;
        match read(&self.directory, self.control) {
            Ok(word) => Ok(word.trim() != release),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(e) => Err(e).subject(|| self.subject()),
        }
    }

    fn subject(&self) -> String {
        format!("freezer of cgroup {}", self.directory)
    }

    fn absent(&self) -> Error {
        Error::new(ErrorKind::Unsupported, self.subject()).because(
            "there is none: neither the controller \"freezer\" of version 1, nor Linux 5.2 with version 2",
        )
    }
}
