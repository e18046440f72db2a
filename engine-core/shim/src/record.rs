//! The exit record: what a monitor leaves for whoever opens the store next.

use alloc::string::String;

use rustix::fs::{CWD, Mode, OFlags};

use crate::failure::{Result, Step};
use crate::wire::Exit;

/// Writes the record to `path`, whole or not at all; with `durable`, onto the disk.
pub(crate) fn write(path: &str, exit: &Exit, durable: bool) -> Result<()> {
    let (directory, _) = path.rsplit_once('/').unwrap_or((".", path));
    let unfinished = [path, ".new"].concat();
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let file = rustix::fs::open(unfinished.as_str(), flags, Mode::from_raw_mode(0o600))
        .step("write exit record", &unfinished)?;
    let text: String = exit.to_text();
    rustix::io::write(&file, text.as_bytes()).step("write exit record", &unfinished)?;
    if durable {
        rustix::fs::fsync(&file).step("sync exit record", &unfinished)?;
    }
    rustix::fs::renameat(CWD, unfinished.as_str(), CWD, path).step("publish exit record", path)?;
    if durable {
        let directory =
            rustix::fs::open(directory, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
                .step("open", directory)?;
        rustix::fs::fsync(&directory).step("sync", "the directory of exit records")?;
    }
    Ok(())
}
