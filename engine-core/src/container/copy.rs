//! Files between this host and a container, by docker's rules for what a source and a destination mean.
//!
//! The rules are decided before anything is written, from what is there: [`settle`] says into which directory the archive
//! goes and what its topmost entry is called. What becomes of another thing by then is refused where it is unpacked.

use std::ffi::CString;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, FileType, Mode, OFlags};
use tokio::task::spawn_blocking;

use super::archive::{
    CopyReport, Destination, Found, Links, Owner, PathStat, Target, Unpack, is_content, pipe, says_directory,
    stat_path,
};
use super::{Container, view};
use crate::error::{Error, ErrorKind, Result, Subject};
use crate::image::tar::{Packer, Plain};
use crate::spec::{ArchiveSpec, CopySpec};
use crate::store::blocking;
use crate::sys::beneath::RootDir;

/// How many symbolic links lead to a destination at most.
const MAX_LINKS: usize = 10;

/// What is at a destination.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum There {
    Nothing,
    Directory,
    /// A file, or something else that is no directory.
    Other,
}

/// Where an archive goes, and what its topmost entry is called in it.
#[derive(Debug, PartialEq, Eq)]
struct Settled {
    directory: PathBuf,
    name: Vec<u8>,
}

/// Docker's table. `base` is what an archive of the source calls it.
fn settle(source_is_directory: bool, base: &[u8], destination: &Path, there: There) -> Result<Settled> {
    let text = destination.as_os_str().as_bytes();
    let says_directory = text.ends_with(b"/") || text.ends_with(b"/.") || text == b".";
    let wrong = |reason: &str| Err(Error::invalid(format!("copy to {}", destination.display()), reason));
    let renamed = || {
        let name = destination.file_name().map(OsStrExt::as_bytes);
        let directory = destination.parent().unwrap_or(Path::new("/")).to_owned();
        name.map(|name| Settled { directory, name: name.to_owned() })
            .ok_or_else(|| Error::invalid(format!("copy to {}", destination.display()), "it has no name"))
    };
    match there {
        There::Directory => Ok(Settled { directory: destination.to_owned(), name: base.to_owned() }),
        There::Other if source_is_directory => wrong("cannot copy directory"),
        There::Other if says_directory => wrong("not a directory"),
        There::Nothing if !source_is_directory && says_directory => wrong("no such directory"),
        There::Nothing | There::Other => renamed(),
    }
}

/// Copies from this host into the container.
pub(super) async fn copy_to(container: &Container, spec: CopySpec) -> Result<CopyReport> {
    let (source, follow) = (spec.host.clone(), spec.follow_link);
    let source = blocking(move || HostSource::find(&source, follow)).await?;
    let (path, there) = container_destination(container, &spec.container).await?;
    let settled = settle(source.is_directory, &source.base, Path::new(&path), there)?;
    let mut how = ArchiveSpec::default().keep_directories();
    how.copy_uid_gid = spec.archive;
    let directory = settled.directory.to_string_lossy().into_owned();
    let destination = Destination::open(container, &directory, how).await?;
    let (inlet, outlet) = pipe();
    let packing = spawn_blocking(move || {
        inlet.fill(|inlet| {
            let mut packer = Packer::new(inlet, Plain::<true>);
            packer.add(source.parent.as_fd(), &source.name, &settled.name)?;
            packer.finish().map(drop)
        });
    });
    let bytes =
        blocking(move || destination.unpack()?.all(outlet).map(|outlet| outlet.received_bytes())).await;
    // What it failed with was told through the pipe.
    let _ = packing.await;
    let target = if there == There::Directory { path } else { absolute_text(&path) };
    Ok(CopyReport::new(bytes?, target))
}

fn absolute_text(path: &str) -> String {
    if path.starts_with('/') { path.to_owned() } else { format!("/{path}") }
}

/// What is at the destination in the container, and where it is if it is a link.
async fn container_destination(container: &Container, path: &str) -> Result<(String, There)> {
    let path = if path.is_empty() { "/" } else { path };
    let mut path = path.to_owned();
    let stat = |path: String| async move {
        match stat_path(container, &path).await {
            Ok(stat) => Ok(Some(stat)),
            // Whether the directory above is there shows when it is opened.
            Err(e) if matches!(e.kind(), ErrorKind::NotFound | ErrorKind::InvalidInput) => Ok(None),
            Err(e) => Err(e),
        }
    };
    let mut found: Option<PathStat> = stat(path.clone()).await?;
    if let Some(link) = found.as_ref().filter(|found| found.is_symbolic_link()) {
        path.clone_from(&link.link_target);
        found = stat(path.clone()).await?;
    }
    let there = match &found {
        None => There::Nothing,
        Some(found) if found.is_directory() => There::Directory,
        Some(found) => match found.special() {
            Some(what) => {
                let subject = format!("destination \"{}:{path}\"", container.name);
                let reason = format!("must be a directory or a regular file: got a {what}");
                return Err(Error::invalid(subject, reason));
            }
            None => There::Other,
        },
    };
    Ok((path, there))
}

/// Something on this host to be copied.
struct HostSource {
    parent: OwnedFd,
    name: CString,
    /// What an archive of it calls it.
    base: Vec<u8>,
    is_directory: bool,
}

impl HostSource {
    fn find(path: &Path, follow: bool) -> Result<HostSource> {
        let subject = || format!("lstat {}", path.display());
        let text = path.to_string_lossy();
        let content = is_content(&text);
        let own_name = path.file_name().map(|name| name.as_bytes().to_vec());
        // With a slash at its end the system follows the link too.
        let real = match follow || says_directory(&text) {
            true => path.canonicalize(),
            false => Ok(path.to_owned()),
        };
        let real = match real {
            Err(e) if e.kind() == std::io::ErrorKind::NotADirectory => {
                return Err(Error::invalid(subject(), "not a directory"));
            }
            real => real.subject(subject)?,
        };
        let stat = std::fs::symlink_metadata(&real).subject(subject)?;
        if says_directory(&text) && !stat.is_dir() {
            return Err(Error::invalid(subject(), "not a directory"));
        }
        let (parent, name) = match (real.parent(), real.file_name()) {
            (Some(parent), Some(name)) if !content => {
                let parent = if parent.as_os_str().is_empty() { Path::new(".") } else { parent };
                (parent, name.as_bytes())
            }
            _ => (real.as_path(), &b"."[..]),
        };
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let open = rustix::fs::openat(CWD, parent, flags, Mode::empty()).subject(subject)?;
        let base = match own_name {
            _ if content => b".".to_vec(),
            Some(name) => name,
            // `..` and the root are called what they are.
            None => real.file_name().map_or_else(|| b"/".to_vec(), |name| name.as_bytes().to_vec()),
        };
        let name = CString::new(name).map_err(|e| Error::invalid(subject(), e.to_string()))?;
        Ok(HostSource { parent: open, name, base, is_directory: stat.is_dir() })
    }
}

/// Copies from the container to this host.
pub(super) async fn copy_from(container: &Container, spec: CopySpec) -> Result<CopyReport> {
    let CopySpec { host, container: path, follow_link, archive } = spec;
    let (host, there) = blocking(move || host_destination(&host)).await?;
    let view = view::of_container(container).await?;
    let name = container.name.clone();
    let (found, settled) = {
        let host = host.clone();
        blocking(move || {
            let root = view.root()?;
            let mut found = Found::find(&root, &path, name.as_str())?;
            let mut stat = found.describe(&root)?;
            if follow_link && stat.is_symbolic_link() {
                // It keeps the name that was asked for.
                let base = std::mem::take(&mut found.base);
                found = Found::find(&root, &stat.link_target, name.as_str())?;
                stat = found.describe(&root)?;
                found.base = base;
            }
            let settled = settle(stat.is_directory(), &found.base, &host, there)?;
            Ok(((found, view), settled))
        })
        .await?
    };
    let (inlet, outlet) = pipe();
    let packing = spawn_blocking(move || {
        let (found, _view) = found;
        inlet.fill(|inlet| {
            let mut packer = Packer::new(inlet, Plain::<true>);
            packer.add(found.parent.as_fd(), &found.name, &settled.name)?;
            packer.finish().map(drop)
        });
    });
    let directory = settled.directory;
    let bytes = blocking(move || {
        let subject = || format!("directory {}", directory.display());
        let root = RootDir::open(&directory).subject(subject)?;
        let target = Target {
            root: &root,
            path: &directory,
            // Whatever the container calls its files: nothing leads out of the directory.
            links: Links::Refused,
            owner: if archive { Owner::OfArchive } else { Owner::Copier },
            keep_directories: true,
            devices: archive,
        };
        Unpack::new(target).all(outlet).map(|outlet| outlet.received_bytes())
    })
    .await;
    let _ = packing.await;
    Ok(CopyReport::new(bytes?, host.display().to_string()))
}

/// What is at the destination on this host, as an absolute path, and where it is if it is a link.
fn host_destination(path: &Path) -> Result<(PathBuf, There)> {
    let subject = || format!("path {}", path.display());
    // Not by `std::path::absolute`, which takes the slash away that says what is meant.
    let mut path = match path.is_absolute() {
        true => path.to_owned(),
        false => std::env::current_dir().subject(subject)?.join(path),
    };
    for _ in 0..MAX_LINKS {
        match std::fs::symlink_metadata(&path) {
            Ok(found) if found.is_symlink() => {
                let target = std::fs::read_link(&path).subject(|| format!("link {}", path.display()))?;
                path = path.parent().unwrap_or(Path::new("/")).join(target);
            }
            Ok(found) if found.is_dir() => return Ok((path, There::Directory)),
            Ok(found) if found.is_file() => return Ok((path, There::Other)),
            Ok(found) => {
                use std::os::unix::fs::MetadataExt;
                let what = match FileType::from_raw_mode(found.mode()) {
                    FileType::CharacterDevice | FileType::BlockDevice => "a device",
                    FileType::Fifo => "a named pipe",
                    _ => "a socket",
                };
                let subject = format!("invalid output path: {:?}", path.display().to_string());
                return Err(Error::invalid(
                    subject,
                    format!("must be a directory or a regular file: got {what}"),
                ));
            }
            Err(e)
                if matches!(e.kind(), std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory) =>
            {
                let parent = path.parent().unwrap_or(Path::new("/"));
                return match std::fs::metadata(parent) {
                    Ok(found) if found.is_dir() => Ok((path, There::Nothing)),
                    Ok(_) => Err(Error::invalid(format!("path {}", parent.display()), "not a directory")),
                    Err(_) => Err(Error::invalid(
                        "invalid output path",
                        format!("directory {:?} does not exist", parent.display().to_string()),
                    )
                    .with_remedy("make it first")),
                };
            }
            Err(e) => return Err(Error::io(format!("path {}", path.display()), e)),
        }
    }
    Err(Error::invalid(format!("path {}", path.display()), "too many symbolic links"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn docker_s_table_of_what_goes_where() {
        let ok = |directory: &str, name: &str| {
            Some(Settled { directory: directory.into(), name: name.as_bytes().to_vec() })
        };
        for (is_directory, base, destination, there, expected) in [
            // A file: into a directory, over a file, as a new file.
            (false, "f", "/d", There::Directory, ok("/d", "f")),
            (false, "f", "/d/", There::Directory, ok("/d/", "f")),
            (false, "f", "/d/g", There::Other, ok("/d", "g")),
            (false, "f", "/d/g", There::Nothing, ok("/d", "g")),
            // A name that says it is a directory, and is none.
            (false, "f", "/d/g/", There::Nothing, None),
            (false, "f", "/d/g/", There::Other, None),
            // A directory: into a directory, as a new directory, never over a file.
            (true, "s", "/d", There::Directory, ok("/d", "s")),
            (true, "s", "/d/t", There::Nothing, ok("/d", "t")),
            (true, "s", "/d/t/", There::Nothing, ok("/d", "t")),
            (true, "s", "/d/t", There::Other, None),
            // The content of a directory.
            (true, ".", "/d", There::Directory, ok("/d", ".")),
            (true, ".", "/d/t", There::Nothing, ok("/d", "t")),
            (true, ".", "/d/t", There::Other, None),
        ] {
            let settled = settle(is_directory, base.as_bytes(), Path::new(destination), there).ok();
            assert_eq!(settled, expected, "{is_directory} {base} {destination} {there:?}");
        }
    }
}
