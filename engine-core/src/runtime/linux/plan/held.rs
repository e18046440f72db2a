//! What a configuration names by a descriptor of this process: the shim, which is another process, is given the
//! descriptor itself and is told which one it is. So a name is never looked up twice, and what it stands for can be
//! joined and mounted again for as long as the container lives.

use std::os::fd::{AsRawFd, RawFd};

use engine_shim::plan::{ContainerPlan, HELD, Mount, MountSource};

use crate::error::{Error, Result};
use crate::runtime::driver::Bundle;

/// Where the memory that programs share is mounted.
pub(in crate::runtime::linux) const SHM: &str = "/dev/shm";

/// Puts places among the held descriptors in the stead of paths, and adds the mount that another container shares.
pub(super) fn resolve(plan: &mut ContainerPlan, bundle: &Bundle) -> Result<()> {
    let own = own();
    let held = |path: &mut String| -> Result<()> {
        if let Some(number) = path.strip_prefix(&own) {
            *path = format!("{HELD}{}", find(bundle, number)?);
        }
        Ok(())
    };
    plan.namespaces.join.iter_mut().try_for_each(|(_, path)| held(path))?;
    for mount in &mut plan.mounts {
        if let MountSource::Bind { path, .. } = &mut mount.source {
            held(path)?;
        }
    }
    if bundle.shm.is_some() {
        share(plan, bundle.held.len());
    }
    Ok(())
}

/// What the paths of this process's descriptors begin with.
pub(in crate::runtime::linux) fn own() -> String {
    format!("/proc/{}/fd/", std::process::id())
}

/// The place among the held descriptors of the one with this number.
pub(in crate::runtime::linux) fn find(bundle: &Bundle, number: &str) -> Result<usize> {
    let wanted: Option<RawFd> = number.parse().ok();
    let place = bundle.held.iter().position(|held| Some(held.as_raw_fd()) == wanted);
    place.ok_or_else(|| Error::internal(format!("descriptor {number}"), "it is not held"))
}

/// The mount of another container's shared memory, after that of the directory it is in. `place` is that of
/// its namespace among the descriptors.
fn share(plan: &mut ContainerPlan, place: usize) {
    let after = plan.mounts.iter().position(|mount| mount.target == "/dev").map_or(0, |at| at + 1);
    let source = MountSource::Theirs { namespace: format!("{HELD}{place}"), path: SHM.to_owned() };
    let mount = Mount {
        target: SHM.to_owned(),
        source,
        attributes: Default::default(),
        attributes_below: Default::default(),
        propagation: 0,
        system: true,
        copy_up: false,
        idmap: None,
    };
    plan.mounts.insert(after, mount);
}
