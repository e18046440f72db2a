//! `engine top`.

use crate::app::App;
use crate::args::container::Top;
use crate::exit::Outcome;
use crate::render::text::escape_block;
use crate::render::{print, table};

/// Docker's columns are so wide here.
const WIDTH: usize = 20;

/// Shows the processes of the container.
pub(super) async fn top(args: Top, app: App) -> Outcome {
    let engine = app.engine().await?;
    let (name, arguments) =
        args.words.split_first().map_or(("", args.words.as_slice()), |(name, rest)| (name.as_str(), rest));
    let found = engine.containers().get(name).await?.top(arguments).await?;
    let lines = std::iter::once(&found.titles).chain(&found.processes);
    // What a process is called is its own choice.
    let text: String = lines.map(|line| line.join("\t") + "\n").collect();
    print(&escape_block(&table::align_from(&text, WIDTH)))?;
    Ok(0)
}
