//! A limit as it was decided: which file gets which value. Pure, so that a whole set of limits is known, and can be
//! refused, before any is in force.

use std::io;

use oci_spec::runtime::{LinuxBlockIo, LinuxHugepageLimit, LinuxResources, LinuxThrottleDevice};
use rustix::io::Errno;

use super::tree;
use crate::error::{Error, ErrorKind, Result};

/// What becomes of a limit that the host cannot enforce. As in Docker: those that protect others from the container
/// are an error, those that tune it are passed over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Missing {
    /// An error.
    Refuse,
    /// Left out.
    Ignore,
}

/// One value for one file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Setting {
    /// The controller the file belongs to.
    pub(super) controller: &'static str,
    /// File and value; of several, the first whose file is there.
    pub(super) choices: Vec<(String, String)>,
    /// What if there is no such file.
    pub(super) missing: Missing,
}

impl Setting {
    /// A setting that must be made.
    pub(super) fn must(controller: &'static str, file: impl Into<String>, value: impl ToString) -> Setting {
        Setting { controller, choices: vec![(file.into(), value.to_string())], missing: Missing::Refuse }
    }

    /// A setting that is made where the host knows it.
    pub(super) fn may(controller: &'static str, file: impl Into<String>, value: impl ToString) -> Setting {
        Setting { missing: Missing::Ignore, ..Setting::must(controller, file, value) }
    }

    /// Another file with a value in its own unit, for hosts that lack those before.
    pub(super) fn or(mut self, file: impl Into<String>, value: impl ToString) -> Setting {
        self.choices.push((file.into(), value.to_string()));
        self
    }

    fn write(&self, directory: &str) -> io::Result<()> {
        let mut result = Err(io::ErrorKind::NotFound.into());
        for (file, value) in &self.choices {
            result = tree::write(directory, file, value);
            if !result.as_ref().is_err_and(|e| e.kind() == io::ErrorKind::NotFound) {
                break;
            }
        }
        result
    }

    /// In words, for messages.
    fn name(&self) -> String {
        let (file, value) = self.choices.first().map_or(("", ""), |(file, value)| (file, value));
        format!("cgroup limit {file} = {value}")
    }
}

/// Makes the settings, in order. `directory` finds the group of a controller, and says why there is none.
///
/// Some values depend on each other (memory is never more than memory and swap, a quota fits its period), and which
/// of the two has to go first depends on what is in force. So one that does not fit is tried again after the others.
pub(super) fn apply(
    settings: &[Setting],
    directory: impl Fn(&Setting) -> Result<String, Option<Error>>,
) -> Result<()> {
    let mut again = Vec::new();
    for setting in settings {
        let place = match directory(setting) {
            Ok(place) => place,
            Err(Some(why)) => return Err(why),
            Err(None) if setting.missing == Missing::Ignore => continue,
            Err(None) => return Err(absent(setting)),
        };
        match setting.write(&place) {
            Ok(()) => {}
            Err(e) if e.kind() == io::ErrorKind::NotFound && setting.missing == Missing::Ignore => {}
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Err(absent(setting)),
            Err(e) if tree::errno(&e) == Some(Errno::INVAL) => again.push((setting, place)),
            Err(e) => return Err(refused(setting, e)),
        }
    }
    for (setting, place) in again {
        setting.write(&place).map_err(|e| refused(setting, e))?;
    }
    Ok(())
}

fn absent(setting: &Setting) -> Error {
    Error::new(ErrorKind::Unsupported, setting.name())
        .because(format!("this host has no {:?} control group controller that can do it", setting.controller))
        .with_remedy("leave the limit out, or enable the controller in the host's kernel")
}

fn refused(setting: &Setting, error: io::Error) -> Error {
    let reason = match tree::errno(&error) {
        Some(Errno::INVAL | Errno::RANGE) => "the kernel does not accept the value",
        Some(Errno::BUSY) => "the container uses more than that already",
        Some(Errno::NODEV) => "there is no such device",
        Some(Errno::ACCESS | Errno::PERM) => "the engine's own group does not allow that much",
        _ => "the kernel refused it",
    };
    let kind = match tree::errno(&error) {
        Some(Errno::INVAL | Errno::RANGE | Errno::NODEV) => ErrorKind::InvalidInput,
        Some(Errno::BUSY) => ErrorKind::InUse,
        Some(Errno::ACCESS | Errno::PERM) => ErrorKind::PermissionDenied,
        _ => ErrorKind::Internal,
    };
    Error::new(kind, setting.name()).because(reason).caused_by(error)
}

/// The devices of block I/O rates: the name of the rate in version 1 and in version 2, and the devices.
pub(super) fn rates(block: &LinuxBlockIo) -> [(&'static str, &'static str, &[LinuxThrottleDevice]); 4] {
    let of = |list: &'static str, short: &'static str, devices| (list, short, devices);
    fn slice(devices: &Option<Vec<LinuxThrottleDevice>>) -> &[LinuxThrottleDevice] {
        devices.as_deref().unwrap_or_default()
    }
    [
        of("blkio.throttle.read_bps_device", "rbps", slice(block.throttle_read_bps_device())),
        of("blkio.throttle.write_bps_device", "wbps", slice(block.throttle_write_bps_device())),
        of("blkio.throttle.read_iops_device", "riops", slice(block.throttle_read_iops_device())),
        of("blkio.throttle.write_iops_device", "wiops", slice(block.throttle_write_iops_device())),
    ]
}

/// The size of a huge page as the kernel's files are named: `2MB`, `1GB`.
pub(super) fn page_size(limit: &LinuxHugepageLimit) -> Result<&str> {
    let size = limit.page_size().as_str();
    let digits = size.trim_end_matches(['K', 'M', 'G', 'B']);
    let unit = &size[digits.len()..];
    let sound = (1..=8).contains(&digits.len())
        && digits.bytes().all(|byte| byte.is_ascii_digit())
        && matches!(unit, "KB" | "MB" | "GB");
    match sound {
        true => Ok(size),
        false => Err(Error::invalid(format!("page size {size:?}"), "it is a number with KB, MB or GB: 2MB")),
    }
}

/// The limits of RDMA devices: the one controller that has the same file in both versions.
pub(super) fn rdma(resources: &LinuxResources) -> impl Iterator<Item = Setting> {
    resources.rdma().iter().flatten().map(|(device, limit)| {
        let show = |name: &str, value: Option<u32>| value.map(|n| format!(" {name}={n}")).unwrap_or_default();
        let handles = show("hca_handle", limit.hca_handles());
        let objects = show("hca_object", limit.hca_objects());
        Setting::must("rdma", "rdma.max", format!("{device}{handles}{objects}"))
    })
}
