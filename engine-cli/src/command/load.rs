//! `engine load`.

use std::fs::File;
use std::io::{self, Read};

use engine_core::LoadEvent;

use crate::app::App;
use crate::args::image::Load;
use crate::attach::terminal;
use crate::exit::{Failure, Outcome};
use crate::render::print;
use crate::render::text::escape;

/// Loads images from an archive.
pub(super) async fn load(args: Load, app: App) -> Outcome {
    let archive: Box<dyn Read + Send> = match &args.input {
        Some(path) => {
            let file = File::open(path).map_err(|e| Failure::new(format!("open {}: {e}", path.display())))?;
            Box::new(file)
        }
        None if terminal::is_stdin() => {
            return Err(Failure::new("requested load from stdin, but stdin is empty")
                .with_remedy("name the archive with --input, or redirect standard input"));
        }
        None => Box::new(io::stdin()),
    };
    let engine = app.engine().await?;
    let mut load = engine.images().load(archive, args.platform);
    while let Some(event) = load.next().await {
        if let LoadEvent::Loaded { name } = event {
            let what = if name.starts_with("sha256:") { "Loaded image ID" } else { "Loaded image" };
            print(&format!("{what}: {}\n", escape(&name)))?;
        }
    }
    load.finish().await?;
    Ok(0)
}
