//! Save: images into an archive, as docker writes it since version 25: an OCI layout, with a `manifest.json` beside it
//! that older versions and other tools read.
//!
//! Content is written as it is stored, so a manifest keeps its digest through a save and a load. The same images give
//! the same bytes: there are no times and no users in the archive.

use std::collections::{BTreeMap, HashMap};
use std::io::{BufWriter, Read, Write};
use std::sync::Arc;

use bytes::Bytes;
use serde_json::{Value, json};

use super::scan::{Cancel, Watch};
use super::{CONTAINERD_NAME, DockerImage, OCI_LAYOUT, REF_NAME};
use crate::error::{Error, ErrorKind, Result, Subject};
use crate::id::Digest;
use crate::image::blobs;
use crate::image::driver::{ImageRecord, ImageStore};
use crate::image::facts;
use crate::image::hold::Hold;
use crate::image::info::SaveFormat;
use crate::image::manifest::{self, MAX_DOCUMENT, OCI_CONFIG, OCI_INDEX, OCI_MANIFEST, Parsed};
use crate::image::resolve::{Named, find, no_such_image};
use crate::parts::Parts;
use crate::reference::Reference;
use crate::spec::Descriptor;
use crate::store::blocking;

const CHUNK: usize = 256 << 10;

/// An image to write.
struct Item {
    image: ImageRecord,
    tags: Vec<Reference>,
    media_type: String,
    manifest: Bytes,
}

/// Writes the images to `to`. One given by name has that name in the archive, one given by its repository alone all
/// tags of that, one given by its identifier none.
pub(in crate::image) async fn save(
    parts: &Parts,
    names: &[String],
    format: SaveFormat,
    to: Box<dyn Write + Send>,
) -> Result<()> {
    if names.is_empty() {
        return Err(Error::invalid("save", "no image was named"));
    }
    let store = &*parts.images;
    let wanted = choose(store, names).await?;
    let held = wanted.iter().flat_map(|(image, _)| {
        let layers = image.layers.iter().map(|layer| layer.blob.to_string());
        [image.id.to_string(), image.manifest.to_string()].into_iter().chain(layers)
    });
    let hold = Hold::take(&parts.root, held.collect()).await?;
    let mut items = Vec::new();
    for (image, tags) in wanted {
        let (media_type, manifest) = manifest_of(store, &image).await?;
        items.push(Item { image, tags, media_type, manifest });
    }
    let (cancel, watch) = Cancel::new();
    let store = Arc::clone(&parts.images);
    let written = blocking(move || write(&*store, &items, format, to, &watch).map(|()| items)).await;
    drop((cancel, hold));
    written?.iter().for_each(|item| facts::tell(parts, &item.image, "save"));
    Ok(())
}

/// The images and the names they are saved with, each image once.
async fn choose(store: &dyn ImageStore, names: &[String]) -> Result<Vec<(ImageRecord, Vec<Reference>)>> {
    let mut chosen: Vec<(ImageRecord, Vec<Reference>)> = Vec::new();
    let mut add = |image: ImageRecord, tag: Option<Reference>| {
        let at = chosen.iter().position(|(other, _)| other.id == image.id).unwrap_or(chosen.len());
        if at == chosen.len() {
            chosen.push((image, Vec::new()));
        }
        let tags = &mut chosen[at].1;
        tags.extend(tag.filter(|tag| !tags.contains(tag)));
    };
    for name in names {
        let repository = name.parse::<Reference>().ok().filter(|reference| is_bare(name, reference));
        let mut any = false;
        if let Some(repository) = repository {
            for named in store.images().await? {
                let same = |tag: &&Reference| tag.familiar_name() == repository.familiar_name();
                for tag in named.tags.iter().filter(same) {
                    add(named.image.clone(), Some(tag.clone()));
                    any = true;
                }
            }
        }
        if any {
            continue;
        }
        match find(store, name).await? {
            (image, Named::Reference(tag)) => add(image, Some(tag).filter(|tag| tag.digest().is_none())),
            (image, Named::Identifier) => add(image, None),
        }
    }
    if chosen.is_empty() { Err(no_such_image(&names.join(", "))) } else { Ok(chosen) }
}

/// Whether the name was written without a tag and without a digest.
fn is_bare(name: &str, reference: &Reference) -> bool {
    reference.digest().is_none() && !name.ends_with(&format!(":{}", reference.tag().unwrap_or_default()))
}

/// The manifest the image came with, or, where it does not name the blobs that the store has, one that does.
async fn manifest_of(store: &dyn ImageStore, image: &ImageRecord) -> Result<(String, Bytes)> {
    let layers: Vec<Descriptor> = image
        .layers
        .iter()
        .map(|layer| Descriptor::new(&*layer.media_type, layer.blob.clone(), layer.size))
        .collect();
    for layer in &layers {
        if store.stat(&layer.digest).await? != Some(layer.size) {
            return Err(Error::new(ErrorKind::NotFound, format!("image {}", image.id.short()))
                .because(format!("its layer {} is not in the store", layer.digest))
                .with_remedy("pull or load the image again"));
        }
    }
    let own = blobs::get(store, &image.manifest, MAX_DOCUMENT).await?;
    if let Parsed::Manifest(manifest) = manifest::parse("manifest", Some(&image.media_type), &own)?
        && manifest.layers.iter().map(|layer| &layer.digest).eq(layers.iter().map(|layer| &layer.digest))
    {
        return Ok((image.media_type.clone(), own));
    }
    let config = Descriptor::new(OCI_CONFIG, image.id.clone(), image.config.len() as u64);
    Ok((OCI_MANIFEST.to_owned(), manifest::compose(&config, &layers)?.into()))
}

fn path(digest: &Digest) -> String {
    format!("blobs/sha256/{}", digest.encoded())
}

fn write(
    store: &dyn ImageStore,
    items: &[Item],
    format: SaveFormat,
    to: Box<dyn Write + Send>,
    watch: &Watch,
) -> Result<()> {
    let mut archive = Archive { tar: tar::Builder::new(BufWriter::with_capacity(CHUNK, to)), watch };
    archive.directory("blobs/")?;
    archive.directory("blobs/sha256/")?;
    let mut written: HashMap<Digest, ()> = HashMap::new();
    let runtime = tokio::runtime::Handle::current();
    for item in items {
        for layer in &item.image.layers {
            if written.insert(layer.blob.clone(), ()).is_none() {
                let content = runtime.block_on(store.read(&layer.blob, 0))?;
                archive.file(&path(&layer.blob), layer.size, content)?;
            }
        }
        for (digest, bytes) in [
            (item.image.id.clone(), item.image.config.as_bytes()),
            (Digest::of(&item.manifest), &item.manifest),
        ] {
            if written.insert(digest.clone(), ()).is_none() {
                archive.bytes(&path(&digest), bytes)?;
            }
        }
    }
    archive.bytes("index.json", &to_json(&index(items))?)?;
    if format == SaveFormat::Docker {
        archive.bytes("manifest.json", &to_json(&docker(items))?)?;
        archive.bytes("repositories", &to_json(&repositories(items))?)?;
    }
    archive.bytes("oci-layout", OCI_LAYOUT)?;
    archive.finish()
}

/// The index of the OCI layout: an entry for each name of each image.
fn index(items: &[Item]) -> Value {
    let entry = |item: &Item, tag: Option<&Reference>| {
        let digest = Digest::of(&item.manifest);
        let mut entry = Descriptor::new(&*item.media_type, digest, item.manifest.len() as u64);
        entry.platform = Some(item.image.platform.clone());
        entry.annotations = tag.map(|tag| {
            let short = tag.tag().unwrap_or_default().to_owned();
            BTreeMap::from([(CONTAINERD_NAME.to_owned(), tag.to_string()), (REF_NAME.to_owned(), short)])
        });
        entry
    };
    let entries: Vec<Descriptor> = items
        .iter()
        .flat_map(|item| match item.tags.as_slice() {
            [] => vec![entry(item, None)],
            tags => tags.iter().map(|tag| entry(item, Some(tag))).collect(),
        })
        .collect();
    json!({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": entries})
}

fn docker(items: &[Item]) -> Vec<DockerImage> {
    let tags = |item: &Item| item.tags.iter().map(Reference::familiar).collect::<Vec<_>>();
    items
        .iter()
        .map(|item| DockerImage {
            config: path(&item.image.id),
            repo_tags: Some(tags(item)).filter(|tags| !tags.is_empty()),
            layers: Some(item.image.layers.iter().map(|layer| path(&layer.blob)).collect()),
        })
        .collect()
}

/// Names as before Docker 1.10: repository, tag, topmost layer.
fn repositories(items: &[Item]) -> BTreeMap<String, BTreeMap<String, String>> {
    let mut repositories: BTreeMap<String, BTreeMap<String, String>> = BTreeMap::new();
    for item in items {
        for tag in &item.tags {
            let top =
                item.image.layers.last().map_or_else(String::new, |layer| layer.blob.encoded().to_owned());
            let name = repositories.entry(tag.familiar_name()).or_default();
            name.insert(tag.tag().unwrap_or_default().to_owned(), top);
        }
    }
    repositories
}

fn to_json(value: &impl serde::Serialize) -> Result<Vec<u8>> {
    serde_json::to_vec(value)
        .map_err(|e| Error::internal("archive", "a document has no text form").caused_by(e))
}

/// A tar archive that is being written.
struct Archive<'a> {
    tar: tar::Builder<BufWriter<Box<dyn Write + Send>>>,
    watch: &'a Watch,
}

impl Archive<'_> {
    fn header(&mut self, path: &str, kind: tar::EntryType, mode: u32, size: u64) -> Result<()> {
        let mut header = tar::Header::new_ustar();
        header.set_path(path).subject(|| "archive".into())?;
        header.set_entry_type(kind);
        header.set_mode(mode);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(0);
        header.set_size(size);
        header.set_cksum();
        self.tar.get_mut().write_all(header.as_bytes()).subject(|| "archive".into())
    }

    fn directory(&mut self, path: &str) -> Result<()> {
        self.header(path, tar::EntryType::Directory, 0o755, 0)
    }

    fn bytes(&mut self, path: &str, bytes: &[u8]) -> Result<()> {
        self.file(path, bytes.len() as u64, bytes)
    }

    fn file(&mut self, path: &str, size: u64, mut content: impl Read) -> Result<()> {
        const BLOCK: u64 = 512;
        self.header(path, tar::EntryType::Regular, 0o644, size)?;
        let mut chunk = vec![0; CHUNK.min(usize::try_from(size).unwrap_or(CHUNK)).max(1)];
        let mut left = size;
        while left > 0 {
            self.watch.check()?;
            let wanted = chunk.len().min(usize::try_from(left).unwrap_or(usize::MAX));
            match content.read(&mut chunk[..wanted]) {
                Ok(0) => {
                    return Err(
                        Error::new(ErrorKind::Corrupt, path).because(format!("it is {left} bytes short"))
                    );
                }
                Ok(n) => {
                    self.tar.get_mut().write_all(&chunk[..n]).subject(|| "archive".into())?;
                    left -= n as u64;
                }
                Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
                Err(e) => return Err(Error::io(path, e)),
            }
        }
        let padding = (BLOCK - size % BLOCK) % BLOCK;
        self.tar.get_mut().write_all(&[0; BLOCK as usize][..padding as usize]).subject(|| "archive".into())
    }

    fn finish(mut self) -> Result<()> {
        self.tar.finish().subject(|| "archive".into())?;
        self.tar.get_mut().flush().subject(|| "archive".into())
    }
}
