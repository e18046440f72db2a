//! What the shim is to do for another process in a running container.

use std::path::Path;

use oci_spec::runtime::{Linux, LinuxNamespaceType, Process, Spec};

use engine_shim::plan::{Cgroup, Direct, ExecEvents, ExecPlan};

use super::agent::{self, Of};
use super::process::{self, Who};
use super::{JOINED, filter, of, spaces, text, traits};
use crate::error::Result;
use crate::runtime::driver::{ExecBundle, Place};
use crate::runtime::linux::oci::OCI_VERSION;

/// The plan for another process of a container whose group is `cgroup`.
pub(in crate::runtime::linux) fn exec(place: &Place, exec: &ExecBundle, cgroup: Cgroup) -> Result<ExecPlan> {
    let events = exec.events.as_ref().map(|events| {
        Ok(ExecEvents {
            journal: text(&events.journal, "the journal of events")?,
            container: place.id.to_string(),
            start: events.start.clone(),
            attributes: events.attributes.clone(),
        })
    });
    let mut process = process::process(&exec.process, &Who::Named(&exec.user), exec.seccomp.as_ref())?;
    let annotations = exec.annotations.clone().into_iter().collect();
    let of = Of { version: OCI_VERSION, id: place.id.as_str(), bundle: &place.run_dir, annotations };
    agent::give(&mut process, exec.seccomp.as_ref(), of, &[])?;
    Ok(ExecPlan {
        events: events.transpose()?,
        namespaces: JOINED as u32,
        cgroup,
        process,
        stdin: exec.stdin,
        terminal_size: process::terminal_size(exec.terminal_size, &exec.process),
        detach: exec.detach,
        direct: None,
        record: None,
        program: None,
    })
}

/// The plan for another process, which its caller looks after, in the container `id` of that bundle and configuration,
/// whose group is `cgroup`.
pub(in crate::runtime::linux) fn exec_direct(
    process: &Process,
    spec: &Spec,
    (id, bundle): (&str, &Path),
    direct: Direct,
    cgroup: Cgroup,
) -> Result<ExecPlan> {
    let linux = spec.linux().as_ref();
    let mut program = process::process(process, &Who::Numbered, filter(linux))?;
    agent::give(&mut program, filter(linux), of(spec, id, bundle), &[])?;
    if let Some(linux) = linux {
        traits::of_container(&mut program.traits, linux)?;
    }
    Ok(ExecPlan {
        namespaces: to_enter(linux),
        cgroup,
        process: program,
        stdin: true,
        terminal_size: process::terminal_size(None, process),
        detach: true,
        events: None,
        direct: Some(direct),
        record: None,
        program: None,
    })
}

/// The namespaces that a process enters in a container of that configuration.
fn to_enter(linux: Option<&Linux>) -> u32 {
    let has = |kind| {
        let namespaces = linux.and_then(|linux| linux.namespaces().as_deref()).unwrap_or_default();
        namespaces.iter().any(|namespace| namespace.typ() == kind)
    };
    let mut enter = JOINED;
    if has(LinuxNamespaceType::Time) {
        enter |= spaces::CLONE_NEWTIME;
    }
    if has(LinuxNamespaceType::User) {
        enter |= libc::CLONE_NEWUSER;
        // From within a user namespace the host's cgroup namespace cannot be entered, not even by who is there.
        if !has(LinuxNamespaceType::Cgroup) {
            enter &= !libc::CLONE_NEWCGROUP;
        }
    }
    enter as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_process_enters_what_the_container_has_of_its_own() {
        let linux: Linux = serde_json::from_str(r#"{"namespaces":[{"type":"mount"},{"type":"user"}]}"#)
            .expect("is a configuration");
        let entered = to_enter(Some(&linux)) as i32;
        assert_eq!(entered & libc::CLONE_NEWUSER, libc::CLONE_NEWUSER);
        assert_eq!(entered & libc::CLONE_NEWCGROUP, 0, "is the host's");
        assert_eq!(to_enter(None), JOINED as u32);
    }
}
