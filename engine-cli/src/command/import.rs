//! `engine import`.

use std::fs::File;
use std::io::{self, Read};

use engine_core::image::ImportSpec;
use engine_core::{Error, ErrorKind};

use crate::app::App;
use crate::args::image::Import;
use crate::exit::{Failure, Outcome};
use crate::render::print;

/// Makes an image from an archive of files and prints its identifier.
pub(super) async fn import(args: Import, app: App) -> Outcome {
    let archive: Box<dyn Read + Send> = match args.source.as_str() {
        "-" => Box::new(io::stdin()),
        url if url.starts_with("http://") || url.starts_with("https://") => {
            return Err(Error::new(ErrorKind::Unsupported, format!("import from {url}"))
                .because("archives are not fetched")
                .with_remedy("fetch it with another program and pipe it to 'engine import -'")
                .into());
        }
        path => Box::new(File::open(path).map_err(|e| Failure::new(format!("open {path}: {e}")))?),
    };
    let mut spec = ImportSpec::default();
    spec.reference = args.reference;
    spec.changes = args.change;
    // As docker has it, where nothing is said.
    spec.message = args.message.or_else(|| Some(format!("Imported from {}", args.source)));
    spec.platform = args.platform;
    let engine = app.engine().await?;
    let id = engine.images().import(archive, spec).await?;
    print(&format!("{id}\n"))?;
    Ok(0)
}
