//! Control groups: makes a container's group in every hierarchy it needs, sets its limits, ends and removes it.
//!
//! Two implementations behind one door: the many hierarchies of version 1 (also where version 2 is mounted beside them
//! without controllers, "hybrid") and the single tree of version 2. A group is known by its path alone, from the root
//! of the mounts: `/engine/<id>`. Nothing is remembered between calls but where the hierarchies are mounted.
//!
//! A limit that this host cannot enforce is an error or is passed over, as in Docker: see [`setting::Missing`].

mod detect;
mod devices;
mod filter;
mod freezer;
mod setting;
mod tree;
mod usage;
mod v1;
mod v2;

use engine_shim::plan;
use freezer::Freezer;
use oci_spec::runtime::LinuxResources;

pub(crate) use self::usage::GroupUsage;
use crate::error::{Error, Result};
use crate::runtime::usage::CpuUsage;

/// The control groups of this host.
pub(crate) struct Cgroups(Version);

enum Version {
    One(v1::Hierarchies),
    Two(v2::Tree),
}

impl Cgroups {
    /// Finds where the hierarchies are mounted, and which version rules.
    ///
    /// # Errors
    /// [`ErrorKind::Unsupported`](crate::ErrorKind::Unsupported) if none is mounted.
    pub(crate) fn detect() -> Result<Cgroups> {
        let layout = detect::layout()?;
        Ok(Cgroups(match layout {
            detect::Layout::One(mounts) => Version::One(v1::Hierarchies::new(mounts)),
            detect::Layout::Two(mount) => Version::Two(v2::Tree::new(mount)?),
        }))
    }

    /// Makes the group `path` with its limits. A group that is there already and has no processes is made anew.
    ///
    /// # Errors
    /// [`ErrorKind::InUse`](crate::ErrorKind::InUse) if processes are in it already; the limit that was refused
    /// otherwise. Nothing is left of the group then.
    pub(crate) fn create(&self, path: &str, resources: &LinuxResources) -> Result<plan::Cgroup> {
        check(path)?;
        match &self.0 {
            Version::One(hierarchies) => hierarchies.create(path, resources),
            Version::Two(tree) => tree.create(path, resources),
        }
    }

    /// What [`Cgroups::create`] gave for the group `path`, by name alone.
    pub(crate) fn find(&self, path: &str) -> plan::Cgroup {
        match &self.0 {
            Version::One(hierarchies) => hierarchies.find(path),
            Version::Two(tree) => tree.find(path),
        }
    }

    /// As [`Cgroups::find`], for one more process beside `first` of those in the group. A container may have divided
    /// its group, and has its processes in those below then.
    pub(crate) fn find_beside(&self, path: &str, first: impl FnOnce() -> Option<u32>) -> plan::Cgroup {
        match &self.0 {
            Version::One(hierarchies) => hierarchies.find(path),
            Version::Two(tree) => tree.find_beside(path, first),
        }
    }

    /// Changes the limits that `resources` names, and leaves the others.
    ///
    /// # Errors
    /// The limit that was refused; those before it are in force then.
    pub(crate) fn update(&self, path: &str, resources: &LinuxResources) -> Result<()> {
        check(path)?;
        match &self.0 {
            Version::One(hierarchies) => hierarchies.update(path, resources),
            Version::Two(tree) => tree.update(path, resources),
        }
    }

    /// Holds all processes of the group still, and those below it. They go on if not all can be held.
    ///
    /// # Errors
    /// [`ErrorKind::TimedOut`](crate::ErrorKind::TimedOut) if one waits for a device and does not hear of it;
    /// [`Unsupported`](crate::ErrorKind::Unsupported) on a host without a freezer.
    pub(crate) fn freeze(&self, path: &str) -> Result<()> {
        self.freezer(path)?.hold(freezer::PATIENCE)
    }

    /// Lets the processes of the group go on. May be called twice.
    pub(crate) fn thaw(&self, path: &str) -> Result<()> {
        self.freezer(path)?.release()
    }

    /// Whether the processes of the group are held still.
    pub(crate) fn is_frozen(&self, path: &str) -> Result<bool> {
        self.freezer(path)?.is_held()
    }

    fn freezer(&self, path: &str) -> Result<Freezer> {
        check(path)?;
        match &self.0 {
            Version::One(hierarchies) => hierarchies.freezer(path),
            Version::Two(tree) => Ok(Freezer::two(tree.directory(path))),
        }
    }

    /// The processes of the group and of the groups below it. A group that is not there has none.
    pub(crate) fn pids(&self, path: &str) -> Result<Vec<u32>> {
        check(path)?;
        tree::pids(&self.processes(path))
    }

    /// What the group and those below it use. A group that is not there uses nothing.
    ///
    /// # Errors
    /// A path that is none.
    pub(crate) fn usage(&self, path: &str) -> Result<GroupUsage> {
        check(path)?;
        Ok(match &self.0 {
            Version::One(hierarchies) => usage::of_hierarchies(|name| hierarchies.directory(path, name)),
            Version::Two(tree) => usage::of_group(&tree.directory(path)),
        })
    }

    /// Of that the processor time.
    ///
    /// # Errors
    /// A path that is none.
    pub(crate) fn cpu_usage(&self, path: &str) -> Result<CpuUsage> {
        check(path)?;
        Ok(match &self.0 {
            Version::One(hierarchies) => usage::cpu_of_hierarchies(|name| hierarchies.directory(path, name)),
            Version::Two(tree) => usage::cpu_of_group(&tree.directory(path)),
        })
    }

    /// Kills all processes of the group and waits until they are gone. May be called twice.
    ///
    /// # Errors
    /// [`ErrorKind::TimedOut`](crate::ErrorKind::TimedOut) if the kernel does not get rid of one, which is stuck then
    /// in a system call that nothing interrupts.
    pub(crate) fn kill(&self, path: &str) -> Result<()> {
        check(path)?;
        match &self.0 {
            Version::One(hierarchies) => hierarchies.kill(path),
            Version::Two(tree) => tree.kill(path),
        }
    }

    /// Removes the group and the groups below it. May be called twice.
    ///
    /// # Errors
    /// [`ErrorKind::InUse`](crate::ErrorKind::InUse) if processes are in it still.
    pub(crate) fn remove(&self, path: &str) -> Result<()> {
        check(path)?;
        match &self.0 {
            Version::One(hierarchies) => hierarchies.remove(path),
            Version::Two(tree) => tree.remove(path),
        }
    }

    /// As [`Cgroups::remove`], also in the hierarchies that the engine has no use for: a runtime program has made the
    /// group in all of them.
    pub(crate) fn remove_everywhere(&self, path: &str) -> Result<()> {
        check(path)?;
        detect::points()?.iter().try_for_each(|point| tree::remove(&[point, path].concat()))
    }

    /// The names of the groups directly below `parent`.
    #[cfg(test)]
    pub(crate) fn list(&self, parent: &str) -> Result<Vec<String>> {
        check(parent)?;
        match &self.0 {
            Version::One(hierarchies) => hierarchies.list(parent),
            Version::Two(tree) => tree::children(&tree.directory(parent)),
        }
    }

    /// The mounts that show a container its own groups, within a cgroup namespace.
    pub(crate) fn mounts(&self) -> Vec<plan::CgroupMount> {
        match &self.0 {
            Version::One(hierarchies) => hierarchies.mounts(),
            Version::Two(tree) => tree.mounts(),
        }
    }

    /// Where the processes of the group are listed.
    fn processes(&self, path: &str) -> String {
        match &self.0 {
            Version::One(hierarchies) => hierarchies.processes(path),
            Version::Two(tree) => tree.directory(path),
        }
    }
}

/// A group's path goes to the kernel's file system as it is, and a part of it may come from a user: `--cgroup-parent`.
fn check(path: &str) -> Result<()> {
    let proper = |part: &str| !matches!(part, "" | "." | "..") && part.len() <= 255;
    let sound = path.len() <= 2048
        && !path.chars().any(char::is_control)
        && path.strip_prefix('/').is_some_and(|rest| rest.split('/').all(proper));
    match sound {
        true => Ok(()),
        false => Err(Error::invalid(
            format!("cgroup {path:?}"),
            "a group's path is absolute, without empty parts, \".\", \"..\" and control characters",
        )),
    }
}

#[cfg(test)]
mod tests;
