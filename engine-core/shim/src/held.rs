//! Descriptors that came with a plan, by the paths that this process and its children open them by.

use alloc::string::String;

use rustix::fd::{AsRawFd, OwnedFd};

use crate::plan::{ContainerPlan, HELD, MountSource};
use crate::text::Text;

/// Puts paths in the stead of places among `held`. One that there is not stays as it is, and is no path.
pub(crate) fn name(plan: &mut ContainerPlan, held: &[OwnedFd]) {
    let resolve = |path: &mut String| {
        let place = path.strip_prefix(HELD).and_then(|place| place.parse::<usize>().ok());
        if let Some(descriptor) = place.and_then(|place| held.get(place)) {
            let mut text = Text::default();
            text.push("/proc/self/fd/").number(descriptor.as_raw_fd().into());
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
            MountSource::Filesystem { .. } | MountSource::Cgroups(_) => {}
        }
    }
}
