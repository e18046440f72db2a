//! The default volumes: directories of the store.
//!
//! ```text
//! <root>/volumes/<name>/_data              the content, or the place where its file system is mounted
//! <root>/volumes/<name>/owners/<owner>     an empty file for each container that has the file system mounted
//! <root>/volumes/.trash-<random>           what is being deleted
//! ```
//!
//! A volume with the options of docker's driver (`type`, `device`, `o`) is a file system that is mounted while some
//! container has it. The owners are files, so that all processes agree on them; whether it is mounted is asked of the
//! kernel, so that a reboot or a process that died leaves nothing wrong: the next owner mounts it, and the last one
//! that is taken away unmounts it.

mod options;

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{DirBuilder, File, OpenOptions, Permissions, TryLockError};
use std::io::ErrorKind as Io;
use std::os::fd::AsFd;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use async_trait::async_trait;
use rustix::fs::{AtFlags, CWD, RenameFlags, StatxAttributes, StatxFlags};
use rustix::io::Errno;
use rustix::mount::UnmountFlags;

use self::options::MountPlan;
use super::driver::VolumeDriver;
use crate::error::{Error, ErrorKind, Result, Subject};
use crate::id::{VolumeName, random_hex};
use crate::store::{blocking, patience};
use crate::sys::{lock, tree};

const DATA: &str = "_data";
const OWNERS: &str = "owners";
/// Where `_data` is until it has its permissions.
const UNFINISHED: &str = "unfinished";
/// No volume's name begins so.
const TRASH: &str = ".trash-";
/// So many file systems mounted over each other are more than anybody mounts.
const MAX_MOUNTS: usize = 64;

/// The driver `local`.
#[derive(Clone, Debug)]
pub(crate) struct Local {
    volumes: PathBuf,
}

impl Local {
    /// The volumes of the store in the directory `root`.
    pub(crate) fn new(root: &Path) -> Local {
        Local { volumes: root.join("volumes") }
    }

    fn home(&self, name: &VolumeName) -> PathBuf {
        self.volumes.join(name.as_str())
    }

    async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(Local) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let local = self.clone();
        blocking(move || work(local)).await
    }

    fn create_now(&self, name: &VolumeName, volatile: bool) -> Result<()> {
        let home = self.home(name);
        let data = home.join(DATA);
        // Nobody but the engine passes through here: a program in a volume that sets its user is none of the host's.
        make_directory(&self.volumes, 0o701)?;
        make_directory(&home, 0o701)?;
        if !exists(&data)? {
            // Its permissions are right from its first moment on: whoever finds it finds it finished.
            let unfinished = home.join(UNFINISHED);
            make_directory(&unfinished, 0o755)?;
            std::fs::set_permissions(&unfinished, Permissions::from_mode(0o755))
                .subject(|| format!("volume {name}"))?;
            match rustix::fs::renameat_with(CWD, &unfinished, CWD, &data, RenameFlags::NOREPLACE) {
                Ok(()) | Err(Errno::EXIST) => {}
                Err(errno) => return Err(errno).subject(|| format!("volume {name}")),
            }
        }
        if !volatile {
            for path in [&data, &home, &self.volumes] {
                sync(path)?;
            }
            if let Some(root) = self.volumes.parent() {
                sync(root)?;
            }
        }
        Ok(())
    }

    fn mount_now(
        &self,
        name: &VolumeName,
        options: &BTreeMap<String, String>,
        owner: &str,
    ) -> Result<PathBuf> {
        let data = self.home(name).join(DATA);
        if !data.is_dir() {
            return Err(Error::new(ErrorKind::Corrupt, format!("volume {name}"))
                .because(format!("its directory {} is gone", data.display()))
                .with_remedy("remove the volume and create it again"));
        }
        let Some(plan) = MountPlan::parse(options)? else { return Ok(data) };
        let lock = self.lock(name)?;
        let owners = self.home(name).join(OWNERS);
        make_directory(&owners, 0o700)?;
        let file = owners.join(owner_file(owner)?);
        let mut make = OpenOptions::new();
        make.write(true).create(true).truncate(false).mode(0o600);
        drop(make.open(&file).subject(|| format!("volume {name}"))?);
        if !is_mounted(&data).subject(|| format!("volume {name}"))?
            && let Err(e) = plan.mount(&data, name)
        {
            // It is the failure of the mount that is told; an owner too many only keeps it mounted for longer.
            let _ = std::fs::remove_file(&file);
            return Err(e);
        }
        drop(lock);
        Ok(data)
    }

    fn unmount_now(&self, name: &VolumeName, owner: &str) -> Result<()> {
        let home = self.home(name);
        let owners = home.join(OWNERS);
        if !exists(&owners)? {
            return Ok(());
        }
        let lock = self.lock(name)?;
        match std::fs::remove_file(owners.join(owner_file(owner)?)) {
            Err(e) if e.kind() != Io::NotFound => return Err(e).subject(|| format!("volume {name}")),
            _ => {}
        }
        let mut left = std::fs::read_dir(&owners).subject(|| format!("volume {name}"))?;
        if left.next().is_none() {
            detach(&home.join(DATA)).subject(|| format!("volume {name}"))?;
        }
        drop(lock);
        Ok(())
    }

    fn remove_now(&self, name: &VolumeName) -> Result<()> {
        let home = self.home(name);
        if !exists(&home)? {
            return Ok(());
        }
        // What a user mounted there stays, and is not deleted; what this driver mounted goes.
        if exists(&home.join(OWNERS))? {
            detach(&home.join(DATA)).subject(|| format!("volume {name}"))?;
        }
        let trash = format!("{TRASH}{}", random_hex::<8>()?);
        std::fs::rename(&home, self.volumes.join(&trash)).subject(|| format!("volume {name}"))?;
        sync(&self.volumes)?;
        self.empty_trash(&trash)
    }

    fn empty_trash(&self, trash: &str) -> Result<()> {
        let volumes = open_directory(&self.volumes)?;
        tree::remove_tree(volumes.as_fd(), trash.as_ref())
    }

    /// The names in the directory of volumes.
    fn names(&self) -> Result<Vec<String>> {
        let entries = match std::fs::read_dir(&self.volumes) {
            Err(e) if e.kind() == Io::NotFound => return Ok(Vec::new()),
            entries => entries.subject(|| format!("directory {}", self.volumes.display()))?,
        };
        Ok(entries.flatten().filter_map(|entry| entry.file_name().into_string().ok()).collect())
    }

    fn strays_now(&self, recorded: &BTreeSet<VolumeName>) -> Result<Vec<VolumeName>> {
        let mut strays = Vec::new();
        for name in self.names()? {
            let Ok(name) = name.parse::<VolumeName>() else { continue };
            if recorded.contains(&name) {
                continue;
            }
            let data = self.home(&name).join(DATA);
            let empty = match std::fs::read_dir(&data) {
                Ok(mut content) => content.next().is_none() && !is_mounted(&data).unwrap_or(true),
                Err(e) => e.kind() == Io::NotFound,
            };
            if empty {
                strays.push(name);
            }
        }
        Ok(strays)
    }

    fn sweep_now(&self) -> Result<Vec<String>> {
        let mut lines = Vec::new();
        for trash in self.names()?.into_iter().filter(|name| name.starts_with(TRASH)) {
            self.empty_trash(&trash)?;
            lines.push(format!("content of a removed volume, {}", self.volumes.join(&trash).display()));
        }
        Ok(lines)
    }

    /// Only one process at a time mounts or unmounts a volume.
    fn lock(&self, name: &VolumeName) -> Result<File> {
        let home = self.home(name);
        let directory = open_directory(&home)?;
        lock::until(
            patience(),
            || format!("volume {name}"),
            || match directory.try_lock() {
                Ok(()) => Ok(true),
                Err(TryLockError::WouldBlock) => Ok(false),
                Err(TryLockError::Error(e)) => Err(e).subject(|| format!("lock on {}", home.display())),
            },
        )?;
        Ok(directory)
    }
}

#[async_trait]
impl VolumeDriver for Local {
    fn check(&self, options: &BTreeMap<String, String>) -> Result<()> {
        MountPlan::parse(options).map(|_| ())
    }

    async fn create(
        &self,
        name: &VolumeName,
        options: &BTreeMap<String, String>,
        volatile: bool,
    ) -> Result<()> {
        self.check(options)?;
        let name = name.clone();
        self.run(move |local| local.create_now(&name, volatile)).await
    }

    fn path(&self, name: &VolumeName) -> PathBuf {
        self.home(name).join(DATA)
    }

    fn staging(&self, name: &VolumeName, options: &BTreeMap<String, String>) -> Option<PathBuf> {
        options.is_empty().then(|| self.home(name))
    }

    async fn mount(
        &self,
        name: &VolumeName,
        options: &BTreeMap<String, String>,
        owner: &str,
    ) -> Result<PathBuf> {
        let (name, options, owner) = (name.clone(), options.clone(), owner.to_owned());
        self.run(move |local| local.mount_now(&name, &options, &owner)).await
    }

    async fn unmount(&self, name: &VolumeName, owner: &str) -> Result<()> {
        let (name, owner) = (name.clone(), owner.to_owned());
        self.run(move |local| local.unmount_now(&name, &owner)).await
    }

    async fn remove(&self, name: &VolumeName) -> Result<()> {
        let name = name.clone();
        self.run(move |local| local.remove_now(&name)).await
    }

    async fn strays(&self, recorded: &BTreeSet<VolumeName>) -> Result<Vec<VolumeName>> {
        let recorded = recorded.clone();
        self.run(move |local| local.strays_now(&recorded)).await
    }

    async fn sweep(&self) -> Result<Vec<String>> {
        self.run(|local| local.sweep_now()).await
    }
}

/// The name of an owner's file.
fn owner_file(owner: &str) -> Result<&str> {
    let good = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-');
    if owner.is_empty() || owner.len() > 255 || !owner.bytes().all(good) {
        return Err(Error::invalid(
            format!("owner {owner:?}"),
            "only letters, digits, '_' and '-' are allowed",
        ));
    }
    Ok(owner)
}

fn exists(path: &Path) -> Result<bool> {
    match path.symlink_metadata() {
        Ok(_) => Ok(true),
        Err(e) if e.kind() == Io::NotFound => Ok(false),
        Err(e) => Err(e).subject(|| path.display().to_string()),
    }
}

/// Makes a directory with these permissions, whatever the mask of the program is. One that is there is left as it is.
fn make_directory(path: &Path, mode: u32) -> Result<()> {
    match DirBuilder::new().mode(mode).create(path) {
        Ok(()) => std::fs::set_permissions(path, Permissions::from_mode(mode)),
        Err(e) if e.kind() == Io::AlreadyExists => Ok(()),
        Err(e) => Err(e),
    }
    .subject(|| format!("directory {}", path.display()))
}

fn open_directory(path: &Path) -> Result<File> {
    File::open(path).subject(|| format!("directory {}", path.display()))
}

fn sync(path: &Path) -> Result<()> {
    open_directory(path)?.sync_all().subject(|| format!("directory {}", path.display()))
}

/// Whether something is mounted at `path`.
fn is_mounted(path: &Path) -> rustix::io::Result<bool> {
    let found = rustix::fs::statx(CWD, path, AtFlags::SYMLINK_NOFOLLOW, StatxFlags::empty())?;
    Ok(found.stx_attributes.contains(StatxAttributes::MOUNT_ROOT))
}

/// Unmounts whatever is mounted at `path`. Who is in it may stay there.
fn detach(path: &Path) -> rustix::io::Result<()> {
    for _ in 0..MAX_MOUNTS {
        match is_mounted(path) {
            Ok(true) => {}
            Ok(false) | Err(Errno::NOENT) => return Ok(()),
            Err(errno) => return Err(errno),
        }
        rustix::mount::unmount(path, UnmountFlags::DETACH | UnmountFlags::NOFOLLOW)?;
    }
    Err(Errno::BUSY)
}

#[cfg(test)]
mod tests;
