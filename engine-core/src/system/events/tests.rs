use std::io::Write;
use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::event::EventKind;

/// A journal with these lines, and the way to it.
fn journal(text: &[u8]) -> (tempfile::TempDir, PathBuf) {
    let run = tempfile::tempdir().expect("a directory");
    let path = journal::path(run.path());
    std::fs::write(&path, text).expect("writes");
    (run, path)
}

fn tell(run: &Path, id: usize) {
    journal::tell(run, &SystemEvent::now(EventKind::Container, "start", id.to_string()));
}

fn put_aside(path: &Path) {
    std::fs::rename(path, journal::older(path)).expect("renames");
}

fn ids(reader: &mut Reader) -> Vec<usize> {
    let mut ids = Vec::new();
    loop {
        match reader.batch().expect("reads") {
            events if events.is_empty() => return ids,
            events => ids.extend(events.iter().map(|event| event.id.parse::<usize>().expect("a number"))),
        }
    }
}

#[test]
fn a_reader_goes_on_through_files_that_were_put_aside() {
    let (run, path) = journal(b"");
    let mut late = Reader::open(path.clone(), false).expect("opens");
    for id in 0..10 {
        tell(run.path(), id);
        if id == 2 || id == 5 {
            put_aside(&path);
        }
        // It is at the first file when that is put aside, and asleep while the second one comes and goes.
        if id == 1 {
            assert_eq!(ids(&mut late), [0, 1]);
        }
    }
    assert_eq!(ids(&mut late), [2, 3, 4, 5, 6, 7, 8, 9]);
    assert_eq!(ids(&mut Reader::open(path.clone(), true).expect("opens")), [3, 4, 5, 6, 7, 8, 9]);
    assert!(ids(&mut Reader::open(path, false).expect("opens")).is_empty());
}

#[test]
fn a_journal_that_is_not_there_yet_is_read_when_it_is() {
    let run = tempfile::tempdir().expect("a directory");
    let mut reader = Reader::open(journal::path(run.path()), true).expect("opens");
    assert!(ids(&mut reader).is_empty());
    tell(run.path(), 7);
    assert_eq!(ids(&mut reader), [7]);
}

#[test]
fn half_a_line_is_waited_for_and_one_without_end_is_skipped() {
    let (run, path) = journal(b"");
    tell(run.path(), 1);
    let whole = std::fs::read(&path).expect("reads");
    let (head, tail) = whole.split_at(20);
    let (_run, path) = journal(&[&whole, head].concat());
    let mut reader = Reader::open(path.clone(), true).expect("opens");
    assert_eq!(ids(&mut reader), [1]);
    let mut file = File::options().append(true).open(&path).expect("opens");
    file.write_all(tail).expect("writes");
    assert_eq!(ids(&mut reader), [1]);
    file.write_all(&vec![b'x'; 3 * MAX_LINE]).expect("writes");
    file.write_all(b"\n").expect("writes");
    file.write_all(&whole).expect("writes");
    assert_eq!(ids(&mut reader), [1]);
}

#[tokio::test]
async fn what_is_past_ends_and_what_is_to_come_is_waited_for() {
    let (run, path) = journal(b"");
    tell(run.path(), 1);
    let reader = Reader::open(path.clone(), true).expect("opens");
    let mut spec = EventsSpec { until: Some(Timestamp::now()), ..EventsSpec::default() };
    let stream = |reader, spec: &EventsSpec, changes| EventStream {
        reader: Some(reader),
        events: Vec::new().into_iter(),
        spec: spec.clone(),
        changes,
    };
    let mut past = stream(reader, &spec, None);
    assert_eq!(past.next().await.expect("reads").expect("one").id, "1");
    assert_eq!(past.next().await.expect("reads"), None);

    spec.until = Some(Timestamp::from_nanos(Timestamp::now().nanos() + 600_000_000));
    let changes = watched::folder(run.path()).expect("watches");
    let mut live = stream(Reader::open(path, false).expect("opens"), &spec, Some(changes));
    let folder = run.path().to_owned();
    let teller = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(50));
        tell(&folder, 2);
    });
    assert_eq!(live.next().await.expect("reads").expect("one").id, "2");
    assert_eq!(live.next().await.expect("reads"), None, "it ends at its time");
    teller.join().expect("ends");
}

proptest! {
    #[test]
    fn whatever_is_in_a_journal_is_read_to_its_end(text in prop::collection::vec(any::<u8>(), 0..4000)) {
        let (_run, path) = journal(&[text.as_slice(), b"\n{\"Type\":\"container\",\"Action\":\"die\",\
            \"Actor\":{\"ID\":\"5\"},\"timeNano\":1}\n"].concat());
        let mut reader = Reader::open(path, true).expect("opens");
        let mut last = None;
        while let Some(event) = reader.batch().expect("reads").pop() {
            last = Some(event.id);
        }
        prop_assert_eq!(last.as_deref(), Some("5"));
    }
}
