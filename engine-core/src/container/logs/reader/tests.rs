use std::fs::File;
use std::io::Write;

use flate2::{Compression, GzBuilder};
use proptest::prelude::*;

use super::*;

/// A log in a folder of a test's own, which a test turns over as a monitor does.
struct Log {
    folder: tempfile::TempDir,
}

impl Log {
    fn new() -> Log {
        let log = Log { folder: tempfile::tempdir().expect("a directory") };
        log.raw(b"");
        log
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("log")
    }

    fn raw(&self, bytes: &[u8]) {
        let mut file = File::options().append(true).create(true).open(self.path()).expect("opens");
        file.write_all(bytes).expect("writes");
    }

    fn write(&self, lines: impl IntoIterator<Item = impl std::fmt::Display>) {
        let text: String = lines
            .into_iter()
            .map(|line| {
                format!("{{\"log\":\"{line}\\n\",\"stream\":\"stdout\",\"time\":\"2026-11-28T00:00:00Z\"}}\n")
            })
            .collect();
        self.raw(text.as_bytes());
    }

    fn name(&self, index: u32, end: &str) -> PathBuf {
        let number = if index == 0 { String::new() } else { format!(".{index}") };
        self.folder.path().join(format!("log{number}{end}"))
    }

    /// As a monitor does, keeping `keep` files.
    fn put_aside(&self, keep: u32) {
        for end in ["", ".gz"] {
            let _ = std::fs::remove_file(self.name(keep - 1, end));
        }
        for index in (0..keep - 1).rev() {
            for end in ["", ".gz"] {
                let _ = std::fs::rename(self.name(index, end), self.name(index + 1, end));
            }
        }
        self.raw(b"");
    }

    /// As a monitor's child does, and the monitor after it.
    fn compress(&self, index: u32) {
        let (plain, packed) = (self.name(index, ""), self.name(index, ".gz"));
        let source = File::open(&plain).expect("opens");
        let metadata = source.metadata().expect("is there");
        let inode = std::os::unix::fs::MetadataExt::ino(&metadata);
        let extra = [b"in\x08\0".as_slice(), &inode.to_le_bytes()].concat();
        let target = File::create(&packed).expect("creates");
        let mut encoder = GzBuilder::new().extra(extra).write(target, Compression::fast());
        std::io::copy(&mut &source, &mut encoder).expect("copies");
        let target = encoder.finish().expect("ends");
        target.set_modified(metadata.modified().expect("a time")).expect("sets");
        std::fs::remove_file(plain).expect("removes");
    }

    fn open(&self, spec: LogsSpec) -> LogReader {
        LogReader::open(self.path(), &spec).expect("opens").expect("is there")
    }

    fn read(&self, tail: Option<usize>) -> Vec<String> {
        rest(&mut self.open(LogsSpec { tail, ..LogsSpec::default() }))
    }
}

fn following() -> LogsSpec {
    LogsSpec { follow: true, ..LogsSpec::default() }
}

/// All that there is to read.
fn rest(reader: &mut LogReader) -> Vec<String> {
    let mut lines = Vec::new();
    loop {
        match reader.batch().expect("reads") {
            entries if entries.is_empty() => return lines,
            entries => lines.extend(
                entries.iter().map(|entry| String::from_utf8_lossy(&entry.line).trim_end().to_owned()),
            ),
        }
    }
}

fn strings(numbers: impl IntoIterator<Item = u32>) -> Vec<String> {
    numbers.into_iter().map(|number| number.to_string()).collect()
}

#[test]
fn the_last_lines_are_the_last_lines() {
    let log = Log::new();
    assert!(log.read(Some(2)).is_empty());
    log.write(["one", "two", "three"]);
    assert_eq!(log.read(None), ["one", "two", "three"]);
    assert_eq!(log.read(Some(2)), ["two", "three"]);
    assert_eq!(log.read(Some(3)), ["one", "two", "three"]);
    assert_eq!(log.read(Some(9)), ["one", "two", "three"]);
    assert!(log.read(Some(0)).is_empty());
}

#[test]
fn the_last_lines_are_found_across_blocks_and_files() {
    let long = "x".repeat(40 << 10);
    let log = Log::new();
    log.write([&long, &long]);
    log.put_aside(3);
    log.write([&long]);
    log.put_aside(3);
    log.compress(2);
    log.write(["end"]);
    assert_eq!(log.read(Some(1)), ["end"]);
    assert_eq!(log.read(Some(2)), [long.as_str(), "end"]);
    assert_eq!(log.read(Some(3)), [long.as_str(), &long, "end"]);
    assert_eq!(log.read(Some(4)).len(), 4);
    assert_eq!(log.read(Some(40)).len(), 4);
}

#[test]
fn a_line_that_is_not_written_to_its_end_is_read_when_it_is() {
    let log = Log::new();
    log.write(["one"]);
    log.raw(br#"{"log":"two\n","#);
    let mut reader = log.open(following());
    assert_eq!(reader.batch().expect("reads").len(), 1);
    log.raw(b"\"stream\":\"stderr\",\"attrs\":{\"a\":\"b\"},\"time\":\"2026-11-28T00:00:00Z\"}\n");
    let entries = reader.batch().expect("reads");
    assert!(entries[0].stderr);
    assert_eq!(entries[0].line, "two\n");
    assert_eq!(entries[0].attributes["a"], "b");
}

#[test]
fn a_line_that_was_spoilt_does_not_withhold_the_others() {
    let log = Log::new();
    log.write(["one"]);
    log.raw(b"\0\0\0\0{\"log\":\"ha\nnot json\n");
    log.raw(&vec![b'x'; 2 * MAX_LINE + 7]);
    log.raw(b"\n");
    log.write(["two"]);
    assert_eq!(log.read(None), ["one", "two"]);
}

#[test]
fn half_an_entry_that_is_taken_back_is_forgotten() {
    let log = Log::new();
    log.write(["one"]);
    let size = std::fs::metadata(log.path()).expect("is there").len();
    log.raw(br#"{"log":"ha"#);
    let mut reader = log.open(following());
    assert_eq!(rest(&mut reader), ["one"]);
    File::options().write(true).open(log.path()).expect("opens").set_len(size).expect("cuts");
    assert!(rest(&mut reader).is_empty());
    log.write(["two"]);
    assert_eq!(rest(&mut reader), ["two"]);
}

#[test]
fn who_does_not_follow_reads_what_was_there() {
    let log = Log::new();
    log.write(0..3);
    let mut reader = log.open(LogsSpec::default());
    log.write(3..6);
    log.put_aside(3);
    log.write(6..9);
    assert_eq!(rest(&mut reader), strings(0..3));
    let mut reader = log.open(LogsSpec::default());
    log.put_aside(3);
    log.compress(1);
    log.write(9..12);
    assert_eq!(rest(&mut reader), strings(0..9));
}

#[test]
fn what_is_older_than_asked_for_is_not_even_read() {
    let log = Log::new();
    log.write(0..3);
    log.put_aside(3);
    let old = std::time::SystemTime::now() - std::time::Duration::from_secs(1000);
    File::options().write(true).open(log.name(1, "")).expect("opens").set_modified(old).expect("sets");
    log.write(3..6);
    let since = Some(Timestamp::from_nanos(Timestamp::now().nanos() - 500_000_000_000));
    assert_eq!(rest(&mut log.open(LogsSpec { since, ..following() })), strings(3..6));
}

#[test]
fn an_archive_that_was_damaged_does_not_withhold_the_other_files() {
    let log = Log::new();
    for round in 0..3 {
        log.write(round * 100..round * 100 + 100);
        log.put_aside(9);
        log.compress(1);
    }
    log.write(300..400);
    let archive = std::fs::read(log.name(2, ".gz")).expect("reads");
    std::fs::write(log.name(2, ".gz"), &archive[..archive.len() / 2]).expect("writes");
    std::fs::write(log.name(3, ".gz"), "no archive").expect("writes");
    for tail in [None, Some(1000)] {
        let lines = log.read(tail);
        assert!(lines.ends_with(&strings(200..400)), "{lines:?}");
    }
    assert_eq!(log.read(Some(150)), strings(250..400));
}

/// What may happen to a log while somebody reads it.
#[derive(Clone, Debug)]
enum Step {
    Write(u32),
    PutAside,
    Compress(u32),
    Read,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => (1..20u32).prop_map(Step::Write),
        2 => Just(Step::PutAside),
        2 => (1..6u32).prop_map(Step::Compress),
        3 => Just(Step::Read),
    ];
    prop::collection::vec(step, 0..60)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn whatever_happens_to_the_files_a_follower_misses_nothing(steps in steps()) {
        // So many are kept that nothing is dropped.
        const KEEP: u32 = 70;
        let log = Log::new();
        let mut follower = log.open(following());
        let (mut written, mut read) = (0, Vec::new());
        for step in steps {
            match step {
                Step::Write(count) => {
                    log.write(written..written + count);
                    written += count;
                }
                Step::PutAside => log.put_aside(KEEP),
                Step::Compress(index) if log.name(index, "").exists() => log.compress(index),
                Step::Compress(_) => {}
                Step::Read => read.extend(rest(&mut follower)),
            }
        }
        read.extend(rest(&mut follower));
        prop_assert_eq!(&read, &strings(0..written));
        prop_assert_eq!(log.read(None), read);
        for tail in [0, 1, 7, 33, 1000] {
            prop_assert_eq!(log.read(Some(tail as usize)), strings(written.saturating_sub(tail)..written));
        }
    }

    #[test]
    fn whatever_is_dropped_what_is_read_is_in_order_and_ends_with_the_last(steps in steps()) {
        let log = Log::new();
        let mut follower = log.open(following());
        let (mut written, mut read) = (0, Vec::new());
        for step in steps {
            match step {
                Step::Write(count) => {
                    log.write(written..written + count);
                    written += count;
                }
                Step::PutAside => log.put_aside(3),
                Step::Compress(index) if log.name(index, "").exists() => log.compress(index),
                Step::Compress(_) => {}
                Step::Read => read.extend(rest(&mut follower)),
            }
        }
        log.write([written]);
        read.extend(rest(&mut follower));
        let numbers: Vec<u32> = read.iter().map(|line| line.parse().expect("a number")).collect();
        prop_assert!(numbers.windows(2).all(|pair| pair[0] < pair[1]), "{:?}", numbers);
        prop_assert_eq!(numbers.last(), Some(&written));
    }

    #[test]
    fn whatever_is_in_a_log_is_read_to_its_end(bytes in prop::collection::vec(any::<u8>(), 0..3000)) {
        let log = Log::new();
        log.raw(&bytes);
        log.raw(b"\n");
        log.write(["end"]);
        let lines = log.read(None);
        prop_assert_eq!(lines.last().map(String::as_str), Some("end"));
        let _ = log.read(Some(3));
    }
}
