//! What went wrong, said once: a kind for programs, a subject and a remedy for people.
//!
//! Imports nothing of the crate. Modules *make* errors; there is no enum that lists them all, so no module has
//! to know another one's failures.

use std::error::Error as StdError;
use std::fmt;

/// The result of every fallible call of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What kind of failure it is: the only part of an [`Error`] a program should decide on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The caller asked for something malformed: a bad name, option, size, address or document.
    InvalidInput,
    /// The named object does not exist.
    NotFound,
    /// The object exists already, or its present state forbids the request.
    Conflict,
    /// The object is in use by another one.
    InUse,
    /// The request asks for the state the object is in already.
    NotModified,
    /// The kernel, a file or a policy refused.
    PermissionDenied,
    /// A registry refused the credentials, or asked for some.
    Unauthorized,
    /// The kernel, the driver or this version cannot do it.
    Unsupported,
    /// A service that was needed did not answer, or answered that it is not able to.
    Unavailable,
    /// A limit of the engine was exceeded: size, count, depth or ratio of something that came from outside.
    LimitExceeded,
    /// The disk, or the store's ceiling, is full.
    OutOfSpace,
    /// A deadline passed.
    TimedOut,
    /// The caller cancelled the operation.
    Cancelled,
    /// The program to run was not found in the container. Frontends exit with 127.
    CommandNotFound,
    /// The program to run is there, but cannot be executed. Frontends exit with 126.
    CommandNotExecutable,
    /// Content does not match its digest, or the store's records contradict each other.
    Corrupt,
    /// A defect of the engine.
    Internal,
}

/// A failure: its [kind](Error::kind), the object it is about, why it happened and what to do about it.
///
/// The text is for people and no contract; programs look at [`Error::kind`].
pub struct Error(Box<Inner>);

struct Inner {
    kind: ErrorKind,
    subject: String,
    reason: Option<String>,
    remedy: Option<String>,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

impl Error {
    /// An error of `kind` about `subject`, the object in the user's words: `volume data`, `image alpine:3.20`.
    pub fn new(kind: ErrorKind, subject: impl Into<String>) -> Error {
        Error(Box::new(Inner { kind, subject: subject.into(), reason: None, remedy: None, source: None }))
    }

    /// Adds why it happened.
    #[must_use]
    pub fn because(mut self, reason: impl Into<String>) -> Error {
        self.0.reason = Some(reason.into());
        self
    }

    /// Adds what the user can do about it.
    #[must_use]
    pub fn with_remedy(mut self, remedy: impl Into<String>) -> Error {
        self.0.remedy = Some(remedy.into());
        self
    }

    /// Adds the error that caused this one.
    #[must_use]
    pub fn caused_by(mut self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Error {
        self.0.source = Some(source.into());
        self
    }

    /// An input that is malformed: `subject` names it, `reason` says what is wrong with it.
    pub fn invalid(subject: impl Into<String>, reason: impl Into<String>) -> Error {
        Error::new(ErrorKind::InvalidInput, subject).because(reason)
    }

    /// An object that does not exist.
    pub fn not_found(subject: impl Into<String>) -> Error {
        Error::new(ErrorKind::NotFound, subject).because("not found")
    }

    /// A defect of the engine: something that cannot happen, happened.
    pub fn internal(subject: impl Into<String>, reason: impl Into<String>) -> Error {
        Error::new(ErrorKind::Internal, subject).because(reason)
    }

    /// A failed system call on `subject`; the kind follows from the error's own kind.
    pub fn io(subject: impl Into<String>, source: std::io::Error) -> Error {
        use std::io::ErrorKind as Io;
        let kind = match source.kind() {
            Io::NotFound => ErrorKind::NotFound,
            Io::PermissionDenied | Io::ReadOnlyFilesystem => ErrorKind::PermissionDenied,
            Io::AlreadyExists => ErrorKind::Conflict,
            Io::StorageFull | Io::QuotaExceeded => ErrorKind::OutOfSpace,
            Io::TimedOut => ErrorKind::TimedOut,
            Io::Unsupported => ErrorKind::Unsupported,
            Io::AddrInUse | Io::ResourceBusy => ErrorKind::InUse,
            Io::ConnectionRefused | Io::ConnectionReset | Io::ConnectionAborted | Io::BrokenPipe => {
                ErrorKind::Unavailable
            }
            _ => ErrorKind::Internal,
        };
        let error = Error::new(kind, subject).caused_by(source);
        match kind {
            ErrorKind::OutOfSpace => error.with_remedy("free some space on the file system of the store"),
            _ => error,
        }
    }

    /// The kind of failure.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// The object the failure is about.
    pub fn subject(&self) -> &str {
        &self.0.subject
    }

    /// Why it happened, without the subject: the reason given, or the text of the cause.
    pub fn reason(&self) -> Option<String> {
        match (&self.0.reason, &self.0.source) {
            (Some(reason), Some(source)) => Some(format!("{reason}: {source}")),
            (Some(reason), None) => Some(reason.clone()),
            (None, Some(source)) => Some(source.to_string()),
            (None, None) => None,
        }
    }

    /// What the user can do about it.
    pub fn remedy(&self) -> Option<&str> {
        self.0.remedy.as_deref()
    }

    /// Whether the kind is `kind`.
    pub fn is(&self, kind: ErrorKind) -> bool {
        self.0.kind == kind
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.subject)?;
        if let Some(reason) = &self.0.reason {
            write!(f, ": {reason}")?;
        }
        match &self.0.source {
            Some(source) => write!(f, ": {source}"),
            None => Ok(()),
        }
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {self}", self.0.kind)?;
        match &self.0.remedy {
            Some(remedy) => write!(f, " ({remedy})"),
            None => Ok(()),
        }
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0.source.as_deref().map(|source| source as &(dyn StdError + 'static))
    }
}

/// Puts the subject to a failed system call or file operation.
pub(crate) trait Subject<T> {
    /// Turns the failure into an [`Error`] about `subject`.
    ///
    /// # Errors
    /// The failure itself, now with a subject and a kind.
    fn subject(self, subject: impl FnOnce() -> String) -> Result<T>;
}

impl<T> Subject<T> for std::io::Result<T> {
    fn subject(self, subject: impl FnOnce() -> String) -> Result<T> {
        self.map_err(|e| Error::io(subject(), e))
    }
}

impl<T> Subject<T> for nix::Result<T> {
    fn subject(self, subject: impl FnOnce() -> String) -> Result<T> {
        self.map_err(|e| Error::io(subject(), e.into()))
    }
}

impl<T> Subject<T> for rustix::io::Result<T> {
    fn subject(self, subject: impl FnOnce() -> String) -> Result<T> {
        self.map_err(|e| Error::io(subject(), e.into()))
    }
}

/// Failures of a teardown, which goes on past each of them: the first is reported, the rest are counted.
#[derive(Debug, Default)]
pub(crate) struct Faults {
    first: Option<Error>,
    more: usize,
}

impl Faults {
    /// None so far.
    pub(crate) fn new() -> Faults {
        Faults::default()
    }

    /// Notes the failure, if `result` is one. What is absent already is no failure of a teardown.
    pub(crate) fn note<T>(&mut self, result: Result<T>) {
        match result {
            Err(e) if e.is(ErrorKind::NotFound) => {}
            Err(_) if self.first.is_some() => self.more += 1,
            Err(e) => self.first = Some(e),
            Ok(_) => {}
        }
    }

    /// The first failure, if there was any.
    ///
    /// # Errors
    /// The first failure that was noted, with the number of further ones in its text.
    pub(crate) fn into_result(self) -> Result<()> {
        match (self.first, self.more) {
            (None, _) => Ok(()),
            (Some(first), 0) => Err(first),
            (Some(first), more) => {
                let kind = first.kind();
                let subject = first.subject().to_owned();
                Err(Error::new(kind, subject)
                    .because(format!("{} (and {more} more)", first.reason().unwrap_or_default())))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_names_the_object_the_reason_and_the_remedy() {
        let error = Error::new(ErrorKind::InUse, "volume data")
            .because("mounted by container web")
            .with_remedy("remove web first");
        assert_eq!(error.to_string(), "volume data: mounted by container web");
        assert_eq!(error.remedy(), Some("remove web first"));
        assert_eq!(error.subject(), "volume data");
        assert!(error.is(ErrorKind::InUse));
    }

    #[test]
    fn a_full_disk_is_told_from_other_failures() {
        let full = Error::io("layer", std::io::Error::from_raw_os_error(28));
        assert_eq!(full.kind(), ErrorKind::OutOfSpace);
        assert!(full.remedy().is_some());
    }

    #[test]
    fn a_teardown_reports_its_first_failure_and_counts_the_rest() {
        let mut faults = Faults::new();
        faults.note::<()>(Err(Error::not_found("link veth1")));
        faults.note::<()>(Err(Error::internal("cgroup a", "busy")));
        faults.note::<()>(Err(Error::internal("cgroup b", "busy")));
        let error = faults.into_result().expect_err("two faults were noted");
        assert_eq!(error.to_string(), "cgroup a: busy (and 1 more)");
    }
}
