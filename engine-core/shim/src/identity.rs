//! Who the program is and what it may do. Everything here is given up in an order in which the right to do the next
//! step is still there.

use alloc::vec::Vec;

use rustix::fd::BorrowedFd;
use rustix::io::Errno;

use crate::agent::Agent;
use crate::devices::read_bounded;
use crate::failure::{Result, Step, failure};
use crate::plan::{Capabilities, Process};
use crate::sys;
use crate::traits;
use crate::users::{self, Identity, MAX_FILE};
use crate::wire::Cause;

/// The highest capability there may be: the sets have 64 bits.
const LAST_CAPABILITY: u64 = 63;

/// Finds the process's user in the container's own files, beneath `root`.
pub(crate) fn look_up(root: BorrowedFd<'_>, process: &Process) -> Result<Identity> {
    let passwd = read_bounded(root, "/etc/passwd", MAX_FILE)?;
    if let Some((uid, gid, groups)) = &process.ids {
        let home = users::home(*uid, &passwd);
        return Ok(Identity { uid: *uid, gid: *gid, groups: groups.clone(), home });
    }
    let needs_groups =
        !process.user.is_empty() || !process.additional_groups.is_empty() || !passwd.is_empty();
    let group = if needs_groups { read_bounded(root, "/etc/group", MAX_FILE)? } else { Vec::new() };
    users::resolve(&process.user, &process.additional_groups, &passwd, &group)
        .map_err(|unknown| failure(Cause::NoSuchUser, Errno::NOENT, "", Vec::from(unknown)))
}

/// Sets limits and identity. What the program may do is left to [`confine`].
pub(crate) fn assume(process: &Process, identity: &Identity) -> Result<()> {
    traits::assume(process)?;
    for (resource, soft, hard) in &process.rlimits {
        set_rlimit(*resource, *soft, *hard)?;
    }
    sys::umask(process.umask.unwrap_or(0o022));
    bound(process.capabilities.bounding)?;
    rustix::thread::set_keep_capabilities(true).step("keep capabilities", "")?;
    sys::set_identity(identity.uid, identity.gid, &identity.groups).step("become user", "")?;
    rustix::thread::set_keep_capabilities(false).step("stop keeping capabilities", "")
}

/// Takes away all that the program is not to have. Nothing but to become the program may follow: the filter is the
/// program's, and need not allow what this program does. The `agent` is given the filter's listener, if it has
/// one, and is let go.
pub(crate) fn confine(process: &Process, agent: &mut Option<Agent<'_>>) -> Result<()> {
    traits::label(process)?;
    // A capability that is not in the caller's own permitted set cannot be given; runc leaves it out as well.
    let may = rustix::thread::capabilities(None).step("read capabilities", "")?.permitted.bits();
    if process.no_new_privileges {
        rustix::thread::set_no_new_privs(true).step("set", "no new privileges")?;
        set_capabilities(&process.capabilities, may)?;
        return load_filter(process, agent);
    }
    // To load a filter takes a privilege then, which a change of user put out of force, and which goes next.
    if process.seccomp.is_some() {
        sys::capset(may, may, 0).step("set capabilities", "")?;
    }
    load_filter(process, agent)?;
    set_capabilities(&process.capabilities, may)
}

/// A hard limit may not be raised without privilege. An engine in a container has to live with the one it was given:
/// the limit is set as high as may be.
fn set_rlimit(resource: u32, soft: u64, hard: u64) -> Result<()> {
    match sys::set_rlimit(resource, soft, hard) {
        Err(Errno::PERM) => {
            let ceiling = sys::hard_limit(resource).step("read a resource limit", "")?;
            sys::set_rlimit(resource, soft.min(ceiling), hard.min(ceiling)).step("set a resource limit", "")
        }
        result => result.step("set a resource limit", ""),
    }
}

fn load_filter(process: &Process, agent: &mut Option<Agent<'_>>) -> Result<()> {
    let Some((filter, flags)) = &process.seccomp else { return Ok(()) };
    let agent = agent.take();
    // Under the filter there may be no memory to be had.
    let state = agent.as_ref().map(Agent::state);
    let listener = sys::seccomp(filter, *flags).step("load the system call filter", "")?;
    match (listener, agent, state) {
        (Some(listener), Some(agent), Some(state)) => agent.hand_over(&state, &listener),
        _ => Ok(()),
    }
}

fn bound(bounding: u64) -> Result<()> {
    for capability in 0..=LAST_CAPABILITY {
        if bounding & (1 << capability) == 0 {
            match sys::prctl(libc::PR_CAPBSET_DROP, capability, 0) {
                Ok(()) => {}
                // Beyond the last capability the kernel knows.
                Err(Errno::INVAL) => break,
                Err(errno) => return Err(errno).step("drop a capability from the bounding set", ""),
            }
        }
    }
    Ok(())
}

fn set_capabilities(sets: &Capabilities, may: u64) -> Result<()> {
    let permitted = sets.permitted & may;
    let inheritable = sets.inheritable & may;
    sys::capset(sets.effective & permitted, permitted, inheritable).step("set capabilities", "")?;
    let ambient = sets.ambient & permitted & inheritable;
    for capability in (0..=LAST_CAPABILITY).filter(|capability| ambient & (1 << capability) != 0) {
        sys::prctl(libc::PR_CAP_AMBIENT, libc::PR_CAP_AMBIENT_RAISE as u64, capability)
            .step("raise an ambient capability", "")?;
    }
    Ok(())
}
