//! New file systems: made detached, with parameters of any length and number.

use alloc::string::String;
use alloc::vec::Vec;

use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::CWD;
use rustix::io::Errno;
use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags, MountFlags};

use crate::failure::{Result, Step};
use crate::plan::Mount;
use crate::rootfs::{RDONLY, attach, open_path};
use crate::text::Text;
use crate::{copy_up, sys};

/// A new detached mount of a file system.
pub(crate) fn filesystem(
    kind: &str,
    source: &str,
    parameters: &[(String, Option<String>)],
    attributes: u64,
    target: &str,
) -> Result<OwnedFd> {
    let context = rustix::mount::fsopen(kind, FsOpenFlags::FSOPEN_CLOEXEC).step("open file system", kind)?;
    // cgroup v1 and some others refuse a source; it only shows in lists of mounts.
    let _ = rustix::mount::fsconfig_set_string(context.as_fd(), "source", source);
    for (key, value) in parameters {
        match value {
            Some(value) => rustix::mount::fsconfig_set_string(context.as_fd(), key.as_str(), value.as_str()),
            None => rustix::mount::fsconfig_set_flag(context.as_fd(), key.as_str()),
        }
        .step("set a parameter of the file system at", [target, ": ", key].concat())?;
    }
    rustix::mount::fsconfig_create(context.as_fd()).step("create the file system at", target)?;
    // The bits of MOUNT_ATTR_* fit 32, as fsmount(2) takes them.
    let attributes = MountAttrFlags::from_bits_retain(attributes as u32);
    rustix::mount::fsmount(context.as_fd(), FsMountFlags::FSMOUNT_CLOEXEC, attributes).step("mount", target)
}

/// A file system in memory with the permissions of the directory it covers, unless it is given some; with
/// [`copy_up`](Mount::copy_up) all that lies there is in it too.
pub(crate) fn covering(
    covered: OwnedFd,
    source: &str,
    parameters: &[(String, Option<String>)],
    attributes: u64,
    mount: &Mount,
) -> Result<OwnedFd> {
    let target = &mount.target;
    let mode = rustix::fs::fstat(&covered).step("examine", target)?.st_mode & 0o7777;
    let mut text = String::new();
    (0..4).rev().for_each(|digit| text.push(char::from(b'0' + (mode >> (3 * digit) & 7) as u8)));
    // Of two that say the same the later counts.
    let given = parameters.iter().cloned();
    let parameters: Vec<_> = [(String::from("mode"), Some(text))].into_iter().chain(given).collect();
    if !mount.copy_up {
        return filesystem("tmpfs", source, &parameters, attributes, target);
    }
    let tree = filesystem("tmpfs", source, &parameters, attributes & !RDONLY, target)?;
    copy_up::copy(covered.as_fd(), tree.as_fd()).step("copy what lies at", target)?;
    if attributes & RDONLY != 0 {
        sys::mount_setattr(tree.as_fd(), false, RDONLY, 0, 0).step("make read-only", target)?;
    }
    Ok(tree)
}

/// An overlay, attached at `at`.
pub(crate) fn overlay(
    lower: &[String],
    upper: Option<&(String, String)>,
    volatile: bool,
    at: &str,
) -> Result<OwnedFd> {
    // By descriptor: whatever a path looks like, `/proc/self/fd/N` needs no quoting and is short.
    let mut open = Vec::with_capacity(lower.len() + 2);
    for path in lower {
        open.push(open_path(path).step("open layer", path)?);
    }
    let layers = open.len();
    if let Some((upper, work)) = upper {
        open.push(open_path(upper).step("open", upper)?);
        open.push(open_path(work).step("open", work)?);
    }
    let names: Vec<String> = open.iter().map(descriptor_path).collect();
    let (lower, writable) = names.split_at(layers);
    let mut options: Vec<(&str, Option<&str>)> = Vec::new();
    if let [upper, work] = writable {
        options.push(("upperdir", Some(upper)));
        options.push(("workdir", Some(work)));
        if volatile {
            options.push(("volatile", None));
        }
    }
    let by_parts = if takes_parts() { overlay_by_parts(lower, &options) } else { Err(Errno::INVAL) };
    match by_parts {
        Ok(tree) => {
            attach(tree.as_fd(), CWD, at)?;
            Ok(tree)
        }
        Err(Errno::INVAL) => overlay_by_string(lower, &options, at).step("mount overlay at", at),
        Err(errno) => Err(errno).step("mount overlay at", at),
    }
}

/// Whether the kernel has a parameter per layer: Linux 6.7 and later. Those before complain in their log, each time.
fn takes_parts() -> bool {
    let uname = rustix::system::uname();
    let mut numbers = uname.release().to_bytes().split(|byte| !byte.is_ascii_digit());
    let mut number = || core::str::from_utf8(numbers.next()?).ok()?.parse::<u32>().ok();
    // What cannot be read is tried.
    number().zip(number()).is_none_or(|version| version >= (6, 7))
}

/// One parameter per layer, without a limit.
fn overlay_by_parts(lower: &[String], options: &[(&str, Option<&str>)]) -> rustix::io::Result<OwnedFd> {
    let context = rustix::mount::fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC)?;
    rustix::mount::fsconfig_set_string(context.as_fd(), "source", "overlay")?;
    for layer in lower {
        rustix::mount::fsconfig_set_string(context.as_fd(), "lowerdir+", layer.as_str())?;
    }
    for (key, value) in options {
        match value {
            Some(value) => rustix::mount::fsconfig_set_string(context.as_fd(), *key, *value)?,
            None => rustix::mount::fsconfig_set_flag(context.as_fd(), *key)?,
        }
    }
    rustix::mount::fsconfig_create(context.as_fd())?;
    rustix::mount::fsmount(context.as_fd(), FsMountFlags::FSMOUNT_CLOEXEC, MountAttrFlags::empty())
}

/// All in one string of at most a page, as mount(2) takes it: some two hundred layers.
fn overlay_by_string(
    lower: &[String],
    options: &[(&str, Option<&str>)],
    at: &str,
) -> rustix::io::Result<OwnedFd> {
    let mut data = [String::from("lowerdir="), lower.join(":")].concat();
    for (key, value) in options {
        data.push(',');
        data.push_str(key);
        if let Some(value) = value {
            data.push('=');
            data.push_str(value);
        }
    }
    let data = alloc::ffi::CString::new(data).map_err(|_| Errno::INVAL)?;
    rustix::mount::mount("overlay", at, "overlay", MountFlags::empty(), data.as_c_str())?;
    open_path(at)
}

fn descriptor_path(fd: &OwnedFd) -> String {
    use rustix::fd::AsRawFd;
    let mut path = Text::default();
    path.push("/proc/self/fd/").number(i64::from(fd.as_raw_fd()));
    path.into()
}
