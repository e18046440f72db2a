//! `engine save`.

use std::fs::File;
use std::io::{self, IsTerminal as _, Write};
use std::os::fd::AsFd as _;

use engine_core::image::SaveFormat;

use super::partial::Partial;
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
