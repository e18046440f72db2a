//! The pass over an archive: its documents are kept in memory, everything else goes into the blob store.
//!
//! Blocking code on a thread of its own, because what it reads blocks: a file, a pipe, an upload.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, BufReader, Read, Seek, Write};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use sha2::{Digest as _, Sha256};

use super::stream;
use crate::error::{Error, ErrorKind, Result, Subject};
use crate::id::Digest;
use crate::image::driver::ImageStore;
use crate::image::hold::Hold;
use crate::image::manifest::MAX_CONFIG;
use crate::image::tar::source::Buffered;
use crate::image::tar::{Archive, Entry, Kind, Source, failed};

/// The most memory that the documents of an archive may take.
const MAX_DOCUMENTS: usize = 64 << 20;
/// The most entries of an archive.
const MAX_ENTRIES: usize = 200_000;
/// The longest names and attributes of an entry.
const MAX_HEADER: u64 = 256 << 10;
const CHUNK: usize = 256 << 10;
/// How many links may lead to one file.
const MAX_LINKS: usize = 8;

/// Ends the pass when the operation that waits for it is dropped.
pub(crate) struct Cancel(Arc<AtomicBool>);

/// What the pass looks at now and then.
#[derive(Clone)]
pub(crate) struct Watch(Arc<AtomicBool>);

impl Cancel {
    pub(crate) fn new() -> (Cancel, Watch) {
        let flag = Arc::new(AtomicBool::new(false));
        (Cancel(Arc::clone(&flag)), Watch(flag))
    }
}

impl Drop for Cancel {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}

impl Watch {
    pub(crate) fn check(&self) -> Result<()> {
        if self.0.load(Ordering::Acquire) {
            return Err(Error::new(ErrorKind::Cancelled, "archive").because("the operation was dropped"));
        }
        Ok(())
    }
}

/// What an archive holds, by the names in it.
#[derive(Default)]
pub(super) struct Scan {
    documents: HashMap<String, Bytes>,
    blobs: HashMap<String, (Digest, u64)>,
    links: HashMap<String, String>,
    /// The blobs that were not in the store before.
    pub(super) written: Vec<Digest>,
}

impl Scan {
    /// The document of that name.
    pub(super) fn document(&self, name: &str) -> Option<&Bytes> {
        self.follow(name, |name| self.documents.get(name))
    }

    /// The blob of that name, and its size.
    pub(super) fn blob(&self, name: &str) -> Option<&(Digest, u64)> {
        self.follow(name, |name| self.blobs.get(name))
    }

    fn follow<'a, T>(&'a self, name: &str, find: impl Fn(&str) -> Option<&'a T>) -> Option<&'a T> {
        let mut name = normal("", name)?;
        for _ in 0..MAX_LINKS {
            if let Some(found) = find(&name) {
                return Some(found);
            }
            name = self.links.get(&name)?.clone();
        }
        None
    }

    /// Reads the archive to its end. What it wrote stays noted in `self` if it fails.
    pub(super) fn run(
        &mut self,
        store: &dyn ImageStore,
        root: &Path,
        archive: Box<dyn Read + Send>,
        hold: &mut Hold,
        watch: &Watch,
    ) -> Result<()> {
        let stream = BufReader::with_capacity(CHUNK, stream::open("archive", archive)?);
        let mut archive = Archive::new(Buffered(stream), MAX_HEADER);
        let (mut count, mut memory) = (0, 0);
        while let Some(entry) = archive.next_entry()? {
            watch.check()?;
            count += 1;
            if count > MAX_ENTRIES {
                return Err(too_much("entries", MAX_ENTRIES));
            }
            let Some(path) = path(&entry) else { continue };
            let mut content = Content(&mut archive);
            match entry.kind {
                Kind::HardLink | Kind::SymbolicLink => self.link(path, &entry),
                Kind::File if is_document(&path) && entry.size <= MAX_CONFIG => {
                    let mut document = Vec::new();
                    content.read_to_end(&mut document).map_err(failed)?;
                    memory += document.len();
                    if memory > MAX_DOCUMENTS {
                        return Err(too_much("bytes of documents", MAX_DOCUMENTS));
                    }
                    self.documents.insert(path, document.into());
                }
                Kind::File if entry.size > 0 && entry.sparse.is_none() => {
                    let blob = match path.strip_prefix("blobs/sha256/") {
                        Some(encoded) => {
                            let digest: Digest = format!("sha256:{encoded}").parse()?;
                            hold.extend_now(&[digest.to_string()])?;
                            self.keep(store, &digest, entry.size, &mut content, watch)?;
                            (digest, entry.size)
                        }
                        // What it is turns out at its end.
                        None => {
                            let (mut file, digest, size) = spool(root, &mut content, watch)?;
                            hold.extend_now(&[digest.to_string()])?;
                            self.keep(store, &digest, size, &mut file, watch)?;
                            (digest, size)
                        }
                    };
                    self.blobs.insert(path, blob);
                }
                _ => {}
            }
        }
        drain(archive.into_source(), watch)
    }

    fn link(&mut self, path: String, entry: &Entry) {
        let Ok(link) = std::str::from_utf8(&entry.link) else { return };
        // A symbolic link leads on from where it lies, a hard link from the top of the archive.
        let from = match entry.kind {
            Kind::SymbolicLink => path.rsplit_once('/').map_or("", |(directory, _)| directory),
            _ => "",
        };
        if let Some(target) = normal(from, link) {
            self.links.insert(path, target);
        }
    }

    fn keep(
        &mut self,
        store: &dyn ImageStore,
        digest: &Digest,
        size: u64,
        content: &mut dyn Read,
        watch: &Watch,
    ) -> Result<()> {
        if ingest(store, digest, size, content, watch)? {
            self.written.push(digest.clone());
        }
        Ok(())
    }
}

/// The content of the present entry.
struct Content<'a, S>(&'a mut Archive<S>);

impl<S: Source> Read for Content<'_, S> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let bytes = self.0.data().map_err(io::Error::other)?;
        let count = bytes.len().min(into.len());
        into[..count].copy_from_slice(&bytes[..count]);
        self.0.consume(count);
        Ok(count)
    }
}

/// What follows the archive has no meaning, but whoever writes a pipe wants it to be read.
fn drain(mut source: impl Source, watch: &Watch) -> Result<()> {
    loop {
        watch.check()?;
        match source.fill()?.len() {
            0 => return Ok(()),
            count => source.consume(count),
        }
    }
}

fn too_much(what: &str, limit: usize) -> Error {
    Error::new(ErrorKind::LimitExceeded, "archive").because(format!("it has more than {limit} {what}"))
}

/// The entry's name as a key. What is no UTF-8 is no name that anybody asks for.
fn path(entry: &Entry) -> Option<String> {
    normal("", std::str::from_utf8(&entry.path).ok()?)
}

/// A name within the archive, seen from a directory of it, without `.` and `..`; `None` if it leaves the archive.
fn normal(directory: &str, name: &str) -> Option<String> {
    let from = if name.starts_with('/') { "" } else { directory };
    let mut parts: Vec<&str> = from.split('/').filter(|part| !part.is_empty()).collect();
    for part in name.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop()?;
            }
            part => parts.push(part),
        }
    }
    Some(parts.join("/"))
}

/// Whether a file is a document by its name. `json` and `VERSION` beside a layer are of the form before Docker 1.10.
fn is_document(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or_default();
    name.ends_with(".json")
        || matches!(path, "repositories" | "oci-layout")
        || matches!(name, "json" | "VERSION")
}

/// Writes a stream to a file without a name, in the store's file system; gives its digest and size too.
pub(crate) fn spool(root: &Path, from: &mut dyn Read, watch: &Watch) -> Result<(File, Digest, u64)> {
    let mut file = unnamed(root)?;
    let mut hash = Sha256::new();
    let mut size = 0;
    let mut chunk = vec![0; CHUNK];
    loop {
        watch.check()?;
        let n = match from.read(&mut chunk) {
            Ok(0) => break,
            Ok(n) => n,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
            Err(e) => return Err(failed(e)),
        };
        hash.update(&chunk[..n]);
        file.write_all(&chunk[..n]).subject(|| format!("store {}", root.display()))?;
        size += n as u64;
    }
    file.rewind().subject(|| format!("store {}", root.display()))?;
    Ok((file, Digest::from_sha256(&hash.finalize()), size))
}

/// A file that vanishes when it is closed.
pub(crate) fn unnamed(root: &Path) -> Result<File> {
    use rustix::fs::{CWD, Mode, OFlags, openat};
    let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
    openat(CWD, root, flags, Mode::RUSR | Mode::WUSR)
        .map(File::from)
        .subject(|| format!("a temporary file in {}", root.display()))
}

/// Puts content into the store as the blob that it must be; whether it was not there before is the answer. Blocks, and
/// must run on tokio's blocking pool.
pub(crate) fn ingest(
    store: &dyn ImageStore,
    digest: &Digest,
    size: u64,
    content: &mut dyn Read,
    watch: &Watch,
) -> Result<bool> {
    let runtime = tokio::runtime::Handle::current();
    if runtime.block_on(store.stat(digest))?.is_some() {
        return Ok(false);
    }
    let mut writer = runtime.block_on(store.begin(digest, size))?;
    if runtime.block_on(store.stat(digest))?.is_some() {
        return Ok(false);
    }
    if writer.offset() > 0 {
        writer.restart()?;
    }
    let mut chunk = vec![0; CHUNK];
    loop {
        watch.check()?;
        match content.read(&mut chunk) {
            Ok(0) => break,
            Ok(n) => writer.write(&chunk[..n])?,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(failed(e)),
        }
    }
    writer.finish().map(|()| true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_keys_that_stay_within_the_archive() {
        assert_eq!(normal("", "./a//b/."), Some("a/b".to_owned()));
        assert_eq!(normal("one", "../two/layer.tar"), Some("two/layer.tar".to_owned()));
        assert_eq!(normal("one", "/two"), Some("two".to_owned()));
        assert_eq!(normal("one", "../../etc/passwd"), None);
    }

    #[test]
    fn links_are_followed_but_not_for_ever() {
        let mut scan = Scan::default();
        scan.documents.insert("a/json".into(), Bytes::from_static(b"{}"));
        scan.links.insert("b".into(), "a/json".into());
        scan.links.insert("loop".into(), "pool".into());
        scan.links.insert("pool".into(), "loop".into());
        assert!(scan.document("./b").is_some());
        assert!(scan.document("loop").is_none());
        assert!(scan.document("../b").is_none());
    }
}
