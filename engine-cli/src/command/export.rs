//! `engine export`.

use std::fs::File;
use std::io::{self, IsTerminal as _, Write};
use std::os::fd::AsFd as _;

use engine_core::container::ArchiveStream;

use super::partial::Partial;
use crate::app::App;
use crate::args::container::Export;
use crate::exit::{Failure, Outcome};

/// Writes the files of a container to an archive.
pub(super) async fn export(args: Export, app: App) -> Outcome {
    if args.output.is_none() && io::stdout().is_terminal() {
        return Err(Failure::new("cowardly refusing to save to a terminal. Use the -o flag or redirect"));
    }
    let engine = app.engine().await?;
    let container = engine.containers().get(&args.container).await?;
    let Some(path) = args.output else {
        write(container.export().await?, stdout()?).await?;
        return Ok(0);
    };
    let partial = Partial::create(&path)?;
    write(container.export().await?, partial.file()?).await?;
    partial.keep(&path)?;
    Ok(0)
}

/// The descriptor itself: standard output of the library writes line by line.
pub(super) fn stdout() -> io::Result<File> {
    Ok(File::from(io::stdout().as_fd().try_clone_to_owned()?))
}

/// Writes an archive as it comes. This program does nothing else meanwhile, so it may block.
pub(super) async fn write(mut archive: ArchiveStream, mut to: File) -> Result<(), Failure> {
    while let Some(bytes) = archive.next().await? {
        to.write_all(&bytes)?;
    }
    Ok(())
}
