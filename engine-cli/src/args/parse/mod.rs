//! The little languages of docker's flags: pure functions from text to values, none of which looks at the host.
//!
//! A parser's error says what is wrong; which flag and which value it was about is added where the flag is known.

pub(crate) mod boolean;
pub(crate) mod csv;
pub(crate) mod device;
pub(crate) mod env;
pub(crate) mod mount;
pub(crate) mod namespace;
pub(crate) mod network;
pub(crate) mod number;
pub(crate) mod security;
pub(crate) mod size;
pub(crate) mod time;
pub(crate) mod tmpfs;
pub(crate) mod ulimit;
pub(crate) mod volume;

/// What a parser gives: a value, or what is wrong with the text.
pub(crate) type Parsed<T> = Result<T, String>;

/// An error of the engine as a parser's, with its remedy.
pub(crate) fn reason(error: engine_core::Error) -> String {
    match error.remedy() {
        Some(remedy) => format!("{error} ({remedy})"),
        None => error.to_string(),
    }
}
