//! `engine create`, and the making of a container that `run` begins with.

use std::fs::OpenOptions;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use engine_core::spec::PullPolicy;
use engine_core::{Container, Engine, Reference};

use super::spec::{Wish, wish};
use crate::app::App;
use crate::args::create::Create;
use crate::exit::{Failure, Outcome};
use crate::render::print;
use crate::render::progress::{Progress, Target};

/// Makes a container and prints its identifier.
pub(super) async fn create(args: Create, app: App) -> Outcome {
    let environment = app.config().proxy_variables();
    let wish = wish(args.container, false, environment).map_err(|failure| failure.of_run(&app.path))?;
    let engine = app.engine().await?;
    let container = create_container(&engine, wish).await?;
    print(&format!("{}\n", container.id()))?;
    Ok(0)
}

/// Makes the container that was asked for, and tells of the pull on standard error if its image was not there.
pub(super) async fn create_container(engine: &Engine, wish: Wish) -> Result<Container, Failure> {
    let cidfile = wish.cidfile.map(IdFile::reserve).transpose()?;
    let reference: Option<Reference> = wish.image.as_deref().and_then(|image| image.parse().ok());
    let missing = wish.spec.pull == PullPolicy::Missing;
    let mut creation = engine.containers().create(wish.spec);
    let mut progress = None;
    while let Some(event) = creation.next().await {
        if progress.is_none() {
            let started = Progress::new(Target::Stderr, wish.quiet);
            if let Some(reference) = &reference {
                if missing && !wish.quiet {
                    Target::Stderr
                        .line(&format!("Unable to find image '{}' locally", reference.familiar()))?;
                }
                started.begin(reference)?;
            }
            progress = Some(started);
        }
        if let Some(progress) = &mut progress {
            progress.event(&event)?;
        }
    }
    let container = creation.finish().await?;
    if let (Some(progress), Some(reference)) = (progress, &reference) {
        progress.finish(reference, true)?;
    }
    if let Some(file) = cidfile {
        file.write(container.id().as_str())?;
    }
    Ok(container)
}

/// A file for a container's identifier. It must not exist, so that no two containers share it; it goes away again
/// unless the container comes to be.
struct IdFile {
    path: PathBuf,
    written: bool,
}

impl IdFile {
    fn reserve(path: PathBuf) -> Result<IdFile, Failure> {
        let failed = |path: &Path, e: io::Error| match e.kind() {
            io::ErrorKind::AlreadyExists => {
                Failure::new(format!("container ID file found: {}", path.display()))
                    .with_remedy("make sure the other container isn't running, and delete the file")
            }
            _ => Failure::new(format!("failed to create the container ID file {}: {e}", path.display())),
        };
        match OpenOptions::new().write(true).create_new(true).open(&path) {
            Ok(_) => Ok(IdFile { path, written: false }),
            Err(e) => Err(failed(&path, e)),
        }
    }

    fn write(mut self, id: &str) -> Result<(), Failure> {
        let mut file = OpenOptions::new().write(true).open(&self.path)?;
        file.write_all(id.as_bytes())?;
        self.written = true;
        Ok(())
    }
}

impl Drop for IdFile {
    fn drop(&mut self) {
        if !self.written {
            // It is ours and empty. That it is gone already is fine.
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(name: &str) -> PathBuf {
        std::env::temp_dir().join(format!("engine-cli-{name}-{}", std::process::id()))
    }

    #[test]
    fn an_identifier_file_is_never_shared() {
        let path = path("shared");
        IdFile::reserve(path.clone()).expect("free").write("abc").expect("written");
        assert_eq!(std::fs::read_to_string(&path).expect("there"), "abc");
        let failure = IdFile::reserve(path.clone()).err().expect("it is taken");
        assert!(failure.report().contains("container ID file found"));
        std::fs::remove_file(&path).expect("removed");
    }

    #[test]
    fn an_identifier_file_goes_if_there_is_no_container() {
        let path = path("unused");
        drop(IdFile::reserve(path.clone()).expect("free"));
        assert!(!path.exists());
    }
}
