//! `cargo xtask sizes`: a file is one idea.
//!
//! The mean of all files is below 200 lines; from 400 on a file is asked what its ideas are, and at 600 the build
//! stops. Tests count apart: files of tests, and what exists only in tests. So do tables, which are long because the
//! world is: a file whose first line says that it is a table.

use std::path::Path;

use crate::source::words::{test_lines, words};
use crate::source::{Source, files};

const MEAN: usize = 200;
const ASK: usize = 400;
const STOP: usize = 600;

/// Measures all files of the workspace in `root`.
pub(crate) fn run(root: &Path) -> Result<(), String> {
    let report = report(&files(root)?);
    report.lines.iter().for_each(|line| println!("{line}"));
    if report.failures == 0 { Ok(()) } else { Err(format!("sizes: {} failures", report.failures)) }
}

struct Report {
    lines: Vec<String>,
    failures: usize,
}

fn report(sources: &[Source]) -> Report {
    let mut report = Report { lines: Vec::new(), failures: 0 };
    let (mut sizes, mut tests, mut tables) = (Vec::new(), 0, 0);
    for source in sources {
        if source.is_test() {
            tests += source.text.lines().count();
            continue;
        }
        let size = size(&source.text);
        tests += source.text.lines().count() - size;
        if is_table(&source.text) {
            tables += size;
            continue;
        }
        sizes.push(size);
        let path = source.path.display();
        if size >= STOP {
            report.failures += 1;
            report.lines.push(format!("{path}:1: {size} lines — from {STOP} on a file must become several"));
        } else if size >= ASK {
            report.lines.push(format!("{path}:1: {size} lines — which of them are another idea?"));
        }
    }
    let total: usize = sizes.iter().sum();
    let mean = total.checked_div(sizes.len()).unwrap_or(0);
    if mean >= MEAN {
        report.failures += 1;
        report.lines.push(format!("the mean is {mean} lines — it must be below {MEAN}"));
    }
    report.lines.push(format!(
        "{} files, {total} lines, mean {mean}; besides {tests} lines of tests and {tables} of tables",
        sizes.len()
    ));
    report
}

/// The lines that are no tests.
fn size(text: &str) -> usize {
    let tests: usize = test_lines(&words(text)).into_iter().map(Iterator::count).sum();
    text.lines().count().saturating_sub(tests)
}

/// Whether the first line says that the file is a table.
fn is_table(text: &str) -> bool {
    let first = text.lines().next().unwrap_or_default();
    first.starts_with("//!")
        && first
            .split(|c: char| !c.is_alphanumeric())
            .any(|word| matches!(word.to_ascii_lowercase().as_str(), "table" | "tables"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(path: &str, text: String) -> Source {
        Source { path: path.into(), text }
    }

    fn lines(count: usize) -> String {
        "fn x() {}\n".repeat(count)
    }

    #[test]
    fn a_long_file_is_asked_and_a_very_long_one_stops_the_build() {
        let report = report(&[
            file("a/src/small.rs", lines(10)),
            file("a/src/long.rs", lines(450)),
            file("a/src/huge.rs", lines(600)),
        ]);
        assert!(report.lines[0].starts_with("a/src/long.rs:1: 450"));
        assert!(report.lines[1].starts_with("a/src/huge.rs:1: 600"));
        assert_eq!(report.failures, 2, "the huge one, and the mean: {:?}", report.lines);
    }

    #[test]
    fn tests_and_tables_count_apart() {
        let with_tests = format!("{}#[cfg(test)]\nmod tests {{\n{}}}\n", lines(50), lines(2000));
        assert_eq!(size(&with_tests), 50);
        let report = report(&[
            file("a/src/tested.rs", with_tests),
            file("a/src/tested/tests.rs", lines(2000)),
            file("a/tests/whole.rs", lines(2000)),
            file("a/src/calls.rs", format!("//! The table of system calls.\n{}", lines(2000))),
        ]);
        assert_eq!(report.failures, 0, "{:?}", report.lines);
        assert_eq!(report.lines.len(), 1);
        assert!(report.lines[0].contains("1 files, 50 lines, mean 50"), "{:?}", report.lines);
        assert!(!is_table("//! Sets up the stable order."));
    }
}
