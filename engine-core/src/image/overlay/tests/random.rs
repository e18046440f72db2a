//! Archives that nobody wrote: random bytes, and proper archives with random changes.

use proptest::prelude::*;

use super::{Fixture, TestTar};
use crate::id::Digest;
use crate::image::overlay::UnpackLimits;
use crate::image::tar::Archive;
use crate::image::tar::source::Buffered;

/// Names that are likely to meet each other, and to lead somewhere.
fn name() -> impl Strategy<Value = String> {
    let part = prop_oneof![
        4 => prop::sample::select(vec!["a", "b", "c", "d"]).prop_map(str::to_owned),
        1 => prop::sample::select(vec!["..", ".", "", ".wh.a", ".wh.b", ".wh..wh..opq", ".wh...", "outside"])
            .prop_map(str::to_owned),
        1 => "[a-z]{1,120}",
    ];
    (any::<bool>(), prop::collection::vec(part, 1..5))
        .prop_map(|(absolute, parts)| format!("{}{}", if absolute { "/" } else { "" }, parts.join("/")))
}

#[derive(Clone, Debug)]
enum Step {
    File(String),
    Dir(String),
    Symlink(String, String),
    Link(String, String),
    Device(String, u32, u32),
    Raw(u8, String, String, u64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        name().prop_map(Step::File),
        name().prop_map(Step::Dir),
        (name(), name()).prop_map(|(a, b)| Step::Symlink(a, b)),
        (name(), name()).prop_map(|(a, b)| Step::Symlink(a, format!("../../../../{b}"))),
        (name(), name()).prop_map(|(a, b)| Step::Link(a, b)),
        (name(), 0..3u32, 0..5u32).prop_map(|(a, b, c)| Step::Device(a, b, c)),
        (any::<u8>(), name(), name(), 0..2000u64).prop_map(|(a, b, c, d)| Step::Raw(a, b, c, d)),
    ]
}

fn archive(steps: &[Step]) -> Vec<u8> {
    let tar = steps.iter().fold(TestTar::new(), |tar, step| match step {
        Step::File(name) => tar.file(name, "content"),
        Step::Dir(name) => tar.dir(name, 0o755),
        Step::Symlink(name, target) => tar.symlink(name, target),
        Step::Link(name, target) => tar.link(name, target),
        Step::Device(name, major, minor) => tar.device(name, *major, *minor),
        Step::Raw(flag, name, link, size) => {
            tar.raw(*flag, name.as_bytes(), link.as_bytes(), 0o7777, *size, &vec![b'1'; *size as usize])
        }
    });
    tar.end()
}

/// Unpacks on top of a layer, and checks that only the store was touched, and that a refusal left nothing.
fn check(fixture: &Fixture, tar: &[u8]) -> Result<(), TestCaseError> {
    let outside = fixture.directory.path().join("outside");
    let parent = fixture.apply(None, &TestTar::new().file("a/b/c", "x").end()).expect("unpacks").chain;
    let before = fixture.everything();
    let result = fixture.apply(Some(&parent), tar);
    prop_assert_eq!(std::fs::read_to_string(outside.join("file")).expect("reads"), "untouched");
    prop_assert_eq!(std::fs::read_dir(&outside).expect("reads").count(), 1);
    match result {
        Ok(layer) => super::block_on(crate::image::driver::LayerStore::delete(&fixture.store, &layer.chain))
            .expect("deletes"),
        Err(error) => prop_assert!(!error.is(crate::ErrorKind::Internal), "{:?}", error),
    }
    prop_assert_eq!(fixture.everything(), before);
    Ok(())
}

thread_local! {
    static FIXTURE: Fixture = Fixture::with(UnpackLimits { layer_bytes: 8 << 20, ..UnpackLimits::default() });
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn entries_in_any_order_touch_only_their_layer(steps in prop::collection::vec(step(), 1..12)) {
        FIXTURE.with(|fixture| check(fixture, &archive(&steps)))?;
    }

    #[test]
    fn changed_archives_touch_only_their_layer(
        steps in prop::collection::vec(step(), 1..8),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
        cut in any::<prop::sample::Index>(),
    ) {
        let mut tar = archive(&steps);
        for (at, byte) in changes {
            let at = at.index(tar.len());
            tar[at] = byte;
        }
        // Checksums that fit again, so that the changes get past the first check.
        for block in tar.chunks_exact_mut(512) {
            if block[257..262] == *b"ustar" {
                block[148..156].copy_from_slice(b"        ");
                let sum: u32 = block.iter().map(|b| u32::from(*b)).sum();
                block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
            }
        }
        if cut.index(4) == 0 {
            let length = cut.index(tar.len());
            tar.truncate(length);
        }
        FIXTURE.with(|fixture| check(fixture, &tar))?;
    }

    #[test]
    fn the_reader_takes_any_bytes(
        bytes in prop::collection::vec(any::<u8>(), 0..3000),
        pax in prop::collection::vec(any::<u8>(), 0..600),
        sparse in "[0-9,\n]{0,600}",
    ) {
        let framed = TestTar::new()
            .raw(b'x', b"pax", b"", 0, pax.len() as u64, &pax)
            .pax(&[("GNU.sparse.major", b"1"), ("GNU.sparse.minor", b"0"), ("GNU.sparse.realsize", b"99999")])
            .raw(b'0', b"sparse", b"", 0, 1536, sparse.as_bytes())
            .raw(b'S', b"old", b"", 0, 512, &bytes)
            .end();
        for input in [bytes, framed] {
            let mut archive = Archive::new(Buffered(&input[..]), 1 << 20);
            while let Ok(Some(entry)) = archive.next_entry() {
                prop_assert!(entry.size <= i64::MAX as u64);
            }
            let _ = Digest::of(&input);
        }
    }
}
