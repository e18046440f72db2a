//! Which entry of an index is meant: a choice that depends on the index and the platform alone, so it is the same on
//! every run.

use super::manifest::Index;
use crate::error::{Error, ErrorKind, Result};
use crate::spec::{Descriptor, Platform};

/// What build tools note on entries that describe another entry, and are no image themselves.
const REFERENCE_TYPE: &str = "vnd.docker.reference.type";

/// The entry for `wanted`: of those that run there the best suited, the first of equals. An entry that does not say
/// what it is for is taken where nothing better is there.
///
/// # Errors
/// [`ErrorKind::NotFound`], naming the platforms that there are.
pub(crate) fn choose<'a>(subject: &str, index: &'a Index, wanted: &Platform) -> Result<&'a Descriptor> {
    let images = || index.entries.iter().filter(|entry| is_image(entry));
    let mut best: Option<(&Descriptor, String)> = None;
    for entry in images() {
        let Some(platform) = entry.platform.as_ref().filter(|platform| platform.runs_on(wanted)) else {
            continue;
        };
        let rank = platform.rank();
        if best.as_ref().is_none_or(|(_, highest)| rank > *highest) {
            best = Some((entry, rank));
        }
    }
    if let Some((entry, _)) = best {
        return Ok(entry);
    }
    if let Some(entry) = images().find(|entry| entry.platform.is_none()) {
        return Ok(entry);
    }
    let mut there: Vec<String> =
        images().filter_map(|entry| Some(entry.platform.as_ref()?.to_string())).collect();
    there.sort();
    there.dedup();
    let error = Error::new(ErrorKind::NotFound, subject)
        .because(format!("no matching manifest for {wanted} in the manifest list entries"));
    Err(match there.len() {
        0 => error,
        1..=20 => error.with_remedy(format!("choose a platform of: {}", there.join(", "))),
        more => {
            error.with_remedy(format!("choose one of its {more} platforms: {}, …", there[..20].join(", ")))
        }
    })
}

/// Whether the entry is an image or an index of images; not an attestation about one.
pub(super) fn is_image(entry: &Descriptor) -> bool {
    let unknown = entry.platform.as_ref().is_some_and(|p| p.os == "unknown" && p.architecture == "unknown");
    let refers = entry.annotations.as_ref().is_some_and(|notes| notes.contains_key(REFERENCE_TYPE));
    !unknown && !refers
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::Digest;
    use crate::image::manifest::OCI_MANIFEST;

    fn entry(platform: &str, n: u8) -> Descriptor {
        let mut entry = Descriptor::new(OCI_MANIFEST, Digest::of(&[n]), 1);
        entry.platform = (!platform.is_empty()).then(|| platform.parse().expect("well formed"));
        entry
    }

    fn index(platforms: &[&str]) -> Index {
        Index { entries: platforms.iter().zip(0..).map(|(platform, n)| entry(platform, n)).collect() }
    }

    fn chosen(platforms: &[&str], wanted: &str) -> Option<usize> {
        let index = index(platforms);
        let chosen = choose("image x", &index, &wanted.parse().expect("well formed")).ok()?.clone();
        index.entries.iter().position(|entry| *entry == chosen)
    }

    #[test]
    fn the_best_of_those_that_run_is_chosen() {
        let all =
            ["linux/arm/v5", "linux/amd64", "linux/arm/v7", "linux/arm/v6", "linux/arm64/v8", "linux/amd64"];
        assert_eq!(chosen(&all, "linux/amd64"), Some(1));
        assert_eq!(chosen(&all, "linux/arm/v7"), Some(2));
        assert_eq!(chosen(&all, "linux/arm/v6"), Some(3));
        assert_eq!(chosen(&all, "linux/arm64"), Some(4));
        assert_eq!(chosen(&all, "linux/s390x"), None);
    }

    #[test]
    fn attestations_are_never_chosen() {
        assert_eq!(chosen(&["unknown/unknown", ""], "linux/amd64"), Some(1));
        let mut attestation = index(&[""]);
        attestation.entries[0].annotations =
            Some([(REFERENCE_TYPE.to_owned(), "attestation-manifest".to_owned())].into());
        assert!(choose("image x", &attestation, &Platform::host()).is_err());
    }

    #[test]
    fn where_nothing_matches_the_error_says_what_there_is() {
        let index = index(&["linux/s390x", "windows/amd64", "linux/s390x"]);
        let error =
            choose("image x", &index, &"linux/amd64".parse().expect("well formed")).expect_err("no match");
        assert_eq!(error.kind(), ErrorKind::NotFound);
        assert!(error.remedy().is_some_and(|remedy| remedy.ends_with(": linux/s390x, windows/amd64")));
    }
}
