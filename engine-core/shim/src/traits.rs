//! What few programs ask of the kernel: how they share processors, disks and memory, and the labels of its security
//! modules.

use alloc::string::String;

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use crate::failure::{Result, Step};
use crate::plan::{Process, Traits};
use crate::rootfs::PROC_SUPER_MAGIC;
use crate::sys;

/// Sets what takes a privilege that the program need not have.
pub(crate) fn assume(process: &Process) -> Result<()> {
    let Some(traits) = &process.traits else { return Ok(()) };
    if let Some(scheduler) = &traits.scheduler {
        sys::set_scheduler(scheduler).step("set", "the scheduling policy")?;
    }
    if let Some(priority) = traits.io_priority {
        sys::set_io_priority(priority).step("set", "the I/O priority")?;
    }
    if let Some((mode, nodes)) = &traits.memory_policy {
        sys::set_memory_policy(*mode, nodes).step("set", "the memory policy")?;
    }
    if let Some(personality) = traits.personality {
        sys::set_personality(personality).step("set", "the personality")?;
    }
    Ok(())
}

/// Says what the security modules are to make of the program. The last step but those that need no files.
pub(crate) fn label(process: &Process) -> Result<()> {
    let Some(Traits { apparmor, selinux, .. }) = &process.traits else { return Ok(()) };
    if !selinux.is_empty() {
        attribute("/proc/self/attr/exec", selinux).step("set the SELinux label", selinux)?;
    }
    if !apparmor.is_empty() {
        let change = ["exec ", apparmor].concat();
        attribute("/proc/self/attr/apparmor/exec", &change).step("apply the AppArmor profile", apparmor)?;
    }
    Ok(())
}

/// Before a process joins the container's group.
pub(crate) fn begin_on(process: &Process) -> Result<()> {
    processors(process.traits.as_ref().map(|traits| traits.first_processors.as_slice()))
}

/// When it has joined the group, which may have changed where it may be.
pub(crate) fn go_on(process: &Process) -> Result<()> {
    processors(process.traits.as_ref().map(|traits| traits.processors.as_slice()))
}

fn processors(processors: Option<&[u64]>) -> Result<()> {
    match processors {
        None | Some([]) => Ok(()),
        Some(processors) => sys::set_processors(processors).step("set", "the CPU affinity"),
    }
}

/// Writes to a file of the container's procfs, if it is that.
fn attribute(path: &str, value: &String) -> rustix::io::Result<()> {
    let file = rustix::fs::open(path, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())?;
    if rustix::fs::fstatfs(&file)?.f_type as i64 != PROC_SUPER_MAGIC {
        return Err(Errno::NODEV);
    }
    rustix::io::write(&file, value.as_bytes()).map(drop)
}
