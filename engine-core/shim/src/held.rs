//! Descriptors that came with a plan, by the paths that this process and its children open them by.

use alloc::string::String;

use rustix::fd::{AsRawFd, OwnedFd};
use rustix::fs::{CWD, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

use crate::failure::{Result, Step, failure};
use crate::plan::{ContainerPlan, HELD, MountSource};
use crate::text::Text;
use crate::wire::Cause;

/// What all paths of descriptors begin with.
pub(crate) const DESCRIPTORS: &str = "/proc/self/fd/";

/// Puts paths in the stead of places among `held`. One that there is not stays as it is, and is no path.
pub(crate) fn name(plan: &mut ContainerPlan, held: &[OwnedFd]) {
    let resolve = |path: &mut String| {
        let place = path.strip_prefix(HELD).and_then(|place| place.parse::<usize>().ok());
        if let Some(descriptor) = place.and_then(|place| held.get(place)) {
            let mut text = Text::default();
            text.push(DESCRIPTORS).number(descriptor.as_raw_fd().into());
            *path = text.into();
        }
    };
    for (_, path) in &mut plan.namespaces.join {
        resolve(path);
    }
    for mount in &mut plan.mounts {
        match &mut mount.source {
            MountSource::Bind { path, .. } => resolve(path),
            MountSource::Theirs { namespace, .. } => resolve(namespace),
            MountSource::Filesystem { .. } | MountSource::Cgroups(_) | MountSource::Earlier => {}
        }
    }
}

/// The file that a descriptor stands for, in the mount namespace of this process: a mount can be copied from there
/// only, and the descriptor is from another one. It is where the kernel says that it is, or it was moved; a link that
/// somebody put in its place meanwhile leads to another file, which is not taken for it.
pub(crate) fn in_this_namespace(path: &str) -> Result<OwnedFd> {
    let held = rustix::fs::open(path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).step("open", path)?;
    let name = rustix::fs::readlinkat(CWD, path, alloc::vec::Vec::new()).step("read", path)?;
    let resolve = ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    let here = rustix::fs::openat2(CWD, name.as_c_str(), flags, Mode::empty(), resolve)
        .step("open bind source", path)?;
    let identity = |fd: &OwnedFd| rustix::fs::fstat(fd).map(|stat| (stat.st_dev, stat.st_ino));
    if identity(&held).step("examine", path)? != identity(&here).step("examine", path)? {
        return Err(failure(Cause::Escape, Errno::STALE, "a bind source was moved while it was mounted", ""));
    }
    Ok(here)
}
