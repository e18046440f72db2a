//! `engine save`.

use std::fs::{File, OpenOptions};
use std::io::{self, IsTerminal as _, Write};
use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};

use engine_core::image::SaveFormat;

use crate::app::App;
use crate::args::image::Save;
use crate::exit::{Failure, Outcome};

/// Writes images to an archive.
pub(super) async fn save(args: Save, app: App) -> Outcome {
    let format = if args.archive == "oci" { SaveFormat::Oci } else { SaveFormat::Docker };
    if args.output.is_none() && io::stdout().is_terminal() {
        return Err(Failure::new("cowardly refusing to save to a terminal")
            .with_remedy("name a file with --output, or redirect standard output"));
    }
    let engine = app.engine().await?;
    let Some(path) = args.output else {
        // The descriptor itself: standard output of the library writes line by line.
        let stdout: Box<dyn Write + Send> = Box::new(File::from(io::stdout().as_fd().try_clone_to_owned()?));
        engine.images().save(&args.images, format, stdout).await?;
        return Ok(0);
    };
    let partial = Partial::create(&path)?;
    engine.images().save(&args.images, format, Box::new(partial.file()?)).await?;
    partial.keep(&path)?;
    Ok(0)
}

/// A file beside the one to write, which takes its place when it is whole and goes away if it never is.
struct Partial {
    path: PathBuf,
    file: File,
    kept: bool,
}

impl Partial {
    fn create(target: &Path) -> Result<Partial, Failure> {
        let mut name = std::ffi::OsString::from(".engine-save-");
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

    fn file(&self) -> io::Result<File> {
        self.file.try_clone()
    }

    fn keep(mut self, target: &Path) -> Result<(), Failure> {
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
    use super::*;

    #[test]
    fn an_archive_appears_whole_or_not_at_all() {
        let directory = std::env::temp_dir().join(format!("engine-cli-save-{}", std::process::id()));
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
