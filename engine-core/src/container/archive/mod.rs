//! Files in and out of containers, as tar archives.
//!
//! Whatever runs in the container may rename and link what it likes while a copy is at it. So every name is resolved
//! beneath the container's root by the kernel (`sys::beneath`), what was opened is used by its descriptor from then on,
//! and nothing that is found in the container is opened that could block or act: the worst a container can do is to
//! spoil its own copy.

mod entry;
mod info;
mod out;
mod owner;
mod path;
mod pipe;
mod unpack;

pub use info::{CopyReport, PathStat};
pub use pipe::ArchiveStream;

pub(super) use entry::Owner;
pub(super) use out::{copy_out, export, stat_path};
pub(super) use path::{Found, is_content, says_directory};
pub(super) use pipe::pipe;
pub(super) use unpack::{Links, Target, Unpack};

use std::ffi::CStr;
use std::io::{BufReader, Read};
use std::os::fd::OwnedFd;
use std::path::PathBuf;

use rustix::fs::{OFlags, StatVfsMountFlags, StatxFlags};
use rustix::io::Errno;

use super::{Container, plan, view};
use crate::error::{Error, ErrorKind, Result, Subject};
use crate::image::open_archive;
use crate::image::tar::source::Buffered;
use crate::spec::{ArchiveSpec, ContainerSpec};
use crate::store::blocking;
use crate::sys::beneath::RootDir;

/// The buffer that an archive is read through.
const BUFFER: usize = 256 << 10;

/// Unpacks an archive, compressed or not, into the directory `path` of the container.
pub(super) async fn copy_in(
    container: &Container,
    path: &str,
    archive: Box<dyn Read + Send>,
    spec: ArchiveSpec,
) -> Result<()> {
    let destination = Destination::open(container, path, spec).await?;
    blocking(move || {
        let archive = open_archive("archive", archive)?;
        destination.unpack()?.run(Buffered(BufReader::with_capacity(BUFFER, archive)))
    })
    .await
}

/// A directory of a container that something is unpacked into.
pub(super) struct Destination {
    _view: view::View,
    root: RootDir,
    path: PathBuf,
    owner: Owner,
    spec: ArchiveSpec,
    devices: bool,
}

impl Destination {
    /// Opens the directory, and refuses what cannot be written to.
    pub(super) async fn open(container: &Container, path: &str, spec: ArchiveSpec) -> Result<Destination> {
        let row = container.row().await?;
        let config = plan::image_config(&container.parts, &row.record).await?;
        let user = plan::user(&row.record.spec, config.as_ref());
        let devices = may_make_devices(&row.record.spec);
        let view = view::of_container(container).await?;
        let (name, path) = (container.name.clone(), path.to_owned());
        blocking(move || {
            let root = view.root()?;
            let path = path::directory(&path)?;
            let opened = match root.resolve(&path, OFlags::PATH) {
                Err(Errno::NOENT) => return Err(path::not_found(&path, name.as_str())),
                opened => opened.subject(|| path::shown(&path, name.as_str()))?,
            };
            let stat = rustix::fs::fstat(&opened).subject(|| path::shown(&path, name.as_str()))?;
            if !path::is_directory(&stat) {
                return Err(Error::invalid(
                    path::shown(&path, name.as_str()),
                    "extraction point is not a directory",
                ));
            }
            refuse_read_only(&root, &opened, || path::shown(&path, name.as_str()))?;
            let owner = match spec.copy_uid_gid {
                true => owner::of(&root, &user)?,
                false => Owner::OfArchive,
            };
            Ok(Destination { _view: view, root, path, owner, spec, devices })
        })
        .await
    }

    /// The unpacking into it.
    pub(super) fn unpack(&self) -> Result<Unpack<'_>> {
        Ok(Unpack::new(Target {
            root: &self.root,
            path: &self.path,
            links: Links::Inside,
            owner: self.owner,
            keep_directories: self.spec.no_overwrite_dir_non_dir,
            devices: self.devices,
        }))
    }
}

/// Whether the container's own processes could make a device: then an archive may bring one.
fn may_make_devices(spec: &ContainerSpec) -> bool {
    let names = |list: &[String], name: &str| {
        list.iter().any(|own| own.to_ascii_uppercase().trim_start_matches("CAP_") == name)
    };
    let security = &spec.security;
    security.privileged
        || names(&security.cap_add, "MKNOD")
        || !names(&security.cap_drop, "MKNOD")
            && (!names(&security.cap_drop, "ALL") || names(&security.cap_add, "ALL"))
}

/// Refuses what is mounted read-only, in docker's words.
fn refuse_read_only(root: &RootDir, directory: &OwnedFd, shown: impl Fn() -> String) -> Result<()> {
    let flags = rustix::fs::fstatvfs(directory).subject(&shown)?.f_flag;
    if !flags.contains(StatVfsMountFlags::RDONLY) {
        return Ok(());
    }
    let mount = |fd: std::os::fd::BorrowedFd<'_>| {
        rustix::fs::statx(fd, c"" as &CStr, rustix::fs::AtFlags::EMPTY_PATH, StatxFlags::MNT_ID)
            .map(|found| found.stx_mnt_id)
    };
    use std::os::fd::AsFd;
    let of_root = mount(root.as_fd()).subject(&shown)? == mount(directory.as_fd()).subject(&shown)?;
    let (reason, remedy) = match of_root {
        true => (
            "container rootfs is marked read-only",
            "copy to a volume, or make the container without --read-only",
        ),
        false => ("mounted volume is marked read-only", "mount it writable, or copy to where it comes from"),
    };
    Err(Error::new(ErrorKind::PermissionDenied, shown()).because(reason).with_remedy(remedy))
}
