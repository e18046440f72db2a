//! `engine logs`.

use std::collections::BTreeMap;
use std::io::{self, Write as _};
use std::pin::pin;
use std::task::Poll;

use engine_core::container::LogEntry;
use engine_core::spec::{LogsSpec, Timestamp};

use crate::app::App;
use crate::args::container::Logs;
use crate::args::parse::time::moment;
use crate::exit::{Failure, Outcome};
use crate::render::time::rfc3339_fixed;

/// Written when so much has come together, or when there is no more for the moment.
const FULL: usize = 64 << 10;

/// Prints what a container has written, each stream to its own.
pub(super) async fn logs(args: Logs, app: App) -> Outcome {
    let time = |flag: &str, text: Option<String>| match text.filter(|text| !text.is_empty()) {
        None => Ok(None),
        Some(text) => moment(&text, Timestamp::now())
            .map(Some)
            .map_err(|e| Failure::new(format!("invalid argument {text:?} for \"--{flag}\" flag: {e}"))),
    };
    let mut spec = LogsSpec::default();
    spec.follow = args.follow;
    spec.since = time("since", args.since)?;
    spec.until = time("until", args.until)?;
    spec.tail = args.tail;

    let engine = app.engine().await?;
    let mut log = engine.containers().get(&args.container).await?.logs(spec).await?;
    let mut printer = Printer { timestamps: args.timestamps, details: args.details, ..Printer::default() };
    loop {
        let mut next = pin!(log.next());
        let ready = std::future::poll_fn(|cx| Poll::Ready(next.as_mut().poll(cx))).await;
        let entry = match ready {
            Poll::Ready(entry) => entry?,
            Poll::Pending => {
                printer.flush()?;
                next.await?
            }
        };
        match entry {
            Some(entry) => printer.entry(&entry)?,
            None => break,
        }
    }
    printer.flush()?;
    Ok(0)
}

/// Gathers entries of one stream, and writes them together.
#[derive(Default)]
struct Printer {
    timestamps: bool,
    details: bool,
    gathered: Vec<u8>,
    /// Whether what is gathered is for standard error.
    stderr: bool,
    /// Whether the last entry of each stream, output and error, was only the first part of a line.
    in_line: [bool; 2],
}

impl Printer {
    fn entry(&mut self, entry: &LogEntry) -> io::Result<()> {
        // On a terminal both streams are one place, so their order is kept.
        if entry.stderr != self.stderr || self.gathered.len() >= FULL {
            self.flush()?;
            self.stderr = entry.stderr;
        }
        self.gather(entry);
        Ok(())
    }

    fn gather(&mut self, entry: &LogEntry) {
        let [out, err] = &mut self.in_line;
        let in_line = if entry.stderr { err } else { out };
        if !*in_line {
            if self.timestamps {
                self.gathered.extend(rfc3339_fixed(entry.time).as_bytes());
                self.gathered.push(b' ');
            }
            if self.details {
                self.gathered.extend(details(&entry.attributes).as_bytes());
                self.gathered.push(b' ');
            }
        }
        *in_line = !entry.line.ends_with(b"\n");
        self.gathered.extend(&entry.line);
    }

    fn flush(&mut self) -> io::Result<()> {
        if !self.gathered.is_empty() {
            match self.stderr {
                true => io::stderr().lock().write_all(&self.gathered)?,
                false => {
                    let mut out = io::stdout().lock();
                    out.write_all(&self.gathered)?;
                    out.flush()?;
                }
            }
            self.gathered.clear();
        }
        Ok(())
    }
}

/// What the log driver added, as the query of an address has it.
fn details(attributes: &BTreeMap<String, String>) -> String {
    let pairs = attributes.iter().map(|(key, value)| format!("{}={}", escaped(key), escaped(value)));
    pairs.collect::<Vec<_>>().join(",")
}

fn escaped(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte);
    text.bytes()
        .map(|byte| match byte {
            b' ' => "+".to_owned(),
            byte if plain(byte) => char::from(byte).to_string(),
            byte => format!("%{byte:02X}"),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(line: &'static str, stderr: bool) -> LogEntry {
        let (time, attributes) = (Timestamp::from_nanos(0), BTreeMap::new());
        LogEntry { time, stderr, line: line.as_bytes().into(), attributes }
    }

    #[test]
    fn a_line_has_one_time_however_many_parts_it_has() {
        let mut printer = Printer { timestamps: true, ..Printer::default() };
        for part in ["a", "b\n", "c\n"] {
            printer.gather(&entry(part, false));
        }
        let text = String::from_utf8(std::mem::take(&mut printer.gathered)).expect("UTF-8");
        assert_eq!(text, "1970-01-01T00:00:00.000000000Z ab\n1970-01-01T00:00:00.000000000Z c\n");
    }

    #[test]
    fn details_are_escaped_as_in_docker() {
        let attributes = [("tag", "a b/c"), ("x", "\u{e4}=1")].map(|(k, v)| (k.to_owned(), v.to_owned()));
        assert_eq!(details(&attributes.into()), "tag=a+b%2Fc,x=%C3%A4%3D1");
    }

    #[test]
    fn parts_of_one_stream_do_not_end_those_of_the_other() {
        let mut printer = Printer { details: true, ..Printer::default() };
        printer.gather(&entry("a", false));
        printer.gather(&entry("x\n", true));
        printer.gather(&entry("b\n", false));
        assert_eq!(printer.gathered, b" a x\nb\n");
    }
}
