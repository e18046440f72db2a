//! What the program is given: its configuration, and by fixed paths all that this process has by descriptors only.

use alloc::string::String;

use rustix::fd::{AsRawFd, BorrowedFd, OwnedFd};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use super::desk::Desk;
use crate::failure::{Result, Step};
use crate::namespaces::{Kept, NET};
use crate::plan::{Mount, Namespaces, Program};
use crate::rootfs::Rootfs;
use crate::text::Text;
use crate::users::Identity;

/// The namespaces to join, and the network namespace that stays: in the directory `namespaces`, by their flags.
pub(super) fn namespaces(desk: &Desk, plan: &Namespaces, kept: &Kept) -> Result<()> {
    desk.directory("namespaces")?;
    for (kind, path) in &plan.join {
        show(desk, *kind, path)?;
    }
    match kept.net() {
        Some(net) => show(desk, NET, &path_of(net)),
        None => Ok(()),
    }
}

fn show(desk: &Desk, kind: u32, source: &str) -> Result<()> {
    let mut name = Text::default();
    name.push("namespaces/").number(kind.into());
    drop(desk.file(name.as_str(), 0o600)?);
    rustix::mount::mount_bind(source, name.as_str()).step("show namespace", source)
}

fn path_of(fd: BorrowedFd<'_>) -> String {
    let mut path = Text::default();
    path.push("/proc/self/fd/").number(fd.as_raw_fd().into());
    path.into()
}

/// The sources of mounts that are no paths of the host, at their targets below the bundle.
pub(super) fn sources(desk: &Desk, mounts: &[Mount]) -> Result<()> {
    let mut directory = Rootfs::over(desk.copy()?);
    mounts.iter().enumerate().try_for_each(|(place, mount)| directory.add(place, mount))
}

/// A copy of this program, which the container has as its small init.
pub(super) fn init(desk: &Desk) -> Result<()> {
    let own = "/proc/self/exe";
    let program = rustix::fs::open(own, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).step("open", own)?;
    let copy = desk.file("init", 0o755)?;
    let mut buffer = [0; 16 << 10];
    loop {
        match rustix::io::read(&program, &mut buffer).step("read", own)? {
            0 => return Ok(()),
            length => write(&copy, buffer.get(..length).unwrap_or_default(), "init")?,
        }
    }
}

/// Writes the configuration, with the user in its place.
pub(super) fn configure(
    desk: &Desk,
    name: &str,
    program: &Program,
    identity: &Identity,
    umask: Option<u32>,
) -> Result<()> {
    let (before, after) = &program.config;
    let file = desk.file(name, 0o600)?;
    write(&file, before.as_bytes(), name)?;
    write(&file, user(identity, umask).as_str().as_bytes(), name)?;
    write(&file, after.as_bytes(), name)
}

fn user(identity: &Identity, umask: Option<u32>) -> Text {
    let mut text = Text::default();
    text.push("{\"uid\":").number(identity.uid.into()).push(",\"gid\":").number(identity.gid.into());
    if let Some(umask) = umask {
        text.push(",\"umask\":").number(umask.into());
    }
    if !identity.groups.is_empty() {
        text.push(",\"additionalGids\":[");
        for (place, group) in identity.groups.iter().enumerate() {
            text.push(if place == 0 { "" } else { "," }).number((*group).into());
        }
        text.push("]");
    }
    text.push("}");
    text
}

fn write(file: &OwnedFd, mut bytes: &[u8], name: &str) -> Result<()> {
    while !bytes.is_empty() {
        match rustix::io::write(file, bytes).step("write", name)? {
            0 => return Err(Errno::NOSPC).step("write", name),
            written => bytes = bytes.get(written..).unwrap_or_default(),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_reads_as_the_specification_has_it() {
        let mut identity = Identity { uid: 8, gid: 9, groups: alloc::vec![], home: None };
        assert_eq!(user(&identity, None).as_str(), r#"{"uid":8,"gid":9}"#);
        identity.groups = alloc::vec![29, 44];
        let told = user(&identity, Some(0o22));
        assert_eq!(told.as_str(), r#"{"uid":8,"gid":9,"umask":18,"additionalGids":[29,44]}"#);
    }
}
