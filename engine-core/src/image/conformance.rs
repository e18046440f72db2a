//! What every image store must do: the promises of `driver.rs`, each as a check that any implementation can run.
//!
//! ```text
//! #[tokio::test]
//! async fn my_store_is_an_image_store() {
//!     image::conformance::image_store(&MyStore::open(dir)?).await.unwrap();
//! }
//! ```

use std::io::{Cursor, Read};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::driver::{
    Base, BlobStore, CaptureSpec, ImageLayer, ImageRecord, ImageStore, LayerSource, LayerStore,
};
use crate::error::{Error, ErrorKind, Result};
use crate::id::{ChainId, Digest};
use crate::reference::Reference;
use crate::spec::{Compression, Platform, RootMount, Timestamp};
use crate::sys::beneath::RootDir;
use crate::sys::overlay_view;

/// Runs all checks on an empty store.
///
/// # Errors
/// The first call that failed and should not have.
///
/// # Panics
/// If a promise is not kept.
pub async fn image_store(store: &dyn ImageStore) -> Result<()> {
    a_blob_is_there_when_it_is_finished_and_not_before(store).await?;
    a_blob_goes_on_where_it_stopped(store).await?;
    a_blob_that_is_another_one_is_refused(store).await?;
    a_second_writer_waits(store).await?;
    a_layer_is_there_whole_or_not_at_all(store).await?;
    layers_may_come_in_any_order(store).await?;
    a_container_has_a_tree_of_its_own(store).await?;
    a_tree_becomes_a_layer(store).await?;
    names_point_at_images(store).await
}

async fn put(store: &dyn ImageStore, bytes: &[u8]) -> Result<Digest> {
    let digest = Digest::of(bytes);
    let mut writer = store.begin(&digest, bytes.len() as u64).await?;
    writer.write(bytes)?;
    writer.finish()?;
    Ok(digest)
}

async fn content(store: &dyn ImageStore, digest: &Digest, offset: u64) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let mut reader = store.read(digest, offset).await?;
    reader.read_to_end(&mut bytes).map_err(|e| Error::io("blob", e))?;
    Ok(bytes)
}

async fn a_blob_is_there_when_it_is_finished_and_not_before(store: &dyn ImageStore) -> Result<()> {
    let digest = Digest::of(b"content");
    assert_eq!(store.stat(&digest).await?, None);
    assert!(store.read(&digest, 0).await.is_err_and(|e| e.is(ErrorKind::NotFound)));
    let mut writer = store.begin(&digest, 7).await?;
    writer.write(b"con")?;
    assert_eq!(writer.offset(), 3);
    writer.write(b"tent")?;
    assert_eq!(store.stat(&digest).await?, None, "a blob was visible before it was finished");
    writer.finish()?;
    assert_eq!(store.stat(&digest).await?, Some(7));
    assert_eq!(content(store, &digest, 3).await?, b"tent");
    assert_eq!(BlobStore::list(store).await?, [(digest.clone(), 7)]);
    let empty = put(store, b"").await?;
    assert_eq!(store.stat(&empty).await?, Some(0));
    // Twice is fine.
    store.begin(&digest, 7).await?.finish()?;
    for digest in [&digest, &empty, &digest] {
        BlobStore::delete(store, digest).await?;
        assert_eq!(store.stat(digest).await?, None);
    }
    Ok(())
}

async fn a_blob_goes_on_where_it_stopped(store: &dyn ImageStore) -> Result<()> {
    let digest = Digest::of(b"0123456789");
    let mut writer = store.begin(&digest, 10).await?;
    writer.write(b"0123")?;
    drop(writer);
    let mut writer = store.begin(&digest, 10).await?;
    let mut existing = Vec::new();
    writer.existing()?.read_to_end(&mut existing).map_err(|e| Error::io("blob", e))?;
    assert_eq!((writer.offset(), &existing[..]), (4, &b"0123"[..]));
    writer.restart()?;
    assert_eq!(writer.offset(), 0);
    writer.write(b"0123456789")?;
    writer.finish()?;
    assert_eq!(content(store, &digest, 0).await?, b"0123456789");
    BlobStore::delete(store, &digest).await?;
    let mut writer = store.begin(&digest, 10).await?;
    assert_eq!(writer.offset(), 0);
    writer.write(b"0123")?;
    drop(writer);
    assert_eq!(BlobStore::sweep(store).await?, 4);
    assert_eq!(store.begin(&digest, 10).await?.offset(), 0, "what was swept is there");
    BlobStore::sweep(store).await.map(drop)
}

async fn a_blob_that_is_another_one_is_refused(store: &dyn ImageStore) -> Result<()> {
    let digest = Digest::of(b"right");
    for (bytes, size) in [(&b"wrong"[..], 5), (b"righ", 5)] {
        let mut writer = store.begin(&digest, size).await?;
        writer.write(bytes)?;
        assert!(writer.finish().is_err_and(|e| e.is(ErrorKind::Corrupt)));
        assert_eq!(store.stat(&digest).await?, None);
        assert_eq!(store.begin(&digest, size).await?.offset(), 0, "something wrong was kept");
    }
    let mut writer = store.begin(&digest, 3).await?;
    assert!(writer.write(b"right").is_err_and(|e| e.is(ErrorKind::Corrupt)), "it is longer than announced");
    drop(writer);
    BlobStore::sweep(store).await.map(drop)
}

async fn a_second_writer_waits(store: &dyn ImageStore) -> Result<()> {
    let digest = Digest::of(b"content");
    let mut first = store.begin(&digest, 7).await?;
    let second = tokio::time::timeout(Duration::from_millis(100), store.begin(&digest, 7)).await;
    assert!(second.is_err(), "two wrote the same blob");
    first.write(b"cont")?;
    let waiting = store.begin(&digest, 7);
    let finish = async {
        tokio::time::sleep(Duration::from_millis(20)).await;
        first.write(b"ent")?;
        first.finish()
    };
    let (second, finished) = futures_util::future::join(waiting, finish).await;
    finished?;
    assert_eq!(second?.offset(), 7);
    BlobStore::delete(store, &digest).await
}

/// One file or directory of a layer.
struct Item<'a>(&'a str, u32, &'a str);

fn tar(items: &[Item<'_>]) -> Result<Vec<u8>> {
    let mut builder = tar::Builder::new(Vec::new());
    for Item(path, mode, text) in items {
        let mut header = tar::Header::new_gnu();
        header.set_mode(*mode);
        header.set_mtime(1_600_000_000);
        header.set_size(text.len() as u64);
        let kind = if path.ends_with('/') { tar::EntryType::Directory } else { tar::EntryType::Regular };
        header.set_entry_type(kind);
        builder.append_data(&mut header, path, text.as_bytes()).map_err(|e| Error::io("test archive", e))?;
    }
    builder.into_inner().map_err(|e| Error::io("test archive", e))
}

fn source(parent: Option<&ChainId>, tar: &[u8], diff_id: Digest) -> LayerSource {
    let stream = Box::new(Cursor::new(tar.to_vec()));
    LayerSource { parent: parent.cloned(), diff_id, compression: Compression::None, stream }
}

/// Reads a layered file system as a container would see it.
fn look(mounts: &[RootMount]) -> Result<RootDir> {
    let [RootMount::Overlay { lower, upper, .. }] = mounts else {
        return Err(Error::internal("conformance", "these mounts are unknown to the suite"));
    };
    let upper = upper.iter().map(|(upper, _)| upper);
    let all: Vec<&Path> = upper.chain(lower).map(PathBuf::as_path).collect();
    overlay_view(&all).map(RootDir::from)
}

fn text(root: &RootDir, path: &str) -> Option<String> {
    let mut text = String::new();
    root.open_file(path.as_ref(), rustix::fs::OFlags::RDONLY).ok()?.read_to_string(&mut text).ok()?;
    Some(text)
}

fn mode(root: &RootDir, path: &str) -> Option<u32> {
    root.stat(path.as_ref()).ok().map(|stat| stat.st_mode & 0o7777)
}

async fn a_layer_is_there_whole_or_not_at_all(store: &dyn ImageStore) -> Result<()> {
    let tar = tar(&[Item("etc/", 0o755, ""), Item("etc/name", 0o640, "value")])?;
    let chain = ChainId::extend(None, &Digest::of(&tar));
    for (stream, diff_id, kind) in [
        (&tar[..600], Digest::of(&tar), ErrorKind::Corrupt),
        (&tar[..], Digest::of(b"another"), ErrorKind::Corrupt),
        (b"no archive", Digest::of(b"no archive"), ErrorKind::Corrupt),
    ] {
        let wrong = ChainId::extend(None, &diff_id);
        assert!(store.apply(source(None, stream, diff_id)).await.is_err_and(|e| e.is(kind)));
        assert!(!store.has(&wrong).await?, "a layer was left that failed");
    }
    let record = store.apply(source(None, &tar, Digest::of(&tar))).await?;
    assert_eq!((&record.chain, &record.parent, record.size), (&chain, &None, 5));
    assert!(store.has(&chain).await?);
    let layers: Vec<_> = LayerStore::list(store).await?;
    assert_eq!(layers, std::slice::from_ref(&record));
    // A layer that is there is not read again.
    assert_eq!(store.apply(source(None, b"", Digest::of(&tar))).await?, record);
    let root = look(&store.view(std::slice::from_ref(&chain)).await?)?;
    assert_eq!(text(&root, "etc/name").as_deref(), Some("value"));
    assert_eq!(mode(&root, "etc/name"), Some(0o640));
    drop(root);
    LayerStore::delete(store, &chain).await?;
    LayerStore::delete(store, &chain).await?;
    assert!(!store.has(&chain).await?);
    assert_eq!(LayerStore::list(store).await?, []);
    assert_eq!(LayerStore::sweep(store).await?, 0, "a layer that failed left something");
    Ok(())
}

async fn layers_may_come_in_any_order(store: &dyn ImageStore) -> Result<()> {
    let tars = [
        tar(&[Item("tmp/", 0o1777, ""), Item("tmp/old", 0o600, "old"), Item("gone", 0o600, "gone")])?,
        tar(&[Item("tmp/new", 0o600, "new"), Item(".wh.gone", 0o600, "")])?,
        tar(&[Item("tmp/old", 0o600, "newer")])?,
    ];
    let diffs: Vec<Digest> = tars.iter().map(|tar| Digest::of(tar)).collect();
    let chain = ChainId::chain(&diffs);
    for at in [2usize, 0, 1] {
        let parent = at.checked_sub(1).map(|below| &chain[below]);
        let record = store.apply(source(parent, &tars[at], diffs[at].clone())).await?;
        assert_eq!((&record.chain, record.parent.as_ref()), (&chain[at], parent));
    }
    let root = look(&store.view(&chain).await?)?;
    assert_eq!(text(&root, "tmp/old").as_deref(), Some("newer"));
    assert_eq!(text(&root, "tmp/new").as_deref(), Some("new"));
    assert_eq!(text(&root, "gone"), None);
    assert_eq!(
        mode(&root, "tmp"),
        Some(0o1777),
        "a directory lost its mode to a layer that only has files in it"
    );
    drop(root);
    for layer in chain.iter().rev() {
        LayerStore::delete(store, layer).await?;
    }
    Ok(())
}

async fn a_container_has_a_tree_of_its_own(store: &dyn ImageStore) -> Result<()> {
    let tar = tar(&[Item("./", 0o711, ""), Item("name", 0o640, "value")])?;
    let chain = store.apply(source(None, &tar, Digest::of(&tar))).await?.chain;
    let chains = std::slice::from_ref(&chain);
    let mounts = store.prepare("conformance", chains, false).await?;
    let [RootMount::Overlay { upper: Some((upper, _)), volatile: false, .. }] = &mounts[..] else {
        return Err(Error::internal("conformance", "these mounts are unknown to the suite"));
    };
    assert_eq!(store.written("conformance").await?, 0);
    std::fs::write(upper.join("name"), "written").map_err(|e| Error::io("upper", e))?;
    assert_eq!(store.written("conformance").await?, 7);
    assert_eq!(store.prepare("conformance", chains, false).await?, mounts);
    let root = look(&mounts)?;
    assert_eq!(text(&root, "name").as_deref(), Some("written"));
    assert_eq!(mode(&root, ""), Some(0o711));
    drop(root);
    store.discard("conformance").await?;
    store.discard("conformance").await?;
    assert_eq!(store.written("conformance").await?, 0);
    let root = look(&store.prepare("conformance", chains, false).await?)?;
    assert_eq!(text(&root, "name").as_deref(), Some("value"), "what was thrown away came back");
    drop(root);
    store.discard("conformance").await?;
    assert!(store.discard("../conformance").await.is_err_and(|e| e.is(ErrorKind::InvalidInput)));
    LayerStore::delete(store, &chain).await
}

/// What a container wrote, as the suite's own container writes it: into the upper directory.
fn write(mounts: &[RootMount]) -> Result<()> {
    let [RootMount::Overlay { upper: Some((upper, _)), .. }] = mounts else {
        return Err(Error::internal("conformance", "these mounts are unknown to the suite"));
    };
    let failed = |e: std::io::Error| Error::io("upper", e);
    for directory in ["etc", "new", "mnt"] {
        std::fs::create_dir(upper.join(directory)).map_err(failed)?;
    }
    std::fs::write(upper.join("etc/name"), "other").map_err(failed)?;
    std::fs::write(upper.join("new/file"), "added").map_err(failed)?;
    let hidden = rustix::fs::mknodat(
        rustix::fs::CWD,
        upper.join("gone"),
        rustix::fs::FileType::CharacterDevice,
        rustix::fs::Mode::empty(),
        0,
    );
    hidden.map_err(|e| Error::io("upper", e.into()))
}

async fn a_tree_becomes_a_layer(store: &dyn ImageStore) -> Result<()> {
    let tar = tar(&[Item("etc/", 0o755, ""), Item("etc/name", 0o640, "value"), Item("gone", 0o600, "x")])?;
    let base = store.apply(source(None, &tar, Digest::of(&tar))).await?.chain;
    let below = Base::Chain(vec![base.clone()]);
    let mount_points = [PathBuf::from("/mnt")];
    let mut packed: Option<Vec<u8>> = None;
    for take in [false, true] {
        assert_eq!(store.changes("conformance", &below, &[]).await?, []);
        let mounts = store.prepare("conformance", std::slice::from_ref(&base), false).await?;
        write(&mounts)?;
        let changes = store.changes("conformance", &below, &mount_points).await?;
        let changes: Vec<String> =
            changes.iter().map(|change| format!("{:?} {}", change.kind, change.path.display())).collect();
        let wanted =
            ["Modified /etc", "Modified /etc/name", "Deleted /gone", "Added /new", "Added /new/file"];
        assert_eq!(changes, wanted);
        let spec = CaptureSpec { chain: vec![base.clone()], take, mount_points: mount_points.to_vec() };
        let mut captured = store.capture("conformance", spec).await?;
        // What the container does now is not part of it.
        let [RootMount::Overlay { upper: Some((upper, _)), .. }] = &mounts[..] else {
            return Err(Error::internal("conformance", "these mounts are unknown to the suite"));
        };
        assert_eq!(upper.join("etc/name").exists(), !take, "it was to be copied, or to be taken");
        let _ = std::fs::write(upper.join("late"), "late");
        let mut archive = Vec::new();
        captured.pack(&mut archive)?;
        let diff = Digest::of(&archive);
        let chain = ChainId::extend(Some(&base), &diff);
        assert!(!store.has(&chain).await?, "a layer was there before it was finished");
        let record = captured.finish(&diff)?;
        assert_eq!((&record.chain, record.parent.as_ref(), record.size), (&chain, Some(&base), 10));
        assert!(store.has(&chain).await?);
        let look_at = |root: &RootDir| {
            let texts = ["etc/name", "new/file", "gone", "late"].map(|path| text(root, path));
            (texts, mode(root, "mnt"))
        };
        let both = [base.clone(), chain.clone()];
        let adopted = look_at(&look(&store.view(&both).await?)?);
        assert_eq!(adopted.0.each_ref().map(Option::as_deref), [Some("other"), Some("added"), None, None]);
        assert_eq!(adopted.1, None, "a mount point became part of the layer");
        // Whoever gets the archive gets the same layer.
        LayerStore::delete(store, &chain).await?;
        store.apply(source(Some(&base), &archive, diff.clone())).await?;
        assert_eq!(look_at(&look(&store.view(&both).await?)?), adopted);
        // One that is there already is fine, and so is one that nobody finishes.
        let spec = CaptureSpec { chain: vec![base.clone()], take, mount_points: Vec::new() };
        drop(store.capture("conformance", spec).await?);
        store.discard("conformance").await?;
        LayerStore::delete(store, &chain).await?;
        assert_eq!(LayerStore::sweep(store).await?, 0, "a capture left something");
        let names = String::from_utf8_lossy(&archive).into_owned();
        assert!(names.contains(".wh.gone") && !names.contains("mnt/"));
        // Times are those of the writing; but for them the archive depends on nothing but the tree.
        assert_eq!(packed.get_or_insert_with(|| archive.clone()).len(), archive.len());
    }
    LayerStore::delete(store, &base).await
}

async fn names_point_at_images(store: &dyn ImageStore) -> Result<()> {
    let image = |config: &str| ImageRecord {
        id: Digest::of(config.as_bytes()),
        manifest: Digest::of(b"manifest"),
        media_type: "application/vnd.oci.image.manifest.v1+json".into(),
        platform: Platform::host(),
        layers: vec![ImageLayer {
            blob: Digest::of(b"blob"),
            media_type: "application/vnd.oci.image.layer.v1.tar".into(),
            size: 4,
            diff_id: Digest::of(b"blob"),
        }],
        config: config.into(),
        created: Some(Timestamp::from_nanos(config.len() as i64)),
        size: 4,
    };
    let (old, new) = (image("old"), image("newer"));
    let latest: Reference = "example".parse()?;
    let pinned = latest.at_digest(Digest::of(b"manifest"));
    assert_eq!(store.resolve(&latest).await?, None);
    store.put(&old, &[latest.clone(), pinned.clone()]).await?;
    store.put(&new, std::slice::from_ref(&latest)).await?;
    assert_eq!(store.resolve(&latest).await?.as_ref(), Some(&new), "the name still points at the old image");
    assert_eq!(store.resolve(&pinned).await?.as_ref(), Some(&old));
    let named = store.get(&old.id).await?;
    assert!(named.is_some_and(|named| named.tags.is_empty() && named.digests == [pinned.clone()]));
    let all: Vec<Digest> = store.images().await?.into_iter().map(|named| named.image.id).collect();
    assert_eq!(all, [new.id.clone(), old.id.clone()], "the newest image comes first");
    assert_eq!(store.by_prefix(&new.id.encoded()[..20]).await?, std::slice::from_ref(&new));
    assert_eq!(store.by_prefix("").await?.len(), 2);
    assert_eq!(store.untag(&latest).await?, Some(new.id.clone()));
    assert_eq!(store.untag(&latest).await?, None);
    assert!(store.get(&new.id).await?.is_some(), "an image without a name is still an image");
    for image in [&new, &old, &old] {
        store.forget(&image.id).await?;
        assert_eq!(store.get(&image.id).await?, None);
    }
    assert_eq!(store.resolve(&pinned).await?, None);
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::image::UnpackLimits;
    use crate::image::overlay::OverlayStore;
    use crate::store::Store;

    #[tokio::test]
    async fn the_default_store_is_an_image_store() {
        let root = tempfile::tempdir().expect("a directory");
        let records = Store::open(root.path()).expect("opens");
        let store = OverlayStore::open(root.path(), records, UnpackLimits::default()).expect("opens");
        super::image_store(&store).await.expect("keeps its promises");
    }
}
