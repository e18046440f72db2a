//! Holding a container still, and letting it go on. All calls block.
//!
//! The freezer of its group is the truth. A mark in the run directory says that it is worth a look: it is made before
//! the group is frozen and removed after it was thawed, so whoever dies in between leaves at most a mark that means
//! nothing; and the state of a container that is not paused costs one look for a file.

use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;

use super::{Host, client, state};
use crate::error::{Result, Subject};
use crate::runtime::driver::Place;

/// The mark's name in the run directory.
pub(super) const MARK: &str = "paused";

/// Holds the container still.
pub(super) fn pause(host: &Host, place: &Place) -> Result<()> {
    if !state::is_looked_after(place)? {
        return Err(client::not_running(place));
    }
    let mark = mark(place);
    let make = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(&mark);
    make.subject(|| mark.display().to_string())?;
    host.cgroups.freeze(&place.cgroup).inspect_err(|_| {
        // They go on, and then the mark means nothing.
        let _ = std::fs::remove_file(&mark);
    })
}

/// Lets it go on.
pub(super) fn resume(host: &Host, place: &Place) -> Result<()> {
    if !state::is_looked_after(place)? {
        return Err(client::not_running(place));
    }
    lift(host, place)
}

/// Lets it go on if it is paused.
pub(super) fn lift(host: &Host, place: &Place) -> Result<()> {
    if !is_marked(place)? {
        return Ok(());
    }
    host.cgroups.thaw(&place.cgroup)?;
    let mark = mark(place);
    match std::fs::remove_file(&mark) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(e).subject(|| mark.display().to_string()),
        _ => Ok(()),
    }
}

/// Whether it is paused.
pub(super) fn is_paused(host: &Host, place: &Place) -> Result<bool> {
    Ok(is_marked(place)? && host.cgroups.is_frozen(&place.cgroup)?)
}

fn is_marked(place: &Place) -> Result<bool> {
    let mark = mark(place);
    mark.try_exists().subject(|| mark.display().to_string())
}

fn mark(place: &Place) -> PathBuf {
    place.run_dir.join(MARK)
}
