//! A file that appears whole or not at all.

use std::fs::{File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};

use crate::exit::Failure;

/// A file beside the one to write, which takes its place when it is whole and goes away if it never is.
pub(super) struct Partial {
    path: PathBuf,
    file: File,
    kept: bool,
}

impl Partial {
    /// Makes the file beside `target`.
    pub(super) fn create(target: &Path) -> Result<Partial, Failure> {
        let mut name = std::ffi::OsString::from(".engine-part-");
        name.push(std::process::id().to_string());
        name.push("-");
        name.push(
            target.file_name().ok_or_else(|| Failure::new(format!("{}: is no file", target.display())))?,
        );
        let path = target.with_file_name(name);
        let file = OpenOptions::new().write(true).create_new(true).open(&path);
        let file = file.map_err(|e| Failure::new(format!("create {}: {e}", path.display())))?;
        Ok(Partial { path, file, kept: false })
    }

    /// The file, to write to.
    pub(super) fn file(&self) -> io::Result<File> {
        self.file.try_clone()
    }

    /// Puts it in the place of `target`.
    pub(super) fn keep(mut self, target: &Path) -> Result<(), Failure> {
        std::fs::rename(&self.path, target)
            .map_err(|e| Failure::new(format!("write {}: {e}", target.display())))?;
        self.kept = true;
        Ok(())
    }
}

impl Drop for Partial {
    fn drop(&mut self) {
        if !self.kept {
            // Nobody asked for half an archive. That it is gone already is fine.
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    #[test]
    fn an_archive_appears_whole_or_not_at_all() {
        let directory = std::env::temp_dir().join(format!("engine-cli-part-{}", std::process::id()));
        std::fs::create_dir(&directory).expect("made");
        let target = directory.join("out.tar");
        let partial = Partial::create(&target).expect("created");
        partial.file().and_then(|mut file| file.write_all(b"half")).expect("written");
        drop(partial);
        assert_eq!(std::fs::read_dir(&directory).expect("there").count(), 0);
        let partial = Partial::create(&target).expect("created");
        partial.file().and_then(|mut file| file.write_all(b"whole")).expect("written");
        partial.keep(&target).expect("kept");
        assert_eq!(std::fs::read(&target).expect("there"), b"whole");
        std::fs::remove_dir_all(&directory).expect("removed");
    }
}
