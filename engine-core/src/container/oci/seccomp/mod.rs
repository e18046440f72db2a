//! Which system calls a container may make: Docker's default profile, or one of the user's in Docker's format.
//!
//! A profile says more than one container needs: rules that hold for some capabilities, architectures and kernels.
//! What is left of it for one container goes to the runtime.

mod default;
mod profile;

use std::borrow::Cow;
use std::sync::LazyLock;

use oci_spec::runtime::LinuxSeccomp;

use super::capabilities;
use super::host::HostFacts;
use crate::error::Result;
use crate::spec::{Platform, Seccomp, SecuritySpec};
use profile::{Circumstances, Profile};

static DEFAULT: LazyLock<Profile> = LazyLock::new(default::profile);

/// The profile for the container; `None` for all system calls.
///
/// # Errors
/// [`ErrorKind::InvalidInput`](crate::ErrorKind::InvalidInput) for a profile that cannot be read.
pub(super) fn decide(
    security: &SecuritySpec,
    capabilities: &capabilities::Set,
    host: &HostFacts,
) -> Result<Option<LinuxSeccomp>> {
    let profile = match &security.seccomp {
        Seccomp::Unconfined => return Ok(None),
        // A privileged container is confined only if somebody says how.
        Seccomp::Default if security.privileged => return Ok(None),
        Seccomp::Default => Cow::Borrowed(&*DEFAULT),
        Seccomp::Profile(json) => Cow::Owned(Profile::parse(json.as_bytes())?),
    };
    let architecture = Platform::host().architecture;
    profile
        .for_container(&Circumstances {
            has: &|capability| capabilities.has(capability),
            architecture: &architecture,
            kernel: host.kernel,
        })
        .map(Some)
}

#[cfg(test)]
mod tests;
