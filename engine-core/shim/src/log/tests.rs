use std::string::{String, ToString};
use std::vec::Vec;

use super::*;

/// A folder for a log of a test's own.
struct Folder(std::path::PathBuf);

impl Folder {
    fn new() -> Folder {
        static COUNT: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
        let n = COUNT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let path = std::env::temp_dir().join(std::format!("engine-log-test-{}-{n}", std::process::id()));
        std::fs::create_dir_all(&path).expect("a directory");
        Folder(path)
    }

    fn path(&self) -> String {
        self.0.join("log").to_str().expect("a path").to_string()
    }

    fn open(&self, logging: &Logging) -> Log {
        Log::open(&self.path(), logging, 0).expect("opens")
    }

    fn names(&self) -> Vec<String> {
        let entries = std::fs::read_dir(&self.0).expect("lists");
        let mut names: Vec<String> = entries
            .map(|entry| entry.expect("reads").file_name().to_str().expect("text").to_string())
            .collect();
        names.sort();
        names
    }

    /// The content of one file, decompressed if it has to be.
    fn read(&self, name: &str) -> String {
        let bytes = std::fs::read(self.0.join(name)).expect("reads");
        if !name.ends_with(".gz") {
            return String::from_utf8(bytes).expect("text");
        }
        let output =
            std::process::Command::new("gzip").arg("-dc").arg(self.0.join(name)).output().expect("gzip");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("text")
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Runs one of the tests that are ignored in a process of its own, where no other thread holds the allocator's lock
/// while it forks.
fn alone(test: &str, before: &[&str], path: &str) {
    let exe = std::env::current_exe().expect("a path").to_str().expect("text").to_string();
    let words: Vec<&str> = before.iter().copied().chain([exe.as_str()]).collect();
    let status = std::process::Command::new(words[0])
        .args(&words[1..])
        .args(["--exact", &std::format!("log::tests::{test}"), "--ignored", "--test-threads=1"])
        .env("ENGINE_LOG_TEST", path)
        .stdout(std::process::Stdio::null())
        .status()
        .expect("runs");
    assert!(status.success(), "{test} failed: run it by its name");
}

/// The log of some writes to standard output, at time 0.
fn logged(writes: &[&[u8]]) -> String {
    let folder = Folder::new();
    let mut log = folder.open(&Logging::default());
    for bytes in writes {
        log.write(Stream::Stdout, bytes, 0);
    }
    log.finish(0);
    folder.read("log")
}

fn line(log: &str) -> String {
    std::format!("{{\"log\":\"{log}\",\"stream\":\"stdout\",\"time\":\"1970-01-01T00:00:00Z\"}}\n")
}

#[test]
fn a_line_is_logged_when_it_is_complete_or_the_output_ends() {
    assert_eq!(logged(&[b"one\ntw", b"o\nthree"]), line("one\\n") + &line("two\\n") + &line("three"));
    assert_eq!(logged(&[b"\n\n"]), line("\\n") + &line("\\n"));
    assert_eq!(logged(&[]), "");
}

#[test]
fn what_json_cannot_hold_is_escaped_or_replaced() {
    assert_eq!(logged(&[b"\"\\\t\x00\xff\xc3\xa4\n"]), line("\\\"\\\\\\t\\u0000\u{fffd}ä\\n"));
}

#[test]
fn a_long_line_is_cut_between_characters() {
    let mut long = alloc::vec![b'x'; MAX_LINE - 1];
    long.extend_from_slice("ä".as_bytes());
    long.push(b'\n');
    let head = "x".repeat(MAX_LINE - 1);
    assert_eq!(logged(&[&long]), line(&head) + &line("ä\\n"));
}

#[test]
fn attributes_are_in_every_entry() {
    let folder = Folder::new();
    let logging = Logging { attributes: "\"attrs\":{\"tag\":\"x\"},".to_string(), ..Logging::default() };
    let mut log = folder.open(&logging);
    log.write(Stream::Stderr, b"one\n", 0);
    log.finish(0);
    let expected = "{\"log\":\"one\\n\",\"stream\":\"stderr\",\"attrs\":{\"tag\":\"x\"},\"time\":\"1970-01-01T00:00:00Z\"}\n";
    assert_eq!(folder.read("log"), expected);
}

/// Writes numbered lines in bursts of a hundred.
fn write_numbers(log: &mut Log, numbers: core::ops::Range<usize>) {
    let numbers: Vec<usize> = numbers.collect();
    for burst in numbers.chunks(100) {
        let text: String = burst.iter().map(|n| std::format!("line {n}\n")).collect();
        log.write(Stream::Stdout, text.as_bytes(), 0);
    }
}

fn numbers(text: &str) -> Vec<usize> {
    text.lines()
        .map(|line| line.split_once("line ").and_then(|(_, rest)| rest.split_once('\\')).expect("an entry").0)
        .map(|number| number.parse().expect("a number"))
        .collect()
}

#[test]
fn files_are_put_aside_and_the_oldest_go() {
    let folder = Folder::new();
    let logging = Logging { max_size: 10_000, max_files: 3, ..Logging::default() };
    let mut log = folder.open(&logging);
    write_numbers(&mut log, 0..1000);
    log.finish(0);
    assert_eq!(folder.names(), ["log", "log.1", "log.2"]);
    let kept = numbers(&["log.2", "log.1", "log"].map(|name| folder.read(name)).concat());
    assert_eq!(kept, (kept[0]..1000).collect::<Vec<_>>(), "no line is missing among those kept");
    for name in ["log.1", "log.2"] {
        let size = folder.read(name).len();
        assert!((10_000..10_100).contains(&size), "{name} has {size} bytes");
    }
}

#[test]
fn a_single_file_begins_anew() {
    let folder = Folder::new();
    let logging = Logging { max_size: 10_000, max_files: 1, ..Logging::default() };
    let mut log = folder.open(&logging);
    write_numbers(&mut log, 0..1000);
    log.finish(0);
    assert_eq!(folder.names(), ["log"]);
    assert_eq!(numbers(&folder.read("log")).last(), Some(&999));
}

#[test]
fn what_is_put_aside_is_compressed_beside_the_work() {
    alone("compresses_beside_the_work", &[], "");
}

#[test]
#[ignore = "is run by the test above, in a process of its own"]
fn compresses_beside_the_work() {
    let folder = Folder::new();
    let logging = Logging { max_size: 50_000, max_files: 10, compress: true, ..Logging::default() };
    let mut log = folder.open(&logging);
    for burst in 0..20 {
        write_numbers(&mut log, burst * 200..(burst + 1) * 200);
        if burst % 3 == 0 && log.compressor().is_some() {
            // Blocks until it has ended, which the hub waits for with everything else.
            log.compressed();
        }
    }
    while log.compressor().is_some() {
        log.compressed();
    }
    log.finish(0);
    let names = folder.names();
    assert!(names.len() > 4, "{names:?}");
    assert!(names.iter().all(|name| name == "log" || name.ends_with(".gz")), "{names:?}");
    let text: String = (0..names.len())
        .rev()
        .map(|i| folder.read(&if i == 0 { "log".to_string() } else { std::format!("log.{i}.gz") }))
        .collect();
    assert_eq!(numbers(&text), (0..4000).collect::<Vec<_>>());
    // The inode of the youngest is in its header.
    let packed = std::fs::read(folder.0.join("log.1.gz")).expect("reads");
    assert_eq!(&packed[12..16], b"in\x08\0");
}

#[test]
fn what_a_killed_monitor_left_is_mended() {
    alone("mends_what_was_left", &[], "");
}

#[test]
#[ignore = "is run by the test above, in a process of its own"]
fn mends_what_was_left() {
    let folder = Folder::new();
    let logging = Logging { max_size: 50_000, max_files: 10, compress: true, ..Logging::default() };
    let mut log = folder.open(&logging);
    write_numbers(&mut log, 0..2000);
    // As if it was killed now: its child is, and half an entry was written.
    log.files.give_up();
    drop(log);
    let mut text = folder.read("log");
    text.push_str("{\"log\":\"hal");
    std::fs::write(folder.path(), &text).expect("writes");
    std::fs::write(folder.0.join("log.part"), "half").expect("writes");
    let mut log = folder.open(&logging);
    write_numbers(&mut log, 2000..2010);
    while log.compressor().is_some() {
        log.compressed();
    }
    log.finish(0);
    let names = folder.names();
    assert!(!names.contains(&"log.part".to_string()) && names.contains(&"log.2.gz".to_string()), "{names:?}");
    let last = numbers(&folder.read("log"));
    assert_eq!(last.last(), Some(&2009));
    assert!(last.windows(2).all(|pair| pair[0] + 1 == pair[1]), "{last:?}");
}

#[test]
fn a_full_disk_loses_entries_and_no_half_one_stays() {
    // /dev/full would not do, as it cannot be cut: a limit of this process's files stands in for the disk's.
    let folder = Folder::new();
    let path = folder.path();
    alone("writes_more_than_it_may", &["prlimit", "--fsize=20000"], &path);
    let kept = numbers(&folder.read("log"));
    assert!(kept.len() > 100 && kept.len() < 1000, "{}", kept.len());
    assert_eq!(kept, (0..kept.len()).collect::<Vec<_>>());
}

#[test]
#[ignore = "is run by the test above, in a process with a limit"]
fn writes_more_than_it_may() {
    let Ok(path) = std::env::var("ENGINE_LOG_TEST") else { return };
    crate::sys::ignore_signals();
    let mut log = Log::open(&path, &Logging::default(), 0).expect("opens");
    write_numbers(&mut log, 0..1000);
    log.finish(0);
}
